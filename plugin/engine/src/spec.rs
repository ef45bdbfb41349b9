//! What a weights file says about its networks, and what that means in samples.

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Hops are a multiple of this fraction of a second: whole samples at 44.1, 48, 88.2, 96, 176.4 and 192 kHz.
pub const UNITS_PER_SECOND: f64 = 300.0;

/// Sample rates the engine restores at, in Hz. Outside, the plugin passes audio through.
pub const SAMPLE_RATES_HZ: std::ops::RangeInclusive<f64> = 8_000.0..=384_000.0;

/// Version of the weights file's layout that this engine reads.
pub const FORMAT: u32 = 5;

/// Geometry and widths, as the `spec` entry of a weights file's metadata declares them. Independent of the sample rate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spec {
    /// Layout version of the file, see [`FORMAT`].
    pub format: u32,
    /// Name of the weights, "studio" or "live" for those that ship.
    pub name: String,
    /// Version of the weights.
    pub version: String,
    /// Hop in units of 1/300 s.
    pub hop_units: usize,
    /// Analysis window in hops.
    pub analysis_hops: usize,
    /// Synthesis window in hops. The window's formula fixes it at 2.
    pub synthesis_hops: usize,
    /// Frames the networks see beyond the one they decide about.
    pub lookahead_hops: usize,
    /// Bins the networks see, from 0 Hz up.
    pub bins: usize,
    /// `[bands, bins per band]` from the bottom up.
    pub segments: Vec<[usize; 2]>,
    /// What each of the two U-Nets is made of: stage 1, stage 2.
    pub stages: [StageSpec; 2],
    /// Whether there is a second stage 1, for recordings of speech alone.
    #[serde(default)]
    pub speech: bool,
    /// Complex taps of stage 2, the frame itself and those before it.
    pub taps: usize,
    /// Hidden width of stage 2's balance.
    pub balance: usize,
    /// Per-hop coefficient of the running level when it rises.
    pub level_rise: f32,
    /// Per-hop coefficient of the running level when it falls.
    pub level_fall: f32,
    /// Lowest running level, in compressed magnitude.
    pub level_floor: f32,
    /// What is kept per hop of the weights in the running floor.
    pub floor_keep: f32,
    /// What is kept per hop of the long-term spectra that the balance looks at.
    pub balance_keep: f32,
    /// Commit of the training code.
    #[serde(default)]
    pub commit: String,
    /// Hash of the training data's manifest.
    #[serde(default)]
    pub data: String,
    /// Hours of audio the weights were trained on.
    #[serde(default)]
    pub hours: f64,
}

/// What one of the two U-Nets is made of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StageSpec {
    /// Channels per level, from full resolution down.
    pub widths: Vec<usize>,
    /// Channels per band that enter and leave the recurrent layer.
    pub squeeze: usize,
}

/// Why a [`Spec`] can't be used.
#[derive(Debug, Error, PartialEq)]
pub enum SpecError {
    /// The sample rate is outside [`SAMPLE_RATES_HZ`].
    #[error("sample rate {found} Hz is not supported: expected {} to {} Hz", SAMPLE_RATES_HZ.start(), SAMPLE_RATES_HZ.end())]
    SampleRate {
        /// The rate asked for, in Hz.
        found: f64,
    },
    /// A field has a value that the engine can't run.
    #[error("the weights declare {field} = {found}: expected {expected}; use weights exported for this version of Dualstep")]
    Field {
        /// Name of the field.
        field: &'static str,
        /// What the weights say.
        found: String,
        /// What would be accepted.
        expected: String,
    },
}

impl SpecError {
    /// Refuses `field`, which is `found`, if it isn't `sound`.
    pub(crate) fn unless(sound: bool, field: &'static str, found: String, expected: &str) -> Result<(), Self> {
        if sound {
            return Ok(());
        }
        Err(Self::Field {
            field,
            found,
            expected: expected.to_owned(),
        })
    }
}

impl Spec {
    /// Bands at full resolution.
    #[must_use]
    pub fn bands(&self) -> usize {
        self.segments.iter().map(|[bands, _]| bands).sum()
    }

    /// Bands at level `level`, 0 being full resolution.
    #[must_use]
    pub fn bands_at(&self, level: usize) -> usize {
        self.bands() >> level
    }

    /// Size of a stage's recurrent layer: input and hidden.
    #[must_use]
    pub fn recurrent(&self, stage: &StageSpec) -> usize {
        stage.squeeze * self.bands_at(stage.widths.len().saturating_sub(1))
    }

    /// Hops that are about as long as `seconds`.
    pub(crate) fn hops(&self, seconds: f64) -> usize {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few hundred hops at most")]
        let hops = (seconds * UNITS_PER_SECOND / self.hop_units as f64).round() as usize;
        hops
    }

    /// Checks a file's layout version before anything else of its spec is read: another layout has other fields.
    ///
    /// # Errors
    /// If it isn't [`FORMAT`].
    pub fn check_format(found: u32) -> Result<(), SpecError> {
        if found == FORMAT {
            return Ok(());
        }
        Err(SpecError::Field {
            field: "format",
            found: found.to_string(),
            expected: FORMAT.to_string(),
        })
    }

    /// Checks every field against what the engine can run.
    ///
    /// # Errors
    /// The first field that is out of range, with what was expected.
    pub fn check(&self) -> Result<(), SpecError> {
        let field = |field, found: String, expected: &str| {
            Err(SpecError::Field {
                field,
                found,
                expected: expected.to_owned(),
            })
        };
        Self::check_format(self.format)?;
        if !(1..=30).contains(&self.hop_units) {
            return field("hop_units", self.hop_units.to_string(), "1 to 30");
        }
        if self.synthesis_hops != 2 {
            return field("synthesis_hops", self.synthesis_hops.to_string(), "2");
        }
        if !(2..=16).contains(&self.analysis_hops) {
            return field("analysis_hops", self.analysis_hops.to_string(), "2 to 16");
        }
        if self.lookahead_hops > 8 {
            return field("lookahead_hops", self.lookahead_hops.to_string(), "0 to 8");
        }
        if !(1..=8).contains(&self.taps) {
            return field("taps", self.taps.to_string(), "1 to 8");
        }
        let covered = self
            .segments
            .iter()
            .try_fold(0usize, |sum, [bands, stride]| sum.checked_add(bands.checked_mul(*stride)?));
        if self.bins == 0 || self.bins > 8192 || covered != Some(self.bins) || self.segments.iter().any(|[b, s]| b * s == 0) {
            return field(
                "segments",
                format!("{:?}", self.segments),
                &format!("segments that cover {} bins", self.bins),
            );
        }
        for (number, StageSpec { widths, squeeze }) in (1..).zip(&self.stages) {
            if !(1..=8).contains(&widths.len()) || widths.iter().any(|w| !(1..=512).contains(w)) {
                return field(
                    "stages",
                    format!("widths {widths:?} in stage {number}"),
                    "1 to 8 widths of 1 to 512",
                );
            }
            let multiple = 1 << (widths.len() - 1);
            if !self.bands().is_multiple_of(multiple) {
                return field(
                    "segments",
                    format!("{} bands", self.bands()),
                    &format!("a multiple of {multiple} for the {} levels of stage {number}", widths.len()),
                );
            }
            if !(1..=512).contains(squeeze) {
                return field("stages", format!("squeeze {squeeze} in stage {number}"), "1 to 512");
            }
        }
        if !(1..=512).contains(&self.balance) {
            return field("balance", self.balance.to_string(), "1 to 512");
        }
        for (name, value) in [("level_rise", self.level_rise), ("level_fall", self.level_fall)] {
            if !(value > 0.0 && value <= 1.0) {
                return field(name, value.to_string(), "more than 0, at most 1");
            }
        }
        if !(self.level_floor > 0.0 && self.level_floor.is_finite()) {
            return field("level_floor", self.level_floor.to_string(), "more than 0");
        }
        for (name, value) in [("floor_keep", self.floor_keep), ("balance_keep", self.balance_keep)] {
            if !(0.0..1.0).contains(&value) {
                return field(name, value.to_string(), "0 or more, less than 1");
            }
        }
        Ok(())
    }

    /// The geometry in samples at `sample_rate_hz`.
    ///
    /// # Errors
    /// If the rate is outside [`SAMPLE_RATES_HZ`] (or not a number).
    pub fn geometry(&self, sample_rate_hz: f64) -> Result<Geometry, SpecError> {
        if !SAMPLE_RATES_HZ.contains(&sample_rate_hz) {
            return Err(SpecError::SampleRate { found: sample_rate_hz });
        }
        let samples = (sample_rate_hz * self.hop_units as f64 / UNITS_PER_SECOND).round();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "26 to 38400: rate and hop_units are bounded above"
        )]
        let hop = samples as usize;
        let analysis = hop * self.analysis_hops;
        Ok(Geometry {
            hop,
            analysis,
            synthesis: hop * self.synthesis_hops,
            synthesis_hops: self.synthesis_hops,
            lookahead_hops: self.lookahead_hops,
            repair: hop / 2,
            spectrum_bins: analysis / 2 + 1,
            network_bins: self.bins.min(analysis / 2 + 1),
        })
    }
}

/// A [`Spec`] in samples at one sample rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Samples the networks advance per call. Studio: 882 at 44.1 kHz, 960 at 48 kHz.
    pub hop: usize,
    /// Analysis window and transform size, in samples.
    pub analysis: usize,
    /// Synthesis window, in samples: the end of the analysis window.
    pub synthesis: usize,
    /// Synthesis window, in hops.
    pub synthesis_hops: usize,
    /// Frames the networks see beyond the one they decide about.
    pub lookahead_hops: usize,
    /// Click repair look-ahead, in samples: half a hop (see ARCHITECTURE.md).
    pub repair: usize,
    /// Bins of the transform, 0 Hz to the Nyquist frequency.
    pub spectrum_bins: usize,
    /// How many of them the networks see: fewer than the spec's bins at low rates.
    pub network_bins: usize,
}
