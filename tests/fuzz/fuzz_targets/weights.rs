//! Any bytes as weights, of the networks or of the click detector: refused or read. Corpus: `tests/data/golden/random-weights.safetensors`.

#![no_main]

use dualstep_engine::Model;
use dualstep_engine::repair::ClickDetector;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = Model::from_bytes(bytes);
    let _ = ClickDetector::from_bytes(bytes);
});
