//! Connections that the exchange opens, as the loop does it for the switch.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant as Moment};

use denwa::config::Config;
use denwa::handover::Sockets;
use denwa::journal::Record;
use denwa::net::{self, Desk, Machine};
use denwa::switch::{Event, Input, Instant, Output, Transport};
use denwa::tls::Authorities;
use denwa::{keeper, media};
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
    let (sender, told) = mpsc::channel();
    thread::spawn(move || {
        let tell = &mut |event: &Event| {
            let Event::Notice(text) = event else { return };
            let _ = sender.send(text.clone());
        };
        let bound = keeper::bind(&Config { listen: Vec::new(), ..Config::default() }).unwrap();
        let sockets = Sockets { authorities, ..bound };
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
    let (authority, provider) = Authority::with_child("sip.example.net");
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
    let stranger = echo(Some(&Authority::with_child("sip.example.net").1));
    expect(&call(stranger, "sip.example.net", None, known()), &["7 fails: invalid peer certificate"]);
    // A pin is all that counts.
    let wrong = call(at, "sip.example.net", Some(authority.fingerprint()), known());
    expect(&wrong, &["7 fails: invalid peer certificate"]);
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
