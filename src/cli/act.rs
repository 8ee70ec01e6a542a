//! Commands that have the exchange do something.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use argh::FromArgs;
use denwa::console::control::{AskError, EndedCall, Reply, Request, Time, Which};

use super::ask::{print, unexpected, which, with_exchange};
use crate::Done;

/// End calls: one, those of an extension, or all.
#[derive(FromArgs)]
#[argh(
    subcommand,
    name = "hangup",
    example = "{command_name} 17\n{command_name} 101\n{command_name} call 101\n{command_name} all",
    note = "Both phones are told (BYE); callers of calls that ring get 503. Which calls were ended is printed.",
    error_code(1, "there is no such call, or it could not be asked; the reason is on standard error"),
    error_code(2, "no exchange is running")
)]
pub(crate) struct HangUp {
    /// a call as `denwa calls` numbers it, an extension, or `all`; `call 101` if 101 is an extension, too
    #[argh(positional, arg_name = "call|ext|all")]
    which: Vec<String>,
    /// the configuration of the exchange; if not given, as `denwa run` finds it
    #[argh(option, arg_name = "file")]
    config: Option<PathBuf>,
}

/// Do not hear an address for a while, whoever is there, phones of yours included: nothing that comes from it
/// is read, and its connections are closed. With IPv6 that is its whole /64.
#[derive(FromArgs)]
#[argh(
    subcommand,
    name = "ban",
    example = "{command_name} 198.51.100.9\n{command_name} 2001:db8::9 30d",
    note = "It holds until the time is over or `denwa unban`, through a restart as well; `deny` in the configuration
holds forever.
Calls that are up go on; `denwa hangup` ends them. 256 addresses can be banned at a time.",
    error_code(1, "it could not be done; the reason is on standard error"),
    error_code(2, "no exchange is running")
)]
pub(crate) struct Ban {
    /// an IPv4 or IPv6 address
    #[argh(positional)]
    address: IpAddr,
    /// for how long, up to 366d: `90s`, `10m`, `8h`, `30d`; 1d if not given
    #[argh(positional)]
    time: Option<BanTime>,
    /// the configuration of the exchange; if not given, as `denwa run` finds it
    #[argh(option, arg_name = "file")]
    config: Option<PathBuf>,
}

/// Hear an address again at once that you have banned, or that had too many wrong passwords; or all of them.
#[derive(FromArgs)]
#[argh(
    subcommand,
    name = "unban",
    example = "{command_name} 198.51.100.9\n{command_name} all",
    error_code(1, "it is not banned, or it could not be asked; the reason is on standard error"),
    error_code(2, "no exchange is running")
)]
pub(crate) struct Unban {
    /// an address as `denwa bans` shows it, or `all`
    #[argh(positional)]
    address: String,
    /// the configuration of the exchange; if not given, as `denwa run` finds it
    #[argh(option, arg_name = "file")]
    config: Option<PathBuf>,
}

pub(crate) fn hang_up(arguments: HangUp) -> Done {
    let which = which(&arguments.which)?;
    let is_all = which == Which::All;
    with_exchange(arguments.config, |client| {
        let Reply::Ended(ended) = client.ask(&Request::HangUp(which))? else { return Err(unexpected()) };
        if ended.is_empty() && is_all {
            return print("no calls\n");
        }
        if ended.is_empty() {
            return Err(AskError::Refused(
                "there is no such call; `denwa calls` shows those that there are".into(),
            ));
        }
        let line =
            |EndedCall { call, from, to }: &EndedCall| format!("call {call}: {from} → {to} is ended\n");
        print(&ended.iter().map(line).collect::<String>())
    })
}

pub(crate) fn ban(arguments: Ban) -> Done {
    with_exchange(arguments.config, |client| {
        let BanTime(time) = arguments.time.unwrap_or(BanTime(DAY));
        let request = Request::Ban { address: arguments.address, seconds: time.as_secs() };
        let Reply::Sources(sources) = client.ask(&request)? else { return Err(unexpected()) };
        let line = |source: &String| format!("{source} is not heard for {}\n", Time(time));
        print(&sources.iter().map(line).collect::<String>())
    })
}

pub(crate) fn unban(arguments: Unban) -> Done {
    let address = match arguments.address.as_str() {
        "all" => None,
        // As it is shown, an IPv6 one has a length.
        text => match text.strip_suffix("/64").unwrap_or(text).parse() {
            Ok(address) => Some(address),
            Err(_) => return Err(format!("{text} is not an address, nor `all`").into()),
        },
    };
    with_exchange(arguments.config, |client| {
        let Reply::Sources(sources) = client.ask(&Request::Unban(address))? else { return Err(unexpected()) };
        if sources.is_empty() {
            return Err(AskError::Refused("nobody there is banned; `denwa bans` shows who is".into()));
        }
        print(&sources.iter().map(|source| format!("{source} is heard again\n")).collect::<String>())
    })
}

/// How long a ban is that says nothing else.
const DAY: Duration = Duration::from_secs(86_400);

/// How long a ban is: a number of seconds, minutes, hours or days with its unit.
struct BanTime(Duration);

impl argh::FromArgValue for BanTime {
    fn from_arg_value(value: &str) -> Result<BanTime, String> {
        let unit = |unit: char| match unit {
            's' => Some(1),
            'm' => Some(60),
            'h' => Some(3_600),
            'd' => Some(86_400),
            _ => None,
        };
        let seconds = value.char_indices().last().and_then(|(at, last)| {
            let number: u64 = value.get(..at)?.parse().ok()?;
            number.checked_mul(unit(last)?)
        });
        match seconds {
            Some(seconds @ 1..=31_622_400) => Ok(BanTime(Duration::from_secs(seconds))),
            _ => Err(format!("{value}: how long? 90s, 10m, 8h or 30d, for example; 366d at most")),
        }
    }
}
