//! `cargo xtask pictures`: the manual's pictures of the panel.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::bundle;
use crate::test::environment_for;

/// Opens the built plugin's panel under Xvfb while the demo recording plays, and makes docs/panel*.png anew.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder for the pictures [default: docs in the workspace]
    #[arg(long, value_name = "FOLDER")]
    pub out: Option<PathBuf>,
    /// Make every state of the panel instead, in both themes and at one and two pixels per point: to look at, not to keep
    #[arg(long, requires = "out")]
    pub all: bool,
    /// See there.
    #[command(flatten)]
    pub bundle: bundle::Choice,
}

/// Runs the command.
///
/// # Errors
/// If the build fails, or there is no Xvfb.
pub fn run(args: &Args) -> Result<()> {
    let root = bundle::workspace_root();
    let out = bundle::results_folder(args.out.as_deref(), "docs")?;
    let clap = args.bundle.clap()?;
    std::fs::create_dir_all(&out).with_context(|| format!("can't make the folder {}", out.display()))?;
    let status = Command::new(environment_for(&root)?)
        .arg(root.join("tests").join("python").join("pictures.py"))
        .arg(clap)
        .arg(root.join("assets").join("demo").join("canon-speech.flac"))
        .arg(out)
        .args(args.all.then_some("--all"))
        .status()
        .context("can't run Python")?;
    if !status.success() {
        bail!("no pictures");
    }
    Ok(())
}
