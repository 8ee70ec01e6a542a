//! What a running denwa is asked for: `denwa reload`, SIGHUP, `denwa stop`.

use std::io::Write;
use std::net::TcpStream;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::Output;

use super::*;

/// A configuration of one extension that listens in these places.
fn configure(folder: &Folder, listen: &[SocketAddr], more: &str) -> PathBuf {
    let listen: Vec<String> = listen.iter().map(|at| format!("udp:{at} tcp:{at}")).collect();
    folder.configure(&format!("listen = {}\nrate.stranger = 1000/s\n{more}", listen.join(" ")))
}

fn loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], free_port()))
}

impl Program {
    /// Starts it on the configuration that is in the folder.
    fn start_on(at: SocketAddr, folder: Folder, config: &Path) -> Program {
        Program::launch(run(config), folder, at)
    }

    /// What becomes of a command, which is given the configuration's path.
    fn command(&self, arguments: &[&str]) -> Output {
        let config = self._folder.0.join("denwa.conf");
        Command::new(binary()).args(arguments).arg("--config").arg(config).output().unwrap()
    }

    /// Reloads, which must work; says what was said.
    fn reload(&self) -> String {
        let output = self.command(&["reload"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The same where it must not; says why not.
    fn refused_reload(&self) -> String {
        let output = self.command(&["reload"]);
        assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stdout));
        String::from_utf8(output.stderr).unwrap()
    }

    fn answers_at(&self, at: SocketAddr) -> bool {
        let asker = asker();
        asker.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        (1..4).any(|number| {
            asker.send_to(&register(&asker, number), at).unwrap();
            answer(&asker).is_some_and(|answer| answer.starts_with("SIP/2.0 401"))
        })
    }
}

/// Asks on a connection, and is answered.
fn is_answered(stream: &mut TcpStream) -> bool {
    let own = stream.local_addr().unwrap();
    let request = String::from_utf8(register(&asker(), 1)).unwrap();
    let request =
        request.replace("SIP/2.0/UDP", "SIP/2.0/TCP").replace("Max-Forwards", "X: y\r\nMax-Forwards");
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut buffer = [0; 2_000];
    let count = stream.read(&mut buffer).unwrap_or(0);
    assert!(own.port() != 0);
    buffer[..count].starts_with(b"SIP/2.0 401")
}

#[test]
fn a_reload_opens_and_closes_listeners_and_touches_no_call() {
    let (old, stays, new) = (loopback(), loopback(), loopback());
    let folder = Folder::new();
    let config = configure(&folder, &[old, stays], "");
    let program = Program::start_on(old, folder, &config);
    let exchange = program.exchange();
    let phone = asker();
    phone.set_read_timeout(Some(SOON)).unwrap();
    let sound = asker();
    sound.set_read_timeout(Some(SOON)).unwrap();
    let talk = call_echo(&phone, stays, sound.local_addr().unwrap().port());
    // The relay is a thread, and may not have opened its ports yet.
    thread::sleep(Duration::from_millis(300));
    assert!(talk.echoes(&sound, 1));
    let mut connection = TcpStream::connect(old).unwrap();
    assert!(is_answered(&mut connection));

    configure(&program._folder, &[stays, new], "ext.102 = another-password");
    assert_eq!(program.reload(), format!("denwa goes on with {}.\n", config.display()));
    program.expect("info  goes on with another configuration: 2 extensions, SIP on");
    assert!(program.answers_at(stays) && program.answers_at(new), "it serves what it should");
    // What is closed can be had by others.
    UdpSocket::bind(old).unwrap();
    assert!(TcpStream::connect(old).is_err());
    // A connection does not end with what it came by.
    assert!(is_answered(&mut connection));
    assert!(talk.echoes(&sound, 2));
    talk.hang_up(&phone);
    assert_eq!(program.exchange(), exchange, "it is the same process");

    // The next one starts on it.
    kill_process(exchange, Signal::KILL).unwrap();
    let said = program.expect(" runs ");
    assert!(said.contains(": 2 extensions, SIP on"), "{said}");
    assert!(program.answers_at(new) && !program.answers_at(old));
}

#[test]
fn datagrams_that_wait_while_it_reloads_are_answered() {
    let (at, other) = (loopback(), loopback());
    let folder = Folder::new();
    let config = configure(&folder, &[at], "rate.strangers = 10000/s");
    let program = Program::start_on(at, folder, &config);
    let phone = asker();
    phone.set_read_timeout(Some(SOON)).unwrap();
    for round in 0..10 {
        let both = [at, other];
        configure(&program._folder, &both[..1 + round % 2], "rate.strangers = 10000/s");
        thread::scope(|scope| {
            let asked = scope.spawn(|| {
                for number in 1..=100 {
                    phone.send_to(&register(&phone, round * 1_000 + number), at).unwrap();
                    thread::sleep(Duration::from_micros(500));
                }
            });
            program.reload();
            asked.join().unwrap();
        });
        for _ in 1..=100 {
            answer(&phone).expect("an answer is missing");
        }
    }
}

#[test]
fn whatever_cannot_be_changes_nothing() {
    let (at, other) = (loopback(), loopback());
    let folder = Folder::new();
    let config = configure(&folder, &[at], "");
    let program = Program::start_on(at, folder, &config);
    let folder = &program._folder;

    // A mistake; all of them are told.
    configure(folder, &[other], "ekho = 7\nlog = loud");
    let said = program.refused_reload();
    assert!(said.contains("did you mean `echo`?") && said.contains("2 mistakes in"), "{said}");
    // A port that another one has; what could be had is not kept.
    let taken = loopback();
    let _holder = UdpSocket::bind(taken).unwrap();
    configure(folder, &[other, taken], "");
    let said = program.refused_reload();
    assert!(said.starts_with(&format!("listen = udp:{taken}: ")), "{said}");
    assert!(said.contains("another program has udp port"), "{said}");
    UdpSocket::bind(other).unwrap();
    // The own port on all addresses.
    let wildcard = format!("listen = udp:{}\n", at.port());
    folder.configure(&wildcard);
    let said = program.refused_reload();
    assert!(said.contains("takes a restart"), "{said}");
    // No file at all, or one that is empty.
    fs::remove_file(&config).unwrap();
    let said = program.refused_reload();
    assert!(said.contains("there is no such file"), "{said}");
    fs::write(&config, "").unwrap();
    program.refused_reload();

    assert!(program.answers_at(at));
    kill_process(program.exchange(), Signal::KILL).unwrap();
    program.expect(" runs ");
    assert!(program.answers_at(at) && !program.answers_at(other));
}

#[test]
fn what_takes_a_restart_is_said() {
    let at = loopback();
    let folder = Folder::new();
    let config = configure(&folder, &[at], "");
    let program = Program::start_on(at, folder, &config);
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, format!("{text}user = root\nsandbox = off\next.102 = another-password\n")).unwrap();
    let said = program.reload();
    for key in ["user", "sandbox"] {
        assert!(said.contains(&format!("{key}: that takes a restart")), "{said}");
    }
    program.expect("another configuration: 2 extensions");
    // Nor does the next one have it.
    kill_process(program.exchange(), Signal::KILL).unwrap();
    program.expect("2 extensions");
    assert!(!program.expect("sandbox: ").contains("none"));
}

#[test]
fn sighup_reads_the_file_again() {
    let (at, other) = (loopback(), loopback());
    let folder = Folder::new();
    let config = configure(&folder, &[at], "");
    // Whoever runs this by nohup has it ignored, and so would what is started here.
    let mut command = Command::new("env");
    command.arg("--default-signal=HUP").arg(binary()).arg("run").arg("--config").arg(&config);
    let mut program = Program::launch(command, folder, at);
    let folder = &program._folder;
    // As an editor does it.
    let text = fs::read_to_string(configure(folder, &[at, other], "")).unwrap();
    let new = config.with_extension("new");
    fs::write(&new, &text).unwrap();
    fs::rename(&new, &config).unwrap();
    program.signal(Signal::HUP);
    program.expect("goes on with another configuration");
    assert!(program.answers_at(other));

    fs::write(&config, text.replace("echo", "ekho")).unwrap();
    program.signal(Signal::HUP);
    program.expect("error SIGHUP, but nothing has changed");
    program.expect("did you mean `echo`?");
    fs::remove_file(&config).unwrap();
    program.signal(Signal::HUP);
    program.expect("there is no such file");
    if geteuid().is_root() {
        fs::write(&config, &text).unwrap();
        fs::set_permissions(&config, fs::Permissions::from_mode(0o600)).unwrap();
        program.signal(Signal::HUP);
        program.expect("`denwa reload` reads it as you, or `chgrp ");
        program.reload();
    }
    assert!(program.answers_at(other) && program.keeper.try_wait().unwrap().is_none());
}

/// A pseudo-terminal: its master, and its name.
#[allow(unsafe_code)]
fn pseudo_terminal() -> (OwnedFd, String) {
    // SAFETY: plain calls that return numbers or, of the name, a string that lives until the next call.
    unsafe {
        let master = libc::posix_openpt(libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC);
        assert!(master >= 0 && libc::grantpt(master) == 0 && libc::unlockpt(master) == 0);
        let name = std::ffi::CStr::from_ptr(libc::ptsname(master)).to_str().unwrap().to_owned();
        (OwnedFd::from_raw_fd(master), name)
    }
}

#[test]
fn a_closed_terminal_stops_it() {
    // Whoever is started so that SIGHUP is ignored keeps to it.
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap();
    if u64::from_str_radix(ignored.trim(), 16).unwrap() & 1 != 0 {
        return println!("skipped: these tests run with SIGHUP ignored");
    }
    let at = loopback();
    let folder = Folder::new();
    let config = configure(&folder, &[at], "");
    let (master, name) = pseudo_terminal();
    // Whoever leads a session gets the first terminal that it opens. Nothing of denwa's own is on it.
    let mut command = Command::new("setsid");
    command.args(["sh", "-c", "exec \"$0\" run --config \"$1\" 3<\"$2\"", binary()]);
    command.arg(&config).arg(&name);
    let program = Program::launch(command, folder, at);
    program.signal(Signal::HUP);
    program.expect("goes on with another configuration");
    let exchange = program.exchange();
    // Its terminal is closed, and the kernel tells whoever leads the session.
    assert!(master.as_raw_fd() > 2);
    drop(master);
    let (status, time, said) = program.end();
    assert!(status.success() && time < Duration::from_secs(2), "{status} {time:?}");
    assert!(said.ends_with("info  stopped"), "{said}");
    assert!(!is_alive(exchange));
}

#[test]
fn a_new_low_port_needs_no_restart() {
    if !geteuid().is_root() {
        return println!("skipped: only root may bind low ports");
    }
    let (at, low) = (loopback(), SocketAddr::from(([127, 99, 83, 62], 62)));
    let folder = Folder::new();
    let config = configure(&folder, &[at], "user = nobody");
    let program = Program::start_on(at, folder, &config);
    configure(&program._folder, &[at, low], "user = nobody");
    program.reload();
    assert!(program.answers_at(low));
}

#[test]
fn a_reload_while_there_is_no_exchange_is_for_the_next_one() {
    let (at, other) = (loopback(), loopback());
    let folder = Folder::new();
    let config = configure(&folder, &[at], "");
    let program = Program::start_on(at, folder, &config);
    // The fourth death is waited after for 400 ms.
    for said in ["started again", "in 100 ms", "in 200 ms"] {
        kill_process(program.exchange(), Signal::KILL).unwrap();
        program.expect(said);
        program.expect(" runs ");
    }
    kill_process(program.exchange(), Signal::KILL).unwrap();
    program.expect("in 400 ms");
    configure(&program._folder, &[other], "");
    program.reload();
    program.expect(" runs ");
    assert!(program.answers_at(other) && !program.answers_at(at));
}

#[test]
fn an_exchange_that_does_not_answer_stays_as_it_was() {
    let (at, other) = (loopback(), loopback());
    let folder = Folder::new();
    let config = configure(&folder, &[at], "");
    let program = Program::start_on(at, folder, &config);
    kill_process(program.exchange(), Signal::STOP).unwrap();
    configure(&program._folder, &[other], "");
    let begin = Instant::now();
    let said = program.refused_reload();
    assert!(said.contains("did not answer"), "{said}");
    assert!((4_900..6_000).contains(&begin.elapsed().as_millis()), "{:?}", begin.elapsed());
    // When it wakes, it does what it was asked first, and then what it was asked last.
    kill_process(program.exchange(), Signal::CONT).unwrap();
    program.expect("goes on with another configuration");
    program.expect("goes on with another configuration");
    assert!(program.answers_at(at) && !program.answers_at(other));
    program.reload();
    assert!(program.answers_at(other) && !program.answers_at(at));
}

#[test]
fn an_exchange_that_may_open_no_more_files_stays_as_it_was() {
    let (at, other) = (loopback(), loopback());
    let folder = Folder::new();
    // Only another process of the same user may limit it.
    let user = if geteuid().is_root() { "user = root" } else { "" };
    let config = configure(&folder, &[at], user);
    let program = Program::start_on(at, folder, &config);
    let exchange = program.exchange();
    configure(&program._folder, &[at, other], user);
    // At first nothing comes of what it is handed, then some, and at last all.
    let mut refused = 0;
    for files in (3..).step_by(3) {
        limit_files(exchange, files);
        let output = program.command(&["reload"]);
        assert!(program.answers_at(at), "with {files} files");
        assert_eq!(program.exchange(), exchange);
        if output.status.success() {
            break;
        }
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("the system has no room for more sockets"), "{said}");
        UdpSocket::bind(other).unwrap();
        refused += 1;
    }
    assert!(refused > 1);
    assert!(program.answers_at(other));
}

#[test]
fn whoever_holds_the_door_open_holds_up_nobody() {
    let at = loopback();
    let folder = Folder::new();
    let config = configure(&folder, &[at], "");
    let program = Program::start_on(at, folder, &config);
    let door = program._folder.0.join("state/keeper");
    assert_eq!(fs::metadata(&door).unwrap().permissions().mode() & 0o777, 0o600);
    // Silence, half a request, nonsense, a length beyond all bounds.
    let silent: Vec<UnixStream> = (0..50).map(|_| UnixStream::connect(&door).unwrap()).collect();
    for nonsense in [&b"\x05\0\0\0\x01"[..], b"GET / HTTP/1.1\r\n\r\n", &[255; 64], &[0; 64]] {
        UnixStream::connect(&door).unwrap().write_all(nonsense).unwrap();
    }
    kill_process(program.exchange(), Signal::KILL).unwrap();
    let killed = Instant::now();
    program.expect(" runs ");
    assert!(killed.elapsed() < Duration::from_secs(1), "{:?}", killed.elapsed());
    let begin = Instant::now();
    program.reload();
    // Nobody is waited for who may take 5 s to ask.
    assert!(begin.elapsed() < Duration::from_secs(3), "{:?}", begin.elapsed());
    drop(silent);
    program.reload();
    if geteuid().is_root() {
        let stranger = Command::new(binary()).arg("reload").arg("--config").arg(&config).uid(1).output();
        let stranger = stranger.unwrap();
        assert_eq!(stranger.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&stranger.stderr).contains("permission denied"), "{stranger:?}");
    }
}

#[test]
fn a_stop_is_waited_for_and_keeps_or_ends_calls() {
    for hang_up in [false, true] {
        let at = loopback();
        let folder = Folder::new();
        let config = configure(&folder, &[at], "");
        let program = Program::start_on(at, folder, &config);
        let exchange = program.exchange();
        let phone = asker();
        phone.set_read_timeout(Some(SOON)).unwrap();
        call_echo(&phone, at, 9);
        let arguments: &[&str] = if hang_up { &["stop", "--hangup"] } else { &["stop"] };
        let begin = Instant::now();
        let output = program.command(arguments);
        assert!(output.status.success(), "{output:?}");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "denwa is stopped.\n");
        assert!(!is_alive(exchange));
        // A BYE that is lost is sent again.
        assert_eq!(begin.elapsed() > Duration::from_millis(500), hang_up, "{:?}", begin.elapsed());
        phone.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        assert_eq!(answer(&phone).is_some_and(|said| said.starts_with("BYE ")), hang_up);
        // There is nobody now, and that is said.
        for arguments in [arguments, &["reload"]] {
            let output = program.command(arguments);
            assert_eq!(output.status.code(), Some(2), "{output:?}");
            assert!(String::from_utf8_lossy(&output.stderr).contains("no denwa answers in"), "{output:?}");
        }
        let (status, ..) = program.end();
        assert!(status.success());
    }
}
