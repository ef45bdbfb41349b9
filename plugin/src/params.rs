//! The parameters, their texts, and what they ask of the engine.

use crate::editor::PanelSize;
use dualstep_engine::Controls;
use dualstep_engine::link::Settings;
use dualstep_engine::output::{CUT_HZ, Hum, MOST_TILT_DB, OutputSettings};
use nice_plug::prelude::*;
use std::sync::Arc;

/// Reduction limits above this are "none", in dB. Half a step beyond the largest limit, so that rounding can't turn "60 dB" into "none".
const NO_LIMIT_DB: f32 = MAX_LIMIT_DB + 0.5;
/// Largest reduction limit that is one, in dB.
const MAX_LIMIT_DB: f32 = 60.0;
/// Low-cuts below this are "off", in octaves above 1 Hz. Less than half of the last digit below the lowest one, so that "10 Hz" is one.
const NO_CUT_OCTAVES: f32 = MIN_CUT_OCTAVES + 0.01;
/// Lowest value of the low-cut: "off".
const MIN_CUT_OCTAVES: f32 = 3.3;
/// Step of the hum notch that listens for the frequency.
pub(crate) const HUM_AUTO: i32 = 3;
/// What the hum notch's steps are called. Sessions keep the step's number: names may change, order may not.
const HUM_TEXTS: [&str; 4] = ["off", "50 Hz", "60 Hz", "auto"];

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
    /// Low-cut of the output section, in octaves above 1 Hz (a knob that is even in pitch): `log2(300)` is 300 Hz; below `log2(10)` it is off.
    #[id = "low_cut"]
    pub low_cut: FloatParam,
    /// Hum notch of the output section: 0 off, 1 50 Hz, 2 60 Hz, 3 auto.
    #[id = "hum"]
    pub hum: IntParam,
    /// Tilt of the output section, -6..=6 dB at the highest frequencies and the opposite at the lowest. 0 is off.
    #[id = "tilt"]
    pub tilt: FloatParam,
    /// Amount of compression in the output section, 0..=100 %. 0 is off.
    #[id = "comp"]
    pub comp: FloatParam,
    /// Repair of clipped peaks.
    #[id = "declip"]
    pub declip: BoolParam,
    /// Stage 1 for recordings of speech alone.
    #[id = "speech"]
    pub speech: BoolParam,
    /// Repair of dropouts.
    #[id = "dropouts"]
    pub dropouts: BoolParam,

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
            output: decibels("Output gain", 24.0),
            removed: switch("Listen to removed", false),
            link: switch("Stereo link", true),
            bypass: switch("Bypass", false).make_bypass(),
            low_cut: FloatParam::new(
                "Low-cut",
                MIN_CUT_OCTAVES,
                FloatRange::Linear {
                    min: MIN_CUT_OCTAVES,
                    max: CUT_HZ.end().log2(),
                },
            )
            .with_value_to_string(Arc::new(cut_to_text))
            .with_string_to_value(Arc::new(text_to_cut)),
            hum: IntParam::new("Hum notch", 0, IntRange::Linear { min: 0, max: 3 })
                .with_value_to_string(Arc::new(hum_to_text))
                .with_string_to_value(Arc::new(text_to_hum)),
            tilt: decibels("Tilt", MOST_TILT_DB),
            comp: percent("Compressor", 0.0),
            declip: switch("Clipping repair", true),
            speech: switch("Speech only", false),
            dropouts: switch("Dropout repair", true),
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
                declip: self.declip.value(),
                dropouts: self.dropouts.value(),
                stage1: share(&self.stage1),
                stage2: share(&self.stage2),
                floor: if limit_db > NO_LIMIT_DB {
                    0.0
                } else {
                    gain(-limit_db.min(MAX_LIMIT_DB))
                },
                linked: self.link.value(),
                speech: self.speech.value(),
                idle: false,
            },
            output: OutputSettings {
                low_cut_hz: cut_hz(self.low_cut.value()),
                hum: match self.hum.value() {
                    1 => Hum::Mains50,
                    2 => Hum::Mains60,
                    HUM_AUTO => Hum::Auto,
                    _ => Hum::Off,
                },
                tilt_db: self.tilt.value(),
                compression: share(&self.comp),
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
    // Asked for with each block, and nearly always for this one.
    if db == 0.0 { 1.0 } else { 10.0f32.powf(db / 20.0) }
}

fn percent(name: &str, default: f32) -> FloatParam {
    FloatParam::new(name, default, FloatRange::Linear { min: 0.0, max: 100.0 })
        .with_unit(" %")
        .with_value_to_string(Arc::new(number_to_text))
        .with_string_to_value(Arc::new(|text| text_to_number(text, "%")))
}

/// From `-most_db` to `most_db`, 0 by default.
fn decibels(name: &str, most_db: f32) -> FloatParam {
    let range = FloatRange::Linear {
        min: -most_db,
        max: most_db,
    };
    FloatParam::new(name, 0.0, range)
        .with_unit(" dB")
        .with_value_to_string(Arc::new(number_to_text))
        .with_string_to_value(Arc::new(|text| text_to_number(text, "db")))
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
    if is_off(text) {
        return Some(MAX_LIMIT_DB + 1.0);
    }
    text_to_number(text, "db").map(|limit_db| limit_db.clamp(0.0, MAX_LIMIT_DB))
}

fn is_off(text: &str) -> bool {
    ["none", "off"].iter().any(|word| text.trim().eq_ignore_ascii_case(word))
}

/// Octaves above 1 Hz to a cut-off in Hz, `None` where the low-cut is off.
fn cut_hz(octaves: f32) -> Option<f32> {
    (octaves >= NO_CUT_OCTAVES).then(|| octaves.exp2().clamp(*CUT_HZ.start(), *CUT_HZ.end()))
}

fn cut_to_text(octaves: f32) -> String {
    cut_hz(octaves).map_or_else(|| "off".to_owned(), |hz| format!("{} Hz", number_to_text(hz)))
}

fn text_to_cut(text: &str) -> Option<f32> {
    if is_off(text) {
        return Some(MIN_CUT_OCTAVES);
    }
    text_to_number(text, "hz").map(|hz| hz.clamp(*CUT_HZ.start(), *CUT_HZ.end()).log2())
}

fn hum_to_text(step: i32) -> String {
    let text = usize::try_from(step).ok().and_then(|step| HUM_TEXTS.get(step));
    text.unwrap_or(&HUM_TEXTS[0]).to_string()
}

fn text_to_hum(text: &str) -> Option<i32> {
    // "50", "50Hz" and "50 hz" are all the same.
    let plain = |text: &str| text.replace(' ', "").to_ascii_lowercase();
    let wanted = plain(text);
    let step = HUM_TEXTS.iter().position(|text| {
        let text = plain(text);
        text == wanted || text.strip_suffix("hz") == Some(&*wanted)
    });
    step.and_then(|step| i32::try_from(step).ok())
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
        for param in [
            &params.declick,
            &params.limit,
            &params.mix,
            &params.output,
            &params.low_cut,
            &params.tilt,
            &params.comp,
        ] {
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
    fn the_low_cut_is_off_or_between_10_and_300_hz() {
        let params = DualstepParams::default();
        for (text, expected) in [
            ("off", None),
            ("10 Hz", Some(10.0)),
            ("80", Some(80.0)),
            ("1 Hz", Some(10.0)),
            ("5 kHz", None),
            ("300 hz", Some(300.0)),
        ] {
            let found = text_to_cut(text).map(cut_hz);
            match text {
                "5 kHz" => assert_eq!(found, None),
                _ => {
                    let found = found.expect("a cut-off or off");
                    assert_eq!(found.is_some(), expected.is_some(), "{text}");
                    assert!(
                        (found.unwrap_or(0.0) - expected.unwrap_or(0.0f32)).abs() < 1e-3,
                        "{text}: {found:?}"
                    );
                }
            }
        }
        assert_eq!(params.low_cut.normalized_value_to_string(0.0, true), "off");
        assert_eq!(params.low_cut.normalized_value_to_string(1.0, true), "300 Hz");
        let ten = params.low_cut.string_to_normalized_value("10 Hz").expect("a cut-off");
        assert_eq!(params.low_cut.normalized_value_to_string(ten, true), "10 Hz");
    }

    #[test]
    fn the_hum_notch_reads_what_it_writes_and_what_people_write() {
        let params = DualstepParams::default();
        for (step, text) in HUM_TEXTS.into_iter().enumerate() {
            let normalized = step as f32 / 3.0;
            assert_eq!(params.hum.normalized_value_to_string(normalized, true), text);
            assert_eq!(params.hum.string_to_normalized_value(text), Some(normalized));
        }
        for (text, step) in [("50", 1), ("60hz", 2), ("AUTO", 3), (" Off ", 0)] {
            assert_eq!(text_to_hum(text), Some(step), "{text}");
        }
        for text in ["", "hz", "55 Hz", "5", "50 60", "quux"] {
            assert_eq!(text_to_hum(text), None, "{text}");
        }
    }

    #[test]
    fn as_loaded_everything_is_restored_at_unchanged_level() {
        assert_eq!(DualstepParams::default().settings(), Settings::default());
    }
}
