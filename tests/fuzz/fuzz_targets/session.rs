//! Any bytes as a saved session's JSON, loaded as a host does: refused, or taken with all values in range.
//!
//! The length that CLAP's form of a state has in front is added here.

#![no_main]

mod linked;

use dualstep_tests::{Plugin, STUDIO};
use libfuzzer_sys::fuzz_target;
use std::cell::RefCell;

/// A state around this JSON.
fn wrap(content: &[u8]) -> Vec<u8> {
    [&(content.len() as u64).to_le_bytes(), content].concat()
}

thread_local! {
    /// An instance, and the state that each case starts from.
    static INSTANCE: RefCell<(Plugin, Vec<u8>)> = {
        let mut plugin = Plugin::new(&linked::bundle(), STUDIO);
        let initial = plugin.save();
        RefCell::new((plugin, initial))
    };
}

fuzz_target!(|content: &[u8]| {
    INSTANCE.with_borrow_mut(|(plugin, initial)| {
        if plugin.load(&wrap(content)).is_err() {
            return;
        }
        for parameter in ["declick", "stage1", "stage2", "limit", "mix", "output", "low_cut", "tilt", "comp"] {
            let value = plugin.value(parameter);
            assert!((0.0..=1.0).contains(&value), "{parameter} is {value}");
        }
        let hum = plugin.value("hum");
        assert!([0.0, 1.0, 2.0, 3.0].contains(&hum), "hum is {hum}");
        for switch in ["removed", "link", "bypass"] {
            let value = plugin.value(switch);
            assert!(value == 0.0 || value == 1.0, "{switch} is {value}");
        }
        let saved = plugin.save();
        plugin.load(&saved).expect("its own state");
        assert_eq!(plugin.save(), saved, "a saved session comes back otherwise");
        plugin.load(initial).expect("its own state");
    });
});
