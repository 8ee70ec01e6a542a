//! Changes of the file that keep every byte of the rest: comments, order, line ends.
//!
//! ```
//! use denwa::config::{Password, add_extension};
//!
//! let file = b"# phones\next.101 = correct-horse\n\necho = 114\n";
//! let edited = add_extension("denwa.conf", file, "102", Some("Study"), &Password::new("battery"))
//!     .expect("nobody has that number");
//! let text = "# phones\next.101 = correct-horse\n\next.102        = battery\next.102.name   = Study\n\
//!             ext.102.digest = md5\n\necho = 114\n";
//! assert_eq!(edited.file, text.as_bytes());
//! ```
//!
//! What a change comes to is read again before it is given back, so nothing is ever written that
//! the exchange would refuse.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;

use super::lines::{self, BYTE_ORDER_MARK, Line};
use super::mistake::{Mistakes, Reason};
use super::{Config, Number, Password, value};

/// A file as it is to be.
#[derive(Debug)]
pub struct Edited {
    /// Its bytes.
    pub file: Vec<u8>,
    /// What they mean.
    pub config: Config,
    /// The extension that the change was about, or the name of the peer.
    pub number: Number,
}

/// Why a file was not changed.
#[derive(Debug, PartialEq)]
pub enum EditError {
    /// It has mistakes, before the change or because of it.
    Mistakes(Mistakes),
    /// What was given cannot be the number of an extension, or its name; a sentence says why.
    Value(String),
    /// The number has a meaning already.
    Taken {
        /// The number.
        number: Number,
        /// What it is.
        by: Meaning,
        /// Where the file says so.
        line: u32,
    },
    /// There is no such extension.
    NoExtension {
        /// The number.
        number: Number,
        /// What it is instead, and where the file says so.
        but: Option<(Meaning, u32)>,
    },
}

/// What a number is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// `ext.N`.
    Extension,
    /// `group.N`.
    Group,
    /// `echo`.
    Echo,
}

impl std::error::Error for EditError {}

impl fmt::Display for EditError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EditError::Mistakes(mistakes) => write!(f, "{mistakes}\nNothing was changed."),
            EditError::Value(why) => f.write_str(why),
            EditError::Taken { number, by, line } => write!(f, "{number} is {by} already, on line {line}"),
            EditError::NoExtension { number, but: None } => write!(f, "there is no extension {number}"),
            EditError::NoExtension { number, but: Some((meaning, line)) } => {
                write!(f, "{number} is no extension, but {meaning}, on line {line}")
            }
        }
    }
}

impl fmt::Display for Meaning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Meaning::Extension => "an extension",
            Meaning::Group => "a group",
            Meaning::Echo => "the echo test",
        })
    }
}

/// `file` with one more extension, behind the paragraph that has the last one. As on a first run it is
/// asked for MD5 alone: all phones know it, and it is safe with a strong password. A file that is
/// wrong only in that it has no extension yet is right for this.
///
/// # Errors
///
/// The number is none or is taken, the name is none, or the file has mistakes.
pub fn add_extension(
    file_name: &str,
    file: &[u8],
    number: &str,
    name: Option<&str>,
    password: &Password,
) -> Result<Edited, EditError> {
    match Config::parse(file_name, file) {
        Err(mistakes)
            if !mistakes.iter().all(|m| matches!(m.reason, Reason::NoExtensions | Reason::Empty)) =>
        {
            return Err(EditError::Mistakes(mistakes));
        }
        _ => {}
    }
    let number = value::number(number).map_err(EditError::Value)?;
    let name = name.map(shown_name).transpose()?;
    let lines = lines::lines(file, &mut Mistakes::new(file_name));
    if let Some((by, line)) = meaning(&lines, &number) {
        return Err(EditError::Taken { number, by, line });
    }

    let at = behind("ext.", file, &lines);
    let (before, after) = file.split_at(at);
    let end = line_end(before);
    let mut new = blank_line_behind(before, end);
    let key = format!("ext.{number}");
    let width = key.len() + ".digest".len();
    let values = [("", Some(password.reveal())), (".name", name.as_deref()), (".digest", Some("md5"))];
    for (below, value) in values.iter().filter_map(|(below, value)| Some((below, (*value)?))) {
        new += &format!("{:width$} = {value}{end}", format!("{key}{below}"));
    }
    checked(file_name, [before, new.as_bytes(), after].concat(), number)
}

/// `file` with another password for an extension, in the place of the one that it has.
///
/// # Errors
///
/// There is no such extension, or the file has mistakes.
pub fn set_password(
    file_name: &str,
    file: &[u8],
    number: &str,
    password: &Password,
) -> Result<Edited, EditError> {
    Config::parse(file_name, file).map_err(EditError::Mistakes)?;
    let number = value::number(number).map_err(EditError::Value)?;
    let lines = lines::lines(file, &mut Mistakes::new(file_name));
    let is_extension = |&(meaning, _): &(Meaning, u32)| meaning == Meaning::Extension;
    let found = meaning(&lines, &number);
    let place = found.filter(is_extension).and_then(|(_, line)| value_of(file, line));
    let Some(Range { start, end }) = place else {
        return Err(EditError::NoExtension { number, but: found });
    };
    let (before, after) = (&file[..start], &file[end..]);
    checked(file_name, [before, password.reveal().as_bytes(), after].concat(), number)
}

/// `file` without an extension: without the lines of its own key and of those below, and a blank line where
/// there would be two. Comments stay.
///
/// # Errors
///
/// There is no such extension, or the file has mistakes; one is to name the extension elsewhere.
pub fn remove_extension(file_name: &str, file: &[u8], number: &str) -> Result<Edited, EditError> {
    Config::parse(file_name, file).map_err(EditError::Mistakes)?;
    let number = value::number(number).map_err(EditError::Value)?;
    let lines = lines::lines(file, &mut Mistakes::new(file_name));
    match meaning(&lines, &number) {
        Some((Meaning::Extension, _)) => {}
        but => return Err(EditError::NoExtension { number, but }),
    }
    let key = format!("ext.{number}");
    let is_of_it = |line: &&Line<'_>| {
        line.key.strip_prefix(&key).is_some_and(|below| below.is_empty() || below.starts_with('.'))
    };
    let gone: BTreeSet<u32> = lines.iter().filter(is_of_it).map(|line| line.number).collect();

    // Mistakes have the numbers of the lines as they are.
    let emptied = each_line(file).map(|(number, _, line)| if gone.contains(&number) { b"\n" } else { line });
    Config::parse(file_name, &emptied.collect::<Vec<_>>().concat()).map_err(EditError::Mistakes)?;

    let body = file.strip_prefix(BYTE_ORDER_MARK).unwrap_or(file);
    let mut left: Vec<&[u8]> = Vec::new();
    // Whether lines went after the last one that is left.
    let mut is_gap = false;
    for (number, _, line) in each_line(body) {
        if gone.contains(&number) {
            is_gap = true;
            continue;
        }
        if std::mem::take(&mut is_gap) && is_blank(line) && left.last().is_some_and(|last| is_blank(last)) {
            left.pop();
        }
        left.push(line);
    }
    if is_gap && left.last().is_some_and(|last| is_blank(last)) {
        left.pop();
    }
    let mark = &file[..file.len() - body.len()];
    checked(file_name, [mark, &left.concat()].concat(), number)
}

/// A name as it will be read. Nothing in it can end its line.
fn shown_name(text: &str) -> Result<String, EditError> {
    let text = text.trim();
    if text.is_empty() {
        return Err(EditError::Value("the name is empty".into()));
    }
    if text.chars().any(char::is_control) {
        return Err(EditError::Value("the name has a control character in it".into()));
    }
    value::name(text).map(|name| name.0).map_err(EditError::Value)
}

pub(super) fn checked(file_name: &str, file: Vec<u8>, number: Number) -> Result<Edited, EditError> {
    let config = Config::parse(file_name, &file).map_err(EditError::Mistakes)?;
    Ok(Edited { file, config, number })
}

/// What a number is, and on which line.
fn meaning(lines: &[Line<'_>], number: &Number) -> Option<(Meaning, u32)> {
    let number = number.as_str();
    lines.iter().find_map(|line| {
        let meaning = match line.key.split_once('.') {
            Some(("ext", this)) if this == number => Meaning::Extension,
            Some(("group", this)) if this == number => Meaning::Group,
            None if line.key == "echo" && line.value == number => Meaning::Echo,
            _ => return None,
        };
        Some((meaning, line.number))
    })
}

/// The lines of a file with their ends, counted from 1, and where each begins.
fn each_line(file: &[u8]) -> impl Iterator<Item = (u32, usize, &[u8])> {
    let begin = |at: &mut usize, line: &[u8]| std::mem::replace(at, *at + line.len());
    let lines = file.split_inclusive(|&byte| byte == b'\n');
    let placed = lines.scan(0, move |at, line| Some((begin(at, line), line)));
    (1..).zip(placed).map(|(number, (at, line))| (number, at, line))
}

/// Where the paragraph ends that has the last line with a key of this kind; without one, the end of the file.
pub(super) fn behind(kind: &str, file: &[u8], lines: &[Line<'_>]) -> usize {
    let of_kind = |line: &&Line<'_>| line.key.starts_with(kind);
    let last = lines.iter().filter(of_kind).map(|line| line.number).max();
    let end = last.and_then(|last| {
        each_line(file).find(|&(number, _, line)| number > last && is_blank(line)).map(|(_, at, _)| at)
    });
    end.unwrap_or(file.len())
}

fn is_blank(line: &[u8]) -> bool {
    line.trim_ascii().is_empty()
}

/// What separates new lines from those before them by a blank one; nothing where there are none.
pub(super) fn blank_line_behind(before: &[u8], end: &str) -> String {
    match before {
        [] => String::new(),
        [.., b'\n'] => end.to_owned(),
        _ => end.repeat(2),
    }
}

/// How lines end before some place.
pub(super) fn line_end(before: &[u8]) -> &'static str {
    let last = before.iter().rposition(|&byte| byte == b'\n').map(|at| &before[..at]);
    if last.is_some_and(|line| line.ends_with(b"\r")) { "\r\n" } else { "\n" }
}

/// Where the value of a line stands in the file.
pub(super) fn value_of(file: &[u8], number: u32) -> Option<Range<usize>> {
    let (_, at, line) = each_line(file).find(|&(this, _, _)| this == number)?;
    let line = std::str::from_utf8(line).ok()?.trim_end();
    let value = line[line.find('=')? + 1..].trim_start();
    Some(at + line.len() - value.len()..at + line.len())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const FILE: &str = "\
# the phones
ext.101        = correct-horse
ext.101.name   = Kitchen
#ext.101.busy  = 102

group.600 = 101
echo      = 114
";

    fn add(file: &str, number: &str) -> Result<String, EditError> {
        let edited = add_extension("denwa.conf", file.as_bytes(), number, None, &Password::new("new"))?;
        Ok(String::from_utf8(edited.file).unwrap())
    }

    fn set(file: &str, number: &str) -> Result<String, EditError> {
        let edited = set_password("denwa.conf", file.as_bytes(), number, &Password::new("new"))?;
        Ok(String::from_utf8(edited.file).unwrap())
    }

    fn remove(file: &str, number: &str) -> Result<String, EditError> {
        let edited = remove_extension("denwa.conf", file.as_bytes(), number)?;
        Ok(String::from_utf8(edited.file).unwrap())
    }

    #[test]
    fn an_extension_stands_behind_the_others() {
        let expected =
            FILE.replace("busy  = 102\n", "busy  = 102\n\next.102        = new\next.102.digest = md5\n");
        assert_eq!(add(FILE, "102").unwrap(), expected);
        // Without a paragraph of its own, at the end.
        let new = "\next.2        = new\next.2.digest = md5\n";
        assert_eq!(add("ext.1 = x\necho = 9\n", "2").unwrap(), format!("ext.1 = x\necho = 9\n{new}"));
        assert_eq!(add("ext.1 = x", "2").unwrap(), format!("ext.1 = x\n{new}"));
        let dos = new.replace('\n', "\r\n");
        assert_eq!(add("ext.1 = x\r\n", "2").unwrap(), format!("ext.1 = x\r\n{dos}"));
        assert_eq!(add("#\r\next.1 = x", "2").unwrap(), format!("#\r\next.1 = x\r\n{dos}"));
    }

    #[test]
    fn the_first_extension_too() {
        assert_eq!(add("", "2").unwrap(), "ext.2        = new\next.2.digest = md5\n");
        let file = "domain = pbx.example.net\n";
        assert_eq!(add(file, "2").unwrap(), format!("{file}\next.2        = new\next.2.digest = md5\n"));
    }

    #[test]
    fn what_cannot_be_added() {
        let told = |number: &str| add(FILE, number).unwrap_err().to_string();
        assert_eq!(told("101"), "101 is an extension already, on line 2");
        assert_eq!(told("600"), "600 is a group already, on line 6");
        assert_eq!(told("114"), "114 is the echo test already, on line 7");
        for wrong in ["", "1 2", "1.2", "電話", "#1", "1\next.9 = x", &"1".repeat(33)] {
            assert!(told(wrong).contains("is not a number; it takes"), "{wrong}");
        }
        let broken = format!("{FILE}ekho = 1\nlogg = info\n");
        let told = add(&broken, "102").unwrap_err().to_string();
        assert!(told.contains("denwa.conf:8: ") && told.contains("denwa.conf:9: "), "{told}");
        assert!(told.ends_with("2 mistakes in denwa.conf.\nNothing was changed."), "{told}");
    }

    #[test]
    fn names_are_names() {
        let named = |name: &str| {
            let edited =
                add_extension("denwa.conf", FILE.as_bytes(), "102", Some(name), &Password::new("new"))?;
            Ok::<_, EditError>(edited.config.extensions["102"].name.clone().unwrap())
        };
        for name in ["Study", " # = \u{2028}電話  x", &"x".repeat(64)] {
            assert_eq!(named(name).unwrap(), name.trim());
        }
        for wrong in ["", " ", "a\next.9 = x", "a\rb", "a\tb", "a\u{85}b", &"x".repeat(65)] {
            assert!(matches!(named(wrong), Err(EditError::Value(_))), "{wrong:?}");
        }
    }

    #[test]
    fn a_password_takes_the_place_of_the_one_before() {
        assert_eq!(set(FILE, "101").unwrap(), FILE.replace("correct-horse", "new"));
        let odd = "\u{feff}ext.1=a = b # c\u{3000}\t\r\next.12 = a\r\n\text.1.name = ext.1 = a";
        assert_eq!(set(odd, "1").unwrap(), odd.replace("=a = b # c", "=new"));
        assert_eq!(set(odd, "12").unwrap(), odd.replace("12 = a", "12 = new"));
        assert_eq!(set("ext.1 = x", "1").unwrap(), "ext.1 = new");
    }

    #[test]
    fn whose_password_cannot_be_set() {
        let told = |number: &str| set(FILE, number).unwrap_err().to_string();
        assert_eq!(told("102"), "there is no extension 102");
        assert_eq!(told("600"), "600 is no extension, but a group, on line 6");
        assert_eq!(told("114"), "114 is no extension, but the echo test, on line 7");
        assert!(told("1 2").contains("is not a number"));
        assert!(matches!(set("", "101"), Err(EditError::Mistakes(_))));
    }

    #[test]
    fn an_extension_goes_with_all_its_lines_and_no_other() {
        let file =
            "ext.1 = x\n\next.2 = x\n# its name\next.2.name = y\next.22 = x\n\next.2.digest=md5\n\n\n#";
        assert_eq!(remove(file, "2").unwrap(), "ext.1 = x\n\n# its name\next.22 = x\n\n\n#");
        assert_eq!(remove(file, "22").unwrap(), file.replace("ext.22 = x\n", ""));
        let marked = "\u{feff}ext.2 = x\r\n\r\next.1 = x";
        assert_eq!(remove(marked, "2").unwrap(), "\u{feff}\r\next.1 = x");
        assert_eq!(remove("ext.1 = x\n\next.2 = x", "2").unwrap(), "ext.1 = x\n");
    }

    #[test]
    fn who_is_needed_elsewhere_stays() {
        let told =
            remove(&format!("{FILE}ext.102 = x\next.102.busy = 101\n"), "101").unwrap_err().to_string();
        assert!(told.contains("denwa.conf:6: group.600: there is no number 101"), "{told}");
        assert!(told.contains("denwa.conf:9: ext.102.busy: there is no number 101"), "{told}");
        let told = remove("ext.1 = x\n#\necho = 9\n", "1").unwrap_err().to_string();
        assert!(
            told.contains("there is no extension, so nobody could call")
                && told.ends_with("Nothing was changed."),
            "{told}"
        );
        let told = |number: &str| remove(FILE, number).unwrap_err().to_string();
        assert_eq!(told("102"), "there is no extension 102");
        assert_eq!(told("114"), "114 is no extension, but the echo test, on line 7");
    }

    #[test]
    fn what_would_be_too_much_is_refused() {
        let most: String = (0..super::super::MAX_EXTENSIONS).map(|n| format!("ext.{n} = x\n")).collect();
        assert!(matches!(add(&most, "x"), Err(EditError::Mistakes(_))));
        let large = format!("ext.1 = x\n#{}", "#".repeat(super::super::MAX_BYTES - 20));
        assert!(matches!(add(&large, "2"), Err(EditError::Mistakes(_))));
    }

    /// A generator that always yields the same.
    struct Random(u64);

    impl Random {
        fn below(&mut self, bound: usize) -> usize {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) as usize % bound
        }

        fn one_of<'a>(&mut self, choice: &[&'a str]) -> &'a str {
            choice[self.below(choice.len())]
        }
    }

    /// A file in all the ways that people and editors write one, and some of its extensions.
    fn any_file(random: &mut Random) -> (String, Vec<String>) {
        let mut lines = Vec::new();
        let mut numbers = Vec::new();
        for n in 0..1 + random.below(6) {
            let number = format!("{}{n}", random.one_of(&["10", "*", "+81-", "a_", "1#"]));
            let space = |random: &mut Random| random.one_of(&["", " ", "  ", "\t", "\u{3000}"]).to_string();
            let password = random.one_of(&["x", "a = b", "ext.1", "p # q", "#", "=", "電話"]);
            let mut line = |key: &str, value: &str| {
                let [a, b, c, d] = std::array::from_fn(|_| space(random));
                lines.push(format!("{a}ext.{number}{key}{b}={c}{value}{d}"));
            };
            line("", password);
            line(".name", "ext.9 = x");
            line(".digest", "both");
            numbers.push(number);
        }
        let others = [
            "",
            "",
            "# ext.5 = x",
            "#",
            "\t",
            "echo = 114",
            "log = warn",
            "group.600 = ",
            "\u{2028}",
            " # x = ",
        ];
        for other in &others[..random.below(others.len() + 1)] {
            let other = match *other {
                "group.600 = " => format!("group.600 = {}", numbers[0]),
                other => other.to_string(),
            };
            lines.insert(random.below(lines.len() + 1), other);
        }
        let mut file = random.one_of(&["", "\u{feff}"]).to_string();
        let usual = random.below(2);
        for line in &lines {
            let is_dos = if random.below(10) == 0 { random.below(2) } else { usual };
            file += line;
            file += ["\n", "\r\n"][is_dos];
        }
        if random.below(3) == 0 {
            file.truncate(file.trim_end_matches(['\r', '\n']).len());
        }
        (file, numbers)
    }

    #[test]
    fn a_change_means_what_it_says_and_leaves_the_rest() {
        let random = &mut Random(1);
        for _ in 0..3_000 {
            let (file, numbers) = any_file(random);
            let before = Config::parse("x", file.as_bytes()).unwrap();
            let password = Password::new("r7mkp2xh9fwd4tzc8ybn");

            let edited = add_extension("x", file.as_bytes(), "777", Some("Study"), &password).unwrap();
            assert_eq!(edited.config, Config::parse("x", &edited.file).unwrap());
            let mut after = edited.config;
            let added = after.extensions.remove("777").unwrap();
            let digest = super::super::DigestOffer::Md5;
            let expected = super::super::Extension {
                name: Some("Study".into()),
                digest,
                ..super::super::Extension::new(password.clone())
            };
            assert_eq!((added, &after), (expected, &before), "{file:?}");
            // What was there is what there is around something new.
            let same = file.bytes().zip(&edited.file).take_while(|(old, new)| old == *new).count();
            let new = edited.file.len() - file.len();
            let is_inserted = |at: usize| {
                file.as_bytes()[..at] == edited.file[..at] && file.as_bytes()[at..] == edited.file[at + new..]
            };
            assert!((0..=same).any(is_inserted), "{file:?}");

            // And back, but for the last line's end.
            let removed = remove_extension("x", &edited.file, "777").unwrap();
            assert_eq!(removed.config, before);
            let text = String::from_utf8(removed.file).unwrap();
            assert_eq!(text.trim_end_matches(['\r', '\n']), file.trim_end_matches(['\r', '\n']));

            let number = &numbers[random.below(numbers.len())];
            let edited = set_password("x", file.as_bytes(), number, &password).unwrap();
            let mut after = edited.config;
            let extension = after.extensions.get_mut(number.as_str()).unwrap();
            let old = std::mem::replace(
                &mut extension.password,
                before.extensions[number.as_str()].password.clone(),
            );
            assert_eq!((old, after), (password.clone(), before.clone()), "{file:?}");
            let text = String::from_utf8(edited.file).unwrap();
            let put_back =
                text.replacen(password.reveal(), before.extensions[number.as_str()].password.reveal(), 1);
            assert_eq!(put_back, file);
        }
    }
}
