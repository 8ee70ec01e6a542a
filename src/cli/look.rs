//! Commands that show how the exchange is.

use std::path::PathBuf;

use argh::FromArgs;
use denwa::console::control::{self, Reply, Request};

use super::ask::{json, paint, print, unexpected, width, with_exchange};
use crate::Done;

/// How the exchange is, on one screen: how long it has been up, where it listens, how many extensions are
/// registered, what it refused lately; and at the end what you should do, if something is not right.
#[derive(FromArgs)]
#[argh(
    subcommand,
    name = "status",
    example = "{command_name}\n{command_name} --json | jq .registered",
    note = "`it died` stands there only if the exchange ended without being told to; it was started again then.\nTimes are in UTC. With --json, times since 1970 end in _unix and durations in _s, both in seconds.",
    error_code(1, "it could not be asked; the reason is on standard error"),
    error_code(2, "no exchange is running")
)]
pub(crate) struct Status {
    /// the configuration of the exchange; if not given, as `denwa run` finds it
    #[argh(option, arg_name = "file")]
    config: Option<PathBuf>,
    /// an object in JSON
    #[argh(switch)]
    json: bool,
}

/// Who is registered: a line for each phone, and one for each extension that has none.
#[derive(FromArgs)]
#[argh(
    subcommand,
    name = "phones",
    example = "{command_name}\n{command_name} --json | jq '.[] | select(.phones == []) | .extension'",
    note = "ADDRESS  where the phone sends from, and is reached
VIA      udp, tcp or tls
ALIVE    how long it took to answer the last question whether it is there (`keep-alive`); `yes`: its
         connection stands; `?`: it was not asked yet; `silent`: it did not answer the last one; `away`:
         its connection is closed, so it cannot be called until it comes back
SINCE    how long it has been registered from there; since the last restart at most
LEFT     how long that holds if it does not register again
NAT      whether it gives another address than the one that it sends from
PHONE    what it calls itself; not known after a restart, until it registers again",
    error_code(1, "it could not be asked; the reason is on standard error"),
    error_code(2, "no exchange is running")
)]
pub(crate) struct Phones {
    /// the configuration of the exchange; if not given, as `denwa run` finds it
    #[argh(option, arg_name = "file")]
    config: Option<PathBuf>,
    /// a list in JSON
    #[argh(switch)]
    json: bool,
}

/// Who talks to whom at this moment, and how well both are heard: for each call a line, and below it one for
/// each stream of each of its two legs.
#[derive(FromArgs)]
#[argh(
    subcommand,
    name = "calls",
    example = "{command_name}\n{command_name} --json | jq '.[].legs[].streams[].measured.loss_percent'",
    note = "LEG         whose phone it is
CODEC       what both phones agreed on
PACKETS     how many came from it
LOST        how many of a hundred are missing; from 1 % on people notice
JITTER      how unevenly they come (RFC 3550); phones even out some 50 ms
ROUND TRIP  from here to the phone and back, if it tells (RTCP); from 300 ms on people talk at once
HEARD       when the last one came: a leg that is not heard now has lost its way here
FROM        where they come from; until any has come, where the phone is",
    error_code(1, "it could not be asked; the reason is on standard error"),
    error_code(2, "no exchange is running")
)]
pub(crate) struct Calls {
    /// the configuration of the exchange; if not given, as `denwa run` finds it
    #[argh(option, arg_name = "file")]
    config: Option<PathBuf>,
    /// a list in JSON
    #[argh(switch)]
    json: bool,
}

/// What went wrong lately, and what to do about it: requests that were refused or not answered, calls that
/// came to nothing, sound that was not heard; each with the key of the configuration that governs it. What
/// happened again is counted; the newest is last.
#[derive(FromArgs)]
#[argh(
    subcommand,
    name = "why",
    example = "{command_name}\n{command_name} 101\n{command_name} 192.0.2.31",
    note = "It is remembered as long as the exchange runs: 256 entries of phones that are registered and of calls,
128 of others who name an extension, 64 of strangers. None of these pushes out one of the others.
If a call does not work and nothing stands here, `denwa trace` shows whether packets come at all.",
    error_code(1, "it could not be asked; the reason is on standard error"),
    error_code(2, "no exchange is running")
)]
pub(crate) struct Why {
    /// an extension, a number that was dialled, or an address; if not given, all
    #[argh(positional, arg_name = "number")]
    whom: Option<String>,
    /// the configuration of the exchange; if not given, as `denwa run` finds it
    #[argh(option, arg_name = "file")]
    config: Option<PathBuf>,
    /// a list in JSON
    #[argh(switch)]
    json: bool,
}

/// Who is not heard at this moment, and for how long still.
#[derive(FromArgs)]
#[argh(
    subcommand,
    name = "bans",
    note = "What `deny` and `allow` keep out stands in the configuration, and not here.",
    error_code(1, "it could not be asked; the reason is on standard error"),
    error_code(2, "no exchange is running")
)]
pub(crate) struct Bans {
    /// the configuration of the exchange; if not given, as `denwa run` finds it
    #[argh(option, arg_name = "file")]
    config: Option<PathBuf>,
    /// a list in JSON
    #[argh(switch)]
    json: bool,
}

pub(crate) fn status(arguments: Status) -> Done {
    with_exchange(arguments.config, |client| {
        let Reply::Status(status) = client.ask(&Request::Status)? else { return Err(unexpected()) };
        match arguments.json {
            true => print(&json(&control::status_json(&status))),
            false => print(&control::status(&status, paint())),
        }
    })
}

pub(crate) fn phones(arguments: Phones) -> Done {
    with_exchange(arguments.config, |client| {
        let phones = client.phones()?;
        match arguments.json {
            true => print(&json(&phones)),
            false => print(&control::phones(&phones, width(), paint())),
        }
    })
}

pub(crate) fn calls(arguments: Calls) -> Done {
    with_exchange(arguments.config, |client| {
        let calls = client.calls()?;
        match arguments.json {
            true => print(&json(&calls)),
            false => print(&control::calls(&calls, width(), paint())),
        }
    })
}

pub(crate) fn why(arguments: Why) -> Done {
    with_exchange(arguments.config, |client| {
        let request = Request::Why { whom: arguments.whom.clone() };
        let Reply::Why(incidents) = client.ask(&request)? else { return Err(unexpected()) };
        match arguments.json {
            true => print(&json(&control::why_json(&incidents))),
            false => print(&control::why(&incidents, arguments.whom.as_deref(), paint())),
        }
    })
}

pub(crate) fn bans(arguments: Bans) -> Done {
    with_exchange(arguments.config, |client| {
        let Reply::Bans(bans) = client.ask(&Request::Bans)? else { return Err(unexpected()) };
        match arguments.json {
            true => print(&json(&bans)),
            false => print(&control::bans(&bans, paint())),
        }
    })
}
