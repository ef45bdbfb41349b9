//! The parameters, their texts, and what they ask of the engine.

use crate::editor::PanelSize;
use dualstep_engine::Controls;
use dualstep_engine::link::Settings;
use nice_plug::prelude::*;
use std::sync::Arc;

/// Reduction limits above this are "none", in dB. Half a step beyond the largest limit, so that rounding can't turn "60 dB" into "none".
const NO_LIMIT_DB: f32 = MAX_LIMIT_DB + 0.5;
/// Largest reduction limit that is one, in dB.
const MAX_LIMIT_DB: f32 = 60.0;

/// All parameters, and what else is kept in sessions. Ids are forever; order is the host's.
#[derive(Params)]
pub struct DualstepParams {
    /// Sensitivity of the click repair, 0..=100 %. 0 is off.
    #[id = "declick"]
    pub declick: FloatParam,
    /// Strength of stage 1, 0..=100 %.
    #[id = "stage1"]
    pub stage1: FloatParam,
    /// Strength of stage 2, 0..=100 %.
    #[id = "stage2"]
    pub stage2: FloatParam,
    /// How far any bin may fall, 0..=60 dB; above 60.5 there is no limit.
    #[id = "limit"]
    pub limit: FloatParam,
    /// Share of the restored signal, 0..=100 %.
    #[id = "mix"]
    pub mix: FloatParam,
    /// Output gain, -24..=24 dB.
    #[id = "output"]
    pub output: FloatParam,
    /// Listen to what is removed.
    #[id = "removed"]
    pub removed: BoolParam,
    /// One gain pattern for both channels.
    #[id = "link"]
    pub link: BoolParam,
    /// The host's bypass.
    #[id = "bypass"]
    pub bypass: BoolParam,

    /// Size of the editor's window.
    #[persist = "panel"]
    pub panel: PanelSize,
}

impl Default for DualstepParams {
    fn default() -> Self {
        Self {
            declick: percent("Click repair", 50.0),
            stage1: percent("Noise reduction", 100.0),
            stage2: percent("Detail restoration", 100.0),
            limit: FloatParam::new(
                "Reduction limit",
                MAX_LIMIT_DB + 1.0,
                FloatRange::Linear {
                    min: 0.0,
                    max: MAX_LIMIT_DB + 1.0,
                },
            )
            .with_value_to_string(Arc::new(limit_to_text))
            .with_string_to_value(Arc::new(text_to_limit)),
            mix: percent("Dry/wet", 100.0),
            output: FloatParam::new("Output gain", 0.0, FloatRange::Linear { min: -24.0, max: 24.0 })
                .with_unit(" dB")
                .with_value_to_string(Arc::new(number_to_text))
                .with_string_to_value(Arc::new(|text| text_to_number(text, "db"))),
            removed: switch("Listen to removed", false),
            link: switch("Stereo link", true),
            bypass: switch("Bypass", false).make_bypass(),
            panel: PanelSize::default(),
        }
    }
}

impl DualstepParams {
    /// What the engine is to do now.
    pub(crate) fn settings(&self) -> Settings {
        let limit_db = self.limit.value();
        Settings {
            controls: Controls {
                declick: share(&self.declick),
                stage1: share(&self.stage1),
                stage2: share(&self.stage2),
                floor: if limit_db > NO_LIMIT_DB {
                    0.0
                } else {
                    gain(-limit_db.min(MAX_LIMIT_DB))
                },
                linked: self.link.value(),
                idle: false,
            },
            mix: share(&self.mix),
            gain: gain(self.output.value()),
            removed: self.removed.value(),
            bypass: self.bypass.value(),
        }
    }
}

/// 0..=1.
fn share(param: &FloatParam) -> f32 {
    (param.value() / 100.0).clamp(0.0, 1.0)
}

/// Decibels to a linear gain; exactly 1 at 0 dB.
fn gain(db: f32) -> f32 {
    10.0f32.powf(db / 20.0)
}

fn percent(name: &str, default: f32) -> FloatParam {
    FloatParam::new(name, default, FloatRange::Linear { min: 0.0, max: 100.0 })
        .with_unit(" %")
        .with_value_to_string(Arc::new(number_to_text))
        .with_string_to_value(Arc::new(|text| text_to_number(text, "%")))
}

fn switch(name: &str, default: bool) -> BoolParam {
    BoolParam::new(name, default).with_string_to_value(Arc::new(text_to_switch))
}

/// One decimal, none where it would be 0; never "-0".
fn number_to_text(value: f32) -> String {
    let tenths = (value * 10.0).round();
    if tenths % 10.0 == 0.0 {
        format!("{:.0}", tenths / 10.0 + 0.0)
    } else {
        format!("{:.1}", tenths / 10.0)
    }
}

/// A number with or without its unit; the decimal sign may be a comma.
fn text_to_number(text: &str, unit: &str) -> Option<f32> {
    let text = text.trim().to_ascii_lowercase();
    let number = text.strip_suffix(unit).unwrap_or(&text).trim_end().replace(',', ".");
    // "inf" and "nan" are numbers to the standard library.
    number.parse().ok().filter(|value: &f32| value.is_finite())
}

fn limit_to_text(limit_db: f32) -> String {
    if limit_db > NO_LIMIT_DB {
        "none".to_owned()
    } else {
        format!("{} dB", number_to_text(limit_db.min(MAX_LIMIT_DB)))
    }
}

fn text_to_limit(text: &str) -> Option<f32> {
    if ["none", "off"].iter().any(|word| text.trim().eq_ignore_ascii_case(word)) {
        return Some(MAX_LIMIT_DB + 1.0);
    }
    text_to_number(text, "db").map(|limit_db| limit_db.clamp(0.0, MAX_LIMIT_DB))
}

fn text_to_switch(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "on" | "true" | "yes" | "1" => Some(true),
        "off" | "false" | "no" | "0" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_and_values_agree_both_ways() {
        let params = DualstepParams::default();
        for param in [&params.declick, &params.limit, &params.mix, &params.output] {
            for step in 0..=1000 {
                let text = param.normalized_value_to_string(step as f32 / 1000.0, true);
                let back = param.string_to_normalized_value(&text).expect("its own text");
                assert_eq!(param.normalized_value_to_string(back, true), text, "{} at {step}", param.name());
                assert!((back - step as f32 / 1000.0).abs() < 0.017, "{} at {step}: {text}", param.name());
            }
        }
    }

    #[test]
    fn texts_are_tolerant_but_not_blind() {
        let params = DualstepParams::default();
        let plain = |param: &FloatParam, text: &str| param.string_to_normalized_value(text).map(|value| param.preview_plain(value));
        for text in ["12.5", "12,5", " 12.5 % ", "12,5%", "12.5 %"] {
            assert_eq!(plain(&params.mix, text), Some(12.5), "{text}");
        }
        assert_eq!(plain(&params.output, "-6,0 DB"), Some(-6.0));
        assert_eq!(plain(&params.output, "+6dB"), Some(6.0));
        assert_eq!(plain(&params.limit, "None"), Some(MAX_LIMIT_DB + 1.0));
        assert_eq!(params.limit.normalized_value_to_string(1.0, true), "none");
        for text in ["", "quux", "nan", "inf %", "1.2.3", "%"] {
            assert_eq!(plain(&params.mix, text), None, "{text}");
        }
        assert_eq!(params.link.string_to_normalized_value("On"), Some(1.0));
        assert_eq!(params.link.string_to_normalized_value("quux"), None);
        assert_eq!(number_to_text(-0.01), "0");
    }

    #[test]
    fn limits_are_gains_and_none_is_no_floor() {
        let floor = |limit_db: f32| {
            let text = limit_to_text(limit_db);
            text_to_limit(&text).map(|db| if db > NO_LIMIT_DB { 0.0 } else { gain(-db) })
        };
        assert_eq!(floor(0.0), Some(1.0));
        assert_eq!(floor(60.0), Some(gain(-60.0)));
        assert_eq!(floor(61.0), Some(0.0));
        let params = DualstepParams::default();
        let sixty = params.limit.string_to_normalized_value("60 dB").expect("a limit");
        assert_eq!(params.limit.normalized_value_to_string(sixty, true), "60 dB");
    }

    #[test]
    fn as_loaded_everything_is_restored_at_unchanged_level() {
        assert_eq!(DualstepParams::default().settings(), Settings::default());
    }
}
