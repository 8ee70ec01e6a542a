//! Machines of their own: network namespaces joined by cables. Needs root, or a user namespace.

use std::net::IpAddr;
use std::process::{Command, id};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::thread;

/// A machine with nothing but what is plugged in. It is scrapped when dropped.
pub struct Machine {
    name: String,
}

/// What a machine has sent so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    pub ipv4_bytes: u64,
    pub ipv6_datagrams: u64,
}

static MADE: AtomicU32 = AtomicU32::new(0);

impl Machine {
    /// A machine with loopback only.
    pub fn new() -> Machine {
        let name = format!("denwa-{}-{}", id(), MADE.fetch_add(1, Relaxed));
        ip(&["netns", "add", &name]);
        let machine = Machine { name };
        machine.ip(&["link", "set", "lo", "up"]);
        machine
    }

    /// Plugs one end of a cable into `port`, and the other into the other machine's `other_port`.
    /// Packets may have `mtu` bytes.
    pub fn cable(&self, port: &str, other: &Machine, other_port: &str, mtu: u16) {
        let mtu = mtu.to_string();
        self.ip(&[
            "link",
            "add",
            "name",
            port,
            "mtu",
            &mtu,
            "type",
            "veth",
            "peer",
            "name",
            other_port,
            "mtu",
            &mtu,
            "netns",
            &other.name,
        ]);
        self.ip(&["link", "set", port, "up"]);
        other.ip(&["link", "set", other_port, "up"]);
    }

    /// Gives an interface an address, as `2001:db8::1/64`.
    pub fn address(&self, port: &str, address: &str) {
        let no_wait: &[&str] = if address.contains(':') { &["nodad"] } else { &[] };
        self.ip(&[&["address", "add", address, "dev", port], no_wait].concat());
    }

    /// Whether a neighbour can be reached by IPv6: while it cannot, packets go to a card that nobody has.
    pub fn link(&self, port: &str, neighbour: &str, is_whole: bool) {
        let mut words = vec!["-6", "neigh", if is_whole { "del" } else { "replace" }, neighbour, "dev", port];
        if !is_whole {
            words.extend(["lladdr", "02:00:00:00:00:ff", "nud", "permanent"]);
        }
        self.ip(&words);
    }

    /// Sends everything else to a router.
    pub fn default_route(&self, router: IpAddr) {
        self.ip(&["route", "add", "default", "via", &router.to_string()]);
    }

    /// Makes it a router.
    pub fn forwards(&self) {
        let mut sysctl = self.command("sh");
        sysctl.args(["-c", "echo 1 > /proc/sys/net/ipv6/conf/all/forwarding"]);
        assert!(sysctl.status().unwrap().success());
    }

    /// A command that runs on it.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program);
        command
    }

    /// Runs a part of the test on it: what sockets it makes are there.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let namespace = std::fs::File::open(format!("/run/netns/{}", self.name)).unwrap();
        thread::scope(|scope| {
            let guest = scope.spawn(|| {
                rustix::thread::move_into_link_name_space(
                    std::os::fd::AsFd::as_fd(&namespace),
                    Some(rustix::thread::LinkNameSpaceType::Network),
                )
                .unwrap();
                work()
            });
            guest.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// How much it has sent: bytes of IPv4, whatever they carried, and datagrams of UDP over IPv6, where
    /// the kernel itself always has something to say to its neighbours.
    pub fn sent(&self) -> Sent {
        let [ipv4, ipv6] = self.enter(|| {
            // Of the thread: the process as a whole is elsewhere.
            ["netstat", "snmp6"]
                .map(|table| std::fs::read_to_string(format!("/proc/thread-self/net/{table}")))
        });
        let (ipv4, ipv6) = (ipv4.unwrap(), ipv6.unwrap());
        let mut lines = ipv4.lines().filter(|line| line.starts_with("IpExt:"));
        let (names, values) = (lines.next().unwrap(), lines.next().unwrap());
        let at = names.split(' ').position(|name| name == "OutOctets").unwrap();
        let ipv4_bytes = values.split(' ').nth(at).unwrap().parse().unwrap();
        let datagrams = ipv6.lines().find_map(|line| line.strip_prefix("Udp6OutDatagrams")).unwrap();
        Sent { ipv4_bytes, ipv6_datagrams: datagrams.trim().parse().unwrap() }
    }

    fn ip(&self, args: &[&str]) {
        ip(&[&["-netns", &self.name], args].concat());
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "delete", &self.name]).status();
    }
}

fn ip(args: &[&str]) {
    let status = Command::new("ip").args(args).status().expect("ip, of Debian's iproute2");
    assert!(status.success(), "ip {} failed: needs root, or scripts/test", args.join(" "));
}
