//! The exchange under test.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};

use super::{Family, Machine, Program, Scene, ports, wait_until};

/// The domain of every exchange here. It is in no DNS: phones use the address as outbound proxy.
pub const DOMAIN: &str = "denwa.test";

/// What guards an exchange from strangers by default. Without these lines the exchanges here have no
/// budgets: all that a scenario sends comes from the one address of loopback, and is meant to be read.
pub const GUARDED: &str = "rate.stranger = 10/s\nrate.strangers = 500/s\nrate.phone = 500/s";

/// A running exchange that serves UDP and TCP on one port of every address, and TLS on another, if the settings say
/// `tls:PORT`.
pub struct Denwa {
    pub program: Program,
    pub port: u16,
    pub tls: u16,
}

impl Denwa {
    /// Starts it. `settings` are the lines that matter to the scenario; what they leave out of
    /// domain, ports, state folder and log is added.
    pub fn start(scene: &Scene, settings: &str) -> Denwa {
        Denwa::start_at(scene, ports::take(1), settings)
    }

    /// Starts it on this port, which others know already.
    pub fn start_at(scene: &Scene, port: u16, settings: &str) -> Denwa {
        Denwa::start_by(Command::new(binary()), scene, port, settings)
    }

    /// Starts it on a machine of its own.
    pub fn start_on(machine: &Machine, scene: &Scene, settings: &str) -> Denwa {
        Denwa::start_by(machine.command(binary()), scene, ports::take(1), settings)
    }

    fn start_by(mut command: Command, scene: &Scene, port: u16, settings: &str) -> Denwa {
        let media = ports::take(100).next_multiple_of(2);
        let tls = ports::take(1);
        let mut text = settings.replace("tls:PORT", &format!("tls:{tls}"));
        for (key, value) in [
            ("domain", DOMAIN.to_owned()),
            ("listen", format!("udp:{port} tcp:{port}")),
            ("media-ports", format!("{media}-{}", media + 97)),
            ("state", scene.path("state").display().to_string()),
            ("log", "debug".to_owned()),
            ("rate.stranger", "1000000/s".to_owned()),
            ("rate.strangers", "1000000/s".to_owned()),
            ("rate.phone", "1000000/s".to_owned()),
        ] {
            if !settings.lines().any(|line| line.starts_with(&format!("{key} "))) {
                text.push_str(&format!("\n{key} = {value}"));
            }
        }
        let config = scene.write("denwa.conf", &format!("{text}\n"));
        command.arg("run").arg("--config").arg(config);
        let program = Program::start(scene, "denwa", command);
        program.expect(READY);
        Denwa { program, port, tls }
    }

    /// Starts it without a configuration in an empty folder, as newcomers do. It listens on 5060.
    pub fn first_run(machine: &Machine, scene: &Scene) -> Denwa {
        let folder = scene.path("home");
        std::fs::create_dir(&folder).unwrap();
        let mut command = machine.command(binary());
        command.current_dir(folder);
        let program = Program::start(scene, "denwa", command);
        Denwa { program, port: 5060, tls: 5061 }
    }

    /// How much memory both of its processes have in KiB. What they share counts twice.
    pub fn resident_kib(&self) -> u64 {
        [self.program.pid(), self.exchange()].into_iter().map(resident_kib).sum()
    }

    /// The process that serves; waits until one that it took over from is gone.
    pub fn exchange(&self) -> u32 {
        wait_until("the keeper has one child", || self.program.children().len() == 1);
        self.program.children()[0]
    }

    /// Kills the process that serves; the next one serves by then.
    pub fn crash(&self) {
        let exchange = Pid::from_raw(self.exchange() as i32).unwrap();
        kill_process(exchange, Signal::KILL).unwrap();
        self.program.expect("it is started again");
        self.program.expect(READY);
    }

    /// Runs one of its commands, which has to do it; what it prints.
    pub fn command(&self, scene: &Scene, words: &[&str]) -> String {
        let mut command = Command::new(binary());
        let output = command.args(words).arg("--config").arg(scene.path("denwa.conf")).output().unwrap();
        assert!(output.status.success(), "{words:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// It goes on with more lines in its configuration.
    pub fn add(&self, scene: &Scene, lines: &str) {
        let config = scene.read("denwa.conf");
        scene.write("denwa.conf", &format!("{config}{lines}\n"));
        self.command(scene, &["reload"]);
    }

    /// The fingerprint of the certificate that it shows to those who come by TLS.
    pub fn fingerprint(&self, scene: &Scene) -> String {
        let status = self.command(scene, &["status", "--json"]);
        let rest = status.split("\"sha256_fingerprint\": \"").nth(1);
        rest.and_then(|rest| rest.split('"').next()).unwrap_or_else(|| panic!("{status}")).to_owned()
    }

    /// Where a phone of that family finds it.
    pub fn address(&self, family: Family) -> SocketAddr {
        (family.loopback(), self.port).into()
    }
}

fn resident_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// What it logs once it serves.
const READY: &str = "SIP on ";

/// The binary under test.
pub fn binary() -> PathBuf {
    std::env::var_os("DENWA_BINARY").map_or_else(|| env!("CARGO_BIN_EXE_denwa").into(), PathBuf::from)
}

/// An address as it stands in a URI.
pub fn in_uri(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    }
}
