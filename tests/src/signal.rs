//! Test sounds, and how what comes out is compared with them.

/// Planar audio: one vector of samples per channel, all of one length.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Signal {
    /// Samples, `[channel][frame]`.
    pub channels: Vec<Vec<f32>>,
}

impl Signal {
    /// Silence.
    #[must_use]
    pub fn zeros(channels: usize, frames: usize) -> Self {
        Self {
            channels: vec![vec![0.0; frames]; channels],
        }
    }

    /// One channel made by a function of the frame's index.
    #[must_use]
    pub fn mono(frames: usize, sample: impl FnMut(usize) -> f32) -> Self {
        Self {
            channels: vec![(0..frames).map(sample).collect()],
        }
    }

    /// Silence but for one sample of value 0.5, of both signs in a stereo pair.
    #[must_use]
    pub fn impulse(channels: usize, frames: usize, at: usize) -> Self {
        let mut signal = Self::zeros(channels, frames);
        for (channel, value) in signal.channels.iter_mut().zip([0.5, -0.5]) {
            channel[at] = value;
        }
        signal
    }

    /// White noise of peak `peak`; the same `seed` gives the same noise.
    #[must_use]
    pub fn noise(channels: usize, frames: usize, peak: f32, seed: u32) -> Self {
        let mut state = seed.wrapping_mul(2_654_435_769) | 1;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            (f32::from(u16::try_from(state >> 16).unwrap_or(0)) / 32_767.5 - 1.0) * peak
        };
        let channels = (0..channels).map(|_| (0..frames).map(|_| next()).collect()).collect();
        Self { channels }
    }

    /// Something like an old disc: plucked harmonic notes under steady hiss, with a click now and then. Channels differ.
    #[must_use]
    pub fn disc(channels: usize, frames: usize, rate_hz: f64) -> Self {
        let mut signal = Self::noise(channels, frames, 0.03, 7);
        let note_frames = rate_hz * 0.31;
        for (index, channel) in signal.channels.iter_mut().enumerate() {
            for (frame, sample) in channel.iter_mut().enumerate() {
                let time = frame as f64;
                let (note, since) = ((time / note_frames).floor(), time % note_frames / rate_hz);
                let pitch_hz = 196.0 * 2.0f64.powf((note * 5.0 % 12.0) / 12.0);
                let tone: f64 = (1..=6)
                    .map(f64::from)
                    .filter(|partial| pitch_hz * partial < rate_hz * 0.45)
                    .map(|partial| (std::f64::consts::TAU * pitch_hz * partial * since).sin() / partial)
                    .sum();
                *sample += single(0.25 * tone * (-4.0 * since).exp() * (1.0 - 0.3 * index as f64));
            }
            for click in (3_000..frames).step_by(9_973) {
                channel[click] += 0.6;
            }
        }
        signal
    }

    /// Frames per channel.
    #[must_use]
    pub fn frames(&self) -> usize {
        self.channels.first().map_or(0, Vec::len)
    }

    /// The frames of `range`.
    #[must_use]
    pub fn slice(&self, range: std::ops::Range<usize>) -> Self {
        Self {
            channels: self.channels.iter().map(|channel| channel[range.clone()].to_vec()).collect(),
        }
    }

    /// This signal `frames` later, silence before it, of the same length.
    #[must_use]
    pub fn delayed(&self, frames: usize) -> Self {
        let mut delayed = Self::zeros(self.channels.len(), self.frames());
        for (to, from) in delayed.channels.iter_mut().zip(&self.channels) {
            for (to, from) in to.iter_mut().skip(frames).zip(from) {
                *to = *from;
            }
        }
        delayed
    }

    /// Sample by sample, with the same frame of another signal.
    #[must_use]
    pub fn with(&self, other: &Self, mut combine: impl FnMut(f32, f32) -> f32) -> Self {
        let channels = self.channels.iter().zip(&other.channels);
        Self {
            channels: channels
                .map(|(a, b)| a.iter().zip(b).map(|(a, b)| combine(*a, *b)).collect())
                .collect(),
        }
    }

    /// The difference `self - other`.
    #[must_use]
    pub fn minus(&self, other: &Self) -> Self {
        self.with(other, |a, b| a - b)
    }

    /// All samples of all channels.
    pub fn samples(&self) -> impl Iterator<Item = f32> {
        self.channels.iter().flatten().copied()
    }

    /// Largest magnitude. Not a number if any sample isn't.
    #[must_use]
    pub fn peak(&self) -> f32 {
        self.samples().fold(0.0, |peak: f32, sample| {
            if sample.is_nan() || peak.is_nan() {
                f32::NAN
            } else {
                peak.max(sample.abs())
            }
        })
    }

    /// Sum of squares.
    #[must_use]
    pub fn energy(&self) -> f64 {
        self.samples().map(|sample| f64::from(sample) * f64::from(sample)).sum()
    }

    /// Energy against another signal's, in dB. Two silences are equally loud.
    #[must_use]
    pub fn level_db(&self, reference: &Self) -> f64 {
        10.0 * ((self.energy() + 1e-30) / (reference.energy() + 1e-30)).log10()
    }

    /// First frame in which any channel differs from `other`'s by a bit.
    #[must_use]
    pub fn first_difference(&self, other: &Self) -> Option<usize> {
        (0..self.frames()).find(|frame| {
            let mut pairs = self.channels.iter().zip(&other.channels);
            pairs.any(|(a, b)| a[*frame].to_bits() != b[*frame].to_bits())
        })
    }

    /// Frame of the largest magnitude.
    #[must_use]
    pub fn loudest(&self) -> usize {
        let loudness = |frame: usize| self.channels.iter().map(|channel| channel[frame].abs()).fold(0.0, f32::max);
        (0..self.frames())
            .max_by(|a, b| loudness(*a).total_cmp(&loudness(*b)).then(b.cmp(a)))
            .unwrap_or(0)
    }
}

/// Nearest single-precision value.
#[must_use]
pub fn single(value: f64) -> f32 {
    #[expect(clippy::cast_possible_truncation, reason = "rounding to single precision is what this is for")]
    let value = value as f32;
    value
}

/// Checks that two signals are the same to the last bit.
///
/// # Panics
/// If they aren't; says where.
#[track_caller]
pub fn assert_identical(found: &Signal, expected: &Signal, what: &str) {
    assert_eq!(found.channels.len(), expected.channels.len(), "{what}: channels");
    assert_eq!(found.frames(), expected.frames(), "{what}: frames");
    if let Some(frame) = found.first_difference(expected) {
        let differing = (0..found.frames())
            .filter(|frame| {
                found
                    .channels
                    .iter()
                    .zip(&expected.channels)
                    .any(|(a, b)| a[*frame].to_bits() != b[*frame].to_bits())
            })
            .count();
        let at = |signal: &Signal| signal.channels.iter().map(|channel| channel[frame]).collect::<Vec<_>>();
        panic!(
            "{what}: differs first at frame {frame} ({:?}, expected {:?}), in {differing} of {} frames, by {:.1} dB of the signal",
            at(found),
            at(expected),
            found.frames(),
            found.minus(expected).level_db(expected),
        );
    }
}

/// Checks that `heard` is `input`, `latency` frames late, but for 60 dB: every 96 frames (2 ms at 48 kHz), so that a short hole isn't outvoted by the
/// music around it.
///
/// # Panics
/// If it isn't, with `what` in the message.
pub fn assert_no_hole(heard: &Signal, input: &Signal, latency: usize, what: &str) {
    const WINDOW: usize = 96;
    let dry = input.delayed(latency);
    let begins = (latency..dry.frames().saturating_sub(WINDOW)).step_by(WINDOW);
    assert!(begins.len() > 0, "{what}: nothing to compare in {} frames", dry.frames());
    for begin in begins {
        let (heard, dry) = (heard.slice(begin..begin + WINDOW), dry.slice(begin..begin + WINDOW));
        let difference_db = heard.minus(&dry).level_db(&dry);
        assert!(difference_db < -60.0, "{what}: {difference_db:.1} dB against dry at frame {begin}");
    }
}

/// Scale-invariant signal-to-distortion ratio of `estimate` in dB (Le Roux et al. 2019): how much of it is `target`, at any loudness.
#[must_use]
pub fn si_sdr_db(estimate: &[f32], target: &[f32]) -> f64 {
    let product = |a: &[f32], b: &[f32]| -> f64 { a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum() };
    let scale = product(estimate, target) / product(target, target);
    let (mut wanted, mut rest) = (0.0, 0.0);
    for (estimate, target) in estimate.iter().zip(target) {
        let part = scale * f64::from(*target);
        wanted += part * part;
        rest += (f64::from(*estimate) - part).powi(2);
    }
    10.0 * (wanted / rest).log10()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn si_sdr_of_a_tenth_of_noise_is_twenty_decibel() {
        let target: Vec<f32> = (0..4_800).map(|i| single((f64::from(i) * 0.05).sin())).collect();
        let estimate: Vec<f32> = target
            .iter()
            .enumerate()
            .map(|(i, x)| 3.0 * (x + 0.0707 * if i % 2 == 0 { 1.0 } else { -1.0 }))
            .collect();
        assert!((si_sdr_db(&estimate, &target) - 20.0).abs() < 0.1);
    }

    #[test]
    fn a_difference_of_one_bit_is_found() {
        let signal = Signal::disc(2, 1_000, 48_000.0);
        let mut other = signal.clone();
        assert_eq!(other.first_difference(&signal), None);
        other.channels[1][700] = f32::from_bits(other.channels[1][700].to_bits() ^ 1);
        assert_eq!(other.first_difference(&signal), Some(700));
    }

    #[test]
    fn noise_is_seeded_and_centred() {
        let noise = Signal::noise(1, 50_000, 1.0, 3);
        assert_eq!(noise, Signal::noise(1, 50_000, 1.0, 3));
        let mean: f32 = noise.samples().sum::<f32>() / 50_000.0;
        assert!(mean.abs() < 0.02 && noise.peak() > 0.99);
    }
}
