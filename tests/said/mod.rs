//! A program that a test starts, and what it says on standard error.

#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

/// The lines of a program's standard error that nobody has waited for yet.
pub(crate) struct Said(pub(crate) Receiver<String>);

impl Said {
    /// Starts a program, and hears what it says.
    pub(crate) fn by(command: &mut Command) -> (Child, Said) {
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (sender, said) = mpsc::channel();
        thread::spawn(move || stderr.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        (child, Said(said))
    }

    /// Waits for a line that contains `part`, no longer than `time`.
    pub(crate) fn expect(&self, part: &str, time: Duration) -> String {
        let until = Instant::now() + time;
        let mut before = Vec::new();
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let line = self.0.recv_timeout(left);
            let line = line.unwrap_or_else(|_| panic!("it does not say {part:?}, but {before:#?}"));
            if line.contains(part) {
                return line;
            }
            before.push(line);
        }
    }
}
