//! `cargo xtask install` and `uninstall`: the user's own plugin folders.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::bundle::{self, CLAP, VST3};

/// Systems with a place of their own for plugins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum System {
    /// And other free desktops.
    Linux,
    /// From Apple.
    MacOs,
    /// From Microsoft.
    Windows,
}

impl System {
    /// The one this program runs on.
    #[must_use]
    pub fn here() -> Self {
        if cfg!(target_os = "macos") {
            Self::MacOs
        } else if cfg!(windows) {
            Self::Windows
        } else {
            Self::Linux
        }
    }

    /// The user's CLAP and VST3 folders, as the formats' specifications name them.
    ///
    /// # Errors
    /// If the environment doesn't name the user's folder.
    pub fn folders(self, environment: &dyn Fn(&str) -> Option<OsString>) -> Result<(PathBuf, PathBuf)> {
        let base = |variable: &str| {
            let value = environment(variable).filter(|v| !v.is_empty());
            value
                .map(PathBuf::from)
                .with_context(|| format!("the environment variable {variable} is not set"))
        };
        Ok(match self {
            Self::Linux => (base("HOME")?.join(".clap"), base("HOME")?.join(".vst3")),
            Self::MacOs => {
                let plugins = base("HOME")?.join("Library/Audio/Plug-Ins");
                (plugins.join("CLAP"), plugins.join("VST3"))
            }
            Self::Windows => {
                let common = base("LOCALAPPDATA")?.join("Programs").join("Common");
                (common.join("CLAP"), common.join("VST3"))
            }
        })
    }
}

/// Builds the bundles and copies them to the user's plugin folders.
///
/// # Errors
/// If the build or the copying fails.
pub fn install() -> Result<()> {
    let (clap, vst3) = System::here().folders(&|v| std::env::var_os(v))?;
    let built = bundle::build(&["--release".to_owned()])?;
    for (folder, name) in [(clap, CLAP), (vst3, VST3)] {
        let to = folder.join(name);
        replace(&built.join(name), &to).with_context(|| format!("can't install {}", to.display()))?;
        println!("Installed {}", to.display());
    }
    Ok(())
}

/// Removes what [`install`] copied.
///
/// # Errors
/// If something is there and can't be removed.
pub fn uninstall() -> Result<()> {
    let (clap, vst3) = System::here().folders(&|v| std::env::var_os(v))?;
    for path in [clap.join(CLAP), vst3.join(VST3)] {
        if remove(&path).with_context(|| format!("can't remove {}", path.display()))? {
            println!("Removed {}", path.display());
        } else {
            println!("Not installed: {}", path.display());
        }
    }
    Ok(())
}

/// Copies a file or folder to `to`, whole or not at all; a host that has the old one open keeps it.
fn replace(from: &Path, to: &Path) -> Result<()> {
    let folder = to.parent().context("no folder")?;
    fs::create_dir_all(folder)?;
    let staging = tempfile::Builder::new().prefix(".dualstep-").tempdir_in(folder)?;
    let (new, old) = (staging.path().join("new"), staging.path().join("old"));
    copy(from, &new)?;
    if to.symlink_metadata().is_ok() {
        fs::rename(to, &old)?;
    }
    fs::rename(&new, to)?;
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    if !from.is_dir() {
        fs::copy(from, to).with_context(|| format!("can't copy {}", from.display()))?;
        return Ok(());
    }
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        copy(&entry.path(), &to.join(entry.file_name()))?;
    }
    Ok(())
}

/// Whether there was something to remove.
fn remove(path: &Path) -> Result<bool> {
    match path.symlink_metadata() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error.into()),
        Ok(found) => {
            if found.is_dir() {
                fs::remove_dir_all(path)?;
            } else {
                fs::remove_file(path)?;
            }
            Ok(true)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_system_has_its_folders() -> Result<()> {
        let environment = |variable: &str| match variable {
            "HOME" => Some(OsString::from("/home/ada")),
            "LOCALAPPDATA" => Some(OsString::from("/Users/ada/AppData/Local")),
            _ => None,
        };
        let pair = |clap: &str, vst3: &str| (PathBuf::from(clap), PathBuf::from(vst3));
        assert_eq!(System::Linux.folders(&environment)?, pair("/home/ada/.clap", "/home/ada/.vst3"));
        assert_eq!(
            System::MacOs.folders(&environment)?,
            pair("/home/ada/Library/Audio/Plug-Ins/CLAP", "/home/ada/Library/Audio/Plug-Ins/VST3")
        );
        assert_eq!(
            System::Windows.folders(&environment)?,
            pair(
                "/Users/ada/AppData/Local/Programs/Common/CLAP",
                "/Users/ada/AppData/Local/Programs/Common/VST3"
            )
        );
        assert!(System::Linux.folders(&|_| None).is_err_and(|e| e.to_string().contains("HOME")));
        Ok(())
    }

    #[test]
    fn files_and_folders_are_replaced_whole() -> Result<()> {
        let root = tempfile::tempdir()?;
        let at = |name: &str| root.path().join(name);
        fs::create_dir_all(at("new.vst3/Contents"))?;
        fs::write(at("new.vst3/Contents/a.so"), "new")?;
        fs::create_dir_all(at("in/it.vst3/Contents"))?;
        fs::write(at("in/it.vst3/Contents/old.so"), "old")?;
        replace(&at("new.vst3"), &at("in/it.vst3"))?;
        assert_eq!(fs::read_to_string(at("in/it.vst3/Contents/a.so"))?, "new");
        assert!(!at("in/it.vst3/Contents/old.so").exists());
        assert_eq!(fs::read_dir(at("in"))?.count(), 1, "no staging folder is left");
        fs::write(at("new.clap"), "clap")?;
        replace(&at("new.clap"), &at("elsewhere/it.clap"))?;
        assert_eq!(fs::read_to_string(at("elsewhere/it.clap"))?, "clap");
        assert!(remove(&at("elsewhere/it.clap"))? && remove(&at("in/it.vst3"))? && !remove(&at("in/it.vst3"))?);
        Ok(())
    }
}
