//! Commands that show what happens as it happens.

use std::path::PathBuf;

use argh::FromArgs;
use denwa::console::control::{self, Reply, Request, Which};

use super::ask::{json_line, paint, put, unexpected, which, width, with_exchange};
use crate::Done;

/// SIP messages as they come and go, one line each, until Ctrl-C: when, who, which way, the first line, CSeq
/// and the beginning of the Call-ID. Passwords, answers to challenges and keys are never shown.
#[derive(FromArgs)]
#[argh(
    subcommand,
    name = "trace",
    example = "{command_name}\n{command_name} 101\n{command_name} call 17 --full",
    note = "101 ─▶ denwa  came from the phone of 101, which is registered
101 ◀─ denwa  went to it
101? ─▶ denwa came from somebody who says to be 101
Who reads more slowly than messages come loses some, and is told how many. It costs the exchange nothing
while nobody traces.",
    error_code(1, "it could not be asked, or the exchange stopped; the reason is on standard error"),
    error_code(2, "no exchange is running")
)]
pub(crate) struct Trace {
    /// an extension, or a call as `denwa calls` numbers it (`call 17` if 17 is an extension, too); if not given,
    /// everything
    #[argh(positional, arg_name = "ext|call")]
    which: Vec<String>,
    /// all of each message
    #[argh(switch)]
    full: bool,
    /// the configuration of the exchange; if not given, as `denwa run` finds it
    #[argh(option, arg_name = "file")]
    config: Option<PathBuf>,
    /// an object in JSON for each message, one a line
    #[argh(switch)]
    json: bool,
}

pub(crate) fn trace(arguments: Trace) -> Done {
    let which = match arguments.which.as_slice() {
        [] => Which::All,
        words => which(words)?,
    };
    with_exchange(arguments.config, |client| {
        client.ask(&Request::Trace { which, full: arguments.full })?;
        client.wait(None)?;
        loop {
            let text = match client.hear()? {
                Reply::Traced(traced) if arguments.json => json_line(&traced),
                Reply::Traced(traced) => control::ladder(&traced, width(), paint()),
                Reply::Missed(count) if arguments.json => json_line(&serde_json::json!({ "missed": count })),
                Reply::Missed(count) => format!("... {count} messages came faster than this was read\n"),
                _ => return Err(unexpected()),
            };
            if !put(&text)? {
                return Ok(());
            }
        }
    })
}
