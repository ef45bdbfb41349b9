//! A layer's output as convolutions read it.

use super::kernel::{Buffer, Rows};

/// Rows `[band][channel]` of the current and the previous frame, with a zero band at each side.
///
/// Band `b` and its neighbours are the contiguous values `b * width..(b + 3) * width`: what a convolution over three bands multiplies.
#[derive(Clone, Debug)]
pub(crate) struct Plane {
    frames: [Buffer; 2],
    /// Which of them is the current one.
    now: usize,
    width: usize,
}

impl Plane {
    /// Zeros, as before the first frame.
    pub(crate) fn new(bands: usize, width: usize) -> Self {
        let frame = Buffer::new((bands + 2) * width);
        Self {
            frames: [frame.clone(), frame],
            now: 0,
            width,
        }
    }

    /// Makes the current frame the previous one, and returns the rows to write the next into, without the padding.
    pub(crate) fn advance(&mut self) -> &mut [f32] {
        self.now ^= 1;
        let frame = &mut self.frames[self.now];
        let end = frame.len() - self.width;
        &mut frame[self.width..end]
    }

    /// Three-band patches of the previous and the current frame: two sources of a convolution.
    pub(crate) fn patches(&self) -> [Rows<'_>; 2] {
        [self.now ^ 1, self.now].map(|frame| Rows {
            data: &self.frames[frame],
            stride: self.width,
        })
    }

    /// The current frame's rows, without the padding.
    pub(crate) fn rows(&self) -> &[f32] {
        let frame = &self.frames[self.now];
        &frame[self.width..frame.len() - self.width]
    }

    /// The current frame's rows, without the padding, to be changed in place.
    pub(crate) fn rows_mut(&mut self) -> &mut [f32] {
        let frame = &mut self.frames[self.now];
        let end = frame.len() - self.width;
        &mut frame[self.width..end]
    }

    /// Back to zeros.
    pub(crate) fn reset(&mut self) {
        for frame in &mut self.frames {
            frame.fill(0.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patches_are_the_bands_around_each_band() {
        let mut plane = Plane::new(3, 2);
        plane.advance().copy_from_slice(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        plane.advance().fill(9.0);
        let [past, now] = plane.patches();
        assert_eq!(past.data[..6], [0.0, 0.0, 1.0, 2.0, 3.0, 4.0]);
        assert_eq!(past.data[2 * past.stride..][..6], [3.0, 4.0, 5.0, 6.0, 0.0, 0.0]);
        assert_eq!(now.data[..6], [0.0, 0.0, 9.0, 9.0, 9.0, 9.0]);
        assert_eq!(plane.rows(), [9.0; 6]);
        plane.reset();
        assert_eq!(plane.patches()[0].data, [0.0; 10]);
    }
}
