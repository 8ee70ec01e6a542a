//! What a configuration says of other exchanges, in words: a part of the answer of `denwa check`.

use std::fmt;

use super::words::Things;
use crate::config::{Config, Kind, Neighbour, Number, Peer, Route, Trunk};

/// Peers, trunks and routes; nothing if there are none.
pub(super) fn exchanges(f: &mut fmt::Formatter<'_>, config: &Config) -> fmt::Result {
    if !config.neighbours.is_empty() {
        writeln!(f, "\n  {}", Things(config.neighbours.len() as u64, "other exchange"))?;
    }
    for (label, neighbour) in &config.neighbours {
        let hosts: Vec<String> = neighbour.hosts.iter().map(|host| format!("sip:{host}")).collect();
        writeln!(f, "    {label} at {}", hosts.join(", else "))?;
        match &neighbour.kind {
            Kind::Peer(peer) => of_peer(f, neighbour, peer)?,
            Kind::Trunk(trunk) => of_trunk(f, trunk)?,
        }
    }
    if !config.routes.is_empty() {
        writeln!(f, "\n  {}", Things(config.routes.len() as u64, "route"))?;
    }
    for (pattern, route) in &config.routes {
        write!(f, "    {:<6} ", format!("{pattern}…"))?;
        match route {
            Route::Neighbours(labels) => {
                let labels: Vec<String> = labels.iter().map(|label| label.to_string()).collect();
                writeln!(f, "goes to {}", labels.join(", else "))?;
            }
            Route::Group(group) => writeln!(f, "rings group {group}")?,
            Route::Reject(why) if why.is_empty() => writeln!(f, "is refused")?,
            Route::Reject(why) => writeln!(f, "is refused: {why}")?,
        }
    }
    Ok(())
}

fn of_peer(f: &mut fmt::Formatter<'_>, neighbour: &Neighbour, peer: &Peer) -> fmt::Result {
    if let Some(prefix) = &peer.prefix {
        writeln!(f, "      has the numbers that begin with {prefix}")?;
    }
    let known = match (&neighbour.account, neighbour.pin) {
        (Some(account), None) => format!("by its address, and as {} by a password", account.user),
        (Some(account), Some(_)) => {
            format!("by its certificate, or by its address, and as {} by a password", account.user)
        }
        (None, Some(_)) => "by its certificate alone".into(),
        (None, None) => "by its address alone".into(),
    };
    writeln!(f, "      is known {known}")?;
    let may = match &peer.numbers {
        None => "every number of ours".into(),
        Some(numbers) => listed(numbers),
    };
    let hop = if peer.hop { ", and other exchanges through us behind a 0" } else { "" };
    writeln!(f, "      may dial {may}{hop}")?;
    match peer.trunks.as_slice() {
        [] => Ok(()),
        trunks => {
            let trunks: Vec<String> = trunks.iter().map(|trunk| trunk.to_string()).collect();
            writeln!(f, "      may call by {} at your cost", trunks.join(", "))
        }
    }
}

fn of_trunk(f: &mut fmt::Formatter<'_>, trunk: &Trunk) -> fmt::Result {
    let registers = if trunk.register { "registers" } else { "does not register" };
    writeln!(f, "      {registers} as {}", trunk.user)?;
    match trunk.numbers.as_slice() {
        [] => writeln!(f, "      rings nobody here")?,
        numbers => writeln!(f, "      rings {}", listed(numbers))?,
    }
    if trunk.emergency {
        writeln!(f, "      takes emergency calls")?;
    }
    writeln!(
        f,
        "      at most {} of an extension at once, {} an hour, {} min each, {} min a day",
        Things(trunk.max_calls_extension.into(), "call"),
        trunk.max_calls_hour,
        trunk.max_minutes,
        trunk.max_minutes_day
    )
}

fn listed(numbers: &[Number]) -> String {
    numbers.iter().map(Number::as_str).collect::<Vec<_>>().join(" ")
}
