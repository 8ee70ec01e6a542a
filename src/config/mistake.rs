//! What is wrong with a file: every mistake at once, each with its line, its key and a reason.

use std::fmt;
use std::io;

use super::help;

/// At most this many mistakes are kept; those beyond are only counted.
pub const MAX_KEPT: usize = 1000;

/// All mistakes of one file, in the order of its lines. Passwords never appear in them.
#[derive(Clone, Debug, PartialEq)]
pub struct Mistakes {
    file: String,
    kept: Vec<Mistake>,
    beyond: usize,
}

/// One mistake. `Display` gives the key, the reason, and how the key is written.
#[derive(Clone, Debug, PartialEq)]
pub struct Mistake {
    /// The line, counted from 1; `None` where it is the whole file that is wrong.
    pub line: Option<u32>,
    /// The key as it stands in the file, at most 64 printable characters; empty where the line has none.
    pub key: String,
    /// Why.
    pub reason: Reason,
}

/// The rule that was broken.
#[derive(Clone, Debug, PartialEq)]
pub enum Reason {
    /// The file could not be read, for this reason of the system's.
    Unreadable(io::ErrorKind),
    /// It is larger than [`super::MAX_BYTES`].
    TooLarge,
    /// It has no line that says anything.
    Empty,
    /// It is in UTF-16, as some editors save.
    Utf16,
    /// The line is not UTF-8.
    NotUtf8,
    /// The line holds a control character.
    ControlCharacter(char),
    /// The line has no `=`.
    NoEquals,
    /// The line has a full-width `＝` instead of `=`.
    FullWidth,
    /// The line is a `[section]`.
    Section,
    /// The line is a comment of another language.
    OtherComment,
    /// There is nothing before the `=`.
    NoKey,
    /// The key has a blank in it.
    BlankInKey,
    /// The key has an empty part: `ext..name`.
    EmptyPart,
    /// Nothing is configured by this key.
    Unknown {
        /// What was probably meant.
        nearest: Option<String>,
        /// What there is at this place.
        known: &'static [&'static str],
    },
    /// `ext` or `group` without a number.
    NumberMissing,
    /// `rate` alone.
    PartMissing {
        /// What must follow.
        known: &'static [&'static str],
    },
    /// A key that takes one value is there twice.
    SaidTwice {
        /// The other line.
        first: u32,
    },
    /// There is nothing after the `=`.
    NoValue,
    /// A `#` after a list, a number or a duration.
    Comment,
    /// A comma in a list.
    Comma,
    /// Too few or too many words.
    Words {
        /// How many there should be.
        wanted: usize,
        /// How many there are.
        found: usize,
    },
    /// The value is not what the key takes; the sentence says why.
    Value(String),
    /// None of the few words that the key takes.
    NotOneOf {
        /// What is there, at most 32 printable characters.
        word: String,
        /// What was probably meant.
        nearest: Option<&'static str>,
        /// The words that the key takes.
        known: &'static [&'static str],
    },
    /// Shorter or longer than the key allows.
    OutOfRange {
        /// The least and the most, as they would be written.
        allowed: &'static str,
    },
    /// Two ends of a range that are the wrong way round.
    Reversed,
    /// Too few ports for one audio call.
    TooFewPorts,
    /// The relay's ports contain one where SIP is spoken.
    PortsOverlap {
        /// That port.
        port: u16,
        /// Its line, where it is not the default.
        line: Option<u32>,
    },
    /// An address that nobody can be reached at.
    UselessAddress,
    /// A second advertised address of the same family.
    FamilyTwice {
        /// The line of the other one.
        first: u32,
    },
    /// A word is in a list with others, where it makes no sense.
    NotAlone {
        /// The word.
        word: &'static str,
    },
    /// The same thing is in a list twice.
    ListedTwice {
        /// The word that is too much.
        word: String,
        /// The line of the other one.
        first: u32,
    },
    /// One `listen` is for all addresses, another for one of them, and both are for the same port.
    Overlap {
        /// This one.
        word: String,
        /// The other one.
        with: String,
        /// Its line.
        first: u32,
    },
    /// `listen` names one port for TCP and for TLS, which is a stream of TCP as well.
    OnePort {
        /// This one.
        word: String,
        /// The other one.
        with: String,
        /// Its line.
        first: u32,
    },
    /// One of two keys that belong together.
    Alone {
        /// The other one.
        other: &'static str,
    },
    /// More of something than denwa takes.
    TooMany {
        /// How many it takes.
        most: usize,
    },
    /// More networks than denwa takes, in all lists together.
    TooManyNetworks,
    /// `stealth = yes` without a `domain`.
    NoDomain,
    /// There are lists below a `listen.NAME` that has no places.
    NoPlaces,
    /// There are keys below an extension that has no password.
    NoPassword,
    /// There are keys below a peer or trunk that has no address.
    NoAddress,
    /// A trunk's URI has no user.
    NoUser,
    /// A peer's URI has one.
    UserOfPeer,
    /// A user without a password, or a password without a user.
    HalfAccount,
    /// Where a peer's document is without its identifier, or its identifier alone.
    HalfListed,
    /// What is served would lack this: the key that says it.
    NotSaid(&'static str),
    /// A trunk that should register, without a password.
    NothingToRegisterBy,
    /// A peer that is known by its address alone, and may call at our cost.
    CostsWithoutPassword,
    /// A peer or trunk that is nowhere in the file.
    NoSuchNeighbour(String),
    /// What is dialled would go two ways.
    PrefixTwice {
        /// The other key.
        other: String,
        /// Its line.
        first: u32,
    },
    /// Emergency calls would go where nobody has promised to take them.
    NoEmergency(String),
    /// The file has no extension.
    NoExtensions,
    /// A number that is nowhere in the file.
    NoSuchNumber(String),
    /// A group member that is something else than an extension.
    NotAnExtension(String),
    /// A number that has another meaning already.
    NumberTaken {
        /// What it is: `extension`, `group` or `echo test`.
        by: &'static str,
        /// Where.
        first: u32,
    },
}

impl Mistakes {
    /// Whether the file may not be read by whoever tried.
    pub fn is_forbidden(&self) -> bool {
        let forbidden = Reason::Unreadable(io::ErrorKind::PermissionDenied);
        self.kept.iter().any(|mistake| mistake.reason == forbidden)
    }

    pub(super) fn new(file: &str) -> Mistakes {
        Mistakes { file: printable(file, 256), kept: Vec::new(), beyond: 0 }
    }

    pub(super) fn add(&mut self, line: Option<u32>, key: &str, reason: Reason) {
        if self.kept.len() == MAX_KEPT {
            self.beyond += 1;
            return;
        }
        let key = if may_be_shown(key) { printable(key, 64) } else { String::new() };
        self.kept.push(Mistake { line, key, reason });
    }

    /// Nothing but this one mistake.
    pub(super) fn only(file: &str, reason: Reason) -> Mistakes {
        let mut mistakes = Mistakes::new(file);
        mistakes.add(None, "", reason);
        mistakes
    }

    /// In the order of the lines; what concerns the whole file comes last.
    pub(super) fn sort(&mut self) {
        self.kept.sort_by_key(|mistake| mistake.line.unwrap_or(u32::MAX));
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.kept.len() + self.beyond
    }
}

impl std::ops::Deref for Mistakes {
    type Target = [Mistake];

    fn deref(&self) -> &[Mistake] {
        &self.kept
    }
}

impl std::error::Error for Mistakes {}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for mistake in &self.kept {
            match mistake.line {
                Some(line) => writeln!(f, "{}:{line}: {mistake}", self.file)?,
                None => writeln!(f, "{}: {mistake}", self.file)?,
            }
        }
        if self.beyond > 0 {
            writeln!(f, "{}: and {} more like these", self.file, self.beyond)?;
        }
        match self.count() {
            1 => write!(f, "1 mistake in {}.", self.file),
            count => write!(f, "{count} mistakes in {}.", self.file),
        }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        write!(f, "{}", self.reason)?;
        match self.reason {
            Reason::Value(_)
            | Reason::Words { .. }
            | Reason::NoValue
            | Reason::NumberMissing
            | Reason::PartMissing { .. }
            | Reason::OutOfRange { .. } => match help::example(&self.key) {
                Some(example) => write!(f, " (for example `{example}`)"),
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Unreadable(io::ErrorKind::NotFound) => f.write_str("there is no such file"),
            Reason::Unreadable(io::ErrorKind::IsADirectory) => f.write_str("is a directory, not a file"),
            Reason::Unreadable(io::ErrorKind::PermissionDenied) => {
                f.write_str("may not be read by this user; `ls -l` shows who may")
            }
            Reason::Unreadable(why) => write!(f, "cannot be read: {why}"),
            Reason::TooLarge => write!(
                f,
                "is larger than {} KiB; a configuration for {} extensions fits in that",
                super::MAX_BYTES / 1024,
                super::MAX_EXTENSIONS
            ),
            Reason::Empty => {
                f.write_str("says nothing; one line is enough to begin with: `ext.101 = a-long-password`")
            }
            Reason::Utf16 => f.write_str("is saved as UTF-16; save it as UTF-8"),
            Reason::NotUtf8 => f.write_str("this line is not UTF-8; save the file as UTF-8"),
            Reason::ControlCharacter(c) => write!(
                f,
                "this line holds an invisible control character (U+{:04X}); delete it",
                u32::from(*c)
            ),
            Reason::NoEquals => f.write_str(
                "this line has no `=`; every line is `key = value`, or a comment that begins with `#`",
            ),
            Reason::FullWidth => f.write_str("this line has a full-width `＝`; write the plain `=`"),
            Reason::Section => f.write_str(
                "there are no sections; every line stands for itself, like `ext.101.name = Kitchen`",
            ),
            Reason::OtherComment => f.write_str("comments begin with `#`"),
            Reason::NoKey => f.write_str("there is no key before the `=`"),
            Reason::BlankInKey => f.write_str("a key has no blanks; is the `=` missing after this word?"),
            Reason::EmptyPart => f.write_str("this key has an empty part, beside one of its dots"),
            Reason::Unknown { nearest: Some(nearest), .. } => {
                write!(f, "unknown key; did you mean `{nearest}`?")
            }
            Reason::Unknown { known, .. } => {
                f.write_str("unknown key")?;
                let mut known = known.iter().filter(|key| !key.is_empty());
                if let Some(first) = known.next() {
                    write!(f, "; what can stand here is: {first}")?;
                    known.try_for_each(|key| write!(f, ", {key}"))?;
                }
                Ok(())
            }
            Reason::NumberMissing => f.write_str("a number must follow this key"),
            Reason::PartMissing { known } => {
                write!(f, "a dot and one of these must follow this key: {}", known.join(", "))
            }
            Reason::SaidTwice { first } => {
                write!(f, "is on line {first} already; keep one of the two")
            }
            Reason::NoValue => f.write_str("there is nothing after the `=`"),
            Reason::Comment => {
                f.write_str("comments need a line of their own: what comes after `=` is all value")
            }
            Reason::Comma => f.write_str("a list has blanks between its words, and no commas"),
            Reason::Words { wanted: 1, found } => {
                write!(f, "takes one word, and there are {found}")
            }
            Reason::Words { wanted, found } => {
                write!(f, "takes {wanted} words, and there are {found}")
            }
            Reason::Value(why) => f.write_str(why),
            Reason::NotOneOf { word, nearest: Some(nearest), .. } => {
                write!(f, "`{word}` is not known here; did you mean `{nearest}`?")
            }
            Reason::NotOneOf { word, known, .. } => {
                write!(f, "`{word}` is not one of: {}", known.join(", "))
            }
            Reason::OutOfRange { allowed } => write!(f, "must be {allowed}"),
            Reason::Reversed => f.write_str("the first is greater than the second; swap them"),
            Reason::TooFewPorts => f.write_str(
                "too few ports: an audio call takes four, in two pairs that begin with an even port",
            ),
            Reason::PortsOverlap { port, line } => {
                write!(f, "contains port {port}, where SIP is spoken by UDP (")?;
                match line {
                    Some(line) => write!(f, "line {line})"),
                    None => f.write_str("the default of `listen`)"),
                }
            }
            Reason::UselessAddress => {
                f.write_str("nobody can be reached at this address; write the one that the world sees")
            }
            Reason::FamilyTwice { first } => write!(
                f,
                "a second address of this family; there is one on line {first}, and one IPv4 and one \
                 IPv6 address are the most"
            ),
            Reason::NotAlone { word } => write!(f, "`{word}` stands alone: nothing else can be beside it"),
            Reason::ListedTwice { word, first } => {
                write!(f, "`{word}` is there already, on line {first}")
            }
            Reason::Overlap { word, with, first } => write!(
                f,
                "`{word}` and `{with}` on line {first} overlap: the one without an address serves all"
            ),
            Reason::OnePort { word, with, first } => write!(
                f,
                "`{word}` and `{with}` on line {first} want the same port, and TLS is TCP as well; choose another"
            ),
            Reason::Alone { other } => {
                write!(f, "this needs {other} beside it; without both, denwa makes a certificate of its own")
            }
            Reason::TooMany { most } => write!(f, "too many; {most} are the most"),
            Reason::TooManyNetworks => {
                write!(f, "too many networks; {} in the whole file are the most", super::MAX_NETWORKS)
            }
            Reason::NoDomain => f.write_str(
                "strangers are known by not using the domain, and there is none; add `domain = any-word`, \
                 and in the phones this machine's address as outbound proxy",
            ),
            Reason::NoPlaces => {
                f.write_str("these places are nowhere: they need a line `listen.NAME = udp:PORT tcp:PORT`")
            }
            Reason::NoPassword => {
                f.write_str("this extension has no password: it needs a line `ext.NUMBER = password`")
            }
            Reason::NoAddress => {
                f.write_str("this exchange is nowhere: it needs a line `peer.NAME = sip:HOST` or `trunk.NAME = sip:USER@HOST`")
            }
            Reason::NoUser => f.write_str("who we are there is missing; write sip:USER@HOST"),
            Reason::UserOfPeer => f.write_str(
                "a friend's exchange is called by numbers, and not by a user; write sip:HOST, and `.user` and `.password` \
                 if you have agreed on them",
            ),
            Reason::HalfAccount => f.write_str("a user and a password belong together; one of the two is missing"),
            Reason::HalfListed => f.write_str("`.mantela` and `.identifier` belong together; one of the two is missing"),
            Reason::NotSaid("mantela.identifier") => f.write_str(
                "others tell exchanges apart by an identifier, for which a domain would do that is a name of the \
                 Internet; add `mantela.identifier`",
            ),
            Reason::NotSaid(key) => write!(f, "what is served has to say this too: add `{key}`"),
            Reason::NothingToRegisterBy => f.write_str("nobody can register without a password; add `.password`"),
            Reason::CostsWithoutPassword => f.write_str(
                "whoever may call at your cost must have a password or a certificate (`.pin`): an address alone can be \
                 forged",
            ),
            Reason::NoSuchNeighbour(label) => write!(f, "there is no {label}"),
            Reason::PrefixTwice { other, first } => {
                write!(f, "this prefix is that of {other} on line {first} already")
            }
            Reason::NoEmergency(label) => write!(
                f,
                "emergency calls go only where somebody takes them: `{label}.emergency = yes` says so of a trunk"
            ),
            Reason::NoExtensions => f.write_str(
                "there is no extension, so nobody could call; add one: `ext.101 = a-long-password`",
            ),
            Reason::NoSuchNumber(number) => {
                write!(f, "there is no number {number}: no extension, no group, and not the echo test")
            }
            Reason::NotAnExtension(number) => {
                write!(f, "{number} is not an extension, and a group rings extensions only")
            }
            Reason::NumberTaken { by, first } => {
                write!(f, "this number is taken: it is the {by} on line {first}")
            }
        }
    }
}

/// Whether what stands before a `=` can be a key, and not a password on a line of its own: those
/// that programs make end in `=` often.
fn may_be_shown(key: &str) -> bool {
    let first = key.split('.').next().unwrap_or(key);
    first.bytes().all(|b| b.is_ascii_lowercase() || matches!(b, b'-' | b'_')) || help::resembles(first)
}

/// `text` without anything that could disturb a terminal, at most `most` characters.
pub(super) fn printable(text: &str, most: usize) -> String {
    let mut shown: String = text.chars().take(most).map(|c| if c.is_control() { '?' } else { c }).collect();
    if text.chars().nth(most).is_some() {
        shown.push('…');
    }
    shown
}
