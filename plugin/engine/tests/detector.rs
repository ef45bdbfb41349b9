//! The click detectors of both editions against PyTorch's, on the vectors that the training code's exporter wrote, and their streaming.

mod common;

use dualstep_engine::repair::ClickDetector;
use dualstep_engine::repair::network::DetectorStream;
use dualstep_engine::unet::Isa;
use safetensors::SafeTensors;

/// Largest difference of a probability that is still rounding.
const TOLERANCE: f32 = 1e-4;

fn bytes(path: &str) -> Vec<u8> {
    let path = common::repository(path);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}; training's exporter writes it", path.display()))
}

const EDITIONS: [&str; 2] = ["studio", "live"];

fn golden(edition: &str) -> [Vec<f32>; 2] {
    let file = bytes(&format!("tests/data/golden/detector-{edition}.safetensors"));
    let file = SafeTensors::deserialize(&file).expect("golden vectors");
    ["clip", "probability"].map(|name| {
        let view = file.tensor(name).expect("a golden vector");
        view.data().as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
    })
}

fn detector(edition: &str, isa: Isa) -> ClickDetector {
    ClickDetector::from_bytes_for(&bytes(&format!("assets/weights/detector-{edition}.safetensors")), isa).expect("the weights are sound")
}

/// All answers of a stream that comes in pieces of these sizes in turn; the delay taken off.
fn answers(stream: &mut DetectorStream, clip: &[f32], sizes: &[usize]) -> Vec<f32> {
    let lookahead = stream.lookahead();
    let mut padded = clip.to_vec();
    padded.resize((clip.len() + lookahead).next_multiple_of(16), 0.0);
    let (mut out, mut rest) = (Vec::new(), &padded[..]);
    for size in sizes.iter().cycle() {
        let (piece, after) = rest.split_at((*size).min(rest.len()));
        out.extend_from_slice(stream.process(piece));
        rest = after;
        if rest.is_empty() {
            break;
        }
    }
    out[lookahead..][..clip.len()].to_vec()
}

#[test]
fn agrees_with_pytorch() {
    for edition in EDITIONS {
        let [clip, expected] = golden(edition);
        let highest = expected.iter().fold(0.0f32, |m, p| m.max(*p));
        assert!(
            highest > 0.3 && clip.len() > 4000,
            "{edition}: the vectors are meant to hold a click: {highest}"
        );
        for isa in Isa::available() {
            let found = answers(&mut DetectorStream::new(&detector(edition, isa), clip.len()), &clip, &[960]);
            let worst = found.iter().zip(&expected).fold(0.0f32, |m, (a, b)| m.max((a - b).abs()));
            assert!(
                worst < TOLERANCE,
                "{edition}, {isa:?}: {worst:.1e} off, expected less than {TOLERANCE:.0e}"
            );
        }
    }
}

#[test]
fn pieces_of_any_size_give_the_same_bits() {
    for edition in EDITIONS {
        let [clip, _] = golden(edition);
        let mut stream = DetectorStream::new(&detector(edition, Isa::best()), 4000);
        let whole = answers(&mut stream, &clip, &[4000]);
        for sizes in [&[1][..], &[7, 1, 333], &[16], &[53, 54], &[320], &[2111, 3]] {
            stream.reset();
            assert_eq!(answers(&mut stream, &clip, sizes), whole, "{edition}: {sizes:?}");
        }
    }
}

#[test]
fn level_does_not_matter() {
    for edition in EDITIONS {
        let [clip, _] = golden(edition);
        // Nothing of the silence at its start, which has no level.
        let clip = clip[400..].repeat(2);
        let quiet: Vec<f32> = clip.iter().map(|x| x * 0.1).collect();
        let mut stream = DetectorStream::new(&detector(edition, Isa::best()), 960);
        let loud = answers(&mut stream, &clip, &[960]);
        stream.reset();
        let quiet = answers(&mut stream, &quiet, &[960]);
        let worst = loud.iter().zip(&quiet).skip(4000).fold(0.0f32, |m, (a, b)| m.max((a - b).abs()));
        assert!(worst < 0.01, "{edition}: {worst}");
    }
}

#[test]
fn costs_what_it_says() {
    for edition in EDITIONS {
        let macs = detector(edition, Isa::best()).macs();
        assert!((1000.0..2500.0).contains(&macs), "{edition}: {macs} multiply-adds per sample");
    }
}

/// One that waits for less than its layers do, or for other layers than it has, can't be run.
#[test]
fn waits_that_do_not_fit_are_refused() {
    let good = bytes("assets/weights/detector-studio.safetensors");
    let waits = b"[0, 0, 0, 0, 3, 3]";
    let at = good
        .windows(waits.len())
        .position(|window| window == waits)
        .expect("the spec says what its layers wait");
    for other in [b"[0, 0, 0, 0, 3, 9]", b"[0, 0, 0, 0, 3]   ", b"[0, 0, 0,0, 3, -3]"] {
        let mut bad = good.clone();
        bad[at..][..waits.len()].copy_from_slice(other);
        let message = ClickDetector::from_bytes(&bad).expect_err("no such waits").to_string();
        assert!(message.contains("waits") || message.contains("-3"), "{message}");
    }
}

#[test]
fn other_files_are_refused() {
    for other in ["assets/weights/studio.safetensors", "tests/data/golden/detector-studio.safetensors"] {
        let message = ClickDetector::from_bytes(&bytes(other)).expect_err("no detector").to_string();
        assert!(message.contains("spec"), "{message}");
    }
    let good = bytes("assets/weights/detector-studio.safetensors");
    for cut in [0, 7, 100, good.len() - 1] {
        assert!(ClickDetector::from_bytes(&good[..cut]).is_err(), "cut at {cut}");
    }
}
