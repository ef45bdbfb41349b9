//! The Rust networks against PyTorch's, stage by stage, on the vectors that the training code's exporter wrote.
//!
//! `DUALSTEP_WEIGHTS` and `DUALSTEP_GOLDEN` name other folders than `assets/weights` and `tests/data/golden`, to check weights before they are committed.
//! Besides the shipped networks there is a small one of random weights (`random.json` says its sizes), whose stage 2 changes much whatever has been learned.

mod common;

use candle_core::{Device, Tensor};
use dualstep_engine::level::Level;
use dualstep_engine::unet::{RestoredFrame, TwoStage, forward};
use dualstep_engine::{Controls, Model};
use realfft::num_complex::Complex32;
use safetensors::SafeTensors;
use std::path::PathBuf;

/// Largest difference relative to the largest value, and root of the mean squared one relative to the root mean square.
const TOLERANCE: f64 = 1e-4;

fn folder(variable: &str, default: &str) -> PathBuf {
    std::env::var_os(variable).map_or_else(|| common::repository(default), PathBuf::from)
}

fn bytes(folder: PathBuf, name: &str) -> Vec<u8> {
    let path = folder.join(format!("{name}.safetensors"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}; training's exporter writes it", path.display()))
}

fn tensor(file: &SafeTensors<'_>, name: &str) -> Vec<f32> {
    let view = file.tensor(name).unwrap_or_else(|_| panic!("the golden vectors lack {name}"));
    view.data().as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

fn check(what: &str, got: &[f32], want: &[f32]) {
    assert_eq!(got.len(), want.len(), "{what}");
    let pairs = || got.iter().zip(want).map(|(a, b)| (f64::from(*a), f64::from(*b)));
    let largest = pairs().fold(0.0, |size: f64, (_, b)| size.max(b.abs()));
    let worst = pairs().fold(0.0, |worst: f64, (a, b)| worst.max((a - b).abs())) / largest;
    let energy: f64 = pairs().map(|(_, b)| b * b).sum();
    let mean = (pairs().map(|(a, b)| (a - b).powi(2)).sum::<f64>() / energy).sqrt();
    assert!(largest > 0.0 && energy > 0.0, "{what}: the vectors are empty");
    eprintln!("{what}: worst {worst:.1e}, mean {mean:.1e}");
    assert!(
        worst < TOLERANCE && mean < TOLERANCE,
        "{what} is not PyTorch's: worst {worst:.1e}, mean {mean:.1e}, expected less than {TOLERANCE:.0e}"
    );
}

/// Checks a network against the vectors that were made with it. Returns the size of stage 2's change relative to stage 1's output, in dB.
fn agrees_with_pytorch(name: &str, weights: &[u8], golden: &[u8]) -> f64 {
    let golden = SafeTensors::deserialize(golden).expect("golden vectors");
    let model = Model::from_bytes(weights).expect("weights");
    let bins = model.spec().bins;
    let [spectrum, level, gain, stage2] = ["spectrum", "level", "gain", "stage2"].map(|part| tensor(&golden, part));
    let frames = level.len();
    assert!(frames >= 8 && spectrum.len() == frames * bins * 2, "{frames} frames");

    let frame = |k: usize| -> Vec<Complex32> {
        let input = spectrum[k * 2 * bins..][..2 * bins].chunks_exact(2);
        input.map(|z| Complex32::new(z[0], z[1])).collect()
    };
    let mut running = Level::new(model.spec());
    let levels: Vec<f32> = (0..frames)
        .map(frame)
        .map(|input| {
            let mean = input.iter().map(|z| (f64::from(z.norm_sqr()) + 1e-18).powf(0.15)).sum::<f64>() / bins as f64;
            #[expect(clippy::cast_possible_truncation, reason = "the level is kept in f32")]
            running.advance(mean as f32)
        })
        .collect();
    check(&format!("{name} level"), &levels, &level);

    // Gains and restored spectra of both forms, `[frame][bin]`.
    let step = |speech: bool| {
        let controls = Controls {
            speech,
            ..Controls::default()
        };
        let mut stages = TwoStage::new(&model, 1);
        let mut out = RestoredFrame::new(&model, 1);
        let (mut gains, mut restored) = (Vec::new(), Vec::new());
        for input in (0..frames).map(frame) {
            stages.step(&input, &controls, &mut out);
            gains.extend(&out.gain);
            restored.extend(out.restored.iter().flat_map(|z| [z.re, z.im]));
        }
        (gains, restored)
    };
    let forward = |speech: bool| {
        let clip = Tensor::from_vec(spectrum.clone(), (frames, bins, 2), &Device::Cpu).expect("shape");
        let clip = forward::clip(&model, &clip, speech).expect("runs");
        let [gains, restored] = [clip.gain, clip.stage2].map(|x| x.flatten_all().and_then(|x| x.to_vec1()).expect("floats"));
        (gains, restored)
    };
    for (form, run) in [("step", &step as &dyn Fn(bool) -> _), ("forward", &forward)] {
        let (gains, restored) = run(false);
        check(&format!("{name} stage 1, {form}"), &gains, &gain);
        check(&format!("{name} stage 2, {form}"), &restored, &stage2);
        if model.spec().speech {
            let speech = tensor(&golden, "speech_gain");
            check(&format!("{name} stage 1 for speech, {form}"), &run(true).0, &speech);
            assert!(speech != gain, "{name}: stage 1 for speech is to be another");
        }
    }

    let (mut change, mut before) = (0.0, 0.0);
    let ahead = model.spec().lookahead_hops * bins;
    let stage1 = spectrum.chunks_exact(2).zip(&gain[ahead..]);
    for ((dry, gain), restored) in stage1.zip(stage2[2 * ahead..].chunks_exact(2)) {
        for (dry, restored) in dry.iter().zip(restored) {
            change += f64::from(restored - gain * dry).powi(2);
            before += f64::from(gain * dry).powi(2);
        }
    }
    10.0 * (change / before).log10()
}

fn shipped_agrees_with_pytorch(name: &str) {
    let weights = bytes(folder("DUALSTEP_WEIGHTS", "assets/weights"), name);
    agrees_with_pytorch(name, &weights, &bytes(folder("DUALSTEP_GOLDEN", "tests/data/golden"), name));
}

#[test]
fn studio_agrees_with_pytorch() {
    shipped_agrees_with_pytorch("studio");
}

#[test]
fn live_agrees_with_pytorch() {
    shipped_agrees_with_pytorch("live");
}

#[test]
fn random_weights_agree_with_pytorch() {
    let golden = common::repository("tests/data/golden");
    let change_db = agrees_with_pytorch("random", &bytes(golden.clone(), "random-weights"), &bytes(golden, "random"));
    assert!(change_db > -20.0, "stage 2 must change much to be pinned: {change_db:.1} dB");
}
