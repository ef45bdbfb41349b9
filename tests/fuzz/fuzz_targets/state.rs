//! Any bytes as a saved session's JSON, read and checked as the plugin does, but without a host and its parameters: many times as fast as `session`.

#![no_main]

mod linked;

use dualstep::{Dualstep, Studio};
use dualstep_tests::session::{assert_in_range, ranges, wrap};
use dualstep_tests::{Plugin, STUDIO};
use libfuzzer_sys::fuzz_target;
use nice_plug::plugin::Plugin as _;
use nice_plug::prelude::PluginState;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

thread_local! {
    static RANGES: BTreeMap<String, RangeInclusive<f64>> = ranges(&mut Plugin::new(&linked::bundle(), STUDIO));
}

fuzz_target!(|content: &[u8]| {
    let Ok(mut state) = serde_json::from_slice::<PluginState>(content) else {
        return;
    };
    RANGES.with(|ranges| {
        Dualstep::<Studio>::filter_state(&mut state);
        // A later version's are not this one's to judge.
        state.params.retain(|id, _| ranges.contains_key(id));
        let checked = serde_json::to_vec(&state).expect("a state can be written");
        assert_in_range(&wrap(&checked), ranges, "checked");
        Dualstep::<Studio>::filter_state(&mut state);
        assert_eq!(
            serde_json::to_vec(&state).expect("a state can be written"),
            checked,
            "checking again changes it"
        );
    });
});
