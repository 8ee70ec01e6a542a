//! Random days: each seed makes a town, its weather and ten minutes of what people do with phones;
//! then everybody hangs up, and nothing may be left.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use denwa::config::{Config, DigestOffer, NatMedia, NoAnswer, PortRange, Transport};
use denwa::switch::{Cause, Event};

use crate::digest::Algorithm;
use crate::network::Weather;
use crate::phone::{Action, Forking, Manners, Reaction, Ringing, Spec};
use crate::rng::Rng;
use crate::scenarios::{self, DOMAIN, OTHER_V6, V4, V6, extension, number};
use crate::sip::Hand;
use crate::stranger;
use crate::town::{Deed, Place, Town};

/// How many days are played where `DENWA_SEEDS` says nothing.
const SEEDS: u64 = 2000;
/// How many failing seeds are told before the rest is left.
const ENOUGH: usize = 5;
/// How long people use their phones, in seconds.
const DAY: u64 = 600;

#[test]
fn no_day_breaks_a_law() {
    let census = play_days("replay", live);
    if let Some(census) = census {
        census.expect_all();
    }
}

#[test]
fn no_restart_loses_a_registration() {
    let census = play_days("restarts", live_with_restarts);
    if let Some(census) = census {
        assert!(census.survivors > 5_000 && census.answered > 500, "{census:?}");
    }
}

#[test]
fn no_crash_loses_a_call() {
    let census = play_days("crashes", live_with_crashes);
    if let Some(census) = census {
        assert!(census.survivors > 5_000 && census.answered > 500, "{census:?}");
        assert!(census.relocked > 100, "{census:?}");
    }
}

/// How a day is lived.
type Life = fn(&mut Town, &mut Rng);

/// Plays as many days as are wanted; what happened in them, if they were many. `again` is the test that
/// plays one of them again.
fn play_days(again: &str, life: Life) -> Option<Census> {
    let seeds = std::env::var("DENWA_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(SEEDS);
    let first = std::env::var("DENWA_FIRST_SEED").ok().and_then(|n| n.parse().ok()).unwrap_or(1);
    let next = AtomicU64::new(first);
    let census = Mutex::new(Census::default());
    let failures = Mutex::new(Vec::new());
    let started = std::time::Instant::now();
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    let enough = failures.lock().unwrap().len() >= ENOUGH;
                    if seed >= first + seeds || enough {
                        break;
                    }
                    let played = catch_unwind(AssertUnwindSafe(|| play(seed, life, false)));
                    let broken = match played {
                        Ok(town) => {
                            census.lock().unwrap().count(&town);
                            town.violations.first().cloned()
                        }
                        Err(panic) => Some(format!("a panic: {}", message_of(&*panic))),
                    };
                    if let Some(broken) = broken {
                        failures.lock().unwrap().push((seed, broken));
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    let census = census.into_inner().unwrap();
    println!("{seeds} days in {:.1} s: {census:?}", started.elapsed().as_secs_f64());
    for (seed, broken) in &failures {
        println!("seed {seed}: {broken}");
        println!("    DENWA_SEED={seed} cargo test --test simulation {again} -- --nocapture\n");
    }
    assert!(failures.is_empty(), "laws were broken in {} days", failures.len());
    (seeds >= 1000).then_some(census)
}

/// What happened in all days together: a law that never had a case would prove nothing.
#[derive(Debug, Default)]
struct Census {
    steps: u64,
    answered: u64,
    media_compared: u64,
    /// Requests that phones heard, by method.
    heard: BTreeMap<String, u64>,
    /// How calls ended, by what phones think of it.
    outcomes: BTreeMap<String, u64>,
    /// Datagrams of strangers, answers to them, and those that were longer than what was asked.
    strangers: [u64; 3],
    /// Bindings that survived a restart.
    survivors: u64,
    /// Reloads, and calls that they ended.
    reloads: [u64; 2],
    /// Locks on who speaks that did.
    relocked: u64,
}

impl Census {
    fn count(&mut self, town: &Town) {
        self.steps += town.steps;
        self.survivors += town.survivors;
        self.relocked += town.relay.relocked;
        self.media_compared += town.laws.compared;
        for event in &town.events {
            self.reloads[0] += u64::from(matches!(event, Event::Reloaded(_)));
            let removed = Cause::ExtensionRemoved;
            self.reloads[1] +=
                u64::from(matches!(event, Event::CallEnded(record) if record.cause == removed));
        }
        let strangers = &town.hospitality.census;
        for (all, more) in
            self.strangers.iter_mut().zip([strangers.visits, strangers.answered, strangers.longer])
        {
            *all += more;
        }
        for phone in &town.phones {
            for (method, times) in &phone.heard {
                *self.heard.entry(method.clone()).or_default() += u64::from(*times);
            }
            for call in &phone.calls {
                self.answered += u64::from(call.answered);
                if let Some(outcome) = call.outcome {
                    *self.outcomes.entry(format!("{outcome:?}")).or_default() += 1;
                }
            }
        }
    }

    /// Each kind of thing happened often.
    fn expect_all(&self) {
        let methods = ["INVITE", "ACK", "BYE", "CANCEL", "PRACK", "UPDATE", "INFO", "REFER", "NOTIFY"];
        for method in methods.into_iter().chain(["MESSAGE", "OPTIONS"]) {
            let times = self.heard.get(method).copied().unwrap_or(0);
            assert!(times > 50, "only {times} times {method}");
        }
        let outcomes = ["Refused(486)", "Refused(404)", "Cancelled", "HungUp", "HungUpByPeer", "Replaced"];
        for outcome in outcomes {
            let times = self.outcomes.get(outcome).copied().unwrap_or(0);
            assert!(times > 10, "only {times} times {outcome}");
        }
        assert!(self.reloads[0] > 500 && self.reloads[1] > 10, "{self:?}");
        assert!(self.strangers.iter().all(|times| *times > 100), "{self:?}");
        assert!(self.answered > 500 && self.media_compared > 10_000, "{self:?}");
    }
}

/// Plays the day of `DENWA_SEED` and prints all that happened.
#[test]
fn replay() {
    play_again(live);
}

/// The same for a day with restarts.
#[test]
fn restarts() {
    play_again(live_with_restarts);
}

/// The same for a day on which the exchange crashes.
#[test]
fn crashes() {
    play_again(live_with_crashes);
}

fn play_again(life: Life) {
    let Some(seed) = std::env::var("DENWA_SEED").ok().and_then(|seed| seed.parse().ok()) else {
        return;
    };
    let town = play(seed, life, true);
    assert!(town.violations.is_empty(), "{}", town.violations.join("\n"));
}

#[test]
fn a_day_is_the_same_each_time() {
    for seed in 1..6 {
        let ladder = || {
            let (mut town, mut rng) = found(seed);
            town.keep_trace();
            live(&mut town, &mut rng);
            town.trace().to_vec()
        };
        let (one, two) = (ladder(), ladder());
        let differs = one.iter().zip(&two).find(|(a, b)| a != b);
        assert!(differs.is_none(), "seed {seed}: {differs:?}");
        assert_eq!(one.len(), two.len());
    }
}

fn play(seed: u64, life: Life, tell: bool) -> Town {
    let (mut town, mut rng) = found(seed);
    if tell {
        town.print_trace();
        println!("{:?}", town.weather);
        for phone in &town.phones {
            println!("#{} {:?}", phone.id, phone.spec);
        }
    }
    life(&mut town, &mut rng);
    town
}

/// A town with its exchange and phones.
fn found(seed: u64) -> (Town, Rng) {
    let mut rng = Rng::new(seed);
    let (config, places) = make_exchange(&mut rng);
    let domain = config.domain.clone();
    let weather = match rng.below(100) {
        0..40 => Weather::PERFECT,
        40..75 => Weather::MILD,
        _ => Weather::BAD,
    };
    let mut town = Town::new(rng.next(), config, weather, &places);
    for at in 0..rng.between(2, 8) {
        let spec = make_phone(&mut rng, at as u8, domain.as_deref(), &places);
        town.add(spec);
    }
    (town, rng)
}

fn make_exchange(rng: &mut Rng) -> (Config, Vec<Place>) {
    let mut config = Config { domain: Some(DOMAIN.into()), ..Config::default() };
    if rng.percent(15) {
        config.domain = None;
    }
    let mut places = scenarios::places();
    if rng.percent(15) {
        places[0].local = "10.0.0.5:5060".parse().unwrap();
        config.advertise = vec![places[0].public.ip()];
    }
    if rng.percent(10) {
        config.media_ports = PortRange { first: 40000, last: 40000 + rng.between(7, 40) as u16 };
    }
    config.stealth = config.domain.is_some() && rng.percent(60);
    config.call_limit = Duration::from_secs(rng.pick(&[120, 900, 1200]));
    config.media_timeout = Duration::from_secs(rng.pick(&[20, 60]));
    config.keep_alive = Duration::from_secs(rng.pick(&[0, 25, 25, 25]));
    for n in NUMBERS {
        let mut extension = extension(n);
        extension.max_contacts = 8;
        if rng.percent(20) {
            extension.busy = Some(number(&any_number(rng)));
        }
        if rng.percent(20) {
            let after = Duration::from_secs(rng.between(2, 30));
            extension.no_answer = Some(NoAnswer { after, to: number(&any_number(rng)) });
        }
        if rng.percent(20) {
            extension.offline = Some(number(&any_number(rng)));
        }
        if rng.percent(20) {
            extension.digest = DigestOffer::Md5;
        }
        if rng.percent(20) {
            extension.nat_media = NatMedia::Learn;
        }
        config.extensions.insert(number(n), extension);
    }
    config.groups.insert(number("600"), vec![number("101"), number("102"), number("103")]);
    config.groups.insert(number("601"), vec![number("104"), number("102")]);
    config.echo = Some(number("114"));
    (config, places)
}

const NUMBERS: [&str; 5] = ["101", "102", "103", "104", "105"];

fn any_number(rng: &mut Rng) -> String {
    match rng.below(100) {
        0..75 => rng.pick(&NUMBERS).into(),
        75..87 => rng.pick(&["600", "601"]).into(),
        87..96 => "114".into(),
        _ => "999".into(),
    }
}

fn make_phone(rng: &mut Rng, at: u8, domain: Option<&str>, places: &[Place]) -> Spec {
    let number = rng.pick(&NUMBERS);
    let address = SocketAddr::from(([198, 51, 100, 10 + at], 5060));
    let mut spec = scenarios::spec(number, address, V4);
    spec.server = places[0].public;
    if rng.percent(35) {
        spec.address = scenarios::v6(10 + u16::from(at));
        spec.server = rng.pick(&[V6, V6, OTHER_V6]).parse().unwrap();
    } else if rng.percent(30) {
        spec.nat = Some([203, 0, 113, rng.pick(&[70, 71])].into());
        spec.address = SocketAddr::from(([192, 168, 1, 10 + at], 5060));
    }
    spec.domain = match (domain, spec.server.ip()) {
        (Some(domain), _) => domain.into(),
        (None, IpAddr::V4(ip)) => ip.to_string(),
        (None, IpAddr::V6(ip)) => format!("[{ip}]"),
    };
    if rng.percent(30) {
        spec.transport = Transport::Tcp;
    }
    spec.hand = rng.pick(&[Hand::Plain, Hand::Plain, Hand::Compact, Hand::Odd]);
    spec.instance = rng.percent(40);
    if rng.percent(30) {
        spec.algorithms = vec![Algorithm::Md5];
    }
    spec.keeps_nonce = rng.percent(50);
    spec.expires = rng.pick(&[20, 60, 300, 3600]);
    spec.rport = spec.nat.is_some() || rng.percent(85);
    spec.reliable = rng.percent(30);
    spec.late_offer = rng.percent(20);
    spec.video = rng.percent(20);
    spec.preloads_route = rng.percent(40);
    spec.hasty = rng.percent(10);
    spec.restless = rng.percent(15);
    spec.stubborn = rng.percent(10);
    spec.forking = match rng.below(100) {
        0..10 => Forking::Rings,
        10..18 => Forking::Answers,
        _ => Forking::Alone,
    };
    spec.lines = rng.between(1, 3) as usize;
    spec.manners = any_manners(rng);
    spec
}

fn any_manners(rng: &mut Rng) -> Manners {
    let reaction = match rng.below(100) {
        0..65 => Reaction::Answer,
        65..80 => Reaction::Ring,
        80..94 => Reaction::Refuse(rng.pick(&[486, 480, 603, 404, 500, 488])),
        _ => Reaction::Redirect(any_number(rng)),
    };
    let ringing = rng.pick(&[Ringing::Bell, Ringing::Bell, Ringing::Quiet, Ringing::EarlyMedia]);
    let longest = rng.pick(&[0, 100, 5000, 20_000]);
    Manners { ringing, reaction, after: Duration::from_millis(rng.between(0, longest)) }
}

/// A day on which the exchange is killed and started again, whatever goes on.
fn live_with_crashes(town: &mut Town, rng: &mut Rng) {
    for _ in 0..rng.between(1, 8) {
        let power_cut = rng.percent(10);
        let asleep = Duration::from_millis(rng.pick(&[0, 0, 0, 20, 300, 3_000]));
        let at = Duration::from_millis(rng.between(5_000, DAY * 1000));
        town.plan(at, 0, Deed::Restart { asleep, power_cut });
    }
    live(town, rng);
}

/// Plans the day, plays it, and clears up.
fn live(town: &mut Town, rng: &mut Rng) {
    let phones = town.phones.len();
    for phone in 0..phones {
        let soon = Duration::from_millis(rng.between(0, 5000));
        town.plan(soon, phone, Deed::Act(Action::Register));
    }
    let troubled = rng.percent(40);
    for _ in 0..rng.between(5, 30) {
        let at = rng.between(3_000, DAY * 1000);
        match rng.below(100) {
            0..65 => plan_talk(town, rng, at),
            65..80 => plan_chore(town, rng, at),
            _ if troubled => plan_trouble(town, rng, at),
            _ => plan_talk(town, rng, at),
        }
    }
    if rng.percent(50) {
        plan_visits(town, rng);
    }
    if rng.percent(30) {
        plan_reloads(town, rng);
    }
    if rng.percent(15) {
        plan_notices(town, rng);
    }
    town.run(Duration::from_secs(DAY + 60));
    clear_up(town);
}

/// The cloud says that it will stop the machine, and sometimes that it will not; it never does here.
fn plan_notices(town: &mut Town, rng: &mut Rng) {
    for _ in 0..rng.between(1, 3) {
        let at = rng.between(0, DAY * 1000);
        let after = Duration::from_secs(rng.pick(&[0, 20, 120, 120]));
        town.plan(Duration::from_millis(at), 0, Deed::Notice(Some(after)));
        if rng.percent(50) {
            town.plan(Duration::from_millis(at + rng.between(0, 130_000)), 0, Deed::Notice(None));
        }
    }
}

/// Registers, and whatever becomes of that, while the exchange is killed and started again at any moment;
/// then, after the last time, people call each other.
fn live_with_restarts(town: &mut Town, rng: &mut Rng) {
    let phones = town.phones.len();
    let ms = Duration::from_millis;
    for phone in 0..phones {
        town.plan(ms(rng.between(0, 5000)), phone, Deed::Act(Action::Register));
    }
    let troubled = rng.percent(40);
    for _ in 0..rng.between(5, 30) {
        let at = rng.between(3_000, DAY * 1000);
        match rng.percent(70) || !troubled {
            true => plan_chore(town, rng, at),
            false => plan_trouble(town, rng, at),
        }
    }
    for _ in 0..rng.between(0, 6) {
        let power_cut = rng.percent(10);
        let asleep = ms(rng.pick(&[0, 0, 0, 20, 3_000, 20_000]));
        town.plan(ms(rng.between(0, DAY * 1000)), 0, Deed::Restart { asleep, power_cut });
    }
    town.run(Duration::from_secs(DAY));
    town.plan(Duration::ZERO, 0, Deed::Restart { asleep: Duration::ZERO, power_cut: false });
    for _ in 0..rng.between(1, 6) {
        let at = rng.between(0, 20_000);
        plan_talk(town, rng, at);
    }
    town.run(Duration::from_secs(180));
    clear_up(town);
}

/// Everybody hangs up and goes.
fn clear_up(town: &mut Town) {
    let phones = town.phones.len();
    for phone in 0..phones {
        town.plan(Duration::ZERO, phone, Deed::Start);
        let peace = Manners {
            ringing: Ringing::Quiet,
            reaction: Reaction::Refuse(480),
            after: Duration::from_secs(1),
        };
        town.plan(Duration::ZERO, phone, Deed::Behave(peace));
        for again in 0..5 {
            town.plan(Duration::from_secs(again * 20), phone, Deed::Act(Action::HangUp));
        }
        town.plan(Duration::from_secs(120), phone, Deed::Act(Action::Unregister));
    }
    town.run(Duration::from_secs(30 * 60));
    town.check_quiet();
}

/// The operator changes the configuration now and then: anything but where phones find the exchange.
fn plan_reloads(town: &mut Town, rng: &mut Rng) {
    for _ in 0..rng.between(1, 4) {
        let (mut config, _) = make_exchange(rng);
        if rng.percent(40) {
            config.extensions.remove(rng.pick(&NUMBERS));
            config.groups.values_mut().for_each(|members| {
                members.retain(|member| config.extensions.contains_key(member.as_str()));
            });
        }
        let before = town.config();
        config.domain = before.domain.clone();
        config.stealth &= config.domain.is_some();
        config.advertise = before.advertise.clone();
        let at = Duration::from_millis(rng.between(0, DAY * 1000));
        town.plan(at, 0, Deed::Reload(Box::new(config)));
    }
}

/// Strangers come, one by one or in a storm.
fn plan_visits(town: &mut Town, rng: &mut Rng) {
    let places: Vec<SocketAddr> = town.places.iter().map(|place| place.local).collect();
    for _ in 0..rng.below(4) {
        let (begin, count) = (rng.between(0, DAY * 1000), rng.pick(&[1, 10, 300]));
        for _ in 0..count {
            let after = Duration::from_millis(begin + rng.between(0, 20_000));
            let visit = stranger::visit(rng, DOMAIN, &places);
            if rng.percent(20) {
                // It is sent again, as whoever is not answered does.
                town.plan_visit(after + Duration::from_millis(500), visit.clone());
            }
            town.plan_visit(after, visit);
        }
    }
}

/// A call, what happens during it, and its end; all of it may come too early or too late.
fn plan_talk(town: &mut Town, rng: &mut Rng, at: u64) {
    let phones = town.phones.len() as u64;
    let caller = rng.below(phones) as usize;
    let ms = Duration::from_millis;
    for phone in 0..phones as usize {
        if rng.percent(40) {
            town.plan(ms(at), phone, Deed::Behave(any_manners(rng)));
        }
    }
    town.plan(ms(at), caller, Deed::Act(Action::Call(any_number(rng))));
    let length = rng.pick(&[200, 2_000, 10_000, 60_000, 150_000]);
    for _ in 0..rng.below(5) {
        let phone = if rng.percent(40) { caller } else { rng.below(phones) as usize };
        let moment = at + rng.between(0, length);
        let action = match rng.below(100) {
            0..20 => Action::Hold,
            20..35 => Action::Resume,
            35..45 => Action::Refresh,
            45..50 => Action::Move,
            50..54 => Action::Video,
            54..57 => Action::Fax,
            57..59 => Action::Voice,
            59..66 => Action::Update,
            66..70 => Action::Info,
            70..76 => Action::Answer,
            76..80 => Action::Refuse(486),
            80..88 => Action::BlindTransfer(any_number(rng)),
            88..94 => Action::AttendedTransfer,
            _ => Action::Call(any_number(rng)),
        };
        town.plan(ms(moment), phone, Deed::Act(action.clone()));
        if rng.percent(25) {
            // The others have the same idea.
            for other in 0..phones as usize {
                town.plan(ms(moment), other, Deed::Act(action.clone()));
            }
        }
    }
    let end = at + rng.between(0, length);
    match rng.below(100) {
        0..45 => town.plan(ms(end), caller, Deed::Act(Action::HangUp)),
        45..80 => {
            for phone in 0..phones as usize {
                town.plan(ms(end), phone, Deed::Act(Action::HangUp));
            }
        }
        _ => town.plan(ms(end), rng.below(phones) as usize, Deed::Act(Action::HangUp)),
    }
}

fn plan_chore(town: &mut Town, rng: &mut Rng, at: u64) {
    let phone = rng.below(town.phones.len() as u64) as usize;
    let ms = Duration::from_millis;
    let action = match rng.below(100) {
        0..20 => Action::Register,
        20..35 => Action::Unregister,
        35..45 => Action::UnregisterAll,
        45..65 => Action::Message(any_number(rng)),
        65..85 => Action::Ask(rng.pick(&["OPTIONS", "SUBSCRIBE", "PUBLISH"]).into()),
        _ => Action::Ping,
    };
    let back = matches!(action, Action::Unregister | Action::UnregisterAll);
    town.plan(ms(at), phone, Deed::Act(action));
    if back {
        let later = at + rng.between(0, 60_000);
        town.plan(ms(later), phone, Deed::Act(Action::Register));
    }
}

fn plan_trouble(town: &mut Town, rng: &mut Rng, at: u64) {
    let phone = rng.below(town.phones.len() as u64) as usize;
    let ms = Duration::from_millis;
    match rng.below(100) {
        0..40 => {
            town.plan(ms(at), phone, Deed::Crash { noticed: rng.percent(50) });
            let later = at + rng.pick(&[1, 500, 5_000, 120_000]);
            town.plan(ms(later), phone, Deed::Start);
        }
        40..65 => town.plan(ms(at), phone, Deed::Cut),
        65..90 => town.plan(ms(at), phone, Deed::Rebind),
        _ => town.plan(ms(at), phone, Deed::FailRelay),
    }
}

fn message_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()
}
