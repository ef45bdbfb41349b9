//! Files of the user: written whole or not at all, under names that every system takes.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Ending of preset files.
pub(super) const ENDING: &str = "json";

/// Writes beside the file's place, then renames.
///
/// # Errors
/// If the path is relative (to which folder depends on the host), if the system refuses, or if there is a file and `replace` is false.
pub(super) fn write_whole(path: &Path, text: &str, replace: bool) -> Result<(), String> {
    let shown = path.display();
    let failed = |error: std::io::Error| format!("{shown} can't be written: {error}.");
    let Some(folder) = path.parent().filter(|_| path.is_absolute()) else {
        return Err(format!(
            "{shown} can't be written: it doesn't say in which folder. A whole path is expected."
        ));
    };
    fs::create_dir_all(folder).map_err(failed)?;
    let mut builder = tempfile::Builder::new();
    builder.prefix(".").suffix(".part");
    // A temporary file is its owner's alone; what is exported is for others.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut file = builder.tempfile_in(folder).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    let placed = if replace {
        file.persist(path)
    } else {
        file.persist_noclobber(path)
    };
    placed.map(drop).map_err(|error| failed(error.error))
}

/// Whether a preset file may have this name.
pub(super) fn is_preset_name(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case(ENDING))
}

/// The path, with the ending of preset files after whatever else it ends with: the "1" of "Live 2.1" is no ending.
pub(super) fn with_ending(path: PathBuf) -> PathBuf {
    if is_preset_name(&path) {
        return path;
    }
    let mut path = path.into_os_string();
    path.push(format!(".{ENDING}"));
    path.into()
}

/// `stem.json`, or with a number if that exists.
pub(super) fn free_path(folder: &Path, stem: &str) -> PathBuf {
    let names = std::iter::once(format!("{stem}.json")).chain((2u32..).map(|number| format!("{stem} {number}.json")));
    names
        .map(|name| folder.join(name))
        .find(|path| !path.exists())
        .unwrap_or_else(|| folder.join("preset.json"))
}

/// A file name that every system takes: letters, digits and what is harmless; the preset's own name is in the file.
pub(super) fn file_stem(name: &str) -> String {
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
    fn nothing_is_written_over_unasked_nor_to_a_relative_path() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("new").join("a.json");
        write_whole(&path, "1", false).expect("written");
        assert!(write_whole(&path, "2", false).is_err());
        assert_eq!(fs::read_to_string(&path).expect("read"), "1");
        write_whole(&path, "3", true).expect("replaced");
        assert_eq!(fs::read_to_string(&path).expect("read"), "3");
        let here = fs::read_dir(folder.path().join("new")).expect("a folder").count();
        assert_eq!(here, 1, "nothing unfinished is left");
        let refused = write_whole(Path::new("a.json"), "4", true).expect_err("relative");
        assert!(refused.contains("whole path") && !Path::new("a.json").exists(), "{refused}");
    }

    #[test]
    fn what_follows_a_dot_is_no_ending() {
        for (path, ending) in [
            ("Live 2", "Live 2.json"),
            ("Live 2.1", "Live 2.1.json"),
            ("a.json", "a.json"),
            ("a.JSON", "a.JSON"),
        ] {
            assert_eq!(with_ending(path.into()), Path::new(ending));
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
