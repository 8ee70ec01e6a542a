//! What is said of each mistake.

use super::*;

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
             offline, identity, digest, nat-media, allow, max-calls, max-calls-hour, public, type, model",
        ),
        ("alow = 192.0.2.1", "alow: unknown key; did you mean `allow`?"),
        ("rates.phone = 1/s", "rates.phone: unknown key; did you mean `rate.phone`?"),
        ("rate.phnoe = 1/s", "rate.phnoe: unknown key; did you mean `rate.phone`?"),
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
        ("sync = 61s", "sync: must be 0s to 1m (for example `sync = 1s`)"),
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
             `ban = 30 10m`)",
        ),
        (
            "ban = never 1h",
            "ban: `never` is not a number of wrong passwords from 3 to 1000 (for example `ban = 30 10m`)",
        ),
        (
            "ban = 2 1h",
            "ban: `2` is not a number of wrong passwords from 3 to 1000 (for example `ban = 30 10m`)",
        ),
        (
            "ban = 1001 1h",
            "ban: `1001` is not a number of wrong passwords from 3 to 1000 (for example `ban = 30 10m`)",
        ),
        ("ban = 10 59s", "ban: `59s` is not a duration from 1m to 7d (for example `ban = 30 10m`)"),
        ("ban = 10 8d", "ban: `8d` is not a duration from 1m to 7d (for example `ban = 30 10m`)"),
        (
            "ban = 10 60",
            "ban: `60` has no unit; write 60s for seconds, m for minutes, h for hours (for example `ban = 30 10m`)",
        ),
        (
            "ban = 10 1h # more",
            "ban: comments need a line of their own: what comes after `=` is all value (for example `ban = 30 \
             10m`)",
        ),
        ("ban =", "ban: there is nothing after the `=` (for example `ban = 30 10m`)"),
        ("ban = never\nban = 10 1h", "ban: is on line 1 already; keep one of the two"),
        (
            "call-records = 1M",
            "call-records: `1M` is neither `off` nor a size and a number of files (for example `call-records = 1M \
             10`)",
        ),
        ("call-records = off 10", "call-records: `off` is not a size (for example `call-records = 1M 10`)"),
        (
            "call-records = 500 10",
            "call-records: `500` has no unit; write 500k for kilobytes, M for megabytes (for example \
             `call-records = 1M 10`)",
        ),
        (
            "call-records = 1m 10",
            "call-records: `1m` has an unknown unit; there are k, M and G (for example `call-records = 1M 10`)",
        ),
        (
            "call-records = 9k 10",
            "call-records: `9k` is not a size from 10k to 1G (for example `call-records = 1M 10`)",
        ),
        (
            "call-records = 4294967295G 10",
            "call-records: `4294967295G` is not a size from 10k to 1G (for example `call-records = 1M 10`)",
        ),
        (
            "call-records = 1M 0",
            "call-records: `0` is not a number of files from 1 to 1000 (for example `call-records = 1M 10`)",
        ),
        (
            "call-records = 1M 1001",
            "call-records: `1001` is not a number of files from 1 to 1000 (for example `call-records = 1M 10`)",
        ),
        (
            "call-records = 1M 10 # a year",
            "call-records: comments need a line of their own: what comes after `=` is all value (for example \
             `call-records = 1M 10`)",
        ),
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
        ("advertise = 192.0.2.1 auto", "advertise: `auto` stands alone: nothing else can be beside it"),
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
