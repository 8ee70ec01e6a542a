//! What a whole file means, and what is said when it is wrong.

#![allow(clippy::unwrap_used)]

use super::*;

const EXAMPLE: &str = "\
# a comment
domain          = pbx.example.net
listen          = udp:60 tcp:61
listen          = udp:[2001:db8::1]:5060 udp:192.0.2.1:5060
advertise       = 203.0.113.5
media-ports     = 40000-40999
state           = /var/lib/denwa
register-expires = 60s 3600s
keep-alive      = 25s
ext.101         = correct-horse
ext.101.name    = Kitchen
ext.101.max-contacts = 3
ext.101.busy    = 102
ext.101.no-answer = 20s 600
ext.102         = battery staple
ext.102.identity = any
ext.102.digest  = md5
ext.102.nat-media = learn
group.600       = 101 102
echo            = 114
call-limit      = 8h
media-timeout   = 60s
log             = info
allow           = 192.0.2.0/24 2001:db8::/32
allow           = 198.51.100.7
deny            = 192.0.2.128/25
listen.lan      = udp:70 tcp:71
listen.lan.allow = 192.0.2.0/26 [2001:db8::1]
listen.lan.deny = 192.0.2.9
listen.lan      = udp:72
ext.101.allow   = 2001:db8::/64
ext.101.allow   = ::/0 0.0.0.0/0
ext.101.max-calls = 4
ext.101.max-calls-hour = 60
stealth         = no
rate.stranger   = 20/s
rate.strangers  = 1000/s
rate.phone      = 800/s
ban             = 5 10m
sandbox         = require
user            = denwa-2
";

fn number(text: &str) -> Number {
    Number::new(text).unwrap()
}

fn networks(words: &str) -> Vec<Network> {
    words.split_whitespace().map(|word| network::network(word).unwrap()).collect()
}

fn place(transport: Transport, port: u16) -> Listen {
    Listen { transport, address: None, port }
}

fn parse(text: &str) -> Config {
    Config::parse("denwa.conf", text.as_bytes()).unwrap()
}

/// The mistakes in `text`, which has two extensions besides.
fn mistakes(text: &str) -> Mistakes {
    let text = format!("{text}\next.101 = secret-one\next.102 = secret-two\n");
    Config::parse("denwa.conf", text.as_bytes()).unwrap_err()
}

/// The one mistake in `text`, as it is told.
fn mistake(text: &str) -> String {
    let mistakes = mistakes(text);
    assert_eq!(mistakes.len(), 1, "{mistakes}");
    let told = mistakes.to_string();
    assert!(!told.contains("secret"), "{told}");
    told.lines().next().unwrap().to_string()
}

#[test]
fn the_example_means_what_it_says() {
    let config = parse(EXAMPLE);
    let listen = |text: &str| text.parse::<std::net::SocketAddr>().unwrap();
    let (six, four) = (listen("[2001:db8::1]:5060"), listen("192.0.2.1:5060"));
    let udp = |at: std::net::SocketAddr| Listen {
        transport: Transport::Udp,
        address: Some(at.ip()),
        port: at.port(),
    };
    let expected = Config {
        domain: Some("pbx.example.net".into()),
        listen: vec![
            place(Transport::Udp, 60),
            place(Transport::Tcp, 61),
            udp(six),
            udp(four),
            place(Transport::Udp, 70),
            place(Transport::Tcp, 71),
            place(Transport::Udp, 72),
        ],
        advertise: vec!["203.0.113.5".parse().unwrap()],
        extensions: BTreeMap::from([
            (
                number("101"),
                Extension {
                    password: Password::new("correct-horse"),
                    name: Some("Kitchen".into()),
                    max_contacts: 3,
                    busy: Some(number("102")),
                    no_answer: Some(NoAnswer { after: Duration::from_secs(20), to: number("600") }),
                    offline: None,
                    identity: Identity::Own,
                    digest: DigestOffer::Both,
                    nat_media: NatMedia::Strict,
                    allow: networks("2001:db8::/64 ::/0 0.0.0.0/0"),
                    max_calls: 4,
                    max_calls_hour: 60,
                    ..Extension::new(Password::new(""))
                },
            ),
            (
                number("102"),
                Extension {
                    password: Password::new("battery staple"),
                    name: None,
                    max_contacts: 5,
                    busy: None,
                    no_answer: None,
                    offline: None,
                    identity: Identity::Any,
                    digest: DigestOffer::Md5,
                    nat_media: NatMedia::Learn,
                    ..Extension::new(Password::new(""))
                },
            ),
        ]),
        groups: BTreeMap::from([(number("600"), vec![number("101"), number("102")])]),
        echo: Some(number("114")),
        access: Access {
            allow: networks("192.0.2.0/24 2001:db8::/32 198.51.100.7/32"),
            deny: networks("192.0.2.128/25"),
        },
        gates: [(Transport::Udp, 70), (Transport::Tcp, 71), (Transport::Udp, 72)]
            .map(|(transport, port)| {
                let allow = networks("192.0.2.0/26 2001:db8::1/128");
                (place(transport, port), Access { allow, deny: networks("192.0.2.9/32") })
            })
            .to_vec(),
        stealth: false,
        rate_stranger: Rate(20),
        rate_strangers: Rate(1000),
        rate_phone: Rate(800),
        ban: Some(Ban { failures: 5, time: Duration::from_secs(600) }),
        sandbox: Sandbox::Require,
        user: Some("denwa-2".into()),
        ..Config::default()
    };
    assert_eq!(config, expected);
}

#[test]
fn one_line_is_enough() {
    let config = parse("ext.101 = x");
    let defaults = Config { extensions: config.extensions.clone(), ..Config::default() };
    assert_eq!(config, defaults);
    assert_eq!(config.extensions.len(), 1);
}

#[test]
fn strangers_are_answered_only_where_there_is_no_domain() {
    assert!(!parse("ext.1 = a").stealth);
    assert!(!parse("ext.1 = a\nstealth = no").stealth);
    assert!(parse("ext.1 = a\ndomain = any-word").stealth);
    assert!(parse("ext.1 = a\ndomain = any-word\nstealth = yes").stealth);
    assert!(!parse("ext.1 = a\ndomain = any-word\nstealth = no").stealth);
    // A domain that is wrong is one all the same: nothing else is said.
    assert_eq!(mistakes("domain = a:b\nstealth = yes").len(), 1);
}

#[test]
fn the_smallest_and_the_largest() {
    let extension = |text: &str| parse(&format!("ext.1 = a\n{text}")).extensions["1"].clone();
    assert_eq!(extension("ext.1.max-calls = 1").max_calls, 1);
    assert_eq!(extension("ext.1.max-calls = 1000").max_calls, 1000);
    assert_eq!(extension("ext.1.max-calls-hour = 1").max_calls_hour, 1);
    assert_eq!(extension("ext.1.max-calls-hour = 100000").max_calls_hour, 100_000);
    let config = |text: &str| parse(&format!("ext.1 = a\n{text}"));
    let ban = |text: &str| config(text).ban;
    let for_seconds = |failures, seconds| Some(Ban { failures, time: Duration::from_secs(seconds) });
    assert_eq!(ban("ban = never"), None);
    assert_eq!(ban("ban = 3 1m"), for_seconds(3, 60));
    assert_eq!(ban("ban =  1000\t7d "), for_seconds(1000, 7 * 86400));
    assert_eq!(config("rate.stranger = 1/s").rate_stranger, Rate(1));
    assert_eq!(config("rate.phone = 1000000/s").rate_phone, Rate(1_000_000));
    assert_eq!(config("sandbox = off").sandbox, Sandbox::Off);
    assert_eq!(config("sandbox = best-effort").sandbox, Sandbox::BestEffort);
    for name in ["_", "d", "Denwa-_9", &"u".repeat(32)] {
        assert_eq!(config(&format!("user = {name}")).user.as_deref(), Some(name));
    }
}

#[test]
fn places_with_a_name_are_places_like_others() {
    // Those without a name are the default only where nothing is said of places.
    let config = parse("ext.1 = a\nlisten.lan = udp:60");
    assert_eq!((config.listen, config.gates), (vec![place(Transport::Udp, 60)], vec![]));

    let config = parse("listen.b = udp:2\nlisten = udp:1\nlisten.a = udp:3\nlisten.a.deny = ::/0\next.1 = a");
    let ports: Vec<_> = config.listen.iter().map(|listen| listen.port).collect();
    assert_eq!(ports, [2, 1, 3], "in the order of the file");
    let closed = Access { allow: vec![], deny: networks("::/0") };
    assert_eq!(config.gates, [(place(Transport::Udp, 3), closed)]);

    let names = ["a", "0", "A-b_9", &"n".repeat(32)].map(|name| format!("listen.{name} = udp:60\next.1 = a"));
    for name in names {
        assert_eq!(parse(&name).listen.len(), 1);
    }
}

#[test]
fn as_many_networks_as_promised() {
    let list = |networks: usize| -> String {
        (0..networks).map(|i| format!(" 10.{}.{}.0/24", i / 256, i % 256)).collect()
    };
    let (most, quarter) = (MAX_NETWORKS, MAX_NETWORKS / 4);
    assert_eq!(parse(&format!("ext.1 = a\nallow ={}", list(most))).access.allow.len(), most);

    let file = |last: usize| {
        let [quarter, last] = [quarter, last].map(list);
        format!(
            "ext.1 = a\next.1.allow ={last}\nlisten.x = udp:60\nlisten.x.allow ={quarter}\nallow ={quarter}\n\
             deny ={quarter}\n"
        )
    };
    let config = parse(&file(quarter));
    assert_eq!(config.extensions["1"].allow.len(), quarter);
    assert_eq!(config.gates[0].1.allow.len(), quarter);
    let mistakes = Config::parse("x", file(quarter + 1).as_bytes()).unwrap_err();
    assert_eq!((mistakes.len(), mistakes[0].line), (1, Some(2)));
    assert_eq!(
        mistakes[0].to_string(),
        "ext.1.allow: too many networks; 1000 in the whole file are the most"
    );
    // However many there are besides.
    let mistakes = Config::parse("x", format!("ext.1 = a\ndeny ={}", list(50_000)).as_bytes()).unwrap_err();
    assert_eq!(mistakes.count(), 1);
}

#[test]
fn a_value_runs_to_the_end_of_its_line() {
    let config = parse("\u{feff}ext.1 = a #b=c \"d\" \r\n ext.1.name=  台所 # 2 \r\n\techo=9");
    let extension = &config.extensions["1"];
    assert_eq!(extension.password.reveal(), "a #b=c \"d\"");
    assert_eq!(extension.name.as_deref(), Some("台所 # 2"));
    assert_eq!(config.echo, Some(number("9")));
}

#[test]
fn lists_grow_by_repetition_and_keep_their_order() {
    let config = parse("group.6 = 3 1\next.1 = a\ngroup.6 = 2\next.2 = b\next.3 = c");
    assert_eq!(config.groups["6"], [number("3"), number("1"), number("2")]);
}

#[test]
fn pairs_of_ports_begin_with_an_even_one() {
    let pairs = |first, last| PortRange { first, last }.pairs();
    assert_eq!(pairs(40000, 40003), 2);
    assert_eq!(pairs(40001, 40004), 1);
    assert_eq!(pairs(40001, 40005), 2);
    assert_eq!(pairs(65534, 65535), 1);
    assert_eq!(pairs(65535, 65535), 0);
    assert_eq!(pairs(1, 65535), 32767);
    assert_eq!(parse("ext.1 = a\nmedia-ports = 40001-40005").media_ports.pairs(), 2);
}

#[test]
fn forwarding_may_go_round() {
    parse("ext.1 = a\next.1.busy = 2\next.2 = b\next.2.busy = 1\next.2.offline = 2");
}

#[test]
fn each_mistake_is_told_in_one_line() {
    for (text, told) in [
        // Lines that are none.
        ("nonsense", "this line has no `=`; every line is `key = value`, or a comment that begins with `#`"),
        ("ext.103 ＝ secret", "this line has a full-width `＝`; write the plain `=`"),
        ("[general]", "there are no sections; every line stands for itself, like `ext.101.name = Kitchen`"),
        ("; note", "comments begin with `#`"),
        ("= secret", "there is no key before the `=`"),
        ("ext.103 secret==", "ext.103: a key has no blanks; is the `=` missing after this word?"),
        ("ext..name = a", "ext..name: this key has an empty part, beside one of its dots"),
        ("echo\u{7} = 1", "this line holds an invisible control character (U+0007); delete it"),
        // Keys that are unknown.
        ("domian = a.example", "domian: unknown key; did you mean `domain`?"),
        ("Media_Ports = 1-9", "Media_Ports: unknown key; did you mean `media-ports`?"),
        ("ext.101.nmae = Kitchen", "ext.101.nmae: unknown key; did you mean `ext.101.name`?"),
        ("etx.101.name = Kitchen", "etx.101.name: unknown key; did you mean `ext.101.name`?"),
        ("ext.101.password = secret", "ext.101.password: unknown key; did you mean `ext.101`?"),
        ("103 = secret", "unknown key; did you mean `ext.103`?"),
        ("domain.name = a", "domain.name: unknown key; did you mean `domain`?"),
        (
            "ext.101.color = red",
            "ext.101.color: unknown key; what can stand here is: name, max-contacts, busy, no-answer, \
             offline, identity, digest, nat-media, allow, max-calls, max-calls-hour",
        ),
        ("alow = 192.0.2.1", "alow: unknown key; did you mean `allow`?"),
        ("rates.phone = 1/s", "rates.phone: unknown key; did you mean `rate.phone`?"),
        ("rate.fone = 1/s", "rate.fone: unknown key; did you mean `rate.phone`?"),
        ("rate.xyzzy = 1/s", "rate.xyzzy: unknown key; what can stand here is: stranger, strangers, phone"),
        (
            "rate = 10/s",
            "rate: a dot and one of these must follow this key: stranger, strangers, phone (for example \
             `rate.stranger = 10/s`)",
        ),
        (
            "listen.lan = udp:60\nlisten.lan.alow = 192.0.2.1",
            "listen.lan.alow: unknown key; did you mean `listen.lan.allow`?",
        ),
        (
            "listen.lan = udp:60\nlisten.lan.allow.x = 192.0.2.1",
            "listen.lan.allow.x: unknown key; did you mean `listen.lan.allow`?",
        ),
        (
            "listen.l@n = udp:60",
            "listen.l@n: `l@n` is not a name; it takes 1 to 32 of a-z A-Z 0-9 - _ (for example `listen.lan = \
             udp:5080 tcp:5080`)",
        ),
        (
            "listen.allow = 192.0.2.1",
            "listen.allow: a list for some places needs their name, `listen.NAME.allow`; one for all is just \
             `allow` (for example `listen.lan = udp:5080 tcp:5080`)",
        ),
        ("ext = secret", "ext: a number must follow this key (for example `ext.101 = a-long-password`)"),
        (
            "ext.1/3 = secret",
            "ext.1/3: `1/3` is not a number; it takes 1 to 32 of 0-9 A-Z a-z * + - _ #, and no # first \
             (for example `ext.101 = a-long-password`)",
        ),
        (
            "ext.#31# = secret",
            "ext.#31#: `#31#` is not a number; it takes 1 to 32 of 0-9 A-Z a-z * + - _ #, and no # \
             first (for example `ext.101 = a-long-password`)",
        ),
        // Values.
        ("log = info\nlog = warn", "log: is on line 1 already; keep one of the two"),
        ("ext.103 =", "ext.103: there is nothing after the `=` (for example `ext.101 = a-long-password`)"),
        ("listen =", "listen: there is nothing after the `=` (for example `listen = udp:5060 tcp:5060`)"),
        ("echo = 114 # test", "echo: comments need a line of their own: what comes after `=` is all value"),
        (
            "keep-alive = 25s#",
            "keep-alive: comments need a line of their own: what comes after `=` is all value",
        ),
        (
            "group.600 = 101 # and 102",
            "group.600: comments need a line of their own: what comes after `=` is all value",
        ),
        ("group.600 = 101, 102", "group.600: a list has blanks between its words, and no commas"),
        (
            "call-limit = 8 hours",
            "call-limit: takes one word, and there are 2 (for example `call-limit = 8h`)",
        ),
        (
            "ext.101.no-answer = 102",
            "ext.101.no-answer: takes 2 words, and there are 1 (for example `ext.101.no-answer = 20s 102`)",
        ),
        (
            "keep-alive = 25",
            "keep-alive: `25` has no unit; write 25s for seconds, m for minutes, h for hours (for example \
             `keep-alive = 25s`)",
        ),
        ("log = warning", "log: `warning` is not known here; did you mean `warn`?"),
        ("log = all", "log: `all` is not one of: error, warn, info, debug"),
        (
            "ext.101.max-contacts = 33",
            "ext.101.max-contacts: `33` is not a number of phones from 1 to 32 (for example \
             `ext.101.max-contacts = 3`)",
        ),
        (
            "ext.101.max-contacts = 0",
            "ext.101.max-contacts: `0` is not a number of phones from 1 to 32 (for example \
             `ext.101.max-contacts = 3`)",
        ),
        ("media-timeout = 2d", "media-timeout: must be 1s to 1d (for example `media-timeout = 60s`)"),
        ("call-limit = 0s", "call-limit: must be 1s to 30d (for example `call-limit = 8h`)"),
        (
            "keep-alive = 500ms",
            "keep-alive: must be 0s for never, or 1s to 1h (for example `keep-alive = 25s`)",
        ),
        (
            "ext.101.no-answer = 4m 102",
            "ext.101.no-answer: must be 1s to 3m (for example `ext.101.no-answer = 20s 102`)",
        ),
        (
            "register-expires = 1500ms 1h",
            "register-expires: must be two durations of whole seconds, from 1s to 7d (for example \
             `register-expires = 60s 1h`)",
        ),
        // Networks: all that can be wrong with one is told beside the code.
        (
            "allow =",
            "allow: there is nothing after the `=` (for example `allow = 192.0.2.0/24 2001:db8::/32`)",
        ),
        ("allow = 10.0.0.0/8, 192.0.2.1", "allow: a list has blanks between its words, and no commas"),
        (
            "allow = 192.0.2.1 # home",
            "allow: comments need a line of their own: what comes after `=` is all value",
        ),
        (
            "deny = 10.0.0.1/8",
            "deny: in `10.0.0.1/8`, the address goes on behind the 8 bits of the prefix; write `10.0.0.0/8` \
             for the network, or `10.0.0.1` for this address alone (for example `deny = 198.51.100.0/24`)",
        ),
        (
            "ext.101.allow = ::ffff:192.0.2.0/120",
            "ext.101.allow: `::ffff:192.0.2.0/120` is IPv4 written as IPv6; write `192.0.2.0/24` (for example \
             `ext.101.allow = 192.0.2.0/24`)",
        ),
        (
            "listen.lan = udp:60\nlisten.lan.deny = 10.0.0.0/33",
            "listen.lan.deny: in `10.0.0.0/33`, the prefix is too long: in IPv4 it has 0 to 32 bits (for \
             example `listen.lan.deny = 192.168.7.0/24`)",
        ),
        // What may be said how often, and the rest of the guard.
        (
            "ext.101.max-calls = 0",
            "ext.101.max-calls: `0` is not a number of calls from 1 to 1000 (for example `ext.101.max-calls = 4`)",
        ),
        (
            "ext.101.max-calls = 1001",
            "ext.101.max-calls: `1001` is not a number of calls from 1 to 1000 (for example \
             `ext.101.max-calls = 4`)",
        ),
        (
            "ext.101.max-calls = +4",
            "ext.101.max-calls: `+4` is not a number of calls from 1 to 1000 (for example `ext.101.max-calls = 4`)",
        ),
        (
            "ext.101.max-calls-hour = 100001",
            "ext.101.max-calls-hour: `100001` is not a number of calls an hour from 1 to 100000 (for example \
             `ext.101.max-calls-hour = 60`)",
        ),
        (
            "rate.stranger = 10",
            "rate.stranger: `10` has no unit; write 10/s for so many a second (for example `rate.stranger = \
             10/s`)",
        ),
        (
            "rate.strangers = 10 /s",
            "rate.strangers: takes one word, and there are 2 (for example `rate.strangers = 500/s`)",
        ),
        (
            "rate.phone = 600/m",
            "rate.phone: `600/m` is not a rate; a rate is so many a second, like 10/s (for example \
             `rate.phone = 500/s`)",
        ),
        (
            "rate.phone = 0/s",
            "rate.phone: `0/s` is not a rate from 1/s to 1000000/s (for example `rate.phone = 500/s`)",
        ),
        (
            "rate.phone = 1000001/s",
            "rate.phone: `1000001/s` is not a rate from 1/s to 1000000/s (for example `rate.phone = 500/s`)",
        ),
        (
            "rate.phone = -1/s",
            "rate.phone: `-1/s` is not a rate from 1/s to 1000000/s (for example `rate.phone = 500/s`)",
        ),
        (
            "ban = 10",
            "ban: `10` is neither `never` nor a number of wrong passwords and a duration (for example \
             `ban = 10 1h`)",
        ),
        (
            "ban = never 1h",
            "ban: `never` is not a number of wrong passwords from 3 to 1000 (for example `ban = 10 1h`)",
        ),
        (
            "ban = 2 1h",
            "ban: `2` is not a number of wrong passwords from 3 to 1000 (for example `ban = 10 1h`)",
        ),
        (
            "ban = 1001 1h",
            "ban: `1001` is not a number of wrong passwords from 3 to 1000 (for example `ban = 10 1h`)",
        ),
        ("ban = 10 59s", "ban: `59s` is not a duration from 1m to 7d (for example `ban = 10 1h`)"),
        ("ban = 10 8d", "ban: `8d` is not a duration from 1m to 7d (for example `ban = 10 1h`)"),
        (
            "ban = 10 60",
            "ban: `60` has no unit; write 60s for seconds, m for minutes, h for hours (for example `ban = 10 1h`)",
        ),
        (
            "ban = 10 1h # more",
            "ban: comments need a line of their own: what comes after `=` is all value (for example `ban = 10 \
             1h`)",
        ),
        ("ban =", "ban: there is nothing after the `=` (for example `ban = 10 1h`)"),
        ("ban = never\nban = 10 1h", "ban: is on line 1 already; keep one of the two"),
        ("stealth = on", "stealth: `on` is not `yes` or `no`; write `yes` (for example `stealth = no`)"),
        ("stealth = false", "stealth: `false` is not `yes` or `no`; write `no` (for example `stealth = no`)"),
        ("stealth = maybe", "stealth: `maybe` is not `yes` or `no` (for example `stealth = no`)"),
        ("sandbox = required", "sandbox: `required` is not known here; did you mean `require`?"),
        ("sandbox = yes", "sandbox: `yes` is not one of: require, best-effort, off"),
        (
            "user = -denwa",
            "user: `-denwa` is not a user name; it takes 1 to 32 of a-z A-Z 0-9 _ -, and no - first (for \
             example `user = denwa`)",
        ),
        (
            "user = denwa@example",
            "user: `denwa@example` is not a user name; it takes 1 to 32 of a-z A-Z 0-9 _ -, and no - first \
             (for example `user = denwa`)",
        ),
        (
            "user = a23456789012345678901234567890123",
            "user: `a23456789012345678901234567890123` is not a user name; it takes 1 to 32 of a-z A-Z 0-9 _ -, \
             and no - first (for example `user = denwa`)",
        ),
        // What makes no sense together.
        (
            "stealth = yes",
            "stealth: strangers are known by not using the domain, and there is none; add `domain = any-word`, \
             and in the phones this machine's address as outbound proxy",
        ),
        (
            "listen.lan.allow = 192.0.2.1",
            "listen.lan: these places are nowhere: they need a line `listen.NAME = udp:PORT tcp:PORT`",
        ),
        (
            "listen.lan =\nlisten.lan.allow = 192.0.2.1",
            "listen.lan: there is nothing after the `=` (for example `listen.lan = udp:5080 tcp:5080`)",
        ),
        ("listen = udp:60\nlisten.lan = udp:60", "listen.lan: `udp:60` is there already, on line 1"),
        (
            "listen.lan = udp:192.0.2.1:60\nlisten.wan = tcp:60 udp:60",
            "listen.wan: `udp:60` and `udp:192.0.2.1:60` on line 1 overlap: the one without an address serves \
             all",
        ),
        (
            "listen = udp:1 udp:2 udp:3 udp:4 udp:5 udp:6 udp:7 udp:8 udp:9 tcp:1 tcp:2 tcp:3 tcp:4 tcp:5 \
             tcp:6\nlisten.lan = tcp:7 tcp:8 tcp:9",
            "listen.lan: too many; 16 are the most",
        ),
        (
            "listen.lan = tcp:5070\nlisten.lan = udp:40500",
            "media-ports: contains port 40500, where SIP is spoken by UDP (line 2)",
        ),
        ("register-expires = 1h 60s", "register-expires: the first is greater than the second; swap them"),
        ("media-ports = 40999-40000", "media-ports: the first is greater than the second; swap them"),
        (
            "media-ports = 40001-40004",
            "media-ports: too few ports: an audio call takes four, in two pairs that begin with an even port",
        ),
        (
            "media-ports = 5000-5999",
            "media-ports: contains port 5060, where SIP is spoken by UDP (the default of `listen`)",
        ),
        (
            "media-ports = 5000-5999\nlisten = udp:192.0.2.1:5070 tcp:5071",
            "media-ports: contains port 5070, where SIP is spoken by UDP (line 2)",
        ),
        ("listen = udp:40500", "media-ports: contains port 40500, where SIP is spoken by UDP (line 1)"),
        ("listen = udp:60 udp:60", "listen: `udp:60` is there already, on line 1"),
        (
            "listen = udp:60\nlisten = udp:192.0.2.1:60",
            "listen: `udp:192.0.2.1:60` and `udp:60` on line 1 overlap: the one without an address serves all",
        ),
        (
            "listen = udp:1 udp:2 udp:3 udp:4 udp:5 udp:6 udp:7 udp:8 udp:9 tcp:1 tcp:2 tcp:3 tcp:4 tcp:5 \
             tcp:6 tcp:7 tcp:8",
            "listen: too many; 16 are the most",
        ),
        (
            "advertise = 0.0.0.0",
            "advertise: nobody can be reached at this address; write the one that the world sees",
        ),
        (
            "advertise = ::ffff:192.0.2.1",
            "advertise: nobody can be reached at this address; write the one that the world sees",
        ),
        (
            "advertise = 192.0.2.1\nadvertise = 2001:db8::1 192.0.2.2",
            "advertise: a second address of this family; there is one on line 1, and one IPv4 and one IPv6 \
             address are the most",
        ),
        (
            "ext.103.name = Attic",
            "ext.103: this extension has no password: it needs a line `ext.NUMBER = password`",
        ),
        (
            "ext.101.busy = 104",
            "ext.101.busy: there is no number 104: no extension, no group, and not the echo test",
        ),
        (
            "ext.101.no-answer = 20s 104",
            "ext.101.no-answer: there is no number 104: no extension, no group, and not the echo test",
        ),
        (
            "group.600 = 101 104",
            "group.600: there is no number 104: no extension, no group, and not the echo test",
        ),
        (
            "group.600 = 101\ngroup.601 = 600",
            "group.601: 600 is not an extension, and a group rings extensions only",
        ),
        ("group.600 = 101 102 101", "group.600: `101` is there already, on line 1"),
        ("echo = 101", "echo: this number is taken: it is the extension on line 2"),
        ("group.101 = 102", "group.101: this number is taken: it is the extension on line 2"),
        ("group.600 = 102\necho = 600", "echo: this number is taken: it is the group on line 1"),
    ] {
        let said = mistake(text);
        let (place, said) = said.split_once(": ").unwrap();
        assert_eq!(said, told);
        assert!(["denwa.conf:1", "denwa.conf:2"].contains(&place), "{place}");
    }
}

#[test]
fn a_file_that_is_none() {
    let only = |bytes: &[u8]| {
        let mistakes = Config::parse("x", bytes).unwrap_err();
        assert_eq!((mistakes.len(), mistakes[0].line), (1, None));
        mistakes[0].reason.clone()
    };
    assert_eq!(only(b""), Reason::Empty);
    assert_eq!(only(b"\xef\xbb\xbf\n # nothing\r\n\n"), Reason::Empty);
    assert_eq!(only(b"\xff\xfee\0c\0h\0o\0"), Reason::Utf16);
    assert_eq!(only(&vec![b'#'; MAX_BYTES + 1]), Reason::TooLarge);
    assert_eq!(only(&vec![b'#'; MAX_BYTES]), Reason::Empty);
    assert_eq!(only(b"echo = 1"), Reason::NoExtensions);

    let load = |path: &str| Config::load(Path::new(path)).unwrap_err()[0].reason.clone();
    assert_eq!(load("/"), Reason::Unreadable(io::ErrorKind::IsADirectory));
    assert_eq!(load("/nowhere/denwa.conf"), Reason::Unreadable(io::ErrorKind::NotFound));
    assert_eq!(load("/dev/null"), Reason::Empty);
    assert_eq!(load("/dev/zero"), Reason::TooLarge);
}

#[test]
fn every_line_may_be_wrong_at_once() {
    let wrong: String = EXAMPLE
        .lines()
        .skip(1)
        .enumerate()
        .map(|(i, line)| match i % 3 {
            0 => line.replace('=', " "),
            1 => line.replacen('=', "x =", 1),
            _ => format!("{} =\n", line.split_once(' ').unwrap().0),
        } + "\n")
        .collect();
    let mistakes = Config::parse("denwa.conf", wrong.as_bytes()).unwrap_err();
    let lines = wrong.lines().enumerate().filter(|(_, line)| !line.is_empty());
    for (i, line) in lines {
        let number = i as u32 + 1;
        assert!(mistakes.iter().any(|m| m.line == Some(number)), "{number}: {line}\n{mistakes}");
    }
    assert!(mistakes.iter().map(|m| m.line.unwrap_or(u32::MAX)).is_sorted());
    let told = mistakes.to_string();
    assert!(told.ends_with(&format!("\n{} mistakes in denwa.conf.", mistakes.count())), "{told}");
    assert!(!told.contains("horse") && !told.contains("staple"), "{told}");
}

#[test]
fn endless_mistakes_are_counted() {
    let mistakes = Config::parse("x", "y\n".repeat(5_000).as_bytes()).unwrap_err();
    assert_eq!((mistakes.len(), mistakes.count()), (MAX_KEPT, 5_001));
    assert!(mistakes.to_string().contains("x: and 4001 more like these\n5001 mistakes in x."));
}

#[test]
fn a_password_on_the_wrong_line_is_not_repeated() {
    for line in [
        "SecretSecret",
        "SecretSecret==",
        "s3cret=",
        "Secret Secret=",
        "ext.103 Secret=",
        "ext.103: Secret",
        "ext.101 = Secret\next.101 = Secret",
        "ext.101.pasword = Secret",
        "ext = Secret",
        "etx.101 = Secret",
    ] {
        let told = Config::parse("x", line.as_bytes()).unwrap_err().to_string();
        assert!(!told.contains("Secret") && !told.contains("s3cret"), "{line}: {told}");
    }
    let config = Config::parse("x", b"ext.1 = Secret").unwrap();
    assert!(!format!("{config:?}").contains("Secret"));
}

#[test]
fn as_many_extensions_as_promised() {
    let file = |extensions: usize| -> String {
        let each = (0..extensions).map(|i| {
            let number = 10_000 + i;
            format!("ext.{number} = a-long-password\next.{number}.name = Room {number}\n")
        });
        each.collect()
    };
    assert_eq!(parse(&file(MAX_EXTENSIONS)).extensions.len(), MAX_EXTENSIONS);
    let too_many = file(MAX_EXTENSIONS + 1);
    let mistakes = Config::parse("x", too_many.as_bytes()).unwrap_err();
    assert_eq!(mistakes.len(), 1);
    assert_eq!(mistakes[0].reason, Reason::TooMany { most: MAX_EXTENSIONS });
}

#[test]
fn as_many_groups_and_members_as_promised() {
    let extensions: String = (1..=MAX_MEMBERS + 1).map(|i| format!("ext.{i} = a\n")).collect();
    let members = |most: usize| (1..=most).map(|i| format!(" {i}")).collect::<String>();
    let groups = |most: usize| (0..most).map(|i| format!("group.{} = 1\n", 5_000 + i)).collect::<String>();
    parse(&format!("{extensions}{}group.600 ={}", groups(MAX_GROUPS - 1), members(MAX_MEMBERS)));

    let too_many = format!("{extensions}{}group.600 ={}", groups(MAX_GROUPS), members(MAX_MEMBERS + 1));
    let mistakes = Config::parse("x", too_many.as_bytes()).unwrap_err();
    let reasons: Vec<_> = mistakes.iter().map(|m| m.reason.clone()).collect();
    assert_eq!(reasons, [Reason::TooMany { most: MAX_GROUPS }, Reason::TooMany { most: MAX_MEMBERS }]);
}

#[test]
fn each_known_key_has_an_example_that_works() {
    for (key, example) in help::EXAMPLES {
        let mut lines = vec!["ext.101 = a", "ext.102 = b", "listen.lan = udp:60"];
        lines.retain(|line| line.split(" =").next() != example.split(" =").next());
        lines.push(example);
        assert!(Config::parse("x", lines.join("\n").as_bytes()).is_ok(), "{key}: {example}");
    }
    let known = |text: &str| match &mistakes(text)[0].reason {
        Reason::Unknown { known, .. } => known.to_vec(),
        other => panic!("{other:?}"),
    };
    for field in known("xyzzy = 1") {
        assert!(help::example(field).is_some(), "{field}");
    }
    for field in known("ext.101.xyzzy = 1").into_iter().filter(|field| !field.is_empty()) {
        assert!(help::example(&format!("ext.7.{field}")).is_some(), "{field}");
    }
    for field in known("rate.xyzzy = 1") {
        let key = format!("rate.{field}");
        assert!(help::example(&key).unwrap().starts_with(&format!("{key} =")), "{field}");
    }
    let listen = known("listen.lan = udp:60\nlisten.lan.xyzzy = 1");
    for field in listen.into_iter().filter(|field| !field.is_empty()) {
        assert!(help::example(&format!("listen.wan.{field}")).is_some(), "{field}");
    }
    assert!(help::example("listen.wan").unwrap().starts_with("listen.lan ="));
}

/// A small generator (xorshift64*): the same numbers for the same seed, forever.
struct Random(u64);

impl Random {
    fn below(&mut self, most: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % most
    }
}

/// Breaks a file at some places, as typing does.
fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    const PIECES: &[&[u8]] = &[
        b"=",
        b"#",
        b".",
        b"\n",
        b" ",
        b"\r\n",
        b"ext.",
        b"group.600 = ",
        b"0",
        b"99999999999",
        b"udp:",
        b"[::]",
        b"\xff",
        b"\xe9\x9b\xbb",
        b"\0",
        b",",
        b"101",
        b"-",
        b"600",
        b"1h",
        b"/0",
        b"::/0",
        b"10.0.0.1/8",
        b"listen.lan.",
        b"/s",
        b"never",
        b"yes",
    ];
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len() + 1);
        let end = (at + random.below(12)).min(bytes.len());
        let new = match random.below(4) {
            0 => Vec::new(),
            1 => PIECES[random.below(PIECES.len())].to_vec(),
            2 => {
                let from = random.below(bytes.len() + 1);
                bytes[from..(from + random.below(40)).min(bytes.len())].to_vec()
            }
            _ => vec![random.below(256) as u8; random.below(3)],
        };
        let end = if random.below(2) == 0 { at } else { end };
        bytes.splice(at..end, new);
    }
}

/// What everybody who is given a configuration may rely on.
fn assert_sane(config: &Config) {
    assert!(!config.extensions.is_empty());
    assert!((1..=MAX_LISTEN).contains(&config.listen.len()));
    assert!(config.listen.iter().all(|l| l.port > 0 && l.address.is_none_or(|a| !a.is_unspecified())));
    assert!(config.advertise.iter().filter(|a| a.is_ipv4()).count() <= 1);
    assert!(config.advertise.iter().filter(|a| a.is_ipv6()).count() <= 1);
    assert!(config.media_ports.pairs() >= 2);
    assert!(config.register_expires.min <= config.register_expires.max);
    assert!(config.register_expires.min >= Duration::from_secs(1));
    assert!(config.call_limit >= Duration::from_secs(1));
    assert!(config.media_timeout >= Duration::from_secs(1));
    assert!(!config.stealth || config.domain.is_some());
    for rate in [config.rate_stranger, config.rate_strangers, config.rate_phone] {
        assert!((1..=1_000_000).contains(&rate.0));
    }
    if let Some(ban) = config.ban {
        assert!((3..=1000).contains(&ban.failures));
        assert!((60..=7 * 86400).contains(&ban.time.as_secs()));
    }
    assert!(config.user.as_ref().is_none_or(|user| (1..=32).contains(&user.len()) && !user.starts_with('-')));
    assert!(config.gates.iter().all(|(place, _)| config.listen.contains(place)));
    let lists = config.gates.iter().map(|(_, access)| access).chain([&config.access]);
    let lists = lists.flat_map(|access| [&access.allow, &access.deny]);
    let lists = lists.chain(config.extensions.values().map(|extension| &extension.allow));
    for network in lists.clone().flatten() {
        assert_eq!(network::network(&network.to_string()), Ok(*network));
    }
    // The lists of a name are repeated for each of its places.
    assert!(lists.flatten().count() <= MAX_NETWORKS * MAX_LISTEN);
    assert!(config.remarks().iter().all(|remark| !remark.is_empty() && !remark.contains('\n')));
    let exists = |number: &Number| {
        config.extensions.contains_key(number)
            || config.groups.contains_key(number)
            || config.echo.as_ref() == Some(number)
    };
    for (number, extension) in &config.extensions {
        assert!(!extension.password.reveal().is_empty());
        assert!((1..=MAX_CONTACTS).contains(&extension.max_contacts));
        assert!((1..=1000).contains(&extension.max_calls));
        assert!((1..=100_000).contains(&extension.max_calls_hour));
        assert!(!config.groups.contains_key(number) && config.echo.as_ref() != Some(number));
        let no_answer = extension.no_answer.as_ref().map(|no_answer| &no_answer.to);
        let targets = [extension.busy.as_ref(), extension.offline.as_ref(), no_answer];
        assert!(targets.into_iter().flatten().all(exists));
    }
    for members in config.groups.values() {
        assert!((1..=MAX_MEMBERS).contains(&members.len()));
        assert!(members.iter().all(|member| config.extensions.contains_key(member)));
    }
}

#[test]
fn broken_files_give_mistakes_or_sense() {
    let (mut right, mut wrong) = (0, 0);
    for seed in 1..=20_000u64 {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut bytes = EXAMPLE.as_bytes().to_vec();
        mutate(&mut bytes, &mut random);
        match Config::parse("denwa.conf", &bytes) {
            Ok(config) => {
                right += 1;
                assert_sane(&config);
            }
            Err(mistakes) => {
                wrong += 1;
                assert!(!mistakes.is_empty());
                assert!(!mistakes.to_string().chars().any(|c| c.is_control() && c != '\n'), "seed {seed}");
            }
        }
    }
    assert!(right > 1_000 && wrong > 1_000, "{right} right, {wrong} wrong: the test tests little");
}
