//! The machine and everything around it that its outputs go to. All of it is synchronous: tasks
//! wait for something to happen, then borrow the hub to let it happen.

use std::future::Future;
use std::io;
use std::mem;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use smol::Timer;
use smol::channel::{Receiver, Sender};

use super::Machine;
use super::clock::Clock;
use super::connect::Wanted;
use super::locate::Sought;
use super::measuring::Measuring;
use super::operators::Operators;
use super::streams::Streams;
use super::sys::Inbox;
use super::trace::Tracer;
use super::trouble::{Trouble, Troubles};
use super::udp::{Udp, Unsent};
use super::web::Web;
use crate::config::Config;
use crate::handover::{self, Estate, Standing};
use crate::journal::{Journal, News, Opened};
use crate::media;
use crate::switch::{Event, Flow, Input, Instant, Output, Transport};
use crate::tls::{Client, Identity};

/// How long the journal is waited for that is in the hands of another process, which ends.
const LOCKED: Duration = Duration::from_millis(100);

/// How long after that it is tried again, while all goes on.
const LOCKED_AGAIN: Duration = Duration::from_millis(100);

/// A journal that another process may have, which does not go on with it.
struct Lent {
    folder: PathBuf,
    interval: Duration,
    /// When it is tried to have it back.
    next: Instant,
}

/// The machine, its clock, and where its outputs go.
pub(super) struct Hub<'a, M> {
    pub(super) machine: M,
    pub(super) journal: Option<Journal>,
    lent: Option<Lent>,
    /// `None` only where it was left to another process.
    relay: Option<media::Relay>,
    tell: &'a mut dyn FnMut(&Event),
    pub(super) clock: Clock,
    /// The UDP sockets.
    pub(super) udp: Vec<Udp>,
    /// The connections.
    pub(super) streams: Streams,
    /// With what TLS is spoken.
    pub(super) identity: Option<Arc<Identity>>,
    /// When it is looked at next whether that is still valid.
    pub(super) validity: Option<Instant>,
    /// What is needed to speak TLS on connections that we open.
    pub(super) client: Client,
    /// How many connections are being opened.
    pub(super) under_way: usize,
    /// Where those go that the machine wants. Each is taken at once, so that no bound is needed.
    wanted: Sender<Wanted>,
    /// When to wake the machine.
    pub(super) alarm: Alarm,
    /// What people are told when all is sent.
    events: Vec<Event>,
    /// The hosts that are to be found.
    sought: (Sender<Sought>, Receiver<Sought>),
    /// What the relay is to be told, before anybody hears of it.
    commands: Vec<media::Command>,
    /// What the relay reported last.
    reports: Vec<media::Event>,
    /// What it measured, which is for the operator.
    pub(super) measuring: Measuring,
    /// What went wrong in here, and who knows of it.
    troubles: Troubles,
    /// Whether what must survive cannot be written down at present.
    pub(super) is_unwritable: bool,
    /// Who commands.
    pub(super) operators: Operators,
    /// Who of them traces.
    pub(super) tracers: Vec<Tracer>,
    /// What is served by HTTP.
    pub(super) web: Web,
}

impl<'a, M: Machine> Hub<'a, M> {
    pub(super) fn new(
        machine: M,
        journal: Option<Journal>,
        relay: media::Relay,
        operators: Operators,
        wanted: Sender<Wanted>,
        tell: &'a mut dyn FnMut(&Event),
    ) -> Self {
        Hub {
            clock: Clock::start(machine.start()),
            machine,
            journal,
            lent: None,
            relay: Some(relay),
            tell,
            udp: Vec::new(),
            streams: Streams::default(),
            identity: None,
            client: Client::default(),
            under_way: 0,
            wanted,
            validity: None,
            alarm: Alarm::new(),
            events: Vec::new(),
            sought: smol::channel::unbounded(),
            commands: Vec::new(),
            reports: Vec::new(),
            measuring: Measuring::default(),
            troubles: Troubles::default(),
            is_unwritable: false,
            operators,
            tracers: Vec::new(),
            web: Web::default(),
        }
    }

    /// Tells the machine what time it is, and whoever has to know what it says to that.
    pub(super) fn start(&mut self) {
        let now = self.now();
        self.flush(now);
    }

    /// Receives what is there on the UDP socket with this address, at most [`super::sys::BATCH`] datagrams, and
    /// does all that comes of it. Returns how many there were.
    ///
    /// # Errors
    ///
    /// Those of [`Inbox::receive`], and [`io::ErrorKind::NotFound`] if there is no such socket any more.
    pub(super) fn receive(&mut self, bound: SocketAddr, inbox: &mut Inbox) -> io::Result<usize> {
        let index = self.udp.iter().position(|udp| udp.bound() == bound);
        let index = index.ok_or(io::ErrorKind::NotFound)?;
        let count = inbox.receive(&*self.udp[index].socket)?;
        let now = self.now();
        for datagram in inbox.datagrams() {
            // Keep-alives of nothing but blanks: RFC 5626 wants STUN on UDP, but phones do this.
            if datagram.bytes.iter().all(|byte| b"\r\n\0 ".contains(byte)) {
                continue;
            }
            if let Some(flow) = self.udp[index].flow(&datagram) {
                self.handle(now, Input::Packet { flow, bytes: datagram.bytes });
            }
        }
        self.flush(now);
        Ok(count)
    }

    /// Goes on with another configuration, with these UDP sockets besides, and then without those that are not
    /// `kept`: what is said because of the change still goes out by them.
    pub(super) fn reload(
        &mut self,
        config: Box<Config>,
        opened: Vec<Udp>,
        kept: impl Fn(SocketAddr) -> bool,
    ) {
        let now = self.now();
        self.udp.extend(opened);
        if let Some(journal) = &mut self.journal {
            journal.set_interval(config.sync);
        }
        if let Some(lent) = &mut self.lent {
            lent.interval = config.sync;
        }
        self.handle(now, Input::Reload(config));
        self.web.forget();
        self.flush(now);
        self.udp.retain(|udp| kept(udp.bound()));
    }

    /// What becomes readable when the relay reports.
    pub(super) fn reports(&self) -> io::Result<OwnedFd> {
        match &self.relay {
            Some(relay) => relay.as_fd().try_clone_to_owned(),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// Has the relay measure; returns the number of its answer.
    pub(super) fn measure(&mut self) -> u64 {
        self.measuring.ask(self.relay.as_ref())
    }

    /// Feeds what the relay reports.
    pub(super) fn report(&mut self) {
        let mut reports = mem::take(&mut self.reports);
        if let Some(relay) = &self.relay {
            relay.drain(&mut reports);
        }
        let now = self.now();
        for event in reports.drain(..) {
            match event {
                media::Event::Measured(measured) => self.measuring.answer(measured),
                event => self.handle(now, Input::Media(event)),
            }
        }
        self.reports = reports;
        self.flush(now);
    }

    /// Does what is due by now: feeds a tick if the machine wants one, ends connections whose time is
    /// up, and tells people what was only counted.
    pub(super) fn tick(&mut self) {
        let now = self.now();
        if self.machine.deadline().is_some_and(|deadline| deadline <= now) {
            self.handle(now, Input::Tick);
        }
        self.cut_off(now);
        self.check_validity(now);
        if self.lent.as_ref().is_some_and(|lent| lent.next <= now) {
            self.resume(now);
        }
        self.events.extend(self.troubles.counted(now).map(Event::Notice));
        self.flush(now);
    }

    /// Ends every call; returns how many there were.
    pub(super) fn hang_up(&mut self) -> usize {
        let calls = self.machine.calls();
        let now = self.now();
        self.handle(now, Input::HangUp("the exchange is stopped"));
        self.flush(now);
        calls
    }

    /// Whether nothing is under way that another process would not know of.
    pub(super) fn is_settled(&self) -> bool {
        self.machine.is_settled()
    }

    /// Goes on with the connections that another process has had. Those for which the system has no room end.
    pub(super) fn inherit(&mut self, streams: Vec<Standing>) {
        let now = self.now();
        for standing in streams {
            let id = standing.flow.stream;
            if self.streams.inherit(now, standing).is_err() {
                self.handle(now, Input::Closed(id));
            }
        }
    }

    /// Leaves everything to another process, and waits until that has taken over. If it does not, all is as
    /// it was, but that the relay reports by another descriptor.
    ///
    /// # Errors
    ///
    /// Why it has not.
    pub(super) fn bequeath(&mut self, heir: &UnixStream) -> io::Result<()> {
        let now = self.now();
        self.flush(now);
        if let Some(journal) = self.journal.take() {
            let (folder, interval) = (journal.folder().to_owned(), journal.interval());
            self.lent = Some(Lent { folder, interval, next: now });
            // If the disk has trouble, the other one will see it too.
            let _ = journal.close(now);
        }
        let mut estate = Estate { streams: self.streams.standing(), ..Estate::default() };
        self.machine.snapshot(&mut |record| estate.records.push(record.clone()));
        estate.relay = self.relay.take().map(media::Relay::leave).unwrap_or_default();
        let Err(error) = estate.leave(heir) else { return Ok(()) };
        self.relay = Some(media::Relay::start_with(estate.relay)?);
        self.measuring.ask_again(self.relay.as_ref());
        let begin = std::time::Instant::now();
        let now = self.now();
        self.resume(now);
        // It ends in a moment, if it has not hung up already.
        while self.lent.is_some() && begin.elapsed() < LOCKED {
            std::thread::sleep(Duration::from_millis(10));
            self.resume(now);
        }
        if let Some(Lent { folder, .. }) = &self.lent {
            let sentence = format!(
                "the state folder {} is still in the hands of the process that was to take over; until that has \
                 ended, what changes is lost at a restart",
                folder.display()
            );
            self.is_unwritable = true;
            self.events.push(Event::Notice(sentence));
        }
        self.flush(now);
        Err(error)
    }

    /// Goes on with a journal that another process has had, as soon as that has let go of it.
    fn resume(&mut self, now: Instant) {
        let Some(lent) = &mut self.lent else { return };
        match Journal::open(&lent.folder, handover::keeper(), lent.interval, self.clock.wall()) {
            Ok(Opened { mut journal, .. }) => {
                journal.write_anew(now);
                if mem::take(&mut self.is_unwritable) {
                    self.events.push(Event::Remark(writable_again(&lent.folder)));
                }
                (self.journal, self.lent) = (Some(journal), None);
            }
            Err(_) => lent.next = now + LOCKED_AGAIN,
        }
    }

    /// Whether there is a journal.
    pub(super) fn is_recording(&self) -> bool {
        self.journal.is_some() || self.lent.is_some()
    }

    /// Whether there is no call and nothing that waits to be sent.
    pub(super) fn is_quiet(&self) -> bool {
        self.machine.calls() == 0 && !self.streams.is_unsent()
    }

    /// The hosts that are to be found, as they come.
    pub(super) fn sought(&self) -> Receiver<Sought> {
        self.sought.1.clone()
    }

    /// The time.
    pub(super) fn now(&self) -> Instant {
        self.clock.now()
    }

    /// Feeds one input; what comes of it is sent by [`Hub::flush`].
    pub(super) fn handle(&mut self, now: Instant, input: Input<'_>) {
        self.machine.handle(now, input);
        while let Some(output) = self.machine.poll() {
            match output {
                Output::Record(record) => {
                    if let Some(journal) = &mut self.journal {
                        journal.add(&record);
                    }
                }
                Output::Media(command) => self.commands.push(command),
                Output::Send(flow, bytes) => match flow.transport {
                    Transport::Udp => self.queue(flow, bytes),
                    Transport::Tcp | Transport::Tls => self.streams.queue(flow.stream, bytes),
                },
                Output::Connect { ticket, transport, remote, name, pin } => {
                    // The other end is there as long as the loop is.
                    let _ = self.wanted.try_send(Wanted { ticket, transport, remote, name, pin });
                }
                Output::Close(id) => self.streams.dismiss(now, id),
                // As many as there are hosts at most: each is asked for again only after it was answered for.
                Output::Locate { host, target } => drop(self.sought.0.try_send((host, target))),
                Output::Event(Event::Traced { came, flow, bytes }) => self.traced(now, came, flow, &bytes),
                Output::Event(event) => self.events.push(event),
            }
        }
    }

    /// Has people told something, when all is sent.
    pub(super) fn notice(&mut self, sentence: String) {
        self.events.push(Event::Notice(sentence));
    }

    /// The same, of what is as it should be.
    pub(super) fn remark(&mut self, sentence: String) {
        self.events.push(Event::Remark(sentence));
    }

    /// Others are asked for names from now on.
    pub(super) fn renamed(&mut self) {
        self.remark("names are asked for as /etc/resolv.conf and /etc/hosts say now".into());
        let now = self.now();
        self.handle(now, Input::Renamed);
        self.flush(now);
    }

    /// Queues a datagram on the socket of its flow.
    fn queue(&mut self, flow: Flow, bytes: Vec<u8>) {
        let best = self.udp.iter_mut().max_by_key(|udp| udp.fits(flow.local));
        if let Some(udp) = best.filter(|udp| udp.fits(flow.local) > 0) {
            udp.queue(flow, bytes);
        }
    }

    /// Records, tells the relay, sends all that is queued, tells people, and sets the alarm. Costs next to nothing
    /// when nothing came of a batch, as with a flood of junk.
    pub(super) fn flush(&mut self, now: Instant) {
        if let Some(wall) = self.clock.wall_news(now) {
            self.handle(now, Input::Clock(wall));
        }
        self.record(now);
        // All at once: the relay is a thread, and each time that it wakes costs more than what it does.
        if !self.commands.is_empty()
            && let Some(relay) = &self.relay
        {
            relay.send_all(self.commands.drain(..));
        }
        for index in 0..self.udp.len() {
            if let Some(Unsent { count, to, error }) = self.udp[index].flush() {
                self.complain(now, Trouble::Unsent, || {
                    format!("{count} datagrams could not be sent, the first of them to {to}: {error}")
                });
            }
        }
        self.streams.flush();
        for event in self.events.drain(..) {
            (self.tell)(&event);
        }
        let journal = self.journal.as_ref().and_then(Journal::deadline);
        let lent = self.lent.as_ref().map(|lent| lent.next);
        let (machine, streams) = (self.machine.deadline(), self.streams.deadline());
        let deadlines = [machine, streams, self.troubles.deadline(), self.validity, journal, lent];
        if let Some(deadline) = deadlines.into_iter().flatten().min() {
            self.alarm.set(&self.clock, deadline);
        }
    }

    /// Writes down what must survive, all of a batch at once.
    fn record(&mut self, now: Instant) {
        let Some(journal) = &mut self.journal else { return };
        let news = journal.turn(now, |each| self.machine.snapshot(each));
        let folder = journal.folder().display();
        match news {
            None => {}
            Some(News::Recovered) => {
                self.is_unwritable = false;
                self.events.push(Event::Remark(writable_again(journal.folder())));
            }
            Some(News::Failed(error)) => {
                self.is_unwritable = true;
                let sentence = format!(
                    "the state folder {folder} cannot be written: {error}; until it can, what changes is lost at \
                     a restart"
                );
                self.complain(now, Trouble::Unrecorded, || sentence);
            }
        }
    }

    /// Leaves to the next process what must survive.
    pub(super) fn leave(self) {
        let (Some(journal), now) = (self.journal, self.clock.now()) else { return };
        let folder = journal.folder().to_owned();
        if let Err(error) = journal.close(now) {
            let folder = folder.display();
            (self.tell)(&Event::Notice(format!("the state folder {folder} cannot be written: {error}")));
        }
    }

    /// Tells people of a trouble, or counts it if they were told of such within the last minute.
    pub(super) fn complain(&mut self, now: Instant, trouble: Trouble, sentence: impl FnOnce() -> String) {
        if self.troubles.count(now, trouble) {
            self.events.push(Event::Notice(sentence()));
        }
    }
}

fn writable_again(folder: &Path) -> String {
    format!("the state folder {} can be written again", folder.display())
}

/// One timer, moved only when it has to ring earlier: when it rings too early, nothing happens but
/// that it is set again.
pub(super) struct Alarm {
    timer: Timer,
    set: Option<Instant>,
}

impl Alarm {
    /// How far ahead it is set when nobody wants it.
    const FAR: Duration = Duration::from_secs(3600);

    fn new() -> Alarm {
        Alarm { timer: Timer::after(Alarm::FAR), set: None }
    }

    /// Makes it ring at `deadline`, if it would not before.
    fn set(&mut self, clock: &Clock, deadline: Instant) {
        if self.set.is_none_or(|set| deadline < set) {
            self.timer.set_at(clock.when(deadline));
            self.set = Some(deadline);
        }
    }

    /// Waits until it rings.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        std::task::ready!(Pin::new(&mut self.timer).poll(cx));
        self.timer.set_after(Alarm::FAR);
        self.set = None;
        Poll::Ready(())
    }
}
