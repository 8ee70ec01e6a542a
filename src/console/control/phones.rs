//! `denwa phones`: who is registered.

use std::time::Duration;

use super::super::words::{Brief, Foreign};
use super::Paint;
use super::table::{Table, clip};
use crate::switch::view::{Alive, ExtensionView, PhoneView};

/// A line for each phone, and one for each extension without one. On a terminal of `width` columns lines are
/// no longer than that.
pub fn phones(extensions: &[ExtensionView], width: Option<usize>, paint: Paint) -> String {
    let mut table = Table::new(["EXT", "NAME", "ADDRESS", "VIA", "ALIVE", "SINCE", "LEFT", "NAT", "PHONE"]);
    let mut tones = vec![Tone::Title];
    for extension in extensions {
        let (number, name) = (&extension.extension, extension.name.as_deref().unwrap_or("-"));
        let name = clip(name, Some(MOST_NAME));
        if extension.phones.is_empty() {
            let none = ["not registered", "", "", "", "", "", ""].map(String::from);
            let [address, via, alive, since, left, nat, phone] = none;
            table.row([number.clone(), name, address, via, alive, since, left, nat, phone]);
            tones.push(Tone::Absent);
            continue;
        }
        for phone in &extension.phones {
            table.row([
                number.clone(),
                name.clone(),
                phone.address.to_string(),
                phone.transport.clone(),
                alive(phone),
                Brief(Duration::from_secs(phone.registered_s)).to_string(),
                Brief(Duration::from_secs(phone.expires_in_s)).to_string(),
                if phone.behind_nat { "yes" } else { "no" }.into(),
                Foreign { text: phone.user_agent.as_deref().unwrap_or("-"), most: 64 }.to_string(),
            ]);
            tones.push(match phone.alive {
                Alive::Yes | Alive::NotAsked => Tone::Present,
                Alive::Silent | Alive::Disconnected => Tone::Bad,
            });
        }
    }
    let mut out = String::new();
    for (line, tone) in table.lines().iter().zip(tones) {
        let line = clip(line, width);
        out += &match tone {
            Tone::Title => paint.bold(line).to_string(),
            Tone::Present => line,
            Tone::Absent => paint.faint(line).to_string(),
            Tone::Bad => paint.bad(line).to_string(),
        };
        out.push('\n');
    }
    out
}

/// How much of a name is shown, in columns.
const MOST_NAME: usize = 12;

#[derive(Clone, Copy)]
enum Tone {
    Title,
    Present,
    Absent,
    Bad,
}

fn alive(phone: &PhoneView) -> String {
    match (phone.alive, phone.round_trip_ms) {
        (Alive::Yes, Some(time)) => format!("{time} ms"),
        (Alive::Yes, None) => "yes".into(),
        (Alive::NotAsked, _) => "?".into(),
        (Alive::Silent, _) => "silent".into(),
        (Alive::Disconnected, _) => "away".into(),
    }
}
