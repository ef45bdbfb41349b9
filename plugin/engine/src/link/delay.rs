//! Delay lines for samples and for the values that travel with them.

/// A delay line read by position, of one `T` per sample. Before the stream's start it holds what [`DelayLine::restart`] was told.
#[derive(Debug)]
pub(super) struct DelayLine<T> {
    frames: Box<[T]>,
    /// Capacity minus one; the capacity is a power of two.
    mask: u64,
    /// What lies before position 0.
    before: T,
}

impl<T: Copy> DelayLine<T> {
    /// A line that remembers at least `depth` frames behind the one written last.
    pub(super) fn new(depth: usize, before: T) -> Self {
        let capacity = (depth + 1).next_power_of_two();
        Self {
            frames: vec![before; capacity].into_boxed_slice(),
            mask: capacity as u64 - 1,
            before,
        }
    }

    /// Starts a new stream at position 0. What was written before can't be read any more. Takes no time that grows with the line.
    pub(super) fn restart(&mut self, before: T) {
        self.before = before;
    }

    /// Writes the frame at `position`. Positions are written in order.
    pub(super) fn write(&mut self, position: u64, frame: T) {
        self.frames[self.slot(position)] = frame;
    }

    /// Writes `frames` from `position` on.
    pub(super) fn write_all(&mut self, position: u64, frames: &[T]) {
        let at = self.slot(position);
        let (first, second) = frames.split_at(frames.len().min(self.frames.len() - at));
        self.frames[at..][..first.len()].copy_from_slice(first);
        self.frames[..second.len()].copy_from_slice(second);
    }

    /// The frames written `delay` positions before `position` and the ones after it.
    pub(super) fn read_all(&self, position: u64, delay: u64, frames: &mut [T]) {
        let unborn = usize::try_from(delay.saturating_sub(position)).unwrap_or(usize::MAX);
        let (before, frames) = frames.split_at_mut(frames.len().min(unborn));
        before.fill(self.before);
        let at = self.slot(position.saturating_sub(delay));
        let (first, second) = frames.split_at_mut(frames.len().min(self.frames.len() - at));
        first.copy_from_slice(&self.frames[at..][..first.len()]);
        second.copy_from_slice(&self.frames[..second.len()]);
    }

    /// The frame written `delay` positions before `position`.
    pub(super) fn read(&self, position: u64, delay: u64) -> T {
        match position.checked_sub(delay) {
            Some(at) => self.frames[self.slot(at)],
            None => self.before,
        }
    }

    /// Frames it holds: after as many writes of the same frame it holds nothing else, and needs no more of them.
    pub(super) fn capacity(&self) -> usize {
        self.frames.len()
    }

    fn slot(&self, position: u64) -> usize {
        #[expect(clippy::cast_possible_truncation, reason = "masked to the capacity, which is a usize")]
        let slot = (position & self.mask) as usize;
        slot
    }
}

/// Keeps what may be in an audio stream: numbers that are not a number, infinite or subnormal become 0, all others stay as they are.
pub(super) fn clean(sample: f32) -> f32 {
    if sample.is_normal() || sample == 0.0 { sample } else { 0.0 }
}

/// Whether all samples are 0 to the bit: -0 is not.
pub(super) fn is_blank(samples: &[f32]) -> bool {
    samples.iter().fold(0, |bits, sample| bits | sample.to_bits()) == 0
}

/// Largest magnitude of clean samples; 0 for none.
pub(super) fn peak(samples: &[f32]) -> f32 {
    // The bits of magnitudes are in the order of the magnitudes, and processors compare many whole numbers at once.
    let largest = samples.iter().map(|sample| sample.abs().to_bits()).max();
    f32::from_bits(largest.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_reads_back_by_position() {
        let mut line = DelayLine::new(5, [0.0f32]);
        line.restart([9.0]);
        for position in 0..40u64 {
            line.write(position, [position as f32]);
            let expected = if position < 5 { 9.0 } else { position as f32 - 5.0 };
            assert_eq!(line.read(position, 5), [expected], "position {position}");
            assert_eq!(line.read(position, 0), [position as f32]);
        }
    }

    #[test]
    fn blocks_are_written_and_read_like_single_frames() {
        let (mut whole, mut single) = (DelayLine::new(5, 0.0f32), DelayLine::new(5, 0.0f32));
        whole.restart(9.0);
        single.restart(9.0);
        let mut position = 0;
        for length in [1, 3, 0, 2, 4, 3, 3, 1, 4, 4] {
            let frames: Vec<f32> = (0..length).map(|n| (position + n) as f32).collect();
            whole.write_all(position, &frames);
            for (n, frame) in frames.iter().enumerate() {
                single.write(position + n as u64, *frame);
            }
            let mut read = vec![0.0; frames.len()];
            whole.read_all(position, 4, &mut read);
            let expected: Vec<f32> = (0..length).map(|n| single.read(position + n, 4)).collect();
            assert_eq!(read, expected, "{length} from {position} on");
            position += length;
        }
    }

    #[test]
    fn blank_is_zero_to_the_bit() {
        assert!(is_blank(&[]) && is_blank(&[0.0; 3]));
        for bit in [-0.0, f32::MIN_POSITIVE / 4.0, f32::NAN, 1.0] {
            assert!(!is_blank(&[0.0, bit, 0.0]), "{bit}");
        }
    }

    #[test]
    fn the_peak_is_the_largest_magnitude() {
        assert_eq!(peak(&[]), 0.0);
        assert_eq!(peak(&[0.0, -0.0, f32::MIN_POSITIVE]), f32::MIN_POSITIVE);
        assert_eq!(peak(&[0.25, -3.0, 2.0]), 3.0);
        assert_eq!(peak(&[-f32::MAX, 1.0]), f32::MAX);
    }

    #[test]
    fn clean_changes_only_what_may_not_pass() {
        for kept in [0.0, -0.0, 1.0, -1.0, f32::MAX, f32::MIN_POSITIVE, -f32::MIN_POSITIVE] {
            assert_eq!(clean(kept).to_bits(), kept.to_bits(), "{kept}");
        }
        for dropped in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MIN_POSITIVE / 2.0, -1e-45] {
            assert_eq!(clean(dropped), 0.0);
        }
    }
}
