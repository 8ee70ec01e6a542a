//! Operators who trace: each gets the messages that it wants, as they come and go.
//!
//! As long as nobody traces, none of this is made. Who reads more slowly than messages come loses some, and
//! is told how many.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::{Poll, Waker};

use std::cell::RefCell;

use super::Machine;
use super::hub::Hub;
use super::operators::GuestId;
use crate::console::control::{MAX_REPLY, Reply, Traced, encode, masked};
use crate::sip::{Message, Name, StartLine, Uri, printable};
use crate::switch::view::Whose;
use crate::switch::{Flow, Instant, Switch};

/// How many bytes wait for one that traces.
const MAX_WAITING: usize = 256 << 10;

/// One that traces.
pub(super) struct Tracer {
    id: GuestId,
    filter: Filter,
    /// Whether it wants whole messages.
    is_full: bool,
    /// What it has to be sent.
    waiting: VecDeque<Vec<u8>>,
    /// How many bytes that is.
    held: usize,
    /// How many messages it missed since it was told last.
    lost: u64,
    waker: Option<Waker>,
}

/// Which messages are wanted.
pub(super) enum Filter {
    Everything,
    /// Those that come from, go to or name a number.
    Number(String),
    /// Those of a call, by its Call-ID.
    CallId(Box<[u8]>),
}

impl Filter {
    fn wants(&self, message: Option<&Message<'_>>, owner: Option<&str>) -> bool {
        match self {
            Filter::Everything => true,
            Filter::CallId(call_id) => message.is_some_and(|message| *message.call_id() == **call_id),
            Filter::Number(number) => {
                let is = |uri: Option<Uri<'_>>| {
                    uri.and_then(|uri| uri.number()).is_some_and(|user| user == *number)
                };
                owner == Some(number)
                    || message.is_some_and(|message| {
                        is(message.from().and_then(|from| from.sip_uri()))
                            || is(message.to().and_then(|to| to.sip_uri()))
                            || is(Uri::parse(message.uri()))
                    })
            }
        }
    }
}

impl<M: Machine> Hub<'_, M> {
    /// Begins to trace for an operator.
    ///
    /// # Errors
    ///
    /// Why not: there is no such call.
    pub(super) fn begin_trace(&mut self, id: GuestId, whose: Whose, is_full: bool) -> Result<(), String> {
        let switch = self.machine.exchange().ok_or("this is no exchange")?;
        let filter = match whose {
            Whose::Everybody => Filter::Everything,
            Whose::Extension(number) => Filter::Number(number),
            Whose::Call(call) => match switch.call_id(call) {
                Some(call_id) => Filter::CallId(call_id.into()),
                None => {
                    return Err(format!("there is no call {call}; `denwa calls` shows those that there are"));
                }
            },
        };
        let (waiting, held, lost, waker) = (VecDeque::new(), 0, 0, None);
        self.tracers.push(Tracer { id, filter, is_full, waiting, held, lost, waker });
        self.trace_as_wanted();
        Ok(())
    }

    /// Ends an operator's trace, if it has one.
    pub(super) fn end_trace(&mut self, id: GuestId) {
        let before = self.tracers.len();
        self.tracers.retain(|tracer| tracer.id != id);
        if self.tracers.len() < before {
            self.trace_as_wanted();
        }
    }

    /// A message came or went: whoever wants it gets it.
    pub(super) fn traced(&mut self, now: Instant, came: bool, flow: Flow, bytes: &[u8]) {
        let Some(switch) = self.machine.exchange() else { return };
        let message = Message::parse(bytes).ok();
        let owner = switch.owner_on(&flow);
        let mut plain = None;
        let mut full = None;
        for tracer in &mut self.tracers {
            if !tracer.filter.wants(message.as_ref(), owner) {
                continue;
            }
            let made = if tracer.is_full { &mut full } else { &mut plain };
            let frame = made.get_or_insert_with(|| {
                let mut traced = shown(switch, now, came, flow, bytes, message.as_ref(), owner);
                traced.text = tracer.is_full.then(|| masked(bytes));
                encode(&Reply::Traced(Box::new(traced)), MAX_REPLY).unwrap_or_default()
            });
            tracer.push(frame);
        }
    }
}

impl Tracer {
    fn push(&mut self, frame: &[u8]) {
        if self.held + frame.len() > MAX_WAITING {
            self.lost += 1;
            return;
        }
        if self.lost > 0 {
            let missed =
                encode(&Reply::Missed(std::mem::take(&mut self.lost)), MAX_REPLY).unwrap_or_default();
            self.held += missed.len();
            self.waiting.push_back(missed);
        }
        self.held += frame.len();
        self.waiting.push_back(frame.to_vec());
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// The next thing that an operator who traces is to be sent; `None` when it does not trace any more.
pub(super) async fn next<M: Machine>(hub: &RefCell<Hub<'_, M>>, id: GuestId) -> Option<Vec<u8>> {
    poll_fn(|cx| {
        let mut hub = hub.borrow_mut();
        let Some(tracer) = hub.tracers.iter_mut().find(|tracer| tracer.id == id) else {
            return Poll::Ready(None);
        };
        match tracer.waiting.pop_front() {
            Some(frame) => {
                tracer.held -= frame.len();
                Poll::Ready(Some(frame))
            }
            None => {
                tracer.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    })
    .await
}

/// What is shown of a message.
fn shown(
    switch: &Switch,
    now: Instant,
    came: bool,
    flow: Flow,
    bytes: &[u8],
    message: Option<&Message<'_>>,
    owner: Option<&str>,
) -> Traced {
    let first =
        masked(bytes.trim_ascii_start().split(|&b| b == b'\r' || b == b'\n').next().unwrap_or_default());
    let first = first.trim_end();
    // Who asks says so itself; who is asked, or answers, is known by where it is registered.
    let claimed = message.filter(|message| came && matches!(message.start(), StartLine::Request { .. }));
    let claimed = claimed.and_then(|m| m.from()).and_then(|from| from.sip_uri()).and_then(|uri| uri.number());
    Traced {
        unix_ms: switch.milliseconds_of(now),
        came,
        extension: owner.map(str::to_owned),
        claims: claimed.map(|number| printable(number.as_bytes(), 64)).filter(|_| owner.is_none()),
        address: flow.remote,
        transport: flow.transport.to_string(),
        start_line: first.chars().take(200).collect(),
        call_id: message.map_or_else(String::new, |message| printable(message.call_id(), 80)),
        cseq: message.and_then(|m| m.first(Name::CSeq)).map_or_else(String::new, |cseq| printable(cseq, 40)),
        call: message.and_then(|message| switch.call_by_id(message.call_id())),
        text: None,
    }
}
