//! The streaming form against the whole-clip form: layer by layer, stage by stage, and both stages together.

use super::forward::{self, Memory};
use super::stage::Stage;
use super::{Isa, Network, RestoredFrame, TwoStage};
use crate::Controls;
use crate::spec::{Spec, StageSpec};
use crate::weights::tests::{small, studio};
use crate::weights::{Model, Noise, untrained};
use candle_core::{Device, Tensor};
use realfft::num_complex::Complex32;

const CHUNKINGS: [usize; 5] = [1, 2, 3, 5, 8];

/// Channels apart.
fn free() -> Controls {
    Controls {
        linked: false,
        ..Controls::default()
    }
}

/// Stage 1 for speech alone.
fn speech() -> Controls {
    Controls {
        speech: true,
        ..Controls::default()
    }
}

fn model(spec: &Spec, isa: Isa) -> Model {
    Model::from_bytes_for(&untrained(spec, 11).expect("sound"), isa).expect("sound")
}

/// Smallest spec that has each kind of layer but no pooling.
fn one_level() -> Spec {
    Spec {
        stages: [7, 6].map(|width| StageSpec {
            widths: vec![width],
            squeeze: 3,
        }),
        taps: 1,
        lookahead_hops: 0,
        ..small()
    }
}

/// Largest difference relative to the largest value.
fn difference(got: &[f32], want: &[f32]) -> f32 {
    assert_eq!(got.len(), want.len());
    let size = want.iter().fold(1e-9, |size: f32, x| size.max(x.abs()));
    got.iter().zip(want).fold(0.0, |worst: f32, (a, b)| worst.max((a - b).abs())) / size
}

fn vector(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().and_then(|t| t.to_vec1()).expect("floats")
}

/// Steps through `frames` frames and compares each layer's rows and the output with `forward`, fed in pieces of `chunk`.
fn step_agrees_with_forward(spec: &Spec, isa: Isa, frames: usize, chunk: usize) {
    let model = model(spec, isa);
    for network in Network::all(spec) {
        let (cin, outs) = (network.features(), network.values(spec));
        let bins = spec.bins;
        // [channel][frame][bin][feature]: two channels, so that one can't leak into the other unseen.
        let channels: Vec<Vec<f32>> = (0..2).map(|seed| Noise::new(seed).vector(frames * bins * cin)).collect();
        let weights = match network {
            Network::Stage1 => &model.stages()[0],
            Network::Stage2 => &model.stages()[1],
            Network::Speech => model.speech().expect("the weights have one"),
        };
        let mut stage = Stage::new(weights, 2);
        let mut out = vec![0.0; 2 * bins * outs];
        let mut memories = [Memory::default(), Memory::default()];
        let mut compared = 0;
        for start in (0..frames).step_by(chunk) {
            let count = chunk.min(frames - start);
            let whole = channels.iter().zip(&mut memories).map(|(channel, memory)| {
                let piece = channel[start * bins * cin..][..count * bins * cin].to_vec();
                let piece = Tensor::from_vec(piece, (count, bins, cin), &Device::Cpu);
                let piece = piece.and_then(|x| x.permute((2, 0, 1))?.contiguous()).expect("shape");
                vector(&forward::stage(&model, network, &piece, memory).expect("runs"))
            });
            let whole: Vec<Vec<f32>> = whole.collect();
            for frame in 0..count {
                let at = (start + frame) * bins * cin..(start + frame + 1) * bins * cin;
                let features: Vec<f32> = channels.iter().flat_map(|channel| channel[at.clone()].to_vec()).collect();
                stage.step(&features, &mut out);
                for (channel, memory) in memories.iter().enumerate() {
                    let rows = stage.trace(channel);
                    for (name, rows) in &rows {
                        let (_, expected) = memory.trace.iter().find(|(n, _)| n == name).unwrap_or_else(|| panic!("no {name}"));
                        // [1, channel, frame, band] -> [band][channel]
                        let expected = expected.narrow(2, frame, 1).and_then(|x| x.permute((0, 2, 3, 1))).expect("shape");
                        let off = difference(rows, &vector(&expected));
                        assert!(
                            off < 2e-5,
                            "{isa:?} {network:?} {name}, frame {}, channel {channel}: off by {off}",
                            start + frame
                        );
                        compared += 1;
                    }
                    let size = bins * outs;
                    let off = difference(&out[channel * size..][..size], &whole[channel][frame * size..][..size]);
                    assert!(
                        off < 2e-5,
                        "{isa:?} {network:?} output, frame {}, channel {channel}: off by {off}",
                        start + frame
                    );
                }
            }
        }
        let top = network.spec(spec).widths.len() - 1;
        let layers = 5 * top + 4 + top;
        assert!(compared >= 2 * frames * layers.min(5), "{compared} layers compared");
    }
}

#[test]
fn every_layer_steps_as_forward_for_each_chunking() {
    for isa in Isa::available() {
        for chunk in CHUNKINGS {
            step_agrees_with_forward(&small(), isa, 11, chunk);
        }
        step_agrees_with_forward(&one_level(), isa, 5, 2);
    }
}

#[test]
fn the_shipped_widths_step_as_forward() {
    for isa in Isa::available() {
        step_agrees_with_forward(&studio(), isa, 5, 3);
    }
}

/// Spectra `[frame][bin]` of plausible size with a quiet stretch.
fn spectra(seed: u64, frames: usize, bins: usize) -> Vec<Complex32> {
    let values = Noise::new(seed).vector(2 * frames * bins);
    let size = |frame: usize| if frame % 7 == 3 { 1e-6 } else { 0.03 };
    let parts = values.chunks_exact(2).enumerate();
    parts.map(|(i, z)| Complex32::new(z[0], z[1]) * size(i / bins)).collect()
}

/// All frames' gains and restored spectra, `[frame][channel][bin]`.
fn run(stages: &mut TwoStage, channels: &[&[Complex32]], bins: usize, controls: &Controls) -> (Vec<f32>, Vec<Complex32>) {
    let (mut gains, mut restored) = (Vec::new(), Vec::new());
    let mut frame = RestoredFrame::default();
    for k in 0..channels[0].len() / bins {
        let spectrum: Vec<Complex32> = channels.iter().flat_map(|channel| channel[k * bins..][..bins].to_vec()).collect();
        stages.step(&spectrum, controls, &mut frame);
        gains.extend(&frame.gain);
        restored.extend(&frame.restored);
    }
    (gains, restored)
}

fn parts(spectrum: &[Complex32]) -> Vec<f32> {
    spectrum.iter().flat_map(|z| [z.re, z.im]).collect()
}

#[test]
fn both_stages_step_as_the_whole_clip() {
    for spec in [small(), one_level(), studio()] {
        let (frames, bins) = (12, spec.bins);
        let input = spectra(5, frames, bins);
        let clip = Tensor::from_vec(parts(&input), (frames, bins, 2), &Device::Cpu).expect("shape");
        for isa in Isa::available() {
            let model = model(&spec, isa);
            for controls in [Controls::default(), speech()] {
                let want = forward::clip(&model, &clip, controls.speech).expect("runs");
                let (gains, restored) = run(&mut TwoStage::new(&model, 1), &[&input], bins, &controls);
                let off = difference(&gains, &vector(&want.gain));
                assert!(off < 1e-5, "{isa:?} gain off by {off}");
                let off = difference(&parts(&restored), &vector(&want.stage2));
                assert!(off < 5e-5, "{isa:?} stage 2 off by {off}");
            }
        }
    }
}

#[test]
fn channels_that_part_are_two_mono_streams_bit_for_bit() {
    let spec = studio();
    let (frames, bins) = (9, spec.bins);
    let model = model(&spec, Isa::best());
    let a = spectra(1, frames, bins);
    // The same as `a` for no, some and all frames.
    for parted in [0, 1, 5, frames] {
        let b = [&a[..parted * bins], &spectra(2, frames, bins)[parted * bins..]].concat();
        let mut stages = TwoStage::new(&model, 2);
        for _ in 0..2 {
            let (gains, restored) = run(&mut stages, &[&a, &b], bins, &free());
            for (channel, alone) in [&a, &b].into_iter().enumerate() {
                let (gains_alone, restored_alone) = run(&mut TwoStage::new(&model, 1), &[alone], bins, &free());
                for frame in 0..frames {
                    let (stereo, mono) = ((2 * frame + channel) * bins, frame * bins);
                    assert_eq!(
                        gains[stereo..][..bins],
                        gains_alone[mono..][..bins],
                        "parted at {parted}, frame {frame}"
                    );
                    assert_eq!(
                        restored[stereo..][..bins],
                        restored_alone[mono..][..bins],
                        "parted at {parted}, frame {frame}"
                    );
                }
            }
            stages.reset();
        }
    }
}

#[test]
fn linked_channels_share_gains_weighted_by_energy() {
    let spec = small();
    let bins = spec.bins;
    let model = model(&spec, Isa::best());
    let (a, b) = (spectra(1, 9, bins), spectra(2, 9, bins));
    let mut stages = TwoStage::new(&model, 2);
    let (linked, _) = run(&mut stages, &[&a, &b], bins, &Controls::default());
    let (free, _) = run(&mut TwoStage::new(&model, 2), &[&a, &b], bins, &free());
    let ahead = spec.lookahead_hops;
    for frame in ahead..9 {
        for bin in 0..bins {
            let (first, second) = (2 * frame * bins + bin, (2 * frame + 1) * bins + bin);
            assert_eq!(linked[first], linked[second]);
            let [p, q] = [&a, &b].map(|x| x[(frame - ahead) * bins + bin].norm_sqr());
            let want = ((free[first].powi(2) * p + free[second].powi(2) * q) / (p + q)).sqrt();
            assert!((linked[first] - want).abs() < 1e-5, "{} for {want}", linked[first]);
        }
    }
    // Equal channels stay what they are alone.
    let (twins, restored) = run(&mut TwoStage::new(&model, 2), &[&a, &a], bins, &Controls::default());
    let (alone, restored_alone) = run(&mut TwoStage::new(&model, 1), &[&a], bins, &Controls::default());
    for frame in 0..9 {
        assert!(difference(&twins[2 * frame * bins..][..bins], &alone[frame * bins..][..bins]) < 1e-5);
        let [twin, alone] = [&restored[2 * frame * bins..][..bins], &restored_alone[frame * bins..][..bins]];
        assert!(difference(&parts(twin), &parts(alone)) < 1e-4);
    }
}

#[test]
fn reset_is_the_start_of_a_stream() {
    let model = model(&small(), Isa::best());
    let bins = small().bins;
    let input = spectra(3, 10, bins);
    let mut stages = TwoStage::new(&model, 1);
    let first = run(&mut stages, &[&input], bins, &Controls::default());
    let on = run(&mut stages, &[&input], bins, &Controls::default());
    stages.reset();
    let again = run(&mut stages, &[&input], bins, &Controls::default());
    assert!(first == again, "a reset stream must start as a new one");
    assert!(first != on, "the state must matter");
}

#[test]
fn poison_passes() {
    let model = model(&small(), Isa::best());
    let bins = small().bins;
    for poison in [f32::NAN, f32::INFINITY, f32::MAX, 1e-40, -1e-38] {
        let mut stages = TwoStage::new(&model, 2);
        let bad = vec![Complex32::new(poison, -poison); 5 * bins];
        let (gains, restored) = run(&mut stages, &[&bad, &bad], bins, &Controls::default());
        assert!(gains.iter().all(|g| (0.0..=1.0).contains(g)), "{poison}");
        assert!(restored.iter().all(|z| z.is_finite()), "{poison}");
        // After the level has come down again, a poisoned stream says what a clean one says.
        let input = spectra(4, 4000, bins);
        let (got, _) = run(&mut stages, &[&input, &input], bins, &Controls::default());
        let (want, _) = run(&mut TwoStage::new(&model, 2), &[&input, &input], bins, &Controls::default());
        let tail = got.len() - 20 * bins;
        assert!(difference(&got[tail..], &want[tail..]) < 1e-2, "{poison}");
    }
}

#[test]
fn missing_bins_stay_empty() {
    let model = model(&studio(), Isa::best());
    let mut input = spectra(6, 6, 800);
    for frame in input.chunks_exact_mut(800) {
        frame[320..].fill(Complex32::default());
    }
    let mut stages = TwoStage::with_bins(&model, 1, 320);
    let (_, restored) = run(&mut stages, &[&input], 800, &Controls::default());
    for frame in restored.chunks_exact(800) {
        assert!(frame[320..].iter().all(|z| *z == Complex32::default()));
        assert!(frame[..320].iter().any(|z| *z != Complex32::default()));
    }
}

/// Random weights with a balance that changes nothing, and trusts the U-Net as a logistic function of the recording's age: `slope * age - offset`.
fn trusting(spec: &Spec, slope: f32, offset: f32) -> Model {
    let mut bytes = untrained(spec, 11).expect("sound");
    let (inputs, hidden) = (2 * spec.bands() + 1, spec.balance);
    // The first of the hidden values is the age, and the last row of the last layer sees it alone.
    let changes: [(&str, Option<(usize, f32)>); 6] = [
        ("balance.0.weight", Some((inputs - 1, 1.0))),
        ("balance.0.bias", None),
        ("balance.1.weight", Some((0, 1.0))),
        ("balance.1.bias", None),
        ("balance.2.weight", Some((spec.bands() * hidden, slope))),
        ("balance.2.bias", Some((spec.bands(), -offset))),
    ];
    for (name, change) in changes {
        let file = safetensors::SafeTensors::deserialize(&bytes).expect("a file");
        let data = file.tensor(name).expect("a tensor").data();
        let (start, length) = (data.as_ptr() as usize - bytes.as_ptr() as usize, data.len());
        bytes[start..start + length].fill(0);
        if let Some((index, value)) = change {
            bytes[start + 4 * index..][..4].copy_from_slice(&value.to_le_bytes());
        }
    }
    Model::from_bytes(&bytes).expect("sound")
}

#[test]
fn a_u_net_that_is_not_trusted_adds_nothing_and_wakes_up_gently() {
    let spec = small();
    let (frames, bins) = (180, spec.bins);
    let input = spectra(5, frames, bins);
    let age = |frame: i32| 1.0 - spec.balance_keep.powi(frame + 1);
    // No trust; all of it from frame 8 on, before there was a rest; and from frame 120 on, 20 frames after one has begun.
    for (slope, offset, wakes) in [(0.0, 20.0, frames), (9000.0, 9000.0 * age(8), 8), (9000.0, 9000.0 * age(120), 120)] {
        let model = trusting(&spec, slope, offset);
        let mut stages = TwoStage::new(&model, 1);
        let mut frame = RestoredFrame::default();
        let mut changes = Vec::new();
        for spectrum in input.chunks_exact(bins) {
            stages.step(spectrum, &Controls::default(), &mut frame);
            let stage1: Vec<Complex32> = frame.dry.iter().zip(&frame.gain).map(|(dry, gain)| dry * gain).collect();
            let change: f32 = frame.restored.iter().zip(&stage1).map(|(a, b)| (a - b).norm_sqr()).sum();
            changes.push(change);
        }
        assert!(changes[..wakes].iter().all(|change| *change == 0.0), "nothing before frame {wakes}");
        if wakes < frames {
            let loudest = |range: std::ops::Range<usize>| changes[range].iter().fold(0.0f32, |most, change| most.max(*change));
            let (first, later) = (loudest(wakes..wakes + 5), loudest(wakes + 50..wakes + 55));
            assert!(later > 0.0);
            assert_eq!(first < 0.1 * later, wakes == 120, "{first} and {later} from frame {wakes} on");
        }
        stages.reset();
        let first = run(&mut TwoStage::new(&model, 1), &[&input], bins, &Controls::default());
        assert!(
            first == run(&mut stages, &[&input], bins, &Controls::default()),
            "a reset U-Net is a new one"
        );
    }
}
