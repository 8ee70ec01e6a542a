//! `denwa trace`: one line a message, or all of each.

use super::super::utc::Utc;
use super::super::words::Foreign;
use super::table::clip;
use super::{Paint, Traced};

/// A message in one line of at most `width` columns, and if it came with it, all of it below.
///
/// ```text
/// 16:31:02.123      101 ─▶ denwa  INVITE sip:102@pbx.example.net  [1 INVITE a84b4c76]
/// 16:31:02.124      101 ◀─ denwa  407 Proxy Authentication Required  [1 INVITE a84b4c76]
/// ```
pub fn ladder(traced: &Traced, width: Option<usize>, paint: Paint) -> String {
    let second = Utc(traced.unix_ms / 1_000).to_string();
    let time = second.split(' ').nth(1).unwrap_or_default();
    let who = match (&traced.extension, &traced.claims) {
        (Some(extension), _) => extension.clone(),
        (None, Some(claims)) => format!("{claims}?"),
        (None, None) => traced.address.ip().to_string(),
    };
    let who = Foreign { text: &who, most: 39 }.to_string();
    let arrow = if traced.came { "─▶" } else { "◀─" };
    let start = traced.start_line.trim_start_matches("SIP/2.0 ").trim_end_matches(" SIP/2.0");
    let short = traced.call_id.chars().take(8).collect::<String>();
    let tail = format!("  [{} {short}]", traced.cseq);
    let milliseconds = traced.unix_ms % 1_000;
    let head = format!("{time}.{milliseconds:03} {who:>8} {arrow} denwa  ");
    let room = width.map(|width| width.saturating_sub(head.chars().count() + tail.chars().count()).max(16));
    let start = clip(start, room);
    let start = match start.as_bytes().first() {
        Some(b'4'..=b'6') => paint.bad(start).to_string(),
        Some(b'2') => paint.good(start).to_string(),
        _ => start,
    };
    let mut out = format!("{head}{start}{}\n", paint.faint(tail));
    if let Some(text) = &traced.text {
        let (transport, address) = (&traced.transport, traced.address);
        let way = if traced.came { "from" } else { "to" };
        out += &format!("    ({way} {transport} {address})\n");
        for line in text.lines() {
            out += "    ";
            out += line;
            out.push('\n');
        }
        out.push('\n');
    }
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn traced() -> Traced {
        Traced {
            unix_ms: 1_795_391_506_007,
            came: true,
            extension: Some("101".into()),
            claims: None,
            address: "192.0.2.31:5060".parse().unwrap(),
            transport: "udp".into(),
            start_line: "INVITE sip:102@pbx.example.net SIP/2.0".into(),
            call_id: "a84b4c76e66710@192.0.2.31".into(),
            cseq: "1 INVITE".into(),
            call: Some(17),
            text: None,
        }
    }

    #[test]
    fn one_line_a_message() {
        let line = |traced: &Traced, width| ladder(traced, width, Paint::NONE);
        assert_eq!(
            line(&traced(), None),
            "23:51:46.007      101 ─▶ denwa  INVITE sip:102@pbx.example.net  [1 INVITE a84b4c76]\n"
        );
        let clipped = line(&traced(), Some(70));
        assert_eq!(clipped, "23:51:46.007      101 ─▶ denwa  INVITE sip:102@p…  [1 INVITE a84b4c76]\n");
        let answer = Traced { came: false, start_line: "SIP/2.0 486 Busy Here".into(), ..traced() };
        assert_eq!(
            line(&answer, None),
            "23:51:46.007      101 ◀─ denwa  486 Busy Here  [1 INVITE a84b4c76]\n"
        );
        let stranger = Traced { extension: None, claims: Some("900".into()), ..traced() };
        assert!(line(&stranger, None).contains("     900? ─▶ denwa"));
        let unknown = Traced { extension: None, ..answer };
        assert!(line(&unknown, None).contains(" 192.0.2.31 ◀─ denwa"));
    }

    #[test]
    fn all_of_it_stands_below() {
        let whole = Traced { text: Some("INVITE sip:102 SIP/2.0\nMax-Forwards: 70\n".into()), ..traced() };
        let shown = ladder(&whole, None, Paint::NONE);
        let (_, below) = shown.split_once('\n').unwrap();
        assert_eq!(
            below,
            "    (from udp 192.0.2.31:5060)\n    INVITE sip:102 SIP/2.0\n    Max-Forwards: 70\n\n"
        );
    }
}
