//! What is measured, row by row.

use crate::media::{Media, Outcome};
use crate::phones::{Phones, Relay};
use crate::program::{Kind, Program, Setting, slab};
use crate::sys;
use crate::table::{Cell, Goal, Row, Table};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Extensions that are configured, except where a row says otherwise.
pub(crate) const USERS: usize = 2000;
/// Calls with sound in the relay row.
const CALLS: usize = 300;
/// Calls that are up in the memory row.
const HELD: usize = 1000;
/// The most calls with sound that are tried: 4 ports each from [`ALL_PORTS`].
const MOST_CALLS: usize = 8000;
/// A share of packets lost or late above which a call does not count as working.
const TOLERATED: f64 = 0.001;
/// How far the bench may fall behind its own timetable before a figure means nothing.
const BEHIND: Duration = Duration::from_millis(30);
/// Ports for a relay that has the machine for itself.
const ALL_PORTS: (u16, u16) = (12_000, 43_999);

/// All there is to know for measuring.
pub(crate) struct Bench {
    pub(crate) setting: Setting,
    /// The servers to measure; the bare loop is always there.
    pub(crate) kinds: Vec<Kind>,
    /// Rounds of which the median is taken.
    pub(crate) rounds: usize,
    /// Whether the network is the bench's own.
    pub(crate) own_network: bool,
    /// Whether strangers may have any IPv6 address, too.
    pub(crate) ipv6_strangers: bool,
    /// Where to write a profile of denwa.
    pub(crate) profile: Option<PathBuf>,
}

/// A program with its phones.
struct Town {
    program: Program,
    phones: Phones,
    media: Media,
}

pub(crate) type Attempt<T> = Result<T, String>;

/// One row's figures, or failures, by program.
#[derive(Default)]
struct Cells(Vec<(Kind, Attempt<Vec<f64>>)>);

impl Cells {
    fn add(&mut self, kind: Kind, figures: Attempt<Vec<f64>>) {
        self.0.push((kind, figures));
    }

    /// The cell of one program; `None` if it was not to be measured.
    fn of(&self, kind: Kind) -> Cell {
        self.0.iter().find(|(k, _)| *k == kind).map(|(_, figures)| figures.clone())
    }

    /// The same with only some of the figures of each cell.
    fn part(&self, range: std::ops::Range<usize>) -> Cells {
        let part = |f: &Vec<f64>| f.get(range.clone()).unwrap_or_default().to_vec();
        Cells(
            self.0
                .iter()
                .map(|(kind, figures)| (*kind, figures.as_ref().map(part).map_err(String::clone)))
                .collect(),
        )
    }
}

impl Bench {
    /// Measures the named rows, or all.
    pub(crate) fn run(&self, names: &[String]) -> Attempt<Table> {
        const NAMES: [&str; 14] = [
            "register", "call", "relay", "capacity", "memory", "start", "size", "flood", "guard", "tcp",
            "restart", "timing", "crash", "upgrade",
        ];
        if let Some(unknown) = names.iter().find(|n| !NAMES.contains(&n.as_str())) {
            return Err(format!("there is no row {unknown}; there are: {}", NAMES.join(", ")));
        }
        let mut table = Table::default();
        for name in NAMES {
            if !names.is_empty() && !names.iter().any(|n| n == name) {
                continue;
            }
            let begun = Instant::now();
            table.rows.extend(match name {
                "register" => self.register(),
                "call" => self.call(),
                "relay" => self.relay(),
                "capacity" => self.capacity(),
                "memory" => self.memory(),
                "start" => self.start(),
                "size" => self.size(),
                // Nothing is known of how the rival behaves under attack, and when it ends: its owner
                // configures that.
                _ if !self.kinds.contains(&Kind::Denwa) => Vec::new(),
                "flood" => self.flood(),
                "guard" => self.guard(),
                "tcp" => self.tcp(),
                "restart" => self.restart(),
                "timing" => self.timing(),
                "crash" => self.crash(),
                _ => self.upgrade(),
            });
            eprintln!("bench: {name} measured in {:.0} s", begun.elapsed().as_secs_f64());
        }
        Ok(table)
    }

    /// Starts a program of this kind with `users` extensions, and phones for them, not yet
    /// registered, with `sockets` for the sound of each side.
    fn town(&self, kind: Kind, users: usize, ports: (u16, u16), sockets: u16) -> Attempt<Town> {
        let (program, _) = Program::start(&self.setting, kind, users, ports)?;
        let place = kind as u16;
        let media = Media::open(self.setting.ip, 10_000 + place * 2 * CALLS as u16, sockets)?;
        let at = |port| SocketAddr::new(self.setting.ip, port);
        let phones = Phones::new(
            program.sip,
            at(9_100 + place * 2),
            at(9_101 + place * 2),
            users,
            media.addresses()?,
        )?;
        Ok(Town { program, phones, media })
    }

    /// Lets `measure` look at each kind in turn, `rounds` times over, and returns the medians of
    /// its figures for denwa and for the rival.
    fn alternate(
        &self,
        mut towns: Vec<(Kind, Attempt<Town>)>,
        rounds: usize,
        mut measure: impl FnMut(&mut Town) -> Attempt<Vec<f64>>,
    ) -> Cells {
        let mut samples: Vec<Vec<Vec<f64>>> = towns.iter().map(|_| Vec::new()).collect();
        let profiler = towns.iter().find_map(|(kind, town)| match town {
            Ok(town) if *kind == Kind::Denwa => Some(self.begin_profile(&town.program)),
            _ => None,
        });
        for _ in 0..rounds {
            for ((_, attempt), samples) in towns.iter_mut().zip(&mut samples) {
                let Ok(town) = attempt else { continue };
                match measure(town) {
                    Ok(figures) => samples.push(figures),
                    Err(e) => {
                        let words = town.program.last_words();
                        *attempt = Err(if words.is_empty() {
                            e
                        } else {
                            format!("{e}\n--- its log ends:\n{words}")
                        });
                    }
                }
            }
        }
        if let Some(profiler) = profiler.flatten() {
            self.end_profile(profiler);
        }
        let cells =
            towns.into_iter().zip(samples).map(|((kind, attempt), s)| (kind, attempt.map(|_| medians(&s))));
        Cells(cells.collect())
    }

    /// The CPU time of one challenged registration.
    fn register(&self) -> Vec<Row> {
        let count = 10_000;
        let towns = self.towns(USERS, |_| ALL_PORTS, 1, |town| town.phones.register(USERS));
        let cells = self.alternate(towns, self.rounds, |town| {
            let before = town.program.cpu();
            town.phones.register(count)?;
            Ok(vec![micros(town.program.cpu() - before) / count as f64])
        });
        vec![Row {
            work: "one challenged REGISTER, CPU, µs",
            digits: 1,
            denwa: cells.of(Kind::Denwa),
            rival: cells.of(Kind::Kamailio),
            bare: None,
            goals: &[Goal::AtMost(&[10.0]), Goal::ShareOfRival(0.5)],
            earlier: "114 / 20",
            note: None,
        }]
    }

    /// The CPU time of one call from INVITE to BYE, ports opened and closed, no sound.
    fn call(&self) -> Vec<Row> {
        let count = 2000;
        let towns = self.towns(USERS, split_ports, 1, |town| {
            town.phones.register(USERS)?;
            town.phones.call(count / 2)
        });
        let cells = self.alternate(towns, self.rounds, |town| {
            let before = town.program.cpu();
            town.phones.call(count)?;
            Ok(vec![micros(town.program.cpu() - before) / count as f64])
        });
        vec![Row {
            work: "one whole call with relay set-up, CPU, µs",
            digits: 0,
            denwa: cells.of(Kind::Denwa),
            rival: cells.of(Kind::Kamailio),
            bare: None,
            goals: &[Goal::AtMost(&[120.0]), Goal::ShareOfRival(1.0 / 3.0)],
            earlier: "1263 / 392",
            note: None,
        }]
    }

    /// The CPU time of one relayed packet and how long it is under way.
    fn relay(&self) -> Vec<Row> {
        let time = Duration::from_millis(1500);
        let rounds = self.rounds.min(5);
        let measure = |program: &Program, media: &mut Media| {
            let before = program.cpu();
            let outcome = media.run(CALLS, time, true)?;
            let cpu = program.cpu() - before;
            if outcome.missing() > TOLERATED {
                return Err(format!(
                    "of {} packets {} came, {} of them late",
                    outcome.sent, outcome.received, outcome.late
                ));
            }
            Ok(vec![micros(cpu) / outcome.received as f64, outcome.latency(50), outcome.latency(99)])
        };
        let towns = self.towns(USERS, split_ports, CALLS as u16, |town| {
            town.phones.register(USERS)?;
            town.phones.establish(CALLS)?;
            town.media.point(&town.phones.relays());
            // Lets each relay learn where its phones are.
            town.media.run(CALLS, Duration::from_millis(500), true).map(drop)
        });
        let mut bare = self.bare_town(CALLS, CALLS as u16, (24_000, 31_999));
        let mut bare_samples = Vec::new();
        let mut direct_samples = Vec::new();
        let mut direct = self.direct_media();
        let mut cells = self.alternate(towns, rounds, |town| {
            // The bare loop and the direct way get their rounds beside the first program's.
            if bare_samples.len() < rounds {
                if let Ok((program, media)) = &mut bare {
                    match measure(program, media) {
                        Ok(figures) => bare_samples.push(figures),
                        Err(e) => bare = Err(e),
                    }
                }
                if let Ok(media) = &mut direct {
                    let outcome = media.run(CALLS, time / 3, true)?;
                    direct_samples.push(vec![outcome.latency(50), outcome.latency(99)]);
                }
            }
            measure(&town.program, &mut town.media)
        });
        cells.add(Kind::Bare, bare.map(|_| medians(&bare_samples)));
        let (cpu, latency) = (cells.part(0..1), cells.part(1..3));
        let note = match medians(&direct_samples)[..] {
            [p50, p99] => Some(format!(
                "without any relay a packet is under way for {p50:.1} / {p99:.1} µs; that is part of the figures"
            )),
            _ => None,
        };
        vec![
            Row {
                work: "one relayed RTP packet, CPU, 300 calls, µs",
                digits: 2,
                denwa: cpu.of(Kind::Denwa),
                rival: cpu.of(Kind::Kamailio),
                bare: cpu.of(Kind::Bare),
                goals: &[Goal::TimesBare(1.3)],
                earlier: "18 / 8.0; bare 4.0",
                note: None,
            },
            Row {
                work: "one-way latency p50 / p99, 300 calls, µs",
                digits: 1,
                denwa: latency.of(Kind::Denwa),
                rival: latency.of(Kind::Kamailio),
                bare: latency.of(Kind::Bare),
                goals: &[Goal::TimesBare(1.5)],
                earlier: "61, 241 / 26, 56; bare 8, 77",
                note,
            },
        ]
    }

    /// How many calls with sound one processor carries.
    fn capacity(&self) -> Vec<Row> {
        let sockets = 8;
        let mut notes = Vec::new();
        let mut cells = Cells::default();
        // One after the other: each has the processor and the ports for itself.
        for &kind in &self.kinds {
            let found = self.town(kind, USERS, ALL_PORTS, sockets).and_then(|mut town| {
                town.phones.register(USERS)?;
                let Town { phones, media, .. } = &mut town;
                most_calls(|calls, time| {
                    phones.establish(calls)?;
                    media.point(&phones.relays());
                    media.run(calls, time, false)
                })
            });
            cells.add(kind, found.map(|most| most.figure(kind, &mut notes)));
        }
        let bare = self
            .bare_town(MOST_CALLS, sockets, ALL_PORTS)
            .and_then(|(_program, mut media)| most_calls(|calls, time| media.run(calls, time, false)));
        cells.add(Kind::Bare, bare.map(|most| most.figure(Kind::Bare, &mut notes)));
        vec![Row {
            work: "calls with sound on one processor",
            digits: 0,
            denwa: cells.of(Kind::Denwa),
            rival: cells.of(Kind::Kamailio),
            bare: cells.of(Kind::Bare),
            goals: &[Goal::MoreThanRival],
            earlier: "500 / 1875",
            note: (!notes.is_empty()).then(|| notes.join("; ")),
        }]
    }

    /// Memory at rest, and what calls take.
    fn memory(&self) -> Vec<Row> {
        let (mut idle, mut each) = (Cells::default(), Cells::default());
        let mut notes = Vec::new();
        let mut towns = Vec::new();
        for &kind in &self.kinds {
            let measured = self.resting(kind, 10).and_then(|few| {
                let mut town = self.town(kind, USERS, split_ports(kind), 8)?;
                std::thread::sleep(Duration::from_millis(500));
                let many = town.program.pss();
                town.phones.register(USERS)?;
                // A burst of calls that end: whatever it leaves behind is not counted to the next.
                town.phones.call(HELD)?;
                Ok((town, few, many))
            });
            match measured {
                Ok((town, few, many)) => {
                    idle.add(kind, Ok(vec![megabytes(few as f64), megabytes(many as f64)]));
                    towns.push((kind, town));
                }
                Err(e) => {
                    idle.add(kind, Err(e.clone()));
                    each.add(kind, Err(e));
                }
            }
        }
        // Finished transactions live up to 32 s (RFC 3261 §17, Timers H and J): what is measured is
        // calls, not those. All programs wait at the same time.
        let forgotten = Duration::from_secs(34);
        if !towns.is_empty() {
            std::thread::sleep(forgotten);
        }
        let mut held = Vec::new();
        for (kind, mut town) in towns {
            let (before, slab_before) = (town.program.pss(), slab());
            let up = town.phones.establish(HELD).and_then(|()| {
                town.media.point(&town.phones.relays());
                town.media.run(HELD, Duration::from_millis(1000), false)
            });
            match up {
                Ok(_) => {
                    std::thread::sleep(Duration::from_secs(1));
                    let kernel = slab() as f64 - slab_before as f64;
                    held.push((kind, town, before, kernel));
                }
                Err(e) => each.add(kind, Err(e)),
            }
        }
        if !held.is_empty() {
            std::thread::sleep(forgotten);
        }
        for (kind, mut town, before, kernel) in held {
            let during = town.program.pss();
            let hundreds = HELD as f64 / 100.0;
            each.add(kind, Ok(vec![megabytes(during as f64 - before as f64) / hundreds]));
            let after = town.phones.hang_up().map(|()| town.program.pss());
            let name = name(kind);
            notes.push(match after {
                Ok(after) => format!(
                    "{name} took {:.1} MB with 2000 registered, {:.1} MB with {HELD} calls, {:.1} MB after them; kernel slab for 100 calls about {:.2} MB",
                    megabytes(before as f64), megabytes(during as f64), megabytes(after as f64), megabytes(kernel) / hundreds,
                ),
                Err(e) => format!("{name} could not hang up: {e}"),
            });
        }
        vec![
            Row {
                work: "memory idle, 10 / 2000 users, MB PSS",
                digits: 1,
                denwa: idle.of(Kind::Denwa),
                rival: idle.of(Kind::Kamailio),
                bare: None,
                goals: &[Goal::AtMost(&[3.0, 4.0])],
                earlier: "57, 84 / 52, 55",
                note: None,
            },
            Row {
                work: "memory for each 100 calls, MB PSS",
                digits: 2,
                denwa: each.of(Kind::Denwa),
                rival: each.of(Kind::Kamailio),
                bare: None,
                goals: &[Goal::AtMost(&[1.0])],
                earlier: "30 / 9",
                note: (!notes.is_empty()).then(|| notes.join("; ")),
            },
        ]
    }

    /// What a program with `users` extensions takes at rest, in KiB.
    fn resting(&self, kind: Kind, users: usize) -> Attempt<u64> {
        let (program, _) = Program::start(&self.setting, kind, users, split_ports(kind))?;
        std::thread::sleep(Duration::from_millis(500));
        Ok(program.pss())
    }

    /// From the start of the process to its first answer.
    fn start(&self) -> Vec<Row> {
        let mut cells = Cells::default();
        for &kind in &self.kinds {
            let sample = || {
                Program::start(&self.setting, kind, USERS, ALL_PORTS)
                    .map(|(_, took)| vec![micros(took) / 1000.0])
            };
            let samples: Attempt<Vec<_>> = (0..self.rounds).map(|_| sample()).collect();
            cells.add(kind, samples.map(|s| medians(&s)));
        }
        vec![Row {
            work: "start to first answer, 2000 users, ms",
            digits: 1,
            denwa: cells.of(Kind::Denwa),
            rival: cells.of(Kind::Kamailio),
            bare: None,
            goals: &[Goal::AtMost(&[10.0])],
            earlier: "468 / 153",
            note: cells
                .of(Kind::Kamailio)
                .map(|_| "rtpengine is running before Kamailio's start is timed".into()),
        }]
    }

    /// What has to be installed.
    fn size(&self) -> Vec<Row> {
        let denwa = self.kinds.contains(&Kind::Denwa).then(|| {
            let path = &self.setting.denwa;
            let file = std::fs::metadata(path).map_err(|e| format!("{}: {e}", path.display()))?;
            Ok(vec![file.len() as f64 / 1e6])
        });
        let rival = self.kinds.contains(&Kind::Kamailio).then(|| {
            let (program, _) = Program::start(&self.setting, Kind::Kamailio, 10, ALL_PORTS)?;
            Ok(vec![program.mapped() as f64 / 1e6])
        });
        vec![Row {
            work: "binary (rival: all mapped files), MB",
            digits: 2,
            denwa,
            rival,
            bare: None,
            // With TLS.
            goals: &[Goal::AtMost(&[3.0])],
            earlier: "28 / 178",
            note: None,
        }]
    }

    /// One town for each server, brought to its working point by `prepare`.
    fn towns(
        &self,
        users: usize,
        ports: impl Fn(Kind) -> (u16, u16),
        sockets: u16,
        prepare: impl Fn(&mut Town) -> Attempt<()>,
    ) -> Vec<(Kind, Attempt<Town>)> {
        let make = |kind| {
            self.town(kind, users, ports(kind), sockets).and_then(|mut town| match prepare(&mut town) {
                Ok(()) => Ok(town),
                Err(e) => Err(format!("{e}\n--- its log ends:\n{}", town.program.last_words())),
            })
        };
        self.kinds.iter().map(|&kind| (kind, make(kind))).collect()
    }

    /// The bare loop with this many calls between phones with these sockets.
    fn bare_town(&self, calls: usize, sockets: u16, ports: (u16, u16)) -> Attempt<(Program, Media)> {
        let mut media = Media::open(self.setting.ip, 10_000 + Kind::Bare as u16 * 2 * CALLS as u16, sockets)?;
        let (callers, callees) = media.addresses()?;
        let pair = |i: usize| (callers[i % callers.len()], callees[i % callees.len()]);
        let pairs: Vec<_> = (0..calls).map(pair).collect();
        let (program, relays) = Program::start_bare(&self.setting, &pairs, ports)?;
        let relay = |&(for_caller, for_callee): &(SocketAddr, SocketAddr)| Relay { for_caller, for_callee };
        media.point(&relays.iter().map(relay).collect::<Vec<_>>());
        Ok((program, media))
    }

    /// Phones that send to each other without anything between.
    fn direct_media(&self) -> Attempt<Media> {
        let mut media = Media::open(self.setting.ip, 10_000 + (Kind::Bare as u16 + 1) * 2 * CALLS as u16, 8)?;
        let (callers, callees) = media.addresses()?;
        let relay = |i: usize| Relay {
            for_caller: callees[i % callees.len()],
            for_callee: callers[i % callers.len()],
        };
        media.point(&(0..CALLS).map(relay).collect::<Vec<_>>());
        Ok(media)
    }

    fn begin_profile(&self, program: &Program) -> Option<Child> {
        let path = self.profile.as_ref()?;
        let mut perf = Command::new("perf");
        perf.args(["record", "-q", "-F", "4999", "--call-graph", "fp", "-p", &program.pids(), "-o"])
            .arg(path);
        perf.stdout(Stdio::null());
        match perf.spawn() {
            Ok(child) => Some(child),
            Err(e) => {
                eprintln!("bench: no profile: perf: {e}");
                None
            }
        }
    }

    fn end_profile(&self, mut perf: Child) {
        sys::signal(perf.id(), libc::SIGINT);
        // Whether it wrote something is seen by the report.
        let _ = perf.wait();
        let path: &Path = self.profile.as_deref().unwrap_or(Path::new("perf.data"));
        for sort in ["comm,dso", "comm,symbol"] {
            let report = Command::new("perf")
                .args([
                    "report",
                    "--stdio",
                    "--no-children",
                    "--percent-limit",
                    "0.4",
                    "-g",
                    "none",
                    "--sort",
                    sort,
                    "-i",
                ])
                .arg(path)
                .output();
            match report {
                Ok(output) => print!("{}", String::from_utf8_lossy(&output.stdout)),
                Err(e) => eprintln!("bench: perf report: {e}"),
            }
        }
    }
}

/// The result of the search for the most calls.
struct Most {
    calls: usize,
    /// The bench could not send more in time, or had no more calls: the server may carry more.
    at_least: bool,
}

impl Most {
    fn figure(self, kind: Kind, notes: &mut Vec<String>) -> Vec<f64> {
        if self.at_least {
            notes.push(format!("{} may carry more: the bench was at its own limit", name(kind)));
        }
        vec![self.calls as f64]
    }
}

/// The most calls for which `run` loses at most what is tolerated: half as many again until it
/// does not, then halved in between. A failure counts when it is repeated.
fn most_calls(mut run: impl FnMut(usize, Duration) -> Attempt<Outcome>) -> Attempt<Most> {
    #[derive(PartialEq)]
    enum Try {
        Carried,
        Failed,
        /// The bench could not send in time, so nothing is known of the server.
        NotOffered,
    }
    let mut attempt = |calls: usize| -> Attempt<Try> {
        let mut result = Try::Failed;
        for _ in 0..2 {
            run(calls, Duration::from_millis(300))?;
            let outcome = run(calls, Duration::from_millis(1500))?;
            let lost = outcome.sent.saturating_sub(outcome.received);
            let behind = Duration::from_nanos(outcome.behind);
            eprintln!(
                "bench: {calls} calls: {} packets, {lost} lost, {} late, bench {behind:.1?} behind",
                outcome.sent, outcome.late
            );
            result = if behind > BEHIND {
                Try::NotOffered
            } else if outcome.missing() <= TOLERATED {
                return Ok(Try::Carried);
            } else {
                Try::Failed
            };
        }
        Ok(result)
    };
    let (mut good, mut bad) = (0, 0);
    let mut limit_known = false;
    let mut calls = 600;
    while good < MOST_CALLS && (bad == 0 || bad > good + (good / 40).max(10)) {
        match attempt(calls)? {
            Try::Carried => good = calls,
            result => {
                bad = calls;
                limit_known = result == Try::Failed;
            }
        }
        calls = if bad == 0 { (calls * 3 / 2).min(MOST_CALLS) } else { usize::midpoint(good, bad) };
    }
    if good == 0 {
        return Err("not even a few calls were carried without loss".into());
    }
    Ok(Most { calls: good, at_least: !limit_known })
}

/// Ports that let the programs run side by side.
pub(crate) fn split_ports(kind: Kind) -> (u16, u16) {
    match kind {
        Kind::Denwa => (12_000, 17_999),
        Kind::Kamailio => (18_000, 23_999),
        Kind::Bare => (24_000, 31_999),
    }
}

fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Denwa => "denwa",
        Kind::Kamailio => "Kamailio + rtpengine",
        Kind::Bare => "the bare loop",
    }
}

pub(crate) fn micros(time: Duration) -> f64 {
    time.as_nanos() as f64 / 1000.0
}

/// From KiB.
pub(crate) fn megabytes(kib: f64) -> f64 {
    kib * 1024.0 / 1e6
}

/// The median of each figure over all samples.
pub(crate) fn medians(samples: &[Vec<f64>]) -> Vec<f64> {
    let figures = samples.first().map_or(0, Vec::len);
    let median = |i: usize| {
        let mut column: Vec<f64> = samples.iter().filter_map(|s| s.get(i).copied()).collect();
        column.sort_by(f64::total_cmp);
        let middle = column.len() / 2;
        if column.len() % 2 == 1 { column[middle] } else { f64::midpoint(column[middle - 1], column[middle]) }
    };
    (0..figures).map(median).collect()
}
