//! A call record as a line of a table (RFC 4180) that a spreadsheet opens.

use std::fmt;
use std::time::Duration;

use super::line::Why;
use super::utc::Iso;
use crate::config::{Label, Number};
use crate::media::Counters;
use crate::switch::CallRecord;

/// The first line of a file: what the columns mean. The peer is the other exchange that the call came from or went
/// to, a friend's or a provider's; both, with a space between them, where it came from one and went to another.
pub(super) const HEADER: &str = "start,answer,end,duration_s,talked_s,from,to,answered_by,peer,cause,source,\
     caller_packets,caller_lost,caller_jitter_ms,caller_round_trip_ms,\
     callee_packets,callee_lost,callee_jitter_ms,callee_round_trip_ms,call\r\n";

/// The line of a call. All numbers are whole ones, which read the same in every country; what is not known,
/// or did not happen, is empty.
pub(super) struct Row<'a>(pub(super) &'a CallRecord);

impl fmt::Display for Row<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let CallRecord { parties, started, duration, talked, cause, source, exchanges, .. } = self.0;
        let ended = *started + *duration;
        let answered = talked.map(|talked| Iso(ended.saturating_sub(talked).as_secs()));
        let talked = talked.as_ref().map(Duration::as_secs);
        write!(f, "{},{},{},", Iso(started.as_secs()), Maybe(answered), Iso(ended.as_secs()))?;
        write!(f, "{},{},", duration.as_secs(), Maybe(talked))?;
        let by = parties.by.as_ref().map_or("", Number::as_str);
        let exchanges: Vec<&str> = exchanges.iter().map(Label::as_str).collect();
        write!(f, "{},{},{},", Cell(parties.from.as_str()), Cell(parties.to.as_str()), Cell(by))?;
        write!(f, "{},{},{source},", Cell(&exchanges.join(" ")), Cell(&Why(*cause).to_string()))?;
        write!(f, "{},{},{}\r\n", Heard(&self.0.caller_media), Heard(&self.0.callee_media), parties.call)
    }
}

/// What came from one side.
struct Heard<'a>(&'a Counters);

impl fmt::Display for Heard<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counters { packets, lost, jitter, round_trip, .. } = *self.0;
        let ms = |us: u32| us.saturating_add(500) / 1_000;
        let jitter = (packets > 0).then(|| ms(jitter));
        let round_trip = (round_trip > 0).then(|| ms(round_trip));
        write!(f, "{packets},{lost},{},{}", Maybe(jitter), Maybe(round_trip))
    }
}

/// Nothing, where there is nothing.
struct Maybe<T>(Option<T>);

impl<T: fmt::Display> fmt::Display for Maybe<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_ref().map_or(Ok(()), |value| value.fmt(f))
    }
}

/// A text, in quotes where it needs them (RFC 4180 §2). One that a spreadsheet would take for a formula is
/// made none by an apostrophe before it; whoever dials `+81312345678` would be added up, or worse.
struct Cell<'a>(&'a str);

impl fmt::Display for Cell<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The wide ones are formulas where people write Japanese.
        let is_formula = self.0.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠']);
        let apostrophe = if is_formula { "'" } else { "" };
        match self.0.contains(['"', ',', '\r', '\n']) {
            false => write!(f, "{apostrophe}{}", self.0),
            true => write!(f, "\"{apostrophe}{}\"", self.0.replace('"', "\"\"")),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::switch::{CallParties, Cause};

    fn number(text: &str) -> Number {
        Number::new(text).unwrap()
    }

    fn record(to: &str, cause: Cause) -> CallRecord {
        CallRecord {
            parties: CallParties { call: 17, from: number("101"), to: number(to), by: None },
            started: Duration::from_millis(1_795_391_506_900),
            duration: Duration::from_millis(12_345),
            talked: None,
            cause,
            source: "192.0.2.31".parse().unwrap(),
            exchanges: Vec::new(),
            caller_media: Counters::default(),
            callee_media: Counters::default(),
        }
    }

    #[test]
    fn a_call_is_a_line_under_its_header() {
        let heard =
            Counters { packets: 4_150, lost: 2, jitter: 1_499, round_trip: 23_500, ..Counters::default() };
        let call = CallRecord {
            parties: CallParties { by: Some(number("102")), ..record("600", Cause::CallerHungUp).parties },
            talked: Some(Duration::from_millis(8_345)),
            caller_media: heard,
            callee_media: Counters { round_trip: 0, ..heard },
            source: "2001:db8::7".parse().unwrap(),
            ..record("600", Cause::CallerHungUp)
        };
        assert_eq!(
            Row(&call).to_string(),
            "2026-11-22T23:51:46Z,2026-11-22T23:51:50Z,2026-11-22T23:51:59Z,12,8,101,600,102,,caller hung up,\
             2001:db8::7,4150,2,1,24,4150,2,1,,17\r\n"
        );
        let refused = Row(&record("102", Cause::Refused(486))).to_string();
        assert_eq!(
            refused,
            "2026-11-22T23:51:46Z,,2026-11-22T23:51:59Z,12,,101,102,,,busy (486),192.0.2.31,0,0,,,0,0,,,17\r\n"
        );
        for line in [HEADER, &refused] {
            assert_eq!(
                (line.matches(',').count(), line.lines().count(), line.ends_with("\r\n")),
                (19, 1, true)
            );
        }
    }

    #[test]
    fn by_which_exchanges_it_came_and_went_is_one_cell() {
        let by = |labels: &[&str]| {
            let exchanges = labels.iter().map(|label| Label::new(label).unwrap()).collect();
            Row(&CallRecord { exchanges, ..record("0312345678", Cause::Cancelled) }).to_string()
        };
        for (labels, cell) in [
            (&[][..], ",101,0312345678,,,caller gave up,"),
            (&["trunk.isp"], ",101,0312345678,,trunk.isp,caller gave up,"),
            (&["peer.osaka", "trunk.isp"], ",101,0312345678,,peer.osaka trunk.isp,caller gave up,"),
        ] {
            let line = by(labels);
            assert!(line.contains(cell), "{line}");
            assert_eq!(line.matches(',').count(), HEADER.matches(',').count());
        }
    }

    #[test]
    fn nothing_in_it_is_a_formula() {
        let said = |text| Cell(text).to_string();
        for harmless in ["101", "", "0312345678", "*98", "#1", "a=b", "no phone is registered"] {
            assert_eq!(said(harmless), harmless);
        }
        for harmful in ["+81312345678", "=1+1", "-1", "@SUM(A1)", "\tx", "＝1", "＋1", "－1", "＠x"] {
            assert_eq!(said(harmful), format!("'{harmful}"));
        }
        assert_eq!(said("=cmd|'/c x'!A1,2"), "\"'=cmd|'/c x'!A1,2\"");
        assert_eq!(said("\r=1"), "\"'\r=1\"");
        assert!(Row(&record("+81312345678", Cause::Cancelled)).to_string().contains(",101,'+81312345678,"));
    }

    #[test]
    fn what_separates_cells_is_quoted() {
        let said = |text| Cell(text).to_string();
        assert_eq!(said("a,b"), "\"a,b\"");
        assert_eq!(said("say \"hello\""), "\"say \"\"hello\"\"\"");
        assert_eq!(said("two\nlines"), "\"two\nlines\"");
        let refused = Row(&record("102", Cause::Unregistered)).to_string();
        assert!(refused.contains(",no phone is registered (480),192.0.2.31,"), "{refused}");
    }
}
