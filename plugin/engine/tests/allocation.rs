//! The whole restoration allocates nothing, repair and output section included.

mod common;

use common::{Counting, allocator_calls, repository, shipped_detectors, shipped_spec};
use dualstep_engine::output::{Hum, OutputSection, OutputSettings};
use dualstep_engine::{Controls, Model, Restorer, weights};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The calls are counted per thread: each test counts its own.
#[test]
fn restoring_allocates_nothing() {
    for name in ["studio", "live"] {
        let detectors = shipped_detectors(name);
        let model = Model::from_bytes(&weights::untrained(&shipped_spec(name), 1).expect("sound")).expect("sound");
        for rate_hz in [8e3, 48e3, 192e3] {
            let mut restorer = Restorer::new(&model, &detectors, rate_hz, 2).expect("the rate is supported");
            let hop = restorer.geometry().hop;
            let mut audio = vec![0.0f32; 2 * hop];
            let mut clicks = 0;
            let before = allocator_calls();
            for k in 0..40usize {
                let controls = Controls {
                    declick: if k % 10 == 9 { 0.0 } else { 0.8 },
                    linked: k % 3 == 0,
                    speech: k > 10,
                    dropouts: k % 7 != 0,
                    ..Controls::default()
                };
                for (n, x) in audio.iter_mut().enumerate() {
                    let time = (k * hop + n % hop) as f32;
                    *x = 0.3 * (0.05 * time).sin() + 0.001 * (1.7 * time * time).sin();
                }
                // Clicks in one channel, clipped peaks in the other.
                audio[hop / 3] += 0.9;
                audio[hop..].iter_mut().for_each(|x| *x = x.clamp(-0.25, 0.25));
                if k == 20 {
                    audio.fill(f32::NAN);
                }
                let report = if k % 8 == 7 {
                    restorer.skip(&mut audio, &controls)
                } else {
                    restorer.process(&mut audio, &controls)
                };
                clicks += report.clicks;
                if k == 30 {
                    restorer.reset();
                }
            }
            assert_eq!(allocator_calls(), before, "{name} at {rate_hz} Hz");
            assert!(clicks > 10, "{name} at {rate_hz} Hz: the repair was meant to work, {clicks} clicks");
        }
    }
}

#[test]
fn undoing_a_saturation_allocates_nothing() {
    for name in ["studio", "live"] {
        let path = repository(&format!("assets/weights/{name}.safetensors"));
        let model = Model::from_bytes(&std::fs::read(path).expect("the weights are committed")).expect("sound");
        let mut restorer = Restorer::new(&model, &shipped_detectors(name), 48e3, 2).expect("the rate is supported");
        let hop = restorer.geometry().hop;
        let controls = Controls {
            stage1: 0.0,
            ..Controls::default()
        };
        let mut audio = vec![0.0f32; 2 * hop];
        let before = allocator_calls();
        let mut restored_db = -120.0f32;
        for k in 0..4 * 48_000 / hop {
            for (n, x) in audio.iter_mut().enumerate() {
                let time = (k * hop + n % hop) as f32 / 48e3 * std::f32::consts::TAU;
                let sum = (220.0 * time).sin() + 0.6 * (331.3 * time).sin() + 0.3 * (1012.0 * time).sin();
                *x = 0.4 * (1.2 * (0.6 + 0.4 * (3.0 * time).sin()) * sum).tanh();
            }
            restored_db = restorer.process(&mut audio, &controls).restored_db;
        }
        assert_eq!(allocator_calls(), before, "{name}");
        assert!(
            restored_db > -40.0,
            "{name}: the saturation was meant to be undone, {restored_db} dB"
        );
    }
}

#[test]
fn the_output_section_allocates_nothing() {
    let mut section = OutputSection::new(8e3);
    let before = allocator_calls();
    // Long enough for the mains line to be sought and found.
    for n in 0..80_000u32 {
        let on = n % 16_000 < 12_000 || n > 16_000;
        let settings = OutputSettings {
            low_cut_hz: on.then_some(50.0),
            hum: if on { Hum::Auto } else { Hum::Mains60 },
            tilt_db: if on { 2.0 } else { 0.0 },
            compression: if on { 1.0 } else { 0.0 },
        };
        let x = 0.3 * (std::f32::consts::TAU * 50.0 * (n % 8_000) as f32 / 8e3).sin();
        section.process([x, -x], [x, -x], &settings);
        if n == 12_345 {
            section.reset();
        }
    }
    let calls = allocator_calls() - before;
    assert!(
        section.hum_hz().is_some_and(|hz| (hz - 50.0).abs() < 0.05),
        "the line was meant to be found"
    );
    assert_eq!(calls, 0);
}
