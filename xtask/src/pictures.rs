//! `cargo xtask pictures`: the manual's pictures of the panel.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::bundle::{self, CLAP};
use crate::test::environment_for;

/// Opens the built plugin's panel under Xvfb while the demo recording plays, and makes docs/panel*.png anew.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder for the pictures [default: docs in the workspace]
    #[arg(long, value_name = "FOLDER")]
    pub out: Option<PathBuf>,
    /// Use the bundle in DUALSTEP_BUNDLE or target/bundled as it is
    #[arg(long)]
    pub no_build: bool,
}

/// Runs the command.
///
/// # Errors
/// If the build fails, or there is no Xvfb.
pub fn run(args: &Args) -> Result<()> {
    let root = bundle::workspace_root();
    let out = args.out.clone().map_or_else(|| Ok(root.join("docs")), std::path::absolute)?;
    let clap = if args.no_build {
        bundle::find_or_build()?
    } else {
        bundle::build(&["--release".to_owned()])?.join(CLAP)
    };
    let status = Command::new(environment_for(&root)?)
        .arg(root.join("tests").join("python").join("pictures.py"))
        .arg(clap)
        .arg(root.join("assets").join("demo").join("canon-speech.flac"))
        .arg(out)
        .status()
        .context("can't run Python")?;
    if !status.success() {
        bail!("no pictures");
    }
    Ok(())
}
