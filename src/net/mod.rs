//! The loop that feeds the switch: datagrams, stream messages, the relay's reports, time and
//! signals go in, and what comes out is sent. Decides nothing about calls, and binds nothing.
//!
//! One thread runs it all. Each wake-up takes a batch: receive what is there, handle all of it,
//! send all that came of it, then tell people. Nothing in here blocks, and everything has a bound:
//!
//! | what | bound | what happens there |
//! |---|---|---|
//! | a datagram or a message on a stream | 65,535 bytes | longer ones end their stream |
//! | datagrams taken per turn of a socket | [`sys::BATCH`] | others get their turn first |
//! | datagrams of a socket in a millisecond that are looked for one by one | 8 | more are taken a millisecond later, in batches |
//! | connections | those that the machine wants, 4,096 | a new one is reset at once |
//! | of these, those of TLS | 2,048 | a new one is reset at once |
//! | connections that we closed and the other side has not | 256, 2 s each | the oldest is reset |
//! | connections of TLS whose handshake is not done | 256 | the oldest is reset |
//! | a new connection without a byte; of TLS, without the end of its handshake, and then again | 5 s | reset |
//! | octets of a handshake | 16 KiB | reset |
//! | connections that we are opening | 32, 5 s each | one more fails |
//! | a message on a connection, from its first byte | 10 s | reset |
//! | unsent bytes of one connection | 256 KiB | reset |
//! | memory for unfinished messages and unsent bytes of all connections | 8 MiB; half of it for those to which nothing was ever said | reset is who needs more |
//!
//! That of 8 MiB is exceeded by one buffer of at most 128 KiB while it is found out. A connection costs
//! about 1 KiB besides, so that all of them together stay below 13 MiB; one of TLS costs about 14 KiB more, so that
//! those stay below 28 MiB more, and those of strangers, of which the guard lets in 1,024, below 14 MiB. The chain of
//! certificates that its other side shows is kept with it: usually 1 or 2 KiB, at most 8.

mod certificate;
mod clock;
mod cloud;
mod connect;
pub mod framer;
mod hub;
mod listen;
mod locate;
mod measuring;
mod operators;
mod serve;
mod session;
mod stream;
mod streams;
pub mod sys;
mod trace;
mod trouble;
mod udp;
mod web;

use std::cell::RefCell;
use std::io::{self, Read};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::Duration;

use smol::future::{or, yield_now};
use smol::{Async, LocalExecutor, Task, Timer};

use crate::dns::Resolver;
use crate::handover::{self, Link, Order, Sockets};
use crate::journal::{Journal, Record};
use crate::media;
use crate::switch::{Event, Input, Instant, Output, Switch, Transport};
use crate::tls::Client;
use hub::Hub;
use listen::Listening;
pub use operators::Desk;
use operators::Operators;
pub use streams::CONNECTIONS_MAX;
use sys::{BATCH, Inbox, Signal, Signals};

/// How many bytes a datagram may have: more than IP can carry, so that none is ever cut off.
const DATAGRAM_MAX: usize = 65_536;

/// How long calls have to end after SIGINT.
const FAREWELL: Duration = Duration::from_secs(5);

/// How long the loop goes on when the last of these calls has ended: a lost BYE is sent a second
/// time after 500 ms (T1), and the relay's last report completes the call's record.
const LAST_WORDS: Duration = Duration::from_millis(600);

/// How long a moment is waited for in which nothing is under way, before another process takes over.
const UNSETTLED: Duration = Duration::from_secs(5);

/// How many tasks of a kind run before others, and what is newly ready, get their turn.
const TURNS: usize = 8;

/// How the loop ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It was told to stop, or its keeper is gone.
    Stopped,
    /// Another process goes on.
    HandedOver,
}

/// What the loop drives; [`Switch`] is one.
pub trait Machine {
    /// What its clock says before the first input, and goes on from.
    fn start(&self) -> Instant {
        Instant::default()
    }
    /// Takes one input. `now` never goes backwards.
    fn handle(&mut self, now: Instant, input: Input<'_>);
    /// The next thing to do; drained until `None` after each input.
    fn poll(&mut self) -> Option<Output>;
    /// When it wants [`Input::Tick`], if nothing else comes first.
    fn deadline(&self) -> Option<Instant>;
    /// How many calls there are; after SIGINT the loop ends when there are none.
    fn calls(&self) -> usize;
    /// Gives all records of what must survive.
    fn snapshot(&self, each: &mut dyn FnMut(&Record));
    /// The exchange that operators look into, if it is one.
    fn exchange(&self) -> Option<&Switch> {
        None
    }
    /// Whether these records are all that another process needs to go on: nothing is just being asked or
    /// answered.
    fn is_settled(&self) -> bool {
        true
    }
}

impl Machine for Switch {
    fn start(&self) -> Instant {
        Switch::now(self)
    }

    fn handle(&mut self, now: Instant, input: Input<'_>) {
        Switch::handle(self, now, input);
    }

    fn poll(&mut self) -> Option<Output> {
        Switch::poll(self)
    }

    fn deadline(&self) -> Option<Instant> {
        Switch::deadline(self)
    }

    fn calls(&self) -> usize {
        Switch::calls(self)
    }

    fn snapshot(&self, each: &mut dyn FnMut(&Record)) {
        Switch::snapshot(self, each);
    }

    fn is_settled(&self) -> bool {
        Switch::is_settled(self)
    }

    fn exchange(&self) -> Option<&Switch> {
        Some(self)
    }
}

/// Runs the exchange until it is told to stop: SIGINT ends the calls first and waits for that, at
/// most 5 s or until the second SIGINT; SIGTERM stops at once and leaves the calls to whoever
/// comes next. It also stops at once when its `keeper`, if it has one, is gone: that one is told when all is
/// ready, and might have been told to stop in a way that nobody can pass on (SIGKILL). What the keeper wants
/// meanwhile is done ([`Order`]).
///
/// What must survive is written to the `journal`, if there is one, before anything is sent that says so;
/// at the end it is waited for until it is on the disk.
///
/// Operators come by [`Sockets::control`], if there is one; `desk` is what they may know besides, and what the
/// cloud says.
///
/// `tell` is given what people should know, after it was done.
///
/// # Errors
///
/// When the system refuses what the loop cannot live without, e.g. epoll; and those of [`Link::ready`].
pub fn run(
    machine: impl Machine,
    mut sockets: Sockets,
    journal: Option<Journal>,
    relay: media::Relay,
    keeper: Option<Link>,
    mut desk: Desk,
    tell: &mut dyn FnMut(&Event),
) -> io::Result<End> {
    let news = desk.cloud.take();
    let resolver = Rc::new(desk.resolver.take().unwrap_or_else(|| Resolver::new("", "", [0; 16])));
    let authorities = std::mem::take(&mut sockets.authorities);
    let signals = Async::new(Signals::catch()?)?;
    let keeper = keeper.map(Async::new).transpose()?;
    let control = sockets.control.take().map(Async::new).transpose()?;
    let (wanted, wishes) = smol::channel::unbounded();
    let hub = RefCell::new(Hub::new(machine, journal, relay, Operators::new(desk), wanted, tell));
    let inbox = RefCell::new(Inbox::new(BATCH, DATAGRAM_MAX));
    let scratch = RefCell::new(vec![0; serve::READ_SIZE]);

    // Connections have an executor of their own: when a thousand of them have something to say, what
    // came by datagram does not wait for all of them.
    let crowd = LocalExecutor::new();
    let executor = LocalExecutor::new();
    let mut listening = Listening::new(
        |bound| executor.spawn(receive(&hub, &inbox, bound)),
        |listener, transport| executor.spawn(serve::accept(&hub, listener, transport)),
        |listener| executor.spawn(web::accept(&hub, listener)),
    );
    hub.borrow_mut().inherit(std::mem::take(&mut sockets.standing));
    listening.start(&hub, sockets)?;
    // What it has to say at once, as after a crash, goes out by those sockets and connections.
    hub.borrow_mut().start();
    let start_reporting = || -> io::Result<Task<()>> {
        let reports = Async::new(hub.borrow().reports()?)?;
        Ok(executor.spawn(report(&hub, reports)))
    };
    let reporting = start_reporting()?;
    if let Some(control) = control {
        executor.spawn(operators::accept(&hub, control)).detach();
    }
    hub.borrow_mut().client = Client::new(authorities);
    executor.spawn(tick(&hub)).detach();
    for _ in 0..locate::AT_A_TIME {
        let sought = hub.borrow().sought();
        executor.spawn(locate::serve(&hub, Rc::clone(&resolver), sought)).detach();
    }
    let (around, crowded) = (&hub, &crowd);
    let opening = async move {
        while let Ok(wanted) = wishes.recv().await {
            crowded.spawn(connect::connect(around, wanted)).detach();
        }
    };
    executor.spawn(opening).detach();
    if let Some(news) = news {
        executor.spawn(cloud::listen(&hub, news)).detach();
    }

    let mut guests = web::Guests::default();
    let work = async {
        loop {
            // A few tasks of each at a time, so that a flood here lets timers and others in.
            let mut is_busy = false;
            for _ in 0..TURNS {
                is_busy |= executor.try_tick();
                for id in hub.borrow_mut().streams.newcomers.drain(..) {
                    crowd.spawn(serve::serve(&hub, &scratch, id)).detach();
                }
                for (id, socket) in hub.borrow_mut().operators.newcomers.drain(..) {
                    crowd.spawn(operators::serve(&hub, id, socket)).detach();
                }
                for socket in hub.borrow_mut().web.newcomers.drain(..) {
                    guests.admit(crowd.spawn(web::serve(&hub, socket)));
                }
            }
            for _ in 0..TURNS {
                is_busy |= crowd.try_tick();
            }
            match is_busy {
                true => yield_now().await,
                false => or(executor.tick(), crowd.tick()).await,
            }
        }
    };
    let stopped = or(
        stop(&hub, signals),
        obey(&hub, keeper.as_ref(), &resolver, &mut listening, reporting, start_reporting),
    );
    if let Some(keeper) = &keeper {
        keeper.get_ref().ready()?;
    }
    let stopped = smol::block_on(or(stopped, work));
    drop(listening);
    drop(executor);
    drop(crowd);
    hub.into_inner().leave();
    stopped
}

/// Feeds what comes by one UDP socket.
async fn receive<M: Machine>(hub: &RefCell<Hub<'_, M>>, inbox: &RefCell<Inbox>, bound: SocketAddr) {
    let socket = hub.borrow().udp.iter().find(|udp| udp.bound() == bound).map(|udp| udp.socket.clone());
    let Some(socket) = socket else { return };
    let mut failures = 0;
    let mut flood = Flood::default();
    loop {
        let received = hub.borrow_mut().receive(bound, &mut inbox.borrow_mut());
        match received {
            Ok(BATCH) => {
                failures = 0;
                yield_now().await;
            }
            // All that there was: to look again at once would be in vain.
            Ok(count) => {
                failures = 0;
                if flood.is_on(hub.borrow().now(), count) {
                    Timer::after(Flood::PAUSE).await;
                } else if socket.readable().await.is_err() {
                    Timer::after(Duration::from_millis(100)).await;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                failures = 0;
                if socket.readable().await.is_err() {
                    Timer::after(Duration::from_millis(100)).await;
                }
            }
            // An ICMP error about something we sent; only if there is no end to it, the socket
            // itself may be in trouble, which must not make us spin.
            Err(_) => {
                failures += 1;
                if failures > 64 {
                    Timer::after(Duration::from_millis(10)).await;
                }
            }
        }
    }
}

/// How much comes by a socket at the time.
///
/// To wake up costs several times what it costs to receive a datagram. So where many come, the socket
/// is left alone for a moment after each look, and a flood is taken in batches: who waits for an answer
/// meanwhile does not notice, and the sound of calls has the processor.
#[derive(Default)]
struct Flood {
    /// The millisecond that is being counted, and how many datagrams came in it.
    counted: (Instant, usize),
}

impl Flood {
    /// How many datagrams in a millisecond are ordinary.
    const ORDINARY: usize = 8;

    /// For how long nothing is received when there are more: in that time a socket's buffer fills to
    /// its usual bound of 416 KiB only when more than a hundred thousand come a second, which then
    /// come in whole batches, without a pause.
    const PAUSE: Duration = Duration::from_millis(1);

    /// Counts datagrams. Whether there are more than is ordinary.
    fn is_on(&mut self, now: Instant, count: usize) -> bool {
        let (when, so_far) = self.counted;
        self.counted = (now, if when == now { so_far + count } else { count });
        self.counted.1 > Flood::ORDINARY
    }
}

/// Feeds the relay's reports.
async fn report<M: Machine>(hub: &RefCell<Hub<'_, M>>, reports: Async<OwnedFd>) {
    loop {
        if reports.readable().await.is_err() {
            Timer::after(Duration::from_millis(100)).await;
        }
        hub.borrow_mut().report();
    }
}

/// Feeds a tick whenever the machine wants one.
async fn tick<M: Machine>(hub: &RefCell<Hub<'_, M>>) {
    loop {
        std::future::poll_fn(|cx| hub.borrow_mut().alarm.poll(cx)).await;
        hub.borrow_mut().tick();
    }
}

/// Ends when the process should.
async fn stop<M: Machine>(hub: &RefCell<Hub<'_, M>>, signals: Async<Signals>) -> io::Result<End> {
    if next_signal(&signals).await? == Signal::Terminate {
        return Ok(End::Stopped);
    }
    let calls = hub.borrow_mut().hang_up();
    let ended = async {
        while !hub.borrow().is_quiet() {
            Timer::after(Duration::from_millis(10)).await;
        }
        if calls > 0 {
            Timer::after(LAST_WORDS).await;
        }
        Ok(End::Stopped)
    };
    let late = async {
        Timer::after(FAREWELL).await;
        Ok(End::Stopped)
    };
    let again = async {
        next_signal(&signals).await?;
        Ok(End::Stopped)
    };
    or(ended, or(late, again)).await
}

/// The next signal that asks the process itself for something.
async fn next_signal(signals: &Async<Signals>) -> io::Result<Signal> {
    loop {
        match signals.get_ref().next() {
            Some(signal @ (Signal::Interrupt | Signal::Terminate)) => return Ok(signal),
            // The keeper's.
            Some(Signal::Child | Signal::HangUp) => {}
            None => signals.readable().await?,
        }
    }
}

/// Does what the keeper wants, and ends when it is gone; never if there was none.
async fn obey<M: Machine>(
    hub: &RefCell<Hub<'_, M>>,
    keeper: Option<&Async<Link>>,
    resolver: &Resolver,
    listening: &mut Listening<
        impl Fn(SocketAddr) -> Task<()>,
        impl Fn(Async<TcpListener>, Transport) -> Task<()>,
        impl Fn(Async<TcpListener>) -> Task<()>,
    >,
    mut reporting: Task<()>,
    start_reporting: impl Fn() -> io::Result<Task<()>>,
) -> io::Result<End> {
    let Some(keeper) = keeper else {
        return std::future::pending().await;
    };
    loop {
        match keeper.get_ref().next() {
            Ok(None) => keeper.readable().await?,
            Ok(Some(Order::Reload { config, material, sockets, number })) => {
                let is_done = listening.reload(hub, config, material.as_ref(), sockets).is_ok();
                keeper.get_ref().answer(number, is_done);
            }
            Ok(Some(Order::Renew { material, number })) => {
                let is_done = hub.borrow_mut().take(&material).is_ok();
                keeper.get_ref().answer(number, is_done);
            }
            Ok(Some(Order::Names([resolv_conf, hosts]))) => {
                resolver.learn(&resolv_conf, &hosts);
                hub.borrow_mut().renamed();
            }
            Ok(Some(Order::Bequeath(heir))) => {
                if bequeath(hub, heir).await? {
                    return Ok(End::HandedOver);
                }
                reporting = start_reporting()?;
            }
            // It also takes the task that reports with it.
            Err(_) => {
                drop(reporting);
                return Ok(End::Stopped);
            }
        }
    }
}

/// Leaves everything to the exchange at the other end, when that can take over and nothing is under way, or has
/// not ceased to be for 5 s. Whether it has taken over.
async fn bequeath<M: Machine>(hub: &RefCell<Hub<'_, M>>, heir: UnixStream) -> io::Result<bool> {
    let heir = Async::new(heir)?;
    let mut word = [0];
    if heir.read_with(|mut heir| heir.read_exact(&mut word)).await.is_err() || word != [handover::CAN] {
        return Ok(false);
    }
    let settled = async {
        while !hub.borrow().is_settled() {
            Timer::after(Duration::from_millis(5)).await;
        }
    };
    let late = async {
        Timer::after(UNSETTLED).await;
    };
    or(settled, late).await;
    Ok(hub.borrow_mut().bequeath(heir.get_ref()).is_ok())
}
