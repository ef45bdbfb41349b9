//! The hum notch: takes the mains line and its harmonics out, at a given frequency or where it finds them.

mod line;
mod notches;
mod spectrum;

use super::{Frame, Hum};
use line::LineFinder;
use notches::Notches;

/// A frequency further away than this, in Hz, is not drift: the notches fade out, are tuned and fade in again.
const DRIFT_HZ: f64 = 0.5;

/// Takes away hum.
#[derive(Debug)]
pub(super) struct HumFilter {
    listening: bool,
    finder: LineFinder,
    notches: Notches,
}

impl HumFilter {
    pub(super) fn new(sample_rate_hz: f64) -> Self {
        Self {
            listening: false,
            finder: LineFinder::new(sample_rate_hz),
            notches: Notches::new(sample_rate_hz),
        }
    }

    /// Back to the start of a stream.
    pub(super) fn reset(&mut self) {
        self.finder.reset();
        self.notches.clear();
    }

    /// Once per tick: sets out for what is asked for. At once if `now`.
    pub(super) fn turn(&mut self, hum: Hum, now: bool) {
        let listens = hum == Hum::Auto;
        if listens && !self.listening {
            self.finder.reset();
        }
        self.listening = listens;
        let wanted_hz = match hum {
            Hum::Off => None,
            Hum::Mains50 => Some(50.0),
            Hum::Mains60 => Some(60.0),
            Hum::Auto => self.finder.line_hz(),
        };
        match wanted_hz {
            None => self.notches.fade(false, now),
            Some(wanted_hz) => {
                if now || !self.notches.is_on() {
                    self.notches.clear();
                    self.notches.tune(wanted_hz);
                    self.notches.fade(true, now);
                } else if (wanted_hz - self.notches.frequency_hz()).abs() > DRIFT_HZ {
                    self.notches.fade(false, false);
                } else {
                    if wanted_hz != self.notches.frequency_hz() {
                        self.notches.tune(wanted_hz);
                    }
                    self.notches.fade(true, false);
                }
            }
        }
        self.notches.flush();
        self.finder.flush();
    }

    /// Whether anything is done to the signal, or it is listened to.
    pub(super) fn is_on(&self) -> bool {
        self.listening || self.notches.is_on()
    }

    /// Fundamental of what is taken out, in Hz.
    pub(super) fn frequency_hz(&self) -> Option<f64> {
        self.notches.is_on().then(|| self.notches.frequency_hz())
    }

    /// Takes the frame to listen to, and the one to filter.
    pub(super) fn process(&mut self, heard: Frame, frame: Frame) -> Frame {
        if self.listening {
            self.finder.push(heard);
        }
        self.notches.process(frame)
    }
}

#[cfg(test)]
mod tests {
    use super::super::measure::level_db;
    use super::*;
    use std::f64::consts::TAU;

    const RATE_HZ: usize = 48_000;

    /// Mains hum as it is: more odd harmonics than even ones, falling.
    fn hum(fundamental_hz: f64, n: usize) -> f64 {
        let time = n as f64 / RATE_HZ as f64;
        (1..=10)
            .map(|k| {
                let harmonic = f64::from(k);
                let strength = if k % 2 == 1 { 0.01 } else { 0.004 } / harmonic;
                strength * (TAU * harmonic * fundamental_hz * time + harmonic).sin()
            })
            .sum()
    }

    /// A bass line in quarter notes of 0.6 s with a chord above, each note with eight harmonics and fading, over a little noise.
    fn music(n: usize, noise: &mut u32) -> f64 {
        const BASS_HZ: [f64; 8] = [65.406, 97.999, 55.0, 82.407, 73.416, 110.0, 48.999, 61.735];
        let time = n as f64 / RATE_HZ as f64;
        let since = time % 0.6;
        let bass_hz = BASS_HZ[n / (RATE_HZ * 3 / 5) % 8];
        let note = |hz: f64, loud: f64| -> f64 {
            (1..=8)
                .map(|k| loud / f64::from(k) * (-3.0 * since).exp() * (TAU * f64::from(k) * hz * since).sin())
                .sum()
        };
        *noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let hiss = 0.004 * (f64::from(*noise) / f64::from(u32::MAX) - 0.5);
        note(bass_hz, 0.1) + note(4.0 * bass_hz, 0.05) + note(5.0 * bass_hz, 0.05) + note(6.0 * bass_hz, 0.05) + hiss
    }

    /// Listens to music and hum for `seconds`, and filters the hum alone: when it was found first, in s, and what is left of it in the last second, in dB.
    fn listen(fundamental_hz: f64, seconds: usize, with_music: f64) -> (Option<f64>, f64) {
        let mut filter = HumFilter::new(RATE_HZ as f64);
        let (mut found, mut noise) = (None, 1);
        let (mut before, mut after) = (Vec::new(), Vec::new());
        for n in 0..seconds * RATE_HZ {
            if n.is_multiple_of(32) {
                filter.turn(Hum::Auto, n == 0);
            }
            let hum = hum(fundamental_hz, n);
            let heard = hum + with_music * music(n, &mut noise);
            let [left, _] = filter.process([heard; 2], [hum; 2]);
            found = found.or_else(|| filter.frequency_hz().map(|_| n as f64 / RATE_HZ as f64));
            before.push(hum);
            after.push(left);
        }
        let last = (seconds - 1) * RATE_HZ;
        (found, level_db(&after[last..]) - level_db(&before[last..]))
    }

    #[test]
    fn clear_hum_falls_by_thirty_decibels_within_four_seconds() {
        for fundamental_hz in [49.95, 60.1] {
            let (found, left_db) = listen(fundamental_hz, 5, 0.0);
            assert!(
                found.is_some_and(|found| found <= 3.0) && left_db < -30.0,
                "{fundamental_hz} Hz: {left_db:.1} dB are left, found after {found:?} s"
            );
        }
    }

    #[test]
    fn hum_under_music_falls_by_thirty_decibels() {
        // The bass is as loud as the hum's fundamental, or five times as loud.
        for with_music in [0.1, 0.5] {
            for fundamental_hz in [49.95, 60.1] {
                let (found, left_db) = listen(fundamental_hz, 10, with_music);
                assert!(
                    found.is_some_and(|found| found < 5.0) && left_db < -30.0,
                    "{fundamental_hz} Hz, music {with_music}: {left_db:.1} dB are left, found after {found:?} s"
                );
            }
        }
    }
}
