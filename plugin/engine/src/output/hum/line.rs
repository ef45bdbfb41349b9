//! Finds the mains line in the signal and follows it.
//!
//! Both channels are brought to about 1 kHz. Once a second the last four seconds are transformed, and in the sum of both power spectra a fundamental near
//! 50 or 60 Hz is sought whose harmonics stand out of their surroundings. Hum stays where it is and music doesn't: only what was found three times in a row
//! counts. It is given up after twenty seconds without a trace.

use super::super::Frame;
use super::super::svf::{BUTTERWORTH_4, Coefficients, Svf, warp};
use realfft::num_complex::Complex32;
use realfft::{RealFftPlanner, RealToComplex};
use std::f64::consts::TAU;
use std::fmt;
use std::sync::Arc;

/// Rate that the signal is brought to, in Hz, about.
const LOW_RATE_HZ: f64 = 1_024.0;
/// Samples transformed: four seconds, so that bins are a quarter of a hertz apart.
const LENGTH: usize = 4_096;
/// Samples between two transforms: one second.
const EVERY: usize = 1_024;
/// Low-pass before the rate is lowered.
const LOW_PASS_HZ: f64 = 350.0;
/// Harmonics that are looked at, the fundamental included: up to 305 Hz.
const HARMONICS: usize = 5;
/// Mains frequencies of the world.
const NOMINAL_HZ: [f64; 2] = [50.0, 60.0];
/// How far a transfer at the wrong speed may have moved them: a quarter of a semitone. No note of equal temperament at A = 440 Hz has its fundamental so near.
const RANGE: f64 = 0.015;
/// Step of the search in Hz.
const STEP_HZ: f64 = 0.05;
/// Bins to each side that the surroundings begin and end at.
const SURROUNDINGS: (usize, usize) = (5, 16);
/// A harmonic is there if it stands out by so much, in dB. Noise does so in one bin of several hundred.
const THERE_DB: f32 = 12.0;
/// One harmonic alone is enough if it is one of the first three and stands out by so much, in dB.
const CLEAR_DB: f32 = 20.0;
/// More doesn't make it more likely, in dB.
const ENOUGH_DB: f32 = 40.0;
/// A line found again lies within this of the last time, in Hz.
const SAME_HZ: f64 = 0.15;
/// Finds in a row that make a line.
const FINDS: u32 = 3;
/// Searches in vain that end it.
const MISSES: u32 = 20;

/// What listens for the mains line.
pub(super) struct LineFinder {
    /// Samples per sample of the low rate.
    decimation: u32,
    low_rate_hz: f64,
    low_pass: [Coefficients; 2],
    sections: [Svf; 2],
    until_next: u32,
    /// The last [`LENGTH`] samples at the low rate, written around.
    ring: [Box<[f32]>; 2],
    at: usize,
    filled: usize,
    fft: Arc<dyn RealToComplex<f32>>,
    window: Box<[f32]>,
    windowed: Box<[f32]>,
    spectrum: Box<[Complex32]>,
    scratch: Box<[Complex32]>,
    /// Of the sum of both channels, per bin.
    level_db: Box<[f32]>,
    /// Running sum of `level_db`: element `b` holds the bins below `b`.
    sums_db: Box<[f32]>,
    /// Where the search was successful last, in Hz, and how often in a row.
    candidate_hz: f64,
    finds: u32,
    misses: u32,
    line_hz: Option<f64>,
}

impl fmt::Debug for LineFinder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LineFinder").field("line_hz", &self.line_hz).finish_non_exhaustive()
    }
}

impl LineFinder {
    pub(super) fn new(sample_rate_hz: f64) -> Self {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "at least 1, and a rate is at most 10 MHz"
        )]
        let decimation = (sample_rate_hz / LOW_RATE_HZ).round().max(1.0) as u32;
        let low_rate_hz = sample_rate_hz / f64::from(decimation);
        let warped = warp(LOW_PASS_HZ, sample_rate_hz);
        let fft = RealFftPlanner::<f32>::new().plan_fft_forward(LENGTH);
        #[expect(clippy::cast_possible_truncation, reason = "a window")]
        let hann = |n: usize| (0.5 - 0.5 * (TAU * n as f64 / LENGTH as f64).cos()) as f32;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "some hundred hertz over a quarter of one"
        )]
        let bins = ((HARMONICS as f64 + 0.5) * NOMINAL_HZ[1] * LENGTH as f64 / low_rate_hz) as usize + SURROUNDINGS.1;
        let bins = bins.min(LENGTH / 2);
        Self {
            decimation,
            low_rate_hz,
            low_pass: BUTTERWORTH_4.map(|damping| Coefficients::new(warped, damping)),
            sections: [Svf::default(); 2],
            until_next: 0,
            ring: [0, 1].map(|_| vec![0.0; LENGTH].into()),
            at: 0,
            filled: 0,
            window: (0..LENGTH).map(hann).collect(),
            windowed: fft.make_input_vec().into(),
            spectrum: fft.make_output_vec().into(),
            scratch: fft.make_scratch_vec().into(),
            level_db: vec![0.0; bins].into(),
            sums_db: vec![0.0; bins + 1].into(),
            fft,
            candidate_hz: 0.0,
            finds: 0,
            misses: 0,
            line_hz: None,
        }
    }

    /// Forgets everything.
    pub(super) fn reset(&mut self) {
        self.sections = [Svf::default(); 2];
        (self.until_next, self.at, self.filled) = (0, 0, 0);
        (self.candidate_hz, self.finds, self.misses) = (0.0, 0, 0);
        self.line_hz = None;
    }

    /// Lets states that have faded away be zero.
    pub(super) fn flush(&mut self) {
        self.sections.iter_mut().for_each(Svf::flush);
    }

    /// Fundamental of the line in Hz, if there is one.
    pub(super) fn line_hz(&self) -> Option<f64> {
        self.line_hz
    }

    /// Takes one frame.
    ///
    /// # Real-time
    /// Allocates nothing. Once a second it takes as long as two transforms of 4096 samples.
    pub(super) fn push(&mut self, frame: Frame) {
        let mut low = frame;
        for (section, coefficients) in self.sections.iter_mut().zip(&self.low_pass) {
            low = section.process(low, coefficients).1;
        }
        if self.until_next > 0 {
            self.until_next -= 1;
            return;
        }
        self.until_next = self.decimation - 1;
        for (ring, sample) in self.ring.iter_mut().zip(low) {
            #[expect(clippy::cast_possible_truncation, reason = "what is looked at needs no more digits")]
            let sample = sample as f32;
            ring[self.at] = sample;
        }
        self.at = (self.at + 1) % LENGTH;
        self.filled = (self.filled + 1).min(LENGTH);
        if self.filled == LENGTH && self.at.is_multiple_of(EVERY) {
            self.transform();
            let found = self.search();
            self.judge(found);
        }
    }

    /// Levels of the last four seconds.
    fn transform(&mut self) {
        self.level_db.fill(0.0);
        for ring in &self.ring {
            let (new, old) = ring.split_at(self.at);
            let samples = old.iter().chain(new);
            for ((windowed, sample), window) in self.windowed.iter_mut().zip(samples).zip(&self.window) {
                *windowed = sample * window;
            }
            let done = self
                .fft
                .process_with_scratch(&mut self.windowed, &mut self.spectrum, &mut self.scratch);
            debug_assert!(done.is_ok(), "the buffers are the plan's own");
            for (level, bin) in self.level_db.iter_mut().zip(&self.spectrum) {
                *level += bin.norm_sqr();
            }
        }
        let mut sum_db = 0.0;
        for (level, sum) in self.level_db.iter_mut().zip(&mut self.sums_db[1..]) {
            *level = 10.0 * (*level + 1e-20).log10();
            sum_db += *level;
            *sum = sum_db;
        }
    }

    /// How far the bin stands out of its surroundings, in dB.
    fn prominence_db(&self, bin: usize) -> f32 {
        let (near, far) = SURROUNDINGS;
        if bin < far || bin + far >= self.level_db.len() {
            return 0.0;
        }
        let mean_of = |from: usize, to: usize| self.sums_db[to] - self.sums_db[from];
        let around_db = mean_of(bin - far, bin - near + 1) + mean_of(bin + near, bin + far + 1);
        self.level_db[bin] - around_db / (2 * (far - near + 1)) as f32
    }

    /// The peak within one bin of a frequency, if there is one, and how far it stands out, in dB.
    fn peak_near(&self, frequency_hz: f64) -> Option<(usize, f32)> {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "less than the Nyquist frequency's bin"
        )]
        let centre = (frequency_hz * LENGTH as f64 / self.low_rate_hz).round() as usize;
        let level_db = |bin: usize| self.level_db.get(bin).copied().unwrap_or(f32::MIN);
        let bin = (centre.saturating_sub(1)..=centre + 1).max_by(|a, b| level_db(*a).total_cmp(&level_db(*b)))?;
        let is_peak = level_db(bin) >= level_db(bin.saturating_sub(1)) && level_db(bin) >= level_db(bin + 1);
        is_peak.then(|| (bin, self.prominence_db(bin)))
    }

    /// The fundamental whose harmonics stand out most, if they stand out enough, in Hz.
    fn search(&self) -> Option<f64> {
        let mut best = None;
        let mut best_score = 0.0f32;
        for nominal_hz in NOMINAL_HZ {
            #[expect(clippy::cast_possible_truncation, reason = "some tens of steps")]
            let steps = (nominal_hz * RANGE / STEP_HZ).floor() as i32;
            for step in -steps..=steps {
                let fundamental_hz = nominal_hz + f64::from(step) * STEP_HZ;
                let (mut there, mut clear, mut score) = (0, false, 0.0);
                for harmonic in 1..=HARMONICS {
                    let Some((_, out_db)) = self.peak_near(harmonic as f64 * fundamental_hz) else {
                        continue;
                    };
                    there += u32::from(out_db >= THERE_DB);
                    clear |= harmonic <= 3 && out_db >= CLEAR_DB;
                    score += out_db.clamp(0.0, ENOUGH_DB);
                }
                if (there >= 2 || clear) && score > best_score {
                    best = Some((nominal_hz, fundamental_hz));
                    best_score = score;
                }
            }
        }
        let (nominal_hz, fundamental_hz) = best?;
        // Peaks at the edge of the search may belong to a note beyond it.
        Some(self.refine(fundamental_hz)).filter(|found_hz| (found_hz / nominal_hz - 1.0).abs() < RANGE)
    }

    /// The fundamental that fits the peaks of its harmonics best, in Hz: least squares, each weighted by how far it stands out.
    fn refine(&self, fundamental_hz: f64) -> f64 {
        let (mut above, mut below) = (0.0, 0.0);
        for harmonic in 1..=HARMONICS {
            let Some((bin, out_db)) = self.peak_near(harmonic as f64 * fundamental_hz) else {
                continue;
            };
            // A bin that stands out lies well within the spectrum.
            if out_db < THERE_DB {
                continue;
            }
            // The parabola through the peak and its neighbours in dB (J. O. Smith, "Spectral audio signal processing", quadratic interpolation).
            let [left, middle, right] = [bin - 1, bin, bin + 1].map(|bin| f64::from(self.level_db[bin]));
            let bend = left - 2.0 * middle + right;
            let offset = if bend < 0.0 {
                (0.5 * (left - right) / bend).clamp(-0.5, 0.5)
            } else {
                0.0
            };
            let found_hz = (bin as f64 + offset) * self.low_rate_hz / LENGTH as f64;
            let (weight, harmonic) = (f64::from(out_db.min(ENOUGH_DB)), harmonic as f64);
            above += weight * harmonic * found_hz;
            below += weight * harmonic * harmonic;
        }
        if below > 0.0 { above / below } else { fundamental_hz }
    }

    /// Makes up its mind.
    fn judge(&mut self, found: Option<f64>) {
        let Some(found_hz) = found else {
            self.finds = 0;
            self.misses += 1;
            if self.misses >= MISSES {
                self.line_hz = None;
            }
            return;
        };
        self.misses = 0;
        self.finds = if (found_hz - self.candidate_hz).abs() < SAME_HZ {
            self.finds + 1
        } else {
            1
        };
        self.candidate_hz = found_hz;
        match self.line_hz {
            // Half of the way: what one search errs by is not followed whole.
            Some(line_hz) if (found_hz - line_hz).abs() < SAME_HZ => self.line_hz = Some(0.5 * (line_hz + found_hz)),
            _ if self.finds >= FINDS => self.line_hz = Some(found_hz),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `seconds` of a signal given by time in seconds.
    fn feed(finder: &mut LineFinder, sample_rate_hz: f64, seconds: f64, signal: impl Fn(f64) -> f64) {
        let mut noise = 7u32;
        let mut time = 0.0;
        while time < seconds {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let hiss = 0.02 * (f64::from(noise) / f64::from(u32::MAX) - 0.5);
            let x = signal(time) + hiss;
            finder.push([x, 0.0]);
            time += 1.0 / sample_rate_hz;
        }
    }

    fn hum(fundamental_hz: f64, time: f64) -> f64 {
        (1..=4)
            .map(|k| 0.003 / f64::from(k) * (TAU * f64::from(k) * fundamental_hz * time).sin())
            .sum()
    }

    #[test]
    fn hum_is_found_to_a_fiftieth_of_a_hertz_at_every_rate() {
        for sample_rate_hz in [8_000.0, 44_100.0, 48_000.0, 192_000.0] {
            for fundamental_hz in [49.96, 50.31, 60.0, 59.4] {
                let mut finder = LineFinder::new(sample_rate_hz);
                feed(&mut finder, sample_rate_hz, 6.7, |time| hum(fundamental_hz, time));
                let found_hz = finder.line_hz().expect("hum");
                assert!(
                    (found_hz - fundamental_hz).abs() < 0.02,
                    "{fundamental_hz} Hz at {sample_rate_hz}: {found_hz:.3} Hz"
                );
            }
        }
    }

    #[test]
    fn a_single_steady_line_is_enough() {
        let mut finder = LineFinder::new(8_000.0);
        feed(&mut finder, 8_000.0, 7.0, |time| 0.004 * (TAU * 100.0 * time).sin());
        assert!(
            finder.line_hz().is_some_and(|found_hz| (found_hz - 50.0).abs() < 0.02),
            "{finder:?}"
        );
    }

    #[test]
    fn drift_is_followed() {
        let mut finder = LineFinder::new(8_000.0);
        // From 50.0 to 50.2 Hz in 40 seconds.
        feed(&mut finder, 8_000.0, 40.0, |time| {
            0.01 * (TAU * (50.0 * time + 0.0025 * time * time)).sin()
        });
        // The window's middle is two seconds old, and what was found is followed by halves.
        assert!(
            finder.line_hz().is_some_and(|found_hz| (50.16..50.2).contains(&found_hz)),
            "{finder:?}"
        );
    }

    #[test]
    fn noise_and_bass_notes_are_no_hum() {
        let mut finder = LineFinder::new(8_000.0);
        feed(&mut finder, 8_000.0, 60.0, |_| 0.0);
        assert_eq!(finder.line_hz(), None, "noise");
        // G1, A flat 1, B flat 1, B1 and the octaves above, held for six seconds each.
        for note_hz in [48.999, 51.913, 58.270, 61.735, 97.999, 116.54] {
            let mut finder = LineFinder::new(8_000.0);
            feed(&mut finder, 8_000.0, 12.0, |time| 100.0 * hum(note_hz, time));
            assert_eq!(finder.line_hz(), None, "{note_hz} Hz");
        }
    }

    #[test]
    fn a_line_outlasts_a_loud_passage_and_is_given_up_in_the_end() {
        let mut finder = LineFinder::new(8_000.0);
        feed(&mut finder, 8_000.0, 8.0, |time| hum(50.0, time));
        assert!(finder.line_hz().is_some());
        feed(&mut finder, 8_000.0, 10.0, |_| 0.0);
        assert!(finder.line_hz().is_some(), "given up too early");
        feed(&mut finder, 8_000.0, 20.0, |_| 0.0);
        assert_eq!(finder.line_hz(), None);
        finder.reset();
        feed(&mut finder, 8_000.0, 4.0, |time| hum(60.0, time));
        assert_eq!(finder.line_hz(), None, "too early to say");
        feed(&mut finder, 8_000.0, 4.0, |time| hum(60.0, time));
        assert!(finder.line_hz().is_some());
    }
}
