//! Presets: chosen, saved, and as files that come and go.

use crate::table::{Heard, Table};
use egui::accesskit::Role;
use egui::{Key, Modifiers, vec2};
use egui_kittest::kittest::Queryable;
use std::path::Path;

#[test]
fn presets_are_chosen_saved_and_found_again() {
    let mut table = Table::new();
    table.click_button("Next preset");
    let heard = table.heard();
    assert!(
        heard.contains(&Heard::End("limit".to_owned())),
        "78 rpm shellac has a limit: {heard:?}"
    );
    assert!(
        !heard
            .iter()
            .any(|heard| matches!(heard, Heard::Begin(id) if id == "bypass" || id == "removed"))
    );
    assert!((table.value("declick") - 0.7).abs() < 1e-6);
    table.click_button("Undo the last change");
    assert_eq!(table.value("declick"), 0.5, "a preset is one step of undo");

    table.click_button("Previous preset");
    let at = table.knob("Output gain");
    table.drag(at, vec2(0.0, 30.0), Modifiers::NONE);
    table.preset_menu("Save as...");
    table.write("My gramophone");
    table.key(Key::Enter);
    let saved = table.folder.path().join("presets").join("My gramophone.json");
    let text = std::fs::read_to_string(&saved).unwrap_or_else(|error| panic!("{}: {error}", saved.display()));
    assert!(text.contains("\"format\": 1") && text.contains("\"output\""), "{text}");
    assert!(!text.contains("bypass") && !text.contains("removed"), "{text}");
    let kept = table.value("output");
    table.click_button("Previous preset");
    assert_ne!(table.value("output"), kept);
    table.click_button("Next preset");
    assert!((table.value("output") - kept).abs() < 2e-3, "found again, to a tenth of a decibel");
}

/// Types into the list of files: the folder, then a file's name.
fn choose(table: &mut Table, folder: &Path, name: &str) {
    for (field, text) in [(0, folder.to_str().expect("a folder whose name is text")), (1, name)] {
        // From the top: the folder's field lies above the name's.
        let mut fields: Vec<_> = table.harness.get_all_by_role(Role::TextInput).map(|field| field.rect()).collect();
        fields.sort_by(|a, b| a.top().total_cmp(&b.top()));
        table.click(fields[field].center());
        table.harness.key_press_modifiers(Modifiers::COMMAND, Key::A);
        table.write(text);
        table.key(Key::Enter);
    }
}

#[test]
fn presets_travel_as_files_and_nothing_is_replaced_unasked() {
    let mut table = Table::new();
    let elsewhere = tempfile::tempdir().expect("a folder");
    let file = elsewhere.path().join("For a friend.json");
    table.type_value("Dry/wet", "50 %");
    table.preset_menu("Export...");
    choose(&mut table, elsewhere.path(), "For a friend");
    let text = std::fs::read_to_string(&file).expect("the ending is added");
    assert!(
        text.contains("\"name\": \"For a friend\"") && text.contains("\"mix\": \"50 %\""),
        "{text}"
    );

    // The same file again: asked, refused, asked, agreed.
    table.type_value("Dry/wet", "30 %");
    // Quick changes of one parameter alone would be one step of undo.
    table.type_value("Output gain", "3 dB");
    table.preset_menu("Export...");
    choose(&mut table, elsewhere.path(), "For a friend.json");
    assert!(table.harness.query_by_label_contains("exists already").is_some(), "it asks");
    assert_eq!(std::fs::read_to_string(&file).expect("read"), text, "and waits");
    table.click_button("Cancel");
    assert_eq!(std::fs::read_to_string(&file).expect("read"), text);
    table.preset_menu("Export...");
    choose(&mut table, elsewhere.path(), "For a friend.json");
    table.click_button("Replace");
    assert!(std::fs::read_to_string(&file).expect("read").contains("\"mix\": \"30 %\""));
    std::fs::write(&file, &text).expect("written");

    // Imported: in force, and the user's own.
    table.heard();
    table.preset_menu("Import...");
    choose(&mut table, elsewhere.path(), "For a friend.json");
    assert!((table.value("mix") - 0.5).abs() < 1e-6, "{}", table.value("mix"));
    let own = table.folder.path().join("presets").join("For a friend.json");
    let kept = std::fs::read_to_string(&own).expect("kept");
    table.click_button("Undo the last change");
    assert!((table.value("mix") - 0.3).abs() < 1e-6, "an import is one step of undo");

    // Another one of the same name.
    std::fs::write(&file, text.replace("50 %", "70 %")).expect("written");
    table.preset_menu("Import...");
    choose(&mut table, elsewhere.path(), "For a friend.json");
    assert!(table.harness.query_by_label_contains("There is a preset").is_some(), "it asks");
    assert_eq!(std::fs::read_to_string(&own).expect("read"), kept, "and waits");
    table.click_button("Replace");
    assert!((table.value("mix") - 0.7).abs() < 1e-6);
}

#[test]
fn a_file_that_is_no_preset_is_named_with_the_reason() {
    let mut table = Table::new();
    let elsewhere = tempfile::tempdir().expect("a folder");
    std::fs::write(elsewhere.path().join("shopping.json"), "{\"milk\": 2}").expect("written");
    table.preset_menu("Import...");
    choose(&mut table, elsewhere.path(), "shopping.json");
    assert!(table.harness.query_by_label_contains("is no preset").is_some());
    table.click_button("Close");
    assert!(table.harness.query_by_label_contains("is no preset").is_none());
    assert_eq!(table.heard(), []);
    table.preset_menu("Import...");
    table.key(Key::Escape);
    assert!(table.harness.query_by_label("Open").is_none(), "escape closes the list");
}
