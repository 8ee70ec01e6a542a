//! Columns that are as wide as what stands in them, and lines that are no longer than a screen.

use std::fmt::Write;

/// A text in lines of at most `width` columns, the first of which begins at column `indent`, as all others
/// do then. A word that is longer stays whole.
pub(super) fn wrap(text: &str, width: usize, indent: usize) -> String {
    let mut out = String::new();
    let mut column = indent;
    for (n, word) in text.split(' ').enumerate() {
        let length = word.chars().count();
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
        Some(width) if line.chars().count() > width => {
            let mut shown: String = line.chars().take(width.saturating_sub(1)).collect();
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
                *width = text.chars().count().max(*width);
            }
        }
        let line = |row: &[String; N]| {
            let mut line = String::new();
            for ((text, width), right) in row.iter().zip(widths).zip(self.right) {
                // Writing to a string cannot fail.
                let _ = match right {
                    true => write!(line, "{text:>width$}  "),
                    false => write!(line, "{text:<width$}  "),
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
        assert_eq!(clip("電話電話", Some(3)), "電話…");
        assert_eq!(clip("電話電話", Some(4)), "電話電話");
        assert_eq!(clip("電話電話", None), "電話電話");
    }

    #[test]
    fn columns_are_as_wide_as_they_have_to_be() {
        let mut table = Table::new(["who", ">how many", "why"]);
        table.row(["電話".into(), "7".into(), "because".into()]);
        table.row(["longer".into(), "12".into(), String::new()]);
        assert_eq!(
            table.lines(),
            ["who     how many  why", "電話             7  because", "longer        12"]
        );
    }
}
