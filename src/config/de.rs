//! From lines to keys with values.
//!
//! The sorted lines are the tree: a [`Node`] is a run of lines whose keys begin with the same
//! parts. A struct of `keys!` is read from the parts that follow (its key `""` is the node's own value), `Each`
//! from whatever parts there are, a list from the words of all lines of a key, any other value from the one
//! line of a key.
//!
//! A person wants to read all mistakes. So nothing here fails: every value is wrapped in [`Said`], which notes a
//! mistake where it happens, remembers the line, and goes on.
//!
//! What is done for each kind of value is little, and what is done for each key less; the rest knows neither, so
//! that it is in the program once.

use std::cell::RefCell;

use super::lines::Line;
use super::mistake::{Mistakes, Reason, printable};
use super::nearest::nearest;

/// Reads `T` from sorted lines. Everything that is wrong is in `mistakes` afterwards.
pub(super) fn read<T: Keys>(lines: &[Line<'_>], mistakes: &RefCell<Mistakes>) -> T {
    let mut keys = T::default();
    keys.read(Node { lines, at: 0, mistakes });
    keys
}

/// What the file says somewhere: on which line, and what it came to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Said<T> {
    /// Counted from 1; of several lines the first.
    pub(super) line: u32,
    /// `None` where it was wrong, which is noted already.
    pub(super) value: Option<T>,
}

impl<T: Value> Said<T> {
    pub(super) fn of(word: Word<'_>) -> Said<T> {
        let value = T::read(word).map_err(|reason| word.note(reason)).ok();
        Said { line: word.line.number, value }
    }
}

/// What can be said by one word, or by one line.
pub(super) trait Value: Sized {
    /// # Errors
    ///
    /// What is wrong with it.
    fn read(word: Word<'_>) -> Result<Self, Reason>;
}

/// Two words on one line.
impl<A: Value, B: Value> Value for (A, B) {
    fn read(word: Word<'_>) -> Result<Self, Reason> {
        let (first, second) = word.two()?;
        Ok((A::read(first)?, B::read(second)?))
    }
}

/// One of several words on a line, each with its own mistakes.
impl<T: Value> Value for Said<T> {
    fn read(word: Word<'_>) -> Result<Self, Reason> {
        Ok(Said::of(word))
    }
}

/// What is read from the lines of a key and those below it; default is what a file says that has none.
pub(super) trait Keys: Default {
    fn read(&mut self, node: Node<'_>);
}

impl<T: Value> Keys for Option<Said<T>> {
    fn read(&mut self, node: Node<'_>) {
        *self = node.word().map(|word| match word {
            Ok(word) => Said::of(word),
            Err(line) => Said { line, value: None },
        });
    }
}

impl<T: Value> Keys for Vec<Said<T>> {
    fn read(&mut self, node: Node<'_>) {
        node.each_word(&mut |word| self.push(Said::of(word)));
    }
}

/// A list that makes a difference by being there.
impl<T: Value> Keys for Option<Vec<Said<T>>> {
    fn read(&mut self, node: Node<'_>) {
        self.get_or_insert_default().read(node);
    }
}

/// A struct of keys: `"part" => field: Type`, where `""` is the value of the struct's own key.
macro_rules! keys {
    ($($(#[$about:meta])* $name:ident { $($(#[$says:meta])* $key:literal => $field:ident: $kind:ty,)* })*) => {$(
        $(#[$about])*
        #[derive(Default)]
        pub(super) struct $name {
            $($(#[$says])* pub(super) $field: $kind,)*
        }

        impl Keys for $name {
            fn read(&mut self, node: Node<'_>) {
                node.each_part(&[$($key),*], &mut |part, node| match part.text {
                    $($key => self.$field.read(node),)*
                    _ => {}
                });
            }
        }
    )*};
}
pub(super) use keys;

/// The lines whose keys begin with the same parts; `at` is where the next part begins in them.
#[derive(Clone, Copy)]
pub(super) struct Node<'a> {
    lines: &'a [Line<'a>],
    at: usize,
    mistakes: &'a RefCell<Mistakes>,
}

impl<'a> Node<'a> {
    /// The lines of this very key, and those of the keys below it.
    fn split(&self) -> (&'a [Line<'a>], &'a [Line<'a>]) {
        let own = self.lines.iter().take_while(|line| line.key.len() < self.at);
        self.lines.split_at(own.count())
    }

    /// The lines of a key that has nothing below it.
    fn leaf(&self) -> &'a [Line<'a>] {
        let (own, below) = self.split();
        for line in below {
            let nearest = Some(line.key[..self.at - 1].to_string());
            self.note(line, Reason::Unknown { nearest, known: &[] });
        }
        own
    }

    /// The one line of a key that takes one value; if only keys below it are there, which are noted, the first
    /// line of these. There is always one or the other, but for no lines at all.
    fn word(&self) -> Option<Result<Word<'a>, u32>> {
        let Some((first, others)) = self.leaf().split_first() else {
            return self.lines.first().map(|line| Err(line.number));
        };
        for line in others {
            self.note(line, Reason::SaidTwice { first: first.number });
        }
        Some(Ok(Word { text: first.value, line: first, is_key: false, mistakes: self.mistakes }))
    }

    /// The words of all lines of a list.
    fn each_word(&self, take: &mut dyn FnMut(Word<'a>)) {
        for line in self.leaf() {
            if line.value.is_empty() {
                self.note(line, Reason::NoValue);
            }
            for text in line.value.split_whitespace() {
                if text.starts_with('#') {
                    self.note(line, Reason::Comment);
                    break;
                }
                take(Word { text, line, is_key: false, mistakes: self.mistakes });
            }
        }
    }

    /// The parts that follow in these keys, and the lines of each. Of a struct, `known` are the parts that can
    /// follow; where that is nothing, or `""` alone, any can.
    pub(super) fn each_part(&self, known: &'static [&'static str], take: &mut dyn FnMut(Word<'a>, Node<'a>)) {
        let (own, mut below) = self.split();
        if let Some(line) = own.first() {
            match known {
                _ if known.contains(&"") => {
                    let key = Word { text: "", line, is_key: true, mistakes: self.mistakes };
                    take(key, Node { lines: own, ..*self });
                }
                [] => own.iter().for_each(|line| self.note(line, Reason::NumberMissing)),
                _ => own.iter().for_each(|line| self.note(line, Reason::PartMissing { known })),
            }
        }
        let is_map = known.iter().all(|part| part.is_empty());
        while let Some(line) = below.first() {
            let rest = line.key.get(self.at..).unwrap_or_default();
            let text = rest.split_once('.').map_or(rest, |(part, _)| part);
            let end = self.at + text.len();
            let same = |line: &&Line<'_>| {
                line.key.get(self.at..end) == Some(text)
                    && matches!(line.key.as_bytes().get(end), None | Some(b'.'))
            };
            // The line itself is one of them.
            let (lines, others) = below.split_at(below.iter().take_while(same).count().max(1));
            below = others;
            let node = Node { lines, at: end + 1, mistakes: self.mistakes };
            match is_map || known.contains(&text) {
                true => take(Word { text, line, is_key: true, mistakes: self.mistakes }, node),
                false => node.note_unknown(known),
            }
        }
    }

    fn note(&self, line: &Line<'_>, reason: Reason) {
        self.mistakes.borrow_mut().add(Some(line.number), line.key, reason);
    }

    /// Notes that nothing is configured by any of these lines; `known` could stand here.
    fn note_unknown(&self, known: &'static [&'static str]) {
        for line in self.lines {
            let before = &line.key[..self.start()];
            let (part, after) = match line.key[self.start()..].split_once('.') {
                Some((part, after)) => (part, Some(after)),
                None => (&line.key[self.start()..], None),
            };
            let with_after = |key: String| match after {
                Some(after) => format!("{key}.{after}"),
                None => key,
            };
            let is_number = part.len() <= 6 && part.bytes().all(|b| b.is_ascii_digit());
            let nearest = match nearest(part, known) {
                Some(meant) => Some(with_after(format!("{before}{meant}"))),
                // The password stands at the extension itself, which other programs do not do.
                None if known.contains(&"") && matches!(part, "password" | "secret" | "pass") => {
                    Some(before.trim_end_matches('.').to_string())
                }
                None if known.contains(&"ext") && is_number => Some(with_after(format!("ext.{part}"))),
                None => None,
            };
            self.note(line, Reason::Unknown { nearest, known });
        }
    }

    /// Where the last part that these lines share begins.
    fn start(&self) -> usize {
        self.lines.first().map_or(0, |line| line.key[..self.at - 1].rfind('.').map_or(0, |dot| dot + 1))
    }
}

/// One word, or the whole text of a line before it is known to be one.
#[derive(Clone, Copy)]
pub(super) struct Word<'a> {
    pub(super) text: &'a str,
    line: &'a Line<'a>,
    is_key: bool,
    mistakes: &'a RefCell<Mistakes>,
}

impl<'a> Word<'a> {
    /// The words, if there are as many as `wanted` and none begins a comment.
    fn words(self, wanted: usize) -> Result<std::str::SplitWhitespace<'a>, Reason> {
        let words = self.text.split_whitespace();
        if !self.is_key && words.clone().any(|word| word.starts_with('#')) {
            return Err(Reason::Comment);
        }
        match words.clone().count() {
            0 => Err(Reason::NoValue),
            found if found == wanted => Ok(words),
            found => Err(Reason::Words { wanted, found }),
        }
    }

    fn one(self) -> Result<&'a str, Reason> {
        let is_one = |text: &str| !text.bytes().any(|b| b.is_ascii_whitespace() || b == b'#' || b >= 0x80);
        match self.text {
            text if !text.is_empty() && is_one(text) => Ok(text),
            _ => self.words(1)?.next().ok_or(Reason::NoValue),
        }
    }

    fn two(self) -> Result<(Word<'a>, Word<'a>), Reason> {
        let mut words = self.words(2)?.map(|text| Word { text, ..self });
        words.next().zip(words.next()).ok_or(Reason::NoValue)
    }

    fn note(self, reason: Reason) {
        self.mistakes.borrow_mut().add(Some(self.line.number), self.line.key, reason);
    }

    /// A value that is one word.
    pub(super) fn read_word<T>(self, parse: fn(&str) -> Result<T, String>) -> Result<T, Reason> {
        let word = self.one()?;
        parse(word).map_err(|why| self.wrong(word, why))
    }

    /// What is wrong with a word that is no value: perhaps it is something else that stands beside one.
    fn wrong(self, word: &str, why: String) -> Reason {
        match self.is_key {
            false if word.contains('#') => Reason::Comment,
            false if word.contains(',') => Reason::Comma,
            _ => Reason::Value(why),
        }
    }

    /// A value that is all of a line.
    pub(super) fn read_text<T>(self, parse: fn(&str) -> Result<T, String>) -> Result<T, Reason> {
        match self.text {
            "" => Err(Reason::NoValue),
            text => parse(text).map_err(Reason::Value),
        }
    }

    /// A value that is a part of a key.
    pub(super) fn read_part<T>(self, parse: fn(&str) -> Result<T, String>) -> Result<T, Reason> {
        parse(self.text).map_err(Reason::Value)
    }

    /// Which of a few words it is.
    pub(super) fn read_choice(self, known: &'static [&'static str]) -> Result<usize, Reason> {
        let word = self.one()?;
        known.iter().position(|known| *known == word).ok_or_else(|| Reason::NotOneOf {
            word: printable(word, 32),
            nearest: nearest(word, known),
            known,
        })
    }
}
