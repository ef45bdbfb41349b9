//! What the controls make of the networks' word, bin by bin. ARCHITECTURE.md, "What the controls do".

use crate::Controls;
use realfft::num_complex::Complex32;

/// Energies of one frame, summed over bins and channels, for the meters.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Energies {
    /// Of the input.
    dry: f64,
    /// Of stage 1's output at the strength in force.
    reduced: f64,
    /// Of stage 2's change at the strength in force.
    change: f64,
}

/// Range of what the meters say, in dB.
const METER_DB: f32 = 120.0;

impl Energies {
    /// What stage 1 took away, 0..=120 dB.
    pub(super) fn removed_db(&self) -> f32 {
        ratio_db(self.dry, self.reduced).clamp(0.0, METER_DB)
    }

    /// Stage 2's change against stage 1's output, -120..=120 dB; `bent` is what of it was done to samples, as a ratio of energies.
    pub(super) fn restored_db(&self, bent: f64) -> f32 {
        let change = if self.change > 0.0 {
            self.change / self.reduced.max(1e-300)
        } else {
            0.0
        };
        ratio_db(change + bent, 1.0).clamp(-METER_DB, METER_DB)
    }
}

/// `10 log10(x / y)`; 0 / 0 is the least there is.
fn ratio_db(x: f64, y: f64) -> f32 {
    if x <= 0.0 {
        return -METER_DB;
    }
    #[expect(clippy::cast_possible_truncation, reason = "decibels for a meter")]
    let db = (10.0 * (x / y.max(1e-300)).log10()) as f32;
    db
}

/// Magnitude below which a bin is silent: -120 dBFS, as for the rest of the engine.
const SILENCE: f32 = 1e-6;

/// Full-strength output of both stages for one channel, over the network's bins.
#[derive(Clone, Copy, Debug)]
pub(super) struct Word<'a> {
    /// Stage 1's gain, 0..=1.
    pub(super) gain: &'a [f32],
    /// Stage 2's output.
    pub(super) restored: &'a [Complex32],
    /// Gain of the bins above those of the network.
    pub(super) above: f32,
}

/// Stage 1's gain at strength `strength` (interpolated in dB), no less than `limit`.
fn reduce(gain: f32, strength: f32, limit: f32) -> f32 {
    // 0 to the power of 0 is 1: no strength, no reduction. Full strength is the network's word to the bit.
    let gain = if strength >= 1.0 { gain } else { gain.powf(strength) };
    gain.max(limit)
}

/// Writes the output spectrum of one channel over its input `bins` (network bins first, then those above), and adds to `energies`.
///
/// Returns false if the networks said anything that is not a finite number: such bins keep their input.
pub(super) fn blend(bins: &mut [Complex32], word: &Word<'_>, controls: &Controls, energies: &mut Energies) -> bool {
    let limit = unit(controls.floor);
    let (stage1, stage2) = (unit(controls.stage1), unit(controls.stage2));
    let mut finite = true;
    let network = word.gain.len().min(bins.len());
    let (seen, above) = bins.split_at_mut(network);
    // Stage 2 adds to what is there. In silence there is nothing to restore, and what it adds would be a noise of its own.
    let silent = seen.iter().all(|bin| bin.norm_sqr() < SILENCE * SILENCE);
    let stage2 = if silent { 0.0 } else { stage2 };
    for ((bin, gain), restored) in seen.iter_mut().zip(word.gain).zip(word.restored) {
        let dry = *bin;
        let reduced = dry * reduce(*gain, stage1, limit);
        let change = (restored - dry * gain) * stage2;
        // Strength 0 means stage 2's word doesn't count, whatever it is.
        let mut wet = if stage2 > 0.0 { reduced + change } else { reduced };
        if !(wet.re.is_finite() && wet.im.is_finite() && wet.norm_sqr().is_finite()) {
            finite = false;
            continue;
        }
        energies.dry += f64::from(dry.norm_sqr());
        energies.reduced += f64::from(reduced.norm_sqr());
        if stage2 > 0.0 {
            energies.change += f64::from(change.norm_sqr());
        }
        let least = limit * dry.norm();
        let size = wet.norm();
        if size < least {
            // The smallest sizes can't carry a phase: the input's will do.
            wet = if size > least * 1e-6 { wet * (least / size) } else { dry * limit };
        }
        *bin = wet;
    }
    let gain = reduce(word.above, stage1, limit);
    if !gain.is_finite() {
        return false;
    }
    for bin in above {
        energies.dry += f64::from(bin.norm_sqr());
        *bin *= gain;
        energies.reduced += f64::from(bin.norm_sqr());
    }
    finite
}

/// A control's value where 0..=1 was promised; 0 for NaN.
pub(super) fn unit(value: f32) -> f32 {
    if value > 0.0 { value.min(1.0) } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn controls(stage1: f32, stage2: f32, floor: f32) -> Controls {
        Controls {
            stage1,
            stage2,
            floor,
            ..Controls::default()
        }
    }

    /// One network bin and one above it.
    fn one(gain: f32, restored: Complex32, controls: &Controls) -> ([Complex32; 2], Energies, bool) {
        let mut bins = [Complex32::new(0.6, -0.8), Complex32::new(0.0, 1.0)];
        let word = Word {
            gain: &[gain],
            restored: &[restored],
            above: gain,
        };
        let mut energies = Energies::default();
        let finite = blend(&mut bins, &word, controls, &mut energies);
        (bins, energies, finite)
    }

    #[test]
    fn no_strength_is_the_input_to_the_bit() {
        for gain in [0.0, 1e-30, 0.3, 1.0] {
            for floor in [0.0, 0.5, 1.0] {
                let (bins, energies, _) = one(gain, Complex32::new(9.0, 9.0), &controls(0.0, 0.0, floor));
                assert_eq!(bins, [Complex32::new(0.6, -0.8), Complex32::new(0.0, 1.0)]);
                assert_eq!((energies.removed_db(), energies.restored_db(0.0)), (0.0, -120.0));
            }
        }
    }

    #[test]
    fn full_strength_is_the_networks_word() {
        let restored = Complex32::new(0.25, 0.125);
        let (bins, ..) = one(0.5, restored, &controls(1.0, 1.0, 0.0));
        assert!((bins[0] - restored).norm() < 1e-7);
        assert_eq!(bins[1], Complex32::new(0.0, 0.5));
    }

    #[test]
    fn strength_moves_in_decibels() {
        let (bins, energies, _) = one(0.01, Complex32::default(), &controls(0.5, 0.0, 0.0));
        assert!((bins[0].norm() - 0.1).abs() < 1e-6);
        assert!((energies.removed_db() - 20.0).abs() < 1e-3);
    }

    #[test]
    fn more_strength_never_removes_less() {
        for gain in [0.0, 0.2, 0.9, 1.0] {
            for floor in [0.0, 0.3] {
                let mut last = f32::INFINITY;
                for step in 0..=50 {
                    let (bins, ..) = one(gain, Complex32::default(), &controls(step as f32 / 50.0, 0.0, floor));
                    assert!(bins[0].norm() <= last + 1e-6);
                    last = bins[0].norm();
                }
            }
        }
    }

    #[test]
    fn limit_holds_whatever_the_networks_say() {
        for (gain, restored) in [
            (0.0, Complex32::default()),
            (0.01, Complex32::new(-1e-3, 0.0)),
            (1.0, Complex32::new(1e-12, 1e-12)),
        ] {
            for (stage1, stage2) in [(1.0, 1.0), (1.0, 0.0), (0.3, 0.9), (0.0, 1.0)] {
                let (bins, ..) = one(gain, restored, &controls(stage1, stage2, 0.25));
                assert!(bins[0].norm() > 0.25 * (1.0 - 1e-5) && bins[1].norm() > 0.25 * (1.0 - 1e-5));
                assert!(bins[0].norm().is_finite());
            }
        }
    }

    #[test]
    fn garbage_keeps_the_input() {
        for garbage in [f32::NAN, f32::INFINITY, 1e30] {
            let (bins, energies, finite) = one(0.5, Complex32::new(garbage, 0.0), &controls(1.0, 1.0, 0.0));
            assert!(!finite && bins[0] == Complex32::new(0.6, -0.8));
            assert!(energies.removed_db().is_finite());
        }
        let (bins, _, finite) = one(f32::NAN, Complex32::default(), &controls(0.5, 0.5, 0.0));
        assert!(!finite || bins.iter().all(|b| b.re.is_finite()));
    }

    #[test]
    fn odd_controls_are_read_as_their_nearest_value() {
        let (bins, ..) = one(0.5, Complex32::default(), &controls(f32::NAN, -3.0, f32::NAN));
        assert_eq!(bins[0], Complex32::new(0.6, -0.8));
    }
}
