//! The other side: a phone that speaks TLS, and whoever issues certificates.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair};
use rustix::net::{AddressFamily, SocketType};
use rustls::client::ResolvesClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::CertifiedKey;
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, ProtocolVersion, ServerConfig,
    SignatureScheme, StreamOwned, SupportedProtocolVersion,
};
use sha2::{Digest, Sha256};

use crate::credentials::credentials;

/// A certificate and its key.
pub(crate) struct Authority {
    cert: CertificateDer<'static>,
    key: Vec<u8>,
}

/// Sets from when until when it is valid, in days from now.
fn is_valid_for(params: &mut CertificateParams, days: std::ops::Range<i64>) {
    let now = std::time::SystemTime::now();
    // An hour more, so that a day that has begun is a whole one.
    let at = |days: i64| match days {
        0.. => now + Duration::from_secs(86_400 * days.unsigned_abs() + 3_600),
        _ => now - Duration::from_secs(86_400 * days.unsigned_abs() + 3_600),
    };
    (params.not_before, params.not_after) = (at(days.start).into(), at(days.end).into());
}

impl Authority {
    /// One that may sign others, and one for a name, signed by it, that is valid for these days from now.
    pub(crate) fn with_child(name: &str, days: std::ops::Range<i64>) -> (Authority, Authority) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let cert = params.self_signed(&key).unwrap().der().clone();
        let authority = Authority { cert, key: key.serialize_der() };
        let issuer = rcgen::Issuer::new(params, key);
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        is_valid_for(&mut params, days);
        let cert = params.signed_by(&key, &issuer).unwrap().der().clone();
        (authority, Authority { cert, key: key.serialize_der() })
    }

    /// What somebody needs who is called with this.
    pub(crate) fn server(&self) -> Arc<ServerConfig> {
        let key = PrivateKeyDer::Pkcs8(self.key.clone().into());
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![self.cert.clone()], key);
        Arc::new(config.unwrap())
    }

    /// The same, who wants to know who calls.
    pub(crate) fn server_that_asks(&self, verifier: Arc<dyn ClientCertVerifier>) -> Arc<ServerConfig> {
        let key = PrivateKeyDer::Pkcs8(self.key.clone().into());
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![self.cert.clone()], key);
        Arc::new(config.unwrap())
    }

    /// One that is valid for these days from now.
    pub(crate) fn new(days: std::ops::Range<i64>) -> Authority {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["pbx.example.net".to_owned()]).unwrap();
        is_valid_for(&mut params, days);
        let cert = params.self_signed(&key).unwrap().der().clone();
        Authority { cert, key: key.serialize_der() }
    }

    pub(crate) fn cert_pem(&self) -> String {
        pem("CERTIFICATE", &self.cert)
    }

    pub(crate) fn key_pem(&self) -> String {
        pem("PRIVATE KEY", &self.key)
    }

    /// In DER: the certificate, and the key.
    pub(crate) fn der(&self) -> (Vec<u8>, &[u8]) {
        (self.cert.to_vec(), &self.key)
    }

    pub(crate) fn fingerprint(&self) -> [u8; 32] {
        Sha256::digest(&self.cert).into()
    }
}

fn pem(what: &str, der: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = format!("-----BEGIN {what}-----\n");
    for line in der.chunks(48) {
        for three in line.chunks(3) {
            let octet = |n: usize| u32::from(three.get(n).copied().unwrap_or(0));
            let all = octet(0) << 16 | octet(1) << 8 | octet(2);
            for n in 0..4 {
                let digit = DIGITS[(all >> (18 - 6 * n) & 63) as usize];
                text.push(if n > three.len() { '=' } else { digit.into() });
            }
        }
        text.push('\n');
    }
    text + &format!("-----END {what}-----\n")
}

/// As people compare it.
pub(crate) fn fingerprint(certificate: &[u8]) -> String {
    denwa::tls::fingerprint_text(&Sha256::digest(certificate))
}

/// Trusts everybody, but checks that the other side has the key.
#[derive(Debug)]
struct Trusting;

impl ServerCertVerifier for Trusting {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let all = ring::default_provider().signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, &all)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let all = ring::default_provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, &all)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

/// What somebody shows who is asked for a certificate: these, and whatever this key signs.
#[derive(Debug)]
struct Shown(Arc<CertifiedKey>);

impl ResolvesClientCert for Shown {
    fn resolve(&self, authorities: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        assert!(authorities.is_empty(), "whoever shows one shows what he has");
        Some(self.0.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// What a phone needs that trusts everybody; what it shows, chain and key in DER, if it shows anything.
pub(crate) fn settings(
    versions: &[&'static SupportedProtocolVersion],
    shown: Option<(Vec<Vec<u8>>, &[u8])>,
) -> ClientConfig {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Trusting));
    let Some((chain, key)) = shown else { return builder.with_no_client_auth() };
    let key = PrivateKeyDer::Pkcs8(key.to_vec().into());
    let key = ring::default_provider().key_provider.load_private_key(key).unwrap();
    let chain = chain.into_iter().map(CertificateDer::from).collect();
    builder.with_client_cert_resolver(Arc::new(Shown(Arc::new(CertifiedKey::new(chain, key)))))
}

fn connection(versions: &[&'static SupportedProtocolVersion]) -> ClientConnection {
    let mut config = settings(versions, None);
    // Each handshake is a whole one.
    config.resumption = rustls::client::Resumption::disabled();
    connection_by(Arc::new(config))
}

fn connection_by(config: Arc<ClientConfig>) -> ClientConnection {
    ClientConnection::new(config, ServerName::try_from("pbx.example.net").unwrap()).unwrap()
}

/// The first octets of a phone.
pub(crate) fn hello() -> Vec<u8> {
    let mut octets = Vec::new();
    connection(rustls::ALL_VERSIONS).write_tls(&mut octets).unwrap();
    octets
}

/// A connection of a phone.
pub(crate) struct Line(StreamOwned<ClientConnection, TcpStream>);

impl Line {
    /// Opens one and agrees upon how to speak.
    pub(crate) fn open(to: SocketAddr) -> io::Result<Line> {
        Line::open_with(TcpStream::connect(to)?, rustls::ALL_VERSIONS)
    }

    /// By one version of TLS.
    pub(crate) fn open_by(to: SocketAddr, version: &'static SupportedProtocolVersion) -> io::Result<Line> {
        Line::open_with(TcpStream::connect(to)?, &[version])
    }

    /// From another address of this machine.
    pub(crate) fn open_from(
        from: Ipv4Addr,
        to: SocketAddr,
        version: &'static SupportedProtocolVersion,
    ) -> io::Result<Line> {
        let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None)?;
        rustix::net::bind(&socket, &SocketAddr::from((from, 0)))?;
        rustix::net::connect(&socket, &to)?;
        Line::open_with(socket.into(), &[version])
    }

    /// With these settings.
    pub(crate) fn open_as(to: SocketAddr, config: &Arc<ClientConfig>) -> io::Result<Line> {
        Line::over(TcpStream::connect(to)?, connection_by(config.clone()))
    }

    /// Whether the two sides still knew each other from before.
    pub(crate) fn is_resumed(&self) -> bool {
        self.0.conn.handshake_kind() == Some(rustls::HandshakeKind::Resumed)
    }

    fn open_with(socket: TcpStream, versions: &[&'static SupportedProtocolVersion]) -> io::Result<Line> {
        Line::over(socket, connection(versions))
    }

    fn over(socket: TcpStream, connection: ClientConnection) -> io::Result<Line> {
        socket.set_read_timeout(Some(Duration::from_secs(5)))?;
        let mut stream = StreamOwned::new(connection, socket);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(Line(stream))
    }

    pub(crate) fn version(&self) -> ProtocolVersion {
        self.0.conn.protocol_version().unwrap()
    }

    /// That of the exchange.
    pub(crate) fn certificate(&self) -> Vec<u8> {
        self.0.conn.peer_certificates().unwrap()[0].to_vec()
    }

    pub(crate) fn certificate_hash(&self) -> [u8; 32] {
        Sha256::digest(self.certificate()).into()
    }

    pub(crate) fn write(&mut self, octets: &[u8]) {
        self.0.write_all(octets).unwrap();
        self.0.flush().unwrap();
    }

    pub(crate) fn read(&mut self, count: usize) -> Vec<u8> {
        let mut octets = vec![0; count];
        self.0.read_exact(&mut octets).unwrap();
        octets
    }

    /// The next message without a body.
    pub(crate) fn message(&mut self) -> String {
        let mut octets = Vec::new();
        while !octets.ends_with(b"\r\n\r\n") {
            octets.extend(self.read(1));
        }
        String::from_utf8(octets).unwrap()
    }

    /// Whether the other side ends it within some time.
    pub(crate) fn is_over(&mut self, within: Duration) -> bool {
        self.0.sock.set_read_timeout(Some(within)).unwrap();
        match self.0.read(&mut [0]) {
            Ok(count) => count == 0,
            Err(error) => !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut),
        }
    }

    /// Registers an extension; returns the last answer.
    pub(crate) fn register(&mut self, number: &str) -> String {
        static CALLS: AtomicU64 = AtomicU64::new(0);
        let call = CALLS.fetch_add(1, Ordering::Relaxed);
        self.write(&register(number, call, 1, ""));
        let challenge = self.message();
        assert!(challenge.starts_with("SIP/2.0 401 "), "{challenge}");
        let uri = "sip:127.0.0.1";
        let proof = credentials(number, crate::program::PASSWORD, &challenge, "REGISTER", uri);
        self.write(&register(number, call, 2, &proof));
        self.message()
    }
}

fn register(number: &str, call: u64, cseq: u32, proof: &str) -> Vec<u8> {
    format!(
        "REGISTER sip:127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/TLS 127.0.0.1:5061;branch=z9hG4bK{cseq};rport\r\n\
         From: <sip:{number}@127.0.0.1>;tag=a\r\nTo: <sip:{number}@127.0.0.1>\r\nCall-ID: {call}\r\n\
         CSeq: {cseq} REGISTER\r\nContact: <sip:{number}@127.0.0.1:5061;transport=tls>\r\nExpires: 600\r\n\
         Max-Forwards: 70\r\n{proof}Content-Length: 0\r\n\r\n"
    )
    .into_bytes()
}
