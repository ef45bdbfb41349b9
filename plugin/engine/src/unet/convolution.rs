//! The U-Nets' convolutions: over the previous and the current frame and three neighbouring bands.
//!
//! What a frame adds to the next one is computed with it, and kept: `out = leaky(bias + now . x + kept)`, then `kept = past . x`. So no layer's rows need
//! outlive the hop.
//!
//! Where bands are a multiple of four, as in all that ships, four are computed at once by minimal filtering (`kernel/minimal.rs`), with half the products.
//! Its weights are twice as many, which even the lowest level's twelve bands are worth.

use super::SLOPE;
use super::kernel::{self, Activation, Affine, Buffer, Isa, Job, POINTS, Products, Rows, TILE};
use super::plane::Plane;

/// Fewest channels of the planes of one that is computed in tiles: the longest vectors that there are.
const FEWEST_CHANNELS: usize = 16;

/// Most planes that a convolution reads.
const PARTS: usize = 2;

/// Weights of one convolution, packed for the kernel of one instruction set.
#[derive(Debug)]
pub(crate) struct Convolution {
    isa: Isa,
    bands: usize,
    /// Whether it is computed in tiles of four bands.
    tiled: bool,
    columns: usize,
    /// Channels of the planes that it reads.
    parts: Vec<usize>,
    /// What a frame adds to itself and to the next one: a matrix per point of a tile, or one for a band and its neighbours.
    now: Vec<Affine>,
    past: Vec<Affine>,
    bias: Buffer,
}

/// Room that convolutions share while they run.
#[derive(Debug)]
pub(crate) struct Scratch {
    /// The rows of each part at points, `[point][channel][tile][channel of the part]`.
    tiles: [Buffer; PARTS],
    /// Products, as [`Convolution::kept`].
    sums: Buffer,
}

impl Convolution {
    /// Packs `weight`, `[column][channel of all parts][previous and current frame][3 bands]`, for a layer of `bands` bands.
    ///
    /// # Panics
    /// If there are more than two parts, or a slice has another size.
    pub(crate) fn new(isa: Isa, bands: usize, parts: &[usize], columns: usize, weight: &[f32], bias: &[f32]) -> Self {
        let all: usize = parts.iter().sum();
        assert!(parts.len() <= PARTS && weight.len() == columns * all * 6 && bias.len() == columns);
        // `[column][channel of all parts]`.
        let row = |part: usize, channel: usize, column: usize| column * all + parts[..part].iter().sum::<usize>() + channel;
        let taps = |frame: usize, row: usize| {
            let at = (row * 2 + frame) * 3;
            [weight[at], weight[at + 1], weight[at + 2]]
        };
        let widths = parts.iter().chain([&columns]);
        let tiled = bands.is_multiple_of(TILE) && widths.into_iter().all(|width| *width >= FEWEST_CHANNELS);
        let no_bias = vec![0.0; columns];
        let matrices = |frame: usize| -> Vec<Affine> {
            if tiled {
                let filters: Vec<[f32; POINTS]> = (0..columns * all).map(|row| kernel::filter(taps(frame, row))).collect();
                let at_point = |point: usize| {
                    let weight = |part, channel, column| filters[row(part, channel, column)][point];
                    Affine::new(isa, parts, columns, weight, &no_bias, Activation::None)
                };
                (0..POINTS).map(at_point).collect()
            } else {
                // A row is [band][channel].
                let inner: Vec<usize> = parts.iter().map(|width| 3 * width).collect();
                let weight = |part: usize, k: usize, column| taps(frame, row(part, k % parts[part], column))[k / parts[part]];
                vec![Affine::new(isa, &inner, columns, weight, &no_bias, Activation::None)]
            }
        };
        let mut packed_bias = Buffer::new(columns);
        packed_bias.copy_from_slice(bias);
        Self {
            isa,
            bands,
            tiled,
            columns,
            parts: parts.to_vec(),
            now: matrices(1),
            past: matrices(0),
            bias: packed_bias,
        }
    }

    /// Multiply-adds per frame as the network is written down. In tiles half as many are done.
    pub(crate) fn macs(&self) -> usize {
        self.bands * self.columns * 6 * self.parts.iter().sum::<usize>()
    }

    /// Rows per channel that a matrix is multiplied with.
    fn rows(&self) -> usize {
        if self.tiled { self.bands / TILE } else { self.bands }
    }

    /// What one frame keeps for the next, as before the first: `[point][channel][row][column]`.
    pub(crate) fn kept(&self, channels: usize) -> Buffer {
        Buffer::new(channels * self.kept_size())
    }

    /// Values of it per channel.
    fn kept_size(&self) -> usize {
        self.now.len() * self.rows() * self.columns
    }

    /// Gives all channels what has been kept of the first one alone.
    pub(crate) fn spread(&self, kept: &mut Buffer) {
        let (channels, size) = (kept.len() / self.kept_size(), self.rows() * self.columns);
        // From the end: what is still to be read lies before all that is written.
        for point in (0..self.now.len()).rev() {
            for channel in (0..channels).rev() {
                kept.copy_within(point * size..(point + 1) * size, (point * channels + channel) * size);
            }
        }
    }

    /// Computes the rows of `out` from those of `parts`, and `kept` for the next frame, of the first `channels` audio channels.
    ///
    /// # Panics
    /// If the planes, `kept` or `scratch` don't belong to this convolution.
    ///
    /// # Real-time
    /// No allocation, lock or system call.
    pub(crate) fn step(&self, channels: usize, parts: &[&Plane], kept: &mut Buffer, scratch: &mut Scratch, out: &mut Plane) {
        assert_eq!(parts.len(), self.parts.len(), "planes");
        let Scratch { tiles, sums } = scratch;
        let [sums, kept] = [sums, kept].map(|all| &mut all[..channels * self.kept_size()]);
        if self.tiled {
            for ((part, tiles), &width) in parts.iter().zip(&mut *tiles).zip(&self.parts) {
                let tiles = &mut tiles[..POINTS * channels * self.rows() * width];
                for channel in 0..channels {
                    kernel::split(self.isa, part.padded(channel), width, tiles, channel * self.rows());
                }
            }
        }
        self.multiply(&self.now, parts, tiles, channels, sums);
        for channel in 0..channels {
            let (first, bias, out) = (channel * self.rows(), &self.bias, out.rows_mut(channel));
            if self.tiled {
                kernel::join(self.isa, Products { now: sums, kept }, bias, out, first);
            } else {
                let [sums, kept] = [&*sums, &*kept].map(|all| &all[first * self.columns..][..out.len()]);
                self.isa.run(Add { sums, kept, bias, out });
            }
        }
        self.multiply(&self.past, parts, tiles, channels, kept);
    }

    /// All products of `matrices`, `[point][channel][row][column]`.
    fn multiply(&self, matrices: &[Affine], parts: &[&Plane], tiles: &[Buffer; PARTS], channels: usize, products: &mut [f32]) {
        let rows = channels * self.rows();
        let mut sources = [Rows { data: &[], stride: 0 }; PARTS];
        if self.tiled {
            for (point, (matrix, products)) in matrices.iter().zip(products.chunks_exact_mut(rows * self.columns)).enumerate() {
                for ((source, tiles), &stride) in sources.iter_mut().zip(tiles).zip(&self.parts) {
                    let data = &tiles[point * rows * stride..][..rows * stride];
                    *source = Rows { data, stride };
                }
                matrix.apply(&sources[..parts.len()], products);
            }
        } else {
            for (channel, products) in products.chunks_exact_mut(self.rows() * self.columns).enumerate() {
                for ((source, plane), &stride) in sources.iter_mut().zip(parts).zip(&self.parts) {
                    let data = plane.padded(channel);
                    *source = Rows { data, stride };
                }
                matrices[0].apply(&sources[..parts.len()], products);
            }
        }
    }
}

impl Scratch {
    /// Room for each of `all`.
    pub(crate) fn new<'a>(all: impl Iterator<Item = &'a Convolution>, channels: usize) -> Self {
        let (mut tiles, mut sums) = ([0; PARTS], 0);
        for one in all {
            sums = sums.max(one.kept(channels).len());
            for (size, width) in tiles.iter_mut().zip(&one.parts) {
                *size = (*size).max(POINTS * channels * one.rows() * width);
            }
        }
        Self {
            tiles: tiles.map(Buffer::new),
            sums: Buffer::new(sums),
        }
    }
}

/// Products of bands as they are, of this frame and kept of the one before, to rows: all `[band][column]`.
struct Add<'a> {
    sums: &'a [f32],
    kept: &'a [f32],
    bias: &'a [f32],
    out: &'a mut [f32],
}

impl Job for Add<'_> {
    #[inline(always)]
    fn run(self) {
        let Self { sums, kept, bias, out } = self;
        let columns = bias.len();
        for ((out, sums), kept) in out
            .chunks_exact_mut(columns)
            .zip(sums.chunks_exact(columns))
            .zip(kept.chunks_exact(columns))
        {
            for (((out, sum), kept), bias) in out.iter_mut().zip(sums).zip(kept).zip(bias) {
                let sum = bias + (sum + kept);
                *out = sum.max(SLOPE * sum);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::Noise;

    /// Runs some frames through a convolution and compares them with the sum written down, in f64. Says whether it was computed in tiles.
    fn agrees(isa: Isa, bands: usize, parts: &[usize], columns: usize, channels: usize) -> bool {
        let mut noise = Noise::new(7);
        let all: usize = parts.iter().sum();
        let (weight, bias) = (noise.vector(columns * all * 6), noise.vector(columns));
        let convolution = Convolution::new(isa, bands, parts, columns, &weight, &bias);
        let mut scratch = Scratch::new([&convolution].into_iter(), channels);
        let mut kept = convolution.kept(channels);
        let mut planes: Vec<Plane> = parts.iter().map(|width| Plane::new(channels, bands, *width)).collect();
        let mut out = Plane::new(channels, bands, columns);
        // [frame][part][channel][band][channel of the part]; the first frame is what was before the stream.
        let mut past: Vec<Vec<Vec<f32>>> = parts.iter().map(|width| vec![vec![0.0; bands * width]; channels]).collect();
        for frame in 0..3 {
            let now: Vec<Vec<Vec<f32>>> = parts
                .iter()
                .map(|width| (0..channels).map(|_| noise.vector(bands * width)).collect())
                .collect();
            for (plane, now) in planes.iter_mut().zip(&now) {
                for (channel, rows) in now.iter().enumerate() {
                    plane.rows_mut(channel).copy_from_slice(rows);
                }
            }
            convolution.step(channels, &planes.iter().collect::<Vec<_>>(), &mut kept, &mut scratch, &mut out);
            for channel in 0..channels {
                for (band, row) in out.rows(channel).chunks_exact(columns).enumerate() {
                    for (column, got) in row.iter().enumerate() {
                        let mut want = f64::from(bias[column]);
                        let mut at = 0;
                        for (part, &width) in parts.iter().enumerate() {
                            for k in 0..width {
                                for (f, frame) in [&past, &now].into_iter().enumerate() {
                                    for tap in 0..3 {
                                        let Some(row) = (band + tap).checked_sub(1).filter(|row| *row < bands) else {
                                            continue;
                                        };
                                        let x = frame[part][channel][row * width + k];
                                        want += f64::from(x) * f64::from(weight[((column * all + at) * 2 + f) * 3 + tap]);
                                    }
                                }
                                at += 1;
                            }
                        }
                        let want = if want < 0.0 { 0.1 * want } else { want };
                        assert!(
                            (f64::from(*got) - want).abs() < 2e-5,
                            "{isa:?}, {bands} bands, {parts:?} to {columns}, frame {frame}, channel {channel}, band {band}, column {column}: {got} for {want}"
                        );
                    }
                }
            }
            past = now;
        }
        convolution.tiled
    }

    #[test]
    fn both_forms_are_the_convolution() {
        for isa in Isa::available() {
            let mut tiled = 0;
            for bands in [1, 4, 12, 23, 24, 25, 28, 96] {
                for (parts, columns) in [(&[5][..], 17), (&[16], 24), (&[17, 40], 33), (&[24, 8], 16)] {
                    for channels in [1, 2] {
                        tiled += usize::from(agrees(isa, bands, parts, columns, channels));
                    }
                }
            }
            assert_eq!(tiled, 5 * 2 * 2, "whole tiles of wide planes");
        }
    }
}
