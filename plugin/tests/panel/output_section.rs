//! The output section's knobs, and what they show of what it finds and does.

use crate::table::{Table, gesture};
use dualstep_engine::link::Settings;
use dualstep_engine::output::{Hum, OutputSettings};
use egui::accesskit::Role;
use egui::{Modifiers, vec2};
use egui_kittest::kittest::{NodeT, Queryable};
use std::f64::consts::TAU;
use std::time::Duration;

/// Ids and names of the knobs.
const FOLDED: [(&str, &str); 4] = [
    ("low_cut", "Low-cut"),
    ("hum", "Hum notch"),
    ("tilt", "Tilt"),
    ("comp", "Compressor"),
];

#[test]
fn the_output_section_unfolds_and_its_knobs_turn() {
    let mut table = Table::new();
    for (_, label) in FOLDED {
        assert!(
            table.harness.query_by_role_and_label(Role::Slider, label).is_none(),
            "{label} is folded away"
        );
    }
    table.click_button("Output section");
    for (id, label) in FOLDED {
        let before = table.value(id);
        let at = table.knob(label);
        table.drag(at, vec2(0.0, -80.0), Modifiers::NONE);
        let heard = table.heard();
        gesture(&heard, id);
        assert!(table.value(id) > before, "{id}: {heard:?}");
    }
    assert!(table.harness.query_by_label("Output section: 4 on").is_some());
    table.type_value("Hum notch", "auto");
    assert_eq!(gesture(&table.heard(), "hum"), 1.0);
    table.click_button("Output section: 4 on");
    assert!(
        table.harness.query_by_role_and_label(Role::Slider, "Tilt").is_none(),
        "folded again"
    );
}

#[test]
fn the_hum_that_was_found_is_told() {
    let mut table = Table::new();
    table.click_button("Output section");
    let listening = |table: &Table| table.harness.query_by_label("listening...").is_some();
    assert!(!listening(&table), "it is off");
    table.type_value("Hum notch", "60 Hz");
    assert!(!listening(&table), "the frequency is given");
    table.type_value("Hum notch", "auto");
    assert!(listening(&table));
    let settings = Settings {
        output: OutputSettings {
            hum: Hum::Auto,
            ..OutputSettings::default()
        },
        ..Settings::default()
    };
    table.play_through(&settings, 1.0, |time| 0.1 * (TAU * 60.1 * time).sin());
    assert!(listening(&table), "after a second");
    table.play_through(&settings, 3.5, |time| 0.1 * (TAU * 60.1 * time).sin());
    assert!(
        !listening(&table) && table.harness.query_by_label("60.10 Hz").is_some(),
        "after three and a half"
    );
}

#[test]
fn the_compressor_tells_what_it_takes_away() {
    let mut table = Table::new();
    table.click_button("Output section");
    assert!(table.harness.query_by_label("0.0 dB").is_none(), "it is off");
    table.type_value("Compressor", "100 %");
    let settings = Settings {
        output: OutputSettings {
            compression: 1.0,
            ..OutputSettings::default()
        },
        ..Settings::default()
    };
    let tone = |time: f64| 0.5 * (TAU * 997.0 * time).sin();
    table.play_through(&settings, 6.0, tone);
    let shown_db = |table: &Table| {
        let labels = table.harness.get_all_by_role(Role::Label);
        let mut texts = labels.filter_map(|label| label.accesskit_node().value());
        texts.find_map(|text| text.strip_suffix(" dB")?.parse::<f64>().ok())
    };
    // The smoothing of what is shown goes by the clock, and so does the time after which nothing plays: each waits as long as it takes.
    let arrives = |table: &mut Table, plays: bool, there: &dyn Fn(f64) -> bool| {
        for _ in 0..200 {
            if plays {
                table.play_through(&settings, 0.1, tone);
            }
            std::thread::sleep(Duration::from_millis(50));
            table.settle();
            if shown_db(table).is_some_and(there) {
                return true;
            }
        }
        false
    };
    // -6 dB, 24 dB above the threshold, at 2:1.
    assert!(
        arrives(&mut table, true, &|db| (db + 12.0).abs() < 0.2),
        "{:?} dB",
        shown_db(&table)
    );
    assert!(
        arrives(&mut table, false, &|db| db > -0.3),
        "{:?} dB while nothing plays",
        shown_db(&table)
    );
}
