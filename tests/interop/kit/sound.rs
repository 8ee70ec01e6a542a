//! Tones: written into a file that a phone plays, and found in what another one recorded.

use std::f64::consts::TAU;
use std::fs;
use std::path::Path;

use super::wait_until;

/// Samples a second: narrow-band telephony.
pub const RATE: usize = 8000;

/// A WAV file's header as written here and by libsndfile: no chunks but format and data.
const HEADER: usize = 44;

/// Writes `seconds` of a sine of `hz` as WAV: mono, 16 bit, a third of full scale.
pub fn write_tone(path: &Path, hz: f64, seconds: usize) {
    let samples = (0..RATE * seconds).flat_map(|n| {
        let phase = TAU * hz * n as f64 / RATE as f64;
        ((phase.sin() * 10_000.0) as i16).to_le_bytes()
    });
    let data: Vec<u8> = samples.collect();
    let size = data.len() as u32;
    let rate = RATE as u32;
    let mut wav = Vec::with_capacity(HEADER + data.len());
    wav.extend(b"RIFF");
    wav.extend((size + 36).to_le_bytes());
    wav.extend(b"WAVEfmt ");
    wav.extend(16u32.to_le_bytes());
    wav.extend(1u16.to_le_bytes()); // PCM
    wav.extend(1u16.to_le_bytes()); // channels
    wav.extend(rate.to_le_bytes());
    wav.extend((rate * 2).to_le_bytes()); // bytes a second
    wav.extend(2u16.to_le_bytes()); // bytes a frame
    wav.extend(16u16.to_le_bytes()); // bits a sample
    wav.extend(b"data");
    wav.extend(size.to_le_bytes());
    wav.extend(data);
    fs::write(path, wav).unwrap();
}

/// The samples of a WAV file as [`write_tone`] writes it. The sizes in the header are ignored, so
/// that a recording can be read while it goes on.
pub fn samples(path: &Path) -> Vec<f64> {
    let wav = fs::read(path).unwrap_or_default();
    let data = wav.get(HEADER..).unwrap_or_default();
    data.chunks_exact(2).map(|s| f64::from(i16::from_le_bytes([s[0], s[1]]))).collect()
}

/// Waits until the last half second of a recording that goes on is the tone of `hz` and nothing
/// else. Only what was recorded after the call of this function counts.
pub fn listen_for(hz: f64, recording: impl Fn() -> Vec<f64>) {
    let before = recording().len();
    wait_until(&format!("{hz} Hz are heard"), || {
        let heard = recording();
        let Some(last) = heard.len().checked_sub(RATE / 2) else { return false };
        // Codecs add noise of their own.
        last >= before && share_of_tone(&heard[last..], hz) > 0.95
    });
}

/// How much of the sound's energy is the tone of `hz`: 1.0 for the pure tone, 0.0 for silence.
pub fn share_of_tone(samples: &[f64], hz: f64) -> f64 {
    if is_silence(samples) {
        return 0.0;
    }
    let energy: f64 = samples.iter().map(|s| s * s).sum();
    2.0 * goertzel(samples, hz) / (energy * samples.len() as f64)
}

/// Whether there is less than a hundredth of the level of a tone.
pub fn is_silence(samples: &[f64]) -> bool {
    let energy: f64 = samples.iter().map(|s| s * s).sum();
    energy <= samples.len() as f64 * 70.0 * 70.0
}

/// The squared magnitude of one bin of the Fourier transform, by Goertzel's recurrence.
fn goertzel(samples: &[f64], hz: f64) -> f64 {
    let c = 2.0 * (TAU * hz / RATE as f64).cos();
    let (s1, s2) = samples.iter().fold((0.0, 0.0), |(s1, s2), x| (x + c * s1 - s2, s1));
    s1 * s1 + s2 * s2 - c * s1 * s2
}

#[test]
fn a_tone_is_told_from_another_and_from_silence() {
    let path = std::env::temp_dir().join(format!("denwa-tone-{}.wav", std::process::id()));
    write_tone(&path, 440.0, 1);
    let tone = samples(&path);
    fs::remove_file(&path).unwrap();
    assert_eq!(tone.len(), RATE);
    assert!(share_of_tone(&tone, 440.0) > 0.99);
    assert!(share_of_tone(&tone, 1000.0) < 0.01);
    assert_eq!(share_of_tone(&vec![0.0; RATE], 440.0), 0.0);
}
