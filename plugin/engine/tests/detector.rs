//! The click detector against PyTorch's, on the vectors that the training code's exporter wrote, and its streaming.

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

fn golden() -> [Vec<f32>; 2] {
    let file = bytes("tests/data/golden/detector.safetensors");
    let file = SafeTensors::deserialize(&file).expect("golden vectors");
    ["clip", "probability"].map(|name| {
        let view = file.tensor(name).expect("a golden vector");
        view.data().as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
    })
}

fn detector(isa: Isa) -> ClickDetector {
    ClickDetector::from_bytes_for(&bytes("assets/weights/detector.safetensors"), isa).expect("the weights are sound")
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
    let [clip, expected] = golden();
    let highest = expected.iter().fold(0.0f32, |m, p| m.max(*p));
    assert!(
        highest > 0.3 && clip.len() > 4000,
        "the vectors are meant to hold a click: {highest}"
    );
    for isa in Isa::available() {
        let found = answers(&mut DetectorStream::new(&detector(isa), clip.len()), &clip, &[960]);
        let worst = found.iter().zip(&expected).fold(0.0f32, |m, (a, b)| m.max((a - b).abs()));
        assert!(worst < TOLERANCE, "{isa:?}: {worst:.1e} off, expected less than {TOLERANCE:.0e}");
    }
}

#[test]
fn pieces_of_any_size_give_the_same_bits() {
    let [clip, _] = golden();
    let mut stream = DetectorStream::new(&detector(Isa::best()), 4000);
    let whole = answers(&mut stream, &clip, &[4000]);
    for sizes in [&[1][..], &[7, 1, 333], &[16], &[53, 54], &[320], &[2111, 3]] {
        stream.reset();
        assert_eq!(answers(&mut stream, &clip, sizes), whole, "{sizes:?}");
    }
}

#[test]
fn level_does_not_matter() {
    let [clip, _] = golden();
    // Nothing of the silence at its start, which has no level.
    let clip = clip[400..].repeat(2);
    let quiet: Vec<f32> = clip.iter().map(|x| x * 0.1).collect();
    let mut stream = DetectorStream::new(&detector(Isa::best()), 960);
    let loud = answers(&mut stream, &clip, &[960]);
    stream.reset();
    let quiet = answers(&mut stream, &quiet, &[960]);
    let worst = loud.iter().zip(&quiet).skip(4000).fold(0.0f32, |m, (a, b)| m.max((a - b).abs()));
    assert!(worst < 0.01, "{worst}");
}

#[test]
fn costs_what_it_says() {
    let macs = detector(Isa::best()).macs();
    assert!((1000.0..2200.0).contains(&macs), "{macs} multiply-adds per sample");
}

#[test]
fn other_files_are_refused() {
    for other in ["assets/weights/studio.safetensors", "tests/data/golden/detector.safetensors"] {
        let message = ClickDetector::from_bytes(&bytes(other)).expect_err("no detector").to_string();
        assert!(message.contains("spec"), "{message}");
    }
    let good = bytes("assets/weights/detector.safetensors");
    for cut in [0, 7, 100, good.len() - 1] {
        assert!(ClickDetector::from_bytes(&good[..cut]).is_err(), "cut at {cut}");
    }
}
