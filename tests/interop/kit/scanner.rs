//! SIPVicious: what most of those run who scan the Internet for exchanges.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use super::{Denwa, Machine, Program, Scene};

/// A scan of a hundred extensions takes seconds; one of a whole network, too.
const LONGEST: Duration = Duration::from_secs(90);

/// A machine that scans.
pub struct Scanner<'a> {
    machine: &'a Machine,
    target: IpAddr,
    port: u16,
    runs: u32,
}

impl<'a> Scanner<'a> {
    /// On this machine, for an exchange at that address.
    pub fn new(machine: &'a Machine, target: IpAddr, denwa: &Denwa) -> Scanner<'a> {
        Scanner { machine, target, port: denwa.port, runs: 0 }
    }

    /// `svmap`: is there an exchange among these addresses? Returns what it says.
    pub fn map(&mut self, scene: &Scene, hosts: &str, more: &[&str]) -> String {
        self.run(scene, "svmap", &[&["-p", &self.port.to_string(), "-t", "0.02"], more, &[hosts]].concat())
    }

    /// `svwar`: which extensions does it have? Returns what it says.
    pub fn war(&mut self, scene: &Scene, extensions: &str, more: &[&str]) -> String {
        let options = ["-t", "0.005", "-e", extensions, "--maximumtime=3"];
        self.run(scene, "svwar", &[&options, more, &[&self.target()]].concat())
    }

    /// `svcrack`: which of these passwords is that of an extension? Returns what it says.
    pub fn crack(&mut self, scene: &Scene, extension: &str, passwords: &[String], more: &[&str]) -> String {
        let list = scene.write(&format!("passwords-{}.txt", self.runs), &(passwords.join("\n") + "\n"));
        let list = list.to_str().unwrap();
        let options = ["-t", "0.005", "-u", extension, "-d", list, "--maximumtime=3"];
        self.run(scene, "svcrack", &[&options, more, &[&self.target()]].concat())
    }

    fn target(&self) -> String {
        format!("udp://{}:{}", self.target, self.port)
    }

    fn run(&mut self, scene: &Scene, tool: &str, options: &[&str]) -> String {
        self.runs += 1;
        let mut command = self.machine.command(tool);
        // It keeps sessions in its home.
        command.args(options).env("HOME", scene.path("scanner"));
        std::fs::create_dir_all(scene.path("scanner")).unwrap();
        let mut program = Program::start(scene, &format!("{tool}-{}", self.runs), command);
        program.ends_within(LONGEST);
        program.output()
    }
}

/// The first column of the table that a tool prints of what it has found; empty if it found nothing.
pub fn found(output: &str) -> BTreeSet<String> {
    let rows = output.lines().filter(|line| line.starts_with(['|', '│']));
    let first = |row: &str| row.split(['|', '│']).nth(1).map(|cell| cell.trim().to_owned());
    // The first row has the columns' names.
    let found: BTreeSet<String> = rows.filter_map(first).skip(1).filter(|cell| !cell.is_empty()).collect();
    assert_eq!(found.is_empty(), output.contains("found nothing"), "{output}");
    found
}
