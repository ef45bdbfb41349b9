//! Presets: the built-in ones, and the user's, one file each.

use super::control::{LISTENING, control, controls};
use super::history::Values;
use crate::DualstepParams;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Version of the file's layout.
const FORMAT: u32 = 1;
/// Files beyond this size aren't presets.
const MOST_BYTES: u64 = 1 << 20;

/// A named setting. Values are the texts that the panel shows; what isn't named takes its default.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Preset {
    format: u32,
    pub(super) name: String,
    values: BTreeMap<String, String>,
}

/// Name, what it is for, ids and texts of the values that aren't the default.
type BuiltIn = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

/// What the plugin brings.
pub(super) const BUILT_IN: [BuiltIn; 11] = [
    ("Standard", "Everything at its default.", &[]),
    (
        "78 rpm shellac",
        "Heavy crackle and hiss. A bed of noise stays, so that the music doesn't sound cut out.",
        &[("declick", "70 %"), ("limit", "24 dB"), ("low_cut", "40 Hz")],
    ),
    (
        "Wax cylinder",
        "Thumps and dense noise louder than some of the music.",
        &[("declick", "85 %"), ("limit", "30 dB"), ("low_cut", "80 Hz")],
    ),
    (
        "LP crackle",
        "Ticks and light crackle on vinyl; room and reverb stay.",
        &[
            ("declick", "60 %"),
            ("stage1", "60 %"),
            ("stage2", "50 %"),
            ("limit", "12 dB"),
            ("low_cut", "20 Hz"),
        ],
    ),
    (
        "Clicks only",
        "Nothing but click repair: the sound between the clicks is untouched.",
        &[("declick", "60 %"), ("stage1", "0 %"), ("stage2", "0 %")],
    ),
    (
        "Tape hiss",
        "Steady hiss under music. No clicks on tape, so click repair is off.",
        &[("declick", "0 %"), ("stage1", "80 %"), ("limit", "15 dB")],
    ),
    (
        "Hum",
        "Mains hum and its harmonics: the hum notch listens for the frequency, noise reduction helps.",
        &[("declick", "0 %"), ("stage1", "60 %"), ("limit", "20 dB"), ("hum", "auto")],
    ),
    (
        "Noisy speech",
        "As much noise out as there is; words first.",
        &[("declick", "30 %"), ("low_cut", "80 Hz"), ("comp", "20 %")],
    ),
    (
        "Live voice",
        "Monitoring while you speak or sing: no click repair that could mistake consonants, a little room left.",
        &[
            ("declick", "0 %"),
            ("stage1", "85 %"),
            ("stage2", "50 %"),
            ("limit", "18 dB"),
            ("low_cut", "80 Hz"),
        ],
    ),
    (
        "Music with drums",
        "Attacks and cymbals come first: little is taken away.",
        &[("declick", "20 %"), ("stage1", "40 %"), ("stage2", "0 %"), ("limit", "8 dB")],
    ),
    (
        "Gentle",
        "A touch on recordings that are nearly good.",
        &[("declick", "40 %"), ("stage1", "50 %"), ("stage2", "50 %"), ("limit", "9 dB")],
    ),
];

impl Preset {
    /// What is in force, under a name.
    pub(super) fn of(params: &DualstepParams, name: &str) -> Self {
        let values = controls(params)
            .into_iter()
            .filter(|(id, _)| !LISTENING.contains(id))
            .map(|(id, control)| (id.to_owned(), control.text(control.value())))
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

    /// Whether this is what is in force, as far as texts tell.
    pub(super) fn is_in_force(&self, params: &DualstepParams) -> bool {
        self.values(params)
            .iter()
            .all(|(id, value)| control(params, id).is_none_or(|control| control.text(*value) == control.text(control.value())))
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
        let preset: Self = serde_json::from_str(&text).map_err(|error| format!("{shown} is no preset: {error}."))?;
        if preset.format != FORMAT {
            return Err(format!(
                "{shown} has format {}, this version reads {FORMAT}: a later version of Dualstep wrote it.",
                preset.format
            ));
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

/// Writes beside the file's place, then renames.
///
/// # Errors
/// If the system refuses, or if there is a file and `replace` is false.
pub(super) fn write_whole(path: &Path, text: &str, replace: bool) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{} can't be written: {error}.", path.display());
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(failed)?;
    let mut file = tempfile::Builder::new()
        .prefix(".")
        .suffix(".part")
        .tempfile_in(folder)
        .map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    let placed = if replace {
        file.persist(path)
    } else {
        file.persist_noclobber(path)
    };
    placed.map(drop).map_err(|error| failed(error.error))
}

/// The user's presets: a folder.
#[derive(Debug)]
pub(super) struct Library {
    folder: PathBuf,
    /// Found at the last look, by name.
    presets: Vec<(PathBuf, Preset)>,
    /// Files that are no presets, with the reason.
    refused: Vec<String>,
}

impl Library {
    /// The presets in `folder`, which needn't exist.
    pub(super) fn open(folder: PathBuf) -> Self {
        let mut library = Self {
            folder,
            presets: Vec::new(),
            refused: Vec::new(),
        };
        library.look();
        library
    }

    /// Reads the folder again.
    pub(super) fn look(&mut self) {
        self.presets.clear();
        self.refused.clear();
        let Ok(entries) = fs::read_dir(&self.folder) else { return };
        let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        paths.retain(|path| path.is_file() && path.extension().is_some_and(|extension| extension == "json"));
        paths.sort();
        for path in paths {
            match Preset::read(&path) {
                Ok(preset) => self.presets.push((path, preset)),
                Err(reason) => self.refused.push(reason),
            }
        }
        self.presets.sort_by_key(|(_, preset)| preset.name.to_lowercase());
    }

    /// All presets, by name.
    pub(super) fn presets(&self) -> impl Iterator<Item = &Preset> {
        self.presets.iter().map(|(_, preset)| preset)
    }

    /// Why some files aren't shown.
    pub(super) fn refused(&self) -> &[String] {
        &self.refused
    }

    /// Where they are.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether there is one of that name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.presets().any(|preset| preset.name == name)
    }

    /// Saves a preset. One of the same name moves to the folder of what was replaced.
    ///
    /// # Errors
    /// Why it isn't saved, for the user.
    pub(super) fn save(&mut self, preset: &Preset) -> Result<(), String> {
        let old = self.presets.iter().position(|(_, known)| known.name == preset.name);
        let path = match old {
            Some(index) => {
                // A copy, so that there is a whole file under the name at every moment.
                let path = self.presets[index].0.clone();
                let kept = self.place_for_replaced(&path)?;
                fs::copy(&path, &kept).map_err(|error| format!("{} can't be kept: {error}. Nothing was saved.", path.display()))?;
                path
            }
            None => self.free_path(&preset.name),
        };
        let result = preset.write(&path, old.is_some());
        self.look();
        result
    }

    /// Moves a preset to the folder of what was replaced.
    ///
    /// # Errors
    /// If the system refuses.
    pub(super) fn remove(&mut self, name: &str) -> Result<(), String> {
        let Some((path, _)) = self.presets.iter().find(|(_, preset)| preset.name == name) else {
            return Err(format!("There is no preset \"{name}\" in {}.", self.folder.display()));
        };
        let kept = self.place_for_replaced(path)?;
        let result = fs::rename(path, kept).map_err(|error| format!("{} can't be moved: {error}.", path.display()));
        self.look();
        result
    }

    /// A path that no file has, under what was replaced.
    fn place_for_replaced(&self, path: &Path) -> Result<PathBuf, String> {
        let folder = self.folder.join("replaced");
        fs::create_dir_all(&folder).map_err(|error| format!("{} can't be made: {error}.", folder.display()))?;
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        Ok(free(&folder, &stem))
    }

    /// A path that no file has, from a name.
    fn free_path(&self, name: &str) -> PathBuf {
        free(&self.folder, &file_stem(name))
    }
}

/// `stem.json`, or with a number if that exists.
fn free(folder: &Path, stem: &str) -> PathBuf {
    let names = std::iter::once(format!("{stem}.json")).chain((2u32..).map(|number| format!("{stem} {number}.json")));
    names
        .map(|name| folder.join(name))
        .find(|path| !path.exists())
        .unwrap_or_else(|| folder.join("preset.json"))
}

/// A file name that every system takes: letters, digits and what is harmless; the preset's own name is in the file.
fn file_stem(name: &str) -> String {
    let stem: String = name
        .chars()
        .map(|c| if c.is_alphanumeric() || " -_".contains(c) { c } else { '_' })
        .take(60)
        .collect();
    let stem = stem.trim();
    // Windows keeps some names for devices.
    let device = ["con", "prn", "aux", "nul"].contains(&stem.to_lowercase().as_str())
        || (stem.len() == 4 && ["com", "lpt"].iter().any(|device| stem.to_lowercase().starts_with(device)));
    if stem.is_empty() || device {
        format!("preset {stem}").trim().to_owned()
    } else {
        stem.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_presets_are_whole() {
        let params = DualstepParams::default();
        let mut names: Vec<&str> = BUILT_IN.iter().map(|(name, ..)| *name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), BUILT_IN.len(), "each name once");
        for (index, (name, what, values)) in BUILT_IN.iter().enumerate() {
            assert!(!what.is_empty(), "{name} says what it is for");
            for (id, text) in *values {
                let control = control(&params, id).unwrap_or_else(|| panic!("{name} names {id}"));
                let value = control.parse(text).unwrap_or_else(|| panic!("{name}: {id} can't read {text:?}"));
                assert_eq!(control.text(value), *text, "{name}: {id}");
            }
            assert_eq!(
                Preset::built_in(index).expect("a preset").is_in_force(&params),
                index == 0,
                "{name}"
            );
        }
    }

    #[test]
    fn what_is_saved_is_found_and_nothing_is_ever_lost() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut library = Library::open(folder.path().join("presets"));
        assert_eq!(library.presets().count(), 0);
        let params = DualstepParams::default();
        let mut preset = Preset::of(&params, "Café / Wien: 1928?");
        library.save(&preset).expect("saved");
        let again = Library::open(library.folder().to_owned());
        assert_eq!(again.presets().next(), Some(&preset));

        preset.values.insert("mix".to_owned(), "40 %".to_owned());
        library.save(&preset).expect("replaced");
        library.save(&preset).expect("replaced again");
        assert_eq!(library.presets().collect::<Vec<_>>(), [&preset]);
        // Another name that makes the same file name.
        let other = Preset {
            name: "Café : Wien/ 1928*".to_owned(),
            ..preset.clone()
        };
        library.save(&other).expect("beside it");
        assert_eq!(library.presets().count(), 2);
        library.remove(&preset.name).expect("removed");
        assert_eq!(library.presets().collect::<Vec<_>>(), [&other]);
        let kept = fs::read_dir(library.folder().join("replaced")).expect("a folder").count();
        assert_eq!(kept, 3, "two replaced, one removed");
        assert!(library.remove("quux").is_err());
    }

    #[test]
    fn files_that_are_no_presets_are_named_and_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let garbage = folder.path().join("a.json");
        fs::write(&garbage, "{").expect("written");
        fs::write(folder.path().join("b.json"), r#"{"format": 9, "name": "x", "values": {}}"#).expect("written");
        fs::write(folder.path().join("notes.txt"), "x").expect("written");
        let library = Library::open(folder.path().to_owned());
        assert_eq!((library.presets().count(), library.refused().len()), (0, 2));
        assert!(library.refused()[0].contains("a.json"), "{:?}", library.refused());
        assert!(garbage.exists());
        assert!(
            Preset::of(&DualstepParams::default(), "x").write(&garbage, false).is_err(),
            "nothing is written over"
        );
        assert_eq!(fs::read_to_string(&garbage).expect("read"), "{");
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

    #[test]
    fn file_names_suit_every_system() {
        for (name, stem) in [
            ("Tape hiss", "Tape hiss"),
            ("../../etc", "______etc"),
            ("con", "preset con"),
            ("", "preset"),
            ("a\\b\0", "a_b_"),
        ] {
            assert_eq!(file_stem(name), stem, "{name:?}");
        }
    }
}
