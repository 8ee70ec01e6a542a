//! How a packet finds its session.

use serde::{Deserialize, Serialize};

use super::{Component, Side};

/// One of the relay's sockets: the number that epoll reports it by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Key(pub(super) u32);

/// Whose packet it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The session's slot.
    pub(super) session: u32,
    /// The stream's index.
    pub(super) stream: u8,
    /// From which end.
    pub(super) side: Side,
    /// By which of its sockets.
    pub(super) component: Component,
}

/// Finds the place of a packet: by the socket that received it. (One port shared by all streams would
/// be told apart here too, by source address.)
#[derive(Debug, Default)]
pub(super) struct Demux {
    places: Vec<Option<Place>>,
}

impl Demux {
    /// Says whose packets a socket receives from now on; `None` for nobody's.
    pub(super) fn point(&mut self, socket: Key, place: Option<Place>) {
        let index = socket.0 as usize;
        if index >= self.places.len() {
            self.places.resize(index + 1, None);
        }
        self.places[index] = place;
    }

    /// Whose packets a socket receives.
    pub(super) fn find(&self, socket: Key) -> Option<Place> {
        *self.places.get(socket.0 as usize)?
    }
}
