//! What every part of the switch needs at hand: the time, the timers, the outputs.

use std::collections::VecDeque;
use std::time::Duration;

use super::event::{Event, Output};
use super::flow::{Flow, StreamId};
use super::neighbour::HostId;
use super::timer::{T1_64, Timers};
use super::transaction::{ClientId, Kind, ServerKey};
use crate::guard::Lesson;
use crate::journal::Record;
use crate::media;
use crate::sip::printable;
use crate::time::Instant;

/// Something that will be due.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Timer {
    /// A server transaction's.
    Server(ServerKey, Kind),
    /// A client transaction's; true for a CANCEL's.
    Client(ClientId, bool, Kind),
    /// Timer C of a fork (RFC 3261 §16.6, step 11).
    TimerC(u64),
    /// A call has rung long enough on the stage of its plan that is given.
    NoAnswer(u64, u32),
    /// A call has lasted long enough.
    CallLimit(u64),
    /// An ended call is forgotten.
    ForgetCall(u64),
    /// An answered INVITE is: its 2xx does not come again.
    ForgetFork(u64),
    /// The caller of a call should have acknowledged its answer by now.
    Unacknowledged(u64),
    /// The 2xx of a call that ends inside denwa is sent again until it is acknowledged.
    Insist(u64),
    /// Whoever is outside is asked again to talk to whom it is given over.
    AskOutside(u64),
    /// A host of another exchange is to be asked whether it is there.
    Neighbour(HostId),
    /// Connections to a host that could not be opened are tried again.
    Connect(HostId),
    /// Our registration with whoever is at a host is to be renewed.
    Register(HostId),
    /// A branch to another exchange is silent for too long, while there are other ways: which fork, which branch.
    Hurry(u64, u16),
    /// A binding runs out, or wants its mapping kept open.
    Binding(u64),
    /// The machine will be stopped soon.
    Stopping,
    /// Somebody outside should have reached us by now.
    Unreached,
}

/// The time, the timers and the outputs.
pub(super) struct Io {
    pub(super) now: Instant,
    /// What is added to `now` to get the wall clock, in milliseconds since 1970.
    pub(super) wall: i128,
    /// Whether each message is told: the log is at `debug`.
    trace: bool,
    /// Whether an operator wants to see each message.
    pub(super) is_traced: bool,
    timers: Timers<Timer>,
    records: VecDeque<Record>,
    media: VecDeque<media::Command>,
    sends: VecDeque<Output>,
    events: VecDeque<Event>,
    /// What was found out about who speaks, for the guard to learn when the input is dealt with.
    lessons: Vec<Lesson>,
}

impl Io {
    pub(super) fn new(trace: bool) -> Io {
        Io {
            now: Instant::default(),
            wall: 0,
            trace,
            is_traced: false,
            timers: Timers::new(),
            records: VecDeque::new(),
            media: VecDeque::new(),
            sends: VecDeque::new(),
            events: VecDeque::new(),
            lessons: Vec::new(),
        }
    }

    /// The time since 1970, as far as the wall clock is to be trusted.
    pub(super) fn unix_time(&self) -> Duration {
        Duration::from_millis((i128::from(self.now.0) + self.wall).max(0) as u64)
    }

    /// Whether each message is told from now on.
    pub(super) fn trace_all(&mut self, trace: bool) {
        self.trace = trace;
    }

    pub(super) fn arm(&mut self, after: Duration, timer: Timer) {
        self.timers.arm(self.now + after, timer);
    }

    /// Arms a timer for a moment that may be far: it comes after 64·T1 at the latest, and whoever
    /// still waits then arms it again.
    pub(super) fn arm_for(&mut self, at: Instant, timer: Timer) {
        self.timers.arm(at.min(self.now + T1_64), timer);
    }

    pub(super) fn due(&mut self) -> Option<Timer> {
        self.timers.due(self.now)
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// Sends a message. What is for a stream that has not survived is for nobody.
    pub(super) fn send(&mut self, flow: Flow, bytes: Vec<u8>) {
        if flow.is_dead() {
            return;
        }
        self.trace(false, flow, &bytes);
        self.sends.push_back(Output::Send(flow, bytes));
    }

    /// Tells that a message came or goes, if that is wanted.
    pub(super) fn trace(&mut self, came: bool, flow: Flow, bytes: &[u8]) {
        if self.trace {
            let line = bytes.trim_ascii_start().split(|&b| b == b'\r' || b == b'\n').next();
            let first_line = printable(line.unwrap_or_default(), 160);
            self.events.push_back(Event::Message { came, flow, first_line });
        }
        if self.is_traced {
            self.events.push_back(Event::Traced { came, flow, bytes: bytes.to_vec() });
        }
    }

    /// Somebody is to be found.
    pub(super) fn locate(&mut self, output: Output) {
        self.sends.push_back(output);
    }

    pub(super) fn close(&mut self, stream: StreamId) {
        self.sends.push_back(Output::Close(stream));
    }

    /// This must survive.
    pub(super) fn record(&mut self, record: Record) {
        self.records.push_back(record);
    }

    pub(super) fn media(&mut self, command: media::Command) {
        self.media.push_back(command);
    }

    pub(super) fn tell(&mut self, event: Event) {
        self.events.push_back(event);
    }

    /// The guard is to know.
    pub(super) fn teach(&mut self, lesson: Lesson) {
        self.lessons.push(lesson);
    }

    /// Gives the guard what it is to know.
    pub(super) fn lessons(&mut self) -> std::vec::Drain<'_, Lesson> {
        self.lessons.drain(..)
    }

    pub(super) fn poll(&mut self) -> Option<Output> {
        self.records
            .pop_front()
            .map(Output::Record)
            .or_else(|| self.media.pop_front().map(Output::Media))
            .or_else(|| self.sends.pop_front())
            .or_else(|| self.events.pop_front().map(Output::Event))
    }
}
