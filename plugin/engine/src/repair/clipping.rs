//! Finds peaks that were clipped: where a converter or a mixer ran out of range and the stream stays at the same value.
//!
//! A ceiling is a level that the stream reaches again and again, stays at for several samples to the bit, and never exceeds. What hits it is marked; the
//! interpolation knows that the peak was at least as high. Anything that has been filtered, resampled or dithered since it was clipped has no flat peaks
//! any more, and nothing in it is marked.

use std::ops::Range;

/// Least level of a ceiling (-40 dBFS): the steps of quiet 16-bit audio are coarse enough for flat peaks of their own.
const LEAST: f32 = 0.01;

/// How far below the ceiling a peak begins and ends at least: four steps of 16 bits. Rounded and dithered audio comes closer and is flat by chance.
const EDGE: f32 = 4.0 / 32_768.0;

/// Samples beyond the first of flat peaks that make a ceiling: two peaks of three samples, or one of five.
const EVIDENCE: usize = 4;

/// A ceiling that was not reached for so long may be followed by a lower one.
const STALE_S: f64 = 1.0;

/// With more than this share of its samples at a ceiling, a stream is a rectangular wave, which is meant to be flat.
const MOST_CLIPPED: f64 = 0.75;

/// Deviations from which on the tail's share has too few digits.
const FAR: f64 = 30.0;

/// Mean of a Gaussian variable of `mean` and `deviation` that is known to be at least `ceiling`: what a clipped sample was, for all that its
/// surroundings say of it (the mean of a truncated normal distribution). Where they say nothing, the mean of all loud samples; where they know, what they say.
/// At least `ceiling`.
#[must_use]
pub fn mean_above(ceiling: f64, mean: f64, deviation: f64) -> f64 {
    let distance = (ceiling - mean) / deviation;
    let height = if distance < FAR {
        let density = (-0.5 * distance * distance).exp() / std::f64::consts::TAU.sqrt();
        let share = 0.5 * libm::erfc(distance * std::f64::consts::FRAC_1_SQRT_2);
        mean + deviation * density / share
    } else {
        // The tail falls off like an exponential.
        ceiling + deviation / distance
    };
    // Also where there is no deviation to speak of, and for NaN.
    height.max(ceiling)
}

/// The highest (`sign` 1) or lowest (-1) value of a stream, as far as it is flat.
#[derive(Clone, Debug)]
struct Ceiling {
    sign: f32,
    /// Magnitude; 0 if there is none.
    level: f32,
    /// Samples that stayed at it, up to [`EVIDENCE`].
    evidence: usize,
    /// Samples since it was last reached, up to `stale`.
    unused: usize,
    /// [`STALE_S`] in samples.
    stale: usize,
    /// The last sample's height, and how many before it were the same.
    last: f32,
    run: usize,
    /// Whether the run began by rising to it.
    risen: bool,
}

impl Ceiling {
    fn new(sign: f32, stale: usize) -> Self {
        Self {
            sign,
            level: 0.0,
            evidence: 0,
            unused: 0,
            stale,
            last: 0.0,
            run: 0,
            risen: false,
        }
    }

    fn reset(&mut self) {
        *self = Self::new(self.sign, self.stale);
    }

    /// Follows one more sample.
    fn follow(&mut self, sample: f32) {
        let height = sample * self.sign;
        self.unused = (self.unused + 1).min(self.stale);
        if height > self.level {
            // Whatever it was, it was no ceiling.
            self.level = 0.0;
            self.evidence = 0;
        }
        if height == self.last {
            self.run += 1;
        } else {
            if height < self.last - EDGE && self.risen {
                self.peak();
            }
            self.risen = height > self.last + EDGE;
            self.run = 0;
            self.last = height;
        }
    }

    /// Takes note of a peak that was flat for `run + 1` samples.
    fn peak(&mut self) {
        if self.run == 0 || self.last < LEAST || !self.last.is_finite() {
            return;
        }
        if self.last == self.level {
            self.evidence = (self.evidence + self.run).min(EVIDENCE);
            self.unused = 0;
        } else if self.level == 0.0 || self.unused == self.stale {
            self.level = self.last;
            self.evidence = self.run.min(EVIDENCE);
            self.unused = 0;
        }
    }

    fn reached_by(&self, sample: f32) -> bool {
        self.evidence == EVIDENCE && sample * self.sign == self.level
    }

    fn grazed_by(&self, sample: f32) -> bool {
        self.evidence == EVIDENCE && sample * self.sign >= self.level - EDGE
    }
}

/// The ceilings of one channel.
#[derive(Clone, Debug)]
pub struct Clipping {
    ceilings: [Ceiling; 2],
}

impl Clipping {
    /// Of a stream of which nothing is known.
    #[must_use]
    pub fn new(sample_rate_hz: f64) -> Self {
        let stale = super::samples(sample_rate_hz, STALE_S);
        Self {
            ceilings: [1.0, -1.0].map(|sign| Ceiling::new(sign, stale)),
        }
    }

    /// Forgets the stream.
    pub fn reset(&mut self) {
        self.ceilings.iter_mut().for_each(Ceiling::reset);
    }

    /// Follows the stream by `samples`.
    pub fn follow(&mut self, samples: &[f32]) {
        for ceiling in &mut self.ceilings {
            for sample in samples {
                ceiling.follow(*sample);
            }
        }
    }

    /// Whether `sample` was clipped, as far as is known.
    #[must_use]
    pub fn clipped(&self, sample: f32) -> bool {
        self.ceilings.iter().any(|ceiling| ceiling.reached_by(sample))
    }

    /// Writes the clipped peaks that begin in `within` and end in `stream`, ascending; of at most `longest` samples each and `budget` in all. None if so
    /// many samples from there on are flat that they are meant to be. `repaired`: samples that have been replaced.
    ///
    /// # Real-time
    /// No allocation as long as `peaks` has room for `budget` ranges.
    pub fn find(
        &self,
        stream: &[f32],
        repaired: &[bool],
        within: Range<usize>,
        longest: usize,
        mut budget: usize,
        peaks: &mut Vec<Range<usize>>,
    ) {
        peaks.clear();
        if self.ceilings.iter().all(|ceiling| ceiling.evidence < EVIDENCE) {
            return;
        }
        let ahead = &stream[within.start..];
        let flat = ahead.iter().filter(|sample| self.clipped(**sample)).count();
        if flat as f64 > MOST_CLIPPED * ahead.len() as f64 {
            return;
        }
        let clipped = |n: usize| !repaired[n] && self.clipped(stream[n]);
        let mut n = within.start;
        while n < within.end {
            if !clipped(n) {
                n += 1;
                continue;
            }
            let end = (n..stream.len()).find(|n| !clipped(*n)).unwrap_or(stream.len());
            // One that goes on from before `within`, or beyond what is known, can't be repaired any more, or not yet. The same test tells its edges, two
            // samples wide: the first may graze the ceiling by chance.
            let steep = |beside: Option<usize>| {
                let beside = beside.and_then(|n| stream.get(n));
                beside.is_some_and(|x| !self.ceilings.iter().any(|ceiling| ceiling.grazed_by(*x)))
            };
            let begins = steep(n.checked_sub(1)) || steep(n.checked_sub(2)) && !self.clipped(stream[n - 1]);
            let ends = steep(Some(end)) || steep(Some(end + 1));
            if begins && ends && end - n <= longest.min(budget) {
                budget -= end - n;
                peaks.push(n..end);
            }
            n = end;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE_HZ: f64 = 48e3;

    /// Two tones, the sum of which is never periodic within a second, clipped at `level`.
    fn clipped_tones(samples: usize, level: f32) -> Vec<f32> {
        (0..samples)
            .map(|n| (0.5 * (0.05 * n as f32).sin() + 0.4 * (0.0731 * n as f32).sin()).clamp(-level, level))
            .collect()
    }

    fn followed(stream: &[f32]) -> Clipping {
        let mut clipping = Clipping::new(RATE_HZ);
        clipping.follow(stream);
        clipping
    }

    fn peaks(clipping: &Clipping, stream: &[f32]) -> Vec<Range<usize>> {
        let mut peaks = Vec::new();
        let none = vec![false; stream.len()];
        clipping.find(stream, &none, 0..stream.len(), 288, stream.len(), &mut peaks);
        peaks
    }

    #[test]
    fn clipped_samples_are_found_and_no_others() {
        for level in [0.5, 0.65, 0.8] {
            let stream = clipped_tones(9600, level);
            let peaks = peaks(&followed(&stream), &stream);
            assert!(peaks.len() > 5, "{level}");
            let marked = |n: usize| peaks.iter().any(|peak| peak.contains(&n));
            let clipped: Vec<usize> = (0..stream.len()).filter(|n| stream[*n].abs() == level).collect();
            let found = (0..stream.len()).filter(|n| marked(*n)).count();
            assert!(
                peaks.iter().all(|peak| stream[peak.clone()].iter().all(|x| x.abs() == level)),
                "{level}"
            );
            // Those that were hardly clipped have no steep edges.
            assert!(found > clipped.len() * 98 / 100, "{level}: {found} of {}", clipped.len());
        }
    }

    #[test]
    fn a_ceiling_is_learnt_whatever_the_blocks() {
        let stream = clipped_tones(4800, 0.5);
        let mut clipping = Clipping::new(RATE_HZ);
        for block in stream.chunks(7) {
            clipping.follow(block);
        }
        assert_eq!(peaks(&clipping, &stream), peaks(&followed(&stream), &stream));
    }

    #[test]
    fn what_goes_beyond_it_ends_a_ceiling() {
        let mut stream = clipped_tones(4800, 0.5);
        assert!(followed(&stream).clipped(0.5));
        stream.push(0.51);
        assert!(!followed(&stream).clipped(0.5));
        // The other side is another matter.
        assert!(followed(&stream).clipped(-0.5));
    }

    #[test]
    fn a_lower_ceiling_follows_a_higher_one_after_a_second() {
        let mut stream = clipped_tones(4800, 0.5);
        stream.extend(clipped_tones(24_000, 0.4));
        assert!(followed(&stream).clipped(0.5) && !followed(&stream).clipped(0.4));
        stream.extend(clipped_tones(48_000, 0.4));
        assert!(!followed(&stream).clipped(0.5) && followed(&stream).clipped(0.4));
    }

    #[test]
    fn unclipped_and_rectangular_streams_have_no_peaks_to_repair() {
        let tones = clipped_tones(9600, 1.0);
        assert!(peaks(&followed(&tones), &tones).is_empty());
        // As of 16 bits, quietly: flat peaks, but none recurs often enough to be a ceiling, or they are too faint.
        let quiet: Vec<f32> = tones.iter().map(|x| (x * 0.005 * 32_768.0).round() / 32_768.0).collect();
        assert!(peaks(&followed(&quiet), &quiet).is_empty());
        let square: Vec<f32> = (0..9600).map(|n| if n / 60 % 2 == 0 { 0.5 } else { -0.5 }).collect();
        assert!(peaks(&followed(&square), &square).is_empty());
        let silence = vec![0.0; 9600];
        assert!(peaks(&followed(&silence), &silence).is_empty());
    }

    #[test]
    fn what_is_known_to_be_higher_is() {
        // Tables of the inverse Mills ratio.
        for (distance, expected) in [
            (-3.0, 0.004_438),
            (0.0, 0.797_885),
            (1.0, 1.525_135),
            (3.0, 3.283_099),
            (6.0, 6.158_483),
        ] {
            let height = mean_above(1.0, 1.0 - distance, 1.0) - (1.0 - distance);
            assert!((height - expected).abs() < 1e-5, "{distance}: {height}");
        }
        let near = [29.999, 30.001].map(|distance| mean_above(1.0, 1.0 - distance, 1.0));
        assert!((near[0] - near[1]).abs() < 1e-4, "{near:?}");
        assert_eq!(mean_above(0.5, 0.7, 0.0), 0.7, "nothing is uncertain");
        assert_eq!(mean_above(0.5, 0.3, 0.0), 0.5);
        assert_eq!(mean_above(0.5, f64::NAN, 1.0), 0.5);
    }

    #[test]
    fn garbage_is_no_ceiling() {
        for garbage in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut stream = clipped_tones(4800, 0.5);
            stream[2000] = garbage;
            let found = peaks(&followed(&stream), &stream);
            assert!(found.iter().all(|peak| stream[peak.clone()].iter().all(|x| x.is_finite())));
        }
    }

    #[test]
    fn long_and_unfinished_peaks_are_left_alone() {
        let mut stream = clipped_tones(4800, 0.5);
        let clipping = followed(&stream);
        stream.truncate(2000);
        stream.extend([0.5; 300]);
        stream.extend(clipped_tones(400, 0.5));
        let found = peaks(&clipping, &stream);
        assert!(found.iter().all(|peak| peak.len() <= 288 && !peak.contains(&2100)));
        let last = stream.iter().rposition(|x| x.abs() == 0.5).expect("a clipped sample");
        assert!(!peaks(&clipping, &stream[..=last]).iter().any(|peak| peak.contains(&last)));
    }
}
