//! Long and crowded: hours of sound without drift, growth or a hole, cores that others have taken, and a host that breaks its own announcement.

use dualstep_tests::process::{in_child, resident_kib, threads};
use dualstep_tests::{Bundle, Change, IDS, Mode, PLUGINS, Plugin, Signal, TRANSPARENT, assert_identical, assert_no_hole};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};

/// The tests' usual sample rate.
const RATE_HZ: f64 = 48_000.0;

/// Seconds of sound that a soak plays: 10, times `DUALSTEP_CASES` for long runs (360 is an hour).
fn soak_seconds() -> usize {
    let factor = std::env::var("DUALSTEP_CASES").ok();
    10 * factor.map_or(1, |factor| factor.parse::<usize>().expect("DUALSTEP_CASES is a whole number"))
}

#[test]
fn a_soak_leaves_memory_and_position_as_they_were() {
    if !in_child("a_soak_leaves_memory_and_position_as_they_were", &[]) {
        return;
    }
    let bundle = Bundle::release();
    for id in PLUGINS {
        let mut plugin = Plugin::new(&bundle, id);
        plugin.set_mode(Mode::Offline);
        plugin.activate(RATE_HZ, 4096);
        let latency = plugin.latency();
        let second = Signal::disc(2, 48_000, RATE_HZ);
        let mut begun = None;
        for index in 0..soak_seconds() {
            // All controls move, each second to other places; every tenth of them ends bypassed, which shows the position to the sample.
            let probe = index % 10 == 9;
            let changes: Vec<Change> = IDS
                .into_iter()
                .enumerate()
                .map(|(n, id)| Change {
                    at: 1_500 * n,
                    id,
                    value: match id {
                        "bypass" => f64::from(u8::from(probe)),
                        "removed" | "link" | "declip" | "speech" | "dropouts" | "hum" => f64::from(u8::from(index % 3 == 0)),
                        _ => ((index * 7 + n * 3) % 11) as f64 / 10.0,
                    },
                })
                .collect();
            let output = plugin.render(&second, &[512, 64, 1000], &changes);
            assert!(output.samples().all(f32::is_finite), "{id}, second {index}");
            if probe {
                // The last quarter: past the change of bypass, its latency and its ramp.
                let last = 36_000..48_000;
                assert_identical(
                    &output.slice(last.clone()),
                    &second.slice(last.start - latency..last.end - latency),
                    &format!("{id}: position after {index} s"),
                );
            }
            if index == 4 {
                begun = Some((threads(), resident_kib()));
            }
        }
        let (threads_before, kib_before) = begun.expect("at least five seconds");
        assert_eq!(threads(), threads_before, "{id}: threads");
        if let (Some(before), Some(after)) = (kib_before, resident_kib()) {
            assert!(after < before + 8 * 1024, "{id}: {before} KiB became {after} KiB");
        }
    }
}

#[test]
fn a_starved_worker_leaves_no_hole() {
    let bundle = Bundle::release();
    let cores = std::thread::available_parallelism().map_or(4, std::num::NonZero::get);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 * cores {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        let found = catch_unwind(AssertUnwindSafe(|| PLUGINS.map(|id| play_paced(&bundle, id))));
        stop.store(true, Ordering::Relaxed);
        if let Err(panic) = found {
            resume_unwind(panic);
        }
    });
}

/// Plays two seconds at real-time pace, block by block as a sound card asks for them, and looks for anything but the input.
fn play_paced(bundle: &Bundle, id: &str) {
    let mut plugin = Plugin::new(bundle, id);
    for (parameter, value) in TRANSPARENT {
        plugin.set_value(parameter, value);
    }
    plugin.activate(RATE_HZ, 480);
    let latency = plugin.latency();
    let input = Signal::disc(2, 96_000, RATE_HZ);
    let mut output = Signal::zeros(2, 0);
    let begin = std::time::Instant::now();
    for block in 0..200u32 {
        let from = 480 * block as usize;
        let played = plugin.render(&input.slice(from..from + 480), &[480], &[]);
        for (to, from) in output.channels.iter_mut().zip(played.channels) {
            to.extend(from);
        }
        let due = std::time::Duration::from_millis(10) * (block + 1);
        std::thread::sleep(due.saturating_sub(begin.elapsed()));
    }
    assert_no_hole(&output, &input, latency, id);
}

#[test]
fn blocks_larger_than_announced_do_no_harm() {
    let bundle = Bundle::release();
    for id in PLUGINS {
        let input = Signal::disc(2, 24_000, RATE_HZ);
        let play = |announced: usize| {
            let mut plugin = Plugin::new(&bundle, id);
            plugin.set_mode(Mode::Offline);
            plugin.activate(RATE_HZ, announced);
            plugin.render(&input, &[64, 1024, 3000], &[])
        };
        assert_identical(&play(64), &play(4096), id);
    }
}
