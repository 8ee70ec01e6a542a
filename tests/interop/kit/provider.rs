//! A provider of lines: SIPp again, with a scenario for whatever an exchange begins with it. It is at the IPv6 address
//! of loopback, where no phone of these scenarios is, and sends back what sound it gets.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use super::sipp::scenario;
use super::{Program, Scene, ports};

/// A running provider. It is gone when this is dropped.
pub struct Provider {
    program: Program,
    pub port: u16,
    errors: PathBuf,
}

impl Provider {
    /// Plays `NAME.xml`, with these words in it, for an exchange that is or will be at this port.
    pub fn start(scene: &Scene, name: &str, words: &[(&str, &str)], exchange: u16) -> Provider {
        let provider = Provider::play(scene, name, words, exchange, &[]);
        ports::wait_until_taken(provider.port);
        provider
    }

    /// Calls an exchange once, as `NAME.xml` says.
    pub fn call(scene: &Scene, name: &str, words: &[(&str, &str)], exchange: u16) -> Provider {
        Provider::play(scene, name, words, exchange, &["-m", "1"])
    }

    fn play(scene: &Scene, name: &str, words: &[(&str, &str)], exchange: u16, more: &[&str]) -> Provider {
        let port = ports::take(1);
        let id = format!("{name}-{port}");
        let file = scene.write(&format!("{id}.xml"), &scenario(name, words));
        let errors = scene.path(format!("{id}-errors.log"));
        let mut sipp = Command::new("sipp");
        sipp.arg(format!("[::1]:{exchange}"))
            .args(["-i", "::1", "-p", &port.to_string()])
            .args(["-mi", "::1", "-mp", &ports::take(8).to_string(), "-rtp_echo"])
            .arg("-sf")
            .arg(file)
            // A machine that pauses is not what it is to complain of.
            .args(["-nostdin", "-watchdog_interval", "0", "-trace_msg", "-message_file"])
            .arg(scene.path(format!("{id}-messages.log")))
            .args(["-trace_err", "-error_file"])
            .arg(&errors)
            .args(more);
        Provider { program: Program::start(scene, &id, sipp), port, errors }
    }

    /// All that came so far was as it is written: SIPp has complained of nothing.
    pub fn is_content(&self) {
        let complaints = std::fs::read_to_string(&self.errors).unwrap_or_default();
        assert!(complaints.is_empty(), "{} did not expect this: {complaints}", self.program.name());
    }

    /// Waits until its call has gone as it is written.
    pub fn succeeds(mut self) {
        let status = self.program.ends_within(Duration::from_secs(20));
        assert!(status.success(), "{}: {status}", self.program.name());
    }
}
