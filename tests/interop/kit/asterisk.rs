//! A real Asterisk, for exchanges that are not ours.

use std::path::PathBuf;
use std::process::Command;

use super::Scene;

/// A running Asterisk; it ends when this is dropped.
pub struct Asterisk {
    tool: PathBuf,
    folder: PathBuf,
}

impl Asterisk {
    /// Whether there is one on this machine. Where there is none, scenarios with it say so and are passed over.
    pub fn is_here() -> bool {
        let is_here = tool().is_file() && std::path::Path::new("/opt/peers/sid/usr/sbin/asterisk").is_file();
        if !is_here {
            eprintln!("passed over: there is no Asterisk here");
        }
        is_here
    }

    /// Starts it on these files.
    pub fn start(scene: &Scene, pjsip: &str, extensions: &str) -> Asterisk {
        scene.write("etc/pjsip.conf", pjsip);
        scene.write("etc/extensions.conf", extensions);
        let folder = scene.path("");
        let started = Command::new(tool()).arg("start").arg(&folder).status().unwrap();
        assert!(started.success(), "Asterisk did not start");
        Asterisk { tool: tool(), folder }
    }

    /// What it answers to a command of its console.
    pub fn console(&self, command: &str) -> String {
        let output = Command::new(&self.tool).arg("cli").arg(&self.folder).arg(command).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

impl Drop for Asterisk {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.folder.join("log/full.log")).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!("──── Asterisk\n{}", lines[lines.len().saturating_sub(120)..].join("\n"));
        }
        let _ = Command::new(&self.tool).arg("stop").arg(&self.folder).status();
    }
}

fn tool() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/peers/asterisk")
}
