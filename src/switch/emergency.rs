//! Emergency numbers of Japan. Whoever dials one must not wait for a ring that never comes: it is
//! refused at once, with words that say what to do, unless the configuration routes it.

/// What the phone is told: the reason phrase, in ASCII, and a Reason (RFC 3326).
pub(super) const REASON: &str = "No Emergency Calls Here; Use A Mobile Phone";

/// The header that says it in Japanese and English.
pub(super) const HEADER: &str = "Reason: SIP;cause=403;text=\"この電話からは緊急通報できません。\
    携帯電話などでおかけください / No emergency calls from this phone; use a mobile phone\"\r\n";

/// The emergency number that a dialled number is, without 184 or 186 in front (withhold and show
/// the caller's number).
pub(super) fn emergency(dialled: &str) -> Option<&str> {
    let number = ["184", "186"].iter().find_map(|prefix| dialled.strip_prefix(prefix)).unwrap_or(dialled);
    ["110", "118", "119"].contains(&number).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn police_coast_guard_and_fire_brigade() {
        for dialled in ["110", "118", "119"] {
            assert_eq!(emergency(dialled), Some(dialled));
            assert_eq!(emergency(&format!("184{dialled}")), Some(dialled));
            assert_eq!(emergency(&format!("186{dialled}")), Some(dialled));
        }
        for dialled in ["", "11", "1100", "184", "184184110", "117", "185110", "184101"] {
            assert_eq!(emergency(dialled), None, "{dialled}");
        }
    }
}
