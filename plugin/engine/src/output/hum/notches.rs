//! A row of notches: one at the mains frequency, one at each of its harmonics.
//!
//! The transfer function is that of notches in series (R. Bristow-Johnson, "Audio EQ cookbook", notch). It is computed as the sum of its partial fractions,
//! each a complex one-pole: they don't wait for each other, and a complex one-pole keeps its energy when it is retuned (M. Mathews, J. O. Smith, "Methods for
//! synthesizing very high Q parametrically well behaved two pole filters", SMAC 2003), so that a line that drifts can be followed.

use super::super::{Frame, RAMP_S, flushed, ramp};
use crate::ramp::Ramp;
use realfft::num_complex::Complex64;
use std::f64::consts::TAU;

/// Harmonics at most, the fundamental included: up to 800 Hz, or 960.
pub(super) const HARMONICS: usize = 16;
/// Width of the fundamental's notch at -3 dB, in Hz. That of harmonic `k` is `sqrt(k)` as wide: room for drift, which grows with `k`, without hollowing
/// out the music between the upper harmonics.
const WIDTH_HZ: f64 = 2.0;
/// Harmonics beyond this share of the sample rate are left out.
const HIGHEST: f64 = 0.45;

/// The notches and their state for both channels.
#[derive(Debug)]
pub(super) struct Notches {
    sample_rate_hz: f64,
    /// Share of the filtered signal: 0 is off.
    presence: Ramp,
    frequency_hz: f64,
    direct: f64,
    pole: Row,
    residue: Row,
    state: [Row; 2],
}

/// One complex number per harmonic, real and imaginary parts apart: the compiler makes vectors of them.
#[derive(Clone, Copy, Debug)]
struct Row {
    re: [f64; HARMONICS],
    im: [f64; HARMONICS],
}

impl Row {
    const ZERO: Self = Self {
        re: [0.0; HARMONICS],
        im: [0.0; HARMONICS],
    };
}

impl Notches {
    pub(super) fn new(sample_rate_hz: f64) -> Self {
        Self {
            sample_rate_hz,
            presence: ramp(sample_rate_hz, RAMP_S),
            frequency_hz: 0.0,
            direct: 1.0,
            pole: Row::ZERO,
            residue: Row::ZERO,
            state: [Row::ZERO; 2],
        }
    }

    /// Whether anything is done to the signal.
    pub(super) fn is_on(&self) -> bool {
        !self.presence.rests_at(0.0)
    }

    /// Fundamental in Hz.
    pub(super) fn frequency_hz(&self) -> f64 {
        self.frequency_hz
    }

    /// Sets out for on or off. At once if `now`.
    pub(super) fn fade(&mut self, on: bool, now: bool) {
        let presence = f32::from(u8::from(on));
        if now {
            self.presence.snap(presence);
        } else {
            self.presence.aim(presence);
        }
    }

    /// Tunes to a fundamental in Hz. What rings goes on at the new frequencies.
    pub(super) fn tune(&mut self, frequency_hz: f64) {
        self.frequency_hz = frequency_hz;
        // Zeros on the unit circle, poles just inside, both as the upper one of a conjugate pair; the scale of each notch is 1 / (1 + alpha).
        let mut zeros = [Complex64::ZERO; HARMONICS];
        let mut poles = [Complex64::ZERO; HARMONICS];
        let mut scale = 1.0;
        self.direct = 1.0;
        let mut count = 0;
        for harmonic in 1..=HARMONICS {
            let harmonic = harmonic as f64;
            let turns = harmonic * frequency_hz / self.sample_rate_hz;
            if turns > HIGHEST {
                break;
            }
            let (sin, cos) = (TAU * turns).sin_cos();
            let width_hz = WIDTH_HZ * harmonic.sqrt();
            let alpha = sin * width_hz / (2.0 * harmonic * frequency_hz);
            zeros[count] = Complex64::new(cos, sin);
            poles[count] = Complex64::new(cos, (sin * sin - alpha * alpha).max(0.0).sqrt()) / (1.0 + alpha);
            scale /= 1.0 + alpha;
            // What is left of numerator over denominator for z = 0.
            self.direct /= 1.0 - alpha;
            count += 1;
        }
        (self.pole, self.residue) = (Row::ZERO, Row::ZERO);
        for k in 0..count {
            let w = poles[k].inv();
            let mut residue = Complex64::from(scale);
            for j in 0..count {
                residue *= (1.0 - zeros[j] * w) * (1.0 - zeros[j].conj() * w) / (1.0 - poles[j].conj() * w);
                if j != k {
                    residue /= 1.0 - poles[j] * w;
                }
            }
            (self.pole.re[k], self.pole.im[k]) = (poles[k].re, poles[k].im);
            // Twice the real part stands for the conjugate pair.
            (self.residue.re[k], self.residue.im[k]) = (2.0 * residue.re, 2.0 * residue.im);
        }
    }

    /// Forgets what rings.
    pub(super) fn clear(&mut self) {
        self.state = [Row::ZERO; 2];
    }

    /// Lets what has faded away be zero.
    pub(super) fn flush(&mut self) {
        for row in &mut self.state {
            row.re = row.re.map(flushed);
            row.im = row.im.map(flushed);
        }
    }

    pub(super) fn process(&mut self, frame: Frame) -> Frame {
        if !self.is_on() {
            return frame;
        }
        let presence = f64::from(self.presence.advance());
        let mut out = frame;
        for ((out, state), input) in out.iter_mut().zip(&mut self.state).zip(frame) {
            let mut sum = [0.0; 4];
            for k in 0..HARMONICS {
                let (re, im) = (state.re[k], state.im[k]);
                let new_re = self.pole.re[k] * re - self.pole.im[k] * im + input;
                let new_im = self.pole.re[k] * im + self.pole.im[k] * re;
                (state.re[k], state.im[k]) = (new_re, new_im);
                sum[k % 4] += self.residue.re[k] * new_re - self.residue.im[k] * new_im;
            }
            let filtered = self.direct * input + (sum[0] + sum[1]) + (sum[2] + sum[3]);
            *out = input + presence * (filtered - input);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::measure::{gain_db, jump, sine};
    use super::*;

    fn notches(sample_rate_hz: f64, frequency_hz: f64) -> Notches {
        let mut notches = Notches::new(sample_rate_hz);
        notches.tune(frequency_hz);
        notches.fade(true, true);
        notches
    }

    /// The cookbook's notches one after the other, each in direct form 1.
    fn in_series(sample_rate_hz: f64, frequency_hz: f64, input: &[f64]) -> Vec<f64> {
        let mut signal = input.to_vec();
        for harmonic in 1..=HARMONICS {
            let centre_hz = harmonic as f64 * frequency_hz;
            let omega = TAU * centre_hz / sample_rate_hz;
            let q = centre_hz / (WIDTH_HZ * (harmonic as f64).sqrt());
            let alpha = omega.sin() / (2.0 * q);
            let [mut x1, mut x2, mut y1, mut y2] = [0.0; 4];
            for sample in &mut signal {
                let y = (*sample - 2.0 * omega.cos() * x1 + x2 + 2.0 * omega.cos() * y1 - (1.0 - alpha) * y2) / (1.0 + alpha);
                (x2, x1, y2, y1) = (x1, *sample, y1, y);
                *sample = y;
            }
        }
        signal
    }

    #[test]
    fn the_sum_is_the_series() {
        for sample_rate_hz in [8_000.0, 48_000.0, 384_000.0] {
            let mut noise = 1u32;
            let input: Vec<f64> = (0..100_000)
                .map(|_| {
                    noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    f64::from(noise) / f64::from(u32::MAX) - 0.5
                })
                .collect();
            let expected = in_series(sample_rate_hz, 50.0, &input);
            let mut notches = notches(sample_rate_hz, 50.0);
            let worst = input
                .iter()
                .zip(&expected)
                .map(|(x, y)| (notches.process([*x; 2])[1] - y).abs())
                .fold(0.0, f64::max);
            assert!(worst < 1e-6, "{sample_rate_hz} Hz: {worst}");
        }
    }

    #[test]
    fn lines_go_and_what_lies_between_stays() {
        for (sample_rate_hz, fundamental_hz) in [(8_000.0, 50.0), (44_100.0, 60.0), (192_000.0, 49.93)] {
            for harmonic in 1..=HARMONICS {
                let line_hz = harmonic as f64 * fundamental_hz;
                let mut bank = notches(sample_rate_hz, fundamental_hz);
                let depth_db = gain_db(sample_rate_hz, line_hz, |frame| bank.process(frame));
                assert!(depth_db < -60.0, "{line_hz} Hz at {sample_rate_hz} Hz: {depth_db:.1} dB");
                let mut bank = notches(sample_rate_hz, fundamental_hz);
                let between_db = gain_db(sample_rate_hz, line_hz + fundamental_hz / 2.0, |frame| bank.process(frame));
                assert!(between_db.abs() < 0.5, "{line_hz} + {fundamental_hz} / 2 Hz: {between_db:.2} dB");
            }
            let mut bank = notches(sample_rate_hz, fundamental_hz);
            let edge_db = gain_db(sample_rate_hz, fundamental_hz + WIDTH_HZ / 2.0, |frame| bank.process(frame));
            assert!((edge_db + 3.0).abs() < 0.2, "the notch's edge: {edge_db:.2} dB");
        }
    }

    #[test]
    fn harmonics_above_the_nyquist_frequency_are_left_out() {
        let mut bank = notches(1_000.0, 60.0);
        assert_eq!(bank.pole.re.iter().filter(|re| **re != 0.0).count(), 7);
        assert!((0..10_000).all(|n| bank.process([(f64::from(n)).sin(); 2])[0].abs() < 3.0));
    }

    #[test]
    fn following_a_drift_and_switching_make_no_clicks() {
        let tone = sine(48_000.0, 70.0, 96_000);
        let mut bank = Notches::new(48_000.0);
        bank.tune(50.0);
        let heard: Vec<f64> = tone
            .iter()
            .enumerate()
            .map(|(n, x)| {
                match n {
                    10_000 => bank.fade(true, false),
                    80_000 => bank.fade(false, false),
                    20_000..60_000 if n % 2_000 == 0 => bank.tune(50.0 + 0.02 * (n - 20_000) as f64 / 2_000.0),
                    _ => {}
                }
                bank.process([*x; 2])[0]
            })
            .collect();
        // Switched on in the middle of a tone, the notches hear it begin: they swing in, without a jump.
        assert!(jump(&heard) < 1.6 * jump(&tone), "{} after {}", jump(&heard), jump(&tone));
        assert!(
            jump(&heard[20_000..]) < 1.05 * jump(&tone),
            "{} after {}",
            jump(&heard[20_000..]),
            jump(&tone)
        );
        assert_eq!(heard[90_000..], tone[90_000..]);
    }
}
