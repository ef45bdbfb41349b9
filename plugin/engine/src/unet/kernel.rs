//! The one inner loop of the networks, and the only file of the engine with `unsafe` code.
//!
//! Everything a streaming stage computes with weights is one operation, [`Affine::apply`]: rows of the output are an
//! activation of a bias plus a sum over sources of matrix products,
//!
//! ```text
//! out[row, 0..columns] = activation(bias[row or 0] + sum over s of data_s[row * stride_s ..][..inner_s] . weights_s)
//! ```
//!
//! Planes are channels-last, `[band][channel]` with one zero band at each side, so the three bands that a convolution
//! sees are one contiguous slice of `3 * channels` values and neighbouring rows overlap: nothing is ever unfolded.
//! Weights are packed in panels as wide as two vector registers; the sources follow each other inside a panel, so they
//! are read once, in order. A register tile of up to 12 rows times one panel is summed over all sources and written once.
//!
//! The instruction set is chosen at run time. The portable variant is plain Rust and is what the others are tested against.

#![allow(
    unsafe_code,
    reason = "SIMD intrinsics on raw pointers; the safe interface checks every bound before they are formed"
)]

use std::fmt;
use std::ops::{Deref, DerefMut};

/// Most sources that one operation adds up: previous and current frame of two concatenated planes.
const MAX_SOURCES: usize = 4;

/// Floats in a cache line.
const LINE: usize = 16;

/// An instruction set that this processor is known to have.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Isa(Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "aarch64")]
    Neon,
}

impl fmt::Debug for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Work that [`Isa::run`] compiles for each instruction set. `run` must be `#[inline(always)]`, and so must be all it calls.
pub(crate) trait Job {
    /// Does the work.
    fn run(self);
}

impl Isa {
    /// All instruction sets of this processor that the kernel has a variant for, the slowest first.
    #[must_use]
    pub fn available() -> Vec<Self> {
        #[allow(unused_mut, reason = "other architectures have the portable variant only")]
        let mut all = vec![Self(Kind::Portable)];
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                all.push(Self(Kind::Avx2));
                if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512dq") && is_x86_feature_detected!("avx512vl") {
                    all.push(Self(Kind::Avx512));
                }
            }
        }
        #[cfg(target_arch = "aarch64")]
        if std::arch::is_aarch64_feature_detected!("neon") {
            all.push(Self(Kind::Neon));
        }
        all
    }

    /// The fastest one.
    #[must_use]
    pub fn best() -> Self {
        Self::available().pop().unwrap_or(Self(Kind::Portable))
    }

    /// Floats per vector register as the packing counts them.
    fn lanes(self) -> usize {
        match self.0 {
            Kind::Portable => portable::LANES,
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => avx2::LANES,
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => avx512::LANES,
            #[cfg(target_arch = "aarch64")]
            Kind::Neon => neon::LANES,
        }
    }

    /// Does `job`, compiled for this instruction set. Results don't depend on the set: nothing contracts or reorders floats.
    #[inline]
    pub(crate) fn run(self, job: impl Job) {
        match self.0 {
            Kind::Portable => job.run(),
            // SAFETY: an `Isa` of this kind exists only where the features were detected.
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => unsafe { avx2::run(job) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => unsafe { avx512::run(job) },
            // Every aarch64 target that Rust's standard library knows compiles for NEON anyway.
            #[cfg(target_arch = "aarch64")]
            Kind::Neon => job.run(),
        }
    }
}

/// A buffer of floats that starts on a cache line. Its size never changes.
#[derive(Clone, Default)]
pub(crate) struct Buffer {
    lines: Vec<Line>,
    len: usize,
}

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; LINE]);

impl Buffer {
    /// `len` zeros.
    pub(crate) fn new(len: usize) -> Self {
        Self {
            lines: vec![Line([0.0; LINE]); len.div_ceil(LINE)],
            len,
        }
    }
}

impl Deref for Buffer {
    type Target = [f32];

    #[inline]
    fn deref(&self) -> &[f32] {
        // SAFETY: `Line` is 16 floats without padding (its size equals its alignment), so the vector's allocation holds `lines.len() * 16 >= len`
        // initialised floats, borrowed for as long as `self`.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.len) }
    }
}

impl DerefMut for Buffer {
    #[inline]
    fn deref_mut(&mut self) -> &mut [f32] {
        // SAFETY: as in `deref`, and the borrow is unique.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.len) }
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffer({})", self.len)
    }
}

/// What happens to a sum before it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Activation {
    /// Nothing.
    None,
    /// Leaky ReLU of slope [`super::SLOPE`].
    Leaky,
}

/// Rows that one source of an [`Affine`] is multiplied with: row `r` is `data[r * stride..][..inner]`. Rows may overlap.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rows<'a> {
    pub(crate) data: &'a [f32],
    pub(crate) stride: usize,
}

/// Weights and bias of one operation, packed for an instruction set.
pub(crate) struct Affine {
    isa: Isa,
    /// Columns of the output.
    columns: usize,
    /// Values per row of each source; unused ones are 0.
    inner: [usize; MAX_SOURCES],
    sources: usize,
    /// Panels of two vectors' columns (the last one may be of one vector): per panel, per source, per value of the row: the panel's columns.
    weights: Buffer,
    /// `[bias rows][columns, padded to whole vectors]`.
    bias: Buffer,
    bias_rows: usize,
    activation: Activation,
}

impl fmt::Debug for Affine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Affine({:?} x {} on {:?})", &self.inner[..self.sources], self.columns, self.isa)
    }
}

impl Affine {
    /// Packs weights. `inner`: values per row of each source; `weight(source, index in the row, column)`;
    /// `bias`: `[columns]`, or `[rows][columns]` for a bias of its own per row.
    ///
    /// # Panics
    /// If there are no or more than four sources, or `bias` is not whole rows.
    pub(crate) fn new(
        isa: Isa,
        inner: &[usize],
        columns: usize,
        weight: impl Fn(usize, usize, usize) -> f32,
        bias: &[f32],
        activation: Activation,
    ) -> Self {
        assert!((1..=MAX_SOURCES).contains(&inner.len()) && columns > 0);
        assert!(!bias.is_empty() && bias.len().is_multiple_of(columns));
        let lanes = isa.lanes();
        let padded = columns.next_multiple_of(lanes);
        let mut weights = Buffer::new(padded * inner.iter().sum::<usize>());
        let mut at = 0;
        let mut first = 0;
        while first < padded {
            let width = (padded - first).min(2 * lanes);
            for (source, &inner) in inner.iter().enumerate() {
                for index in 0..inner {
                    for (column, packed) in (first..columns).zip(&mut weights[at..at + width]) {
                        *packed = weight(source, index, column);
                    }
                    at += width;
                }
            }
            first += width;
        }
        let bias_rows = bias.len() / columns;
        let mut packed_bias = Buffer::new(bias_rows * padded);
        for (packed, row) in packed_bias.chunks_exact_mut(padded).zip(bias.chunks_exact(columns)) {
            packed[..columns].copy_from_slice(row);
        }
        let mut sizes = [0; MAX_SOURCES];
        sizes[..inner.len()].copy_from_slice(inner);
        Self {
            isa,
            columns,
            inner: sizes,
            sources: inner.len(),
            weights,
            bias: packed_bias,
            bias_rows,
            activation,
        }
    }

    /// Columns of the output.
    pub(crate) fn columns(&self) -> usize {
        self.columns
    }

    /// Multiply-adds per row.
    pub(crate) fn macs(&self) -> usize {
        self.columns * self.inner.iter().sum::<usize>()
    }

    /// Computes `out.len() / columns` rows; `out` is `[row][column]`, contiguous.
    ///
    /// # Panics
    /// If a source is too short, the number of sources is wrong, `out` is not whole rows, or a bias per row has fewer rows.
    ///
    /// # Real-time
    /// No allocation, lock or system call.
    pub(crate) fn apply(&self, sources: &[Rows<'_>], out: &mut [f32]) {
        assert_eq!(sources.len(), self.sources, "number of sources");
        assert!(out.len().is_multiple_of(self.columns), "output is not whole rows");
        let rows = out.len() / self.columns;
        if rows == 0 {
            return;
        }
        assert!(self.bias_rows == 1 || self.bias_rows >= rows, "too few rows of bias");
        let mut raw = [RawSource::default(); MAX_SOURCES];
        for ((raw, source), &inner) in raw.iter_mut().zip(sources).zip(&self.inner) {
            let needed = (rows - 1).saturating_mul(source.stride).saturating_add(inner);
            assert!(needed <= source.data.len(), "source is too short");
            *raw = RawSource {
                data: source.data.as_ptr(),
                stride: source.stride,
                inner,
            };
        }
        let padded = self.columns.next_multiple_of(self.isa.lanes());
        let call = Call {
            sources: &raw[..self.sources],
            weights: self.weights.as_ptr(),
            bias: self.bias.as_ptr(),
            bias_stride: if self.bias_rows == 1 { 0 } else { padded },
            out: out.as_mut_ptr(),
            rows,
            columns: self.columns,
            leaky: self.activation == Activation::Leaky,
        };
        // SAFETY: `Call`'s promises hold. Sources: asserted above for the last row, and rows before it lie lower. Weights hold `padded * sum(inner)`
        // floats, bias `bias_rows * padded`, `out` `rows * columns`: `new` and the assertions above. The instruction set exists, because an
        // `Isa` of its kind does.
        unsafe {
            match self.isa.0 {
                Kind::Portable => portable::affine(&call),
                #[cfg(target_arch = "x86_64")]
                Kind::Avx2 => avx2::affine(&call),
                #[cfg(target_arch = "x86_64")]
                Kind::Avx512 => avx512::affine(&call),
                #[cfg(target_arch = "aarch64")]
                Kind::Neon => neon::affine(&call),
            }
        }
    }
}

#[derive(Clone, Copy)]
struct RawSource {
    data: *const f32,
    stride: usize,
    inner: usize,
}

impl Default for RawSource {
    fn default() -> Self {
        Self {
            data: std::ptr::null(),
            stride: 0,
            inner: 0,
        }
    }
}

/// One [`Affine::apply`] as pointers. Whoever makes one promises: for each source, `data[row * stride + i]` is readable for `row < rows`, `i < inner`;
/// `weights` is packed for the variant that is called, for these sources and columns; `bias[row * bias_stride + c]` is readable for `row < rows` and `c` below
/// the columns padded to whole vectors; `out[row * columns + c]` is writable for `c < columns`, and is nowhere in what is read.
struct Call<'a> {
    sources: &'a [RawSource],
    weights: *const f32,
    bias: *const f32,
    bias_stride: usize,
    out: *mut f32,
    rows: usize,
    columns: usize,
    leaky: bool,
}

/// How far ahead of their use weights are asked for, in floats. Both networks' weights are more than a usual second-level cache: what is used once per hop
/// (the recurrent layer above all) comes from further away, where latency and not arithmetic is what costs.
const AHEAD: usize = 1024;

/// One variant of the kernel. The module it is used in provides `Vector`, `LANES`, and the functions `zero load prefetch splat fma leaky store store_part`.
macro_rules! variant {
    ($(#[$features:meta])*, pairs: [$($pair:literal)*], singles: [$($single:literal)*]) => {
        use super::{AHEAD, Call};

        /// # Safety
        /// `call` keeps the promises of [`Call`] for this variant, and the processor has its features.
        $(#[$features])*
        pub(super) unsafe fn affine(call: &Call<'_>) {
            let inner: usize = call.sources.iter().map(|source| source.inner).sum();
            let mut weights = call.weights;
            let mut column = 0;
            while column < call.columns {
                let mut row = 0;
                // SAFETY: `row + ROWS <= rows`, and `column` is the first of a panel that begins at `weights` and is two vectors wide if more than one
                // vector's columns are left, else one.
                unsafe {
                    if call.columns - column > LANES {
                        $(while call.rows - row >= $pair {
                            tile::<$pair, 2>(call, weights, row, column);
                            row += $pair;
                        })*
                        weights = weights.add(inner * 2 * LANES);
                        column += 2 * LANES;
                    } else {
                        $(while call.rows - row >= $single {
                            tile::<$single, 1>(call, weights, row, column);
                            row += $single;
                        })*
                        column += LANES;
                    }
                }
            }
        }

        /// Rows `row..row + ROWS` of the panel that begins at `weights` and `column` and is `VECTORS` vectors wide.
        ///
        /// # Safety
        /// As [`affine`]; the rows and the panel exist.
        $(#[$features])*
        #[inline]
        unsafe fn tile<const ROWS: usize, const VECTORS: usize>(call: &Call<'_>, weights: *const f32, row: usize, column: usize) {
            // SAFETY: all offsets stay within what `Call` promises; see each line.
            unsafe {
                let mut sums = [[zero(); VECTORS]; ROWS];
                for (r, sums) in sums.iter_mut().enumerate() {
                    // Padded columns of the bias.
                    let bias = call.bias.add((row + r) * call.bias_stride + column);
                    for (v, sum) in sums.iter_mut().enumerate() {
                        *sum = load(bias.add(v * LANES));
                    }
                }
                let mut weights = weights;
                for source in call.sources {
                    let stride = source.stride;
                    // Row `row + r`, value `i` is `data[(row + r) * stride + i]`.
                    let data = source.data.add(row * stride);
                    for i in 0..source.inner {
                        let mut panel = [zero(); VECTORS];
                        for (v, panel) in panel.iter_mut().enumerate() {
                            *panel = load(weights.add(v * LANES));
                            prefetch(weights.wrapping_add(v * LANES + AHEAD));
                        }
                        weights = weights.add(VECTORS * LANES);
                        for (r, sums) in sums.iter_mut().enumerate() {
                            let value = splat(data.add(r * stride + i));
                            for (sum, panel) in sums.iter_mut().zip(&panel) {
                                *sum = fma(value, *panel, *sum);
                            }
                        }
                    }
                }
                for (r, sums) in sums.iter().enumerate() {
                    let out = call.out.add((row + r) * call.columns + column);
                    for (v, sum) in sums.iter().enumerate() {
                        let value = if call.leaky { leaky(*sum) } else { *sum };
                        // At least one column of each vector exists: panels are one vector wide when no more than that is left.
                        let left = call.columns - column - v * LANES;
                        if left >= LANES {
                            store(out.add(v * LANES), value);
                        } else {
                            store_part(out.add(v * LANES), value, left);
                        }
                    }
                }
            }
        }
    };
}

/// Plain Rust, for processors without a variant of their own, and the twin that the others are tested against.
mod portable {
    pub(super) const LANES: usize = 4;
    type Vector = [f32; LANES];

    fn zero() -> Vector {
        [0.0; LANES]
    }

    /// # Safety
    /// `from` is readable for a vector.
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Vector {
        // SAFETY: the caller's promise; unaligned is fine.
        unsafe { from.cast::<Vector>().read_unaligned() }
    }

    #[inline(always)]
    fn prefetch(_: *const f32) {}

    /// # Safety
    /// `from` is readable.
    #[inline(always)]
    unsafe fn splat(from: *const f32) -> Vector {
        // SAFETY: the caller's promise.
        [unsafe { *from }; LANES]
    }

    #[inline(always)]
    fn fma(a: Vector, b: Vector, sum: Vector) -> Vector {
        std::array::from_fn(|i| a[i] * b[i] + sum[i])
    }

    #[inline(always)]
    fn leaky(x: Vector) -> Vector {
        x.map(|x| x.max(x * crate::unet::SLOPE))
    }

    /// # Safety
    /// `to` is writable for a vector.
    #[inline(always)]
    unsafe fn store(to: *mut f32, x: Vector) {
        // SAFETY: the caller's promise.
        unsafe { to.cast::<Vector>().write_unaligned(x) }
    }

    /// # Safety
    /// `to` is writable for `count` floats, fewer than a vector.
    #[inline(always)]
    unsafe fn store_part(to: *mut f32, x: Vector, count: usize) {
        // SAFETY: the caller's promise, and `x` holds more than `count`.
        unsafe { std::ptr::copy_nonoverlapping(x.as_ptr(), to, count) }
    }

    variant!(, pairs: [4 2 1], singles: [8 4 2 1]);
}

/// 16 registers of 8 floats.
#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::*;

    pub(super) const LANES: usize = 8;

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn zero() -> __m256 {
        _mm256_setzero_ps()
    }

    /// # Safety
    /// `from` is readable for a vector.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn load(from: *const f32) -> __m256 {
        // SAFETY: the caller's promise.
        unsafe { _mm256_loadu_ps(from) }
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn prefetch(from: *const f32) {
        _mm_prefetch::<_MM_HINT_T0>(from.cast());
    }

    /// # Safety
    /// `from` is readable.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn splat(from: *const f32) -> __m256 {
        // SAFETY: the caller's promise.
        _mm256_set1_ps(unsafe { *from })
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn fma(a: __m256, b: __m256, sum: __m256) -> __m256 {
        _mm256_fmadd_ps(a, b, sum)
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn leaky(x: __m256) -> __m256 {
        _mm256_max_ps(x, _mm256_mul_ps(x, _mm256_set1_ps(crate::unet::SLOPE)))
    }

    /// # Safety
    /// `to` is writable for a vector.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn store(to: *mut f32, x: __m256) {
        // SAFETY: the caller's promise.
        unsafe { _mm256_storeu_ps(to, x) }
    }

    /// # Safety
    /// `to` is writable for `count` floats, fewer than a vector.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn store_part(to: *mut f32, x: __m256, count: usize) {
        let mut lanes = [0.0; LANES];
        // SAFETY: the caller's promise, and `lanes` holds a vector.
        unsafe {
            _mm256_storeu_ps(lanes.as_mut_ptr(), x);
            std::ptr::copy_nonoverlapping(lanes.as_ptr(), to, count);
        }
    }

    /// # Safety
    /// The processor has AVX2 and FMA.
    #[target_feature(enable = "avx2,fma")]
    pub(super) unsafe fn run(job: impl super::Job) {
        job.run();
    }

    variant!(#[target_feature(enable = "avx2,fma")], pairs: [6 4 2 1], singles: [12 6 4 2 1]);
}

/// 32 registers of 16 floats.
#[cfg(target_arch = "x86_64")]
mod avx512 {
    use std::arch::x86_64::*;

    pub(super) const LANES: usize = 16;

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn zero() -> __m512 {
        _mm512_setzero_ps()
    }

    /// # Safety
    /// `from` is readable for a vector.
    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn load(from: *const f32) -> __m512 {
        // SAFETY: the caller's promise.
        unsafe { _mm512_loadu_ps(from) }
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn prefetch(from: *const f32) {
        _mm_prefetch::<_MM_HINT_T0>(from.cast());
    }

    /// # Safety
    /// `from` is readable.
    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn splat(from: *const f32) -> __m512 {
        // SAFETY: the caller's promise.
        _mm512_set1_ps(unsafe { *from })
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn fma(a: __m512, b: __m512, sum: __m512) -> __m512 {
        _mm512_fmadd_ps(a, b, sum)
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn leaky(x: __m512) -> __m512 {
        _mm512_max_ps(x, _mm512_mul_ps(x, _mm512_set1_ps(crate::unet::SLOPE)))
    }

    /// # Safety
    /// `to` is writable for a vector.
    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn store(to: *mut f32, x: __m512) {
        // SAFETY: the caller's promise.
        unsafe { _mm512_storeu_ps(to, x) }
    }

    /// # Safety
    /// `to` is writable for `count` floats, fewer than a vector.
    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn store_part(to: *mut f32, x: __m512, count: usize) {
        let mask: __mmask16 = u16::MAX >> (LANES - count);
        // SAFETY: the caller's promise; lanes outside the mask aren't touched.
        unsafe { _mm512_mask_storeu_ps(to, mask, x) }
    }

    /// # Safety
    /// The processor has AVX-512 F, DQ and VL.
    #[target_feature(enable = "avx512f,avx512dq,avx512vl")]
    pub(super) unsafe fn run(job: impl super::Job) {
        job.run();
    }

    variant!(#[target_feature(enable = "avx512f")], pairs: [12 8 4 2 1], singles: [24 12 8 4 2 1]);
}

/// 32 registers of 4 floats.
#[cfg(target_arch = "aarch64")]
mod neon {
    use std::arch::aarch64::*;

    pub(super) const LANES: usize = 4;

    #[inline]
    #[target_feature(enable = "neon")]
    fn zero() -> float32x4_t {
        vdupq_n_f32(0.0)
    }

    /// # Safety
    /// `from` is readable for a vector.
    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn load(from: *const f32) -> float32x4_t {
        // SAFETY: the caller's promise.
        unsafe { vld1q_f32(from) }
    }

    #[inline]
    #[target_feature(enable = "neon")]
    fn prefetch(_: *const f32) {}

    /// # Safety
    /// `from` is readable.
    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn splat(from: *const f32) -> float32x4_t {
        // SAFETY: the caller's promise.
        unsafe { vld1q_dup_f32(from) }
    }

    #[inline]
    #[target_feature(enable = "neon")]
    fn fma(a: float32x4_t, b: float32x4_t, sum: float32x4_t) -> float32x4_t {
        vfmaq_f32(sum, a, b)
    }

    #[inline]
    #[target_feature(enable = "neon")]
    fn leaky(x: float32x4_t) -> float32x4_t {
        vmaxq_f32(x, vmulq_n_f32(x, crate::unet::SLOPE))
    }

    /// # Safety
    /// `to` is writable for a vector.
    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn store(to: *mut f32, x: float32x4_t) {
        // SAFETY: the caller's promise.
        unsafe { vst1q_f32(to, x) }
    }

    /// # Safety
    /// `to` is writable for `count` floats, fewer than a vector.
    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn store_part(to: *mut f32, x: float32x4_t, count: usize) {
        let mut lanes = [0.0; LANES];
        // SAFETY: the caller's promise, and `lanes` holds a vector.
        unsafe {
            vst1q_f32(lanes.as_mut_ptr(), x);
            std::ptr::copy_nonoverlapping(lanes.as_ptr(), to, count);
        }
    }

    variant!(#[target_feature(enable = "neon")], pairs: [12 8 4 2 1], singles: [12 8 4 2 1]);
}

#[cfg(test)]
#[path = "kernel_tests.rs"]
mod tests;
