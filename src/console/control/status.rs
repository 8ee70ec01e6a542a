//! `denwa status`: one screen.

use std::fmt::{Display, Write};
use std::net::IpAddr;
use std::time::Duration;

use serde_json::Value;

use super::super::utc::Utc;
use super::super::words::{Count, Foreign, Things, Time};
use super::table::wrap;
use super::{Paint, StateFolder, Status, advice, neighbours};
use crate::switch::view::NeighbourView;

/// Where values begin, in columns.
const INDENT: usize = 21;

/// The width of a screen that everybody has, in columns.
const WIDTH: usize = 80;

/// How the exchange is, and what its owner should do next.
pub fn status(status: &Status, paint: Paint) -> String {
    let facts = &status.facts;
    let mut out = format!("denwa {} runs {}\n\n", paint.bold(&facts.version), facts.configuration);
    let since = |unix: u64| Time(Duration::from_secs(status.now_unix.saturating_sub(unix)));
    row(&mut out, "up", format_args!("{}, since {} UTC", since(facts.started_unix), Utc(facts.started_unix)));
    if facts.restarts > 0 {
        let (times, ago) = (Things(facts.restarts.into(), "time"), since(facts.exchange_started_unix));
        let died = format!("{times} since then, the last time {ago} ago");
        row(&mut out, "it died", paint.bad(died));
    }
    row(&mut out, "processes", format_args!("{} keeps it, {} serves", facts.keeper_pid, facts.pid));
    let listening: Vec<String> =
        status.listening.iter().map(|place| format!("{} {}", place.transport, place.address)).collect();
    row(&mut out, "SIP is spoken on", listening.join(", "));
    if let Some(certificate) = &status.tls {
        let until = Utc(certificate.not_after_unix);
        let valid = format!("valid until {until} UTC");
        let title = "TLS certificate";
        match (&certificate.trouble, certificate.self_signed) {
            (Some(_), _) => row(&mut out, title, paint.bad(valid)),
            (None, false) => row(&mut out, title, valid),
            (None, true) => row(&mut out, title, "made by denwa (self-signed), SHA-256 fingerprint:"),
        }
        if certificate.self_signed {
            // In two halves of equal width, since nothing breaks between its octets.
            let fingerprint = &certificate.sha256_fingerprint;
            let (first, second) = fingerprint.split_at_checked(48).unwrap_or((fingerprint, ""));
            row(&mut out, "", first);
            row(&mut out, "", second);
        }
    }
    let in_a_row = |addresses: &[IpAddr]| {
        let addresses: Vec<String> = addresses.iter().map(IpAddr::to_string).collect();
        addresses.join(", ")
    };
    match status.addresses.is_empty() {
        true => row(&mut out, "addresses", paint.bad("none that leads anywhere")),
        false => row(&mut out, "addresses", in_a_row(&status.addresses)),
    }
    let domain = status.domain.as_deref().unwrap_or("any name or address of this machine");
    row(&mut out, "phones register at", domain);
    if !status.advertise.is_empty() {
        row(&mut out, "public address", in_a_row(&status.advertise));
    }
    if let Some(left) = status.stopping_s {
        row(&mut out, "spot", paint.bad(format!("the cloud stops this server in {left} s")));
    }
    let counts = &status.counts;
    let registered = format!(
        "{} of {} registered, {}",
        Count(counts.registered),
        Count(counts.extensions),
        Things(counts.phones, "phone")
    );
    match counts.registered {
        0 => row(&mut out, "extensions", paint.bad(registered)),
        _ => row(&mut out, "extensions", paint.good(registered)),
    }
    if !status.neighbours.is_empty() {
        let summary = neighbours::summary(&status.neighbours);
        let is_well = status.neighbours.iter().all(NeighbourView::is_well);
        row(&mut out, "other exchanges", if is_well { paint.good(summary) } else { paint.bad(summary) });
    }
    let (calls, limit, (first, last)) = (Count(counts.calls), Count(counts.calls_limit), status.media_ports);
    row(&mut out, "calls", format_args!("{calls} now, {limit} at most (media ports {first}-{last})"));
    match status.state {
        StateFolder::Written => row(&mut out, "state folder", &facts.state),
        StateFolder::Unwritable => {
            let text = format!("{} CANNOT BE WRITTEN", facts.state);
            row(&mut out, "state folder", paint.bad(text));
        }
        StateFolder::Missing => row(&mut out, "state folder", paint.bad("none")),
    }
    let sandbox = facts.sandbox.strip_prefix("sandbox: ").unwrap_or(&facts.sandbox);
    row(&mut out, "sandbox", sandbox);
    if status.banned > 0 {
        let banned = Things(status.banned, "source");
        row(&mut out, "not heard", format_args!("{banned}; `denwa bans` shows which"));
    }
    for (n, refused) in status.refused.iter().enumerate() {
        let title = if n == 0 { "refused in 24 h" } else { "" };
        let reason = Foreign { text: &refused.reason, most: 200 };
        row(&mut out, title, format_args!("{}: {reason}", Things(refused.count, "time")));
    }
    let advice = advice(status);
    if !advice.is_empty() {
        let _ = writeln!(out, "\n{}", paint.bold("Look:"));
        for sentence in advice {
            let _ = writeln!(out, "  - {}", wrap(&sentence, WIDTH, 4));
        }
    }
    out
}

/// The same for programs: an object, in which `advice` is a list of sentences.
pub fn status_json(status: &Status) -> Value {
    let mut object = serde_json::Map::new();
    if let Ok(Value::Object(all)) = serde_json::to_value(status) {
        for (name, value) in all {
            match (name.as_str(), value) {
                ("facts" | "counts", Value::Object(inner)) => {
                    // The path of the folder, beside how it is.
                    object.extend(inner.into_iter().map(|(name, value)| match name.as_str() {
                        "state" => ("state_folder".into(), value),
                        _ => (name, value),
                    }));
                }
                (_, value) => {
                    object.insert(name, value);
                }
            }
        }
    }
    object.insert("advice".into(), advice(status).into());
    Value::Object(object)
}

fn row(out: &mut String, title: &str, value: impl Display) {
    let value = value.to_string();
    // Writing to a string cannot fail.
    let _ = writeln!(out, "  {title:<18} {}", wrap(&value, WIDTH, INDENT));
}
