//! Where a click really begins and ends, and whether it is one.
//!
//! The network is sure of a click's core, and its answer fades over the ringing tail, which it has learned to be a matter of opinion, but which is heard. Once
//! the core is known, an autoregressive model of the surroundings tells the rest: a sample is damaged if the prediction misses it by far more than it misses
//! intact ones (S. V. Vaseghi, P. J. W. Rayner, "Detection and suppression of impulsive noise in speech communication systems", IEE Proceedings I 137,
//! 1990). Before the core samples are predicted from their past, after it from their future, so that no prediction rests on damage. The same errors tell
//! clicks from onsets: what follows a click is as before it.

use super::ar::{ArModel, dot};
use super::samples;
use std::ops::Range;

/// Span of the prediction: 32 samples at 48 kHz. Short, because the live look-ahead leaves few samples behind a click.
const ORDER_S: f64 = 32.0 / 48_000.0;

/// Bounds of the order.
const ORDER: (usize, usize) = (16, 64);

/// Probability from which on a sample beside a click's core belongs to it, and from which on it does if the prediction misses it. What is taken too much costs
/// little, since the interpolation trusts it again; what is left of a click costs all. With 0.5 clicks gain 0.3 dB less. With 0.1 for the second intact
/// drums lose more.
const LIKELY: f32 = 0.4;
const SUSPICION: f32 = 0.2;

/// Core from which on the first of the two counts. Shorter clicks have no tail, but the network blurs them; wrong single samples would gain 3 to 9 dB less at
/// 48 kHz and 18 at 96.
const LONG_S: f64 = 0.5e-3;

/// Prediction error of a damaged sample, in standard deviations of intact ones. With 4 clicks gain 0.4 dB less, 2 finds no more.
const OUTLIER: f64 = 2.5;

/// The standard deviation is that of so much audio, which ends a guard before the click.
const REFERENCE_S: f64 = 10e-3;
const GUARD_S: f64 = 1.3e-3;

/// Median absolute value of normally distributed numbers of standard deviation 1.
const MEDIAN: f64 = 0.6745;

/// What follows a click is judged by so much audio, this far behind it; where less is known by less, but at least a third.
const AFTERMATH_S: f64 = 3e-3;
const DISTANCE_S: f64 = 0.33e-3;

/// Prediction error behind a click over the one before, dB, from which on it may be an onset. Of 978 clicks of the validation split a tenth have more; of the
/// 27 marks in clean drums, where they count, 20 have at least twice as much. With 9 clicks gain a quarter of a decibel, clean drums lose one.
const RISE_DB: f64 = 6.0;

/// How far the start and the end of a click may move.
const BEFORE_S: f64 = 1e-3;
const AFTER_S: f64 = 4e-3;

/// A prediction error of -180 dBFS: below, all is silence.
const QUIET: f64 = 1e-9;

/// What [`Edges::find`] tells of a click.
#[derive(Clone, Debug)]
pub struct Found {
    /// All samples that it damaged.
    pub click: Range<usize>,
    /// Whether the prediction misses more behind it than before, as where a note or a drum begins, or too little is known to say.
    pub rises: bool,
}

/// Finds the edges of clicks whose core is known.
#[derive(Clone, Debug)]
pub struct Edges {
    model: ArModel,
    /// The model's coefficients from the last to the first: for the prediction from the past.
    reversed: Vec<f64>,
    errors: Vec<f64>,
    /// Median of the prediction error before the clicks; none where there is nothing to predict.
    usual: Option<f64>,
    reference: usize,
    guard: usize,
    before: usize,
    after: usize,
    aftermath: usize,
    distance: usize,
    long: usize,
    /// Damaged samples closer than this belong to the same click.
    join: usize,
}

impl Edges {
    /// Edges of clicks in a stream of this rate.
    #[must_use]
    pub fn new(sample_rate_hz: f64, join: usize) -> Self {
        let order = samples(sample_rate_hz, ORDER_S).clamp(ORDER.0, ORDER.1);
        let reference = samples(sample_rate_hz, REFERENCE_S);
        Self {
            model: ArModel::new(order),
            reversed: vec![0.0; order + 1],
            usual: None,
            errors: Vec::with_capacity(reference.max(samples(sample_rate_hz, AFTERMATH_S))),
            reference,
            guard: samples(sample_rate_hz, GUARD_S),
            before: samples(sample_rate_hz, BEFORE_S),
            after: samples(sample_rate_hz, AFTER_S),
            aftermath: samples(sample_rate_hz, AFTERMATH_S),
            distance: samples(sample_rate_hz, DISTANCE_S),
            long: samples(sample_rate_hz, LONG_S),
            join,
        }
    }

    /// Samples behind a click's core that it takes to judge it.
    #[must_use]
    pub fn needs(&self) -> usize {
        self.distance + self.aftermath + self.model.order()
    }

    /// Learns what is usual around clicks that start at `start` or soon after. `signal` holds straight lines over their cores; the model is estimated from
    /// `block` of it.
    ///
    /// # Real-time
    /// No allocation; `samples * order` multiplications, as for the interpolation's model.
    pub fn learn(&mut self, signal: &[f64], block: Range<usize>, start: usize) {
        let order = self.model.order();
        let until = start.saturating_sub(self.guard);
        let from = until.saturating_sub(self.reference).max(order);
        self.usual = None;
        if from >= until || !self.model.estimate(&signal[block]) {
            return;
        }
        for (to, a) in self.reversed.iter_mut().rev().zip(self.model.coefficients()) {
            *to = *a;
        }
        let from_past = |n: usize| dot(&self.reversed, &signal[n - order..=n]).abs();
        self.usual = Some(median(&mut self.errors, (from..until).map(from_past)));
    }

    /// The click around `core`, within `bounds`, by what was learned last. `probability` says of a sample how likely it belongs to a click.
    ///
    /// # Real-time
    /// No allocation.
    pub fn find(&mut self, signal: &[f64], core: &Range<usize>, bounds: Range<usize>, probability: impl Fn(usize) -> f32) -> Found {
        let Some(usual) = self.usual else {
            return Found {
                click: core.clone(),
                rises: true,
            };
        };
        let order = self.model.order();
        let from_past = |n: usize| dot(&self.reversed, &signal[n - order..=n]).abs();
        let from_future = |n: usize| dot(self.model.coefficients(), &signal[n..=n + order]).abs();
        let least = OUTLIER * usual / MEDIAN;
        let likely = if core.len() < self.long { 1.0 } else { LIKELY };
        let damaged = |n: usize, error: &dyn Fn(usize) -> f64| {
            let p = probability(n);
            p > likely || p > SUSPICION && error(n) > least
        };
        let first = bounds.start.max(core.start.saturating_sub(self.before)).max(order);
        let last = bounds.end.min(core.end + self.after).min(signal.len().saturating_sub(order));
        let (mut start, mut end) = (core.start, core.end);
        while let Some(n) = (start.saturating_sub(self.join).max(first)..start).find(|n| damaged(*n, &from_past)) {
            start = n;
        }
        while let Some(n) = (end..(end + self.join).min(last)).rfind(|n| damaged(*n, &from_future)) {
            end = n + 1;
        }
        let from = end + self.distance;
        let until = (from + self.aftermath).min(signal.len().saturating_sub(order));
        let rises = until.saturating_sub(from) < self.aftermath / 3 || {
            let after = median(&mut self.errors, (from..until).map(from_future));
            20.0 * ((after + QUIET) / (usual + QUIET)).log10() > RISE_DB
        };
        Found { click: start..end, rises }
    }
}

/// The middle one of some numbers, of which there is at least one.
fn median(scratch: &mut Vec<f64>, numbers: impl Iterator<Item = f64>) -> f64 {
    scratch.clear();
    scratch.extend(numbers);
    let middle = scratch.len() / 2;
    *scratch.select_nth_unstable_by(middle, f64::total_cmp).1
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE_HZ: f64 = 48e3;
    const JOIN: usize = 12;
    const BLOCK: Range<usize> = 2000..3680;
    const CLICK: Range<usize> = 3000..3120;
    const CORE: Range<usize> = 3030..3060;

    /// A resonance driven by noise, whose level changes by `step` at sample 3090.
    fn sound(step: f64) -> Vec<f64> {
        let mut seed = 5u32;
        let mut x = vec![0.0f64; 4000];
        for n in 2..x.len() {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let noise = 1e-3 * (f64::from(seed >> 8) / 8_388_608.0 - 1.0);
            x[n] = 1.9 * x[n - 1] - 0.95 * x[n - 2] + if n < 3090 { noise } else { step * noise };
        }
        x
    }

    /// Edges that have learned what is usual around `core`.
    fn edges(signal: &[f64], block: Range<usize>, core: &Range<usize>) -> Edges {
        let mut edges = Edges::new(RATE_HZ, JOIN);
        edges.learn(signal, block, core.start);
        edges
    }

    /// With a straight line over the core, as the repair hands it over.
    fn find(mut signal: Vec<f64>, bounds: Range<usize>, probability: impl Fn(usize) -> f32) -> Found {
        for n in CORE {
            let share = (n - CORE.start + 1) as f64 / (CORE.len() + 1) as f64;
            signal[n] = signal[CORE.start - 1] * (1.0 - share) + signal[CORE.end] * share;
        }
        edges(&signal, BLOCK, &CORE).find(&signal, &CORE, bounds, probability)
    }

    /// A click that rings at 2 kHz and fades by 26 dB from `CLICK.start` to its end.
    fn clicked(mut signal: Vec<f64>) -> Vec<f64> {
        for n in CLICK {
            let t = (n - CLICK.start) as f64;
            signal[n] += 0.5 * (-t / 40.0).exp() * (0.26 * t + 1.0).cos();
        }
        signal
    }

    #[test]
    fn a_click_is_found_to_its_edges() {
        let found = find(clicked(sound(1.0)), 2500..3680, |_| 0.3);
        assert!(!found.rises);
        // The model is estimated with the tail in its block, so it takes the last, quiet part of it for sound.
        assert!(found.click.start.abs_diff(CLICK.start) <= 1, "{:?}", found.click);
        assert!((CORE.end + 10..CLICK.end + JOIN).contains(&found.click.end), "{:?}", found.click);
    }

    #[test]
    fn nothing_is_added_where_nothing_is_damaged() {
        let found = find(sound(1.0), 2500..3680, |_| 0.3);
        assert_eq!(found.click, CORE);
        assert!(!found.rises);
    }

    #[test]
    fn bounds_and_suspicion_hold() {
        let found = find(clicked(sound(1.0)), 3020..3066, |_| 0.3);
        assert_eq!(found.click, 3020..3066);
        let found = find(
            clicked(sound(1.0)),
            2500..3680,
            |n| if (3025..3064).contains(&n) { 0.3 } else { 0.1 },
        );
        assert!(
            (3025..=CORE.start).contains(&found.click.start) && found.click.end == 3064,
            "{:?}",
            found.click
        );
    }

    #[test]
    fn a_long_click_goes_on_where_the_network_says_so() {
        let signal = sound(1.0);
        let likely = |n: usize| if CLICK.contains(&n) { 0.5 } else { 0.0 };
        for (length, expected) in [(CORE.len(), CLICK), (10, CORE.start..CORE.start + 10)] {
            let core = CORE.start..CORE.start + length;
            let found = edges(&signal, BLOCK, &core).find(&signal, &core, 2500..3680, likely);
            assert_eq!(found.click, expected);
        }
    }

    #[test]
    fn an_onset_is_told_from_a_click() {
        assert!(find(sound(10.0), 2500..3680, |_| 0.3).rises);
        assert!(!find(sound(0.1), 2500..3680, |_| 0.3).rises);
    }

    #[test]
    fn silence_garbage_and_short_buffers_change_nothing() {
        for signal in [vec![0.0; 4000], vec![f64::NAN; 4000], vec![f64::MAX; 4000]] {
            let found = edges(&signal, BLOCK, &CORE).find(&signal, &CORE, 2500..3680, |_| 0.3);
            assert_eq!(found.click, CORE);
        }
        let signal = sound(1.0);
        let short = &signal[..3070];
        let found = edges(short, 1390..3070, &CORE).find(short, &CORE, 2500..3070, |_| 0.3);
        assert_eq!(found.click, CORE);
        assert!(found.rises, "what follows isn't known");
        let found = edges(&signal, 0..1680, &(10..20)).find(&signal, &(10..20), 0..1680, |_| 0.3);
        assert_eq!(found.click, 10..20);
    }
}
