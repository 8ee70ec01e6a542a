//! From bytes to lines: `key = value`, comments, and everything that can be wrong before the
//! meaning of a key matters.

use super::mistake::{Mistakes, Reason};

/// What some editors begin a UTF-8 file with.
pub(super) const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// One line that says something.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Line<'a> {
    /// Counted from 1.
    pub(super) number: u32,
    /// Without blanks around it; its parts are separated by dots, none is empty.
    pub(super) key: &'a str,
    /// Without blanks around it; may be empty.
    pub(super) value: &'a str,
}

/// The lines of a file, ordered so that keys with common parts stand together: `ext`, `ext.101`,
/// `ext.101.name`, `ext.101-b`. Equal keys stay in the order of the file.
pub(super) fn lines<'a>(bytes: &'a [u8], mistakes: &mut Mistakes) -> Vec<Line<'a>> {
    let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
    let mut lines = Vec::new();
    for (number, bytes) in (1..).zip(bytes.split(|&b| b == b'\n')) {
        match line(bytes) {
            Ok(Some((key, value))) => lines.push(Line { number, key, value }),
            Ok(None) => {}
            Err((key, reason)) => mistakes.add(Some(number), key, reason),
        }
    }
    lines.sort_by(|a, b| in_parts(a.key).cmp(in_parts(b.key)));
    lines
}

/// Whether the file has the byte order mark of UTF-16.
pub(super) fn is_utf16(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff")
}

/// Bytes that order keys by their parts: the dot comes before everything that a key may contain.
fn in_parts(key: &str) -> impl Iterator<Item = u8> {
    key.bytes().map(|b| if b == b'.' { 0 } else { b })
}

type Wrong<'a> = (&'a str, Reason);

/// Key and value of one line; `None` for a comment or an empty one.
///
/// A key is given back with a mistake only where it cannot be (part of) a password whose `=` was
/// forgotten.
fn line(bytes: &[u8]) -> Result<Option<(&str, &str)>, Wrong<'_>> {
    let text = std::str::from_utf8(bytes).map_err(|_| ("", Reason::NotUtf8))?.trim();
    if text.is_empty() || text.starts_with('#') {
        return Ok(None);
    }
    // Bytes first: they are quick, and of the control characters only U+0080 to U+009F are not in them.
    if text.bytes().any(|b| (b.is_ascii_control() && b != b'\t') || b == 0xc2)
        && let Some(c) = text.chars().find(|&c| c.is_control() && c != '\t')
    {
        return Err(("", Reason::ControlCharacter(c)));
    }
    if text.starts_with('[') && text.ends_with(']') {
        return Err(("", Reason::Section));
    }
    if text.starts_with(';') || text.starts_with("//") {
        return Err(("", Reason::OtherComment));
    }
    let Some((key, value)) = text.split_once('=') else {
        let full_width = text.contains('＝');
        return Err(("", if full_width { Reason::FullWidth } else { Reason::NoEquals }));
    };
    let key = key.trim_end();
    if key.is_empty() {
        return Err(("", Reason::NoKey));
    }
    if let Some((first, _)) = key.split_once(char::is_whitespace) {
        return Err((first, Reason::BlankInKey));
    }
    if key.starts_with('.') || key.ends_with('.') || key.contains("..") {
        return Err((key, Reason::EmptyPart));
    }
    Ok(Some((key, value.trim_start())))
}

#[cfg(test)]
mod tests {
    use super::*;

    type Read<'a> = (u32, &'a str, &'a str);

    fn read(bytes: &[u8]) -> (Vec<Read<'_>>, Vec<(u32, Reason)>) {
        let mut mistakes = Mistakes::new("x");
        let lines = lines(bytes, &mut mistakes).iter().map(|l| (l.number, l.key, l.value)).collect();
        let mistakes = mistakes.iter().map(|m| (m.line.unwrap_or(0), m.reason.clone())).collect();
        (lines, mistakes)
    }

    #[test]
    fn a_line_is_key_and_value() {
        let (lines, mistakes) =
            read(b"\xef\xbb\xbf# comment\r\n  a =  b c # d = \t\r\n\n\t# = \nc=\nb = x = y");
        assert_eq!(lines, [(2, "a", "b c # d ="), (6, "b", "x = y"), (5, "c", "")]);
        assert_eq!(mistakes, []);
    }

    #[test]
    fn keys_with_common_parts_stand_together() {
        let (lines, _) = read(b"e.1.n = 1\ne.1-x = 2\ne.1 = 3\ne = 4\ne-f = 5\ne.1.n = 6\n");
        let keys: Vec<_> = lines.iter().map(|l| (l.1, l.2)).collect();
        assert_eq!(
            keys,
            [("e", "4"), ("e.1", "3"), ("e.1.n", "1"), ("e.1.n", "6"), ("e.1-x", "2"), ("e-f", "5")]
        );
    }

    #[test]
    fn each_way_to_write_no_line() {
        let (lines, mistakes) = read(
            b"plain\n[section]\n; note\n// note\n= x\nmedia ports = 1\na..b = 1\n.a = 1\na\x01 = 1\n\xff = 1\nname\xef\xbc\x9dx\n",
        );
        assert_eq!(lines, []);
        let reasons: Vec<_> = mistakes.into_iter().collect();
        assert_eq!(
            reasons,
            [
                (1, Reason::NoEquals),
                (2, Reason::Section),
                (3, Reason::OtherComment),
                (4, Reason::OtherComment),
                (5, Reason::NoKey),
                (6, Reason::BlankInKey),
                (7, Reason::EmptyPart),
                (8, Reason::EmptyPart),
                (9, Reason::ControlCharacter('\u{1}')),
                (10, Reason::NotUtf8),
                (11, Reason::FullWidth),
            ]
        );
    }
}
