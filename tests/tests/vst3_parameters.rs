//! The VST3's parameters between the edit controller, in which a host sets them at once, and the blocks that bring them to their sample.

#![cfg(not(target_os = "macos"))]

use dualstep_tests::process::in_child;
use dualstep_tests::{Change, Mode, Signal, TRANSPARENT, Vst3Plugin, assert_identical};

/// Both plugins.
const NAMES: [&str; 2] = ["Dualstep", "Dualstep Live"];

/// The tests' usual sample rate.
const RATE_HZ: f64 = 48_000.0;

/// Frames per block.
const BLOCK: usize = 480;

/// Makes an instance play.
fn playing(plugin: Vst3Plugin) -> Vst3Plugin {
    for (id, value) in TRANSPARENT {
        plugin.set_value(id, value);
    }
    plugin.activate(Mode::Offline, RATE_HZ, BLOCK);
    plugin.set_processing(true);
    plugin
}

/// Plays `blocks` blocks of the tests' signal.
fn play(plugin: &Vst3Plugin, blocks: usize, changes: &[Change]) -> Signal {
    plugin.render(&Signal::disc(2, blocks * BLOCK, RATE_HZ), Mode::Offline, BLOCK, changes)
}

/// A parameter in the saved state, as JSON.
fn saved(plugin: &Vst3Plugin, id: &str) -> String {
    let state: serde_json::Value = serde_json::from_slice(&plugin.save()).expect("a state in JSON");
    state["params"][id].to_string()
}

#[test]
fn a_value_set_while_playing_is_read_back_and_saved_before_a_block_brings_it() {
    for name in NAMES {
        let plugin = playing(Vst3Plugin::new(name));
        for (id, value, text) in [
            ("mix", 0.25, r#"{"f32":25.0}"#),
            ("hum", 1.0 / 3.0, r#"{"i32":1}"#),
            ("bypass", 1.0, r#"{"bool":true}"#),
        ] {
            plugin.set_value(id, value);
            assert!((plugin.value(id) - value).abs() < 1e-6, "{name}: {id} reads {}", plugin.value(id));
            assert_eq!(saved(&plugin, id), text, "{name}: {id}");
        }
    }
}

#[test]
fn a_state_takes_the_place_of_what_was_set() {
    for name in NAMES {
        let plugin = playing(Vst3Plugin::new(name));
        plugin.set_value("mix", 0.25);
        let kept = plugin.save();
        plugin.set_value("mix", 0.75);
        plugin.load(&kept);
        assert_eq!(plugin.value("mix"), 0.25, "{name}");
        assert_eq!(plugin.save(), kept, "{name}");
        // What the state doesn't name stays.
        plugin.set_value("output", 1.0);
        plugin.load(br#"{"version":"0.1.0","params":{"mix":{"f32":75.0}},"fields":{}}"#);
        assert_eq!((plugin.value("mix"), plugin.value("output")), (0.75, 1.0), "{name}");
    }
}

#[test]
fn a_blocks_value_takes_the_place_of_what_was_set() {
    for name in NAMES {
        let plugin = playing(Vst3Plugin::new(name));
        let change = |value| [Change { at: 0, id: "mix", value }];
        plugin.set_value("mix", 0.25);
        plugin.flush(&change(0.75));
        assert_eq!(plugin.value("mix"), 0.75, "{name}: a block without sound");
        plugin.set_value("mix", 0.25);
        let _ = play(&plugin, 1, &change(0.5));
        assert_eq!(plugin.value("mix"), 0.5, "{name}: a block with sound");
        assert_eq!(saved(&plugin, "mix"), r#"{"f32":50.0}"#, "{name}");
    }
}

#[test]
fn the_sound_changes_at_the_blocks_sample_and_no_earlier() {
    let this = "the_sound_changes_at_the_blocks_sample_and_no_earlier";
    // The debug bundle ends the process when `process` allocates.
    if !in_child(this, &[]) {
        return;
    }
    for name in NAMES {
        let change = [Change {
            at: 30 * BLOCK + 123,
            id: "output",
            value: 0.75,
        }];
        let heard = |set: bool, changes: &[Change]| {
            let plugin = playing(Vst3Plugin::debug(name));
            let _ = play(&plugin, 5, &[]);
            if set {
                plugin.set_value("output", 0.75);
            }
            play(&plugin, 60, changes)
        };
        let (still, automated) = (heard(false, &[]), heard(false, &change));
        assert!(still.first_difference(&automated).is_some(), "{name}: the change isn't heard");
        assert_identical(&heard(true, &[]), &still, &format!("{name}, set, with no block to bring it"));
        assert_identical(
            &heard(true, &change),
            &automated,
            &format!("{name}, set before the block brings it"),
        );
    }
}

#[test]
fn what_no_block_has_brought_is_heard_when_playing_starts_again() {
    for name in NAMES {
        let heard = |before: Option<f64>, between: Option<f64>| {
            let plugin = playing(Vst3Plugin::new(name));
            let _ = play(&plugin, 5, &[]);
            if let Some(value) = before {
                plugin.set_value("output", value);
            }
            plugin.set_processing(false);
            if let Some(value) = between {
                plugin.set_value("output", value);
            }
            plugin.set_processing(true);
            play(&plugin, 60, &[])
        };
        let expected = heard(None, Some(0.75));
        assert!(
            expected.first_difference(&heard(None, None)).is_some(),
            "{name}: the change isn't heard"
        );
        assert_identical(&heard(Some(0.75), None), &expected, name);
        // The last one counts.
        assert_identical(&heard(Some(0.25), Some(0.75)), &expected, name);
    }
}

/// In the debug bundle, memory allocated on the audio thread ends the process.
#[test]
fn a_block_with_more_changes_than_fit_allocates_nothing_and_ends_with_the_last_values() {
    if !in_child(
        "a_block_with_more_changes_than_fit_allocates_nothing_and_ends_with_the_last_values",
        &[],
    ) {
        return;
    }
    for name in NAMES {
        let plugin = playing(Vst3Plugin::debug(name));
        let last = [("mix", 0.25), ("output", 0.75), ("tilt", 0.5), ("stage1", 0.125), ("limit", 0.5)];
        let changes: Vec<Change> = (0..BLOCK)
            .flat_map(|at| last.map(|(id, value)| (at, id, if at + 1 == BLOCK { value } else { (at % 7) as f64 / 7.0 })))
            .map(|(at, id, value)| Change { at, id, value })
            .collect();
        assert!(changes.len() > 2 * 1024, "more than the plugin has room for");
        let _ = play(&plugin, 2, &changes);
        for (id, value) in last {
            assert!((plugin.value(id) - value).abs() < 1e-6, "{name}: {id} is {}", plugin.value(id));
        }
    }
}
