//! How fast an RTP clock runs: RTP timestamps are in its ticks.

use serde::{Deserialize, Serialize};

/// The clock rate in Hz that RFC 3551 §6 (tables 4 and 5) gives a payload type; `None` for those that an SDP
/// gives a meaning, of which the relay is not told.
pub(super) fn fixed(payload_type: u8) -> Option<u32> {
    Some(match payload_type {
        // G.722 (9) is sampled at 16 kHz, and its clock runs at half of that, by an old mistake (§4.5.2).
        0 | 3..=5 | 7..=9 | 12 | 13 | 15 | 18 => 8_000,
        6 => 16_000,
        10 | 11 => 44_100,
        16 => 11_025,
        17 => 22_050,
        14 | 25 | 26 | 28 | 31..=34 => 90_000,
        _ => return None,
    })
}

/// The clock rates in Hz of what has no fixed payload type: sound of all widths, and pictures. (44.1 kHz is
/// too near to Opus' 48 kHz to be told from it.)
const USUAL: [u32; 7] = [8_000, 12_000, 16_000, 24_000, 32_000, 48_000, 90_000];

/// How long timestamps are followed until they tell the rate, in microseconds: within that time, a network's
/// usual jitter makes it look wrong by a few per cent, and usual rates differ by a third.
const ENOUGH: u64 = 2_000_000;

/// A clock whose rate is learned from how its timestamps advance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Learning {
    timestamp: u32,
    arrival: u64,
}

impl Learning {
    /// Begins with a packet that arrived at a moment in microseconds.
    pub(super) fn begin(timestamp: u32, arrival: u64) -> Learning {
        Learning { timestamp, arrival }
    }

    /// The usual rate that is nearest, as soon as two seconds of packets tell it. If these advanced as no
    /// usual clock does, learning begins anew.
    pub(super) fn learn(&mut self, timestamp: u32, arrival: u64) -> Option<u32> {
        let time = arrival.saturating_sub(self.arrival);
        if time < ENOUGH {
            return None;
        }
        let ticks = u64::from(timestamp.wrapping_sub(self.timestamp));
        *self = Learning::begin(timestamp, arrival);
        nearest(ticks * 1_000_000 / time)
    }
}

/// The usual rate that is nearest by ratio; `None` for one that is far from all of them.
fn nearest(rate: u64) -> Option<u32> {
    let [slowest, fastest] = [USUAL[0], USUAL[USUAL.len() - 1]].map(u64::from);
    if rate < slowest * 2 / 3 || rate > fastest * 3 / 2 {
        return None;
    }
    // Between two rates, their geometric mean decides.
    let is_below_mean = |pair: &&[u32]| rate * rate < u64::from(pair[0]) * u64::from(pair[1]);
    Some(USUAL.windows(2).find(is_below_mean).map_or(USUAL[USUAL.len() - 1], |pair| pair[0]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fixed_rates_are_those_of_the_rfc() {
        for (payload_type, rate) in [(0, 8_000), (8, 8_000), (9, 8_000), (18, 8_000), (34, 90_000)] {
            assert_eq!(fixed(payload_type), Some(rate));
        }
        assert_eq!([1, 2, 19, 24, 30, 72, 96, 127].map(fixed), [None; 8]);
    }

    #[test]
    fn a_rate_is_learned_from_two_seconds_whatever_the_network_does() {
        for rate in USUAL {
            for late in [-40_000_i64, 0, 40_000] {
                let start = u32::MAX - 10_000;
                let mut learning = Learning::begin(start, 1_000_000);
                let mut learned = None;
                let mut packets = 0_u64;
                while learned.is_none() {
                    packets += 1;
                    let arrival = 1_000_000 + packets * 20_000;
                    let arrival =
                        arrival.saturating_add_signed(if packets.is_multiple_of(2) { late } else { 0 });
                    learned = learning.learn(start.wrapping_add(packets as u32 * (rate / 50)), arrival);
                }
                assert_eq!(learned, Some(rate));
                assert!((98..=102).contains(&packets), "{packets}");
            }
        }
    }

    #[test]
    fn what_advances_like_no_clock_tells_nothing() {
        let mut learning = Learning::begin(0, 0);
        // A clock that stands, one that jumps, one that goes back.
        assert_eq!(learning.learn(0, ENOUGH), None);
        assert_eq!(learning.learn(u32::MAX / 2, 2 * ENOUGH), None);
        assert_eq!(learning.learn(u32::MAX / 2 - 1, 3 * ENOUGH), None);
        // And then one that is right.
        assert_eq!(learning.learn(u32::MAX / 2 - 1 + 96_000, 4 * ENOUGH), Some(48_000));
    }
}
