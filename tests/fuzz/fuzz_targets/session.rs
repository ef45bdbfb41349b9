//! Any bytes as a saved session's JSON, loaded as a host does: refused, or taken with all values in range.
//!
//! The length that CLAP's form of a state has in front is added here.

#![no_main]

mod linked;

use dualstep_tests::session::{assert_in_range, ranges, wrap};
use dualstep_tests::{Plugin, STUDIO};
use libfuzzer_sys::fuzz_target;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

/// An instance, the state that each case starts from, and what numbers it may hold.
struct Rig {
    plugin: Plugin,
    initial: Vec<u8>,
    ranges: BTreeMap<String, RangeInclusive<f64>>,
}

impl Rig {
    fn new() -> Self {
        let mut plugin = Plugin::new(&linked::bundle(), STUDIO);
        let initial = plugin.save();
        let ranges = ranges(&mut plugin);
        Self { plugin, initial, ranges }
    }
}

thread_local! {
    static RIG: RefCell<Rig> = RefCell::new(Rig::new());
}

fuzz_target!(|content: &[u8]| {
    RIG.with_borrow_mut(|Rig { plugin, initial, ranges }| {
        if plugin.load(&wrap(content)).is_err() {
            return;
        }
        let saved = plugin.save();
        assert_in_range(&saved, ranges, "taken");
        plugin.load(&saved).expect("its own state");
        assert_eq!(plugin.save(), saved, "a saved session comes back otherwise");
        plugin.load(initial).expect("its own state");
    });
});
