//! The notice that an instance will be stopped.

use std::fmt;
use std::time::Duration;

use serde_json::Value;

/// The longest time that a notice is believed to give; EC2 gives two minutes. One by a wrong clock gives this.
const LONGEST: Duration = Duration::from_secs(120);

/// What will be done to the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It is stopped, and may be started again.
    Stop,
    /// It sleeps, and goes on where it was.
    Hibernate,
    /// It is gone for good, and its disk perhaps with it. What is not known here counts as this.
    Terminate,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Action::Stop => "stops",
            Action::Hibernate => "hibernates",
            Action::Terminate => "takes away",
        })
    }
}

/// A notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notice {
    /// What will be done.
    pub action: Action,
    /// When, in seconds since 1970.
    pub at_unix: u64,
}

impl Notice {
    /// Reads what the service says at `spot/instance-action`. `None`: it is no notice.
    pub fn read(body: &str) -> Option<Notice> {
        let body: Value = serde_json::from_str(body).ok()?;
        let text = |name| body.get(name).and_then(Value::as_str);
        let action = match text("action")? {
            "stop" => Action::Stop,
            "hibernate" => Action::Hibernate,
            _ => Action::Terminate,
        };
        Some(Notice { action, at_unix: unix(text("time")?)? })
    }

    /// How long there is left when it is so late, in milliseconds since 1970.
    pub fn left(&self, unix_ms: u64) -> Duration {
        Duration::from_millis((self.at_unix * 1_000).saturating_sub(unix_ms)).min(LONGEST)
    }
}

/// The seconds since 1970 of a moment in ISO 8601, in UTC: `2026-11-22T23:51:46Z`.
fn unix(text: &str) -> Option<u64> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let [year, month, day] = numbers(date, '-')?;
    // Parts of a second are cut off.
    let [hour, minute, second] = numbers(time.split_once('.').map_or(time, |(whole, _)| whole), ':')?;
    let is_right = (1970..=9999).contains(&year)
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && (hour < 24 && minute < 60 && second < 61);
    if !is_right {
        return None;
    }
    // Years begin in March here, so that the leap day is the last one.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
    Some((days - 719_468) * 86_400 + hour * 3_600 + minute * 60 + second)
}

fn numbers(text: &str, between: char) -> Option<[u64; 3]> {
    let parts: Option<Vec<u64>> = text
        .split(between)
        .map(|part| part.parse().ok().filter(|_| part.len() <= 4 && part.bytes().all(|b| b.is_ascii_digit())))
        .collect();
    parts?.try_into().ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn notices_are_read() {
        let read = |action: &str| {
            Notice::read(&format!(r#"{{"action": "{action}", "time": "2026-11-22T23:51:46Z", "new": 1}}"#))
                .unwrap()
        };
        assert_eq!(read("stop"), Notice { action: Action::Stop, at_unix: 1_795_391_506 });
        assert_eq!(read("hibernate").action, Action::Hibernate);
        assert_eq!(read("terminate").action, read("something-new").action);
        let wrong = ["", "{}", "[]", r#"{"action":"stop"}"#, r#"{"action":"stop","time":"soon"}"#, "<html>"];
        for wrong in wrong {
            assert_eq!(Notice::read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn moments_are_read_as_they_are_written() {
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T00:00:00Z", 951_782_400),
            ("2026-11-22T23:51:46.123Z", 1_795_391_506),
            ("2100-03-01T00:00:00Z", 4_107_542_400),
        ] {
            assert_eq!(unix(text), Some(seconds), "{text}");
        }
        for wrong in [
            "",
            "Z",
            "2026-11-22",
            "2026-11-22T23:51:46",
            "2026-13-01T00:00:00Z",
            "2026-01-00T00:00:00Z",
            "0000-01-01T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:00Z",
            "99999-01-01T00:00:00Z",
            "+026-01-01T00:00:00Z",
            "2026-1\u{660}-01T00:00:00Z",
        ] {
            assert_eq!(unix(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_wrong_clock_gives_neither_no_time_nor_for_ever() {
        let notice = Notice { action: Action::Stop, at_unix: 1_795_391_506 };
        assert_eq!(notice.left(1_795_391_446_500), Duration::from_millis(59_500));
        assert_eq!(notice.left(1_795_391_999_000), Duration::ZERO);
        assert_eq!(notice.left(0), LONGEST);
    }
}
