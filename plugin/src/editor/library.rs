//! The user's presets: a folder with one file each.

use super::files::{file_stem, free_path, is_preset_name};
use super::presets::Preset;
use std::fs;
use std::path::{Path, PathBuf};

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
        paths.retain(|path| path.is_file() && is_preset_name(path));
        paths.sort();
        for path in paths {
            match Preset::read(&path) {
                Ok(preset) => self.presets.push((path, preset)),
                Err(reason) => self.refused.push(reason),
            }
        }
        self.presets.sort_by_key(|(_, preset)| preset.name.to_lowercase());
    }

    /// All presets with their files, by name. Files may share a name.
    pub(super) fn presets(&self) -> impl Iterator<Item = &(PathBuf, Preset)> {
        self.presets.iter()
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
        self.presets().any(|(_, preset)| preset.name == name)
    }

    /// Saves a preset, and gives its file. One of the same name moves to the folder of what was replaced.
    ///
    /// # Errors
    /// Why it isn't saved, for the user.
    pub(super) fn save(&mut self, preset: &Preset) -> Result<PathBuf, String> {
        let old = self.presets.iter().position(|(_, known)| known.name == preset.name);
        let path = match old {
            Some(index) => {
                // A copy, so that there is a whole file under the name at every moment.
                let path = self.presets[index].0.clone();
                let kept = self.place_for_replaced(&path)?;
                fs::copy(&path, &kept).map_err(|error| format!("{} can't be kept: {error}. Nothing was saved.", path.display()))?;
                path
            }
            None => free_path(&self.folder, &file_stem(&preset.name)),
        };
        let result = preset.write(&path, old.is_some());
        self.look();
        result.map(|()| path)
    }

    /// Moves a preset to the folder of what was replaced.
    ///
    /// # Errors
    /// If the system refuses.
    pub(super) fn remove(&mut self, path: &Path) -> Result<(), String> {
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
        Ok(free_path(&folder, &stem))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DualstepParams;

    #[test]
    fn what_is_saved_is_found_and_nothing_is_ever_lost() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut library = Library::open(folder.path().join("presets"));
        assert_eq!(library.presets().count(), 0);
        let params = DualstepParams::default();
        let defaults = Preset::built_in(0).expect("a preset").values(&params);
        let mut preset = Preset::of(&params, &defaults, "Café / Wien: 1928?");
        let path = library.save(&preset).expect("saved");
        let again = Library::open(library.folder().to_owned());
        assert_eq!(again.presets().next(), Some(&(path.clone(), preset.clone())));

        preset.values.insert("mix".to_owned(), "40 %".to_owned());
        library.save(&preset).expect("replaced");
        assert_eq!(library.save(&preset).as_ref(), Ok(&path), "replaced again");
        let found = |library: &Library| library.presets().map(|(_, preset)| preset.clone()).collect::<Vec<_>>();
        assert_eq!(found(&library), [preset.clone()]);
        // Another name that makes the same file name.
        let mut other = preset.clone();
        other.name = "Café : Wien/ 1928*".to_owned();
        library.save(&other).expect("beside it");
        assert_eq!(library.presets().count(), 2);
        library.remove(&path).expect("removed");
        assert_eq!(found(&library), [other]);
        let kept = fs::read_dir(library.folder().join("replaced")).expect("a folder").count();
        assert_eq!(kept, 3, "two replaced, one removed");
        assert!(library.remove(&path).is_err(), "it is gone");
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
            Preset::of(&DualstepParams::default(), &[], "x").write(&garbage, false).is_err(),
            "nothing is written over"
        );
        assert_eq!(fs::read_to_string(&garbage).expect("read"), "{");
    }
}
