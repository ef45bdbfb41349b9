//! What the fuzz targets share. Without the plugin: the more code is linked, the longer libFuzzer looks at what a case has reached.

use dualstep_engine::repair::{ClickDetector, Detectors, DropoutDetector};
use dualstep_engine::{Controls, Model, Spec, StageSpec, spec, weights};
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use std::sync::LazyLock;

/// The file of the click detector that ships in Dualstep Live: it sees no further ahead than [`TINY`] does.
pub const DETECTOR_FILE: &[u8] = include_bytes!("../../../assets/weights/detector-live.safetensors");

/// The shipped dropout network's file.
pub const DROPOUTS_FILE: &[u8] = include_bytes!("../../../assets/weights/dropouts.safetensors");

/// The shipped detectors.
pub static DETECTORS: LazyLock<Detectors> = LazyLock::new(|| Detectors {
    clicks: ClickDetector::from_bytes(DETECTOR_FILE).expect("sound weights"),
    dropouts: DropoutDetector::from_bytes(DROPOUTS_FILE).expect("sound weights"),
});

/// Networks about as small as they can be, with random weights, so that a hop costs microseconds.
pub static TINY: LazyLock<Model> = LazyLock::new(|| {
    let spec = Spec {
        format: spec::FORMAT,
        name: "tiny".to_owned(),
        version: "untrained".to_owned(),
        hop_units: 1,
        analysis_hops: 2,
        synthesis_hops: 2,
        lookahead_hops: 1,
        bins: 20,
        segments: vec![[4, 1], [4, 4]],
        stages: [(vec![3, 5], 2), (vec![4], 3)].map(|(widths, squeeze)| StageSpec { widths, squeeze }),
        speech: true,
        taps: 2,
        balance: 4,
        level_rise: 0.1,
        level_fall: 0.01,
        level_floor: 0.01,
        floor_keep: 0.99,
        balance_keep: 0.99,
        commit: String::new(),
        data: String::new(),
        hours: 0.0,
    };
    let file = weights::untrained(&spec, 1).expect("a sound spec");
    Model::from_bytes(&file).expect("sound weights")
});

/// Endings of the recordings' names that the first byte of the target `recording` picks from.
pub const ENDINGS: [&str; 5] = ["wav", "aiff", "flac", "mp3", "ogg"];

/// No sample is infinite, not a number or subnormal.
#[track_caller]
pub fn assert_sane(audio: &[f32]) {
    let bad = audio.iter().position(|x| !(*x == 0.0 || x.is_normal()));
    assert_eq!(bad, None, "{audio:?}");
}

/// Settings of the restoration, as a fuzzer writes them.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct AnyControls {
    shares: [u8; 4],
    declip: bool,
    dropouts: bool,
    linked: bool,
    speech: bool,
    idle: bool,
}

impl AnyControls {
    /// The same in the engine's units.
    pub fn controls(&self) -> Controls {
        let [declick, stage1, stage2, floor] = self.shares.map(share);
        Controls {
            declick,
            declip: self.declip,
            dropouts: self.dropouts,
            stage1,
            stage2,
            floor,
            linked: self.linked,
            speech: self.speech,
            idle: self.idle,
        }
    }
}

/// A byte as a number in 0..=1.
pub fn share(byte: u8) -> f32 {
    f32::from(byte) / 255.0
}

/// Any eight numbers, to be repeated for as long as it takes: short inputs make long sounds.
pub type AnySound = [f32; 8];

/// Fills `audio` with the numbers, over and over.
pub fn fill(audio: &mut [f32], sound: &AnySound) {
    audio
        .iter_mut()
        .zip(sound.iter().cycle())
        .for_each(|(sample, number)| *sample = *number);
}

/// Sample rates in Hz: integer and fractional hops, with and without the networks' upper bins.
pub const RATES_HZ: [f64; 6] = [8e3, 11_025.0, 22_050.0, 44.1e3, 48e3, 96e3];
