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
fn presets_of_one_name_are_all_within_reach() {
    let mut table = Table::new();
    let folder = table.folder.path().join("presets");
    std::fs::create_dir_all(&folder).expect("a folder");
    for (file, mix) in [("a.json", "40 %"), ("b.json", "60 %")] {
        let text = format!(r#"{{"format": 1, "name": "Standard", "values": {{"mix": "{mix}"}}}}"#);
        std::fs::write(folder.join(file), text).expect("written");
    }
    table.preset_menu("Read folder again");
    for mix in [0.6, 0.4] {
        table.click_button("Previous preset");
        assert!((table.value("mix") - mix).abs() < 1e-6, "{}", table.value("mix"));
    }
    table.click_button("Next preset");
    table.click_button("Next preset");
    assert_eq!(table.value("mix"), 1.0, "the plugin's own");
    table.click_button("Next preset");
    assert!((table.value("declick") - 0.7).abs() < 1e-6, "and the one after it");
}

#[test]
fn a_name_is_asked_for_until_it_is_free() {
    let mut table = Table::new();
    let folder = table.folder.path().join("presets");
    let rename = |table: &mut Table, name: &str| {
        table.harness.key_press_modifiers(Modifiers::COMMAND, Key::A);
        table.write(name);
    };
    table.type_value("Dry/wet", "50 %");
    table.preset_menu("Save as...");
    table.write("Hum");
    assert!(table.harness.query_by_label_contains("Choose another").is_some());
    table.key(Key::Enter);
    assert!(!folder.join("Hum.json").exists(), "Hum is one that the plugin brings");
    // One that another instance saves meanwhile.
    let at = table.harness.get_by_role(Role::TextInput).rect().center();
    table.click(at);
    rename(&mut table, "Mine");
    let other = r#"{"format": 1, "name": "Mine", "values": {"mix": "40 %"}}"#;
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::write(folder.join("Mine.json"), other).expect("written");
    table.key(Key::Enter);
    assert_eq!(std::fs::read_to_string(folder.join("Mine.json")).expect("read"), other, "it asks");
    table.click_button("Replace");
    assert!(
        std::fs::read_to_string(folder.join("Mine.json"))
            .expect("read")
            .contains("\"mix\": \"50 %\"")
    );
    let kept = std::fs::read_to_string(folder.join("replaced").join("Mine.json"));
    assert_eq!(kept.expect("kept"), other);

    // An imported one gets a name of its own.
    let elsewhere = tempfile::tempdir().expect("a folder");
    std::fs::write(elsewhere.path().join("Hum.json"), other.replace("Mine", "Hum")).expect("written");
    table.preset_menu("Import...");
    choose(&mut table, elsewhere.path(), "Hum.json");
    assert!((table.value("mix") - 0.4).abs() < 1e-6, "{}", table.value("mix"));
    assert!(table.harness.query_by_label_contains("Choose another").is_some());
    rename(&mut table, "Hum of a friend");
    table.key(Key::Enter);
    assert!(
        std::fs::read_to_string(folder.join("Hum of a friend.json"))
            .expect("saved")
            .contains("\"mix\": \"40 %\"")
    );
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
