//! The keeper's life: it waits for signals, for the exchange's few words and end, for commands, and for time.

use std::fmt;
use std::io;
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{self, Pid, WaitOptions, WaitStatus};

use super::backoff::{Again, Backoff, LONG};
use super::certificate::Certificate;
use super::child::Exchange;
use super::door::{Door, GUESTS};
use super::orders::Reload;
use super::upgrade::{Fallback, Upgrade};
use super::{Keeper, StartError};
use crate::config::LogLevel;
use crate::handover::Past;
use crate::net::sys::{Signal, Signals};

/// How long an exchange may take to stop before it is killed. It gives its calls 5 s.
const FAREWELL: Duration = Duration::from_secs(10);

impl Keeper {
    /// Starts the exchange and keeps it running until somebody wants it stopped: SIGINT and SIGTERM are
    /// forwarded to it, and so is SIGHUP as SIGINT if the terminal that it was started on is closed; any other
    /// SIGHUP has the configuration read again. Returns with the status that says how the exchange ended; in a
    /// shell's manner 128 and the signal's number if it was killed.
    ///
    /// An exchange that ends before the first one was ready is not started again: it has said why on
    /// standard error.
    ///
    /// # Errors
    ///
    /// If the first exchange cannot be started, or the system refuses what the keeper cannot live
    /// without.
    pub fn run(self) -> Result<ExitCode, StartError> {
        let signals = Signals::catch_with_children().map_err(StartError::System)?;
        let mut past = Past { since: self.since, exchanges: 0 };
        let exchange = self.binary.start(&self.parcel, past);
        past.exchanges += 1;
        let exchange =
            exchange.map_err(|error| StartError::Execute { program: self.binary.path(), error })?;
        let state = State::Running(exchange);
        let mut watch = Watch {
            keeper: self,
            state,
            past,
            backoff: Backoff::default(),
            was_ready: false,
            stop: Stop::Not,
            wished: None,
            reload: None,
            upgrade: None,
            relieved: None,
            fallback: None,
            orders: 0,
        };
        loop {
            watch.wait(&signals).map_err(StartError::System)?;
            watch.listen();
            watch.attend_heir();
            watch.attend();
            while let Some(signal) = watch.wished.take().or_else(|| signals.next()) {
                if let Some(code) = watch.forward(signal) {
                    return Ok(code);
                }
            }
            // Not only at SIGCHLD, which may be lost when very many signals come.
            while let Ok(Some((pid, status))) = process::wait(WaitOptions::NOHANG) {
                watch.relieved.take_if(|exchange| exchange.pid == pid);
                if watch.upgrade.as_ref().is_some_and(|upgrade| upgrade.pid() == pid) {
                    watch.heir_ended(End::of(status));
                }
                // Another one has handed over, or was an orphan's if we are a container's first process.
                if watch.exchange().is_some_and(|exchange| exchange.pid == pid)
                    && let Some(code) = watch.ended(status)
                {
                    return Ok(code);
                }
            }
            watch.on_time();
        }
    }
}

/// The keeper and what it has to do with.
pub(super) struct Watch {
    pub(super) keeper: Keeper,
    pub(super) state: State,
    /// What was before the next exchange.
    pub(super) past: Past,
    backoff: Backoff,
    /// Whether any exchange has been ready.
    was_ready: bool,
    pub(super) stop: Stop,
    /// What a command wants that a signal could have said.
    pub(super) wished: Option<Signal>,
    /// What the exchange was asked to go on with.
    pub(super) reload: Option<Reload>,
    /// What is to take over from the exchange.
    pub(super) upgrade: Option<Upgrade>,
    /// What has handed over, and is about to end.
    pub(super) relieved: Option<Exchange>,
    /// What is started if the exchange dies soon; there is one for 30 s after an upgrade.
    pub(super) fallback: Option<Fallback>,
    /// How many orders there have been.
    pub(super) orders: u8,
}

/// Whether there is an exchange.
pub(super) enum State {
    /// There is an exchange that was not reaped.
    Running(Exchange),
    /// The next one is started then.
    Waiting(Instant),
}

/// Whether somebody wants it stopped.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    Not,
    /// It was told, and has time until then.
    Until(Instant),
    /// It did not stop, and was killed.
    Killed,
}

impl Watch {
    fn exchange(&self) -> Option<&Exchange> {
        match &self.state {
            State::Running(exchange) => Some(exchange),
            State::Waiting(_) => None,
        }
    }

    /// Every process of ours that is or was an exchange, or is to be one, and was not reaped.
    pub(super) fn exchanges(&self) -> heapless::Vec<Pid, 3> {
        let heir = self.upgrade.as_ref().map(Upgrade::pid);
        let relieved = self.relieved.as_ref().map(|exchange| exchange.pid);
        [self.exchange().map(|exchange| exchange.pid), heir, relieved].into_iter().flatten().collect()
    }

    /// Waits for a signal, a report, a command, or time.
    fn wait(&self, signals: &Signals) -> io::Result<()> {
        let until = match (&self.state, self.stop) {
            (State::Waiting(until), _) => Some(*until),
            (State::Running(_), Stop::Until(until)) => Some(until),
            (State::Running(_), Stop::Not | Stop::Killed) => None,
        };
        let reload = self.reload.as_ref().map(|reload| reload.until);
        let guest = self.keeper.door.as_ref().and_then(Door::deadline);
        let heir = self.upgrade.as_ref().and_then(Upgrade::deadline);
        let fallback = self.fallback.as_ref().map(|fallback| fallback.until);
        let certificate = self.keeper.certificate.as_ref().map(Certificate::deadline);
        let names = Some(self.keeper.names.next);
        let until = [until, reload, guest, heir, fallback, certificate, names].into_iter().flatten().min();
        let time = until.map(|until| until.saturating_duration_since(Instant::now()));
        let time =
            time.map(|time| Timespec { tv_sec: time.as_secs() as _, tv_nsec: time.subsec_nanos().into() });
        let report = self.exchange().and_then(Exchange::report);
        let [heir, words] = self.upgrade.as_ref().map_or([None, None], Upgrade::awaited);
        let door = self.keeper.door.iter().flat_map(Door::awaited);
        let awaited = [Some(signals.as_fd()), report, heir, words].into_iter().flatten().chain(door);
        let mut awaited: heapless::Vec<PollFd<'_>, { 5 + GUESTS }> =
            awaited.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
        match poll(&mut awaited, time.as_ref()) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Hears whether the exchange is ready, and what it says to an order.
    fn listen(&mut self) {
        let State::Running(exchange) = &mut self.state else { return };
        let answer = exchange.hear();
        self.was_ready |= exchange.is_ready;
        if let Some(is_done) = answer {
            self.reloaded(is_done);
        }
    }

    /// Passes a wish to stop on. Returns a status if there is nobody to pass it to.
    fn forward(&mut self, signal: Signal) -> Option<ExitCode> {
        let signal = match signal {
            Signal::Interrupt => process::Signal::INT,
            Signal::Terminate => process::Signal::TERM,
            Signal::HangUp if self.keeper.terminal.is_gone() => process::Signal::INT,
            Signal::HangUp => {
                self.reload_from_file();
                return None;
            }
            Signal::Child => return None,
        };
        self.disinherit();
        let State::Running(exchange) = &self.state else {
            self.keeper.log.say(LogLevel::Info, "stopped");
            return Some(ExitCode::SUCCESS);
        };
        exchange.signal(signal);
        if self.stop == Stop::Not {
            self.stop = Stop::Until(Instant::now() + FAREWELL);
        }
        None
    }

    /// Deals with the end of the exchange. Returns a status if it is the keeper's end too.
    fn ended(&mut self, status: WaitStatus) -> Option<ExitCode> {
        // Its last word may not have been read.
        self.listen();
        let end = End::of(status);
        if end == End::Status(0) && self.stop == Stop::Not && self.upgrade.is_some() {
            // The heir has told it first.
            self.succeed();
            return None;
        }
        self.disinherit();
        if self.stop != Stop::Not {
            // It may not have come so far as to catch signals.
            let obeyed = [process::Signal::INT, process::Signal::TERM]
                .iter()
                .any(|signal| end == End::Killed(signal.as_raw()));
            return Some(if obeyed { ExitCode::SUCCESS } else { end.code() });
        }
        // Nobody has wanted it to stop, and so it does not matter with what status it did.
        match end {
            End::Status(_) if !self.was_ready => return Some(end.code()),
            End::Killed(_) if !self.was_ready => {
                self.keeper.log.say(LogLevel::Error, &format!("the exchange {end} at its start"));
                return Some(end.code());
            }
            End::Status(_) | End::Killed(_) => {}
        }
        let sentence = match self.fall_back() {
            true => format!(
                "the exchange {end} less than {} s after the upgrade: the program of before takes its place",
                LONG.as_secs()
            ),
            false => format!("the exchange {end}"),
        };
        self.start_again(&sentence);
        None
    }

    /// Starts the exchange if it is time, or kills it.
    fn on_time(&mut self) {
        let now = Instant::now();
        if self.reload.as_ref().is_some_and(|reload| reload.until <= now) {
            self.give_up_reload();
        }
        self.give_up_heir(now);
        self.fallback.take_if(|fallback| fallback.until <= now);
        self.look_at_certificate(now);
        self.look_at_names(now);
        match &self.state {
            State::Waiting(until) if *until <= now => match self.start() {
                Ok(exchange) => self.state = State::Running(exchange),
                Err(error) => self.start_again(&format!("the exchange cannot be started ({error})")),
            },
            State::Running(exchange) if matches!(self.stop, Stop::Until(until) if until <= now) => {
                self.stop = Stop::Killed;
                let time = FAREWELL.as_secs();
                let sentence = format!("the exchange does not stop within {time} s; it is killed");
                self.keeper.log.say(LogLevel::Error, &sentence);
                exchange.signal(process::Signal::KILL);
            }
            State::Waiting(_) | State::Running(_) => {}
        }
    }

    /// Starts the next exchange.
    fn start(&mut self) -> io::Result<Exchange> {
        let exchange = self.keeper.binary.start(&self.keeper.parcel, self.past)?;
        self.past.exchanges = self.past.exchanges.saturating_add(1);
        Ok(exchange)
    }

    /// Says what happened, and has the exchange started again, now or soon.
    fn start_again(&mut self, what_happened: &str) {
        let now = Instant::now();
        let since = self.exchange().map_or(now, |exchange| exchange.since);
        let again = self.backoff.died(since, now);
        self.keeper.log.say(LogLevel::Error, &format!("{what_happened}; it is started again{again}"));
        self.state = State::Waiting(now + again.wait);
        self.give_up_reload();
    }
}

/// How an exchange ended.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Status(i32),
    Killed(i32),
}

impl End {
    fn of(status: WaitStatus) -> End {
        match (status.exit_status(), status.terminating_signal()) {
            (_, Some(signal)) => End::Killed(signal),
            (status, None) => End::Status(status.unwrap_or(1)),
        }
    }

    fn code(self) -> ExitCode {
        let code = match self {
            End::Status(status) => status,
            End::Killed(signal) => 128 + signal,
        };
        ExitCode::from(u8::try_from(code).unwrap_or(1))
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::Status(status) => write!(f, "ended with status {status}"),
            End::Killed(signal) => write!(f, "was killed by signal {signal}"),
        }
    }
}

impl fmt::Display for Again {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.wait.as_millis() {
            0 => {}
            wait if wait < 1_000 => write!(f, " in {wait} ms")?,
            wait => write!(f, " in {} s", wait as f32 / 1_000.0)?,
        }
        match self.times {
            0 | 1 => Ok(()),
            2 => f.write_str(" (2nd time in 1 min)"),
            3 => f.write_str(" (3rd time in 1 min)"),
            times => write!(f, " ({times}th time in 1 min)"),
        }
    }
}
