//! `cargo xtask bundle`: builds the plugin and wraps it as `.clap` and `.vst3`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// The plugin's package.
pub const PACKAGE: &str = "dualstep";
/// File name of the CLAP bundle.
pub const CLAP: &str = "Dualstep.clap";
/// File name of the VST3 bundle.
pub const VST3: &str = "Dualstep.vst3";
/// Features of the debug build that the tests use.
pub const DEBUG_FEATURES: &str = "dualstep/fault-injection,dualstep/assert_process_allocs";

/// Builds the bundles into `target/bundled`, optimised unless --debug is given.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Build without optimisation
    #[arg(long)]
    pub debug: bool,
    /// Further options for `cargo build`, e.g. --features or --target
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "CARGO OPTIONS")]
    pub cargo: Vec<String>,
}

/// Which bundles a command works with.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Choice {
    /// Use the bundles in DUALSTEP_BUNDLE or target/bundled as they are
    #[arg(long)]
    pub no_build: bool,
}

impl Choice {
    /// The optimised `.clap`.
    ///
    /// # Errors
    /// If it has to be built and can't be.
    pub fn clap(self) -> Result<PathBuf> {
        if self.no_build {
            find_or_build()
        } else {
            Ok(build(&["--release".to_owned()])?.join(CLAP))
        }
    }
}

/// Where a command writes to: the folder that was asked for, as the user means it, or else `usual` in the workspace.
///
/// # Errors
/// If the current folder is unknown.
pub fn results_folder(asked: Option<&Path>, usual: &str) -> Result<PathBuf> {
    // The build changes the current folder, to which paths on the command line are relative.
    asked.map_or_else(
        || Ok(workspace_root().join(usual)),
        |asked| std::path::absolute(asked).context("the current folder is unknown"),
    )
}

/// Runs the command.
///
/// # Errors
/// If the build fails.
pub fn run(args: &Args) -> Result<()> {
    let mut options = args.cargo.clone();
    if !args.debug {
        options.insert(0, "--release".to_owned());
    }
    build(&options).map(drop)
}

/// The workspace's folder.
#[must_use]
pub fn workspace_root() -> PathBuf {
    // Cargo names the package's folder when it runs the program; it is baked in for when it is run by hand.
    let package = std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    package.parent().map_or_else(|| package.clone(), Path::to_owned)
}

/// The folder that cargo builds in.
///
/// # Errors
/// If cargo doesn't say.
pub fn target_folder() -> Result<PathBuf> {
    let output = cargo()
        .args(["metadata", "--no-deps", "--format-version=1"])
        .output()
        .context("can't run cargo")?;
    if !output.status.success() {
        bail!("cargo metadata failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).context("cargo metadata")?;
    let folder = metadata["target_directory"]
        .as_str()
        .context("cargo metadata names no target directory")?;
    Ok(PathBuf::from(folder))
}

/// The cargo that runs this program, in the workspace's folder.
#[must_use]
pub fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(workspace_root());
    cargo
}

/// Builds the plugin with `options` of `cargo build` and wraps it. Returns the folder of the bundles.
///
/// # Errors
/// If either fails.
pub fn build(options: &[String]) -> Result<PathBuf> {
    let target = target_folder()?;
    let status = cargo()
        .args(["build", "--package", PACKAGE])
        .args(options)
        .status()
        .context("can't run cargo")?;
    if !status.success() {
        bail!("building the plugin failed");
    }
    wrap(&target, options)
}

/// Wraps what `cargo build` with `options` has built. Returns the folder of the bundles: `bundled` in `target`, or in the folder of another system.
///
/// # Errors
/// If there is nothing to wrap.
pub fn wrap(target: &Path, options: &[String]) -> Result<PathBuf> {
    // The bundler reads bundler.toml in the current folder.
    std::env::set_current_dir(workspace_root()).context("can't change to the workspace's folder")?;
    let bundled = target.join("bundled");
    // It writes into what is there, which may be of another system.
    for name in [CLAP, VST3] {
        remove(&bundled.join(name))?;
    }
    nice_plug_xtask::bundle(target, PACKAGE, options, false)?;
    let Some(triple) = triple_in(options) else { return Ok(bundled) };
    let elsewhere = target.join(triple).join("bundled");
    move_bundles(&bundled, &elsewhere)?;
    Ok(elsewhere)
}

/// The system that options of `cargo build` name.
fn triple_in(options: &[String]) -> Option<&str> {
    let at = options.iter().position(|option| option == "--target");
    let given = at.and_then(|at| options.get(at + 1)).map(String::as_str);
    given.or_else(|| options.iter().find_map(|option| option.strip_prefix("--target=")))
}

/// Moves the bundles of one folder to another, in place of those that are there: the bundler has one folder for all profiles and systems, and none
/// may be mistaken for the others.
///
/// # Errors
/// If one is missing, or the file system refuses.
pub fn move_bundles(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("can't make {}", to.display()))?;
    for name in [CLAP, VST3] {
        remove(&to.join(name))?;
        fs::rename(from.join(name), to.join(name)).with_context(|| format!("can't move {name} to {}", to.display()))?;
    }
    Ok(())
}

/// Removes a bundle, which is a file or a folder, if it is there.
fn remove(bundle: &Path) -> Result<()> {
    let removed = match bundle.symlink_metadata() {
        Err(_) => Ok(()),
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(bundle),
        Ok(_) => fs::remove_file(bundle),
    };
    removed.with_context(|| format!("can't remove {}", bundle.display()))
}

/// The optimised `.clap`, built if there is none yet.
///
/// # Errors
/// If it has to be built and can't be.
pub fn find_or_build() -> Result<PathBuf> {
    if let Some(folder) = std::env::var_os("DUALSTEP_BUNDLE") {
        return Ok(PathBuf::from(folder).join(CLAP));
    }
    let path = target_folder()?.join("bundled").join(CLAP);
    if !path.exists() {
        eprintln!("There is no {} yet: building it.", path.display());
        let here = std::env::current_dir()?;
        build(&["--release".to_owned()])?;
        // Paths on the command line are relative to where the user is.
        std::env::set_current_dir(here)?;
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_is_found_in_the_options() {
        let of = |options: &[&str]| triple_in(&options.iter().map(|o| (*o).to_owned()).collect::<Vec<_>>()).map(str::to_owned);
        assert_eq!(of(&["--release"]), None);
        assert_eq!(
            of(&["--release", "--target", "aarch64-apple-darwin"]).as_deref(),
            Some("aarch64-apple-darwin")
        );
        assert_eq!(of(&["--target=x86_64-pc-windows-gnu"]).as_deref(), Some("x86_64-pc-windows-gnu"));
    }

    #[test]
    fn bundles_replace_those_of_another_system() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        // On Linux a CLAP is a file, on macOS a folder.
        fs::create_dir_all(from.join(VST3).join("Contents/x86_64-linux"))?;
        fs::write(from.join(CLAP), "x")?;
        fs::create_dir_all(to.join(CLAP).join("Contents/MacOS"))?;
        fs::create_dir_all(to.join(VST3).join("Contents/MacOS"))?;
        move_bundles(&from, &to)?;
        assert!(to.join(CLAP).is_file() && to.join(VST3).join("Contents/x86_64-linux").is_dir());
        assert!(!to.join(VST3).join("Contents/MacOS").exists() && !from.join(CLAP).exists());
        Ok(())
    }
}
