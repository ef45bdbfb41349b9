//! What the networks over time keep from call to call.

use crate::unet::kernel::{Buffer, Rows};

/// Rows of a signal over time: the last ones of the past, then those of this call.
#[derive(Clone, Debug)]
pub(super) struct Plane {
    pub(super) channels: usize,
    /// Rows that are kept from call to call.
    pub(super) past: usize,
    pub(super) data: Buffer,
}

impl Plane {
    pub(super) fn new(channels: usize, past: usize, rows: usize) -> Self {
        Self {
            channels,
            past,
            data: Buffer::new((past + rows) * channels),
        }
    }

    /// This call's `rows` rows.
    pub(super) fn new_rows(&mut self, rows: usize) -> &mut [f32] {
        &mut self.data[self.past * self.channels..][..rows * self.channels]
    }

    /// All from `back` rows before this call's first one on.
    pub(super) fn from(&self, back: usize) -> &[f32] {
        &self.data[(self.past - back) * self.channels..]
    }

    /// As [`Plane::from`], `taps` rows at a time in steps of `step`.
    pub(super) fn taps(&self, back: usize, step: usize) -> Rows<'_> {
        Rows {
            data: self.from(back),
            stride: step * self.channels,
        }
    }

    /// This call's `rows` rows become the past.
    pub(super) fn advance(&mut self, rows: usize) {
        let size = self.past * self.channels;
        self.data.copy_within(rows * self.channels..rows * self.channels + size, 0);
    }
}
