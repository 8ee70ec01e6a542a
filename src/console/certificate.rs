//! With what TLS is spoken, in words.

use super::utc::Utc;
use crate::tls::{About, Origin};

/// What people should know of a certificate that is used from now on: a sentence for the log.
pub fn certificate(about: &About) -> String {
    match about.origin {
        Origin::Given => {
            format!("TLS is spoken with a certificate that is valid until {} UTC", Utc(about.not_after))
        }
        Origin::Own => format!(
            "TLS is spoken with a self-signed certificate, SHA-256 fingerprint {}",
            about.fingerprint_text()
        ),
    }
}
