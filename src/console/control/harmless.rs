//! Answers that a terminal only shows.
//!
//! What answers has read what strangers sent, and may be theirs by now; the terminal may be root's. So a text
//! is made harmless where it is read, before it is part of an answer, whatever answer it stands in.
//!
//! [`Clean`] stands between serde and the frame: it is the deserializer that an answer is read from, and hands on
//! a visitor, a list, an enum as itself, so that no text comes past it. It knows nothing of answers, so that no
//! field can be forgotten; what no answer has (a map, octets) cannot be read through it at all.

use std::fmt;

use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, EnumAccess, Error, SeqAccess, VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;

/// Where a text has lines: that of a message which is traced.
const WITH_LINES: [&str; 1] = ["text"];

/// A `T` with a `?` for each character in its texts that a terminal obeys: control characters, and those that turn
/// the direction of writing or end a line.
pub(super) struct Harmless<T>(pub(super) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Harmless<T> {
    fn deserialize<D: Deserializer<'de>>(of: D) -> Result<Self, D::Error> {
        T::deserialize(Clean { of, fields: &[] }).map(Harmless)
    }
}

/// What serde reads by, made harmless.
struct Clean<T> {
    of: T,
    /// The fields that this is read into: of a struct all that are to come, of a value its own.
    fields: &'static [&'static str],
}

impl<T> Clean<T> {
    fn nameless(of: T) -> Self {
        Clean { of, fields: &[] }
    }
}

/// What is no text, and what leads to none, is read as it is.
macro_rules! as_it_is {
    ($($deserialize:ident)*) => {$(
        fn $deserialize<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
            self.of.$deserialize(visitor)
        }
    )*};
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Clean<D> {
    type Error = D::Error;

    as_it_is! {
        deserialize_bool deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_f32 deserialize_f64
        deserialize_unit
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, D::Error> {
        Err(D::Error::custom("nothing of that kind is in an answer"))
    }

    forward_to_deserialize_any! { i128 u128 char bytes byte_buf map identifier ignored_any }

    fn is_human_readable(&self) -> bool {
        self.of.is_human_readable()
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.deserialize_string(visitor)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.of.deserialize_str(Clean { of: visitor, fields: self.fields })
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.of.deserialize_option(Clean { of: visitor, fields: self.fields })
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.of.deserialize_unit_struct(name, visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.of.deserialize_newtype_struct(name, Clean::nameless(visitor))
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.of.deserialize_seq(Clean::nameless(visitor))
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, D::Error> {
        self.of.deserialize_tuple(len, Clean::nameless(visitor))
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.of.deserialize_tuple_struct(name, len, Clean::nameless(visitor))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.of.deserialize_struct(name, fields, Clean { of: visitor, fields })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.of.deserialize_enum(name, variants, Clean::nameless(visitor))
    }
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Clean<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.of.expecting(f)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<V::Value, E> {
        self.of.visit_string(clean(text, self.fields == WITH_LINES))
    }

    fn visit_none<E: Error>(self) -> Result<V::Value, E> {
        self.of.visit_none()
    }

    fn visit_some<D: Deserializer<'de>>(self, of: D) -> Result<V::Value, D::Error> {
        self.of.visit_some(Clean { of, fields: self.fields })
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, of: D) -> Result<V::Value, D::Error> {
        self.of.visit_newtype_struct(Clean::nameless(of))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, of: A) -> Result<V::Value, A::Error> {
        self.of.visit_seq(Clean { of, fields: self.fields })
    }

    fn visit_enum<A: EnumAccess<'de>>(self, of: A) -> Result<V::Value, A::Error> {
        self.of.visit_enum(Clean::nameless(of))
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Clean<A> {
    type Error = A::Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        let (own, others) = self.fields.split_at_checked(1).unwrap_or_default();
        self.fields = others;
        self.of.next_element_seed(Clean { of: seed, fields: own })
    }

    fn size_hint(&self) -> Option<usize> {
        self.of.size_hint()
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Clean<S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, of: D) -> Result<S::Value, D::Error> {
        self.of.deserialize(Clean { of, fields: self.fields })
    }
}

impl<'de, A: EnumAccess<'de>> EnumAccess<'de> for Clean<A> {
    type Error = A::Error;
    type Variant = Clean<A::Variant>;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self::Variant), A::Error> {
        // Which of the variants is no text: they are ours.
        self.of.variant_seed(seed).map(|(variant, of)| (variant, Clean::nameless(of)))
    }
}

impl<'de, A: VariantAccess<'de>> VariantAccess<'de> for Clean<A> {
    type Error = A::Error;

    fn unit_variant(self) -> Result<(), A::Error> {
        self.of.unit_variant()
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, A::Error> {
        self.of.newtype_variant_seed(Clean::nameless(seed))
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, A::Error> {
        self.of.tuple_variant(len, Clean::nameless(visitor))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        self.of.struct_variant(fields, Clean { of: visitor, fields })
    }
}

fn clean(text: &str, has_lines: bool) -> String {
    text.chars().map(|c| if is_obeyed(c) && !(has_lines && c == '\n') { '?' } else { c }).collect()
}

/// Whether a terminal does something else than show it. Beyond control characters these are the separators of
/// lines and paragraphs, and what overrides, embeds or isolates a direction (Unicode annex 9).
pub(crate) fn is_obeyed(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    use super::super::tests::{call, extension, status};
    use super::super::*;
    use super::*;
    use crate::switch::view::BanView;
    use crate::switch::{Incident, What};

    /// Clears the screen, sets its title, types an answer, goes to the next line, turns what follows.
    const NASTY: &str = "\x1b[2J\x1b]0;title\x07\u{9b}6n\r\n\t\x08\x7f\u{202e}電 →";
    const SHOWN: &str = "?[2J?]0;title??6n??????電 →";

    fn incident(what: What) -> Incident {
        let text = || NASTY.to_owned();
        Incident {
            first_unix: 1,
            last_unix: 2,
            count: 3,
            what,
            call: Some(17),
            number: text(),
            other: text(),
            from: text(),
            user_agent: text(),
            reason: text(),
            key: Some(NASTY.into()),
        }
    }

    fn traced(text: Option<String>) -> Traced {
        Traced {
            unix_ms: 1,
            came: true,
            extension: Some(NASTY.into()),
            claims: Some(NASTY.into()),
            address: "192.0.2.31:5060".parse().unwrap(),
            transport: NASTY.into(),
            start_line: NASTY.into(),
            call_id: NASTY.into(),
            cseq: NASTY.into(),
            call: Some(17),
            text,
        }
    }

    /// One of each but a refusal, with [`NASTY`] for every text.
    fn replies() -> Vec<Reply> {
        let text = || NASTY.to_owned();
        let mut nasty = status();
        nasty.facts =
            Facts { version: text(), configuration: text(), sandbox: text(), state: text(), ..nasty.facts };
        nasty.domain = Some(text());
        nasty.listening.iter_mut().for_each(|place| place.transport = text());
        nasty.tls = Some(Certificate {
            self_signed: true,
            sha256_fingerprint: text(),
            not_after_unix: u64::MAX,
            trouble: Some(text()),
        });
        nasty.refused.iter_mut().for_each(|refused| refused.reason = text());
        nasty.remarks.push(text());
        let mut phones = extension(NASTY);
        phones.name = Some(text());
        for phone in &mut phones.phones {
            (phone.transport, phone.user_agent) = (text(), Some(text()));
        }
        let mut talk = call(17);
        (talk.from, talk.to, talk.answered_by, talk.call_id) = (text(), text(), Some(text()), text());
        for leg in &mut talk.legs {
            (leg.extension, leg.transport) = (Some(text()), text());
            leg.streams.iter_mut().for_each(|stream| stream.codec = text());
        }
        vec![
            Reply::Status(Box::new(nasty)),
            Reply::Phones { phones: vec![phones], next: Some(text()) },
            Reply::Calls { calls: vec![talk], next: Some(17) },
            Reply::Log(vec![text()]),
            Reply::Why(vec![incident(What::Refused(text())), incident(What::NotAnswered(text()))]),
            Reply::Bans(vec![BanView { source: text(), wrong_passwords: Some(30), left_s: 83 }]),
            Reply::Ended(vec![EndedCall { call: 17, from: text(), to: text() }]),
            Reply::Sources(vec![text()]),
            Reply::Tracing,
            Reply::Traced(Box::new(traced(None))),
            Reply::Missed(u64::MAX),
        ]
    }

    /// What a client hears of an exchange that says this.
    fn heard(reply: &Reply) -> Result<Reply, AskError> {
        let (mut exchange, ours) = UnixStream::pair().unwrap();
        let frame = encode(reply, MAX_REPLY).unwrap();
        let says = std::thread::spawn(move || exchange.write_all(&frame).unwrap());
        let heard = Client::over(ours).hear();
        says.join().unwrap();
        heard
    }

    #[test]
    fn nothing_that_a_terminal_obeys_is_in_any_answer() {
        for reply in replies() {
            let shown = heard(&reply).unwrap();
            // Nothing else is changed.
            assert_eq!(format!("{shown:?}"), format!("{reply:?}").replace(&escaped(NASTY), &escaped(SHOWN)));
            let json = serde_json::to_string(&shown).unwrap();
            assert!(!json.contains("\\u00") && !json.contains(is_obeyed), "{json}");
        }
        let Err(AskError::Refused(why)) = heard(&Reply::Refused(NASTY.into())) else { panic!("it refuses") };
        assert_eq!(why, SHOWN);
    }

    fn escaped(text: &str) -> String {
        let quoted = format!("{text:?}");
        quoted.trim_matches('"').to_owned()
    }

    #[test]
    fn a_traced_message_has_lines_and_nothing_else() {
        let message = traced(Some(format!("one\n{NASTY}\r\nthree\n")));
        let Reply::Traced(shown) = heard(&Reply::Traced(Box::new(message))).unwrap() else {
            panic!("traced")
        };
        let with_lines = SHOWN.replacen("6n??", "6n?\n", 1);
        assert_eq!(shown.text.as_deref(), Some(format!("one\n{with_lines}?\nthree\n").as_str()));
        let ladder = ladder(&shown, None, Paint::NONE);
        assert!(!ladder.contains(|c| c != '\n' && is_obeyed(c)), "{ladder:?}");
        // One line of head, one of where from, the text's four, a blank one.
        assert_eq!(ladder.lines().count(), 7, "{ladder:?}");
    }

    #[test]
    fn harmless_answers_come_as_they_are() {
        let calls = Reply::Calls { calls: vec![call(u64::MAX)], next: Some(u64::MAX) };
        let phones = Reply::Phones { phones: vec![extension("101")], next: None };
        for reply in [Reply::Status(Box::new(status())), calls, phones, Reply::Tracing] {
            assert_eq!(heard(&reply).unwrap(), reply);
        }
    }
}
