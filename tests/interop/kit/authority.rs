//! An authority for certificates: Pebble, the one that Let's Encrypt has for tests. `lego` asks it for them by ACME
//! (RFC 8555), as README says.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{Program, Scene, ports};

/// A running authority on loopback. All names of the world lead there.
pub struct Authority {
    _pebble: Program,
    _names: Program,
    /// Where it is asked by ACME.
    directory: u16,
    /// Where it gives its own certificate.
    management: u16,
    /// Where whoever wants a certificate is asked back, in the place of port 80.
    challenge: u16,
}

impl Authority {
    /// Starts it.
    pub fn start(scene: &Scene) -> Authority {
        let (directory, management, challenge) = (ports::take(1), ports::take(1), ports::take(1));
        let (names, unused) = (ports::take(1), ports::take(1));
        // The certificate by which it is known itself has nothing to do with those that it gives.
        let (certificate, key) = (scene.path("pebble.pem"), scene.path("pebble.key"));
        let request = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=pebble \
                       -addext subjectAltName=DNS:localhost -keyout";
        run(Command::new("openssl").args(request.split_whitespace()).arg(&key).arg("-out").arg(&certificate));
        let config = format!(
            r#"{{"pebble": {{"listenAddress": "127.0.0.1:{directory}", "managementListenAddress": "127.0.0.1:{management}",
                "certificate": "{}", "privateKey": "{}", "httpPort": {challenge}, "tlsPort": {unused}}}}}"#,
            certificate.display(),
            key.display()
        );
        let config = scene.write("pebble.json", &config);
        let mut command = Command::new("pebble-challtestsrv");
        let nowhere = ["-http01", "", "-https01", "", "-tlsalpn01", "", "-management"];
        command.args(nowhere).arg(format!("127.0.0.1:{unused}"));
        command.arg("-dns01").arg(format!("127.0.0.1:{names}"));
        let resolver = Program::start(scene, "pebble-names", command);
        ports::wait_until_taken(names);
        let mut command = Command::new("pebble");
        // It would wait up to 15 s before it asks back, and refuse every other request for its nonce.
        command.env("PEBBLE_VA_NOSLEEP", "1").env("PEBBLE_WFE_NONCEREJECT", "0");
        command.arg("-config").arg(config).arg("-dnsserver").arg(format!("127.0.0.1:{names}"));
        let pebble = Program::start(scene, "pebble", command);
        ports::wait_until_taken(directory);
        ports::wait_until_taken(management);
        Authority { _pebble: pebble, _names: resolver, directory, management, challenge }
    }

    /// Has `lego` ask for a certificate for `domain`, as README says: `words` is `run`, or `renew` and its options.
    /// The certificate and its key.
    pub fn lego(&self, scene: &Scene, domain: &str, words: &[&str]) -> (PathBuf, PathBuf) {
        let folder = scene.path("lego");
        let mut command = Command::new("lego");
        command.env("LEGO_CA_CERTIFICATES", scene.path("pebble.pem"));
        command.arg("--server").arg(format!("https://localhost:{}/dir", self.directory));
        command.arg("--http.port").arg(format!(":{}", self.challenge));
        command.arg("--path").arg(&folder).args(["--email", "you@example.net", "--domains", domain]);
        run(command.args(["--http", "--accept-tos"]).args(words));
        let certificates = folder.join("certificates");
        (certificates.join(format!("{domain}.crt")), certificates.join(format!("{domain}.key")))
    }

    /// The list of authorities of somebody who trusts this one, and nobody else.
    pub fn trusted(&self, scene: &Scene) -> PathBuf {
        let mut command = Command::new("openssl");
        command.args(["s_client", "-quiet", "-connect"]).arg(format!("127.0.0.1:{}", self.management));
        let question = scene.write("pebble.question", "GET /roots/0 HTTP/1.0\r\n\r\n");
        let answer = run(command.stdin(std::fs::File::open(question).unwrap()));
        let begin = answer.find("-----BEGIN CERTIFICATE-----").unwrap_or_else(|| panic!("{answer}"));
        scene.write("authorities.pem", &answer[begin..])
    }
}

/// The certificate that is shown to somebody who connects by TLS, wants `domain` and trusts these authorities. It has to
/// convince him.
pub fn proved(port: u16, domain: &str, trusted: &Path) -> String {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect", &format!("127.0.0.1:{port}"), "-servername", domain]);
    command.args(["-verify_hostname", domain, "-verify_return_error", "-CAfile"]).arg(trusted);
    let shown = run(command.stdin(Stdio::null()));
    assert!(shown.contains("Verify return code: 0 (ok)"), "{shown}");
    let begin = shown.find("-----BEGIN CERTIFICATE-----").unwrap_or_else(|| panic!("{shown}"));
    let end = shown[begin..].find("-----END").unwrap_or_else(|| panic!("{shown}"));
    shown[begin..begin + end].to_owned()
}

/// Runs a program that has to do what it is asked; what it prints.
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|e| panic!("cannot start {command:?}: {e}"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{command:?}: {said}{}", String::from_utf8_lossy(&output.stderr));
    said
}
