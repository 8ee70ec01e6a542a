//! The two files, as they were read; and what may be wrong with them.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde::{Deserialize, Serialize};

use crate::config::TlsFiles;

/// The most octets of a file: a chain of a few certificates has less than a tenth.
pub const MAX_FILE: usize = 64 << 10;

/// The most certificates of a chain.
const MAX_CHAIN: usize = 16;

/// A certificate and its key, in the form PEM, as they go from the keeper to the exchange. The key is never shown.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Material {
    pub(super) cert: Vec<u8>,
    pub(super) key: Vec<u8>,
    files: (PathBuf, PathBuf),
}

impl fmt::Debug for Material {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Material of {}", self.files.0.display())
    }
}

impl Material {
    /// Reads the files.
    ///
    /// # Errors
    ///
    /// One of them cannot be read, or is larger than [`MAX_FILE`].
    pub fn read(files: &TlsFiles) -> Result<Material, Error> {
        Ok(Material {
            cert: read("tls.cert", &files.cert)?,
            key: read("tls.key", &files.key)?,
            files: (files.cert.clone(), files.key.clone()),
        })
    }

    /// The certificates, that of the exchange first, and the key.
    pub(super) fn parse(&self) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), Error> {
        let (cert, key) = &self.files;
        let chain = CertificateDer::pem_slice_iter(&self.cert).take(MAX_CHAIN);
        let chain: Vec<_> =
            chain.collect::<Result<_, _>>().map_err(|_| Error::NoCertificate(cert.clone()))?;
        if chain.is_empty() {
            return Err(Error::NoCertificate(cert.clone()));
        }
        let found = PrivateKeyDer::from_pem_slice(&self.key);
        let found = found.map_err(|_| match contains(&self.key, b"ENCRYPTED") {
            true => Error::EncryptedKey(key.clone()),
            false => Error::NoKey(key.clone()),
        });
        Ok((chain, found?))
    }

    /// What the library has against them, in our words.
    pub(super) fn wrong(&self, error: &rustls::Error) -> Error {
        let (cert, key) = self.files.clone();
        match error {
            rustls::Error::InconsistentKeys(_) => Error::Mismatch { cert, key },
            rustls::Error::InvalidCertificate(_) => Error::NoCertificate(cert),
            _ => Error::Unusable { key, why: error.to_string() },
        }
    }
}

fn contains(text: &[u8], word: &[u8]) -> bool {
    memchr::memmem::find(text, word).is_some()
}

fn read(key: &'static str, path: &Path) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_FILE as u64 + 1).read_to_end(&mut bytes));
    match read {
        Err(error) => Err(Error::Unreadable { key, path: path.to_owned(), kind: error.kind() }),
        Ok(length) if length > MAX_FILE => Err(Error::TooLarge { key, path: path.to_owned() }),
        Ok(_) => Ok(bytes),
    }
}

/// What is wrong with a certificate or its key, and what helps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// A file cannot be read.
    Unreadable {
        /// The key of the configuration that names it.
        key: &'static str,
        /// Where it is.
        path: PathBuf,
        /// What the system said.
        kind: io::ErrorKind,
    },
    /// It is larger than [`MAX_FILE`].
    TooLarge {
        /// The key of the configuration that names it.
        key: &'static str,
        /// Where it is.
        path: PathBuf,
    },
    /// There is no certificate in it.
    NoCertificate(PathBuf),
    /// There is no key in it.
    NoKey(PathBuf),
    /// There is one, for which one has to know a password.
    EncryptedKey(PathBuf),
    /// The key is another certificate's.
    Mismatch {
        /// The certificate.
        cert: PathBuf,
        /// The key.
        key: PathBuf,
    },
    /// The key is of a kind that cannot be used.
    Unusable {
        /// Where it is.
        key: PathBuf,
        /// What the library said.
        why: String,
    },
    /// Our own cannot be made.
    Own(String),
}

impl Error {
    /// Whether a file may not be read by whoever tried.
    pub fn is_forbidden(&self) -> bool {
        matches!(self, Error::Unreadable { kind: io::ErrorKind::PermissionDenied, .. })
    }
}

impl std::error::Error for Error {}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Unreadable { key, path, kind } => {
                let path = path.display();
                match kind {
                    io::ErrorKind::NotFound => write!(f, "{key}: there is no file {path}"),
                    io::ErrorKind::PermissionDenied => write!(
                        f,
                        "{key}: {path} may not be read by the user that denwa runs as: have the ACME client put a \
                         copy where it may (`chgrp denwa {path}` and `chmod 640 {path}`, in a folder that is open to it)"
                    ),
                    kind => write!(f, "{key}: {path} cannot be read: {kind}"),
                }
            }
            Error::TooLarge { key, path } => {
                write!(f, "{key}: {} is larger than {} KiB", path.display(), MAX_FILE >> 10)
            }
            Error::NoCertificate(path) => write!(
                f,
                "tls.cert: there is no certificate in {} that can be read; it begins with the line \
                 `-----BEGIN CERTIFICATE-----`",
                path.display()
            ),
            Error::NoKey(path) => write!(
                f,
                "tls.key: there is no private key in {}; it begins with a line like `-----BEGIN PRIVATE KEY-----`",
                path.display()
            ),
            Error::EncryptedKey(path) => write!(
                f,
                "tls.key: the key in {} is encrypted, and nobody is there to type its password; \
                 `openssl pkey -in FILE -out NEW` writes it without",
                path.display()
            ),
            Error::Mismatch { cert, key } => write!(
                f,
                "tls.key: {} is not the key of the certificate in {}; take both from the same folder, and the \
                 certificate with the chain behind it",
                key.display(),
                cert.display()
            ),
            Error::Unusable { key, why } => write!(
                f,
                "tls.key: the key in {} cannot be used ({why}); there are RSA from 2048 bits on, ECDSA with P-256 or \
                 P-384, and Ed25519",
                key.display()
            ),
            Error::Own(why) => write!(f, "no certificate can be made: {why}"),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use rustix::process::{Uid, geteuid};
    use rustix::thread::set_thread_res_uid;

    use super::*;

    #[test]
    fn a_key_that_may_not_be_read_is_said_to_be_one() {
        let file = |name: &str| std::env::temp_dir().join(format!("denwa-{}-{name}.pem", std::process::id()));
        let files = TlsFiles { cert: file("cert"), key: file("key") };
        for (path, mode) in [(&files.cert, 0o644), (&files.key, 0)] {
            fs::write(path, "-----BEGIN").unwrap();
            fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        }
        let asked = files.clone();
        let read = std::thread::spawn(move || {
            // Root may read everything; this thread is somebody else from now on.
            if geteuid().is_root() {
                set_thread_res_uid(Uid::ROOT, Uid::from_raw(65_534), Uid::ROOT).unwrap();
            }
            Material::read(&asked)
        });
        let error = read.join().unwrap().unwrap_err();
        assert!(error.is_forbidden(), "{error:?}");
        let advice =
            format!("tls.key: {} may not be read by the user that denwa runs as", files.key.display());
        assert!(error.to_string().starts_with(&advice), "{error}");
        for path in [files.cert, files.key] {
            fs::remove_file(path).unwrap();
        }
    }
}
