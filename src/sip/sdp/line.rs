//! Lines and words of a body.

/// The lines of a body, each with its ending, so that what is not changed stays as it was.
#[derive(Clone)]
pub(super) struct Lines<'a> {
    rest: &'a [u8],
}

/// One line.
#[derive(Clone, Copy)]
pub(super) struct Line<'a> {
    /// Without its ending.
    pub(super) text: &'a [u8],
    /// CRLF, LF, CR, or nothing at the end of the body.
    pub(super) ending: &'a [u8],
}

impl<'a> Lines<'a> {
    pub(super) fn of(body: &'a [u8]) -> Lines<'a> {
        Lines { rest: body }
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = Line<'a>;

    /// A lone CR ends a line too: it may not stand inside one (RFC 8866 §9, `byte-string`), and a
    /// phone that takes it for an ending must not see lines there that the relay has not seen.
    fn next(&mut self) -> Option<Line<'a>> {
        if self.rest.is_empty() {
            return None;
        }
        let end = self.rest.iter().position(|&b| b == b'\r' || b == b'\n');
        let (text, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        let ending = match rest {
            [b'\r', b'\n', ..] => 2,
            [] => 0,
            _ => 1,
        };
        let (ending, rest) = rest.split_at(ending);
        self.rest = rest;
        Some(Line { text, ending })
    }
}

impl<'a> Line<'a> {
    /// Type letter and value, if it has the shape of an SDP line.
    pub(super) fn split(self) -> Option<(u8, &'a [u8])> {
        match self.text {
            [kind, b'=', value @ ..] => Some((*kind, value.trim_ascii_end())),
            _ => None,
        }
    }

    pub(super) fn is(self, kind: u8) -> bool {
        self.split().is_some_and(|(k, _)| k == kind)
    }
}

/// The words of a value, which blanks separate.
pub(super) fn tokens(value: &[u8]) -> Tokens<'_> {
    Tokens { rest: value }
}

pub(super) struct Tokens<'a> {
    rest: &'a [u8],
}

impl<'a> Tokens<'a> {
    /// What has not been read yet.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let value = self.rest.trim_ascii_start();
        let end = value.iter().position(u8::is_ascii_whitespace).unwrap_or(value.len());
        let (word, rest) = value.split_at(end);
        self.rest = rest;
        (!word.is_empty()).then_some(word)
    }
}
