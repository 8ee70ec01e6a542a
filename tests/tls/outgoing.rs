//! Connections that the exchange opens, as the loop does it for the switch.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant as Moment};

use denwa::config::{Config, TlsFiles};
use denwa::handover::Sockets;
use denwa::journal::Record;
use denwa::net::{self, Desk, Machine};
use denwa::switch::{Event, Input, Instant, Output, Transport};
use denwa::tls::{Authorities, Identity, Material, Origin};
use denwa::{keeper, media};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use rustls::{ServerConnection, StreamOwned};

use crate::client::Authority;
use crate::folder::Folder;

const SOON: Duration = Duration::from_secs(8);

/// Wants connections, says something on each, and tells what comes of it.
struct Caller {
    wanted: Vec<Output>,
    outputs: VecDeque<Output>,
}

const MESSAGE: &[u8] = b"X sip:h SIP/2.0\r\nContent-Length: 0\r\n\r\n";

impl Machine for Caller {
    fn snapshot(&self, _: &mut dyn FnMut(&Record)) {}

    fn handle(&mut self, _: Instant, input: Input<'_>) {
        let text = match input {
            Input::Clock(_) => return self.outputs.extend(self.wanted.drain(..)),
            Input::Connected { ticket, flow } => {
                assert!(flow.local.port() != 0 && flow.stream.0 != 0);
                self.outputs.push_back(Output::Send(flow, MESSAGE.to_vec()));
                format!("{ticket} stands by {}", flow.transport)
            }
            Input::NotConnected { ticket, why } => format!("{ticket} fails: {why}"),
            Input::Packet { bytes, .. } => format!("heard {} bytes", bytes.len()),
            Input::Closed(_) => "closed".into(),
            _ => return,
        };
        self.outputs.push_back(Output::Event(Event::Notice(text)));
    }

    fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn deadline(&self) -> Option<Instant> {
        None
    }

    fn calls(&self) -> usize {
        0
    }
}

/// A loop for as long as the process lives, which knows these authorities, and what it tells.
fn run(wanted: Vec<Output>, authorities: Authorities) -> Receiver<String> {
    run_as(None, wanted, authorities)
}

/// The same by one that has this certificate.
fn run_as(
    identity: Option<Arc<Identity>>,
    wanted: Vec<Output>,
    authorities: Authorities,
) -> Receiver<String> {
    let (sender, told) = mpsc::channel();
    thread::spawn(move || {
        let tell = &mut |event: &Event| {
            let Event::Notice(text) = event else { return };
            let _ = sender.send(text.clone());
        };
        let bound = keeper::bind(&Config { listen: Vec::new(), ..Config::default() }).unwrap();
        let sockets = Sockets { authorities, identity, ..bound };
        let caller = Caller { wanted, outputs: VecDeque::new() };
        let relay = media::Relay::start().unwrap();
        net::run(caller, sockets, None, relay, None, Desk::default(), tell).unwrap();
    });
    told
}

/// What comes of one connection.
fn call(remote: SocketAddr, name: &str, pin: Option<[u8; 32]>, authorities: Authorities) -> Receiver<String> {
    let name = name.to_owned();
    run(vec![Output::Connect { ticket: 7, transport: Transport::Tls, remote, name, pin }], authorities)
}

fn over_tcp(ticket: u64, remote: SocketAddr) -> Output {
    Output::Connect { ticket, transport: Transport::Tcp, remote, name: String::new(), pin: None }
}

/// Somebody who answers what comes with itself, once, and then hangs up.
fn echo(identity: Option<&Authority>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let config = identity.map(Authority::server);
    thread::spawn(move || {
        for socket in listener.incoming().map(Result::unwrap) {
            let answer = |stream: &mut dyn ReadWrite| {
                let mut message = vec![0; MESSAGE.len()];
                if stream.read_exact(&mut message).is_ok() {
                    stream.write_all(&message).unwrap();
                }
            };
            match &config {
                Some(config) => {
                    let tls = ServerConnection::new(config.clone()).unwrap();
                    answer(&mut StreamOwned::new(tls, socket));
                }
                None => answer(&mut { socket }),
            }
        }
    });
    address
}

trait ReadWrite: Read + Write {}
impl<T: Read + Write> ReadWrite for T {}

fn expect(told: &Receiver<String>, texts: &[&str]) {
    for text in texts {
        let line = told.recv_timeout(SOON).unwrap();
        assert!(line.starts_with(text), "{line} instead of {text}");
    }
}

#[test]
fn connections_of_both_kinds_stand_and_are_like_others() {
    let told = run(vec![over_tcp(3, echo(None))], Authorities::default());
    expect(&told, &["3 stands by tcp", "heard 38 bytes", "closed"]);
    let friend = Authority::new(-1..1);
    let told = call(echo(Some(&friend)), "whoever", Some(friend.fingerprint()), Authorities::default());
    expect(&told, &["7 stands by tls", "heard 38 bytes", "closed"]);
}

#[test]
fn who_is_there_is_who_an_authority_says() {
    let folder = Folder::new();
    let (authority, provider) = Authority::with_child("sip.example.net", -1..90);
    let file = folder.0.join("authorities.pem");
    std::fs::write(&file, format!("# Root\n{}", authority.cert_pem())).unwrap();
    let known = || Authorities::of(File::open(&file).unwrap());
    let at = echo(Some(&provider));
    expect(&call(at, "sip.example.net", None, known()), &["7 stands by tls", "heard 38 bytes", "closed"]);
    expect(&call(at, "sip.example.com", None, known()), &["7 fails: invalid peer certificate"]);
    expect(&call(at, "not a name", None, known()), &["7 fails: `not a name` is no host name"]);
    expect(
        &call(at, "sip.example.net", None, Authorities::default()),
        &["7 fails: this machine has no list"],
    );
    let stranger = echo(Some(&Authority::with_child("sip.example.net", -1..90).1));
    expect(&call(stranger, "sip.example.net", None, known()), &["7 fails: invalid peer certificate"]);
    let (authority_then, expired) = Authority::with_child("sip.example.net", -90..-2);
    std::fs::write(&file, authority_then.cert_pem()).unwrap();
    let told = call(echo(Some(&expired)), "sip.example.net", None, known());
    expect(&told, &["7 fails: invalid peer certificate: certificate expired"]);
    // A pin is all that counts.
    let wrong = call(at, "sip.example.net", Some(authority.fingerprint()), known());
    expect(&wrong, &["7 fails: invalid peer certificate"]);
}

/// Asks for a certificate, which he believes if one of these has signed it, or whoever did if there are none.
#[derive(Debug)]
struct Curious(Vec<DistinguishedName>);

impl ClientCertVerifier for Curious {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.0
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let all = rustls::crypto::ring::default_provider().signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, &all)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let all = rustls::crypto::ring::default_provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &all)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let all = rustls::crypto::ring::default_provider().signature_verification_algorithms;
        all.supported_schemes()
    }
}

#[test]
fn who_asks_is_shown_our_certificate_unless_he_believes_only_others() {
    let (folder, ours, theirs) = (Folder::new(), Authority::new(-1..90), Authority::new(-1..90));
    let files = TlsFiles { cert: folder.0.join("cert.pem"), key: folder.0.join("key.pem") };
    std::fs::write(&files.cert, ours.cert_pem()).unwrap();
    std::fs::write(&files.key, ours.key_pem()).unwrap();
    let identity = Identity::new(&Material::read(&files).unwrap(), Origin::Given).unwrap();
    let identity = Arc::new(identity);
    let somebody = DistinguishedName::in_sequence(b"\x31\x0c\x30\x0a\x06\x03\x55\x04\x03\x0c\x03an.");
    for (believed, shown) in [(Vec::new(), Some(ours.der().0)), (vec![somebody], None)] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let wanted = Output::Connect {
            ticket: 7,
            transport: Transport::Tls,
            remote: listener.local_addr().unwrap(),
            name: "whoever".into(),
            pin: Some(theirs.fingerprint()),
        };
        let told = run_as(Some(identity.clone()), vec![wanted], Authorities::default());
        let (mut socket, _) = listener.accept().unwrap();
        let mut tls = ServerConnection::new(theirs.server_that_asks(Arc::new(Curious(believed)))).unwrap();
        while tls.is_handshaking() {
            tls.complete_io(&mut socket).unwrap();
        }
        let first = tls.peer_certificates().map(|chain| chain[0].to_vec());
        assert_eq!(first, shown);
        expect(&told, &["7 stands by tls"]);
    }
}

#[test]
fn who_does_not_answer_is_given_up() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    expect(&run(vec![over_tcp(1, nobody)], Authorities::default()), &["1 fails: Connection refused"]);
    expect(&call(nobody, "x", Some([0; 32]), Authorities::default()), &["7 fails: Connection refused"]);

    // It accepts, and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let begin = Moment::now();
    let told = call(silent.local_addr().unwrap(), "x", Some([0; 32]), Authorities::default());
    expect(&told, &["7 fails: it took too long"]);
    assert!((4..7).contains(&begin.elapsed().as_secs()), "{:?}", begin.elapsed());
    // Or something else than TLS, or hangs up.
    for said in [&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], b""] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let told = call(listener.local_addr().unwrap(), "x", Some([0; 32]), Authorities::default());
        listener.accept().unwrap().0.write_all(said).unwrap();
        expect(&told, &["7 fails: "]);
    }
}

#[test]
fn so_many_at_once_and_no_more() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let remote = silent.local_addr().unwrap();
    let wanted = |ticket| Output::Connect {
        ticket,
        transport: Transport::Tls,
        remote,
        name: "x".into(),
        pin: Some([0; 32]),
    };
    let told = run((0..40).map(wanted).collect(), Authorities::default());
    let mut refused = 0;
    for _ in 0..40 {
        let line = told.recv_timeout(SOON).unwrap();
        refused += usize::from(line.contains("are being opened already"));
    }
    assert_eq!(refused, 8);
}
