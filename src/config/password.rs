//! Passwords that nobody guesses and everybody can type.

use std::io;

use super::Password;

/// How long they are.
const LENGTH: usize = 20;

/// What nobody confuses and every keypad has.
const ALPHABET: &[u8; 31] = b"abcdefghjkmnpqrstuvwxyz23456789";

/// Bytes from here on would make the first letters more likely than the others.
const FAIR: u8 = (256 / ALPHABET.len() * ALPHABET.len()) as u8;

impl Password {
    /// A new one of 20 characters of 31: 99 bits. `random` fills a slice with random bytes.
    ///
    /// # Errors
    ///
    /// Those of `random`.
    pub fn strong(random: &mut impl FnMut(&mut [u8]) -> io::Result<()>) -> io::Result<Password> {
        let mut password = String::with_capacity(LENGTH);
        while password.len() < LENGTH {
            let mut bytes = [0; LENGTH];
            random(&mut bytes)?;
            let fair = bytes.iter().filter(|&&byte| byte < FAIR);
            let letters = fair.map(|&byte| char::from(ALPHABET[usize::from(byte) % ALPHABET.len()]));
            password.extend(letters.take(LENGTH - password.len()));
        }
        Ok(Password::new(&password))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_fair() {
        let mut each = 0..=255u8;
        let mut seen = std::collections::BTreeMap::new();
        for _ in 0..256 / 31 * 31 {
            let password = Password::strong(&mut |bytes: &mut [u8]| {
                bytes.fill(each.next().unwrap());
                Ok(())
            });
            let password = password.unwrap();
            assert_eq!(password.reveal().len(), 20);
            *seen.entry(password.reveal().to_string()).or_insert(0) += 1;
        }
        assert_eq!(seen.len(), 31);
        assert!(seen.values().all(|&times| times == 8), "{seen:?}");
    }
}
