//! `denwa why`: what went wrong lately, and what to do about it.

use std::fmt::Write;

use serde::Serialize;

use super::super::utc::Utc;
use super::super::words::{Count, Foreign};
use super::Paint;
use super::table::wrap;
use crate::switch::{Incident, What};

/// The width of a screen that everybody has, in columns.
const WIDTH: usize = 80;

/// A paragraph for each incident, the newest last: when and who, what happened and why, what to do.
/// `about` is whom was asked about.
pub fn why(incidents: &[Incident], about: Option<&str>, paint: Paint) -> String {
    let mut out = String::new();
    if incidents.is_empty() {
        let whom = about.map_or(String::new(), |whom| format!(" that concerns {whom}"));
        let _ = writeln!(
            out,
            "{}",
            wrap(
                &format!(
                    "Nothing was refused or failed lately{whom}, as far as is remembered (since the exchange was \
                     started). If a phone gets no answer at all, its packets may not come here: `denwa trace` \
                     shows those that do and are read."
                ),
                WIDTH,
                0
            )
        );
    }
    for incident in incidents {
        // Writing to a string cannot fail.
        let when = Utc(incident.last_unix).to_string();
        let times = match incident.count {
            1 => String::new(),
            count => format!(" ({} times since {})", Count(count), Utc(incident.first_unix)),
        };
        let _ = writeln!(out, "{} {}{times}", paint.bold(when), subject(incident));
        let _ = writeln!(out, "    {}", wrap(&what(incident), WIDTH, 4));
        if let Some(advice) = advice(incident) {
            let _ = writeln!(out, "    {}", paint.good(wrap(&advice, WIDTH, 4)));
        }
    }
    out
}

/// An incident for programs.
#[derive(Serialize)]
pub struct IncidentJson<'a> {
    first_unix: u64,
    last_unix: u64,
    count: u64,
    what: &'static str,
    method: Option<&'a str>,
    status: Option<u16>,
    call: Option<u64>,
    number: &'a str,
    other: &'a str,
    from: &'a str,
    user_agent: &'a str,
    reason: &'a str,
    key: Option<&'a str>,
    advice: Option<String>,
}

/// The same for programs: a list of objects.
pub fn why_json(incidents: &[Incident]) -> Vec<IncidentJson<'_>> {
    incidents.iter().map(IncidentJson::of).collect()
}

impl IncidentJson<'_> {
    fn of(incident: &Incident) -> IncidentJson<'_> {
        let (what, method, status) = match &incident.what {
            What::Refused(method) => ("refused", Some(method.as_str()), None),
            What::NotAnswered(method) => ("not_answered", Some(method.as_str()), None),
            What::NotRead => ("not_read", None, None),
            What::Banned => ("banned", None, None),
            What::NotProved => ("not_proved", None, None),
            What::Unregistered => ("unregistered", None, None),
            What::CallFailed(status) => ("call_failed", None, Some(*status)),
            What::CallEnded => ("call_ended", None, None),
            What::BadSound => ("bad_sound", None, None),
        };
        IncidentJson {
            first_unix: incident.first_unix,
            last_unix: incident.last_unix,
            count: incident.count,
            what,
            method,
            status,
            call: incident.call,
            number: &incident.number,
            other: &incident.other,
            from: &incident.from,
            user_agent: &incident.user_agent,
            reason: &incident.reason,
            key: incident.key.as_deref(),
            advice: advice(incident),
        }
    }
}

/// `101 → 102, call 17, from 192.0.2.31:5060, Grandstream GXP1620`.
fn subject(incident: &Incident) -> String {
    let number = |text| Foreign { text, most: 32 }.to_string();
    let mut parts = Vec::new();
    match (incident.number.as_str(), incident.other.as_str()) {
        ("", "") => {}
        (one, "") | ("", one) => parts.push(number(one)),
        (one, other) => parts.push(format!("{} → {}", number(one), number(other))),
    }
    parts.extend(incident.call.map(|call| format!("call {call}")));
    if !incident.from.is_empty() {
        parts.push(format!("from {}", incident.from));
    }
    if !incident.user_agent.is_empty() {
        parts.push(Foreign { text: &incident.user_agent, most: 64 }.to_string());
    }
    parts.join(", ")
}

/// `REGISTER refused: wrong password (ext.101)`.
fn what(incident: &Incident) -> String {
    let method = |method: &str| Foreign { text: method, most: 32 }.to_string();
    let what = match &incident.what {
        What::Refused(name) => format!("{} refused", method(name)),
        What::NotAnswered(name) if name.is_empty() => "not answered".into(),
        What::NotAnswered(name) => format!("{} not answered", method(name)),
        What::NotRead => "not even read".into(),
        What::Banned => "not heard for a while".into(),
        What::NotProved => "not let in".into(),
        What::Unregistered => "not registered any more".into(),
        What::CallFailed(status) => format!("call came to nothing ({status})"),
        What::CallEnded => "call was ended".into(),
        What::BadSound => "trouble with the sound".into(),
    };
    let reason = Foreign { text: &incident.reason, most: 200 };
    match &incident.key {
        Some(key) if !incident.reason.contains('`') => format!("{what}: {reason} ({key})"),
        _ => format!("{what}: {reason}"),
    }
}

/// What to do about it, if anything can be done.
fn advice(incident: &Incident) -> Option<String> {
    let number = &incident.number;
    let key = incident.key.as_deref().unwrap_or_default();
    if let What::CallFailed(status) = incident.what {
        return call(status, incident);
    }
    let own = key.strip_prefix("ext.").map(|key| key.split_once('.').unwrap_or((key, "")));
    let advice = match (own, key) {
        (Some((ext, "")), _) => match incident.reason.as_str() {
            "no such extension" => format!("if there should be one: `denwa add {ext}`"),
            "wrong password" => format!(
                "if that is a phone of yours, type the password that ext.{ext} has in the configuration into it; \
                 user name and authentication name are both {ext}"
            ),
            _ => return None,
        },
        (Some((ext, "allow")), _) => {
            format!("if the phone may be there, add its address or network to ext.{ext}.allow")
        }
        (Some((ext, "identity")), _) => format!(
            "set the phone's caller id to {ext}; a gateway that shows the numbers of others needs \
             ext.{ext}.identity = any"
        ),
        (Some((ext, "digest")), _) => format!(
            "either no password is typed into the phone, or it does not understand SHA-256: then \
             ext.{ext}.digest = md5"
        ),
        (Some((_, "max-calls" | "max-calls-hour")), _) => {
            format!(
                "if its owner really calls that much, raise {key}; if not, somebody may have its password"
            )
        }
        (Some((_, "max-contacts")), _) => {
            format!("if that many phones are to be registered at once, raise {key}")
        }
        (Some((ext, "nat-media")), _) => format!(
            "open the media ports in the firewalls on the way; a phone behind NAT may need ext.{ext}.nat-media = \
             learn, which accepts sound from wherever it comes first"
        ),
        (_, "domain, stealth") => "if that is a phone of yours, type the domain into it as server, and this \
                                   machine's address as outbound proxy"
            .into(),
        (_, "ban") => format!(
            "the password is wrong; when it is right, `denwa unban {}` helps at once",
            address(incident)
        ),
        (_, "register-expires") => {
            "have the phone register for longer, or make the first time of register-expires shorter".into()
        }
        (_, "media-timeout") => format!(
            "see whether a firewall is in the way of the media ports; a phone behind NAT may need \
             ext.{number}.nat-media = learn; media-timeout says how long is waited"
        ),
        (_, "media-ports") => "give it more ports (media-ports), or see what else uses them".into(),
        (_, "call-limit") => "if calls may be longer, raise call-limit".into(),
        (_, "rate.phone" | "rate.stranger" | "rate.strangers") => {
            format!("if that is yours, see why it sends so much; {key} may be raised")
        }
        (_, "allow" | "listen.NAME.allow") => {
            format!("if that is a phone of yours, add its network to {key}")
        }
        (_, "deny" | "listen.NAME.deny") => {
            format!("if that is a phone of yours, take its network out of {key}")
        }
        (_, "denwa unban") => format!("`denwa unban {}` ends it", address(incident)),
        _ => match incident.reason.as_str() {
            "no such number" => {
                "`denwa check` shows the numbers that there are; a new one is an `ext.N` or a \
                                 `group.N` in the configuration"
                    .into()
            }
            "To names another extension than the user" => {
                format!("user name and authentication name in the phone must both be {number}")
            }
            "the phone did not register again in time" => {
                "see whether the phone is on and its network works; it comes back by itself".into()
            }
            reason if reason.contains("TCP always works") => "choose TCP as transport in the phone".into(),
            _ => return None,
        },
    };
    Some(advice)
}

/// What to do about a call that came to nothing.
fn call(status: u16, incident: &Incident) -> Option<String> {
    let other = &incident.other;
    Some(match status {
        480 if incident.reason.ends_with("is registered") => format!(
            "`denwa phones` shows who is; `denwa why {other}` may show why its phone is not; ext.{other}.offline \
             says where calls go meanwhile"
        ),
        408 => format!("`denwa phones` shows whether the phone of {other} is alive"),
        480 | 487 => format!("ext.{other}.no-answer says where calls go then"),
        486 | 600 => format!("ext.{other}.busy says where calls go then"),
        488 => "choose the same codec in both phones; PCMA and PCMU are known to all. Phones that insist on \
                encrypted sound need others that can do that"
            .into(),
        503 if incident.key.is_none() => {
            "`denwa peer show` tells which can be reached, and how many calls each may have".into()
        }
        503 => "give it more ports (media-ports)".into(),
        603 => format!("somebody pressed the button, or the phone of {other} is set to do not disturb"),
        _ => return None,
    })
}

/// The address that something came from, without its port or length.
fn address(incident: &Incident) -> &str {
    incident.from.split('/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn incident(what: What, reason: &str, key: Option<&str>) -> Incident {
        Incident {
            first_unix: 1_795_391_506,
            last_unix: 1_795_391_566,
            count: 41,
            what,
            call: None,
            number: "101".into(),
            other: String::new(),
            from: "192.0.2.31:5060".into(),
            user_agent: "Grandstream GXP1620".into(),
            reason: reason.into(),
            key: key.map(Into::into),
        }
    }

    #[test]
    fn it_says_when_and_who_what_and_why_and_what_to_do() {
        let wrong = incident(What::Refused("REGISTER".into()), "wrong password", Some("ext.101"));
        let failed = Incident {
            count: 1,
            call: Some(17),
            other: "102".into(),
            user_agent: String::new(),
            ..incident(What::CallFailed(480), "no phone of 102 is registered", None)
        };
        assert_eq!(
            why(&[wrong, failed], None, Paint::NONE),
            "\
2026-11-22 23:52:46 101, from 192.0.2.31:5060, Grandstream GXP1620 (41 times since 2026-11-22 23:51:46)
    REGISTER refused: wrong password (ext.101)
    if that is a phone of yours, type the password that ext.101 has in the
    configuration into it; user name and authentication name are both 101
2026-11-22 23:52:46 101 → 102, call 17, from 192.0.2.31:5060
    call came to nothing (480): no phone of 102 is registered
    `denwa phones` shows who is; `denwa why 102` may show why its phone is not;
    ext.102.offline says where calls go meanwhile
"
        );
        assert!(why(&[], Some("101"), Paint::NONE).contains("that concerns 101"));
    }

    #[test]
    fn each_key_has_its_advice() {
        for (key, part) in [
            ("ext.101.allow", "add its address or network to ext.101.allow"),
            ("ext.101.identity", "ext.101.identity = any"),
            ("ext.101.digest", "ext.101.digest = md5"),
            ("ext.101.max-calls", "raise ext.101.max-calls"),
            ("ext.101.max-calls-hour", "raise ext.101.max-calls-hour"),
            ("ext.101.max-contacts", "raise ext.101.max-contacts"),
            ("ext.101.nat-media", "ext.101.nat-media = learn"),
            ("domain, stealth", "outbound proxy"),
            ("ban", "denwa unban 192.0.2.31:5060"),
            ("register-expires", "register for longer"),
            ("media-timeout", "ext.101.nat-media = learn"),
            ("media-ports", "more ports"),
            ("call-limit", "raise call-limit"),
            ("rate.stranger", "rate.stranger may be raised"),
            ("allow", "add its network to allow"),
            ("deny", "out of deny"),
        ] {
            let advice = advice(&incident(What::NotRead, "for a reason", Some(key))).unwrap_or_default();
            assert!(advice.contains(part), "{key}: {advice}");
        }
        for status in [408, 480, 486, 487, 488, 503, 600, 603] {
            assert!(advice(&incident(What::CallFailed(status), "", None)).is_some(), "{status}");
        }
    }
}
