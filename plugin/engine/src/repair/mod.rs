//! Repair of samples: marks those that clicks or clipping damaged and interpolates just those, and gives back what dropouts took.
//!
//! ```text
//! hop -> buffer (60 ms) -----------------------------------------------> model -> interpolator -> buffer -> (*) -> hop, `lookahead` samples later
//!          |-> 32..72 kHz -> network -.-> probabilities -> marks -> edges -'
//!          |-> impulse test ----------'                                    |
//!          |-> ceilings -> clipped peaks ----------------------------------'                                 |
//!          `-> dropout network -> depth of the loss ---------------------------------------------------------'
//! ```
//!
//! A small network says of each sample how likely a click has destroyed it, 1 to 1.3 ms behind the newest one, in studio 3 to 3.3 ms. Faults of digital transfers, a few samples
//! long, are found at the stream's own rate: at the network's they would be blurred, or too short to be sure of. A click is decided about once its end is
//! known, at the latest `lookahead` samples after its start, when it is about to leave. A model of what surrounds it says how far it reaches, and whether
//! it is an onset. Detector and interpolator meet in nothing but a list of sample ranges, so that either can be replaced.
//!
//! Cost: the network, at 32 to 72 kHz whatever the stream's rate; and per hop with clicks two or three model estimates (`samples * order`) and the
//! interpolation. At most a quarter of a hop (or one click of the greatest length, if that is more), and never more than 1536 samples, is repaired per hop;
//! the rest stays as it was.
//!
//! A click can only be repaired as long as its end is known when its start leaves: up to 6 ms with the studio's look-ahead of 10 ms (4 ms at 384 kHz, by the
//! bound of a hop's time), 2 ms with the live one's of 3.3 ms. Longer ones are left alone.
//!
//! Clipped peaks are repaired after the clicks, when they are about to leave. Those that leave later are solved for together with them, since they aren't known
//! either, and again when it is their turn.
//!
//! Dropouts come last: what leaves is multiplied by what was lost, and the buffer stays as it is.

pub mod ar;
pub mod clipping;
pub mod dropouts;
pub mod edges;
pub mod impulse;
pub mod interpolator;
pub mod marks;
pub mod network;
mod plane;
pub mod rate;
mod residual;

use crate::Geometry;
use ar::ArModel;
use clipping::Clipping;
pub use dropouts::DropoutDetector;
use dropouts::DropoutStream;
use edges::Edges;
use interpolator::Interpolator;
use marks::{Marks, Scan};
pub use network::ClickDetector;
use std::ops::Range;

/// Audio that a model is estimated from: long enough for a stable estimate, short enough for speech to be stationary.
const BLOCK_S: f64 = 35e-3;

/// How much of it follows the click, at most.
const AFTER_S: f64 = 10e-3;

/// Order of the model for clicks at 48 kHz. Each doubling from 30 on gained 0.4 to 0.5 dB on clicks in music and speech.
const CLICK_ORDER: usize = 256;

/// The same for clipped peaks, of which there can be so many that they would cost too much.
const PEAK_ORDER: usize = 128;

/// Least order, at low rates, and the order that it isn't lowered under at high ones: the cost grows with its square times the rate.
const LEAST_ORDER: usize = 16;
const ORDER_AT_HIGH_RATES: usize = 64;

/// Longest click. Beyond, an autoregressive model has nothing to say.
const MAX_GAP_S: f64 = 6e-3;

/// Most samples repaired per hop, whatever the rate: bounds the time of a hop. A click of 4 ms at 384 kHz.
const BUDGET: usize = 1536;

/// Clicks that start within this time share a model.
const GROUP_S: f64 = 5e-3;

/// Peak of a click that the network doubts over the level before and behind it, as a factor (14 dB), that makes it one. Of 1125 doubtful marks on the clicks
/// of the validation split few are clicks, but those are most of what was missed; with 12 dB clean drums lose some hits, with 15 a tenth of the gain is gone.
const OUTSTANDING: f64 = 5.0;

/// How much a click added to a sample is judged with so much of it on each side. Between 1 and 10 samples at 48 kHz it makes no difference.
const NEAR_S: f64 = 0.06e-3;

/// What a click adds is much the same over so much time (3.4 samples at 48 kHz), so that all samples of it say as much as one about what was there. Taken for
/// noise, of which each sample says something new, clicks gain 1 dB less and crackle a quarter. 5 and 10 samples do no better.
const ALIKE_S: f64 = 0.07e-3;

/// Least rise of a clipped peak above its ceiling, as a factor (0.1 dB). What rises less was hardly clipped, if at all.
const LEAST_RISE: f64 = 1.01;

/// Order of a model that has order `at_48k` at 48 kHz: it spans the same time, but no more samples, and at high rates so many that it costs the same.
fn order_at(sample_rate_hz: f64, at_48k: usize) -> usize {
    let span = at_48k as f64 / 48e3;
    let affordable = samples((48e3 / sample_rate_hz).sqrt(), at_48k as f64).max(ORDER_AT_HIGH_RATES);
    samples(sample_rate_hz, span).clamp(LEAST_ORDER, at_48k).min(affordable)
}

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

/// The networks that find damage.
#[derive(Clone, Debug)]
pub struct Detectors {
    /// Finds clicks. One whose look-ahead isn't well below the repair's ([`Geometry::repair`]) finds none in time: each edition has its own.
    pub clicks: ClickDetector,
    /// Finds dropouts, and how deep they are.
    pub dropouts: DropoutDetector,
}

/// What is to be repaired, for one hop.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Repairs {
    /// Sensitivity to clicks, 0..=1; 0 marks none.
    pub declick: f32,
    /// Whether clipped peaks are marked.
    pub declip: bool,
    /// Whether dropouts are given back.
    pub dropouts: bool,
}

/// Repair of one channel, hop in, hop out.
#[derive(Clone, Debug)]
pub struct SampleRepair {
    hop: usize,
    lookahead: usize,
    /// Longest click, in samples.
    max_gap: usize,
    /// Most samples to repair per hop.
    budget: usize,
    /// Most clipped samples to solve for at once: half of what hasn't left.
    most_clipped: usize,
    /// Audio that a model is estimated from, how much of it follows a click, and how far apart clicks that share a model start, in samples.
    block: usize,
    after: usize,
    group: usize,
    /// The stream as it will leave; the newest hop last.
    stream: Vec<f32>,
    /// The same in the precision of the computation.
    signal: Vec<f64>,
    /// Variance of what clicks added to samples that are being repaired.
    damage: Vec<f64>,
    near: usize,
    /// How far a sample that a click added nothing to is trusted.
    trust: f64,
    /// Which samples of the stream were replaced.
    repaired: Vec<bool>,
    model: ArModel,
    peak_model: ArModel,
    marks: Marks,
    edges: Edges,
    clipping: Clipping,
    interpolator: Interpolator,
    dropouts: DropoutStream,
    ranges: Vec<Range<usize>>,
    /// What was to be repaired in the hop before.
    previous: Repairs,
    following: Following,
}

/// Who has followed the stream so far.
#[derive(Clone, Copy, Debug, Default)]
struct Following {
    marks: bool,
    ceilings: bool,
    dropouts: bool,
}

impl SampleRepair {
    /// Repair at the start of a stream. The look-ahead is [`Geometry::repair`].
    #[must_use]
    pub fn new(detectors: &Detectors, geometry: &Geometry, sample_rate_hz: f64) -> Self {
        let (hop, lookahead) = (geometry.hop, geometry.repair);
        let [clicks, peaks] = [CLICK_ORDER, PEAK_ORDER].map(|order| order_at(sample_rate_hz, order));
        let max_gap = samples(sample_rate_hz, MAX_GAP_S).min(lookahead).clamp(1, BUDGET);
        let budget = max_gap.max(hop / 4).min(BUDGET);
        let most_clipped = ((hop + lookahead) / 2).min(BUDGET);
        let block = samples(sample_rate_hz, BLOCK_S);
        let length = hop + lookahead + 2 * max_gap + block;
        let marks = Marks::new(&detectors.clicks, sample_rate_hz, length, hop, max_gap);
        Self {
            hop,
            lookahead,
            max_gap,
            budget,
            block,
            after: samples(sample_rate_hz, AFTER_S),
            group: samples(sample_rate_hz, GROUP_S),
            stream: vec![0.0; length],
            signal: vec![0.0; length],
            damage: vec![0.0; length],
            near: samples(sample_rate_hz, NEAR_S),
            trust: (ALIKE_S * sample_rate_hz).max(1.0).recip(),
            repaired: vec![false; length],
            model: ArModel::new(clicks),
            peak_model: ArModel::new(peaks),
            most_clipped,
            edges: Edges::new(sample_rate_hz, marks.join()),
            marks,
            clipping: Clipping::new(sample_rate_hz),
            interpolator: Interpolator::new(clicks, max_gap, 4 * max_gap),
            dropouts: DropoutStream::new(&detectors.dropouts, sample_rate_hz, hop, lookahead),
            // Ranges are at least one sample each.
            ranges: Vec::with_capacity(BUDGET),
            previous: Repairs::default(),
            following: Following::default(),
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
        self.previous = Repairs::default();
        self.following = Following::default();
    }

    /// Replaces the hop in `audio` by the repaired stream, [`Self::delay`] samples behind, and returns how many clicks were repaired. What isn't marked, nor in a
    /// dropout, is the same to the bit.
    ///
    /// # Panics
    /// If `audio` isn't one hop.
    ///
    /// # Real-time
    /// No allocation, lock or system call.
    pub fn process(&mut self, audio: &mut [f32], mut repairs: Repairs) -> u32 {
        assert_eq!(audio.len(), self.hop, "one hop goes in");
        let kept = self.stream.len() - self.hop;
        self.stream.copy_within(self.hop.., 0);
        self.stream[kept..].copy_from_slice(audio);
        self.repaired.copy_within(self.hop.., 0);
        self.repaired[kept..].fill(false);
        repairs.declick = if repairs.declick > 0.0 { repairs.declick.min(1.0) } else { 0.0 };
        let before = std::mem::replace(&mut self.previous, repairs);
        if repairs.dropouts || before.dropouts {
            self.follow_dropouts(audio);
        } else {
            self.following.dropouts = false;
        }
        let clicks = if repairs.declick > 0.0 || before.declick > 0.0 {
            self.follow();
            self.repair([before.declick, repairs.declick])
        } else {
            self.following.marks = false;
            0
        };
        if repairs.declip || before.declip {
            // After the clicks, so that none of them is taken for a peak.
            self.follow_ceilings(audio);
            self.unclip([before.declip, repairs.declip]);
        } else {
            self.following.ceilings = false;
        }
        let leaving = kept - self.lookahead;
        audio.copy_from_slice(&self.stream[leaving..leaving + self.hop]);
        let (behind, split) = (self.hop + self.lookahead, self.lookahead.min(self.hop));
        let (older, newer) = audio.split_at_mut(split);
        if before.dropouts {
            self.dropouts.give_back(older, behind);
        }
        if repairs.dropouts {
            self.dropouts.give_back(newer, behind - split);
        }
        clicks
    }

    /// Brings the dropouts up to the newest hop, `audio`: as it came in, like all that they have heard. Clicks are no matter to them.
    fn follow_dropouts(&mut self, audio: &[f32]) {
        if self.following.dropouts {
            self.dropouts.follow(audio);
        } else {
            self.dropouts.reset();
            for piece in self.stream.chunks(self.hop) {
                self.dropouts.follow(piece);
            }
            self.following.dropouts = true;
        }
    }

    /// Brings the marks up to the stream's newest hop.
    fn follow(&mut self) {
        if self.following.marks {
            self.marks.advance(&self.stream, self.hop);
        } else {
            self.marks.reset();
            self.marks.advance(&self.stream, self.stream.len());
            self.following.marks = true;
        }
    }

    /// Brings the ceilings up to the newest hop, `audio`: as it came in.
    fn follow_ceilings(&mut self, audio: &[f32]) {
        if !self.following.ceilings {
            self.clipping.reset();
            self.following.ceilings = true;
        }
        self.clipping.follow(audio);
    }

    /// Repairs the clipped peaks that leave now. `declip`: of those that began before the newest hop, and in it.
    fn unclip(&mut self, declip: [bool; 2]) {
        let (kept, length) = (self.stream.len() - self.hop, self.stream.len());
        let (first, forced) = (kept - self.lookahead, length - self.lookahead);
        let from = if declip[0] { first } else { kept };
        let to = if declip[1] { length } else { kept };
        self.clipping.find(
            &self.stream,
            &self.repaired,
            from..to,
            self.max_gap,
            self.most_clipped,
            &mut self.ranges,
        );
        let due = self.ranges.iter().take_while(|peak| peak.start < forced).count();
        if due == 0 {
            return;
        }
        widen(&self.stream, &mut self.signal);
        let block = length - self.block..length;
        if !self.peak_model.estimate(&self.signal[block.clone()]) {
            return;
        }
        // The first model describes clipped peaks, the second what the first made of them. A third gains 0.1 dB.
        self.interpolator.fill(&mut self.signal, &self.peak_model, &self.ranges);
        for n in self.ranges.iter().cloned().flatten() {
            let ceiling = f64::from(self.stream[n]);
            self.signal[n] = ceiling * (self.signal[n] / ceiling).max(1.0);
        }
        if !self.peak_model.estimate(&self.signal[block]) {
            return;
        }
        let (stream, excitation) = (&self.stream, self.peak_model.excitation());
        self.interpolator
            .fill_by(&mut self.signal, &self.peak_model, &self.ranges, &|n, mean, variance| {
                let ceiling = f64::from(stream[n]);
                let height = clipping::mean_above(ceiling.abs(), mean * ceiling.signum(), (variance * excitation).sqrt());
                height.copysign(ceiling)
            });
        for peak in &self.ranges[..due] {
            let ceiling = f64::from(self.stream[peak.start]);
            if !peak.clone().any(|n| self.signal[n] / ceiling > LEAST_RISE) {
                continue;
            }
            for n in peak.clone() {
                #[expect(clippy::cast_possible_truncation, reason = "back to the stream's precision")]
                let repaired = self.signal[n] as f32;
                if repaired.is_finite() {
                    self.stream[n] = repaired;
                    self.repaired[n] = true;
                }
            }
        }
    }

    /// Marks and repairs in the part of the stream that hasn't left.
    fn repair(&mut self, sensitivity: [f32; 2]) -> u32 {
        let kept = self.stream.len() - self.hop;
        let scan = Scan {
            first: kept - self.lookahead,
            forced: self.stream.len() - self.lookahead,
            split: kept,
            sensitivity,
            ahead: self.edges.needs(),
            budget: self.budget,
        };
        let due = self.marks.scan(&self.repaired, &scan, &mut self.ranges);
        if due == 0 {
            return 0;
        }
        widen(&self.stream, &mut self.signal);
        // The first model mustn't describe the damage: straight lines in its place.
        for range in self.ranges.iter().filter(|range| self.marks.is_sure(range, &scan)) {
            bridge(&mut self.signal, range);
        }
        let due = self.believe(due, &scan);
        let due = self.judge(due, scan.first);
        let mut first = 0;
        while first < self.ranges.len() {
            let start = self.ranges[first].start;
            let count = self.ranges[first..]
                .iter()
                .take_while(|range| range.start - start < self.group)
                .count();
            self.interpolate(first..first + count);
            first += count;
        }
        let mut clicks = 0;
        for range in &self.ranges[..due] {
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
            clicks += u32::from(changed);
        }
        clicks
    }

    /// Of the first `due` ranges takes those away that the network doubts and that don't stand out, or for which there is no room. Returns how many are left.
    fn believe(&mut self, due: usize, scan: &Scan) -> usize {
        let sure = |click: &Range<usize>| self.marks.is_sure(click, scan);
        let mut spare = self.budget - self.ranges.iter().filter(|range| sure(range)).map(Range::len).sum::<usize>();
        let mut kept = 0;
        for index in 0..due {
            let click = self.ranges[index].clone();
            if !sure(&click) {
                if click.len() > spare || !self.stands_out(&click) {
                    continue;
                }
                spare -= click.len();
                bridge(&mut self.signal, &click);
            }
            self.ranges[kept] = click;
            kept += 1;
        }
        self.ranges.drain(kept..due);
        kept
    }

    /// Widens the first `due` ranges to all that the clicks damaged, no sample before `first` and no more in all than a hop may repair; takes those away
    /// that are onsets. Returns how many are left.
    fn judge(&mut self, due: usize, first: usize) -> usize {
        let mut spare = self.budget - self.ranges.iter().map(Range::len).sum::<usize>().min(self.budget);
        let (mut kept, mut free) = (0, first);
        let mut learned = None;
        for index in 0..due {
            let core = self.ranges[index].clone();
            if learned.is_none_or(|start| core.start - start >= self.group) {
                let end = (core.end + self.after).min(self.signal.len());
                self.edges.learn(&self.signal, end - self.block..end, core.start);
                learned = Some(core.start);
            }
            let next = self.ranges.get(index + 1).map_or(self.signal.len(), |next| next.start);
            let probability = |n: usize| if self.repaired[n] { 0.0 } else { self.marks.probability(n) };
            let found = self.edges.find(&self.signal, &core, free..next, probability);
            if found.rises && !self.marks.insists(&core) {
                widen(&self.stream[core.clone()], &mut self.signal[core]);
                continue;
            }
            let room = spare.min(self.max_gap.saturating_sub(core.len()));
            let start = found.click.start.max(core.start.saturating_sub(room));
            let click = start..found.click.end.min(core.end + room - (core.start - start));
            spare -= click.len() - core.len();
            free = click.end;
            bridge(&mut self.signal, &click);
            self.ranges[kept] = click;
            kept += 1;
        }
        self.ranges.drain(kept..due);
        kept
    }

    /// Fills a group of ranges with a model of what surrounds them. What can't be filled is what came in.
    fn interpolate(&mut self, group: Range<usize>) {
        let ranges = &self.ranges[group];
        let end = (ranges[ranges.len() - 1].end + self.after).min(self.signal.len());
        let block = end - self.block..end;
        for refining in [false, true] {
            if refining {
                for range in ranges {
                    added(&self.stream, &self.signal, range, self.near, &mut self.damage);
                }
            }
            let estimated = self.model.estimate(&self.signal[block.clone()]);
            if !estimated && self.signal[block.clone()].iter().all(|x| *x == 0.0) {
                // A click alone in digital silence: the straight line over it is that silence.
                return;
            }
            for range in ranges {
                widen(&self.stream[range.clone()], &mut self.signal[range.clone()]);
            }
            if !estimated {
                return;
            }
            let (damage, excitation, most) = (&self.damage, self.model.excitation(), self.trust);
            // Nothing that stands there is trusted until it is known how much the click added to it.
            let trust = |n: usize| match refining {
                true => most * (excitation / damage[n]).min(1.0),
                false => 0.0,
            };
            self.interpolator.fill_trusting(&mut self.signal, &self.model, ranges, &trust);
        }
    }

    /// Whether a click rises so far above what is before and behind it that nothing but a click can be so high and so short.
    fn stands_out(&self, click: &Range<usize>) -> bool {
        let mut line = Line::over(&self.signal, click);
        let peak = self.stream[click.clone()]
            .iter()
            .fold(0.0f64, |peak, x| peak.max((f64::from(*x) - line.next()).abs()));
        let rms = |part: Range<usize>| (part.clone().map(|n| self.signal[n].powi(2)).sum::<f64>() / part.len().max(1) as f64).sqrt();
        let before = rms(click.start.saturating_sub(self.after)..click.start);
        let behind = rms(click.end..(click.end + self.after / 2).min(self.signal.len()));
        peak > OUTSTANDING * before.max(behind)
    }
}

/// A straight line over a range, from the sample before to the one after: sample by sample.
struct Line {
    next: f64,
    step: f64,
}

impl Line {
    fn over(signal: &[f64], range: &Range<usize>) -> Self {
        let before = range.start.checked_sub(1).map_or(0.0, |n| signal[n]);
        let after = signal.get(range.end).copied().unwrap_or(before);
        let step = (after - before) / (range.len() as f64 + 1.0);
        Self { next: before + step, step }
    }

    fn next(&mut self) -> f64 {
        let now = self.next;
        self.next += self.step;
        now
    }
}

/// A straight line in place of `range`.
fn bridge(signal: &mut [f64], range: &Range<usize>) {
    let mut line = Line::over(signal, range);
    signal[range.clone()].fill_with(|| line.next());
}

/// Variance of what a click added to each sample of `range`, by what `signal` has in place of `stream`, over `near` samples on each side.
fn added(stream: &[f32], signal: &[f64], range: &Range<usize>, near: usize, variance: &mut [f64]) {
    for n in range.clone() {
        let around = n.saturating_sub(near).max(range.start)..(n + near + 1).min(range.end);
        let energy: f64 = around.clone().map(|n| (f64::from(stream[n]) - signal[n]).powi(2)).sum();
        variance[n] = energy / around.len() as f64;
    }
}

/// The same samples in f64.
fn widen(from: &[f32], to: &mut [f64]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = f64::from(*from);
    }
}
