//! `denwa add`, `denwa passwd` and `denwa remove`: changes of the configuration, and what to type into a phone
//! then.

use std::error::Error;
use std::fs::{self, File};
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use argh::FromArgs;
use denwa::atomic;
use denwa::config::{self, Config, EditError, Edited, Password, Settings};
use denwa::console::{Code, own_addresses};
use rustix::fs::{Access, FlockOperation, access, flock};
use rustix::termios::tcgetwinsize;

use super::{configuration, find_advertised, keeper, random};
use crate::Done;

/// Add an extension with a new password, and show what to type into its phone.
#[derive(FromArgs)]
#[argh(
    subcommand,
    name = "add",
    note = "It is written into the configuration, and an exchange that runs knows of it at once. All else in the\nfile stays as it is; if there is a mistake in it, nothing is changed.",
    note = "The QR code holds the account, password included. The app Grandstream Wave reads it; most others\nread only the address of a web server from one, and want to be typed into.",
    example = "A phone in the living room:\n  $ {command_name} 103 Living room",
    error_code(0, "It is added, and an exchange that runs knows of it."),
    error_code(1, "One of these is not so; standard error says why.")
)]
pub(crate) struct Add {
    /// the configuration; if not said, the one that `denwa run` takes
    #[argh(option, arg_name = "file")]
    config: Option<PathBuf>,
    /// show no QR code
    #[argh(switch)]
    no_qr: bool,
    /// what is dialled to call it: 1 to 32 of 0-9 A-Z a-z * + - _ #
    #[argh(positional)]
    number: String,
    /// what is shown to whom it calls; it needs no quotes
    #[argh(positional)]
    name: Vec<String>,
}

/// Give an extension a new password, and show what to type into its phone.
#[derive(FromArgs)]
#[argh(
    subcommand,
    name = "passwd",
    note = "The password cannot be chosen: it is random, and has 99 bits. A phone that has the old one stays\nregistered until it wants to register again.",
    example = "The phone of 103 was lost:\n  $ {command_name} 103",
    error_code(0, "It has a new one, and an exchange that runs knows of it."),
    error_code(1, "One of these is not so; standard error says why.")
)]
pub(crate) struct Passwd {
    /// the configuration; if not said, the one that `denwa run` takes
    #[argh(option, arg_name = "file")]
    config: Option<PathBuf>,
    /// show no QR code
    #[argh(switch)]
    no_qr: bool,
    /// which extension
    #[argh(positional)]
    number: String,
}

/// Remove an extension. Its phones are not registered any more, and its calls end.
#[derive(FromArgs)]
#[argh(
    subcommand,
    name = "remove",
    note = "The lines of its keys go out of the configuration, and all else in that stays. A group that it is in, or\nan extension that forwards to it, has to be changed first.",
    example = "Nobody needs 103 any more:\n  $ {command_name} 103",
    error_code(0, "It is gone, and an exchange that runs knows of it."),
    error_code(1, "One of these is not so; standard error says why.")
)]
pub(crate) struct Remove {
    /// the configuration; if not said, the one that `denwa run` takes
    #[argh(option, arg_name = "file")]
    config: Option<PathBuf>,
    /// which extension
    #[argh(positional)]
    number: String,
}

/// `denwa add`.
pub(crate) fn add(add: Add) -> Done {
    let Add { config, no_qr, number, name } = add;
    let name = name.join(" ");
    if !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit() || byte == b' ') {
        return Err(format!("`{name}` is no name: one extension is added at a time").into());
    }
    let name = (!name.is_empty()).then_some(name.as_str());
    let (path, password) = (configuration(config)?, new_password()?);
    let changed =
        change(&path, |file_name, file| config::add_extension(file_name, file, &number, name, &password))?;
    tell(&path, changed, "is in", !no_qr)
}

/// `denwa passwd`.
pub(crate) fn passwd(passwd: Passwd) -> Done {
    let Passwd { config, no_qr, number } = passwd;
    let (path, password) = (configuration(config)?, new_password()?);
    let changed = change(&path, |file_name, file| config::set_password(file_name, file, &number, &password))?;
    tell(&path, changed, "has a new password in", !no_qr)
}

/// `denwa remove`.
pub(crate) fn remove(remove: Remove) -> Done {
    let path = configuration(remove.config)?;
    let number = remove.number;
    let Changed { edited, reloaded } =
        change(&path, |file_name, file| config::remove_extension(file_name, file, &number))?;
    let news = in_words(&reloaded);
    writeln!(io::stdout(), "{} is not in {} any more. {news}", edited.number, path.display())?;
    reloaded.map(|_| ExitCode::SUCCESS)
}

fn new_password() -> io::Result<Password> {
    Password::strong(&mut random)
}

/// A change that was made.
pub(super) struct Changed {
    pub(super) edited: Edited,
    /// What became of it in an exchange that runs.
    pub(super) reloaded: Result<Vec<String>, Box<dyn Error>>,
}

/// Changes the file at `path` by a pure function that is given its name and its bytes, and has a running exchange
/// know of it.
pub(super) fn change(
    path: &Path,
    edit: impl FnOnce(&str, &[u8]) -> Result<Edited, EditError>,
) -> Result<Changed, Box<dyn Error>> {
    // Where this cannot be had, nobody else can have it either.
    let _alone = alone(path);
    let file = Config::read(path)?;
    let edited = edit(&path.display().to_string(), &file)?;
    let is_writable = access(path, Access::WRITE_OK).map_err(io::Error::from);
    is_writable.and_then(|()| atomic::replace(path, &edited.file)).map_err(|error| {
        let hint = match error.kind() {
            io::ErrorKind::PermissionDenied => "; who may change it is shown by `ls -l`",
            // The name of what is mounted belongs to somebody else, as that of a file in a container.
            io::ErrorKind::ResourceBusy => "; it is mounted by itself: mount its folder instead",
            _ => "",
        };
        format!("{} cannot be written: {error}{hint}", path.display())
    })?;
    let reloaded = keeper::reload_if_running(path, &edited.config, &edited.file);
    Ok(Changed { edited, reloaded })
}

/// What became of a change in an exchange that runs.
pub(super) fn in_words(reloaded: &Result<Vec<String>, Box<dyn Error>>) -> String {
    match reloaded {
        Ok(news) => news.join("\n"),
        Err(_) => "The exchange that runs does not know of it.".into(),
    }
}

/// Waits until no other change of the file at `path` is under way, and keeps others waiting.
fn alone(path: &Path) -> io::Result<File> {
    loop {
        let file = File::open(path)?;
        flock(&file, FlockOperation::LockExclusive)?;
        let (held, named) = (file.metadata()?, fs::metadata(path)?);
        // Whoever had it before may have put another file in its place.
        if (held.dev(), held.ino()) == (named.dev(), named.ino()) {
            return Ok(file);
        }
    }
}

/// Says what was done to an extension, and what to type into its phone.
fn tell(path: &Path, changed: Changed, done: &str, with_code: bool) -> Done {
    let Changed { edited: Edited { mut config, number, .. }, reloaded } = changed;
    find_advertised(&mut config);
    let own = own_addresses();
    let mut settings = Settings::all(&config, &own);
    let Some(settings) = settings.find(|settings| *settings.number() == number) else {
        return Ok(ExitCode::SUCCESS);
    };
    let news = in_words(&reloaded);
    let mut text = format!("{number} {done} {}. {news}\nType into its phone:\n\n{settings}", path.display());
    if with_code && io::stdout().is_terminal() {
        text += &code(&settings);
    }
    // In one write, for `head` and its like.
    let shown = io::stdout().write_all(text.as_bytes());
    shown
        .map_err(|error| format!("{number} {done} {}, but that cannot be shown: {error}", path.display()))?;
    reloaded.map(|_| ExitCode::SUCCESS)
}

/// The QR code for the terminal, or why there is none.
fn code(settings: &Settings<'_>) -> String {
    let Some(code) = settings.account().as_deref().and_then(Code::new) else {
        return String::new();
    };
    let columns = tcgetwinsize(io::stdout()).map_or(0, |size| usize::from(size.ws_col));
    // Some terminals do not know.
    if (1..code.width()).contains(&columns) {
        return format!("\nA QR code takes {} columns; this terminal has {columns}.\n", code.width());
    }
    format!("\nOr scan it with the app Grandstream Wave:\n\n{code}")
}
