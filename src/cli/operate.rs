//! The operator's commands: they ask the exchange that runs, and show what it says.

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use argh::FromArgs;
use denwa::config::{self, Config};
use denwa::console::control::{self, AskError, Client, Paint, Reply, Request};
use serde::Serialize;

use crate::Done;

/// That no exchange is running.
const NOT_RUNNING: u8 = 2;

/// How the exchange is, on one screen: how long it has been up, where it listens, how many extensions are
/// registered, what it refused lately; and at the end what you should do, if something is not right.
#[derive(FromArgs)]
#[argh(
    subcommand,
    name = "status",
    example = "{command_name}\n{command_name} --json | jq .registered",
    note = "`it died` stands there only if the exchange ended without being told to; it was started again then.\nTimes are in UTC. With --json, times since 1970 end in _unix and durations in _s, both in seconds.",
    error_code(1, "it could not be asked; the reason is on standard error"),
    error_code(2, "no exchange is running")
)]
pub(crate) struct Status {
    /// the configuration of the exchange; if not given, as `denwa run` finds it
    #[argh(option, arg_name = "file")]
    config: Option<PathBuf>,
    /// an object in JSON
    #[argh(switch)]
    json: bool,
}

/// Who is registered: a line for each phone, and one for each extension that has none.
#[derive(FromArgs)]
#[argh(
    subcommand,
    name = "phones",
    example = "{command_name}\n{command_name} --json | jq '.[] | select(.phones == []) | .extension'",
    note = "ADDRESS  where the phone sends from, and is reached
VIA      udp or tcp
ALIVE    how long it took to answer the last question whether it is there (`keep-alive`); `yes`: its
         connection stands; `?`: it was not asked yet; `silent`: it did not answer the last one; `away`:
         its connection is closed, so it cannot be called until it comes back
SINCE    how long it has been registered from there
LEFT     how long that holds if it does not register again
NAT      whether it gives another address than the one that it sends from
PHONE    what it calls itself; not known after a restart, until it registers again",
    error_code(1, "it could not be asked; the reason is on standard error"),
    error_code(2, "no exchange is running")
)]
pub(crate) struct Phones {
    /// the configuration of the exchange; if not given, as `denwa run` finds it
    #[argh(option, arg_name = "file")]
    config: Option<PathBuf>,
    /// a list in JSON
    #[argh(switch)]
    json: bool,
}

/// Who talks to whom at this moment, and how well both are heard: for each call a line, and below it one for
/// each stream of each of its two legs.
#[derive(FromArgs)]
#[argh(
    subcommand,
    name = "calls",
    example = "{command_name}\n{command_name} --json | jq '.[].legs[].streams[].measured.loss_percent'",
    note = "LEG         whose phone it is
CODEC       what both phones agreed on
PACKETS     how many came from it
LOST        how many of a hundred are missing; from 1 % on people notice
JITTER      how unevenly they come (RFC 3550); phones even out some 50 ms
ROUND TRIP  from here to the phone and back, if it tells (RTCP); from 300 ms on people talk at once
HEARD       when the last one came: a leg that is not heard now has lost its way here
FROM        where they come from; until any has come, where the phone is",
    error_code(1, "it could not be asked; the reason is on standard error"),
    error_code(2, "no exchange is running")
)]
pub(crate) struct Calls {
    /// the configuration of the exchange; if not given, as `denwa run` finds it
    #[argh(option, arg_name = "file")]
    config: Option<PathBuf>,
    /// a list in JSON
    #[argh(switch)]
    json: bool,
}

pub(crate) fn status(arguments: Status) -> Done {
    with_exchange(arguments.config, |client| {
        let Reply::Status(status) = client.ask(&Request::Status)? else { return Err(unexpected()) };
        match arguments.json {
            true => print(&json(&control::status_json(&status))),
            false => print(&control::status(&status, paint())),
        }
    })
}

pub(crate) fn phones(arguments: Phones) -> Done {
    with_exchange(arguments.config, |client| {
        let phones = client.phones()?;
        match arguments.json {
            true => print(&json(&phones)),
            false => print(&control::phones(&phones, width(), paint())),
        }
    })
}

pub(crate) fn calls(arguments: Calls) -> Done {
    with_exchange(arguments.config, |client| {
        let calls = client.calls()?;
        match arguments.json {
            true => print(&json(&calls)),
            false => print(&control::calls(&calls, width(), paint())),
        }
    })
}

/// Connects to the exchange of a configuration, and does something with it.
fn with_exchange(config: Option<PathBuf>, work: impl FnOnce(&mut Client) -> Result<(), AskError>) -> Done {
    let state = state_folder(config)?;
    match Client::connect(&state).and_then(|mut client| work(&mut client)) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(AskError::Broken(error)) if error.kind() == io::ErrorKind::WriteZero => Ok(ExitCode::SUCCESS),
        Err(error) => {
            writeln!(io::stderr(), "{error}")?;
            Ok(ExitCode::from(match error {
                AskError::NotRunning(_) => NOT_RUNNING,
                _ => 1,
            }))
        }
    }
}

/// Where the exchange of a configuration has its state. Without one, that of one that was started without.
fn state_folder(config: Option<PathBuf>) -> Result<PathBuf, Box<dyn std::error::Error>> {
    let config = match config.or_else(config::find) {
        Some(path) => Config::load(Path::new(&path))?,
        None => Config::default(),
    };
    Ok(config.state)
}

fn unexpected() -> AskError {
    AskError::Frame(control::FrameError::Garbled)
}

/// A value as people and programs read it.
fn json(value: &impl Serialize) -> String {
    let mut text = serde_json::to_string_pretty(value).unwrap_or_default();
    text.push('\n');
    text
}

/// In one write. That nobody reads it (`| head`) is no failure.
fn print(text: &str) -> Result<(), AskError> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(AskError::Broken(error)),
        _ => Ok(()),
    }
}

fn paint() -> Paint {
    Paint::for_terminal(&io::stdout())
}

/// How wide the terminal is that standard output is, in columns.
fn width() -> Option<usize> {
    let stdout = io::stdout();
    if !stdout.is_terminal() {
        return None;
    }
    let size = rustix::termios::tcgetwinsize(&stdout).ok()?;
    Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
}
