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

    /// The frame written `delay` positions before `position`.
    pub(super) fn read(&self, position: u64, delay: u64) -> T {
        match position.checked_sub(delay) {
            Some(at) => self.frames[self.slot(at)],
            None => self.before,
        }
    }

    /// Frames it holds: after as many writes of the same frame it holds nothing else.
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
    fn clean_changes_only_what_may_not_pass() {
        for kept in [0.0, -0.0, 1.0, -1.0, f32::MAX, f32::MIN_POSITIVE, -f32::MIN_POSITIVE] {
            assert_eq!(clean(kept).to_bits(), kept.to_bits(), "{kept}");
        }
        for dropped in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MIN_POSITIVE / 2.0, -1e-45] {
            assert_eq!(clean(dropped), 0.0);
        }
    }
}
