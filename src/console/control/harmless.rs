//! Answers that a terminal only shows.
//!
//! What answers has read what strangers sent, and may be theirs by now; the terminal may be root's. So a text
//! is made harmless before anything else is done with it, whatever answer it stands in.

use serde_json::Value;

use super::{FrameError, Reply};

/// Where a text has lines: that of a message which is traced.
const WITH_LINES: &str = "text";

/// The same answer, with a `?` for each character in it that a terminal obeys: control characters, and those
/// that turn the direction of writing or end a line.
///
/// It goes through a tree that knows nothing of answers, so that no field can be forgotten.
///
/// # Errors
///
/// [`FrameError::Garbled`] if a number in it is none.
pub(super) fn harmless(reply: Reply) -> Result<Reply, FrameError> {
    let mut tree = serde_json::to_value(reply).map_err(|_| FrameError::Garbled)?;
    clean(&mut tree, false);
    serde_json::from_value(tree).map_err(|_| FrameError::Garbled)
}

/// The tree is as deep as an answer, which is a few levels.
fn clean(tree: &mut Value, has_lines: bool) {
    match tree {
        Value::String(text) if text.contains(is_obeyed) => {
            let shown = |c| if is_obeyed(c) && !(has_lines && c == '\n') { '?' } else { c };
            *text = text.chars().map(shown).collect();
        }
        Value::Array(list) => list.iter_mut().for_each(|value| clean(value, false)),
        Value::Object(fields) => {
            fields.iter_mut().for_each(|(name, value)| clean(value, name == WITH_LINES));
        }
        _ => {}
    }
}

/// Whether a terminal does something else than show it. Beyond control characters these are the separators of
/// lines and paragraphs, and what overrides, embeds or isolates a direction (Unicode annex 9).
pub(crate) fn is_obeyed(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    use super::super::tests::{call, extension, status};
    use super::super::*;
    use super::*;
    use crate::switch::view::BanView;
    use crate::switch::{Incident, What};

    /// Clears the screen, sets its title, types an answer, goes to the next line, turns what follows.
    const NASTY: &str = "\x1b[2J\x1b]0;title\x07\u{9b}6n\r\n\t\x08\x7f\u{202e}電 →";
    const SHOWN: &str = "?[2J?]0;title??6n??????電 →";

    fn incident(what: What) -> Incident {
        let text = || NASTY.to_owned();
        Incident {
            first_unix: 1,
            last_unix: 2,
            count: 3,
            what,
            call: Some(17),
            number: text(),
            other: text(),
            from: text(),
            user_agent: text(),
            reason: text(),
            key: Some(NASTY.into()),
        }
    }

    fn traced(text: Option<String>) -> Traced {
        Traced {
            unix_ms: 1,
            came: true,
            extension: Some(NASTY.into()),
            claims: Some(NASTY.into()),
            address: "192.0.2.31:5060".parse().unwrap(),
            transport: NASTY.into(),
            start_line: NASTY.into(),
            call_id: NASTY.into(),
            cseq: NASTY.into(),
            call: Some(17),
            text,
        }
    }

    /// One of each but a refusal, with [`NASTY`] for every text.
    fn replies() -> Vec<Reply> {
        let text = || NASTY.to_owned();
        let mut nasty = status();
        nasty.facts =
            Facts { version: text(), configuration: text(), sandbox: text(), state: text(), ..nasty.facts };
        nasty.domain = Some(text());
        nasty.listening.iter_mut().for_each(|place| place.transport = text());
        nasty.tls = Some(Certificate {
            self_signed: true,
            sha256_fingerprint: text(),
            not_after_unix: u64::MAX,
            trouble: Some(text()),
        });
        nasty.refused.iter_mut().for_each(|refused| refused.reason = text());
        nasty.remarks.push(text());
        let mut phones = extension(NASTY);
        phones.name = Some(text());
        for phone in &mut phones.phones {
            (phone.transport, phone.user_agent) = (text(), Some(text()));
        }
        let mut talk = call(17);
        (talk.from, talk.to, talk.answered_by, talk.call_id) = (text(), text(), Some(text()), text());
        for leg in &mut talk.legs {
            (leg.extension, leg.transport) = (Some(text()), text());
            leg.streams.iter_mut().for_each(|stream| stream.codec = text());
        }
        vec![
            Reply::Status(Box::new(nasty)),
            Reply::Phones { phones: vec![phones], next: Some(text()) },
            Reply::Calls { calls: vec![talk], next: Some(17) },
            Reply::Log(vec![text()]),
            Reply::Why(vec![incident(What::Refused(text())), incident(What::NotAnswered(text()))]),
            Reply::Bans(vec![BanView { source: text(), wrong_passwords: Some(30), left_s: 83 }]),
            Reply::Ended(vec![EndedCall { call: 17, from: text(), to: text() }]),
            Reply::Sources(vec![text()]),
            Reply::Tracing,
            Reply::Traced(Box::new(traced(None))),
            Reply::Missed(u64::MAX),
        ]
    }

    /// What a client hears of an exchange that says this.
    fn heard(reply: &Reply) -> Result<Reply, AskError> {
        let (mut exchange, ours) = UnixStream::pair().unwrap();
        let frame = encode(reply, MAX_REPLY).unwrap();
        let says = std::thread::spawn(move || exchange.write_all(&frame).unwrap());
        let heard = Client::over(ours).hear();
        says.join().unwrap();
        heard
    }

    #[test]
    fn nothing_that_a_terminal_obeys_is_in_any_answer() {
        for reply in replies() {
            let shown = heard(&reply).unwrap();
            // Nothing else is changed.
            assert_eq!(format!("{shown:?}"), format!("{reply:?}").replace(&escaped(NASTY), &escaped(SHOWN)));
            let json = serde_json::to_string(&shown).unwrap();
            assert!(!json.contains("\\u00") && !json.contains(is_obeyed), "{json}");
        }
        let Err(AskError::Refused(why)) = heard(&Reply::Refused(NASTY.into())) else { panic!("it refuses") };
        assert_eq!(why, SHOWN);
    }

    fn escaped(text: &str) -> String {
        let quoted = format!("{text:?}");
        quoted.trim_matches('"').to_owned()
    }

    #[test]
    fn a_traced_message_has_lines_and_nothing_else() {
        let message = traced(Some(format!("one\n{NASTY}\r\nthree\n")));
        let Reply::Traced(shown) = heard(&Reply::Traced(Box::new(message))).unwrap() else {
            panic!("traced")
        };
        let with_lines = SHOWN.replacen("6n??", "6n?\n", 1);
        assert_eq!(shown.text.as_deref(), Some(format!("one\n{with_lines}?\nthree\n").as_str()));
        let ladder = ladder(&shown, None, Paint::NONE);
        assert!(!ladder.contains(|c| c != '\n' && is_obeyed(c)), "{ladder:?}");
        // One line of head, one of where from, the text's four, a blank one.
        assert_eq!(ladder.lines().count(), 7, "{ladder:?}");
    }

    #[test]
    fn harmless_answers_come_as_they_are() {
        let calls = Reply::Calls { calls: vec![call(u64::MAX)], next: Some(u64::MAX) };
        let phones = Reply::Phones { phones: vec![extension("101")], next: None };
        for reply in [Reply::Status(Box::new(status())), calls, phones, Reply::Tracing] {
            assert_eq!(heard(&reply).unwrap(), reply);
        }
    }
}
