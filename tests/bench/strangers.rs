//! The rows about an exchange on the open Internet: what strangers cost, and what phones notice of them.

use crate::auc::{auc, median};
use crate::flood::{self, Flood, Port, Random, dropped_in_queues};
use crate::media::Media;
use crate::message::Challenge;
use crate::phones::{DOMAIN, Phones, user};
use crate::probe::Probe;
use crate::program::Kind;
use crate::program::{DENWA, Program, SERVER_CORE};
use crate::refresh::{self, Refresh};
use crate::rows::{Attempt, Bench, USERS, medians, megabytes, micros, split_ports};
use crate::storm::{Storm, kernel_count};
use crate::sys;
use crate::table::{Cell, Goal, Row};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

/// With fewer rounds than these, everything is shorter.
const QUICK: usize = 5;
/// Junk packets a second.
const FLOOD: u64 = 50_000;
/// Calls with sound under it.
const CALLS: usize = 20;
/// Phones that refresh their registration meanwhile, and how many of them do in a second: each
/// has more than 3.5 s for each of its two requests.
const PHONES: usize = 400;
const REFRESHES: u64 = 50;
/// Finished transactions of phones live up to 32 s (RFC 3261 §17): before that, memory grows by them.
const FORGOTTEN: Duration = Duration::from_secs(34);
/// Datagrams that wait at once in the guard row: all find room in sockets of the usual size.
const WAITING: usize = 512;
/// TCP connections that are opened.
const CONNECTS: u64 = 100_000;
/// How many of them in a second.
const CONNECT_RATE: u64 = 20_000;
/// Samples of each kind in the timing row.
const SAMPLES: usize = 10_000;

impl Bench {
    /// 20 calls and registered phones under a flood of junk.
    pub(crate) fn flood(&self) -> Vec<Row> {
        let measured = self.under_flood();
        let figure = |take: &dyn Fn(&UnderFlood) -> Vec<f64>| -> Cell {
            Some(measured.as_ref().map(take).map_err(String::clone))
        };
        let row = |work, digits, goals, denwa| Row {
            work,
            digits,
            denwa,
            rival: None,
            bare: None,
            goals,
            earlier: "",
            note: None,
        };
        vec![
            Row {
                note: measured.as_ref().ok().map(UnderFlood::note),
                ..row(
                    "20 calls under 50,000 junk packets/s: RTP lost, %",
                    3,
                    &[Goal::AtMost(&[0.1])],
                    figure(&|f| vec![f.lost]),
                )
            },
            row(
                "the same: delay added at p50 / p99, ms",
                3,
                &[Goal::AtMost(&[20.0, 20.0])],
                figure(&|f| f.added.to_vec()),
            ),
            row(
                "the same: re-REGISTER granted, with / without repetition, %",
                2,
                &[Goal::AtLeast(&[99.0])],
                figure(&|f| f.refreshed.shares().to_vec()),
            ),
            row(
                "the same: growth of memory, MB RSS at its peak",
                2,
                &[Goal::AtMost(&[1.0])],
                figure(&|f| vec![f.growth]),
            ),
            row(
                "the same: bytes sent to strangers for each of theirs",
                4,
                &[Goal::AtMost(&[1.0])],
                figure(&|f| vec![f.flood.answer_bytes as f64 / f.flood.sent_bytes.max(1) as f64]),
            ),
            row("the same: CPU of denwa, without / with the flood, %", 1, &[], figure(&|f| f.cpu.to_vec())),
        ]
    }

    fn under_flood(&self) -> Attempt<UnderFlood> {
        let (mut program, mut phones, mut media) = self.open_town()?;
        // All that the network makes the processor do is done by the server's one.
        let steered = self.own_network && sys::receive_on(Some(SERVER_CORE)).is_ok();
        let measured = self.flood_town(&mut program, &mut phones, &mut media);
        if steered {
            sys::receive_on(None).map_err(|e| format!("loopback: {e}"))?;
        }
        let words = program.last_words();
        measured.map(|m| UnderFlood { steered, ..m }).map_err(|e| format!("{e}\n--- its log ends:\n{words}"))
    }

    /// An open denwa with [`CALLS`] calls with sound, brought up slowly enough for its budgets.
    fn open_town(&self) -> Attempt<(Program, Phones, Media)> {
        let program = Program::start_open(&self.setting, USERS, split_ports(Kind::Denwa))?;
        let at = |port| SocketAddr::new(self.setting.ip, port);
        let mut media = Media::open(self.setting.ip, 10_000, CALLS as u16)?;
        let mut phones = Phones::new(program.sip, at(9_100), at(9_101), 2 * CALLS, media.addresses()?)?;
        for _ in 0..2 * CALLS {
            phones.register(1)?;
            std::thread::sleep(Duration::from_millis(10));
        }
        for calls in 1..=CALLS {
            phones.establish(calls)?;
            std::thread::sleep(Duration::from_millis(50));
        }
        media.point(&phones.relays());
        media.run(CALLS, Duration::from_millis(500), true)?;
        Ok((program, phones, media))
    }

    fn flood_town(
        &self,
        program: &mut Program,
        phones: &mut Phones,
        media: &mut Media,
    ) -> Attempt<UnderFlood> {
        let time = Duration::from_secs(if self.rounds < QUICK { 3 } else { 6 });
        let at = SocketAddr::new(self.setting.ip, 9_150);
        let mut refresh = Refresh::new(program.sip, at, 2 * CALLS, PHONES, REFRESHES)?;
        refresh.settle()?;
        let mut flood = Flood::new(&self.targets(), FLOOD)?;
        let calm = |media: &mut Media, refresh: &mut Refresh, time: Duration| {
            refresh.begin();
            let (before, begun) = (program.cpu(), Instant::now());
            let outcome = media.run_beside(CALLS, time, true, &mut || refresh.step())?;
            let cpu = share(program.cpu_since(before)?, begun.elapsed());
            refresh.end(&mut || Ok(()))?;
            Ok::<_, String>((outcome, cpu))
        };
        calm(media, &mut refresh, FORGOTTEN)?;

        let mut sum = UnderFlood::default();
        let (mut samples, mut sound) = (Vec::new(), (0, 0));
        program.forget_peak()?;
        let (rss, log) = (program.rss(false), program.log_size());
        let (dropped, lost_in_queues) = (Port::read(DENWA).dropped, dropped_in_queues());
        let begun_all = Instant::now();
        for _ in 0..self.rounds.min(5) {
            let (quiet, quiet_cpu) = calm(media, &mut refresh, time / 2)?;
            refresh.begin();
            flood.begin()?;
            let (before, busy, begun) = (program.cpu(), sys::busy(SERVER_CORE), Instant::now());
            let outcome = media.run_beside(CALLS, time, true, &mut || {
                flood.step()?;
                refresh.step()
            })?;
            let elapsed = begun.elapsed();
            let cpu = share(program.cpu_since(before)?, elapsed);
            let busy = share(sys::busy(SERVER_CORE) - busy, elapsed);
            let refreshed = refresh.end(&mut || flood.step())?;
            sum.refreshed = sum.refreshed.plus(&refreshed);
            sum.flood = sum.flood.plus(flood.end()?);
            sum.behind = sum.behind.max(Duration::from_nanos(outcome.behind));
            sound = (sound.0 + outcome.sent, sound.1 + outcome.received);
            let added = |percent| (outcome.latency(percent) - quiet.latency(percent)) / 1000.0;
            samples.push(vec![added(50), added(99), quiet_cpu, cpu, busy]);
        }
        sum.lost = (sound.0 - sound.1) as f64 * 100.0 / sound.0.max(1) as f64;
        if let [p50, p99, quiet_cpu, cpu, busy] = medians(&samples)[..] {
            sum.added = [p50, p99];
            sum.cpu = [quiet_cpu, cpu];
            sum.busy = busy;
        }
        sum.growth = megabytes(program.rss(true) as f64 - rss as f64);
        sum.dropped = Port::read(DENWA).dropped - dropped;
        sum.lost_in_queues = dropped_in_queues() - lost_in_queues;
        sum.log_rate = (program.log_size() - log) as f64 / begun_all.elapsed().as_secs_f64() * 60.0;
        // A server that has let go of its calls has not carried them through.
        phones.hang_up().map_err(|e| format!("after the flood the calls could not be ended: {e}"))?;
        Ok(sum)
    }

    /// The CPU time of one packet that is dropped, beside what it costs to receive it.
    pub(crate) fn guard(&self) -> Vec<Row> {
        let targets = self.targets();
        let denwa = Program::start_open(&self.setting, USERS, split_ports(Kind::Denwa))
            .and_then(|program| self.dropping(&program, &targets));
        // The same addresses, one after the other: the wildcard sockets of both are alike.
        let wildcards: Vec<SocketAddr> = targets
            .iter()
            .map(|to| {
                let any =
                    if to.is_ipv6() { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
                SocketAddr::new(any, to.port())
            })
            .collect();
        let bare = Program::start_drain(&self.setting, &wildcards)
            .and_then(|program| self.dropping(&program, &targets));
        let part = |all: &Attempt<Vec<f64>>, i: usize| -> Cell { Some(all.clone().map(|f| vec![f[i]])) };
        vec![
            Row {
                work: "a junk packet from a full socket, CPU, µs",
                digits: 2,
                denwa: part(&denwa, 0),
                rival: None,
                bare: part(&bare, 0),
                goals: &[Goal::AboveBare(0.5)],
                earlier: "",
                note: Some(format!(
                    "{WAITING} packets wait when the program may go on; the bare loop receives and forgets"
                )),
            },
            Row {
                work: "a junk packet at 50,000/s, waking included, CPU, µs",
                digits: 2,
                denwa: part(&denwa, 1),
                rival: None,
                bare: part(&bare, 1),
                goals: &[],
                earlier: "",
                note: None,
            },
        ]
    }

    /// CPU time for each packet: of many that wait, and of many that come at the pace of the flood; in µs.
    fn dropping(&self, program: &Program, targets: &[SocketAddr]) -> Attempt<Vec<f64>> {
        let mut flood = Flood::new(targets, FLOOD)?;
        let mut paced = |time: Duration| -> Attempt<f64> {
            let (before, begun) = (program.cpu(), Instant::now());
            flood.begin()?;
            while begun.elapsed() < time {
                flood.step()?;
            }
            // What is still under way is little.
            std::thread::sleep(Duration::from_millis(20));
            Ok(micros(program.cpu_since(before)?) / flood.end()?.sent as f64)
        };
        // Budgets that were full are used up, tables filled.
        paced(Duration::from_secs(2))?;
        let mut at_pace = Vec::new();
        for _ in 0..self.rounds {
            at_pace.push(vec![paced(Duration::from_secs(1))?]);
        }

        let mut from_full = Vec::new();
        let lost = Port::read(DENWA).dropped;
        for _ in 0..self.rounds {
            let (mut cpu, mut packets) = (Duration::ZERO, 0);
            for _ in 0..40 {
                program.freeze(true);
                std::thread::sleep(Duration::from_millis(1));
                flood.begin()?;
                let before = program.cpu();
                while flood.send(32)? > 0 && flood.outcome().sent < WAITING as u64 {}
                program.freeze(false);
                let begun = Instant::now();
                std::thread::sleep(Duration::from_millis(4));
                while Port::read(DENWA).waiting > 0 {
                    if begun.elapsed() > Duration::from_secs(2) {
                        return Err("what waited in the sockets was not received".into());
                    }
                    std::thread::sleep(Duration::from_millis(2));
                }
                // The last batch is being handled.
                std::thread::sleep(Duration::from_millis(2));
                cpu += program.cpu_since(before)?;
                packets += flood.end()?.sent;
            }
            from_full.push(vec![micros(cpu) / packets as f64]);
        }
        if Port::read(DENWA).dropped > lost {
            return Err(format!("the sockets have no room for {WAITING} packets (net.core.rmem_max)"));
        }
        Ok([medians(&from_full), medians(&at_pace)].concat())
    }

    /// Connections from everywhere that do nothing, then next to nothing.
    pub(crate) fn tcp(&self) -> Vec<Row> {
        let measured = self.under_storm();
        let figure = |take: &dyn Fn(&UnderStorm) -> Vec<f64>| -> Cell {
            Some(measured.as_ref().map(take).map_err(String::clone))
        };
        vec![
            Row {
                work: if self.rounds < QUICK {
                    "20,000 TCP connects, then slow-loris: memory at its peak, MB RSS / PSS"
                } else {
                    "100,000 TCP connects, then slow-loris: memory at its peak, MB RSS / PSS"
                },
                digits: 1,
                denwa: figure(&|s| vec![s.rss, s.pss]),
                rival: None,
                bare: None,
                goals: &[Goal::AtMost(&[24.0])],
                earlier: "",
                note: measured.as_ref().ok().map(|s| s.note.clone()),
            },
            Row {
                work: "the same: re-REGISTER by UDP granted, with / without repetition, %",
                digits: 2,
                denwa: figure(&|s| s.refreshed.shares().to_vec()),
                rival: None,
                bare: None,
                goals: &[Goal::AtLeast(&[99.0])],
                earlier: "",
                note: None,
            },
        ]
    }

    fn under_storm(&self) -> Attempt<UnderStorm> {
        let program = Program::start_open(&self.setting, USERS, split_ports(Kind::Denwa))?;
        let at = SocketAddr::new(self.setting.ip, 9_150);
        let mut refresh = Refresh::new(program.sip, at, 0, PHONES, REFRESHES)?;
        refresh.settle()?;
        let mut storm = Storm::new(&self.targets());
        program.forget_peak()?;
        let accepted = kernel_count("PassiveOpens");
        let overflown = kernel_count("ListenOverflows");
        let before = program.rss(false);
        let connects = if self.rounds < QUICK { CONNECTS / 5 } else { CONNECTS };
        let mut pss = program.pss();

        refresh.begin();
        let begun = Instant::now();
        while storm.made < connects {
            if begun.elapsed().as_micros() as u64 * CONNECT_RATE / 1_000_000 > storm.made {
                storm.connect()?;
            }
            refresh.step()?;
        }
        pss = pss.max(program.pss());
        let connecting = begun.elapsed();

        // A byte a second from each, for longer than a message may take.
        let passes = if self.rounds < QUICK { 6 } else { 24 };
        let mut open = 0;
        for pass in 0..passes {
            let begun = Instant::now();
            let held = storm.held();
            open = 0;
            for i in 0..held {
                while begun.elapsed().as_micros() as usize * held < i * 1_000_000 {
                    refresh.step()?;
                }
                open += usize::from(storm.speak(pass == 0)?);
            }
            pss = pss.max(program.pss());
        }
        let refreshed = refresh.end(&mut || Ok(()))?;
        let rss = program.rss(true);
        let note = format!(
            "{} connects in {:.1} s, of which the kernel completed {}, and {} overflowed the backlog; \
             {open} of {} connections were open in the last of {passes} s of slow-loris, {} in all were \
             begun; {:.1} MB RSS before",
            connects,
            connecting.as_secs_f64(),
            kernel_count("PassiveOpens") - accepted,
            kernel_count("ListenOverflows") - overflown,
            storm.held(),
            storm.made,
            megabytes(before as f64),
        );
        Ok(UnderStorm { rss: megabytes(rss as f64), pss: megabytes(pss as f64), refreshed, note })
    }

    /// How long nobody answers when the caged process is killed.
    pub(crate) fn restart(&self) -> Vec<Row> {
        let repetitions = if self.rounds < QUICK { 4 } else { 10 };
        let mut samples = Vec::new();
        let mut failure = None;
        let mut note = String::from("REGISTER 1000 times a second; a new exchange each time");
        for _ in 0..repetitions {
            match self.one_restart() {
                Ok(Some(sample)) => samples.push(sample),
                Ok(None) => {
                    note =
                        "not measured: there is but one process, no keeper that could start another".into();
                    break;
                }
                Err(e) => {
                    failure = Some(e);
                    break;
                }
            }
        }
        let worst = |i: usize| samples.iter().map(|s| s[i]).fold(0.0, f64::max);
        let figures = |i: usize| -> Cell {
            match (&failure, samples.is_empty()) {
                (Some(e), _) => Some(Err(e.clone())),
                (None, true) => None,
                (None, false) => Some(Ok(vec![medians(&samples)[i], worst(i)])),
            }
        };
        let row = |work, goals, denwa, note| Row {
            work,
            digits: 1,
            denwa,
            rival: None,
            bare: None,
            goals,
            earlier: "",
            note,
        };
        vec![
            row(
                "kill -9 of the child to the next answer, median / worst, ms",
                &[Goal::AtMost(&[50.0, 50.0])],
                figures(0),
                Some(note),
            ),
            row(
                "datagrams without an answer meanwhile, median / worst",
                // Those that the killed process had taken, and not yet answered, nobody can give back.
                &[Goal::AtMost(&[1.0, 1.0])],
                figures(1),
                None,
            ),
        ]
    }

    /// Time to the next answer in ms, and how many datagrams had none. `None` if there is no child.
    fn one_restart(&self) -> Attempt<Option<Vec<f64>>> {
        let (program, _) = Program::start(&self.setting, Kind::Denwa, USERS, split_ports(Kind::Denwa))?;
        let Some(child) = program.caged() else { return Ok(None) };
        let mut probe = Probe::new(program.sip, SocketAddr::new(self.setting.ip, 9_160))?;
        let mut killed = Instant::now();
        let questions =
            probe.ask_through(&user(0), Duration::from_millis(1), Duration::from_secs(1), || {
                sys::signal(child, libc::SIGKILL);
                killed = Instant::now();
            })?;
        let next = questions.iter().filter(|q| q.sent > killed).filter_map(|q| q.answered).min();
        let unanswered = questions.iter().filter(|q| q.answered.is_none()).count();
        let Some(next) = next else {
            return Err(format!("no answer after the child was killed:\n{}", program.last_words()));
        };
        Ok(Some(vec![micros(next - killed) / 1000.0, unanswered as f64]))
    }

    /// Whether the time of an answer tells if an extension exists.
    pub(crate) fn timing(&self) -> Vec<Row> {
        let measured = self.oracle();
        let cell = |i: usize| -> Cell { Some(measured.clone().map(|(figures, _)| vec![figures[i]])) };
        let row = |work, denwa, note| Row {
            work,
            digits: 4,
            denwa,
            rival: None,
            bare: None,
            goals: &[Goal::AtMost(&[0.02])],
            earlier: "",
            note,
        };
        vec![
            row(
                "known and unknown extension told apart by a wrong password's time, |AUC − 0.5|",
                cell(0),
                measured.as_ref().ok().map(|(_, note)| note.clone()),
            ),
            row("the same by the time of the challenge, |AUC − 0.5|", cell(1), None),
        ]
    }

    fn oracle(&self) -> Attempt<(Vec<f64>, String)> {
        let (program, _) = Program::start(&self.setting, Kind::Denwa, USERS, split_ports(Kind::Denwa))?;
        let mut probe = Probe::new(program.sip, SocketAddr::new(self.setting.ip, 9_160))?;
        let samples = if self.rounds < QUICK { SAMPLES / 5 } else { SAMPLES };
        // As long as each other, and only one of them is there.
        let names = [user(0), "9999".to_owned()];
        let uri = format!("sip:{DOMAIN}");
        let mut random = Random(0x71fe);
        let mut challenges = [Vec::new(), Vec::new()];
        let mut refusals = [Vec::new(), Vec::new()];
        // The first ones find cold caches, whoever they are.
        for n in 0..200 + 2 * samples {
            let which = (random.next() & 1) as usize;
            let name = &names[which];
            let (asked, credentials) = probe.ask(name, None, |message| {
                let challenge = Challenge::find(message, "WWW-Authenticate")?;
                Ok(challenge.answer(name, "not the password", "REGISTER", &uri))
            })?;
            let (refused, status) = probe.ask(name, Some(&credentials), |message| Ok(message.status))?;
            if !matches!(status, Some(401 | 403)) {
                return Err(format!("a wrong password was answered {status:?}"));
            }
            if n >= 200 {
                challenges[which].push(asked);
                refusals[which].push(refused);
            }
        }
        let apart = |[known, unknown]: &[Vec<u64>; 2]| (auc(known, unknown) - 0.5).abs();
        let medians = |[known, unknown]: &[Vec<u64>; 2]| {
            format!("{:.1} / {:.1} µs", median(known) as f64 / 1000.0, median(unknown) as f64 / 1000.0)
        };
        let note = format!(
            "{} known, {} unknown; medians {} for a wrong password, {} for a challenge; chance makes ±{:.4}",
            refusals[0].len(),
            refusals[1].len(),
            medians(&refusals),
            medians(&challenges),
            (1.0 / (6.0 * samples as f64)).sqrt(),
        );
        Ok((vec![apart(&refusals), apart(&challenges)], note))
    }

    /// Where strangers send: to both families, if they may.
    fn targets(&self) -> Vec<SocketAddr> {
        let mut targets = vec![SocketAddr::new(Ipv4Addr::LOCALHOST.into(), DENWA)];
        if self.ipv6_strangers {
            targets.push(SocketAddr::new(Ipv6Addr::LOCALHOST.into(), DENWA));
        }
        targets
    }
}

/// What was measured under a flood.
#[derive(Default)]
struct UnderFlood {
    /// Of the sound, in %.
    lost: f64,
    /// Delay at p50 and p99, in ms.
    added: [f64; 2],
    refreshed: refresh::Outcome,
    flood: flood::Outcome,
    /// Of memory, in MB.
    growth: f64,
    /// Of denwa, without and with the flood, and of its processor with it; in %.
    cpu: [f64; 2],
    busy: f64,
    /// Packets of whomever that the kernel dropped: at the SIP sockets, and before.
    dropped: u64,
    lost_in_queues: u64,
    /// Bytes of log in a minute.
    log_rate: f64,
    /// How far the bench fell behind.
    behind: Duration,
    /// Whether the server's processor did the kernel's part of the work too.
    steered: bool,
}

impl UnderFlood {
    fn note(&self) -> String {
        let flood = &self.flood;
        let thin = flood.rate() < FLOOD as f64 * 0.95;
        format!(
            "{}{:.0} junk packets/s were sent, {:.1} million in all, and {} answers of {} bytes came back; the \
             kernel dropped {} packets for want of room in the SIP sockets and {} before; {} \
             re-REGISTERs; its processor was {:.0} % busy{}; the log grew by {:.1} kB a minute; the bench \
             was at most {:.1?} behind",
            if thin { "the bench could not send as many as it should: " } else { "" },
            flood.rate(),
            flood.sent as f64 / 1e6,
            flood.answers,
            flood.answer_bytes,
            self.dropped,
            self.lost_in_queues,
            self.refreshed.tried,
            self.busy,
            if self.steered {
                ", the kernel's share of receiving included"
            } else {
                " (and the kernel received on another)"
            },
            self.log_rate / 1000.0,
            self.behind,
        )
    }
}

/// What was measured under a storm of connections.
struct UnderStorm {
    rss: f64,
    pss: f64,
    refreshed: refresh::Outcome,
    note: String,
}

/// A share of time, in %.
fn share(part: Duration, whole: Duration) -> f64 {
    part.as_secs_f64() * 100.0 / whole.as_secs_f64()
}
