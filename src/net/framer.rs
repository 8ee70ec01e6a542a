//! Where one message ends and the next begins on a stream: by Content-Length (RFC 3261 §18.3).
//!
//! Pure, and linear in what is received however small the pieces: no byte is looked at more than
//! twice, once to find the end of the header section and once to find its Content-Length.

use std::mem;

/// The longest message, as long as a datagram can be.
pub const MESSAGE_MAX: usize = 65_535;

/// The longest header section, with the start line and the empty line.
pub const HEADER_MAX: usize = 32_768;

/// Cuts a stream of bytes into messages.
#[derive(Debug, Default)]
pub struct Framer {
    /// A message that has begun and is not complete.
    held: Vec<u8>,
    /// How far `held` was searched for the empty line.
    searched: usize,
    /// Where the line begins in which the search stopped.
    line: usize,
    /// How long the message will be, once its header section is known.
    length: Option<usize>,
    /// How much of CRLFCRLF has come between messages.
    ping: usize,
}

/// What a stream consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// A whole message, from its start line on.
    Message(&'a [u8]),
    /// CRLFCRLF between messages, which wants CRLF for an answer (RFC 5626 §3.5.1). A single CRLF
    /// is skipped (RFC 3261 §7.5).
    Ping,
}

/// Why a stream cannot be cut any further: nobody knows where the next message begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// There is no Content-Length, or one that is not a number, or two that differ. The header
    /// section was handed over as a message, since it deserves an answer.
    Length,
    /// The message is longer than [`MESSAGE_MAX`]. Its header section was handed over as well.
    Message,
    /// The header section is longer than [`HEADER_MAX`].
    Header,
}

impl Framer {
    /// Takes what was received and hands over what is complete, in order and without copying a
    /// message that arrived in one piece. `take` says whether to go on; what follows a frame
    /// after which it does not is dropped.
    ///
    /// # Errors
    ///
    /// After an error the stream can only be closed.
    pub fn feed(
        &mut self,
        received: &[u8],
        mut take: impl FnMut(Frame<'_>) -> bool,
    ) -> Result<(), Broken> {
        let mut held = mem::take(&mut self.held);
        if held.is_empty() {
            let used = self.cut(received, &mut take)?;
            self.held.extend_from_slice(&received[used..]);
        } else {
            held.extend_from_slice(received);
            let used = self.cut(&held, &mut take)?;
            if used < held.len() {
                held.drain(..used);
                self.held = held;
            }
        }
        Ok(())
    }

    /// How many bytes of an incomplete message are held; 0 between messages.
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// Hands over each complete frame in `bytes`; returns how many bytes are done with.
    fn cut(
        &mut self,
        bytes: &[u8],
        take: &mut impl FnMut(Frame<'_>) -> bool,
    ) -> Result<usize, Broken> {
        let mut rest = bytes;
        loop {
            if self.searched == 0 {
                while let [first @ (b'\r' | b'\n'), after @ ..] = rest {
                    rest = after;
                    if self.is_ping(*first) && !take(Frame::Ping) {
                        return Ok(bytes.len());
                    }
                }
            }
            if rest.is_empty() {
                return Ok(bytes.len());
            }
            self.ping = 0;

            let length = match self.measure(rest) {
                Ok(Some(length)) if length <= rest.len() => length,
                Ok(_) => return Ok(bytes.len() - rest.len()),
                Err((broken, header)) => {
                    if header > 0 {
                        take(Frame::Message(&rest[..header]));
                    }
                    return Err(broken);
                }
            };
            let (message, after) = rest.split_at(length);
            rest = after;
            (self.searched, self.line, self.length) = (0, 0, None);
            if !take(Frame::Message(message)) {
                return Ok(bytes.len());
            }
        }
    }

    /// Whether this CR or LF between messages completes a CRLFCRLF.
    fn is_ping(&mut self, byte: u8) -> bool {
        self.ping = match (byte, self.ping) {
            (b'\r', 2) => 3,
            (b'\r', _) => 1,
            (_, 1) => 2,
            (_, 3) => 4,
            _ => 0,
        };
        let complete = self.ping == 4;
        if complete {
            self.ping = 0;
        }
        complete
    }

    /// How long the message at the start of `bytes` is, as soon as its header section is there.
    /// An error comes with the length of the header section, if that is known.
    fn measure(&mut self, bytes: &[u8]) -> Result<Option<usize>, (Broken, usize)> {
        if self.length.is_some() {
            return Ok(self.length);
        }
        let Some(header) = self.find_header_end(bytes) else {
            return match self.searched > HEADER_MAX {
                true => Err((Broken::Header, 0)),
                false => Ok(None),
            };
        };
        if header > HEADER_MAX {
            return Err((Broken::Header, 0));
        }
        let body = content_length(&bytes[..header]).ok_or((Broken::Length, header))?;
        match header.saturating_add(body) {
            length @ ..=MESSAGE_MAX => self.length = Some(length),
            _ => return Err((Broken::Message, header)),
        }
        Ok(self.length)
    }

    /// Where the header section ends, behind its empty line. Goes on where it stopped last.
    fn find_header_end(&mut self, bytes: &[u8]) -> Option<usize> {
        while let Some(found) = bytes[self.searched..].iter().position(|&b| b == b'\n') {
            let end = self.searched + found;
            let line = &bytes[self.line..end];
            (self.searched, self.line) = (end + 1, end + 1);
            if matches!(line, [] | [b'\r']) {
                return Some(end + 1);
            }
        }
        self.searched = bytes.len();
        None
    }
}

/// The value of Content-Length in a header section, if there is one and only one.
fn content_length(header: &[u8]) -> Option<usize> {
    let mut value = None;
    let mut lines = header.split_inclusive(|&b| b == b'\n').skip(1).peekable();
    let mut at = header.iter().position(|&b| b == b'\n')? + 1;
    while let Some(first) = lines.next() {
        let start = at;
        at += first.len();
        // Lines that begin with a blank belong to the line before (RFC 3261 §7.3.1).
        while let Some(folded) = lines.next_if(|line| matches!(line, [b' ' | b'\t', ..])) {
            at += folded.len();
        }
        let Some(colon) = first.iter().position(|&b| b == b':') else {
            continue;
        };
        let name = first[..colon].trim_ascii();
        if !name.eq_ignore_ascii_case(b"Content-Length") && !name.eq_ignore_ascii_case(b"l") {
            continue;
        }
        let this = number(header[start + colon + 1..at].trim_ascii())?;
        if value.is_some_and(|value| value != this) {
            return None;
        }
        value = Some(this);
    }
    value
}

/// A number of nothing but digits; the largest there is if it is larger still.
fn number(digits: &[u8]) -> Option<usize> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digits = digits.iter().map(|digit| usize::from(digit - b'0'));
    Some(digits.fold(0, |number: usize, digit| {
        number.saturating_mul(10).saturating_add(digit)
    }))
}
