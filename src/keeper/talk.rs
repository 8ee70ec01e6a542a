//! What the operator's commands and the keeper say to each other, on the socket `keeper` of the state folder.
//!
//! Either side first says which version it speaks. Then the command asks one thing, and gets one answer.
//! Each of these is a frame: four octets with the length of the rest (little end first), and the rest in
//! postcard's form.

use std::fmt;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::MAX_BYTES;
use crate::console::control::connect;

/// The name of the socket in the state folder.
pub(super) const SOCKET: &str = "keeper";

/// Another one means that what follows cannot be understood.
pub(super) const VERSION: u32 = 1;

/// The most octets of the first thing that is said.
pub(super) const MAX_HELLO: usize = 256;

/// The most octets of a request: a configuration, or a path, and room for numbers.
pub(super) const MAX_REQUEST: usize = MAX_BYTES + libc::PATH_MAX as usize + 64;

/// The most octets of an answer. What is longer is cut off.
pub(super) const MAX_ANSWER: usize = 64 << 10;

/// How long a command waits for its answer: longer than anything takes that can be asked.
const PATIENCE: Duration = Duration::from_secs(30);

/// The first thing that either side says.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Hello {
    /// Which version of this it speaks.
    pub(super) version: u32,
    /// Which version of denwa it is.
    pub(super) program: String,
}

impl Hello {
    pub(super) fn own() -> Hello {
        Hello { version: VERSION, program: crate::VERSION.into() }
    }
}

/// What is asked.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub enum Request {
    /// To go on with the configuration of which this is the file.
    Reload(Vec<u8>),
    /// To have this program take over from the exchange that runs; without one, that which is now where the
    /// keeper was started from.
    Upgrade(Option<PathBuf>),
    /// To stop. The answer is that the connection ends, with the keeper.
    Stop {
        /// Whether calls are ended first, or kept for the next start.
        hang_up: bool,
    },
    /// To say where the configuration is that it was started on: a whole path, the only sentence of the answer.
    Whereabouts,
}

/// What comes of it, in sentences for people; of several lines where there are several mistakes.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub enum Answer {
    /// It is done. What else there is to know about it.
    Done(Vec<String>),
    /// It is not, and nothing has changed.
    Failed(String),
}

/// Packs a frame.
pub(super) fn frame(content: &impl Serialize) -> io::Result<Vec<u8>> {
    let body = postcard::to_allocvec(content).map_err(io::Error::other)?;
    let length = u32::try_from(body.len()).map_err(io::Error::other)?;
    Ok([&length.to_le_bytes()[..], &body].concat())
}

/// The frame at the beginning of what was received, and where the next one begins. `None`: more has to
/// come.
///
/// # Errors
///
/// It is longer than `most`, or no such thing.
pub(super) fn unframe<T: for<'a> Deserialize<'a>>(
    received: &[u8],
    most: usize,
) -> io::Result<Option<(T, usize)>> {
    let Some((length, rest)) = received.split_first_chunk::<4>() else { return Ok(None) };
    let length = u32::from_le_bytes(*length) as usize;
    if length > most {
        return Err(io::Error::other(format!("{length} octets are too many")));
    }
    let Some(body) = rest.get(..length) else { return Ok(None) };
    let content = postcard::from_bytes(body).map_err(io::Error::other)?;
    Ok(Some((content, 4 + length)))
}

/// Why there is no answer.
#[derive(Debug)]
pub enum AskError {
    /// Nobody is there.
    Nobody {
        /// Where.
        state: PathBuf,
    },
    /// The socket is somebody else's.
    Forbidden {
        /// Where it is.
        socket: PathBuf,
    },
    /// The keeper is another version of denwa.
    Version {
        /// Which.
        program: String,
    },
    /// The keeper has ended without an answer.
    Ended,
    /// The keeper says nothing, or nonsense.
    Broken(io::Error),
}

impl std::error::Error for AskError {}

impl fmt::Display for AskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AskError::Nobody { state } => write!(
                f,
                "no denwa answers in {}: it does not run, or it was started with another `state`",
                state.display()
            ),
            AskError::Forbidden { socket } => write!(
                f,
                "{}: permission denied; only root, and the user that denwa runs as, may ask it",
                socket.display()
            ),
            AskError::Version { program } => write!(
                f,
                "the denwa that runs is version {program}, which does not understand this; start it again"
            ),
            AskError::Ended => f.write_str("denwa ended before it answered"),
            AskError::Broken(error) => write!(f, "denwa does not answer: {error}"),
        }
    }
}

/// Asks the keeper of a state folder. Waits for at most 30 s.
///
/// # Errors
///
/// Why there is no answer.
pub fn ask(state: &Path, request: &Request) -> Result<Answer, AskError> {
    let socket = state.join(SOCKET);
    let stream = connect(state, SOCKET).map_err(|error| match error.kind() {
        io::ErrorKind::PermissionDenied => AskError::Forbidden { socket: socket.clone() },
        _ => AskError::Nobody { state: state.to_owned() },
    })?;
    let (hello, answer) = exchange(&stream, request).map_err(|error| match error.kind() {
        // It closes the connection of somebody else at once.
        _ if is_end(&error) => AskError::Forbidden { socket },
        _ => AskError::Broken(error),
    })?;
    match answer {
        _ if hello.version != VERSION => Err(AskError::Version { program: hello.program }),
        Ok(answer) => Ok(answer),
        Err(error) if is_end(&error) => Err(AskError::Ended),
        Err(error) => Err(AskError::Broken(error)),
    }
}

fn is_end(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionReset | UnexpectedEof)
}

/// Says it all, and listens: who the other side is, and what it answers.
fn exchange(mut stream: &UnixStream, request: &Request) -> io::Result<(Hello, io::Result<Answer>)> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(&[frame(&Hello::own())?, frame(request)?].concat())?;
    Ok((read(stream)?, read(stream)))
}

fn read<T: for<'a> Deserialize<'a>>(mut stream: &UnixStream) -> io::Result<T> {
    let mut received = vec![0; 4];
    stream.read_exact(&mut received)?;
    loop {
        if let Some((content, _)) = unframe(&received, 2 * MAX_ANSWER)? {
            return Ok(content);
        }
        let length = u32::from_le_bytes(*received.first_chunk().unwrap_or(&[0; 4])) as usize;
        received.resize(4 + length, 0);
        stream.read_exact(received.get_mut(4..).unwrap_or_default())?;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_cut_out_of_what_comes() {
        let request = Request::Reload(vec![7; 300]);
        let both = [frame(&Hello::own()).unwrap(), frame(&request).unwrap()].concat();
        let first = frame(&Hello::own()).unwrap().len();
        for length in 0..both.len() {
            let got = unframe::<Hello>(&both[..length], MAX_REQUEST).unwrap();
            assert_eq!(got.is_some(), length >= first);
        }
        let (hello, end) = unframe::<Hello>(&both, MAX_REQUEST).unwrap().unwrap();
        assert_eq!((hello, end), (Hello::own(), first));
        let (got, end) = unframe::<Request>(&both[first..], MAX_REQUEST).unwrap().unwrap();
        assert_eq!((got, first + end), (request, both.len()));
    }

    #[test]
    fn what_is_none_is_an_error() {
        assert!(unframe::<Request>(&[255; 4], MAX_REQUEST).is_err());
        assert!(unframe::<Request>(&[2, 0, 0, 0, 99, 0], MAX_REQUEST).is_err());
        assert!(unframe::<Hello>(&[3, 0, 0, 0, 1, 200, 0], MAX_REQUEST).is_err());
        assert!(unframe::<Request>(&[0; 4], MAX_REQUEST).is_err());
    }
}
