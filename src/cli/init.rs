//! `denwa init` and `denwa settings`: a configuration to begin with, and what to type into its phones.

use std::error::Error;
use std::fs::DirBuilder;
use std::io::{self, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use argh::FromArgs;
use denwa::atomic;
use denwa::config::{self, Config, MAX_BYTES, Settings};
use denwa::console::{Code, own_addresses};
use rustix::process::geteuid;

use super::{STANDARD, configuration, find_advertised, random};
use crate::Done;

/// Where root's configuration is.
const OF_THE_SYSTEM: &str = "/etc/denwa/denwa.conf";

/// Write a configuration to begin with, without starting anything.
#[derive(FromArgs)]
#[argh(
    subcommand,
    name = "init",
    note = "It has two extensions with random passwords and an echo test, and explains itself. With --with it is the\nlines of that file, in which `random` stands for the password of an extension:\n\n  ext.101        = random\n  ext.101.name   = Kitchen\n  ext.101.digest = md5",
    note = "A file that is there already is never touched. Only its owner may read it. `denwa settings` shows what to\ntype into the phones.",
    example = "For a server that is being set up:\n  $ {command_name} --config /etc/denwa/denwa.conf --with denwa.lines",
    error_code(0, "It is written."),
    error_code(1, "It is not: there is one, or the lines have mistakes, of which all are told.")
)]
pub(crate) struct Init {
    /// where to write it; if not said, /etc/denwa/denwa.conf for root, denwa.conf in this folder for others
    #[argh(option, arg_name = "file")]
    config: Option<PathBuf>,
    /// lines to write instead; `-` is standard input
    #[argh(option, arg_name = "file")]
    with: Option<PathBuf>,
}

/// Show what to type into the phones: user, password, server, port and transport of each extension.
#[derive(FromArgs)]
#[argh(
    subcommand,
    name = "settings",
    note = "The passwords are those of the configuration, and shown in the clear. With `advertise = auto`, the public\naddress is that of the exchange, if it runs and may be asked.",
    example = "Keep them where only root reads them:\n  $ umask 077; {command_name} > /root/denwa-phones.txt",
    error_code(0, "They are shown."),
    error_code(1, "There is no such extension, or the configuration cannot be read or has mistakes.")
)]
pub(crate) struct ShowSettings {
    /// the configuration; if not said, the one that `denwa run` takes
    #[argh(option, arg_name = "file")]
    config: Option<PathBuf>,
    /// with a QR code for each, which the app Grandstream Wave reads
    #[argh(switch)]
    qr: bool,
    /// of one extension alone
    #[argh(positional)]
    number: Option<String>,
}

/// `denwa init`.
pub(crate) fn init(init: Init) -> Done {
    let is_root = geteuid().is_root();
    let usual = if is_root { OF_THE_SYSTEM } else { config::HERE };
    let path = init.config.unwrap_or_else(|| usual.into());
    match init.with {
        None => {
            // Who is not root cannot have the default state folder.
            let state = match is_root {
                true => None,
                false => Some(std::path::absolute(&path)?.with_file_name(config::STATE_HERE)),
            };
            create(&path, |path| config::first_run(path, state.as_deref(), random))?;
        }
        Some(lines) => {
            let name = if lines == Path::new(STANDARD) {
                "standard input".into()
            } else {
                lines.display().to_string()
            };
            let given = read(&lines).map_err(|error| format!("{name} cannot be read: {error}"))?;
            let filled = config::fill_in(&name, &given, random)?;
            create(&path, |path| atomic::create(path, &filled))?;
        }
    }
    let (path, count) = (path.display(), Config::load(&path)?.extensions.len());
    let extensions = if count == 1 { "extension" } else { "extensions" };
    writeln!(
        io::stdout(),
        "{path} is written, with {count} {extensions}. `denwa settings --config {path}` shows what to type into the phones."
    )?;
    Ok(ExitCode::SUCCESS)
}

/// Writes a new configuration by what is given, and its folder if there is none.
fn create(path: &Path, write: impl FnOnce(&Path) -> io::Result<()>) -> Result<(), Box<dyn Error>> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty() && !folder.exists()) {
        let made = DirBuilder::new().mode(0o755).create(folder);
        made.map_err(|error| format!("the folder {} cannot be made: {error}", folder.display()))?;
    }
    write(path).map_err(|error| {
        let shown = path.display();
        match error.kind() {
            io::ErrorKind::AlreadyExists => format!("{shown} is there already, and stays as it is").into(),
            _ => format!("{shown} cannot be written: {error}").into(),
        }
    })
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let beyond = MAX_BYTES as u64 + 1;
    match path == Path::new(STANDARD) {
        true => io::stdin().take(beyond).read_to_end(&mut bytes)?,
        false => std::fs::File::open(path)?.take(beyond).read_to_end(&mut bytes)?,
    };
    Ok(bytes)
}

/// `denwa settings`.
pub(crate) fn settings(arguments: ShowSettings) -> Done {
    let path = configuration(arguments.config)?;
    let mut config = Config::load(&path)?;
    if let Some(number) = &arguments.number
        && !config.extensions.contains_key(number.as_str())
    {
        return Err(format!("there is no extension {number} in {}", path.display()).into());
    }
    find_advertised(&mut config);
    let own = own_addresses();
    let wanted = |settings: &Settings<'_>| {
        arguments.number.as_deref().is_none_or(|number| number == settings.number().as_str())
    };
    let mut text = String::new();
    for settings in Settings::all(&config, &own).filter(wanted) {
        if !text.is_empty() {
            text.push('\n');
        }
        text += &settings.to_string();
        if let Some(code) = settings.account().as_deref().and_then(Code::new).filter(|_| arguments.qr) {
            text += &format!("\n{code}");
        }
    }
    // In one write, for `head` and its like.
    io::stdout().write_all(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}
