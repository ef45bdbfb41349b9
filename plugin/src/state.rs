//! Sessions from other versions, and broken ones.
//!
//! The framework reads a session's JSON and refuses what isn't one. What it accepts it takes as it is: a value out of range or of the wrong type included.
//! [`check`] stands between.

use nice_plug::plugin::ParamValue;
use nice_plug::prelude::PluginState;
use std::ops::RangeInclusive;

/// What a parameter may hold.
enum Kind {
    Number(RangeInclusive<f32>),
    Step(RangeInclusive<i32>),
    Switch,
}

/// The kind of a parameter this version knows.
fn kind(id: &str) -> Option<Kind> {
    match id {
        "declick" | "stage1" | "stage2" | "mix" | "comp" => Some(Kind::Number(0.0..=100.0)),
        "limit" => Some(Kind::Number(0.0..=61.0)),
        "output" => Some(Kind::Number(-24.0..=24.0)),
        "tilt" => Some(Kind::Number(-6.0..=6.0)),
        // Octaves above 1 Hz, up to 300 Hz.
        "low_cut" => Some(Kind::Number(3.3..=300.0f32.log2())),
        "hum" => Some(Kind::Step(0..=3)),
        "removed" | "link" | "bypass" | "declip" | "speech" | "dropouts" => Some(Kind::Switch),
        _ => None,
    }
}

/// Switches that sessions and presets of earlier versions lack: off there, whatever a new instance or the one in use has, so that what was saved sounds as it did.
pub(crate) const SINCE: [&str; 3] = ["declip", "speech", "dropouts"];

/// Brings numbers into range. If a known parameter isn't what it should be at all, empties the state: the framework then refuses it, and the one in force stays.
///
/// Unknown parameters and fields are a later version's: the framework skips them. Missing ones keep their value, but [`SINCE`].
pub(crate) fn check(state: &mut PluginState) {
    let mut broken = false;
    for (id, value) in &mut state.params {
        match (kind(id), value) {
            (Some(Kind::Number(range)), ParamValue::F32(number)) if number.is_finite() => {
                *number = number.clamp(*range.start(), *range.end());
            }
            (Some(Kind::Step(range)), ParamValue::I32(step)) => *step = (*step).clamp(*range.start(), *range.end()),
            (Some(Kind::Switch), ParamValue::Bool(_)) | (None, _) => {}
            (Some(_), _) => broken = true,
        }
    }
    if broken {
        state.params.clear();
        state.fields.clear();
        return;
    }
    for id in SINCE {
        state.params.entry(id.to_owned()).or_insert(ParamValue::Bool(false));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DualstepParams;
    use nice_plug::prelude::{Param, ParamPtr, Params};
    use std::collections::BTreeMap;

    fn state(params: &[(&str, ParamValue)]) -> PluginState {
        PluginState {
            version: "0.1.0".to_owned(),
            params: params.iter().map(|(id, value)| ((*id).to_owned(), value.clone())).collect(),
            fields: BTreeMap::from([("panel".to_owned(), "[500,400]".to_owned())]),
        }
    }

    #[test]
    fn numbers_are_brought_into_range_and_the_rest_is_left_alone() {
        let mut state = state(&[
            ("mix", ParamValue::F32(1e30)),
            ("output", ParamValue::F32(-3.5)),
            ("link", ParamValue::Bool(false)),
            ("hum", ParamValue::I32(7)),
            ("humidity", ParamValue::String("damp".to_owned())),
        ]);
        check(&mut state);
        assert!(matches!(state.params["mix"], ParamValue::F32(100.0)));
        assert!(matches!(state.params["output"], ParamValue::F32(-3.5)));
        assert!(matches!(state.params["link"], ParamValue::Bool(false)));
        assert!(matches!(state.params["hum"], ParamValue::I32(3)));
        for id in SINCE {
            assert!(
                matches!(state.params[id], ParamValue::Bool(false)),
                "{id}: as it sounded before there was one"
            );
        }
        assert_eq!(state.params.len(), 8);
        assert_eq!(state.fields.len(), 1);
    }

    #[test]
    fn a_broken_value_empties_the_state() {
        for broken in [ParamValue::Bool(true), ParamValue::F32(f32::INFINITY), ParamValue::F32(f32::NAN)] {
            let mut state = state(&[("mix", broken), ("output", ParamValue::F32(1.0))]);
            check(&mut state);
            assert!(state.params.is_empty() && state.fields.is_empty());
        }
    }

    #[test]
    fn every_parameter_is_known_with_its_range() {
        let params = DualstepParams::default();
        let map = params.param_map();
        assert_eq!(map.len(), 16);
        for (id, ptr, _) in map {
            match (kind(&id), ptr) {
                (Some(Kind::Switch), ParamPtr::BoolParam(_))
                | (Some(Kind::Step(_)), ParamPtr::IntParam(_))
                | (Some(Kind::Number(_)), ParamPtr::FloatParam(_)) => {}
                _ => panic!("{id} is unknown or of another kind"),
            }
        }
        for (id, param) in [
            ("mix", &params.mix),
            ("limit", &params.limit),
            ("output", &params.output),
            ("tilt", &params.tilt),
            ("low_cut", &params.low_cut),
            ("comp", &params.comp),
        ] {
            let Some(Kind::Number(range)) = kind(id) else {
                panic!("{id} is a number")
            };
            assert_eq!(param.preview_plain(0.0), *range.start());
            assert_eq!(param.preview_plain(1.0), *range.end());
        }
    }
}
