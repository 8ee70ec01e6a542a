//! A SIP message without its secrets, for people to read.
//!
//! What is hidden, in whatever line it stands: answers to challenges (Authorization and the like, with the
//! lines that they go on in), keys of encrypted sound (`a=crypto`, `a=key-mgmt`, `k=`, `a=ice-pwd`), passwords
//! in URIs, and digits that were dialled in a call (INFO), which may be a PIN. It is hidden even where no
//! correct message would have it: this is about what people may see, not about what it means.
//!
//! The exchange does this between two messages, so each line is read a fixed number of times, whatever it
//! says.

use std::fmt::Write;

/// What stands in the place of a secret.
const HIDDEN: &str = "***";

/// The most bytes of a message that are shown.
const MOST: usize = 65_536;

/// Headers that answer a challenge, or say what only who knows the password can; all others that begin
/// with a scheme of credentials are treated alike.
const SECRET_HEADERS: [&str; 4] =
    ["authorization", "proxy-authorization", "authentication-info", "proxy-authentication-info"];

/// Headers that hold a challenge, which is no secret.
const CHALLENGES: [&str; 2] = ["www-authenticate", "proxy-authenticate"];

/// Schemes of credentials (RFC 9110 §11.4), at the beginning of a value.
const SCHEMES: [&str; 5] = ["digest ", "basic ", "bearer ", "ntlm ", "negotiate "];

/// Lines of a session description that hold keys, up to where these begin.
const KEYS: [&str; 4] = ["a=crypto:", "a=key-mgmt:", "a=ice-pwd:", "k="];

/// Parameters whose value is secret wherever they stand.
const PARAMETERS: [&str; 5] = ["response=", "rspauth=", "authorization=", "inline:", "password="];

/// The message with `\n` at the end of each line, in printable ASCII, without secrets.
pub fn masked(message: &[u8]) -> String {
    let text = String::from_utf8_lossy(message.get(..MOST).unwrap_or(message));
    let mut out = String::with_capacity(text.len());
    let mut in_secret = false;
    // CRLF is one line end; a lone CR or LF is one too, for whoever reads it so.
    for line in text.replace("\r\n", "\n").split(['\r', '\n']) {
        let is_continued = line.starts_with([' ', '\t']);
        in_secret &= is_continued;
        if in_secret {
            let _ = writeln!(out, " {HIDDEN}");
            continue;
        }
        let shown = match secret_from(line) {
            Some(start) => {
                in_secret = true;
                format!("{}{HIDDEN}", line.get(..start).unwrap_or_default())
            }
            None => without_parameters(without_passwords(line)),
        };
        // Writing to a string cannot fail.
        let _ = writeln!(out, "{}", printable(&shown));
    }
    while out.ends_with("\n\n") {
        out.pop();
    }
    out
}

/// Where the secret of a line begins that has one to its end.
fn secret_from(line: &str) -> Option<usize> {
    let lower = line.to_ascii_lowercase();
    if let Some(key) = KEYS.iter().find(|key| lower.trim_start().starts_with(*key)) {
        return Some(lower.len() - lower.trim_start().len() + key.len());
    }
    if let Some(digits) = lower.strip_prefix("signal") {
        let rest = digits.trim_start();
        return rest.starts_with('=').then(|| lower.len() - rest.len() + 1);
    }
    let (name, value) = lower.split_once(':')?;
    let name = name.trim();
    let value_from = lower.len() - value.trim_start().len();
    let is_credentials = SCHEMES.iter().any(|scheme| value.trim_start().starts_with(scheme));
    let is_secret = SECRET_HEADERS.contains(&name) || (is_credentials && !CHALLENGES.contains(&name));
    is_secret.then_some(value_from)
}

/// A line without the passwords in its URIs: `sip:user:password@host` (RFC 3261 §19.1.1).
fn without_passwords(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    // Up to where a URI must have ended; a password may have any of the rest.
    for run in line.split_inclusive([' ', '>', '<', '"', '\t', ',']) {
        match password(run) {
            Some((before, after)) => {
                out += before;
                out += HIDDEN;
                out += after;
            }
            None => out += run,
        }
    }
    out
}

/// What stands before and after the password in a run of characters that has no end of a URI within. The
/// first URI and the last `@` decide: whatever begins between them may belong to the password.
fn password(run: &str) -> Option<(&str, &str)> {
    let (userinfo, _) = run.rsplit_once('@')?;
    let mut colons = userinfo.match_indices(':').map(|(at, _)| at);
    colons.find(|&at| userinfo.get(..at).is_some_and(ends_with_scheme))?;
    let password = colons.next()? + 1;
    Some((run.get(..password)?, run.get(userinfo.len()..)?))
}

/// Whether a colon that follows would make it a URI of SIP.
fn ends_with_scheme(text: &str) -> bool {
    let text = text.as_bytes();
    text.last_chunk::<3>().is_some_and(|end| end.eq_ignore_ascii_case(b"sip"))
        || text.last_chunk::<4>().is_some_and(|end| end.eq_ignore_ascii_case(b"sips"))
}

/// A line without the values of secret parameters.
fn without_parameters(line: String) -> String {
    PARAMETERS.iter().fold(line, |line, name| without_parameter(line, name))
}

/// A line without the values of one parameter.
fn without_parameter(line: String, name: &str) -> String {
    let lower = line.to_ascii_lowercase();
    let mut out = String::new();
    let mut from = 0;
    while let Some(at) = lower.get(from..).and_then(|text| text.find(name)) {
        let value = from + at + name.len();
        let rest = line.get(value..).unwrap_or_default();
        let length = match rest.strip_prefix('"') {
            Some(quoted) => quoted.find('"').map_or(rest.len(), |end| end + 2),
            None => rest.find([' ', ',', ';', '>', '&', '"']).unwrap_or(rest.len()),
        };
        out += line.get(from..value).unwrap_or_default();
        out += HIDDEN;
        from = value + length;
    }
    if from == 0 {
        return line;
    }
    out += line.get(from..).unwrap_or_default();
    out
}

/// What is not printable ASCII becomes `?`, but for tabs, which become blanks.
fn printable(line: &str) -> String {
    let shown = |c: char| match c {
        '\t' => ' ',
        ' '..='~' => c,
        _ => '?',
    };
    line.chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const SECRET: &str = "s3cr3t";

    #[test]
    fn no_secret_is_shown_wherever_it_stands() {
        for line in [
            "Authorization: Digest username=\"101\", response=\"s3cr3t\"",
            "authorization : s3cr3t",
            "PROXY-AUTHORIZATION:Digest response=s3cr3t",
            "Proxy-Authorization: Digest username=\"101\",\r\n response=\"x\",\r\n\tcnonce=\"s3cr3t\"",
            "Authorization: Digest a\n b\n s3cr3t",
            "Authentication-Info: rspauth=\"s3cr3t\"",
            "X-Own: Basic s3cr3t",
            "X-Own: bearer s3cr3t",
            "X-Own: what; response=s3cr3t",
            "X-Own: what; RESPONSE=\"s3cr3t\", response=\"s3cr3t\"",
            "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:s3cr3t|2^20",
            "A=CRYPTO:s3cr3t",
            " a=crypto:1 s3cr3t",
            "X: inline:s3cr3t",
            "k=base64:s3cr3t",
            "a=key-mgmt:mikey s3cr3t",
            "a=ice-pwd:s3cr3t",
            "INVITE sip:101:s3cr3t@pbx.example.net SIP/2.0",
            "To: <sips:101:s3cr3t@[2001:db8::1]>;tag=1",
            "Contact: <sip:a@b>, <SIP:101:x@s3cr3t:s3cr3t@h>",
            "Refer-To: <sip:101@h?Authorization=s3cr3t&x=y>",
            "Refer-To: <sip:101@h?Proxy-Authorization=Digest%20s3cr3t>",
            "Signal=s3cr3t",
            "Signal = s3cr3t",
            "signal= s3cr3t",
            "Authorization: Digest\r s3cr3t",
        ] {
            for message in [
                line.to_owned(),
                format!("OPTIONS sip:x SIP/2.0\r\n{line}\r\nMax-Forwards: 70\r\n\r\nv=0\r\n"),
            ] {
                let shown = masked(message.as_bytes());
                assert!(!shown.contains(SECRET), "{line:?}: {shown}");
                assert!(shown.contains(HIDDEN), "{line:?}: {shown}");
            }
        }
    }

    #[test]
    fn all_else_is_shown() {
        let message = "REGISTER sip:pbx.example.net SIP/2.0\r\n\
            Via: SIP/2.0/UDP 192.0.2.31:5060;branch=z9hG4bK1;rport\r\n\
            Authorization: Digest username=\"101\", response=\"s3cr3t\"\r\n\
            WWW-Authenticate: Digest realm=\"x\", nonce=\"y\"\r\n\
            Contact: <sip:101@192.0.2.31:5060>;expires=60\r\n\r\n\
            v=0\r\nm=audio 4000 RTP/AVP 0\r\na=fingerprint:sha-256 AA\r\n";
        assert_eq!(
            masked(message.as_bytes()),
            "REGISTER sip:pbx.example.net SIP/2.0\n\
            Via: SIP/2.0/UDP 192.0.2.31:5060;branch=z9hG4bK1;rport\n\
            Authorization: ***\n\
            WWW-Authenticate: Digest realm=\"x\", nonce=\"y\"\n\
            Contact: <sip:101@192.0.2.31:5060>;expires=60\n\n\
            v=0\nm=audio 4000 RTP/AVP 0\na=fingerprint:sha-256 AA\n"
        );
    }

    #[test]
    fn whatever_comes_is_printable() {
        let nasty: Vec<u8> = (0..=255).cycle().take(100_000).collect();
        let shown = masked(&nasty);
        assert!(shown.bytes().all(|b| b == b'\n' || (b' '..=b'~').contains(&b)));
        assert_eq!(masked(b""), "\n");
        for text in ["sip:", "sips:电:电@", "sip:a:@", "response=\"", "response=", "Signal", ":", " :"] {
            masked(text.as_bytes());
        }
    }
    #[test]
    fn the_first_uri_and_the_last_at_sign_decide() {
        for (line, shown) in [
            ("sip:sip:sip:a@b@c d", "sip:sip:***@c d"),
            ("xSIPS:a:b@c,sip:d:e@f:5060;g", "xSIPS:a:***@c,sip:d:***@f:5060;g"),
            ("sip:a@b:c@d", "sip:a@b:***@d"),
            ("sip:a@sip:b:c sip:d", "sip:a@sip:b:c sip:d"),
            ("sip:a:b c@d", "sip:a:b c@d"),
            ("tel:a:b@c", "tel:a:b@c"),
            ("sip:\u{96fb}:\u{96fb}@\u{96fb}", "sip:\u{96fb}:***@\u{96fb}"),
        ] {
            assert_eq!(without_passwords(line), shown, "{line}");
        }
    }

    /// The time that a message takes of `length` bytes which repeats `part`.
    fn cost(part: &str, length: usize) -> Duration {
        let message = [b"OPTIONS ".as_slice(), part.repeat(length / part.len()).as_bytes()].concat();
        let start = processor_time();
        std::hint::black_box(masked(&message));
        processor_time() - start
    }

    /// What this thread has had of the processor: others that use the machine do not count.
    fn processor_time() -> Duration {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
    }

    #[test]
    fn whatever_is_repeated_costs_in_proportion() {
        let names = PARAMETERS.into_iter().chain(["response=;", "inline:\"", "password=\"\" "]);
        let uris = ["sip:", "sips:", "sip:sips:@", "sip:a:b@c ", ":", "@", ";", "sip:;", "\"", "a\n", "\n"];
        for part in names.chain(uris) {
            let (mut short, mut long) = (Duration::MAX, Duration::MAX);
            // The least of several, and of many if others use the machine.
            for round in 0..50 {
                short = cost(part, MOST / 4).min(short);
                long = cost(part, MOST).min(long);
                if round >= 5 && is_fine(short, long) {
                    break;
                }
            }
            assert!(is_fine(short, long), "{part:?}: {short:?}, {long:?}");
        }
    }

    /// Four times as long takes four times as much in proportion, sixteen times as much in its square.
    fn is_fine(short: Duration, long: Duration) -> bool {
        long < Duration::from_millis(50) && long < 8 * short
    }
}
