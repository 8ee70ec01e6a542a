//! The programs that are measured: started pinned to one processor, asked for their CPU time and
//! memory over all their processes and threads, and stopped by process id.

use crate::phones::{DOMAIN, password, user};
use crate::{message, sys};
use std::collections::HashSet;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Write as _};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The processor that the measured programs share; the bench itself runs on another.
pub(crate) const SERVER_CORE: usize = 0;

/// Where denwa listens.
pub(crate) const DENWA: u16 = 9060;

/// What can be measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// This project.
    Denwa,
    /// Kamailio with rtpengine.
    Kamailio,
    /// Receive and send, nothing else.
    Bare,
}

/// What every start needs to know.
#[derive(Clone)]
pub(crate) struct Setting {
    /// The denwa binary to measure.
    pub(crate) denwa: PathBuf,
    /// A folder for configurations and logs.
    pub(crate) folder: PathBuf,
    /// The loopback address that the servers listen on.
    pub(crate) ip: IpAddr,
    /// Whether Kamailio gets its fastest allocator.
    pub(crate) tuned_rival: bool,
}

/// To whom denwa is open.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum House {
    /// To the bench's phones alone, of which a hundred share an address and call as fast as they can: no
    /// budget stands in their way, and what is measured is the work.
    Trusted,
    /// To the Internet, on every address, by UDP and TCP, with the defaults of all that guards it.
    Open,
}

/// A running program.
pub(crate) struct Program {
    /// Which one.
    pub(crate) kind: Kind,
    /// Where it speaks SIP.
    pub(crate) sip: SocketAddr,
    children: Vec<Child>,
    log: PathBuf,
}

impl Program {
    /// Writes the configuration for `users` extensions, starts the program with relay ports from
    /// `ports`, and waits for its first answer. Also returns how long that took.
    pub(crate) fn start(
        setting: &Setting,
        kind: Kind,
        users: usize,
        ports: (u16, u16),
    ) -> Result<(Program, Duration), String> {
        let (sip, commands) = match kind {
            Kind::Denwa => {
                (SocketAddr::new(setting.ip, DENWA), vec![denwa(setting, House::Trusted, users, ports)?])
            }
            Kind::Kamailio => (SocketAddr::new(setting.ip, 9070), kamailio(setting, users, ports)?),
            Kind::Bare => return Err("the bare loop is started with its calls".into()),
        };
        Program::start_at(setting, kind, sip, commands)
    }

    /// Starts a denwa that is open to the Internet.
    pub(crate) fn start_open(setting: &Setting, users: usize, ports: (u16, u16)) -> Result<Program, String> {
        let sip = SocketAddr::new(setting.ip, DENWA);
        let command = denwa(setting, House::Open, users, ports)?;
        Program::start_at(setting, Kind::Denwa, sip, vec![command]).map(|(program, _)| program)
    }

    fn start_at(
        setting: &Setting,
        kind: Kind,
        sip: SocketAddr,
        commands: Vec<Command>,
    ) -> Result<(Program, Duration), String> {
        let log = setting.folder.join(format!("{kind:?}.log"));
        let mut program = Program { kind, sip, children: Vec::new(), log };
        // Kamailio would share the port with a stranger rather than complain.
        drop(UdpSocket::bind(sip).map_err(|e| format!("{sip} is not free: {e}"))?);
        let asker = UdpSocket::bind(SocketAddr::new(setting.ip, 0)).map_err(|e| e.to_string())?;
        asker.connect(sip).map_err(|e| e.to_string())?;
        asker.set_read_timeout(Some(Duration::from_micros(500))).map_err(|e| e.to_string())?;
        let mut begun = Instant::now();
        // The words of an earlier run would be taken for this one's. There may be none.
        let _ = fs::remove_file(&program.log);
        let last = commands.len() - 1;
        for (i, command) in commands.into_iter().enumerate() {
            if i == last {
                begun = Instant::now(); // rtpengine's own start is not counted
            }
            program.spawn(command)?;
            if i != last {
                std::thread::sleep(Duration::from_millis(300));
            }
        }
        let took = program.first_answer(&asker, begun)?;
        Ok((program, took))
    }

    /// Starts the bare loop with one call for each pair of phones; returns where each pair sends.
    pub(crate) fn start_bare(
        setting: &Setting,
        pairs: &[(SocketAddr, SocketAddr)],
        ports: (u16, u16),
    ) -> Result<(Program, Vec<(SocketAddr, SocketAddr)>), String> {
        let own = std::env::current_exe().map_err(|e| e.to_string())?;
        let mut command = Command::new(own);
        command.arg(crate::bare::ARGUMENT).arg(setting.ip.to_string());
        command
            .arg(ports.0.to_string())
            .arg(ports.1.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let log = setting.folder.join("Bare.log");
        let mut program =
            Program { kind: Kind::Bare, sip: SocketAddr::new(setting.ip, 0), children: Vec::new(), log };
        program.spawn(command)?;
        let child = &mut program.children[0];
        let (Some(mut stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("the bare loop has no pipes".into());
        };
        let mut lines = BufReader::new(stdout).lines();
        let mut ports = Vec::with_capacity(pairs.len());
        for (a, b) in pairs {
            // One after the other: two full pipes would wait for each other.
            writeln!(stdin, "{a} {b}").map_err(|e| format!("the bare loop: {e}"))?;
            let line = lines.next().and_then(Result::ok).ok_or_else(|| program.last_words())?;
            let parsed = line.split_once(' ').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
            ports.push(parsed.ok_or_else(|| format!("the bare loop said: {line}"))?);
        }
        drop(stdin);
        Ok((program, ports))
    }

    /// Starts the loop that receives and forgets, at these addresses.
    pub(crate) fn start_drain(setting: &Setting, at: &[SocketAddr]) -> Result<Program, String> {
        let own = std::env::current_exe().map_err(|e| e.to_string())?;
        let mut command = Command::new(own);
        command.arg(crate::drain::ARGUMENT).args(at.iter().map(SocketAddr::to_string));
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let log = setting.folder.join("Drain.log");
        let sip = at.first().copied().unwrap_or(SocketAddr::new(setting.ip, 0));
        let mut program = Program { kind: Kind::Bare, sip, children: Vec::new(), log };
        program.spawn(command)?;
        let stdout = program.children[0].stdout.take().ok_or("the bare loop has no pipe")?;
        match BufReader::new(stdout).lines().next() {
            Some(Ok(_)) => Ok(program),
            _ => Err(program.last_words()),
        }
    }

    fn spawn(&mut self, mut command: Command) -> Result<(), String> {
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log)
            .map_err(|e| format!("{}: {e}", self.log.display()))?;
        if self.kind != Kind::Bare {
            command.stdin(Stdio::null()).stdout(log.try_clone().map_err(|e| e.to_string())?);
        }
        command.stderr(log);
        sys::prepare(&mut command, SERVER_CORE);
        let name = command.get_program().to_string_lossy().into_owned();
        let child = command.spawn().map_err(|e| format!("cannot start {name}: {e}"))?;
        sys::prefer_session(&child.id().to_string());
        self.children.push(child);
        Ok(())
    }

    /// Asks until there is an answer: any answer to a REGISTER will do, a challenge is the usual.
    fn first_answer(&mut self, asker: &UdpSocket, begun: Instant) -> Result<Duration, String> {
        let at = asker.local_addr().map_err(|e| e.to_string())?;
        let mut serial = 0;
        let mut buffer = [0; 2048];
        let mut asked = Instant::now() - Duration::from_secs(1);
        loop {
            // The first that is not refused waits in the server's socket; repeat it rarely.
            if asked.elapsed() > Duration::from_millis(100) {
                serial += 1;
                let text = format!(
                    "REGISTER sip:{DOMAIN} SIP/2.0\r\nVia: SIP/2.0/UDP {at};branch=z9hG4bKfirst{serial};rport\r\n\
                     Max-Forwards: 70\r\nFrom: <sip:1000@{DOMAIN}>;tag=f{serial}\r\nTo: <sip:1000@{DOMAIN}>\r\n\
                     Call-ID: first\r\nCSeq: {serial} REGISTER\r\nContact: <sip:1000@{at}>\r\nExpires: 60\r\n\
                     User-Agent: a phone of the bench\r\nAllow: INVITE, ACK, CANCEL, BYE, OPTIONS\r\nContent-Length: 0\r\n\r\n"
                );
                asked = if asker.send(text.as_bytes()).is_ok() { Instant::now() } else { asked };
            }
            match asker.recv(&mut buffer) {
                Ok(n) => {
                    let took = begun.elapsed();
                    let answer = message::Message::read(&buffer[..n])?;
                    return match answer.status {
                        Some(401) => Ok(took),
                        _ => Err(format!("the first REGISTER was answered: {}", answer.start)),
                    };
                }
                Err(e) if e.kind() == std::io::ErrorKind::ConnectionRefused => {
                    asked = Instant::now() - Duration::from_secs(1);
                    std::thread::sleep(Duration::from_micros(100));
                }
                Err(_) => {}
            }
            for child in &mut self.children {
                if let Ok(Some(status)) = child.try_wait() {
                    return Err(format!(
                        "{:?} ended at its start ({status}):\n{}",
                        self.kind,
                        self.last_words()
                    ));
                }
            }
            if begun.elapsed() > Duration::from_secs(10) {
                return Err(format!("{:?} did not answer within 10 s:\n{}", self.kind, self.last_words()));
            }
        }
    }

    /// The end of its log, for error texts.
    pub(crate) fn last_words(&self) -> String {
        let log = fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(12)..].join("\n")
    }

    /// All processes: those that the bench started, their children, and whoever else is in their groups.
    fn processes(&self) -> Vec<u32> {
        let mut found: Vec<u32> = self.children.iter().map(Child::id).collect();
        let mut others: Vec<(u32, Kin)> =
            numbers("/proc").into_iter().filter_map(|pid| Some((pid, kin(pid)?))).collect();
        // Whoever has left the group, as a daemon may, is still a child of somebody found.
        loop {
            let before = found.len();
            others.retain(|&(pid, Kin { parent, group })| {
                let ours = found.contains(&group) || found.contains(&parent);
                if ours && !found.contains(&pid) {
                    found.push(pid);
                }
                !ours
            });
            if found.len() == before {
                // A child that has ended and is not yet collected has no kin any more.
                found.retain(|&pid| kin(pid).is_some());
                return found;
            }
        }
    }

    /// The process that denwa's keeper has put into the cage, if there is one.
    pub(crate) fn caged(&self) -> Option<u32> {
        let keeper = self.children.first()?.id();
        self.processes().into_iter().find(|&pid| kin(pid).is_some_and(|kin| kin.parent == keeper))
    }

    /// CPU time used so far by all processes and threads.
    pub(crate) fn cpu(&self) -> Duration {
        let mut total = 0;
        for pid in self.processes() {
            for task in numbers(&format!("/proc/{pid}/task")) {
                let stat =
                    fs::read_to_string(format!("/proc/{pid}/task/{task}/schedstat")).unwrap_or_default();
                total += stat.split(' ').next().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
            }
        }
        Duration::from_nanos(total)
    }

    /// CPU time used since `before`.
    pub(crate) fn cpu_since(&self, before: Duration) -> Result<Duration, String> {
        // Who has ended takes its time with it.
        self.cpu()
            .checked_sub(before)
            .ok_or_else(|| format!("{:?} has ended:\n{}", self.kind, self.last_words()))
    }

    /// Proportional set size of all processes, in KiB.
    pub(crate) fn pss(&self) -> u64 {
        self.processes().iter().map(|pid| kib(&format!("/proc/{pid}/smaps_rollup"), "Pss:")).sum()
    }

    /// Resident memory of all processes, in KiB: what they share counts for each. With `peak`, the most
    /// that it was since [`Program::forget_peak`].
    pub(crate) fn rss(&self, peak: bool) -> u64 {
        let key = if peak { "VmHWM:" } else { "VmRSS:" };
        self.processes().iter().map(|pid| kib(&format!("/proc/{pid}/status"), key)).sum()
    }

    /// Lets the peak of resident memory count from now on.
    pub(crate) fn forget_peak(&self) -> Result<(), String> {
        let forget = |pid: &u32| fs::write(format!("/proc/{pid}/clear_refs"), "5");
        self.processes().iter().try_for_each(forget).map_err(|e| format!("/proc/…/clear_refs: {e}"))
    }

    /// How long its log is, in bytes.
    pub(crate) fn log_size(&self) -> u64 {
        fs::metadata(&self.log).map_or(0, |log| log.len())
    }

    /// Stops all processes where they are, or lets them go on.
    pub(crate) fn freeze(&self, frozen: bool) {
        let signal = if frozen { libc::SIGSTOP } else { libc::SIGCONT };
        self.processes().into_iter().for_each(|pid| sys::signal(pid, signal));
    }

    /// The size of all files that are mapped with code in them, in octets.
    pub(crate) fn mapped(&self) -> u64 {
        let mut files = HashSet::new();
        for pid in self.processes() {
            let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
            for line in maps.lines() {
                let mut fields = line.split_ascii_whitespace();
                let rights = fields.nth(1).unwrap_or_default();
                if let (true, Some(path)) = (rights.contains('x'), fields.nth(3)) {
                    files.insert(path.to_owned());
                }
            }
        }
        files.iter().filter_map(|f| fs::metadata(f).ok()).map(|m| m.len()).sum()
    }

    /// The processes, for a profiler.
    pub(crate) fn pids(&self) -> String {
        self.processes().iter().map(u32::to_string).collect::<Vec<_>>().join(",")
    }
}

impl Drop for Program {
    /// Stops all processes and waits until they are gone, since they hold ports.
    fn drop(&mut self) {
        for child in &self.children {
            sys::signal(child.id(), libc::SIGTERM);
        }
        let begun = Instant::now();
        loop {
            for child in &mut self.children {
                // Collects the child if it has ended; the search below tell what is left.
                let _ = child.try_wait();
            }
            let left = self.processes();
            if left.is_empty() {
                return;
            }
            if begun.elapsed() > Duration::from_secs(1) {
                left.into_iter().for_each(|pid| sys::signal(pid, libc::SIGKILL));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Parent and group of a process.
#[derive(Clone, Copy)]
struct Kin {
    parent: u32,
    group: u32,
}

/// The kin of a process that lives.
fn kin(pid: u32) -> Option<Kin> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // After the name, which may hold blanks: state, parent, group.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?;
    let kin = Kin { parent: fields.next()?.parse().ok()?, group: fields.next()?.parse().ok()? };
    (state != "Z").then_some(kin)
}

/// Unreclaimable and reclaimable kernel slab of the whole machine, in KiB.
pub(crate) fn slab() -> u64 {
    kib("/proc/meminfo", "Slab:")
}

fn kib(path: &str, key: &str) -> u64 {
    let text = fs::read_to_string(path).unwrap_or_default();
    let line = text.lines().find_map(|l| l.strip_prefix(key)).unwrap_or_default();
    line.split_ascii_whitespace().next().and_then(|n| n.parse().ok()).unwrap_or(0)
}

fn numbers(folder: &str) -> Vec<u32> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|e| e.file_name().to_str()?.parse().ok()).collect()
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|e| format!("{}: {e}", path.display()))
}

fn denwa(setting: &Setting, house: House, users: usize, ports: (u16, u16)) -> Result<Command, String> {
    let state = setting.folder.join("denwa-state");
    // Each exchange begins with no memory of the phones before. There may be none.
    let _ = fs::remove_dir_all(&state);
    fs::create_dir_all(&state).map_err(|e| format!("{}: {e}", state.display()))?;
    // Like the rival: no keep-alives, silence allowed.
    let mut text = format!(
        "domain = {DOMAIN}\nmedia-ports = {}-{}\nstate = {}\nkeep-alive = 0s\nmedia-timeout = 2h\n",
        ports.0,
        ports.1,
        state.display()
    );
    match house {
        House::Open => {
            let _ = write!(text, "listen = udp:{DENWA} tcp:{DENWA}\nlog = info\n");
        }
        House::Trusted => {
            let listen = SocketAddr::new(setting.ip, DENWA);
            // Like the rival: no log line for each call.
            let _ = write!(text, "listen = udp:{listen}\nlog = warn\nban = never\n");
            for who in ["stranger", "strangers", "phone"] {
                let _ = writeln!(text, "rate.{who} = 1000000/s");
            }
        }
    }
    for i in 0..users {
        let name = user(i);
        let _ = writeln!(text, "ext.{name} = {}", password(i));
        if house == House::Trusted {
            let _ = writeln!(text, "ext.{name}.max-calls = 1000\next.{name}.max-calls-hour = 100000");
        }
    }
    let path = setting.folder.join("denwa.conf");
    write(&path, &text)?;
    let mut command = Command::new(&setting.denwa);
    command.arg("run").arg("--config").arg(path).current_dir(&setting.folder);
    Ok(command)
}

fn kamailio(setting: &Setting, users: usize, ports: (u16, u16)) -> Result<Vec<Command>, String> {
    let folder = setting.folder.join("kamailio");
    fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let mut text = String::from(
        "id(int,auto) key_name(string) key_type(int) value_type(int) key_value(string) expires(int)\n",
    );
    for i in 0..users {
        let name = user(i);
        let _ = writeln!(text, "{}:{name}:0:0:{}:0", i + 1, message::secret(&name, DOMAIN, &password(i)));
    }
    write(&folder.join("secrets"), &text)?;
    write(&folder.join("version"), "table_name(string) table_version(int)\nsecrets:2\n")?;
    let config = folder.join("kamailio.cfg");
    write(&config, include_str!("kamailio.cfg"))?;

    let control = SocketAddr::new(setting.ip, 9071);
    let mut engine = Command::new("rtpengine");
    engine
        .args(["--foreground", "--log-stderr", "--log-level=3", "--table=-1", "--num-threads=1"])
        .args(["--timeout=7200", "--silent-timeout=7200", "--delete-delay=0", "--config-file=none"])
        .arg(format!("--interface={}", setting.ip))
        .arg(format!("--listen-ng={control}"))
        .arg(format!("--port-min={}", ports.0))
        .arg(format!("--port-max={}", ports.1));

    let mut proxy = Command::new("kamailio");
    proxy
        .arg("-DD")
        .arg("-f")
        .arg(config)
        .arg("-l")
        .arg(format!("udp:{}", SocketAddr::new(setting.ip, 9070)))
        .args(["-m", "512", "-M", "8"])
        // The allocator that it starts with is for debugging: a registration costs twice as much.
        .args(if setting.tuned_rival { &["-x", "tlsf", "-X", "tlsf"][..] } else { &[] })
        .arg("-A")
        .arg(format!("REALM=\"{DOMAIN}\""))
        .arg("-A")
        .arg(format!("DB_URL=\"text://{}\"", folder.display()))
        .arg("-A")
        .arg(format!("RTPENGINE=\"udp{}:{control}\"", if setting.ip.is_ipv6() { "6" } else { "" }))
        .arg("-Y")
        .arg(&folder)
        .arg("-w")
        .arg(&folder);
    Ok(vec![engine, proxy])
}
