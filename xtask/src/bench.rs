//! `cargo xtask bench` and `golden`: figures, and Rust against PyTorch.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::audio::{Planar, silence};
use crate::bundle::{self, CLAP, cargo};
use crate::host::{Bundle, Config, Session};
use crate::render::{LIVE, STUDIO};

/// What a host in a studio runs at.
const RATE_HZ: u16 = 48_000;
/// A common host buffer.
const BLOCK: usize = 256;
/// Instances beyond the first whose memory is measured.
const FURTHER: usize = 4;

/// Measures the engine's step, then the built plugin in a host.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Seconds of stereo audio for the whole plugin
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub seconds: u32,
    /// Leave out the engine's own bench
    #[arg(long)]
    pub plugin_only: bool,
    /// Use the bundles in DUALSTEP_BUNDLE or target/bundled as they are
    #[arg(long)]
    pub no_build: bool,
}

/// Runs the command.
///
/// # Errors
/// If a build or the plugin fails.
pub fn run(args: &Args) -> Result<()> {
    if !args.plugin_only {
        println!("Engine, one thread (one JSON object a line):");
        let engine = ["bench", "--package", "dualstep-engine", "--bench", "step"];
        if !cargo().args(engine).status().context("can't run cargo")?.success() {
            bail!("the engine's bench failed");
        }
    }
    let clap = if args.no_build {
        bundle::find_or_build()?
    } else {
        bundle::build(&["--release".to_owned()])?.join(CLAP)
    };
    let plugin = Bundle::load(&clap)?;
    println!();
    println!(
        "Whole plugin in a CLAP host: {} s of stereo noise and tones at {RATE_HZ} Hz in blocks of {BLOCK}",
        args.seconds
    );
    println!(
        "  {:<14} {:>10} {:>14} {:>14} {:>16} {:>24}",
        "", "latency", "CPU of a core", "audio thread", "speed", "RSS per further instance"
    );
    for (label, id) in [("Dualstep", STUDIO), ("Dualstep Live", LIVE)] {
        println!("{}", measure(&plugin, label, id, args.seconds)?);
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

fn measure(plugin: &Bundle, label: &str, id: &str, seconds: u32) -> Result<String> {
    let mut first = start(plugin, id)?;
    let latency_ms = first.latency() as f64 * 1000.0 / f64::from(RATE_HZ);
    play(&mut first, 1)?;
    let (before, begin) = (cpu_seconds(), std::time::Instant::now());
    play(&mut first, seconds)?;
    let (after, wall) = (cpu_seconds(), begin.elapsed().as_secs_f64());
    let share = |pick: fn(&Cpu) -> f64| match (&before, &after) {
        (Some(before), Some(after)) => format!("{:.1} %", (pick(after) - pick(before)) / f64::from(seconds) * 100.0),
        _ => "not measured".to_owned(),
    };
    let with_one = resident_mib();
    let mut others = Vec::new();
    for _ in 0..FURTHER {
        let mut other = start(plugin, id)?;
        play(&mut other, 1)?;
        others.push(other);
    }
    let memory = match (with_one, resident_mib()) {
        (Some(one), Some(all)) => format!("{:.1} MiB", (all - one) / FURTHER as f64),
        _ => "not measured".to_owned(),
    };
    Ok(format!(
        "  {label:<14} {latency_ms:>7.1} ms {:>14} {:>14} {:>5.1} x real time {memory:>24}",
        share(|cpu| cpu.all),
        share(|cpu| cpu.this_thread),
        f64::from(seconds) / wall.max(1e-9),
    ))
}

fn start(plugin: &Bundle, id: &str) -> Result<Session> {
    let config = Config {
        sample_rate_hz: f64::from(RATE_HZ),
        max_block: BLOCK,
        channels: 2,
        offline: true,
    };
    Ok(plugin.instance(id)?.activate(&config)?)
}

/// Sends `seconds` of noise and tones through.
fn play(session: &mut Session, seconds: u32) -> Result<()> {
    let (mut input, mut output) = (noise(), silence(2, BLOCK));
    let frames = u64::from(seconds) * u64::from(RATE_HZ);
    let whole = input[0].len() / BLOCK;
    for block in 0..usize::try_from(frames)? / BLOCK {
        let from = (block % whole) * BLOCK;
        let mut inputs: Vec<&mut [f32]> = input.iter_mut().map(|c| &mut c[from..from + BLOCK]).collect();
        let mut outputs: Vec<&mut [f32]> = output.iter_mut().map(Vec::as_mut_slice).collect();
        session.process(&mut inputs, &mut outputs, &[])?;
    }
    Ok(())
}

/// A second of noise with a tone, different in the two channels.
fn noise() -> Planar {
    let mut state = 1u32;
    let mut audio = silence(2, usize::from(RATE_HZ));
    for (index, frame) in (0..RATE_HZ).enumerate() {
        for (tone_hz, channel) in [440.0f32, 550.0].into_iter().zip(&mut audio) {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let noise = f32::from(u16::try_from(state >> 16).unwrap_or(0)) / 32_768.0 - 1.0;
            let phase = std::f32::consts::TAU * tone_hz * f32::from(frame) / f32::from(RATE_HZ);
            channel[index] = 0.2 * phase.sin() + 0.03 * noise;
        }
    }
    audio
}

/// Processor time of this process in seconds.
struct Cpu {
    all: f64,
    this_thread: f64,
}

/// Processor time so far, not wall-clock time: what other programs take doesn't count. Linux only.
fn cpu_seconds() -> Option<Cpu> {
    let nanoseconds = |path: &Path| -> Option<f64> { fs::read_to_string(path).ok()?.split_whitespace().next()?.parse().ok() };
    let tasks = fs::read_dir("/proc/self/task").ok()?;
    let all: f64 = tasks.flatten().filter_map(|t| nanoseconds(&t.path().join("schedstat"))).sum();
    Some(Cpu {
        all: all / 1e9,
        this_thread: nanoseconds(Path::new("/proc/thread-self/schedstat"))? / 1e9,
    })
}

/// Resident memory of this process in MiB. Linux only.
fn resident_mib() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"))?;
    let kib: f64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn processor_time_and_memory_are_found() {
        let before = cpu_seconds();
        let sum: u64 = (0..3_000_000u64).fold(1, |a, b| a.wrapping_mul(31).wrapping_add(b));
        let after = cpu_seconds();
        assert_ne!(sum, 0);
        assert!(matches!((before, after), (Some(b), Some(a)) if a.all >= b.all && a.this_thread >= b.this_thread));
        assert!(resident_mib().is_some_and(|mib| mib > 1.0));
    }
}
