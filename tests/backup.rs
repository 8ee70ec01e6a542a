//! `denwa backup` and `denwa restore`: the real program keeps configuration and state, and brings them back or
//! changes nothing.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod folder;

use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use denwa::config::Config;
use denwa::journal::backup::{Backup, replay};
use denwa::journal::{Journal, Lock, Record, Secret, State};
use denwa::time::Instant;
use denwa::tls::{self, OWN};
use rustix::process::geteuid;

use folder::Folder;

const WALL: u64 = 1_790_000_000_000;

impl Folder {
    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    /// What the journal comes to.
    fn state(&self) -> State {
        replay(&self.read("state/journal")).unwrap().1
    }

    /// A configuration of two extensions, and a state folder beside it.
    fn configure(&self) {
        let state = self.path("state");
        fs::create_dir_all(&state).unwrap();
        let text = format!("ext.101 = a-long-password\next.102 = x\nstate = {}\n", state.display());
        fs::write(self.path("denwa.conf"), text).unwrap();
    }

    /// What an exchange would do.
    fn open_journal(&self) -> Journal {
        let opened = Journal::open(&self.path("state"), 4_711, Duration::from_secs(1), WALL).unwrap();
        let mut journal = opened.journal;
        journal.add(&Record::Secret(Secret([7; 32])));
        assert!(journal.turn(Instant(0), |_| {}).is_none());
        journal
    }

    /// What an exchange that speaks TLS would do: the fingerprint of the certificate that it makes, or has made.
    fn certificate(&self) -> [u8; 32] {
        let config = Config::parse("test", b"ext.101 = x\nlisten = tls:5061\n").unwrap();
        let (identity, notice) = tls::identity(&config, None, Some(&self.path("state"))).unwrap();
        assert_eq!(notice, None);
        identity.unwrap().about().fingerprint
    }

    /// Gives the folder up. A process that another test is about to start may have its lock for a moment still.
    fn close(&self, journal: Journal) {
        drop(journal);
        while Lock::hold(&self.path("state")).is_err() {
            thread::yield_now();
        }
    }

    fn run(&self, arguments: &[&str], input: &[u8]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_denwa"));
        command.args(arguments).current_dir(&self.0).stdin(Stdio::piped());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // It need not read what it does not want.
        let _ = child.stdin.take().unwrap().write_all(input);
        child.wait_with_output().unwrap()
    }

    /// What it prints when it does its work.
    fn done(&self, arguments: &[&str], input: &[u8]) -> Vec<u8> {
        let output = self.run(arguments, input);
        assert!(output.status.success() && output.stderr.is_empty(), "{arguments:?} {output:?}");
        output.stdout
    }

    /// What it says when it does not.
    fn refused(&self, arguments: &[&str], input: &[u8]) -> String {
        let output = self.run(arguments, input);
        assert_eq!((output.status.code(), &*output.stdout), (Some(1), &b""[..]), "{arguments:?}");
        String::from_utf8(output.stderr).unwrap()
    }
}

#[test]
fn what_was_backed_up_comes_back() {
    let folder = Folder::new();
    folder.configure();
    let journal = folder.open_journal();
    let said = folder.done(&["backup", "kept"], b"");
    assert!(
        String::from_utf8(said).unwrap().starts_with("kept holds denwa.conf with 2 extensions and 0 reg")
    );
    assert_eq!(fs::metadata(folder.path("kept")).unwrap().mode() & 0o777, 0o600);
    folder.close(journal);
    let (config, state) = (folder.read("denwa.conf"), folder.state());

    // Where nothing is, nothing is asked.
    fs::remove_file(folder.path("denwa.conf")).unwrap();
    fs::remove_dir_all(folder.path("state")).unwrap();
    let said = folder.done(&["restore", "kept", "--config", "denwa.conf"], b"");
    let said = String::from_utf8(said).unwrap();
    assert!(said.starts_with("denwa.conf is as it was on 20") && said.lines().count() == 1, "{said}");
    assert_eq!((folder.read("denwa.conf"), folder.state()), (config.clone(), state.clone()));

    // What is there is kept, if it is to go.
    fs::write(folder.path("denwa.conf"), "another one").unwrap();
    fs::set_permissions(folder.path("denwa.conf"), Permissions::from_mode(0o640)).unwrap();
    fs::write(folder.path("state/journal"), "another one").unwrap();
    let said = folder.refused(&["restore", "kept"], b"y\n");
    assert!(said.contains("denwa.conf and ") && said.contains("/state/journal would be replaced"), "{said}");
    assert!(said.ends_with("say --force. Nothing was changed.\n"), "{said}");
    assert_eq!(folder.read("denwa.conf"), b"another one");
    folder.done(&["restore", "kept", "--force"], b"");
    assert_eq!((folder.read("denwa.conf"), folder.state()), (config.clone(), state.clone()));
    for kept in ["denwa.conf.before-restore", "state/journal.before-restore"] {
        assert_eq!(folder.read(kept), b"another one");
    }
    assert_eq!(fs::metadata(folder.path("denwa.conf")).unwrap().mode() & 0o777, 0o640);

    // What is the same needs no question.
    folder.done(&["restore", "kept"], b"");
    assert_eq!((folder.read("denwa.conf"), folder.state()), (config, state));
    assert_eq!(folder.read("denwa.conf.before-restore"), b"another one");
}

#[test]
fn without_a_journal_there_is_none_afterwards() {
    let folder = Folder::new();
    folder.configure();
    let kept = folder.done(&["backup", "-"], b"");
    folder.close(folder.open_journal());
    assert!(folder.refused(&["restore", "-"], &kept).contains("would be replaced"));
    folder.done(&["restore", "-", "--force"], &kept);
    assert!(!folder.path("state/journal").exists());
    assert!(folder.path("state/journal.before-restore").exists());
}

#[test]
fn who_the_exchange_runs_as_can_use_what_is_restored() {
    if !geteuid().is_root() {
        return; // an ordinary user's files are that user's
    }
    let folder = Folder::new();
    folder.configure();
    folder.close(folder.open_journal());
    folder.done(&["backup", "kept"], b"");
    fs::remove_dir_all(folder.path("state")).unwrap();
    folder.done(&["restore", "kept"], b"");
    let of = |name: &str| fs::metadata(folder.path(name)).unwrap();
    let (state, journal) = (of("state"), of("state/journal"));
    assert_ne!(state.uid(), 0);
    assert_eq!((journal.uid(), journal.gid(), journal.mode() & 0o777), (state.uid(), state.gid(), 0o600));
}

#[test]
fn nothing_is_restored_under_an_exchange() {
    let folder = Folder::new();
    folder.configure();
    let kept = folder.done(&["backup", "-"], b"");
    let journal = folder.open_journal();
    let said = folder.refused(&["restore", "-", "--force"], &kept);
    assert!(said.contains("process 4711: stop it first. Nothing was changed."), "{said}");
    // Nor if it is the one of the configuration that would go.
    let other = Folder(folder.path("other"));
    fs::create_dir(&other.0).unwrap();
    other.configure();
    let kept = other.done(&["backup", "-"], b"");
    assert!(folder.refused(&["restore", "-", "--force"], &kept).contains("process 4711"));
    folder.close(journal);
    folder.done(&["restore", "-", "--force"], &kept);
}

#[test]
fn whatever_is_not_whole_is_refused() {
    let folder = Folder::new();
    folder.configure();
    folder.close(folder.open_journal());
    let kept = folder.done(&["backup", "-"], b"");
    fs::write(folder.path("denwa.conf"), "mine").unwrap();
    let journal = folder.read("state/journal");
    let refused = |octets: &[u8], why: &str| {
        let said = folder.refused(&["restore", "-", "--force"], octets);
        assert!(said.contains(why) && said.ends_with("Nothing was changed.\n"), "{why}: {said}");
    };
    for length in 0..kept.len() {
        refused(&kept[..length], "only the beginning of a backup");
    }
    for at in 0..kept.len() {
        let mut damaged = kept.clone();
        damaged[at] ^= 1 << (at % 8);
        refused(&damaged, if at < 8 { "is no backup of denwa" } else { "is damaged" });
    }
    refused(&[&kept[..], b"\n"].concat(), "is damaged");
    refused(&journal, "is no backup of denwa");
    refused(b"ext.101 = x\n", "is no backup of denwa");
    assert_eq!((folder.read("denwa.conf"), folder.read("state/journal")), (b"mine".to_vec(), journal));
    assert!(!folder.path("denwa.conf.before-restore").exists());
}

#[test]
fn a_backup_takes_no_other_files_place() {
    let folder = Folder::new();
    folder.configure();
    let config = folder.read("denwa.conf");
    for (to, why) in [
        ("denwa.conf", "which is no backup of denwa"),
        ("state", "it is no file"),
        ("/dev/null", "it is no file"),
        ("nowhere/kept", "No such file"),
    ] {
        let said = folder.refused(&["backup", to], b"");
        assert!(said.starts_with(&format!("{to} cannot be written: ")) && said.contains(why), "{said}");
    }
    assert_eq!(folder.read("denwa.conf"), config);
    // That of an older one it does.
    folder.done(&["backup", "kept"], b"");
    fs::set_permissions(folder.path("kept"), Permissions::from_mode(0o644)).unwrap();
    folder.close(folder.open_journal());
    folder.done(&["backup", "kept"], b"");
    assert_eq!(fs::metadata(folder.path("kept")).unwrap().mode() & 0o777, 0o600);
    folder.done(&["restore", "kept", "--force"], b"");

    fs::write(folder.path("state/journal"), "something else").unwrap();
    let kept = folder.read("kept");
    assert!(folder.refused(&["backup", "kept"], b"").contains("it is no journal of denwa"));
    assert_eq!(folder.read("kept"), kept);
}

#[test]
fn links_in_the_state_folder_lead_nowhere() {
    let folder = Folder::new();
    folder.configure();
    folder.close(folder.open_journal());
    folder.certificate();
    folder.done(&["backup", "kept"], b"");
    // The folder is another user's, who would like root to write what is not theirs.
    for name in ["journal", "journal.before-restore", "tls-own", "tls-own.before-restore"] {
        let _ = fs::remove_file(folder.path("state").join(name));
        fs::write(folder.path(name), "precious").unwrap();
        symlink(folder.path(name), folder.path("state").join(name)).unwrap();
    }
    folder.done(&["restore", "kept", "--force"], b"");
    for name in ["journal", "journal.before-restore", "tls-own", "tls-own.before-restore"] {
        assert_eq!(folder.read(name), b"precious");
    }
    for name in ["state/journal", "state/tls-own"] {
        assert!(!folder.path(name).is_symlink());
    }

    fs::remove_file(folder.path("state/lock")).unwrap();
    symlink(folder.path("journal"), folder.path("state/lock")).unwrap();
    assert!(folder.refused(&["restore", "kept", "--force"], b"").contains("cannot be seen by this user"));
}

#[test]
fn friends_and_phones_know_the_exchange_by_its_certificate_elsewhere_too() {
    let folder = Folder::new();
    folder.configure();
    let fingerprint = folder.certificate();
    let own = format!("state/{OWN}");
    let file = folder.read(&own);
    let said = String::from_utf8(folder.done(&["backup", "kept"], b"")).unwrap();
    assert!(said.contains("2 extensions, and no journal, and the certificate for TLS; "), "{said}");
    assert_eq!(fs::metadata(folder.path("kept")).unwrap().mode() & 0o777, 0o600);

    // On a machine where nothing is.
    fs::remove_dir_all(folder.path("state")).unwrap();
    let said = String::from_utf8(folder.done(&["restore", "kept"], b"")).unwrap();
    assert!(said.contains("and the certificate for TLS.\n") && said.lines().count() == 1, "{said}");
    let (there, state) =
        (fs::metadata(folder.path(&own)).unwrap(), fs::metadata(folder.path("state")).unwrap());
    assert_eq!((there.mode() & 0o777, there.uid(), there.gid()), (0o600, state.uid(), state.gid()));
    assert_eq!((folder.certificate(), folder.read(&own)), (fingerprint, file.clone()));

    // One where an exchange has made another one by now.
    fs::remove_file(folder.path(&own)).unwrap();
    assert_ne!(folder.certificate(), fingerprint);
    let other = folder.read(&own);
    let said = folder.refused(&["restore", "kept"], b"");
    assert!(
        said.contains("/state/tls-own would be replaced") && said.ends_with("Nothing was changed.\n"),
        "{said}"
    );
    assert_eq!(folder.read(&own), other);
    folder.done(&["restore", "kept", "--force"], b"");
    // The same once more needs no question, and only sees to who may read it.
    fs::set_permissions(folder.path(&own), Permissions::from_mode(0o644)).unwrap();
    folder.done(&["restore", "kept"], b"");
    assert_eq!((folder.certificate(), folder.read(&own)), (fingerprint, file));
    let aside = format!("{own}.before-restore");
    assert_eq!(folder.read(&aside), other);
    for secret in [own, aside] {
        assert_eq!(fs::metadata(folder.path(&secret)).unwrap().mode() & 0o777, 0o600, "{secret}");
    }
}

#[test]
fn a_backup_without_a_certificate_leaves_the_one_that_is_there() {
    let folder = Folder::new();
    folder.configure();
    folder.close(folder.open_journal());
    folder.done(&["backup", "kept"], b"");
    let fingerprint = folder.certificate();
    let said = String::from_utf8(folder.done(&["restore", "kept", "--force"], b"")).unwrap();
    assert!(said.contains("with 2 extensions and 0 registrations.\n"), "{said}");
    assert_eq!(folder.certificate(), fingerprint);
    assert!(!folder.path("state/tls-own.before-restore").exists());
}

#[test]
fn what_is_no_certificate_is_neither_kept_nor_brought_back() {
    let folder = Folder::new();
    folder.configure();
    let fingerprint = folder.certificate();
    let own = folder.path("state").join(OWN);
    let file = fs::read(&own).unwrap();
    let mut damaged = file.clone();
    // Amid the key, which is the last.
    let at = file.len() - 80;
    damaged[at..at + 20].fill(0xff);
    let wrong: [&[u8]; 4] = [b"", b"root:x:0:0:root:/root:/bin/sh\n", &file[..file.len() / 2], &damaged];
    folder.done(&["backup", "kept"], b"");
    let kept = folder.read("kept");
    for wrong in wrong {
        fs::write(&own, wrong).unwrap();
        let said = folder.refused(&["backup", "kept"], b"");
        assert!(
            said.contains("/state/tls-own, the certificate for TLS, cannot be used: it is damaged"),
            "{said}"
        );
        assert_eq!(folder.read("kept"), kept);
        let mut backup = Backup::read(&kept).unwrap();
        backup.tls = Some(wrong.into());
        let said = folder.refused(&["restore", "-", "--force"], &backup.write());
        assert!(
            said.contains("the certificate for TLS in standard input cannot be used: it is damaged"),
            "{said}"
        );
        assert!(said.ends_with("Nothing was changed.\n"), "{said}");
        assert_eq!(fs::read(&own).unwrap(), wrong);
    }
    // A good one mends that.
    folder.done(&["restore", "kept", "--force"], b"");
    assert_eq!(folder.certificate(), fingerprint);
}
