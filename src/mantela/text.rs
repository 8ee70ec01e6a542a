//! Somebody else's words.

use std::fmt;

use serde::Serialize;

use crate::console::control::is_obeyed;

/// How many characters of a text are kept.
pub const MAX_TEXT: usize = 256;

/// A text of at most [`MAX_TEXT`] characters that a terminal only shows, and that is one line in any file: a `?`
/// stands for each character in it that a terminal would obey.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Text(String);

impl Text {
    /// As much of a text as is kept, made harmless.
    pub fn new(text: &str) -> Text {
        Text(text.chars().take(MAX_TEXT).map(|c| if is_obeyed(c) { '?' } else { c }).collect())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// No more than so many characters of it.
    pub fn shortened(&self, most: usize) -> String {
        match self.0.char_indices().nth(most) {
            Some((at, _)) => format!("{}…", self.0.get(..at).unwrap_or_default()),
            None => self.0.clone(),
        }
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_it_is_obeyed() {
        let text = Text::new("\x1b[2J\x1b]0;x\x07\u{9b}6n\r\n\u{202e}電話\u{2028}\0");
        assert_eq!(text.as_str(), "?[2J?]0;x??6n???電話??");
        assert_eq!(Text::new(&"電".repeat(1000)).as_str().chars().count(), MAX_TEXT);
        assert_eq!(Text::new("電話番号").shortened(2), "電話…");
        assert_eq!(Text::new("電話").shortened(2), "電話");
    }
}
