//! All connections: who there is, until when each has to say something, and what they hold together.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::net::TcpStream;
use std::task::{Context, Poll};
use std::time::Duration;

use super::framer::Framer;
use super::session::{Session, Trouble};
use super::stream::{Stream, Wake};
use crate::handover::Standing;
use crate::switch::{Flow, Instant, StreamId, Transport};

/// The most connections at a time, whoever has them. The machine's guard has smaller bounds.
pub const CONNECTIONS_MAX: usize = 4096;

/// The most of these that are of TLS, whose library keeps about 14 KiB for each. There are more than the guard lets
/// strangers have connections.
pub(super) const TLS_MAX: usize = 2048;

/// The most of these that have not agreed upon how to speak. Beyond, the oldest of them is reset.
const HANDSHAKES_MAX: usize = 256;

/// The most connections besides that we have closed, while the other side has not. Beyond, the oldest
/// of them is reset.
const LEAVING_MAX: usize = 256;

/// How long a connection may take to say anything at all.
const FIRST_BYTE: Duration = Duration::from_secs(5);

/// How long a message may take from its first byte to its last. Between messages a connection may be
/// silent for as long as TCP keep-alive finds the other side.
const MESSAGE: Duration = Duration::from_secs(10);

/// How long a connection that we close may take to read our last words, and close as well.
const FAREWELL: Duration = Duration::from_secs(2);

/// The most memory that the buffers of all connections take, in bytes. Who needs more is reset.
const HELD_MAX: usize = 8 << 20;

/// All connections. What is here is told to the machine by the hub.
///
/// Trees rather than tables, which would never shrink: when thousands of connections are over,
/// nothing of them is left.
#[derive(Default)]
pub(super) struct Streams {
    open: BTreeMap<StreamId, Stream>,
    /// The deadlines of those that have one.
    deadlines: BTreeSet<(Instant, StreamId)>,
    /// Those that we have closed, the oldest first; some may be gone.
    leaving: VecDeque<StreamId>,
    /// How many there have been.
    count: u64,
    /// How many of the open ones are of TLS.
    tls: usize,
    /// Those of TLS that have not agreed upon how to speak, the oldest first.
    handshaking: BTreeSet<StreamId>,
    /// The one that the machine is being asked about; `None` once it has refused it.
    asked: Option<StreamId>,
    /// How much memory the buffers of all of them take.
    held: usize,
    /// Those with something new to send.
    dirty: Vec<StreamId>,
    /// Those that want a task.
    pub(super) newcomers: Vec<StreamId>,
}

impl Streams {
    /// Gives a new connection its number, under which the machine may refuse it.
    pub(super) fn ask(&mut self) -> StreamId {
        let id = self.number();
        self.asked = Some(id);
        id
    }

    /// A number for a connection that we have opened ourselves.
    pub(super) fn number(&mut self) -> StreamId {
        self.count += 1;
        StreamId(self.count)
    }

    /// Takes in a connection that we have opened, which wants a task then. If the machine waits for it by a `ticket`,
    /// it has time until then to agree upon how to speak.
    pub(super) fn reach(
        &mut self,
        socket: TcpStream,
        flow: Flow,
        session: Option<Session>,
        ticket: Option<u64>,
        until: Instant,
    ) -> io::Result<()> {
        let id = flow.stream;
        let stream = Stream::reached(socket, flow, session, ticket)?;
        self.tls += usize::from(stream.is_tls());
        self.held += stream.memory();
        self.open.insert(id, stream);
        self.expect(id, ticket.map(|_| until));
        self.newcomers.push(id);
        Ok(())
    }

    /// The ticket of a connection that the machine waits for, if both sides have agreed upon how to speak by now.
    pub(super) fn reached(&mut self, id: StreamId) -> Option<u64> {
        let stream = self.open.get_mut(&id).filter(|stream| !stream.is_handshaking())?;
        let ticket = stream.ticket.take()?;
        self.expect(id, None);
        Some(ticket)
    }

    /// Whether the machine has not refused the connection that it was asked about.
    pub(super) fn is_welcome(&mut self) -> bool {
        self.asked.take().is_some()
    }

    /// Whether there is room for one more.
    pub(super) fn has_room(&self, transport: Transport) -> bool {
        let is_full = transport == Transport::Tls && self.tls >= TLS_MAX;
        self.open.len() < CONNECTIONS_MAX + self.leaving.len() && !is_full
    }

    /// Takes a connection in, which wants a task then.
    pub(super) fn open(
        &mut self,
        now: Instant,
        socket: TcpStream,
        flow: Flow,
        session: Option<Session>,
    ) -> io::Result<()> {
        let id = flow.stream;
        let stream = Stream::new(socket, flow, session)?;
        if stream.is_tls() {
            self.tls += 1;
            self.handshaking.insert(id);
            if self.handshaking.len() > HANDSHAKES_MAX
                && let Some(oldest) = self.handshaking.pop_first()
                && let Some(stream) = self.open.get_mut(&oldest)
            {
                stream.break_off();
            }
        }
        self.held += stream.memory();
        self.open.insert(id, stream);
        self.expect(id, Some(now + FIRST_BYTE));
        self.newcomers.push(id);
        Ok(())
    }

    /// Takes in a connection that another process has had, under the number that it had there.
    pub(super) fn inherit(&mut self, now: Instant, standing: Standing) -> io::Result<()> {
        let (id, is_heard) = (standing.flow.stream, standing.is_heard);
        let stream = Stream::inherited(standing)?;
        self.count = self.count.max(id.0);
        self.held += stream.memory();
        let is_begun = stream.framer.held() > 0;
        self.open.insert(id, stream);
        if !is_heard {
            self.expect(id, Some(now + FIRST_BYTE));
        } else if is_begun {
            self.expect(id, Some(now + MESSAGE));
        }
        self.newcomers.push(id);
        Ok(())
    }

    /// All connections that can be gone on with.
    pub(super) fn standing(&self) -> Vec<Standing<&TcpStream>> {
        self.open.values().filter_map(Stream::standing).collect()
    }

    /// A connection.
    pub(super) fn get(&mut self, id: StreamId) -> Option<&mut Stream> {
        self.open.get_mut(&id)
    }

    /// Reads what came on a connection; nothing if there is no such connection.
    pub(super) fn read(
        &mut self,
        now: Instant,
        id: StreamId,
        into: &mut [u8],
    ) -> Option<Result<usize, Trouble>> {
        let mut result = None;
        self.change(id, |stream| result = Some(stream.read(into)));
        if self.handshaking.contains(&id) && self.open.get(&id).is_some_and(|stream| !stream.is_handshaking())
        {
            self.handshaking.remove(&id);
            // From here on it is as if it had just been opened.
            self.expect(id, Some(now + FIRST_BYTE));
        }
        result
    }

    /// Queues bytes on a connection. Bytes for one that is gone are dropped: whoever sends is
    /// told of its end as well.
    pub(super) fn queue(&mut self, id: StreamId, bytes: Vec<u8>) {
        let room = HELD_MAX.saturating_sub(self.held);
        self.change(id, |stream| stream.queue(bytes, room));
        self.dirty.push(id);
    }

    /// Closes a connection on the machine's behalf as soon as what is queued on it is sent; or refuses
    /// it, if the machine is being asked about it.
    pub(super) fn dismiss(&mut self, now: Instant, id: StreamId) {
        if self.asked == Some(id) {
            self.asked = None;
        }
        if let Some(stream) = self.open.get_mut(&id) {
            stream.is_dismissed = true;
            self.close(now, id);
        }
    }

    /// Closes a connection as soon as what is queued on it is sent. One to which nothing was ever said
    /// waits for no last words, and gets none.
    pub(super) fn close(&mut self, now: Instant, id: StreamId) {
        let Some(stream) = self.open.get_mut(&id).filter(|stream| stream.is_open()) else { return };
        if !stream.is_answered() {
            return stream.break_off();
        }
        stream.close();
        self.dirty.push(id);
        self.expect(id, Some(now + FAREWELL));
        self.leaving.push_back(id);
        if self.leaving.len() > LEAVING_MAX
            && let Some(oldest) = self.leaving.pop_front()
            && let Some(stream) = self.open.get_mut(&oldest)
        {
            stream.break_off();
        }
    }

    /// Writes what was queued since the last time.
    pub(super) fn flush(&mut self) {
        while let Some(id) = self.dirty.pop() {
            self.write(id);
        }
    }

    /// Writes what is unsent on a connection, as far as the other side takes it.
    pub(super) fn write(&mut self, id: StreamId) {
        self.change(id, Stream::flush);
    }

    /// Whether something is queued that was not taken.
    pub(super) fn is_unsent(&self) -> bool {
        self.open.values().any(Stream::is_unsent)
    }

    /// Does something with a connection that may change how much it holds.
    pub(super) fn change(&mut self, id: StreamId, change: impl FnOnce(&mut Stream)) {
        if let Some(stream) = self.open.get_mut(&id) {
            self.held -= stream.memory();
            change(stream);
            self.held += stream.memory();
        }
    }

    /// Gives a connection its framer back, which held `before` bytes when it was taken.
    pub(super) fn put_back(&mut self, id: StreamId, before: usize, framer: Framer) {
        self.held -= before;
        self.change(id, |stream| stream.framer = framer);
    }

    /// Whether all connections together hold more than this one may add to. Those to which we never
    /// said anything share half of the room, so that whatever they begin and do not end, there is some
    /// left for phones.
    pub(super) fn is_full_for(&self, id: StreamId) -> bool {
        let is_answered = self.open.get(&id).is_some_and(Stream::is_answered);
        self.held > if is_answered { HELD_MAX } else { HELD_MAX / 2 }
    }

    /// Something came on a connection. Sets until when more has to come: `is_whole` says whether it
    /// completed a message, `is_begun` whether it began one that is not complete.
    pub(super) fn heard(&mut self, now: Instant, id: StreamId, is_whole: bool, is_begun: bool) {
        let Some(stream) = self.open.get_mut(&id).filter(|stream| stream.is_open()) else { return };
        let is_first = !std::mem::replace(&mut stream.is_heard, true);
        if is_whole {
            self.expect(id, is_begun.then(|| now + MESSAGE));
        } else if is_first || (is_begun && stream.deadline.is_none()) {
            // Blanks before the first message are its first bytes here: they buy no time.
            self.expect(id, Some(now + MESSAGE));
        }
    }

    /// The next connection whose time is up.
    pub(super) fn overdue(&self, now: Instant) -> Option<StreamId> {
        self.deadlines.first().filter(|(deadline, _)| *deadline <= now).map(|(_, id)| *id)
    }

    /// When [`Streams::overdue`] will have something.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// Takes a connection out.
    pub(super) fn remove(&mut self, id: StreamId) -> Option<Stream> {
        self.expect(id, None);
        let stream = self.open.remove(&id)?;
        self.held -= stream.memory();
        self.tls -= usize::from(stream.is_tls());
        self.handshaking.remove(&id);
        while self.leaving.front().is_some_and(|id| !self.open.contains_key(id)) {
            self.leaving.pop_front();
        }
        Some(stream)
    }

    /// Waits for something to do about a connection.
    pub(super) fn poll(&mut self, id: StreamId, cx: &mut Context<'_>) -> Poll<Option<Wake>> {
        match self.open.get_mut(&id) {
            Some(stream) => stream.poll(cx).map(Some),
            None => Poll::Ready(None),
        }
    }

    /// Sets a connection's deadline.
    fn expect(&mut self, id: StreamId, deadline: Option<Instant>) {
        let Some(stream) = self.open.get_mut(&id) else { return };
        if let Some(old) = stream.deadline {
            self.deadlines.remove(&(old, id));
        }
        if let Some(new) = deadline {
            self.deadlines.insert((new, id));
        }
        stream.deadline = deadline;
    }
}
