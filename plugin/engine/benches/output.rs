//! What the output section costs: `cargo bench -p dualstep-engine --bench output`. One JSON object per setting, on a line of its own.
//!
//! | field | meaning |
//! |---|---|
//! | `on` | what is on |
//! | `core_percent_stereo` | share of a core at 48 kHz in stereo, the fastest of many seconds of audio |
//! | `us_longest_sample` | microseconds of the longest single sample in the fastest of the seconds: with `auto`, the one that transforms |

#![allow(clippy::print_stdout, reason = "a bench prints")]

use dualstep_engine::output::{Hum, OutputSection, OutputSettings};
use std::time::Instant;

const RATE_HZ: usize = 48_000;
/// Seconds of audio before the measurement: by then a mains line is found.
const WARM: usize = 8;
/// Seconds of audio, each timed on its own.
const SECONDS: usize = 20;

fn main() {
    let off = OutputSettings::default();
    let cases = [
        ("nothing", off),
        (
            "low-cut",
            OutputSettings {
                low_cut_hz: Some(40.0),
                ..off
            },
        ),
        ("hum 50 Hz", OutputSettings { hum: Hum::Mains50, ..off }),
        ("hum auto", OutputSettings { hum: Hum::Auto, ..off }),
        ("tilt", OutputSettings { tilt_db: 2.0, ..off }),
        ("compressor", OutputSettings { compression: 0.5, ..off }),
        (
            "all, hum auto",
            OutputSettings {
                low_cut_hz: Some(40.0),
                hum: Hum::Auto,
                tilt_db: 2.0,
                compression: 0.5,
            },
        ),
    ];
    // Notes over hum, a whole number of periods, so that it can be repeated.
    let tone = |n: usize, hz: usize| (std::f32::consts::TAU * ((n * hz) % RATE_HZ) as f32 / RATE_HZ as f32).sin();
    let input: Vec<f32> = (0..RATE_HZ)
        .map(|n| 0.2 * tone(n, 440) + 0.1 * tone(n, 1_300) + 0.02 * tone(n, 50))
        .collect();
    for (on, settings) in cases {
        let mut section = OutputSection::new(RATE_HZ as f64);
        let mut fastest = f64::INFINITY;
        let mut longest = f64::INFINITY;
        let mut sum = 0.0;
        for second in 0..WARM + SECONDS {
            let start = Instant::now();
            for x in &input {
                sum += section.process(std::hint::black_box([*x, -0.7 * x]), [*x, -0.7 * x], &settings)[0];
            }
            if second >= WARM {
                fastest = fastest.min(start.elapsed().as_secs_f64());
            }
        }
        for _ in 0..SECONDS {
            let mut worst = 0.0f64;
            for x in &input {
                let start = Instant::now();
                sum += section.process(std::hint::black_box([*x, -0.7 * x]), [*x, -0.7 * x], &settings)[0];
                worst = worst.max(start.elapsed().as_secs_f64());
            }
            longest = longest.min(worst);
        }
        std::hint::black_box(sum);
        let round = |x: f64| (x * 1e4).round() / 1e4;
        let line = serde_json::json!({
            "on": on,
            "core_percent_stereo": round(100.0 * fastest),
            "us_longest_sample": round(1e6 * longest),
        });
        println!("{line}");
    }
}
