//! What the operator wants of a running denwa, by a command or by SIGHUP.

use std::io;
use std::time::{Duration, Instant};

use rustix::process::getegid;

use super::bind::bind_beside;
use super::certificate::{self, Certificate};
use super::door::GuestId;
use super::rights::needs_more_files;
use super::talk::{Answer, Request};
use super::watch::{State, Watch};
use super::{Keeper, StartError};
use crate::config::{Config, LogLevel, Mistakes};
use crate::handover::Parcel;
use crate::net::sys::Signal;

/// How long an exchange may take to go over to another configuration.
const PATIENCE: Duration = Duration::from_secs(5);

/// A configuration that the exchange was asked to go on with, and has not said yet whether it does.
pub(super) struct Reload {
    next: Next,
    asker: Asker,
    /// When it is given up.
    pub(super) until: Instant,
}

/// Who wants it, and is told what comes of it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Asker {
    /// A command.
    Guest(GuestId),
    /// Somebody who sent SIGHUP, and reads the log.
    Signal,
}

/// What takes the place of what there is, once the exchange goes on with it.
struct Next {
    parcel: Parcel,
    config: Config,
    certificate: Option<Certificate>,
    /// What people should know although it goes well.
    notes: Vec<String>,
}

impl Keeper {
    /// Prepares for another configuration: binds what is new in it, and has what stays.
    ///
    /// # Errors
    ///
    /// Why it cannot be gone on with, in sentences.
    fn prepare(&self, file: &[u8]) -> Result<Next, String> {
        let mut config = Config::parse(&self.path.display().to_string(), file).map_err(|m| m.to_string())?;
        let lasting = self.parcel.lasting.hold(&mut config);
        let mut notes: Vec<String> = lasting
            .iter()
            .map(|key| format!("{key}: that takes a restart, and is as it was until then"))
            .collect();
        if needs_more_files(&config) {
            notes.push("media-ports: so many are usable only after a restart".into());
        }
        let (certificate, material) =
            certificate::read(&config).map_err(|error| match error.is_forbidden() {
                true => format!(
                    "{error}; where the configuration has named another folder so far, it takes a restart"
                ),
                false => error.to_string(),
            })?;
        let mut sockets = bind_beside(&config, &self.parcel.sockets).map_err(|error| error.to_string())?;
        sockets.control = self.parcel.sockets.control.as_ref().and_then(|socket| socket.try_clone().ok());
        notes.append(&mut sockets.notices);
        let has_state = self.parcel.has_state;
        let parcel = Parcel::new(&self.path, &config, file, has_state, material.as_ref(), sockets);
        let parcel = parcel.map_err(|error| StartError::Parcel(error).to_string())?;
        Ok(Next { parcel, config, certificate, notes })
    }
}

impl Watch {
    /// Hears what commands ask for.
    pub(super) fn attend(&mut self) {
        let exchanges = self.exchanges();
        while let Some((guest, request)) =
            self.keeper.door.as_mut().and_then(|door| door.hear(|pid| exchanges.contains(&pid)))
        {
            self.obey(guest, request);
        }
    }

    fn obey(&mut self, guest: GuestId, request: Request) {
        match request {
            Request::Reload(file) => self.reload(&file, Asker::Guest(guest)),
            Request::Upgrade(program) => self.upgrade(guest, program),
            // It is answered by our end.
            Request::Stop { hang_up } => {
                let signal = if hang_up { Signal::Interrupt } else { Signal::Terminate };
                self.wished = Some(signal);
            }
            Request::Whereabouts => {
                let path = &self.keeper.path;
                let whole = std::path::absolute(path).unwrap_or_else(|_| path.clone());
                self.tell_guest(guest, Answer::Done(vec![whole.display().to_string()]));
            }
        }
    }

    /// Reads the configuration again from where it was, and has the exchange go on with it.
    pub(super) fn reload_from_file(&mut self) {
        match Config::read(&self.keeper.path) {
            Ok(file) => self.reload(&file, Asker::Signal),
            Err(mistakes) => {
                let advice = self.advice(&mistakes);
                self.tell(Asker::Signal, Answer::Failed(advice));
            }
        }
    }

    /// Has the exchange go on with another configuration.
    fn reload(&mut self, file: &[u8], asker: Asker) {
        if self.is_busy() {
            let busy = "denwa is being reloaded, upgraded or stopped already";
            return self.tell(asker, Answer::Failed(busy.into()));
        }
        let next = match self.keeper.prepare(file) {
            Ok(next) => next,
            Err(why) => return self.tell(asker, Answer::Failed(why)),
        };
        self.orders = self.orders.wrapping_add(1);
        let ordered = match &mut self.state {
            State::Running(exchange) => exchange.order(&next.parcel, self.orders),
            // The next one starts on it.
            State::Waiting(_) => return self.take(next, asker),
        };
        match ordered {
            Ok(()) => self.reload = Some(Reload { next, asker, until: Instant::now() + PATIENCE }),
            Err(error) => self.tell(asker, Answer::Failed(unheard(&error))),
        }
    }

    /// The exchange has said whether it goes on with what it was asked to.
    pub(super) fn reloaded(&mut self, is_done: bool) {
        let Some(Reload { next, asker, .. }) = self.reload.take() else { return };
        match is_done {
            true => self.take(next, asker),
            false => {
                // Whoever is told may have other plans with the ports.
                drop(next);
                let why = "the exchange cannot go on with it, and goes on as it was: either the system has no room \
                           for more sockets, or the exchange is another version of denwa than its keeper, and \
                           does not understand the configuration; then it takes a restart";
                self.tell(asker, Answer::Failed(why.into()));
            }
        }
    }

    /// The exchange has died, or does not answer in time. It may still come to what it was asked, and so it
    /// is asked to go back.
    pub(super) fn give_up_reload(&mut self) {
        let Some(Reload { asker, .. }) = self.reload.take() else { return };
        self.orders = self.orders.wrapping_add(1);
        if let State::Running(exchange) = &mut self.state {
            // Whoever hears nothing at all has trouble of its own.
            let _ = exchange.order(&self.keeper.parcel, self.orders);
        }
        self.tell(asker, Answer::Failed("the exchange did not answer; it goes on as it was".into()));
    }

    /// Takes over what the exchange goes on with. What is not listened on any more is closed by that.
    fn take(&mut self, next: Next, asker: Asker) {
        let Next { parcel, config, certificate, notes } = next;
        self.keeper.parcel = parcel;
        self.keeper.certificate = certificate;
        // Numbers and names are the exchange's matter.
        self.keeper.log.reload(&Config { log: config.log, ..Config::default() });
        self.tell(asker, Answer::Done(notes));
    }

    fn tell(&mut self, asker: Asker, answer: Answer) {
        let Keeper { log, path, .. } = &mut self.keeper;
        match (asker, answer) {
            (Asker::Guest(guest), answer) => self.tell_guest(guest, answer),
            // The exchange says that it goes on with it.
            (Asker::Signal, Answer::Done(notes)) => {
                notes.iter().for_each(|note| log.say(LogLevel::Warn, note));
            }
            (Asker::Signal, Answer::Failed(why)) => {
                let path = path.display();
                log.say(LogLevel::Error, &format!("SIGHUP, but nothing has changed, because of {path}:"));
                why.lines().for_each(|line| log.say(LogLevel::Error, line));
            }
        }
    }

    /// Answers a command.
    pub(super) fn tell_guest(&mut self, guest: GuestId, answer: Answer) {
        if let Some(door) = &mut self.keeper.door {
            door.answer(guest, answer);
        }
    }

    /// Why the configuration cannot be read, and what helps.
    fn advice(&self, mistakes: &Mistakes) -> String {
        let path = self.keeper.path.display();
        match mistakes.is_forbidden() {
            true => format!(
                "{path} cannot be read by the user that denwa runs as: `denwa reload` reads it as you, or \
                 `chgrp {group} {path}` and `chmod g+r {path}` let denwa read it",
                group = getegid()
            ),
            false => mistakes.to_string(),
        }
    }
}

fn unheard(error: &io::Error) -> String {
    format!("the exchange cannot be asked: {error}")
}
