//! Any header in front of a network's or a detector's data, and any bytes as a whole file: refused, or read and run sanely.
//!
//! The input is the header without its length, which a fuzzer would seldom keep right.

#![no_main]

use dualstep_engine::repair::{ClickDetector, Detectors, DropoutDetector, Repairs, SampleRepair};
use dualstep_engine::{Controls, Model, Restorer};
use dualstep_fuzz::{DETECTOR_FILE, DETECTORS, DROPOUTS_FILE, TINY, assert_sane};
use libfuzzer_sys::fuzz_target;
use std::cell::RefCell;

/// Small networks of random weights.
const NETWORKS_FILE: &[u8] = include_bytes!("../../data/golden/random-weights.safetensors");

/// Longest header that is tried, in bytes.
const ROOM: usize = 1 << 14;

/// A file whose header is exchanged, the data staying where it is: copying it would take most of the time.
struct File(Vec<u8>);

impl File {
    fn new(file: &[u8]) -> RefCell<Self> {
        let (length, rest) = file.split_first_chunk().expect("a length");
        let length = usize::try_from(u64::from_le_bytes(*length)).expect("a length");
        RefCell::new(Self([&[0; ROOM + 8], &rest[length..]].concat()))
    }

    /// The bytes with this header.
    fn with(&mut self, header: &[u8]) -> &[u8] {
        let begin = ROOM - header.len();
        self.0[begin..begin + 8].copy_from_slice(&(header.len() as u64).to_le_bytes());
        self.0[begin + 8..ROOM + 8].copy_from_slice(header);
        &self.0[begin..]
    }
}

thread_local! {
    static NETWORKS: RefCell<File> = File::new(NETWORKS_FILE);
    static CLICKS: RefCell<File> = File::new(DETECTOR_FILE);
    static DROPOUTS: RefCell<File> = File::new(DROPOUTS_FILE);
}

/// The sound for one hop.
fn tone(length: usize) -> Vec<f32> {
    (0..length).map(|n| 0.5 * (n as f32 * 0.3).sin()).collect()
}

/// A few hops through everything that repairs.
fn repair(detectors: &Detectors) {
    let geometry = TINY.spec().geometry(48e3).expect("a supported rate");
    let mut repair = SampleRepair::new(detectors, &geometry, 48e3);
    for _ in 0..4 {
        let mut audio = tone(geometry.hop);
        let all = Repairs {
            declick: 1.0,
            declip: true,
            dropouts: true,
        };
        repair.process(&mut audio, all);
        assert_sane(&audio);
    }
}

fuzz_target!(|header: &[u8]| {
    if header.len() > ROOM {
        return;
    }
    let _ = Model::from_bytes(header);
    if let Ok(model) = NETWORKS.with_borrow_mut(|file| Model::from_bytes(file.with(header))) {
        let mut restorer = Restorer::new(&model, &DETECTORS, 8_000.0, 1).expect("a supported rate");
        for _ in 0..4 {
            let mut audio = tone(restorer.geometry().hop);
            let _ = restorer.process(&mut audio, &Controls::default());
            assert_sane(&audio);
        }
    }
    if let Ok(clicks) = CLICKS.with_borrow_mut(|file| ClickDetector::from_bytes(file.with(header))) {
        repair(&Detectors {
            clicks,
            ..DETECTORS.clone()
        });
    }
    if let Ok(dropouts) = DROPOUTS.with_borrow_mut(|file| DropoutDetector::from_bytes(file.with(header))) {
        repair(&Detectors {
            dropouts,
            ..DETECTORS.clone()
        });
    }
});
