//! Running floor of each bin: what the noise is taken to be.

use crate::spec::Spec;

/// Follows the quietest that each bin of a channel was in the last seconds: the power mean with exponent -2 of its compressed magnitudes, in which a frame's
/// weight falls with its age. The smallest values decide what a mean of negative exponent is.
///
/// See ARCHITECTURE.md, "Floor".
#[derive(Clone, Debug)]
pub(crate) struct Floor {
    keep: f32,
    /// Weighted sum of `magnitude^-2`, per bin.
    sums: Vec<f32>,
    /// Sum of the weights; 0 before the first frame.
    weight: f32,
}

impl Floor {
    /// At the start of a stream of the spec's `bins`.
    pub(crate) fn new(spec: &Spec) -> Self {
        Self {
            keep: spec.floor_keep,
            sums: vec![0.0; spec.bins],
            weight: 0.0,
        }
    }

    /// Takes the compressed magnitudes of the next frame, more than 0 each, and writes the floor of the same bins, this frame included. One that isn't
    /// `heard`, digital silence, doesn't count: it would outweigh minutes of noise. Before any counts, a frame is its own floor.
    ///
    /// Both slices may end before the spec's `bins`, at the same bin in each call.
    #[inline(always)]
    pub(crate) fn advance(&mut self, magnitude: &[f32], heard: bool, floor: &mut [f32]) {
        if !heard && self.weight == 0.0 {
            floor.copy_from_slice(magnitude);
            return;
        }
        let counts = if heard { 1.0 } else { 0.0 };
        self.weight = self.keep * self.weight + counts;
        for ((sum, magnitude), floor) in self.sums.iter_mut().zip(magnitude).zip(floor) {
            *sum = self.keep * *sum + counts / (magnitude * magnitude);
            *floor = (self.weight / *sum).sqrt();
        }
    }

    /// Back to the start of a stream.
    pub(crate) fn reset(&mut self) {
        self.sums.fill(0.0);
        self.weight = 0.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::tests::small;

    /// The floor of one bin after each of the magnitudes.
    fn floors(floor: &mut Floor, magnitudes: &[f32]) -> Vec<f32> {
        let mut out = [0.0];
        let follow = magnitudes.iter().map(|magnitude| {
            floor.advance(&[*magnitude], true, &mut out);
            out[0]
        });
        follow.collect()
    }

    #[test]
    fn is_the_power_mean_of_the_formula() {
        let spec = small();
        let keep = f64::from(spec.floor_keep);
        let magnitudes = [0.5, 0.02, 0.7, 0.001, 1.5, 0.3];
        let got = floors(&mut Floor::new(&spec), &magnitudes);
        for (k, got) in got.into_iter().enumerate() {
            let past = magnitudes[..=k].iter().rev().zip(0..);
            let (sum, weight) = past.fold((0.0, 0.0), |(sum, weight), (magnitude, age)| {
                let kept = keep.powi(age);
                (sum + kept * f64::from(*magnitude).powi(-2), weight + kept)
            });
            let want = (sum / weight).powf(-0.5);
            assert!((f64::from(got) / want - 1.0).abs() < 1e-6, "frame {k}: {got} for {want}");
        }
    }

    #[test]
    fn digital_silence_says_nothing_about_the_noise() {
        let mut floor = Floor::new(&small());
        let mut out = [0.0];
        floor.advance(&[0.002], false, &mut out);
        assert_eq!(out, [0.002], "before anything was heard, a frame is its own floor");
        let before = floors(&mut floor, &[0.1; 50])[49];
        for _ in 0..40 {
            floor.advance(&[0.002], false, &mut out);
            assert!((out[0] - before).abs() < 1e-6, "{out:?}");
        }
        let after = floors(&mut floor, &[0.1])[0];
        assert!((after - 0.1).abs() < 1e-6, "{after}");
    }

    #[test]
    fn stays_near_the_quietest_and_forgets_it_after_seconds() {
        let spec = small();
        let mut floor = Floor::new(&spec);
        let first = floors(&mut floor, &[0.1])[0];
        assert!((first - 0.1).abs() < 1e-6, "the first frame is its own floor: {first}");
        // A quarter of the frames is noise at 0.1, the rest music a hundred times as loud.
        let mixed: Vec<f32> = (0..600).map(|k| if k % 4 == 0 { 0.1 } else { 10.0 }).collect();
        let last = floors(&mut floor, &mixed)[599];
        assert!((0.1..0.25).contains(&last), "{last}");
        let loud = floors(&mut floor, &[10.0; 3000])[2999];
        assert!((loud - 10.0).abs() < 0.1, "{loud}");
        floor.reset();
        assert_eq!(floors(&mut floor, &[0.1])[0], first);
    }
}
