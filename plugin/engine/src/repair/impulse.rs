//! Finds the faults of digital transfers: clicks of a few samples, at the stream's own rate.
//!
//! No pickup or microphone has rounded such a click, so it reaches up to half the sample rate, where music is faint. After four differentiations it stands
//! out from *all* of the milliseconds before and after it. An onset doesn't: it goes on. Glottal pulses don't: they recur. Among clean recordings of the
//! validation split the test at its usual threshold finds next to nothing but faults that are in them.

use std::ops::Range;

/// Samples per block: the longest click.
const BLOCK: usize = 8;

/// Blocks on each side that a click may reach into, and its differences.
const GUARD: usize = 2;

/// What a click must stand out from. Before: longer than the period of a voice or of a saw-tooth bass, whose edges look like clicks one by one. After: what
/// the look-ahead of the live edition has room for.
const BEFORE_S: f64 = 20e-3;
const AFTER_S: f64 = 1e-3;

/// Samples on each side that a fourth difference needs.
const REACH: usize = 2;

/// Share of the largest difference from which on a sample counts as damaged: a click of one sample gives 1, 4, 6, 4, 1.
const DAMAGED: f32 = 0.2;

/// How far a click stands out when it is as likely as not, and how fast the odds rise beyond: `(ratio / EVEN)^STEEPNESS`. At the thresholds for the network a
/// click then stands out by 5.3 at the least sensitivity, 4.1 in the middle and 3.2 at the greatest.
const EVEN: f32 = 2.0;
const STEEPNESS: i32 = 3;

/// Least difference of a click (-80 dBFS): nothing below is heard.
const LEAST: f32 = 1e-4;

/// The test over a buffer that moves by one hop at a time. It keeps nothing but its workspace.
#[derive(Clone, Debug)]
pub struct Impulses {
    before: usize,
    after: usize,
    /// Magnitude of the fourth difference of the samples under test and what surrounds them.
    difference: Vec<f32>,
    /// Largest of each block.
    peaks: Vec<f32>,
}

impl Impulses {
    /// The test for hops of `hop` samples.
    #[must_use]
    pub fn new(sample_rate_hz: f64, hop: usize) -> Self {
        let blocks = |seconds: f64| super::samples(sample_rate_hz, seconds).div_ceil(BLOCK);
        let (before, after) = (blocks(BEFORE_S), blocks(AFTER_S));
        let count = before + hop.div_ceil(BLOCK) + after + 2 * GUARD;
        Self {
            before,
            after,
            difference: vec![0.0; count * BLOCK],
            peaks: vec![0.0; count],
        }
    }

    /// Hands over the clicks whose surroundings the newest hop of `stream` completed, each with its probability. At the stream's start, or where the buffer
    /// is too short, there are none.
    ///
    /// # Real-time
    /// No allocation, lock or system call.
    pub fn find(&mut self, stream: &[f32], mut found: impl FnMut(Range<usize>, f32)) {
        let Some(start) = stream.len().checked_sub(self.difference.len() + REACH) else {
            return;
        };
        let Some(context) = start.checked_sub(REACH).map(|from| &stream[from..]) else {
            return;
        };
        for (out, x) in self.difference.iter_mut().zip(context.windows(2 * REACH + 1)) {
            *out = (x[0] - 4.0 * x[1] + 6.0 * x[2] - 4.0 * x[3] + x[4]).abs();
        }
        for (peak, block) in self.peaks.iter_mut().zip(self.difference.chunks_exact(BLOCK)) {
            *peak = largest(block);
        }
        for block in self.before + GUARD..self.peaks.len() - GUARD - self.after {
            let click = block - GUARD..block + GUARD + 1;
            let peak = self.peaks[block];
            if peak < LEAST || largest(&self.peaks[click.clone()]) > peak {
                continue;
            }
            let before = largest(&self.peaks[click.start - self.before..click.start]);
            let after = largest(&self.peaks[click.end..click.end + self.after]);
            let ratio = peak / before.max(after);
            // Where one side is digital silence, sound begins or ends there.
            if before == 0.0 || after == 0.0 || !(ratio.is_finite() && ratio > 1.0) {
                continue;
            }
            let samples = click.start * BLOCK..click.end * BLOCK;
            let damaged = |n: &usize| self.difference[*n] > peak * DAMAGED;
            if let (Some(first), Some(last)) = (samples.clone().find(damaged), samples.clone().rfind(damaged)) {
                found(start + first..start + last + 1, 1.0 / (1.0 + (EVEN / ratio).powi(STEEPNESS)));
            }
        }
    }
}

/// Largest of `values`, none of which is negative; NaN counts as nothing.
fn largest(values: &[f32]) -> f32 {
    values.iter().fold(0.0, |most, x| most.max(*x))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Clicks found in all hops of `stream`, as positions in it.
    fn found(stream: &[f32], hop: usize, rate_hz: f64) -> Vec<(Range<usize>, f32)> {
        let mut impulses = Impulses::new(rate_hz, hop);
        let mut all: Vec<(Range<usize>, f32)> = Vec::new();
        for end in (hop..=stream.len()).step_by(hop) {
            impulses.find(&stream[..end], |range, probability| all.push((range, probability)));
        }
        all
    }

    fn music(samples: usize) -> Vec<f32> {
        let mut seed = 5u32;
        (0..samples)
            .map(|n| {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let noise = (seed >> 8) as f32 / 8_388_608.0 - 1.0;
                0.4 * (0.03 * n as f32).sin() + 0.1 * (0.21 * n as f32).cos() + 0.002 * noise
            })
            .collect()
    }

    #[test]
    fn finds_clicks_of_a_few_samples_where_they_are() {
        for (rate_hz, hop) in [(44.1e3, 882), (48e3, 320), (192e3, 3840)] {
            for length in [1, 2, 5, 8] {
                let mut stream = music(40 * hop);
                let starts: Vec<usize> = (20 * hop..35 * hop).step_by(4 * hop + 77).collect();
                for start in &starts {
                    for (i, x) in stream[*start..][..length].iter_mut().enumerate() {
                        *x += if i % 2 == 0 { 0.2 } else { -0.15 };
                    }
                }
                let all = found(&stream, hop, rate_hz);
                for start in &starts {
                    let covers = |(range, probability): &(Range<usize>, f32)| {
                        range.start <= *start && range.end >= start + length && range.len() <= length + 4 && *probability > 0.9
                    };
                    assert!(all.iter().any(covers), "{rate_hz} {length} {start}: {all:?}");
                }
            }
        }
    }

    #[test]
    fn music_onsets_and_silence_have_none() {
        let mut stream = music(48_000);
        assert!(found(&stream, 960, 48e3).iter().all(|(_, probability)| *probability < 0.3));
        // A hit that goes on, sound that begins and ends.
        for (i, x) in stream[24_000..30_000].iter_mut().enumerate() {
            *x += 0.5 * (-0.002 * i as f32).exp() * (1.9 * i as f32).sin();
        }
        stream[10_000..15_000].fill(0.0);
        // Edges that recur 55 times a second.
        for (i, x) in stream[32_000..].iter_mut().enumerate() {
            *x = 0.3 * (i % 873) as f32 / 873.0 + 0.001 * *x;
        }
        // The first edge of all is a single one.
        for (range, probability) in found(&stream, 960, 48e3) {
            assert!(
                probability < 0.3 || (31_990..32_010).contains(&range.start),
                "{range:?}: {probability}"
            );
        }
    }

    #[test]
    fn garbage_is_no_click() {
        for garbage in [f32::NAN, f32::INFINITY, f32::MAX] {
            let mut stream = music(9600);
            stream[5000] = garbage;
            assert!(found(&stream, 960, 48e3).iter().all(|(_, probability)| probability.is_finite()));
        }
    }
}
