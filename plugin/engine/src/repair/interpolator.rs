//! Least-squares autoregressive interpolation of marked samples.
//!
//! A. J. E. M. Janssen, R. N. J. Veldhuis, L. B. Vries, "Adaptive interpolation of discrete-time signals that can be modeled as autoregressive
//! processes", IEEE Trans. ASSP 34 (1986); S. J. Godsill, P. J. W. Rayner, "Digital Audio Restoration", Springer 1998, section 5.2. The missing samples
//! are those that make the energy of the prediction error least: a positive definite system whose matrix is banded by the model's order.
//!
//! For an excitation that is Gaussian they are also the unknown samples' mean, and the inverse of the matrix times the excitation's variance is their
//! covariance. Of the inverse only the band is computed (K. Takahashi, J. Fagan, M.-S. Chin, "Formation of a sparse bus impedance matrix and its application to
//! short circuit study", PICA 1973).

use super::ar::{ArModel, dot};
use crate::unet::kernel::{Isa, Job};
use std::ops::Range;

/// Interpolated samples may not exceed the peak of their surroundings by more than this factor. A stable model rarely does; where rounding made it, the
/// original stays.
const OVERSHOOT: f64 = 4.0;

/// Pivots below this share of the matrix's diagonal count as 0 and are raised to it: the system is singular to rounding.
const LEAST_PIVOT: f64 = 1e-12;

/// Workspace.
#[derive(Clone, Debug)]
pub struct Interpolator {
    isa: Isa,
    /// Order of the model in hand.
    order: usize,
    /// Most samples that can be solved for at once with such a model.
    capacity: usize,
    /// Positions of the unknown samples, ascending.
    unknown: Vec<usize>,
    /// What stood there.
    original: Vec<f64>,
    /// How far each is trusted: the excitation's variance over that of the damage.
    trust: Vec<f64>,
    /// Right-hand side, then solution.
    solution: Vec<f64>,
    /// Prediction error with the unknown samples at 0.
    error: Vec<f64>,
    /// Banded lower triangle, `[unknown][order + 1]`, diagonal last.
    factor: Vec<f64>,
    /// A column of it, below the diagonal, and its product with the inverse.
    column: Vec<f64>,
    product: Vec<f64>,
}

/// What to put in place of sample `n`, whose mean and variance (in units of the excitation's) are known: `(n, mean, variance)`.
pub type Choice<'a> = &'a dyn Fn(usize, f64, f64) -> f64;

/// How far what stands at sample `n` is trusted: the excitation's variance over that of the damage, 0 for not at all.
pub type Trust<'a> = &'a dyn Fn(usize) -> f64;

impl Interpolator {
    /// Room for systems of `capacity` samples spread over at most `span` samples, with models of order `order`; with models of lower order, for as many more as
    /// fit into the same memory.
    #[must_use]
    pub fn new(order: usize, capacity: usize, span: usize) -> Self {
        Self {
            isa: Isa::best(),
            order,
            capacity,
            unknown: Vec::with_capacity(span.max(capacity)),
            original: Vec::with_capacity(span.max(capacity)),
            trust: Vec::with_capacity(span.max(capacity)),
            solution: Vec::with_capacity(span.max(capacity)),
            error: vec![0.0; span + order],
            factor: vec![0.0; capacity * (order + 1)],
            column: vec![0.0; order],
            product: vec![0.0; order],
        }
    }

    /// Replaces the samples of `ranges` (ascending, apart from each other) in `signal`. Neighbours closer than the model's order are solved for together
    /// where there is room. Ranges that can't be solved stay as they are: longer than the capacity, next to samples that are not finite, or with
    /// a model of higher order than there is room for.
    ///
    /// # Real-time
    /// No allocation; about `order^2 / 2 + 4 order` multiplications per sample.
    pub fn fill(&mut self, signal: &mut [f64], model: &ArModel, ranges: &[Range<usize>]) {
        self.fill_in_groups(signal, model, ranges, &|_| 0.0, None);
    }

    /// The same for samples that something of known variance was added to: the better what stands there is trusted, the more of it stays (Godsill & Rayner,
    /// section 5.3: the damage is Gaussian, so its precision is added to the matrix's diagonal).
    ///
    /// # Real-time
    /// As [`Self::fill`].
    pub fn fill_trusting(&mut self, signal: &mut [f64], model: &ArModel, ranges: &[Range<usize>], trust: Trust<'_>) {
        self.fill_in_groups(signal, model, ranges, trust, None);
    }

    /// The same, but what takes a sample's place is what `choice` makes of its mean and variance.
    ///
    /// # Real-time
    /// No allocation; about `3 / 2 order^2 + 4 order` multiplications per sample.
    pub fn fill_by(&mut self, signal: &mut [f64], model: &ArModel, ranges: &[Range<usize>], choice: Choice<'_>) {
        self.fill_in_groups(signal, model, ranges, &|_| 0.0, Some(choice));
    }

    fn fill_in_groups(
        &mut self,
        signal: &mut [f64],
        model: &ArModel,
        ranges: &[Range<usize>],
        trust: Trust<'_>,
        choice: Option<Choice<'_>>,
    ) {
        self.order = model.order();
        if self.order > self.column.len() {
            return;
        }
        self.capacity = (self.factor.len() / (self.order + 1)).min(self.unknown.capacity());
        let mut first = 0;
        while first < ranges.len() {
            let mut samples = ranges[first].len();
            let mut end = first + 1;
            while end < ranges.len() {
                let near = ranges[end].start - ranges[end - 1].end < self.order;
                let span = ranges[end].end - ranges[first].start;
                samples += ranges[end].len();
                if !near || samples > self.capacity || span + self.order > self.error.len() {
                    break;
                }
                end += 1;
            }
            self.fill_together(signal, model, &ranges[first..end], trust, choice);
            first = end;
        }
    }

    /// Solves for all samples of `ranges` at once.
    fn fill_together(
        &mut self,
        signal: &mut [f64],
        model: &ArModel,
        ranges: &[Range<usize>],
        trust: Trust<'_>,
        choice: Option<Choice<'_>>,
    ) {
        let samples: usize = ranges.iter().map(Range::len).sum();
        let (start, end) = (ranges[0].start, ranges[ranges.len() - 1].end);
        if samples == 0 || samples > self.capacity || end > signal.len() || end - start + self.order > self.error.len() {
            return;
        }
        self.unknown.clear();
        self.original.clear();
        self.trust.clear();
        for n in ranges.iter().cloned().flatten() {
            self.unknown.push(n);
            self.original.push(signal[n]);
            self.trust.push(trust(n));
            signal[n] = 0.0;
        }
        let around = start.saturating_sub(self.order)..(end + self.order).min(signal.len());
        let peak = signal[around].iter().fold(0.0f64, |peak, x| peak.max(x.abs()));
        self.isa.run(Solve {
            interpolator: self,
            signal,
            model,
            choice,
        });
        let sound = self.solution.iter().all(|x| x.abs() <= peak * OVERSHOOT);
        let values = if sound { &self.solution } else { &self.original };
        for (n, x) in self.unknown.iter().zip(values) {
            signal[*n] = *x;
        }
    }

    /// `-A_u' A_k x_k`: how the known samples pull on the unknown ones, and these on themselves as far as they are trusted. They must be 0 in `signal`.
    #[inline(always)]
    fn right_side(&mut self, signal: &[f64], model: &ArModel) {
        let a = model.coefficients();
        let (start, end) = (self.unknown[0], self.unknown[self.unknown.len() - 1] + 1);
        let last = (end + self.order).min(signal.len());
        for n in start..last {
            let reach = self.order.min(n);
            self.error[n - start] = (0..=reach).map(|l| a[l] * signal[n - l]).sum();
        }
        self.solution.clear();
        for ((n, original), trust) in self.unknown.iter().zip(&self.original).zip(&self.trust) {
            let reach = self.order.min(last - 1 - n);
            let from = n - start;
            // What isn't trusted at all may be no number.
            let known = if *trust > 0.0 { trust * original } else { 0.0 };
            self.solution.push(known - dot(&a[..=reach], &self.error[from..=from + reach]));
        }
    }

    /// Cholesky factor of the normal matrix `A_u' A_u` with the trust on its diagonal, row by row within the band.
    #[inline(always)]
    fn factorise(&mut self, samples: usize, model: &ArModel) {
        let (order, row) = (self.order, self.order + 1);
        let a = model.coefficients();
        for i in 0..self.unknown.len() {
            let (before, after) = self.factor.split_at_mut(i * row);
            let current = &mut after[..row];
            for j in i.saturating_sub(order)..=i {
                let distance = self.unknown[i] - self.unknown[j];
                // Equations end with the signal: near its end the sum is cut short.
                let terms = (order + 1).saturating_sub(distance).min(samples - self.unknown[i]);
                let entry = if distance > order {
                    0.0
                } else if terms == order + 1 - distance {
                    model.correlation()[distance]
                } else {
                    dot(&a[..terms], &a[distance..distance + terms])
                };
                // Row i holds column j at `order - (i - j)`; both rows share columns from `i - order` (or 0) to j.
                let column = order - (i - j);
                let shared = j - i.saturating_sub(order);
                let from_i = column - shared;
                if j < i {
                    let other = &before[j * row..(j + 1) * row];
                    let sum = entry - dot(&current[from_i..column], &other[order - shared..order]);
                    current[column] = sum / other[order];
                } else {
                    let pivot = entry + self.trust[i] - dot(&current[from_i..column], &current[from_i..column]);
                    current[order] = pivot.max(model.correlation()[0] * LEAST_PIVOT).sqrt();
                }
            }
        }
    }

    /// The band of the inverse, in place of the factor: row `i` then holds the covariances with the unknown samples up to it.
    ///
    /// Column by column from the last: with `v = L[j + 1.., j] / L[j, j]`, `Z[j + 1.., j] = -Z[j + 1.., j + 1..] v` and
    /// `Z[j, j] = 1 / L[j, j]^2 - v' Z[j + 1.., j]`.
    #[inline(always)]
    fn invert(&mut self) {
        let (order, row) = (self.order, self.order + 1);
        for j in (0..self.unknown.len()).rev() {
            let below = (self.unknown.len() - 1 - j).min(order);
            let pivot = self.factor[j * row + order];
            let (column, product) = (&mut self.column[..below], &mut self.product[..below]);
            for (i, v) in column.iter_mut().enumerate() {
                *v = self.factor[(j + 1 + i) * row + order - 1 - i] / pivot;
            }
            // A symmetric matrix times a vector, by the rows of its lower triangle.
            product.fill(0.0);
            for i in 0..below {
                let z = &self.factor[(j + 1 + i) * row..][order - i..=order];
                product[i] += dot(z, &column[..=i]);
                let share = column[i];
                for (sum, z) in product[..i].iter_mut().zip(z) {
                    *sum += share * z;
                }
            }
            for (i, sum) in product.iter().enumerate() {
                self.factor[(j + 1 + i) * row + order - 1 - i] = -sum;
            }
            self.factor[j * row + order] = 1.0 / (pivot * pivot) + dot(column, product);
        }
    }

    /// Forward and back substitution, in place of the right-hand side.
    #[inline(always)]
    fn substitute(&mut self) {
        let (order, row) = (self.order, self.order + 1);
        let x = &mut self.solution;
        for i in 0..x.len() {
            let first = i.saturating_sub(order);
            let factor = &self.factor[i * row..(i + 1) * row];
            x[i] = (x[i] - dot(&factor[order - (i - first)..order], &x[first..i])) / factor[order];
        }
        for i in (0..x.len()).rev() {
            let first = i.saturating_sub(order);
            let factor = &self.factor[i * row..(i + 1) * row];
            x[i] /= factor[order];
            let solved = x[i];
            for (x, f) in x[first..i].iter_mut().zip(&factor[order - (i - first)..order]) {
                *x -= f * solved;
            }
        }
    }
}

/// Sets up and solves the system of an interpolator's unknown samples.
struct Solve<'a> {
    interpolator: &'a mut Interpolator,
    signal: &'a [f64],
    model: &'a ArModel,
    choice: Option<Choice<'a>>,
}

impl Job for Solve<'_> {
    #[inline(always)]
    fn run(self) {
        self.interpolator.right_side(self.signal, self.model);
        self.interpolator.factorise(self.signal.len(), self.model);
        self.interpolator.substitute();
        let Some(choice) = self.choice else { return };
        self.interpolator.invert();
        let Interpolator {
            order,
            unknown,
            solution,
            factor,
            ..
        } = self.interpolator;
        for ((n, x), row) in unknown.iter().zip(solution).zip(factor.chunks_exact(*order + 1)) {
            *x = choice(*n, *x, row[*order]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(seed: &mut u32) -> f64 {
        // Sum of four uniform samples: close enough to Gaussian, variance 1.
        (0..4)
            .map(|_| {
                *seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                f64::from(*seed >> 8) / 8_388_608.0 - 1.0
            })
            .sum::<f64>()
            * 0.75f64.sqrt()
    }

    /// A known process of order 3 driven by noise of variance 1, and where its `gaps` gaps of `gap` samples lie: 60 into each hundred.
    fn process_with_gaps(gap: usize, gaps: usize, seed: &mut u32) -> (ArModel, Vec<f64>, Vec<Range<usize>>) {
        let known = [1.0, -2.1, 1.9, -0.75];
        let mut model = ArModel::new(3);
        model.set(&known);
        let mut x = vec![0.0f64; 100 * (gaps + 1)];
        for n in 3..x.len() {
            let past: f64 = (1..=3).map(|l| known[l] * x[n - l]).sum();
            x[n] = noise(seed) - past;
        }
        let ranges = (0..gaps).map(|g| 100 * g + 60..100 * g + 60 + gap).collect();
        (model, x, ranges)
    }

    /// Error energy per gap of a known process against the least possible, `trace(B^-1)` for unit excitation.
    #[test]
    fn error_is_the_theoretical_minimum() {
        let (order, gap, gaps) = (3, 12, 400);
        let mut seed = 3;
        let (model, x, ranges) = process_with_gaps(gap, gaps, &mut seed);
        let mut repaired = x.clone();
        let mut interpolator = Interpolator::new(order, gap, gap);
        for range in &ranges {
            repaired[range.clone()].fill(123.0);
        }
        interpolator.fill(&mut repaired, &model, &ranges);
        let error: f64 = x.iter().zip(&repaired).map(|(x, y)| (x - y).powi(2)).sum();
        let least = gaps as f64 * trace_of_inverse(&model, gap);
        assert!((error / least - 1.0).abs() < 0.15, "{}", error / least);
        let marked = |n: usize| ranges.iter().any(|r| r.contains(&n));
        assert!((0..x.len()).all(|n| marked(n) || x[n] == repaired[n]));
    }

    /// The error of a known process under damage of known variance against the least possible, `trace((B + D^-1)^-1)`; and what isn't damaged at all stays.
    #[test]
    fn damage_of_known_variance_is_told_from_the_signal() {
        let (order, gap, gaps) = (3, 12, 2000);
        let mut seed = 4;
        let (model, x, ranges) = process_with_gaps(gap, gaps, &mut seed);
        // Large where a click begins, small where it ends.
        let variance = |n: usize| 100.0 * (-0.8 * (n % 100 - 60) as f64).exp();
        let mut damaged = x.clone();
        for n in ranges.iter().cloned().flatten() {
            damaged[n] += noise(&mut seed) * variance(n).sqrt();
        }
        let error = |y: &[f64]| x.iter().zip(y).map(|(x, y)| (x - y).powi(2)).sum::<f64>() / gaps as f64;
        let mut trusting = damaged.clone();
        Interpolator::new(order, gap, gap).fill_trusting(&mut trusting, &model, &ranges, &|n| 1.0 / variance(n));
        let trust: Vec<f64> = (60..60 + gap).map(|n| 1.0 / variance(n)).collect();
        let least: f64 = diagonal_of_inverse(&model, &(0..gap).collect::<Vec<_>>(), &trust).iter().sum();
        assert!((error(&trusting) / least - 1.0).abs() < 0.15, "{} of {least}", error(&trusting));
        let mut plain = damaged.clone();
        Interpolator::new(order, gap, gap).fill(&mut plain, &model, &ranges);
        assert!(error(&trusting) < 0.7 * error(&plain) && error(&trusting) < 0.7 * error(&damaged));
        let mut whole = x.clone();
        Interpolator::new(order, gap, gap).fill_trusting(&mut whole, &model, &ranges, &|_| 1e12);
        assert!(error(&whole) < 1e-9);
    }

    #[test]
    fn variances_are_those_of_the_inverse() {
        let mut model = ArModel::new(5);
        model.set(&[1.0, -2.1, 1.9, -0.75, 0.1, -0.2]);
        let x: Vec<f64> = (0..300).map(|n| (0.1 * f64::from(n)).sin()).collect();
        for ranges in [
            vec![100..101, 110..111],
            vec![100..120, 120..140],
            vec![100..103, 105..120, 121..122, 125..160],
        ] {
            let unknown: Vec<usize> = ranges.iter().cloned().flatten().collect();
            let expected = diagonal_of_inverse(&model, &unknown, &vec![0.0; unknown.len()]);
            let found = std::cell::RefCell::new(Vec::new());
            let mut repaired = x.clone();
            let mut plain = x.clone();
            Interpolator::new(5, 64, 64).fill(&mut plain, &model, &ranges);
            Interpolator::new(5, 64, 64).fill_by(&mut repaired, &model, &ranges, &|n, mean, variance| {
                found.borrow_mut().push((n, variance));
                mean
            });
            assert_eq!(repaired, plain);
            for ((n, variance), (expected_n, expected)) in found.into_inner().iter().zip(unknown.iter().zip(expected)) {
                assert_eq!(n, expected_n);
                assert!((variance / expected - 1.0).abs() < 1e-9, "{n}: {variance}, not {expected}");
            }
        }
    }

    fn trace_of_inverse(model: &ArModel, size: usize) -> f64 {
        diagonal_of_inverse(model, &(0..size).collect::<Vec<_>>(), &vec![0.0; size])
            .iter()
            .sum()
    }

    /// Of the normal matrix with `trust` on its diagonal. Dense Gauss-Jordan, as far from the code under test as can be.
    fn diagonal_of_inverse(model: &ArModel, unknown: &[usize], trust: &[f64]) -> Vec<f64> {
        let size = unknown.len();
        let entry = |i: usize, j: usize| {
            let distance = unknown[i].abs_diff(unknown[j]);
            model.correlation().get(distance).copied().unwrap_or(0.0) + if i == j { trust[i] } else { 0.0 }
        };
        let mut rows: Vec<Vec<f64>> = (0..size)
            .map(|i| {
                let identity = (0..size).map(|j| if i == j { 1.0 } else { 0.0 });
                (0..size).map(|j| entry(i, j)).chain(identity).collect()
            })
            .collect();
        for i in 0..size {
            let pivot = rows[i][i];
            rows[i].iter_mut().for_each(|x| *x /= pivot);
            let source = rows[i].clone();
            for (j, row) in rows.iter_mut().enumerate() {
                if j != i {
                    let factor = row[i];
                    row.iter_mut().zip(&source).for_each(|(x, s)| *x -= factor * s);
                }
            }
        }
        (0..size).map(|i| rows[i][size + i]).collect()
    }

    #[test]
    fn tones_are_continued() {
        let x: Vec<f64> = (0..2880)
            .map(|n| (0.02 * f64::from(n)).sin() + 0.5 * (0.31 * f64::from(n)).cos())
            .collect();
        let mut model = ArModel::new(30);
        let mut repaired = x.clone();
        for _ in 0..2 {
            assert!(model.estimate(&repaired));
            let ranges = [1000..1060, 1070..1100, 2000..2001];
            for range in &ranges {
                repaired[range.clone()].fill(0.9);
            }
            Interpolator::new(30, 192, 400).fill(&mut repaired, &model, &ranges);
        }
        let error: f64 = x.iter().zip(&repaired).map(|(x, y)| (x - y).powi(2)).sum::<f64>() / 91.0;
        assert!(error < 1e-3, "{:.1} dB", 10.0 * error.log10());
    }

    #[test]
    fn near_the_end_and_the_start_it_stays_finite() {
        let x: Vec<f64> = (0..400).map(|n| (0.1 * f64::from(n)).sin()).collect();
        let mut model = ArModel::new(30);
        assert!(model.estimate(&x));
        for range in [0..20, 380..400, 375..395] {
            let mut repaired = x.clone();
            Interpolator::new(30, 32, 32).fill(&mut repaired, &model, &[range]);
            assert!(repaired.iter().all(|x| x.abs() < 4.0));
        }
    }

    #[test]
    fn what_cannot_be_solved_stays() {
        let mut interpolator = Interpolator::new(4, 8, 32);
        let mut model = ArModel::new(4);
        let mut x: Vec<f64> = (0..64).map(f64::from).collect();
        let untouched = x.clone();
        interpolator.fill(&mut x, &model, &[10..30, 60..70]);
        assert_eq!(x, untouched);
        // A pole on the unit circle, a gap as wide as the workspace: nearly singular.
        model.set(&[1.0, -4.0, 6.0, -4.0, 1.0]);
        interpolator.fill(&mut x, &model, std::slice::from_ref(&(20..28)));
        assert!(x.iter().all(|x| x.is_finite()));
        x[18] = f64::NAN;
        let bits: Vec<u64> = x.iter().map(|x| x.to_bits()).collect();
        interpolator.fill(&mut x, &model, std::slice::from_ref(&(20..28)));
        assert_eq!(x.iter().map(|x| x.to_bits()).collect::<Vec<_>>(), bits);
    }
}
