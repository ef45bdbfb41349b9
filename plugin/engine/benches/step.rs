//! What a hop costs: `cargo bench -p dualstep-engine --bench step`. `DUALSTEP_WEIGHTS` names another folder of weights. One JSON object per weights file, on a line of its own.
//!
//! | field | meaning |
//! |---|---|
//! | `parameters`, `mmac_per_frame` | weights and biases; multiply-adds per frame and channel in millions, each stage |
//! | `us_mono`, `us_stereo` | microseconds per hop for both stages with everything between them, the fastest of many |
//! | `us_stereo_median` | the median: what other work on the machine makes of it |
//! | `core_percent_stereo` | `us_stereo` as a share of the hop's duration |
//! | `core_percent_stereo_same` | the same where both channels are the same, as those of a mono recording on a stereo track: one of them is computed |
//! | `core_percent_stereo_resting` | the same while stage 2's U-Net rests, as it does in recordings that don't sound worn; all other figures are of both at work |
//! | `gmacs`, `sgemm_gmacs`, `sgemm_ratio` | multiply-adds per nanosecond in stereo, as the networks are written down (minimal filtering does with nearly half of them); the same of a matrix product of 512 x 512 x 512 on one thread, measured in between; their ratio. The product is that of the gemm crate, which takes the best instructions there are; beside AVX2 that of matrixmultiply, which stops there |
//! | `allocations_per_hop` | calls to the allocator |
//!
//! Then a line per hop, sample rate and signal for the repair of samples in stereo, as a share of a core: of tones without damage, of the same with 100 and 5000
//! clicks per second, at random times, and with 5 and 20 % of all samples clipped.

#![allow(clippy::print_stdout, reason = "a bench prints")]
#![allow(unsafe_code, reason = "the gemm crate has no safe interface")]

#[path = "../tests/common/mod.rs"]
mod common;

use common::{Counting, Random, allocator_calls, repository, shipped_detectors, shipped_spec};
use dualstep_engine::repair::{Repairs, SampleRepair};
use dualstep_engine::unet::{Isa, RestoredFrame, TwoStage};
use dualstep_engine::{Controls, Model, weights};
use realfft::num_complex::Complex32;
use std::path::PathBuf;
use std::time::Instant;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Rounds of measurement: each takes some hops of mono and stereo and one matrix product, so that all see the same disturbances.
const ROUNDS: usize = 300;

/// Hops per round, each timed on its own: the shorter, the likelier one is undisturbed.
const HOPS: usize = 4;

/// Rows, columns and depth of the matrix product.
const SIDE: usize = 512;

struct Bench {
    stages: TwoStage,
    frame: RestoredFrame,
    /// Some frames of `[channel][bin]`.
    spectra: Vec<Vec<Complex32>>,
}

impl Bench {
    fn new(model: &Model, channels: usize, same: bool) -> Self {
        let mut seed = 1u32;
        let mut value = || {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            #[expect(clippy::cast_possible_truncation, reason = "test noise")]
            let noise = (f64::from(seed) / f64::from(u32::MAX) - 0.5) as f32;
            noise * 0.02
        };
        let size = channels * model.spec().bins;
        let spectrum = |_| {
            let mut spectrum: Vec<Complex32> = (0..size).map(|_| Complex32::new(value(), value())).collect();
            if same {
                spectrum.copy_within(..size / channels, size - size / channels);
            }
            spectrum
        };
        Self {
            stages: TwoStage::new(model, channels),
            frame: RestoredFrame::new(model, channels),
            spectra: (0..HOPS).map(spectrum).collect(),
        }
    }

    /// Microseconds that each of [`HOPS`] hops took.
    fn run(&mut self) -> [f64; HOPS] {
        std::array::from_fn(|hop| {
            let start = Instant::now();
            self.stages
                .step(std::hint::black_box(&self.spectra[hop]), &Controls::default(), &mut self.frame);
            start.elapsed().as_secs_f64() * 1e6
        })
    }
}

/// Multiply-adds per nanosecond of one matrix product on this thread; `avx2` keeps to AVX2 where there is more.
fn sgemm(avx2: bool, a: &[f32], b: &[f32], c: &mut [f32]) -> f64 {
    assert!(a.len() == SIDE * SIDE && b.len() == SIDE * SIDE && c.len() == SIDE * SIDE);
    let side = SIDE as isize;
    let (a, b, c) = (a.as_ptr(), b.as_ptr(), c.as_mut_ptr());
    let start = Instant::now();
    // SAFETY: three matrices of SIDE * SIDE values with rows of SIDE; `c` is borrowed uniquely.
    unsafe {
        if avx2 {
            matrixmultiply::sgemm(SIDE, SIDE, SIDE, 1.0, a, side, 1, b, side, 1, 0.0, c, side, 1);
        } else {
            let single = gemm::Parallelism::None;
            gemm::gemm(
                SIDE, SIDE, SIDE, c, 1, side, false, a, 1, side, b, 1, side, 0.0, 1.0, false, false, false, single,
            );
        }
    }
    SIDE.pow(3) as f64 / (start.elapsed().as_secs_f64() * 1e9)
}

/// The weights that ship, or those in the folder `DUALSTEP_WEIGHTS`, or untrained ones of the shipped shape where there are none.
fn read(name: &str) -> Vec<u8> {
    let folder = std::env::var_os("DUALSTEP_WEIGHTS").map_or_else(|| repository("assets/weights"), PathBuf::from);
    std::fs::read(folder.join(format!("{name}.safetensors")))
        .unwrap_or_else(|_| weights::untrained(&shipped_spec(name), 1).expect("the spec is sound"))
}

/// The model with the logit of its trust in stage 2's U-Net moved by so much: it always works, or always rests.
fn trusting(mut bytes: Vec<u8>, by: f32, isa: Isa) -> Model {
    let file = safetensors::SafeTensors::deserialize(&bytes).expect("a weights file");
    let bias = file.tensor("balance.2.bias").expect("the balance's last layer").data();
    let trust = bias.as_ptr() as usize - bytes.as_ptr() as usize + bias.len() - 4;
    bytes[trust..trust + 4].copy_from_slice(&by.to_le_bytes());
    Model::from_bytes_for(&bytes, isa).expect("the weights are sound")
}

fn measure(name: &str, isa: Isa) {
    let [model, resting] = [100.0, -100.0].map(|by| trusting(read(name), by, isa));
    let (mut mono, mut stereo) = (Bench::new(&model, 1, false), Bench::new(&model, 2, false));
    let (mut same, mut resting) = (Bench::new(&model, 2, true), Bench::new(&resting, 2, false));
    let [a, b] = [1, 2].map(|seed| (0..SIDE * SIDE).map(|i| ((i * seed) as f32).sin()).collect::<Vec<f32>>());
    let mut c = vec![0.0; SIDE * SIDE];
    let instructions = format!("{isa:?}");
    let avx2 = instructions == "Avx2";
    mono.run();
    stereo.run();
    sgemm(avx2, &a, &b, &mut c);

    let (mut us_mono, mut us_stereo, mut peak, mut calls) = (f64::INFINITY, Vec::with_capacity(ROUNDS * HOPS), 0.0, 0);
    let [mut us_same, mut us_resting] = [f64::INFINITY; 2];
    for _ in 0..ROUNDS {
        let before = allocator_calls();
        us_mono = mono.run().into_iter().fold(us_mono, f64::min);
        us_stereo.extend(stereo.run());
        calls += allocator_calls() - before;
        us_same = same.run().into_iter().fold(us_same, f64::min);
        us_resting = resting.run().into_iter().fold(us_resting, f64::min);
        peak = sgemm(avx2, &a, &b, &mut c).max(peak);
    }
    us_stereo.sort_by(f64::total_cmp);
    let (fastest, median) = (us_stereo[0], us_stereo[us_stereo.len() / 2]);
    let macs = model.macs();
    let gmacs = 2.0 * macs.iter().sum::<usize>() as f64 / (fastest * 1e3);
    let hop_us = model.spec().hop_units as f64 / dualstep_engine::spec::UNITS_PER_SECOND * 1e6;
    let round = |x: f64| (x * 100.0).round() / 100.0;
    let line = serde_json::json!({
        "weights": name,
        "version": model.spec().version,
        "instructions": instructions,
        "parameters": model.parameters(),
        "mmac_per_frame": macs.map(|macs| round(macs as f64 / 1e6)),
        "hop_ms": round(hop_us / 1e3),
        "us_mono": round(us_mono),
        "us_stereo": round(fastest),
        "us_stereo_median": round(median),
        "core_percent_stereo": round(100.0 * fastest / hop_us),
        "core_percent_stereo_same": round(100.0 * us_same / hop_us),
        "core_percent_stereo_resting": round(100.0 * us_resting / hop_us),
        "gmacs": round(gmacs),
        "sgemm_gmacs": round(peak),
        "sgemm_ratio": round(gmacs / peak),
        "allocations_per_hop": calls as f64 / (2 * ROUNDS * HOPS) as f64,
    });
    println!("{line}");
}

/// Repair of both channels, with the hop of an edition: seconds of computing per second of audio, in percent. The fastest of some passes.
fn measure_repair(name: &str, rate_hz: f64, clicks_per_s: usize, clipped_percent: usize) {
    let geometry = shipped_spec(name).geometry(rate_hz).expect("the rate is supported");
    let detectors = shipped_detectors(name);
    let repairs = Repairs {
        declick: 0.5,
        declip: true,
        dropouts: true,
    };
    let mut channels = [0, 1].map(|_| SampleRepair::new(&detectors, &geometry, rate_hz));
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a second of audio")]
    let second = rate_hz as usize;
    let hops = second / geometry.hop;
    #[expect(clippy::cast_possible_truncation, reason = "samples are f32")]
    let mut audio: Vec<f32> = (0..hops * geometry.hop)
        .map(|n| {
            let time = n as f64 / rate_hz;
            let tone = |hz: f64| (std::f64::consts::TAU * hz * time).sin();
            (0.2 * tone(220.0) + 0.1 * tone(1234.0) + 0.05 * tone(3571.0) + 0.002 * (1e9 * time * time).sin()) as f32
        })
        .collect();
    let mut random = Random::new(4);
    for _ in 0..clicks_per_s {
        let start = random.below(audio.len() - second / 500);
        let height = 0.8 * random.signed();
        // 0.2 ms.
        for (i, x) in audio[start..][..second / 5000].iter_mut().enumerate() {
            *x += height * (-20_000.0 * i as f32 / second as f32).exp() * random.signed();
        }
    }
    let mut heights: Vec<f32> = audio.iter().map(|x| x.abs()).collect();
    heights.sort_by(f32::total_cmp);
    let ceiling = heights[(heights.len() - 1) * (100 - clipped_percent) / 100];
    audio.iter_mut().for_each(|x| *x = x.clamp(-ceiling, ceiling));
    let (mut fastest_s, mut clicks) = (f64::INFINITY, 0);
    for _ in 0..5 {
        let mut spent_s = 0.0;
        for hop in audio.chunks_exact(geometry.hop) {
            for repair in &mut channels {
                let mut hop = hop.to_vec();
                let start = Instant::now();
                clicks += repair.process(std::hint::black_box(&mut hop), repairs);
                spent_s += start.elapsed().as_secs_f64();
            }
        }
        fastest_s = spent_s.min(fastest_s);
    }
    let percent = 100.0 * fastest_s * rate_hz / audio.len() as f64;
    let line = serde_json::json!({
        "repair": name,
        "rate_hz": rate_hz,
        "clicks_per_s": clicks_per_s,
        "clipped_percent": clipped_percent,
        "repaired_per_s": clicks / 10,
        "core_percent_stereo": (percent * 100.0).round() / 100.0,
    });
    println!("{line}");
}

/// With `-- --all-instructions`, each instruction set that the processor has.
fn main() {
    let all = std::env::args().any(|argument| argument == "--all-instructions");
    for name in ["studio", "live"] {
        if all {
            Isa::available().into_iter().for_each(|isa| measure(name, isa));
        } else {
            measure(name, Isa::best());
        }
    }
    for name in ["studio", "live"] {
        for rate_hz in [48e3, 96e3, 192e3] {
            for (clicks_per_s, clipped_percent) in [(0, 0), (100, 0), (5000, 0), (0, 5), (0, 20)] {
                measure_repair(name, rate_hz, clicks_per_s, clipped_percent);
            }
        }
    }
}
