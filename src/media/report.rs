//! What RTCP tells about time (RFC 3550 §6.4): when a report was sent, and how long ago the other one came.

/// How many packets of a compound one are looked at: two or three are usual. With more, nothing is read.
const MOST_PACKETS: usize = 8;

/// The length of a packet's header and its sender's SSRC.
const HEADER: usize = 8;

/// The length of what a sender report tells about its sender.
const SENDER: usize = 20;

/// The length of a report block.
const BLOCK: usize = 24;

/// Something that a report tells. Times are in units of 2^-16 s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// The middle 32 bits of the NTP timestamp of when it was sent.
    Sent(u32),
    /// A report of the other side came some time ago.
    Heard {
        /// What that one said in [`Told::Sent`] (LSR).
        report: u32,
        /// How long before this one was sent it came (DLSR).
        ago: u32,
    },
}

/// Reads a compound packet. One that does not hold what RFC 3550 appendix A.2 asks of it tells nothing; so an
/// encrypted one (SRTCP) does not, whose lengths do not add up.
pub(super) fn read(packet: &[u8]) -> impl Iterator<Item = Told> {
    let whole = if is_whole(packet) { packet } else { &[] };
    packets(whole).flat_map(|packet| {
        let (sent, blocks) = match packet.kind {
            SENDER_REPORT => (packet.body.get(2..6), packet.body.get(SENDER..)),
            RECEIVER_REPORT => (None, Some(packet.body)),
            _ => (None, None),
        };
        let sent = sent.and_then(word).map(Told::Sent);
        let blocks = blocks.unwrap_or_default().chunks_exact(BLOCK).take(packet.count);
        sent.into_iter().chain(blocks.filter_map(|block| {
            let (report, ago) = (word(block.get(16..20)?)?, word(block.get(20..24)?)?);
            // Zero says that none came.
            (report != 0).then_some(Told::Heard { report, ago })
        }))
    })
}

const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;

/// One packet of a compound one.
struct Packet<'a> {
    kind: u8,
    /// How many report blocks it says it has.
    count: usize,
    /// What follows the sender's SSRC.
    body: &'a [u8],
}

/// Whether it is made of whole packets, the first of them a report.
fn is_whole(packet: &[u8]) -> bool {
    let (mut length, mut number) = (0, 0);
    for part in packets(packet) {
        if number == 0 && !matches!(part.kind, SENDER_REPORT | RECEIVER_REPORT) {
            return false;
        }
        (length, number) = (length + HEADER + part.body.len(), number + 1);
    }
    number > 0 && number <= MOST_PACKETS && length == packet.len()
}

/// The packets of a compound one, up to the first that is none, and at most one more than are looked at.
fn packets(mut rest: &[u8]) -> impl Iterator<Item = Packet<'_>> {
    std::iter::from_fn(move || {
        let &[first, kind, high, low, ..] = rest else { return None };
        let length = (usize::from(u16::from_be_bytes([high, low])) + 1) * 4;
        if first >> 6 != 2 {
            return None;
        }
        let (packet, behind) = rest.split_at_checked(length)?;
        rest = behind;
        Some(Packet { kind, count: usize::from(first & 0x1f), body: packet.get(HEADER..)? })
    })
    .take(MOST_PACKETS + 1)
}

fn word(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn told(packet: &[u8]) -> Vec<Told> {
        read(packet).collect()
    }

    fn block(report: u32, ago: u32) -> Vec<u8> {
        [&[0x77; 16][..], &report.to_be_bytes(), &ago.to_be_bytes()].concat()
    }

    /// A sender report of these middle bits.
    fn sender(sent: u32, blocks: &[Vec<u8>]) -> Vec<u8> {
        let words = 6 + 6 * blocks.len() as u8;
        let mut packet = vec![0x80 | blocks.len() as u8, 200, 0, words, 0, 0, 0, 1, 0xaa, 0xaa];
        packet.extend(sent.to_be_bytes());
        packet.extend([0xbb; 14]);
        packet.extend(blocks.concat());
        packet
    }

    fn receiver(blocks: &[Vec<u8>]) -> Vec<u8> {
        let mut packet = vec![0x80 | blocks.len() as u8, 201, 0, 1 + 6 * blocks.len() as u8, 0, 0, 0, 1];
        packet.extend(blocks.concat());
        packet
    }

    /// A source description with a name.
    const DESCRIPTION: [u8; 16] = [0x81, 202, 0, 3, 0, 0, 0, 1, 1, 4, b'a', b'@', b'b', b'c', 0, 0];

    #[test]
    fn reports_tell_when_they_were_sent_and_what_they_heard() {
        assert_eq!(told(&sender(0x1234_5678, &[])), [Told::Sent(0x1234_5678)]);
        let both = [block(7, 65_536), block(9, 0)];
        let heard = [Told::Heard { report: 7, ago: 65_536 }, Told::Heard { report: 9, ago: 0 }];
        assert_eq!(told(&receiver(&both)), heard);
        let compound = [sender(5, &both[..1]), DESCRIPTION.to_vec()].concat();
        assert_eq!(told(&compound), [Told::Sent(5), heard[0]]);
        assert_eq!(told(&receiver(&[block(0, 77)])), [], "nothing was heard");
        assert_eq!(told(&receiver(&[])), []);
    }

    #[test]
    fn what_is_no_whole_compound_packet_tells_nothing() {
        let whole = [sender(5, &[block(7, 1)]), DESCRIPTION.to_vec()].concat();
        assert_eq!(told(&whole).len(), 2);
        for length in 0..whole.len() {
            // Without the description, it is whole again.
            let expected = if length == whole.len() - DESCRIPTION.len() { 2 } else { 0 };
            assert_eq!(told(&whole[..length]).len(), expected, "{length} bytes");
        }
        assert_eq!(told(&[&whole[..], &[0; 14]].concat()), [], "SRTCP ends with an index and a tag");
        assert_eq!(told(&[&DESCRIPTION[..], &whole].concat()), [], "a report comes first");
        assert_eq!(told(&receiver(&[block(7, 1)]).repeat(MOST_PACKETS)).len(), MOST_PACKETS);
        assert_eq!(told(&receiver(&[block(7, 1)]).repeat(MOST_PACKETS + 1)), []);
        // More blocks are promised than there are, by each kind.
        let mut lying = receiver(&[block(7, 1)]);
        lying[0] = 0x9f;
        assert_eq!(told(&lying).len(), 1);
        assert_eq!(told(&[0x9f, 200, 0, 1, 0, 0, 0, 1]), []);
        assert_eq!(told(&[0x9f, 201, 0, 0]), [], "no room for an SSRC");
    }

    #[test]
    fn noise_does_no_harm() {
        let mut random = 88_172_645_463_325_252_u64;
        for round in 0..200_000 {
            let mut packet = [sender(5, &[block(7, 1)]), receiver(&[block(7, 1)])].concat();
            for _ in 0..1 + round % 4 {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                let at = (random >> 8) as usize % packet.len();
                packet[at] = random as u8;
            }
            packet.truncate(packet.len() - (random >> 60) as usize);
            assert!(told(&packet).len() <= 64);
        }
    }
}
