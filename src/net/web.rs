//! The document of [`mantela`], for whoever asks by HTTP.
//!
//! It is for strangers, and must not be felt by any call:
//!
//! | what | bound | what happens there |
//! |---|---|---|
//! | connections accepted | 100 a second at each socket | others wait in the kernel, which refuses them when its row is full |
//! | connections | 16 | the oldest is closed |
//! | a connection, from its first moment to its last | 5 s | it is closed |
//! | the head of a request | 4 KiB | 431, and it is closed |
//! | what is read over behind that, so that the answer is not lost | 64 KiB | it is closed |
//!
//! Whoever is not heard by SIP (`allow`, `deny`) gets nothing here either. The document is made when somebody asks
//! for it first, and again after each change of the configuration.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, Shutdown, TcpListener, TcpStream};
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use smol::future::or;
use smol::io::{AsyncReadExt, AsyncWriteExt};
use smol::{Async, Task, Timer};

use super::Machine;
use super::hub::Hub;
use crate::guard::Networks;
use crate::mantela::{self, MAX_HEAD};

/// The most connections at a time.
const CONNECTIONS: usize = 16;

/// How long a connection may last.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long nothing is accepted behind each connection.
const PAUSE: Duration = Duration::from_millis(10);

/// The most octets that are read over before a connection is closed.
const READ_OVER: usize = 64 << 10;

/// What the loop has for those who ask by HTTP.
#[derive(Default)]
pub(super) struct Web {
    /// `None` until somebody asks.
    document: Option<Rc<[u8]>>,
    /// Connections that have no task yet.
    pub(super) newcomers: Vec<TcpStream>,
}

impl Web {
    /// The configuration has changed.
    pub(super) fn forget(&mut self) {
        self.document = None;
    }
}

/// The tasks of connections, the oldest first. One that is dropped does not run again, and its connection is closed.
#[derive(Default)]
pub(super) struct Guests(VecDeque<Task<()>>);

impl Guests {
    /// One more; if there are too many, the oldest goes. So whoever opens many and says nothing keeps nobody out
    /// who asks at once.
    pub(super) fn admit(&mut self, task: Task<()>) {
        self.0.retain(|task| !task.is_finished());
        if self.0.len() >= CONNECTIONS {
            self.0.pop_front();
        }
        self.0.push_back(task);
    }
}

impl<M: Machine> Hub<'_, M> {
    /// Takes a connection in, if its source is heard at all.
    fn let_in(&mut self, socket: TcpStream, source: IpAddr) {
        let Some(switch) = self.machine.exchange() else { return };
        let access = &switch.config().access;
        let is_in = |list| Networks::new(list).contains(source);
        if !is_in(&access.deny) && (access.allow.is_empty() || is_in(&access.allow)) {
            self.web.newcomers.push(socket);
        }
    }

    /// The document as it is now; empty where the configuration has not all of it.
    fn document(&mut self) -> Rc<[u8]> {
        if let Some(document) = &self.web.document {
            return document.clone();
        }
        let config = self.machine.exchange().map(|switch| switch.config());
        let document =
            config.and_then(mantela::document).map_or_else(Vec::new, |document| document.to_json());
        let document: Rc<[u8]> = document.into();
        self.web.document = Some(document.clone());
        document
    }
}

/// Accepts connections.
pub(super) async fn accept<M: Machine>(hub: &RefCell<Hub<'_, M>>, listener: Async<TcpListener>) {
    loop {
        // Where it fails, the other side was gone, or the system has no room: neither is worth a word.
        if let Ok((socket, remote)) = listener.read_with(TcpListener::accept).await {
            hub.borrow_mut().let_in(socket, remote.ip().to_canonical());
        }
        Timer::after(PAUSE).await;
    }
}

/// Serves a connection until its end.
pub(super) async fn serve<M: Machine>(hub: &RefCell<Hub<'_, M>>, socket: TcpStream) {
    let Ok(socket) = Async::new(socket) else { return };
    let late = async {
        Timer::after(PATIENCE).await;
        Ok(())
    };
    // However it ends: whoever is there asks again.
    let _ = or(talk(hub, socket), late).await;
}

/// Hears one request, and answers it.
async fn talk<M: Machine>(hub: &RefCell<Hub<'_, M>>, mut socket: Async<TcpStream>) -> io::Result<()> {
    let mut received = Vec::new();
    let mut piece = [0; 1024];
    let answer = loop {
        let most = (MAX_HEAD - received.len()).min(piece.len());
        let count = socket.read(piece.get_mut(..most).unwrap_or_default()).await?;
        received.extend_from_slice(piece.get(..count).unwrap_or_default());
        match mantela::hear(&received) {
            Some(answer) => break answer,
            None if count == 0 => return Ok(()),
            None => {}
        }
    };
    let document = hub.borrow_mut().document();
    socket.write_all(&answer.to_octets(&document, SystemTime::now())).await?;
    socket.get_ref().shutdown(Shutdown::Write)?;
    // A socket that is closed before all is read resets the connection, and with it the answer that is on its way.
    let mut over = 0;
    while over < READ_OVER {
        match socket.read(&mut piece).await? {
            0 => break,
            count => over += count,
        }
    }
    Ok(())
}
