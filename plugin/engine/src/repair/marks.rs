//! From the probabilities of the network and of the impulse test to the ranges of samples that are interpolated.

use super::impulse::Impulses;
use super::network::{ClickDetector, DetectorStream};
use super::rate::{Factor, Resampler};
use std::ops::Range;

/// Marked samples closer than this belong to the same click.
const JOIN_S: f64 = 0.25e-3;

/// Probability that a click must reach at sensitivities just above 0 and at 1: from where clean drums stay whole to the point where more finds cost more than
/// they gain, on music, speech and drums of the validation split.
const THRESHOLD: [f32; 2] = [0.95, 0.8];

/// Share of the threshold from which on a sample may be one of a click's, if the click stands out: slow ones, as of a worn stylus, the network takes for
/// plosives and drums as often as not. 0.7 finds no more.
const DOUBT: f32 = 0.75;

/// A click goes on as long as the probability exceeds this share of the threshold that found it. The network blurs the edges of short clicks: with 0.5,
/// single wrong samples gained 9 dB less and crackle 0.7 dB.
const HYSTERESIS: f32 = 0.8;

/// What the marking needs to know of the stream's buffer, in samples from its start.
#[derive(Clone, Copy, Debug)]
pub struct Scan {
    /// Clicks that start before were decided about; the audio has left.
    pub first: usize,
    /// Clicks that start before must be decided now; later ones only if their end is known.
    pub forced: usize,
    /// Where the sensitivity changes from the first to the second.
    pub split: usize,
    /// 0..=1 before and after `split`. 0 marks nothing.
    pub sensitivity: [f32; 2],
    /// Samples behind a click that shall be there before it is decided about, if it can wait.
    pub ahead: usize,
    /// Most samples to mark.
    pub budget: usize,
}

/// The network's and the impulse test's probabilities over a buffer of fixed length that moves by one hop at a time.
#[derive(Clone, Debug)]
pub struct Marks {
    impulses: Impulses,
    resampler: Resampler,
    factor: Factor,
    stream: DetectorStream,
    /// Probability of each sample of the buffer; 0 where it isn't known.
    probability: Vec<f32>,
    /// What the detector's next answer is about, in samples of the finer rate from the buffer's start.
    next: i64,
    max_gap: usize,
    join: usize,
    /// Samples added to each side of a click.
    spare: usize,
}

impl Marks {
    /// Marks over a buffer of `samples` samples that moves by `hop`; clicks are at most `max_gap` samples.
    #[must_use]
    pub fn new(detector: &ClickDetector, sample_rate_hz: f64, samples: usize, hop: usize, max_gap: usize) -> Self {
        let factor = Factor::between(sample_rate_hz, detector.spec().rate_hz);
        let spare = match factor {
            Factor::Down(factor) => factor,
            Factor::Up(_) => 1,
        };
        Self {
            impulses: Impulses::new(sample_rate_hz, hop),
            resampler: Resampler::new(factor, samples),
            factor,
            stream: DetectorStream::new(detector, factor.most(samples)),
            probability: vec![0.0; samples],
            next: 0,
            max_gap,
            join: super::samples(sample_rate_hz, JOIN_S).max(2),
            spare,
        }
    }

    /// Samples before a click's start that a scan looks at.
    #[must_use]
    pub fn lookback(&self) -> usize {
        self.max_gap + self.join + self.spare
    }

    /// Forgets the stream; all of the buffer comes next.
    pub fn reset(&mut self) {
        self.resampler.reset();
        self.stream.reset();
        self.probability.fill(0.0);
        let (numerator, denominator) = self.ratio();
        // The first answer is about what is so far before the buffer's start.
        let lookahead = self.stream.lookahead() as i64;
        self.next = -(lookahead * numerator) - self.resampler.delay() as i64 * denominator;
    }

    /// Samples of the finer rate per sample of the detector, and per sample of the stream.
    fn ratio(&self) -> (i64, i64) {
        match self.factor {
            Factor::Down(down) => (down as i64, 1),
            Factor::Up(up) => (1, up as i64),
        }
    }

    /// `stream`, the whole buffer, moved towards its start, and its last `fresh` samples are new: one hop, or all of them after a [`Marks::reset`].
    ///
    /// # Real-time
    /// No allocation, lock or system call.
    pub fn advance(&mut self, stream: &[f32], fresh: usize) {
        let samples = &stream[stream.len() - fresh..];
        let (numerator, denominator) = self.ratio();
        let length = self.probability.len();
        if samples.len() < length {
            self.probability.copy_within(samples.len().., 0);
            self.probability[length - samples.len()..].fill(0.0);
            self.next -= samples.len() as i64 * denominator;
        }
        for p in self.stream.process(self.resampler.process(samples)) {
            // Centre of the answer, in samples of the buffer, and what it covers.
            let first = (self.next - numerator / 2).div_euclid(denominator);
            for n in first..first + numerator {
                if let Some(known) = usize::try_from(n).ok().and_then(|n| self.probability.get_mut(n)) {
                    *known = known.max(*p);
                }
            }
            self.next += numerator;
        }
        let probability = &mut self.probability;
        self.impulses.find(stream, |click, p| {
            for known in &mut probability[click] {
                *known = known.max(p);
            }
        });
    }

    /// Samples of the buffer that the network has answered for.
    #[must_use]
    pub fn known(&self) -> usize {
        let (numerator, denominator) = self.ratio();
        usize::try_from((self.next - numerator / 2).div_euclid(denominator)).unwrap_or(0)
    }

    /// Writes the ranges of damaged samples, ascending and apart from each other, and returns how many of them, the first ones, are to be repaired now.
    /// Among these are some that the network doubts ([`Self::is_sure`]); they don't count towards the budget. `repaired`: samples that were repaired before.
    ///
    /// # Real-time
    /// No allocation as long as `ranges` has room for [`Scan::budget`] ranges.
    pub fn scan(&self, repaired: &[bool], scan: &Scan, ranges: &mut Vec<Range<usize>>) -> usize {
        ranges.clear();
        let end = self.known();
        let thresholds = scan.sensitivity.map(threshold);
        let mut budget = scan.budget;
        let mut due = 0;
        let mut from = scan.first.saturating_sub(self.lookback());
        let mut n = from;
        while n < end {
            let seed = thresholds[usize::from(n >= scan.split)];
            if self.probability[n] <= DOUBT * seed || repaired[n] {
                n += 1;
                continue;
            }
            let mut click = self.extent(n, from..end, DOUBT * seed * HYSTERESIS, repaired);
            // One that the network is sure of somewhere is as long as it was without doubt.
            if let Some(n) = click.clone().find(|n| self.probability[*n] > seed && !repaired[*n]) {
                click = self.extent(n, from..end, seed * HYSTERESIS, repaired);
            }
            from = click.end;
            n = click.end;
            // Sensitivity counts where a click starts.
            if thresholds[usize::from(click.start >= scan.split)] >= 1.0 || click.start < scan.first {
                continue;
            }
            let complete = click.end + self.join <= end;
            if click.len() > self.max_gap.min(budget) || !complete && click.start < scan.forced {
                continue;
            }
            let can_wait = click.start >= scan.forced && click.end + scan.ahead > self.probability.len();
            let is_due = complete && !can_wait;
            if self.is_sure(&click, scan) {
                budget -= click.len();
            } else if !is_due {
                continue;
            }
            due += usize::from(is_due);
            ranges.push(click);
        }
        due
    }

    /// Samples closer than this belong to the same click.
    #[must_use]
    pub fn join(&self) -> usize {
        self.join
    }

    /// How likely sample `n` belongs to a click.
    #[must_use]
    pub fn probability(&self, n: usize) -> f32 {
        self.probability[n]
    }

    /// Whether the network is as sure of a click as the sensitivity asks.
    #[must_use]
    pub fn is_sure(&self, click: &Range<usize>, scan: &Scan) -> bool {
        let least = threshold(scan.sensitivity[usize::from(click.start >= scan.split)]);
        self.probability[click.clone()].iter().any(|p| *p > least)
    }

    /// Whether a click that may as well be an onset is one: as sure as it must be at the least sensitivity. With 0.9 clean drums lose 2 dB.
    #[must_use]
    pub fn insists(&self, click: &Range<usize>) -> bool {
        self.probability[click.clone()].iter().any(|p| *p > THRESHOLD[0])
    }

    /// From one marked sample to all that belong to the click, with some to spare on each side.
    fn extent(&self, seed: usize, within: Range<usize>, least: f32, repaired: &[bool]) -> Range<usize> {
        let belongs = |n: usize| self.probability[n] > least && !repaired[n];
        let (mut start, mut end) = (seed, seed + 1);
        while let Some(next) = (start.saturating_sub(self.join).max(within.start)..start).find(|n| belongs(*n)) {
            start = next;
        }
        while let Some(next) = (end..(end + self.join).min(within.end)).rfind(|n| belongs(*n)) {
            end = next + 1;
        }
        for _ in 0..self.spare {
            if start > within.start && !repaired[start - 1] {
                start -= 1;
            }
            if end < within.end && !repaired[end] {
                end += 1;
            }
        }
        start..end
    }
}

/// The probability that a click must exceed; 1, which none does, for sensitivity 0. Linear in the logarithm of the odds.
fn threshold(sensitivity: f32) -> f32 {
    if sensitivity <= 0.0 {
        return 1.0;
    }
    let [most, least] = THRESHOLD.map(|p| (p / (1.0 - p)).ln());
    let logit = most + (least - most) * sensitivity.min(1.0);
    1.0 / (1.0 + (-logit).exp())
}
