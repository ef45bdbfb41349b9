//! A gentle compressor with automatic make-up.
//!
//! Feed-forward, in decibels, with a soft knee (D. Giannoulis, M. Massberg, J. Reiss, "Digital dynamic range compressor design", J. Audio Eng. Soc. 60,
//! 2012: equation 4 for the knee, the "smooth branching" smoother of equation 16). One knob: the amount sets the ratio, from 1:1 to 2:1, and the make-up
//! with it, so that what lies at the reference level keeps it. Both channels get the gain that the louder one asks for: the image stays.

use super::{Frame, RAMP_S, flushed, samples};

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
    /// 0..=1, on its way to what is asked for; 0 is off.
    amount: f64,
    asked: f64,
    /// What the amount moves by per tick.
    glide: f64,
    /// Running power per channel.
    power: Frame,
    newest: f64,
    /// Gain at full amount, in dB.
    full_db: f64,
    /// Coefficients per tick.
    attack: f64,
    release: f64,
    /// Ticks in which the gain rises as fast as it falls, since what came before isn't known.
    settling: u32,
    settle: u32,
    /// Linear gain, and what it moves by with each sample until the next tick.
    gain: f64,
    step: f64,
    tick: f64,
}

impl Compressor {
    /// `tick`: samples between two calls of [`Compressor::turn`].
    pub(super) fn new(sample_rate_hz: f64, tick: u32) -> Self {
        let tick_samples = f64::from(tick);
        let per = |seconds: f64, samples: f64| -(-samples / (seconds * sample_rate_hz)).exp_m1();
        let settle = samples(sample_rate_hz, RAMP_S).div_ceil(tick);
        Self {
            amount: 0.0,
            asked: 0.0,
            glide: 1.0 / f64::from(settle),
            power: [0.0; 2],
            newest: per(POWER_S, 1.0),
            full_db: 0.0,
            attack: per(ATTACK_S, tick_samples),
            release: per(RELEASE_S, tick_samples),
            settling: settle,
            settle,
            gain: 1.0,
            step: 0.0,
            tick: tick_samples,
        }
    }

    /// Back to silence and no gain.
    pub(super) fn reset(&mut self) {
        self.begin();
        (self.gain, self.step) = (1.0, 0.0);
    }

    /// Forgets levels.
    fn begin(&mut self) {
        self.power = [0.0; 2];
        self.full_db = 0.0;
        self.settling = self.settle;
    }

    /// Once per tick: sets the amount, 0..=1, to which it glides unless it is to be there `now`, and where the gain goes until the next.
    pub(super) fn turn(&mut self, amount: f32, now: bool) {
        if !self.is_on() {
            self.begin();
        }
        self.asked = f64::from(amount.clamp(0.0, 1.0));
        let way = self.asked - self.amount;
        self.amount = if now || way.abs() <= self.glide {
            self.asked
        } else {
            self.amount + self.glide.copysign(way)
        };
        self.power = self.power.map(flushed);
        // A sine's power is half its squared peak. The floor keeps silence finite.
        let level_db = 10.0 * (2.0 * self.power[0].max(self.power[1]) + 1e-15).log10();
        // The gain is proportional to the amount, which can so glide by itself: a change of it needn't wait for attack or release.
        let wanted_db = static_gain_db(level_db, 1.0);
        let falls = wanted_db < self.full_db;
        let share = if falls || self.settling > 0 { self.attack } else { self.release };
        self.settling = self.settling.saturating_sub(1);
        self.full_db += share * (wanted_db - self.full_db);
        if self.amount == 0.0 && (self.gain - 1.0).abs() < 1e-9 {
            // Arrived, but for the rounding of the steps.
            (self.gain, self.step) = (1.0, 0.0);
        } else {
            let aim = 10.0f64.powf(self.gain_db() / 20.0);
            self.step = (aim - self.gain) / self.tick;
        }
    }

    /// Whether anything is done to the signal.
    pub(super) fn is_on(&self) -> bool {
        self.asked > 0.0 || self.amount > 0.0 || self.gain != 1.0
    }

    /// The gain now, in dB.
    pub(super) fn gain_db(&self) -> f64 {
        self.amount * self.full_db
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
    const TICK: u32 = 32;

    fn run(compressor: &mut Compressor, tone: &[f64], amount: impl Fn(usize) -> f32) -> Vec<f64> {
        let turn = |(n, x): (usize, &f64)| {
            if n.is_multiple_of(TICK as usize) {
                compressor.turn(amount(n), n == 0);
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
                let heard = run(&mut Compressor::new(RATE_HZ, TICK), &tone, |_| amount);
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
        let mut compressor = Compressor::new(RATE_HZ, TICK);
        for (n, x) in sine(RATE_HZ, 500.0, 48_000).into_iter().enumerate() {
            if n % TICK as usize == 0 {
                compressor.turn(1.0, n == 0);
            }
            let [left, right] = compressor.process([x, 0.1 * x]);
            assert!((right - 0.1 * left).abs() < 1e-12);
        }
    }

    #[test]
    fn switching_makes_no_clicks_and_ends_at_the_signal_itself() {
        let tone = sine(RATE_HZ, 100.0, 240_000);
        let mut compressor = Compressor::new(RATE_HZ, TICK);
        let heard = run(&mut compressor, &tone, |n| f32::from(u8::from((48_000..96_000).contains(&n))));
        assert_eq!(heard[..48_000], tone[..48_000]);
        assert!(jump(&heard) < 1.3 * jump(&tone), "{} after {}", jump(&heard), jump(&tone));
        assert!(!compressor.is_on(), "{compressor:?}");
        assert_eq!(heard[98_000..], tone[98_000..]);
    }

    #[test]
    fn a_change_of_the_amount_takes_the_time_of_a_ramp() {
        // Loud enough to be turned down, and so quiet that it is turned up.
        for peak_db in [-6.0, -40.0] {
            let scale = 10.0f64.powf(peak_db / 20.0);
            let tone: Vec<f64> = sine(RATE_HZ, 1_000.0, 96_000).iter().map(|x| scale * x).collect();
            let gain_db = |heard: &[f64], from: usize| level_db(&heard[from..][..960]) - level_db(&tone[from..][..960]);
            let heard = run(&mut Compressor::new(RATE_HZ, TICK), &tone, |n| match n {
                0..24_000 => 0.0,
                24_000..48_000 => 1.0,
                48_000..72_000 => 0.5,
                _ => 0.0,
            });
            // 25 ms after each change; switched on, the level has to be measured first.
            for (from, amount, within_db) in [(25_200, 1.0, 1.0), (49_200, 0.5, 0.1), (73_200, 0.0, 1e-9)] {
                let (found_db, expected_db) = (gain_db(&heard, from), static_gain_db(peak_db, amount));
                assert!(
                    (found_db - expected_db).abs() < within_db,
                    "{peak_db} dB, {amount}: {found_db:.2}, expected {expected_db:.2}"
                );
            }
        }
    }
}
