//! A gentle compressor with automatic make-up.
//!
//! Feed-forward, in decibels, with a soft knee (D. Giannoulis, M. Massberg, J. Reiss, "Digital dynamic range compressor design", J. Audio Eng. Soc. 60,
//! 2012: equation 4 for the knee, the "smooth branching" smoother of equation 16). One knob: the amount sets the ratio, from 1:1 to 2:1, and the make-up
//! with it, so that what lies at the reference level keeps it. Both channels get the gain that the louder one asks for: the image stays.

use super::{Frame, flushed};

/// Level at which compression begins, in dB.
pub const THRESHOLD_DB: f64 = -30.0;
/// Width of the soft knee about the threshold, in dB.
pub const KNEE_DB: f64 = 12.0;
/// The slope taken away at full amount: `1 - 1 / ratio` with a ratio of 2:1.
pub const SLOPE: f64 = 0.5;
/// Level that keeps its level, in dB: the alignment level of EBU R 68.
pub const REFERENCE_DB: f64 = -18.0;
/// Time constant of the running power.
const POWER_S: f64 = 0.005;
/// Time constant with which the gain falls.
const ATTACK_S: f64 = 0.010;
/// Time constant with which it rises.
const RELEASE_S: f64 = 0.200;
/// A gain nearer to 0 dB than this is 0 dB when the compressor is off.
const NOTHING_DB: f64 = 1e-3;

/// What the compressor does to a steady level, in dB, make-up included. `amount`: 0..=1; levels in dB, a full-scale sine is 0 dB (AES17).
#[must_use]
pub fn static_gain_db(level_db: f64, amount: f64) -> f64 {
    let reduction_db = |level_db: f64| {
        let over_db = level_db - THRESHOLD_DB;
        if 2.0 * over_db <= -KNEE_DB {
            0.0
        } else if 2.0 * over_db < KNEE_DB {
            (over_db + KNEE_DB / 2.0).powi(2) / (2.0 * KNEE_DB)
        } else {
            over_db
        }
    };
    amount * SLOPE * (reduction_db(REFERENCE_DB) - reduction_db(level_db))
}

/// Evens out levels.
#[derive(Debug)]
pub(super) struct Compressor {
    /// 0..=1; 0 is off.
    amount: f64,
    /// Running power per channel.
    power: Frame,
    newest: f64,
    gain_db: f64,
    /// Coefficients per tick.
    attack: f64,
    release: f64,
    /// Linear gain, and what it moves by with each sample until the next tick.
    gain: f64,
    step: f64,
    tick: f64,
}

impl Compressor {
    /// `tick`: samples between two calls of [`Compressor::turn`].
    pub(super) fn new(sample_rate_hz: f64, tick: f64) -> Self {
        let per = |seconds: f64, samples: f64| -(-samples / (seconds * sample_rate_hz)).exp_m1();
        Self {
            amount: 0.0,
            power: [0.0; 2],
            newest: per(POWER_S, 1.0),
            gain_db: 0.0,
            attack: per(ATTACK_S, tick),
            release: per(RELEASE_S, tick),
            gain: 1.0,
            step: 0.0,
            tick,
        }
    }

    /// Back to silence and no gain.
    pub(super) fn reset(&mut self) {
        self.power = [0.0; 2];
        (self.gain_db, self.gain, self.step) = (0.0, 1.0, 0.0);
    }

    /// Once per tick: sets the amount, 0..=1, and where the gain goes until the next.
    pub(super) fn turn(&mut self, amount: f32) {
        if !self.is_on() {
            self.power = [0.0; 2];
        }
        self.amount = f64::from(amount.clamp(0.0, 1.0));
        self.power = self.power.map(flushed);
        // A sine's power is half its squared peak. The floor keeps silence finite.
        let level_db = 10.0 * (2.0 * self.power[0].max(self.power[1]) + 1e-15).log10();
        let wanted_db = static_gain_db(level_db, self.amount);
        let share = if wanted_db < self.gain_db { self.attack } else { self.release };
        self.gain_db += share * (wanted_db - self.gain_db);
        if self.amount == 0.0 && self.gain_db.abs() < NOTHING_DB {
            self.gain_db = 0.0;
        }
        let aim = 10.0f64.powf(self.gain_db / 20.0);
        if self.gain_db == 0.0 && (self.gain - 1.0).abs() < 1e-9 {
            // Arrived, but for the rounding of the steps.
            (self.gain, self.step) = (1.0, 0.0);
        } else {
            self.step = (aim - self.gain) / self.tick;
        }
    }

    /// Whether anything is done to the signal.
    pub(super) fn is_on(&self) -> bool {
        self.amount > 0.0 || self.gain_db != 0.0 || self.gain != 1.0
    }

    /// The gain now, in dB.
    pub(super) fn gain_db(&self) -> f64 {
        self.gain_db
    }

    pub(super) fn process(&mut self, frame: Frame) -> Frame {
        if !self.is_on() {
            return frame;
        }
        for (power, sample) in self.power.iter_mut().zip(frame) {
            *power += self.newest * (sample * sample - *power);
        }
        self.gain += self.step;
        frame.map(|sample| self.gain * sample)
    }
}

#[cfg(test)]
mod tests {
    use super::super::measure::{jump, level_db, sine};
    use super::*;

    const RATE_HZ: f64 = 48_000.0;
    const TICK: usize = 32;

    fn run(compressor: &mut Compressor, tone: &[f64], amount: impl Fn(usize) -> f32) -> Vec<f64> {
        let turn = |(n, x): (usize, &f64)| {
            if n.is_multiple_of(TICK) {
                compressor.turn(amount(n));
            }
            compressor.process([*x, 0.5 * x])[0]
        };
        tone.iter().enumerate().map(turn).collect()
    }

    #[test]
    fn the_static_curve_is_the_stated_one() {
        // Ratio 2:1 well above the knee, 1:1 below it, the make-up of the reference level everywhere.
        let makeup_db = 6.0;
        for (level_db, expected_db) in [
            (0.0, makeup_db - 15.0),
            (-10.0, makeup_db - 10.0),
            (-18.0, 0.0),
            (-24.0, makeup_db - 3.0),
            (-30.0, makeup_db - 0.75),
            (-36.0, makeup_db),
            (-90.0, makeup_db),
        ] {
            assert!((static_gain_db(level_db, 1.0) - expected_db).abs() < 1e-12, "{level_db} dB");
            assert!((static_gain_db(level_db, 0.4) - 0.4 * expected_db).abs() < 1e-12, "{level_db} dB");
            assert_eq!(static_gain_db(level_db, 0.0), 0.0);
        }
    }

    #[test]
    fn steady_tones_get_the_static_gain() {
        for peak_db in [0.0, -12.0, -18.0, -27.0, -50.0] {
            for amount in [0.3f32, 1.0] {
                let scale = 10.0f64.powf(peak_db / 20.0);
                let tone: Vec<f64> = sine(RATE_HZ, 997.0, 96_000).iter().map(|x| scale * x).collect();
                let heard = run(&mut Compressor::new(RATE_HZ, TICK as f64), &tone, |_| amount);
                let found_db = level_db(&heard[72_000..]) - level_db(&tone[72_000..]);
                let expected_db = static_gain_db(peak_db, f64::from(amount));
                assert!(
                    (found_db - expected_db).abs() < 0.1,
                    "{peak_db} dB, {amount}: {found_db:.2}, expected {expected_db:.2}"
                );
            }
        }
    }

    #[test]
    fn the_louder_channel_decides_for_both() {
        let mut compressor = Compressor::new(RATE_HZ, TICK as f64);
        for (n, x) in sine(RATE_HZ, 500.0, 48_000).into_iter().enumerate() {
            if n % TICK == 0 {
                compressor.turn(1.0);
            }
            let [left, right] = compressor.process([x, 0.1 * x]);
            assert!((right - 0.1 * left).abs() < 1e-12);
        }
    }

    #[test]
    fn switching_makes_no_clicks_and_ends_at_the_signal_itself() {
        let tone = sine(RATE_HZ, 100.0, 240_000);
        let mut compressor = Compressor::new(RATE_HZ, TICK as f64);
        let heard = run(&mut compressor, &tone, |n| f32::from(u8::from((48_000..96_000).contains(&n))));
        assert_eq!(heard[..48_000], tone[..48_000]);
        assert!(jump(&heard) < 1.3 * jump(&tone), "{} after {}", jump(&heard), jump(&tone));
        assert!(!compressor.is_on(), "{compressor:?}");
        assert_eq!(heard[216_000..], tone[216_000..]);
    }
}
