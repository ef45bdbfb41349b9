//! `cargo xtask render`: recordings through the built plugin.

mod file;
mod plan;
mod report;
mod stream;

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, bail};

pub use file::{Job, Outcome, Settings, render};
pub use plan::{Format, Item, plan};

use crate::audio::{self, Encoding};
use crate::automation;
use crate::bundle;
use crate::host::Bundle;
use crate::parameters::{self, Setting};
use report::Report;

/// Id of the plugin for mixing and restoring.
pub const STUDIO: &str = "org.dualstep.studio";
/// Id of the plugin for live use.
pub const LIVE: &str = "org.dualstep.live";

/// Renders recordings through the plugin, as a host does when it exports.
///
/// IN may be a file (WAV, AIFF, FLAC, MP3, OGG Vorbis) or a folder, whose tree is repeated under OUT. Results are WAV or FLAC, by OUT's ending; they
/// keep sample rate, channels and length and are in time with IN.
#[derive(Debug, clap::Args)]
#[command(after_help = parameters::help())]
pub struct Args {
    /// A recording or a folder of recordings
    #[arg(value_name = "IN")]
    pub input: PathBuf,
    /// A file that ends in .wav or .flac, or a folder
    #[arg(value_name = "OUT")]
    pub output: PathBuf,
    /// Use Dualstep Live instead of Dualstep
    #[arg(long)]
    pub live: bool,
    /// Set a parameter, e.g. --set stage1=80; may be repeated
    #[arg(long, value_name = "ID=VALUE", allow_hyphen_values = true)]
    pub set: Vec<Setting>,
    /// Parameter changes over time: a text file with a line `seconds,id,value` for each
    #[arg(long, value_name = "FILE")]
    pub automation: Option<PathBuf>,
    /// Samples per block; the result doesn't depend on it
    #[arg(long, value_name = "N", default_value_t = 4096, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=16384))]
    pub block: usize,
    /// Write what was removed, too: IN minus OUT. A folder if IN is one
    #[arg(long, value_name = "FILE")]
    pub removed: Option<PathBuf>,
    /// Draw before, after and what was removed. A folder if IN is one
    #[arg(long, value_name = "PNG")]
    pub spectrogram: Option<PathBuf>,
    /// Recordings rendered at once [default: the number of cores]
    #[arg(long, value_name = "N", value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=256))]
    pub jobs: Option<usize>,
    /// Replace existing files
    #[arg(long)]
    pub force: bool,
    /// Write WAV files with 24-bit integers instead of 32-bit floating point (FLAC is always 24-bit)
    #[arg(long)]
    pub int24: bool,
    /// What a folder's recordings become [default: FLAC stays FLAC, the others become WAV]
    #[arg(long, value_name = "FORMAT")]
    pub to: Option<Format>,
    /// The .clap to use [default: the workspace's, which is built if it is missing]
    #[arg(long, value_name = "CLAP")]
    pub bundle: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// If nothing could be begun, or if any of the recordings failed.
pub fn run(args: &Args) -> Result<()> {
    let items = plan(
        &args.input,
        &args.output,
        args.removed.as_deref(),
        args.spectrogram.as_deref(),
        args.to,
    )?;
    let automation = match &args.automation {
        Some(path) => automation::read(path).with_context(|| format!("automation {}", path.display()))?,
        None => Vec::new(),
    };
    let settings = Settings {
        plugin: if args.live { LIVE } else { STUDIO }.to_owned(),
        set: args.set.clone(),
        automation,
        block: args.block,
        encoding: if args.int24 { Encoding::Int24 } else { Encoding::Float },
        force: args.force,
    };
    let path = match &args.bundle {
        Some(path) => path.clone(),
        None => bundle::find_or_build()?,
    };
    let plugin = Bundle::load(&path)?;
    audio::clean_up_when_interrupted().context("can't prepare for Ctrl-C")?;
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let failed = render_all(&plugin, &settings, &items, args.jobs.unwrap_or(cores));
    if failed > 0 {
        bail!("{failed} of {} recordings failed", items.len());
    }
    Ok(())
}

/// Renders the items, `jobs` at a time, and returns how many failed. Every failure is reported, none stops the others.
fn render_all(bundle: &Bundle, settings: &Settings, items: &[Item], jobs: usize) -> usize {
    let report = Report::new(items.len());
    let next = AtomicUsize::new(0);
    let failed = Mutex::new(0);
    std::thread::scope(|scope| {
        for _ in 0..jobs.min(items.len()) {
            scope.spawn(|| {
                while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let bar = report.begin(&item.name);
                    let result = render_item(bundle, settings, item, &|done, total| bar.progress(done, total));
                    match result {
                        Ok(outcome) => bar.done(&item.output, &outcome),
                        Err(error) => {
                            *failed.lock().unwrap_or_else(std::sync::PoisonError::into_inner) += 1;
                            bar.failed(&error);
                        }
                    }
                }
            });
        }
    });
    report.end();
    failed.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn render_item(bundle: &Bundle, settings: &Settings, item: &Item, progress: &dyn Fn(u64, Option<u64>)) -> Result<Outcome> {
    if item.in_tree {
        let targets = [Some(&item.output), item.removed.as_ref(), item.spectrogram.as_ref()];
        for folder in targets.into_iter().flatten().filter_map(|p| p.parent()) {
            std::fs::create_dir_all(folder).with_context(|| format!("can't make the folder {}", folder.display()))?;
        }
    }
    let job = Job {
        input: &item.input,
        output: &item.output,
        removed: item.removed.as_deref(),
        spectrogram: item.spectrogram.as_deref(),
    };
    render(bundle, settings, &job, progress)
}

/// Whether two paths lead to the same existing file.
fn same_file(a: &Path, b: &Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}
