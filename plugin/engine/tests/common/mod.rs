//! What the integration tests and the bench share.

#![allow(dead_code, reason = "each of them uses a part")]

use dualstep_engine::repair::{ClickDetector, Detectors, DropoutDetector};
use dualstep_engine::spec::{Spec, StageSpec};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::path::PathBuf;

thread_local! {
    static CALLS: Cell<usize> = const { Cell::new(0) };
    static BYTES: Cell<usize> = const { Cell::new(0) };
}

/// The system's allocator, counting this thread's calls.
pub(crate) struct Counting;

// SAFETY: everything is passed on to the system's allocator as it came. Counting doesn't allocate: the cell is constant-initialised and has no destructor.
#[allow(unsafe_code, reason = "a global allocator can't be written without")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        CALLS.set(CALLS.get() + 1);
        BYTES.set(BYTES.get() + layout.size());
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        CALLS.set(CALLS.get() + 1);
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        CALLS.set(CALLS.get() + 1);
        BYTES.set(BYTES.get() + size);
        // SAFETY: the caller's promise.
        unsafe { System.realloc(memory, layout, size) }
    }
}

/// Calls to the allocator that this thread has made so far, frees included.
pub(crate) fn allocator_calls() -> usize {
    CALLS.get()
}

/// Bytes that this thread has asked the allocator for so far, freed ones included.
pub(crate) fn allocated_bytes() -> usize {
    BYTES.get()
}

/// How many random cases a test draws: `usual`, times `DUALSTEP_CASES` for long runs.
pub(crate) fn cases(usual: usize) -> usize {
    usual * factor()
}

fn factor() -> usize {
    let factor = std::env::var("DUALSTEP_CASES").ok();
    factor.map_or(1, |factor| factor.parse().expect("DUALSTEP_CASES is a whole number"))
}

/// Reproducible random numbers (SplitMix64).
pub(crate) struct Random(u64);

impl Random {
    /// The same numbers for the same `seed` and the same `DUALSTEP_CASES`.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed << 32 | factor() as u64)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A whole number in `0..limit`.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() >> 32).expect("32 bits") % limit
    }

    /// Any byte.
    pub(crate) fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[7]
    }

    /// Any 32 bits.
    pub(crate) fn bits(&mut self) -> u32 {
        u32::try_from(self.next() >> 32).expect("32 bits")
    }

    /// A number in -1..1.
    pub(crate) fn signed(&mut self) -> f32 {
        (self.bits() >> 8) as f32 / 8_388_608.0 - 1.0
    }
}

/// A path below the repository's root.
pub(crate) fn repository(path: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).join(path)
}

/// The detectors that ship in "studio" or "live".
pub(crate) fn shipped_detectors(edition: &str) -> Detectors {
    let bytes = |name: &str| std::fs::read(repository(&format!("assets/weights/{name}.safetensors"))).expect("the weights are committed");
    Detectors {
        clicks: ClickDetector::from_bytes(&bytes(&format!("detector-{edition}"))).expect("the weights are sound"),
        dropouts: DropoutDetector::from_bytes(&bytes("dropouts")).expect("the weights are sound"),
    }
}

/// The geometry and widths that ship, with the hop of "studio" or "live".
pub(crate) fn shipped_spec(name: &str) -> Spec {
    let live = name == "live";
    let (hop_units, analysis_hops, lookahead_hops) = if live { (2, 6, 0) } else { (6, 2, 1) };
    let (level_rise, level_fall, floor_keep, balance_keep) = if live {
        (0.032_783_9, 0.003_327_784, 0.997_780_24, 0.998_334_7)
    } else {
        (0.095_162_58, 0.009_950_166, 0.993_355_5, 0.995_012_46)
    };
    let (widths, squeeze) = if live {
        ([24, 32, 40, 56, 80], 20)
    } else {
        ([32, 48, 64, 96, 128], 24)
    };
    Spec {
        format: dualstep_engine::spec::FORMAT,
        name: name.to_owned(),
        version: "untrained".to_owned(),
        hop_units,
        analysis_hops,
        synthesis_hops: 2,
        lookahead_hops,
        bins: 800,
        segments: vec![[64, 1], [64, 2], [32, 4], [32, 15]],
        stages: [widths, widths].map(|widths| StageSpec {
            widths: widths.to_vec(),
            squeeze,
        }),
        speech: true,
        taps: 3,
        balance: 192,
        level_rise,
        level_fall,
        level_floor: 0.01,
        floor_keep,
        balance_keep,
        commit: String::new(),
        data: String::new(),
        hours: 0.0,
    }
}
