//! How each key is written: one example for each, shown beside a mistake in its value.

use super::nearest::nearest;

/// Keys and an example of each; `N` stands for a number.
pub(super) const EXAMPLES: &[(&str, &str)] = &[
    ("domain", "domain = pbx.example.net"),
    ("listen", "listen = udp:5060 tcp:5060"),
    ("advertise", "advertise = 203.0.113.5"),
    ("media-ports", "media-ports = 40000-40999"),
    ("state", "state = /var/lib/denwa"),
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
    ("group", "group.600 = 101 102"),
    ("group.N", "group.600 = 101 102"),
    ("echo", "echo = 114"),
    ("call-limit", "call-limit = 8h"),
    ("media-timeout", "media-timeout = 60s"),
    ("log", "log = info"),
];

/// Whether `part` is meant to be the first part of a key.
pub(super) fn resembles(part: &str) -> bool {
    EXAMPLES.iter().any(|(known, _)| nearest(part, &[known]).is_some())
}

/// How `key` is written.
pub(super) fn example(key: &str) -> Option<&'static str> {
    let mut parts = key.splitn(3, '.');
    let (first, number, last) = (parts.next()?, parts.next(), parts.next());
    EXAMPLES
        .iter()
        .find(|(known, _)| {
            let mut parts = known.splitn(3, '.');
            parts.next() == Some(first) && parts.next().is_some() == number.is_some() && parts.next() == last
        })
        .map(|&(_, example)| example)
}
