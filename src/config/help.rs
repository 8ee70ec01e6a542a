//! How each key is written: one example for each, shown beside a mistake in its value.

use super::nearest::nearest;

/// Keys and an example of each; `N` stands for a number or a name.
pub(super) const EXAMPLES: &[(&str, &str)] = &[
    ("domain", "domain = pbx.example.net"),
    ("listen", "listen = udp:5060 tcp:5060"),
    ("listen.N", "listen.lan = udp:5080 tcp:5080"),
    ("listen.N.allow", "listen.lan.allow = 192.168.0.0/16"),
    ("listen.N.deny", "listen.lan.deny = 192.168.7.0/24"),
    ("advertise", "advertise = 203.0.113.5"),
    ("media-ports", "media-ports = 40000-40999"),
    ("tls", "tls.cert = /etc/denwa/tls/fullchain.pem"),
    ("tls.cert", "tls.cert = /etc/denwa/tls/fullchain.pem"),
    ("tls.key", "tls.key = /etc/denwa/tls/key.pem"),
    ("state", "state = /var/lib/denwa"),
    ("sync", "sync = 1s"),
    ("call-records", "call-records = 1M 10"),
    ("register-expires", "register-expires = 60s 1h"),
    ("keep-alive", "keep-alive = 25s"),
    ("ext", "ext.101 = a-long-password"),
    ("ext.N", "ext.101 = a-long-password"),
    ("ext.N.name", "ext.101.name = Kitchen"),
    ("ext.N.max-contacts", "ext.101.max-contacts = 3"),
    ("ext.N.busy", "ext.101.busy = 102"),
    ("ext.N.no-answer", "ext.101.no-answer = 20s 102"),
    ("ext.N.offline", "ext.101.offline = 102"),
    ("ext.N.identity", "ext.101.identity = any"),
    ("ext.N.digest", "ext.101.digest = md5"),
    ("ext.N.nat-media", "ext.101.nat-media = learn"),
    ("ext.N.allow", "ext.101.allow = 192.0.2.0/24"),
    ("ext.N.max-calls", "ext.101.max-calls = 4"),
    ("ext.N.max-calls-hour", "ext.101.max-calls-hour = 60"),
    ("ext.N.public", "ext.101.public = yes"),
    ("ext.N.type", "ext.101.type = dialphone"),
    ("ext.N.model", "ext.101.model = 601-A2"),
    ("group", "group.600 = 101 102"),
    ("group.N", "group.600 = 101 102"),
    ("peer", "peer.tokyo = sip:[2001:db8::1]:5060"),
    ("peer.N", "peer.tokyo = sip:[2001:db8::1]:5060"),
    ("peer.N.prefix", "peer.tokyo.prefix = 8023"),
    ("peer.N.user", "peer.tokyo.user = kyoto"),
    ("peer.N.password", "peer.tokyo.password = a-long-password"),
    ("peer.N.allow", "peer.tokyo.allow = 2001:db8::/48"),
    ("peer.N.strip", "peer.tokyo.strip = 4"),
    ("peer.N.add", "peer.tokyo.add = 0"),
    ("peer.N.numbers", "peer.tokyo.numbers = 101 600"),
    ("peer.N.hop", "peer.tokyo.hop = yes"),
    ("peer.N.trunks", "peer.tokyo.trunks = isp"),
    ("peer.N.max-calls", "peer.tokyo.max-calls = 4"),
    ("peer.N.mantela", "peer.tokyo.mantela = https://tokyo.example/.well-known/mantela.json"),
    ("peer.N.identifier", "peer.tokyo.identifier = tokyo.example"),
    ("peer.N.pin", "peer.tokyo.pin = 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"),
    ("trunk", "trunk.isp = sip:0312345678@sip.example.jp"),
    ("trunk.N", "trunk.isp = sip:0312345678@sip.example.jp"),
    ("trunk.N.auth-user", "trunk.isp.auth-user = u12345"),
    ("trunk.N.password", "trunk.isp.password = a-long-password"),
    ("trunk.N.register", "trunk.isp.register = no"),
    ("trunk.N.allow", "trunk.isp.allow = 192.0.2.0/24"),
    ("trunk.N.numbers", "trunk.isp.numbers = 101 102"),
    ("trunk.N.caller-id", "trunk.isp.caller-id = 0312345678"),
    ("trunk.N.emergency", "trunk.isp.emergency = yes"),
    ("trunk.N.max-calls", "trunk.isp.max-calls = 2"),
    ("trunk.N.max-calls-extension", "trunk.isp.max-calls-extension = 2"),
    ("trunk.N.max-calls-hour", "trunk.isp.max-calls-hour = 30"),
    ("trunk.N.max-minutes", "trunk.isp.max-minutes = 60"),
    ("trunk.N.max-minutes-day", "trunk.isp.max-minutes-day = 120"),
    ("trunk.N.pin", "trunk.isp.pin = 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"),
    ("route", "route.0 = trunk.isp"),
    ("route.N", "route.0 = trunk.isp"),
    ("echo", "echo = 114"),
    ("mantela", "mantela.listen = 8080"),
    ("mantela.listen", "mantela.listen = 8080"),
    ("mantela.name", "mantela.name = Kyoto Exchange"),
    ("mantela.identifier", "mantela.identifier = pbx.example.net"),
    ("mantela.prefix", "mantela.prefix = 8075"),
    ("mantela.unavailable", "mantela.unavailable = yes"),
    ("mantela.numbers", "mantela.numbers = 600 114"),
    ("call-limit", "call-limit = 8h"),
    ("media-timeout", "media-timeout = 60s"),
    ("log", "log = info"),
    ("allow", "allow = 192.0.2.0/24 2001:db8::/32"),
    ("deny", "deny = 198.51.100.0/24"),
    ("stealth", "stealth = no"),
    ("rate", "rate.stranger = 10/s"),
    ("rate.stranger", "rate.stranger = 10/s"),
    ("rate.strangers", "rate.strangers = 500/s"),
    ("rate.phone", "rate.phone = 500/s"),
    ("ban", "ban = 30 10m"),
    ("sandbox", "sandbox = require"),
    ("spot", "spot = off"),
    ("user", "user = denwa"),
];

/// Whether `part` is meant to be the first part of a key.
pub(super) fn resembles(part: &str) -> bool {
    EXAMPLES.iter().any(|(known, _)| nearest(part, &[known]).is_some())
}

/// How `key` is written.
pub(super) fn example(key: &str) -> Option<&'static str> {
    let is_this = |known: &str| {
        let (mut known, mut parts) = (known.splitn(3, '.'), key.splitn(3, '.'));
        (0..3).all(|_| match (known.next(), parts.next()) {
            (Some("N"), part) => part.is_some(),
            (known, part) => known == part,
        })
    };
    EXAMPLES.iter().find(|(known, _)| is_this(known)).map(|&(_, example)| example)
}
