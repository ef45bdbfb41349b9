//! Damaged recordings: an error or samples, never a panic, never a file that grows without end.
//!
//! The cases are drawn from fixed seeds. `DUALSTEP_CASES=100 cargo test --package xtask --test hostile` draws a hundred times as many, other ones.

use std::path::Path;

use xtask::audio::{Encoding, Planar, Reader, Writer};

/// Samples per channel of the recordings that are damaged.
const FRAMES: u16 = 600;

/// How many random cases a test draws: `usual`, times `DUALSTEP_CASES` for long runs.
fn cases(usual: usize) -> usize {
    let factor = std::env::var("DUALSTEP_CASES").ok();
    usual * factor.map_or(1, |factor| factor.parse::<usize>().expect("DUALSTEP_CASES is a whole number"))
}

/// Reproducible random numbers (SplitMix64).
struct Random(u64);

impl Random {
    /// The same numbers for the same `seed` and the same `DUALSTEP_CASES`.
    fn new(seed: u64) -> Self {
        Self(seed << 32 | cases(1) as u64)
    }

    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) >> 32).expect("32 bits") % limit
    }

    fn byte(&mut self) -> u8 {
        u8::try_from(self.below(256)).expect("a byte")
    }
}

/// A WAV or FLAC file's bytes.
fn written(folder: &Path, name: &str, encoding: Encoding) -> Vec<u8> {
    let path = folder.join(name);
    let audio: Planar = [0.1, 0.13]
        .map(|step| (0..FRAMES).map(|n| (f32::from(n) * step).sin() * 0.5).collect())
        .to_vec();
    let mut writer = Writer::create(&path, 44_100, 2, encoding, None, false).expect("a new file");
    writer.write(&audio, 0, usize::from(FRAMES)).expect("room for it");
    writer.finish().expect("room for it");
    std::fs::read(path).expect("it was just written")
}

/// An AIFF file's bytes: 16 bit, stereo (Apple, Audio Interchange File Format, version 1.3).
fn aiff() -> Vec<u8> {
    let samples: Vec<u8> = (0..2 * FRAMES).flat_map(|n| n.wrapping_mul(97).to_be_bytes()).collect();
    let mut common = [2u16.to_be_bytes(), [0, 0], FRAMES.to_be_bytes(), 16u16.to_be_bytes()].concat();
    // 44 100 as an 80-bit float.
    common.extend([0x40, 0x0e, 0xac, 0x44, 0, 0, 0, 0, 0, 0]);
    let chunk = |name: &[u8; 4], content: &[u8]| {
        let length = u32::try_from(content.len()).expect("small").to_be_bytes();
        [&name[..], &length, content].concat()
    };
    let sound = chunk(b"SSND", &[&[0; 8][..], &samples].concat());
    chunk(b"FORM", &[b"AIFF", &chunk(b"COMM", &common)[..], &sound].concat())
}

/// The file with a few bytes changed, cut off, doubled, or a length exchanged; mostly in its header.
fn damage(file: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = file.to_vec();
    for _ in 0..=random.below(3) {
        let reach = [48, 48, 128, bytes.len()][random.below(4)].min(bytes.len());
        if reach == 0 {
            break;
        }
        let at = random.below(reach);
        let end = bytes.len().min(at + 4);
        match random.below(6) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = random.byte(),
            2 => bytes.truncate(at),
            3 => bytes[at..end].fill(0),
            4 => bytes[at..end].fill(0xff),
            _ => {
                let piece: Vec<u8> = bytes[at..].iter().copied().take(random.below(32)).collect();
                bytes.splice(at..at, piece);
            }
        }
    }
    bytes
}

/// Reads a recording to its end. Gives its samples per channel, or what is wrong with it.
fn read(path: &Path) -> Result<u64, String> {
    let mut reader = Reader::open(path).map_err(|error| error.to_string())?;
    assert!((1..=2).contains(&reader.channels()), "{} channels", reader.channels());
    let mut block: Planar = vec![vec![0.0; 512]; reader.channels()];
    let mut frames = 0;
    loop {
        let count = reader.read(&mut block, 512).map_err(|error| error.to_string())?;
        frames += count as u64;
        if count < 512 {
            return Ok(frames);
        }
    }
}

#[test]
fn damaged_recordings_are_refused_or_read() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let files = [
        ("wav", written(folder.path(), "float.wav", Encoding::Float)),
        ("wav", written(folder.path(), "int.wav", Encoding::Int24)),
        ("flac", written(folder.path(), "int.flac", Encoding::Int24)),
        ("aiff", aiff()),
    ];
    for (index, (ending, file)) in files.iter().enumerate() {
        let path = folder.path().join(format!("damaged-{index}.{ending}"));
        std::fs::write(&path, file).expect("room for it");
        assert_eq!(read(&path), Ok(u64::from(FRAMES)), "the whole {ending}");
        let mut random = Random::new(index as u64 + 1);
        let (mut refused, mut taken) = (0, 0);
        for case in 0..cases(1_500) {
            let bytes = damage(file, &mut random);
            std::fs::write(&path, &bytes).expect("room for it");
            let outcome = std::panic::catch_unwind(|| read(&path));
            match outcome {
                Err(_) => panic!(
                    "{ending}, case {case}: reading panicked; first bytes {:02x?}",
                    &bytes[..bytes.len().min(96)]
                ),
                Ok(Err(message)) => {
                    refused += 1;
                    assert!(!message.is_empty(), "{ending}, case {case}");
                }
                Ok(Ok(frames)) => {
                    taken += 1;
                    // At most one sample a bit.
                    assert!(
                        frames <= 8 * bytes.len() as u64,
                        "{ending}, case {case}: {frames} samples out of {} bytes",
                        bytes.len()
                    );
                }
            }
        }
        assert!(
            refused > 100 && taken > 10,
            "{ending}: {refused} refused, {taken} taken: the cases are one-sided"
        );
    }
}
