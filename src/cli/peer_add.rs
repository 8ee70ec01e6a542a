//! `denwa peer add`: a friend's exchange, from what it publishes of itself.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use argh::FromArgs;
use denwa::config::{self, Account, Config, NewPeer, Number, Password, Transport, WebAddress};
use denwa::mantela::{self, Document, Fetched, PATH, Proposal, Wishes, propose};

use super::edit::{Changed, change, in_words};
use super::peer::here;
use super::{configuration, find_advertised, random};
use crate::Done;

/// Join a friend's exchange: read the mantela.json that it publishes, show what that comes to, and add it to the
/// configuration.
#[derive(FromArgs)]
#[argh(
    subcommand,
    name = "add",
    note = "The address is that of the document, or of the server that has it at /.well-known/mantela.json. Nothing\nis written before you agree, and the whole configuration is checked before it is replaced.",
    note = "A password is agreed upon between the two of you, and is never in a mantela.json. Without one, both\nexchanges know each other by their addresses. `--password random` makes one up and shows it. What is\nsaid on a command line can be seen by others on this machine, and stays in the shell's history: you can\nadd it later, in the file.",
    example = "A friend's exchange:\n  $ {command_name} https://tokyo.example/.well-known/mantela.json",
    error_code(0, "It is in the configuration, and an exchange that runs knows of it."),
    error_code(1, "It is not; standard error says why.")
)]
pub(crate) struct Add {
    /// where the friend's mantela.json is
    #[argh(positional)]
    url: String,
    /// how it is called in the file (peer.NAME); if not said, as it calls itself
    #[argh(option, arg_name = "name")]
    name: Option<String>,
    /// what you dial for it; if not said, the first prefix that it wishes for and that is free
    #[argh(option, arg_name = "digits")]
    prefix: Option<String>,
    /// the user that both prove themselves as
    #[argh(option, arg_name = "name")]
    user: Option<String>,
    /// the password that they do it with, or `random`
    #[argh(option, arg_name = "password")]
    password: Option<String>,
    /// it may be in a private network
    #[argh(switch)]
    private: bool,
    /// ask nothing
    #[argh(switch)]
    yes: bool,
    /// the configuration; if not said, the one that `denwa run` takes
    #[argh(option, arg_name = "file")]
    config: Option<PathBuf>,
}

pub(super) fn add(add: Add) -> Done {
    let address = address(&add.url)?;
    let wishes = wishes(&add)?;
    let path = configuration(add.config)?;
    let file = Config::read(&path)?;
    // Before anybody is asked: with mistakes in it nothing could be added.
    let config = Config::parse(&path.display().to_string(), &file)?;
    let wrong = |why: String| format!("{address}: {why}. Nothing was changed.");
    let Fetched { octets, from } =
        mantela::fetch(&address, wishes.private).map_err(|error| wrong(error.to_string()))?;
    let document = mantela::read(&octets).map_err(|error| wrong(error.to_string()))?;
    let Proposal { peer, notes } = propose(&document, &from, &wishes, &file).map_err(wrong)?;

    io::stdout().write_all(shown(&document, &from, &peer, &notes, &config, &path).as_bytes())?;
    if !add.yes {
        confirm(&path)?;
    }
    // It may have changed while somebody was thinking.
    let Changed { mut edited, reloaded } =
        change(&path, |file_name, file| config::add_peer(file_name, file, &peer))?;
    find_advertised(&mut edited.config);
    let text = format!(
        "peer.{} is in {}. {}\n\n{}",
        peer.name,
        path.display(),
        in_words(&reloaded),
        other_side(&edited.config, &peer)
    );
    io::stdout().write_all(text.as_bytes())?;
    reloaded.map(|_| ExitCode::SUCCESS)
}

/// The document's address; that of a server alone stands for where its document is.
fn address(url: &str) -> Result<WebAddress, String> {
    let whole = match url.split_once("://") {
        Some((_, rest)) if !rest.trim_end_matches('/').contains('/') => {
            format!("{}{PATH}", url.trim_end_matches('/'))
        }
        Some(_) => url.to_owned(),
        None => {
            return Err("an address begins with https:// or http://, like \
                        https://tokyo.example/.well-known/mantela.json"
                .into());
        }
    };
    WebAddress::parse(&whole)
}

fn wishes(add: &Add) -> Result<Wishes, Box<dyn std::error::Error>> {
    let number = |what: &str, text: &Option<String>| match text {
        None => Ok(None),
        Some(text) => match Number::new(text).filter(|_| !text.starts_with('#')) {
            Some(number) => Ok(Some(number)),
            None => Err(format!("--{what} takes 1 to 32 of 0-9 A-Z a-z * + - _")),
        },
    };
    let account = match (&add.user, &add.password) {
        (None, None) => None,
        (Some(user), Some(password)) => {
            let is_word =
                |text: &str| !text.is_empty() && text.trim() == text && !text.contains(char::is_control);
            if !is_word(user) || !is_word(password) {
                return Err(
                    "the user or the password is empty, or has blanks around it or a control character \
                            in it"
                        .into(),
                );
            }
            let password = match password.as_str() {
                "random" => Password::strong(&mut random)?,
                password => Password::new(password),
            };
            Some(Account { user: user.clone(), password })
        }
        _ => return Err("a user and a password belong together: say both, --user and --password".into()),
    };
    let (name, prefix) = (number("name", &add.name)?, number("prefix", &add.prefix)?);
    Ok(Wishes { name, prefix, account, private: add.private })
}

/// What would be added, for somebody who is to agree. All of the friend's words are harmless by now.
fn shown(
    document: &Document,
    from: &WebAddress,
    peer: &NewPeer,
    notes: &[String],
    config: &Config,
    path: &Path,
) -> String {
    let about = &document.about_me;
    let hosts: Vec<String> = peer.hosts.iter().map(|host| format!("sip:{host}")).collect();
    let mut text = format!("{from} says:\n\n");
    // Writing to a string cannot fail.
    let _ = writeln!(text, "    name        {}", about.name.shortened(64));
    let _ = writeln!(text, "    identifier  {}", about.identifier.shortened(64));
    let _ = writeln!(text, "    reached at  {}", hosts.join(" "));
    let _ = writeln!(text, "    prefix      {}", peer.prefix);
    let numbers: Vec<String> = document
        .extensions
        .iter()
        .take(5)
        .map(|extension| format!("{} {}", extension.extension.shortened(16), extension.name.shortened(24)))
        .collect();
    if !numbers.is_empty() {
        let more = document.extensions.len().saturating_sub(numbers.len());
        let more = if more > 0 { format!(", and {more} more") } else { String::new() };
        let _ = writeln!(text, "    numbers     {}{more}", numbers.join(", "));
    }
    for note in notes {
        let _ = writeln!(text, "\n  Look: {note}");
    }
    let _ = writeln!(text, "\nThese lines would be added to {}:\n", path.display());
    for line in peer.lines() {
        let _ = writeln!(text, "    {}", without_password(&line, peer));
    }
    let _ = writeln!(text, "\nYour phones would dial {} and a number of theirs.", peer.prefix);
    if peer.listed.is_some() && !config.mantela.listen.is_empty() {
        text += "Your own mantela.json would tell of it; without .mantela and .identifier it does not.\n";
    }
    text
}

/// A line as it is shown: a password that was chosen by its owner needs no second witness.
fn without_password(line: &str, peer: &NewPeer) -> String {
    match &peer.account {
        Some(account) if line.starts_with(&format!("peer.{}.password", peer.name)) => {
            let kept = line.len().saturating_sub(account.password.reveal().len());
            format!("{}***", line.get(..kept).unwrap_or_default())
        }
        _ => line.to_owned(),
    }
}

/// Asks whoever is at the terminal.
fn confirm(path: &Path) -> Result<(), Box<dyn std::error::Error>> {
    if !io::stdin().is_terminal() {
        return Err("There is nobody to ask: say --yes. Nothing was changed.".into());
    }
    write!(io::stderr(), "Add them to {}? [y/N] ", path.display())?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    match answer.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err("Nothing was changed.".into()),
    }
}

/// What the friend does.
fn other_side(config: &Config, peer: &NewPeer) -> String {
    let mut text = String::from("Your friend has to know you as well. ");
    let ours = config.mantela.prefixes.first();
    let (name, prefix) = ("you", ours.map_or("80", Number::as_str));
    let host = match (&config.domain, here(config, Transport::Udp)) {
        (Some(domain), place) if domain.contains(['.', ':']) => match place.map(|at| at.port()) {
            Some(port) if port != 5060 => format!("{domain}:{port}"),
            _ => domain.clone(),
        },
        (_, Some(place)) => place.to_string(),
        (_, None) => "YOUR-ADDRESS:5060".into(),
    };
    if !config.mantela.listen.is_empty() {
        text += "With a denwa there, `denwa peer add` and the address of your own mantela.json do it, or these \
                 lines:\n\n";
    } else {
        text += "With a denwa there, these lines do it:\n\n";
    }
    let _ = writeln!(text, "    peer.{name} = sip:{host}");
    let _ = writeln!(text, "    peer.{name}.prefix = {prefix}");
    match &peer.account {
        Some(account) => {
            let _ = writeln!(text, "    peer.{name}.user = {}", account.user);
            let _ = writeln!(text, "    peer.{name}.password = {}", account.password.reveal());
        }
        None => {
            let _ = write!(
                text,
                "\nWithout a password each of you knows the other by the address. To have one, agree on it, and both \
                 of you add\n\n    peer.NAME.user = WORD\n    peer.NAME.password = A-LONG-PASSWORD\n"
            );
        }
    }
    let _ = write!(
        text,
        "\nWhat goes into an Asterisk there is shown by `denwa peer show {} --asterisk`. Whether it answers, by\n`denwa \
         peer show {}`.\n",
        peer.name, peer.name
    );
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_server_stands_for_its_document() {
        let whole = |url: &str| address(url).map(|address| address.to_string());
        let expected = "https://tokyo.example/.well-known/mantela.json";
        for url in ["https://tokyo.example", "https://tokyo.example/", expected] {
            assert_eq!(whole(url).unwrap(), expected);
        }
        assert_eq!(whole("http://[2001:db8::1]:8080/m.json").unwrap(), "http://[2001:db8::1]:8080/m.json");
        assert!(whole("tokyo.example").unwrap_err().contains("begins with https://"));
        assert!(whole("ftp://tokyo.example").unwrap_err().contains("does not begin with"));
    }
}
