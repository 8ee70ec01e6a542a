//! What one relay leaves to the next one, which may be in another process and of another version.

use std::collections::BTreeSet;
use std::io;

use rustix::fd::OwnedFd;
use serde::{Deserialize, Serialize};

use super::demux::Key;
use super::end::Sockets;
use super::session::Session;
use super::{Event, MAX_SESSIONS, MAX_STREAMS};

/// Another one means that the state cannot be understood. It changes whenever anything in [`State`] does.
const VERSION: u8 = 1;

/// All that a relay was doing: what [`super::Relay::leave`] gives and [`super::Relay::start_with`] takes.
///
/// Packets that come meanwhile wait in the sockets, more than a hundred of voice in each.
#[derive(Debug, Default)]
pub struct Legacy {
    /// The sessions as they are, with locks, counters and what is known of sequence, jitter and round trip,
    /// and events that nobody drained yet. For the next relay only; some 150 bytes for each end of a stream.
    pub state: Vec<u8>,
    /// Their sockets, two for each end, in the order that the state knows. More than 253 have to travel by
    /// several messages (`SCM_MAX_FD`, unix(7)).
    pub sockets: Vec<OwnedFd>,
}

/// What is in [`Legacy::state`]. Sockets are numbered as they stand in [`Legacy::sockets`].
#[derive(Default, Serialize, Deserialize)]
pub(super) struct State {
    pub(super) sessions: Vec<Session>,
    pub(super) events: Vec<Event>,
}

impl Legacy {
    /// Packs what a relay was doing; `give` yields the sockets by the relay's own numbers.
    pub(super) fn pack(
        mut sessions: Vec<Session>,
        events: Vec<Event>,
        mut give: impl FnMut(Key) -> Option<OwnedFd>,
    ) -> Legacy {
        let mut sockets = Vec::new();
        for (end, _) in sessions.iter_mut().flat_map(|session| session.ends(0)) {
            let Sockets { rtp, rtcp } = end.sockets();
            let number = sockets.len() as u32;
            sockets.extend([rtp, rtcp].into_iter().filter_map(&mut give));
            end.renumber(Sockets { rtp: Key(number), rtcp: Key(number + 1) });
        }
        let state = postcard::to_extend(&State { sessions, events }, vec![VERSION]);
        // To memory, it cannot fail.
        Legacy { state: state.unwrap_or_default(), sockets }
    }

    /// Unpacks it. The sockets of each end are those that follow those of the end before.
    ///
    /// # Errors
    /// When it is of another version, or was damaged.
    pub(super) fn unpack(self) -> io::Result<(State, Vec<OwnedFd>)> {
        let state = match self.state.split_first() {
            // A relay that left nothing.
            None => State::default(),
            Some((&VERSION, state)) => match postcard::take_from_bytes(state) {
                Ok((state, [])) => state,
                Ok(_) => return Err(damaged("too long")),
                Err(error) => return Err(damaged(&error.to_string())),
            },
            Some((version, _)) => {
                let sentence = format!("the relay's state is of version {version}, not {VERSION}");
                return Err(io::Error::new(io::ErrorKind::InvalidData, sentence));
            }
        };
        state.check(self.sockets.len())?;
        Ok((state, self.sockets))
    }
}

impl State {
    fn check(&self, sockets: usize) -> io::Result<()> {
        let ids: BTreeSet<_> = self.sessions.iter().map(Session::id).collect();
        if ids.len() > MAX_SESSIONS || ids.len() < self.sessions.len() {
            return Err(damaged("too many sessions, or one twice"));
        }
        if self.sessions.iter().any(|session| session.len() > MAX_STREAMS) {
            return Err(damaged("too many streams"));
        }
        let mut next = 0;
        for end in self.sessions.iter().flat_map(Session::live_ends) {
            if end.sockets() != (Sockets { rtp: Key(next), rtcp: Key(next + 1) }) {
                return Err(damaged("sockets in disorder"));
            }
            next += 2;
        }
        match sockets == next as usize {
            true => Ok(()),
            false => Err(damaged(&format!("{sockets} sockets instead of {next}"))),
        }
    }
}

fn damaged(how: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the relay's state is damaged: {how}"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::net::SocketAddr;
    use std::time::Duration;

    use super::super::moment::Moment;
    use super::super::sockets::SocketTable;
    use super::super::{Admit, Component, End, Far, Remote, SessionId, Side, Stream};
    use super::*;

    /// Who takes over reads what another version wrote, or has to know that it cannot.
    #[test]
    fn another_form_needs_another_version() {
        let address = |ip, port| SocketAddr::from(([127, 0, 8, ip], port));
        let end = |port| End {
            local: address(1, port),
            remote: Some(Remote { rtp: address(2, port), rtcp: address(2, port + 1) }),
            admit: Admit::Address(address(2, 0).ip()),
            window: 3,
            silence: Some(Duration::from_secs(60)),
        };
        let streams = vec![None, Some(Stream { a: end(40_000), b: Far::End(end(40_002)) })];
        let mut session = Session::new(SessionId(7));
        session.set(0, streams, &mut SocketTable::new().unwrap(), 1_000).unwrap();
        let stream = session.stream(1).unwrap();
        for number in 0..9 {
            let (from, now) = (address(2, 50_000), Moment(2_000_000 + u64::from(number) * 21_000));
            let mut packet = [0x80, 8, 0, number, 0, 0, number, 0, 0, 0, 0, 9];
            stream.relay(Side::A, Component::Rtp, from, &mut packet, now).unwrap();
            packet[1] = 111;
            stream.relay(Side::B, Component::Rtp, from, &mut packet, now).unwrap();
        }
        let events = vec![Event::Silent { session: SessionId(7), side: Side::B }];
        let Legacy { state, sockets } = Legacy::pack(vec![session], events, |_| None);
        assert!(sockets.is_empty());
        assert_eq!((VERSION, state.len(), crc32fast::hash(&state)), (1, 289, 3_199_164_635));
    }
}
