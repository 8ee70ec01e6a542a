//! linphone's command line telephone. It plays and records WAV files instead of using a sound card.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use super::denwa::in_uri;
use super::{DOMAIN, Denwa, Family, Program, Scene, Transport, ports, sound};

/// A telephone, described and not yet started.
pub struct Linphone {
    number: String,
    password: String,
    family: Family,
    transport: Transport,
    tone: f64,
}

impl Linphone {
    /// The telephone of an extension: IPv4, UDP, a tone of 600 Hz.
    pub fn new(number: &str, password: &str) -> Linphone {
        Linphone {
            number: number.to_owned(),
            password: password.to_owned(),
            family: Family::V4,
            transport: Transport::Udp,
            tone: 600.0,
        }
    }

    /// Its address family.
    pub fn on(self, family: Family) -> Linphone {
        Linphone { family, ..self }
    }

    /// Its transport.
    pub fn over(self, transport: Transport) -> Linphone {
        Linphone { transport, ..self }
    }

    /// Starts it and waits until it is registered.
    pub fn register(self, scene: &Scene, denwa: &Denwa) -> LinphoneRunning {
        let name = format!("linphone-{}", self.number);
        let home = scene.path(&name);
        // It does nothing, and says nothing of it, where it cannot have its database.
        fs::create_dir_all(home.join(".local/share/linphone")).unwrap();
        let (number, password) = (&self.number, &self.password);
        let server =
            format!("sip:{}:{};transport={}", in_uri(self.family.loopback()), denwa.port, self.transport);
        let (sip, rtp) = (ports::take(2), ports::take(4));
        let config = scene.write(
            &format!("{name}/linphonerc"),
            &format!(
                "[sip]\nsip_port={sip}\nsip_tcp_port={sip}\nsip_tls_port=-1\nuse_ipv6={}\n\
                 default_proxy=0\nguess_hostname=0\n\
                 [rtp]\naudio_rtp_port={rtp}\n\
                 [sound]\nechocancellation=0\n\
                 [proxy_0]\nreg_proxy=<{server}>\nreg_route=<{server};lr>\n\
                 reg_identity=sip:{number}@{DOMAIN}\nreg_expires=600\nreg_sendregister=1\n\
                 publish=0\n\
                 [auth_info_0]\nusername={number}\npasswd={password}\ndomain={DOMAIN}\n\
                 [misc]\nlog_collection_enabled=0\n",
                if self.family == Family::V6 { 1 } else { 0 },
            ),
        );
        let speech = scene.path(format!("{name}.wav"));
        sound::write_tone(&speech, self.tone, 120);
        let heard = home.join("heard.wav");

        let mut command = Command::new("linphonec");
        command.env("HOME", &home).arg("-c").arg(config);
        command.args(["-d", "5", "-l"]).arg(scene.path(format!("{name}-messages.log")));
        let mut program = Program::start(scene, &name, command);
        program.expect("linphonec>");
        program.say("soundcard use files");
        program.say(&format!("play {}", speech.display()));
        program.say(&format!("record {}", heard.display()));
        denwa.program.expect(&format!("{number} registered"));
        LinphoneRunning { program, tone: self.tone, heard }
    }
}

/// A running telephone.
pub struct LinphoneRunning {
    program: Program,
    pub tone: f64,
    heard: PathBuf,
}

impl LinphoneRunning {
    /// Dials a number.
    pub fn dial(&mut self, number: &str) {
        self.program.say(&format!("call {number}"));
    }

    /// Waits until it rings, and answers.
    pub fn answer(&mut self) {
        self.program.expect("Receiving new incoming call");
        self.program.say("answer");
    }

    /// Waits until the call is up.
    pub fn talks(&self) {
        self.program.expect("Media streams established");
    }

    /// Hangs up.
    pub fn hang_up(&mut self) {
        self.program.say("terminate");
    }

    /// Waits until the call is over.
    pub fn is_hung_up(&self) {
        self.program.expect("ended (No error)");
    }

    /// Waits until what it hears is the tone of `hz`.
    pub fn hears_tone(&self, hz: f64) {
        sound::listen_for(hz, || sound::samples(&self.heard));
    }
}
