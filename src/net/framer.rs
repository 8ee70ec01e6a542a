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
    /// What begins here is TLS (RFC 8446 §5.1: a handshake record), not a message.
    Tls,
    /// What begins here is a request of HTTP, with a method that SIP does not have.
    Http,
}

/// How HTTP begins, where it can be told from SIP.
const HTTP: [&[u8]; 9] =
    [b"GET ", b"HEAD ", b"POST ", b"PUT ", b"DELETE ", b"CONNECT ", b"TRACE ", b"PATCH ", b"PRI * HTTP/"];

impl Framer {
    /// Takes what was received and hands over what is complete, in order and without copying a
    /// message that arrived in one piece. `take` says whether to go on; what follows a frame
    /// after which it does not is dropped.
    ///
    /// # Errors
    ///
    /// After an error the stream can only be closed.
    pub fn feed(&mut self, received: &[u8], mut take: impl FnMut(Frame<'_>) -> bool) -> Result<(), Broken> {
        let mut held = mem::take(&mut self.held);
        if held.is_empty() {
            let used = self.cut(received, &mut take)?;
            self.held = received[used..].to_vec();
        } else {
            held.extend_from_slice(received);
            // What was room for a long message is not kept for the next one.
            self.held = match self.cut(&held, &mut take)? {
                0 => held,
                used => held[used..].to_vec(),
            };
        }
        Ok(())
    }

    /// What has come and was not handed over: for another framer, which then goes on as this one would.
    pub fn begun(&self) -> Vec<u8> {
        match self.held.is_empty() {
            true => b"\r\n\r\n".get(..self.ping).unwrap_or_default().to_vec(),
            false => self.held.clone(),
        }
    }

    /// How many bytes of an incomplete message are held; 0 between messages.
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// How much memory that takes, in bytes: less than twice as much, and nothing between messages.
    pub fn memory(&self) -> usize {
        self.held.capacity()
    }

    /// Hands over each complete frame in `bytes`; returns how many bytes are done with.
    fn cut(&mut self, bytes: &[u8], take: &mut impl FnMut(Frame<'_>) -> bool) -> Result<usize, Broken> {
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
            if let Some(foreign) = foreign(rest) {
                return Err(foreign);
            }

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

/// What begins with these bytes, if it is none of our business.
fn foreign(start: &[u8]) -> Option<Broken> {
    match start {
        // A record of the kind "handshake", of whichever version: SSL 3.0 to TLS 1.3 write a 3 here.
        [0x16, 3, ..] => Some(Broken::Tls),
        _ if HTTP.iter().any(|method| start.starts_with(method)) => Some(Broken::Http),
        _ => None,
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
    Some(digits.fold(0, |number: usize, digit| number.saturating_mul(10).saturating_add(digit)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// What came out of a stream: messages as text, `None` for a ping.
    type Frames = (Vec<Option<String>>, Result<(), Broken>);

    /// Feeds a stream in pieces that end where `cuts` says.
    fn feed(stream: &[u8], cuts: &[usize]) -> Frames {
        let mut framer = Framer::default();
        let mut frames = Vec::new();
        let mut start = 0;
        for end in cuts.iter().copied().chain([stream.len()]) {
            let result = framer.feed(&stream[start..end], |frame| {
                frames.push(match frame {
                    Frame::Message(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
                    Frame::Ping => None,
                });
                true
            });
            if result.is_err() {
                return (frames, result);
            }
            start = end;
        }
        (frames, Ok(()))
    }

    fn messages(stream: &str) -> Vec<String> {
        let (frames, result) = feed(stream.as_bytes(), &[]);
        assert_eq!(result, Ok(()));
        frames.into_iter().flatten().collect()
    }

    fn broken(stream: &str) -> (Vec<String>, Broken) {
        let (frames, result) = feed(stream.as_bytes(), &[]);
        (frames.into_iter().flatten().collect(), result.unwrap_err())
    }

    const INVITE: &str = "INVITE sip:1@h SIP/2.0\r\nl: 4\r\nTo: a\r\n\r\nv=0\n";
    const BYE: &str = "BYE sip:1@h SIP/2.0\r\nTo: b\r\nContent-Length: 0\r\n\r\n";

    #[test]
    fn another_framer_goes_on_where_one_ends() {
        let message = "MESSAGE sip:x SIP/2.0\r\nContent-Length: 4\r\n\r\nbody";
        let stream = format!("\r\n\r\n{message}\r\n\r\n{message}");
        let frames = |cut: Option<usize>| {
            let (mut framer, mut frames) = (Framer::default(), Vec::new());
            for (at, byte) in stream.bytes().enumerate() {
                if cut == Some(at) {
                    let begun = framer.begun();
                    framer = Framer::default();
                    framer.feed(&begun, |_| panic!("nothing of it is complete")).unwrap();
                }
                let mut take = |frame: Frame<'_>| {
                    frames.push(matches!(frame, Frame::Message(_)));
                    true
                };
                framer.feed(&[byte], &mut take).unwrap();
            }
            frames
        };
        assert_eq!(frames(None), [false, true, false, true]);
        for cut in 0..stream.len() {
            assert_eq!(frames(Some(cut)), frames(None), "{cut}");
        }
    }

    #[test]
    fn cuts_by_content_length_in_any_spelling() {
        for line in [
            "Content-Length: 3",
            "content-LENGTH:3",
            "l: 003",
            "L \t : \t3 ",
            "Content-Length:\r\n  3",
            "l: 3\r\nSubject: l: 9\r\nContent-Length: 3",
        ] {
            let message = format!("X sip:h SIP/2.0\r\nFoo: 9\r\n {line}\r\n{line}\r\n\r\nabc");
            assert_eq!(messages(&format!("{message}{BYE}")), [&message, BYE], "{line}");
        }
    }

    #[test]
    fn lines_may_end_with_lf_alone() {
        let message = "BYE sip:h SIP/2.0\nl: 2\n\nab";
        assert_eq!(messages(&format!("{message}{BYE}")), [message, BYE]);
    }

    #[test]
    fn the_same_frames_wherever_the_stream_is_split() {
        let stream = format!("\r\n{INVITE}\r\n\r\n{BYE}{BYE}\r\n\r\n\r\n\r\n\r\n{INVITE}\r\n\r\n");
        let stream = stream.as_bytes();
        let whole = feed(stream, &[]);
        let expected: Vec<_> = [Some(INVITE), None, Some(BYE), Some(BYE), None, None, Some(INVITE), None]
            .map(|frame| frame.map(str::to_owned))
            .into();
        assert_eq!(whole, (expected, Ok(())));
        for a in 0..=stream.len() {
            for b in a..=stream.len() {
                assert_eq!(feed(stream, &[a, b]), whole, "split at {a} and {b}");
            }
        }
        let each: Vec<usize> = (0..=stream.len()).collect();
        assert_eq!(feed(stream, &each), whole);
    }

    #[test]
    fn a_message_without_a_usable_length_is_handed_over_as_far_as_its_header_goes() {
        for line in [
            "Subject: none",
            "Content-Length:",
            "Content-Length: -1",
            "Content-Length: +1",
            "Content-Length: 1 1",
            "Content-Length: 1, 1",
            "l: 1\r\nContent-Length: 2",
        ] {
            let header = format!("BYE sip:h SIP/2.0\r\n{line}\r\n\r\n");
            let (handed, why) = broken(&format!("{INVITE}{header}{BYE}"));
            assert_eq!((handed, why), (vec![INVITE.to_owned(), header], Broken::Length), "{line}");
        }
    }

    #[test]
    fn a_message_may_be_as_long_as_a_datagram_and_no_longer() {
        let header = "BYE sip:h SIP/2.0\r\nl: 65000\r\nS: ".to_owned();
        for (excess, fits) in [(0, true), (1, false)] {
            let padding = MESSAGE_MAX - 65_000 - header.len() - 4 + excess;
            let message = format!("{header}{}\r\n\r\n{}", "p".repeat(padding), "b".repeat(65_000));
            assert_eq!(message.len(), MESSAGE_MAX + excess);
            match fits {
                true => assert_eq!(messages(&format!("{message}{BYE}")).len(), 2),
                false => assert_eq!(broken(&message).1, Broken::Message),
            }
        }
        let boundless = "BYE sip:h SIP/2.0\r\nl: 99999999999999999999999999\r\n\r\n";
        assert_eq!(broken(boundless), (vec![boundless.to_owned()], Broken::Message));
    }

    #[test]
    fn a_header_section_that_does_not_end_is_given_up() {
        for line in ["X: y\r\n", "y"] {
            let mut framer = Framer::default();
            let mut fed = 0;
            while framer.feed(line.as_bytes(), |_| unreachable!()).is_ok() {
                fed += line.len();
                assert_eq!(framer.held(), fed);
                assert!(fed <= HEADER_MAX);
            }
            assert!(fed > HEADER_MAX - line.len());
        }
    }

    #[test]
    fn other_protocols_are_recognised_by_their_first_bytes_however_these_come() {
        let hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".as_slice();
        let foreign = [
            (hello, Broken::Tls),
            (b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", Broken::Http),
            (b"POST /sip HTTP/1.0\r\n", Broken::Http),
            (b"CONNECT mail.example.com:25 HTTP/1.1\r\n", Broken::Http),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Broken::Http),
        ];
        for (stream, expected) in foreign {
            let each: Vec<usize> = (1..stream.len()).collect();
            for cuts in [&[][..], &[1], &each] {
                assert_eq!(feed(stream, cuts), (vec![], Err(expected)), "{stream:?} cut at {cuts:?}");
            }
            let behind = [BYE.as_bytes(), b"\r\n", stream].concat();
            assert_eq!(feed(&behind, &[]), (vec![Some(BYE.to_owned())], Err(expected)));
        }
        // What only looks like it: SIP has OPTIONS as well, and a method of SIP's may begin like one of HTTP's.
        for line in
            ["OPTIONS sip:h SIP/2.0", "GETTING sip:h SIP/2.0", "PUTATIVE sip:h SIP/2.0", "get sip:h SIP/2.0"]
        {
            let message = format!("{line}\r\nl: 0\r\n\r\n");
            assert_eq!(messages(&message), [message]);
        }
    }

    #[test]
    fn memory_is_given_back_as_soon_as_a_message_is_whole() {
        let mut framer = Framer::default();
        let long = format!("BYE sip:h SIP/2.0\r\nl: 60000\r\n\r\n{}", "b".repeat(60_000));
        let (begin, end) = long.split_at(59_000);
        for piece in begin.as_bytes().chunks(1_000) {
            framer.feed(piece, |_| unreachable!()).unwrap();
            assert!((framer.held()..=2 * framer.held()).contains(&framer.memory()));
        }
        assert_eq!(framer.held(), begin.len());
        framer.feed(format!("{end}INV").as_bytes(), |_| true).unwrap();
        assert_eq!((framer.held(), framer.memory()), (3, 3));
        framer.feed(&BYE.as_bytes()[3..], |_| true).unwrap();
        assert_eq!((framer.held(), framer.memory()), (0, 0));
    }

    #[test]
    fn what_follows_the_end_is_dropped() {
        let mut framer = Framer::default();
        let mut count = 0;
        let stream = format!("{BYE}{BYE}INV");
        let result = framer.feed(stream.as_bytes(), |_| {
            count += 1;
            false
        });
        assert_eq!((result, count, framer.held()), (Ok(()), 1, 0));
    }

    #[test]
    fn each_byte_is_searched_once() {
        // 30 KB of header a byte at a time: 4.5e8 looks if each search began anew, which a debug
        // build does not do in the time that this test allows itself.
        let start = std::time::Instant::now();
        for _ in 0..20 {
            let mut framer = Framer::default();
            for _ in 0..30_000 {
                framer.feed(b"x", |_| unreachable!()).unwrap();
            }
        }
        assert!(start.elapsed() < std::time::Duration::from_secs(2));
    }

    #[test]
    fn garbage_never_panics_and_never_holds_more_than_a_message() {
        let alphabet = b"\r\n\r\n\r\n:l 01234Content-Length\0\xff";
        let mut state = 1u64;
        let mut random = |below: usize| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 33) as usize % below
        };
        for _ in 0..2_000 {
            let mut framer = Framer::default();
            for _ in 0..50 {
                let piece: Vec<u8> = (0..random(200)).map(|_| alphabet[random(alphabet.len())]).collect();
                let mut handed = 0;
                let result = framer.feed(&piece, |frame| {
                    handed += matches!(frame, Frame::Message(bytes) if !bytes.is_empty()) as usize;
                    true
                });
                assert!(handed <= piece.len());
                assert!(framer.held() <= MESSAGE_MAX + piece.len());
                if result.is_err() {
                    break;
                }
            }
        }
    }
}
