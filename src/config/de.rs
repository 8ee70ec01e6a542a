//! A serde deserializer over lines.
//!
//! The sorted lines are the tree: a [`Node`] is a run of lines whose keys begin with the same
//! parts. A struct is read from the parts that follow (its field `""` is the node's own value), a
//! map (or a struct of nothing but `""`) from whatever parts there are, a list from the words of
//! all lines of a key, a `str` from the one word of one line, a `String` from the whole text of one
//! line.
//!
//! Serde stops at the first error; a person wants to read all of them. So every value is wrapped
//! in [`Said`], which notes a mistake where it happens, remembers the line, and goes on. A key that
//! a struct does not know is noted where serde ignores it.

use std::cell::RefCell;
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::{BorrowedStrDeserializer, U32Deserializer};
use serde::de::{
    self, Deserialize, DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, SeqAccess, Visitor,
};
use serde::forward_to_deserialize_any;

use super::lines::Line;
use super::mistake::{Mistakes, Reason, printable};
use super::nearest::nearest;

/// Reads `T` from sorted lines. Everything that is wrong is in `mistakes` afterwards; `None` only
/// if nothing could be read at all.
pub(super) fn read<'de, T: Deserialize<'de>>(
    lines: &'de [Line<'de>],
    mistakes: &'de RefCell<Mistakes>,
) -> Option<T> {
    let root = Node { lines, at: 0, mistakes };
    T::deserialize(root).map_err(|Error(reason)| mistakes.borrow_mut().add(None, "", reason)).ok()
}

/// What the file says somewhere: on which line, and what it came to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Said<T> {
    /// Counted from 1; of several lines the first.
    pub(super) line: u32,
    /// `None` where it was wrong, which is noted already.
    pub(super) value: Option<T>,
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Said<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct LineAndValue<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for LineAndValue<T> {
            type Value = Said<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a line of the configuration")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Said<T>, A::Error> {
                Ok(Said { line: seq.next_element()?.unwrap_or(0), value: seq.next_element().ok().flatten() })
            }
        }

        // No other type here is a tuple struct: this is how the deserializers know `Said`.
        deserializer.deserialize_tuple_struct("Said", 2, LineAndValue(PhantomData))
    }
}

/// What was wrong with a value; [`Said`] knows where.
#[derive(Debug)]
struct Error(Reason);

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Error {}

impl de::Error for Error {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Error(Reason::Value(message.to_string()))
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        Error(Reason::NotOneOf {
            word: printable(variant, 32),
            nearest: nearest(variant, expected),
            known: expected,
        })
    }
}

/// The lines whose keys begin with the same parts; `at` is where the next part begins in them.
#[derive(Clone, Copy)]
struct Node<'de> {
    lines: &'de [Line<'de>],
    at: usize,
    mistakes: &'de RefCell<Mistakes>,
}

impl<'de> Node<'de> {
    /// The lines of this very key, and those of the keys below it.
    fn split(&self) -> (&'de [Line<'de>], &'de [Line<'de>]) {
        let own = self.lines.iter().take_while(|line| line.key.len() < self.at);
        self.lines.split_at(own.count())
    }

    /// The lines of a key that has nothing below it.
    fn leaf(&self) -> &'de [Line<'de>] {
        let (own, below) = self.split();
        for line in below {
            let nearest = Some(line.key[..self.at - 1].to_string());
            self.note(line, Reason::Unknown { nearest, known: &[] });
        }
        own
    }

    /// The one line of a key that takes one value; without it, nothing.
    fn only(&self) -> Option<Word<'de>> {
        let (first, others) = self.leaf().split_first()?;
        for line in others {
            self.note(line, Reason::SaidTwice { first: first.number });
        }
        Some(Word { text: first.value, line: first, is_key: false, mistakes: self.mistakes })
    }

    fn value(&self) -> Result<Word<'de>, Error> {
        self.only().ok_or(Error(Reason::NoValue))
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

impl<'de> Deserializer<'de> for Node<'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_map(Parts::of(self, fields, fields.contains(&"")))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_map(Parts::of(self, &[], false))
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_seq(Words::of(self))
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _len: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        let Some(first) = self.lines.first() else {
            return Err(Error(Reason::NoValue));
        };
        if self.split().0.is_empty() {
            self.leaf(); // nothing but unknown keys below, which are noted
            return visitor.visit_seq(LineThen::nothing(first));
        }
        visitor.visit_seq(LineThen::new(first, self, self.mistakes))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.value()?.deserialize_str(visitor)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.value()?.deserialize_string(visitor)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Error> {
        self.value()?.deserialize_tuple(len, visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.value()?.deserialize_enum(name, variants, visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf unit unit_struct
        newtype_struct identifier
    }
}

/// The parts that follow in a node's keys, and the lines of each.
struct Parts<'de> {
    node: Node<'de>,
    fields: &'static [&'static str],
    own: Option<Node<'de>>,
    next: Option<Node<'de>>,
    is_map: bool,
}

impl<'de> Parts<'de> {
    fn of(node: Node<'de>, fields: &'static [&'static str], has_own: bool) -> Parts<'de> {
        let (own, below) = node.split();
        let own = Node { lines: own, ..node };
        if !has_own {
            let reason = match fields {
                [] => Reason::NumberMissing,
                known => Reason::PartMissing { known },
            };
            for line in own.lines {
                own.note(line, reason.clone());
            }
        }
        Parts {
            node: Node { lines: below, ..node },
            fields,
            own: (has_own && !own.lines.is_empty()).then_some(own),
            next: None,
            is_map: fields.iter().all(|field| field.is_empty()),
        }
    }
}

impl<'de> MapAccess<'de> for Parts<'de> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        if let Some(own) = self.own.take()
            && let Some(first) = own.lines.first()
        {
            self.next = Some(own);
            let key = Word { text: "", line: first, is_key: true, mistakes: own.mistakes };
            return seed.deserialize(key).map(Some);
        }
        let Some(first) = self.node.lines.first() else {
            return Ok(None);
        };
        let rest = &first.key[self.node.at..];
        let part = rest.split_once('.').map_or(rest, |(part, _)| part);
        let end = self.node.at + part.len();
        let same = |line: &&Line<'_>| {
            line.key.get(self.node.at..end) == Some(part)
                && matches!(line.key.as_bytes().get(end), None | Some(b'.'))
        };
        let count = self.node.lines.iter().take_while(same).count();
        let (lines, others) = self.node.lines.split_at(count);
        self.node.lines = others;
        let node = Node { lines, at: end + 1, mistakes: self.node.mistakes };
        if !self.is_map && !self.fields.contains(&part) {
            node.note_unknown(self.fields);
        }
        self.next = Some(node);
        seed.deserialize(Word { text: part, line: first, is_key: true, mistakes: self.node.mistakes })
            .map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        match self.next.take() {
            Some(node) => seed.deserialize(node),
            None => Err(Error(Reason::NoValue)),
        }
    }
}

/// A line's number, then what it says; a mistake in that is noted here.
struct LineThen<'de, D> {
    line: &'de Line<'de>,
    told_line: bool,
    value: Option<(D, &'de RefCell<Mistakes>)>,
}

impl<'de, D> LineThen<'de, D> {
    fn new(line: &'de Line<'de>, value: D, mistakes: &'de RefCell<Mistakes>) -> Self {
        LineThen { line, told_line: false, value: Some((value, mistakes)) }
    }
}

impl<'de> LineThen<'de, Node<'de>> {
    fn nothing(line: &'de Line<'de>) -> Self {
        LineThen { line, told_line: false, value: None }
    }
}

impl<'de, D: Deserializer<'de, Error = Error>> SeqAccess<'de> for LineThen<'de, D> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        if !self.told_line {
            self.told_line = true;
            let number: U32Deserializer<Error> = self.line.number.into_deserializer();
            return seed.deserialize(number).map(Some);
        }
        let Some((value, mistakes)) = self.value.take() else {
            return Ok(None);
        };
        seed.deserialize(value).map(Some).inspect_err(|error| {
            let mut mistakes = mistakes.borrow_mut();
            mistakes.add(Some(self.line.number), self.line.key, error.0.clone());
        })
    }
}

/// The words of all lines of a list.
struct Words<'de> {
    lines: std::slice::Iter<'de, Line<'de>>,
    current: Option<(&'de Line<'de>, std::str::SplitWhitespace<'de>)>,
    mistakes: &'de RefCell<Mistakes>,
}

impl<'de> Words<'de> {
    fn of(node: Node<'de>) -> Words<'de> {
        Words { lines: node.leaf().iter(), current: None, mistakes: node.mistakes }
    }

    fn note(&self, line: &Line<'_>, reason: Reason) {
        self.mistakes.borrow_mut().add(Some(line.number), line.key, reason);
    }
}

impl<'de> SeqAccess<'de> for Words<'de> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        loop {
            if let Some((line, words)) = &mut self.current {
                let line = *line;
                match words.next() {
                    Some(comment) if comment.starts_with('#') => self.note(line, Reason::Comment),
                    Some(text) => {
                        let word = Word { text, line, is_key: false, mistakes: self.mistakes };
                        return seed.deserialize(word).map(Some);
                    }
                    None => {}
                }
            }
            let Some(line) = self.lines.next() else {
                return Ok(None);
            };
            if line.value.is_empty() {
                self.note(line, Reason::NoValue);
            }
            self.current = Some((line, line.value.split_whitespace()));
        }
    }
}

/// One word, or the whole text of a line before it is known to be one.
#[derive(Clone, Copy)]
struct Word<'de> {
    text: &'de str,
    line: &'de Line<'de>,
    is_key: bool,
    mistakes: &'de RefCell<Mistakes>,
}

impl<'de> Word<'de> {
    /// The words, if there are as many as `wanted` and none begins a comment.
    fn words(self, wanted: usize) -> Result<std::str::SplitWhitespace<'de>, Error> {
        let words = self.text.split_whitespace();
        if !self.is_key && words.clone().any(|word| word.starts_with('#')) {
            return Err(Error(Reason::Comment));
        }
        match words.clone().count() {
            0 => Err(Error(Reason::NoValue)),
            found if found == wanted => Ok(words),
            found => Err(Error(Reason::Words { wanted, found })),
        }
    }

    fn one(self) -> Result<&'de str, Error> {
        let is_one = |text: &str| !text.bytes().any(|b| b.is_ascii_whitespace() || b == b'#' || b >= 0x80);
        match self.text {
            text if !text.is_empty() && is_one(text) => Ok(text),
            _ => self.words(1)?.next().ok_or(Error(Reason::NoValue)),
        }
    }
}

impl<'de> Deserializer<'de> for Word<'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let word = self.one()?;
        visitor.visit_borrowed_str(word).map_err(|error| match self.is_key {
            false if word.contains('#') => Error(Reason::Comment),
            false if word.contains(',') => Error(Reason::Comma),
            _ => error,
        })
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.text {
            "" => Err(Error(Reason::NoValue)),
            text => visitor.visit_borrowed_str(text),
        }
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_borrowed_str(self.text)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let word = self.one()?;
        visitor.visit_enum(BorrowedStrDeserializer::new(word))
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Error> {
        let words = self.words(len)?;
        visitor.visit_seq(Split { of: self, words })
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _len: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_seq(LineThen::new(self.line, self, self.mistakes))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf unit unit_struct
        newtype_struct option seq map struct ignored_any
    }
}

/// The words of one line that takes several.
struct Split<'de> {
    of: Word<'de>,
    words: std::str::SplitWhitespace<'de>,
}

impl<'de> SeqAccess<'de> for Split<'de> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        self.words.next().map(|text| seed.deserialize(Word { text, ..self.of })).transpose()
    }
}
