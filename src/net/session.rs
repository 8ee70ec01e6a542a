//! TLS on a connection: octets of the socket become octets of messages, and the other way round.
//!
//! The library keeps what it has to: about 14 KiB for a connection that is idle. What comes to that is bounded here:
//! [`HANDSHAKE_MAX`] octets of a handshake, [`BARREN_MAX`] of anything that does not become a message, and one
//! record that the other side has not taken.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;

use rustls::{ClientConnection, Connection, Error, ServerConnection};

use crate::tls;

/// The most octets of a handshake. A ClientHello with all that is usual in it has 2 KiB, and a chain of certificates as
/// many as the one that we show, a few.
const HANDSHAKE_MAX: usize = 16 << 10;

/// The most octets from which nothing comes for us: the longest record (RFC 8446 §5.2) is less.
const BARREN_MAX: usize = 32 << 10;

/// How much is made a record of at a time (RFC 8446 §5.1).
const RECORD: usize = 16 << 10;

/// How often the socket is read in one turn, 4 KiB at most each time: others get theirs.
const READS: usize = 4;

/// TLS on a connection.
pub(super) struct Session {
    tls: Connection,
    /// How many octets came since something came of it.
    barren: usize,
    is_handshaking: bool,
    /// What the other side has just proved to have: the SHA-256 of its certificate.
    proved: Option<[u8; 32]>,
}

/// Why nothing was read.
#[derive(Debug)]
pub(super) enum Trouble {
    /// There is nothing now, or the socket is broken.
    Io(io::Error),
    /// What came is not as it has to be.
    Tls(Error),
    /// Too much came of which nothing came for us.
    Barren,
}

impl Session {
    /// Our side of a connection that somebody opened to us.
    pub(super) fn accepted(tls: ServerConnection) -> Session {
        Session { tls: tls.into(), barren: 0, is_handshaking: true, proved: None }
    }

    /// Our side of a connection that we have opened to somebody.
    pub(super) fn opened(tls: ClientConnection) -> Session {
        Session { tls: tls.into(), barren: 0, is_handshaking: true, proved: None }
    }

    /// How much memory it takes besides what it always takes, in bytes, at most.
    pub(super) fn memory(&self) -> usize {
        self.barren + if self.tls.wants_write() { RECORD } else { 0 }
    }

    /// Whether the other side has still to be greeted. What it sends cannot be a message yet.
    pub(super) fn is_handshaking(&self) -> bool {
        self.is_handshaking
    }

    /// The SHA-256 of the certificate that the other side has proved to have the key of, once, when that is known.
    pub(super) fn take_proved(&mut self) -> Option<[u8; 32]> {
        self.proved.take()
    }

    /// Whether there is something that the socket has to take.
    pub(super) fn is_unsent(&self) -> bool {
        self.tls.wants_write()
    }

    /// Reads what came for us, 0 bytes at the end. As many as there is room for: there may be more, for which the
    /// socket will not become readable.
    pub(super) fn read(&mut self, mut socket: &TcpStream, into: &mut [u8]) -> Result<usize, Trouble> {
        for _ in 0..READS {
            match self.tls.reader().read(into) {
                Ok(count) => {
                    self.barren = 0;
                    return Ok(count);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(Trouble::Io(error)),
            }
            match self.tls.read_tls(&mut socket).map_err(Trouble::Io)? {
                0 => return Ok(0),
                count => self.barren += count,
            }
            self.tls.process_new_packets().map_err(Trouble::Tls)?;
            if self.is_handshaking && !self.tls.is_handshaking() {
                (self.is_handshaking, self.barren) = (false, 0);
                self.proved = self.tls.peer_certificates().and_then(|chain| tls::proved_by(chain.first()?));
            }
            if self.barren > if self.is_handshaking { HANDSHAKE_MAX } else { BARREN_MAX } {
                return Err(Trouble::Barren);
            }
        }
        match self.tls.reader().read(into) {
            Ok(count) => {
                self.barren = 0;
                Ok(count)
            }
            Err(error) => Err(Trouble::Io(error)),
        }
    }

    /// Writes what the socket takes of what we have to say and of `unsent`.
    pub(super) fn write(&mut self, mut socket: &TcpStream, unsent: &mut Vec<u8>) -> io::Result<()> {
        loop {
            while self.tls.wants_write() {
                match self.tls.write_tls(&mut socket) {
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    written => drop(written?),
                }
            }
            if unsent.is_empty() || self.is_handshaking {
                return Ok(());
            }
            let record = unsent.get(..RECORD).unwrap_or(unsent);
            match self.tls.writer().write(record)? {
                count if count == unsent.len() => *unsent = Vec::new(),
                0 => return Err(ErrorKind::WriteZero.into()),
                count => drop(unsent.drain(..count)),
            }
        }
    }

    /// Says that nothing more comes (RFC 8446 §6.1), as far as the socket takes it.
    pub(super) fn farewell(&mut self, socket: &TcpStream) {
        self.tls.send_close_notify();
        // Whoever does not hear it sees the end all the same.
        let _ = self.write(socket, &mut Vec::new());
    }
}
