//! The relay's thread, and the handle that the rest of the house holds of it.

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use rustix::fd::{AsFd, BorrowedFd};

use super::forwarder::Forwarder;
use super::mailbox::Mailbox;
use super::{Command, Event, Legacy};

/// How many commands may wait; [`Relay::send`] blocks beyond.
const COMMANDS: usize = 4_096;

/// A running relay: a thread of its own that does nothing but move packets.
///
/// Commands go in by [`Relay::send`]. The handle is a file descriptor ([`AsFd`]) that is readable when events
/// may be waiting for [`Relay::drain`]; so `smol::Async::new(relay)` is all that it takes to wait for them.
/// It must never be read otherwise. Dropping the handle stops the thread and closes all its sockets;
/// [`Relay::leave`] hands them on.
#[derive(Debug)]
pub struct Relay {
    orders: Arc<Mailbox<Order>>,
    events: Arc<Mailbox<Event>>,
    thread: Option<JoinHandle<Option<Legacy>>>,
}

/// What the thread is told.
#[derive(Debug)]
pub(super) enum Order {
    /// By the switch.
    Obey(Command),
    /// To tell how all sessions are.
    Measure,
    /// To stop, and to leave everything to the next relay.
    Leave,
    /// That the handle is gone.
    Stop,
}

impl Relay {
    /// Starts the thread. Fails where the system has no descriptors or threads left.
    pub fn start() -> io::Result<Relay> {
        Relay::start_with(Legacy::default())
    }

    /// Starts the thread, which goes on with what another relay left: no packet that waits in a socket is
    /// lost, locks stay, and counters count on.
    ///
    /// # Errors
    /// As [`Relay::start`], and with `InvalidData` when the legacy is of another version, was damaged, or
    /// came with other sockets. These are closed then.
    pub fn start_with(legacy: Legacy) -> io::Result<Relay> {
        let orders = Arc::new(Mailbox::new(COMMANDS)?);
        // Not bounded here but by what is ordered: a session is told of at most one failure for each
        // `Set`, one silence for each end and window, one end; it is measured when asked; and locks have a pace
        // of their own: see `Event::Locked`.
        let events = Arc::new(Mailbox::new(usize::MAX)?);
        let mut forwarder = Forwarder::new(orders.clone(), events.clone())?;
        forwarder.take_over(legacy)?;
        let thread = thread::Builder::new().name("relay".into()).spawn(move || forwarder.run())?;
        Ok(Relay { orders, events, thread: Some(thread) })
    }

    /// Tells the relay what to do. Costs a system call only when the relay has done all that it was told
    /// before; waits for the relay only when 4,096 commands are queued.
    pub fn send(&self, command: Command) {
        self.send_all([command]);
    }

    /// Tells the relay all of this at once: one system call, and the relay wakes once.
    pub fn send_all(&self, commands: impl IntoIterator<Item = Command>) {
        self.orders.post(commands.into_iter().map(Order::Obey));
    }

    /// Asks how all sessions are; answered by [`Event::Measured`]. Waits for the relay like [`Relay::send`].
    pub fn measure(&self) {
        self.orders.post([Order::Measure]);
    }

    /// Stops the thread when it has done all that it was told, and leaves everything to the next relay: the
    /// sockets stay open, and packets wait in them.
    pub fn leave(mut self) -> Legacy {
        self.orders.post([Order::Leave]);
        // A thread that panicked has said so itself, and left nothing.
        self.thread.take().and_then(|thread| thread.join().ok()).flatten().unwrap_or_default()
    }

    /// Moves the events so far to the end of `events`, in the order in which they happened.
    pub fn drain(&self, events: &mut Vec<Event>) {
        self.events.collect(events);
    }
}

impl AsFd for Relay {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.events.as_fd()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            self.orders.post([Order::Stop]);
            // A thread that panicked has said so itself.
            let _ = thread.join();
        }
    }
}
