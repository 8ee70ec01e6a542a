//! Columns that are as wide as what stands in them, and lines that are no longer than a screen.

use std::fmt::Write;

use unicode_width::UnicodeWidthChar;

/// How many columns a text takes: names may be Japanese, in which each character takes two.
pub(super) fn columns(text: &str) -> usize {
    text.chars().filter_map(UnicodeWidthChar::width).sum()
}

/// A text in lines of at most `width` columns, the first of which begins at column `indent`, as all others
/// do then. A word that is longer stays whole.
pub(super) fn wrap(text: &str, width: usize, indent: usize) -> String {
    let mut out = String::new();
    let mut column = indent;
    for (n, word) in text.split(' ').enumerate() {
        let length = columns(word);
        if n > 0 && column + 1 + length > width {
            let _ = write!(out, "\n{:indent$}", "");
            column = indent;
        } else if n > 0 {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += length;
    }
    out
}

/// A line of at most `width` columns.
pub(super) fn clip(line: &str, width: Option<usize>) -> String {
    match width {
        Some(width) if columns(line) > width => {
            let mut room = width.saturating_sub(1);
            let fits = |c: &char| {
                let left = room.checked_sub(c.width().unwrap_or(0));
                room = left.unwrap_or(room);
                left.is_some()
            };
            let mut shown: String = line.chars().take_while(fits).collect();
            shown.push('…');
            shown
        }
        _ => line.to_owned(),
    }
}

/// A table: titles, then rows, each with one text for each column.
pub(super) struct Table<const N: usize> {
    rows: Vec<[String; N]>,
    /// Which columns are numbers, and stand at the right.
    right: [bool; N],
}

impl<const N: usize> Table<N> {
    /// An empty one. A title that begins with `>` is of a column of numbers.
    pub(super) fn new(titles: [&str; N]) -> Table<N> {
        let right = titles.map(|title| title.starts_with('>'));
        Table { rows: vec![titles.map(|title| title.trim_start_matches('>').to_owned())], right }
    }

    /// Adds a row.
    pub(super) fn row(&mut self, row: [String; N]) {
        self.rows.push(row);
    }

    /// The lines, the titles first, with two blanks between columns and none at the end of a line.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut widths = [0; N];
        for row in &self.rows {
            for (width, text) in widths.iter_mut().zip(row) {
                *width = columns(text).max(*width);
            }
        }
        let line = |row: &[String; N]| {
            let mut line = String::new();
            for ((text, width), right) in row.iter().zip(widths).zip(self.right) {
                let blanks = width - columns(text);
                // Writing to a string cannot fail.
                let _ = match right {
                    true => write!(line, "{:blanks$}{text}  ", ""),
                    false => write!(line, "{text}{:blanks$}  ", ""),
                };
            }
            line.truncate(line.trim_end().len());
            line
        };
        self.rows.iter().map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_broken_or_clipped() {
        assert_eq!(wrap("one two three four", 12, 4), "one two\n    three\n    four");
        assert_eq!(wrap("an-endless-word and", 12, 4), "an-endless-word\n    and");
        assert_eq!(wrap("電話 電話 電話", 9, 0), "電話 電話\n電話");
        assert_eq!(clip("telephone", Some(4)), "tel…");
        assert_eq!(clip("電話電話", Some(5)), "電話…");
        assert_eq!(clip("電話電話", Some(6)), "電話…");
        assert_eq!(clip("電話電話", Some(8)), "電話電話");
        assert_eq!(clip("ﾃﾞﾝﾜ", Some(4)), "ﾃﾞﾝﾜ", "half-width characters take one");
        assert_eq!(clip("電話電話", None), "電話電話");
    }

    #[test]
    fn columns_are_as_wide_as_they_have_to_be() {
        let mut table = Table::new(["who", ">how many", "why"]);
        table.row(["電話".into(), "7".into(), "because".into()]);
        table.row(["longer".into(), "12".into(), String::new()]);
        assert_eq!(table.lines(), ["who     how many  why", "電話           7  because", "longer        12"]);
    }
}
