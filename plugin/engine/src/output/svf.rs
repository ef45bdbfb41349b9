//! A second-order filter whose cut-off may move while it runs.
//!
//! The trapezoidal state variable filter (A. Simper, "Solving the continuous SVF equations using trapezoidal integration and equivalent currents",
//! Cytomic 2013): its states are those of the analogue integrators, so that moving the cut-off makes no jump, which the direct forms of the biquad
//! crates can't promise.

use super::{Frame, flushed};
use std::f64::consts::PI;

/// Highest cut-off as a share of the sample rate; the trapezoidal rule reaches infinity at 0.5.
const HIGHEST: f64 = 0.45;

/// A frequency as the trapezoidal rule sees it: `tan(pi f / rate)`, with `f` kept below the Nyquist frequency.
pub(super) fn warp(frequency_hz: f64, sample_rate_hz: f64) -> f64 {
    (PI * (frequency_hz / sample_rate_hz).clamp(0.0, HIGHEST)).tan()
}

/// Damping `1 / Q` of the two sections of a Butterworth filter of fourth order: `2 cos(pi / 8)` and `2 cos(3 pi / 8)`.
pub(super) const BUTTERWORTH_4: [f64; 2] = [1.847_759_065_022_573_5, 0.765_366_864_730_179_6];

/// The filter's coefficients.
#[derive(Clone, Copy, Debug)]
pub(super) struct Coefficients {
    a1: f64,
    a2: f64,
    a3: f64,
    damping: f64,
}

impl Coefficients {
    /// `warped`: cut-off as [`warp`] gives it; `damping`: `1 / Q`.
    pub(super) fn new(warped: f64, damping: f64) -> Self {
        let a1 = 1.0 / (1.0 + warped * (warped + damping));
        let a2 = warped * a1;
        Self {
            a1,
            a2,
            a3: warped * a2,
            damping,
        }
    }
}

/// The state of one filter for both channels.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Svf {
    first: Frame,
    second: Frame,
}

impl Svf {
    /// Takes one frame. Returns the high-pass and the low-pass output.
    pub(super) fn process(&mut self, frame: Frame, c: &Coefficients) -> (Frame, Frame) {
        let (mut high, mut low) = ([0.0; 2], [0.0; 2]);
        for channel in 0..2 {
            let (first, second) = (self.first[channel], self.second[channel]);
            let rest = frame[channel] - second;
            let band = c.a1 * first + c.a2 * rest;
            low[channel] = second + c.a2 * first + c.a3 * rest;
            high[channel] = frame[channel] - c.damping * band - low[channel];
            self.first[channel] = 2.0 * band - first;
            self.second[channel] = 2.0 * low[channel] - second;
        }
        (high, low)
    }

    /// Lets a state that has faded away be zero.
    pub(super) fn flush(&mut self) {
        self.first = self.first.map(flushed);
        self.second = self.second.map(flushed);
    }
}
