//! Whatever bytes come as weights and whatever numbers come as audio: an error or sane numbers, never a panic, never a large allocation.
//!
//! The cases are drawn from fixed seeds. `DUALSTEP_CASES=100 cargo test --release --package dualstep-engine --test hostile` draws a hundred times as
//! many, each factor other ones.

mod common;

use common::{Counting, Random, allocated_bytes, cases, repository, shipped_detectors, shipped_spec};
use dualstep_engine::repair::{ClickDetector, Detectors, DropoutDetector, Repairs, SampleRepair};
use dualstep_engine::{Controls, Model, Restorer, Spec, StageSpec, WeightsError, weights};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Networks small enough that thousands of files can be tried.
fn small() -> Spec {
    Spec {
        bins: 30,
        segments: vec![[4, 1], [5, 2], [3, 4], [4, 1]],
        stages: [(vec![5, 8, 3], 3), (vec![6, 7], 4)].map(|(widths, squeeze)| StageSpec { widths, squeeze }),
        taps: 2,
        ..shipped_spec("studio")
    }
}

/// Numbers that break arithmetic done without looking.
const HOSTILE_NUMBERS: [&str; 12] = [
    "0",
    "-1",
    "1",
    "513",
    "65536",
    "4294967295",
    "4294967296",
    "9223372036854775807",
    "18446744073709551615",
    "1e300",
    "-0.0",
    "null",
];

/// The file with one number of its header, the spec included, exchanged for a hostile one; the header's length is kept right.
fn exchange_number(file: &[u8], random: &mut Random) -> Vec<u8> {
    let length = usize::try_from(u64::from_le_bytes(file[..8].try_into().expect("8 bytes"))).expect("small");
    let (header, data) = file[8..].split_at(length);
    let is_digit = |at: usize| header[at].is_ascii_digit();
    let starts: Vec<usize> = (1..length).filter(|at| is_digit(*at) && !is_digit(at - 1)).collect();
    let start = starts[random.below(starts.len())];
    let end = (start..length).find(|at| !is_digit(*at)).unwrap_or(length);
    let number = HOSTILE_NUMBERS[random.below(HOSTILE_NUMBERS.len())].as_bytes();
    let header = [&header[..start], number, &header[end..]].concat();
    [&(header.len() as u64).to_le_bytes()[..], &header, data].concat()
}

/// The file with a few bytes or bits changed, cut off, doubled or filled in.
fn damage(file: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = file.to_vec();
    for _ in 0..=random.below(4) {
        // Mostly in the header, which is where structure can be broken.
        let reach = [8, 16, 600, 12_000, bytes.len()][random.below(5)].min(bytes.len());
        if reach == 0 {
            break;
        }
        let at = random.below(reach);
        match random.below(5) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = random.byte(),
            2 => bytes.truncate(at),
            3 => {
                let piece: Vec<u8> = bytes[at..].iter().copied().take(random.below(64)).collect();
                bytes.splice(at..at, piece);
            }
            _ => {
                let end = bytes.len().min(at + random.below(64));
                bytes[at..end].fill([0, 0xff, b'9', b'[', b'"'][random.below(5)]);
            }
        }
    }
    bytes
}

/// Bytes that may be allocated for a file: what the checks, the tensors and the packed copy take, many times over.
fn allowance(file: &[u8]) -> usize {
    64 * file.len() + (1 << 20)
}

#[test]
fn hostile_weights_are_refused_cheaply_or_run_sanely() {
    let good = weights::untrained(&small(), 1).expect("the spec is sound");
    let detectors = shipped_detectors("studio");
    let mut random = Random::new(1);
    let (mut refused, mut ran) = (0, 0);
    for case in 0..cases(6_000) {
        let file = match case % 4 {
            0 => {
                // No file at all, or only the beginning of one.
                let mut bytes: Vec<u8> = (0..random.below(400)).map(|_| random.byte()).collect();
                if bytes.len() > 8 && random.below(2) == 0 {
                    bytes[1..8].fill(0);
                }
                bytes
            }
            1 => exchange_number(&good, &mut random),
            _ => damage(&good, &mut random),
        };
        let before = allocated_bytes();
        let model = Model::from_bytes(&file);
        let allocated = allocated_bytes() - before;
        assert!(
            allocated <= allowance(&file),
            "case {case}: {allocated} bytes allocated for a file of {}",
            file.len()
        );
        match model {
            Err(error) => {
                refused += 1;
                assert!(!error.to_string().is_empty(), "case {case}");
            }
            Ok(model) if ran < cases(300) => {
                ran += 1;
                let mut restorer = Restorer::new(&model, &detectors, 8_000.0, 1).unwrap_or_else(|error| panic!("case {case}: {error}"));
                for hop in 0..4 {
                    let mut audio: Vec<f32> = (0..restorer.geometry().hop).map(|_| 0.3 * random.signed()).collect();
                    let _ = restorer.process(&mut audio, &Controls::default());
                    assert_sane(&audio, &format!("case {case}, hop {hop}"));
                }
            }
            Ok(_) => {}
        }
    }
    assert!(refused > 1000 && ran > 50, "{refused} refused, {ran} ran: the cases are one-sided");
}

#[test]
fn hostile_detectors_are_refused_cheaply_or_run_sanely() {
    let geometry = shipped_spec("studio").geometry(48e3).expect("the rate is supported");
    let all = Repairs {
        declick: 1.0,
        declip: true,
        dropouts: true,
    };
    for name in ["detector-studio", "dropouts"] {
        let good = std::fs::read(repository(&format!("assets/weights/{name}.safetensors"))).expect("the weights are committed");
        let shipped = shipped_detectors("studio");
        let read = |file: &[u8]| {
            let mut detectors = shipped.clone();
            if name == "detector-studio" {
                detectors.clicks = ClickDetector::from_bytes(file)?;
            } else {
                detectors.dropouts = DropoutDetector::from_bytes(file)?;
            }
            Ok::<Detectors, WeightsError>(detectors)
        };
        let mut random = Random::new(3);
        let (mut refused, mut ran) = (0, 0);
        for case in 0..cases(600) {
            let file = if case % 2 == 0 {
                exchange_number(&good, &mut random)
            } else {
                damage(&good, &mut random)
            };
            let before = allocated_bytes();
            let detectors = read(&file);
            let allocated = allocated_bytes() - before;
            assert!(
                allocated <= allowance(&file),
                "{name}, case {case}: {allocated} bytes allocated for a file of {}",
                file.len()
            );
            let Ok(detectors) = detectors else {
                refused += 1;
                continue;
            };
            ran += 1;
            let mut repair = SampleRepair::new(&detectors, &geometry, 48e3);
            for hop in 0..4 {
                let mut audio: Vec<f32> = (0..geometry.hop).map(|_| 0.3 * random.signed()).collect();
                repair.process(&mut audio, all);
                assert_sane(&audio, &format!("{name}, case {case}, hop {hop}"));
            }
        }
        assert!(
            refused > 100 && ran > 20,
            "{name}: {refused} refused, {ran} ran: the cases are one-sided"
        );
    }
}

/// No sample is infinite, not a number or subnormal.
#[track_caller]
fn assert_sane(audio: &[f32], what: &str) {
    let bad = audio.iter().find(|x| !(**x == 0.0 || x.is_normal()));
    assert_eq!(bad, None, "{what}");
}

/// One of the things a host may hand over as a hop.
fn fill(channel: &mut [f32], random: &mut Random) {
    let level = 10.0f32.powf(44.0 * random.signed());
    let constant = level * random.signed();
    let broken = [
        f32::NAN,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::MAX,
        f32::MIN,
        1e-40,
        -1e-45,
        f32::MIN_POSITIVE,
    ];
    let broken = broken[random.below(broken.len())];
    let kind = random.below(8);
    let period = 1 + random.below(channel.len());
    for (n, x) in channel.iter_mut().enumerate() {
        *x = match kind {
            0 => 0.0,
            1 => 0.2 * random.signed(),
            2 => level * random.signed(),
            3 => constant,
            4 => broken,
            5 if n % period == 0 => broken,
            5 => 0.2 * random.signed(),
            // Any bits at all.
            6 => f32::from_bits(random.bits()),
            // Falls through all subnormal numbers within the hop.
            _ => 0.1f32.powf(50.0 * n as f32 / period as f32) * random.signed(),
        };
    }
}

fn any_controls(random: &mut Random) -> Controls {
    let mut share = || [0.0, 1.0, 0.5 + 0.5 * random.signed()][random.below(3)];
    Controls {
        declick: share(),
        stage1: share(),
        stage2: share(),
        floor: share(),
        linked: random.below(2) == 0,
        speech: random.below(2) == 0,
        idle: random.below(8) == 0,
        declip: random.below(2) == 0,
        dropouts: random.below(2) == 0,
    }
}

#[test]
fn any_numbers_in_give_sane_numbers_out() {
    let mut random = Random::new(2);
    for name in ["studio", "live"] {
        let detectors = shipped_detectors(name);
        let bytes = std::fs::read(repository(&format!("assets/weights/{name}.safetensors"))).expect("the weights are committed");
        let model = Model::from_bytes(&bytes).expect("the weights are sound");
        for run in 0..cases(12) {
            let rate_hz = [8e3, 11_025.0, 22_050.0, 44.1e3, 48e3, 96e3][random.below(6)];
            let channels = 1 + random.below(2);
            let mut restorer = Restorer::new(&model, &detectors, rate_hz, channels).expect("the rate is supported");
            let hop = restorer.geometry().hop;
            let mut audio = vec![0.0; channels * hop];
            for index in 0..40 {
                audio.chunks_mut(hop).for_each(|channel| fill(channel, &mut random));
                let controls = any_controls(&mut random);
                let report = match random.below(16) {
                    0 => restorer.skip(&mut audio, &controls),
                    1 => {
                        restorer.reset();
                        restorer.process(&mut audio, &controls)
                    }
                    _ => restorer.process(&mut audio, &controls),
                };
                let what = format!("{name} at {rate_hz} Hz, {channels} channels, run {run}, hop {index}, {controls:?}");
                assert_sane(&audio, &what);
                assert!(
                    report.removed_db.is_finite() && report.restored_db.is_finite(),
                    "{what}: {report:?}"
                );
            }
        }
    }
}
