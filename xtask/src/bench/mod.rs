//! `cargo xtask bench` and `golden`: figures, and Rust against PyTorch.

mod peers;
mod plugin;
mod system;
mod table;

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use serde_json::{Map, json};

use crate::bundle::{self, cargo};

/// Measures the engine's step, then the built plugin in a host beside peers: as Markdown, and as JSON if asked for.
///
/// All figures of cost are processor time, so that other programs disturb them little.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Seconds of stereo audio for the whole plugin and its peers; the other measurements take parts of it
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub seconds: u32,
    /// Leave out the engine's own bench
    #[arg(long)]
    pub plugin_only: bool,
    /// See there.
    #[command(flatten)]
    pub bundle: bundle::Choice,
    /// Write all figures to this file, too
    #[arg(long)]
    pub json: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// If a build or the plugin fails, or the JSON file can't be written.
pub fn run(args: &Args) -> Result<()> {
    // The build changes the current folder, and a measurement mustn't be lost to a name that can't be written.
    let json_path = args.json.as_deref().map(std::path::absolute).transpose()?;
    if let Some(path) = &json_path {
        let folder = path.parent().unwrap_or(path);
        tempfile::tempfile_in(folder).with_context(|| format!("can't write {}", path.display()))?;
    }
    if !args.plugin_only {
        println!("Engine, one thread (one JSON object a line):");
        let engine = ["bench", "--package", "dualstep-engine", "--bench", "step", "--bench", "output"];
        if !cargo().args(engine).status().context("can't run cargo")?.success() {
            bail!("the engine's bench failed");
        }
        println!();
    }
    let clap = args.bundle.clap()?;
    let seconds = f64::from(args.seconds);
    let load_before = system::load_average();
    let mut figures = Map::new();
    let mut show = |table: table::Table| {
        println!("{}", table.markdown());
        figures.insert(table.name.to_owned(), table.json());
    };
    // First, because a process loads a library only once.
    let (plugin, scan_s) = plugin::scan(&clap)?;
    let (whole, ours) = plugin::whole(&plugin, seconds)?;
    show(whole);
    show(peers::compare(&ours, seconds)?);
    show(plugin::instances(&plugin, seconds)?);
    show(plugin::rates(&plugin, seconds / 6.0)?);
    show(plugin::blocks(&plugin, seconds / 6.0)?);
    show(plugin::idle(&plugin, seconds / 6.0)?);
    plugin::times(&plugin, seconds / 6.0)?.into_iter().for_each(&mut show);
    show(plugin::starts(&plugin, scan_s)?);
    let processor = system::processor().unwrap_or_else(|| "unknown".to_owned());
    let load_after = system::load_average();
    let text = |load: Option<f64>| load.map_or_else(|| "unknown".to_owned(), |load| format!("{load:.1}"));
    println!(
        "On {} cores of {processor}; other programs' load: {} before, {} after.",
        std::thread::available_parallelism()?,
        text(load_before),
        text(load_after)
    );
    if let Some(path) = &json_path {
        let all = json!({
            "version": env!("CARGO_PKG_VERSION"),
            "seconds": args.seconds,
            "processor": processor,
            "cores": std::thread::available_parallelism()?.get(),
            "load": [load_before, load_after],
            "figures": figures,
        });
        std::fs::write(path, format!("{all:#}\n")).with_context(|| format!("can't write {}", path.display()))?;
    }
    Ok(())
}

/// Checks the Rust networks against the vectors that the training code wrote.
///
/// # Errors
/// If they differ.
pub fn golden() -> Result<()> {
    let test = ["test", "--package", "dualstep-engine", "--test", "golden", "--", "--nocapture"];
    if !cargo().args(test).status().context("can't run cargo")?.success() {
        bail!("the golden vectors don't match, or can't be read");
    }
    Ok(())
}
