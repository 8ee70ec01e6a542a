//! Registrations survive: the real program is killed, stopped, started again, and has trouble with its disk.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod credentials;
mod folder;
mod said;

use std::fs;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, geteuid, kill_process};

use folder::Folder;
use said::Said;

const SOON: Duration = Duration::from_secs(5);
const PASSWORD: &str = "a-long-password";

impl Folder {
    fn state(&self, name: &str) -> PathBuf {
        self.0.join("state").join(name)
    }

    /// Writes a configuration with two extensions; says where it is.
    fn configure(&self, at: SocketAddr, more: &str) -> PathBuf {
        let state = self.0.join("state");
        let text = format!(
            "ext.101 = {PASSWORD}\next.102 = {PASSWORD}\nlisten = udp:{at} tcp:{at}\nkeep-alive = 0s\n\
             state = {}\n{more}\n",
            state.display()
        );
        let path = self.0.join("denwa.conf");
        fs::write(&path, text).unwrap();
        path
    }
}

/// A port of 127.0.0.1 that is free for UDP and TCP, and no other test's.
fn free_port() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 27_100 + (std::process::id() % 40) as u16 * 100;
    loop {
        let at = SocketAddr::from(([127, 0, 0, 1], first + NEXT.fetch_add(1, Ordering::Relaxed)));
        if UdpSocket::bind(at).is_ok() && TcpListener::bind(at).is_ok() {
            return at;
        }
    }
}

/// A running program: the keeper, and by it the exchange.
struct Program {
    keeper: Child,
    said: Said,
}

impl Program {
    fn start(folder: &Folder, at: SocketAddr, more: &str) -> Program {
        let mut command = Command::new(env!("CARGO_BIN_EXE_denwa"));
        command.arg("run").arg("--config").arg(folder.configure(at, more));
        Program::launch(command)
    }

    fn launch(mut command: Command) -> Program {
        let (keeper, said) = Said::by(&mut command);
        let program = Program { keeper, said };
        program.expect("runs");
        program
    }

    /// Waits for a line that contains `part`.
    fn expect(&self, part: &str) -> String {
        self.said.expect(part, 4 * SOON)
    }

    /// Kills the process that serves, and waits for the next.
    fn crash(&self) {
        kill_process(self.exchange(), Signal::KILL).unwrap();
        self.expect("it is started again");
        self.expect("runs");
    }

    fn exchange(&self) -> Pid {
        let path = format!("/proc/{0}/task/{0}/children", self.keeper.id());
        let children = fs::read_to_string(path).unwrap();
        Pid::from_raw(children.trim().parse().unwrap()).unwrap()
    }

    fn stop(mut self) -> (ExitStatus, String) {
        kill_process(Pid::from_child(&self.keeper), Signal::TERM).unwrap();
        let status = self.keeper.wait().unwrap();
        (status, self.said.0.iter().collect::<Vec<_>>().join("\n"))
    }
}

impl Drop for Program {
    /// The exchange goes with its keeper.
    fn drop(&mut self) {
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
    }
}

/// A telephone with one line, by UDP.
struct Phone {
    socket: UdpSocket,
    server: SocketAddr,
    number: &'static str,
    sent: u32,
}

impl Phone {
    fn new(number: &'static str, server: SocketAddr) -> Phone {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(SOON)).unwrap();
        Phone { socket, server, number, sent: 0 }
    }

    fn hear(&self) -> String {
        let mut buffer = [0; 4_000];
        let length = self.socket.recv(&mut buffer).expect("nothing is heard");
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    }

    /// Sends a request, and again with credentials; returns the answer to that which is no `100 Trying`.
    fn ask(&mut self, method: &str, uri: &str, to: &str, headers: &str) -> String {
        let (at, number) = (self.socket.local_addr().unwrap(), self.number);
        let mut credentials = String::new();
        loop {
            self.sent += 1;
            let sequence = self.sent;
            let request = format!(
                "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {at};branch=z9hG4bK-{number}-{sequence};rport\r\n\
                 From: <sip:{number}@denwa>;tag={number}\r\nTo: <{to}>\r\nCall-ID: {method}-{number}-{port}\r\n\
                 CSeq: {sequence} {method}\r\nContact: <sip:{number}@{at}>\r\nMax-Forwards: 70\r\n\
                 User-Agent: a telephone {much}\r\n{headers}{credentials}Content-Length: 0\r\n\r\n",
                port = at.port(),
                much = "that has a long name ".repeat(8),
            );
            self.socket.send_to(request.as_bytes(), self.server).unwrap();
            let mine = format!("CSeq: {sequence} {method}\r\n");
            let answer = loop {
                let heard = self.hear();
                if heard.contains(&mine) && !heard.starts_with("SIP/2.0 100") {
                    break heard;
                }
            };
            let is_challenge = ["SIP/2.0 401", "SIP/2.0 407"].iter().any(|code| answer.starts_with(code));
            if !is_challenge || !credentials.is_empty() {
                return answer;
            }
            credentials = credentials::credentials(number, PASSWORD, &answer, method, uri);
        }
    }

    fn register(&mut self, expires: u32) {
        let to = format!("sip:{}@denwa", self.number);
        let answer = self.ask("REGISTER", "sip:denwa", &to, &format!("Expires: {expires}\r\n"));
        assert!(answer.starts_with("SIP/2.0 200"), "{answer}");
    }

    /// Calls another one, which hears of it and declines.
    fn reaches(&mut self, other: &Phone) {
        let uri = format!("sip:{}@{}", other.number, self.server);
        thread::scope(|scope| {
            let answer = scope.spawn(|| self.ask("INVITE", &uri, &uri, ""));
            let invite = loop {
                let heard = other.hear();
                if heard.starts_with("INVITE ") {
                    break heard;
                }
            };
            let response = format!(
                "SIP/2.0 486 Busy Here\r\n{}Content-Length: 0\r\n\r\n",
                invite
                    .split_inclusive("\r\n")
                    .filter(|line| {
                        ["Via:", "From:", "To:", "Call-ID:", "CSeq:"]
                            .iter()
                            .any(|name| line.starts_with(name))
                    })
                    .map(|line| match line.starts_with("To:") {
                        true => line.replace("\r\n", ";tag=busy\r\n"),
                        false => line.to_owned(),
                    })
                    .collect::<String>()
            );
            other.socket.send_to(response.as_bytes(), other.server).unwrap();
            let answer = answer.join().unwrap();
            assert!(answer.starts_with("SIP/2.0 486"), "{answer}");
        });
    }
}

#[test]
fn after_kill_9_a_phone_rings_that_does_not_register_again() {
    let (folder, at) = (Folder::new(), free_port());
    let program = Program::start(&folder, at, "");
    let (mut one, mut two) = (Phone::new("101", at), Phone::new("102", at));
    two.register(600);
    one.register(600);
    for _ in 0..2 {
        program.crash();
        one.reaches(&two);
    }
    // What was taken back stays so.
    two.register(0);
    program.crash();
    let uri = format!("sip:102@{at}");
    let answer = one.ask("INVITE", &uri, &uri, "");
    assert!(answer.starts_with("SIP/2.0 480"), "{answer}");
}

#[test]
fn a_stop_and_a_start_keep_registrations() {
    let (folder, at) = (Folder::new(), free_port());
    let (mut one, mut two) = (Phone::new("101", at), Phone::new("102", at));
    let program = Program::start(&folder, at, "sync = 1m");
    two.register(600);
    one.register(600);
    let (status, said) = program.stop();
    assert!(status.success() && !said.contains("warn"), "{status} {said}");
    let _program = Program::start(&folder, at, "");
    one.reaches(&two);
}

#[test]
fn a_torn_journal_is_told_of_and_used() {
    let (folder, at) = (Folder::new(), free_port());
    let (mut one, mut two) = (Phone::new("101", at), Phone::new("102", at));
    let program = Program::start(&folder, at, "");
    two.register(600);
    one.register(600);
    assert!(program.stop().0.success());
    let mut journal = fs::OpenOptions::new().append(true).open(folder.state("journal")).unwrap();
    std::io::Write::write_all(&mut journal, &[0; 123]).unwrap();
    let program = Program::start(&folder, at, "");
    program.expect("the last 123 bytes are torn, and were cut off");
    one.reaches(&two);
}

/// Runs the program, which must not start; what it says.
fn failure(folder: &Folder, at: SocketAddr) -> String {
    let config = folder.configure(at, "");
    let mut command = Command::new(env!("CARGO_BIN_EXE_denwa"));
    let output = command.arg("run").arg("--config").arg(config).stdin(Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn the_second_on_a_folder_and_an_old_one_on_a_new_journal_are_refused() {
    let (folder, at) = (Folder::new(), free_port());
    let program = Program::start(&folder, at, "");
    let state = folder.0.join("state");
    let expected = format!(
        "denwa runs already as process {} (state folder {}): `denwa status`",
        program.keeper.id(),
        state.display()
    );
    // On the same ports, and on others.
    for at in [at, free_port()] {
        let said = failure(&folder, at);
        assert!(said.starts_with(&expected) && said.lines().count() == 1, "{said}");
    }
    // Where commands cannot find the first one, the lock still tells.
    fs::remove_file(state.join("keeper")).unwrap();
    let said = failure(&folder, free_port());
    assert!(said.contains(&expected) && !said.contains(" runs /"), "{said}");
    assert!(program.stop().0.success());

    let mut octets = fs::read(folder.state("journal")).unwrap();
    octets[8] += 1;
    fs::write(folder.state("journal"), &octets).unwrap();
    let said = failure(&folder, at);
    assert!(said.contains("is of version 3, and this denwa knows 2"), "{said}");
    assert_eq!(fs::read(folder.state("journal")).unwrap(), octets);
}

#[test]
fn without_room_it_goes_on_says_so_and_recovers() {
    let (folder, at) = (Folder::new(), free_port());
    let rates =
        "rate.stranger = 1000/s\nrate.strangers = 1000/s\nrate.phone = 1000/s\next.102.max-contacts = 1";
    let config = folder.configure(at, rates);
    // No file may be larger than 16 blocks of 512 bytes. Whoever has too much is told, not killed.
    let mut shell = Command::new("sh");
    let script = "trap '' XFSZ; ulimit -f 16; exec \"$0\" run --config \"$1\"";
    shell.args(["-c", script, env!("CARGO_BIN_EXE_denwa")]).arg(config);
    let program = Program::launch(shell);
    let (mut one, mut two) = (Phone::new("101", at), Phone::new("102", at));
    one.register(600);
    let mut said = None;
    for round in 0..120 {
        // Each time it is another phone, which takes the place of the one before.
        two = Phone::new("102", at);
        two.register(if round % 2 == 0 { 600 } else { 300 });
        said = program.said.0.try_iter().find(|line| line.contains("cannot be written"));
        if said.is_some() {
            break;
        }
    }
    let said = said.expect("so much does not fit");
    assert!(said.contains("File too large") && said.contains("lost at a restart"), "{said}");
    // It goes on, …
    one.reaches(&two);
    // … and with the first occasion all is on record again.
    program.expect("can be written again");
    program.crash();
    one.reaches(&two);
}

/// A program to which the state folder is something else than to us: `mount` says what, in a shell's words. Later
/// it can be changed by [`Confined::change`].
struct Confined(Program);

impl Confined {
    fn start(folder: &Folder, at: SocketAddr, mount: &str) -> Confined {
        let config = folder.configure(at, "ext.102.max-contacts = 1");
        let mut command = Command::new("unshare");
        let script = format!("cd \"$2\" && {mount} && cd / && exec \"$0\" run --config \"$1\"");
        command.args(["-m", "sh", "-ec", &script, env!("CARGO_BIN_EXE_denwa")]);
        command.arg(config).arg(&folder.0);
        Confined(Program::launch(command))
    }

    /// What a shell does where the program is.
    fn change(&self, folder: &Folder, script: &str) -> String {
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.0.keeper.id().to_string(), "-m", "sh", "-ec"]);
        command.arg(format!("cd \"$1\" && {script}")).arg(env!("CARGO_BIN_EXE_denwa")).arg(&folder.0);
        let output = command.stdin(Stdio::null()).output().unwrap();
        String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap()
    }
}

#[test]
fn it_starts_on_a_folder_that_takes_nothing_and_recovers() {
    if !geteuid().is_root() {
        return println!("only root can make such a disk");
    }
    let read_only = "mount --bind state state && mount -o remount,bind,ro state";
    let full = "cp -a state kept && mount -t tmpfs -o size=256k,mode=755 none state && cp -a kept/. state && \
                chown --reference=kept state && { cat /dev/zero > state/filler || true; } 2> /dev/null";
    let cases = [
        (read_only, "Read-only file system", "mount -o remount,bind,rw state"),
        (full, "No space left on device", "rm state/filler"),
    ];
    for (trouble, word, cure) in cases {
        let (folder, at) = (Folder::new(), free_port());
        let (mut one, mut two) = (Phone::new("101", at), Phone::new("102", at));
        let program = Program::start(&folder, at, "");
        two.register(600);
        one.register(600);
        assert!(program.stop().0.success());

        let program = Confined::start(&folder, at, trouble);
        // What was on record is known, …
        one.reaches(&two);
        // The page of the disk in which the journal ends may have had room for some of that.
        let said = (0..20).find_map(|_| {
            one.reaches(&two);
            program.0.said.0.try_iter().find(|line| line.contains("the state folder"))
        });
        let said = said.expect("so much does not fit");
        assert!(said.contains("cannot be written") && said.contains(word), "{said}");
        assert!(said.contains("lost at a restart"), "{said}");
        let status = program.change(&folder, "\"$0\" status --config denwa.conf");
        assert!(status.contains("CANNOT BE WRITTEN"), "{status}");
        let second = program.change(&folder, "\"$0\" run --config denwa.conf || true");
        let first = format!("denwa runs already as process {} ", program.0.keeper.id());
        assert!(second.starts_with(&first), "{second}");
        let reload = program.change(&folder, "\"$0\" reload --config denwa.conf");
        assert!(reload.starts_with("denwa goes on with"), "{reload}");
        // … and what comes is on record as soon as there is a way.
        two = Phone::new("102", at);
        two.register(600);
        program.change(&folder, cure);
        program.0.said.expect("can be written again", 4 * SOON);
        program.0.crash();
        one.reaches(&two);
        let status = program.change(&folder, "\"$0\" status --config denwa.conf");
        assert!(!status.contains("CANNOT BE WRITTEN"), "{status}");
    }
}

#[test]
fn it_starts_where_the_folder_cannot_even_be_made() {
    if !geteuid().is_root() {
        return println!("only root can make such a disk");
    }
    let (folder, at) = (Folder::new(), free_port());
    let program = Confined::start(&folder, at, "mount --bind . . && mount -o remount,bind,ro .");
    program.0.expect("there is no state folder: phones have to register anew after a restart");
    let (mut one, mut two) = (Phone::new("101", at), Phone::new("102", at));
    two.register(600);
    one.register(600);
    one.reaches(&two);
}

#[test]
fn a_newer_journal_is_refused_where_nothing_can_be_written_too() {
    if !geteuid().is_root() {
        return println!("only root can make such a disk");
    }
    let (folder, at) = (Folder::new(), free_port());
    let program = Program::start(&folder, at, "");
    Phone::new("101", at).register(600);
    assert!(program.stop().0.success());
    let mut octets = fs::read(folder.state("journal")).unwrap();
    octets[8] += 1;
    fs::write(folder.state("journal"), &octets).unwrap();
    let config = folder.configure(at, "");
    let script =
        "mount --bind \"$2\" \"$2\" && mount -o remount,bind,ro \"$2\" && exec \"$0\" run --config \"$1\"";
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-ec", script, env!("CARGO_BIN_EXE_denwa")]).arg(config);
    let output = command.arg(folder.state("")).stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("is of version 3, and this denwa knows 2"), "{said}");
    assert_eq!((output.status.code(), fs::read(folder.state("journal")).unwrap()), (Some(1), octets));
}

#[test]
fn a_backup_made_while_it_runs_brings_registrations_back() {
    let (folder, at) = (Folder::new(), free_port());
    let program = Program::start(&folder, at, "");
    let (mut one, mut two) = (Phone::new("101", at), Phone::new("102", at));
    two.register(600);
    one.register(600);
    let (config, kept) = (folder.0.join("denwa.conf"), folder.0.join("kept"));
    let denwa = |command: &str| {
        let mut denwa = Command::new(env!("CARGO_BIN_EXE_denwa"));
        denwa.arg(command).arg("--config").arg(&config).arg(&kept).stdin(Stdio::null());
        denwa.output().unwrap()
    };
    let said = denwa("backup");
    assert!(said.status.success(), "{said:?}");
    assert!(String::from_utf8_lossy(&said.stdout).contains("2 extensions and 2 registrations"), "{said:?}");
    let said = denwa("restore");
    let expected = format!("process {}: stop it first", program.keeper.id());
    assert!(String::from_utf8_lossy(&said.stderr).contains(&expected), "{said:?}");

    // The machine is lost.
    assert!(program.stop().0.success());
    fs::remove_dir_all(folder.0.join("state")).unwrap();
    fs::remove_file(&config).unwrap();
    let said = denwa("restore");
    assert!(said.status.success(), "{said:?}");
    let mut command = Command::new(env!("CARGO_BIN_EXE_denwa"));
    command.arg("run").arg("--config").arg(&config);
    let _program = Program::launch(command);
    one.reaches(&two);
}
