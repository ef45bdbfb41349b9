//! Knobs and switches: drag, click, wheel, keys, typing, automation.

use crate::KNOBS;
use crate::table::{Table, gesture};
use egui::accesskit::Role;
use egui::{Event, Key, Modifiers, MouseWheelUnit, vec2};
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
        let notch = Event::MouseWheel {
            unit: MouseWheelUnit::Line,
            delta: vec2(0.0, -1.0),
            modifiers: Modifiers::NONE,
            phase: egui::TouchPhase::Move,
            source: egui::MouseWheelSource::Unknown,
        };
        table.harness.event(notch);
        table.settle();
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
