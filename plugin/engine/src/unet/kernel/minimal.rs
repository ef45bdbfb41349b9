//! Rows to points of minimal filtering, and back.
//!
//! F(4, 3) of Winograd 1980 as in Lavin and Gray 2016 (<https://arxiv.org/abs/1509.09308>): four neighbouring outputs of a filter of three taps from six
//! products in place of twelve. A tile's six rows (four bands and a neighbour on each side) are combined into six others, one for each point at which two
//! polynomials are multiplied; each is multiplied with weights of its own, and four rows of output are combined from the six products.

use super::isa::Isa;
use super::vector::{Vector, VectorJob};
use std::array::from_fn;

/// Bands of a tile.
pub(crate) const TILE: usize = 4;

/// Points of a tile, in this order: 0, `A`, `-A`, `B`, `-B` and infinity.
pub(crate) const POINTS: usize = TILE + 2;

/// With these points f32 rounds hardly more than in the plain sum; with the usual 1 and 2, by half as much again.
const A: f32 = 0.625;
const B: f32 = 1.25;

/// Three taps at the points, over what the interpolation there divides by.
pub(crate) fn filter(taps: [f32; 3]) -> [f32; POINTS] {
    let [g0, g1, g2] = taps.map(f64::from);
    let [a, b] = [A, B].map(f64::from);
    let at = |x: f64, other: f64| (g0 + x * g1 + x * x * g2) / (2.0 * x * x * (x * x - other * other));
    #[expect(clippy::cast_possible_truncation, reason = "weights are f32")]
    [g0 / (a * a * b * b), at(a, b), at(-a, b), at(b, a), at(-b, a), g2].map(|x| x as f32)
}

/// Rows `[band][width]` with one more on each side, to `points`, `[point][tile][width]`, from tile `first` on.
///
/// # Panics
/// If a row is narrower than a vector, the bands aren't whole tiles, or `points` has no room for them.
///
/// # Real-time
/// No allocation, lock or system call.
pub(crate) fn split(isa: Isa, rows: &[f32], width: usize, points: &mut [f32], first: usize) {
    let (tiles, size) = (rows.len() / (TILE * width), points.len() / POINTS);
    assert!(width >= isa.lanes(), "a row is narrower than a vector");
    assert_eq!(rows.len(), (tiles * TILE + 2) * width, "rows aren't whole tiles");
    assert!((first + tiles) * width <= size, "too few tiles");
    let job = Split {
        rows: rows.as_ptr(),
        width,
        tiles,
        points: points[first * width..].as_mut_ptr(),
        size,
    };
    // SAFETY: asserted above; `points` is borrowed uniquely.
    unsafe { isa.vectors(job) }
}

/// Products at points: `[point][tile][columns]`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Products<'a> {
    /// Of this frame, and kept of the one before: they are added up.
    pub(crate) now: &'a [f32],
    pub(crate) kept: &'a [f32],
}

/// Products from tile `first` on to rows `out`, `[band][columns]`, through a leaky ReLU of their sum with `bias`, `[columns]`.
///
/// # Panics
/// If a row is narrower than a vector, `out` isn't whole tiles, or there are too few products.
///
/// # Real-time
/// No allocation, lock or system call.
pub(crate) fn join(isa: Isa, products: Products<'_>, bias: &[f32], out: &mut [f32], first: usize) {
    let (columns, size) = (bias.len(), products.now.len() / POINTS);
    assert!(columns >= isa.lanes(), "a row is narrower than a vector");
    let tiles = out.len() / (TILE * columns);
    assert_eq!(out.len(), tiles * TILE * columns, "rows aren't whole tiles");
    assert!(
        (first + tiles) * columns <= size && products.kept.len() == products.now.len(),
        "too few products"
    );
    let job = Join {
        now: products.now[first * columns..].as_ptr(),
        kept: products.kept[first * columns..].as_ptr(),
        size,
        bias: bias.as_ptr(),
        columns,
        tiles,
        out: out.as_mut_ptr(),
    };
    // SAFETY: asserted above; `out` is borrowed uniquely.
    unsafe { isa.vectors(job) }
}

/// [`split`] as pointers. Whoever makes one promises: `rows[i]` is readable for `i < (4 * tiles + 2) * width`, `points[point * size + i]` writable for
/// `point < POINTS`, `i < tiles * width`, and `width` is at least a vector.
struct Split {
    rows: *const f32,
    width: usize,
    tiles: usize,
    points: *mut f32,
    size: usize,
}

/// [`join`] as pointers. Whoever makes one promises: `now` and `kept[point * size + i]` are readable for `point < POINTS`, `i < tiles * columns`,
/// `bias[i]` for `i < columns`, `out[i]` is writable for `i < tiles * 4 * columns`, and `columns` is at least a vector.
struct Join {
    now: *const f32,
    kept: *const f32,
    size: usize,
    bias: *const f32,
    columns: usize,
    tiles: usize,
    out: *mut f32,
}

impl VectorJob for Split {
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        // SAFETY: the promises of `Split`: tile `t` reads rows `4 t..4 t + 6`, and `at + LANES <= width`.
        unsafe {
            let [a, minus_a, minus_a2] = [A, -A, -A * A].map(|x| V::splat(&raw const x));
            let [b, minus_b, minus_b2] = [B, -B, -B * B].map(|x| V::splat(&raw const x));
            let [product, minus_sum] = [A * A * B * B, -(A * A + B * B)].map(|x| V::splat(&raw const x));
            for tile in 0..self.tiles {
                for at in starts::<V>(self.width) {
                    let rows = self.rows.add(TILE * tile * self.width + at);
                    let d: [V; TILE + 2] = from_fn(|row| V::load(rows.add(row * self.width)));
                    let (even_a, odd_a) = (d[2].mul_add(minus_b2, d[4]), d[1].mul_add(minus_b2, d[3]));
                    let (even_b, odd_b) = (d[2].mul_add(minus_a2, d[4]), d[1].mul_add(minus_a2, d[3]));
                    let points = [
                        d[0].mul_add(product, d[2].mul_add(minus_sum, d[4])),
                        odd_a.mul_add(a, even_a),
                        odd_a.mul_add(minus_a, even_a),
                        odd_b.mul_add(b, even_b),
                        odd_b.mul_add(minus_b, even_b),
                        d[1].mul_add(product, d[3].mul_add(minus_sum, d[5])),
                    ];
                    for (point, value) in points.into_iter().enumerate() {
                        value.store(self.points.add(point * self.size + tile * self.width + at));
                    }
                }
            }
        }
    }
}

impl VectorJob for Join {
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        // SAFETY: the promises of `Join`; `at + LANES <= columns`.
        unsafe {
            let [one, minus_one] = [1.0, -1.0].map(|x| V::splat(&raw const x));
            let [a, a2, a3] = [A, A * A, A * A * A].map(|x| V::splat(&raw const x));
            let [b, b2, b3] = [B, B * B, B * B * B].map(|x| V::splat(&raw const x));
            for tile in 0..self.tiles {
                for at in starts::<V>(self.columns) {
                    let [zero, plus_a, minus_a, plus_b, minus_b, infinity]: [V; POINTS] = from_fn(|point| {
                        let at = point * self.size + tile * self.columns + at;
                        V::load(self.now.add(at)).mul_add(one, V::load(self.kept.add(at)))
                    });
                    let (even_a, odd_a) = (plus_a.mul_add(one, minus_a), minus_a.mul_add(minus_one, plus_a));
                    let (even_b, odd_b) = (plus_b.mul_add(one, minus_b), minus_b.mul_add(minus_one, plus_b));
                    let bias = V::load(self.bias.add(at));
                    let rows = [
                        even_a.mul_add(one, even_b.mul_add(one, zero.mul_add(one, bias))),
                        odd_a.mul_add(a, odd_b.mul_add(b, bias)),
                        even_a.mul_add(a2, even_b.mul_add(b2, bias)),
                        odd_a.mul_add(a3, odd_b.mul_add(b3, infinity.mul_add(one, bias))),
                    ];
                    for (row, value) in rows.into_iter().enumerate() {
                        value.leaky().store(self.out.add((TILE * tile + row) * self.columns + at));
                    }
                }
            }
        }
    }
}

/// Where vectors begin that cover `width` values. The last one may overlap the one before: both write the same.
#[inline(always)]
fn starts<V: Vector>(width: usize) -> impl Iterator<Item = usize> {
    (0..width).step_by(V::LANES).map(move |at| at.min(width - V::LANES))
}
