//! `cargo xtask demo`: the bundled recording before and after.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::audio::{Encoding, Planar, Reader, Writer, silence};
use crate::bundle;
use crate::host::Bundle;
use crate::metrics::{noise_floor_db, si_sdr_db};
use crate::render::{self, Job, LIVE, Outcome, STUDIO, Settings};

/// What a clean reference's name ends in.
const CLEAN: &str = ".clean.flac";

/// Restores the bundled noisy recording with both plugins and shows what came of it.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder for the results [default: out/demo in the workspace]
    #[arg(long, value_name = "FOLDER")]
    pub out: Option<PathBuf>,
    /// See there.
    #[command(flatten)]
    pub bundle: bundle::Choice,
}

/// A bundled recording.
struct Clip {
    name: String,
    noisy: PathBuf,
    sample_rate_hz: u32,
    before: Planar,
    clean: Option<Planar>,
}

/// Runs the command.
///
/// # Errors
/// If the build, a rendering or writing a result fails.
pub fn run(args: &Args) -> Result<()> {
    let root = bundle::workspace_root();
    let out = bundle::results_folder(args.out.as_deref(), "out/demo")?;
    let plugin = Bundle::load(&args.bundle.clap()?)?;
    fs::create_dir_all(&out).with_context(|| format!("can't make the folder {}", out.display()))?;
    let clips = find_clips(&root.join("assets").join("demo"))?;
    println!();
    for clip in &clips {
        let before = out.join(format!("{}-before.wav", clip.name));
        save(&before, clip)?;
        println!(
            "{} ({:.1} s, {} Hz, {} channel{})",
            clip.name,
            clip.before[0].len() as f64 / f64::from(clip.sample_rate_hz),
            clip.sample_rate_hz,
            clip.before.len(),
            if clip.before.len() == 1 { "" } else { "s" }
        );
        println!(
            "  {:<14} {:>10} {:>16} {:>24} {:>14}",
            "", "latency", "speed", "noise floor", "SI-SDR gain"
        );
        for (label, id) in [("Dualstep", STUDIO), ("Dualstep Live", LIVE)] {
            restore(&plugin, clip, label, id, &out)?;
        }
        println!();
    }
    println!("Listen and look: {}", out.display());
    for clip in &clips {
        println!(
            "  {}-before.wav, -studio-after.wav, -studio-removed.wav, -studio.png; the same for live",
            clip.name
        );
    }
    Ok(())
}

/// Renders a clip with one plugin and prints a line of the table.
fn restore(plugin: &Bundle, clip: &Clip, label: &str, id: &str, out: &Path) -> Result<()> {
    let kind = if id == LIVE { "live" } else { "studio" };
    let after = out.join(format!("{}-{kind}-after.wav", clip.name));
    let settings = Settings {
        plugin: id.to_owned(),
        set: Vec::new(),
        automation: Vec::new(),
        block: 4096,
        encoding: Encoding::Float,
        force: true,
    };
    let job = Job {
        input: &clip.noisy,
        output: &after,
        removed: Some(&out.join(format!("{}-{kind}-removed.wav", clip.name))),
        spectrogram: Some(&out.join(format!("{}-{kind}.png", clip.name))),
    };
    let outcome = render::render(plugin, &settings, &job, &|_, _| ()).with_context(|| format!("{} with {label}", clip.name))?;
    let (_, restored) = load(&after)?;
    println!("{}", row(label, &outcome, clip, &restored));
    Ok(())
}

fn row(label: &str, outcome: &Outcome, clip: &Clip, restored: &Planar) -> String {
    let floor = |audio: &Planar| noise_floor_db(audio, clip.sample_rate_hz);
    let gain = clip.clean.as_ref().map_or_else(
        || "no reference".to_owned(),
        |clean| {
            let (before, after) = (si_sdr_db(clean, &clip.before), si_sdr_db(clean, restored));
            format!("{:+.1} dB", after - before)
        },
    );
    format!(
        "  {label:<14} {:>7.1} ms {:>7.1} x real time {:>8.1} -> {:>6.1} dBFS {gain:>14}",
        outcome.latency as f64 * 1000.0 / f64::from(outcome.sample_rate_hz),
        outcome.speed(),
        floor(&clip.before),
        floor(restored),
    )
}

/// The recordings in `folder`, with their clean references where they have one.
fn find_clips(folder: &Path) -> Result<Vec<Clip>> {
    let entries = fs::read_dir(folder).with_context(|| format!("can't read {}", folder.display()))?;
    let mut paths: Vec<PathBuf> = entries.map(|e| e.map(|e| e.path())).collect::<Result<_, _>>()?;
    paths.sort();
    let mut clips = Vec::new();
    for noisy in paths {
        let file_name = noisy.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let Some(name) = file_name.strip_suffix(".flac").filter(|_| !file_name.ends_with(CLEAN)) else {
            continue;
        };
        let (sample_rate_hz, before) = load(&noisy)?;
        let reference = folder.join(format!("{name}{CLEAN}"));
        let clean = if reference.exists() {
            let (rate, clean) = load(&reference)?;
            if rate != sample_rate_hz || clean.len() != before.len() || clean[0].len() != before[0].len() {
                bail!("{} doesn't match {file_name}", reference.display());
            }
            Some(clean)
        } else {
            None
        };
        clips.push(Clip {
            name: name.to_owned(),
            noisy,
            sample_rate_hz,
            before,
            clean,
        });
    }
    if clips.is_empty() {
        bail!("no recordings in {}", folder.display());
    }
    Ok(clips)
}

/// A whole recording.
pub(crate) fn load(path: &Path) -> Result<(u32, Planar)> {
    const BLOCK: usize = 1 << 16;
    let mut reader = Reader::open(path).with_context(|| path.display().to_string())?;
    let mut all = vec![Vec::new(); reader.channels()];
    let mut block = silence(reader.channels(), BLOCK);
    loop {
        let count = reader.read(&mut block, BLOCK).with_context(|| path.display().to_string())?;
        for (to, from) in all.iter_mut().zip(&block) {
            to.extend_from_slice(&from[..count]);
        }
        if count < BLOCK {
            return Ok((reader.sample_rate_hz(), all));
        }
    }
}

fn save(path: &Path, clip: &Clip) -> Result<()> {
    let mut writer = Writer::create(path, clip.sample_rate_hz, clip.before.len(), Encoding::Float, None, true)?;
    writer.write(&clip.before, 0, clip.before[0].len())?;
    Ok(writer.finish()?)
}
