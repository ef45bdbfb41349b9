//! The loop of [`super::Affine::apply`], written once for any vector register.

use super::vector::{Vector, VectorJob};

/// Rows of a source: `data[row * stride + i]` for `i < inner`.
#[derive(Clone, Copy)]
pub(super) struct RawSource {
    pub(super) data: *const f32,
    pub(super) stride: usize,
    pub(super) inner: usize,
}

/// One [`super::Affine::apply`] as pointers. Whoever makes one promises: for each source, `data[row * stride + i]` is readable for `row < rows`, `i < inner`;
/// `weights` is packed for the variant that is called, for these sources and columns; `bias[row * bias_stride + c]` is readable for `row < rows` and `c` below
/// the columns padded to whole panels; `out[row * columns + c]` is writable for `c < columns`, and is nowhere in what is read.
pub(super) struct Call<'a> {
    pub(super) sources: &'a [RawSource],
    pub(super) weights: *const f32,
    pub(super) bias: *const f32,
    pub(super) bias_stride: usize,
    pub(super) out: *mut f32,
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) leaky: bool,
}

/// How far ahead of their use weights are asked for, in floats. Both networks' weights are more than a usual second-level cache: what is used once per hop
/// (the recurrent layer above all) comes from further away, where latency and not arithmetic is what costs.
const AHEAD: usize = 1024;

/// Computes all rows and columns.
impl VectorJob for &Call<'_> {
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let inner: usize = self.sources.iter().map(|source| source.inner).sum();
        let mut weights = self.weights;
        let mut column = 0;
        while column < self.columns {
            let width = panel_width(self.columns - column, V::LANES, V::Half::LANES);
            // SAFETY: `column` is the first of a panel that begins at `weights` and is so wide.
            unsafe {
                match width / V::LANES {
                    2 => panel::<V, 2>(self, weights, column),
                    1 => panel::<V, 1>(self, weights, column),
                    _ => panel::<V::Half, 1>(self, weights, column),
                }
                weights = weights.add(inner * width);
            }
            column += width;
        }
    }
}

/// Floats in a panel's rows where `left` columns are left: of two vectors, of one, or of half a vector.
pub(super) fn panel_width(left: usize, lanes: usize, half: usize) -> usize {
    let padded = left.next_multiple_of(half);
    if padded >= 2 * lanes {
        2 * lanes
    } else if padded >= lanes {
        lanes
    } else {
        half
    }
}

/// All rows of the panel that begins at `weights` and `column` and is `VECTORS` vectors wide, in tiles as high as the registers allow: a sum per row and
/// vector, the panel's weights, and one splat value.
///
/// # Safety
/// `call` keeps the promises of [`Call`] for this variant, the processor has its instruction set, and the panel exists.
#[inline(always)]
unsafe fn panel<V: Vector, const VECTORS: usize>(call: &Call<'_>, weights: *const f32, column: usize) {
    let mut row = 0;
    macro_rules! tiles {
        ($($rows:literal)*) => {
            $(if $rows * VECTORS + VECTORS < V::REGISTERS {
                while call.rows - row >= $rows {
                    // SAFETY: the caller's promise, and the rows exist.
                    unsafe { tile::<V, $rows, VECTORS>(call, weights, row, column) };
                    row += $rows;
                }
            })*
        };
    }
    tiles!(24 12 8 6 4 2 1);
}

/// Rows `row..row + ROWS` of a panel.
///
/// # Safety
/// As [`panel`]; the rows exist.
#[inline(always)]
unsafe fn tile<V: Vector, const ROWS: usize, const VECTORS: usize>(call: &Call<'_>, weights: *const f32, row: usize, column: usize) {
    // SAFETY: all offsets stay within what `Call` promises; see each line.
    unsafe {
        let mut sums = [[V::zero(); VECTORS]; ROWS];
        for (r, sums) in sums.iter_mut().enumerate() {
            // Padded columns of the bias.
            let bias = call.bias.add((row + r) * call.bias_stride + column);
            for (v, sum) in sums.iter_mut().enumerate() {
                *sum = V::load(bias.add(v * V::LANES));
            }
        }
        let mut weights = weights;
        for source in call.sources {
            let stride = source.stride;
            // Row `row + r`, value `i` is `data[(row + r) * stride + i]`.
            let data = source.data.add(row * stride);
            for i in 0..source.inner {
                let mut panel = [V::zero(); VECTORS];
                for (v, panel) in panel.iter_mut().enumerate() {
                    *panel = V::load(weights.add(v * V::LANES));
                    V::prefetch(weights.wrapping_add(v * V::LANES + AHEAD));
                }
                weights = weights.add(VECTORS * V::LANES);
                for (r, sums) in sums.iter_mut().enumerate() {
                    let value = V::splat(data.add(r * stride + i));
                    for (sum, panel) in sums.iter_mut().zip(&panel) {
                        *sum = value.mul_add(*panel, *sum);
                    }
                }
            }
        }
        for (r, sums) in sums.iter().enumerate() {
            let out = call.out.add((row + r) * call.columns + column);
            for (v, sum) in sums.iter().enumerate() {
                let value = if call.leaky { sum.leaky() } else { *sum };
                // At least one column of each vector exists: a panel is no wider than what is left, padded to half a vector.
                let left = call.columns - column - v * V::LANES;
                if left >= V::LANES {
                    value.store(out.add(v * V::LANES));
                } else {
                    value.store_part(out.add(v * V::LANES), left);
                }
            }
        }
    }
}
