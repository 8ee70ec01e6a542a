//! `denwa upgrade`: another process goes on, and nobody notices.

use std::io::Write;
use std::net::TcpStream;
use std::os::unix::fs::MetadataExt;
use std::process::Output;
use std::sync::atomic::AtomicBool;

use super::*;

/// A program that can be replaced, with the configuration beside it.
struct House {
    program: Program,
    binary: PathBuf,
    config: PathBuf,
}

impl House {
    fn start(more: &str) -> House {
        let folder = Folder::new();
        let binary = folder.0.join("denwa");
        fs::copy(super::binary(), &binary).unwrap();
        let at = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let config = folder.configure(&format!(
            "ext.102 = {PASSWORD}\nlisten = udp:{at} tcp:{at}\nrate.stranger = 10000/s\nrate.strangers = 100000/s\n{more}"
        ));
        let mut command = Command::new(&binary);
        command.arg("run").arg("--config").arg(&config);
        House { program: Program::launch(command, folder, at), binary, config }
    }

    /// Puts another program in its place, as people do who know that the old one is being executed.
    fn replace(&self, content: &[u8]) {
        let new = self.binary.with_extension("new");
        fs::write(&new, content).unwrap();
        fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).unwrap();
        fs::rename(&new, &self.binary).unwrap();
    }

    fn upgrade(&self) -> Output {
        let mut command = Command::new(super::binary());
        command.args(["upgrade", "--config"]).arg(&self.config).output().unwrap()
    }

    /// Upgrades to a copy of the same program, which must work.
    fn upgrade_to_copy(&self) -> String {
        self.replace(&fs::read(super::binary()).unwrap());
        let before = self.program.exchange();
        let output = self.upgrade();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let until = Instant::now() + SOON;
        while is_alive(before) {
            assert!(Instant::now() < until, "the old one does not end");
            thread::sleep(Duration::from_millis(2));
        }
        while children(Pid::from_child(&self.program.keeper)).len() != 1 {
            assert!(Instant::now() < until, "the old one is not reaped");
            thread::sleep(Duration::from_millis(2));
        }
        String::from_utf8(output.stdout).unwrap()
    }

    /// Upgrades to what is there, which must not work; says why not.
    fn refused_upgrade(&self) -> String {
        let before = self.program.exchange();
        let output = self.upgrade();
        assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stdout));
        let until = Instant::now() + SOON;
        while children(Pid::from_child(&self.program.keeper)) != [before] {
            assert!(Instant::now() < until, "the new one does not end");
            thread::sleep(Duration::from_millis(2));
        }
        String::from_utf8(output.stderr).unwrap()
    }
}

/// Becomes true when it is dropped, whatever happens.
struct AtEnd<'a>(&'a AtomicBool);

impl Drop for AtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A registered phone on a connection.
struct TcpPhone {
    stream: TcpStream,
    sent: usize,
}

impl TcpPhone {
    fn new(at: SocketAddr) -> TcpPhone {
        let stream = TcpStream::connect(at).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        TcpPhone { stream, sent: 0 }
    }

    /// A REGISTER of 102.
    fn request(&mut self, more: &str) -> String {
        self.sent += 1;
        let (own, number) = (self.stream.local_addr().unwrap(), self.sent);
        format!(
            "REGISTER sip:denwa SIP/2.0\r\nVia: SIP/2.0/TCP {own};branch=z9hG4bK-tcp-{number};rport\r\n\
             From: <sip:102@denwa>;tag=1\r\nTo: <sip:102@denwa>\r\nCall-ID: tcp-{}\r\n\
             CSeq: {number} REGISTER\r\nContact: <sip:102@{own};transport=tcp>\r\nMax-Forwards: 70\r\n\
             {more}Content-Length: 0\r\n\r\n",
            own.port()
        )
    }

    fn hear(&mut self) -> String {
        let mut buffer = [0; 2_000];
        let count = self.stream.read(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..count]).into_owned()
    }

    fn register(&mut self) {
        let request = self.request("");
        self.stream.write_all(request.as_bytes()).unwrap();
        let challenge = self.hear();
        assert!(challenge.starts_with("SIP/2.0 401"), "{challenge}");
        let authorization = credentials("102", &challenge, "REGISTER", "sip:denwa");
        let request = self.request(&authorization);
        self.stream.write_all(request.as_bytes()).unwrap();
        let answer = self.hear();
        assert!(answer.starts_with("SIP/2.0 200"), "{answer}");
    }
}

#[test]
fn connections_stand_and_no_message_is_lost() {
    let house = House::start("");
    let at = house.program.at;
    let mut phone = TcpPhone::new(at);
    phone.register();
    for _ in 0..3 {
        // Half a message before, the other half afterwards; and the binding stands on the connection.
        let request = phone.request("");
        let (half, rest) = request.split_at(200);
        phone.stream.write_all(half.as_bytes()).unwrap();
        thread::sleep(Duration::from_millis(50));
        let said = house.upgrade_to_copy();
        assert!(said.starts_with("The new program serves.\n"), "{said}");
        assert!(said.contains("takes a restart to replace that"), "{said}");
        house.program.expect(" runs ");
        phone.stream.write_all(rest.as_bytes()).unwrap();
        assert!(phone.hear().starts_with("SIP/2.0 401"));
        // Keep-alives are answered on it (RFC 5626 §3.5.1), as before.
        phone.stream.write_all(b"\r\n\r\n").unwrap();
        assert_eq!(phone.hear(), "\r\n");
        // It is called by the connection that it has.
        let caller = asker();
        caller.set_read_timeout(Some(SOON)).unwrap();
        ring(&caller, at);
        let invite = phone.hear();
        assert!(invite.starts_with("INVITE sip:102@"), "{invite}");
        let answer = invite
            .split_inclusive("\r\n")
            .filter(|line| ["Via:", "From:", "Call-ID:", "CSeq:"].iter().any(|name| line.starts_with(name)))
            .collect::<String>();
        let to = invite.lines().find(|line| line.starts_with("To:")).unwrap();
        let busy = format!("SIP/2.0 486 Busy Here\r\n{answer}{to};tag=busy\r\nContent-Length: 0\r\n\r\n");
        phone.stream.write_all(busy.as_bytes()).unwrap();
        let ack = phone.hear();
        assert!(ack.starts_with("ACK "), "{ack}");
    }
}

#[test]
fn a_new_one_that_dies_soon_is_replaced_by_the_old_program() {
    let house = House::start("");
    let file = |pid: Pid| fs::metadata(format!("/proc/{}/exe", pid.as_raw_nonzero())).map(|file| file.ino());
    let old = fs::metadata(&house.binary).unwrap().ino();
    // Neither of these has lasted.
    house.upgrade_to_copy();
    house.upgrade_to_copy();
    for is_new in [true, false] {
        let exchange = house.program.exchange();
        // Only root may look into a caged process.
        if geteuid().is_root() {
            assert_eq!(file(exchange).unwrap() == old, !is_new);
        }
        kill_process(exchange, Signal::KILL).unwrap();
        let said = house.program.expect("it is started again");
        assert_eq!(said.contains("the program of before takes its place"), is_new, "{said}");
        house.program.exchange_after(Some(exchange));
        house.program.expect(" runs ");
        assert!(house.program.answers(&asker(), SOON));
    }
}

#[test]
fn connections_stand_although_no_more_files_may_be_opened() {
    // Only another process of the same user may limit it.
    let house = House::start(if geteuid().is_root() { "user = root" } else { "" });
    let mut phones: Vec<TcpPhone> = (0..5).map(|_| TcpPhone::new(house.program.at)).collect();
    phones.iter_mut().for_each(TcpPhone::register);
    let exchange = house.program.exchange();
    // At first not even the heir can be heard of.
    for files in 3.. {
        limit_files(exchange, files);
        if house.upgrade().status.success() {
            assert!(files > 3, "this test proves nothing");
            break;
        }
        assert!(is_alive(exchange));
    }
    phones.iter_mut().for_each(TcpPhone::register);
}

/// Calls 102 with credentials, and does not wait.
fn ring(phone: &UdpSocket, at: SocketAddr) {
    let own = phone.local_addr().unwrap();
    let uri = format!("sip:102@{at}");
    let request = |number: usize, more: &str| {
        format!(
            "INVITE {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {own};branch=z9hG4bK-ring-{number}-{port};rport\r\n\
             From: <sip:101@{at}>;tag=1\r\nTo: <{uri}>\r\nCall-ID: ring-{port}\r\nCSeq: {number} INVITE\r\n\
             Contact: <sip:101@{own}>\r\nMax-Forwards: 70\r\n{more}Content-Length: 0\r\n\r\n",
            port = own.port()
        )
    };
    phone.send_to(request(1, "").as_bytes(), at).unwrap();
    let challenge = answer(phone).unwrap();
    let credentials = credentials("101", &challenge, "INVITE", &uri);
    phone.send_to(request(2, &credentials).as_bytes(), at).unwrap();
}

#[test]
fn datagrams_wait_and_are_answered() {
    let house = House::start("");
    let at = house.program.at;
    let phone = asker();
    phone.set_read_timeout(Some(SOON)).unwrap();
    const ASKED: usize = 3_000;
    let is_upgraded = AtomicBool::new(false);
    let mut asked = 0;
    thread::scope(|scope| {
        scope.spawn(|| {
            let _end = AtEnd(&is_upgraded);
            house.upgrade_to_copy();
            house.upgrade_to_copy();
        });
        while asked < ASKED || !is_upgraded.load(Ordering::Relaxed) {
            asked += 1;
            phone.send_to(&register(&phone, asked), at).unwrap();
            // Not more than a socket holds.
            if asked % 50 == 0 {
                for _ in 0..50 {
                    answer(&phone).expect("an answer is missing");
                }
            }
            thread::sleep(Duration::from_micros(300));
        }
    });
    for _ in 0..asked % 50 {
        answer(&phone).expect("an answer is missing");
    }
    println!("{asked} requests were answered");
}

#[test]
fn a_new_one_that_cannot_leaves_the_old_one_as_it_was() {
    let house = House::start("");
    let at = house.program.at;
    let mut phone = TcpPhone::new(at);
    phone.register();
    let exchange = house.program.exchange();

    // What is no program, one that ends at once, one that says why, one that does nothing, and none at all.
    house.replace(b"this is no program");
    let said = house.refused_upgrade();
    assert!(said.contains("cannot be executed"), "{said}");
    house.replace(&fs::read("/bin/true").unwrap());
    let said = house.refused_upgrade();
    assert!(said.contains("the old one goes on: it ended with status 0, and said nothing"), "{said}");
    house.replace(&fs::read("/bin/sleep").unwrap());
    let said = house.refused_upgrade();
    assert!(said.contains("the old one goes on:") && said.contains("--help"), "{said}");
    house.program.expect("error the new program does not take over");
    fs::remove_file(&house.binary).unwrap();
    let said = house.refused_upgrade();
    assert!(said.contains("cannot be executed: No such file"), "{said}");

    assert_eq!(house.program.exchange(), exchange);
    assert!(house.program.answers(&asker(), SOON));
    phone.register();
    // And then it works.
    house.upgrade_to_copy();
    phone.register();
}

#[test]
fn one_that_dies_while_it_takes_over_is_as_if_it_had_not_been() {
    let house = House::start("");
    let at = house.program.at;
    let mut phone = TcpPhone::new(at);
    phone.register();
    let exchange = house.program.exchange();
    let keeper = Pid::from_child(&house.program.keeper);
    let mut came = 0;
    for delay in 0..200 {
        // The old one is there before, and the new one is killed at some moment of its life.
        let done = AtomicBool::new(false);
        let output = thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    if let Some(heir) = children(keeper).into_iter().find(|pid| *pid != exchange) {
                        thread::sleep(Duration::from_micros(250) * delay);
                        let _ = kill_process(heir, Signal::KILL);
                        return;
                    }
                }
            });
            let output = house.upgrade();
            done.store(true, Ordering::Relaxed);
            output
        });
        if output.status.success() {
            break;
        }
        came += 1;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("the old one goes on: it was killed by signal 9"), "{said}");
        assert_eq!(house.program.exchange(), exchange);
        let begin = Instant::now();
        phone.register();
        assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
    }
    assert!(came > 0, "it was never in time");
    println!("{came} heirs were killed");
}

#[test]
fn one_that_does_nothing_is_given_up() {
    let house = House::start("");
    let exchange = house.program.exchange();
    let keeper = Pid::from_child(&house.program.keeper);
    // The same program, stopped at its very beginning.
    let begin = Instant::now();
    let output = thread::scope(|scope| {
        scope.spawn(|| {
            while begin.elapsed() < SOON {
                // Not before it is what it is to be: until then the keeper waits for it.
                let is_one = |pid: &Pid| {
                    let arguments = fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero()));
                    *pid != exchange && arguments.is_ok_and(|said| said.starts_with(b"denwa\0--exchange"))
                };
                if let Some(heir) = children(keeper).into_iter().find(is_one) {
                    let _ = kill_process(heir, Signal::STOP);
                    return;
                }
            }
        });
        house.upgrade()
    });
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("it did not serve within 10 s"), "{said}");
    assert!((9_900..12_000).contains(&begin.elapsed().as_millis()), "{:?}", begin.elapsed());
    assert_eq!(house.program.exchange(), exchange);
    assert!(house.program.answers(&asker(), SOON));
}

#[test]
fn a_program_elsewhere_is_not_executed() {
    let house = House::start("");
    let mut command = Command::new(super::binary());
    let output = command.args(["upgrade", "/bin/true", "--config"]).arg(&house.config).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let folder = house.binary.parent().unwrap().display().to_string();
    let expected = format!("; only what is in {folder} can, where the denwa that runs was started from");
    assert!(said.contains(&expected) || said.contains("does not take over"), "{said}");
    assert!(!said.contains("chmod"), "{said}");
    assert!(house.program.answers(&asker(), SOON));
}

/// One end of a call with the echo test, and what it has heard.
struct Caller {
    phone: UdpSocket,
    sound: UdpSocket,
    talk: Talk,
    heard: Vec<u16>,
    /// When it last heard something, and the longest time without.
    last: Instant,
    gap: Duration,
}

impl Caller {
    fn new(at: SocketAddr) -> Caller {
        let (phone, sound) = (asker(), asker());
        phone.set_read_timeout(Some(SOON)).unwrap();
        sound.set_nonblocking(true).unwrap();
        let talk = call_echo(&phone, at, sound.local_addr().unwrap().port());
        Caller { phone, sound, talk, heard: Vec::new(), last: Instant::now(), gap: Duration::ZERO }
    }

    fn say(&self, sequence: u16) {
        let mut packet = vec![0x80, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4];
        packet[2..4].copy_from_slice(&sequence.to_be_bytes());
        packet.extend([0xd5; 160]);
        self.sound.send_to(&packet, self.talk.sound).unwrap();
    }

    fn hear(&mut self) {
        let mut buffer = [0; 300];
        while let Ok(count) = self.sound.recv(&mut buffer) {
            assert_eq!(count, 172);
            self.heard.push(u16::from_be_bytes([buffer[2], buffer[3]]));
            self.gap = self.gap.max(self.last.elapsed());
            self.last = Instant::now();
        }
    }
}

#[test]
fn a_hundred_calls_go_on_through_it() {
    // No media ports that the system gives to phones.
    let house =
        House::start("ext.101.max-calls = 200\next.101.max-calls-hour = 1000\nmedia-ports = 31200-31999");
    let mut callers: Vec<Caller> = (0..100).map(|_| Caller::new(house.program.at)).collect();
    // The relay is a thread, and may not have opened the last one's ports yet.
    thread::sleep(Duration::from_millis(200));
    let is_upgraded = AtomicBool::new(false);
    let mut sent = 0;
    // Twenty milliseconds of sound each, before, meanwhile, and afterwards; all of it comes back, once.
    thread::scope(|scope| {
        scope.spawn(|| {
            let _end = AtEnd(&is_upgraded);
            thread::sleep(Duration::from_millis(500));
            let begin = Instant::now();
            house.upgrade_to_copy();
            println!("the first upgrade took {:?}", begin.elapsed());
            thread::sleep(Duration::from_millis(300));
            house.upgrade_to_copy();
        });
        let begin = Instant::now();
        callers.iter_mut().for_each(|caller| caller.last = begin);
        let mut rest = 25;
        while rest > 0 {
            rest -= u32::from(is_upgraded.load(Ordering::Relaxed));
            callers.iter().for_each(|caller| caller.say(sent));
            sent += 1;
            while begin.elapsed() < Duration::from_millis(20) * u32::from(sent) {
                callers.iter_mut().for_each(Caller::hear);
                thread::sleep(Duration::from_micros(500));
            }
        }
    });
    thread::sleep(Duration::from_millis(300));
    callers.iter_mut().for_each(Caller::hear);
    let all: Vec<u16> = (0..sent).collect();
    for (number, caller) in callers.iter().enumerate() {
        assert_eq!(caller.heard, all, "call {number}: sound is lost, twice or in disorder");
    }
    let gap = callers.iter().map(|caller| caller.gap).max().unwrap();
    println!(
        "{} packets of sound came back, none later than {gap:?} after the one before",
        100 * u64::from(sent)
    );
    for caller in &callers {
        caller.talk.hang_up(&caller.phone);
    }
}
