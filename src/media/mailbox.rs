//! A queue between two threads, whose reader waits for a file descriptor.

use std::collections::VecDeque;
use std::io;
use std::mem;
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

    /// Posts letters; when the box is full, waits until it is emptied.
    pub(super) fn post(&self, letters: impl IntoIterator<Item = T>) {
        let mut waiting = self.lock();
        let mut unsignalled = waiting.is_empty();
        for letter in letters {
            while waiting.len() >= self.room {
                if mem::take(&mut unsignalled) {
                    self.signal();
                }
                waiting = self.emptied.wait(waiting).unwrap_or_else(PoisonError::into_inner);
                unsignalled |= waiting.is_empty();
            }
            waiting.push_back(letter);
        }
        let news = unsignalled && !waiting.is_empty();
        // Not under the lock: on a single processor the reader runs at once.
        drop(waiting);
        if news {
            self.signal();
        }
    }

    /// Moves all letters to the end of `into`, and makes the descriptor unreadable until the next one is posted.
    pub(super) fn collect(&self, into: &mut impl Extend<T>) {
        // In this order: a letter posted in between is collected, and its signal wakes the reader once in vain.
        // The other way round, it would wait unsignalled.
        let _ = rustix::io::read(&self.signal, &mut [0; 8]);
        let mut letters = self.lock();
        // Only at a full box does anybody wait; telling nobody would cost a system call as well.
        let full = letters.len() >= self.room;
        into.extend(letters.drain(..));
        if full {
            self.emptied.notify_all();
        }
    }

    fn signal(&self) {
        // It could fail only when 2^64 - 2 signals were never read.
        let _ = rustix::io::write(&self.signal, &1_u64.to_ne_bytes());
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
