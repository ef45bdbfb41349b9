//! What the two networks over time have in common: residual layers of three taps, further apart from layer to layer.
//!
//! A layer adds to what came in so many frames ago as it waits, so that it sees as much of what follows.

use super::plane::Plane;
use crate::unet::kernel::{Activation, Affine, Isa};

/// Taps of a layer.
pub(super) const TAPS: usize = 3;

#[derive(Debug)]
pub(super) struct Residual(Vec<Layer>);

#[derive(Debug)]
struct Layer {
    /// Frames between the taps.
    dilation: usize,
    /// Frames that it waits.
    wait: usize,
    taps: Affine,
}

impl Residual {
    /// `dilations` and `waits`: of each layer. `tensor`: values of a tensor of the file, by name; `layers.{i}.weight` is `[width][width][tap]`.
    pub(super) fn new<'a>(isa: Isa, dilations: &[usize], waits: &[usize], width: usize, tensor: impl Fn(String) -> &'a [f32]) -> Self {
        let layer = |(i, (dilation, wait)): (usize, (&usize, &usize))| {
            let weight = tensor(format!("layers.{i}.weight"));
            let at = |tap: usize, index: usize, column: usize| weight[(column * width + index) * TAPS + tap];
            let bias = tensor(format!("layers.{i}.bias"));
            Layer {
                dilation: *dilation,
                wait: *wait,
                taps: Affine::new(isa, &[width; TAPS], width, at, bias, Activation::Leaky),
            }
        };
        Self(dilations.iter().zip(waits).enumerate().map(layer).collect())
    }

    /// Names and shapes of the tensors: weight, then bias.
    pub(super) fn layout(dilations: &[usize], width: usize) -> impl Iterator<Item = (String, [usize; 3])> {
        (0..dilations.len()).map(move |i| (format!("layers.{i}"), [width, width, TAPS]))
    }

    /// What enters each layer, and what leaves the last, for at most `frames` frames at a time.
    pub(super) fn planes(&self, width: usize, frames: usize) -> Vec<Plane> {
        let reaches = self.0.iter().map(|layer| ((TAPS - 1) * layer.dilation).max(layer.wait)).chain([0]);
        reaches.map(|reach| Plane::new(width, reach, frames)).collect()
    }

    /// Multiply-adds per frame.
    pub(super) fn macs(&self) -> usize {
        self.0.iter().map(|layer| layer.taps.macs()).sum()
    }

    /// All layers over the call's `frames` frames, which stand in the first of `planes`; the result stands in the last.
    pub(super) fn run(&self, planes: &mut [Plane], frames: usize) {
        for (i, Layer { dilation, wait, taps }) in self.0.iter().enumerate() {
            let (before, after) = planes.split_at_mut(i + 1);
            let out = after[0].new_rows(frames);
            let source = &before[i];
            taps.apply(&[source.taps(2 * dilation, 1), source.taps(*dilation, 1), source.taps(0, 1)], out);
            for (out, x) in out.iter_mut().zip(source.from(*wait)) {
                *out += x;
            }
        }
    }
}
