//! baresip: a telephone without a case. It plays a tone instead of a microphone, records what it
//! hears, and obeys what is typed to it.

use std::net::IpAddr;
use std::path::PathBuf;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::denwa::in_uri;
use super::{DOMAIN, Denwa, Family, Machine, Program, Scene, Transport, ports, sound};

/// A telephone, described and not yet started.
pub struct Baresip<'a> {
    number: String,
    password: String,
    transport: Transport,
    machine: Option<&'a Machine>,
    ip: IpAddr,
    server: Option<IpAddr>,
    tone: f64,
    modules: &'a [&'a str],
    settings: &'a str,
    wishes: &'a str,
    account: Option<String>,
}

impl<'a> Baresip<'a> {
    /// The telephone of an extension: IPv4, UDP, on loopback, a tone of 440 Hz, G.711.
    pub fn new(number: &str, password: &str) -> Baresip<'a> {
        Baresip {
            number: number.to_owned(),
            password: password.to_owned(),
            transport: Transport::Udp,
            machine: None,
            ip: Family::V4.loopback(),
            server: None,
            tone: 440.0,
            modules: &["g711"],
            settings: "",
            wishes: "",
            account: None,
        }
    }

    /// Its address family; the exchange is on the same loopback address.
    pub fn on(self, family: Family) -> Self {
        Baresip { ip: family.loopback(), ..self }
    }

    /// Its transport.
    pub fn over(self, transport: Transport) -> Self {
        Baresip { transport, ..self }
    }

    /// On a machine of its own with the address `ip`; the exchange is at `server`.
    pub fn at(self, machine: &'a Machine, ip: IpAddr, server: IpAddr) -> Self {
        Baresip { machine: Some(machine), ip, server: Some(server), ..self }
    }

    /// What it says, in Hz.
    pub fn tone(self, hz: f64) -> Self {
        Baresip { tone: hz, ..self }
    }

    /// The modules that it has for codecs, encryption and video, instead of G.711 alone.
    pub fn modules(self, modules: &'a [&'a str]) -> Self {
        Baresip { modules, ..self }
    }

    /// More lines of its configuration.
    pub fn settings(self, settings: &'a str) -> Self {
        Baresip { settings, ..self }
    }

    /// More parameters of its account, each after a semicolon.
    pub fn wishes(self, wishes: &'a str) -> Self {
        Baresip { wishes, ..self }
    }

    /// The whole line in its list of accounts, instead of one with the exchange as outbound proxy.
    pub fn account(self, line: String) -> Self {
        Baresip { account: Some(line), ..self }
    }

    /// Starts it and waits until it is registered.
    pub fn register(self, scene: &Scene, denwa: &Denwa) -> Phone {
        let phone = self.start(scene, denwa);
        phone.program.expect("200 OK");
        phone
    }

    /// Starts it.
    pub fn start(self, scene: &Scene, denwa: &Denwa) -> Phone {
        let name = format!("phone-{}", self.number);
        let folder = scene.path(&name);
        let tone_file = scene.path(format!("{name}.wav"));
        // Longer than any scenario: at the end of the file baresip hangs up.
        sound::write_tone(&tone_file, self.tone, 120);

        let ip = self.ip;
        let sip = ports::take(2); // the second one is for TLS
        let rtp = ports::take(20);
        let modules: String = self.modules.iter().map(|m| format!("module {m}.so\n")).collect();
        scene.write(
            &format!("{name}/config"),
            &format!(
                "sip_listen {}:{sip}\n\
                 net_interface {ip}\n\
                 rtp_ports {rtp}-{}\n\
                 audio_source aufile,{}\n\
                 audio_player aubridge,speaker\n\
                 audio_alert aubridge,bell\n\
                 jitter_buffer_delay 1-10\n\
                 statmode_default off\n\
                 snd_path {}\n\
                 module_path /usr/lib/baresip/modules\n\
                 module stdio.so\n\
                 {modules}\
                 module sndfile.so\n\
                 module aufile.so\n\
                 module aubridge.so\n\
                 module_tmp uuid.so\n\
                 module_tmp account.so\n\
                 module_app menu.so\n\
                 {}\n",
                in_uri(ip),
                rtp + 19,
                tone_file.display(),
                folder.display(),
                self.settings,
            ),
        );
        scene.write(
            &format!("{name}/accounts"),
            &self.account.unwrap_or_else(|| {
                format!(
                    "<sip:{}@{DOMAIN}>;auth_pass=\"{}\";regint=600;\
                     outbound=\"sip:{}:{};transport={}\"{}\n",
                    self.number,
                    self.password,
                    in_uri(self.server.unwrap_or(ip)),
                    if self.transport == Transport::Tls { denwa.tls } else { denwa.port },
                    self.transport,
                    self.wishes,
                )
            }),
        );
        scene.write(&format!("{name}/contacts"), "");

        let mut command = match self.machine {
            Some(machine) => machine.command("baresip"),
            None => Command::new("baresip"),
        };
        command.arg(if ip.is_ipv6() { "-6" } else { "-4" });
        // -s: each SIP message goes to the log.
        command.arg("-s").arg("-f").arg(folder);
        Phone { program: Program::start(scene, &name, command), tone: self.tone, busy_since: None }
    }
}

/// A running telephone.
pub struct Phone {
    pub program: Program,
    pub tone: f64,
    busy_since: Option<Instant>,
}

impl Phone {
    /// Dials a number.
    pub fn dial(&mut self, number: &str) {
        self.new_recording();
        self.program.say(&format!("/dial {number}"));
    }

    /// Waits until it rings, and answers.
    pub fn answer(&mut self) {
        self.program.expect("Incoming call from");
        self.new_recording();
        self.program.say("/accept");
    }

    /// Waits until this second is over if it began with a call: baresip names the recording of a
    /// call by the second.
    pub fn new_recording(&mut self) {
        let second = Duration::from_millis(1100);
        let passed = self.busy_since.map_or(second, |since| since.elapsed());
        sleep(second.saturating_sub(passed));
        self.busy_since = Some(Instant::now());
    }

    /// Waits until the call is up.
    pub fn talks(&self) {
        self.program.expect("Call established");
    }

    /// Hangs up.
    pub fn hang_up(&mut self) {
        self.program.say("/hangup");
    }

    /// Waits until the other side has hung up.
    pub fn is_hung_up(&self) {
        self.program.expect("session closed: Connection reset by peer");
    }

    /// Waits until what it hears is the other's tone and nothing else.
    pub fn hears(&self, other: &Phone) {
        self.hears_tone(other.tone);
    }

    /// Waits until what it hears is its own tone.
    pub fn hears_itself(&self) {
        self.hears_tone(self.tone);
    }

    /// Waits until what it hears is the tone of `hz`.
    pub fn hears_tone(&self, hz: f64) {
        sound::listen_for(hz, || self.heard());
    }

    /// Shows the rates of RTP from now on.
    pub fn show_rates(&mut self) {
        self.program.say("/statmode");
    }

    /// Whether RTP goes out and comes in, by the rates that it shows each 100 ms.
    pub fn sends_and_receives(&self) -> (bool, bool) {
        let output = self.program.output();
        let rates = output.rsplit("audio=").next().unwrap_or_default();
        let mut rates = rates.split(['/', ' ']).map(|rate| rate.parse().unwrap_or(0) > 0);
        (rates.next().unwrap_or(false), rates.next().unwrap_or(false))
    }

    /// The last message in its log that begins so, whole.
    pub fn last_received(&self, start: &str) -> String {
        let output = self.program.output();
        let message = &output[output.rfind(&format!("\n{start}")).unwrap() + 1..];
        // The trace ends each message with a change of colour.
        message.split("\x1b[").next().unwrap_or_default().to_owned()
    }

    fn heard(&self) -> Vec<f64> {
        sound::samples(&self.recording())
    }

    /// The file with what it heard in this call.
    fn recording(&self) -> PathBuf {
        let file = self.program.last("dumping decode audio to ").unwrap_or_default();
        // A long name is cut short: then what it says goes into the same file.
        assert!(file.is_empty() || file.ends_with("-dec.wav"), "{file} is too long a name for a recording");
        file.into()
    }
}
