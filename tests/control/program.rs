//! The real program, and its commands.

use std::fs;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::folder::Folder;
use crate::phone::PASSWORD;
use crate::said::Said;

pub(crate) const SOON: Duration = Duration::from_secs(5);

/// A port of 127.0.0.1 that is free for UDP and TCP, and no other test's.
fn free_port() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 20_100 + (std::process::id() % 40) as u16 * 100;
    loop {
        let at = SocketAddr::from(([127, 0, 0, 1], first + NEXT.fetch_add(1, Ordering::Relaxed)));
        if UdpSocket::bind(at).is_ok() && TcpListener::bind(at).is_ok() {
            return at;
        }
    }
}

/// A running program on a folder of its own: the keeper, and by it the exchange.
pub(crate) struct Program {
    keeper: Child,
    said: Said,
    command: Command,
    pub(crate) at: SocketAddr,
    pub(crate) folder: Folder,
}

impl Program {
    /// With extensions 101 to 103, an echo test at 114, and these lines.
    pub(crate) fn start(more: &str) -> Program {
        Program::start_by(None, more)
    }

    /// The same by a script of the shell, to which program and configuration are given.
    pub(crate) fn start_by(shell: Option<&str>, more: &str) -> Program {
        let (folder, at) = (Folder::new(), free_port());
        let state = folder.0.join("state");
        // No test is about how much strangers may send, unless it says so.
        let text = format!(
            "ext.101 = {PASSWORD}\next.101.name = Kitchen\next.102 = {PASSWORD}\next.103 = {PASSWORD}\n\
             echo = 114\nlisten = udp:{at} tcp:{at}\nrate.stranger = 5000/s\nrate.strangers = 5000/s\n\
             media-ports = {first}-{last}\nstate = {state}\n{more}\n",
            first = 4_000 + at.port() % 200 * 40,
            last = 4_000 + at.port() % 200 * 40 + 39,
            state = state.display(),
        );
        fs::write(folder.0.join("denwa.conf"), text).unwrap();
        let (denwa, config) = (env!("CARGO_BIN_EXE_denwa"), folder.0.join("denwa.conf"));
        let mut command = Command::new(shell.map_or(denwa, |_| "sh"));
        match shell {
            Some(script) => command.args(["-c", script, denwa]).arg(config),
            None => command.arg("run").arg("--config").arg(config),
        };
        let (keeper, said) = Said::by(&mut command);
        let program = Program { keeper, said, command, at, folder };
        program.expect("runs");
        program
    }

    /// Starts it once more, after [`Program::stop`].
    pub(crate) fn start_again(&mut self) {
        (self.keeper, self.said) = Said::by(&mut self.command);
        self.expect("runs");
    }

    /// Waits for a line of the log that contains `part`.
    pub(crate) fn expect(&self, part: &str) -> String {
        self.said.expect(part, 4 * SOON)
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.folder.0.join("state")
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.state().join("control")
    }

    pub(crate) fn keeper_pid(&self) -> u32 {
        self.keeper.id()
    }

    /// The process that serves.
    pub(crate) fn exchange(&self) -> Pid {
        let path = format!("/proc/{0}/task/{0}/children", self.keeper.id());
        Pid::from_raw(fs::read_to_string(path).unwrap().trim().parse().unwrap()).unwrap()
    }

    /// Kills the process that serves, and does not wait for the next.
    pub(crate) fn crash(&self) {
        kill_process(self.exchange(), Signal::KILL).unwrap();
    }

    /// How much memory of its own the process that serves has, in kB.
    pub(crate) fn memory(&self) -> u64 {
        let path = format!("/proc/{}/status", self.exchange().as_raw_pid());
        let status = fs::read_to_string(path).unwrap();
        let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// A command of the operator's, to be run.
    pub(crate) fn command(&self, words: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_denwa"));
        command.args(words.split_whitespace()).arg("--config").arg(self.folder.0.join("denwa.conf"));
        command.stdin(Stdio::null());
        command
    }

    /// What a command does.
    pub(crate) fn run(&self, words: &str) -> Output {
        self.command(words).output().unwrap()
    }

    /// What a command says that has to succeed.
    pub(crate) fn says(&self, words: &str) -> String {
        let output = self.run(words);
        assert_eq!(output.status.code(), Some(0), "{words}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// The same of a command that says JSON.
    pub(crate) fn json(&self, words: &str) -> Value {
        serde_json::from_str(&self.says(&format!("{words} --json"))).unwrap()
    }

    /// What a command complains of that has to fail, and with which status.
    pub(crate) fn fails(&self, words: &str) -> (i32, String) {
        let output = self.run(words);
        assert!(output.stdout.is_empty(), "{words}: {output:?}");
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    }

    /// Stops it, and leaves the folder.
    pub(crate) fn stop(&mut self) {
        kill_process(Pid::from_child(&self.keeper), Signal::TERM).unwrap();
        self.keeper.wait().unwrap();
    }
}

impl Drop for Program {
    /// The exchange goes with its keeper.
    fn drop(&mut self) {
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
    }
}
