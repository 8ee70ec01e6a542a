//! Kamailio: a proxy between exchanges, as providers and larger networks have them.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::{Program, Scene, ports};

/// A running proxy on loopback. It is gone when this is dropped.
pub struct Kamailio {
    pub program: Program,
    /// Where it serves UDP, and where TCP.
    pub left: u16,
    pub right: u16,
}

impl Kamailio {
    /// Starts `tests/interop/kamailio.cfg`, in which each `@WORD@` is replaced.
    pub fn start(scene: &Scene, words: &[(&str, &str)]) -> Kamailio {
        let (left, right) = (ports::take(1), ports::take(1));
        let template = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop/kamailio.cfg");
        let mut text = fs::read_to_string(template).unwrap();
        let own = [("LEFT", left.to_string()), ("RIGHT", right.to_string())];
        let own = own.iter().map(|(word, value)| (*word, value.as_str()));
        for (word, value) in words.iter().copied().chain(own) {
            text = text.replace(&format!("@{word}@"), value);
        }
        let config = scene.write("kamailio.conf", &text);
        let mut command = Command::new("kamailio");
        // In the foreground, its log on standard error; little memory, and its sockets where nobody else's are.
        command.args(["-DD", "-E", "-m", "16", "-M", "4", "-w"]).arg(scene.path(""));
        command.arg("-Y").arg(scene.path("")).arg("-f").arg(config);
        let program = Program::start(scene, "kamailio", command);
        ports::wait_until_taken(left);
        ports::wait_until_taken(right);
        Kamailio { program, left, right }
    }

    /// It has refused nothing.
    pub fn liked_everything(&self) {
        let output = self.program.output();
        let refused = output.find("REFUSED").map(|at| &output[at..]);
        assert!(refused.is_none(), "Kamailio {}", refused.unwrap_or_default());
    }
}

impl Drop for Kamailio {
    fn drop(&mut self) {
        // Its children end with it only if it is asked to, and may take a moment.
        self.program.signal(rustix::process::Signal::TERM);
        let end = Instant::now() + Duration::from_secs(5);
        while !(ports::is_free(self.left) && ports::is_free(self.right)) && Instant::now() < end {
            sleep(Duration::from_millis(10));
        }
    }
}
