//! Whom the lists of networks reach: what in them says nothing, and who is never heard.
//!
//! All of it is allowed, and each is one sentence of [`Config::remarks`].

use std::net::IpAddr;

use super::{Access, Config, Listen, Network};

/// At most this many sentences of one kind; how many more there are is a sentence of its own.
const FEW: usize = 5;

/// What deserves a look in `allow`, `deny`, `listen.NAME.allow`, `listen.NAME.deny` and `ext.N.allow`.
pub(super) fn remarks(config: &Config) -> Vec<String> {
    let mut remarks = Vec::new();
    let gates = gates(&config.gates);

    let mut lists =
        vec![("allow".to_string(), &config.access.allow), ("deny".to_string(), &config.access.deny)];
    for (places, gate) in &gates {
        lists.push((format!("allow of {places}"), &gate.allow));
        lists.push((format!("deny of {places}"), &gate.deny));
    }
    for (number, extension) in config.extensions.iter().filter(|(_, ext)| !ext.allow.is_empty()) {
        lists.push((format!("ext.{number}.allow"), &extension.allow));
    }
    let redundant = lists.iter().flat_map(|(list, networks)| redundant(list, networks));
    add_few(&mut remarks, redundant.collect());

    let heard = Addresses::admitted(&config.access);
    if heard.is_empty() {
        remarks.push(match config.access.allow.is_empty() {
            true => "deny: it covers every address, so nobody is heard".into(),
            false => "deny: it covers all of `allow`, so nobody is heard".into(),
        });
        return remarks;
    }
    let unheard = |networks: &[Network], heard: &Addresses| -> Vec<Network> {
        networks.iter().filter(|network| !heard.meet(&Addresses::of(&[**network]))).copied().collect()
    };
    let of_allow = unheard(&config.access.allow, &heard).into_iter();
    let denied = |network: Network| format!("allow: {network} {}", denied_by(&network, &config.access.deny));
    add_few(&mut remarks, of_allow.map(denied).collect());

    let mut never = Vec::new();
    for (places, gate) in &gates {
        let here = Addresses::admitted(gate);
        if !heard.meet(&here) {
            never.push(format!("{places}: nobody is heard there, by its own lists and `allow` and `deny`"));
            continue;
        }
        for network in unheard(&gate.allow, &here) {
            never.push(format!("allow of {places}: {network} {}", denied_by(&network, &gate.deny)));
        }
        for network in unheard(&gate.allow, &heard) {
            never.push(format!("allow of {places}: `allow` and `deny` let nobody of {network} be heard"));
        }
    }
    for (number, extension) in &config.extensions {
        for network in unheard(&extension.allow, &heard) {
            never.push(format!("ext.{number}.allow: `allow` and `deny` let nobody of {network} be heard"));
        }
    }
    add_few(&mut remarks, never);
    remarks
}

fn add_few(remarks: &mut Vec<String>, mut sentences: Vec<String>) {
    let beyond = sentences.len().saturating_sub(FEW);
    sentences.truncate(FEW);
    remarks.append(&mut sentences);
    if beyond > 0 {
        remarks.push(format!("and {beyond} more networks like these"));
    }
}

/// The lists of places, and the places that share them, as they are written.
fn gates(gates: &[(Listen, Access)]) -> Vec<(String, &Access)> {
    gates
        .chunk_by(|(_, a), (_, b)| a == b)
        .filter_map(|same| {
            let places: Vec<String> = same.iter().map(|(listen, _)| listen.to_string()).collect();
            same.first().map(|(_, access)| (places.join(" "), access))
        })
        .collect()
}

/// A sentence for each network that adds nothing to the others of its list.
fn redundant(list: &str, networks: &[Network]) -> Vec<String> {
    let mut sorted = networks.to_vec();
    sorted.sort();
    let mut sentences = Vec::new();
    // Networks contain each other or share nothing, and the larger one comes first: whatever covers
    // the next one is the last of those that are covered by none.
    let mut last: Option<Network> = None;
    for network in sorted {
        match last {
            Some(larger) if larger == network => sentences.push(format!("{list}: {network} is there twice")),
            Some(larger) if larger.covers(&network) => {
                sentences.push(format!("{list}: {network} is inside {larger} and adds nothing"));
            }
            _ => last = Some(network),
        }
    }
    sentences
}

/// Why a network that is allowed is not heard.
fn denied_by(network: &Network, deny: &[Network]) -> String {
    match deny.iter().find(|denied| denied.covers(network)) {
        Some(denied) => format!("is inside {denied} of `deny`, so nobody there is heard"),
        None => "is inside several networks of `deny`, so nobody there is heard".into(),
    }
}

/// A set of addresses, as ranges in ascending order that do not overlap.
struct Addresses(Vec<Range>);

/// All addresses from one to another.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Range {
    is_ipv6: bool,
    first: u128,
    last: u128,
}

impl Addresses {
    fn of(networks: &[Network]) -> Addresses {
        let mut sorted: Vec<Network> = networks.to_vec();
        sorted.sort();
        let mut largest: Vec<Network> = Vec::new();
        for network in sorted {
            if largest.last().is_none_or(|larger| !larger.covers(&network)) {
                largest.push(network);
            }
        }
        Addresses(largest.iter().map(Range::of).collect())
    }

    /// From where somebody is heard.
    fn admitted(access: &Access) -> Addresses {
        let allowed = match access.allow.as_slice() {
            [] => Addresses(vec![
                Range { is_ipv6: false, first: 0, last: u32::MAX.into() },
                Range { is_ipv6: true, first: 0, last: u128::MAX },
            ]),
            networks => Addresses::of(networks),
        };
        allowed.without(&Addresses::of(&access.deny))
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether some address is in both.
    fn meet(&self, other: &Addresses) -> bool {
        self.0.iter().any(|range| other.0.iter().any(|other| range.meets(other)))
    }

    fn without(&self, other: &Addresses) -> Addresses {
        let mut rest = Vec::new();
        for range in &self.0 {
            let mut first = Some(range.first);
            for hole in other.0.iter().filter(|hole| range.meets(hole)) {
                if let Some(first) = first.filter(|&first| first < hole.first) {
                    rest.push(Range { first, last: hole.first - 1, ..*range });
                }
                first = (hole.last < range.last).then(|| hole.last + 1);
            }
            if let Some(first) = first {
                rest.push(Range { first, ..*range });
            }
        }
        Addresses(rest)
    }
}

impl Range {
    fn of(network: &Network) -> Range {
        let (first, bits) = match network.address {
            IpAddr::V4(v4) => (v4.to_bits().into(), 32),
            IpAddr::V6(v6) => (v6.to_bits(), 128),
        };
        let behind = 128 - bits + u32::from(network.length);
        let last = first | u128::MAX.checked_shr(behind).unwrap_or(0);
        Range { is_ipv6: network.address.is_ipv6(), first, last }
    }

    fn meets(&self, other: &Range) -> bool {
        self.is_ipv6 == other.is_ipv6 && self.first <= other.last && other.first <= self.last
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::config::network::network;

    /// What is remarked on in a file that has a good extension besides.
    fn remarks(text: &str) -> Vec<String> {
        let text = format!("ext.101 = correct-horse\n{text}");
        Config::parse("x", text.as_bytes()).unwrap().remarks()
    }

    fn networks(words: &str) -> Vec<Network> {
        words.split_whitespace().map(|word| network(word).unwrap()).collect()
    }

    #[test]
    fn good_lists_need_no_remark() {
        for text in [
            "",
            "allow = 0.0.0.0/0 ::/0",
            "deny = ::/0",
            "allow = 10.0.0.0/8\ndeny = 10.1.0.0/16 192.0.2.0/24",
            "allow = 10.0.0.0/9 10.128.0.0/9\next.101.allow = 10.0.0.0/8",
            "deny = 192.0.2.0/25\next.101.allow = 192.0.2.0/24",
            "listen.lan = udp:60 tcp:60\nlisten.lan.allow = 10.0.0.0/8\nallow = 10.1.0.0/16 192.0.2.1",
            "listen.lan = udp:60\nlisten.lan.deny = ::/0\ndeny = 10.0.0.0/8",
        ] {
            assert_eq!(remarks(text), [""; 0], "{text}");
        }
    }

    #[test]
    fn what_adds_nothing() {
        for (text, said) in [
            ("allow = 10.0.0.0/8 10.1.0.0/16", "allow: 10.1.0.0/16 is inside 10.0.0.0/8 and adds nothing"),
            (
                "deny = 2001:db8::1 [2001:db8::]/32",
                "deny: 2001:db8::1/128 is inside 2001:db8::/32 and adds nothing",
            ),
            ("deny = 10.0.0.1\ndeny = 10.0.0.1/32", "deny: 10.0.0.1/32 is there twice"),
            ("allow = 0.0.0.0/0 192.0.2.1 ::/0", "allow: 192.0.2.1/32 is inside 0.0.0.0/0 and adds nothing"),
            ("ext.101.allow = ::/0 ::1", "ext.101.allow: ::1/128 is inside ::/0 and adds nothing"),
            (
                "listen.lan = udp:60 tcp:61\nlisten.lan.allow = 10.0.0.0/8 10.1.0.0/16",
                "allow of udp:60 tcp:61: 10.1.0.0/16 is inside 10.0.0.0/8 and adds nothing",
            ),
        ] {
            assert_eq!(remarks(text), [said], "{text}");
        }
        let chain = remarks("allow = 10.0.0.0/8 10.1.0.0/16 10.1.1.0/24 10.2.0.0/16 11.0.0.0/8 11.0.0.0/9");
        assert_eq!(chain.len(), 4, "{chain:?}");
    }

    #[test]
    fn who_is_never_heard() {
        for (text, said) in [
            ("deny = ::/0 0.0.0.0/0", "deny: it covers every address, so nobody is heard"),
            ("deny = ::/0 0.0.0.0/1 128.0.0.0/1", "deny: it covers every address, so nobody is heard"),
            ("allow = 10.0.0.0/8\ndeny = 10.0.0.0/8", "deny: it covers all of `allow`, so nobody is heard"),
            (
                "allow = 10.0.0.0/8 ::/0\ndeny = 8.0.0.0/5",
                "allow: 10.0.0.0/8 is inside 8.0.0.0/5 of `deny`, so nobody there is heard",
            ),
            (
                "allow = 10.0.0.0/8 ::/0\ndeny = 10.0.0.0/9 10.128.0.0/9",
                "allow: 10.0.0.0/8 is inside several networks of `deny`, so nobody there is heard",
            ),
            (
                "allow = 10.0.0.0/8\next.101.allow = 192.0.2.0/24 10.1.0.0/16",
                "ext.101.allow: `allow` and `deny` let nobody of 192.0.2.0/24 be heard",
            ),
            (
                "deny = ::/0\next.101.allow = 2001:db8::/32",
                "ext.101.allow: `allow` and `deny` let nobody of 2001:db8::/32 be heard",
            ),
            (
                "allow = 10.0.0.0/8\ndeny = 10.1.0.0/16\next.101.allow = 10.1.0.0/24 10.2.0.0/15",
                "ext.101.allow: `allow` and `deny` let nobody of 10.1.0.0/24 be heard",
            ),
        ] {
            assert_eq!(remarks(text), [said], "{text}");
        }
    }

    #[test]
    fn places_where_nobody_is_heard() {
        let place = "listen.lan = udp:60\n";
        for (text, said) in [
            (
                "allow = 10.0.0.0/8\nlisten.lan.allow = 192.0.2.0/24",
                "udp:60: nobody is heard there, by its own lists and `allow` and `deny`",
            ),
            (
                "listen.lan.deny = 0.0.0.0/0 ::/0",
                "udp:60: nobody is heard there, by its own lists and `allow` and `deny`",
            ),
            (
                "allow = 10.0.0.0/8\nlisten.lan.allow = 10.1.0.0/16 ::1",
                "allow of udp:60: `allow` and `deny` let nobody of ::1/128 be heard",
            ),
            (
                "listen.lan.allow = 10.1.0.0/16 ::1\nlisten.lan.deny = ::/64",
                "allow of udp:60: ::1/128 is inside ::/64 of `deny`, so nobody there is heard",
            ),
        ] {
            assert_eq!(remarks(&format!("{place}{text}")), [said], "{text}");
        }
    }

    #[test]
    fn a_thousand_networks_are_a_few_remarks() {
        let inside: String = (0..999).map(|i| format!(" 10.{}.{}.0/24", i / 256, i % 256)).collect();
        let remarks = remarks(&format!("allow = 10.0.0.0/8{inside}"));
        assert_eq!(remarks.len(), FEW + 1);
        assert_eq!(remarks[FEW], "and 994 more networks like these");
    }

    /// Every kind of overlap of small networks, against asking for each address.
    #[test]
    fn sets_of_addresses_have_the_right_ones() {
        let pieces =
            ["192.0.2.0/29", "192.0.2.0/30", "192.0.2.4/30", "192.0.2.2/31", "192.0.2.7", "192.0.2.0"];
        let chosen = |bits: usize| -> Vec<Network> {
            let some = pieces.iter().enumerate().filter(|(i, _)| bits >> i & 1 == 1);
            some.flat_map(|(_, word)| networks(word)).collect()
        };
        let edges = networks("192.0.1.255 192.0.2.8");
        let each: Vec<Network> =
            (0..8).flat_map(|i| networks(&format!("192.0.2.{i}"))).chain(edges).collect();
        for allow in 0..1 << pieces.len() {
            for deny in 0..1 << pieces.len() {
                let access = Access { allow: chosen(allow), deny: chosen(deny) };
                let heard = Addresses::admitted(&access);
                let mut any = access.allow.is_empty();
                for address in &each {
                    let is_in = |list: &[Network]| list.iter().any(|network| network.covers(address));
                    let expected = (access.allow.is_empty() || is_in(&access.allow)) && !is_in(&access.deny);
                    assert_eq!(heard.meet(&Addresses::of(&[*address])), expected, "{access:?} {address}");
                    any |= expected;
                }
                assert_eq!(heard.is_empty(), !any, "{access:?}");
                assert!(heard.0.windows(2).all(|pair| pair[0] < pair[1] && !pair[0].meets(&pair[1])));
            }
        }
    }

    #[test]
    fn sets_reach_to_the_last_address() {
        let all = Addresses::admitted(&Access::default());
        for word in ["0.0.0.0", "255.255.255.255", "::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"] {
            let one = Addresses::of(&networks(word));
            assert!(all.meet(&one));
            let rest = all.without(&one);
            assert!(!rest.meet(&one) && rest.0.len() == 2, "{word}");
        }
    }
}
