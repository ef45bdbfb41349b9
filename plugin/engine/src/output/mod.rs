//! The output section: what a mastering engineer does after the restoration, on the restored signal, before it is mixed with the dry one.
//!
//! ```text
//! restored -> low-cut -> hum notch -> tilt -> compressor -> dry/wet mix
//! ```
//!
//! Off by default; what is off leaves every bit as it is. No part looks ahead, so that nothing adds to the latency, and all are of minimum phase, so that
//! the dry signal stays aligned with what they give, but for the low-cut near its cut-off: there it turns the phase by half a turn, and a mix with the
//! dry signal has a hole. States are of double precision, any rate from 8 to 384 kHz is exact, and every change
//! glides or fades within 20 ms.
//!
//! - Architecture invariant: works on the audio thread: allocates, locks and waits for nothing.
//! - Architecture invariant: counts its own samples; what is heard doesn't depend on blocks.

mod compressor;
mod hum;
mod low_cut;
mod svf;
mod tilt;

#[cfg(test)]
mod measure;
#[cfg(test)]
mod tests;

pub use compressor::{KNEE_DB, REFERENCE_DB, SLOPE, THRESHOLD_DB, static_gain_db};
pub use tilt::PIVOT_HZ;

use crate::ramp::Ramp;
use compressor::Compressor;
use hum::HumFilter;
use low_cut::LowCut;
use std::ops::RangeInclusive;
use tilt::Tilt;

/// Cut-offs that the low-cut takes, in Hz.
pub const CUT_HZ: RangeInclusive<f32> = 10.0..=300.0;
/// Largest tilt to either side, in dB.
pub const MOST_TILT_DB: f32 = 6.0;
/// Time a change takes.
const RAMP_S: f64 = 0.020;
/// Time between two looks at the settings, in seconds: 32 samples at 48 kHz.
const TICK_S: f64 = 1.0 / 1_500.0;
/// Input beyond this magnitude is clamped (+60 dBFS), as the restoration clamps its own: narrow filters would ring of it for seconds.
const CLAMP: f64 = 1_000.0;

/// One sample of both channels. A mono stream leaves the second one at zero.
type Frame = [f64; 2];

/// Which mains line the hum notch takes out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Hum {
    /// None.
    #[default]
    Off,
    /// 50 Hz and its harmonics.
    Mains50,
    /// 60 Hz and its harmonics.
    Mains60,
    /// Whatever line within 1.5 % of either is found in what was recorded, followed as it drifts. Takes three seconds to be sure of one.
    Auto,
}

/// What is asked of the output section.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct OutputSettings {
    /// Cut-off of the low-cut in Hz, within [`CUT_HZ`]; `None` is off.
    pub low_cut_hz: Option<f32>,
    /// The hum notch.
    pub hum: Hum,
    /// Gain of the highest frequencies and loss of the lowest, in dB, within [`MOST_TILT_DB`]; 0 is off.
    pub tilt_db: f32,
    /// Amount of compression, 0..=1; 0 is off.
    pub compression: f32,
}

/// The output section of one instance.
#[derive(Debug)]
pub struct OutputSection {
    low_cut: LowCut,
    hum: HumFilter,
    tilt: Tilt,
    compressor: Compressor,
    /// Samples between two looks at the settings.
    tick: u32,
    until_tick: u32,
    /// No sample of the stream has come yet.
    fresh: bool,
    /// What was asked for when it last looked.
    asked: OutputSettings,
    /// Whether anything is on or fading.
    on: bool,
}

impl OutputSection {
    /// A section at the start of a stream. Allocates; everything after doesn't.
    #[must_use]
    pub fn new(sample_rate_hz: f64) -> Self {
        let tick = samples(sample_rate_hz, TICK_S);
        Self {
            low_cut: LowCut::new(sample_rate_hz),
            hum: HumFilter::new(sample_rate_hz),
            tilt: Tilt::new(sample_rate_hz),
            compressor: Compressor::new(sample_rate_hz, tick),
            tick,
            until_tick: 0,
            fresh: true,
            asked: OutputSettings::default(),
            on: false,
        }
    }

    /// Back to the start of a stream, whose first settings are in force at once.
    pub fn reset(&mut self) {
        self.hum.reset();
        self.compressor.reset();
        self.until_tick = 0;
        self.fresh = true;
    }

    /// Fundamental of the hum that is taken out, in Hz; `None` if none is.
    #[must_use]
    pub fn hum_hz(&self) -> Option<f64> {
        self.hum.frequency_hz()
    }

    /// What the compressor does to the level now, in dB, make-up included.
    #[must_use]
    pub fn compressor_db(&self) -> f64 {
        self.compressor.gain_db()
    }

    /// One sample of each channel: `frame` is restored, `heard` is what it was restored from, in which hum is listened for: there it is as steady as it is.
    /// The same bits come back where everything is off.
    ///
    /// # Real-time
    /// No allocation, lock or system call.
    pub fn process(&mut self, frame: [f32; 2], heard: [f32; 2], settings: &OutputSettings) -> [f32; 2] {
        if self.until_tick == 0 {
            self.turn(settings);
        }
        self.until_tick -= 1;
        if !self.on {
            return frame;
        }
        let input = frame.map(|sample| f64::from(sample).clamp(-CLAMP, CLAMP));
        let cut = self.low_cut.process(input);
        let heard = heard.map(|sample| {
            if sample.is_finite() {
                f64::from(sample).clamp(-CLAMP, CLAMP)
            } else {
                0.0
            }
        });
        let clean = self.hum.process(heard, cut);
        let tilted = self.tilt.process(clean);
        let out = self.compressor.process(tilted);
        if out.iter().all(|sample| sample.is_finite()) {
            #[expect(clippy::cast_possible_truncation, reason = "back to the host's precision")]
            let out = out.map(|sample| sample as f32);
            return out;
        }
        // Not a number must not stay in a state for ever.
        self.reset();
        frame.map(|sample| if sample.is_finite() { sample } else { 0.0 })
    }

    /// The same as [`OutputSection::process`] of `count` samples while everything is off. Returns how many of them it took: fewer than `count` if something
    /// is on, the next sample's too.
    ///
    /// # Real-time
    /// No allocation, lock or system call.
    pub fn pass(&mut self, count: usize, settings: &OutputSettings) -> usize {
        let mut left = count;
        while left > 0 {
            if self.until_tick == 0 {
                self.turn(settings);
            }
            if self.on {
                break;
            }
            let now = left.min(self.until_tick as usize);
            #[expect(clippy::cast_possible_truncation, reason = "at most a tick")]
            let taken = now as u32;
            self.until_tick -= taken;
            left -= now;
        }
        count - left
    }

    /// Looks at the settings.
    fn turn(&mut self, settings: &OutputSettings) {
        self.until_tick = self.tick;
        // What is off and is to stay off has nothing to do; each part starts anew when it is switched on.
        if !self.on && !self.fresh && *settings == self.asked {
            return;
        }
        self.asked = *settings;
        let now = std::mem::take(&mut self.fresh);
        self.low_cut
            .aim(settings.low_cut_hz.map(|hz| hz.clamp(*CUT_HZ.start(), *CUT_HZ.end())), now);
        self.hum.turn(settings.hum, now);
        self.tilt.aim(settings.tilt_db.clamp(-MOST_TILT_DB, MOST_TILT_DB), now);
        self.compressor.turn(settings.compression, now);
        self.on = self.low_cut.is_on() || self.hum.is_on() || self.tilt.is_on() || self.compressor.is_on();
    }
}

/// A ramp of a duration.
fn ramp(sample_rate_hz: f64, seconds: f64) -> Ramp {
    Ramp::new(samples(sample_rate_hz, seconds))
}

/// A duration in samples, at least one.
fn samples(sample_rate_hz: f64, seconds: f64) -> u32 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "some milliseconds at a rate of at most 10 MHz"
    )]
    let samples = (sample_rate_hz * seconds).round().max(1.0) as u32;
    samples
}

/// A state that has faded to nothing is nothing: long before it could become subnormal, which is slow.
fn flushed(state: f64) -> f64 {
    if state.abs() < 1e-30 { 0.0 } else { state }
}
