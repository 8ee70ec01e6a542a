//! SIPp: a telephone line that plays a scenario from `tests/interop/sipp/` to the letter.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::{DOMAIN, Denwa, Family, Program, Scene, Transport, ports};

/// Scenarios take a second or two; some wait for a forward.
const LONGEST: Duration = Duration::from_secs(20);

/// The line of an extension. Its address stays the same from scenario to scenario.
pub struct Line {
    number: String,
    password: String,
    family: Family,
    transport: Transport,
    port: u16,
}

impl Line {
    /// A line on IPv4 over UDP.
    pub fn new(number: &str, password: &str) -> Line {
        Line {
            number: number.to_owned(),
            password: password.to_owned(),
            family: Family::V4,
            transport: Transport::Udp,
            port: ports::take(1),
        }
    }

    /// Its address family.
    pub fn on(self, family: Family) -> Line {
        Line { family, ..self }
    }

    /// Its transport. A line over TCP cannot be called: the connection ends with the scenario.
    pub fn over(self, transport: Transport) -> Line {
        Line { transport, ..self }
    }

    /// Registers for ten minutes.
    pub fn register(&self, scene: &Scene, denwa: &Denwa) {
        let words = [("STATUS", "200"), ("EXPIRES", "600")];
        self.play("register", &words).start(scene, denwa).succeeds();
    }

    /// The scenario `NAME.xml`, in which each `@WORD@` is replaced.
    pub fn play<'a>(&'a self, name: &'a str, words: &'a [(&'a str, &'a str)]) -> Play<'a> {
        Play { line: self, name, words, number: "", calls: 1, rate: 1 }
    }

    /// The same, calling `number`.
    pub fn call<'a>(&'a self, number: &'a str, name: &'a str) -> Play<'a> {
        Play { number, ..self.play(name, &[]) }
    }
}

/// A scenario about to be played.
pub struct Play<'a> {
    line: &'a Line,
    name: &'a str,
    words: &'a [(&'a str, &'a str)],
    number: &'a str,
    calls: u32,
    rate: u32,
}

impl Play<'_> {
    /// Replaces words in the scenario.
    pub fn with<'b>(self, words: &'b [(&'b str, &'b str)]) -> Play<'b>
    where
        Self: 'b,
    {
        Play { words, ..self }
    }

    /// Plays it this often, so many times a second.
    pub fn times(self, calls: u32, rate: u32) -> Self {
        Play { calls, rate, ..self }
    }

    /// Starts SIPp. A callee's scenario is ready for the call when this returns.
    pub fn start(self, scene: &Scene, denwa: &Denwa) -> Running {
        let Play { line, name, .. } = self;
        let id = format!("line-{}-{name}", line.number);
        let file = scene.write(&format!("{id}.xml"), &scenario(name, self.words));
        let ip = line.family.loopback().to_string();

        let mut sipp = Command::new("sipp");
        sipp.arg(denwa.address(line.family).to_string())
            .arg("-sf")
            .arg(file)
            .args(["-i", &ip, "-p", &line.port.to_string()])
            .args(["-mi", &ip, "-mp", &ports::take(8).to_string()])
            .args(["-t", if line.transport == Transport::Udp { "u1" } else { "t1" }])
            .args(["-key", "user", &line.number, "-s", self.number])
            .args(["-au", &line.number, "-ap", &line.password, "-auth_uri", DOMAIN])
            .args(["-m", &self.calls.to_string(), "-r", &self.rate.to_string()])
            .args(["-timeout", &format!("{}s", LONGEST.as_secs()), "-timeout_error", "-nostdin"])
            .arg("-trace_msg")
            .arg("-message_file")
            .arg(scene.path(format!("{id}-messages.log")))
            .arg("-trace_err")
            .arg("-error_file")
            .arg(scene.path(format!("{id}-errors.log")));
        let running = Running { program: Program::start(scene, &id, sipp) };
        if name.starts_with("callee") {
            ports::wait_until_taken(line.port);
        }
        running
    }
}

/// The text of the scenario `NAME.xml`, in which each `@WORD@` is replaced.
pub(super) fn scenario(name: &str, words: &[(&str, &str)]) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop/sipp");
    let read = |name: &str| {
        let path = folder.join(name).with_extension("xml");
        fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    };
    let mut text = read(name);
    while let Some((before, rest)) = text.split_once("<!-- include ") {
        let (part, after) = rest.split_once(" -->").unwrap();
        text = format!("{before}{}{after}", read(&format!("parts/{part}")));
    }
    for (word, value) in words.iter().chain(&[("TALK", "100")]) {
        text = text.replace(&format!("@{word}@"), value);
    }
    text
}

/// A scenario that is being played.
pub struct Running {
    pub program: Program,
}

impl Running {
    /// Waits until it has gone as it is written.
    pub fn succeeds(mut self) {
        let status = self.program.ends_within(LONGEST + Duration::from_secs(5));
        assert!(status.success(), "{self}: {status}");
    }
}

impl std::fmt::Display for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SIPp, {}", self.program.name())
    }
}
