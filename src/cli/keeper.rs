//! What the keeper is asked: to go on with the configuration as it is now, or with another program; to stop.

use std::error::Error;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use argh::FromArgs;
use denwa::config::{self, Config};
use denwa::keeper::{Answer, AskError, Request, ask};

use super::ask::{NOT_RUNNING, state_folder};
use crate::Done;

/// Have a running denwa go on with the configuration as it is now. Calls are not touched, but for those of
/// extensions that are not in it any more. If there is a mistake in it, all of them are told, and nothing
/// changes.
#[derive(FromArgs)]
#[argh(
    subcommand,
    name = "reload",
    note = "`state`, `user` and `sandbox` take a restart; all else takes effect at once. SIGHUP to `denwa run`\ndoes the same with the file that it was started on, if its user may read it.",
    error_code(1, "it cannot go on with it, and nothing has changed; the reason is on standard error"),
    error_code(2, "no denwa is running"),
    example = "After a change of denwa.conf:\n  $ {command_name}",
    example = "Where it was started with another file:\n  $ {command_name} --config /etc/denwa/office.conf"
)]
pub(crate) struct Reload {
    /// the configuration; if not said, that of `denwa run`
    #[argh(option, arg_name = "file")]
    config: Option<PathBuf>,
}

/// Have a new program take over from a running denwa. Calls go on, also those of phones on TLS; connections by TCP
/// stand, and those by TLS end: such phones come back by themselves, and cannot be called until they have. Nothing
/// else that is sent meanwhile is lost. If the new one does not come up, the old one goes on, and it is said why.
#[derive(FromArgs)]
#[argh(
    subcommand,
    name = "upgrade",
    note = "The process that a service manager started stays, and is the old program until it is started again; what\nserves is the new one. The file must be in the folder of the one that runs, and whoever denwa runs as\nmust be allowed to execute it. Calls that ring are waited for, but no longer than 5 s; then they end.",
    error_code(1, "the old one still serves; the reason is on standard error"),
    error_code(2, "no denwa is running"),
    example = "Put the new program in the place of the old one, and have it take over:\n  $ mv denwa.new /usr/local/bin/denwa\n  $ {command_name}"
)]
pub(crate) struct Upgrade {
    /// the new program; if not said, what is now where the running one was started from
    #[argh(positional)]
    binary: Option<PathBuf>,
    /// the configuration that it was started with; if not said, that of `denwa run`
    #[argh(option, arg_name = "file")]
    config: Option<PathBuf>,
}

/// Stop a running denwa, and wait until it is gone. Registrations and calls are kept for when it starts again.
#[derive(FromArgs)]
#[argh(
    subcommand,
    name = "stop",
    note = "Without --hangup nobody is told: who is in a call hears silence until denwa runs again, and then goes on\ntalking. A service manager may start it again at once; there, use its own command (`systemctl stop denwa`,\n`rc-service denwa stop`).",
    error_code(1, "it cannot be asked; the reason is on standard error"),
    error_code(2, "no denwa is running"),
    example = "End all calls first:\n  $ {command_name} --hangup"
)]
pub(crate) struct Stop {
    /// end all calls first, within 5 s
    #[argh(switch)]
    hangup: bool,
    /// the configuration that it was started with; if not said, that of `denwa run`
    #[argh(option, arg_name = "file")]
    config: Option<PathBuf>,
}

/// `denwa reload`.
pub(crate) fn reload(reload: Reload) -> Done {
    let none = "there is no denwa.conf here and no /etc/denwa/denwa.conf; name it with `--config FILE`";
    let path = reload.config.or_else(config::find).ok_or(none)?;
    let file = Config::read(&path)?;
    let config = Config::parse(&path.display().to_string(), &file)?;
    if let Ok(Some(other)) = other_configuration(&path, &config) {
        return Err(format!(
            "the denwa that runs in {} was started on {other}: to have it go on with another file takes a restart",
            config.state.display()
        )
        .into());
    }
    let notes = match ask(&config.state, &Request::Reload(file)) {
        Ok(Answer::Done(notes)) => notes,
        other => return failed(other),
    };
    let mut text = format!("denwa goes on with {}.\n", path.display());
    for note in notes.into_iter().chain(config.remarks()) {
        text += &format!("  Look: {note}\n");
    }
    io::stdout().write_all(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// `denwa upgrade`.
pub(crate) fn upgrade(upgrade: Upgrade) -> Done {
    let state = state_folder(upgrade.config)?;
    // The keeper's folder may be another one.
    let binary = upgrade.binary.map(|binary| {
        let whole = binary.canonicalize();
        whole.map_err(|error| format!("{}: {error}", binary.display()))
    });
    let notes = match ask(&state, &Request::Upgrade(binary.transpose()?)) {
        Ok(Answer::Done(notes)) => notes,
        other => return failed(other),
    };
    let mut text = "The new program serves.\n".to_owned();
    for note in notes {
        text += &format!("  Look: {note}\n");
    }
    io::stdout().write_all(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// `denwa stop`.
pub(crate) fn stop(stop: Stop) -> Done {
    match ask(&state_folder(stop.config)?, &Request::Stop { hang_up: stop.hangup }) {
        // The connection ends with the keeper.
        Err(AskError::Ended) => {
            writeln!(io::stdout(), "denwa is stopped.")?;
            Ok(ExitCode::SUCCESS)
        }
        other => failed(other),
    }
}

/// Has an exchange that was started on the configuration at `path` go on with it; it is `config`, and its file
/// `file`. Says in sentences what came of that, also where there is none.
///
/// # Errors
///
/// There is one, and it does not.
pub(super) fn reload_if_running(
    path: &Path,
    config: &Config,
    file: &[u8],
) -> Result<Vec<String>, Box<dyn Error>> {
    let other = match other_configuration(path, config) {
        Err(AskError::Nobody { .. }) => return Ok(vec!["The next start of denwa will know of it.".into()]),
        other => other?,
    };
    if let Some(other) = other {
        return Ok(vec![format!("The exchange that runs was started on {other}, and knows nothing of it.")]);
    }
    match ask(&config.state, &Request::Reload(file.to_vec()))? {
        Answer::Done(notes) => {
            let looks = notes.into_iter().map(|note| format!("  Look: {note}"));
            Ok([String::from("The exchange that runs knows of it.")].into_iter().chain(looks).collect())
        }
        Answer::Failed(why) => Err(why.into()),
    }
}

/// On what a running exchange was started that uses the state folder of `config`, if that is another file than
/// the one at `path`: two configurations may name the same folder.
fn other_configuration(path: &Path, config: &Config) -> Result<Option<String>, AskError> {
    let started_on = match ask(&config.state, &Request::Whereabouts)? {
        Answer::Done(path) => path.into_iter().next().unwrap_or_default(),
        Answer::Failed(_) => String::new(),
    };
    let id = |path: &Path| fs::metadata(path).map(|file| (file.dev(), file.ino())).ok();
    let is_same = id(path).is_some_and(|own| id(Path::new(&started_on)) == Some(own));
    Ok((!is_same).then_some(started_on))
}

/// Says why nothing was done.
fn failed(answer: Result<Answer, AskError>) -> Done {
    match answer {
        Err(error @ AskError::Nobody { .. }) => {
            writeln!(io::stderr(), "{error}")?;
            Ok(ExitCode::from(NOT_RUNNING))
        }
        Err(error) => Err(error.into()),
        Ok(Answer::Failed(why)) => Err(why.into()),
        Ok(Answer::Done(_)) => Err("denwa answers something else than it was asked".into()),
    }
}
