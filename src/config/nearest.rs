//! Which known key somebody probably meant.

/// The known word nearest to `word`, if one is near enough to be meant: at most a third of its
/// letters differ, or one is the beginning of the other.
pub(super) fn nearest(word: &str, known: &[&'static str]) -> Option<&'static str> {
    let folded = word.to_ascii_lowercase().replace('_', "-");
    let known = || known.iter().copied().filter(|key| !key.is_empty());
    let begins = |key: &str| (folded.len() >= 3 && key.starts_with(&folded)) || folded.starts_with(key);
    let most = |key: &str| key.len().max(3) / 3;
    known()
        // Most keys are so much longer or shorter that nothing has to be compared.
        .filter(|key| key.len().abs_diff(folded.len()) <= most(key))
        .map(|key| (distance(&folded, key), key))
        .filter(|&(distance, key)| distance <= most(key))
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, key)| key)
        .or_else(|| known().find(|key| begins(key)))
}

/// How many letters must be inserted, deleted, replaced or swapped with their neighbour to make
/// one word of the other (optimal string alignment). Words longer than 64 bytes are far from
/// everything.
fn distance(a: &str, b: &str) -> usize {
    const LONGEST: usize = 64;
    let (a, b) = (a.as_bytes(), b.as_bytes());
    if a.len().max(b.len()) > LONGEST {
        return usize::MAX;
    }
    let mut before = [0; LONGEST + 1];
    let mut last: [usize; LONGEST + 1] = std::array::from_fn(|j| j);
    for i in 1..=a.len() {
        let mut row = [i; LONGEST + 1];
        for j in 1..=b.len() {
            let replaced = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = replaced.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = last;
        last = row;
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &[&str] = &["", "listen", "log", "media-ports", "media-timeout", "ext"];

    #[test]
    fn distances() {
        assert_eq!(distance("listen", "listen"), 0);
        assert_eq!(distance("listne", "listen"), 1);
        assert_eq!(distance("", "log"), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance(&"x".repeat(65), "x"), usize::MAX);
    }

    #[test]
    fn what_was_meant() {
        assert_eq!(nearest("listn", KNOWN), Some("listen"));
        assert_eq!(nearest("Media_Port", KNOWN), Some("media-ports"));
        assert_eq!(nearest("extension", KNOWN), Some("ext"));
        assert_eq!(nearest("media", KNOWN), Some("media-ports"));
        assert_eq!(nearest("me", KNOWN), None);
        assert_eq!(nearest("etx", KNOWN), Some("ext"));
        assert_eq!(nearest("password", KNOWN), None);
        assert_eq!(nearest("", KNOWN), None);
    }
}
