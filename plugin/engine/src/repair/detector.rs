//! Finds clicks by what neither past nor future predicts.
//!
//! A click excites the prediction error of the past from its start on, and that of the future up to its end: the smaller of the two stands out just where
//! the click is. Music stands out too, at onsets and at glottal pulses, but an onset goes on and pulses recur. So a click must be short, stand out from the
//! error before *and* after it and from most peaks of the last 60 ms, and the audio must be about as loud after it as before.

use super::ar::ArModel;
use std::ops::Range;

/// Reach of the largest error: 3 samples at 48 kHz, so that an error's zero crossings leave no holes.
const SPREAD_S: f64 = 3.0 / 48_000.0;

/// Conspicuous samples closer than this belong to the same click.
const JOIN_S: f64 = 0.25e-3;

/// What a click must stand out from, on each side.
const SURROUNDINGS_S: f64 = 4e-3;

/// Time over which loudness before and after a click is compared, less where less is known.
const LOUDNESS_S: f64 = 20e-3;

/// Pieces whose peaks are typical of the music: about one period of a voice.
const SEGMENT_S: f64 = 5e-3;

/// Prediction error of inaudible rounding noise: nothing below is a click (-120 dBFS).
const LEAST_SCALE: f32 = 1e-6;

/// Share of segments whose peak a click must exceed.
const QUANTILE: f64 = 0.7;

/// A click ends where the error falls below this share of the threshold that found it.
const HYSTERESIS: f32 = 0.35;

/// What the detector needs to know of the stream's buffer, in samples from its start.
#[derive(Clone, Copy, Debug)]
pub struct Scan {
    /// Clicks that start before were decided about; the audio has left.
    pub first: usize,
    /// Clicks that start before must be decided now; later ones only if all that matters is known.
    pub forced: usize,
    /// Where the sensitivity changes from the first to the second.
    pub split: usize,
    /// 0..=1 before and after `split`. 0 marks nothing.
    pub sensitivity: [f32; 2],
    /// Most samples to mark.
    pub budget: usize,
    /// Whether the ranges serve only to clean the block that the model is estimated from: then all clicks that are in sight count, due or not.
    pub provisional: bool,
}

/// Detection by autoregressive prediction error, over a buffer of fixed length that moves by one hop at a time.
#[derive(Clone, Debug)]
pub struct ResidualDetector {
    order: usize,
    max_gap: usize,
    spread: usize,
    join: usize,
    surroundings: usize,
    loudness: usize,
    segment: usize,
    /// The smaller of both prediction errors around each sample of the buffer; 0 where it isn't known.
    statistic: Vec<f32>,
    forward: Vec<f64>,
    backward: Vec<f64>,
    sorted: Vec<f32>,
}

/// Factors a click's error must exceed at one sensitivity.
#[derive(Clone, Copy, Debug)]
struct Thresholds {
    /// Times the median error.
    median: f32,
    /// Times the quantile of the segments' peaks.
    peaks: f32,
    /// Loudness after the click over that before it, at most.
    rise: f32,
}

impl Thresholds {
    /// Geometric in between: from what only a gross click exceeds to the point where more finds cost more than they gain (chosen on music, drums and speech
    /// of the validation set with synthetic clicks).
    fn new(sensitivity: f32) -> Option<Self> {
        let between = |least: f32, most: f32| least * (most / least).powf(sensitivity.clamp(0.0, 1.0));
        (sensitivity > 0.0).then(|| Self {
            median: between(14.0, 7.0),
            peaks: between(3.6, 1.7),
            rise: between(1.5, 6.0),
        })
    }
}

impl ResidualDetector {
    /// A detector over a buffer of `samples` samples for models of order `order`; clicks are at most `max_gap` samples.
    #[must_use]
    pub fn new(sample_rate_hz: f64, samples: usize, order: usize, max_gap: usize) -> Self {
        let spread = super::samples(sample_rate_hz, SPREAD_S).max(1);
        Self {
            order,
            max_gap,
            spread,
            join: super::samples(sample_rate_hz, JOIN_S).max(2),
            surroundings: super::samples(sample_rate_hz, SURROUNDINGS_S).max(8),
            loudness: super::samples(sample_rate_hz, LOUDNESS_S).max(16),
            segment: super::samples(sample_rate_hz, SEGMENT_S).max(8),
            statistic: vec![0.0; samples],
            forward: vec![0.0; samples],
            backward: vec![0.0; samples],
            sorted: Vec::with_capacity(samples),
        }
    }

    /// Samples before a click's start that a scan looks at.
    #[must_use]
    pub fn lookback(&self) -> usize {
        self.max_gap + self.join
    }

    /// Samples at the buffer's start for which there is no prediction error.
    #[must_use]
    pub fn margin(&self) -> usize {
        self.order + self.spread
    }

    /// Forgets the stream.
    pub fn reset(&mut self) {
        self.statistic.fill(0.0);
    }

    /// The buffer moved `hop` samples towards its start.
    pub fn advance(&mut self, hop: usize) {
        self.statistic.copy_within(hop.., 0);
        let kept = self.statistic.len() - hop;
        self.statistic[kept..].fill(0.0);
    }

    /// Computes the error of `signal` (the whole buffer) from sample `from` on, at least [`Self::margin`].
    pub fn refresh(&mut self, signal: &[f64], model: &ArModel, from: usize) {
        let end = signal.len() - self.order;
        let start = from - (self.spread - 1);
        let count = end - start;
        let (forward, backward) = (&mut self.forward[..count], &mut self.backward[..count]);
        model.forward_error(signal, start, forward);
        model.backward_error(signal, start, backward);
        for n in from..end {
            let i = n - start;
            let past = forward[i + 1 - self.spread..=i].iter().fold(0.0f64, |m, e| m.max(e.abs()));
            let future = backward[i..(i + self.spread).min(count)].iter().fold(0.0f64, |m, e| m.max(e.abs()));
            #[expect(clippy::cast_possible_truncation, reason = "magnitudes of audio")]
            let least = past.min(future) as f32;
            self.statistic[n] = if least.is_finite() { least } else { 0.0 };
        }
        self.statistic[end..].fill(0.0);
    }

    /// Takes note that `range` was repaired: it tells nothing of the music's own peaks.
    pub fn forget(&mut self, range: Range<usize>) {
        self.statistic[range].fill(0.0);
    }

    /// Writes the ranges of samples to repair, ascending and apart from each other. `repaired`: samples that were marked by earlier scans.
    ///
    /// # Real-time
    /// No allocation as long as `ranges` has room for [`Scan::budget`] ranges.
    pub fn scan(&mut self, signal: &[f64], repaired: &[bool], scan: &Scan, ranges: &mut Vec<Range<usize>>) {
        ranges.clear();
        let end = signal.len() - self.order;
        let scale = self.median(self.margin()..end).max(LEAST_SCALE);
        let peaks = self.typical_peak(self.margin()..end);
        let thresholds = scan.sensitivity.map(Thresholds::new);
        let seed = thresholds.map(|t| t.map_or(f32::INFINITY, |t| (t.median * scale).max(t.peaks * peaks)));
        let mut budget = scan.budget;
        let mut from = scan.first.saturating_sub(self.lookback()).max(self.margin());
        let mut n = from;
        while n < end {
            let side = usize::from(n >= scan.split);
            if self.statistic[n] <= seed[side] || repaired[n] {
                n += 1;
                continue;
            }
            let click = self.extent(n, from..end, seed[side] * HYSTERESIS, repaired);
            from = click.end;
            n = click.end + 1;
            let Some(thresholds) = thresholds[usize::from(click.start >= scan.split)] else {
                continue;
            };
            let complete = click.end + self.spread + self.surroundings <= end;
            let due = click.start >= scan.first && (click.start < scan.forced || complete);
            if (due || scan.provisional) && click.len() <= self.max_gap.min(budget) && self.stands_out(signal, &click, end, &thresholds) {
                budget -= click.len();
                ranges.push(click);
            }
        }
    }

    /// From one conspicuous sample to all that belong to the click, with a sample to spare on each side.
    fn extent(&self, seed: usize, within: Range<usize>, least: f32, repaired: &[bool]) -> Range<usize> {
        let belongs = |n: usize| self.statistic[n] > least && !repaired[n];
        let (mut start, mut end) = (seed, seed + 1);
        while let Some(next) = (start.saturating_sub(self.join).max(within.start)..start).find(|n| belongs(*n)) {
            start = next;
        }
        while let Some(next) = (end..(end + self.join).min(within.end)).rfind(|n| belongs(*n)) {
            end = next + 1;
        }
        if start > within.start && !repaired[start - 1] {
            start -= 1;
        }
        if end < within.end && !repaired[end] {
            end += 1;
        }
        start..end
    }

    /// Whether `click` stands out from what surrounds it, and the music goes on after it as it was before.
    fn stands_out(&mut self, signal: &[f64], click: &Range<usize>, end: usize, thresholds: &Thresholds) -> bool {
        let peak = self.statistic[click.clone()].iter().fold(0.0f32, |m, s| m.max(*s));
        let until = click.start.saturating_sub(self.spread);
        let since = (click.end + self.spread).min(end);
        let before = until.saturating_sub(self.surroundings)..until;
        let after = since..(since + self.surroundings).min(end);
        let local = self.median(before).max(self.median(after)).max(LEAST_SCALE);
        if peak <= local * thresholds.median {
            return false;
        }
        let loud_before = rms(&signal[until.saturating_sub(self.loudness)..until]);
        // The second half of what is known: a long click's tail has died by then.
        let heard = (since + self.loudness).min(signal.len());
        let loud_after = rms(&signal[since + (heard - since) / 2..heard]);
        loud_after <= loud_before.max(f64::from(LEAST_SCALE)) * f64::from(thresholds.rise)
    }

    /// Median of the known values in `range`, at most one per `spread` samples; 0 for none.
    fn median(&mut self, range: Range<usize>) -> f32 {
        self.sorted.clear();
        let known = self.statistic[range].iter().step_by(self.spread).copied().filter(|s| *s > 0.0);
        self.sorted.extend(known);
        quantile(&mut self.sorted, 0.5)
    }

    /// The peak that most segments of `range` stay below.
    fn typical_peak(&mut self, range: Range<usize>) -> f32 {
        self.sorted.clear();
        let peaks = self.statistic[range]
            .chunks_exact(self.segment)
            .map(|s| s.iter().fold(0.0f32, |m, s| m.max(*s)));
        self.sorted.extend(peaks);
        quantile(&mut self.sorted, QUANTILE)
    }
}

/// The value that a share `q` of `values` lies below; 0 for none. Reorders them.
fn quantile(values: &mut [f32], q: f64) -> f32 {
    if values.is_empty() {
        return 0.0;
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index into the slice")]
    let index = ((values.len() - 1) as f64 * q).round() as usize;
    *values.select_nth_unstable_by(index, f32::total_cmp).1
}

/// Root mean square; 0 for none.
fn rms(x: &[f64]) -> f64 {
    (x.iter().map(|x| x * x).sum::<f64>() / x.len().max(1) as f64).sqrt()
}
