//! What the exchange does all day.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use denwa::dns::{Host, Reason, Resolver, Target};
use denwa::media::Relay;
use rustix::process::{Resource, Signal, getrlimit, kill_process};

use crate::run::OPEN_FILES;
use crate::scene::Scene;
use crate::{Expect, Probe};

const fn probe(name: &'static str, run: fn(&Scene) -> io::Result<()>) -> Probe {
    Probe { name, expect: Expect::Needed, run }
}

pub(crate) const PROBES: &[Probe] = &[
    probe("state", state),
    probe("state_folders", |scene| {
        let folder = scene.state().join("folder");
        fs::create_dir(&folder)?;
        fs::write(folder.join("file"), "text")?;
        assert_eq!(fs::read_dir(&folder)?.count(), 1);
        fs::remove_dir_all(folder)
    }),
    probe("udp", |_| exchange_udp((Ipv4Addr::LOCALHOST, 0).into())),
    probe("udp_on_every_address", |_| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).map(drop)),
    probe("udp_6", |_| match UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)) {
        // A machine without IPv6.
        Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => Ok(()),
        Err(error) if error.raw_os_error() == Some(libc::EAFNOSUPPORT) => Ok(()),
        _ => exchange_udp((Ipv6Addr::LOCALHOST, 0).into()),
    }),
    probe("accept_and_connect", |_| {
        let listener = TcpListener::from(io::stdin().as_fd().try_clone_to_owned()?);
        let mut near = TcpStream::connect(listener.local_addr()?)?;
        let (mut far, _) = listener.accept()?;
        talk(&mut near, &mut far)
    }),
    probe("socket_pair", |_| {
        let (mut near, mut far) = UnixStream::pair()?;
        talk(&mut near, &mut far)
    }),
    probe("threads", |_| {
        let named = |name: &str| thread::Builder::new().name(name.into()).spawn(|| 1);
        let threads = [named("relay")?, named("a")?, named("b")?, named("c")?];
        let sum: i32 = threads.map(|thread| thread.join().unwrap()).iter().sum();
        assert_eq!(sum, 4);
        Ok(())
    }),
    probe("relay", |_| Relay::start().map(drop).map_err(io::Error::other)),
    probe("event_loop", event_loop),
    probe("name_servers", name_servers),
    probe("randomness", |_| {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).map_err(io::Error::other)?;
        assert_ne!(bytes, [0; 32]);
        Ok(())
    }),
    probe("clock_and_sleep", |_| {
        let start = Instant::now();
        thread::sleep(Duration::from_millis(2));
        assert!(start.elapsed() >= Duration::from_millis(2));
        Ok(())
    }),
    probe("memory", |_| {
        let large = vec![1u8; 32 << 20];
        assert_eq!(large.iter().map(|byte| usize::from(*byte)).sum::<usize>(), 32 << 20);
        Ok(())
    }),
    probe("own_addresses", |_| {
        denwa::console::own_addresses();
        UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?.connect((Ipv4Addr::LOCALHOST, 9))
    }),
    probe("signal_to_itself", |_| Ok(kill_process(rustix::process::getpid(), Signal::URG)?)),
    probe("panic", |_| {
        let caught = std::panic::catch_unwind(|| std::panic::resume_unwind(Box::new(1)));
        assert!(caught.is_err());
        Ok(())
    }),
    probe("log", |_| io::stderr().write_all(b"")),
    probe("open_files", |_| {
        if getrlimit(Resource::Nofile).current != Some(OPEN_FILES) {
            return Ok(()); // in the open
        }
        let sockets: Vec<UdpSocket> = (0..).map_while(|_| UdpSocket::bind("127.0.0.1:0").ok()).collect();
        assert!((sockets.len() as u64) < OPEN_FILES && sockets.len() as u64 > OPEN_FILES - 20);
        Ok(())
    }),
];

/// As the journal writes: append, sync, read; and replace as a whole.
fn state(scene: &Scene) -> io::Result<()> {
    let (journal, new) = (scene.state().join("journal"), scene.state().join("journal.new"));
    let mut file = OpenOptions::new().create(true).append(true).open(&journal)?;
    file.write_all(b"one")?;
    file.sync_all()?;
    fs::write(&new, "two")?;
    File::open(&new)?.sync_data()?;
    fs::rename(&new, &journal)?;
    File::open(scene.state())?.sync_all()?;
    assert_eq!(fs::read(&journal)?, b"two");
    let file = OpenOptions::new().write(true).open(&journal)?;
    file.set_len(1)?;
    assert_eq!(file.metadata()?.len(), 1);
    fs::remove_file(&journal)
}

fn exchange_udp(address: SocketAddr) -> io::Result<()> {
    let (near, far) = (UdpSocket::bind(address)?, UdpSocket::bind(address)?);
    near.connect(far.local_addr()?)?;
    near.send(b"from near")?;
    let mut bytes = [0; 16];
    let (len, from) = far.recv_from(&mut bytes)?;
    assert_eq!((&bytes[..len], from), (&b"from near"[..], near.local_addr()?));
    far.send_to(b"from far", from)?;
    let len = near.recv(&mut bytes)?;
    assert_eq!(&bytes[..len], b"from far");
    Ok(())
}

fn talk(near: &mut (impl Read + Write), far: &mut (impl Read + Write)) -> io::Result<()> {
    let mut bytes = [0; 4];
    near.write_all(b"ping")?;
    far.read_exact(&mut bytes)?;
    assert_eq!(&bytes, b"ping");
    far.write_all(b"pong")?;
    near.read_exact(&mut bytes)?;
    assert_eq!(&bytes, b"pong");
    Ok(())
}

/// What the loop of `net` is made of; its timers come from a thread that smol starts.
fn event_loop(_: &Scene) -> io::Result<()> {
    smol::block_on(async {
        let socket = smol::Async::<UdpSocket>::bind(([127, 0, 0, 1], 0))?;
        let own = socket.get_ref().local_addr()?;
        let start = Instant::now();
        smol::Timer::after(Duration::from_millis(5)).await;
        assert!(start.elapsed() >= Duration::from_millis(5));
        socket.send_to(b"ping", own).await?;
        let mut bytes = [0; 4];
        socket.recv_from(&mut bytes).await?;
        assert_eq!(&bytes, b"ping");
        Ok(())
    })
}

/// Name servers can be asked. There may be one here, which knows no such name, or none, which is told at once; what
/// must not be is that the question is refused.
fn name_servers(_: &Scene) -> io::Result<()> {
    let resolver = Resolver::new("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n", "", [1; 16]);
    let target = Target { host: Host::new("denwa.invalid").unwrap(), port: Some(5060), transport: None };
    match smol::block_on(resolver.locate(&target)).unwrap_err().reason {
        Reason::Unreachable(kind) if kind != io::ErrorKind::ConnectionRefused => Err(kind.into()),
        _ => Ok(()),
    }
}
