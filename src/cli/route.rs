//! The command that tells what a number means.

use std::path::PathBuf;
use std::process::ExitCode;

use argh::FromArgs;
use denwa::config::{Config, Label};
use denwa::switch::explain_route;

use super::ask::print;
use super::configuration;
use crate::Done;

/// What happens when a number is dialled: which line of the configuration decides, and what would be sent where.
#[derive(FromArgs)]
#[argh(
    subcommand,
    name = "route",
    example = "{command_name} 0312345678\n{command_name} 8023201 --from 101\n{command_name} 0101 --from peer.tokyo",
    note = "Nobody is called, and no exchange needs to run: it is the configuration alone that is asked.\nNumbers of ours come first; then the longest `route.PATTERN` or prefix of a peer that matches.",
    error_code(1, "the configuration cannot be read, or has no such extension; standard error says why")
)]
pub(crate) struct Route {
    /// what is dialled
    #[argh(positional)]
    number: String,
    /// who dials: an extension, or another exchange (`peer.tokyo`); if not given, the first extension
    #[argh(option, arg_name = "ext")]
    from: Option<String>,
    /// the configuration; if not given, as `denwa run` finds it
    #[argh(option, arg_name = "file")]
    config: Option<PathBuf>,
}

pub(crate) fn route(arguments: Route) -> Done {
    let config = Config::load(&configuration(arguments.config)?)?;
    let first = config.extensions.keys().next().map(|number| number.as_str().to_owned());
    let from = arguments.from.or(first).unwrap_or_default();
    let is_known = config.extensions.contains_key(from.as_str())
        || Label::new(&from).is_some_and(|label| config.neighbours.contains_key(&label));
    if !is_known {
        return Err(format!("there is no extension or exchange {from} in the configuration").into());
    }
    let lines = explain_route(&config, &from, &arguments.number);
    let (rule, outcomes) = lines.split_first().ok_or("nothing is known of it")?;
    let outcomes: String = outcomes.iter().map(|outcome| format!("  {outcome}\n")).collect();
    print(&format!("{} dialled by {from}: {rule}\n{outcomes}", arguments.number))?;
    Ok(ExitCode::SUCCESS)
}
