//! A running program: typed to, listened to, and gone at the end of its scenario.

use std::cell::Cell;
use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::Scene;

/// How long a program has to say what it is expected to say.
const PATIENCE: Duration = Duration::from_secs(15);
const POLL: Duration = Duration::from_millis(10);

/// A program whose output goes to `NAME.log` in the scene. It is killed when dropped, and its children are gone then.
pub struct Program {
    name: String,
    child: Child,
    log: PathBuf,
    /// How much of the log `expect` has gone through.
    read: Cell<usize>,
}

impl Program {
    /// Starts `command`.
    pub fn start(scene: &Scene, name: &str, mut command: Command) -> Program {
        let log = scene.path(format!("{name}.log"));
        let out = File::create(&log).unwrap();
        let child = command
            .stdin(Stdio::piped())
            .stdout(out.try_clone().unwrap())
            .stderr(out)
            .spawn()
            .unwrap_or_else(|e| panic!("cannot start {:?}: {e}", command.get_program()));
        Program { name: name.to_owned(), child, log, read: Cell::new(0) }
    }

    /// What its log is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The processes that it has started and that are there.
    pub fn children(&self) -> Vec<u32> {
        let pid = self.pid();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        children.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
    }

    /// Types a line.
    pub fn say(&mut self, line: &str) {
        let stdin = self.child.stdin.as_mut().unwrap();
        writeln!(stdin, "{line}").unwrap_or_else(|e| panic!("{} is gone: {e}", self.name));
    }

    /// Waits for `text` in what the program has written since the last text that was expected of
    /// it, and returns the rest of that line.
    pub fn expect(&self, text: &str) -> String {
        self.wait(text, PATIENCE)
            .unwrap_or_else(|| panic!("{} did not say {text:?} in {PATIENCE:?}", self.name))
    }

    /// Like [`Program::expect`], but it is an error if the text comes within `time`.
    pub fn expect_not(&self, text: &str, time: Duration) {
        if self.wait(text, time).is_some() {
            panic!("{} said {text:?}", self.name);
        }
    }

    fn wait(&self, text: &str, time: Duration) -> Option<String> {
        let end = Instant::now() + time;
        loop {
            let output = self.output();
            let new = output.get(self.read.get()..).unwrap_or_default();
            if let Some(at) = new.find(text) {
                let rest = &new[at + text.len()..];
                self.read.set(self.read.get() + at + text.len());
                return Some(rest.lines().next().unwrap_or_default().to_owned());
            }
            if Instant::now() > end {
                return None;
            }
            sleep(POLL);
        }
    }

    /// All that the program has written so far.
    pub fn output(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// The last line written so far that contains `text`, from there on.
    pub fn last(&self, text: &str) -> Option<String> {
        let output = self.output();
        let line = output.lines().rfind(|line| line.contains(text))?;
        line.find(text).map(|at| line[at + text.len()..].to_owned())
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).unwrap_or_else(|e| panic!("{} is gone: {e}", self.name));
    }

    /// Waits for the program to end by itself.
    pub fn ends_within(&mut self, time: Duration) -> ExitStatus {
        let end = Instant::now() + time;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < end, "{} did not end within {time:?}", self.name);
            sleep(POLL);
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let children = self.children();
        let _ = self.child.kill();
        let _ = self.child.wait();
        // They end by themselves soon after it, and have its ports until then.
        let end = Instant::now() + PATIENCE;
        while children.iter().any(|&pid| is_alive(pid)) && Instant::now() < end {
            sleep(POLL);
        }
    }
}

/// Whether a process is there, and not only what nobody has asked after yet (proc_pid_stat(5)).
fn is_alive(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(['Z', 'X']))
}

/// Waits until `condition` holds.
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < end, "not within {PATIENCE:?}: {what}");
        sleep(POLL);
    }
}
