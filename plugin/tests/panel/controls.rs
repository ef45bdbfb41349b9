//! Knobs and switches: drag, click, wheel, keys, typing, automation.

use crate::KNOBS;
use crate::table::{Heard, Table, gesture};
use egui::accesskit::Role;
use egui::{Event, Key, Modifiers, PointerButton, vec2};
use egui_kittest::kittest::{NodeT, Queryable};

#[test]
fn dragging_a_knob_is_one_gesture_and_shift_makes_it_fine() {
    for (id, label) in KNOBS {
        let mut table = Table::new();
        let at = table.knob(label);
        let before = table.value(id);
        table.drag(at, vec2(0.0, 66.0), Modifiers::NONE);
        let after = gesture(&table.heard(), id);
        assert_eq!(table.value(id), after, "{id}");
        assert!(
            (before - after - 0.3).abs() < 0.04,
            "{id} went from {before} to {after}: 66 of 220 points down are 0.3"
        );
        table.drag(at, vec2(0.0, 66.0), Modifiers::SHIFT);
        let fine = gesture(&table.heard(), id);
        assert!(
            (after - fine - 0.03).abs() < 0.005,
            "{id} went from {after} to {fine}: with shift 0.03"
        );
        table.drag(at, vec2(0.0, -500.0), Modifiers::NONE);
        assert_eq!(gesture(&table.heard(), id), 1.0, "{id}: up to its end");
    }
}

#[test]
fn a_drag_ends_however_it_ends() {
    for end in ["escape", "another button", "the window goes away"] {
        let mut table = Table::new();
        let at = table.knob("Dry/wet");
        let way = vec2(0.0, 66.0);
        table.hold(at, way);
        match end {
            "escape" => table.key(Key::Escape),
            "another button" => {
                for pressed in [true, false] {
                    table.harness.event(Event::PointerButton {
                        pos: at + way,
                        button: PointerButton::Secondary,
                        pressed,
                        modifiers: Modifiers::NONE,
                    });
                }
                table.settle();
            }
            _ => table.let_go(),
        }
        gesture(&table.heard(), "mix");
        table.harness.hover_at(at);
        table.harness.drop_at(at);
        table.settle();
        assert_eq!(table.heard(), [], "{end}: nothing more");
        table.click_button("Undo the last change");
        assert_eq!(gesture(&table.heard(), "mix"), 1.0, "{end}: it can be undone");
    }
}

#[test]
fn a_number_that_was_only_looked_at_stays() {
    let mut table = Table::new();
    table.automate("mix", 0.334_51);
    let elsewhere = table.rect(Role::Image, "Spectrogram").center();
    table.click_button("Dry/wet value");
    table.click(elsewhere);
    table.click_button("Dry/wet value");
    table.key(Key::Enter);
    assert_eq!(table.heard(), []);
    assert_eq!(table.value("mix"), 0.334_51);
}

#[test]
fn a_control_of_steps_moves_by_whole_ones() {
    let mut table = Table::new();
    table.click_button("Output section");
    let at = table.knob("Hum notch");
    table.harness.hover_at(at);
    table.settle();
    for _ in 0..3 {
        table.wheel(0.25);
        assert_eq!(table.heard(), [], "not a whole notch yet");
    }
    table.wheel(0.25);
    assert_eq!(gesture(&table.heard(), "hum"), 1.0 / 3.0);

    table.drag(at, vec2(0.0, -20.0), Modifiers::NONE);
    let set = |heard: &[Heard]| heard.iter().filter(|heard| matches!(heard, Heard::Set(..))).count();
    assert_eq!(set(&table.heard()), 0, "not half a step");
    table.drag(at, vec2(0.0, -60.0), Modifiers::NONE);
    let heard = table.heard();
    assert_eq!((set(&heard), gesture(&heard, "hum")), (1, 2.0 / 3.0));

    table.harness.get_by_role_and_label(Role::Slider, "Hum notch").focus();
    table.harness.key_press_modifiers(Modifiers::SHIFT, Key::ArrowUp);
    table.settle();
    assert_eq!(gesture(&table.heard(), "hum"), 1.0);
    table.key(Key::ArrowUp);
    table.wheel(1.0);
    assert_eq!(table.heard(), [], "it is at its end");
    // The step before is within the time in which keys are one step.
    table.click_button("Undo the last change");
    assert!(gesture(&table.heard(), "hum") < 1.0, "no step of undo is empty");
}

#[test]
fn a_host_that_does_not_process_is_asked_all_the_same() {
    let mut table = Table::new();
    table.set_idle(true);
    let at = table.knob("Dry/wet");
    table.harness.hover_at(at);
    table.settle();
    for expected in [0.99, 0.98] {
        table.wheel(-1.0);
        let asked = gesture(&table.heard(), "mix");
        assert!((asked - expected).abs() < 1e-5, "{asked}, {expected} expected");
    }
    table.preset_menu("Save as...");
    table.write("Asked for");
    table.key(Key::Enter);
    let saved = table.folder.path().join("presets").join("Asked for.json");
    assert!(std::fs::read_to_string(saved).expect("saved").contains("\"mix\": \"98 %\""));
    table.click_button("Undo the last change");
    assert_eq!(gesture(&table.heard(), "mix"), 1.0);
    table.click_button("Stereo link");
    assert_eq!(gesture(&table.heard(), "link"), 0.0);
    table.click_button("Stereo link");
    assert_eq!(gesture(&table.heard(), "link"), 1.0);
    // What it brings in the end counts.
    table.set_idle(false);
    table.automate("mix", 0.5);
    table.harness.hover_at(at);
    table.wheel(-1.0);
    let asked = gesture(&table.heard(), "mix");
    assert!((asked - 0.49).abs() < 1e-5, "{asked}");
    // It doesn't take everything.
    table.set_idle(true);
    table.wheel(-1.0);
    let asked = gesture(&table.heard(), "mix");
    assert!((asked - 0.48).abs() < 1e-5, "{asked}");
    std::thread::sleep(std::time::Duration::from_millis(1100));
    table.play(0.1);
    table.wheel(-1.0);
    let asked = gesture(&table.heard(), "mix");
    assert!((asked - 0.48).abs() < 1e-5, "{asked}: the parameter says 0.49");
}

#[test]
fn the_window_is_the_hosts_to_close() {
    let mut table = Table::new();
    table.harness.event(Event::Key {
        key: Key::Q,
        physical_key: None,
        pressed: true,
        repeat: false,
        modifiers: Modifiers::COMMAND,
    });
    table.harness.step();
    let windows = table.harness.output().viewport_output.values();
    assert!(
        windows
            .flat_map(|window| &window.commands)
            .all(|command| *command != egui::ViewportCommand::Close)
    );
}

#[test]
fn a_plain_click_changes_nothing_and_a_double_click_resets() {
    for (id, label) in KNOBS {
        let mut table = Table::new();
        let at = table.knob(label);
        let default = table.value(id);
        table.click(at);
        assert_eq!(table.heard(), [], "{id}: a click");
        table.harness.run_steps(20);
        table.drag(at, vec2(0.0, 40.0), Modifiers::NONE);
        assert_ne!(table.value(id), default, "{id}");
        table.heard();
        table.harness.run_steps(20);
        table.double_click(at);
        assert_eq!(gesture(&table.heard(), id), default, "{id}: a double click");
    }
}

#[test]
fn the_wheel_turns_what_is_under_the_pointer() {
    let mut table = Table::new();
    for (id, label) in KNOBS {
        let at = table.knob(label);
        table.harness.hover_at(at);
        table.settle();
        let before = table.value(id);
        table.wheel(-1.0);
        let after = gesture(&table.heard(), id);
        assert!((before - after - 0.01).abs() < 1e-4, "{id} went from {before} to {after}");
    }
}

#[test]
fn keys_turn_the_knob_that_has_the_focus() {
    for (id, label) in KNOBS {
        let mut table = Table::new();
        table.harness.get_by_role_and_label(Role::Slider, label).focus();
        table.settle();
        let default = table.value(id);
        for (key, expected) in [
            (Key::Home, 0.0),
            (Key::ArrowUp, 0.01),
            (Key::ArrowRight, 0.02),
            (Key::ArrowDown, 0.01),
            (Key::PageUp, 0.11),
            (Key::PageDown, 0.01),
            (Key::End, 1.0),
            (Key::ArrowLeft, 0.99),
            (Key::Delete, default),
        ] {
            table.key(key);
            let after = gesture(&table.heard(), id);
            assert!((after - expected).abs() < 1e-5, "{id}, {key:?}: {after}, {expected} expected");
        }
        // What a key begins to type is gone on with.
        table.write("7");
        table.key(Key::Enter);
        let typed = gesture(&table.heard(), id);
        assert_ne!(typed, default, "{id}: typed into the focused knob");
    }
}

#[test]
fn tab_reaches_every_knob() {
    let mut table = Table::new();
    let mut reached = std::collections::BTreeSet::new();
    for _ in 0..60 {
        table.key(Key::Tab);
        for (_, label) in KNOBS {
            if table.harness.get_by_role_and_label(Role::Slider, label).is_focused() {
                reached.insert(label);
            }
        }
    }
    assert_eq!(reached.len(), KNOBS.len(), "{reached:?}");
}

#[test]
fn values_can_be_typed_with_their_unit() {
    for (label, id, text, expected) in [
        ("Reduction limit", "limit", "12 dB", 12.0 / 61.0),
        ("Reduction limit", "limit", "none", 1.0),
        ("Dry/wet", "mix", "25 %", 0.25),
        ("Dry/wet", "mix", "62,5", 0.625),
        ("Output gain", "output", "-6 dB", 0.375),
        ("Noise reduction", "stage1", "33", 0.33),
    ] {
        let mut table = Table::new();
        table.automate(id, 0.2);
        table.type_value(label, text);
        let after = gesture(&table.heard(), id);
        assert!((after - expected).abs() < 1e-4, "{label}: {text} is {after}");
    }
}

#[test]
fn what_cannot_be_read_is_refused_and_escape_changes_nothing() {
    let mut table = Table::new();
    table.type_value("Dry/wet", "quux");
    assert_eq!(table.heard(), [], "nonsense");
    assert!(
        table.harness.query_by_label_contains("can't be read").is_some(),
        "the panel says why"
    );
    table.key(Key::Escape);
    table.click_button("Dry/wet value");
    table.write("40 %");
    table.key(Key::Escape);
    assert_eq!(table.heard(), [], "escape");
    assert_eq!(table.value("mix"), 1.0);
}

#[test]
fn switches_switch() {
    for (id, label) in [("removed", "Listen to removed"), ("link", "Stereo link"), ("bypass", "Bypass")] {
        let mut table = Table::new();
        let before = table.value(id);
        table.click_button(label);
        assert_eq!(gesture(&table.heard(), id), 1.0 - before, "{id}");
        table.click_button(label);
        assert_eq!(gesture(&table.heard(), id), before, "{id} back");
    }
}

#[test]
fn automation_moves_the_controls_and_sends_nothing_back() {
    let mut table = Table::new();
    for (id, label) in KNOBS {
        table.automate(id, 0.4);
        let node = table.harness.get_by_role_and_label(Role::Slider, label);
        let shown = node.accesskit_node().numeric_value().expect("a value");
        assert!((shown - 0.4).abs() < 1e-3, "{id} shows {shown}");
    }
    assert_eq!(table.heard(), []);
}
