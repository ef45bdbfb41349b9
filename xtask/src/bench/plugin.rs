//! The built plugin in the CLAP host: what it costs, in each way a DAW may run it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;

use super::system::{self, WorkerThread, cpu_seconds, resident_mib};
use super::table::{Cell, Table, histogram, spread};
use crate::audio::{Planar, silence};
use crate::host::{Bundle, Config, Session};
use crate::render::{LIVE, STUDIO};

/// What a host in a studio runs at.
pub(super) const RATE_HZ: u32 = 48_000;
/// A common host buffer.
const BLOCK: usize = 256;
/// Both plugins: label, id, and hops in a second.
const PLUGINS: [(&str, &str, usize); 2] = [("Dualstep", STUDIO, 50), ("Dualstep Live", LIVE, 150)];

/// How an instance runs.
#[derive(Clone, Copy)]
struct Setup {
    rate_hz: u32,
    block: usize,
    offline: bool,
    /// On from the start, on the host's scale.
    set: Option<(&'static str, f64)>,
}

/// As most hosts run it; the host says that it renders offline, so that nothing is left out to be in time.
const USUAL: Setup = Setup {
    rate_hz: RATE_HZ,
    block: BLOCK,
    offline: true,
    set: None,
};

/// Percent of a core.
struct Load {
    /// Of all threads.
    all: Option<f64>,
    audio_thread: Option<f64>,
    /// Of the audio thread, within `process`: in real time alone, where there is time to look at the clock before and after it.
    process: Option<f64>,
}

/// What the peers are held against.
pub(super) struct Ours {
    pub(super) label: &'static str,
    pub(super) latency_ms: f64,
    /// Of a core.
    pub(super) percent: Option<f64>,
}

fn start(plugin: &Bundle, id: &str, setup: Setup) -> Result<Session> {
    let mut instance = plugin.instance(id)?;
    if let Some((parameter, value)) = setup.set {
        instance.set(parameter, value)?;
    }
    Ok(instance.activate(&Config {
        sample_rate_hz: f64::from(setup.rate_hz),
        max_block: setup.block,
        channels: 2,
        offline: setup.offline,
    })?)
}

/// As in a DAW that plays: each block when it is due.
const REAL_TIME: Setup = Setup { offline: false, ..USUAL };

/// What a host does with each block: from the inputs to the outputs.
type Process<'a> = &'a mut dyn FnMut(&mut [&mut [f32]], &mut [&mut [f32]]) -> Result<()>;

/// Gives `seconds` of `sound` to `process`, block by block; at real-time pace unless the host renders offline. In real time, returns the seconds that
/// the calling thread has run within `process`.
fn play(setup: Setup, sound: &Planar, seconds: f64, process: Process) -> Result<Option<f64>> {
    let (mut input, mut output) = (sound.clone(), silence(2, setup.block));
    let blocks = (seconds * f64::from(setup.rate_hz) / setup.block as f64).ceil();
    let whole = input[0].len() / setup.block;
    let period = Duration::from_secs_f64(setup.block as f64 / f64::from(setup.rate_hz));
    let mut due = Instant::now();
    let mut within = (!setup.offline).then_some(0.0);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count of blocks")]
    for block in 0..blocks as usize {
        let from = (block % whole) * setup.block;
        let mut inputs: Vec<&mut [f32]> = input.iter_mut().map(|c| &mut c[from..from + setup.block]).collect();
        let mut outputs: Vec<&mut [f32]> = output.iter_mut().map(Vec::as_mut_slice).collect();
        if setup.offline {
            process(&mut inputs, &mut outputs)?;
            continue;
        }
        let before = system::thread_seconds();
        process(&mut inputs, &mut outputs)?;
        let after = system::thread_seconds();
        within = within
            .zip(before.zip(after))
            .map(|(within, (before, after))| within + after - before);
        due += period;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    Ok(within)
}

/// Processor time of `process` for each second of audio and each of `count` instances, in percent.
fn load(count: u8, setup: Setup, sound: &Planar, seconds: f64, process: Process) -> Result<Load> {
    // Beyond the half second after which silence and bypass send the networks to rest.
    play(setup, sound, 1.0, process)?;
    let before = cpu_seconds();
    let within = play(setup, sound, seconds, process)?;
    let after = cpu_seconds();
    let percent = |spent: f64| spent / seconds / f64::from(count) * 100.0;
    let spent = |pick: fn(&system::Cpu) -> f64| {
        let (before, after) = (before.as_ref()?, after.as_ref()?);
        Some(percent(pick(after) - pick(before)))
    };
    Ok(Load {
        all: spent(|cpu| cpu.all),
        audio_thread: spent(|cpu| cpu.this_thread),
        process: within.map(percent),
    })
}

/// Load of each of `sessions`, processed in turn.
fn load_of_each(sessions: &mut [Session], setup: Setup, sound: &Planar, seconds: f64) -> Result<Load> {
    let count = u8::try_from(sessions.len())?;
    load(count, setup, sound, seconds, &mut |inputs, outputs| {
        for session in &mut *sessions {
            session.process(inputs, outputs, &[])?;
        }
        Ok(())
    })
}

/// One instance's load.
fn load_of(plugin: &Bundle, id: &str, setup: Setup, sound: &Planar, seconds: f64) -> Result<Load> {
    load_of_each(&mut [start(plugin, id, setup)?], setup, sound, seconds)
}

/// Ten seconds of noise with a tone and a click now and then, different in the two channels.
pub(super) fn recording(rate_hz: u32) -> Planar {
    let mut state = 1u32;
    let mut audio = silence(2, 10 * rate_hz as usize);
    for index in 0..audio[0].len() {
        for (tone_hz, channel) in [440.0f64, 550.0].into_iter().zip(&mut audio) {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let noise = f32::from(u16::try_from(state >> 16).unwrap_or(0)) / 32_768.0 - 1.0;
            let phase = std::f64::consts::TAU * tone_hz * index as f64 / f64::from(rate_hz);
            let click = if index % 7919 == 0 { 0.5 } else { 0.0 };
            #[expect(clippy::cast_possible_truncation, reason = "samples are single precision")]
            let tone = phase.sin() as f32;
            channel[index] = 0.2 * tone + 0.03 * noise + click;
        }
    }
    audio
}

/// The whole plugin: latency and cost.
pub(super) fn whole(plugin: &Bundle, seconds: f64) -> Result<(Table, Vec<Ours>)> {
    let sound = recording(RATE_HZ);
    let mut rows = Vec::new();
    let mut ours = Vec::new();
    for (label, id, _) in PLUGINS {
        let latency_ms = start(plugin, id, USUAL)?.latency() as f64 * 1000.0 / f64::from(RATE_HZ);
        let begin = Instant::now();
        let load = load_of(plugin, id, USUAL, &sound, seconds)?;
        let speed = (seconds + 1.0) / begin.elapsed().as_secs_f64().max(1e-9);
        rows.push(vec![
            label.into(),
            latency_ms.into(),
            load.all.into(),
            load.audio_thread.into(),
            speed.into(),
        ]);
        ours.push(Ours {
            label,
            latency_ms,
            percent: load.all,
        });
    }
    let table = Table {
        name: "plugin",
        caption: format!("Whole plugin, all controls at their defaults: {seconds:.0} s of stereo at {RATE_HZ} Hz in blocks of {BLOCK}."),
        head: &["plugin", "latency, ms", "% of a core", "of these, audio thread", "times real time"],
        rows,
    };
    Ok((table, ours))
}

/// Many instances at once, and their memory.
pub(super) fn instances(plugin: &Bundle, seconds: f64) -> Result<Table> {
    let sound = recording(RATE_HZ);
    let mut rows = Vec::new();
    // Kept to the end: the second plugin would else be given the first one's memory, and seem to take none.
    let mut kept = Vec::new();
    for (label, id, _) in PLUGINS {
        let mut sessions = Vec::new();
        let mut first_mib = None;
        for count in [1u8, 2, 4, 8, 16] {
            while sessions.len() < usize::from(count) {
                sessions.push(start(plugin, id, USUAL)?);
            }
            let load = load_of_each(&mut sessions, USUAL, &sound, seconds / f64::from(count))?;
            let now_mib = resident_mib();
            let first = *first_mib.get_or_insert(now_mib);
            let each = match (first, now_mib) {
                (Some(first), Some(now)) if count > 1 => Some((now - first) / f64::from(count - 1)),
                _ => None,
            };
            rows.push(vec![label.into(), f64::from(count).into(), load.all.into(), each.into()]);
        }
        kept.push(sessions);
    }
    Ok(Table {
        name: "instances",
        caption: "Instances in one process, fed in turn: the cost of each, and the resident memory of each beyond the first.".to_owned(),
        head: &["plugin", "instances", "% of a core each", "MiB each further one"],
        rows,
    })
}

/// All sample rates that interfaces run at.
pub(super) fn rates(plugin: &Bundle, seconds: f64) -> Result<Table> {
    let mut rows = Vec::new();
    for rate_hz in [44_100, 48_000, 88_200, 96_000, 176_400, 192_000] {
        let sound = recording(rate_hz);
        let setup = Setup { rate_hz, ..USUAL };
        let mut row: Vec<Cell> = vec![f64::from(rate_hz).into()];
        for (_, id, _) in PLUGINS {
            row.push(load_of(plugin, id, setup, &sound, seconds)?.all.into());
        }
        rows.push(row);
    }
    Ok(Table {
        name: "rates",
        caption: "Sample rates: % of a core.".to_owned(),
        head: &["Hz", "Dualstep", "Dualstep Live"],
        rows,
    })
}

/// Block sizes from the smallest to the largest that hosts use.
pub(super) fn blocks(plugin: &Bundle, seconds: f64) -> Result<Table> {
    let sound = recording(RATE_HZ);
    let mut rows = Vec::new();
    for block in [16u16, 32, 64, 128, 256, 512, 1024, 2048, 4096] {
        let setup = Setup {
            block: usize::from(block),
            ..USUAL
        };
        let mut row: Vec<Cell> = vec![f64::from(block).into()];
        for (_, id, _) in PLUGINS {
            let load = load_of(plugin, id, setup, &sound, seconds)?;
            row.extend([load.all.into(), load.audio_thread.into()]);
        }
        rows.push(row);
    }
    Ok(Table {
        name: "blocks",
        caption:
            "Block sizes: % of a core, and the audio thread's part of it (offline it also looks for the worker's results every 50 µs)."
                .to_owned(),
        head: &["samples", "Dualstep", "its audio thread", "Dualstep Live", "Live's audio thread"],
        rows,
    })
}

/// What costs when there is nothing to do, and what subnormal numbers would make slow.
pub(super) fn idle(plugin: &Bundle, seconds: f64) -> Result<Table> {
    let sound = recording(RATE_HZ);
    let quiet = silence(2, RATE_HZ as usize);
    let mut fading = sound.clone();
    for channel in &mut fading {
        for (frame, sample) in channel.iter_mut().enumerate() {
            // By 20 dB every 500 frames, through all subnormal numbers, twice a second.
            *sample *= 0.1f32.powf((frame % (RATE_HZ as usize / 2)) as f32 / 500.0);
        }
    }
    let bypass = Some(("bypass", 1.0));
    let mut rows = Vec::new();
    for (what, copies) in [("does nothing", false), ("copies", true)] {
        let load = load(1, REAL_TIME, &sound, seconds, &mut |inputs, outputs| {
            if copies {
                outputs
                    .iter_mut()
                    .zip(inputs)
                    .for_each(|(output, input)| output.copy_from_slice(input));
                std::hint::black_box(outputs);
            }
            Ok(())
        })?;
        let mut row: Vec<Cell> = vec!["none".into(), what.into(), Cell::Missing];
        row.extend(shares(&load).map(Cell::from));
        rows.push(row);
    }
    for (label, id, _) in PLUGINS {
        for (what, count, set, sound) in [
            ("playing", 1, None, &sound),
            ("fading away twice a second", 1, None, &fading),
            ("silent", 1, None, &quiet),
            ("silent, each of eight", 8, None, &quiet),
            ("bypassed", 1, bypass, &sound),
            ("bypassed, each of eight", 8, bypass, &sound),
        ] {
            let each = |setup: Setup| {
                let setup = Setup { set, ..setup };
                let mut sessions = (0..count).map(|_| start(plugin, id, setup)).collect::<Result<Vec<_>>>()?;
                load_of_each(&mut sessions, setup, sound, seconds)
            };
            let mut row: Vec<Cell> = vec![label.into(), what.into(), each(USUAL)?.all.into()];
            row.extend(shares(&each(REAL_TIME)?).map(Cell::from));
            rows.push(row);
        }
    }
    Ok(Table {
        name: "idle",
        caption: "At rest: % of a core, for each instance. In real time the host's thread sleeps between blocks, and all threads find their caches cold. \
                  The host's own is what its thread runs outside process(): going to sleep and waking up. The plugin's is the rest: what the host's \
                  thread runs in process(), two looks at the clock included, and what the plugin's own thread runs. The first rows are hosts that do \
                  nothing, or copy the block, where the others call the plugin."
            .to_owned(),
        head: &[
            "plugin",
            "state",
            "offline",
            "in real time, all",
            "the host's own",
            "the plugin's",
            "in process()",
            "in its own thread",
        ],
        rows,
    })
}

/// A load in real time and what it consists of: the host's own and the plugin's, which is what `process` and the plugin's own threads take.
fn shares(load: &Load) -> [Option<f64>; 5] {
    let difference = |from: Option<f64>, take: Option<f64>| from.zip(take).map(|(from, take)| from - take);
    let own_threads = difference(load.all, load.audio_thread);
    let host = difference(load.audio_thread, load.process);
    [load.all, host, difference(load.all, host), load.process, own_threads]
}

/// Upper edges of the histograms' bins, in µs.
const BINS_US: [f64; 11] = [8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0, 8192.0];

/// How long each hop takes the worker and each `process` the audio thread, in real time: percentiles and histograms.
pub(super) fn times(plugin: &Bundle, seconds: f64) -> Result<[Table; 2]> {
    let cores = std::thread::available_parallelism()?.get();
    let mut rows = Vec::new();
    let mut shares = Vec::new();
    for (label, id, hops) in PLUGINS {
        for (what, mut times) in [
            ("a hop, processor time of the worker", hop_times(plugin, id, hops, seconds)?),
            ("process(), wall clock", process_times(plugin, id, seconds)?),
            (
                "process(), wall clock, every core taken",
                burning(cores, || process_times(plugin, id, seconds))?,
            ),
        ] {
            let mut row: Vec<Cell> = vec![label.into(), what.into()];
            row.extend(spread(&mut times, 1.0).map(Cell::from));
            rows.push(row);
            shares.push(histogram(&times, &BINS_US));
        }
    }
    let percentiles = Table {
        name: "times",
        caption: format!(
            "Times in µs. `process()` is called at real-time pace for {BLOCK} samples at a time, {} µs of audio; its wall clock includes what other \
             programs take from the audio thread, which runs without real-time priority here.",
            BLOCK * 1_000_000 / RATE_HZ as usize
        ),
        head: &["plugin", "time of", "median", "99th percentile", "largest"],
        rows,
    };
    let edges = BINS_US.iter().map(|edge| format!("{edge}")).chain(["longer".to_owned()]);
    let rows = edges.enumerate().map(|(bin, edge)| {
        let mut row: Vec<Cell> = vec![edge.into()];
        row.extend(shares.iter().map(|shares| Cell::from(shares.get(bin).copied())));
        row
    });
    let histograms = Table {
        name: "histograms",
        caption: "The same as histograms: % of all that took up to so many µs and longer than the row before.".to_owned(),
        head: &[
            "µs",
            "Dualstep: a hop",
            "process()",
            "process(), every core taken",
            "Live: a hop",
            "Live: process()",
            "Live: process(), every core taken",
        ],
        rows: rows.collect(),
    };
    Ok([percentiles, histograms])
}

/// Processor time of the worker for each hop, in µs: waits after each until the worker sleeps again, so that other programs don't count. None where the
/// system doesn't tell.
fn hop_times(plugin: &Bundle, id: &str, hops: usize, seconds: f64) -> Result<Vec<f64>> {
    let setup = Setup {
        block: RATE_HZ as usize / hops,
        ..REAL_TIME
    };
    let sound = recording(RATE_HZ);
    let mut sessions = [start(plugin, id, setup)?];
    let Some(worker) = WorkerThread::find() else {
        return Ok(Vec::new());
    };
    let one = f64::from(u32::try_from(setup.block)?) / f64::from(RATE_HZ);
    let mut times = Vec::new();
    let mut before = worker.settle();
    let (mut input, mut output) = (sound, silence(2, setup.block));
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count of hops")]
    let count = (seconds / one) as usize;
    for hop in 0..count {
        let from = hop % (input[0].len() / setup.block) * setup.block;
        let mut inputs: Vec<&mut [f32]> = input.iter_mut().map(|c| &mut c[from..from + setup.block]).collect();
        let mut outputs: Vec<&mut [f32]> = output.iter_mut().map(Vec::as_mut_slice).collect();
        sessions[0].process(&mut inputs, &mut outputs, &[])?;
        let after = worker.settle();
        if let (Some(before), Some(after)) = (before, after) {
            times.push((after - before) * 1e6);
        }
        before = after;
    }
    Ok(times)
}

/// Wall-clock time of each `process`, in µs, called when its audio would be due.
fn process_times(plugin: &Bundle, id: &str, seconds: f64) -> Result<Vec<f64>> {
    let setup = REAL_TIME;
    let mut session = start(plugin, id, setup)?;
    let (mut input, mut output) = (recording(RATE_HZ), silence(2, BLOCK));
    let period = Duration::from_secs_f64(BLOCK as f64 / f64::from(RATE_HZ));
    let (begin, whole) = (Instant::now(), input[0].len() / BLOCK);
    let mut times = Vec::new();
    let mut due = begin;
    while begin.elapsed().as_secs_f64() < seconds {
        let from = times.len() % whole * BLOCK;
        let mut inputs: Vec<&mut [f32]> = input.iter_mut().map(|c| &mut c[from..from + BLOCK]).collect();
        let mut outputs: Vec<&mut [f32]> = output.iter_mut().map(Vec::as_mut_slice).collect();
        let called = Instant::now();
        session.process(&mut inputs, &mut outputs, &[])?;
        times.push(called.elapsed().as_secs_f64() * 1e6);
        due += period;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    Ok(times)
}

/// Does `work` beside `burners` threads that never rest.
fn burning<T>(burners: usize, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..burners {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        let result = work();
        stop.store(true, Ordering::Relaxed);
        result
    })
}

/// Loads the bundle, and asks it all that a host's plugin scan does. Gives the bundle and the seconds it took.
pub(super) fn scan(path: &std::path::Path) -> Result<(Bundle, f64)> {
    let begin = Instant::now();
    let plugin = Bundle::load(path)?;
    for (id, _) in plugin.plugins() {
        let mut instance = plugin.instance(&id)?;
        let _ = instance.parameters();
    }
    Ok((plugin, begin.elapsed().as_secs_f64()))
}

/// Time until an instance plays, beside `scan_s`, the seconds that the scan took.
pub(super) fn starts(plugin: &Bundle, scan_s: f64) -> Result<Table> {
    let mut rows: Vec<Vec<Cell>> = vec![vec![
        "plugin scan: load, list, an instance of each".into(),
        (scan_s * 1e3).into(),
        Cell::Missing,
    ]];
    for (label, id, _) in PLUGINS {
        let mut times = Vec::new();
        let mut kept = Vec::new();
        for _ in 0..10 {
            let begin = Instant::now();
            kept.push(start(plugin, id, USUAL)?);
            times.push(begin.elapsed().as_secs_f64());
        }
        let first = times[0] * 1e3;
        let [median, ..] = spread(&mut times, 1e3);
        rows.push(vec![format!("{label}: made and activated").into(), first.into(), median.into()]);
    }
    Ok(Table {
        name: "start",
        caption: "Start-up in ms, wall clock: the first in this process, and the median of ten. The scan is done once a process."
            .to_owned(),
        head: &["what", "first", "median"],
        rows,
    })
}
