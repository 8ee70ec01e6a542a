//! The first start, without a configuration: writes one that works and teaches, and says what to
//! type into a phone.

use std::fmt::Write as _;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use super::{Config, Password, Settings};
use crate::atomic;

/// The file that a first run writes, in the current folder.
pub const HERE: &str = "denwa.conf";

/// The state folder beside it, where that cannot be the default one.
pub const STATE_HERE: &str = "denwa-state";

/// Where the configuration is, if nobody says: in the current folder, then in `/etc/denwa`. `None`
/// if it is in neither.
pub fn find() -> Option<PathBuf> {
    // One that cannot be looked at is taken, so that reading it says why.
    let is_there = |path: &&Path| path.try_exists().unwrap_or(true);
    [Path::new(HERE), Path::new("/etc/denwa/denwa.conf")]
        .iter()
        .find(|path| is_there(path))
        .map(|path| path.to_path_buf())
}

/// Writes a configuration with two extensions and an echo test to `path`, readable by its owner
/// alone. `state` is the folder for what must survive, if it is not to be the default one; one that cannot be
/// written in a line is left out. `random` fills a slice with random bytes, from which the passwords come.
///
/// The file is there completely or not at all, and one that exists is never touched.
///
/// # Errors
///
/// Those of `random` and of the file system; [`io::ErrorKind::AlreadyExists`] if there is a file.
pub fn first_run(
    path: &Path,
    state: Option<&Path>,
    mut random: impl FnMut(&mut [u8]) -> io::Result<()>,
) -> io::Result<()> {
    let state = state.and_then(Path::to_str).filter(|state| is_value(state));
    let text = template(&Password::strong(&mut random)?, &Password::strong(&mut random)?, state);
    atomic::create(path, text.as_bytes())
}

/// What to type into a phone for each extension of `config`, and what to dial then. `path` is the
/// file it came from, `addresses` are those that phones can reach this machine at.
pub fn welcome(config: &Config, path: &Path, addresses: &[IpAddr]) -> String {
    let count = config.extensions.len();
    let mut text = format!("{} has {count} extensions. Type into a phone for each:\n", path.display());
    for settings in Settings::all(config, addresses) {
        let _ = write!(text, "\n{settings}");
    }
    text.push('\n');
    if let Some(echo) = &config.echo {
        let _ = writeln!(text, "Call {echo} for the echo test: it repeats what it hears.");
    }
    let mut numbers = config.extensions.keys();
    if let (Some(first), Some(second)) = (numbers.next(), numbers.next()) {
        let _ = writeln!(text, "Call {second} from {first} to ring the other phone.");
    }
    text += "`denwa add 103` adds another one; `denwa --help` tells the rest.\n";
    text
}

/// Whether a text is read as it is when it stands behind a `=`.
fn is_value(text: &str) -> bool {
    text == text.trim() && !text.is_empty() && !text.contains(char::is_control)
}

fn template(first: &Password, second: &Password, state: Option<&str>) -> String {
    let (first, second) = (first.reveal(), second.reveal());
    let state = match state {
        Some(state) => format!("state = {state}"),
        None => format!("#state = {}", Config::default().state.display()),
    };
    format!(
        "\
# denwa.conf: all that there is to say about this telephone exchange.
#
# A line is `key = value`. The value runs to the end of its line, so nothing needs quotes.
# A comment begins with `#` and has a line of its own.
# After a change: `denwa check` tells what is understood, and `denwa reload` has a running denwa go on
# with it. `denwa add 103 Living room` adds an extension to this file.

# An extension is a number and the password that its phone registers with. All phones know md5,
# which is safe with a password like these; without the line, SHA-256 is asked for as well, and
# older phones stop there.
ext.101        = {first}
ext.101.name   = First phone
ext.101.digest = md5

ext.102        = {second}
ext.102.name   = Second phone
ext.102.digest = md5

# The number of the echo test: it repeats what it hears.
echo = 114

# The folder for what must survive a restart: which phones are registered.
{state}

# What follows are examples. Remove the `#` in front of a key to use it.

# A third extension. `busy`, `no-answer` and `offline` forward its calls to another number.
#ext.103           = a-long-password
#ext.103.name      = Workshop
#ext.103.busy      = 101
#ext.103.no-answer = 20s 102
#ext.103.offline   = 101

# A number that rings several extensions at once.
#group.600 = 101 102

# The name that phones register at; any word will do, with this machine's address as outbound
# proxy in the phones. With a name, whoever does not use it gets no answer: scanners find nothing
# here, but phones that register at the address instead of the name find nothing either.
# `stealth = no` gives all of them answers.
#domain = pbx.example.net

# From where somebody is heard at all, if that is not everywhere.
#allow = 192.0.2.0/24 2001:db8::/32

# Where SIP is spoken; these are the defaults. In a firewall, open these ports and the media ports.
#listen      = udp:5060 tcp:5060
#media-ports = 40000-40999

# TLS, beside the others. Without the two files denwa makes a certificate of its own, and says its
# fingerprint at start; with them, it takes a renewed one as soon as it is there.
#listen.tls = tls:5061
#tls.cert   = /etc/denwa/tls/fullchain.pem
#tls.key    = /etc/denwa/tls/key.pem

# The public address: `auto` finds it where the server does not have it itself, as on EC2. Behind a
# router of your own, say it: `advertise = 203.0.113.5`.
advertise = auto
"
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::ffi::OsString;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    /// A new folder that goes away with the test.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Folder {
            let path = std::env::temp_dir().join(format!("denwa-{}-{name}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Folder(path)
        }

        fn names(&self) -> Vec<OsString> {
            let entries = fs::read_dir(&self.0).unwrap();
            entries.map(|entry| entry.unwrap().file_name()).collect()
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    /// Counts up, through the bytes that must be rejected as well.
    fn counting() -> impl FnMut(&mut [u8]) -> io::Result<()> {
        let mut next = 200u8;
        move |bytes| {
            bytes.fill_with(|| {
                next = next.wrapping_add(1);
                next
            });
            Ok(())
        }
    }

    #[test]
    fn writes_a_file_that_works() {
        let folder = Folder::new("works");
        let path = folder.0.join("denwa.conf");
        first_run(&path, None, counting()).unwrap();
        assert_eq!(folder.names(), ["denwa.conf"]);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);

        let config = Config::load(&path).unwrap();
        let extensions: Vec<_> = config.extensions.iter().collect();
        assert_eq!(extensions[0].0.as_str(), "101");
        assert_eq!(extensions[1].0.as_str(), "102");
        assert_ne!(extensions[0].1.password, extensions[1].1.password);
        assert_eq!(config.echo.as_ref().unwrap().as_str(), "114");
        assert_eq!(config.listen, Config::default().listen);

        let welcome =
            welcome(&config, &path, &["2001:db8::5".parse().unwrap(), "192.0.2.5".parse().unwrap()]);
        for said in [
            "user       101",
            extensions[0].1.password.reveal(),
            extensions[1].1.password.reveal(),
            "server     2001:db8::5  or  192.0.2.5",
            "port       5060",
            "transport  UDP or TCP",
            "Call 114",
            "Call 102 from 101",
        ] {
            assert!(welcome.contains(said), "{said} is missing in:\n{welcome}");
        }
    }

    #[test]
    fn the_state_is_where_it_is_said() {
        let config = |state: Option<&str>| {
            let folder = Folder::new("state");
            let path = folder.0.join("denwa.conf");
            first_run(&path, state.map(Path::new), counting()).unwrap();
            Config::load(&path).unwrap().state
        };
        for state in ["/home/x/denwa-state", "/srv/a # b = c/電話"] {
            assert_eq!(config(Some(state)), Path::new(state));
        }
        for state in [None, Some(""), Some("/a\nb"), Some("/a "), Some("\u{3000}/a")] {
            assert_eq!(config(state), Config::default().state);
        }
    }

    #[test]
    fn its_examples_work_too() {
        let text = template(&Password::new("a"), &Password::new("b"), None);
        let all = text.replace("\n#", "\n").replace("\n ", "\n# ");
        let all: String = all
            .lines()
            .filter(|line| line.contains(" = "))
            .fold(String::new(), |all, line| all + line + "\n");
        let config = Config::parse("denwa.conf", all.as_bytes()).unwrap();
        assert_eq!(config.extensions.len(), 3);
        assert_eq!(config.groups.len(), 1);
        assert!(config.advertise_auto);
    }

    #[test]
    fn never_touches_a_file() {
        let folder = Folder::new("never");
        let path = folder.0.join("denwa.conf");
        fs::write(&path, "mine").unwrap();
        let error = first_run(&path, None, counting()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
        assert_eq!(folder.names(), ["denwa.conf"]);
    }

    #[test]
    fn leaves_nothing_where_randomness_fails() {
        let folder = Folder::new("nothing");
        let path = folder.0.join("denwa.conf");
        assert!(first_run(&path, None, |_| Err(io::Error::other("none"))).is_err());
        assert!(folder.names().is_empty());
    }
}
