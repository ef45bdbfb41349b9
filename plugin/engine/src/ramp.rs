//! The ramp that smooths a value that jumps.

/// Moves linearly to its target in a fixed number of samples. Advanced once per sample, so that blocks don't matter.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ramp {
    current: f32,
    target: f32,
    step: f32,
    left: u32,
    length: u32,
}

impl Ramp {
    /// A ramp at rest at 0 that takes `length` samples to any target.
    pub(crate) fn new(length: u32) -> Self {
        Self {
            current: 0.0,
            target: 0.0,
            step: 0.0,
            left: 0,
            length: length.max(1),
        }
    }

    /// Goes to `target` at once.
    pub(crate) fn snap(&mut self, target: f32) {
        self.current = target;
        self.target = target;
        self.left = 0;
    }

    /// Sets out for `target`. Nothing happens when it is under way there.
    pub(crate) fn aim(&mut self, target: f32) {
        if target != self.target {
            self.target = target;
            self.left = self.length;
            self.step = (target - self.current) / self.length as f32;
        }
    }

    /// The value of the next sample. Exactly the target once it has arrived.
    pub(crate) fn advance(&mut self) -> f32 {
        if self.left > 0 {
            self.left -= 1;
            self.current = if self.left == 0 { self.target } else { self.current + self.step };
        }
        self.current
    }

    /// The value of the sample before.
    pub(crate) fn value(&self) -> f32 {
        self.current
    }

    /// Whether it is under way.
    pub(crate) fn moves(&self) -> bool {
        self.left > 0
    }

    /// Whether it has arrived at `value` and stays there.
    pub(crate) fn rests_at(&self, value: f32) -> bool {
        self.left == 0 && self.current == value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert!(ramp.rests_at(1.0) && !ramp.moves());
    }
}
