//! A certificate that is signed by itself (RFC 5280 §4.1), written in DER (X.690): a few lines, where a library that
//! can write all certificates adds a hundred kilobytes to the program.

use std::net::IpAddr;

use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};

/// A certificate and its key, both in DER; the key in the form PKCS #8.
pub(super) struct SelfSigned {
    pub(super) cert: Vec<u8>,
    pub(super) key: Vec<u8>,
}

/// From when until when it is valid (UTCTime): long enough, whatever the clock of either side says, and until a year
/// that all phones can count to.
const VALIDITY: [&[u8]; 2] = [b"000101000000Z", b"491231235959Z"];

/// What it is called where only one name is shown.
const COMMON_NAME: &[u8] = b"denwa";

const ECDSA_WITH_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];
const EC_PUBLIC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];
const PRIME256V1: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
const ID_AT_COMMON_NAME: &[u8] = &[0x55, 4, 3];
const ID_CE_SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 17];

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const OID: u8 = 0x06;
const UTF8_STRING: u8 = 0x0c;
const UTC_TIME: u8 = 0x17;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;

/// Makes one with a new key on P-256, which all phones know that speak TLS 1.2, for at least one host name or address.
/// `serial` is random.
///
/// # Errors
///
/// There is no randomness.
pub(super) fn self_signed(
    names: &[&str],
    mut serial: [u8; 16],
) -> Result<SelfSigned, ring::error::Unspecified> {
    let random = SystemRandom::new();
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random)?;
    let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8.as_ref(), &random)?;

    // Positive, and as long as it is.
    serial[0] = serial[0] & 0x7f | 0x40;
    let algorithm = tlv(SEQUENCE, &[&tlv(OID, &[ECDSA_WITH_SHA256])]);
    let common_name = tlv(SEQUENCE, &[&tlv(OID, &[ID_AT_COMMON_NAME]), &tlv(UTF8_STRING, &[COMMON_NAME])]);
    let name = tlv(SEQUENCE, &[&tlv(SET, &[&common_name])]);
    let [from, until] = VALIDITY.map(|time| tlv(UTC_TIME, &[time]));
    let curve = tlv(SEQUENCE, &[&tlv(OID, &[EC_PUBLIC_KEY]), &tlv(OID, &[PRIME256V1])]);
    let public_key = tlv(SEQUENCE, &[&curve, &tlv(BIT_STRING, &[&[0], key.public_key().as_ref()])]);
    let names: Vec<Vec<u8>> = names.iter().map(|name| general_name(name)).collect();
    let names: Vec<&[u8]> = names.iter().map(Vec::as_slice).collect();
    let names = tlv(OCTET_STRING, &[&tlv(SEQUENCE, &names)]);
    let extension = tlv(SEQUENCE, &[&tlv(OID, &[ID_CE_SUBJECT_ALT_NAME]), &names]);
    let extensions = tlv(0xa3, &[&tlv(SEQUENCE, &[&extension])]);
    let to_be_signed = tlv(
        SEQUENCE,
        &[
            // Version 3.
            &tlv(0xa0, &[&tlv(INTEGER, &[&[2]])]),
            &tlv(INTEGER, &[&serial]),
            &algorithm,
            &name,
            &tlv(SEQUENCE, &[&from, &until]),
            &name,
            &public_key,
            &extensions,
        ],
    );
    let signature = key.sign(&random, &to_be_signed)?;
    let signature = tlv(BIT_STRING, &[&[0], signature.as_ref()]);
    let cert = tlv(SEQUENCE, &[&to_be_signed, &algorithm, &signature]);
    Ok(SelfSigned { cert, key: pkcs8.as_ref().to_vec() })
}

/// A host name or an address (RFC 5280 §4.2.1.6).
fn general_name(name: &str) -> Vec<u8> {
    match name.parse() {
        Ok(IpAddr::V4(address)) => tlv(0x87, &[&address.octets()]),
        Ok(IpAddr::V6(address)) => tlv(0x87, &[&address.octets()]),
        Err(_) => tlv(0x82, &[name.as_bytes()]),
    }
}

/// A tag, the length of what follows, and that.
fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut octets = vec![tag];
    match length {
        0..0x80 => octets.push(length as u8),
        _ => {
            let digits = length.to_be_bytes();
            let digits = &digits[length.leading_zeros() as usize / 8..];
            octets.push(0x80 | digits.len() as u8);
            octets.extend_from_slice(digits);
        }
    }
    parts.iter().for_each(|part| octets.extend_from_slice(part));
    octets
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
    use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};

    use super::*;

    #[test]
    fn what_it_says_can_be_read_and_its_signature_is_right() {
        let long = "a".repeat(63) + ".example.net";
        let made = self_signed(&["pbx.example.net", &long, "192.0.2.1", "2001:db8::1"], [0xff; 16]).unwrap();
        let der = CertificateDer::from(made.cert);
        let cert = EndEntityCert::try_from(&der).unwrap();
        for name in ["pbx.example.net", &long, "192.0.2.1", "2001:db8::1"] {
            cert.verify_is_valid_for_subject_name(&ServerName::try_from(name).unwrap()).unwrap();
        }
        let other = ServerName::try_from("192.0.2.2").unwrap();
        assert!(cert.verify_is_valid_for_subject_name(&other).is_err());
        // Signed by the key that is in it.
        let anchor = anchor_from_trusted_cert(&der).unwrap();
        let time = UnixTime::since_unix_epoch(std::time::Duration::from_secs(1_800_000_000));
        let algorithms = super::super::provider().signature_verification_algorithms.all;
        cert.verify_for_usage(algorithms, &[anchor], &[], time, KeyUsage::server_auth(), None, None).unwrap();
    }

    #[test]
    fn lengths_are_as_short_as_they_can_be() {
        for (length, octets) in [
            (0, &[0][..]),
            (127, &[127]),
            (128, &[0x81, 128]),
            (256, &[0x82, 1, 0]),
            (70_000, &[0x83, 1, 17, 112]),
        ] {
            assert_eq!(&tlv(4, &[&vec![0; length]])[1..=octets.len()], octets);
        }
    }
}
