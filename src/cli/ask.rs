//! What all commands need that ask the exchange.

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use denwa::config::{self, Config};
use denwa::console::Things;
use denwa::console::control::{self, AskError, Client, Paint, Which};
use serde::Serialize;

use crate::Done;

/// That no exchange is running.
pub(super) const NOT_RUNNING: u8 = 2;

/// What is meant by `101`, `17`, `call 17` or `all`.
pub(super) fn which(words: &[String]) -> Result<Which, String> {
    match words {
        [all] if all == "all" => Ok(Which::All),
        [name] => Ok(Which::Named(name.clone())),
        [call, number] if call == "call" => match number.parse() {
            Ok(number) => Ok(Which::Call(number)),
            Err(_) => Err(format!("{number} is not the number of a call; `denwa calls` shows them")),
        },
        _ => Err("which? A call as `denwa calls` numbers it, an extension, or `all`".into()),
    }
}

/// Connects to the exchange of a configuration, and does something with it.
pub(super) fn with_exchange(
    config: Option<PathBuf>,
    work: impl FnOnce(&mut Client) -> Result<(), AskError>,
) -> Done {
    let state = state_folder(config)?;
    match Client::connect(&state).and_then(|mut client| work(&mut client)) {
        Ok(()) => Ok(ExitCode::SUCCESS),
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
/// Mistakes in it are no reason not to ask an exchange that runs on what it said before; they are told.
pub(super) fn state_folder(config: Option<PathBuf>) -> Result<PathBuf, Box<dyn std::error::Error>> {
    let Some(path) = config.or_else(config::find) else { return Ok(Config::default().state) };
    let (state, mistakes) = Config::state_folder(&path)?;
    if mistakes > 0 {
        let (mistakes, path) = (Things(mistakes as u64, "mistake"), path.display());
        writeln!(
            io::stderr(),
            "{path} has {mistakes}, which `denwa check` shows; asking what runs in {}",
            state.display()
        )?;
    }
    Ok(state)
}

pub(super) fn unexpected() -> AskError {
    AskError::Frame(control::FrameError::Garbled)
}

/// A value as people and programs read it.
pub(super) fn json(value: &impl Serialize) -> String {
    let mut text = serde_json::to_string_pretty(value).unwrap_or_default();
    text.push('\n');
    text
}

/// A value in one line.
pub(super) fn json_line(value: &impl Serialize) -> String {
    let mut text = serde_json::to_string(value).unwrap_or_default();
    text.push('\n');
    text
}

/// In one write. That nobody reads it (`| head`) is no failure.
pub(super) fn print(text: &str) -> Result<(), AskError> {
    put(text).map(|_| ())
}

/// The same; whether somebody reads it.
pub(super) fn put(text: &str) -> Result<bool, AskError> {
    let mut out = io::stdout();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(AskError::Output(error)),
    }
}

pub(super) fn paint() -> Paint {
    Paint::for_terminal(&io::stdout())
}

/// How wide the terminal is that standard output is, in columns.
pub(super) fn width() -> Option<usize> {
    let stdout = io::stdout();
    if !stdout.is_terminal() {
        return None;
    }
    let size = rustix::termios::tcgetwinsize(&stdout).ok()?;
    Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
}
