//! Click repair: marks damaged samples and interpolates just those.
//!
//! ```text
//! hop -> buffer (60 ms) -> model -> detector -> marked ranges -> interpolator -> buffer -> hop, `lookahead` samples later
//! ```
//!
//! A click is decided about once what follows it is known, at the latest `lookahead` samples after its start, when it is about to leave. Detector and
//! interpolator meet in nothing but a list of sample ranges, so that either can be replaced.
//!
//! A model estimated from damaged audio describes the damage too, and then finds none. So there are two passes: the first detects with the model of the
//! hop before and repairs provisionally, the second estimates the model from that, puts the audio back and decides.
//!
//! Cost per hop: one model estimate (`samples * order`) and four prediction errors over the part that isn't decided yet. At most a quarter of a hop (or one
//! click of the greatest length, if that is more), and never more than 1024 samples, is repaired per
//! hop; the rest stays as it was.
//!
//! A click can only be repaired as long as its end is known when its start leaves: 4 ms with the studio's look-ahead of 10 ms, 2.7 ms with the live one's of
//! 3.3 ms. Longer ones are left alone, because up to there they can't be told from the start of a drum hit.

pub mod ar;
pub mod detector;
pub mod interpolator;

use crate::Geometry;
use ar::ArModel;
use detector::{ResidualDetector, Scan};
use interpolator::Interpolator;
use std::ops::Range;

/// Audio that the model is estimated from: long enough for a stable estimate, short enough for music to be stationary.
const BLOCK_S: f64 = 60e-3;

/// Span of the prediction: 30 samples at 48 kHz.
const ORDER_S: f64 = 30.0 / 48_000.0;

/// Bounds of the order: enough for a few resonances at 8 kHz, and an affordable solution at 192 kHz and above.
const ORDER: (usize, usize) = (12, 64);

/// Most samples repaired per hop, whatever the rate: bounds the time of a hop.
const BUDGET: usize = 1024;

/// Samples that may be cleaned for the model's sake, relative to those repaired.
const PROVISIONAL: usize = 2;

/// Longest click. Beyond, an autoregressive model has nothing to say.
const MAX_GAP_S: f64 = 4e-3;

/// `seconds` in samples, rounded.
fn samples(sample_rate_hz: f64, seconds: f64) -> usize {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "at most 384 kHz times a few seconds"
    )]
    let samples = (sample_rate_hz * seconds).round() as usize;
    samples
}

/// Click repair of one channel, hop in, hop out.
#[derive(Clone, Debug)]
pub struct ClickRepair {
    hop: usize,
    lookahead: usize,
    /// Most samples to repair per hop.
    budget: usize,
    /// The stream as it will leave; the newest hop last.
    stream: Vec<f32>,
    /// The same in the precision of the computation.
    signal: Vec<f64>,
    /// Which samples of the stream were replaced.
    repaired: Vec<bool>,
    model: ArModel,
    detector: ResidualDetector,
    interpolator: Interpolator,
    ranges: Vec<Range<usize>>,
    /// Sensitivity of the hop before.
    previous: f32,
    /// Whether the detector has followed the stream.
    following: bool,
}

impl ClickRepair {
    /// Repair at the start of a stream. The look-ahead is [`Geometry::repair`].
    #[must_use]
    pub fn new(geometry: &Geometry, sample_rate_hz: f64) -> Self {
        let (hop, lookahead) = (geometry.hop, geometry.repair);
        let order = samples(sample_rate_hz, ORDER_S).clamp(ORDER.0, ORDER.1).min(lookahead / 2).max(1);
        let max_gap = samples(sample_rate_hz, MAX_GAP_S).min(lookahead - order).clamp(1, BUDGET);
        let budget = max_gap.max(hop / 4).min(BUDGET);
        let provisional = PROVISIONAL * budget;
        let block = samples(sample_rate_hz, BLOCK_S).max(2 * hop + lookahead + 2 * max_gap + 4 * order);
        Self {
            hop,
            lookahead,
            budget,
            stream: vec![0.0; block],
            signal: vec![0.0; block],
            repaired: vec![false; block],
            model: ArModel::new(order, block),
            detector: ResidualDetector::new(sample_rate_hz, block, order, max_gap),
            interpolator: Interpolator::new(order, max_gap, 4 * max_gap),
            // Ranges are at least one sample each.
            ranges: Vec::with_capacity(provisional),
            previous: 0.0,
            following: false,
        }
    }

    /// Samples from a click's start to the last that is known when it leaves: the delay of the repair.
    #[must_use]
    pub fn delay(&self) -> usize {
        self.lookahead
    }

    /// Back to the start of a stream.
    pub fn reset(&mut self) {
        self.stream.fill(0.0);
        self.signal.fill(0.0);
        self.repaired.fill(false);
        self.detector.reset();
        self.model.set(&[1.0]);
        self.previous = 0.0;
        self.following = false;
    }

    /// Replaces the hop in `audio` by the repaired stream, [`Self::delay`] samples behind, and returns how many clicks were repaired. What isn't marked is
    /// the same to the bit.
    ///
    /// `declick`: sensitivity, 0..=1; 0 marks nothing.
    ///
    /// # Panics
    /// If `audio` isn't one hop.
    ///
    /// # Real-time
    /// No allocation, lock or system call.
    pub fn process(&mut self, audio: &mut [f32], declick: f32) -> u32 {
        assert_eq!(audio.len(), self.hop, "one hop goes in");
        let kept = self.stream.len() - self.hop;
        self.stream.copy_within(self.hop.., 0);
        self.stream[kept..].copy_from_slice(audio);
        self.repaired.copy_within(self.hop.., 0);
        self.repaired[kept..].fill(false);
        let declick = if declick > 0.0 { declick.min(1.0) } else { 0.0 };
        let clicks = if declick > 0.0 || self.previous > 0.0 {
            self.follow();
            self.repair([self.previous, declick])
        } else {
            self.following = false;
            0
        };
        self.previous = declick;
        let leaving = kept - self.lookahead;
        audio.copy_from_slice(&self.stream[leaving..leaving + self.hop]);
        clicks
    }

    /// Brings the detector up to the stream's newest hop.
    fn follow(&mut self) {
        let kept = self.stream.len() - self.hop;
        if self.following {
            self.signal.copy_within(self.hop.., 0);
            widen(&self.stream[kept..], &mut self.signal[kept..]);
            self.detector.advance(self.hop);
        } else {
            widen(&self.stream, &mut self.signal);
        }
    }

    /// Detects and repairs in the part of the stream that hasn't left.
    fn repair(&mut self, sensitivity: [f32; 2]) -> u32 {
        let kept = self.stream.len() - self.hop;
        let scan = Scan {
            first: kept - self.lookahead,
            forced: self.stream.len() - self.lookahead,
            split: kept,
            sensitivity,
            budget: PROVISIONAL * self.budget,
            provisional: true,
        };
        let from = if self.following {
            (scan.first - self.detector.lookback()).max(self.detector.margin())
        } else {
            self.detector.margin()
        };
        if !self.following && !self.model.estimate(&self.signal) {
            return 0;
        }
        self.following = true;
        self.detector.refresh(&self.signal, &self.model, from);
        self.detector.scan(&self.signal, &self.repaired, &scan, &mut self.ranges);
        self.interpolator.fill(&mut self.signal, &self.model, &self.ranges);
        if !self.model.estimate(&self.signal) {
            // Silence: the next sound begins with a model of its own.
            self.following = false;
        }
        for range in &self.ranges {
            widen(&self.stream[range.clone()], &mut self.signal[range.clone()]);
        }
        self.detector.refresh(&self.signal, &self.model, from);
        let scan = Scan {
            budget: self.budget,
            provisional: false,
            ..scan
        };
        self.detector.scan(&self.signal, &self.repaired, &scan, &mut self.ranges);
        self.interpolator.fill(&mut self.signal, &self.model, &self.ranges);
        let mut clicks = 0;
        for range in &self.ranges {
            let mut changed = false;
            for n in range.clone() {
                #[expect(clippy::cast_possible_truncation, reason = "back to the stream's precision")]
                let repaired = self.signal[n] as f32;
                if repaired.is_finite() && repaired.to_bits() != self.stream[n].to_bits() {
                    self.stream[n] = repaired;
                    changed = true;
                }
                self.repaired[n] = true;
            }
            self.detector.forget(range.clone());
            clicks += u32::from(changed);
        }
        clicks
    }
}

/// The same samples in f64.
fn widen(from: &[f32], to: &mut [f64]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = f64::from(*from);
    }
}
