//! Delay lines for samples and for the values that travel with them, and the ramps that smooth those values.

/// A delay line read by position: `[frame]` of `N` values each. Before the stream's start it holds what [`DelayLine::restart`] was told.
#[derive(Debug)]
pub(super) struct DelayLine<const N: usize> {
    frames: Box<[[f32; N]]>,
    /// Capacity minus one; the capacity is a power of two.
    mask: u64,
    /// What lies before position 0.
    before: [f32; N],
}

impl<const N: usize> DelayLine<N> {
    /// A line that remembers at least `depth` frames behind the one written last.
    pub(super) fn new(depth: usize) -> Self {
        let capacity = (depth + 1).next_power_of_two();
        Self {
            frames: vec![[0.0; N]; capacity].into_boxed_slice(),
            mask: capacity as u64 - 1,
            before: [0.0; N],
        }
    }

    /// Starts a new stream at position 0. What was written before can't be read any more. Takes no time that grows with the line.
    pub(super) fn restart(&mut self, before: [f32; N]) {
        self.before = before;
    }

    /// Writes the frame at `position`. Positions are written in order.
    pub(super) fn write(&mut self, position: u64, frame: [f32; N]) {
        self.frames[self.slot(position)] = frame;
    }

    /// The frame written `delay` positions before `position`.
    pub(super) fn read(&self, position: u64, delay: u64) -> [f32; N] {
        match position.checked_sub(delay) {
            Some(at) => self.frames[self.slot(at)],
            None => self.before,
        }
    }

    fn slot(&self, position: u64) -> usize {
        #[expect(clippy::cast_possible_truncation, reason = "masked to the capacity, which is a usize")]
        let slot = (position & self.mask) as usize;
        slot
    }
}

/// Moves linearly to its target in a fixed number of samples. Advanced once per sample, so that blocks don't matter.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ramp {
    current: f32,
    target: f32,
    step: f32,
    left: u32,
    length: u32,
}

impl Ramp {
    /// A ramp at rest at 0 that takes `length` samples to any target.
    pub(super) fn new(length: u32) -> Self {
        Self {
            current: 0.0,
            target: 0.0,
            step: 0.0,
            left: 0,
            length: length.max(1),
        }
    }

    /// Goes to `target` at once.
    pub(super) fn snap(&mut self, target: f32) {
        self.current = target;
        self.target = target;
        self.left = 0;
    }

    /// Sets out for `target`. Nothing happens when it is under way there.
    pub(super) fn aim(&mut self, target: f32) {
        if target != self.target {
            self.target = target;
            self.left = self.length;
            self.step = (target - self.current) / self.length as f32;
        }
    }

    /// The value of the next sample. Exactly the target once it has arrived.
    pub(super) fn advance(&mut self) -> f32 {
        if self.left > 0 {
            self.left -= 1;
            self.current = if self.left == 0 { self.target } else { self.current + self.step };
        }
        self.current
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
        let mut line = DelayLine::<1>::new(5);
        line.restart([9.0]);
        for position in 0..40u64 {
            line.write(position, [position as f32]);
            let expected = if position < 5 { 9.0 } else { position as f32 - 5.0 };
            assert_eq!(line.read(position, 5), [expected], "position {position}");
            assert_eq!(line.read(position, 0), [position as f32]);
        }
    }

    #[test]
    fn ramp_arrives_exactly_and_after_its_length() {
        let mut ramp = Ramp::new(7);
        ramp.snap(0.3);
        ramp.aim(1.0);
        let values: Vec<f32> = (0..7)
            .map(|_| {
                ramp.aim(1.0);
                ramp.advance()
            })
            .collect();
        assert!(values.windows(2).all(|pair| pair[1] > pair[0]));
        assert!(values[5] < 1.0);
        assert_eq!(values[6], 1.0);
        assert_eq!(ramp.advance(), 1.0);
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
