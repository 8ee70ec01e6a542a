//! The rows about a change of the process that serves, in the middle of calls: by `kill -9`, and by
//! `denwa upgrade`.

use crate::media::{Media, Outcome};
use crate::message::Message;
use crate::phones::{DOMAIN, Phones};
use crate::program::{Kind, Program, SERVER_CORE, Setting};
use crate::refresh::Refresh;
use crate::rows::{Attempt, Bench, split_ports};
use crate::sys::{self, Inbox, Outbox, realtime, roomy_socket};
use crate::table::{Cell, Goal, Row};
use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Calls with sound.
const CALLS: usize = 100;
/// Extensions with a phone each, where registrations are counted.
const REGISTERED: usize = 1000;
/// How long there is sound before something happens.
const BEFORE: Duration = Duration::from_millis(500);
/// How long there is sound in all.
const TIME: Duration = Duration::from_secs(4);
/// Phones that refresh their registration meanwhile, and how many of them do in a second: each has more
/// than 3.5 s for each of its two requests.
const PHONES: usize = 400;
const REFRESHES: u64 = 100;
/// OPTIONS in a second.
const QUESTIONS: u64 = 500;

impl Bench {
    /// 100 calls and 1,000 registrations when the exchange is killed.
    pub(crate) fn crash(&self) -> Vec<Row> {
        let crashes: Attempt<Vec<Crash>> = (0..self.rounds).map(|_| self.one_crash()).collect();
        let worst = |take: &dyn Fn(&Crash) -> f64| -> Attempt<f64> {
            let crashes = crashes.as_ref().map_err(String::clone)?;
            Ok(crashes.iter().map(take).fold(0.0, f64::max))
        };
        let pair =
            |one: Attempt<f64>, two: Attempt<f64>| -> Cell { Some(one.and_then(|one| Ok(vec![one, two?]))) };
        let total = |take: &dyn Fn(&Crash) -> usize| -> Attempt<f64> {
            let crashes = crashes.as_ref().map_err(String::clone)?;
            Ok(crashes.iter().map(take).sum::<usize>() as f64)
        };
        let behind = crashes.iter().flatten().map(|crash| crash.behind).fold(0.0, f64::max);
        vec![
            Row {
                note: Some(format!(
                    "{} crashes; a start is known to 10 ms, which count as silence; the bench was up to {behind:.1} ms behind",
                    self.rounds
                )),
                ..row(
                    "kill -9 under 100 calls: worst silence, from the next start / from the kill, ms",
                    1,
                    &[Goal::AtMost(&[300.0])],
                    pair(worst(&|c| c.from_start), worst(&|c| c.from_kill)),
                )
            },
            row(
                "the same: calls / registrations lost, of 100 / 1,000 each time",
                0,
                &[Goal::AtMost(&[0.0, 0.0])],
                pair(total(&|c| c.calls_lost), total(&|c| c.registrations_lost)),
            ),
        ]
    }

    fn one_crash(&self) -> Attempt<Crash> {
        let (program, _) = Program::start(&self.setting, Kind::Denwa, REGISTERED, split_ports(Kind::Denwa))?;
        let (mut phones, mut media) = self.calls(&program, REGISTERED)?;
        let child = program.caged().ok_or("there is but one process, no keeper that could start another")?;
        let (begun, mut killed) = (Instant::now(), 0);
        let outcome = media.run_beside(CALLS, TIME, false, &mut || {
            if killed == 0 && begun.elapsed() > BEFORE {
                killed = realtime();
                sys::signal(child, libc::SIGKILL);
            }
            Ok(())
        })?;
        let next = program.caged().filter(|next| *next != child);
        let next = next.ok_or_else(|| format!("no next exchange:\n{}", program.last_words()))?;
        let started = sys::started(next)?;
        let over = |since: u64| {
            let silences = outcome.silences.iter().filter(|silence| silence.contains(&since));
            silences.map(|silence| silence.end - since).max().unwrap_or(0) as f64 / 1e6
        };
        let calls_lost = (0..CALLS).filter(|call| {
            let streams = &outcome.silences[2 * call..2 * call + 2];
            streams.iter().any(|silence| silence.end == outcome.end)
        });
        let registered = command(&self.setting, &["status", "--json"])?;
        let status: serde_json::Value =
            serde_json::from_slice(&registered.stdout).map_err(|e| e.to_string())?;
        let registered =
            status["registered"].as_u64().ok_or("denwa status does not say who is registered")?;
        let crash = Crash {
            from_start: over(started),
            from_kill: over(killed),
            calls_lost: calls_lost.count(),
            registrations_lost: REGISTERED.saturating_sub(registered as usize),
            behind: outcome.behind as f64 / 1e6,
        };
        // Each call ends by its phones, and each callee is found.
        let after = phones.hang_up().and_then(|()| phones.call(REGISTERED / 2));
        after.map_err(|e| format!("after the crash: {e}\n--- its log ends:\n{}", program.last_words()))?;
        Ok(crash)
    }

    /// 100 calls, and phones that ask, when another program takes over.
    pub(crate) fn upgrade(&self) -> Vec<Row> {
        let upgrades: Attempt<Vec<Upgrade>> = (0..self.rounds).map(|_| self.one_upgrade()).collect();
        let total = |take: &dyn Fn(&Upgrade) -> u64| -> Attempt<f64> {
            let upgrades = upgrades.as_ref().map_err(String::clone)?;
            Ok(upgrades.iter().map(take).sum::<u64>() as f64)
        };
        let figures = |all: &[Attempt<f64>]| -> Cell { Some(all.iter().cloned().collect()) };
        let note = upgrades.as_ref().ok().map(|upgrades| {
            let sum = |take: &dyn Fn(&Upgrade) -> u64| upgrades.iter().map(take).sum::<u64>();
            let worst = |take: &dyn Fn(&Upgrade) -> f64| upgrades.iter().map(take).fold(0.0, f64::max);
            format!(
                "{} upgrades, {} packets, {} REGISTERs, {} OPTIONS; longest silence {:.1} ms, while the bench was up to {:.1} ms behind; the command took {:.0} ms at most",
                upgrades.len(),
                sum(&|u| u.sent),
                sum(&|u| u.registers),
                sum(&|u| u.options),
                worst(&|u| u.silence),
                worst(&|u| u.behind),
                worst(&|u| u.took),
            )
        });
        vec![
            Row {
                note,
                ..row(
                    "denwa upgrade under 100 calls: RTP packets lost",
                    0,
                    &[Goal::AtMost(&[0.0])],
                    figures(&[total(&|u| u.lost)]),
                )
            },
            row(
                "the same: REGISTERs / OPTIONS that had to be repeated",
                0,
                &[Goal::AtMost(&[0.0, 0.0])],
                figures(&[total(&|u| u.registers_unanswered), total(&|u| u.options_unanswered)]),
            ),
        ]
    }

    fn one_upgrade(&self) -> Attempt<Upgrade> {
        // A program of its own, so that it can be replaced.
        let setting = Setting { denwa: self.setting.folder.join("denwa"), ..self.setting.clone() };
        let replace = || {
            let new = setting.denwa.with_extension("new");
            let copied = fs::copy(&self.setting.denwa, &new).and_then(|_| fs::rename(&new, &setting.denwa));
            copied.map_err(|e| format!("{}: {e}", setting.denwa.display()))
        };
        replace()?;
        let users = 2 * CALLS + PHONES;
        let (program, _) = Program::start(&setting, Kind::Denwa, users, split_ports(Kind::Denwa))?;
        let (mut phones, mut media) = self.calls(&program, 2 * CALLS)?;
        let at = |port| SocketAddr::new(setting.ip, port);
        let mut refresh = Refresh::new(program.sip, at(9_150), 2 * CALLS, PHONES, REFRESHES)?;
        refresh.settle()?;
        let mut asker = Asker::new(program.sip, at(9_151))?;
        replace()?;
        let before = program.caged().ok_or("there is but one process, no keeper")?;
        let (begun, mut command) = (Instant::now(), None);
        refresh.begin();
        let outcome = media.run_beside(CALLS, TIME, false, &mut || {
            if command.is_none() && begun.elapsed() > BEFORE {
                command = Some((start(&setting, &["upgrade"])?, Instant::now(), None));
            }
            if let Some((child, since, took @ None)) = &mut command {
                let ended: Option<_> = child.try_wait().map_err(|e| e.to_string())?;
                *took = ended.map(|_| since.elapsed());
            }
            asker.step()?;
            refresh.step()
        })?;
        let (child, _, took) = command.ok_or("there was no time for the upgrade")?;
        succeeded(child.wait_with_output().map_err(|e| e.to_string())?)?;
        if program.caged().is_none_or(|after| after == before) {
            return Err(format!("the old one still serves:\n{}", program.last_words()));
        }
        let registers = refresh.end(&mut || Ok(()))?;
        let options_unanswered = asker.end()?;
        phones.hang_up().map_err(|e| format!("after the upgrade: {e}\n{}", program.last_words()))?;
        let longest = outcome.silences.iter().map(|silence| silence.end - silence.start).max();
        Ok(Upgrade {
            sent: outcome.sent,
            lost: outcome.sent - outcome.received,
            registers: registers.tried,
            registers_unanswered: registers.tried - registers.at_once,
            options: asker.asked,
            options_unanswered,
            silence: longest.unwrap_or(0) as f64 / 1e6,
            behind: outcome.behind as f64 / 1e6,
            took: took.unwrap_or(TIME).as_secs_f64() * 1e3,
        })
    }

    /// Phones of so many users, all registered, and [`CALLS`] calls between them with sound both ways.
    fn calls(&self, program: &Program, users: usize) -> Attempt<(Phones, Media)> {
        let at = |port| SocketAddr::new(self.setting.ip, port);
        let mut media = Media::open(self.setting.ip, 10_000, CALLS as u16)?;
        let mut phones = Phones::new(program.sip, at(9_100), at(9_101), users, media.addresses()?)?;
        phones.register(users)?;
        phones.establish(CALLS)?;
        media.point(&phones.relays());
        let Outcome { sent, received, .. } = media.run(CALLS, Duration::from_millis(300), false)?;
        match sent == received {
            true => Ok((phones, media)),
            false => Err(format!("{} packets are lost while nothing happens", sent - received)),
        }
    }
}

/// What a crash did. Times are in ms.
struct Crash {
    from_start: f64,
    from_kill: f64,
    calls_lost: usize,
    registrations_lost: usize,
    behind: f64,
}

/// What an upgrade did. Times are in ms.
struct Upgrade {
    sent: u64,
    lost: u64,
    registers: u64,
    registers_unanswered: u64,
    options: u64,
    options_unanswered: u64,
    silence: f64,
    behind: f64,
    took: f64,
}

fn row(work: &'static str, digits: usize, goals: &'static [Goal], denwa: Cell) -> Row {
    Row { work, digits, denwa, rival: None, bare: None, goals, earlier: "", note: None }
}

/// Starts a command of denwa's, where the servers run.
fn start(setting: &Setting, words: &[&str]) -> Attempt<Child> {
    let mut command = Command::new(&setting.denwa);
    command.args(words).arg("--config").arg(setting.folder.join("denwa.conf"));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    sys::prepare(&mut command, SERVER_CORE);
    command.spawn().map_err(|e| format!("cannot start {}: {e}", setting.denwa.display()))
}

/// The same, to its end.
fn command(setting: &Setting, words: &[&str]) -> Attempt<Output> {
    succeeded(start(setting, words)?.wait_with_output().map_err(|e| e.to_string())?)
}

fn succeeded(output: Output) -> Attempt<Output> {
    match output.status.success() {
        true => Ok(output),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

/// One who sends OPTIONS at a steady pace, each once.
struct Asker {
    server: SocketAddr,
    address: SocketAddr,
    socket: UdpSocket,
    inbox: Inbox,
    outbox: Outbox,
    begun: u64,
    asked: u64,
    answered: u64,
}

impl Asker {
    fn new(server: SocketAddr, address: SocketAddr) -> Attempt<Asker> {
        let socket = roomy_socket(address).map_err(|e| format!("asker: {e}"))?;
        let (inbox, outbox) = (Inbox::default(), Outbox::default());
        Ok(Asker { server, address, socket, inbox, outbox, begun: realtime(), asked: 0, answered: 0 })
    }

    /// Does what is due.
    fn step(&mut self) -> Attempt<()> {
        if self.asked == 0 {
            self.begun = realtime();
        }
        if (realtime() - self.begun) * QUESTIONS / 1_000_000_000 >= self.asked {
            self.asked += 1;
            let (at, n) = (self.address, self.asked);
            let text = format!(
                "OPTIONS sip:{DOMAIN} SIP/2.0\r\nVia: SIP/2.0/UDP {at};branch=z9hG4bKasker{n};rport\r\n\
                 Max-Forwards: 70\r\nFrom: <sip:1000@{DOMAIN}>;tag=a{n}\r\nTo: <sip:{DOMAIN}>\r\nCall-ID: asker{n}\r\n\
                 CSeq: 1 OPTIONS\r\nContact: <sip:1000@{at}>\r\nAccept: application/sdp\r\n\
                 User-Agent: a phone of the bench, which wants to know whether somebody is there, {n}\r\n\
                 Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, REFER, NOTIFY, UPDATE, PRACK\r\n\
                 Supported: replaces, timer, path\r\nContent-Length: 0\r\n\r\n"
            );
            self.outbox.put(self.server, |out| out.extend_from_slice(text.as_bytes()));
            self.outbox.flush(&self.socket).map_err(|e| format!("asker: {e}"))?;
        }
        self.listen()
    }

    fn listen(&mut self) -> Attempt<()> {
        let received = self.inbox.receive(&self.socket).map_err(|e| format!("asker: {e}"))?;
        for i in 0..received {
            let message = Message::read(self.inbox.datagram(i))?;
            match message.status {
                Some(200) => self.answered += 1,
                _ => return Err(format!("OPTIONS was answered: {}", message.start)),
            }
        }
        Ok(())
    }

    /// How many have no answer, after a moment for the last ones.
    fn end(&mut self) -> Attempt<u64> {
        std::thread::sleep(Duration::from_millis(200));
        while self.answered < self.asked {
            let before = self.answered;
            self.listen()?;
            if self.answered == before {
                break;
            }
        }
        Ok(self.asked - self.answered)
    }
}
