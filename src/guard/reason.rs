//! Why something was not heard.

use super::streams::{MAX_OF_PHONE, MAX_OF_STRANGER, MAX_PROVED};
use crate::config::{Config, Listen, Rate};

/// Why a packet, a request or a connection was in vain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// Outside `allow`.
    NotAllowed,
    /// In `deny`.
    Denied,
    /// Outside the `allow` of this one of [`Config::gates`].
    NotAllowedAt(u8),
    /// In the `deny` of this one.
    DeniedAt(u8),
    /// The operator said so.
    Edict,
    /// Too many wrong passwords.
    Banned,
    /// A stranger is over its budget.
    Stranger,
    /// All strangers are over theirs.
    Strangers,
    /// A phone is over its budget.
    Phone,
    /// A stranger has too many connections without authentication.
    StrangerStreams,
    /// A source of phones has, or too many with it.
    PhoneStreams,
    /// It was read, and the exchange refused it.
    Refused,
}

/// What the configuration says about reasons.
pub(super) struct Words {
    stranger: Rate,
    strangers: Rate,
    phone: Rate,
    gates: Box<[Listen]>,
}

impl Words {
    pub(super) fn new(config: &Config) -> Words {
        Words {
            stranger: config.rate_stranger,
            strangers: config.rate_strangers,
            phone: config.rate_phone,
            gates: config.gates.iter().map(|(listen, _)| *listen).collect(),
        }
    }

    /// A reason, with the key that governs it.
    pub(super) fn say(&self, reason: Reason) -> String {
        let gate = |at: u8| self.gates.get(usize::from(at)).map_or(String::new(), |l| format!(" for {l}"));
        match reason {
            Reason::NotAllowed => "not in `allow`".into(),
            Reason::Denied => "in `deny`".into(),
            Reason::NotAllowedAt(at) => format!("not in `listen.NAME.allow`{}", gate(at)),
            Reason::DeniedAt(at) => format!("in `listen.NAME.deny`{}", gate(at)),
            Reason::Edict => "banned by the operator; `denwa unban` ends it".into(),
            Reason::Banned => "banned (ban)".into(),
            Reason::Stranger => format!("more than {} packets a second (rate.stranger)", self.stranger.0),
            Reason::Strangers => {
                let rate = self.strangers.0;
                format!("all strangers together send more than {rate} packets a second (rate.strangers)")
            }
            Reason::Phone => format!("more than {} packets a second (rate.phone)", self.phone.0),
            Reason::StrangerStreams => {
                format!("more than {MAX_OF_STRANGER} connections without authentication")
            }
            Reason::PhoneStreams => {
                format!(
                    "more than {MAX_OF_PHONE} connections without authentication, or {MAX_PROVED} with it"
                )
            }
            Reason::Refused => "refused or not answered".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Access, Transport};

    #[test]
    fn reasons_name_the_key() {
        let listen = Listen { transport: Transport::Udp, address: None, port: 60 };
        let words = Words::new(&Config { gates: vec![(listen, Access::default())], ..Config::default() });
        for (reason, said) in [
            (Reason::NotAllowed, "not in `allow`"),
            (Reason::Denied, "in `deny`"),
            (Reason::NotAllowedAt(0), "not in `listen.NAME.allow` for udp:60"),
            (Reason::DeniedAt(0), "in `listen.NAME.deny` for udp:60"),
            (Reason::Banned, "banned (ban)"),
            (Reason::Stranger, "more than 10 packets a second (rate.stranger)"),
            (
                Reason::Strangers,
                "all strangers together send more than 500 packets a second (rate.strangers)",
            ),
            (Reason::Phone, "more than 500 packets a second (rate.phone)"),
            (Reason::StrangerStreams, "more than 8 connections without authentication"),
            (Reason::PhoneStreams, "more than 64 connections without authentication, or 512 with it"),
        ] {
            assert_eq!(words.say(reason), said);
        }
    }
}
