//! `denwa watch`: what stands on its screen.

use std::time::Duration;

use super::super::utc::Utc;
use super::super::words::{Brief, Count, Foreign, Things};
use super::table::clip;
use super::{Paint, Status, advice, calls, phones};
use crate::switch::view::{CallView, ExtensionView};

/// All that is shown at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// How the exchange is.
    pub status: Status,
    /// Who talks to whom.
    pub calls: Vec<CallView>,
    /// Who is registered.
    pub phones: Vec<ExtensionView>,
    /// The last lines of the log.
    pub log: Vec<String>,
}

/// The lines of a screen of so many columns and rows, no more and none longer: a line about the exchange, what
/// is not right, calls, phones, the log. What finds no room is counted. `trouble` says why the snapshot is an
/// old one, if it is, or there is none.
pub fn screen(
    snapshot: Option<&Snapshot>,
    trouble: Option<&str>,
    (width, height): (usize, usize),
    paint: Paint,
) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(trouble) = trouble {
        lines.push(paint.bad(clip(trouble, Some(width))).to_string());
    }
    if let Some(snapshot) = snapshot {
        lines.push(paint.bold(clip(&head(&snapshot.status), Some(width))).to_string());
        if let Some(first) = advice(&snapshot.status).first() {
            lines.push(paint.bad(clip(&format!("Look: {first}"), Some(width))).to_string());
        }
        // The log has what is left, but at least some lines.
        let room = height.saturating_sub(lines.len() + LOG_LEAST);
        let calls = calls(&snapshot.calls, Some(width), paint);
        section(&mut lines, &calls, room / 2);
        let registered: Vec<ExtensionView> =
            snapshot.phones.iter().filter(|extension| !extension.phones.is_empty()).cloned().collect();
        if !registered.is_empty() {
            let room = height.saturating_sub(lines.len() + LOG_LEAST);
            section(&mut lines, &phones(&registered, Some(width), paint), room);
        }
        let room = height.saturating_sub(lines.len() + 1);
        let log = &snapshot.log[snapshot.log.len().saturating_sub(room)..];
        lines.push(String::new());
        lines.extend(log.iter().map(|line| clip(&shown(line), Some(width))));
    }
    lines.truncate(height);
    lines
}

/// How many rows the log has at least, the blank one above it included.
const LOG_LEAST: usize = 5;

/// `16:43:14 UTC  denwa  up 74 h  2 of 3 registered  2 phones  1 call  q leaves`.
fn head(status: &Status) -> String {
    let counts = &status.counts;
    let up = Brief(Duration::from_secs(status.now_unix.saturating_sub(status.facts.started_unix)));
    let now = Utc(status.now_unix).to_string();
    format!(
        "{} UTC  denwa  up {up}  {} of {} registered  {}  {}  q leaves",
        now.split(' ').nth(1).unwrap_or_default(),
        Count(counts.registered),
        Count(counts.extensions),
        Things(counts.phones, "phone"),
        Things(counts.calls, "call"),
    )
}

/// Adds a blank line and what there is, in at most so many rows.
fn section(lines: &mut Vec<String>, text: &str, room: usize) {
    let all: Vec<&str> = text.lines().collect();
    let room = room.saturating_sub(1);
    if room == 0 {
        return;
    }
    lines.push(String::new());
    let shown = if all.len() > room { room - 1 } else { all.len() };
    lines.extend(all.iter().take(shown).map(|line| line.to_string()));
    if all.len() > shown {
        lines.push(format!("  … and {} more", Things((all.len() - shown) as u64, "line")));
    }
}

/// The log is made of printable characters, but for arrows.
fn shown(line: &str) -> String {
    let parts: Vec<String> = line.split('→').map(|text| Foreign { text, most: 400 }.to_string()).collect();
    parts.join("→")
}

#[cfg(test)]
mod tests {
    use super::super::tests::{call, extension, status};
    use super::*;

    fn snapshot(calls: usize, phones: usize) -> Snapshot {
        Snapshot {
            status: status(),
            calls: (1..=calls).map(|n| call(n as u64)).collect(),
            phones: (0..phones).map(|n| extension(&format!("{}", 100 + n))).collect(),
            log: (0..64)
                .map(|n| format!("2026-11-22 23:51:46 info  line {n} → {}", "x".repeat(200)))
                .collect(),
        }
    }

    #[test]
    fn it_fits_whatever_there_is() {
        for (width, height) in [(80, 24), (40, 10), (200, 60), (20, 3), (1, 1), (80, 0)] {
            for (calls, phones) in [(0, 0), (1, 1), (500, 500)] {
                let lines = screen(Some(&snapshot(calls, phones)), Some("old"), (width, height), Paint::NONE);
                assert!(lines.len() <= height, "{} of {height}", lines.len());
                for line in &lines {
                    assert!(line.chars().count() <= width || line.starts_with("  … and"), "{line}");
                }
            }
        }
    }

    #[test]
    fn all_parts_have_a_place() {
        let lines = screen(Some(&snapshot(1, 2)), None, (80, 24), Paint::NONE);
        let text = lines.join("\n");
        for part in [
            "23:51:46 UTC  denwa  up 25 h  3 of 5 registered  4 phones  1 call  q leaves",
            "Look: ",
            "call 1: 101 → 102",
            "ADDRESS",
            "\n101  ",
            "line 63 → xxx",
        ] {
            assert!(text.contains(part), "{part}:\n{text}");
        }
        assert_eq!(lines.len(), 24);
        let many = screen(Some(&snapshot(40, 40)), None, (80, 24), Paint::NONE).join("\n");
        assert!(many.contains("… and 115 lines more") && many.contains("line 63"), "{many}");
        let none = screen(None, Some("no exchange answers"), (80, 24), Paint::NONE);
        assert_eq!(none, ["no exchange answers"]);
    }
}
