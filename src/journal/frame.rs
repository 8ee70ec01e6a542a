//! How records lie in the file.
//!
//! ```text
//! magic (8 octets), version (u32), then for each record:
//! length (u16), CRC-32 of the payload (u32), payload: the record in postcard's form
//! ```
//!
//! Numbers are little-endian everywhere, so a file can be carried to another machine.

use std::io::{self, BufRead, BufReader, Read};

use postcard::ser_flavors::{Flavor, Size};

use super::record::{Binding, Record};

/// What a file begins with. A program that takes it for text, or has seven bits, breaks it.
const MAGIC: [u8; 8] = *b"denwa\xe9\r\n";

/// The version of the form, and of all kinds of records. Files of earlier ones can be read, and are written
/// anew before they are gone on with.
///
/// 2: calls, and what extensions have used.
pub const VERSION: u32 = 2;

/// Magic and version.
pub(super) const HEADER: usize = MAGIC.len() + 4;

/// Length and checksum.
const PREFIX: usize = 6;

/// The most octets of a record.
pub const MAX_RECORD: usize = u16::MAX as usize;

/// What a file begins with.
pub(super) fn header() -> [u8; HEADER] {
    let mut header = [0; HEADER];
    header[..MAGIC.len()].copy_from_slice(&MAGIC);
    header[MAGIC.len()..].copy_from_slice(&VERSION.to_le_bytes());
    header
}

/// Appends a record. One that is longer than [`MAX_RECORD`] is left out; false then.
pub(super) fn write(out: &mut Vec<u8>, record: &Record) -> bool {
    let begin = out.len();
    out.extend_from_slice(&[0; PREFIX]);
    let written = postcard::serialize_with_flavor(record, Appended(out)).is_ok();
    let length = u16::try_from(out.len() - begin - PREFIX);
    let (true, Ok(length)) = (written, length) else {
        out.truncate(begin);
        return false;
    };
    let (prefix, payload) = out[begin..].split_at_mut(PREFIX);
    prefix[..2].copy_from_slice(&length.to_le_bytes());
    prefix[2..].copy_from_slice(&crc32fast::hash(payload).to_le_bytes());
    true
}

/// How many octets a binding takes.
pub(super) fn size(binding: &Binding) -> u64 {
    let payload = postcard::serialize_with_flavor(binding, Size::default());
    // And what kind of record it is.
    (PREFIX + 1 + payload.unwrap_or_default()) as u64
}

/// Postcard's output, at the end of a vector.
struct Appended<'a>(&'a mut Vec<u8>);

impl Flavor for Appended<'_> {
    type Output = ();

    fn try_push(&mut self, octet: u8) -> postcard::Result<()> {
        self.0.push(octet);
        Ok(())
    }

    fn try_extend(&mut self, octets: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(octets);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

/// What was found in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Records up to this place; what follows, if anything does, is torn or damaged.
    Records {
        /// The end of the last whole record, in octets from the beginning of the file.
        end: u64,
        /// Whether it is of an earlier version.
        is_old: bool,
    },
    /// The file is of a version that we do not know.
    Version(u32),
    /// It has a record that is whole, and of a kind that we do not know.
    Unknown,
    /// It is no journal.
    Foreign,
}

/// Reads a file, record by record, in at most some 128 KiB of memory.
///
/// # Errors
///
/// Only those of reading.
pub(super) fn read(file: impl Read, mut each: impl FnMut(Record)) -> io::Result<Found> {
    let mut file = BufReader::with_capacity(64 << 10, file);
    let mut header = [0; HEADER];
    if !fill(&mut file, &mut header)? || !header.starts_with(&MAGIC) {
        return Ok(Found::Foreign);
    }
    let [.., a, b, c, d] = header;
    let version = u32::from_le_bytes([a, b, c, d]);
    if !(1..=VERSION).contains(&version) {
        return Ok(Found::Version(version));
    }
    let is_old = version < VERSION;
    let mut end = HEADER as u64;
    let mut payload = Vec::new();
    loop {
        let mut prefix = [0; PREFIX];
        if !fill(&mut file, &mut prefix)? {
            return Ok(Found::Records { end, is_old });
        }
        let [a, b, checksum @ ..] = prefix;
        let length = u16::from_le_bytes([a, b]);
        payload.resize(length.into(), 0);
        // Where a machine lost its power, a file may end in zeros: a length of zero, and its checksum.
        let whole = length > 0 && fill(&mut file, &mut payload)?;
        if !whole || crc32fast::hash(&payload) != u32::from_le_bytes(checksum) {
            return Ok(Found::Records { end, is_old });
        }
        match postcard::take_from_bytes(&payload) {
            Ok((record, [])) => each(record),
            // Somebody who knows more has written it, and what follows: none of that is ours to cut off.
            _ => return Ok(Found::Unknown),
        }
        end += PREFIX as u64 + u64::from(length);
    }
}

/// How much of what follows a damaged place is looked at by [`has_record`], in octets: a record ends there that begins
/// where the damaged one, however long, does at most.
pub(super) const WINDOW: usize = 2 * (PREFIX + MAX_RECORD);

/// Whether a whole record begins anywhere in these octets: what is before it was damaged, not torn.
pub(super) fn has_record(octets: &[u8]) -> bool {
    (0..octets.len()).any(|at| {
        let Some((prefix, rest)) = octets.get(at..).and_then(|from| from.split_first_chunk::<PREFIX>())
        else {
            return false;
        };
        let [a, b, checksum @ ..] = *prefix;
        let length = usize::from(u16::from_le_bytes([a, b]));
        let Some(payload) = rest.get(..length).filter(|payload| !payload.is_empty()) else { return false };
        // Most octets are the beginning of no record at all, which costs less to see than a checksum.
        matches!(postcard::take_from_bytes::<Record>(payload), Ok((_, [])))
            && crc32fast::hash(payload) == u32::from_le_bytes(checksum)
    })
}

/// Fills a buffer; false if the file ends before.
fn fill(file: &mut impl BufRead, buffer: &mut [u8]) -> io::Result<bool> {
    match file.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::record::{Clocks, Flow, Kept, Octets, Secret, Term, Transport};
    use super::*;
    use crate::time::Instant;

    fn records() -> Vec<Record> {
        let clocks = Clocks { now: Instant(300), wall: 1_790_000_000_000 };
        vec![
            Record::Secret(Secret([7; 32])),
            Record::Started(clocks),
            Record::Unbound(1),
            Record::Clock(clocks),
            Record::Unbound(u64::MAX),
        ]
    }

    /// A file, and where each of its records ends.
    fn file() -> (Vec<u8>, Vec<usize>) {
        let mut bytes = header().to_vec();
        let mut ends = vec![bytes.len()];
        for record in records() {
            assert!(write(&mut bytes, &record));
            ends.push(bytes.len());
        }
        (bytes, ends)
    }

    fn found(bytes: &[u8]) -> (Found, Vec<Record>) {
        let mut all = Vec::new();
        let found = read(bytes, |record| all.push(record)).unwrap();
        (found, all)
    }

    #[test]
    fn cut_off_at_any_octet_it_has_what_is_whole() {
        let (bytes, ends) = file();
        for length in 0..=bytes.len() {
            let (found, all) = found(&bytes[..length]);
            if length < HEADER {
                assert_eq!((found, all.len()), (Found::Foreign, 0));
                continue;
            }
            let whole = ends.iter().filter(|end| **end <= length).count() - 1;
            assert_eq!(found, Found::Records { end: ends[whole] as u64, is_old: false });
            assert_eq!(all, records()[..whole]);
        }
        let zeros = [&bytes[..], &[0; 5000]].concat();
        assert_eq!(found(&zeros), (Found::Records { end: bytes.len() as u64, is_old: false }, records()));
    }

    #[test]
    fn whatever_octet_is_wrong_what_is_before_it_is_right() {
        let (bytes, ends) = file();
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut damaged = bytes.clone();
                damaged[at] ^= 1 << bit;
                let (found, all) = found(&damaged);
                match at {
                    0..8 => assert_eq!(found, Found::Foreign),
                    8..HEADER => assert!(matches!(found, Found::Version(version) if version != VERSION)),
                    _ => {
                        let whole = ends.iter().filter(|end| **end <= at).count() - 1;
                        assert_eq!(found, Found::Records { end: ends[whole] as u64, is_old: false });
                        assert_eq!(all, records()[..whole]);
                    }
                }
            }
        }
    }

    #[test]
    fn whole_records_are_found_behind_a_damaged_place_and_nowhere_else() {
        let (bytes, ends) = file();
        for at in HEADER..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x10;
            let (Found::Records { end, .. }, _) = found(&damaged) else { panic!() };
            let is_last = at >= ends[ends.len() - 2];
            assert_eq!(has_record(&damaged[end as usize..]), !is_last, "{at}");
        }
        for length in HEADER..bytes.len() {
            let (Found::Records { end, .. }, _) = found(&bytes[..length]) else { panic!() };
            assert!(!has_record(&bytes[end as usize..length]));
        }
        assert!(!has_record(&[0; 5_000]));
        // The longest there can be.
        let mut out = vec![7; PREFIX + MAX_RECORD];
        let long = Octets(vec![7; MAX_RECORD - 20].into());
        assert!(write(&mut out, &Record::Locks(Kept { id: 1, at: Instant(300), form: long })));
        assert!(out.len() <= WINDOW && has_record(&out) && !has_record(&out[..out.len() - 1]));
    }

    #[test]
    fn random_octets_are_no_records() {
        let mut random = 1u64;
        for length in 0..2_000 {
            let mut bytes = header().to_vec();
            bytes.extend((0..length).map(|_| {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (random >> 56) as u8
            }));
            assert_eq!(found(&bytes), (Found::Records { end: HEADER as u64, is_old: false }, vec![]));
            assert_eq!(found(&bytes[HEADER..]).0, Found::Foreign);
            assert!(!has_record(&bytes[HEADER..]));
        }
    }

    #[test]
    fn a_record_that_is_too_long_is_left_out() {
        let binding = Binding {
            id: 1,
            number: "x".repeat(MAX_RECORD).into(),
            uri: Octets::default(),
            params: Octets::default(),
            device: None,
            path: Octets::default(),
            q: 0,
            flow: Flow {
                transport: Transport::Tcp,
                local: std::net::SocketAddr::from(([0; 4], 1)).into(),
                remote: std::net::SocketAddr::from(([0; 16], 1)).into(),
            },
            behind_nat: false,
            call_id: Octets::default(),
            term: Term::new(1, Instant(1), Default::default(), Default::default()),
        };
        let mut out = vec![1];
        let long = Record::Bound(Box::new(binding.clone()));
        assert!(!write(&mut out, &long));
        assert_eq!(out, [1]);

        let short = Binding { number: "101".into(), ..binding };
        let size = size(&short);
        assert!(write(&mut out, &Record::Bound(Box::new(short))));
        assert_eq!(out.len() as u64, 1 + size);
    }

    #[test]
    fn a_whole_record_that_nobody_knows_is_not_ours_to_cut_off() {
        for payload in [&[200, 1, 2][..], &[0xff; 9], &[3, 1]] {
            let (mut bytes, _) = file();
            bytes.extend_from_slice(&(payload.len() as u16).to_le_bytes());
            bytes.extend_from_slice(&crc32fast::hash(payload).to_le_bytes());
            bytes.extend_from_slice(payload);
            assert_eq!(found(&bytes), (Found::Unknown, records()));
        }
    }
}
