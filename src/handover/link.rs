//! The exchange's end of what joins it to its keeper.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use rustix::net::{RecvFlags, SendFlags};

use super::message::{BEQUEATH, INHERIT, Message, NAMES, Past, READY, RENEW, SERVE, answer, receive_message};
use super::parcel::{Contents, unpack, unpack_material, unpack_names};
use super::{Predecessor, Sockets};
use crate::config::Config;
use crate::tls::Material;

/// How long an exchange waits for its keeper at the start.
const PATIENCE: Duration = Duration::from_secs(5);

/// What an exchange has been given.
#[derive(Debug)]
pub struct Handover {
    /// Where the configuration was read, for people.
    pub path: PathBuf,
    /// What it says.
    pub config: Config,
    /// Whether the state folder can be used.
    pub has_state: bool,
    /// The certificate for TLS, if one is given.
    pub material: Option<Material>,
    /// The sockets to serve.
    pub sockets: Sockets,
    /// What was before.
    pub past: Past,
    /// The keeper.
    pub link: Link,
}

/// The process that keeps this exchange, for people who want to stop both.
pub fn keeper() -> u32 {
    std::os::unix::process::parent_id()
}

/// Takes over what the keeper at the other end has sent.
pub(crate) fn receive(from: UnixStream) -> io::Result<Handover> {
    from.set_read_timeout(Some(PATIENCE))?;
    let Some(Message { kind, past, mut descriptors, .. }) = receive_message(&from, RecvFlags::empty())?
    else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    let inheritance = match kind {
        SERVE => None,
        INHERIT => {
            let (log, pair) = (descriptors.pop(), descriptors.pop());
            let predecessor = Predecessor::new(pair.ok_or(io::ErrorKind::InvalidData)?.into());
            log.map(|log| Inheritance { predecessor, log })
        }
        _ => return Err(io::ErrorKind::InvalidData.into()),
    };
    let Contents { path, config, has_state, material, sockets } = unpack(descriptors)?;
    Ok(Handover {
        path,
        config,
        has_state,
        material,
        sockets,
        past,
        link: Link { keeper: from, inheritance },
    })
}

/// What joins an exchange to its keeper. Readable when the keeper wants something, or is gone.
#[derive(Debug)]
pub struct Link {
    pub(super) keeper: UnixStream,
    pub(super) inheritance: Option<Inheritance>,
}

/// What an exchange has besides that takes over from another.
#[derive(Debug)]
pub(super) struct Inheritance {
    predecessor: Predecessor,
    /// Where the log goes when it has: until then its words are for whoever wants it to.
    log: OwnedFd,
}

/// What the keeper wants of a running exchange.
#[derive(Debug)]
pub enum Order {
    /// To go on with another configuration, on these sockets: some are those that it has, others are new.
    Reload {
        /// What the configuration says.
        config: Box<Config>,
        /// The certificate for TLS, if one is given.
        material: Option<Material>,
        /// All that is listened on from now on.
        sockets: Sockets,
        /// For [`Link::answer`].
        number: u8,
    },
    /// To speak TLS with another certificate from now on.
    Renew {
        /// That.
        material: Material,
        /// For [`Link::answer`].
        number: u8,
    },
    /// To ask for names as these files say from now on (`/etc/resolv.conf` and `/etc/hosts`).
    Names([String; 2]),
    /// To leave everything to the exchange at the other end of this.
    Bequeath(UnixStream),
}

impl Link {
    /// Tells the keeper that the exchange serves: if it dies from now on, it is started again. The one from
    /// which it has inherited ends.
    ///
    /// # Errors
    ///
    /// Those of [`Predecessor::relieve`].
    pub fn ready(&self) -> io::Result<()> {
        if let Some(Inheritance { predecessor, log }) = &self.inheritance {
            predecessor.relieve()?;
            // Where it cannot be had, the log ends with whoever reads it now.
            let _ = rustix::stdio::dup2_stderr(log);
        }
        self.say(READY);
        Ok(())
    }

    /// From whom this exchange inherits, if it is not the first one.
    pub fn predecessor(&self) -> Option<&Predecessor> {
        self.inheritance.as_ref().map(|inheritance| &inheritance.predecessor)
    }

    /// The next order, if there is one. One whose sockets could not all be had is answered as not obeyed.
    ///
    /// # Errors
    ///
    /// The keeper is gone.
    pub fn next(&self) -> io::Result<Option<Order>> {
        loop {
            let message = receive_message(&self.keeper, RecvFlags::DONTWAIT)?;
            let Some(Message { kind, number, mut descriptors, .. }) = message else { return Ok(None) };
            if kind == BEQUEATH {
                match descriptors.pop() {
                    Some(pair) => return Ok(Some(Order::Bequeath(pair.into()))),
                    None => continue,
                }
            }
            if kind == NAMES {
                match unpack_names(descriptors.pop()) {
                    Ok(files) => return Ok(Some(Order::Names(files))),
                    Err(_) => continue,
                }
            }
            if kind == RENEW {
                match unpack_material(descriptors.pop()) {
                    Ok(material) => return Ok(Some(Order::Renew { material, number })),
                    Err(_) => {
                        self.answer(number, false);
                        continue;
                    }
                }
            }
            match (kind, unpack(descriptors)) {
                (SERVE, Ok(Contents { config, material, sockets, .. })) => {
                    return Ok(Some(Order::Reload { config: Box::new(config), material, sockets, number }));
                }
                _ => self.answer(number, false),
            }
        }
    }

    /// Says whether the order of this number was obeyed.
    pub fn answer(&self, number: u8, is_done: bool) {
        self.say(answer(number, is_done));
    }

    fn say(&self, octet: u8) {
        // If the keeper is gone, that is seen by reading.
        let _ = rustix::net::send(&self.keeper, &[octet], SendFlags::NOSIGNAL | SendFlags::DONTWAIT);
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.keeper.as_fd()
    }
}
