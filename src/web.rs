//! Asking a web server for one thing: what a friend publishes, what the cloud knows of the machine.
//!
//! One question a connection, by HTTP/1.1, through TLS or not. Heads and the sizes of chunks are read by `httparse`,
//! TLS is rustls's. Nothing else of the web is here: no redirect is followed, nothing is kept, nothing compressed
//! is asked for. Every octet and every moment is bounded, whoever answers.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use httparse::{EMPTY_HEADER, Header, Response, Status, parse_chunk_size};
use rustls::{ClientConnection, StreamOwned};

use crate::config::WebAddress;

/// The most octets of an answer's head, and of what stands before a chunk.
const MAX_HEAD: usize = 16 << 10;

/// The most headers of an answer.
const MAX_HEADERS: usize = 100;

/// What is asked.
pub(crate) struct Question<'a> {
    pub(crate) method: &'static str,
    /// Whom.
    pub(crate) address: &'a WebAddress,
    /// For what: printable ASCII that begins with a slash.
    pub(crate) path: &'a str,
    /// One header, whose value is printable ASCII as well.
    pub(crate) header: (&'static str, &'a str),
}

/// What is answered: the head, and a body that is still to be read.
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// `Content-Type`.
    pub(crate) kind: Option<String>,
    /// `Location`.
    pub(crate) location: Option<String>,
    length: Length,
    /// What came and is not read.
    received: Vec<u8>,
    stream: Box<dyn Stream>,
}

/// Where a body ends (RFC 9112 §6.3).
enum Length {
    Known(usize),
    Chunked,
    /// Where the connection does.
    Open,
}

/// Why nothing is answered.
#[derive(Debug)]
pub(crate) enum WebError {
    /// Nobody can be reached, or what comes is no answer in time.
    Io(io::Error),
    /// The body has more octets than are wanted.
    TooLarge,
}

impl fmt::Display for WebError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WebError::Io(error) => error.fmt(f),
            WebError::TooLarge => f.write_str("the answer is too large"),
        }
    }
}

impl From<io::Error> for WebError {
    fn from(error: io::Error) -> WebError {
        WebError::Io(error)
    }
}

impl Question<'_> {
    /// Asks whoever is at the first of these addresses that can be reached, through `tls` if it is given. All of it,
    /// the body as well, is to be done at this time.
    ///
    /// # Errors
    ///
    /// Why there is no answer.
    pub(crate) fn ask(
        &self,
        at: &[SocketAddr],
        tls: Option<ClientConnection>,
        until: Instant,
    ) -> Result<Answer, WebError> {
        let socket = Patient { socket: connect(at, until)?, until };
        let mut stream: Box<dyn Stream> = match tls {
            Some(tls) => Box::new(StreamOwned::new(tls, socket)),
            None => Box::new(socket),
        };
        let (name, value) = self.header;
        // RFC 9110 §8.6.
        let length = if self.method == "PUT" { "Content-Length: 0\r\n" } else { "" };
        let (method, path, host) = (self.method, self.path, self.address.authority());
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: denwa\r\nConnection: close\r\n\
             {length}{name}: {value}\r\n\r\n"
        );
        stream.write_all(head.as_bytes())?;
        stream.flush()?;
        Answer::read(stream)
    }
}

impl Answer {
    fn read(mut stream: Box<dyn Stream>) -> Result<Answer, WebError> {
        let mut received = Vec::new();
        loop {
            let mut headers = [EMPTY_HEADER; MAX_HEADERS];
            let mut head = Response::new(&mut headers);
            let length = match head.parse(&received).map_err(|_| nonsense())? {
                Status::Complete(length) => length,
                Status::Partial if received.len() > MAX_HEAD => return Err(nonsense()),
                Status::Partial => {
                    more(&mut stream, &mut received)?;
                    continue;
                }
            };
            let status = head.code.unwrap_or(0);
            let text =
                |name| value(head.headers, name).map(|value| String::from_utf8_lossy(value).into_owned());
            let (kind, location) = (text("Content-Type"), text("Location"));
            let body = Length::of(head.headers)?;
            received.drain(..length);
            // What comes before the answer itself (RFC 9110 §15.2).
            if !(100..200).contains(&status) {
                return Ok(Answer { status, kind, location, length: body, received, stream });
            }
        }
    }

    /// The body, if it has no more than `most` octets.
    ///
    /// # Errors
    ///
    /// Why it cannot be had, or not all of it.
    pub(crate) fn body(mut self, most: usize) -> Result<Vec<u8>, WebError> {
        match self.length {
            Length::Known(length) if length > most => Err(WebError::TooLarge),
            Length::Known(length) => {
                self.wait_for(length)?;
                self.received.truncate(length);
                Ok(self.received)
            }
            Length::Open => {
                while self.received.len() <= most {
                    if read(&mut self.stream, &mut self.received)? == 0 {
                        return Ok(self.received);
                    }
                }
                Err(WebError::TooLarge)
            }
            Length::Chunked => self.chunks(most),
        }
    }

    /// What is in chunks (RFC 9112 §7.1). What may follow the last one is not waited for.
    fn chunks(mut self, most: usize) -> Result<Vec<u8>, WebError> {
        let mut body = Vec::new();
        loop {
            let (start, size) = match parse_chunk_size(&self.received).map_err(|_| nonsense())? {
                Status::Complete((_, 0)) => return Ok(body),
                Status::Complete((_, size)) if size > (most - body.len()) as u64 => {
                    return Err(WebError::TooLarge);
                }
                Status::Complete((start, size)) => (start, size as usize),
                Status::Partial if self.received.len() > MAX_HEAD => return Err(nonsense()),
                Status::Partial => {
                    more(&mut self.stream, &mut self.received)?;
                    continue;
                }
            };
            self.wait_for(start + size + 2)?;
            let chunk = self.received.get(start..).and_then(|rest| rest.split_at_checked(size));
            match chunk {
                Some((chunk, rest)) if rest.starts_with(b"\r\n") => body.extend_from_slice(chunk),
                _ => return Err(nonsense()),
            }
            self.received.drain(..start + size + 2);
        }
    }

    fn wait_for(&mut self, octets: usize) -> Result<(), WebError> {
        while self.received.len() < octets {
            more(&mut self.stream, &mut self.received)?;
        }
        Ok(())
    }
}

impl Length {
    /// What two headers would say differently is no length: somebody else may have read the other one.
    fn of(headers: &[Header<'_>]) -> Result<Length, WebError> {
        let mut lengths = headers.iter().filter(|header| header.name.eq_ignore_ascii_case("Content-Length"));
        match (value(headers, "Transfer-Encoding"), lengths.next(), lengths.next()) {
            (Some(coding), None, _) if coding.eq_ignore_ascii_case(b"chunked") => Ok(Length::Chunked),
            (None, Some(length), None) => {
                let digits = std::str::from_utf8(length.value).ok().filter(|text| !text.starts_with('+'));
                digits.and_then(|digits| digits.parse().ok()).map(Length::Known).ok_or_else(nonsense)
            }
            (None, None, _) => Ok(Length::Open),
            _ => Err(nonsense()),
        }
    }
}

fn value<'h>(headers: &[Header<'h>], name: &str) -> Option<&'h [u8]> {
    headers.iter().find(|header| header.name.eq_ignore_ascii_case(name)).map(|header| header.value)
}

fn nonsense() -> WebError {
    WebError::Io(io::Error::new(io::ErrorKind::InvalidData, "what answers there does not speak HTTP"))
}

/// Some octets more; there must be some.
fn more(stream: &mut dyn Stream, received: &mut Vec<u8>) -> Result<(), WebError> {
    match read(stream, received)? {
        0 => Err(WebError::Io(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "the connection was closed before the answer was complete",
        ))),
        _ => Ok(()),
    }
}

fn read(stream: &mut dyn Stream, received: &mut Vec<u8>) -> io::Result<usize> {
    let mut piece = [0; 4096];
    let count = stream.read(&mut piece)?;
    received.extend_from_slice(piece.get(..count).unwrap_or_default());
    Ok(count)
}

/// The first that can be reached; each has its share of the time.
fn connect(at: &[SocketAddr], until: Instant) -> io::Result<TcpStream> {
    let mut failed = io::Error::new(io::ErrorKind::NotFound, "there is no address");
    for (tried, address) in at.iter().enumerate() {
        let share = left(until)? / (at.len() - tried) as u32;
        match TcpStream::connect_timeout(address, share) {
            Ok(socket) => return Ok(socket),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

fn left(until: Instant) -> io::Result<Duration> {
    match until.saturating_duration_since(Instant::now()) {
        Duration::ZERO => Err(late()),
        left => Ok(left),
    }
}

fn late() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "there is no answer in time")
}

trait Stream: Read + Write {}

impl<T: Read + Write> Stream for T {}

/// A connection that is used until a certain time, however slowly its other side is.
struct Patient {
    socket: TcpStream,
    until: Instant,
}

/// The system's word for a time that has passed is that nothing is there.
fn in_time(done: io::Result<usize>) -> io::Result<usize> {
    done.map_err(|error| if error.kind() == io::ErrorKind::WouldBlock { late() } else { error })
}

impl Read for Patient {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.set_read_timeout(Some(left(self.until)?))?;
        in_time(self.socket.read(buffer))
    }
}

impl Write for Patient {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.socket.set_write_timeout(Some(left(self.until)?))?;
        in_time(self.socket.write(octets))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    /// A connection on which this comes, an octet at a time or as much as is asked for.
    struct Says(Vec<u8>, usize, bool);

    impl Read for Says {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let rest = &self.0[self.1..];
            let count = rest.len().min(if self.2 { 1 } else { buffer.len() });
            buffer[..count].copy_from_slice(&rest[..count]);
            self.1 += count;
            Ok(count)
        }
    }

    impl Write for Says {
        fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
            Ok(octets.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// The status and the body, of at most ten octets, that come out of this.
    fn heard(octets: &str) -> Result<(u16, String), String> {
        let heard = |slowly| {
            let says = Says(octets.as_bytes().to_vec(), 0, slowly);
            let answer = Answer::read(Box::new(says)).map_err(|error| error.to_string())?;
            let status = answer.status;
            let body = answer.body(10).map_err(|error| error.to_string())?;
            Ok((status, String::from_utf8(body).unwrap()))
        };
        let at_once = heard(false);
        assert_eq!(heard(true), at_once, "{octets:?}");
        at_once
    }

    #[test]
    fn a_body_ends_where_the_head_says() {
        for (octets, status, body) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcdef", 200, "abc"),
            ("HTTP/1.1 404 No\r\ncontent-length: 0\r\n\r\n", 404, ""),
            ("HTTP/1.0 200 OK\r\n\r\n0123456789", 200, "0123456789"),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n",
                200,
                "abcde",
            ),
            ("HTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na", 200, "a"),
        ] {
            assert_eq!(heard(octets), Ok((status, body.to_owned())), "{octets:?}");
        }
    }

    #[test]
    fn a_body_that_is_too_large_is_not_read() {
        for octets in [
            "HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n",
            "HTTP/1.1 200 OK\r\n\r\n01234567890",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nabcdef\r\n5\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
        ] {
            assert_eq!(heard(octets), Err("the answer is too large".into()), "{octets:?}");
        }
    }

    #[test]
    fn what_is_cut_off_or_means_two_things_is_no_answer() {
        let long = format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(MAX_HEAD));
        let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: y\r\n".repeat(MAX_HEADERS + 1));
        let extended =
            format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;{}", "x".repeat(MAX_HEAD));
        for octets in [
            "",
            "HTTP/1.1 200",
            "SIP/2.0 200 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabc",
            "HTTP/1.1 200 OK\r\nContent-Length: +3\r\n\r\nabc",
            "HTTP/1.1 200 OK\r\nContent-Length: -3\r\n\r\nabc",
            "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nabc",
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 2\r\n\r\nabc",
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcdef\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
            &long,
            &many,
            &extended,
        ] {
            let why = heard(octets).unwrap_err();
            assert!(why.contains("does not speak HTTP") || why.contains("was closed"), "{octets:?}: {why}");
        }
    }

    #[test]
    fn a_question_is_one_request() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let server = thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            let mut request = [0; 1000];
            let count = socket.read(&mut request).unwrap();
            socket.write_all(b"HTTP/1.1 302 Go\r\nLocation: /x\r\nContent-Type: a/b\r\n\r\n").unwrap();
            String::from_utf8(request[..count].to_vec()).unwrap()
        });
        let address = WebAddress::parse("http://Friend.example:8080/a").unwrap();
        let question =
            Question { method: "GET", address: &address, path: address.path(), header: ("Accept", "a/b") };
        // The first one is no address of anybody's.
        let nobody = SocketAddr::from(([127, 0, 0, 1], 1));
        let answer = question.ask(&[nobody, at], None, Instant::now() + Duration::from_secs(10)).unwrap();
        assert_eq!(
            (answer.status, answer.location.as_deref(), answer.kind.as_deref()),
            (302, Some("/x"), Some("a/b"))
        );
        assert_eq!(
            server.join().unwrap(),
            "GET /a HTTP/1.1\r\nHost: Friend.example:8080\r\nUser-Agent: denwa\r\nConnection: close\r\n\
             Accept: a/b\r\n\r\n"
        );
    }
}
