//! What an exchange is given by its keeper: the configuration, packed into a sealed file in memory in postcard's form
//! (`Body`), in another one the certificate for TLS and its key, if there are such; and after them the sockets.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::net::{TcpListener, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::FileExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::message::{INHERIT, NAMES, Past, RENEW, SERVE, send};
use super::{Sockets, descriptors};
use crate::config::{Config, MAX_BYTES, MAX_LISTEN, MAX_MANTELA_LISTEN, Sandbox};
use crate::dns;
use crate::tls::{self, Material};

/// The most sockets for SIP that are handed over: one of each family for each `listen`.
pub const MAX_SOCKETS: usize = 2 * MAX_LISTEN;

/// The same for HTTP.
pub const MAX_WEB_SOCKETS: usize = 2 * MAX_MANTELA_LISTEN;

/// The most octets of a body: a configuration, two paths, a user, and room for numbers.
pub(super) const MAX_BODY: usize = MAX_BYTES + 2 * libc::PATH_MAX as usize + 1024;

/// The same for a certificate and its key: two files and their paths.
const MAX_MATERIAL: usize = 2 * (tls::MAX_FILE + libc::PATH_MAX as usize) + 1024;

/// The same for what is said of names: two files, and a NUL between them.
const MAX_NAMES: usize = 2 * dns::MAX_TEXT + 1;

#[derive(Serialize, Deserialize)]
struct Body<'a> {
    path: &'a [u8],
    file: &'a [u8],
    lasting: Lasting,
    has_state: bool,
    /// Whether a certificate comes behind this.
    has_material: bool,
    /// How many of the sockets are of UDP; they come first.
    udp: u8,
    /// How many are of TCP.
    tcp: u8,
    /// How many are of TLS.
    tls: u8,
    /// How many of HTTP come behind these.
    web: u8,
    /// Whether the last one is the operator's.
    control: bool,
}

/// What stays as it was when the keeper was started, whatever a later configuration says: rights that are
/// given up do not come back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Lasting {
    state: PathBuf,
    user: Option<String>,
    sandbox: Sandbox,
}

impl Lasting {
    pub(super) fn of(config: &Config) -> Lasting {
        Lasting { state: config.state.clone(), user: config.user.clone(), sandbox: config.sandbox }
    }

    /// Puts it in the place of what a configuration says. Returns the keys that say something else.
    pub(crate) fn hold(&self, config: &mut Config) -> Vec<&'static str> {
        let said = Lasting::of(config);
        let differs = [
            ("state", said.state != self.state),
            ("user", said.user != self.user),
            ("sandbox", said.sandbox != self.sandbox),
        ];
        (config.state, config.user, config.sandbox) = (self.state.clone(), self.user.clone(), self.sandbox);
        differs.into_iter().filter_map(|(key, differs)| differs.then_some(key)).collect()
    }
}

/// Everything that an exchange is given, packed, so that each one gets the same.
pub(crate) struct Parcel {
    pub(super) body: OwnedFd,
    material: Option<OwnedFd>,
    pub(crate) sockets: Sockets,
    pub(crate) lasting: Lasting,
    pub(crate) has_state: bool,
}

/// Sends what the system's files say of names ([`dns::FILES`]), without waiting.
pub(crate) fn send_names(to: &UnixStream, files: &[String; 2]) -> io::Result<()> {
    let packed = sealed(files.join("\0").as_bytes())?;
    send(to, NAMES, 0, Past::default(), &[packed.as_fd()])
}

impl Parcel {
    /// Packs a configuration, which is what `file` means, the certificate that it names, and at most
    /// [`MAX_SOCKETS`] sockets.
    pub(crate) fn new(
        path: &Path,
        config: &Config,
        file: &[u8],
        has_state: bool,
        material: Option<&Material>,
        sockets: Sockets,
    ) -> io::Result<Parcel> {
        let (udp, tcp, tls) = (sockets.udp.len(), sockets.tcp.len(), sockets.tls.len());
        let (all, web) = (udp + tcp + tls, sockets.web.len());
        if all > MAX_SOCKETS {
            return Err(io::Error::other(format!("{all} sockets, and {MAX_SOCKETS} are the most")));
        }
        if web > MAX_WEB_SOCKETS {
            return Err(io::Error::other(format!(
                "{web} sockets of HTTP, and {MAX_WEB_SOCKETS} are the most"
            )));
        }
        let lasting = Lasting::of(config);
        let path = path.as_os_str().as_bytes();
        let control = sockets.control.is_some();
        let (udp, tcp, tls, web) = (udp as u8, tcp as u8, tls as u8, web as u8);
        let has_material = material.is_some();
        let lasting_too = lasting.clone();
        let body =
            Body { path, file, lasting: lasting_too, has_state, has_material, udp, tcp, tls, web, control };
        let body = postcard::to_allocvec(&body).map_err(io::Error::other)?;
        if body.len() > MAX_BODY {
            return Err(io::Error::other("the configuration and its path are too long"));
        }
        let material = material.map(packed).transpose()?;
        Ok(Parcel { body: sealed(&body)?, material, sockets, lasting, has_state })
    }

    /// Puts another certificate in the place of the one that there is.
    pub(crate) fn renew(&mut self, material: &Material) -> io::Result<()> {
        self.material = Some(packed(material)?);
        Ok(())
    }

    /// Sends the certificate and its key alone, without waiting.
    pub(crate) fn send_material(&self, to: &UnixStream, number: u8) -> io::Result<()> {
        let material = self.material.as_ref().ok_or(io::ErrorKind::NotFound)?;
        send(to, RENEW, number, Past::default(), &[material.as_fd()])
    }

    /// Sends all of it, without waiting. `number` comes back with the answer.
    pub(crate) fn send(&self, to: &UnixStream, number: u8, past: Past) -> io::Result<()> {
        send(to, SERVE, number, past, &self.descriptors())
    }

    /// The same to one that inherits from another exchange, by `predecessor`, and whose log goes to `log` then.
    pub(crate) fn send_to_heir(
        &self,
        to: &UnixStream,
        past: Past,
        predecessor: BorrowedFd<'_>,
        log: BorrowedFd<'_>,
    ) -> io::Result<()> {
        let mut descriptors = self.descriptors();
        descriptors.extend([predecessor, log]);
        send(to, INHERIT, 0, past, &descriptors)
    }

    fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        let udp = self.sockets.udp.iter().map(AsFd::as_fd);
        let tcp = self.sockets.tcp.iter().map(AsFd::as_fd);
        let tls = self.sockets.tls.iter().map(AsFd::as_fd);
        let web = self.sockets.web.iter().map(AsFd::as_fd);
        let others = tcp.chain(tls).chain(web).chain(self.sockets.control.iter().map(AsFd::as_fd));
        let material = self.material.iter().map(AsFd::as_fd);
        [self.body.as_fd()].into_iter().chain(material).chain(udp).chain(others).collect()
    }
}

fn packed(material: &Material) -> io::Result<OwnedFd> {
    sealed(&postcard::to_allocvec(material).map_err(io::Error::other)?)
}

/// A file in memory that nobody can change any more.
pub(super) fn sealed(bytes: &[u8]) -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    // Before Linux 6.3 nobody knows of files that can never be executed.
    let file = match memfd_create(c"denwa", flags | MemfdFlags::NOEXEC_SEAL) {
        Err(Errno::INVAL) => memfd_create(c"denwa", flags)?,
        other => other?,
    };
    let mut file = File::from(file);
    file.write_all(bytes)?;
    fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL)?;
    Ok(file.into())
}

/// What is in a parcel.
pub(super) struct Contents {
    pub(super) path: PathBuf,
    pub(super) config: Config,
    pub(super) has_state: bool,
    pub(super) material: Option<Material>,
    pub(super) sockets: Sockets,
}

pub(super) fn unpack(descriptors: Vec<OwnedFd>) -> io::Result<Contents> {
    let mut descriptors = descriptors.into_iter();
    let bytes = read(descriptors.next(), MAX_BODY)?;
    let body: Body<'_> = postcard::from_bytes(&bytes).map_err(io::Error::other)?;

    let material = match body.has_material {
        true => Some(unpack_material(descriptors.next())?),
        false => None,
    };
    let (udp, tcp, tls) = (usize::from(body.udp), usize::from(body.tcp), usize::from(body.tls));
    let web = usize::from(body.web);
    let sent = udp + tcp + tls + web + usize::from(body.control);
    if descriptors.len() != sent {
        return Err(io::Error::other(format!("{} of {sent} sockets came", descriptors.len())));
    }
    let sockets = Sockets {
        udp: descriptors.by_ref().take(udp).map(UdpSocket::from).collect(),
        tcp: descriptors.by_ref().take(tcp).map(TcpListener::from).collect(),
        tls: descriptors.by_ref().take(tls).map(TcpListener::from).collect(),
        web: descriptors.by_ref().take(web).map(TcpListener::from).collect(),
        control: descriptors.next().map(UnixListener::from),
        ..Sockets::default()
    };
    let path = PathBuf::from(OsString::from_vec(body.path.to_vec()));
    let mut config = Config::parse(&path.display().to_string(), body.file).map_err(io::Error::other)?;
    body.lasting.hold(&mut config);
    Ok(Contents { path, config, has_state: body.has_state, material, sockets })
}

/// The certificate and its key.
pub(super) fn unpack_material(file: Option<OwnedFd>) -> io::Result<Material> {
    postcard::from_bytes(&read(file, MAX_MATERIAL)?).map_err(io::Error::other)
}

/// What the system's files say of names.
pub(super) fn unpack_names(file: Option<OwnedFd>) -> io::Result<[String; 2]> {
    let files = String::from_utf8(read(file, MAX_NAMES)?).map_err(io::Error::other)?;
    let (resolv_conf, hosts) = files.split_once('\0').ok_or(io::ErrorKind::InvalidData)?;
    Ok([resolv_conf.to_owned(), hosts.to_owned()])
}

/// What is in a file in memory.
fn read(file: Option<OwnedFd>, most: usize) -> io::Result<Vec<u8>> {
    let file = File::from(file.ok_or_else(descriptors::missing)?);
    let length = file.metadata()?.len();
    if length > most as u64 {
        return Err(io::Error::other(format!("{length} octets are too many")));
    }
    let mut bytes = vec![0; length as usize];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}
