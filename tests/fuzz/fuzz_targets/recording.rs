//! Any bytes as a recording: an error or samples. The first byte picks the ending. Corpus:
//! `assets/demo` and anything else that `cargo xtask render` reads, with that byte in front.

#![no_main]

use libfuzzer_sys::fuzz_target;
use std::io::Write;
use xtask::audio::{Reader, silence};

const ENDINGS: [&str; 5] = [".wav", ".flac", ".aiff", ".mp3", ".ogg"];

fuzz_target!(|bytes: &[u8]| {
    let Some((ending, bytes)) = bytes.split_first() else { return };
    let ending = ENDINGS[usize::from(*ending) % ENDINGS.len()];
    let mut file = tempfile::Builder::new().suffix(ending).tempfile().expect("a temporary file");
    file.write_all(bytes).expect("room for it");
    let Ok(mut reader) = Reader::open(file.path()) else { return };
    let mut audio = silence(reader.channels(), 4096);
    // A compressed recording may be long; a thousand reads are enough to see whether they go wrong.
    for _ in 0..1000 {
        match reader.read(&mut audio, 4096) {
            Ok(0) | Err(_) => return,
            Ok(frames) => assert!(frames <= 4096),
        }
    }
});
