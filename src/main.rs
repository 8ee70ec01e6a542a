//! The command line: one function for each subcommand. Everything is done by the library.

mod cli;

use std::error::Error;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use argh::FromArgs;
use denwa::config::{self, Config, LogLevel};
use denwa::console::control::Facts;
use denwa::console::{Log, Summary, own_addresses};
use denwa::journal::{Clocks, Journal, Opened, State};
use denwa::keeper::{self, Handover, Keeper};
use denwa::media;
use denwa::net::{self, End, Estate, Predecessor};
use denwa::switch::{Flow, Instant, Switch};

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
    Status(cli::look::Status),
    Phones(cli::look::Phones),
    Calls(cli::look::Calls),
    Watch(cli::watch::Watch),
    Why(cli::look::Why),
    Trace(cli::follow::Trace),
    HangUp(cli::act::HangUp),
    Ban(cli::act::Ban),
    Unban(cli::act::Unban),
    Bans(cli::look::Bans),
    Reload(cli::keeper::Reload),
    Stop(cli::keeper::Stop),
    Upgrade(cli::keeper::Upgrade),
}

/// Run the exchange in the foreground; the log goes to standard error. Ctrl-C ends all calls and
/// stops; SIGTERM stops at once; SIGHUP reads the configuration again. A second process serves, and is
/// started again if it dies.
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
        Some(Command::Status(arguments)) => cli::look::status(arguments),
        Some(Command::Phones(arguments)) => cli::look::phones(arguments),
        Some(Command::Calls(arguments)) => cli::look::calls(arguments),
        Some(Command::Watch(arguments)) => cli::watch::watch(arguments),
        Some(Command::Why(arguments)) => cli::look::why(arguments),
        Some(Command::Trace(arguments)) => cli::follow::trace(arguments),
        Some(Command::HangUp(arguments)) => cli::act::hang_up(arguments),
        Some(Command::Ban(arguments)) => cli::act::ban(arguments),
        Some(Command::Unban(arguments)) => cli::act::unban(arguments),
        Some(Command::Bans(arguments)) => cli::look::bans(arguments),
        Some(Command::Reload(arguments)) => cli::keeper::reload(arguments),
        Some(Command::Stop(arguments)) => cli::keeper::stop(arguments),
        Some(Command::Upgrade(arguments)) => cli::keeper::upgrade(arguments),
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
    let Handover { path, config, has_state, mut sockets, past, link } = keeper::take_over()?;
    let cage = keeper::enter_cage(&config, has_state)?;
    let mut log = Log::new(&config);
    log.started(&config, &path);
    log.say(if cage.is_complete() { LogLevel::Info } else { LogLevel::Warn }, &cage.to_string());

    let mut seed = [0; 32];
    getrandom::fill(&mut seed)?;
    let inherited = link.predecessor().map(Predecessor::inherit).transpose()?;
    let is_heir = inherited.is_some();
    let Estate { records, streams, relay } = inherited.unwrap_or_default();

    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64;
    let (journal, mut state, mut clocks) = match has_state {
        true => {
            let Opened { journal, state, clocks, notices } =
                Journal::open(&config.state, keeper::pid(), config.sync, wall)?;
            notices.iter().for_each(|notice| log.say(LogLevel::Warn, notice));
            (Some(journal), state, clocks)
        }
        false => {
            if !is_heir {
                let notice = "there is no state folder: phones have to register anew after a restart";
                log.say(LogLevel::Warn, notice);
            }
            (None, State::default(), Clocks { now: Instant::default(), wall })
        }
    };
    if is_heir {
        // More than the journal knows where the disk has trouble.
        state = State::default();
        records.into_iter().for_each(|record| state.apply(record));
        clocks = state.clocks(wall);
        state.resume(clocks);
    }
    let facts = Facts {
        version: env!("CARGO_PKG_VERSION").into(),
        configuration: path.display().to_string(),
        keeper_pid: keeper::pid(),
        pid: std::process::id(),
        started_unix: past.since,
        exchange_started_unix: wall / 1_000,
        restarts: past.exchanges,
        sandbox: cage.to_string(),
        sandbox_complete: cage.is_complete(),
        state: config.state.display().to_string(),
    };
    let desk = net::Desk { facts, log: log.tail() };
    let relay = media::Relay::start_with(relay)?;
    let flows: Vec<Flow> = streams.iter().map(|standing| standing.flow).collect();
    let switch = Switch::restore(config, seed, state, clocks, &flows);
    sockets.standing = streams;
    match net::run(switch, sockets, journal, relay, Some(link), desk, &mut |event| log.event(event))? {
        End::Stopped => log.say(LogLevel::Info, "stopped"),
        End::HandedOver => log.say(LogLevel::Info, "a new process goes on"),
    }
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
