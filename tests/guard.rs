//! The guard's promises, held against random traffic that can be played again.
//!
//! What a dropped packet costs is measured by
//! `cargo test --release --test guard -- --ignored --nocapture`.

#![allow(clippy::unwrap_used)]
#![allow(unsafe_code)] // an allocator that counts

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use denwa::config::{Access, Ban, Config, Listen, Network, Rate, Transport};
use denwa::guard::{Guard, Lesson, Networks, News, Opening, Prefix, Refusal, Standing};
use denwa::time::Instant;

const MINUTE: u64 = 60_000;

// A source is heard as often as its budget says, and no more.

#[test]
fn a_source_never_sends_more_than_its_burst_and_its_rate() {
    for seed in 0..20 {
        let mut rng = Rng(seed);
        let (rate, all) = (rng.between(1, 30) as u32, 1_000_000);
        let config = Config { rate_stranger: Rate(rate), rate_strangers: Rate(all), ..Config::default() };
        let mut guard = Guard::new(&config, (seed, 1));
        let mut budgets = Windows::new(u64::from(rate) * 5, u64::from(rate));
        let mut now = 0;
        for _ in 0..60_000 {
            // A few persistent ones among so many that the table overflows, and pauses now and then.
            let remote = if rng.one_in(3) { v4(rng.below(3)) } else { v4(rng.below(50_000)) };
            now += if rng.one_in(2_000) { rng.below(4_000) } else { rng.below(3) };
            if packet(&mut guard, now, remote).is_some() {
                budgets.passed(Prefix::of(remote), now);
            }
        }
        budgets.hold();
    }
}

#[test]
fn who_rotates_gets_no_more_than_the_table_has() {
    // Even if all strangers together might send what they like.
    let config = Config { rate_stranger: Rate(1), rate_strangers: Rate(1_000_000), ..Config::default() };
    let mut guard = Guard::new(&config, (1, 9));
    let mut passed = |now, from| {
        (from..from + 200_000).filter(|&n| packet(&mut guard, now, v6_of_32(n)).is_some()).count()
    };
    assert_eq!(passed(0, 0), 4_096 * 5);
    assert_eq!(passed(3_000, 200_000), 4_096 * 3);
    assert_eq!(passed(3_999, 0), 0);
}

#[test]
fn all_strangers_together_have_one_budget_however_they_rotate() {
    for seed in 0..6 {
        let mut rng = Rng(seed);
        let all = rng.between(1, 2_000) as u32;
        let config = Config { rate_strangers: Rate(all), ..Config::default() };
        let mut guard = Guard::new(&config, (seed, 2));
        let mut budget = Windows::new(u64::from(all), u64::from(all));
        let (mut now, mut passed) = (0, 0);
        for n in 0..200_000 {
            // Through a whole /32 of IPv6 in steps that never come back, or at random, or all of IPv4.
            let remote = match seed % 3 {
                0 => v6_of_32(n * 0x9e37_79b1),
                1 => v6_of_32(rng.next()),
                _ => v4(rng.next()),
            };
            now += u64::from(n % 20 == 0);
            if packet(&mut guard, now, remote).is_some() {
                budget.passed((), now);
                passed += 1;
            }
        }
        budget.hold();
        assert!(passed >= u64::from(all), "strangers have what is theirs: {passed}");
    }
}

#[test]
fn a_quiet_stranger_has_its_share_among_loud_ones() {
    let mut guard = guard();
    let (mut heard, mut tried) = (0, 0);
    for now in 0..10_000 {
        // A hundred sources, each with a thousand packets a second: 1,000 a second by their own budgets
        // for the 500 of all.
        for n in 0..100 {
            packet(&mut guard, now, v4(1_000 + n));
        }
        if now >= 6_000 && now % 250 == 17 {
            tried += 1;
            heard += u32::from(packet(&mut guard, now, v4(1)).is_some());
        }
    }
    assert!(heard * 4 >= tried, "{heard} of {tried}");
}

// Phones do not notice.

#[test]
fn phones_are_heard_under_any_flood() {
    for seed in 0..6 {
        let mut rng = Rng(seed);
        let mut guard = Guard::new(&Config::default(), (seed, 3));
        for n in 0..20 {
            guard.learn(Instant(0), Lesson::Bound(v4(n)));
        }
        for now in 0..20_000 {
            for _ in 0..10 {
                let remote = if rng.one_in(2) { v6_of_32(rng.next()) } else { v4(100 + rng.below(5_000)) };
                packet(&mut guard, now, remote);
            }
            if rng.one_in(10) {
                guard.opened(Instant(now), now + 1, Transport::Tcp, ours(), at(v4(100 + rng.below(5_000))));
            }
            // Twenty phones that send 20 packets a second each.
            if now % 50 == 0 {
                for n in 0..20 {
                    assert_eq!(packet(&mut guard, now, v4(n)), Some(Standing::Phone), "{n} at {now}");
                }
            }
            if now % 1_000 == 0 {
                let stream = 1_000_000 + now;
                let opening =
                    guard.opened(Instant(now), stream, Transport::Tcp, ours(), at(v4(now / 1_000 % 20)));
                assert_ne!(opening, Opening::Refused);
                guard.learn(Instant(now), Lesson::Authenticated { source: v4(0), stream });
            }
            drain(&mut guard, now);
        }
    }
}

#[test]
fn what_phones_are_sent_is_not_taken_from_strangers() {
    // Whoever forges the address of a phone gets its network longer answers, but no more than that.
    let mut guard = guard();
    guard.learn(Instant(0), Lesson::Bound(v4(1)));
    for _ in 0..10_000 {
        guard.learn(Instant(0), Lesson::Exceeded(v4(1)));
    }
    assert_eq!(packet(&mut guard, 0, v4(2)), Some(Standing::Stranger { credit: true }));
}

#[test]
fn a_phone_is_never_banned_and_neither_is_anybody_who_did_not_fail() {
    for seed in 0..10 {
        let mut rng = Rng(seed);
        let ban = Ban { failures: 3, time: Duration::from_secs(600) };
        let generous = Config {
            ban: Some(ban),
            rate_stranger: Rate(1_000_000),
            rate_strangers: Rate(1_000_000),
            ..Config::default()
        };
        let mut guard = Guard::new(&generous, (seed, 4));
        let mut bindings: BTreeMap<u64, u32> = BTreeMap::new();
        // When each failure came that still counts, and until when the source is banned.
        let mut failures: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
        let mut banned: BTreeMap<u64, u64> = BTreeMap::new();
        let (mut now, mut bans, mut told) = (0, 0, 0);
        for _ in 0..40_000 {
            now += rng.below(200);
            let n = rng.below(40);
            let (source, is_phone) = (v4(n), bindings.contains_key(&n));
            let is_banned = banned.get(&n).is_some_and(|&until| now < until);
            match rng.below(8) {
                0 if bindings.len() < 10 || is_phone => {
                    guard.learn(Instant(now), Lesson::Bound(source));
                    *bindings.entry(n).or_default() += 1;
                    banned.remove(&n);
                    failures.remove(&n);
                }
                1 => {
                    guard.learn(Instant(now), Lesson::Unbound(source));
                    if let Some(count) = bindings.get_mut(&n) {
                        *count -= 1;
                        if *count == 0 {
                            bindings.remove(&n);
                        }
                    }
                }
                2 | 3 => {
                    guard.learn(Instant(now), Lesson::Failed { source, number: "101".into() });
                    if !is_phone && !is_banned {
                        let known = failures.entry(n).or_default();
                        if known.first().is_some_and(|&first| now - first >= 600_000) {
                            known.clear();
                        }
                        known.push(now);
                        if known.len() == 3 {
                            failures.remove(&n);
                            banned.insert(n, now + 600_000);
                            bans += 1;
                        }
                    }
                }
                4 if rng.one_in(4) => {
                    guard.learn(Instant(now), Lesson::Authenticated { source, stream: 0 });
                    failures.remove(&n);
                }
                _ => {
                    let heard = packet(&mut guard, now, source);
                    let expected = match (is_phone, is_banned) {
                        (true, _) => Some(Standing::Phone),
                        (false, true) => None,
                        (false, false) => Some(Standing::Stranger { credit: true }),
                    };
                    assert_eq!(heard, expected, "{n} at {now} of seed {seed}");
                }
            }
            for news in drain(&mut guard, now).1 {
                if let News::Banned { source, failures, time, number } = news {
                    let n = (0..40).find(|&n| Prefix::of(v4(n)) == source).unwrap();
                    assert_eq!(banned.get(&n), Some(&(now + 600_000)));
                    assert_eq!((failures, time, number.as_str()), (3, ban.time, "101"));
                    told += 1;
                }
            }
        }
        assert!(bans > 50, "{bans}");
        assert!(told > 0 && told <= bans);
    }
}

#[test]
fn another_configuration_forgets_neither_phones_nor_bans() {
    let [phone, banned, stranger]: [IpAddr; 3] =
        ["192.0.2.1", "192.0.2.2", "192.0.2.3"].map(|ip| ip.parse().unwrap());
    let mut guard = guard();
    let now = Instant(1_000);
    guard.learn(now, Lesson::Bound(phone));
    for _ in 0..30 {
        guard.learn(now, Lesson::Failed { source: banned, number: "101".into() });
    }
    let mut heard = |config: &Config, seconds: u64| {
        let now = Instant(1_000 * seconds);
        guard.reload(now, config);
        [phone, banned, stranger].map(|ip| {
            guard
                .packet(now, Transport::Udp, ours(), SocketAddr::new(ip, 5060))
                .map(|standing| standing == Standing::Phone)
        })
    };
    let same = Config::default();
    assert_eq!(heard(&same, 2), [Some(true), None, Some(false)]);
    let milder = Config { ban: Some(Ban { failures: 100, time: Duration::from_secs(60) }), ..same.clone() };
    assert_eq!(heard(&milder, 3), [Some(true), None, Some(false)], "a ban lasts as long as was said");
    let network = Network { address: phone, length: 32 };
    let closed = Config { access: Access { allow: vec![network], deny: Vec::new() }, ..milder.clone() };
    assert_eq!(heard(&closed, 4), [Some(true), None, None]);
    let never = Config { ban: None, ..milder };
    assert_eq!(heard(&never, 5), [Some(true), Some(false), Some(false)], "nobody is banned any more");
}

#[test]
fn who_only_sends_is_never_banned() {
    // A forged source can send whatever it likes, and be refused for it; it never proves that it
    // receives, so nothing of it is a failure.
    let mut rng = Rng(5);
    let mut guard = guard();
    let victim = v4(7);
    for now in 0..20_000 {
        for remote in [victim, v4(rng.below(100)), v6_of_32(rng.next())] {
            if packet(&mut guard, now, remote).is_some() {
                guard.learn(Instant(now), Lesson::Refused(refusal(remote, "101", rng.one_in(2))));
            }
        }
        let news = drain(&mut guard, now).1;
        assert!(!news.iter().any(|news| matches!(news, News::Banned { .. })), "{news:?}");
    }
    // And once it is quiet the victim is heard.
    assert!(packet(&mut guard, 30_000, victim).is_some());
}

// Lists.

#[test]
fn lists_are_what_a_simple_search_says() {
    for seed in 0..60 {
        let mut rng = Rng(seed);
        let list: Vec<Network> = (0..rng.below(60)).map(|_| network(&mut rng)).collect();
        let networks = Networks::new(&list);
        assert_eq!(networks.is_empty(), list.is_empty());
        let mut inside = 0;
        for _ in 0..2_000 {
            let address = near(&mut rng, &list);
            let expected = list.iter().any(|network| has(network, address));
            assert_eq!(networks.contains(address), expected, "{address} in {list:?}");
            if let IpAddr::V4(v4) = address {
                assert_eq!(networks.contains(v4.to_ipv6_mapped().into()), expected, "mapped {address}");
            }
            inside += u32::from(expected);
        }
        assert!(list.is_empty() || inside > 0);
    }
}

#[test]
fn packets_and_connections_pass_the_lists_of_all_and_of_their_listener() {
    for seed in 0..40 {
        let mut rng = Rng(seed);
        let access = |rng: &mut Rng| Access {
            allow: (0..rng.below(6)).map(|_| network(rng)).collect(),
            deny: (0..rng.below(6)).map(|_| network(rng)).collect(),
        };
        let gate = Listen { transport: Transport::Udp, address: None, port: 60 };
        let config = Config {
            access: access(&mut rng),
            gates: vec![(gate, access(&mut rng))],
            rate_stranger: Rate(1_000_000),
            rate_strangers: Rate(1_000_000),
            ..Config::default()
        };
        let mut guard = Guard::new(&config, (seed, 5));
        let all: Vec<Network> = [&config.access, &config.gates[0].1]
            .iter()
            .flat_map(|access| access.allow.iter().chain(&access.deny))
            .copied()
            .collect();
        for stream in 1..1_000 {
            let remote = near(&mut rng, &all);
            let passes = |access: &Access| {
                let on = |list: &[Network]| list.iter().any(|network| has(network, remote));
                !on(&access.deny) && (access.allow.is_empty() || on(&access.allow))
            };
            let (by_all, by_gate) = (passes(&config.access), passes(&config.gates[0].1));
            let mut heard = |transport, port| {
                let local = SocketAddr::new(ours().ip(), port);
                guard.packet(Instant(stream), transport, local, at(remote)).is_some()
            };
            assert_eq!(heard(Transport::Udp, 60), by_all && by_gate, "{remote}");
            assert_eq!(heard(Transport::Udp, 61), by_all, "{remote}");
            assert_eq!(heard(Transport::Tcp, 60), by_all, "{remote}");
            let opening = guard.opened(Instant(stream), stream, Transport::Tcp, ours(), at(remote));
            assert_eq!(opening != Opening::Refused, by_all, "{remote}");
            guard.closed(stream);
        }
    }
}

// Connections.

#[test]
fn connections_without_authentication_are_few_and_do_not_stay() {
    for seed in 0..6 {
        let mut rng = Rng(seed);
        let config = Config {
            rate_stranger: Rate(1_000_000),
            rate_strangers: Rate(1_000_000),
            ban: Some(Ban { failures: 3, time: Duration::from_secs(600) }),
            ..Config::default()
        };
        let mut guard = Guard::new(&config, (seed, 6));
        guard.learn(Instant(0), Lesson::Bound(v4(0)));
        // Stream by source, and when it was opened.
        let mut open: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
        let (mut now, mut refused, mut replaced, mut late) = (0, 0, 0, 0);
        for stream in 1..30_000 {
            now += rng.below(30);
            let n = if rng.one_in(4) { rng.below(3) } else { rng.below(2_000) };
            let of_source = open.values().filter(|(source, _)| *source == n).count();
            let most = if n == 0 { 64 } else { 8 };
            match guard.opened(Instant(now), stream, Transport::Tcp, ours(), at(v4(n))) {
                Opening::Refused => {
                    refused += 1;
                    continue;
                }
                Opening::Admitted => assert!(open.len() < 1_024),
                Opening::InsteadOf(oldest) => {
                    assert_eq!(open.len(), 1_024);
                    let (source, since) = open.remove(&oldest).unwrap();
                    assert!(source != 0, "strangers go before phones");
                    let older = open.values().filter(|(s, opened)| *s != 0 && *opened < since);
                    assert_eq!(older.count(), 0);
                    guard.closed(oldest);
                    replaced += 1;
                }
            }
            assert!(of_source < most);
            open.insert(stream, (n, now));
            if rng.one_in(5) {
                let at = rng.below(open.len() as u64) as usize;
                let (&stream, &(source, _)) = open.iter().nth(at).unwrap();
                open.remove(&stream);
                match rng.below(3) {
                    0 => guard.closed(stream),
                    _ => {
                        guard.learn(Instant(now), Lesson::Authenticated { source: v4(source), stream });
                    }
                }
            }
            if rng.one_in(50) {
                let n = rng.below(2_000);
                for _ in 0..3 {
                    guard.learn(Instant(now), Lesson::Failed { source: v4(n), number: String::new() });
                }
                let gone: BTreeSet<u64> = drain(&mut guard, now).0.into_iter().collect();
                for (stream, (source, since)) in open.clone() {
                    let goes = (n != 0 && source == n) || now >= since + 32_000;
                    assert_eq!(gone.contains(&stream), goes, "{stream} of {source}");
                    if goes {
                        open.remove(&stream);
                        late += 1;
                    }
                }
            }
            for stream in drain(&mut guard, now).0 {
                let (_, since) = open.remove(&stream).unwrap();
                assert!(now >= since + 32_000, "{stream} went after {} ms", now - since);
                late += 1;
            }
            assert!(open.values().all(|&(_, since)| now < since + 32_000));
            let next = open.values().map(|&(_, since)| Instant(since + 32_000)).min();
            assert!(next.is_none() || guard.deadline() <= next);
        }
        assert!(refused > 100 && replaced > 100 && late > 100, "{refused} {replaced} {late}");
    }
}

#[test]
fn an_office_that_comes_back_all_at_once_gets_in_over_tcp() {
    // A hundred phones at one address after a power cut. Those that are refused try again each second,
    // and what they try must not starve those that are in.
    for rate in [5, 10] {
        let config = Config { rate_stranger: Rate(rate), ..Config::default() };
        let mut guard = Guard::new(&config, (1, 8));
        let office = v4(1);
        let mut phones = [Attempt::Out; 100];
        let mut streams = 0;
        for now in (0..5_000).step_by(50) {
            for phone in &mut phones {
                *phone = match *phone {
                    Attempt::Out if now % 1_000 == 0 => {
                        streams += 1;
                        match guard.opened(Instant(now), streams, Transport::Tcp, ours(), at(office)) {
                            Opening::Refused => Attempt::Out,
                            _ => Attempt::Asks { stream: streams, messages: 0 },
                        }
                    }
                    // A stream is reliable: what is not heard is not said again.
                    Attempt::Asks { stream, .. } if packet(&mut guard, now, office).is_none() => {
                        Attempt::Unheard { stream }
                    }
                    Attempt::Asks { stream, messages: 1 } => {
                        guard.learn(Instant(now), Lesson::Bound(office));
                        guard.learn(Instant(now), Lesson::Authenticated { source: office, stream });
                        Attempt::In
                    }
                    Attempt::Asks { stream, .. } => Attempt::Asks { stream, messages: 1 },
                    other => other,
                };
            }
            for late in drain(&mut guard, now).0 {
                for phone in &mut phones {
                    let gone = matches!(phone, Attempt::Asks { stream, .. } | Attempt::Unheard { stream } if *stream == late);
                    *phone = if gone { Attempt::Out } else { *phone };
                }
            }
        }
        let missing = phones.iter().filter(|phone| !matches!(phone, Attempt::In)).count();
        assert_eq!(missing, 0, "at {rate} packets a second");
    }
}

/// How far a phone is with its registration over TCP.
#[derive(Clone, Copy)]
enum Attempt {
    Out,
    Asks { stream: u64, messages: u32 },
    Unheard { stream: u64 },
    In,
}

// News.

#[test]
fn what_is_told_adds_up_to_what_was_in_vain() {
    for seed in 0..12 {
        let mut rng = Rng(seed);
        let deny = Network { address: v4(0), length: 28 };
        let config = Config {
            access: Access { allow: Vec::new(), deny: vec![deny] },
            ban: Some(Ban { failures: 3, time: Duration::from_secs(120) }),
            rate_strangers: Rate(rng.between(50, 1_000) as u32),
            rate_phone: Rate(20),
            ..Config::default()
        };
        let mut guard = Guard::new(&config, (seed, 7));
        guard.learn(Instant(0), Lesson::Bound(v4(100)));
        // Every source that sent something in vain since it was last told of, and what.
        let mut dropped: HashMap<Prefix, u64> = HashMap::new();
        let mut requests: HashMap<Prefix, u64> = HashMap::new();
        let mut connections: HashMap<Prefix, u64> = HashMap::new();
        let (mut told_at_once, mut lines, mut summaries, mut others) = (0, Vec::new(), 0, 0);
        // Most are loud; how many rotate depends on the seed.
        let crowd = [10, 300, 30_000][seed as usize % 3];
        let mut now = 0;
        for step in 0..60_000_u64 {
            now += rng.below(8) + if rng.one_in(3_000) { 2 * MINUTE } else { 0 };
            let remote = match rng.below(10) {
                0 => v4(100),
                1 => v4(rng.below(16)),
                2 | 3 => v4(101 + rng.below(3)),
                _ => v6_of_32(rng.below(crowd)),
            };
            let source = Prefix::of(remote);
            if rng.one_in(10) {
                if guard.opened(Instant(now), step + 1, Transport::Tcp, ours(), at(remote))
                    == Opening::Refused
                {
                    *connections.entry(source).or_default() += 1;
                }
            } else if packet(&mut guard, now, remote).is_none() {
                *dropped.entry(source).or_default() += 1;
            } else if rng.one_in(2) {
                let number = rng.below(30).to_string();
                let refusal = refusal(remote, &number, rng.one_in(5));
                guard.learn(Instant(now), Lesson::Refused(refusal));
                *requests.entry(source).or_default() += 1;
            } else if rng.one_in(20) {
                guard.learn(Instant(now), Lesson::Failed { source: remote, number: "101".into() });
            }
            let mut in_report = BTreeSet::new();
            for news in drain(&mut guard, now).1 {
                lines.push(now);
                match news {
                    News::Refused(refusal) => {
                        assert!(refusal.known);
                        *requests.get_mut(&Prefix::of(refusal.remote.ip())).unwrap() -= 1;
                        told_at_once += 1;
                    }
                    News::Summary(summary) => {
                        let take = |map: &mut HashMap<Prefix, u64>, told: u64| {
                            let counted = map.remove(&summary.source).unwrap_or_default();
                            assert!(told <= counted, "{summary:?}: {counted}");
                            // What a displaced source sent is with the others.
                            *map.entry(source_of_others()).or_default() += counted - told;
                        };
                        take(&mut dropped, summary.dropped);
                        take(&mut requests, summary.refused);
                        take(&mut connections, summary.connections);
                        assert!(summary.dropped + summary.refused + summary.connections > 0);
                        assert!(summary.period >= Duration::from_secs(60) && !summary.why.is_empty());
                        assert!(in_report.insert(summary.source), "one line a source");
                        summaries += 1;
                    }
                    News::Others { sources, packets, .. } => {
                        let all = [&dropped, &requests, &connections];
                        let left: u64 = all.iter().flat_map(|map| map.values()).sum();
                        assert_eq!(packets, left);
                        let who = all.iter().flat_map(|map| map.iter().filter(|(_, n)| **n > 0));
                        let who: BTreeSet<&Prefix> = who.map(|(source, _)| source).collect();
                        assert!(sources >= 1 && sources <= who.len() as u64, "{sources} of {}", who.len());
                        assert!(sources * 10 >= who.len() as u64 * 9, "{sources} of {}", who.len());
                        others += 1;
                        dropped.clear();
                        requests.clear();
                        connections.clear();
                    }
                    News::Banned { .. } => {}
                }
            }
            if !in_report.is_empty() {
                let left = [&dropped, &requests, &connections].into_iter().flat_map(|map| map.values());
                assert_eq!(left.sum::<u64>(), 0, "all was told");
                assert!(in_report.len() <= 5);
            }
        }
        assert!(told_at_once > 20 && summaries > 20 && others > 4, "{told_at_once} {summaries} {others}");
        for (at, &first) in lines.iter().enumerate() {
            let in_a_minute = lines[at..].iter().take_while(|&&line| line < first + MINUTE).count();
            assert!(in_a_minute <= 26, "{in_a_minute} lines in a minute");
        }
        // And then it is quiet.
        drain(&mut guard, now + 2 * MINUTE);
        assert_eq!(guard.deadline(), None);
        assert_eq!(drain(&mut guard, now + 1_000 * MINUTE), (Vec::new(), Vec::new()));
    }
}

#[test]
fn a_deadline_is_when_there_is_something_and_not_before() {
    let mut guard = guard();
    assert_eq!(guard.deadline(), None);
    guard.opened(Instant(500), 1, Transport::Tcp, ours(), at(v4(1)));
    assert_eq!(guard.deadline(), Some(Instant(32_500)));
    assert_eq!(drain(&mut guard, 32_499), (Vec::new(), Vec::new()));
    assert_eq!(drain(&mut guard, 32_500), (vec![1], Vec::new()));
    while packet(&mut guard, 40_000, v4(1)).is_some() {}
    assert_eq!(guard.deadline(), Some(Instant(100_000)));
    assert!(drain(&mut guard, 99_999).1.is_empty());
    let news = drain(&mut guard, 100_000).1;
    assert!(matches!(news.as_slice(), [News::Summary(summary)] if summary.dropped == 1), "{news:?}");
    assert_eq!(guard.deadline(), None);
}

#[test]
fn the_end_of_time_is_no_trouble() {
    let mut guard = guard();
    for now in [0, u64::MAX - 1, u64::MAX, u64::MAX] {
        packet(&mut guard, now, v4(1));
        guard.opened(Instant(now), 1, Transport::Tcp, ours(), at(v4(1)));
        for _ in 0..20 {
            guard.learn(Instant(now), Lesson::Failed { source: v4(1), number: String::new() });
            guard.learn(Instant(now), Lesson::Exceeded(v4(1)));
            guard.learn(Instant(now), Lesson::Refused(refusal(v4(1), "101", true)));
        }
        drain(&mut guard, now);
        guard.deadline();
    }
}

// Memory and time.

#[test]
fn a_flood_costs_no_memory() {
    let before = memory();
    let list: Vec<Network> = (0..500).map(|n| Network { address: v4(n << 8), length: 32 }).collect();
    let access = Access { allow: Vec::new(), deny: list };
    let mut guard = Guard::new(&Config { access, ..Config::default() }, (1, 8));
    for stream in 0..20_000 {
        guard.opened(Instant(stream / 100), stream + 1, Transport::Tcp, ours(), at(v4(stream)));
    }
    // Three failures a source: a ban for each, if there were room.
    let ban = |guard: &mut Guard, from: u64| {
        for n in from..from + 5_000 {
            for _ in 0..10 {
                guard.learn(Instant(1_000), Lesson::Failed { source: v4(n), number: "101".into() });
            }
            drain(guard, 1_000);
        }
    };
    ban(&mut guard, 0);
    let grown = memory() - before;
    assert!(grown < 200 << 10, "{grown} bytes");

    let (memory_before, allocations_before) = (memory(), allocations());
    let mut dropped = 0;
    for n in 0..1_000_000 {
        for remote in [v6_of_32(n * 0x9e37_79b1), v4(n), v4(0), v4(4_900)] {
            dropped += u64::from(packet(&mut guard, 1_000 + n / 1_000, remote).is_none());
        }
    }
    assert!(dropped > 3_990_000, "{dropped}");
    assert_eq!(allocations(), allocations_before, "dropping a packet allocates nothing");
    assert_eq!(memory(), memory_before);

    // What strangers say of themselves is kept for few of them, and not for long.
    for n in 0..100_000 {
        guard.learn(Instant(1_000_000), Lesson::Refused(refusal(v4(n), "101", true)));
        drain(&mut guard, 1_000_000);
    }
    ban(&mut guard, 50_000);
    let grown = memory() - before;
    assert!(grown < 220 << 10, "{grown} bytes");
    drain(&mut guard, 2_000_000);
    drop(guard);
    assert_eq!(memory(), before);
}

/// What it costs to drop a packet, apart from receiving it.
#[test]
#[ignore = "a measurement, which wants a release build and a quiet machine"]
fn the_cost_of_a_dropped_packet() {
    const PACKETS: u64 = 2_000_000;
    let deny: Vec<Network> = (0..1_000).map(|n| Network { address: v4(n << 12), length: 24 }).collect();
    let listed = Config { access: Access { allow: Vec::new(), deny: deny.clone() }, ..Config::default() };
    let banning = |guard: &mut Guard| {
        for n in 0..1_024 {
            for _ in 0..10 {
                guard.learn(Instant(0), Lesson::Failed { source: v4(n), number: "101".into() });
            }
        }
    };
    let phones = |guard: &mut Guard| {
        for n in 0..1_000 {
            guard.learn(Instant(0), Lesson::Bound(v4(100_000 + n)));
        }
    };
    type Setup<'a> = &'a dyn Fn(&mut Guard);
    type Remote = fn(u64) -> IpAddr;
    let rows: [(&str, &Config, Setup<'_>, Remote); 7] = [
        ("one source", &Config::default(), &|_| {}, |_| v4(1)),
        ("one source, among 1,000 phones", &Config::default(), &phones, |_| v4(1)),
        ("a /32 of IPv6, source by source", &Config::default(), &|_| {}, |n| v6_of_32(n * 0x9e37_79b1)),
        ("the same, among 1,000 phones", &Config::default(), &phones, |n| v6_of_32(n * 0x9e37_79b1)),
        ("denied by one of 1,000 networks", &listed, &|_| {}, |_| v4(500 << 12)),
        ("many sources, all denied", &listed, &|_| {}, |n| v4((n * 7_919 % 1_000) << 12 | n & 255)),
        ("1,024 banned sources", &Config::default(), &banning, |n| v4(n * 7_919 % 1_024)),
    ];
    for (name, config, setup, remote) in rows {
        let mut guard = Guard::new(config, (0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210));
        setup(&mut guard);
        let (mut passed, mut best) = (0, f64::MAX);
        for round in 0..5 {
            let start = cpu_nanoseconds();
            for n in 0..PACKETS {
                // A million packets a second.
                let now = Instant((round * PACKETS + n) / 1_000);
                passed += u64::from(guard.packet(now, Transport::Udp, ours(), at(remote(n))).is_some());
            }
            best = best.min((cpu_nanoseconds() - start) as f64 / PACKETS as f64);
            while guard.news(Instant(round * PACKETS)).is_some() {}
        }
        println!("{best:6.1} ns a packet: {name} ({passed} of {} passed)", 5 * PACKETS);
        assert!(passed < 5 * PACKETS / 100);
        assert!(cfg!(debug_assertions) || best < 500.0, "{name}: {best} ns");
    }
}

// Machinery.

/// What this thread has used of a processor.
fn cpu_nanoseconds() -> i64 {
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    used.tv_sec * 1_000_000_000 + used.tv_nsec
}

fn guard() -> Guard {
    Guard::new(&Config::default(), (0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210))
}

fn ours() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 5060))
}

fn at(address: IpAddr) -> SocketAddr {
    SocketAddr::new(address, 5060)
}

/// Some IPv4 address.
fn v4(n: u64) -> IpAddr {
    Ipv4Addr::from_bits(0x0a00_0000_u32.wrapping_add(n as u32)).into()
}

/// An address in one of the 2³² subnets of 2001:db8::/32.
fn v6_of_32(n: u64) -> IpAddr {
    Ipv6Addr::from_bits(0x2001_0db8 << 96 | u128::from(n as u32) << 64 | u128::from(n)).into()
}

/// Stands for all whose counts were displaced.
fn source_of_others() -> Prefix {
    Prefix::of(v4(99))
}

fn packet(guard: &mut Guard, now: u64, remote: IpAddr) -> Option<Standing> {
    guard.packet(Instant(now), Transport::Udp, ours(), at(remote))
}

/// What the switch asks for after each input.
fn drain(guard: &mut Guard, now: u64) -> (Vec<u64>, Vec<News>) {
    let now = Instant(now);
    let overdue: Vec<u64> = std::iter::from_fn(|| guard.overdue(now)).collect();
    overdue.iter().for_each(|&stream| guard.closed(stream));
    (overdue, std::iter::from_fn(|| guard.news(now)).collect())
}

fn refusal(remote: IpAddr, number: &str, known: bool) -> Refusal {
    Refusal {
        remote: at(remote),
        method: "REGISTER".into(),
        number: number.into(),
        agent: "friendly-scanner".into(),
        why: "not answered".into(),
        answered: false,
        known,
    }
}

/// A network whose addresses lie near those of others, so that they overlap.
fn network(rng: &mut Rng) -> Network {
    let v6 = rng.one_in(2);
    let length = match (v6, rng.below(8)) {
        (_, 0) => rng.below(3) as u8,
        (true, _) => rng.between(32, 128) as u8,
        (false, _) => rng.between(8, 32) as u8,
    };
    let address = some_address(rng, v6);
    let address = match address {
        IpAddr::V4(a) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
            Ipv4Addr::from_bits(a.to_bits() & mask).into()
        }
        IpAddr::V6(a) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
            Ipv6Addr::from_bits(a.to_bits() & mask).into()
        }
    };
    Network { address, length }
}

/// An address of few bits that differ.
fn some_address(rng: &mut Rng, v6: bool) -> IpAddr {
    let few = rng.next() & 0x0103_0307;
    if v6 {
        let low = rng.next() & 0x8000_0000_0000_0003;
        Ipv6Addr::from_bits(0x2001_0db8 << 96 | u128::from(few) << 60 | u128::from(low)).into()
    } else {
        v4(few)
    }
}

/// An address at the edge of one of these networks, or anywhere.
fn near(rng: &mut Rng, list: &[Network]) -> IpAddr {
    if list.is_empty() || rng.one_in(3) {
        let v6 = rng.one_in(2);
        return some_address(rng, v6);
    }
    let Network { address, length } = list[rng.below(list.len() as u64) as usize];
    let step = rng.below(3);
    let behind = rng.one_in(2);
    match address {
        IpAddr::V4(a) => {
            let size = if behind { 1_u32.checked_shl(32 - u32::from(length)).unwrap_or(0) } else { 0 };
            Ipv4Addr::from_bits(a.to_bits().wrapping_add(size).wrapping_add(step as u32).wrapping_sub(1))
                .into()
        }
        IpAddr::V6(a) => {
            let size = if behind { 1_u128.checked_shl(128 - u32::from(length)).unwrap_or(0) } else { 0 };
            Ipv6Addr::from_bits(a.to_bits().wrapping_add(size).wrapping_add(u128::from(step)).wrapping_sub(1))
                .into()
        }
    }
}

/// Whether a network has an address, bit by bit. What is mapped is IPv4.
fn has(network: &Network, address: IpAddr) -> bool {
    let bits = |address: IpAddr| -> Vec<bool> {
        let bytes = match address {
            IpAddr::V4(a) => a.octets().to_vec(),
            IpAddr::V6(a) => a.octets().to_vec(),
        };
        bytes.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1 == 1)).collect()
    };
    let (net, address) = (bits(network.address), bits(address.to_canonical()));
    let length = usize::from(network.length);
    net.len() == address.len() && net[..length] == address[..length]
}

/// What passed, and the law that in no stretch of time more did than a burst and what the rate gives
/// in that time.
struct Windows<K> {
    burst: u64,
    rate: u64,
    passed: BTreeMap<K, Vec<u64>>,
}

impl<K: Ord + std::fmt::Debug> Windows<K> {
    fn new(burst: u64, rate: u64) -> Windows<K> {
        Windows { burst, rate, passed: BTreeMap::new() }
    }

    fn passed(&mut self, who: K, now: u64) {
        self.passed.entry(who).or_default().push(now);
    }

    fn hold(&self) {
        for (who, times) in &self.passed {
            // `count - rate × time` from any earlier packet to this one: the earlier one that makes most
            // of it is where `index - rate × time` was lowest.
            let mut lowest = i128::MAX;
            for (index, &time) in times.iter().enumerate() {
                let line = index as i128 * 1_000 - i128::from(self.rate * time);
                lowest = lowest.min(line);
                let most = i128::from(self.burst) * 1_000;
                assert!(line - lowest + 1_000 <= most, "{who:?} at {time}");
            }
        }
    }
}

/// SplitMix64 (Steele, Lea and Flood, 2014).
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// Counts what a thread has of memory, and how often it asked for more.
struct Counting;

thread_local! {
    static MEMORY: Cell<i64> = const { Cell::new(0) };
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

fn memory() -> i64 {
    MEMORY.get()
}

fn allocations() -> u64 {
    ALLOCATIONS.get()
}

// SAFETY: it does what the system's allocator does, and counts. The counters need no memory and no
// destructor, so they can be used whenever memory can.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        MEMORY.set(MEMORY.get() + layout.size() as i64);
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        MEMORY.set(MEMORY.get() - layout.size() as i64);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;
