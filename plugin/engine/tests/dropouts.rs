//! Dropouts: the network against PyTorch's, on the vectors that the training code's exporter wrote, and what the repair does with its answers.

mod common;

use common::{Random, repository, shipped_detectors, shipped_spec};
use dualstep_engine::repair::dropouts::DropoutStream;
use dualstep_engine::repair::{DropoutDetector, Repairs, SampleRepair};
use dualstep_engine::unet::Isa;
use safetensors::SafeTensors;

/// Largest difference of log-odds and depths that is still rounding: the features are logarithms of single-precision powers.
const TOLERANCE: f32 = 5e-3;

/// Only dropouts are repaired.
const ONLY: Repairs = Repairs {
    declick: 0.0,
    declip: false,
    dropouts: true,
};

fn bytes(path: &str) -> Vec<u8> {
    let path = repository(path);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}; training's exporter writes it", path.display()))
}

/// The clip at a rate, and what PyTorch says of it: `[pair][odds, depth][frame]`.
fn golden(rate: &str) -> [Vec<f32>; 2] {
    let file = bytes("tests/data/golden/dropouts.safetensors");
    let file = SafeTensors::deserialize(&file).expect("golden vectors");
    ["clip", "out"].map(|name| {
        let view = file.tensor(&format!("{name}.{rate}")).expect("a golden vector");
        view.data().as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
    })
}

fn detector(isa: Isa) -> DropoutDetector {
    DropoutDetector::from_bytes_for(&bytes("assets/weights/dropouts.safetensors"), isa).expect("the weights are sound")
}

/// All answers of a stream that comes in pieces of these sizes in turn, frame by frame.
fn answers(stream: &mut DropoutStream, clip: &[f32], sizes: &[usize]) -> Vec<f32> {
    let (mut out, mut rest) = (Vec::new(), clip);
    for size in sizes.iter().cycle() {
        let (piece, after) = rest.split_at((*size).min(rest.len()));
        out.extend_from_slice(stream.follow(piece));
        rest = after;
        if rest.is_empty() {
            break;
        }
    }
    out
}

#[test]
fn agrees_with_pytorch() {
    for (rate, rate_hz) in [("44100", 44.1e3), ("48000", 48e3)] {
        let [clip, expected] = golden(rate);
        for isa in Isa::available() {
            let detector = detector(isa);
            let outs = 2 * detector.spec().lookaheads.len();
            let found = answers(&mut DropoutStream::new(&detector, rate_hz, 960, 480), &clip, &[960]);
            let frames = expected.len() / outs;
            assert_eq!(found.len(), expected.len(), "{rate}");
            let (mut worst, mut highest) = (0.0f32, f32::MIN);
            for (frame, answer) in found.chunks_exact(outs).enumerate() {
                for (out, x) in answer.iter().enumerate() {
                    worst = worst.max((x - expected[out * frames + frame]).abs());
                    highest = highest.max(if out % 2 == 0 { *x } else { f32::MIN });
                }
            }
            assert!(highest > 2.0, "{rate}: the vectors are meant to hold a dropout: {highest}");
            assert!(
                worst < TOLERANCE,
                "{rate}, {isa:?}: {worst:.1e} off, expected less than {TOLERANCE:.0e}"
            );
        }
    }
}

#[test]
fn pieces_of_any_size_give_the_same_bits() {
    let [clip, _] = golden("44100");
    let mut stream = DropoutStream::new(&detector(Isa::best()), 44.1e3, 4000, 441);
    let whole = answers(&mut stream, &clip, &[4000]);
    for sizes in [&[1][..], &[7, 1, 333], &[44], &[53, 54], &[320], &[2111, 3]] {
        stream.reset();
        assert_eq!(answers(&mut stream, &clip, sizes), whole, "{sizes:?}");
    }
}

/// A chord of bowed strings, more or less: partials that waver, over a little noise.
fn chord(rate_hz: f64, seconds: f64) -> Vec<f32> {
    let mut random = Random::new(3);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few seconds")]
    let samples = (rate_hz * seconds) as usize;
    (0..samples)
        .map(|n| {
            let time = n as f64 / rate_hz;
            let tone = |hz: f64, k: u32| {
                let k = f64::from(k);
                (std::f64::consts::TAU * hz * k * time + 2.0 * k * (5.1 * time).sin()).sin() / k
            };
            let sum: f64 = [196.0, 247.0, 294.0]
                .iter()
                .map(|hz| (1..24).map(|k| tone(*hz, k)).sum::<f64>())
                .sum();
            #[expect(clippy::cast_possible_truncation, reason = "samples are f32")]
            let value = (0.05 * sum) as f32 + 0.001 * random.signed();
            value
        })
        .collect()
}

/// Takes the level of some ten milliseconds down, every 170 ms, with edges of a millisecond. Also says which samples that touches.
fn with_dropouts(clean: &[f32], rate_hz: f64, gain: f64) -> (Vec<f32>, Vec<bool>) {
    let loss = |n: usize| {
        let time_ms = (n as f64 / rate_hz * 1e3) % 170.0 - 90.0;
        let inside = (time_ms.min(22.0 - time_ms)).clamp(0.0, 1.0);
        0.5 - 0.5 * (std::f64::consts::PI * inside).cos()
    };
    let damaged = clean.iter().enumerate().map(|(n, x)| {
        #[expect(clippy::cast_possible_truncation, reason = "samples are f32")]
        let gain = (1.0 - (1.0 - gain) * loss(n)) as f32;
        x * gain
    });
    (damaged.collect(), (0..clean.len()).map(|n| loss(n) > 0.0).collect())
}

fn repaired(input: &[f32], name: &str, rate_hz: f64, repairs: impl Fn(usize) -> Repairs) -> Vec<f32> {
    let geometry = shipped_spec(name).geometry(rate_hz).expect("the rate is supported");
    let mut repair = SampleRepair::new(&shipped_detectors(name), &geometry, rate_hz);
    let mut stream = input.to_vec();
    stream.resize((input.len() + geometry.repair).next_multiple_of(geometry.hop), 0.0);
    for (index, hop) in stream.chunks_exact_mut(geometry.hop).enumerate() {
        repair.process(hop, repairs(index));
    }
    stream[geometry.repair..][..input.len()].to_vec()
}

fn snr_db(reference: &[f32], estimate: &[f32]) -> f64 {
    let energy: f64 = reference.iter().map(|x| f64::from(*x).powi(2)).sum();
    let error: f64 = reference.iter().zip(estimate).map(|(x, y)| f64::from(x - y).powi(2)).sum();
    10.0 * ((energy + 1e-20) / (error + 1e-20)).log10()
}

#[test]
fn gives_back_what_dropouts_took_at_every_rate_and_touches_nothing_else() {
    for rate_hz in [22.05e3, 44.1e3, 48e3, 96e3, 192e3] {
        let clean = chord(rate_hz, 2.0);
        for name in ["studio", "live"] {
            // 30 dB are surely a dropout, 12 may be played: then at least nothing is lost.
            for (gain, least_db) in [(0.03, 5.0), (0.25, 0.0)] {
                let (damaged, touched) = with_dropouts(&clean, rate_hz, gain);
                let output = repaired(&damaged, name, rate_hz, |_| ONLY);
                let gained_db = snr_db(&clean, &output) - snr_db(&clean, &damaged);
                assert!(
                    gained_db >= least_db,
                    "{name} at {rate_hz} Hz, down to {gain}: {gained_db:.1} dB, expected {least_db}"
                );
                // A frame and its neighbour share the line between them.
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "3 ms in samples")]
                let near = (3e-3 * rate_hz) as usize;
                let spoilt = (0..clean.len())
                    .filter(|n| output[*n].to_bits() != damaged[*n].to_bits())
                    .filter(|n| !touched[n.saturating_sub(near)..(n + near).min(touched.len())].contains(&true))
                    .count();
                assert!(
                    spoilt * 100 < clean.len(),
                    "{name} at {rate_hz} Hz, down to {gain}: {spoilt} samples beside dropouts"
                );
            }
        }
    }
}

#[test]
fn a_clean_stream_is_the_same_to_the_bit() {
    for rate_hz in [44.1e3, 48e3] {
        let clean = chord(rate_hz, 3.0);
        for name in ["studio", "live"] {
            let output = repaired(&clean, name, rate_hz, |_| ONLY);
            let changed = output.iter().zip(&clean).position(|(x, y)| x.to_bits() != y.to_bits());
            assert_eq!(changed, None, "{name} at {rate_hz} Hz");
        }
    }
}

#[test]
fn the_switch_holds_to_the_sample() {
    let clean = chord(48e3, 2.0);
    let (damaged, _) = with_dropouts(&clean, 48e3, 0.1);
    let changed = |output: &[f32]| -> Vec<usize> { (0..output.len()).filter(|n| output[*n] != damaged[*n]).collect() };
    assert!(changed(&repaired(&damaged, "studio", 48e3, |_| Repairs::default())).is_empty());
    let switch = 48_000;
    let on = |index: usize| Repairs {
        dropouts: index * 960 >= switch,
        ..Repairs::default()
    };
    let after = changed(&repaired(&damaged, "studio", 48e3, on));
    assert!(after.len() > 1000 && after.iter().all(|n| *n >= switch), "{:?}", after.first());
    let off = |index: usize| Repairs {
        dropouts: index * 960 < switch,
        ..Repairs::default()
    };
    let before = changed(&repaired(&damaged, "studio", 48e3, off));
    assert!(before.len() > 1000 && before.iter().all(|n| *n < switch), "{:?}", before.last());
}

#[test]
fn other_files_are_refused() {
    for other in [
        "assets/weights/studio.safetensors",
        "assets/weights/detector-studio.safetensors",
        "tests/data/golden/dropouts.safetensors",
    ] {
        let message = DropoutDetector::from_bytes(&bytes(other))
            .expect_err("no dropout network")
            .to_string();
        assert!(message.contains("spec"), "{other}: {message}");
    }
    let good = bytes("assets/weights/dropouts.safetensors");
    for cut in [0, 7, 100, good.len() - 1] {
        assert!(DropoutDetector::from_bytes(&good[..cut]).is_err(), "cut at {cut}");
    }
}
