//! What a whole file means, and what is said when it is wrong.

#![allow(clippy::unwrap_used)]

mod broken;
mod mistakes;
mod neighbours;

use super::*;

const EXAMPLE: &str = "\
# a comment
domain          = pbx.example.net
listen          = udp:60 tcp:61
listen          = udp:[2001:db8::1]:5060 udp:192.0.2.1:5060
advertise       = 203.0.113.5
spot            = off
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
call-records    = 250k 3
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
fn tls_is_spoken_beside_the_usual_places() {
    let listen = |text: &str| {
        let config = parse(&format!("ext.101 = secret-one\n{text}"));
        config.listen.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(listen(""), "udp:5060 tcp:5060");
    assert_eq!(listen("listen.tls = tls:5061"), "udp:5060 tcp:5060 tls:5061");
    assert_eq!(listen("listen.tls = tls:5060"), "udp:5060 tls:5060");
    assert_eq!(listen("listen = tls:5061"), "tls:5061");
    assert_eq!(listen("listen.lan = udp:60\nlisten.tls = tls:5061"), "udp:60 tls:5061");
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
        advertise_auto: false,
        spot: Spot::Off,
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
                    listing: Listing::default(),
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
        call_records: Some(CallRecords { bytes: 250_000, files: 3 }),
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
fn tls_has_two_files_or_none_and_a_port_of_its_own() {
    let files = |text: &str| parse(&format!("ext.101 = a\n{text}")).tls;
    assert_eq!(files("listen = tls:5061"), None);
    let both = TlsFiles { cert: "/a b/c.pem".into(), key: "k.pem".into() };
    assert_eq!(files("tls.cert = /a b/c.pem\ntls.key = k.pem"), Some(both));
    assert!(mistake("tls.key = k.pem").contains("denwa.conf:1: tls.key: this needs tls.cert beside it"));
    assert!(mistake("tls.certificate = x").contains("did you mean `tls.cert`?"));
    assert_eq!(
        mistake("listen = tcp:5061 tls:5061"),
        "denwa.conf:1: listen: `tls:5061` and `tcp:5061` on line 1 want the same port, and TLS is TCP as well; \
         choose another"
    );
    parse("ext.101 = a\nlisten = udp:5061 tls:5061 tcp:192.0.2.1:5062 tls:192.0.2.2:5062");
}

#[test]
fn how_long_the_disk_may_wait() {
    let sync = |text: &str| parse(&format!("ext.101 = a\n{text}")).sync;
    assert_eq!(sync(""), Duration::from_secs(1));
    assert_eq!(sync("sync = 0s"), Duration::ZERO);
    assert_eq!(sync("sync = 1m"), Duration::from_secs(60));
}

#[test]
fn how_large_call_records_become() {
    let records = |text: &str| parse(&format!("ext.101 = a\n{text}")).call_records;
    let of = |bytes, files| Some(CallRecords { bytes, files });
    assert_eq!(records(""), of(1_000_000, 10));
    assert_eq!(records("call-records = off"), None);
    assert_eq!(records("call-records = 10k 1"), of(10_000, 1));
    assert_eq!(records("call-records =  1G\t1000 "), of(1_000_000_000, 1_000));
}

#[test]
fn each_known_key_has_an_example_that_works() {
    for (key, example) in help::EXAMPLES {
        let mut lines = vec![
            "ext.101 = a",
            "ext.102 = b",
            "group.600 = 101",
            "listen.lan = udp:60",
            "peer.tokyo = sip:192.0.2.1",
            "trunk.isp = sip:0312345678@sip.example.jp",
            "mantela.prefix = 80",
            "mantela.identifier = b",
            "echo = 114",
        ];
        // A user and a password need each other.
        lines.extend(match *key {
            "peer.N.user" => Some("peer.tokyo.password = b"),
            "peer.N.trunks" => Some("peer.tokyo.user = kyoto\npeer.tokyo.password = b"),
            "peer.N.password" => Some("peer.tokyo.user = kyoto"),
            "trunk.N.auth-user" => Some("trunk.isp.password = b"),
            "peer.N.mantela" => Some("peer.tokyo.identifier = b"),
            "peer.N.identifier" => Some("peer.tokyo.mantela = http://b.example/"),
            _ => None,
        });
        // Each of these needs the other.
        if key.starts_with("tls") {
            lines.extend(["tls.cert = a", "tls.key = b"]);
        }
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

#[test]
fn where_the_state_is_can_be_told_from_a_file_with_mistakes() {
    let path = std::env::temp_dir().join(format!("denwa-config-state-{}", std::process::id()));
    let told = |file: &[u8]| {
        std::fs::write(&path, file).unwrap();
        let (state, mistakes) = Config::state_folder(&path).unwrap();
        (state.into_os_string().into_string().unwrap(), mistakes)
    };
    let told_as = |state: &str, mistakes| (state.to_owned(), mistakes);
    let default = "/var/lib/denwa";
    assert_eq!(told(b"ext.101 = secret-one\nstate = /srv/denwa\n"), told_as("/srv/denwa", 0));
    assert_eq!(told(b"ext.101 = secret-one\n"), told_as(default, 0));
    assert_eq!(told(b"ekho = 114\nstate = /srv/my denwa\nno line\n"), told_as("/srv/my denwa", 3));
    assert_eq!(told(b"ext.101 = secret-one\nekho = 114\n"), told_as(default, 1));
    // The last one that says something.
    assert_eq!(told(b"ext.101 = secret-one\nstate = /a\nstate = /b\nstate =\n"), told_as("/b", 2));
    assert_eq!(told(b"ext.101 = secret-one\nstate =\n"), told_as(default, 1));
    assert_eq!(told(b"ext.101 = secret-one\nstate.x = /a\nstates = /b\n"), told_as(default, 2));
    // Of nothing at all, and of what is not text.
    assert_eq!(told(b""), told_as(default, 1));
    assert_eq!(told(b"\xff\xfes\0"), told_as(default, 1));
    assert_eq!(told(b"\xff\nstate = /a\next.101 = secret-one\n"), told_as("/a", 1));
    std::fs::remove_file(&path).unwrap();
    let mistakes = Config::state_folder(&path).unwrap_err();
    assert_eq!(mistakes.iter().next().unwrap().reason, Reason::Unreadable(io::ErrorKind::NotFound));
}

#[test]
fn what_is_published_is_whole_or_a_mistake() {
    let config = parse(
        "ext.101 = a\next.101.public = yes\next.101.type = fax\ngroup.600 = 101\ndomain = pbx.example\n\
         mantela.listen = 8080 127.0.0.1:8081 tcp:[2001:db8::1]:8082\nmantela.prefix = 80 075\n\
         mantela.numbers = 600\nmantela.unavailable = no",
    );
    let at = |text: &str| text.parse::<std::net::SocketAddr>().unwrap();
    let tcp = |at: std::net::SocketAddr| Listen {
        transport: Transport::Tcp,
        address: Some(at.ip()),
        port: at.port(),
    };
    let expected =
        vec![place(Transport::Tcp, 8080), tcp(at("127.0.0.1:8081")), tcp(at("[2001:db8::1]:8082"))];
    assert_eq!(config.mantela.listen, expected);
    assert_eq!(config.mantela.identifier(config.domain.as_deref()), Identifier::new("pbx.example"));
    assert_eq!(config.extensions["101"].listing.terminal, Terminal::Fax);

    let whole = "mantela.prefix = 80\nmantela.identifier = x\n";
    for (text, told) in [
        (
            "mantela.listen = 8080\nmantela.identifier = x",
            "mantela.listen: what is served has to say this too: add `mantela.prefix`",
        ),
        ("mantela.listen = 8080\nmantela.prefix = 80", "add `mantela.identifier`"),
        ("domain = any-word\nmantela.listen = 8080\nmantela.prefix = 80", "add `mantela.identifier`"),
        (&format!("{whole}mantela.listen = 5060"), "SIP is spoken on `tcp:5060` unless"),
        (&format!("{whole}listen = tcp:8080\nmantela.listen = 192.0.2.1:8080"), "overlap"),
        (&format!("{whole}mantela.listen = 8080 8080"), "is there already"),
        (&format!("{whole}mantela.listen = 1 2 3 4 5"), "too many; 4 are the most"),
        (&format!("{whole}mantela.listen = udp:8080"), "HTTP is spoken by TCP"),
        (&format!("{whole}mantela.listen = [::]:8080"), "leave the address out"),
        ("mantela.numbers = 999", "there is no number 999"),
        ("mantela.identifier = a b", "takes one word"),
        ("mantela.identifier = 電話", "is not an identifier"),
        ("mantela.prefix = 1 2 3 4 5 6 7 8 9", "too many; 8 are the most"),
        ("ext.101.type = main", "`main` is not"),
        ("ext.101.public = maybe", "is not `yes` or `no`"),
        ("peer.a = sip:a\npeer.a.mantela = https://a.example/", "belong together"),
        ("peer.a = sip:a\npeer.a.identifier = a", "belong together"),
        (
            "peer.a = sip:a\npeer.a.identifier = a\npeer.a.mantela = https://u:p@a.example/",
            "has a user in it",
        ),
    ] {
        let said = mistake(text);
        assert!(said.contains(told), "{text}: {said}");
    }
}
