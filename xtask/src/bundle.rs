//! `cargo xtask bundle`: builds the plugin and wraps it as `.clap` and `.vst3`.

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

/// Wraps what `cargo build` with `options` has built.
///
/// # Errors
/// If there is nothing to wrap.
pub fn wrap(target: &Path, options: &[String]) -> Result<PathBuf> {
    // The bundler reads bundler.toml in the current folder.
    std::env::set_current_dir(workspace_root()).context("can't change to the workspace's folder")?;
    nice_plug_xtask::bundle(target, PACKAGE, options, false)?;
    Ok(target.join("bundled"))
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
