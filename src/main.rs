//! The command line: one function for each subcommand. Everything is done by the library.

use std::error::Error;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use argh::FromArgs;
use denwa::config::{self, Config, LogLevel};
use denwa::console::{Log, Records, Summary, own_addresses};
use denwa::journal::{Clocks, Journal, Opened, State};
use denwa::keeper::{self, Handover, Keeper};
use denwa::switch::{Event, Instant, Switch};
use denwa::{media, net};

/// The arguments of the program.
#[derive(FromArgs)]
#[argh(
    description = "denwa is a whole telephone exchange: SIP phones register at it, call each other\nthrough it, and it carries their sound. Without a command it runs.",
    note = "Without a configuration, {command_name} writes `denwa.conf` into the current folder, with two\nextensions and an echo test, starts on it, and prints what to type into a phone.",
    example = "Start an exchange in the current folder:\n  $ {command_name}",
    example = "See what a configuration means, or what is wrong with it:\n  $ {command_name} check denwa.conf"
)]
struct Arguments {
    /// print the version and stop
    #[argh(switch)]
    version: bool,
    /// how `denwa run` starts the process that serves
    #[argh(switch, hidden_help)]
    exchange: bool,
    #[argh(subcommand)]
    command: Option<Command>,
}

#[derive(FromArgs)]
#[argh(subcommand)]
enum Command {
    Run(Run),
    Check(Check),
}

/// Run the exchange in the foreground; the log goes to standard error. Ctrl-C ends all calls and
/// stops; SIGTERM stops at once. A second process serves, and is started again if it dies.
#[derive(FromArgs)]
#[argh(
    subcommand,
    name = "run",
    note = "Without --config: denwa.conf in the current folder, else /etc/denwa/denwa.conf, else a new\ndenwa.conf is written into the current folder."
)]
struct Run {
    /// the configuration
    #[argh(option, arg_name = "file")]
    config: Option<PathBuf>,
}

/// Tell what a configuration means, or all that is wrong with it. Exits with 0 or 1, and starts
/// nothing.
#[derive(FromArgs)]
#[argh(subcommand, name = "check")]
struct Check {
    /// the configuration
    #[argh(positional)]
    file: PathBuf,
}

/// How a subcommand ends; why it could not do its work is for people.
type Done = Result<ExitCode, Box<dyn Error>>;

fn main() -> ExitCode {
    let arguments: Arguments = argh::from_env();
    let done = match arguments.command {
        _ if arguments.version => version(),
        _ if arguments.exchange => exchange(),
        None => run(Run { config: None }),
        Some(Command::Run(arguments)) => run(arguments),
        Some(Command::Check(arguments)) => check(arguments),
    };
    done.unwrap_or_else(|error| {
        let _ = writeln!(io::stderr(), "{error}");
        ExitCode::FAILURE
    })
}

fn version() -> Done {
    writeln!(io::stdout(), "denwa {}", env!("CARGO_PKG_VERSION"))?;
    Ok(ExitCode::SUCCESS)
}

fn check(check: Check) -> Done {
    let config = Config::load(&check.file)?;
    let mut text = format!("{} is right. It means:\n\n{}", check.file.display(), Summary(&config));
    for remark in config.remarks() {
        text += &format!("\n  Look: {remark}");
    }
    text.push('\n');
    // In one write, for `head` and its like.
    io::stdout().write_all(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// The keeper.
fn run(run: Run) -> Done {
    let found = run.config.or_else(config::find);
    let is_first = found.is_none();
    let path = match found {
        Some(path) => path,
        None => first_run()?,
    };
    Ok(prepare(&path, is_first)?.run()?)
}

/// All that needs the configuration, which is forgotten then: the keeper stays small.
fn prepare(path: &Path, is_first: bool) -> Result<Keeper, Box<dyn Error>> {
    let file = Config::read(path)?;
    let config = Config::parse(&path.display().to_string(), &file)?;
    if is_first {
        writeln!(io::stdout(), "{}", config::welcome(&config, path, &own_addresses()))?;
    }
    Ok(Keeper::new(&config, path, &file)?)
}

/// The exchange, started by the keeper. No thread and no packet comes before the cage.
fn exchange() -> Done {
    let Handover { path, file, has_state, sockets, link } = keeper::take_over()?;
    let config = Config::parse(&path.display().to_string(), &file)?;
    drop(file);
    let cage = keeper::enter_cage(&config, has_state)?;
    let mut log = Log::new(&config);
    log.started(&config, &path);
    log.say(if cage.is_complete() { LogLevel::Info } else { LogLevel::Warn }, &cage.to_string());

    let mut seed = [0; 32];
    getrandom::fill(&mut seed)?;
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64;
    let (journal, state, clocks) = match has_state {
        true => {
            let Opened { journal, state, clocks, notices } =
                Journal::open(&config.state, keeper::pid(), config.sync, wall)?;
            notices.iter().for_each(|notice| log.say(LogLevel::Warn, notice));
            (Some(journal), state, clocks)
        }
        false => {
            log.say(LogLevel::Warn, "there is no state folder: phones have to register anew after a restart");
            (None, State::default(), Clocks { now: Instant::default(), wall })
        }
    };
    let mut records = match has_state {
        true => Records::start(&config, Log::new(&config))?,
        false => Records::off(),
    };
    let relay = media::Relay::start()?;
    let switch = Switch::restore(config, seed, state, clocks);
    let mut tell = |event: &Event| {
        log.event(event);
        if let Some(sentence) = records.event(event) {
            log.say(LogLevel::Warn, sentence);
        }
    };
    net::run(switch, sockets, journal, relay, Some(link), &mut tell)?;
    drop(records);
    log.say(LogLevel::Info, "stopped");
    Ok(ExitCode::SUCCESS)
}

/// Writes a configuration into the current folder.
fn first_run() -> Result<PathBuf, Box<dyn Error>> {
    let path = PathBuf::from(config::HERE);
    config::first_run(&path, |bytes| getrandom::fill(bytes).map_err(io::Error::other)).map_err(|error| {
        let folder = std::env::current_dir().unwrap_or_default();
        format!(
            "{} cannot be written into {}: {error}; start denwa in a folder of yours, or name a configuration \
             with `denwa run --config FILE`",
            config::HERE,
            folder.display()
        )
    })?;
    Ok(path)
}
