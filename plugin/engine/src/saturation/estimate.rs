//! Finds the saturation of a stream that it hears.
//!
//! A saturation adds harmonics and sums and differences of what is there, and these fall between the partials of the sound: where it was nearly empty the
//! spectrum fills up. The curve that undoes the saturation empties it again, and any other curve fills it. So the curve sought is the one for which the mean
//! logarithm of the power spectrum, over the logarithm of the mean power, is least (the spectral flatness, as in blind deconvolution by least entropy).
//! Sound that wasn't saturated has its least flatness as it is.

use super::curve::{BLOCK, Curve, Inverse, Peaks};
use crate::Geometry;
use crate::unet::kernel::{Isa, Job};
use crate::unet::math;
use realfft::num_complex::Complex32;
use realfft::{RealFftPlanner, RealToComplex};
use std::f32::consts::PI;
use std::fmt;
use std::sync::Arc;

/// Parameters of a curve.
const COUNT: usize = 3;

/// Lowest bin that is looked at: 50 Hz, above what the window makes of the lowest.
const LOWEST: usize = 2;

/// Power, relative to a frame's mean over all bins, that counts as none: what 16 bits leave of it.
const NOTHING: f32 = 1e-9;

/// Frames whose peak is less than this say nothing: -80 dBFS.
const SILENCE: f64 = 1e-4;

/// Frames whose peak is less than this share of the greatest are too quiet to be saturated.
const QUIET: f64 = 0.1;

/// What the greatest peak keeps from frame to frame: it is forgotten within a minute or two.
const PEAK_KEEP: f64 = 0.9997;

/// A peak that exceeds the greatest by this ratio says more about the curve than all before.
const GREATER: f64 = 1.2;

/// Least curvature, of a signal with peak 1, about which the curve is improved.
const LEAST: f64 = 1e-4;

/// Frames over which what was learned about the curve is forgotten, and the share of those heard so far if that is less: the first are of curves far off.
const MEMORY: f64 = 500.0;
const GROWTH: f64 = 0.1;

/// Frames over which the evidence is.
const EVIDENCE: f64 = 200.0;

/// Added to the curvature of the criterion: by parameter, and a share of the newest frame's own, which shortens steps that a frame says much about.
const RIDGE: [f64; COUNT] = [1e-3, 1e-3, 0.1];
const DAMPING: f64 = 0.2;

/// How strongly the ridge pulls to no curve at all.
const PULL: f64 = 0.1;

/// Longest step of each parameter, of the curvature relative to itself or to this if it is less.
const STEP: [f64; COUNT] = [0.3, 0.1, 0.3];
const STEP_FROM: f64 = 0.3;

/// What flatness must fall by, in nepers of the power, and in standard errors of that, for the curve to be believed. Less than [`STAY`] of either ends it.
const WORTH: f64 = 0.01;
const CERTAIN: f64 = 3.0;
const STAY: f64 = 0.5;

/// What flatness must fall by for a change as strong as the sound; it goes with the change's amplitude.
const WORTH_OF_CHANGE: f64 = 0.3;

/// A curve that raises flatness by so much is wrong.
const WRONG: f64 = 0.05;

/// Frames that are all heard, and the share of what is asked of the flatness above which all are: a sound that seems not to be saturated is looked at less often.
const CURIOUS: f64 = 100.0;
const SUSPICION: f64 = 0.25;

/// Frames before anything is said.
const FEWEST: f64 = 5.0;

/// What all estimates of a stream share: the transform and its buffers.
pub(super) struct Analysis {
    isa: Isa,
    /// Hann window.
    window: Vec<f32>,
    forward: Arc<dyn RealToComplex<f32>>,
    scratch: Vec<Complex32>,
    /// `[signal][sample]`: the frame as it is, restored, and the derivatives.
    signals: [Vec<f32>; 2 + COUNT],
    spectra: [Vec<Complex32>; 2 + COUNT],
    /// Bins that are looked at end before this one.
    end: usize,
}

impl fmt::Debug for Analysis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Analysis")
            .field("window", &self.window.len())
            .finish_non_exhaustive()
    }
}

/// What one frame says.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    /// Fall of the flatness by the curve, in nepers; negative if it is worse than nothing.
    fall: f64,
    /// Half the gradient of the flatness.
    gradient: [f64; COUNT],
    /// Its curvature, as for least squares.
    curvature: [[f64; COUNT]; COUNT],
}

impl Analysis {
    pub(super) fn new(geometry: &Geometry) -> Self {
        let frame = geometry.analysis;
        let forward = RealFftPlanner::new().plan_fft_forward(frame);
        Self {
            isa: Isa::best(),
            window: (0..frame).map(|n| (PI * n as f32 / frame as f32).sin().powi(2)).collect(),
            scratch: vec![Complex32::default(); forward.get_scratch_len()],
            signals: std::array::from_fn(|_| vec![0.0; frame]),
            spectra: std::array::from_fn(|_| vec![Complex32::default(); frame / 2 + 1]),
            end: geometry.network_bins.max(LOWEST),
            forward,
        }
    }

    /// What the frame `audio`, in units of `unit`, says about a curve for these units, and the share of its energy that the curve changes.
    fn hear(&mut self, audio: &[f32], unit: f64, inverse: &Inverse) -> (Sums, f64) {
        #[expect(clippy::cast_possible_truncation, reason = "a peak")]
        let scale = (1.0 / unit) as f32;
        let (mut change, mut sums) = (0.0, Sums::default());
        self.isa.run(Bend {
            audio,
            scale,
            window: &self.window,
            inverse,
            signals: &mut self.signals,
            change: &mut change,
        });
        for (signal, spectrum) in self.signals.iter_mut().zip(&mut self.spectra) {
            let done = self.forward.process_with_scratch(signal, spectrum, &mut self.scratch);
            debug_assert!(done.is_ok(), "buffers were made for this transform");
        }
        let spectra = self.spectra.each_ref().map(|spectrum| &spectrum[LOWEST..self.end]);
        self.isa.run(Weigh { spectra, sums: &mut sums });
        (sums, change)
    }
}

/// Windows a frame, its restoration and the derivatives.
struct Bend<'a> {
    audio: &'a [f32],
    scale: f32,
    window: &'a [f32],
    inverse: &'a Inverse,
    signals: &'a mut [Vec<f32>; 2 + COUNT],
    /// Becomes the share of the frame's energy that the change has.
    change: &'a mut f64,
}

impl Job for Bend<'_> {
    #[inline(always)]
    fn run(self) {
        let mut block = [0.0; BLOCK];
        for start in (0..self.audio.len()).step_by(BLOCK) {
            let span = start..(start + BLOCK).min(self.audio.len());
            let count = span.len();
            for (y, x) in block.iter_mut().zip(&self.audio[span.clone()]) {
                *y = x * self.scale;
            }
            let restored = self.inverse.with_derivatives(&block);
            let window = &self.window[span.clone()];
            for (signal, values) in self.signals.iter_mut().zip(std::iter::once(&block).chain(&restored)) {
                for ((out, value), window) in signal[span.clone()].iter_mut().zip(&values[..count]).zip(window) {
                    *out = value * window;
                }
            }
        }
        let [plain, restored, ..] = &*self.signals;
        let (mut change, mut all) = (0.0, 1e-20);
        for (plain, restored) in plain.iter().zip(restored) {
            change += f64::from(restored - plain).powi(2);
            all += f64::from(*plain).powi(2);
        }
        *self.change = change / all;
    }
}

/// Bins that are summed side by side.
const LANES: usize = 16;

/// Some bins of a spectrum: real parts, then imaginary ones.
type Bins = [[f32; LANES]; 2];

/// Some bins of each spectrum after some. The last ones are left out if they are fewer.
#[inline(always)]
fn each(spectra: [&[Complex32]; 2 + COUNT], mut work: impl FnMut([Bins; 2 + COUNT])) {
    for start in (0..spectra[0].len() / LANES * LANES).step_by(LANES) {
        work(spectra.map(|spectrum| {
            let bins: &[Complex32; LANES] = spectrum[start..].first_chunk().unwrap_or(&[Complex32::ZERO; LANES]);
            [std::array::from_fn(|n| bins[n].re), std::array::from_fn(|n| bins[n].im)]
        }));
    }
}

/// Real part of one times the conjugate of the other.
#[inline(always)]
fn product(a: Bins, b: Bins) -> [f32; LANES] {
    std::array::from_fn(|n| a[0][n] * b[0][n] + a[1][n] * b[1][n])
}

#[inline(always)]
fn times(a: [f32; LANES], b: [f32; LANES]) -> [f32; LANES] {
    std::array::from_fn(|n| a[n] * b[n])
}

#[inline(always)]
fn add(sum: &mut [f32; LANES], more: [f32; LANES]) {
    for (sum, more) in sum.iter_mut().zip(more) {
        *sum += more;
    }
}

#[inline(always)]
fn total(lanes: [f32; LANES]) -> f64 {
    lanes.iter().map(|x| f64::from(*x)).sum()
}

/// Sums over the bins of the plain and the restored spectrum and of the derivatives'.
struct Weigh<'a> {
    spectra: [&'a [Complex32]; 2 + COUNT],
    sums: &'a mut Sums,
}

impl Job for Weigh<'_> {
    #[inline(always)]
    fn run(self) {
        let count = (self.spectra[0].len() / LANES * LANES) as f64;
        let mut lanes = [[0.0; LANES]; 2 + COUNT];
        each(self.spectra, |[plain, restored, by @ ..]| {
            let along = by.map(|by| product(restored, by));
            for (sum, more) in lanes
                .iter_mut()
                .zip([product(plain, plain), product(restored, restored)].into_iter().chain(along))
            {
                add(sum, more);
            }
        });
        let [before, power, along @ ..] = lanes.map(total);
        let (before, power) = (before.max(1e-20), power.max(1e-20));
        #[expect(clippy::cast_possible_truncation, reason = "mean powers of f32 spectra")]
        let (mean, mean_before) = ((power / count) as f32, (before / count) as f32);
        let (mut fall, mut own) = ([0.0; LANES], [0.0; LANES]);
        let (mut gradient, mut curvature) = ([[0.0; LANES]; COUNT], [[[0.0; LANES]; COUNT]; COUNT]);
        each(self.spectra, |[plain, restored, by @ ..]| {
            let (before, after) = (product(plain, plain), product(restored, restored));
            let weight = std::array::from_fn(|n| 1.0 / (after[n] + NOTHING * mean));
            add(
                &mut fall,
                std::array::from_fn(|n| math::ln((before[n] / mean_before + NOTHING) / (after[n] / mean + NOTHING))),
            );
            add(&mut own, times(after, weight));
            for i in 0..COUNT {
                add(&mut gradient[i], times(product(restored, by[i]), weight));
                for j in i..COUNT {
                    add(&mut curvature[i][j], times(product(by[i], by[j]), weight));
                }
            }
        });
        let (fall, own) = (total(fall), total(own));
        let sums = self.sums;
        sums.curvature = curvature.map(|row| row.map(total));
        sums.gradient = gradient.map(total);
        // The scale of the signal doesn't matter: what a derivative has of the restored signal itself is taken out.
        let share = along.map(|along| along / power);
        let raw = sums.gradient;
        for i in 0..COUNT {
            sums.gradient[i] = (raw[i] - own * share[i]) / count;
            for j in i..COUNT {
                let rest = sums.curvature[i][j] - share[i] * raw[j] - share[j] * raw[i] + share[i] * share[j] * own;
                sums.curvature[i][j] = rest / count;
                sums.curvature[j][i] = rest / count;
            }
        }
        sums.fall = fall / count;
    }
}

/// The saturation of one stream, or of several that share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Estimate {
    curve: Curve,
    peaks: Peaks,
    /// Loud frames heard since the curve was begun, or since a peak changed everything.
    heard: f64,
    /// Gradient and curvature of the criterion at the curve, faded sums over frames.
    gradient: [f64; COUNT],
    curvature: [[f64; COUNT]; COUNT],
    evidence: Evidence,
    believed: bool,
}

/// How well the curve has done on frames that it wasn't made from, faded sums over frames.
#[derive(Clone, Copy, Debug, Default)]
struct Evidence {
    frames: f64,
    fall: f64,
    squared: f64,
    change: f64,
}

impl Evidence {
    fn add(&mut self, fall: f64, change: f64) {
        let keep = (-1.0 / EVIDENCE).exp();
        self.frames = self.frames * keep + 1.0;
        self.fall = self.fall * keep + fall;
        self.squared = self.squared * keep + fall * fall;
        self.change = self.change * keep + change;
    }

    /// Mean fall of the flatness.
    fn mean(&self) -> f64 {
        self.fall / self.frames.max(1.0)
    }

    /// Whether the fall exceeds `share` of what is asked of it.
    fn convinces(&self, share: f64) -> bool {
        if self.frames < FEWEST {
            return false;
        }
        let mean = self.mean();
        let error = ((self.squared / self.frames - mean * mean).max(1e-12) / self.frames).sqrt();
        let worth = WORTH.max(WORTH_OF_CHANGE * (self.change / self.frames).sqrt());
        mean > share * worth && mean > share * CERTAIN * error
    }
}

impl Estimate {
    /// The curve, and up to where it is known.
    pub(super) fn curve(&self) -> (Curve, Peaks) {
        (self.curve, self.peaks)
    }

    /// Whether the curve is to be applied.
    pub(super) fn believed(&self) -> bool {
        self.believed
    }

    /// Whether every frame should be heard; every fourth will do otherwise.
    pub(super) fn curious(&self) -> bool {
        self.heard < CURIOUS || self.evidence.mean() > SUSPICION * WORTH
    }

    /// Learns from the next frame.
    pub(super) fn hear(&mut self, analysis: &mut Analysis, frame: &[f32]) {
        let (above, below) = frame
            .iter()
            .fold((0.0_f32, 0.0_f32), |(above, below), x| (above.max(*x), below.max(-x)));
        let now = Peaks {
            above: above.into(),
            below: below.into(),
        };
        if now.greatest() < SILENCE {
            return;
        }
        let before = self.peaks.greatest();
        self.peaks = Peaks {
            above: (self.peaks.above * PEAK_KEEP).max(now.above),
            below: (self.peaks.below * PEAK_KEEP).max(now.below),
        };
        let unit = self.peaks.greatest();
        if now.greatest() < QUIET * unit {
            return;
        }
        if unit > GREATER * before {
            self.heard = self.heard.min(3.0);
        }
        let peaks = self.peaks.over(unit);
        let mut from = self.curve.over(unit);
        from.curvature = from.curvature.max(LEAST);
        let from = from.within(peaks);
        let (sums, change) = analysis.hear(frame, unit, &Inverse::new(from));
        if !sums.fall.is_finite() || sums.gradient.iter().chain(sums.curvature.as_flattened()).any(|x| !x.is_finite()) {
            return;
        }
        self.evidence.add(sums.fall, change.min(1e6));
        self.improve(from, peaks, unit, &sums);
        if self.evidence.frames > 2.0 * FEWEST && self.evidence.mean() < -WRONG {
            *self = Self {
                peaks: self.peaks,
                ..Self::default()
            };
        }
        self.believed = self.evidence.convinces(if self.believed { STAY } else { 1.0 });
    }

    /// One step of recursive least squares from the curve `from`, in units of `unit`.
    fn improve(&mut self, from: Curve, peaks: Peaks, unit: f64, sums: &Sums) {
        self.heard += 1.0;
        let keep = (-1.0 / MEMORY).exp().min(1.0 - 1.0 / (1.0 + GROWTH * self.heard));
        let start = [from.curvature, from.asymmetry, from.hardness];
        fade(self.curvature.as_flattened_mut(), keep, sums.curvature.as_flattened());
        fade(&mut self.gradient, keep, &sums.gradient);
        let mut ridged = self.curvature;
        let mut slope = self.gradient;
        for i in 0..COUNT {
            ridged[i][i] += RIDGE[i] + DAMPING * sums.curvature[i][i].max(0.0);
            slope[i] += PULL * RIDGE[i] * start[i];
        }
        let step = solve(ridged, slope);
        if step.iter().any(|step| !step.is_finite()) {
            return;
        }
        let longest = [STEP[0] * from.curvature.max(STEP_FROM), STEP[1], STEP[2]];
        let shorten = step
            .iter()
            .zip(longest)
            .fold(1.0_f64, |least, (step, longest)| least.min(longest / step.abs().max(1e-30)));
        let [curvature, asymmetry, hardness] = std::array::from_fn(|i| start[i] - shorten * step[i]);
        let next = Curve {
            curvature,
            asymmetry,
            hardness,
        }
        .within(peaks);
        let moved = [next.curvature - start[0], next.asymmetry - start[1], next.hardness - start[2]];
        for (gradient, row) in self.gradient.iter_mut().zip(&self.curvature) {
            *gradient += row.iter().zip(moved).map(|(c, moved)| c * moved).sum::<f64>();
        }
        self.curve = next.over(1.0 / unit);
    }
}

/// `sum = keep sum + more`.
fn fade(sum: &mut [f64], keep: f64, more: &[f64]) {
    for (sum, more) in sum.iter_mut().zip(more) {
        *sum = keep * *sum + more;
    }
}

/// Solves `matrix x = right` for a symmetric positive definite matrix; 0 where it isn't.
fn solve(mut matrix: [[f64; COUNT]; COUNT], mut right: [f64; COUNT]) -> [f64; COUNT] {
    for i in 0..COUNT {
        let pivot = matrix[i];
        if pivot[i] < 1e-12 {
            return [0.0; COUNT];
        }
        for j in i + 1..COUNT {
            let factor = matrix[j][i] / pivot[i];
            for (below, above) in matrix[j].iter_mut().zip(pivot) {
                *below -= factor * above;
            }
            right[j] -= factor * right[i];
        }
    }
    for i in (0..COUNT).rev() {
        let known: f64 = (i + 1..COUNT).map(|k| matrix[i][k] * right[k]).sum();
        right[i] = (right[i] - known) / matrix[i][i];
    }
    right
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn solves_three_equations() {
        let matrix = [[4.0, 1.0, 0.5], [1.0, 3.0, -0.2], [0.5, -0.2, 2.0]];
        let x = [1.0, -2.0, 3.0];
        let right = matrix.map(|row| row.iter().zip(x).map(|(a, x)| a * x).sum());
        for (got, want) in solve(matrix, right).into_iter().zip(x) {
            assert!((got - want).abs() < 1e-12);
        }
        assert_eq!(solve([[0.0; COUNT]; COUNT], right), [0.0; COUNT]);
    }
}
