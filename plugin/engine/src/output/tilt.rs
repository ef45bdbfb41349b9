//! The tilt equaliser: treble up as far as bass goes down, about a pivot that stays where it is.
//!
//! One pole and one zero, `H(s) = (g s + 1) / (s + g)` with `s` in units of the pivot: `1 / g` at the bottom, 1 at the pivot, `g` at the top, minimum phase.
//! At `g = 1` it is the wire for whatever state, so that it needs no cross-fade.

use super::svf::warp;
use super::{Frame, RAMP_S, flushed, ramp};
use crate::ramp::Ramp;

/// Where the gain stays 0 dB, in Hz: about the middle of the octaves of music.
pub const PIVOT_HZ: f64 = 1_000.0;

/// Turns the balance of bass and treble.
#[derive(Debug)]
pub(super) struct Tilt {
    /// The pivot as the trapezoidal rule sees it.
    pivot: f64,
    /// `g`, linear; 1 is off.
    gain: Ramp,
    low: Frame,
}

impl Tilt {
    pub(super) fn new(sample_rate_hz: f64) -> Self {
        let mut gain = ramp(sample_rate_hz, RAMP_S);
        gain.snap(1.0);
        Self {
            pivot: warp(PIVOT_HZ, sample_rate_hz),
            gain,
            low: [0.0; 2],
        }
    }

    /// Sets out for a tilt in dB: the gain at the highest frequencies, and the loss at the lowest. At once if `now`.
    pub(super) fn aim(&mut self, tilt_db: f32, now: bool) {
        if now || !self.is_on() {
            self.low = [0.0; 2];
        }
        let gain = 10.0f32.powf(tilt_db / 20.0);
        if now {
            self.gain.snap(gain);
        } else {
            self.gain.aim(gain);
        }
        self.low = self.low.map(flushed);
    }

    /// Whether anything is done to the signal.
    pub(super) fn is_on(&self) -> bool {
        !self.gain.rests_at(1.0)
    }

    pub(super) fn process(&mut self, frame: Frame) -> Frame {
        if !self.is_on() {
            return frame;
        }
        let gain = f64::from(self.gain.advance());
        let pole = self.pivot * gain;
        let share = pole / (1.0 + pole);
        let mut out = frame;
        for ((out, state), input) in out.iter_mut().zip(&mut self.low).zip(frame) {
            let step = share * (input - *state);
            let low = *state + step;
            *state = low + step;
            *out = low / gain + gain * (input - low);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::super::measure::{gain_db, jump, sine};
    use super::*;

    #[test]
    fn response_is_the_analogue_one_at_warped_frequencies() {
        for sample_rate_hz in [8_000.0, 48_000.0, 384_000.0] {
            for tilt_db in [-6.0f32, -2.0, 1.0, 6.0] {
                for frequency_hz in [20.0, 300.0, 1_000.0, 2_500.0, 3_500.0] {
                    let g = 10.0f64.powf(f64::from(tilt_db) / 20.0);
                    let s = warp(frequency_hz, sample_rate_hz) / warp(PIVOT_HZ, sample_rate_hz);
                    let expected_db = 10.0 * ((1.0 + (g * s).powi(2)) / (s * s + g * g)).log10();
                    let mut tilt = Tilt::new(sample_rate_hz);
                    tilt.aim(tilt_db, true);
                    let found_db = gain_db(sample_rate_hz, frequency_hz, |frame| tilt.process(frame));
                    assert!(
                        (found_db - expected_db).abs() < 0.01,
                        "{tilt_db} dB at {sample_rate_hz} Hz: {found_db:.3} dB at {frequency_hz} Hz, expected {expected_db:.3} dB"
                    );
                }
            }
        }
    }

    #[test]
    fn bass_falls_as_far_as_treble_rises() {
        for (frequency_hz, expected_db) in [(15.0, -6.0), (1_000.0, 0.0), (23_900.0, 6.0)] {
            let mut tilt = Tilt::new(48_000.0);
            tilt.aim(6.0, true);
            let found_db = gain_db(48_000.0, frequency_hz, |frame| tilt.process(frame));
            assert!((found_db - expected_db).abs() < 0.01, "{found_db:.3} dB at {frequency_hz} Hz");
        }
    }

    #[test]
    fn moving_makes_no_clicks_and_zero_is_the_signal_itself() {
        let tone = sine(48_000.0, 200.0, 30_000);
        let mut tilt = Tilt::new(48_000.0);
        let heard: Vec<f64> = tone
            .iter()
            .enumerate()
            .map(|(n, x)| {
                if n % 10_000 == 0 {
                    tilt.aim([6.0, -6.0, 0.0][n / 10_000], n == 0);
                }
                tilt.process([*x; 2])[0]
            })
            .collect();
        assert!(jump(&heard) < 2.2 * jump(&tone), "{} after {}", jump(&heard), jump(&tone));
        assert!(!tilt.is_on());
        assert_eq!(heard[20_000 + 4_800..], tone[20_000 + 4_800..]);
    }
}
