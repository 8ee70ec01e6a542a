//! A name server: dnsmasq, which knows what it is told and nothing else.

use std::fs;
use std::process::Command;

use super::{Machine, Program, Scene, ports};

/// Where `/etc/resolv.conf` says that names are asked for, in the network of these scenarios (`scripts/test`).
const AT: &str = "127.0.0.1";

const DNSMASQ: &str = "/usr/sbin/dnsmasq";

/// Where that is said.
const FILE: &str = "/etc/resolv.conf";

/// A running name server. It is gone when this is dropped.
pub struct Names {
    _dnsmasq: Program,
}

impl Names {
    /// Whether names are asked for here. Where they are asked for elsewhere, scenarios with names say so and are passed
    /// over.
    pub fn are_here() -> bool {
        let config = fs::read_to_string(FILE).unwrap_or_default();
        let are_here = config.trim() == format!("nameserver {AT}");
        if !are_here {
            eprintln!("passed over: {FILE} is not of scripts/test's network");
        }
        are_here
    }

    /// Starts one that knows these records, each an option of dnsmasq. There is no other name under `test`.
    pub fn start(scene: &Scene, records: &[String]) -> Names {
        let names = Names::start_by(Command::new(DNSMASQ), scene, records);
        ports::wait_until_taken(53);
        names
    }

    /// One on a machine of its own.
    pub fn start_on(machine: &Machine, scene: &Scene, records: &[String]) -> Names {
        let names = Names::start_by(machine.command(DNSMASQ), scene, records);
        machine.enter(|| ports::wait_until_taken(53));
        names
    }

    fn start_by(mut command: Command, scene: &Scene, records: &[String]) -> Names {
        command
            .args(["--no-daemon", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--log-queries"])
            .args(["--user=", "--pid-file=", "--bind-interfaces", "--local=/test/", "--local-ttl=1"])
            .arg(format!("--listen-address={AT}"))
            .args(records);
        Names { _dnsmasq: Program::start(scene, "names", command) }
    }
}

/// As long as this is there, whoever starts asks for names where nobody is.
pub struct Nameless(String);

impl Nameless {
    pub fn new() -> Nameless {
        let before = fs::read_to_string(FILE).unwrap();
        fs::write(FILE, "nameserver 192.0.2.99\n").unwrap();
        Nameless(before)
    }
}

impl Drop for Nameless {
    fn drop(&mut self) {
        fs::write(FILE, &self.0).unwrap();
    }
}
