//! `denwa backup` and `denwa restore`: one file with configuration and state.

use std::error::Error;
use std::fs::{self, File, OpenOptions};
use std::io::{self, IsTerminal, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use argh::FromArgs;
use denwa::atomic::{self, Rights};
use denwa::config::{self, Config};
use denwa::console::{Things, Utc};
use denwa::journal::backup::{self, Backup as Kept};
use denwa::journal::{self, Lock, NoLock, State};
use denwa::keeper::{AskError, Request, ask};
use denwa::sandbox::{User, prepare_state};
use denwa::tls;
use rustix::process::geteuid;

use super::{Done, STANDARD, configuration};

/// Where root's configuration belongs.
const SYSTEM: &str = "/etc/denwa/denwa.conf";

/// Write configuration and state into one file, from which `denwa restore` brings them back, here or on
/// another machine. The exchange may run meanwhile.
#[derive(FromArgs)]
#[argh(
    subcommand,
    name = "backup",
    note = "The file holds all passwords, and only you may read it. It has the configuration, what the exchange\nremembers of phones, and the certificate for TLS that it has made itself, with its key: friends and phones\nknow it by that. Calls, call records and the files of `tls.cert` and `tls.key` are not in it.",
    example = "A file for each day of the week:\n  $ {command_name} /root/denwa-$(date +%a).backup",
    example = "To another machine:\n  $ {command_name} - | ssh backup.example.net 'umask 077; cat > denwa.backup'",
    error_code(0, "It is written and on the disk."),
    error_code(1, "It is not; standard error says why.")
)]
pub(crate) struct Backup {
    /// the configuration; if not said, the one that `denwa run` takes
    #[argh(option, arg_name = "file")]
    config: Option<PathBuf>,
    /// where to write it: an older backup there is replaced, another file is not; `-` for standard output
    #[argh(positional)]
    file: PathBuf,
}

/// Bring back configuration and state from a backup. The exchange must not run: `denwa stop`.
#[derive(FromArgs)]
#[argh(
    subcommand,
    name = "restore",
    note = "All of the backup is checked before anything is changed. What was there is kept beside it, as\n`denwa.conf.before-restore`, `journal.before-restore` and `tls-own.before-restore` (the certificate that\ndenwa has made; where none is in the backup, the one that is there stays).",
    note = "Without --config: what `denwa run` would take; if that is nothing, /etc/denwa/denwa.conf for root, and\ndenwa.conf in the current folder for others.",
    example = "On a new machine:\n  $ {command_name} denwa.backup",
    error_code(0, "It is done; the next start of denwa has all of it."),
    error_code(1, "Nothing was changed; standard error says why.")
)]
pub(crate) struct Restore {
    /// where to put the configuration
    #[argh(option, arg_name = "file")]
    config: Option<PathBuf>,
    /// do not ask before something is replaced
    #[argh(switch)]
    force: bool,
    /// the backup; `-` for standard input
    #[argh(positional)]
    file: PathBuf,
}

/// `denwa backup`.
pub(crate) fn backup(arguments: Backup) -> Done {
    let Backup { config, file: to } = arguments;
    let is_standard = to.as_os_str() == STANDARD;
    if is_standard && io::stdout().is_terminal() {
        return Err(
            "a backup is nothing for a terminal: name a file, or lead the output into something".into()
        );
    }
    let path = configuration(config)?;
    let file = Config::read(&path)?;
    let config = Config::parse(&path.display().to_string(), &file)?;
    let (journal, state) = backup::copy(&config.state)?.unzip();
    let tls = tls::copy_own(&config.state).map_err(|error| {
        format!(
            "{}, the certificate for TLS, cannot be used: {error}. Without it, denwa makes another one at its next \
             start, which friends and phones do not know",
            config.state.join(tls::OWN).display()
        )
    })?;
    let made = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64;
    let kept = Kept {
        made,
        by: denwa::VERSION.into(),
        config: file.as_slice().into(),
        journal: journal.as_deref().map(Into::into),
        tls: tls.as_deref().map(Into::into),
    };
    let octets = kept.write();
    if is_standard {
        io::stdout().write_all(&octets)?;
        return Ok(ExitCode::SUCCESS);
    }
    put(&to, &octets).map_err(|error| format!("{} cannot be written: {error}", to.display()))?;
    let state = contents(&config, state.as_ref(), tls.is_some());
    writeln!(io::stdout(), "{} holds {} with {state}; {} bytes", to.display(), path.display(), octets.len())?;
    Ok(ExitCode::SUCCESS)
}

/// Writes a backup to a file, in the place of an older one at most.
fn put(to: &Path, octets: &[u8]) -> io::Result<()> {
    match OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(to) {
        Ok(file) => {
            let mut begin = Vec::new();
            if !file.metadata()?.is_file() {
                return Err(io::Error::other("it is no file; `-` stands for standard output"));
            }
            file.take(16).read_to_end(&mut begin)?;
            if !Kept::begins(&begin) {
                return Err(io::Error::other(
                    "there is another file of that name, which is no backup of denwa",
                ));
            }
            atomic::put(&fs::canonicalize(to)?, octets, Rights::PRIVATE)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => atomic::put(to, octets, Rights::PRIVATE),
        Err(error) => Err(error),
    }
}

/// `denwa restore`.
pub(crate) fn restore(arguments: Restore) -> Done {
    let Restore { config: named, force, file: from } = arguments;
    let is_standard = from.as_os_str() == STANDARD;
    let name = if is_standard { "standard input".into() } else { from.display().to_string() };
    let found = Found::read(&name, is_standard, &from)?;
    let config_path = place(named)?;
    let state = &found.config.state;
    let journal_path = state.join(journal::NAME);

    // Until all is done, no exchange may start on these folders.
    let other = Config::load(&config_path).ok().map(|old| old.state).filter(|other| other != state);
    let _idle = [Some(state), other.as_ref()].into_iter().flatten().map(|folder| idle(folder));
    let _idle = _idle.collect::<Result<Vec<_>, _>>()?;

    let is_other = |path: &Path, new: Option<&[u8]>| {
        let old = File::open(path).and_then(backup::read_all);
        // What cannot be read is worth being asked about.
        old.map_or_else(|error| error.kind() != io::ErrorKind::NotFound, |old| Some(&*old) != new)
    };
    let tls_path = state.join(tls::OWN);
    let new = [
        Some((&*config_path, Some(&*found.kept.config.0))),
        Some((&*journal_path, found.journal())),
        // One that is there stays where there is none in the backup: denwa would make another one at once.
        found.tls().map(|tls| (&*tls_path, Some(tls))),
    ];
    let replaced = new.into_iter().flatten().filter_map(|(path, new)| is_other(path, new).then_some(path));
    let replaced: Vec<&Path> = replaced.collect();
    if !force && !replaced.is_empty() {
        confirm(&replaced, is_standard)?;
    }

    let failed = |path: &Path, error: io::Error| format!("{} cannot be written: {error}", path.display());
    if replaced.contains(&&*config_path) || !config_path.exists() {
        put_config(&config_path, &found.kept.config.0).map_err(|error| failed(&config_path, error))?;
    }
    put_state(&found, replaced.contains(&&*tls_path)).map_err(|error| {
        format!("{}; {} was restored", failed(state, io::Error::other(error)), config_path.display())
    })?;

    let mut text = format!(
        "{} is as it was on {} UTC (denwa {}), with {}.\n",
        config_path.display(),
        Utc(found.kept.made / 1_000),
        found.kept.by,
        contents(&found.config, found.state.as_ref(), found.tls().is_some()),
    );
    for path in replaced {
        text += &format!("What was {} is {} now.\n", path.display(), backup::before(path).display());
    }
    io::stdout().write_all(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// A backup that is right in all its parts.
struct Found {
    kept: Kept,
    config: Config,
    /// What its journal comes to.
    state: Option<State>,
}

impl Found {
    /// Reads and checks the backup called `name`.
    fn read(name: &str, is_standard: bool, from: &Path) -> Result<Found, Box<dyn Error>> {
        let octets = match is_standard {
            true => backup::read_all(io::stdin().lock()),
            false => File::open(from).and_then(backup::read_all),
        };
        let octets = octets.map_err(|error| format!("{name} cannot be read: {error}"))?;
        let kept = Kept::read(&octets).map_err(|why| format!("{name} {why}. Nothing was changed."))?;
        let config = Config::parse(&format!("the configuration in {name}"), &kept.config.0)
            .map_err(|mistakes| format!("{mistakes}\nNothing was changed."))?;
        let state = kept.journal.as_ref().map(|journal| match backup::replay(&journal.0) {
            Ok((end, state)) if end == journal.0.len() => Ok(state),
            Err(Some(version)) => Err(format!(
                "the journal in {name} is of version {version}, and this denwa knows {}: restore it with the newer \
                 denwa that made it. Nothing was changed.",
                journal::VERSION
            )),
            _ => Err(format!("the journal in {name} is damaged. Nothing was changed.")),
        });
        if let Some(tls) = &kept.tls {
            tls::about_own(&tls.0).map_err(|why| {
                format!("the certificate for TLS in {name} cannot be used: {why}. Nothing was changed.")
            })?;
        }
        Ok(Found { config, state: state.transpose()?, kept })
    }

    fn journal(&self) -> Option<&[u8]> {
        self.kept.journal.as_ref().map(|journal| &*journal.0)
    }

    fn tls(&self) -> Option<&[u8]> {
        self.kept.tls.as_ref().map(|tls| &*tls.0)
    }
}

/// Where the configuration belongs. A link that leads there stays.
fn place(named: Option<PathBuf>) -> Result<PathBuf, Box<dyn Error>> {
    let path = named.or_else(config::find).unwrap_or_else(|| match geteuid().is_root() {
        true => SYSTEM.into(),
        false => config::HERE.into(),
    });
    match path.is_symlink() {
        true => fs::canonicalize(&path).map_err(|error| format!("{}: {error}", path.display()).into()),
        false => Ok(path),
    }
}

/// Keeps exchanges from a folder that none uses.
fn idle(folder: &Path) -> Result<Option<Lock>, String> {
    let name = folder.display();
    let lock = match Lock::hold(folder) {
        Ok(lock) => lock,
        Err(NoLock::Held(process)) => {
            let process = process.map_or(String::new(), |process| format!(", process {process}"));
            return Err(format!("an exchange uses {name}{process}: stop it first. Nothing was changed."));
        }
        Err(NoLock::Impossible) => {
            return Err(format!(
                "whether an exchange uses {name} cannot be seen by this user: restore as root. Nothing was changed."
            ));
        }
    };
    // It may have died a moment ago, and be started again in another.
    match ask(folder, &Request::Whereabouts) {
        Err(AskError::Nobody { .. }) => Ok(lock),
        _ => Err(format!("a denwa runs that uses {name}: stop it first. Nothing was changed.")),
    }
}

/// Asks a person whether some files may be replaced.
fn confirm(files: &[&Path], is_standard: bool) -> Result<(), Box<dyn Error>> {
    let files: Vec<String> = files.iter().map(|path| path.display().to_string()).collect();
    let files = files.join(" and ");
    if is_standard || !io::stdin().is_terminal() {
        return Err(format!(
            "{files} would be replaced, and there is nobody to ask: say --force. Nothing was changed."
        )
        .into());
    }
    write!(io::stderr(), "{files} will be replaced, and kept as *.before-restore. Go on? [y/N] ")?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    match answer.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err("Nothing was changed.".into()),
    }
}

/// Puts the configuration into its place, with the rights of the one before; without one, only its owner
/// may read it, which is enough for the process that reads it.
fn put_config(path: &Path, file: &[u8]) -> io::Result<()> {
    let rights = match Rights::of(path) {
        Ok(rights) => rights,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            path.parent().map_or(Ok(()), fs::create_dir_all)?;
            Rights::PRIVATE
        }
        Err(error) => return Err(error),
    };
    atomic::set_aside(path, &backup::before(path))?;
    atomic::put(path, file, rights)
}

/// Puts journal and certificate into the state folder, which is made if there is none, so that whoever the exchange
/// runs as can use them. `is_other`: a certificate that is there is another one.
fn put_state(found: &Found, is_other: bool) -> Result<(), Box<dyn Error + Send + Sync>> {
    let folder = &found.config.state;
    if found.journal().is_some() || found.tls().is_some() {
        let user = User::find(found.config.user.as_deref())?;
        prepare_state(folder, user.as_ref())?;
    } else if !folder.is_dir() {
        return Ok(());
    }
    // It is as the folder is: whoever can use that is who the exchange runs as.
    let rights = Rights { owner: Rights::of(folder)?.owner, ..Rights::PRIVATE };
    match found.tls() {
        Some(tls) if is_other => backup::put(folder, tls::OWN, Some(tls), rights)?,
        // The same again, with the right owner; what an earlier restore has set aside stays.
        Some(tls) => atomic::put(&folder.join(tls::OWN), tls, rights)?,
        None => {}
    }
    Ok(backup::put(folder, journal::NAME, found.journal(), rights)?)
}

/// What there is in a backup, in words.
fn contents(config: &Config, state: Option<&State>, has_certificate: bool) -> String {
    let extensions = Things(config.extensions.len() as u64, "extension");
    let certificate = if has_certificate { ", and the certificate for TLS" } else { "" };
    match state {
        Some(state) => {
            format!("{extensions} and {}{certificate}", Things(state.bindings.len() as u64, "registration"))
        }
        None => format!("{extensions}, and no journal{certificate}"),
    }
}
