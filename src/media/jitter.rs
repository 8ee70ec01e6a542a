//! How unevenly packets arrive: interarrival jitter (RFC 3550 §6.4.1 and appendix A.8), in microseconds.

use serde::{Deserialize, Serialize};

use super::clock_rate::{self, Learning};

/// What differs by more than this from what the timestamps say, in microseconds, is no jitter: the sender's
/// clock was set anew, or it paused without letting it run.
const MOST: u64 = 1_000_000;

/// The jitter of what comes from one end.
///
/// It is the RFC's estimate but for three things. The clock rate comes from the payload type or, where that
/// has no fixed meaning, is learned from the first two seconds, which then have no jitter. Packets are
/// compared only with those of the same payload type, and of several with one timestamp (a picture, a dialled
/// digit) the first counts. And a difference of more than a second begins anew instead.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Jitter {
    following: Option<Following>,
    /// The last payload type whose rate was learned, and how long its ticks are.
    learned: Option<(u8, Tick)>,
    /// Sixteen times the estimate.
    scaled: u32,
    worst: u32,
}

/// Microseconds from tick to tick of an RTP clock, in units of 2^-16: so no packet costs a division.
type Tick = u32;

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Following {
    ssrc: [u8; 4],
    payload_type: u8,
    timestamp: u32,
    /// When the packet with this timestamp arrived, in microseconds.
    arrival: u64,
    clock: Clock,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum Clock {
    Known(Tick),
    Unknown(Learning),
}

impl Jitter {
    /// Takes note of an RTP packet that arrived at a moment in microseconds.
    pub(super) fn note(&mut self, ssrc: [u8; 4], payload_type: u8, timestamp: u32, arrival: u64) {
        let Some(last) = self.following.as_mut().filter(|last| last.ssrc == ssrc) else {
            self.scaled = 0;
            return self.begin(ssrc, payload_type, timestamp, arrival);
        };
        if last.payload_type != payload_type {
            return self.begin(ssrc, payload_type, timestamp, arrival);
        }
        if last.timestamp == timestamp {
            return;
        }
        let time = arrival.saturating_sub(last.arrival);
        // Signed: a packet may have been overtaken by this one.
        let ticks = i64::from(timestamp.wrapping_sub(last.timestamp) as i32);
        (last.timestamp, last.arrival) = (timestamp, arrival);
        match &mut last.clock {
            Clock::Unknown(learning) if time > MOST => *learning = Learning::begin(timestamp, arrival),
            Clock::Unknown(learning) => {
                if let Some(rate) = learning.learn(timestamp, arrival) {
                    let tick = tick(rate);
                    last.clock = Clock::Known(tick);
                    self.learned = Some((payload_type, tick));
                }
            }
            Clock::Known(tick) => {
                let sent = (ticks * i64::from(*tick)) >> 16;
                let difference = (time.min(i64::MAX as u64 / 2) as i64 - sent).unsigned_abs();
                if difference <= MOST {
                    self.scaled = self.scaled + difference as u32 - ((self.scaled + 8) >> 4);
                    self.worst = self.worst.max(self.now());
                }
            }
        }
    }

    fn begin(&mut self, ssrc: [u8; 4], payload_type: u8, timestamp: u32, arrival: u64) {
        let fixed = clock_rate::fixed(payload_type).map(tick);
        let learned = || self.learned.filter(|(learned, _)| *learned == payload_type).map(|(_, tick)| tick);
        let clock = match fixed.or_else(learned) {
            Some(tick) => Clock::Known(tick),
            None => Clock::Unknown(Learning::begin(timestamp, arrival)),
        };
        self.following = Some(Following { ssrc, payload_type, timestamp, arrival, clock });
    }

    /// The estimate as it is now.
    pub(super) fn now(&self) -> u32 {
        self.scaled >> 4
    }

    /// The most that it ever was.
    pub(super) fn worst(&self) -> u32 {
        self.worst
    }

    /// The last packet's payload type.
    pub(super) fn payload_type(&self) -> Option<u8> {
        self.following.map(|last| last.payload_type)
    }
}

fn tick(rate: u32) -> Tick {
    // The slowest clock has 8,000 ticks a second, and the longest tick 23 bits.
    ((1_000_000 << 16) / u64::from(rate)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    const SSRC: [u8; 4] = [1, 2, 3, 4];

    /// One packet each 20 ms, by a clock of `rate`, each late by what `late` says, in microseconds.
    fn stream(payload_type: u8, rate: u32, late: impl IntoIterator<Item = u64>) -> Jitter {
        let mut jitter = Jitter::default();
        for (number, late) in late.into_iter().enumerate() {
            let timestamp = (u32::MAX - 1_000).wrapping_add(number as u32 * (rate / 50));
            jitter.note(SSRC, payload_type, timestamp, 5_000_000 + number as u64 * 20_000 + late);
        }
        jitter
    }

    #[test]
    fn an_even_stream_has_none() {
        for (payload_type, rate) in [(0, 8_000), (9, 8_000), (6, 16_000), (111, 48_000), (96, 16_000)] {
            let jitter = stream(payload_type, rate, [30_000; 500]);
            assert!(jitter.worst() < 20, "{payload_type}: {} µs", jitter.worst());
            assert_eq!(jitter.payload_type(), Some(payload_type));
        }
    }

    #[test]
    fn the_estimate_is_the_rfcs() {
        // Every second packet is 8 ms late: each differs from the one before by 8 ms, and after many that is
        // it.
        let late = (0..500).map(|number| number % 2 * 8_000);
        for (payload_type, rate) in [(8, 8_000), (111, 48_000)] {
            let jitter = stream(payload_type, rate, late.clone());
            assert!((7_900..=8_000).contains(&jitter.now()), "{payload_type}: {} µs", jitter.now());
            assert_eq!(jitter.worst(), jitter.now());
        }
        // One that is 16 ms late differs twice, and counts a sixteenth each time.
        let once = stream(0, 8_000, (0..3).map(|number| if number == 1 { 16_000 } else { 0 }));
        assert_eq!(once.now(), 1_937);
    }

    #[test]
    fn packets_that_swapped_places_are_compared_as_they_are() {
        let mut jitter = Jitter::default();
        for (timestamp, arrival) in [(0, 0), (320, 40_000), (160, 41_000), (480, 60_000)] {
            jitter.note(SSRC, 0, timestamp, arrival);
        }
        // 0 µs, 21 ms, 21 ms.
        assert_eq!(jitter.now(), (21_000 * 15 / 16 + 21_000) / 16);
    }

    #[test]
    fn of_several_packets_with_one_timestamp_the_first_counts() {
        let mut jitter = Jitter::default();
        for frame in 0..100_u32 {
            for packet in 0..5 {
                jitter.note(SSRC, 34, frame * 3_000, u64::from(frame) * 33_333 + packet * 3_000);
            }
        }
        assert!(jitter.worst() < 5, "{} µs", jitter.worst());
    }

    #[test]
    fn a_dialled_digit_neither_counts_nor_makes_the_rate_forgotten() {
        let mut jitter = Jitter::default();
        let mut worst_before = 0;
        for number in 0..400_u32 {
            let (arrival, timestamp) = (u64::from(number) * 20_000, number * 960);
            match number {
                // Its timestamp stands while it sounds (RFC 4733 §2.3.5).
                200..=220 => jitter.note(SSRC, 101, 200 * 960, arrival),
                _ => jitter.note(SSRC, 111, timestamp, arrival + u64::from(number % 2) * 1_000),
            }
            if number == 199 {
                worst_before = jitter.worst();
            }
        }
        assert!((900..=1_000).contains(&worst_before), "{worst_before} µs");
        assert!((900..=1_000).contains(&jitter.now()), "{} µs", jitter.now());
        assert!(jitter.worst() <= 1_000, "{} µs", jitter.worst());
    }

    #[test]
    fn a_clock_that_was_set_anew_or_stood_is_no_jitter() {
        let mut jitter = Jitter::default();
        for number in 0..300_u32 {
            let jump = if number < 100 { 0 } else { 0x7000_0000 };
            let pause = if number < 200 { 0 } else { 30_000_000 };
            jitter.note(SSRC, 0, number * 160 + jump, u64::from(number) * 20_000 + pause);
        }
        assert_eq!(jitter.worst(), 0);
        // Another source is measured by itself.
        jitter.note(SSRC, 0, 0, 0);
        jitter.note([9; 4], 0, 777, 60_000_000);
        assert_eq!(jitter.now(), 0);
    }

    #[test]
    fn noise_does_no_harm() {
        let mut random = 88_172_645_463_325_252_u64;
        let mut jitter = Jitter::default();
        for _ in 0..1_000_000 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let few = random & 1 == 0;
            let timestamp = if few { random as u32 & 0xffff } else { (random >> 20) as u32 };
            let arrival = if few { random >> 40 } else { random };
            jitter.note(
                [(random >> 61 == 0).into(), 0, 0, 0],
                (random >> 3) as u8 & 0x7f,
                timestamp,
                arrival,
            );
            assert!(u64::from(jitter.worst()) <= MOST);
        }
    }
}
