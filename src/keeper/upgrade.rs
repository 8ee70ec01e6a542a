//! Another program for the exchange, while it runs: the two are joined, and the new one takes over.

use std::io::{self, PipeReader, Read, Write};
use std::mem;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

use super::StartError;
use super::backoff::LONG;
use super::child::{Binary, Exchange};
use super::door::GuestId;
use super::talk::Answer;
use super::watch::{End, State, Stop, Watch};
use crate::config::LogLevel;
use crate::handover::Past;

/// How long the new one may take until it serves. The old one waits up to 5 s of that for a quiet moment.
const PATIENCE: Duration = Duration::from_secs(10);

/// How much is kept of what the new one says before it serves, in octets.
const MOST_WORDS: usize = 8 << 10;

/// What to go back to if a new program does not last: it was right as long as it ran.
pub(super) struct Fallback {
    binary: Binary,
    /// When the new one has lasted.
    pub(super) until: Instant,
}

/// An exchange that is to take over.
pub(super) struct Upgrade {
    /// Who wants it.
    asker: GuestId,
    heir: Exchange,
    binary: Binary,
    /// Its standard error.
    pipe: PipeReader,
    /// What it has said there.
    words: Vec<u8>,
    /// Whether nothing more comes there.
    is_silent: bool,
    /// When it is given up; `None` once it was.
    until: Option<Instant>,
}

impl Upgrade {
    /// What becomes readable when the new one has something to say.
    pub(super) fn awaited(&self) -> [Option<BorrowedFd<'_>>; 2] {
        let listens = !self.is_silent && self.words.len() < MOST_WORDS;
        [self.heir.report(), listens.then(|| self.pipe.as_fd())]
    }

    /// When it is given up.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.until
    }

    /// The new one's process.
    pub(super) fn pid(&self) -> Pid {
        self.heir.pid
    }

    /// Reads what the new one has said.
    fn listen(&mut self) {
        self.heir.hear();
        let mut buffer = [0; 1024];
        while !self.is_silent && self.words.len() < MOST_WORDS {
            match self.pipe.read(&mut buffer) {
                Ok(0) => self.is_silent = true,
                Ok(count) => self.words.extend_from_slice(buffer.get(..count).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => self.is_silent = true,
            }
        }
    }

    /// Passes on what it has said to where it would have gone.
    fn pass_words_on(&self) {
        let _ = io::stderr().write_all(&self.words);
    }
}

impl Watch {
    /// Starts another program beside the exchange, which takes over from it.
    pub(super) fn upgrade(&mut self, asker: GuestId, program: Option<PathBuf>) {
        if let Err(why) = self.begin_upgrade(asker, program) {
            self.tell_guest(asker, Answer::Failed(why));
        }
    }

    fn begin_upgrade(&mut self, asker: GuestId, program: Option<PathBuf>) -> Result<(), String> {
        if self.is_busy() {
            return Err("denwa is being reloaded, upgraded or stopped already".into());
        }
        let State::Running(exchange) = &self.state else {
            return Err("the exchange has died and is about to be started again; try again then".into());
        };
        let program = program.unwrap_or_else(|| self.keeper.program.clone());
        let cannot = |error: io::Error| {
            let folder = self.keeper.program.parent().unwrap_or(&self.keeper.program);
            match program.starts_with(folder) {
                true => StartError::Execute { program: program.clone(), error }.to_string(),
                // Whatever its rights, that is why.
                false => format!(
                    "{} cannot be executed: {error}; only what is in {} can, where the denwa that runs was started \
                     from: put it there",
                    program.display(),
                    folder.display()
                ),
            }
        };
        let binary = Binary::open(&program).map_err(cannot)?;
        // It is no start after a death that people would want to know of.
        let past = Past { exchanges: self.past.exchanges.saturating_sub(1), ..self.past };
        let (old, new) = UnixStream::pair().map_err(|error| error.to_string())?;
        let (heir, pipe) = binary.start_heir(&self.keeper.parcel, past, new.as_fd()).map_err(cannot)?;
        let until = Some(Instant::now() + PATIENCE);
        if exchange.bequeath(old.as_fd()).is_err() {
            heir.signal(Signal::KILL);
        }
        self.upgrade =
            Some(Upgrade { asker, heir, binary, pipe, words: Vec::new(), is_silent: false, until });
        Ok(())
    }

    /// Hears whether the new one serves: then it is the exchange.
    pub(super) fn attend_heir(&mut self) {
        let Some(upgrade) = &mut self.upgrade else { return };
        upgrade.listen();
        if upgrade.heir.is_ready && upgrade.until.is_some() {
            self.succeed();
        }
    }

    /// The new one takes the place of the old one, which ends by itself.
    pub(super) fn succeed(&mut self) {
        let Some(upgrade) = self.upgrade.take() else { return };
        upgrade.pass_words_on();
        let mut notes = Vec::new();
        if !upgrade.binary.is(&self.keeper.own) {
            notes.push(
                "the process that keeps the exchange running is still the program of before; it takes a restart \
                 to replace that as well"
                    .into(),
            );
        }
        let until = Instant::now() + LONG;
        let before = mem::replace(&mut self.keeper.binary, upgrade.binary);
        // If that has not lasted either, there is one that has.
        let binary = self.fallback.take().map_or(before, |fallback| fallback.binary);
        self.fallback = (!binary.is(&self.keeper.binary)).then_some(Fallback { binary, until });
        if let State::Running(old) = mem::replace(&mut self.state, State::Running(upgrade.heir))
            && let Some(older) = self.relieved.replace(old)
        {
            // It has had the time of a whole upgrade to end.
            older.signal(Signal::KILL);
        }
        self.tell_guest(upgrade.asker, Answer::Done(notes));
    }

    /// The new one takes too long: it has to go, and the old one goes on.
    pub(super) fn give_up_heir(&mut self, now: Instant) {
        if let Some(upgrade) = &mut self.upgrade
            && upgrade.until.is_some_and(|until| until <= now)
        {
            upgrade.until = None;
            upgrade.heir.signal(Signal::KILL);
        }
    }

    /// The new one has ended, and the old one goes on as if nothing had been.
    pub(super) fn heir_ended(&mut self, end: End) {
        let Some(mut upgrade) = self.upgrade.take() else { return };
        upgrade.listen();
        upgrade.pass_words_on();
        let words = String::from_utf8_lossy(&upgrade.words);
        let last = words.lines().rev().find(|line| !line.trim().is_empty());
        let what = match (upgrade.until, last) {
            (None, _) => format!("it did not serve within {} s", PATIENCE.as_secs()),
            (Some(_), Some(last)) if matches!(end, End::Status(_)) => last.to_owned(),
            (Some(_), Some(_)) => format!("it {end}"),
            (Some(_), None) => format!("it {end}, and said nothing"),
        };
        let sentence = format!("the new program does not take over, and the old one goes on: {what}");
        self.keeper.log.say(LogLevel::Error, &sentence);
        self.tell_guest(upgrade.asker, Answer::Failed(sentence));
    }

    /// Goes back to the program of before if the exchange has died soon after it took over. Whether it did.
    pub(super) fn fall_back(&mut self) -> bool {
        let Some(Fallback { binary, until }) = self.fallback.take() else { return false };
        let has_died_soon = Instant::now() < until;
        if has_died_soon {
            self.keeper.binary = binary;
        }
        has_died_soon
    }

    /// Whether something is under way that nothing else may come between.
    pub(super) fn is_busy(&self) -> bool {
        self.reload.is_some() || self.upgrade.is_some() || self.stop != Stop::Not
    }

    /// There will be no heir: the exchange has died, or is stopped.
    pub(super) fn disinherit(&mut self) {
        if let Some(upgrade) = self.upgrade.take() {
            upgrade.heir.signal(Signal::KILL);
            self.tell_guest(upgrade.asker, Answer::Failed("denwa has stopped or died meanwhile".into()));
        }
    }
}
