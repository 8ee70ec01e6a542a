//! Quantities as people say them, each with its unit.

use std::fmt;
use std::time::Duration;

/// A duration: `23 s`, `1 min 23 s`, `60 min`, `8 h`, `3 days 2 h`.
pub struct Time(pub Duration);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MINUTE: u64 = 60;
        const HOUR: u64 = 60 * MINUTE;
        const DAY: u64 = 24 * HOUR;
        let seconds = self.0.as_secs();
        let (whole, unit, rest, small) = match seconds {
            0 => return write!(f, "{} ms", self.0.as_millis()),
            1..MINUTE => return write!(f, "{seconds} s"),
            _ if seconds < 2 * HOUR => (seconds / MINUTE, "min", seconds % MINUTE, "s"),
            _ if seconds < 2 * DAY => (seconds / HOUR, "h", seconds % HOUR / MINUTE, "min"),
            _ => (seconds / DAY, "days", seconds % DAY / HOUR, "h"),
        };
        match rest {
            0 => write!(f, "{whole} {unit}"),
            rest => write!(f, "{whole} {unit} {rest} {small}"),
        }
    }
}

/// A duration in one unit, rounded down, for columns: `23 s`, `43 min`, `7 h`, `3 days`.
pub(super) struct Brief(pub(super) Duration);

impl fmt::Display for Brief {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        match seconds {
            0..120 => write!(f, "{seconds} s"),
            120..7_200 => write!(f, "{} min", seconds / 60),
            7_200..172_800 => write!(f, "{} h", seconds / 3_600),
            _ => write!(f, "{} days", seconds / 86_400),
        }
    }
}

/// A whole number, with a comma before each three digits: `4,150`.
pub(super) struct Count(pub(super) u64);

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0..1000 => write!(f, "{}", self.0),
            _ => write!(f, "{},{:03}", Count(self.0 / 1000), self.0 % 1000),
        }
    }
}

/// A number of things: `1 packet`, `2 packets`.
pub struct Things(pub u64, pub &'static str);

impl fmt::Display for Things {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.0 == 1 { "" } else { "s" };
        write!(f, "{} {}{plural}", Count(self.0), self.1)
    }
}

/// A number of bytes, in the largest unit of which it is a whole number: `250 kB`, `1 MB`.
pub(super) struct Size(pub(super) u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            bytes if bytes.is_multiple_of(1_000_000_000) => write!(f, "{} GB", bytes / 1_000_000_000),
            bytes if bytes.is_multiple_of(1_000_000) => write!(f, "{} MB", bytes / 1_000_000),
            bytes if bytes.is_multiple_of(1_000) => write!(f, "{} kB", bytes / 1_000),
            bytes => write!(f, "{bytes} bytes"),
        }
    }
}

/// Text from the network: what is not printable ASCII becomes `?`, and what is beyond `most`
/// characters is left out.
pub(super) struct Foreign<'a> {
    pub(super) text: &'a str,
    pub(super) most: usize,
}

impl fmt::Display for Foreign<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write;
        for c in self.text.chars().take(self.most) {
            f.write_char(if matches!(c, ' '..='~') { c } else { '?' })?;
        }
        match self.text.chars().nth(self.most) {
            Some(_) => f.write_str("..."),
            None => Ok(()),
        }
    }
}

/// The first line of a message from the network, of which nothing was read yet. A password in its URI
/// (RFC 3261 §19.1.1) is not shown, nor a line that is none of a message: it may be a header with
/// credentials. The line may have been cut off.
pub(super) struct StartLine<'a>(pub(super) &'a str);

impl fmt::Display for StartLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let StartLine(line) = *self;
        let (first, rest) = line.split_once(' ').unwrap_or((line, ""));
        if first.starts_with("SIP/") {
            return Foreign { text: line, most: LINE }.fmt(f);
        }
        let is_uri = ["sip:", "sips:", "tel:", "urn:"]
            .iter()
            .any(|scheme| rest.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme)));
        if !is_uri {
            return f.write_str("something that is not SIP");
        }
        // scheme:user:password@host
        let user = rest.find(':').map_or(0, |scheme| scheme + 1);
        let host = rest.rfind('@').unwrap_or(if rest.ends_with("SIP/2.0") { 0 } else { rest.len() });
        match rest.get(user..host).and_then(|user| user.find(':')) {
            Some(password) => {
                let (shown, host) = (&rest[..user + password + 1], &rest[host..]);
                let text = &format!("{first} {shown}***{host}");
                Foreign { text, most: LINE }.fmt(f)
            }
            None => Foreign { text: line, most: LINE }.fmt(f),
        }
    }
}

/// How much of a first line is shown.
const LINE: usize = 160;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let said = |ms| Time(Duration::from_millis(ms)).to_string();
        assert_eq!(said(0), "0 ms");
        assert_eq!(said(400), "400 ms");
        assert_eq!(said(1_999), "1 s");
        assert_eq!(said(59_000), "59 s");
        assert_eq!(said(60_000), "1 min");
        assert_eq!(said(83_000), "1 min 23 s");
        assert_eq!(said(3_600_000), "60 min");
        assert_eq!(said(8 * 3_600_000), "8 h");
        assert_eq!(said(8 * 3_600_000 + 59_000), "8 h");
        assert_eq!(said(25 * 3_600_000 + 60_000), "25 h 1 min");
        assert_eq!(said(74 * 3_600_000), "3 days 2 h");
    }

    #[test]
    fn durations_in_one_unit() {
        let said = |seconds| Brief(Duration::from_secs(seconds)).to_string();
        assert_eq!(said(119), "119 s");
        assert_eq!(said(7_199), "119 min");
        assert_eq!(said(172_799), "47 h");
        assert_eq!(said(260_000), "3 days");
    }

    #[test]
    fn counts() {
        let said = |count| Count(count).to_string();
        assert_eq!(said(0), "0");
        assert_eq!(said(999), "999");
        assert_eq!(said(1_000), "1,000");
        assert_eq!(said(12_034_056), "12,034,056");
        assert_eq!(Things(1, "call").to_string(), "1 call");
        assert_eq!(Things(0, "call").to_string(), "0 calls");
    }

    #[test]
    fn sizes() {
        let said = |bytes| Size(bytes).to_string();
        assert_eq!(said(250_000), "250 kB");
        assert_eq!(said(1_000_000), "1 MB");
        assert_eq!(said(1_000_000_000), "1 GB");
        assert_eq!(said(1_500), "1500 bytes");
    }

    #[test]
    fn foreign_text_is_harmless() {
        let said = |text, most| Foreign { text, most }.to_string();
        assert_eq!(said("Snom/8.7 \x1b[31mred\r\n電", 64), "Snom/8.7 ?[31mred???");
        assert_eq!(said("abcdef", 6), "abcdef");
        assert_eq!(said("abcdef", 5), "abcde...");
    }

    #[test]
    fn a_start_line_shows_no_credentials() {
        let said = |line| StartLine(line).to_string();
        for line in [
            "INVITE sip:101@pbx.test SIP/2.0",
            "REGISTER sips:[2001:db8::1]:5061 SIP/2.0",
            "INVITE tel:+81312345678 SIP/2.0",
            "SIP/2.0 401 Unauthorized",
        ] {
            assert_eq!(said(line), line);
        }
        assert_eq!(said("INVITE sip:101:pass@h:5060 SIP/2.0"), "INVITE sip:101:***@h:5060 SIP/2.0");
        assert_eq!(said("INVITE SIP:101:p@ss:w@h SIP/2.0"), "INVITE SIP:101:***@h SIP/2.0");
        // Cut off before the host.
        assert_eq!(said("INVITE sip:101:passwor"), "INVITE sip:101:***");
        for line in ["Authorization: Digest response=1", "response=1", "", "電 sip", "X 電電電電"] {
            assert_eq!(said(line), "something that is not SIP", "{line}");
        }
        assert!(said(&format!("X sip:{}", "電".repeat(1_000))).len() < 170);
    }
}
