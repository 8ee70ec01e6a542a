//! Edits over received bytes: what is not edited leaves as it came.

use std::ops::Range;

use super::Message;

/// A list of replacements over a message, applied at once by [`Edit::finish`].
pub struct Edit<'m> {
    bytes: &'m [u8],
    /// What is put in, one after the other.
    text: Vec<u8>,
    cuts: Vec<Cut>,
}

/// `out` of the message is replaced by `text[put]`.
struct Cut {
    out: Range<usize>,
    put: Range<usize>,
}

impl<'m> Edit<'m> {
    /// No edits yet.
    pub fn new(message: &Message<'m>) -> Edit<'m> {
        Edit { bytes: message.bytes(), text: Vec::with_capacity(512), cuts: Vec::with_capacity(16) }
    }

    /// Replaces a part of the message, given by its span in [`Message::bytes`]. Parts must not
    /// overlap: the first one wins, the other is left out.
    pub fn replace(&mut self, out: Range<usize>, put: &[&[u8]]) {
        let start = self.text.len();
        for part in put {
            self.text.extend_from_slice(part);
        }
        self.cuts.push(Cut { out, put: start..self.text.len() });
    }

    /// Puts text in front of a position. Several at one position stand in the order of their calls.
    pub fn insert(&mut self, at: usize, put: &[&[u8]]) {
        self.replace(at..at, put);
    }

    /// Takes a part out.
    pub fn remove(&mut self, out: Range<usize>) {
        self.replace(out, &[]);
    }

    /// The edited message.
    pub fn finish(mut self) -> Vec<u8> {
        self.cuts.sort_by_key(|cut| (cut.out.start, cut.out.end));
        let mut result = Vec::with_capacity(self.bytes.len() + self.text.len());
        let mut done = 0;
        for cut in &self.cuts {
            if cut.out.start < done {
                continue;
            }
            result.extend_from_slice(&self.bytes[done..cut.out.start]);
            result.extend_from_slice(&self.text[cut.put.clone()]);
            done = cut.out.end;
        }
        result.extend_from_slice(&self.bytes[done..]);
        result
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::sip::Name;

    #[test]
    fn edits_apply_in_place() {
        let bytes = b"OPTIONS sip:a SIP/2.0\r\nVia: SIP/2.0/UDP a\r\nX: y\r\nTo: b\r\n\r\n";
        let message = Message::parse(bytes).unwrap();
        let mut edit = Edit::new(&message);
        let to = message.span(message.first(Name::To).unwrap());
        edit.insert(to.end, &[b";tag=", b"1"]);
        let via = message.headers()[0].line();
        edit.insert(via.start, &[b"Via: new\r\n"]);
        edit.replace(message.span(message.uri()), &[b"sip:longer"]);
        edit.remove(message.headers()[1].line());
        assert_eq!(
            String::from_utf8(edit.finish()).unwrap(),
            "OPTIONS sip:longer SIP/2.0\r\nVia: new\r\nVia: SIP/2.0/UDP a\r\nTo: b;tag=1\r\n\r\n"
        );
    }
}
