//! What is allowed in a configuration, but probably not what its author wants.

use std::net::Ipv4Addr;

use super::{Config, Extension, Label, Neighbour, Number, Target, TargetHost, Transport, reach};

/// A password shorter than this many bytes is remarked on: strangers on the Internet try millions.
const SHORT: usize = 8;

impl Config {
    /// What is allowed, but deserves a look: one sentence each, with the numbers it is about.
    /// Passwords do not appear in them.
    pub fn remarks(&self) -> Vec<String> {
        let rules: [(Rule, &str); 5] = [
            (
                |number, extension| extension.password.reveal() == number.as_str(),
                "the password is the number itself, which strangers try first",
            ),
            (
                |number, extension| {
                    let password = extension.password.reveal();
                    password.len() < SHORT && password != number.as_str()
                },
                "the password is shorter than 8 characters, and strangers try many",
            ),
            (
                |_, extension| is_quoted(extension.password.reveal()),
                "the quotes around the password are part of it",
            ),
            (
                |_, extension| extension.password.reveal().contains(" #"),
                "the password has a # after a blank: it is part of the password, not a comment",
            ),
            (
                |_, extension| extension.name.as_deref().is_some_and(|n| is_quoted(n) || n.contains(" #")),
                "the quotes or the # in the name are part of it",
            ),
        ];
        let concerned = |rule: Rule| {
            let all = self.extensions.iter();
            all.filter(move |(number, extension)| rule(number, extension)).map(|(number, _)| number)
        };
        let mut remarks = Vec::new();
        for (rule, what) in rules {
            let count = concerned(rule).count();
            if count > 0 {
                let numbers: Vec<&str> = concerned(rule).take(5).map(Number::as_str).collect();
                let more = if count > 5 { format!(" and {} more", count - 5) } else { String::new() };
                remarks.push(format!("extension {}{more}: {what}", numbers.join(", ")));
            }
        }
        remarks.extend(self.of_stealth().map(String::from));
        if self.user.as_deref() == Some("root") {
            remarks.push("user: root may do everything, and so may whoever breaks in; name another".into());
        }
        remarks.extend(self.of_pins());
        remarks.append(&mut reach::remarks(self));
        remarks
    }

    /// Whoever is never called by TLS shows no certificate when we call. (A domain may say that it wants TLS.)
    fn of_pins(&self) -> Option<String> {
        let never = |host: &Target| match host.transport {
            Some(transport) => transport != Transport::Tls,
            None => host.port.is_some() || matches!(host.host, TargetHost::Ip(_)),
        };
        let in_vain = |(_, it): &(&Label, &Neighbour)| it.pin.is_some() && it.hosts.iter().all(never);
        let mut labels = self.neighbours.iter().filter(in_vain).map(|(label, _)| label);
        let (label, more) = (labels.next()?, labels.count());
        let more = if more > 0 { format!(" (and {more} more)") } else { String::new() };
        let way_in = match self.listen.iter().any(|place| place.transport == Transport::Tls) {
            true => "",
            false => ", and calls from there need `listen.tls = tls:5061`",
        };
        Some(format!(
            "{label}.pin{more}: a certificate is shown by TLS alone, and calls to there are made without it; add \
             `;transport=tls` to the address{way_in}"
        ))
    }

    fn of_stealth(&self) -> Option<&'static str> {
        let domain = self.domain.as_deref()?;
        let is_address = domain.starts_with('[') || domain.parse::<Ipv4Addr>().is_ok();
        match (self.stealth, is_address) {
            (true, true) => Some(
                "domain: strangers call an exchange by its address, so stealth hides nothing from them; with a \
                 name it does, even `domain = any-word`",
            ),
            (false, false) => Some(
                "stealth: strangers who do not use the domain are answered, so whoever scans the Internet \
                 finds this exchange",
            ),
            _ => None,
        }
    }
}

type Rule = fn(&Number, &Extension) -> bool;

fn is_quoted(text: &str) -> bool {
    text.len() > 1 && ['"', '\''].iter().any(|&quote| text.starts_with(quote) && text.ends_with(quote))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_deserves_a_look() {
        let text = "\
            ext.101 = 101\n\
            ext.102 = \"a-long-password\"\n\
            ext.103 = a-long-password # of the kitchen\n\
            ext.103.name = 'Kitchen'\n\
            ext.104 = a-long-password#of-the-kitchen\n\
            ext.201 = 1\next.202 = 1\next.203 = 1\next.204 = 1\next.205 = 1\next.206 = 1\n";
        let remarks = Config::parse("x", text.as_bytes()).unwrap().remarks();
        let begins: Vec<_> = remarks.iter().map(|r| r.split(" password").next().unwrap()).collect();
        assert_eq!(
            begins,
            [
                "extension 101: the",
                "extension 201, 202, 203, 204, 205 and 1 more: the",
                "extension 102: the quotes around the",
                "extension 103: the",
                "extension 103: the quotes or the # in the name are part of it",
            ]
        );
        assert!(remarks.iter().all(|remark| !remark.contains("a-long")));
    }

    #[test]
    fn who_shows_no_certificate() {
        let pin = format!("ext.101 = correct-horse\npeer.tokyo.pin = {}\n", "ab".repeat(32));
        let remark = |text: &str| {
            let remarks = Config::parse("x", format!("{pin}{text}").as_bytes()).unwrap().remarks();
            remarks.into_iter().find(|it| it.starts_with("peer.tokyo.pin"))
        };
        for (text, ends) in [
            ("peer.tokyo = sip:192.0.2.1", "need `listen.tls = tls:5061`"),
            ("peer.tokyo = sip:tokyo.test:5060 sip:tokyo.test;transport=tcp", "need `listen.tls = tls:5061`"),
            ("peer.tokyo = sip:192.0.2.1\nlisten.tls = tls:5061", "add `;transport=tls` to the address"),
        ] {
            assert!(remark(text).is_some_and(|it| it.ends_with(ends)), "{text}: {:?}", remark(text));
        }
        for text in ["peer.tokyo = sip:tokyo.test", "peer.tokyo = sip:192.0.2.1 sip:192.0.2.2;transport=tls"]
        {
            assert_eq!(remark(text), None, "{text}");
        }
    }

    #[test]
    fn what_a_domain_hides() {
        let remarks = |text: &str| {
            let text = format!("ext.101 = correct-horse\n{text}");
            Config::parse("x", text.as_bytes()).unwrap().remarks()
        };
        for (text, about) in [
            ("domain = pbx.example.net", None),
            ("domain = pbx.example.net\nstealth = no", Some("stealth: strangers who")),
            ("domain = 203.0.113.5", Some("domain: strangers call")),
            ("domain = 2001:db8::5", Some("domain: strangers call")),
            ("domain = 203.0.113.5\nstealth = no", None),
            ("user = root", Some("user: root may do everything")),
            ("user = denwa", None),
        ] {
            let said = remarks(text);
            assert_eq!(said.len(), usize::from(about.is_some()), "{text}: {said:?}");
            assert!(said.iter().all(|said| said.starts_with(about.unwrap())), "{text}: {said:?}");
        }
    }

    #[test]
    fn nothing_where_nothing_is() {
        let config = Config::parse("x", b"ext.101 = correct-horse\next.101.name = Kitchen").unwrap();
        assert!(config.remarks().is_empty());
    }
}
