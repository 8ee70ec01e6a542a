//! Our side of TLS where we open the connection: how the other side proves who it is.

use std::fs::File;
use std::io::{BufReader, Read};
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, Error, RootCertStore,
    SignatureScheme,
};
use sha2::{Digest, Sha256};

use super::{Identity, provider};

/// Where systems have the certificates of authorities: Debian, Alpine and their like; the RHEL family.
pub const BUNDLES: [&str; 2] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem"];

/// The most octets of it that are read.
const MAX_BUNDLE: u64 = 4 << 20;

/// The system's list of authorities, opened before the process enters its cage. It is read when it is needed for the
/// first time.
#[derive(Debug, Default)]
pub struct Authorities(Option<File>);

impl Authorities {
    /// Opens the list, if there is one.
    pub fn open() -> Authorities {
        Authorities(BUNDLES.iter().find_map(|path| File::open(path).ok()))
    }

    /// Those in a file of the form PEM.
    pub fn of(file: File) -> Authorities {
        Authorities(Some(file))
    }

    /// Whether there is a list.
    pub(crate) fn are_there(&self) -> bool {
        self.0.is_some()
    }

    fn roots(&mut self) -> Result<RootCertStore, String> {
        let none = "this machine has no list of certificate authorities: install the package ca-certificates and \
                    restart denwa, or pin the other side's fingerprint";
        let file = self.0.take().ok_or(none)?;
        let mut roots = RootCertStore::empty();
        // One that cannot be read is nobody's.
        let certificates = CertificateDer::pem_reader_iter(BufReader::new(file.take(MAX_BUNDLE)));
        roots.add_parsable_certificates(certificates.flatten());
        if roots.is_empty() { Err(none.into()) } else { Ok(roots) }
    }
}

/// What is needed to open connections.
#[derive(Default)]
pub(crate) struct Client {
    authorities: Authorities,
    /// Those that are in the list, once it was read.
    roots: Option<Arc<RootCertStore>>,
}

impl Client {
    pub(crate) fn new(authorities: Authorities) -> Client {
        Client { authorities, roots: None }
    }

    /// Our side of a new connection to somebody who is called `name`, a host name or an address: an authority says so,
    /// or `pin` is the SHA-256 of its certificate, which is all that counts then. If it asks who we are, it is shown
    /// `ours`.
    ///
    /// # Errors
    ///
    /// Why that is not possible, a sentence.
    pub(crate) fn connect(
        &mut self,
        name: &str,
        pin: Option<[u8; 32]>,
        ours: Option<&Identity>,
    ) -> Result<ClientConnection, String> {
        let host = name.trim_matches(['[', ']']).to_owned();
        let server = ServerName::try_from(host).map_err(|_| format!("`{name}` is no host name"))?;
        let config = self.config(pin, ours)?;
        ClientConnection::new(Arc::new(config), server).map_err(|error| error.to_string())
    }

    fn config(&mut self, pin: Option<[u8; 32]>, ours: Option<&Identity>) -> Result<ClientConfig, String> {
        let provider = provider();
        let builder = ClientConfig::builder_with_provider(provider.clone());
        let builder = builder.with_safe_default_protocol_versions().map_err(|error| error.to_string())?;
        let builder = match pin {
            Some(pin) => {
                builder.dangerous().with_custom_certificate_verifier(Arc::new(Pinned { pin, provider }))
            }
            None => builder.with_root_certificates(self.roots()?),
        };
        let mut config = match ours {
            Some(ours) => builder.with_client_cert_resolver(ours.visiting()),
            None => builder.with_no_client_auth(),
        };
        // Connections stand for days.
        config.resumption = Resumption::disabled();
        Ok(config)
    }

    fn roots(&mut self) -> Result<Arc<RootCertStore>, String> {
        if let Some(roots) = &self.roots {
            return Ok(roots.clone());
        }
        let roots = Arc::new(self.authorities.roots()?);
        Ok(self.roots.insert(roots).clone())
    }
}

/// Knows the other side by its certificate, and by nothing that is in it: neither its name nor how long it is valid.
#[derive(Debug)]
struct Pinned {
    pin: [u8; 32],
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match <[u8; 32]>::from(Sha256::digest(certificate)) == self.pin {
            true => Ok(ServerCertVerified::assertion()),
            false => Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure)),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
