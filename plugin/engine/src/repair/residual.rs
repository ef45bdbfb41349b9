//! What the two networks over time have in common: residual layers of three taps, further apart from layer to layer.

use super::plane::Plane;
use crate::unet::kernel::{Activation, Affine, Isa};

/// Taps of a layer.
pub(super) const TAPS: usize = 3;

/// Layers, each with the frames between its taps.
#[derive(Debug)]
pub(super) struct Residual(Vec<(usize, Affine)>);

impl Residual {
    /// `tensor`: values of a tensor of the file, by name; `layers.{i}.weight` is `[width][width][tap]`.
    pub(super) fn new<'a>(isa: Isa, dilations: &[usize], width: usize, tensor: impl Fn(String) -> &'a [f32]) -> Self {
        let layer = |(i, dilation): (usize, &usize)| {
            let weight = tensor(format!("layers.{i}.weight"));
            let at = |tap: usize, index: usize, column: usize| weight[(column * width + index) * TAPS + tap];
            let bias = tensor(format!("layers.{i}.bias"));
            (*dilation, Affine::new(isa, &[width; TAPS], width, at, bias, Activation::Leaky))
        };
        Self(dilations.iter().enumerate().map(layer).collect())
    }

    /// Names and shapes of the tensors: weight, then bias.
    pub(super) fn layout(dilations: &[usize], width: usize) -> impl Iterator<Item = (String, [usize; 3])> {
        (0..dilations.len()).map(move |i| (format!("layers.{i}"), [width, width, TAPS]))
    }

    /// What enters each layer, and what leaves the last, for at most `frames` frames at a time.
    pub(super) fn planes(dilations: &[usize], width: usize, frames: usize) -> Vec<Plane> {
        let reaches = dilations.iter().map(|dilation| (TAPS - 1) * dilation).chain([0]);
        reaches.map(|reach| Plane::new(width, reach, frames)).collect()
    }

    /// Multiply-adds per frame.
    pub(super) fn macs(&self) -> usize {
        self.0.iter().map(|(_, layer)| layer.macs()).sum()
    }

    /// All layers over the call's `frames` frames, which stand in the first of `planes`; the result stands in the last.
    pub(super) fn run(&self, planes: &mut [Plane], frames: usize) {
        for (i, (dilation, layer)) in self.0.iter().enumerate() {
            let (before, after) = planes.split_at_mut(i + 1);
            let out = after[0].new_rows(frames);
            let source = &before[i];
            layer.apply(&[source.taps(2 * dilation, 1), source.taps(*dilation, 1), source.taps(0, 1)], out);
            for (out, x) in out.iter_mut().zip(source.from(0)) {
                *out += x;
            }
        }
    }
}
