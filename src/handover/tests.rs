//! What is handed over arrives.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{TcpListener, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::net::SendFlags;

use super::link::receive;
use super::message::{PREAMBLE, SERVE, VERSION, send};
use super::parcel::{Lasting, MAX_BODY, sealed};
use super::*;
use crate::config::{Config, MAX_BYTES};

const PAST: Past = Past { since: 1_795_391_506, exchanges: 7 };

fn sockets(udp: usize, tcp: usize) -> Sockets {
    Sockets {
        udp: (0..udp).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect(),
        tcp: (0..tcp).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect(),
        web: (0..tcp.min(MAX_WEB_SOCKETS)).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect(),
        // Any socket will do.
        control: (tcp != 1).then(|| UnixListener::from(OwnedFd::from(UnixStream::pair().unwrap().0))),
        ..Sockets::default()
    }
}

fn addresses(sockets: &Sockets) -> Vec<String> {
    let udp = sockets.udp.iter().map(|socket| format!("udp {}", socket.local_addr().unwrap()));
    let tcp = sockets.tcp.iter().map(|socket| format!("tcp {}", socket.local_addr().unwrap()));
    let web = sockets.web.iter().map(|socket| format!("web {}", socket.local_addr().unwrap()));
    udp.chain(tcp).chain(web).collect()
}

/// A parcel with the smallest configuration, or one as long as there can be.
fn parcel(path: &Path, long: bool, sockets: Sockets) -> io::Result<Parcel> {
    let mut file = b"ext.101 = correct-horse\nstate = /one\nuser = alice\n".to_vec();
    if long {
        file.resize(MAX_BYTES, b'#');
    }
    let config = Config::parse("x", &file).unwrap();
    Parcel::new(path, &config, &file, true, None, sockets)
}

#[test]
fn everything_arrives_again_and_again() {
    let path = Path::new(OsStr::from_bytes(b"/tmp/\xff not UTF-8.conf"));
    for (udp, tcp) in [(MAX_SOCKETS, 0), (1, 2), (0, 0)] {
        let parcel = parcel(path, true, sockets(udp, tcp)).unwrap();
        for _ in 0..2 {
            let (ours, theirs) = UnixStream::pair().unwrap();
            // Nobody has to read for it to be sent.
            parcel.send(&ours, 0, PAST).unwrap();
            let taken = receive(theirs).unwrap();
            assert_eq!(taken.path, path);
            assert_eq!(taken.config.extensions.len(), 1);
            assert!(taken.has_state);
            assert_eq!(addresses(&taken.sockets), addresses(&parcel.sockets));
            assert_eq!(taken.sockets.control.is_some(), parcel.sockets.control.is_some());
            assert_eq!(taken.past, PAST);
            assert!(taken.link.next().unwrap().is_none());
            taken.link.ready().unwrap();
            let mut octet = [0];
            (&ours).read_exact(&mut octet).unwrap();
            assert_eq!(octet, [READY]);
            drop(ours);
            assert!(taken.link.next().is_err());
        }
    }
}

#[test]
fn orders_are_answered_by_their_number() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let link = Link { keeper: theirs, inheritance: None };
    for number in [0, 1, 63] {
        parcel(Path::new("x"), false, sockets(1, 1)).unwrap().send(&ours, number, PAST).unwrap();
    }
    // Nonsense is refused by itself.
    send(&ours, b'x', 7, PAST, &[ours.as_fd()]).unwrap();
    for number in [0, 1, 63] {
        let Some(Order::Reload { config, sockets, number: told, .. }) = link.next().unwrap() else {
            panic!()
        };
        assert_eq!((told, config.extensions.len(), addresses(&sockets).len()), (number, 1, 3));
        link.answer(told, number == 1);
    }
    assert!(link.next().unwrap().is_none());
    let mut octets = [0; 4];
    (&ours).read_exact(&mut octets).unwrap();
    assert_eq!(octets, [answer(0, false), answer(1, true), answer(63, false), answer(7, false)]);
    assert!(!octets.contains(&READY));
    (&ours).write_all(&[VERSION + 1; PREAMBLE]).unwrap();
    assert!(link.next().is_err());
}

#[test]
fn an_heir_gets_its_end_and_its_log_besides() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let (one, other) = UnixStream::pair().unwrap();
    let whole = parcel(Path::new("x"), false, sockets(1, 2)).unwrap();
    whole.send_to_heir(&ours, PAST, other.as_fd(), ours.as_fd()).unwrap();
    drop(other);
    let taken = receive(theirs).unwrap();
    assert_eq!(addresses(&taken.sockets), addresses(&whole.sockets));
    taken.link.predecessor().unwrap().relieve().unwrap();
    (&one).read_exact(&mut [0]).unwrap();

    send_heir(&ours, one.as_fd()).unwrap();
    let Some(Order::Bequeath(pair)) = taken.link.next().unwrap() else { panic!() };
    taken.link.predecessor().unwrap().relieve().unwrap();
    (&pair).read_exact(&mut [0]).unwrap();
}

#[test]
fn what_cannot_change_stays_as_it_was() {
    let parcel = parcel(Path::new("x"), false, sockets(0, 0)).unwrap();
    let later = |text: &str| {
        let mut config = Config::parse("x", format!("ext.1 = secret\n{text}").as_bytes()).unwrap();
        let keys = parcel.lasting.hold(&mut config);
        assert_eq!(Lasting::of(&config), parcel.lasting);
        keys
    };
    assert_eq!(later("state = /one\nuser = alice\necho = 5"), [""; 0]);
    assert_eq!(later("user = alice"), ["state"]);
    assert_eq!(later("sandbox = off"), ["state", "user", "sandbox"]);
    // Whatever the file says, the next exchange gets it so as well.
    let (ours, theirs) = UnixStream::pair().unwrap();
    let mut config = Config::parse("x", b"ext.1 = secret\nstate = /two").unwrap();
    parcel.lasting.hold(&mut config);
    let file = b"ext.1 = secret\nstate = /two";
    Parcel::new(Path::new("x"), &config, file, false, None, sockets(0, 0))
        .unwrap()
        .send(&ours, 0, PAST)
        .unwrap();
    let taken = receive(theirs).unwrap();
    assert_eq!((taken.config.state, taken.has_state), (PathBuf::from("/one"), false));
}

#[test]
fn what_is_not_ours_is_refused() {
    let refused = |octets: &[u8], descriptors: &[BorrowedFd<'_>]| {
        let (ours, theirs) = UnixStream::pair().unwrap();
        descriptors::send(&ours, octets, descriptors, SendFlags::empty()).unwrap();
        drop(ours);
        receive(theirs).unwrap_err().to_string()
    };
    let mut octets = [0; PREAMBLE];
    octets[..2].copy_from_slice(&[VERSION, SERVE]);
    let whole = parcel(Path::new("x"), false, sockets(1, 0)).unwrap();
    assert_eq!(refused(&octets, &[whole.body.as_fd()]), "0 of 2 sockets came");
    for length in 1..PREAMBLE {
        assert!(refused(&octets[..length], &[]).contains("unexpected end"));
    }
    assert!(refused(&octets, &[]).contains("not all sockets came"));
    assert!(refused(&[VERSION - 1, 0, 0, 0, 0], &[]).contains("speaks version 4"));
    let large = sealed(&vec![0; MAX_BODY + 1]).unwrap();
    assert!(refused(&octets, &[large.as_fd()]).contains("too many"));
    let mut bytes = vec![0; File::from(whole.body.try_clone().unwrap()).metadata().unwrap().len() as usize];
    File::from(whole.body.try_clone().unwrap()).read_exact_at(&mut bytes, 0).unwrap();
    for length in 0..bytes.len() {
        let part = sealed(&bytes[..length]).unwrap();
        refused(&octets, &[part.as_fd(), whole.sockets.udp[0].as_fd()]);
    }
    assert!(parcel(Path::new("x"), false, sockets(MAX_SOCKETS, 1)).is_err());
}

#[test]
fn whoever_does_not_take_it_is_given_up() {
    let parcel = parcel(Path::new("x"), true, sockets(1, 1)).unwrap();
    let (ours, theirs) = UnixStream::pair().unwrap();
    // Nothing that is sent can be changed by who gets it.
    let changed = File::from(parcel.body.try_clone().unwrap()).write_all_at(b"other", 0);
    assert_eq!(changed.unwrap_err().kind(), io::ErrorKind::PermissionDenied);
    let sent = (0..100_000).find_map(|_| parcel.send(&ours, 0, PAST).err()).unwrap();
    assert_eq!(sent.kind(), io::ErrorKind::WouldBlock);
    drop(theirs);
    assert_eq!(parcel.send(&ours, 0, PAST).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
}
