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
";

fn number(text: &str) -> Number {
    Number::new(text).unwrap()
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
            Listen { transport: Transport::Udp, address: None, port: 60 },
            Listen { transport: Transport::Tcp, address: None, port: 61 },
            udp(six),
            udp(four),
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
                },
            ),
        ]),
        groups: BTreeMap::from([(number("600"), vec![number("101"), number("102")])]),
        echo: Some(number("114")),
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
fn forwarding_may_go_round() {
    parse("ext.1 = a\next.1.busy = 2\next.2 = b\next.2.busy = 1\next.2.offline = 2");
}

#[test]
fn each_mistake_is_told_in_one_line() {
    for (text, told) in [
        (
            "nonsense",
            "1: this line has no `=`; every line is `key = value`, or a comment that begins with `#`",
        ),
        (
            "[general]",
            "1: there are no sections; every line stands for itself, like `ext.101.name = Kitchen`",
        ),
        ("ext.103 secret==", "1: ext.103: a key has no blanks; is the `=` missing after this word?"),
        ("domian = a.example", "1: domian: unknown key; did you mean `domain`?"),
        ("ext.101.nmae = Kitchen", "1: ext.101.nmae: unknown key; did you mean `ext.101.name`?"),
        ("etx.101.name = Kitchen", "1: etx.101.name: unknown key; did you mean `ext.101.name`?"),
        ("domain.name = a", "1: domain.name: unknown key; did you mean `domain`?"),
        (
            "ext.101.color = red",
            "1: ext.101.color: unknown key; what can stand here is: name, max-contacts, busy, no-answer, offline, identity, digest, nat-media",
        ),
        (
            "ext = secret",
            "1: ext: a number is missing after the dot (for example `ext.101 = a-long-password`)",
        ),
        ("ext.103 =", "1: ext.103: there is nothing after the `=` (for example `ext.101 = a-long-password`)"),
        (
            "ext.103.name = Attic",
            "1: ext.103: this extension has no password: it needs a line `ext.NUMBER = password`",
        ),
        ("ext.1 3 = a", "1: ext.1: a key has no blanks; is the `=` missing after this word?"),
        (
            "ext.1/3 = a",
            "1: ext.1/3: `1/3` is not a number; one has 1 to 32 of 0-9, A-Z, a-z, * # + - _ (for example `ext.101 = a-long-password`)",
        ),
        (
            "echo = 114 # test",
            "1: echo: comments need a line of their own: what comes after `=` is all value",
        ),
        (
            "keep-alive = 25s#",
            "1: keep-alive: comments need a line of their own: what comes after `=` is all value",
        ),
        (
            "group.600 = 101 # and 102",
            "1: group.600: comments need a line of their own: what comes after `=` is all value",
        ),
        ("log = warning", "1: log: `warning` is not known here; did you mean `warn`?"),
        ("log = all", "1: log: `all` is not one of: error, warn, info, debug"),
        ("echo = 101", "1: echo: this number is taken: it is the extension of line 2"),
    ] {
        assert_eq!(mistake(text), format!("denwa.conf:{told}"));
    }
}
