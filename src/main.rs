//! The command line: one function for each subcommand. Everything is done by the library.

mod cli;

use std::error::Error;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use argh::{EarlyExit, FromArgs};
use denwa::cloud::{self, Pace, Watch};
use denwa::config::{self, Config, LogLevel};
use denwa::console::control::Facts;
use denwa::console::{Log, Records, Summary, certificate, own_addresses};
use denwa::dns::Resolver;
use denwa::handover::{self, Estate, Handover, Predecessor};
use denwa::journal::{Clocks, Journal, Opened, State};
use denwa::keeper::{self, Keeper};
use denwa::media;
use denwa::net::{self, End};
use denwa::switch::{Event, Flow, Instant, Switch};
use denwa::tls;
use rustix::process::geteuid;

/// The arguments of the program.
#[derive(FromArgs)]
#[argh(
    description = "denwa is a whole telephone exchange: SIP phones register at it, call each other\nthrough it, and it carries their sound. Without a command it runs.",
    example = "Start an exchange in the current folder:\n  $ {command_name}",
    example = "Add a third phone, and see what to type into it:\n  $ {command_name} add 103 Living room",
    example = "After a change of the configuration, see what it means or what is wrong with it, and have the\n  exchange that runs go on with it:\n  $ {command_name} check\n  $ {command_name} reload",
    example = "Keep all of it safe:\n  $ {command_name} backup denwa.backup",
    note = "On its first start {command_name} writes `denwa.conf` into the current folder, with two extensions\nand an echo test, and prints what to type into two phones. The file explains itself, and all\nelse begins there: it is one `key = value` a line.",
    note = "In a firewall, open UDP and TCP port 5060, and the UDP ports 40000 to 40999.",
    note = "Each command explains itself as well: {command_name} add --help",
    error_code(0, "It is done."),
    error_code(1, "It could not be done; standard error says why."),
    error_code(2, "No denwa runs that could be asked.")
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
    Init(cli::init::Init),
    Settings(cli::init::ShowSettings),
    Check(Check),
    Status(cli::look::Status),
    Phones(cli::look::Phones),
    Calls(cli::look::Calls),
    Peer(cli::peer::Peer),
    Route(cli::route::Route),
    Watch(cli::watch::Watch),
    Why(cli::look::Why),
    Trace(cli::follow::Trace),
    HangUp(cli::act::HangUp),
    Ban(cli::act::Ban),
    Unban(cli::act::Unban),
    Bans(cli::look::Bans),
    Add(cli::Add),
    Passwd(cli::Passwd),
    Remove(cli::Remove),
    Reload(cli::keeper::Reload),
    Upgrade(cli::keeper::Upgrade),
    Stop(cli::keeper::Stop),
    Backup(cli::Backup),
    Restore(cli::Restore),
}

/// Run the exchange until it is stopped, as without a command.
#[derive(FromArgs)]
#[argh(
    subcommand,
    name = "run",
    note = "The log goes to standard error. Ctrl-C ends all calls and stops; SIGTERM stops at once; SIGHUP\nreads the configuration again. A second process, `denwa --exchange`, serves the phones, and is\nstarted again if it dies.",
    note = "Without --config: denwa.conf in the current folder, else /etc/denwa/denwa.conf, else a new\ndenwa.conf is written into the current folder. What must survive a restart is kept in the folder\nthat it names (`state`): in /var/lib/denwa, or, where an ordinary user has it written, beside it.",
    example = "As a service:\n  $ {command_name} --config /etc/denwa/denwa.conf",
    error_code(0, "It was told to stop."),
    error_code(1, "It cannot start; the last line says why.")
)]
struct Run {
    /// the configuration
    #[argh(option, arg_name = "file")]
    config: Option<PathBuf>,
}

/// Tell what a configuration means, or all that is wrong with it.
#[derive(FromArgs)]
#[argh(
    subcommand,
    name = "check",
    note = "Nothing is started or changed. Each mistake is told with its line, the reason, and what was\nprobably meant. A line that begins with `Look:` is about something that is allowed, but seldom\nwanted.",
    example = "Before the exchange is started again:\n  $ {command_name}",
    error_code(0, "It is right."),
    error_code(1, "It is not, or cannot be read; standard error says why.")
)]
struct Check {
    /// the configuration; if not said, the one that `denwa run` takes
    #[argh(positional)]
    file: Option<PathBuf>,
}

/// How a subcommand ends; why it could not do its work is for people.
type Done = Result<ExitCode, Box<dyn Error>>;

fn main() -> ExitCode {
    let arguments = arguments();
    let done = match arguments.command {
        _ if arguments.version => version(),
        _ if arguments.exchange => exchange(),
        None => run(Run { config: None }),
        Some(Command::Run(arguments)) => run(arguments),
        Some(Command::Init(arguments)) => cli::init::init(arguments),
        Some(Command::Settings(arguments)) => cli::init::settings(arguments),
        Some(Command::Check(arguments)) => check(arguments),
        Some(Command::Status(arguments)) => cli::look::status(arguments),
        Some(Command::Phones(arguments)) => cli::look::phones(arguments),
        Some(Command::Calls(arguments)) => cli::look::calls(arguments),
        Some(Command::Peer(arguments)) => cli::peer::peer(arguments),
        Some(Command::Route(arguments)) => cli::route::route(arguments),
        Some(Command::Watch(arguments)) => cli::watch::watch(arguments),
        Some(Command::Why(arguments)) => cli::look::why(arguments),
        Some(Command::Trace(arguments)) => cli::follow::trace(arguments),
        Some(Command::HangUp(arguments)) => cli::act::hang_up(arguments),
        Some(Command::Ban(arguments)) => cli::act::ban(arguments),
        Some(Command::Unban(arguments)) => cli::act::unban(arguments),
        Some(Command::Bans(arguments)) => cli::look::bans(arguments),
        Some(Command::Add(arguments)) => cli::add(arguments),
        Some(Command::Passwd(arguments)) => cli::passwd(arguments),
        Some(Command::Remove(arguments)) => cli::remove(arguments),
        Some(Command::Reload(arguments)) => cli::keeper::reload(arguments),
        Some(Command::Upgrade(arguments)) => cli::keeper::upgrade(arguments),
        Some(Command::Stop(arguments)) => cli::keeper::stop(arguments),
        Some(Command::Backup(arguments)) => cli::backup(arguments),
        Some(Command::Restore(arguments)) => cli::restore(arguments),
    };
    done.unwrap_or_else(|error| {
        let _ = writeln!(io::stderr(), "{error}");
        ExitCode::FAILURE
    })
}

/// The arguments of this process; the end of it where they are wrong, or help is wanted. A lone `-` is one like
/// any other, which argh would take for an option.
fn arguments() -> Arguments {
    let given: Result<Vec<String>, _> =
        std::env::args_os().skip(1).map(|given| given.into_string()).collect();
    let wrong = EarlyExit { output: "An argument is not UTF-8.".into(), status: Err(()) };
    let arguments = given.map_err(|_| wrong).and_then(|given| {
        let standard = |given| if given == "-" { cli::STANDARD } else { given };
        let given: Vec<&str> = given.iter().map(String::as_str).map(standard).collect();
        Arguments::from_args(&["denwa"], &given)
    });
    arguments.unwrap_or_else(|EarlyExit { output, status }| {
        // Nobody is left to tell where these cannot be written.
        let _ = match status {
            Ok(()) => writeln!(io::stdout(), "{output}"),
            Err(()) => writeln!(io::stderr(), "{output}\nRun denwa --help for more information."),
        };
        std::process::exit(status.map_or(1, |()| 0))
    })
}

fn version() -> Done {
    writeln!(io::stdout(), "denwa {}", denwa::VERSION)?;
    Ok(ExitCode::SUCCESS)
}

fn check(check: Check) -> Done {
    let path = cli::configuration(check.file)?;
    let config = Config::load(&path)?;
    let mut text = format!("{} is right. It means:\n\n{}", path.display(), Summary(&config));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    for remark in config.remarks().into_iter().chain(tls::check(&config, now)?) {
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

/// How long the public addresses are waited for before anything is served; those that are found later are told later.
const FOR_ADDRESSES: Duration = Duration::from_millis(100);

/// The exchange, started by the keeper. No thread and no packet comes before the cage.
fn exchange() -> Done {
    let Handover { path, mut config, has_state, material, mut sockets, past, link } = keeper::take_over()?;
    let is_ec2 = cloud::is_ec2();
    let resolver = Resolver::from_system()?;
    sockets.authorities = tls::Authorities::open();
    let cage = keeper::enter_cage(&config, has_state)?;
    // It has its answer when all else is ready.
    let endpoints = || cloud::ENDPOINTS.map(String::from).into();
    let watch = is_ec2.then(|| Watch::start(&config, endpoints(), Pace::default())).transpose()?;
    let mut log = Log::new(&config);

    let mut seed = [0; 32];
    getrandom::fill(&mut seed)?;
    let inherited = link.predecessor().map(Predecessor::inherit).transpose()?;
    let is_heir = inherited.is_some();
    let Estate { records, streams, relay } = inherited.unwrap_or_default();

    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64;
    let opened =
        has_state.then(|| Journal::open(&config.state, handover::keeper(), config.sync, wall)).transpose()?;
    // Not before the folder is ours: whoever is refused does not run.
    log.started(&config, &path);
    log.say(if cage.is_complete() { LogLevel::Info } else { LogLevel::Warn }, &cage.to_string());
    let (mut journal, mut state, mut clocks) = match opened {
        Some(Opened { journal, state, clocks, notices }) => {
            notices.iter().for_each(|notice| log.say(LogLevel::Warn, notice));
            (Some(journal), state, clocks)
        }
        None => {
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
        if let Some(journal) = &mut journal {
            journal.distrust(clocks.now);
        }
    }
    let facts = Facts {
        version: denwa::VERSION.into(),
        configuration: path.display().to_string(),
        keeper_pid: handover::keeper(),
        pid: std::process::id(),
        started_unix: past.since,
        exchange_started_unix: wall / 1_000,
        restarts: past.exchanges,
        sandbox: cage.to_string(),
        sandbox_complete: cage.is_complete(),
        state: config.state.display().to_string(),
    };
    // Whoever takes over keeps callers waiting meanwhile.
    let patience = if is_heir { Duration::ZERO } else { FOR_ADDRESSES };
    if let Some(addresses) = watch.as_ref().and_then(|watch| watch.addresses_within(patience)) {
        for address in &addresses {
            log.say(LogLevel::Info, &format!("the public address is {address} (advertise = auto)"));
        }
        config.advertise = addresses;
    }
    let desk = net::Desk {
        facts,
        log: log.tail(),
        cloud: watch.as_ref().map(Watch::news),
        resolver: Some(resolver),
    };
    let mut call_records = match has_state {
        true => Records::start(&config, log.beside(&config))?,
        false => Records::off(),
    };
    let (identity, notice) =
        tls::identity(&config, material.as_ref(), has_state.then_some(config.state.as_path()))?;
    drop(material);
    if let Some(identity) = &identity {
        notice.iter().for_each(|notice| log.say(LogLevel::Warn, notice));
        log.say(LogLevel::Info, &certificate(identity.about()));
        if let Some(trouble) = identity.about().trouble(wall / 1_000) {
            log.say(LogLevel::Warn, &trouble);
        }
    }
    sockets.identity = identity;
    let relay = media::Relay::start_with(relay)?;
    let flows: Vec<Flow> = streams.iter().map(|standing| standing.flow).collect();
    let switch = Switch::restore(config, seed, state, clocks, &flows);
    sockets.standing = streams;
    let mut tell = |event: &Event| {
        log.event(event);
        if let (Event::Reloaded(config), Some(watch)) = (event, &watch) {
            watch.reload(config);
        }
        if let Some(sentence) = call_records.event(event) {
            log.say(LogLevel::Warn, sentence);
        }
    };
    let end = net::run(switch, sockets, journal, relay, Some(link), desk, &mut tell)?;
    // All of them are written when this is over.
    drop(call_records);
    match end {
        End::Stopped => log.say(LogLevel::Info, "stopped"),
        End::HandedOver => log.say(LogLevel::Info, "a new process goes on"),
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes a configuration into the current folder. Who is not root cannot have the default state folder, and
/// gets one beside it.
fn first_run() -> Result<PathBuf, Box<dyn Error>> {
    let path = PathBuf::from(config::HERE);
    let folder = std::env::current_dir().unwrap_or_default();
    let state = (!geteuid().is_root()).then(|| folder.join(config::STATE_HERE));
    config::first_run(&path, state.as_deref(), cli::random).map_err(|error| {
        format!(
            "{} cannot be written into {}: {error}; start denwa in a folder of yours, or name a configuration \
             with `denwa run --config FILE`",
            config::HERE,
            folder.display()
        )
    })?;
    Ok(path)
}
