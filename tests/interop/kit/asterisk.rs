//! A real Asterisk, for exchanges that are not ours.

use std::path::PathBuf;
use std::process::Command;

use super::Scene;

/// What is `/` for it.
const ROOT: &str = "/opt/peers/sid";

/// A running Asterisk; it ends when this is dropped.
pub struct Asterisk {
    tool: PathBuf,
    folder: PathBuf,
}

impl Asterisk {
    /// Whether there is one on this machine. Where there is none, scenarios with it say so and are passed over.
    pub fn is_here() -> bool {
        let is_here = tool().is_file() && std::path::Path::new(ROOT).join("usr/sbin/asterisk").is_file();
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

    /// A certificate and its key, as it finds them, and the certificate's fingerprint.
    pub fn certificate(scene: &Scene) -> (String, String, String) {
        let (certificate, key) = (scene.path("asterisk.pem"), scene.path("asterisk.key"));
        let words =
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=friend -keyout";
        let mut command = Command::new("openssl");
        command.args(words.split_whitespace()).arg(&key).arg("-out").arg(&certificate);
        assert!(command.output().unwrap().status.success());
        let mut command = Command::new("openssl");
        command.args(["x509", "-noout", "-fingerprint", "-sha256", "-in"]).arg(&certificate);
        let said = String::from_utf8(command.output().unwrap().stdout).unwrap();
        let fingerprint = said.trim().rsplit('=').next().unwrap_or_default().to_owned();
        // It sees another root.
        let inside = |path: &PathBuf| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            std::fs::copy(path, format!("{ROOT}/tmp/{name}")).unwrap();
            format!("/tmp/{name}")
        };
        (inside(&certificate), inside(&key), fingerprint)
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
