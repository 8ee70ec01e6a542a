//! How those who call us by TLS show who they are: with a certificate, if they have one. They are asked for it, and need
//! not have any.

use std::sync::Arc;

use rustls::client::ResolvesClientCert;
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, UnixTime, alg_id};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme,
    client::danger::HandshakeSignatureValid,
};
use sha2::{Digest, Sha256};
use webpki::EndEntityCert;

use super::provider::SIGNATURES;

/// The most octets of a chain, which the library keeps as long as the connection stands. Three certificates with keys of
/// RSA-4096 have 6,000.
const MAX_CHAIN: usize = 8 << 10;

/// The SubjectPublicKeyInfo of RSA-2048 has as many octets; a shorter key is not to be relied on.
const RSA_2048: usize = 294;

/// The SHA-256 of a certificate whose owner has proved in a handshake that he has its key; `None` if nobody can prove
/// that here, for the key is of a kind that is not spoken.
pub(crate) fn proved_by(certificate: &CertificateDer<'_>) -> Option<[u8; 32]> {
    is_provable(certificate).then(|| Sha256::digest(certificate).into())
}

/// Whether a signature by the key of a certificate can be checked.
fn is_provable(certificate: &CertificateDer<'_>) -> bool {
    let Ok(certificate) = EndEntityCert::try_from(certificate) else { return false };
    let length = certificate.subject_public_key_info().len();
    SIGNATURES.all.iter().any(|algorithm| {
        let is_rsa = algorithm.public_key_alg_id() == alg_id::RSA_ENCRYPTION;
        // Not by this, but what is wrong with it tells whether the key is of its kind.
        let checked = certificate.verify_signature(*algorithm, b"", b"");
        !matches!(checked, Err(webpki::Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_)))
            && (!is_rsa || length >= RSA_2048)
    })
}

/// Lets everybody in, and has those who show a certificate prove that it is theirs.
///
/// Nothing in the certificate counts, neither who signed it nor how long it is valid: it is known by its fingerprint or
/// not at all. Phones show one that was put into them at the factory, perhaps with a key of a kind that nobody speaks any
/// more: to them it is as if they had shown none ([`proved_by`]).
#[derive(Debug)]
pub(super) struct Visitors;

impl ClientCertVerifier for Visitors {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        match certificate.len() + others.iter().map(|other| other.len()).sum::<usize>() {
            ..=MAX_CHAIN => Ok(ClientCertVerified::assertion()),
            _ => Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure)),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        match is_provable(certificate) {
            true => verify_tls12_signature(message, certificate, signature, &SIGNATURES),
            false => Ok(HandshakeSignatureValid::assertion()),
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        match is_provable(certificate) {
            true => verify_tls13_signature(message, certificate, signature, &SIGNATURES),
            false => Ok(HandshakeSignatureValid::assertion()),
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        SIGNATURES.supported_schemes()
    }
}

/// Our own certificate, for those that we call and that ask for one. Who names the authorities that it believes does not
/// know us by our fingerprint, and might end the connection for ours.
#[derive(Debug)]
pub(super) struct Visiting(pub(super) Arc<CertifiedKey>);

impl ResolvesClientCert for Visiting {
    fn resolve(&self, authorities: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        authorities.is_empty().then(|| self.0.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519};
    use rustls::pki_types::pem::PemObject;

    use super::*;

    const RSA_1024: &str = "\
-----BEGIN CERTIFICATE-----\n\
MIIB9jCCAV+gAwIBAgIUApPIP26CnkpfNtyqu7jpfxr1maUwDQYJKoZIhvcNAQEL\n\
BQAwDDEKMAgGA1UEAwwBcDAgFw0yNjExMjYwMzA2MDhaGA8yMDU0MDQxMzAzMDYw\n\
OFowDDEKMAgGA1UEAwwBcDCBnzANBgkqhkiG9w0BAQEFAAOBjQAwgYkCgYEAoN/o\n\
UaUnkdXznBNc2fgW5bbbgEXgH33x4rU3sujG44gP6cysL3N+na3IyPwuh2uMwDAr\n\
Ptt0KvkZKcUwTiyyYI0mUr+LCdK14bEB9dcOlODAy3BzsraKrZpHZNKmMPmR1LNQ\n\
z82JAZ45MF9rEre+Gd/ICdU/9/bfXsm9TCk9pm8CAwEAAaNTMFEwHQYDVR0OBBYE\n\
FGf8A59ogfJbP15OSnWSL7u61zyKMB8GA1UdIwQYMBaAFGf8A59ogfJbP15OSnWS\n\
L7u61zyKMA8GA1UdEwEB/wQFMAMBAf8wDQYJKoZIhvcNAQELBQADgYEAGFM2r8NO\n\
GGGqmrdn2g7XQXmXR+pxXMNXuzotgJgGbh4SUcncLZgBMpphLdGr1FfMMvfJesnA\n\
6xq3eDnH+sJPqhYq3HGPngYADWJ9vcl6jRMTSGjoScYjVH1hIpXH0P9DSHVJMDGP\n\
MT1MJirN1qGBw37CjJFkQYR4IE4TGIatSEM=\n\
-----END CERTIFICATE-----";

    const RSA_2048: &str = "\
-----BEGIN CERTIFICATE-----\n\
MIIC+zCCAeOgAwIBAgIUX7yV/cQ90mNbbbV6ESOuwk3TN4IwDQYJKoZIhvcNAQEL\n\
BQAwDDEKMAgGA1UEAwwBcDAgFw0yNjExMjYwMzA2MDhaGA8yMDU0MDQxMzAzMDYw\n\
OFowDDEKMAgGA1UEAwwBcDCCASIwDQYJKoZIhvcNAQEBBQADggEPADCCAQoCggEB\n\
ALW8NyCxBoVmpO8nQ5O7MA+shnBo5izItGKLpMwXtpPjgtni7K2ST5B1WwM/2WY5\n\
wjXZft15Y32zl2y+A7Wz9qf4eo+7A61J2BjKUug++wuJ8NA/058zs1hNPRXHpeSi\n\
UybhL/Kldc6slPxRn6rWQi+XBkbX6Lsg/S6lzcDIxrtmEyjbKoFAi5EKOKiW/GID\n\
JO8aJoBZbqB4m7gF1gAXp1qXrWIJtVR8jsVdgZmWE3W4cacYZZL7hGva3UKFy5wd\n\
SJeXR6DKwqbHvpAqyyKMmuOFd8i6w0OUMA/nIKbAfbZMP0KVw8Ia/qRb250Yl5Tb\n\
qFQNzN9x3Sb4loQYHgVTg/UCAwEAAaNTMFEwHQYDVR0OBBYEFKJnjMXJOnOmK6t6\n\
5m+IcZp9wOx/MB8GA1UdIwQYMBaAFKJnjMXJOnOmK6t65m+IcZp9wOx/MA8GA1Ud\n\
EwEB/wQFMAMBAf8wDQYJKoZIhvcNAQELBQADggEBABoE13xNraUzyzRj1sCkfAAE\n\
Zql9ppC6Ifc7lCQUrrZ9RvzDoN4NUg09Cfw7NDoVqzSCUvgxqYF/LZFiQBxSJOZa\n\
wcRzeLEGniKimjdIbev+iT73LCBHu6X3GE6yMne5D2MRfxEw2q64WltugWNeC8LI\n\
0FCk2hLuPywBEu8SC25qtnjO2pMfuEyU8xJD/dN75nUec90j0B0d+K8f/vwh6vQA\n\
uGTzKPbpYkET0qRSq64SWGvAryolsvK2lDtMQwW0qtfTudZk/zag3vzNWh2YtEFw\n\
cjOSlwhaHgE4+eFoCRqOlULnvXHYm+70fch3sSB0+Z/fqT+9BYhQFdbR0a6NvVg=\n\
-----END CERTIFICATE-----";

    #[test]
    fn by_a_key_that_nobody_can_check_nobody_is_known() {
        let made = |kind| {
            let key = KeyPair::generate_for(kind).unwrap();
            let params = CertificateParams::new(vec!["phone".to_owned()]).unwrap();
            params.self_signed(&key).unwrap().der().clone()
        };
        let read = |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
        for (certificate, is_known) in [
            (made(&PKCS_ECDSA_P256_SHA256), true),
            (made(&PKCS_ECDSA_P384_SHA384), true),
            (read(RSA_2048), true),
            (read(RSA_1024), false),
            (made(&PKCS_ED25519), false),
            (CertificateDer::from(b"garbage".to_vec()), false),
            (CertificateDer::from(Vec::new()), false),
        ] {
            let sha256: [u8; 32] = Sha256::digest(&certificate).into();
            assert_eq!(proved_by(&certificate), is_known.then_some(sha256), "{certificate:?}");
        }
    }
}
