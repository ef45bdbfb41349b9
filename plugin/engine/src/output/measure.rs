//! What the tests of the filters share.

use super::{Frame, samples};
use std::f64::consts::TAU;

/// A sine of amplitude 1.
pub(super) fn sine(sample_rate_hz: f64, frequency_hz: f64, length: usize) -> Vec<f64> {
    (0..length)
        .map(|n| (TAU * frequency_hz * n as f64 / sample_rate_hz).sin())
        .collect()
}

/// Level of a signal in dB; a full-scale sine is 0 dB.
pub(super) fn level_db(signal: &[f64]) -> f64 {
    10.0 * (2.0 * signal.iter().map(|x| x * x).sum::<f64>() / signal.len() as f64 + 1e-30).log10()
}

/// Largest step from one sample to the next.
pub(super) fn jump(signal: &[f64]) -> f64 {
    signal.windows(2).map(|pair| (pair[1] - pair[0]).abs()).fold(0.0, f64::max)
}

/// Gain of a filter at one frequency in dB, once it has settled: the part of the output that is that sine. Both channels must be filtered alike.
pub(super) fn gain_db(sample_rate_hz: f64, frequency_hz: f64, mut filter: impl FnMut(Frame) -> Frame) -> f64 {
    // The narrowest filters settle with a time constant of 1 / (2 pi) seconds.
    let settle = samples(sample_rate_hz, 2.5) as usize;
    let count = samples(sample_rate_hz, (0.5 * frequency_hz).ceil().max(5.0) / frequency_hz) as usize;
    let (mut re, mut im, mut re_in, mut im_in) = (0.0, 0.0, 0.0, 0.0);
    for n in 0..settle + count {
        let (sin, cos) = (TAU * frequency_hz * n as f64 / sample_rate_hz).sin_cos();
        let [left, right] = filter([sin, sin]);
        assert!((left - right).abs() < 1e-9);
        if n >= settle {
            re += left * sin;
            im += left * cos;
            re_in += sin * sin;
            im_in += sin * cos;
        }
    }
    10.0 * ((re * re + im * im + 1e-30) / (re_in * re_in + im_in * im_in)).log10()
}
