//! Lines that somebody wrote for a configuration before there were passwords.

use std::fmt;
use std::io;

use super::edit::value_of;
use super::lines;
use super::mistake::Mistakes;
use super::value::RANDOM;
use super::{Config, Password};

/// Why no configuration came of them.
#[derive(Debug)]
pub enum FillInError {
    /// They have mistakes.
    Mistakes(Mistakes),
    /// There are no random bytes.
    Random(io::Error),
}

impl std::error::Error for FillInError {}

impl fmt::Display for FillInError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FillInError::Mistakes(mistakes) => mistakes.fmt(f),
            FillInError::Random(error) => write!(f, "the system gives no random bytes: {error}"),
        }
    }
}

/// The lines of `file`, each byte as it was, but with a strong password of its own for each extension whose
/// password is the word `random`. `random` fills a slice with random bytes; `file_name` is for the mistakes.
///
/// # Errors
///
/// All mistakes of the lines, or that of `random`.
pub fn fill_in(
    file_name: &str,
    file: &[u8],
    mut random: impl FnMut(&mut [u8]) -> io::Result<()>,
) -> Result<Vec<u8>, FillInError> {
    let mut filled = file.to_vec();
    // What is too large is refused below, without being read.
    if file.len() <= super::MAX_BYTES {
        let lines = lines::lines(file, &mut Mistakes::new(file_name));
        let is_password =
            |key: &str| matches!(key.split_once('.'), Some(("ext", number)) if !number.contains('.'));
        let mut numbers: Vec<u32> = lines
            .iter()
            .filter(|line| is_password(line.key) && line.value == RANDOM)
            .map(|line| line.number)
            .collect();
        numbers.sort_unstable();
        // From the last one on, so that those before it stay where they are.
        for number in numbers.into_iter().rev() {
            if let Some(place) = value_of(file, number) {
                let password = Password::strong(&mut random).map_err(FillInError::Random)?;
                filled.splice(place, password.reveal().bytes());
            }
        }
    }
    Config::parse(file_name, &filled).map_err(FillInError::Mistakes)?;
    Ok(filled)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn filled(file: &str) -> Result<String, FillInError> {
        let mut next = 0u8;
        let counting = |bytes: &mut [u8]| {
            bytes.fill_with(|| {
                next = next.wrapping_add(7);
                next
            });
            Ok(())
        };
        fill_in("x", file.as_bytes(), counting).map(|bytes| String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn only_passwords_are_filled_in_and_each_is_another() {
        let file =
            "\u{feff}# random\r\next.1 = random \r\next.1.name = random\next.12=random\next.3 = a = random\n";
        let text = filled(file).unwrap();
        let config = Config::parse("x", text.as_bytes()).unwrap();
        let password = |number: &str| config.extensions[number].password.reveal().to_owned();
        assert_eq!((password("1").len(), password("12").len()), (20, 20));
        assert_ne!(password("1"), password("12"));
        let back = text.replace(&password("1"), "random").replace(&password("12"), "random");
        assert_eq!(back, file);
    }

    #[test]
    fn lines_with_mistakes_are_refused_with_all_of_them() {
        let told = filled("ext.1 = random\nekho = 1\n\nlogg = info\n").unwrap_err().to_string();
        assert!(told.contains("x:2: ekho") && told.contains("x:4: logg"), "{told}");
        assert!(filled("").is_err() && filled(&"#".repeat(super::super::MAX_BYTES + 1)).is_err());
        let none = fill_in("x", b"ext.1 = random", |_| Err(io::Error::other("none")));
        assert!(matches!(none, Err(FillInError::Random(_))));
    }

    /// Else it would be a password that everybody knows.
    #[test]
    fn the_word_itself_is_no_password() {
        let told = Config::parse("x", b"ext.1 = random").unwrap_err().to_string();
        assert!(told.contains("denwa init --with"), "{told}");
    }
}
