//! The safe interface: packs weights, checks every bound, calls the variant.

use super::buffer::Buffer;
use super::isa::Isa;
use super::tile::{Call, RawSource, panel_width};
use std::fmt;

/// Most sources that one operation adds up: the taps of a dilated convolution.
pub(super) const MAX_SOURCES: usize = 3;

/// What happens to a sum before it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Activation {
    /// Nothing.
    None,
    /// Leaky ReLU of slope [`crate::unet::SLOPE`].
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
    /// Panels ([`panel_width`]): per panel, per source, per value of the row: the panel's columns.
    weights: Buffer,
    /// `[bias rows][columns, padded to whole panels]`.
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
    /// If there are no or more than three sources, or `bias` is not whole rows.
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
        let (lanes, half) = isa.lanes_and_half();
        let padded = columns.next_multiple_of(half);
        let mut weights = Buffer::new(padded * inner.iter().sum::<usize>());
        let mut at = 0;
        let mut first = 0;
        while first < padded {
            let width = panel_width(columns - first, lanes, half);
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
        let mut raw = [RawSource {
            data: std::ptr::null(),
            stride: 0,
            inner: 0,
        }; MAX_SOURCES];
        for ((raw, source), &inner) in raw.iter_mut().zip(sources).zip(&self.inner) {
            let needed = (rows - 1).saturating_mul(source.stride).saturating_add(inner);
            assert!(needed <= source.data.len(), "source is too short");
            *raw = RawSource {
                data: source.data.as_ptr(),
                stride: source.stride,
                inner,
            };
        }
        let padded = self.columns.next_multiple_of(self.isa.lanes_and_half().1);
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
        // floats, bias `bias_rows * padded`, `out` `rows * columns`: `new` and the assertions above. `out` is borrowed uniquely.
        unsafe { self.isa.vectors(&call) }
    }
}
