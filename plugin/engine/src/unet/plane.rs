//! A layer's output as convolutions read it.

use super::kernel::Buffer;

/// Rows `[band][width]` of one frame for each audio channel, with a zero band at each side.
///
/// Band `b` and its neighbours are the contiguous values `b * width..(b + 3) * width`: what a convolution over three bands multiplies.
#[derive(Debug)]
pub(crate) struct Plane {
    /// `[channel][zero band, bands, zero band][width]`.
    rows: Buffer,
    channels: usize,
    width: usize,
}

impl Plane {
    /// Zeros.
    pub(crate) fn new(channels: usize, bands: usize, width: usize) -> Self {
        Self {
            rows: Buffer::new(channels * (bands + 2) * width),
            channels,
            width,
        }
    }

    /// A channel's rows with the zero bands.
    pub(crate) fn padded(&self, channel: usize) -> &[f32] {
        let size = self.rows.len() / self.channels;
        &self.rows[channel * size..][..size]
    }

    /// A channel's rows.
    pub(crate) fn rows(&self, channel: usize) -> &[f32] {
        let padded = self.padded(channel);
        &padded[self.width..padded.len() - self.width]
    }

    /// A channel's rows, to be written.
    pub(crate) fn rows_mut(&mut self, channel: usize) -> &mut [f32] {
        let size = self.rows.len() / self.channels;
        &mut self.rows[channel * size..][self.width..size - self.width]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_channel_has_a_zero_band_on_both_sides() {
        let mut plane = Plane::new(2, 3, 2);
        plane.rows_mut(0).copy_from_slice(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        plane.rows_mut(1).fill(9.0);
        assert_eq!(plane.padded(0), [0.0, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 0.0, 0.0]);
        assert_eq!(plane.padded(1), [0.0, 0.0, 9.0, 9.0, 9.0, 9.0, 9.0, 9.0, 0.0, 0.0]);
        assert_eq!(plane.rows(0), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        assert_eq!(plane.rows(1), [9.0; 6]);
    }
}
