//! A stream of messages: however it is chopped, the same frames come out of it, and each is as long
//! as its message says.

use denwa::net::framer::{Broken, Frame, Framer, HEADER_MAX, MESSAGE_MAX};
use denwa::sip::{Message, check_request, check_response};

use super::cost;
use super::rest::Rest;

/// A byte that counts the cuts, a byte for the length of each piece, and the stream.
pub fn run(bytes: &[u8]) {
    cost::bounded(bytes.len(), || look(bytes));
}

/// What came out: the messages, `None` for a ping, and how it ended.
type Frames = (Vec<Option<Vec<u8>>>, Result<(), Broken>);

fn look(bytes: &[u8]) {
    let mut rest = Rest(bytes);
    let count = usize::from(rest.byte() % 32);
    let lengths = rest.take(count);
    let stream = rest.0;

    let whole = feed(stream, &[], usize::MAX);
    check(stream, &whole);
    assert_eq!(feed(stream, lengths, usize::MAX), whole, "cut at {lengths:?}");
    assert_eq!(feed(stream, &[1], usize::MAX), whole, "a byte at a time");
    // Whoever wants no more gets no more.
    for last in 0..whole.0.len().min(4) {
        assert_eq!(feed(stream, lengths, last).0, whole.0[..=last]);
    }
}

/// Feeds a stream in pieces of these lengths, over and over; `last` is the number of the frame after which
/// no more is wanted.
fn feed(stream: &[u8], lengths: &[u8], last: usize) -> Frames {
    let mut framer = Framer::default();
    let mut frames = Vec::new();
    let mut rest = Rest(stream);
    let mut lengths = lengths.iter().copied().cycle();
    while !rest.is_empty() && frames.len() <= last {
        let piece = match lengths.next() {
            Some(length) => rest.take(usize::from(length).max(1)),
            None => rest.take(usize::MAX),
        };
        let result = framer.feed(piece, |frame| {
            frames.push(match frame {
                Frame::Message(bytes) => Some(bytes.to_vec()),
                Frame::Ping => None,
            });
            frames.len() <= last
        });
        if result.is_err() {
            return (frames, result);
        }
        assert!(framer.held() <= MESSAGE_MAX.max(HEADER_MAX));
    }
    (frames, Ok(()))
}

/// The frames stand in the stream one behind the other, with nothing but line ends between.
fn check(stream: &[u8], (frames, result): &Frames) {
    let mut rest = stream;
    let messages: Vec<&Vec<u8>> = frames.iter().flatten().collect();
    for (index, frame) in messages.iter().enumerate() {
        assert!(frame.len() <= MESSAGE_MAX && !frame.is_empty());
        let start = rest.iter().position(|b| !b"\r\n".contains(b)).unwrap();
        rest = rest[start..].strip_prefix(&frame[..]).expect("a frame is a part of the stream");
        // What is handed over with an error is a header section alone.
        if result.is_err() && index + 1 == messages.len() {
            continue;
        }
        if let Ok(message) = Message::parse(frame)
            && (check_request(&message).is_ok() || check_response(&message))
        {
            assert_eq!(message.bytes().len(), frame.len(), "what is behind the body belongs to the next");
        }
    }
}
