//! Running level that normalises what the networks see.

use crate::spec::Spec;

/// Follows the mean compressed magnitude of a channel's spectra, rising faster than it falls.
///
/// The first value is taken over as it is; see ARCHITECTURE.md, "Level".
#[derive(Clone, Debug)]
pub struct Level {
    rise: f32,
    fall: f32,
    floor: f32,
    /// The recursion's value; none before the first frame.
    value: Option<f32>,
}

impl Level {
    /// At the start of a stream, with `spec`'s coefficients per hop.
    #[must_use]
    pub fn new(spec: &Spec) -> Self {
        Self {
            rise: spec.level_rise,
            fall: spec.level_fall,
            floor: spec.level_floor,
            value: None,
        }
    }

    /// Takes the mean compressed magnitude of the next frame and returns the level to divide by: never less than the spec's floor.
    ///
    /// A mean that is not finite is ignored.
    pub fn advance(&mut self, mean: f32) -> f32 {
        let value = match self.value {
            None if mean.is_finite() => mean,
            Some(value) if mean.is_finite() => value + if mean > value { self.rise } else { self.fall } * (mean - value),
            kept => kept.unwrap_or(0.0),
        };
        // The recursion would fall for ever: subnormal values are slow.
        let value = if value < 1e-20 { 0.0 } else { value };
        self.value = Some(value);
        value.max(self.floor)
    }

    /// Back to the start of a stream.
    pub fn reset(&mut self) {
        self.value = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::tests::studio;

    #[test]
    fn starts_at_the_first_value_then_rises_faster_than_it_falls() {
        let spec = studio();
        let mut level = Level::new(&spec);
        assert_eq!(level.advance(0.5), 0.5);
        let risen = level.advance(1.0);
        assert!((risen - (0.5 + 0.5 * spec.level_rise)).abs() < 1e-6);
        let fallen = level.advance(0.0);
        assert!((fallen - risen * (1.0 - spec.level_fall)).abs() < 1e-6);
        level.reset();
        assert_eq!(level.advance(0.25), 0.25);
    }

    #[test]
    fn has_a_floor_and_survives_anything() {
        let spec = studio();
        let mut level = Level::new(&spec);
        assert_eq!(level.advance(f32::NAN), spec.level_floor);
        for mean in [f32::INFINITY, f32::NAN, 0.0, f32::MIN_POSITIVE / 2.0] {
            let got = level.advance(mean);
            assert!(got.is_finite() && got >= spec.level_floor, "{got} after {mean}");
        }
        for _ in 0..100_000 {
            level.advance(0.0);
        }
        assert_eq!(level.value, Some(0.0));
        assert_eq!(level.advance(0.0), spec.level_floor);
    }
}
