//! The hum notch: takes the mains line and its harmonics out, at a given frequency or where it finds them.

mod line;
mod notches;

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

    /// Takes the frame as it was before the low-cut to listen to, and the one to filter.
    pub(super) fn process(&mut self, heard: Frame, frame: Frame) -> Frame {
        if self.listening {
            self.finder.push(heard);
        }
        self.notches.process(frame)
    }
}
