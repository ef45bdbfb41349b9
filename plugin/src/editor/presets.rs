//! A preset: a named setting, as a file holds it.

use super::built_in::BUILT_IN;
use super::control::{LISTENING, control, controls};
use super::files::write_whole;
use super::history::Values;
use crate::DualstepParams;
use crate::state::SINCE;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Version of the file's layout.
const FORMAT: u32 = 1;
/// Files beyond this size aren't presets.
const MOST_BYTES: u64 = 1 << 20;

/// A named setting. Values are the texts that the panel shows; what isn't named takes its default, in a file of an earlier version [`SINCE`] "Off".
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Preset {
    format: u32,
    pub(super) name: String,
    pub(super) values: BTreeMap<String, String>,
}

impl Preset {
    /// Values under a name.
    pub(super) fn of(params: &DualstepParams, values: &[(&'static str, f32)], name: &str) -> Self {
        let values = values
            .iter()
            .filter_map(|(id, value)| Some(((*id).to_owned(), control(params, id)?.text(*value))))
            .collect();
        Self {
            format: FORMAT,
            name: name.to_owned(),
            values,
        }
    }

    /// A built-in one, by its index.
    pub(super) fn built_in(index: usize) -> Option<Self> {
        let (name, _, values) = BUILT_IN.get(index)?;
        Some(Self {
            format: FORMAT,
            name: (*name).to_owned(),
            values: values.iter().map(|(id, text)| ((*id).to_owned(), (*text).to_owned())).collect(),
        })
    }

    /// Values of all parameters that make the sound. What can't be read, or is a later version's, takes its default.
    pub(super) fn values(&self, params: &DualstepParams) -> Values {
        controls(params)
            .into_iter()
            .filter(|(id, _)| !LISTENING.contains(id))
            .map(|(id, control)| {
                let read = self.values.get(id).and_then(|text| control.parse(text));
                (id, read.unwrap_or_else(|| control.default()))
            })
            .collect()
    }

    /// Whether these are its values, as far as texts tell. `values`: those of all parameters that make the sound.
    pub(super) fn holds(&self, params: &DualstepParams, values: &[(&'static str, f32)]) -> bool {
        let own = self.values(params);
        own.iter()
            .zip(values)
            .all(|((id, own), (_, value))| control(params, id).is_none_or(|control| control.text(*own) == control.text(*value)))
    }

    /// Reads a file.
    ///
    /// # Errors
    /// Why it is no preset, for the user.
    pub(super) fn read(path: &Path) -> Result<Self, String> {
        let shown = path.display();
        let size = fs::metadata(path)
            .map_err(|error| format!("{shown} can't be read: {error}."))?
            .len();
        if size > MOST_BYTES {
            return Err(format!("{shown} is no preset: it has {size} bytes."));
        }
        let text = fs::read_to_string(path).map_err(|error| format!("{shown} can't be read: {error}."))?;
        let mut preset: Self = serde_json::from_str(&text).map_err(|error| format!("{shown} is no preset: {error}."))?;
        if preset.format != FORMAT {
            return Err(format!(
                "{shown} has format {}, this version reads {FORMAT}: a later version of Dualstep wrote it.",
                preset.format
            ));
        }
        for id in SINCE {
            preset.values.entry(id.to_owned()).or_insert_with(|| "Off".to_owned());
        }
        Ok(preset)
    }

    /// Writes a file: whole or not at all.
    ///
    /// # Errors
    /// If it can't be written, or if there is one already and `replace` is false.
    pub(super) fn write(&self, path: &Path, replace: bool) -> Result<(), String> {
        let text = serde_json::to_string_pretty(self).map_err(|error| error.to_string())?;
        write_whole(path, &text, replace)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_an_earlier_version_sounds_as_it_did() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("earlier.json");
        fs::write(&path, r#"{"format": 1, "name": "x", "values": {"mix": "30 %"}}"#).expect("a file");
        let params = DualstepParams::default();
        let read = Preset::read(&path).expect("a preset").values(&params);
        assert!(
            SINCE
                .iter()
                .all(|since| read.iter().any(|(id, value)| id == since && *value == 0.0))
        );
        // What this version writes says what it is.
        let path = folder.path().join("now.json");
        Preset::of(&params, &[("declip", 1.0)], "now").write(&path, false).expect("a file");
        let read = Preset::read(&path).expect("a preset").values(&params);
        assert!(read.iter().any(|(id, value)| *id == "declip" && *value == 1.0));
    }

    #[test]
    fn values_a_preset_lacks_take_their_default() {
        let params = DualstepParams::default();
        let preset: Preset = serde_json::from_str(r#"{"format": 1, "name": "x", "values": {"mix": "30 %", "limit": "quux", "wow": "1"}}"#)
            .expect("a preset");
        for (id, value) in preset.values(&params) {
            let control = control(&params, id).expect("a control");
            assert_eq!(
                control.text(value),
                if id == "mix" {
                    "30 %".to_owned()
                } else {
                    control.text(control.default())
                }
            );
        }
    }
}
