//! A certificate of our own, where none is given: signed by itself, so that phones can know it only by its
//! fingerprint. It is kept in the state folder for as long as that is, whatever changes in the configuration.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use serde::{Deserialize, Serialize};

use super::identity::{About, Identity, Origin};
use super::material::{Error, MAX_FILE};
use super::x509::{self, SelfSigned};
use crate::atomic::{self, Rights};
use crate::config::Config;

/// The name of the file in the state folder. It is secret: the key is in it.
pub const OWN: &str = "tls-own";

/// What is in it, in postcard's form.
#[derive(Serialize, Deserialize)]
struct Kept {
    /// The certificate, in the form DER.
    cert: Vec<u8>,
    /// Its key, in the form DER of PKCS #8.
    key: Vec<u8>,
}

/// That of the state folder; where there is none yet, or one that cannot be used, a new one. Also a notice if it
/// cannot be kept.
pub(super) fn identity(config: &Config, state: Option<&Path>) -> Result<(Identity, Option<String>), Error> {
    let file = state.map(|state| state.join(OWN));
    let found = file.as_deref().map(read);
    let mut notice = match found {
        Some(Ok(kept)) => match kept.identity() {
            Ok(identity) => return Ok((identity, None)),
            Err(error) => Some(format!("{error}; a new one takes its place")),
        },
        Some(Err(error)) if error.kind() == io::ErrorKind::NotFound => None,
        Some(Err(error)) => Some(format!("{error}; a new one takes its place")),
        None => Some("it will be another one after a restart, for there is no state folder".into()),
    };
    let kept = make(config)?;
    if let Some(file) = &file {
        let bytes = postcard::to_allocvec(&kept).map_err(io::Error::other);
        if let Err(error) = bytes.and_then(|bytes| atomic::put(file, &bytes, Rights::PRIVATE)) {
            notice = Some(format!("it will be another one after a restart: {}: {error}", file.display()));
        }
    }
    let identity = kept.identity().map_err(|error| Error::Own(error.to_string()))?;
    Ok((identity, notice.map(|notice| format!("the self-signed certificate for TLS: {notice}"))))
}

/// The file of a state folder, for a backup; `None` if there is none.
///
/// # Errors
///
/// It cannot be read, or there is no certificate in it that an exchange could use.
pub fn copy_own(state: &Path) -> io::Result<Option<Vec<u8>>> {
    // Whoever owns the folder may have put a pipe there.
    let opened = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(state.join(OWN));
    match opened.and_then(all) {
        Ok(bytes) => about_own(&bytes).map(|_| Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// What there is to know about the certificate in such a file.
///
/// # Errors
///
/// No exchange could use it.
pub fn about_own(bytes: &[u8]) -> io::Result<About> {
    // The library's words for what a file is that somebody else has written help nobody.
    let damaged = || io::Error::new(io::ErrorKind::InvalidData, "it is damaged, or something else");
    let identity = parse(bytes).ok().and_then(|kept| kept.identity().ok());
    identity.map(|identity| identity.about().clone()).ok_or_else(damaged)
}

fn read(file: &Path) -> io::Result<Kept> {
    parse(&all(File::open(file)?)?)
}

fn all(file: File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(MAX_FILE as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn parse(bytes: &[u8]) -> io::Result<Kept> {
    postcard::from_bytes(bytes).map_err(io::Error::other)
}

impl Kept {
    fn identity(&self) -> Result<Identity, rustls::Error> {
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.clone()));
        Identity::of(vec![CertificateDer::from(self.cert.clone())], key, Origin::Own)
    }
}

/// A new one. It names what phones may call the exchange by now.
fn make(config: &Config) -> Result<Kept, Error> {
    let advertised: Vec<String> = config.advertise.iter().map(ToString::to_string).collect();
    let domain = config.domain.iter().map(|domain| domain.trim_matches(['[', ']']));
    let mut names: Vec<&str> = domain.chain(advertised.iter().map(String::as_str)).collect();
    if names.is_empty() {
        names.push("denwa");
    }
    let mut serial = [0; 16];
    getrandom::fill(&mut serial).map_err(|error| Error::Own(error.to_string()))?;
    let made = x509::self_signed(&names, serial);
    let SelfSigned { cert, key } = made.map_err(|error| Error::Own(error.to_string()))?;
    Ok(Kept { cert, key })
}
