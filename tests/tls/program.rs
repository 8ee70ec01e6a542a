//! The program, as its owner has it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::folder::Folder;

pub(crate) const PASSWORD: &str = "a-long-password";

/// Longer than it takes until a renewed certificate is seen.
const SOON: Duration = Duration::from_secs(25);

/// The program.
fn binary() -> String {
    std::env::var("DENWA_BINARY").unwrap_or_else(|_| env!("CARGO_BIN_EXE_denwa").to_owned())
}

/// Runs a command to its end, at most 5 s; whether it is done, and what it says.
pub(crate) fn run(arguments: &[&str]) -> (bool, String) {
    let output = Command::new("timeout").arg("5").arg(binary()).args(arguments).output().unwrap();
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    (output.status.success(), said)
}

/// Writes a configuration that speaks TLS somewhere, unless `more` says where.
pub(crate) fn configure(folder: &Folder, more: &str) -> PathBuf {
    let state = folder.0.join("state");
    let listen = if more.contains("listen") { "" } else { "listen = tls:127.0.0.1:9" };
    let path = folder.0.join("denwa.conf");
    let text = format!("ext.101 = {PASSWORD}\nstate = {}\n{listen}\n{more}\n", state.display());
    fs::write(&path, text).unwrap();
    path
}

/// Ports of 127.0.0.1 that are free, and no other test's.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 27_000 + (std::process::id() % 50) as u16 * 100;
    loop {
        let port = first + NEXT.fetch_add(1, Ordering::Relaxed);
        let udp = UdpSocket::bind(("127.0.0.1", port));
        if udp.is_ok() && TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// A running program.
pub(crate) struct Program {
    keeper: Child,
    said: Mutex<Receiver<String>>,
    pub(crate) tcp: SocketAddr,
    pub(crate) tls: SocketAddr,
    pub(crate) folder: Folder,
}

impl Program {
    pub(crate) fn start(folder: Folder, more: &str) -> Program {
        let [tcp, tls] = [free_port(), free_port()].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        // All that comes here comes from one address.
        let more = format!(
            "listen = udp:{tcp} tcp:{tcp} tls:{tls}\nrate.stranger = 100000/s\nrate.strangers = 100000/s\n{more}"
        );
        configure(&folder, &more);
        let (keeper, said) = launch(&folder);
        let program = Program { keeper, said: Mutex::new(said), tcp, tls, folder };
        program.expect("runs");
        program.wait();
        program
    }

    fn wait(&self) {
        let begin = Instant::now();
        while crate::Line::open(self.tls).is_err() {
            assert!(begin.elapsed() < SOON, "nobody speaks TLS");
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Stops it, and starts it again.
    pub(crate) fn restart(&mut self) {
        self.stop();
        let (keeper, said) = launch(&self.folder);
        (self.keeper, self.said) = (keeper, Mutex::new(said));
        self.expect("runs");
        self.wait();
    }

    fn stop(&mut self) {
        let _ = kill_process(Pid::from_child(&self.keeper), Signal::TERM);
        let _ = self.keeper.wait();
    }

    /// Kills the process that serves, and waits for the next one.
    pub(crate) fn kill_exchange(&self) {
        let keeper = self.keeper.id();
        let children = fs::read_to_string(format!("/proc/{keeper}/task/{keeper}/children")).unwrap();
        let child: i32 = children.trim().parse().unwrap();
        kill_process(Pid::from_raw(child).unwrap(), Signal::KILL).unwrap();
        self.expect("runs");
        self.wait();
    }

    /// Waits for a line that contains `part`.
    pub(crate) fn expect(&self, part: &str) -> String {
        let until = Instant::now() + SOON;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let line = self.said.lock().unwrap().recv_timeout(left);
            let line = line.unwrap_or_else(|_| panic!("it does not say {part:?}"));
            println!("{line}");
            if line.contains(part) {
                return line;
            }
        }
    }

    /// Has a command do its work.
    pub(crate) fn command(&self, arguments: &[&str]) -> String {
        let (is_done, said) = self.try_command(arguments);
        assert!(is_done, "{said}");
        said
    }

    pub(crate) fn try_command(&self, arguments: &[&str]) -> (bool, String) {
        let config = self.folder.0.join("denwa.conf").display().to_string();
        run(&[arguments, &["--config", &config]].concat())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.stop();
    }
}

fn launch(folder: &Folder) -> (Child, Receiver<String>) {
    let mut keeper = Command::new(binary())
        .args(["run", "--config"])
        .arg(folder.0.join("denwa.conf"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let stderr = BufReader::new(keeper.stderr.take().unwrap());
    let (sender, said) = mpsc::channel();
    thread::spawn(move || {
        for line in stderr.lines() {
            let _ = sender.send(line.unwrap());
        }
    });
    (keeper, said)
}

impl Program {
    /// The process that serves.
    pub(crate) fn exchange(&self) -> u32 {
        let keeper = self.keeper.id();
        let children = fs::read_to_string(format!("/proc/{keeper}/task/{keeper}/children")).unwrap();
        children.trim().parse().unwrap()
    }

    /// How much memory that has, in bytes.
    pub(crate) fn memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.exchange())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
    }

    /// How much of a processor's time its loop has had.
    pub(crate) fn processor_time(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/schedstat", self.exchange())).unwrap();
        Duration::from_nanos(stat.split_whitespace().next().unwrap().parse().unwrap())
    }
}
