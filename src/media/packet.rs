//! What the relay needs to know of a packet's inside: no more than what it counts, and what the echo shifts.
//! Nothing here is required of a packet: T.38, STUN and DTLS pass the relay just so.

/// What a packet looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Looks {
    /// RTP version 2 (RFC 3550 §5.1).
    Rtp {
        /// What kind of media, as the SDP says.
        payload_type: u8,
        /// Its sequence number.
        number: u16,
        /// When it was sampled, by the clock of its kind.
        timestamp: u32,
        /// Who sends.
        ssrc: [u8; 4],
    },
    /// RTCP, perhaps multiplexed: told from RTP by its packet type (RFC 5761 §4).
    Rtcp,
    /// Anything else.
    Other,
}

/// Where the SSRC stands in an RTP packet.
const SSRC: std::ops::Range<usize> = 8..12;

/// Looks at a packet's first twelve bytes.
pub(super) fn look(packet: &[u8]) -> Looks {
    match *packet {
        [first, kind, ..] if first >> 6 == 2 && (192..=223).contains(&kind) => Looks::Rtcp,
        [first, kind, high, low, t, i, m, e, a, b, c, d, ..] if first >> 6 == 2 => Looks::Rtp {
            payload_type: kind & 0x7f,
            number: u16::from_be_bytes([high, low]),
            timestamp: u32::from_be_bytes([t, i, m, e]),
            ssrc: [a, b, c, d],
        },
        _ => Looks::Other,
    }
}

/// Turns an RTP packet into its echo: its own but for the SSRC, so that its sender does not hear of a
/// collision (RFC 3550 §8.2). Anything else has no echo: `false`.
pub(super) fn echo(packet: &mut [u8]) -> bool {
    let Looks::Rtp { ssrc, .. } = look(packet) else { return false };
    packet[SSRC].copy_from_slice(&u32::from_be_bytes(ssrc).wrapping_add(1).to_be_bytes());
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    const RTP: [u8; 14] = [0x80, 0x88, 0x12, 0x34, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 7, 8];

    #[test]
    fn packets_are_told_apart() {
        let looks = Looks::Rtp { payload_type: 8, number: 0x1234, timestamp: 1, ssrc: [0xff; 4] };
        assert_eq!(look(&RTP), looks);
        assert_eq!(look(&RTP[..11]), Looks::Other, "too short for an SSRC");
        assert_eq!(look(&[0x81, 201, 0, 1, 0, 0, 0, 1]), Looks::Rtcp, "a receiver report");
        assert_eq!(look(&[0x80, 0xff, 0, 1, 0, 0, 0, 1]), Looks::Other);
        assert_eq!(look(&[0x00, 0x01, 0, 8, 0x21, 0x12, 0xa4, 0x42, 0, 0, 0, 0]), Looks::Other, "STUN");
        assert_eq!(look(&[22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0]), Looks::Other, "DTLS");
        assert_eq!(look(&[]), Looks::Other);
        assert_eq!(look(&[0x80]), Looks::Other);
    }

    #[test]
    fn an_echo_has_another_ssrc_and_is_the_same_otherwise() {
        let mut packet = RTP;
        assert!(echo(&mut packet));
        let mut expected = RTP;
        expected[8..12].copy_from_slice(&[0, 0, 0, 0]);
        assert_eq!(packet, expected);
    }

    #[test]
    fn what_is_not_rtp_has_no_echo() {
        for bytes in [
            &mut [0, 1, 0, 8, 0x21, 0x12, 0xa4, 0x42, 0, 0, 0, 0][..],
            &mut [0x81, 201, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0],
            &mut [],
        ] {
            let before = bytes.to_vec();
            assert!(!echo(bytes));
            assert_eq!(bytes, before);
        }
    }
}
