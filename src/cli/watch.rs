//! `denwa watch`: a screen that follows the exchange.

use std::io::{self, IsTerminal, Read, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use argh::FromArgs;
use denwa::console::control::{AskError, Client, FrameError, Reply, Request, Snapshot, screen};
use denwa::net::sys::Signals;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

use super::ask::{NOT_RUNNING, paint, state_folder};
use crate::Done;

/// A screen that follows the exchange: how it is, who talks to whom, who is registered, the last lines of the
/// log; drawn anew each second. `q` or Ctrl-C leaves.
#[derive(FromArgs)]
#[argh(
    subcommand,
    name = "watch",
    note = "What the columns mean is told by `denwa calls --help` and `denwa phones --help`.\nIt works over ssh, and goes on when the exchange is started again.",
    error_code(1, "there is no terminal, or the exchange could not be asked"),
    error_code(2, "no exchange is running")
)]
pub(crate) struct Watch {
    /// the configuration of the exchange; if not given, as `denwa run` finds it
    #[argh(option, arg_name = "file")]
    config: Option<PathBuf>,
}

/// How often the screen is drawn.
const PERIOD: Duration = Duration::from_secs(1);

/// How long the exchange may take to answer: meanwhile no key is heard.
const PATIENCE: Duration = Duration::from_secs(2);

pub(crate) fn watch(arguments: Watch) -> Done {
    let state = state_folder(arguments.config)?;
    if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
        return Err("`denwa watch` needs a terminal; `denwa status`, `phones` and `calls` do not".into());
    }
    // Before the screen is touched: whoever runs nothing is told so like by any other command.
    let mut client = match Client::connect(&state) {
        Ok(client) => Some(client),
        Err(error) => {
            writeln!(io::stderr(), "{error}")?;
            let is_running = !matches!(error, AskError::NotRunning(_));
            return Ok(ExitCode::from(if is_running { 1 } else { NOT_RUNNING }));
        }
    };
    let signals = Signals::catch()?;
    let terminal = Terminal::take()?;
    let mut snapshot = None;
    let paint = paint();
    loop {
        let trouble = match look(&mut client, &state) {
            Ok(new) => {
                snapshot = Some(new);
                None
            }
            Err(error) => {
                client = None;
                Some(format!("{error}; trying again"))
            }
        };
        terminal.draw(&screen(snapshot.as_ref(), trouble.as_deref(), terminal.size(), paint))?;
        if wants_to_leave(&signals, Instant::now() + PERIOD)? {
            return Ok(ExitCode::SUCCESS);
        }
    }
}

/// Asks for all that is shown, on the connection that there is or a new one.
fn look(client: &mut Option<Client>, state: &Path) -> Result<Snapshot, AskError> {
    let client = match client {
        Some(client) => client,
        None => client.insert(Client::connect(state)?),
    };
    client.wait(Some(PATIENCE))?;
    let Reply::Status(status) = client.ask(&Request::Status)? else { return Err(FrameError::Garbled.into()) };
    let Reply::Log(log) = client.ask(&Request::Log)? else { return Err(FrameError::Garbled.into()) };
    Ok(Snapshot { status: *status, calls: client.calls()?, phones: client.phones()?, log })
}

/// Waits until then, or until somebody wants to leave; whether somebody does.
fn wants_to_leave(signals: &Signals, until: Instant) -> io::Result<bool> {
    let stdin = io::stdin();
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let time = Timespec { tv_sec: left.as_secs() as _, tv_nsec: left.subsec_nanos().into() };
        let keys = PollFd::new(&stdin, PollFlags::IN);
        let mut both = [keys, PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN)];
        match poll(&mut both, Some(&time)) {
            Ok(0) => return Ok(false),
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        if signals.next().is_some() {
            return Ok(true);
        }
        let [keys, _] = both;
        if !keys.revents().is_empty() {
            let mut key = [0];
            // At its end the terminal is gone.
            if stdin.lock().read(&mut key)? == 0 || LEAVE.contains(&key[0]) {
                return Ok(true);
            }
        }
    }
}

/// `q`, Ctrl-C, Ctrl-D and Ctrl-\.
const LEAVE: [u8; 5] = [b'q', b'Q', 0x03, 0x04, 0x1c];

/// What begins and ends the use of the screen: the alternate one, without a cursor (xterm's ctlseqs).
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const RESTORE: &str = "\x1b[?25h\x1b[?1049l";

/// The terminal as long as it is ours. However this ends, it is given back as it was.
struct Terminal(Termios);

impl Terminal {
    fn take() -> io::Result<Terminal> {
        let before = tcgetattr(io::stdin())?;
        let mut keys = before.clone();
        // Keys come one by one, unseen, and Ctrl-C is one of them.
        keys.local_modes &= !(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG | LocalModes::IEXTEN);
        let told = std::panic::take_hook();
        let restored = before.clone();
        std::panic::set_hook(Box::new(move |panic| {
            give_back(&restored);
            told(panic);
        }));
        let terminal = Terminal(before);
        tcsetattr(io::stdin(), OptionalActions::Now, &keys)?;
        put(ENTER)?;
        Ok(terminal)
    }

    /// Columns and rows; of a terminal that does not say so, what everybody has.
    fn size(&self) -> (usize, usize) {
        let size = tcgetwinsize(io::stdout()).ok().filter(|size| size.ws_col > 0 && size.ws_row > 0);
        size.map_or((80, 24), |size| (size.ws_col.into(), size.ws_row.into()))
    }

    /// Draws lines over what is there, so that nothing flickers.
    fn draw(&self, lines: &[String]) -> io::Result<()> {
        let mut text = String::from("\x1b[H");
        for (at, line) in lines.iter().enumerate() {
            if at > 0 {
                text.push_str("\r\n");
            }
            text.push_str(line);
            text.push_str("\x1b[K");
        }
        text.push_str("\x1b[J");
        put(&text)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        give_back(&self.0);
    }
}

/// Makes the terminal what it was.
fn give_back(before: &Termios) {
    // If it is gone, there is nothing to be given back.
    let _ = put(RESTORE);
    let _ = tcsetattr(io::stdin(), OptionalActions::Flush, before);
}

fn put(text: &str) -> io::Result<()> {
    let mut out = io::stdout();
    out.write_all(text.as_bytes())?;
    out.flush()
}
