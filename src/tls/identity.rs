//! A certificate and its key, ready for use; and what there is to know about the certificate.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ServerConfig, ServerConnection};
use sha2::{Digest, Sha256};
use webpki::{EndEntityCert, KeyUsage};

use super::material::{Error, Material};
use super::provider;
use super::visitor::{Visiting, Visitors};

/// How long before its end a certificate is told of: an ACME client renews a month before.
const SOON: u64 = 14 * DAY;

const DAY: u64 = 86_400;

/// Where a certificate is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// From the files of `tls.cert` and `tls.key`.
    Given,
    /// Made here: phones can know it only by its fingerprint.
    Own,
}

/// What there is to know about a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// Where it is from.
    pub origin: Origin,
    /// SHA-256 of it.
    pub fingerprint: [u8; 32],
    /// From when on it is valid, in seconds since 1970.
    pub not_before: u64,
    /// Until when.
    pub not_after: u64,
}

/// A certificate and its key, ready for use.
pub struct Identity {
    config: Arc<ServerConfig>,
    visiting: Arc<Visiting>,
    about: About,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.about.fmt(f)
    }
}

impl Identity {
    /// That of two files.
    ///
    /// # Errors
    ///
    /// What is wrong with them. A certificate that is out of date is not wrong ([`About::trouble`]): phones that
    /// do not look still work.
    pub fn new(material: &Material, origin: Origin) -> Result<Identity, Error> {
        let (chain, key) = material.parse()?;
        Identity::of(chain, key, origin).map_err(|error| material.wrong(&error))
    }

    /// That of a chain, the exchange's own certificate first, and its key.
    pub(super) fn of(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        origin: Origin,
    ) -> Result<Identity, rustls::Error> {
        let leaf = chain.first().ok_or(rustls::Error::NoCertificatesPresented)?;
        let about = About::of(leaf, origin);
        let provider = provider();
        let certified = Arc::new(CertifiedKey::from_der(chain, key, &provider)?);
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(Arc::new(Visitors))
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified.clone())));
        Ok(Identity { config: Arc::new(config), visiting: Arc::new(Visiting(certified)), about })
    }

    /// What there is to know about the certificate.
    pub fn about(&self) -> &About {
        &self.about
    }

    /// Our side of a new connection.
    pub(crate) fn accept(&self) -> Result<ServerConnection, rustls::Error> {
        ServerConnection::new(self.config.clone())
    }

    /// What we show to those that we call.
    pub(super) fn visiting(&self) -> Arc<Visiting> {
        self.visiting.clone()
    }
}

impl About {
    pub(super) fn of(certificate: &CertificateDer<'_>, origin: Origin) -> About {
        let (not_before, not_after) = validity(certificate);
        About { origin, fingerprint: Sha256::digest(certificate).into(), not_before, not_after }
    }

    /// Its SHA-256 as people compare it.
    pub fn fingerprint_text(&self) -> String {
        fingerprint_text(&self.fingerprint)
    }

    /// What is wrong with it at this time, in seconds since 1970, or will be soon; a sentence.
    pub fn trouble(&self, now: u64) -> Option<String> {
        let days = |seconds: u64| match seconds / DAY {
            0 => "less than a day".to_owned(),
            1 => "1 day".to_owned(),
            days => format!("{days} days"),
        };
        let what = if self.not_after <= now {
            format!("expired {} ago: phones that check it do not register by TLS", days(now - self.not_after))
        } else if self.not_before > now {
            format!("is not valid before {} from now: is the clock right?", days(self.not_before - now))
        } else if self.not_after - now < SOON {
            format!("expires in {}: it should have been renewed by now", days(self.not_after - now))
        } else {
            return None;
        };
        Some(format!("the certificate (tls.cert) {what}; see what the ACME client says"))
    }
}

/// A fingerprint as people compare it: `AB:CD:…`.
pub fn fingerprint_text(fingerprint: &[u8]) -> String {
    let mut text = String::with_capacity(3 * fingerprint.len());
    for octet in fingerprint {
        let colon = if text.is_empty() { "" } else { ":" };
        // Writing to a string cannot fail.
        let _ = write!(text, "{colon}{octet:02X}");
    }
    text
}

/// From when until when a certificate is valid, in seconds since 1970. The library has read that but does not
/// show it, other than by refusing the certificate at a time when it is not.
fn validity(certificate: &CertificateDer<'_>) -> (u64, u64) {
    let refusal = |time: u64| {
        let time = UnixTime::since_unix_epoch(Duration::from_secs(time));
        let certificate = EndEntityCert::try_from(certificate).ok()?;
        certificate.verify_for_usage(&[], &[], &[], time, KeyUsage::server_auth(), None, None).err()
    };
    let not_before = match refusal(0) {
        Some(webpki::Error::CertNotValidYet { not_before, .. }) => not_before.as_secs(),
        _ => 0,
    };
    let not_after = match refusal(u64::MAX) {
        Some(webpki::Error::CertExpired { not_after, .. }) => not_after.as_secs(),
        _ => u64::MAX,
    };
    (not_before, not_after)
}
