//! Any numbers as sound, with any controls and any rests between them: what comes out is finite and not subnormal.
//!
//! The network is the small one of random weights, which says more extreme things than a trained one. No corpus.

#![no_main]

use dualstep_engine::repair::ClickDetector;
use dualstep_engine::{Controls, Model, Restorer};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

static MODEL: LazyLock<Model> =
    LazyLock::new(|| Model::from_bytes(include_bytes!("../../data/golden/random-weights.safetensors")).expect("sound weights"));
static DETECTOR: LazyLock<ClickDetector> =
    LazyLock::new(|| ClickDetector::from_bytes(include_bytes!("../../../assets/weights/detector.safetensors")).expect("sound weights"));

fuzz_target!(|bytes: &[u8]| {
    let mut restorer = Restorer::new(&MODEL, &DETECTOR, 8_000.0, 1).expect("a supported rate");
    let hop = restorer.geometry().hop;
    let mut audio = vec![0.0; hop];
    // A hop is 16 numbers repeated, so that short inputs reach far: first one byte per control, then the sound.
    for piece in bytes.chunks(8 + 16 * 4).take(64) {
        let (settings, sound) = piece.split_at(piece.len().min(8));
        let setting = |index: usize| f32::from(settings.get(index).copied().unwrap_or(0)) / 255.0;
        let controls = Controls {
            declick: setting(0),
            stage1: setting(1),
            stage2: setting(2),
            floor: setting(3),
            linked: setting(4) > 0.5,
            idle: setting(5) > 0.9,
        };
        let (numbers, _) = sound.as_chunks();
        for (n, sample) in audio.iter_mut().enumerate() {
            let number = numbers.get(n % 16).copied().unwrap_or_default();
            *sample = f32::from_le_bytes(number);
        }
        match settings.get(6) {
            Some(0..8) => restorer.reset(),
            Some(8..16) => drop(restorer.skip(&mut audio, &controls)),
            _ => drop(restorer.process(&mut audio, &controls)),
        }
        if !matches!(settings.get(6), Some(0..8)) {
            assert!(audio.iter().all(|x| *x == 0.0 || x.is_normal()), "{audio:?}");
        }
    }
});
