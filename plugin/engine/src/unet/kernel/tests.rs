//! All variants of the kernel against f64, and against the portable one to the bit.

use super::affine::MAX_SOURCES;
use super::*;
use crate::weights::Noise;

/// Values of a random affine operation.
struct Case {
    inner: Vec<usize>,
    strides: Vec<usize>,
    columns: usize,
    rows: usize,
    bias_rows: usize,
    leaky: bool,
    data: Vec<Vec<f32>>,
    weights: Vec<Vec<f32>>,
    bias: Vec<f32>,
}

impl Case {
    fn random(noise: &mut Noise, inner: Vec<usize>, columns: usize, rows: usize) -> Self {
        let strides: Vec<usize> = inner.iter().map(|k| [k / 3, *k, 1][noise.below(3)]).collect();
        let bias_rows = [1, rows][noise.below(2)];
        let data = inner.iter().zip(&strides).map(|(k, s)| noise.vector((rows - 1) * s + k)).collect();
        let weights = inner.iter().map(|k| noise.vector(k * columns)).collect();
        Self {
            strides,
            columns,
            rows,
            bias_rows,
            leaky: noise.below(2) == 0,
            data,
            weights,
            bias: noise.vector(bias_rows * columns),
            inner,
        }
    }

    /// Whole numbers instead, so small that every sum of products is exact in f32: then the order of the terms and the rounding of products don't matter.
    fn whole(mut self) -> Self {
        let all = self.data.iter_mut().chain(&mut self.weights).chain([&mut self.bias]);
        for x in all.flatten() {
            *x = (*x * 16.0).round();
        }
        self
    }

    /// The same in f64, term by term.
    fn expected(&self) -> Vec<f64> {
        let mut out = Vec::new();
        for row in 0..self.rows {
            for column in 0..self.columns {
                let bias = if self.bias_rows == 1 { 0 } else { row };
                let mut sum = f64::from(self.bias[bias * self.columns + column]);
                for s in 0..self.inner.len() {
                    for k in 0..self.inner[s] {
                        sum += f64::from(self.data[s][row * self.strides[s] + k]) * f64::from(self.weights[s][k * self.columns + column]);
                    }
                }
                out.push(if self.leaky && sum < 0.0 { 0.1 * sum } else { sum });
            }
        }
        out
    }

    fn compute(&self, isa: Isa) -> Vec<f32> {
        let weight = |s: usize, k: usize, column: usize| self.weights[s][k * self.columns + column];
        let activation = if self.leaky { Activation::Leaky } else { Activation::None };
        let affine = Affine::new(isa, &self.inner, self.columns, weight, &self.bias, activation);
        let sources: Vec<_> = self
            .data
            .iter()
            .zip(&self.strides)
            .map(|(data, &stride)| Rows { data, stride })
            .collect();
        // What lies behind the output must stay as it was.
        let mut out = vec![7.0; self.rows * self.columns + 64];
        let (inside, outside) = out.split_at_mut(self.rows * self.columns);
        affine.apply(&sources, inside);
        assert!(outside.iter().all(|x| *x == 7.0), "{affine:?} wrote behind its output");
        inside.to_vec()
    }
}

#[test]
#[cfg_attr(miri, ignore = "takes hours; the next test does the same with smaller shapes")]
fn all_variants_agree_with_f64() {
    let mut noise = Noise::new(1);
    let mut checked = 0;
    for columns in [1, 2, 4, 7, 8, 15, 16, 17, 24, 31, 32, 33, 40, 48, 64, 120, 130] {
        for rows in [1, 2, 3, 5, 6, 11, 12, 13, 24, 25, 47] {
            let inner = (0..=noise.below(MAX_SOURCES)).map(|_| 1 + noise.below(60)).collect();
            let case = Case::random(&mut noise, inner, columns, rows);
            let expected = case.expected();
            for isa in Isa::available() {
                for (i, (got, want)) in case.compute(isa).iter().zip(&expected).enumerate() {
                    assert!(
                        (f64::from(*got) - want).abs() < 1e-4,
                        "{isa:?}, {columns} columns, {rows} rows, value {i}: {got} for {want}"
                    );
                    checked += 1;
                }
            }
        }
    }
    assert!(checked > 100_000, "{checked}");
}

#[test]
fn all_variants_agree_with_the_portable_one_to_the_bit() {
    // Miri, which finds what is undefined, is a thousand times slower. It runs the portable variant.
    let (count, most_columns, most_rows, most_inner) = if cfg!(miri) { (12, 40, 30, 5) } else { (400, 140, 60, 80) };
    let mut noise = Noise::new(2);
    let portable = Isa::available()[0];
    let mut shapes = std::collections::HashSet::new();
    for _ in 0..count {
        let (columns, rows) = (1 + noise.below(most_columns), 1 + noise.below(most_rows));
        let inner = (0..=noise.below(MAX_SOURCES)).map(|_| 1 + noise.below(most_inner)).collect();
        let case = Case::random(&mut noise, inner, columns, rows).whole();
        let want = case.compute(portable);
        for (i, (got, want)) in want.iter().zip(case.expected()).enumerate() {
            assert!((f64::from(*got) - want).abs() <= 1e-7 * want.abs(), "value {i}: {got} for {want}");
        }
        for isa in Isa::available() {
            assert!(
                case.compute(isa) == want,
                "{isa:?}, {columns} columns, {rows} rows, {:?} values",
                case.inner
            );
        }
        shapes.insert((columns, rows));
    }
    assert!(shapes.len() > count * 3 / 4, "{}", shapes.len());
}

#[test]
fn apply_refuses_what_does_not_fit() {
    let affine = Affine::new(Isa::best(), &[3], 2, |_, _, _| 1.0, &[0.0; 2], Activation::None);
    let panics = |len: usize, stride: usize, out: usize| {
        let (data, mut out) = (vec![1.0; len], vec![0.0; out]);
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            affine.apply(&[Rows { data: &data, stride }], &mut out)
        }))
        .is_err()
    };
    assert!(!panics(6, 1, 8));
    assert!(panics(5, 1, 8), "source one value too short");
    assert!(panics(6, 2, 8), "stride too large");
    assert!(panics(6, usize::MAX, 8), "stride overflows");
    assert!(panics(6, 1, 7), "half a row");
}

#[test]
fn buffers_start_on_a_cache_line() {
    for len in [0, 1, 15, 16, 17, 1000] {
        let mut buffer = Buffer::new(len);
        assert_eq!(buffer.len(), len);
        buffer.fill(1.0);
        assert!(buffer.iter().all(|x| *x == 1.0));
        assert!(len == 0 || (buffer.as_ptr() as usize).is_multiple_of(64));
    }
}

#[test]
fn split_and_join_filter_each_column() {
    let mut noise = Noise::new(3);
    let (tiles, first, all) = (3, 2, 6);
    for width in [16, 17, 24, 33, 40] {
        let bands = TILE * tiles;
        // Two frames and their taps, one filter per column.
        let rows = [0, 1].map(|_| noise.vector((bands + 2) * width));
        let taps = [0, 1].map(|_| noise.vector(3 * width));
        let bias = noise.vector(width);
        for isa in Isa::available() {
            let products = [0, 1].map(|frame: usize| {
                let mut points = vec![7.0; POINTS * all * width];
                split(isa, &rows[frame], width, &mut points, first);
                for (i, value) in points.iter_mut().enumerate() {
                    let (point, tile, column) = (i / (all * width), i / width % all, i % width);
                    if (first..first + tiles).contains(&tile) {
                        *value *= filter([0, 1, 2].map(|tap| taps[frame][tap * width + column]))[point];
                    } else {
                        assert_eq!(*value, 7.0, "{isa:?}: split wrote outside its tiles");
                    }
                }
                points
            });
            let [now, kept] = &products;
            let mut out = vec![0.0; bands * width];
            join(isa, Products { now, kept }, &bias, &mut out, first);
            for (i, got) in out.iter().enumerate() {
                let (band, column) = (i / width, i % width);
                let mut want = f64::from(bias[column]);
                for (rows, taps) in rows.iter().zip(&taps) {
                    for tap in 0..3 {
                        want += f64::from(rows[(band + tap) * width + column]) * f64::from(taps[tap * width + column]);
                    }
                }
                let want = if want < 0.0 { 0.1 * want } else { want };
                assert!(
                    (f64::from(*got) - want).abs() < 2e-6,
                    "{isa:?}, width {width}, band {band}, column {column}: {got} for {want}"
                );
            }
        }
    }
}

#[test]
fn split_and_join_refuse_what_does_not_fit() {
    let isa = Isa::best();
    let refused = |job: &mut dyn FnMut()| std::panic::catch_unwind(std::panic::AssertUnwindSafe(job)).is_err();
    let split_of = |rows: usize, width: usize, points: usize, first: usize| {
        let (rows, mut points) = (vec![1.0; rows], vec![0.0; points]);
        refused(&mut || split(isa, &rows, width, &mut points, first))
    };
    assert!(!split_of(6 * 16, 16, POINTS * 2 * 16, 1));
    assert!(split_of(7 * 16, 16, POINTS * 2 * 16, 0), "a row too many");
    assert!(split_of(6 * 16, 16, POINTS * 2 * 16, 2), "no room for the tile");
    assert!(split_of(0, 16, POINTS * 16, 0), "no rows at all");
    assert!(split_of(6, 1, POINTS, 0) || isa.lanes() == 1, "narrower than a vector");
    let join_of = |[now, kept]: [usize; 2], bias: usize, out: usize, first: usize| {
        let ([now, kept], bias, mut out) = ([now, kept].map(|size| vec![1.0; size]), vec![0.0; bias], vec![0.0; out]);
        let products = Products { now: &now, kept: &kept };
        refused(&mut || join(isa, products, &bias, &mut out, first))
    };
    let size = POINTS * 2 * 16;
    assert!(!join_of([size; 2], 16, 4 * 16, 1));
    assert!(join_of([size; 2], 16, 4 * 16, 2), "no such tile");
    assert!(join_of([size, size - 1], 16, 4 * 16, 0), "too little is kept");
    assert!(join_of([size; 2], 16, 5 * 16, 0), "half a tile");
    assert!(join_of([size; 2], 1, 4, 0) || isa.lanes() == 1, "narrower than a vector");
}
