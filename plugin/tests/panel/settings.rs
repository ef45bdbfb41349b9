//! Undo, A/B, and what is kept for the next window.

use crate::table::{Table, gesture};
use egui::{Modifiers, vec2};
use egui_kittest::kittest::Queryable;

#[test]
fn changes_are_undone_and_done_again() {
    let mut table = Table::new();
    let at = table.knob("Dry/wet");
    table.drag(at, vec2(0.0, 100.0), Modifiers::NONE);
    let changed = table.value("mix");
    table.click_button("Stereo link");
    table.heard();
    table.click_button("Undo the last change");
    assert_eq!(gesture(&table.heard(), "link"), 1.0);
    table.click_button("Undo the last change");
    assert_eq!(gesture(&table.heard(), "mix"), 1.0, "the whole drag is one step");
    table.click_button("Do it again");
    assert_eq!(gesture(&table.heard(), "mix"), changed);
    table.click_button("Undo the last change");
    table.heard();
    table.click_button("Undo the last change");
    assert_eq!(table.heard(), [], "there is nothing left to undo");
}

#[test]
fn a_and_b_are_compared() {
    let mut table = Table::new();
    let at = table.knob("Dry/wet");
    table.drag(at, vec2(0.0, 100.0), Modifiers::NONE);
    let a = table.value("mix");
    table.click_button("B");
    assert_eq!(table.value("mix"), a, "B begins as A is");
    table.drag(at, vec2(0.0, 50.0), Modifiers::NONE);
    let b = table.value("mix");
    assert_ne!(a, b);
    table.click_button("A");
    assert_eq!(table.value("mix"), a);
    table.click_button("Copy");
    table.click_button("B");
    assert_eq!(table.value("mix"), a, "A was copied to B");
    table.click_button("Undo the last change");
    assert_eq!(table.value("mix"), b, "which is a step of undo there");
    table.click_button("Undo the last change");
    assert_eq!(table.value("mix"), a, "as is the one before");
}

#[test]
fn the_theme_is_kept_for_the_next_window() {
    let mut table = Table::new();
    table.click_button("Light");
    assert!(table.harness.query_by_label("Dark").is_some(), "the button offers the other theme");
    let kept = std::fs::read_to_string(table.folder.path().join("settings.json")).expect("settings");
    assert!(kept.contains("\"light\": true"), "{kept}");
}
