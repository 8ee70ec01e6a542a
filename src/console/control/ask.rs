//! The command's side: asking the exchange that runs on a state folder.

use std::fmt;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::harmless::Harmless;
use super::{
    FrameError, HEADER, MAX_REPLY, MAX_REQUEST, Reply, Request, SOCKET, connect, decode, encode, length,
};
use crate::switch::view::{CallView, ExtensionView};

/// How long the exchange may take to answer. It takes milliseconds, unless it is stopped or about to be
/// started again.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Why nothing was answered.
#[derive(Debug)]
pub enum AskError {
    /// Nobody answers on the socket: no exchange runs.
    NotRunning(PathBuf),
    /// Only root and whoever the exchange runs as may ask.
    NotAllowed(PathBuf),
    /// The connection broke, or took too long.
    Broken(io::Error),
    /// It is not spoken as we speak.
    Frame(FrameError),
    /// The exchange says why not.
    Refused(String),
    /// What it said cannot be shown.
    Output(io::Error),
}

impl std::error::Error for AskError {}

impl fmt::Display for AskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AskError::NotRunning(path) => write!(
                f,
                "no exchange is running: nobody answers at {}; if one is, name its configuration with --config",
                path.display()
            ),
            AskError::NotAllowed(path) => write!(
                f,
                "{} is closed to you: only root and the user that the exchange runs as may ask it (`sudo denwa \
                 …`)",
                path.display()
            ),
            AskError::Broken(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                    write!(f, "the exchange does not answer within {} s", PATIENCE.as_secs())
                }
                io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
                    f.write_str("the exchange closed the connection; try again")
                }
                _ => write!(f, "the exchange cannot be asked: {error}"),
            },
            AskError::Frame(error) => error.fmt(f),
            AskError::Refused(why) => f.write_str(why),
            AskError::Output(error) => write!(f, "standard output: {error}"),
        }
    }
}

impl From<io::Error> for AskError {
    fn from(error: io::Error) -> AskError {
        AskError::Broken(error)
    }
}

impl From<FrameError> for AskError {
    fn from(error: FrameError) -> AskError {
        AskError::Frame(error)
    }
}

/// A connection to the exchange.
#[derive(Debug)]
pub struct Client(UnixStream);

impl Client {
    /// On a connection that stands.
    #[cfg(test)]
    pub(super) fn over(stream: UnixStream) -> Client {
        Client(stream)
    }

    /// Connects to the exchange that has its state in `folder`.
    ///
    /// # Errors
    ///
    /// If nobody answers there, or not to us.
    pub fn connect(folder: &Path) -> Result<Client, AskError> {
        let stream = connect(folder, SOCKET).map_err(|error| {
            let path = folder.join(SOCKET);
            match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused | io::ErrorKind::NotADirectory => {
                    AskError::NotRunning(path)
                }
                io::ErrorKind::PermissionDenied => AskError::NotAllowed(path),
                _ => AskError::Broken(error),
            }
        })?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Client(stream))
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    ///
    /// All of [`AskError`] but those of [`Client::connect`].
    pub fn ask(&mut self, request: &Request) -> Result<Reply, AskError> {
        self.send(request)?;
        self.hear()
    }

    /// Asks, without waiting.
    ///
    /// # Errors
    ///
    /// If the connection is broken.
    pub fn send(&mut self, request: &Request) -> Result<(), AskError> {
        Ok(self.0.write_all(&encode(request, MAX_REQUEST)?)?)
    }

    /// The next answer, with nothing in it that a terminal would obey.
    ///
    /// # Errors
    ///
    /// All of [`AskError`] but those of [`Client::connect`].
    pub fn hear(&mut self) -> Result<Reply, AskError> {
        let mut header = [0; HEADER];
        self.0.read_exact(&mut header)?;
        let mut frame = vec![0; length(header, MAX_REPLY)?];
        self.0.read_exact(&mut frame)?;
        match decode(&frame)? {
            Harmless(Reply::Refused(why)) => Err(AskError::Refused(why)),
            Harmless(reply) => Ok(reply),
        }
    }

    /// Waits so long for each answer from now on; `None`: for as long as it takes, as for what is traced.
    ///
    /// # Errors
    ///
    /// If the system refuses it.
    pub fn wait(&self, patience: Option<Duration>) -> Result<(), AskError> {
        Ok(self.0.set_read_timeout(patience)?)
    }

    /// All extensions and their phones.
    ///
    /// # Errors
    ///
    /// As [`Client::ask`].
    pub fn phones(&mut self) -> Result<Vec<ExtensionView>, AskError> {
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let Reply::Phones { phones, next } = self.ask(&Request::Phones { after })? else {
                return Err(FrameError::Garbled.into());
            };
            all.extend(phones);
            match next {
                Some(_) => after = next,
                None => return Ok(all),
            }
        }
    }

    /// All calls.
    ///
    /// # Errors
    ///
    /// As [`Client::ask`].
    pub fn calls(&mut self) -> Result<Vec<CallView>, AskError> {
        let (mut all, mut after) = (Vec::new(), 0);
        loop {
            let Reply::Calls { calls, next } = self.ask(&Request::Calls { after })? else {
                return Err(FrameError::Garbled.into());
            };
            all.extend(calls);
            match next {
                Some(next) => after = next,
                None => return Ok(all),
            }
        }
    }
}
