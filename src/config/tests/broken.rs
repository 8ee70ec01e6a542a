//! Files that are broken at random, as typing does.

use super::*;

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
