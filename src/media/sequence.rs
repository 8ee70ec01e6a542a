//! Packets missing by RTP sequence number (RFC 3550 §6.4.1 and appendix A.1).

use serde::{Deserialize, Serialize};

/// How far a number may jump ahead and still be loss: beyond it the sender began anew (`MAX_DROPOUT`).
const MAX_JUMP: u16 = 3_000;

/// How many of the last numbers are remembered, so that a late packet is told from a duplicate.
const REMEMBERED: u16 = 64;

/// What one end's sequence numbers say about loss.
///
/// A gap counts when a later packet shows it; a packet that comes late takes its count back, a duplicate does not.
/// Another SSRC, or two packets in a row from somewhere else in the number space, begin anew without loss: what
/// was missing around a restart cannot be known.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Sequence {
    following: Option<Following>,
    lost: u64,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Following {
    ssrc: [u8; 4],
    highest: u16,
    /// Bit `n`: whether `highest - n` came. Those before the first packet count as come.
    seen: u64,
    /// The number that would confirm a restart.
    restart: Option<u16>,
}

impl Sequence {
    /// Takes note of an RTP packet.
    pub(super) fn note(&mut self, ssrc: [u8; 4], number: u16) {
        let begin = Following { ssrc, highest: number, seen: u64::MAX, restart: None };
        let Some(following) = self.following.as_mut().filter(|now| now.ssrc == ssrc) else {
            self.following = Some(begin);
            return;
        };
        let ahead = number.wrapping_sub(following.highest);
        let behind = following.highest.wrapping_sub(number);
        if (1..=MAX_JUMP).contains(&ahead) {
            self.lost += u64::from(ahead - 1);
            following.seen = following.seen.checked_shl(ahead.into()).unwrap_or(0) | 1;
            following.highest = number;
            following.restart = None;
        } else if behind < REMEMBERED {
            let bit = 1 << behind;
            if following.seen & bit == 0 {
                following.seen |= bit;
                self.lost = self.lost.saturating_sub(1);
            }
        } else if following.restart == Some(number) {
            *following = begin;
        } else {
            following.restart = Some(number.wrapping_add(1));
        }
    }

    /// How many packets are missing by now.
    pub(super) fn lost(&self) -> u64 {
        self.lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SSRC: [u8; 4] = [1, 2, 3, 4];

    fn lost(numbers: &[u16]) -> u64 {
        let mut sequence = Sequence::default();
        for &number in numbers {
            sequence.note(SSRC, number);
        }
        sequence.lost()
    }

    #[test]
    fn gaps_count_and_late_packets_take_them_back() {
        assert_eq!(lost(&[]), 0);
        assert_eq!(lost(&[7, 8, 9]), 0);
        assert_eq!(lost(&[7, 9]), 1);
        assert_eq!(lost(&[7, 9, 8]), 0);
        assert_eq!(lost(&[7, 9, 8, 8, 8]), 0, "a duplicate is no second late packet");
        assert_eq!(lost(&[7, 9, 9, 7]), 1, "nor is one of a packet that came");
        assert_eq!(lost(&[7, 17, 12]), 8);
        assert_eq!(lost(&[7, 6, 5, 8]), 0, "what came before the first was never missed");
    }

    #[test]
    fn numbers_wrap_around() {
        assert_eq!(lost(&[65534, 65535, 0, 1]), 0);
        assert_eq!(lost(&[65534, 1]), 2);
        assert_eq!(lost(&[65534, 1, 65535, 0]), 0);
    }

    #[test]
    fn a_jump_is_a_restart_once_a_second_packet_confirms_it() {
        assert_eq!(lost(&[100, 30_000, 30_001, 30_002]), 0);
        assert_eq!(lost(&[100, 30_000, 101, 102]), 0, "a stray changes nothing");
        assert_eq!(lost(&[5_000, 100, 5_001, 5_002]), 0, "nor does a very late one");
        assert_eq!(lost(&[100, 100 + MAX_JUMP]), u64::from(MAX_JUMP) - 1);
        assert_eq!(lost(&[100, 30_000, 30_001, 30_003]), 1);
    }

    #[test]
    fn another_ssrc_begins_anew() {
        let mut sequence = Sequence::default();
        sequence.note(SSRC, 1);
        sequence.note(SSRC, 3);
        sequence.note([9; 4], 1_000);
        sequence.note([9; 4], 1_002);
        assert_eq!(sequence.lost(), 2);
    }

    /// Any stretch of numbers, with losses, duplicates and swaps within the memory, counts exactly.
    #[test]
    fn random_losses_are_counted_exactly() {
        for seed in 1..300_u64 {
            let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let mut next = move |below: u64| {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                random % below
            };
            let start = next(65_536) as u16;
            let mut sent: Vec<u16> = (0..3_000).map(|n| start.wrapping_add(n)).collect();
            let mut dropped = 0;
            // The first and the last arrive: what is missing outside of them nobody can know.
            let mut index = 0;
            sent.retain(|_| {
                index += 1;
                let keep = index == 1 || index == 3_000 || next(10) > 0;
                dropped += u64::from(!keep);
                keep
            });
            let last = sent.len() - 1;
            for _ in 0..500 {
                let at = 1 + next(last as u64 - 12) as usize;
                sent.swap(at, at + next(10) as usize);
            }
            for _ in 0..100 {
                let at = 1 + next(last as u64 - 12) as usize;
                sent.insert(at + next(5) as usize, sent[at]);
            }
            assert_eq!(lost(&sent), dropped, "seed {seed}");
        }
    }

    /// No order of numbers makes the count go below zero.
    #[test]
    fn noise_does_no_harm() {
        let mut random = 88_172_645_463_325_252_u64;
        let mut sequence = Sequence::default();
        for _ in 0..1_000_000 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            // Mostly near each other, so that all branches are taken.
            let number = if random & 1 == 0 { (random >> 40) as u16 & 0xff } else { (random >> 40) as u16 };
            sequence.note([(random >> 60 == 0).into(), 0, 0, 0], number);
        }
        assert!(sequence.lost() > 0);
    }
}
