//! The tiny parent: it holds the listening sockets, keeps an exchange running that serves them, and
//! does nothing else.
//!
//! ```text
//! supervisor ──▶ denwa run (the keeper)           binds, starts, forwards signals, reaps
//!                  │  ▲                           ◀── denwa reload, upgrade, stop
//!    a socket pair │  │ "ready"
//!                  ▼  │
//!                denwa --exchange (the exchange)  caged: serves the sockets, may neither bind nor execute
//! ```
//!
//! The exchange gets the configuration (the bytes that the keeper has read) and the sockets over the
//! pair, which is its standard input and stays open ([`Link`](crate::handover::Link)). If it dies, the
//! keeper starts the next one on the same sockets, at once or after a short while ([`backoff`]); datagrams
//! wait there meanwhile, since the keeper never reads any. If the keeper dies, the pair's end says so, and
//! the exchange stops.
//!
//! At an upgrade it starts another program beside the exchange, and joins the two; when the new one has taken
//! over, the old one ends (file `upgrade`, and `handover::estate`). If the new one dies within 30 s after that, the
//! program of before is started again.
//!
//! The operator's commands reach the keeper by a socket of its own (file `door`), of which the exchange knows
//! nothing: whoever breaks into that one must not be able to choose what is bound or executed. Of what the
//! exchange says, the keeper reads single octets.

pub mod backoff;
mod bind;
mod certificate;
mod child;
mod door;
mod local;
mod names;
mod orders;
mod rights;
mod take_over;
mod talk;
mod terminal;
mod upgrade;
mod watch;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

pub use bind::{BindError, bind};
pub use rights::enter_cage;
pub use take_over::{TakeOverError, take_over};
pub use talk::{Answer, AskError, Request, ask};

use crate::config::{Config, LogLevel};
use crate::console::{Log, control};
use crate::handover::Parcel;
use crate::journal::InUse;
use crate::net::sys;
use crate::sandbox::{self, User};
use crate::tls;
use certificate::Certificate;
use child::Binary;
use door::Door;
use names::Names;
use terminal::Terminal;

/// What is needed to keep an exchange running. It is little: not even the configuration is kept in
/// another form than the bytes of its file.
pub struct Keeper {
    /// What the keeper itself is, and where it was when it was started.
    own: Binary,
    program: PathBuf,
    /// What exchanges are.
    binary: Binary,
    /// Where the configuration was read.
    path: PathBuf,
    parcel: Parcel,
    /// Where TLS is spoken with a certificate that is given.
    certificate: Option<Certificate>,
    names: Names,
    /// `None` where there is no state folder for it.
    door: Option<Door>,
    terminal: Terminal,
    log: Log,
    /// When it was started, in seconds since 1970.
    since: u64,
}

impl Keeper {
    /// Opens everything that may fail or take rights: this program itself, the sockets, the state
    /// folder; then gives up the rights. It must come before the first thread. `config` is what `file` means,
    /// `path` is where it was read.
    ///
    /// # Errors
    ///
    /// The first thing that cannot be had, and what to do about it.
    pub fn new(config: &Config, path: &Path, file: &[u8]) -> Result<Keeper, StartError> {
        // Before the ports, which are taken then as well.
        if let Some(holder) = local::occupant(&config.state, talk::SOCKET) {
            return Err(StartError::InUse(InUse { folder: config.state.clone(), holder }));
        }
        // Whatever our starter left open is not for the exchange.
        sys::close_at_exec().map_err(StartError::Proc)?;
        let (own, binary) =
            (Binary::own().map_err(StartError::Proc)?, Binary::own().map_err(StartError::Proc)?);
        let program = own.path();
        // Numbers and names are the exchange's matter.
        let mut log = Log::new(&Config { log: config.log, ..Config::default() });
        let (certificate, material) = certificate::read(config).map_err(StartError::Tls)?;
        let mut sockets = bind(config).map_err(StartError::Bind)?;
        let user = User::find(config.user.as_deref()).map_err(StartError::Sandbox)?;
        let no_state = rights::prepare_state(config, user.as_ref()).map_err(StartError::Sandbox)?;
        let has_state = no_state.is_none();
        let (mut door, mut no_sockets) = (None, Vec::new());
        if has_state {
            match local::listen(&config.state, control::SOCKET, user.as_ref()) {
                Ok(listener) => sockets.control = Some(listener),
                Err(error) => no_sockets.push(without_socket(&config.state, control::SOCKET, &error)),
            }
            match local::listen(&config.state, talk::SOCKET, user.as_ref()) {
                Ok(listener) => door = Some(Door::new(listener)),
                Err(error) => no_sockets.push(without_socket(&config.state, talk::SOCKET, &error)),
            }
        }
        for notice in sockets.notices.drain(..).chain(no_state).chain(no_sockets) {
            log.say(LogLevel::Warn, &notice);
        }
        let parcel = Parcel::new(path, config, file, has_state, material.as_ref(), sockets);
        let parcel = parcel.map_err(StartError::Parcel)?;
        let (names, terminal) = (Names::new(), Terminal::own());
        // What it comes to is said by the exchange, of which the same is true.
        rights::confine(config, path, &program, user.as_ref(), has_state).map_err(StartError::Sandbox)?;
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let path = path.to_owned();
        Ok(Keeper { own, program, binary, path, parcel, certificate, names, door, terminal, log, since })
    }
}

/// What people are told when commands have no way to reach us.
fn without_socket(state: &Path, name: &str, error: &io::Error) -> String {
    let path = state.join(name);
    let path = path.display();
    let why = match error.kind() {
        io::ErrorKind::AddrInUse => "another denwa answers there".into(),
        io::ErrorKind::AlreadyExists => "there is something else of that name; remove it".into(),
        _ => error.to_string(),
    };
    let commands = if name == control::SOCKET { "`denwa status`" } else { "`denwa reload`" };
    format!("{commands} and its like will not find this denwa: {path}: {why}")
}

/// Why the keeper cannot do its work.
#[derive(Debug)]
pub enum StartError {
    /// The state folder is another denwa's.
    InUse(InUse),
    /// `/proc` is not there, so that the program cannot find itself.
    Proc(io::Error),
    /// The certificate for TLS cannot be used.
    Tls(tls::Error),
    /// A socket cannot be had.
    Bind(BindError),
    /// The state folder cannot be used, or the cage not be built.
    Sandbox(sandbox::Error),
    /// What is handed over cannot be packed.
    Parcel(io::Error),
    /// The exchange cannot be executed.
    Execute {
        /// Where this program is, as far as that is known.
        program: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// A system call failed that every system has.
    System(io::Error),
}

impl std::error::Error for StartError {}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::InUse(in_use) => in_use.fmt(f),
            StartError::Proc(error) => {
                write!(f, "/proc/self: {error}; denwa needs the proc filesystem: mount it on /proc")
            }
            StartError::Tls(error) => error.fmt(f),
            StartError::Bind(error) => error.fmt(f),
            StartError::Sandbox(error) => error.fmt(f),
            StartError::Parcel(error) => write!(f, "the exchange cannot be prepared: {error}"),
            StartError::Execute { program, error } => {
                let program = program.display();
                write!(f, "{program} cannot be executed: {error}")?;
                match error.kind() {
                    io::ErrorKind::PermissionDenied => write!(
                        f,
                        "; the user that the exchange runs as must be allowed to: `chmod 755 {program}`"
                    ),
                    _ => Ok(()),
                }
            }
            StartError::System(error) => write!(f, "the exchange cannot be watched: {error}"),
        }
    }
}
