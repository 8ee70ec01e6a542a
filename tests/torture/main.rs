//! Bad input: messages that are odd, wrong or hostile get the answer that the RFCs want, or silence.
//!
//! [`rfc4475`] and [`rfc5118`] hold one message or more for each section of the torture tests' RFCs,
//! written for this exchange; [`wire`] asks the parser and its checks about them, [`exchange`] a whole
//! switch, [`mutation`] both about a hundred thousand variations. [`corpus`] runs collections of
//! messages of the RFCs and of real devices, where they are at hand. [`bounds`] is what is too large, too much,
//! or not what it says.
#![allow(clippy::unwrap_used, missing_docs)]

mod bounds;
mod corpus;
mod exchange;
mod mutation;
mod rfc4475;
mod rfc5118;
mod strict;
mod wire;

/// A message, and what is to become of it.
#[derive(Clone)]
pub(crate) struct Case {
    /// Of the RFC.
    pub(crate) section: &'static str,
    pub(crate) title: &'static str,
    pub(crate) expected: Expected,
    pub(crate) bytes: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    /// Processed like any other.
    Served,
    /// Answered with this status, before anything is done for it.
    Refused(u16),
    /// Processed, or answered with this status.
    Lenient(u16),
    /// Well-formed; answered with this status by whoever ought to serve it.
    Later(u16),
    /// Not answered, and never forwarded.
    Dropped,
}

pub(crate) fn all() -> Vec<Case> {
    [rfc4475::cases(), rfc5118::cases()].concat()
}

pub(crate) fn case(section: &str) -> Vec<u8> {
    all().into_iter().find(|c| c.section == section).unwrap().bytes
}

/// A message of these lines; `Content-Length: *` is filled in.
pub(crate) fn message(lines: &[&[u8]], body: &[u8]) -> Vec<u8> {
    let length = format!("Content-Length: {}", body.len());
    let mut bytes = Vec::new();
    for line in lines {
        let line = if *line == b"Content-Length: *" { length.as_bytes() } else { line };
        bytes.extend_from_slice(line);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(body);
    bytes
}

/// A generator of numbers: the same for the same seed (xorshift64*).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % bound
    }
}
