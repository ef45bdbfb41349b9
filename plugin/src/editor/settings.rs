//! What the user prefers in all sessions. One file, written whole.

use super::files::write_whole;
use egui::Theme;
use etcetera::BaseStrategy;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Name of the file.
const FILE: &str = "settings.json";

/// Preferences. What a file lacks, or holds in a form that can't be read, takes its default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Settings {
    light: bool,
}

impl Settings {
    /// Those in `folder`.
    pub(super) fn read(folder: Option<&Path>) -> Self {
        folder
            .and_then(|folder| std::fs::read_to_string(folder.join(FILE)).ok())
            .and_then(|text| serde_json::from_str(&text).ok())
            .unwrap_or_default()
    }

    /// Keeps them.
    ///
    /// # Errors
    /// If the file can't be written.
    pub(super) fn write(&self, folder: &Path) -> Result<(), String> {
        let text = serde_json::to_string_pretty(self).map_err(|error| error.to_string())?;
        write_whole(&folder.join(FILE), &text, true)
    }

    pub(super) fn theme(&self) -> Theme {
        if self.light { Theme::Light } else { Theme::Dark }
    }

    pub(super) fn set_theme(&mut self, theme: Theme) {
        self.light = theme == Theme::Light;
    }
}

/// Folder of the plugin's files in the system's folder for the user's data; none if the system names no such folder.
pub(crate) fn data_folder() -> Option<PathBuf> {
    let name = if cfg!(any(windows, target_os = "macos")) {
        "Dualstep"
    } else {
        "dualstep"
    };
    let folders = etcetera::base_strategy::choose_native_strategy().ok()?;
    Some(folders.data_dir().join(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_come_back_and_broken_files_do_no_harm() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut settings = Settings::read(Some(folder.path()));
        assert_eq!(settings.theme(), Theme::Dark);
        settings.set_theme(Theme::Light);
        settings.write(folder.path()).expect("written");
        assert_eq!(Settings::read(Some(folder.path())), settings);
        std::fs::write(folder.path().join(FILE), "{\"light\": 7}").expect("written");
        assert_eq!(Settings::read(Some(folder.path())), Settings::default());
        assert_eq!(Settings::read(None), Settings::default());
    }
}
