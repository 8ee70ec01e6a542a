//! A queue between two threads, whose reader waits for a file descriptor.

use std::collections::VecDeque;
use std::io;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use rustix::event::{EventfdFlags, eventfd};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};

/// Letters in the order in which they were posted.
///
/// The descriptor (an eventfd) is readable while letters may be waiting. It is written only when the first letter comes
/// to an empty box, so a burst costs one system call, and neither side pays for looking.
#[derive(Debug)]
pub(super) struct Mailbox<T> {
    letters: Mutex<VecDeque<T>>,
    emptied: Condvar,
    signal: OwnedFd,
    room: usize,
}

impl<T> Mailbox<T> {
    /// An empty box with room for so many letters.
    pub(super) fn new(room: usize) -> io::Result<Mailbox<T>> {
        Ok(Mailbox {
            letters: Mutex::new(VecDeque::new()),
            emptied: Condvar::new(),
            signal: eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?,
            room,
        })
    }

    /// Posts a letter; when the box is full, waits until it is emptied.
    pub(super) fn post(&self, letter: T) {
        let mut letters = self.lock();
        while letters.len() >= self.room {
            letters = self.emptied.wait(letters).unwrap_or_else(PoisonError::into_inner);
        }
        letters.push_back(letter);
        let first = letters.len() == 1;
        drop(letters);
        if first {
            // It could fail only when 2^64 - 2 signals were never read.
            let _ = rustix::io::write(&self.signal, &1_u64.to_ne_bytes());
        }
    }

    /// Moves all letters to the end of `into`, and makes the descriptor unreadable until the next one is posted.
    pub(super) fn collect(&self, into: &mut impl Extend<T>) {
        // In this order: a letter posted in between is collected, and its signal wakes the reader once in vain.
        // The other way round, it would wait unsignalled.
        let _ = rustix::io::read(&self.signal, &mut [0; 8]);
        into.extend(self.lock().drain(..));
        self.emptied.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<T>> {
        // A queue is whole between any two of its operations, whoever panicked elsewhere.
        self.letters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> AsFd for Mailbox<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.signal.as_fd()
    }
}
