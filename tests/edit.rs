//! `denwa init`, `denwa settings`, `denwa add`, `denwa passwd` and `denwa remove`: the real program writes a
//! configuration, and changes nothing else in it.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod folder;

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use denwa::config::{Config, DigestOffer, Extension, Password};
use denwa::sip::digest::{self, Algorithm, Ha1, Qop};
use rustix::process::geteuid;

use folder::Folder;

/// As an editor of another system may leave it: a byte order mark, two kinds of line ends, none at the end.
const FILE: &str = "\u{feff}# 電話\r\next.101 = correct-horse\r\n  # ext.102 = x\n\r\necho=114\r\n\
                    group.600 = 101\t\r\nlisten = udp:192.0.2.1:5070 tcp:192.0.2.1:5070\r\n#\r\nlog = warn";

impl Folder {
    fn config(&self) -> PathBuf {
        self.0.join("denwa.conf")
    }

    fn write(&self, file: &str) -> PathBuf {
        fs::write(self.config(), file).unwrap();
        self.config()
    }

    fn read(&self) -> String {
        fs::read_to_string(self.config()).unwrap()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_denwa"));
        command.args(arguments).current_dir(&self.0).stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// What it prints when it does its work.
    fn done(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success() && output.stderr.is_empty(), "{arguments:?} {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// What it says when it does not, and changes nothing.
    fn refused(&self, arguments: &[&str]) -> String {
        let before = fs::read(self.config()).ok();
        let names = |folder: &Folder| fs::read_dir(&folder.0).unwrap().count();
        let count = names(self);
        let output = self.run(arguments);
        assert_eq!((output.status.code(), &*output.stdout), (Some(1), &b""[..]), "{arguments:?}");
        assert_eq!((fs::read(self.config()).ok(), names(self)), (before, count), "{arguments:?}");
        String::from_utf8(output.stderr).unwrap()
    }
}

/// What stands behind a name in what is printed.
fn printed<'a>(text: &'a str, name: &str) -> &'a str {
    let line = text.lines().find_map(|line| line.trim_start().strip_prefix(name));
    line.unwrap_or_else(|| panic!("no {name} in {text}")).trim()
}

#[test]
fn an_extension_is_added_and_every_other_byte_stays() {
    let folder = Folder::new();
    let before = Config::load(&folder.write(FILE)).unwrap();
    let said = folder.done(&["add", "103", "Living", "room"]);
    let password = printed(&said, "password ");
    assert_eq!(printed(&said, "user "), "103");
    assert_eq!(printed(&said, "server "), "192.0.2.1");
    assert_eq!(printed(&said, "port "), "5070");
    assert!(said.starts_with("103 is in denwa.conf. The next start of denwa will know of it."), "{said}");
    // Into a pipe, no code is drawn.
    assert!(password.len() == 20 && !said.contains('▀'), "{said}");

    let new = format!(
        "\r\n  # ext.102 = x\n\next.103        = {password}\next.103.name   = Living room\n\
         ext.103.digest = md5\n"
    );
    assert_eq!(folder.read(), FILE.replace("\r\n  # ext.102 = x\n", &new));
    let mut after = Config::load(&folder.config()).unwrap();
    let added = Extension {
        name: Some("Living room".into()),
        digest: DigestOffer::Md5,
        ..Extension::new(Password::new(password))
    };
    assert_eq!(after.extensions.remove("103"), Some(added));
    assert_eq!(after, before);
}

#[test]
fn a_password_is_replaced_and_every_other_byte_stays() {
    let folder = Folder::new();
    folder.write(FILE);
    let mut seen = vec!["correct-horse".to_string()];
    for _ in 0..3 {
        let said = folder.done(&["passwd", "101", "--no-qr"]);
        let password = printed(&said, "password ").to_string();
        assert_eq!(folder.read(), FILE.replace("correct-horse", &password));
        assert!(said.starts_with("101 has a new password in denwa.conf."), "{said}");
        assert!(!seen.contains(&password));
        seen.push(password);
    }
}

#[test]
fn an_extension_is_removed_and_every_other_byte_stays() {
    let folder = Folder::new();
    folder.write(FILE);
    folder.done(&["add", "103", "Study"]);
    let said = folder.done(&["remove", "103"]);
    assert_eq!(said, "103 is not in denwa.conf any more. The next start of denwa will know of it.\n");
    assert_eq!(folder.read(), FILE);
    let said = folder.refused(&["remove", "101"]);
    assert!(said.contains("denwa.conf:6: group.600: there is no number 101"), "{said}");
    assert_eq!(folder.refused(&["remove", "103"]), "there is no extension 103\n");
}

#[test]
fn a_link_stays_and_so_do_owner_and_permissions() {
    let folder = Folder::new();
    let target = folder.0.join("etc");
    fs::create_dir(&target).unwrap();
    let target = target.join("real.conf");
    fs::write(&target, FILE).unwrap();
    fs::set_permissions(&target, Permissions::from_mode(0o640)).unwrap();
    if geteuid().is_root() {
        std::os::unix::fs::chown(&target, Some(65534), Some(65533)).unwrap();
    }
    let rights = |file: fs::Metadata| (file.uid(), file.gid(), file.mode());
    let before = rights(fs::metadata(&target).unwrap());
    symlink("etc/real.conf", folder.config()).unwrap();
    folder.done(&["add", "103"]);
    assert!(folder.config().is_symlink());
    assert!(fs::read_to_string(&target).unwrap().contains("ext.103"));
    assert_eq!(rights(fs::metadata(&target).unwrap()), before);
    assert_eq!(fs::read_dir(target.parent().unwrap()).unwrap().count(), 1);
}

#[test]
fn what_cannot_be_done_is_said_and_changes_nothing() {
    let folder = Folder::new();
    if !PathBuf::from("/etc/denwa/denwa.conf").exists() {
        assert!(folder.refused(&["add", "103"]).starts_with("there is no denwa.conf here"));
    }
    folder.write(FILE);
    assert_eq!(folder.refused(&["add", "101"]), "101 is an extension already, on line 2\n");
    assert_eq!(folder.refused(&["add", "600"]), "600 is a group already, on line 6\n");
    assert_eq!(folder.refused(&["add", "114"]), "114 is the echo test already, on line 5\n");
    assert_eq!(folder.refused(&["passwd", "600"]), "600 is no extension, but a group, on line 6\n");
    assert_eq!(folder.refused(&["passwd", "102"]), "there is no extension 102\n");
    for wrong in ["", "1 2", "1.2", "#1", "1\next.9=x", "電話"] {
        assert!(folder.refused(&["add", wrong]).contains("is not a number; it takes"), "{wrong}");
    }
    assert!(folder.refused(&["add", "103", "a\next.9 = x"]).contains("control character"));
    assert!(folder.refused(&["add", "103", &"x".repeat(65)]).contains("64 are the most"));
    assert!(folder.refused(&["add", "103", "104"]).contains("one extension is added at a time"));
    assert!(folder.refused(&["add", "103", "--config", "none.conf"]).contains("there is no such file"));
    assert!(folder.refused(&["add", "103", "--config", "."]).contains("is a directory"));

    folder.write("ext.101 = x\nekho = 114\nlog = loud\n");
    for arguments in [["add", "103"], ["passwd", "101"]] {
        let said = folder.refused(&arguments);
        assert!(said.contains("denwa.conf:2: ekho: ") && said.contains("denwa.conf:3: log: "), "{said}");
        assert!(said.ends_with("2 mistakes in denwa.conf.\nNothing was changed.\n"), "{said}");
    }
}

#[test]
fn who_may_not_write_the_file_is_told() {
    let folder = Folder::new();
    folder.write(FILE);
    fs::set_permissions(folder.config(), Permissions::from_mode(0o444)).unwrap();
    let mut command = folder.command(&["add", "103"]);
    if geteuid().is_root() {
        command.uid(65534);
    }
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.starts_with("denwa.conf cannot be written: Permission denied"), "{said}");
    assert_eq!((output.status.code(), folder.read()), (Some(1), FILE.to_string()));
}

#[test]
fn many_at_once_all_come_in() {
    let folder = Folder::new();
    folder.write(FILE);
    let add = |n: u32| folder.command(&["add", &n.to_string()]).spawn().unwrap();
    let all: Vec<Child> = (200..216).map(add).collect();
    for child in all {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }
    let config = Config::load(&folder.config()).unwrap();
    assert!((200..216).all(|n| config.extensions.contains_key(n.to_string().as_str())));
    assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 1);
}

#[test]
fn whenever_it_is_killed_the_file_is_whole() {
    let folder = Folder::new();
    // Large enough that writing it takes a while.
    let many: String = (1_000..9_000).map(|n| format!("ext.{n} = a-long-password\n")).collect();
    let (mut before, mut interrupted) = (8_001, 0);
    folder.write(&format!("{FILE}\n{many}"));
    for n in 0..40 {
        let mut child = folder.command(&["add", &(10_000 + n).to_string()]).spawn().unwrap();
        thread::sleep(Duration::from_micros(n * 1_500));
        child.kill().unwrap();
        interrupted += u32::from(!child.wait().unwrap().success());
        let after = Config::load(&folder.config()).unwrap().extensions.len();
        assert!((before..=before + 1).contains(&after), "{before} {after}");
        before = after;
    }
    assert!(interrupted > 0);
    // Nor is anybody kept waiting afterwards.
    folder.done(&["add", "99"]);
}

/// Registers a phone; the status of the answer to its credentials.
fn register(at: SocketAddr, number: &str, password: &str) -> String {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let own = socket.local_addr().unwrap();
    let ask = |sequence: u8, credentials: &str| {
        let request = format!(
            "REGISTER sip:denwa SIP/2.0\r\nVia: SIP/2.0/UDP {own};branch=z9hG4bK{sequence};rport\r\n\
             From: <sip:{number}@denwa>;tag=1\r\nTo: <sip:{number}@denwa>\r\nCall-ID: {own}\r\n\
             CSeq: {sequence} REGISTER\r\nContact: <sip:{number}@{own}>\r\nMax-Forwards: 70\r\n\
             User-Agent: a telephone {}\r\n{credentials}Content-Length: 0\r\n\r\n",
            "that has a long name ".repeat(8),
        );
        socket.send_to(request.as_bytes(), at).unwrap();
        let mut buffer = [0; 2_000];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    };
    let challenge = ask(1, "");
    let (_, nonce) = challenge.split_once("nonce=\"").unwrap();
    let (nonce, _) = nonce.split_once('"').unwrap();
    let ha1 = Ha1::new(number.as_bytes(), b"denwa", password.as_bytes());
    let response =
        digest::respond(Algorithm::Md5, &ha1, b"REGISTER", b"sip:denwa", nonce.as_bytes(), &Qop::None);
    let answer = ask(
        2,
        &format!(
            "Authorization: Digest username=\"{number}\", realm=\"denwa\", nonce=\"{nonce}\", \
             uri=\"sip:denwa\", response=\"{}\", algorithm=MD5\r\n",
            response.unwrap()
        ),
    );
    answer.split(' ').nth(1).unwrap().to_string()
}

/// A program that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn an_exchange_that_runs_knows_of_it_at_once() {
    let folder = Folder::new();
    // The system gives none of these to whoever does not name one.
    let at = SocketAddr::from(([127, 0, 0, 1], 11_000 + (std::process::id() % 1_000) as u16));
    let state = folder.0.join("state");
    folder.write(&format!("ext.101 = correct-horse\nlisten = udp:{at}\nstate = {}\n", state.display()));
    let mut denwa = Running(folder.command(&["run"]).spawn().unwrap());
    let mut log = BufReader::new(denwa.0.stderr.take().unwrap()).lines().map_while(Result::ok);
    log.find(|line| line.contains("runs")).expect("it starts");
    // What else it says is read, so that it can be said.
    thread::spawn(move || log.count());

    let said = folder.done(&["add", "103"]);
    assert!(said.starts_with("103 is in denwa.conf. The exchange that runs knows of it.\n"), "{said}");
    let first = printed(&said, "password ");
    assert_eq!(register(at, "103", first), "200");
    let said = folder.done(&["passwd", "103"]);
    assert_eq!(register(at, "103", first), "401");
    let second = printed(&said, "password ");
    assert_eq!(register(at, "103", second), "200");

    // It is left alone by another file that names its folder.
    fs::copy(folder.config(), folder.0.join("other.conf")).unwrap();
    let said = folder.done(&["passwd", "103", "--config", "other.conf"]);
    let expected = format!("was started on {}, and knows nothing of it.\n", folder.config().display());
    assert!(said.contains(&expected), "{said}");
    assert!(folder.refused(&["reload", "--config", "other.conf"]).contains("takes a restart"));
    assert_eq!(register(at, "103", second), "200");

    let all: Vec<Child> =
        (200..208).map(|n| folder.command(&["add", &n.to_string()]).spawn().unwrap()).collect();
    let said: Vec<Output> = all.into_iter().map(|child| child.wait_with_output().unwrap()).collect();
    for (n, said) in (200..208).zip(said) {
        let said = String::from_utf8(said.stdout).unwrap();
        assert_eq!(register(at, &n.to_string(), printed(&said, "password ")), "200", "{said}");
    }
    folder.done(&["remove", "103"]);
    assert_eq!(register(at, "103", second), "401");
}

#[test]
fn a_new_configuration_is_written_once_and_shown() {
    let folder = Folder::new();
    let (path, lines) = (folder.0.join("new/denwa.conf"), folder.0.join("lines"));
    let at = path.to_str().unwrap();
    fs::write(&lines, "# mine\r\next.7 = random\next.8=random\next.8.name = random\nadvertise = 192.0.2.9\n")
        .unwrap();
    let with = |path: &str| folder.run(&["init", "--config", path, "--with", "lines"]);

    let said = String::from_utf8(with(at).stdout).unwrap();
    assert!(said.contains("new/denwa.conf is written, with 2 extensions."), "{said}");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let config = Config::load(&path).unwrap();
    let [seven, eight] = ["7", "8"].map(|number| config.extensions[number].password.reveal().to_owned());
    assert!(seven.len() == 20 && eight.len() == 20 && seven != eight && !said.contains(&seven));
    assert_eq!(
        fs::read_to_string(&path).unwrap(),
        fs::read_to_string(&lines).unwrap().replacen("random", &seven, 1).replacen("random", &eight, 1)
    );

    let before = fs::read(&path).unwrap();
    let again = with(at);
    assert_eq!(again.status.code(), Some(1));
    assert!(String::from_utf8(again.stderr).unwrap().contains("is there already, and stays as it is"));
    assert_eq!(fs::read(&path).unwrap(), before);

    let shown = folder.done(&["settings", "--config", at]);
    assert_eq!(shown.matches("password").count(), 2);
    assert!(shown.contains(&seven) && shown.contains(&eight) && shown.contains("192.0.2.9"), "{shown}");
    let one = folder.done(&["settings", "--config", at, "8", "--qr"]);
    assert!(!one.contains(&seven) && one.contains(&eight) && one.contains('█'), "{one}");
    assert!(folder.refused(&["settings", "--config", at, "9"]).contains("no extension 9"));

    // None of it is written where there is a mistake, and all are told.
    fs::write(&lines, "ext.7 = random\nekho = 1\nlogg = x\n").unwrap();
    let wrong = String::from_utf8(with("other.conf").stderr).unwrap();
    assert!(wrong.contains("lines:2: ekho") && wrong.contains("lines:3: logg"), "{wrong}");
    assert!(!folder.0.join("other.conf").exists());
    assert!(
        folder.refused(&["init", "--config", "a/b/denwa.conf"]).contains("the folder a/b cannot be made")
    );
    assert!(
        folder.refused(&["init", "--config", "x.conf", "--with", "none"]).contains("none cannot be read")
    );
}

#[test]
fn lines_come_by_standard_input_too() {
    let folder = Folder::new();
    let mut command = folder.command(&["init", "--config", "denwa.conf", "--with", "-"]);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"ext.7 = random\n").unwrap();
    assert!(child.wait().unwrap().success());
    assert!(Config::load(&folder.config()).unwrap().extensions.contains_key("7"));

    let folder = Folder::new();
    assert!(folder.done(&["init", "--config", "denwa.conf"]).contains("with 2 extensions"));
    assert_eq!(Config::load(&folder.config()).unwrap().extensions.len(), 2);
}
