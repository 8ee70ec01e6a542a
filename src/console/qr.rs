//! QR codes (ISO/IEC 18004) in a terminal.

use std::fmt;

use qrcodegen::{QrCode, QrCodeEcc};

/// How many light modules there are around a code. The standard has four; two are enough for every camera,
/// and leave a usual account in 80 columns.
const QUIET: i32 = 2;

/// Black on white, whatever the terminal's own colours are: these two of the 256 follow no theme.
const COLOURS: &str = "\x1b[38;5;16;48;5;231m";

/// The terminal's own colours again.
const PLAIN: &str = "\x1b[0m";

/// A code. `Display` draws it, two modules in each character, one above the other.
pub struct Code(QrCode);

impl Code {
    /// The code of a text, with the least error correction: a terminal has no dirt on it. `None` if the
    /// text has more than 2,953 bytes.
    pub fn new(text: &str) -> Option<Code> {
        QrCode::encode_text(text, QrCodeEcc::Low).ok().map(Code)
    }

    /// How many columns it takes.
    pub fn width(&self) -> usize {
        usize::try_from(self.0.size() + 2 * QUIET).unwrap_or(usize::MAX)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let across = -QUIET..self.0.size() + QUIET;
        for y in across.clone().step_by(2) {
            f.write_str(COLOURS)?;
            for x in across.clone() {
                // Outside of the code all modules are light.
                f.write_str(match (self.0.get_module(x, y), self.0.get_module(x, y + 1)) {
                    (false, false) => " ",
                    (true, false) => "▀",
                    (false, true) => "▄",
                    (true, true) => "█",
                })?;
            }
            writeln!(f, "{PLAIN}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_drawn_is_the_code() {
        let code = Code::new("sip:101@pbx.example.net").unwrap();
        let drawn = code.to_string();
        let rows: Vec<Vec<char>> = drawn
            .lines()
            .map(|line| line.strip_prefix(COLOURS).unwrap().strip_suffix(PLAIN).unwrap().chars().collect())
            .collect();
        assert_eq!(rows.len(), code.width().div_ceil(2));
        assert!(rows.iter().all(|row| row.len() == code.width()));
        let is_dark = |x: usize, y: usize| match rows[y / 2][x] {
            '█' => true,
            '▀' => y.is_multiple_of(2),
            '▄' => !y.is_multiple_of(2),
            _ => false,
        };
        for (x, y) in (0..code.width()).flat_map(|x| (0..code.width()).map(move |y| (x, y))) {
            let quiet = QUIET as usize;
            let at = |place: usize| place as i32 - QUIET;
            let is_quiet = [x, y].iter().any(|place| !(quiet..code.width() - quiet).contains(place));
            assert_eq!(is_dark(x, y), !is_quiet && code.0.get_module(at(x), at(y)));
        }
        // The corner of a finder: seven dark modules, and a light one.
        let corner: Vec<bool> = (2..10).map(|x| is_dark(x, 2)).collect();
        assert_eq!(corner, [true, true, true, true, true, true, true, false]);
    }

    #[test]
    fn as_much_as_there_can_be() {
        assert!(Code::new(&"x".repeat(2_953)).is_some());
        assert!(Code::new(&"x".repeat(2_954)).is_none());
    }
}
