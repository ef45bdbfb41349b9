//! Any bytes as a recording: an error or samples. The first byte picks the ending of the file's name.

#![no_main]

use dualstep_fuzz::ENDINGS;
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;
use tempfile::NamedTempFile;
use xtask::audio::{Reader, silence};

/// Samples per channel in one read.
const BLOCK: usize = 4096;

/// One file per ending, written anew for each case.
static FILES: LazyLock<[NamedTempFile; ENDINGS.len()]> = LazyLock::new(|| {
    let create = |ending| tempfile::Builder::new().suffix(&format!(".{ending}")).tempfile();
    ENDINGS.map(|ending| create(ending).expect("a temporary file"))
});

fuzz_target!(
    init: {
        // The reader makes a decoder's panic an error; the fuzzer's own hook would end the process at it. What isn't caught still does.
        std::panic::set_hook(Box::new(|_| {}));
    },
    |bytes: &[u8]| {
        let Some((ending, bytes)) = bytes.split_first() else { return };
        let path = FILES[usize::from(*ending) % ENDINGS.len()].path();
        std::fs::write(path, bytes).expect("room for it");
        let Ok(mut reader) = Reader::open(path) else { return };
        assert!((1..=2).contains(&reader.channels()), "{} channels", reader.channels());
        let mut audio = silence(reader.channels(), BLOCK);
        let mut frames = 0;
        while let Ok(count) = reader.read(&mut audio, BLOCK) {
            frames += count;
            if count < BLOCK {
                break;
            }
        }
        // At most one sample a bit, but that a block of FLAC can be one constant.
        assert!(frames <= 65_536 * bytes.len(), "{frames} samples out of {} bytes", bytes.len());
    }
);
