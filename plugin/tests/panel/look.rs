//! What the panel shows, and where.

use crate::KNOBS;
use crate::table::Table;
use dualstep::PanelSize;
use egui::accesskit::{Role, Toggled};
use egui::{Modifiers, Rect, pos2, vec2};
use egui_kittest::kittest::{NodeT, Queryable};

#[test]
fn the_clip_light_stays_until_it_is_clicked() {
    let mut table = Table::new();
    let lit = |table: &Table| {
        let node = table.harness.get_by_role_and_label(Role::Button, "Output clip light");
        node.accesskit_node().toggled() == Some(Toggled::True)
    };
    table.play(0.5);
    assert!(!lit(&table), "half of full scale");
    table.play(1.1);
    assert!(lit(&table), "above full scale");
    table.play(0.1);
    assert!(lit(&table), "it stays");
    table.click_button("Output clip light");
    assert!(!lit(&table), "a click puts it out");
}

#[test]
fn views_and_divider_move() {
    let mut table = Table::new();
    table.play(0.3);
    let plot = table.rect(Role::Image, "Spectrogram");
    table.drag(plot.center(), vec2(-plot.width() / 4.0, 0.0), Modifiers::NONE);
    for view in ["Input", "Output", "Removed", "Before / after"] {
        table.click_button(view);
        let node = table.harness.get_by_role_and_label(Role::Button, view);
        assert_eq!(node.accesskit_node().toggled(), Some(Toggled::True), "{view}");
    }
    assert_eq!(table.heard(), [], "looking changes nothing");
}

#[test]
fn the_status_says_why_audio_passes_through() {
    let mut table = Table::new();
    table.play(0.1);
    assert!(table.harness.query_by_label("Passing through").is_some());
    assert!(table.harness.query_by_label("a test").is_some(), "the reason");
    assert!(table.harness.query_by_label("weights: a test").is_some());
    assert!(table.harness.query_by_label_contains("48.0 kHz").is_some());
}

#[test]
fn nothing_is_restored_while_the_host_is_still() {
    let mut table = Table::new();
    table.restore(0.3, |time| 0.1 * (2_880.0 * time).sin());
    assert!(table.harness.query_by_label("Restoring").is_some());
    std::thread::sleep(std::time::Duration::from_millis(1100));
    table.settle();
    assert!(table.harness.query_by_label("Restoring").is_none());
    assert!(table.harness.query_by_label("Ready: nothing plays").is_some());
}

#[test]
fn everything_has_its_place_at_every_size_and_scale() {
    for size in [PanelSize::LEAST, PanelSize::USUAL, [1600, 1000]] {
        for scale in [1.0, 1.5, 2.0] {
            let mut table = Table::of_size(size, scale);
            table.click_button("Output section");
            let window = Rect::from_min_size(pos2(0.0, 0.0), vec2(size[0] as f32, size[1] as f32));
            let mut places = Vec::new();
            for (_, label) in KNOBS {
                places.push((label, table.rect(Role::Slider, label)));
            }
            for label in [
                "Listen to removed",
                "Stereo link",
                "Bypass",
                "Undo the last change",
                "Input clip light",
                "Output clip light",
            ] {
                places.push((label, table.rect(Role::Button, label)));
            }
            places.push(("Spectrogram", table.rect(Role::Image, "Spectrogram")));
            for (label, place) in &places {
                assert!(
                    window.contains_rect(*place),
                    "{label} lies at {place:?} in a window of {size:?} at {scale}"
                );
            }
            for (index, (label, place)) in places.iter().enumerate() {
                for (other, covered) in &places[index + 1..] {
                    let common = place.intersect(*covered);
                    assert!(!common.is_positive(), "{label} and {other} overlap in a window of {size:?}");
                }
            }
        }
    }
}
