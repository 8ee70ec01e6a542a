//! `denwa calls`: who talks to whom, and how well.

use std::time::Duration;

use super::super::words::{Brief, Count, Time};
use super::Paint;
use super::table::{Table, clip};
use crate::switch::view::{CallState, CallView, LegView, StreamView};

/// A block for each call: a line that says who talks to whom, and one for each stream of each leg. On a
/// terminal of `width` columns lines are no longer than that.
pub fn calls(calls: &[CallView], width: Option<usize>, paint: Paint) -> String {
    if calls.is_empty() {
        return "no calls\n".into();
    }
    let mut table =
        Table::new(["LEG", "CODEC", ">PACKETS", ">LOST", ">JITTER", ">ROUND TRIP", ">HEARD", "FROM"]);
    for leg in calls.iter().flat_map(|call| &call.legs) {
        if leg.streams.is_empty() {
            table.row(silent(leg));
        }
        for stream in &leg.streams {
            table.row(speaking(leg, stream));
        }
    }
    let mut lines = table.lines().into_iter();
    let mut out = String::new();
    let mut put = |line: String| {
        out += &line;
        out.push('\n');
    };
    put(paint.bold(clip(&format!("  {}", lines.next().unwrap_or_default()), width)).to_string());
    for call in calls {
        put(paint.bold(clip(&head(call), width)).to_string());
        let rows: usize = call.legs.iter().map(|leg| leg.streams.len().max(1)).sum();
        for line in lines.by_ref().take(rows) {
            put(clip(&format!("  {line}"), width));
        }
    }
    out
}

/// `call 17: 101 → 600, answered by 102, up for 1 min 23 s`.
fn head(call: &CallView) -> String {
    let CallView { call: number, from, to, .. } = call;
    let by = match &call.answered_by {
        Some(by) if by != to => format!(", answered by {by}"),
        _ => String::new(),
    };
    let state = match (call.state, call.talked_s) {
        (CallState::Up, Some(time)) => format!("up for {}", Time(Duration::from_secs(time))),
        (CallState::Ending, _) => "is being ended".into(),
        _ => format!("ringing for {}", Time(Duration::from_secs(call.lasted_s))),
    };
    format!("call {number}: {from} → {to}{by}, {state}")
}

fn name(leg: &LegView) -> String {
    leg.extension.clone().unwrap_or_else(|| "echo test".into())
}

/// A leg without sound.
fn silent(leg: &LegView) -> [String; 8] {
    let from = match leg.extension {
        Some(_) => format!("{} {}", leg.address, leg.transport),
        None => "this exchange".into(),
    };
    let [codec, packets, lost, jitter, round_trip, heard] = ["-"; 6].map(String::from);
    [name(leg), codec, packets, lost, jitter, round_trip, heard, from]
}

fn speaking(leg: &LegView, stream: &StreamView) -> [String; 8] {
    let Some(measured) = &stream.measured else {
        let [_, _, packets, lost, jitter, round_trip, heard, from] = silent(leg);
        return [name(leg), stream.codec.clone(), packets, lost, jitter, round_trip, heard, from];
    };
    let milliseconds = |time: Option<f32>| time.map_or("-".into(), |time| format!("{time:.1} ms"));
    let heard = match measured.heard_ms {
        None => "never".into(),
        Some(0..=2_000) => "now".into(),
        Some(time) => format!("{} ago", Brief(Duration::from_millis(time))),
    };
    [
        name(leg),
        stream.codec.clone(),
        Count(measured.packets).to_string(),
        format!("{:.1} %", measured.loss_percent),
        milliseconds(measured.jitter_ms),
        milliseconds(measured.round_trip_ms),
        heard,
        measured.source.map_or_else(|| format!("{} {}", leg.address, leg.transport), |from| from.to_string()),
    ]
}
