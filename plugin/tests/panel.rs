//! The panel under the user's hands: pointer, wheel and keys go in, what reaches the host comes out.

#![expect(unsafe_code, reason = "the host's side of the framework's parameter interface")]

use dualstep::{DualstepParams, Instance, Panel, PanelSize};
use dualstep_engine::link::{AudioPort, Pace, Settings, Status};
use egui::accesskit::{Role, Toggled};
use egui::{Event, Key, Modifiers, MouseWheelUnit, Pos2, Vec2, pos2, vec2};
use egui_kittest::Harness;
use egui_kittest::kittest::{NodeT, Queryable};
use nice_plug::context::gui::GuiContextInner;
use nice_plug::params::internals::ParamPtr;
use nice_plug::prelude::{Param, ParamSetter, Params, PluginApi, PluginState};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

/// What a host hears from a panel.
#[derive(Clone, Debug, PartialEq)]
enum Heard {
    Begin(String),
    Set(String, f32),
    End(String),
}

/// A host that takes every value.
struct Host {
    params: Arc<DualstepParams>,
    heard: Mutex<Vec<Heard>>,
}

impl Host {
    fn id(&self, param: ParamPtr) -> String {
        let map = self.params.param_map();
        map.into_iter()
            .find(|(_, ptr, _)| *ptr == param)
            .expect("a parameter of the plugin")
            .0
    }

    fn note(&self, heard: Heard) {
        self.heard.lock().expect("no test panics here").push(heard);
    }
}

impl GuiContextInner for Host {
    fn plugin_api(&self) -> PluginApi {
        PluginApi::Clap
    }

    unsafe fn raw_begin_set_parameter(&self, param: ParamPtr) {
        self.note(Heard::Begin(self.id(param)));
    }

    unsafe fn raw_set_parameter_normalized(&self, param: ParamPtr, normalized: f32) {
        self.note(Heard::Set(self.id(param), normalized));
        // SAFETY: the pointer is one of `self.params`, which lives as long as the host.
        unsafe { param._internal_set_normalized_value(normalized) };
    }

    unsafe fn raw_end_set_parameter(&self, param: ParamPtr) {
        self.note(Heard::End(self.id(param)));
    }

    fn get_state(&self) -> PluginState {
        unreachable!("the panel doesn't ask for the state")
    }

    fn set_state(&self, _state: PluginState) {
        unreachable!("the panel doesn't set the state")
    }

    fn request_restart(&self) {}
}

/// A panel on the table.
struct Table {
    harness: Harness<'static>,
    host: Arc<Host>,
    status: Arc<Status>,
    folder: tempfile::TempDir,
}

impl Table {
    fn new() -> Self {
        Self::of_size(PanelSize::USUAL, 1.0)
    }

    fn of_size([width, height]: [u32; 2], scale: f32) -> Self {
        let params = Arc::new(DualstepParams::default());
        let status = Arc::new(Status::default());
        let folder = tempfile::tempdir().expect("a folder");
        let host = Arc::new(Host {
            params: Arc::clone(&params),
            heard: Mutex::default(),
        });
        let path: PathBuf = folder.path().to_owned();
        let instance = Instance::new("Dualstep", || "weights: a test".to_owned(), params, Arc::clone(&status), Some(path));
        let mut panel = Panel::new(&instance);
        let mut prepared = false;
        let setter = Arc::clone(&host);
        let harness = Harness::builder()
            .with_size(vec2(width as f32, height as f32))
            .with_pixels_per_point(scale)
            .with_step_dt(1.0 / 30.0)
            .build_ui(move |ui| {
                if !std::mem::replace(&mut prepared, true) {
                    panel.prepare(ui.ctx());
                }
                panel.draw(ui, ParamSetter::new(&*setter));
            });
        let mut table = Self {
            harness,
            host,
            status,
            folder,
        };
        table.settle();
        table
    }

    /// Some frames: what was asked for happens.
    fn settle(&mut self) {
        self.harness.run_steps(4);
    }

    /// What the host heard since the last call.
    fn heard(&self) -> Vec<Heard> {
        std::mem::take(&mut *self.host.heard.lock().expect("no test panics here"))
    }

    fn rect(&self, role: Role, label: &str) -> egui::Rect {
        self.harness.get_by_role_and_label(role, label).rect()
    }

    fn knob(&self, label: &str) -> Pos2 {
        self.rect(Role::Slider, label).center()
    }

    fn click(&mut self, at: Pos2) {
        self.harness.hover_at(at);
        self.harness.drag_at(at);
        self.harness.event(Event::PointerButton {
            pos: at,
            button: egui::PointerButton::Primary,
            pressed: false,
            modifiers: Modifiers::NONE,
        });
        self.settle();
    }

    fn click_button(&mut self, label: &str) {
        let at = self.rect(Role::Button, label).center();
        self.click(at);
    }

    /// Drags from `at` by `way` in ten steps, with the modifiers held.
    fn drag(&mut self, at: Pos2, way: Vec2, modifiers: Modifiers) {
        self.harness.event(Event::ModifiersChanged(modifiers));
        self.harness.hover_at(at);
        self.harness.step();
        self.harness.drag_at(at);
        self.harness.step();
        for step in 1..=10u8 {
            self.harness.hover_at(at + way * (f32::from(step) / 10.0));
            self.harness.step();
        }
        self.harness.drop_at(at + way);
        self.harness.event(Event::ModifiersChanged(Modifiers::NONE));
        self.settle();
    }

    fn write(&mut self, text: &str) {
        self.harness.event(Event::Text(text.to_owned()));
        self.settle();
    }

    fn key(&mut self, key: Key) {
        self.harness.key_press(key);
        self.settle();
    }

    /// Plays a sine of a peak level through the plugin's audio end, and looks at it.
    fn play(&mut self, peak: f32) {
        let mut port = AudioPort::pass_through(48_000.0, 2, &self.status, "a test");
        self.settle();
        for block in 0..40 {
            let mut left: Vec<f32> = (0..960).map(|i| peak * (0.06 * (block * 960 + i) as f32).sin()).collect();
            let mut right = left.clone();
            port.process(&mut [&mut left, &mut right], &Settings::default(), Pace::RealTime);
            self.harness.step();
        }
        self.settle();
    }
}

/// One gesture on one parameter, with at least one value; the last of which is given back.
fn gesture(heard: &[Heard], id: &str) -> f32 {
    let [Heard::Begin(first), values @ .., Heard::End(last)] = heard else {
        panic!("no single gesture: {heard:?}")
    };
    assert!(first == id && last == id, "{id}: {heard:?}");
    assert!(!values.is_empty(), "{id}: nothing was set");
    values
        .iter()
        .map(|value| match value {
            Heard::Set(of, value) if of == id => *value,
            other => panic!("{id}: {other:?}"),
        })
        .next_back()
        .expect("a value")
}

/// What is behind "Output section".
const FOLDED: [(&str, &str); 4] = [
    ("low_cut", "Low-cut"),
    ("hum", "Hum notch"),
    ("tilt", "Tilt"),
    ("comp", "Compressor"),
];

const KNOBS: [(&str, &str); 6] = [
    ("stage1", "Noise reduction"),
    ("stage2", "Detail restoration"),
    ("declick", "Click repair"),
    ("limit", "Reduction limit"),
    ("mix", "Dry/wet"),
    ("output", "Output gain"),
];

fn value(table: &Table, id: &str) -> f32 {
    let params = &table.host.params;
    match id {
        "stage1" => params.stage1.unmodulated_normalized_value(),
        "stage2" => params.stage2.unmodulated_normalized_value(),
        "declick" => params.declick.unmodulated_normalized_value(),
        "limit" => params.limit.unmodulated_normalized_value(),
        "mix" => params.mix.unmodulated_normalized_value(),
        "output" => params.output.unmodulated_normalized_value(),
        "removed" => params.removed.unmodulated_normalized_value(),
        "link" => params.link.unmodulated_normalized_value(),
        "bypass" => params.bypass.unmodulated_normalized_value(),
        "low_cut" => params.low_cut.unmodulated_normalized_value(),
        "hum" => params.hum.unmodulated_normalized_value(),
        "tilt" => params.tilt.unmodulated_normalized_value(),
        "comp" => params.comp.unmodulated_normalized_value(),
        other => panic!("no parameter {other}"),
    }
}

#[test]
fn dragging_a_knob_is_one_gesture_and_shift_makes_it_fine() {
    for (id, label) in KNOBS {
        let mut table = Table::new();
        let at = table.knob(label);
        let before = value(&table, id);
        table.drag(at, vec2(0.0, 66.0), Modifiers::NONE);
        let after = gesture(&table.heard(), id);
        assert_eq!(value(&table, id), after, "{id}");
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
        let default = value(&table, id);
        table.click(at);
        assert_eq!(table.heard(), [], "{id}: a click");
        table.harness.run_steps(20);
        table.drag(at, vec2(0.0, 40.0), Modifiers::NONE);
        assert_ne!(value(&table, id), default, "{id}");
        table.heard();
        table.harness.run_steps(20);
        table.harness.hover_at(at);
        for pressed in [true, false, true, false] {
            table.harness.event(Event::PointerButton {
                pos: at,
                button: egui::PointerButton::Primary,
                pressed,
                modifiers: Modifiers::NONE,
            });
        }
        table.settle();
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
        let before = value(&table, id);
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
        let default = value(&table, id);
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
        table.click_button(&format!("{label} value"));
        table.write(text);
        table.key(Key::Enter);
        let after = gesture(&table.heard(), id);
        assert!((after - expected).abs() < 1e-4, "{label}: {text} is {after}");
    }
}

#[test]
fn what_cannot_be_read_is_refused_and_escape_changes_nothing() {
    let mut table = Table::new();
    table.click_button("Dry/wet value");
    table.write("quux");
    table.key(Key::Enter);
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
    assert_eq!(value(&table, "mix"), 1.0);
}

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
        let before = value(&table, id);
        let at = table.knob(label);
        table.drag(at, vec2(0.0, -80.0), Modifiers::NONE);
        let heard = table.heard();
        gesture(&heard, id);
        assert!(value(&table, id) > before, "{id}: {heard:?}");
    }
    assert!(table.harness.query_by_label("Output section: 4 on").is_some());
    table.click_button("Hum notch value");
    table.write("auto");
    table.key(Key::Enter);
    assert_eq!(gesture(&table.heard(), "hum"), 1.0);
    table.click_button("Output section: 4 on");
    assert!(
        table.harness.query_by_role_and_label(Role::Slider, "Tilt").is_none(),
        "folded again"
    );
}

#[test]
fn switches_switch() {
    for (id, label) in [("removed", "Listen to removed"), ("link", "Stereo link"), ("bypass", "Bypass")] {
        let mut table = Table::new();
        let before = value(&table, id);
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
        let ptr = table
            .host
            .params
            .param_map()
            .into_iter()
            .find(|(known, ..)| known == id)
            .expect("a parameter")
            .1;
        // SAFETY: the pointer is one of `table.host.params`.
        unsafe { ptr._internal_set_normalized_value(0.4) };
        table.settle();
        let node = table.harness.get_by_role_and_label(Role::Slider, label);
        let shown = node.accesskit_node().numeric_value().expect("a value");
        assert!((shown - 0.4).abs() < 1e-3, "{id} shows {shown}");
    }
    assert_eq!(table.heard(), []);
}

#[test]
fn changes_are_undone_and_done_again() {
    let mut table = Table::new();
    let at = table.knob("Dry/wet");
    table.drag(at, vec2(0.0, 100.0), Modifiers::NONE);
    let changed = value(&table, "mix");
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
    let a = value(&table, "mix");
    table.click_button("B");
    assert_eq!(value(&table, "mix"), a, "B begins as A is");
    table.drag(at, vec2(0.0, 50.0), Modifiers::NONE);
    let b = value(&table, "mix");
    assert_ne!(a, b);
    table.click_button("A");
    assert_eq!(value(&table, "mix"), a);
    table.click_button("Copy");
    table.click_button("B");
    assert_eq!(value(&table, "mix"), a, "A was copied to B");
}

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
    assert!((value(&table, "declick") - 0.7).abs() < 1e-6);
    table.click_button("Undo the last change");
    assert_eq!(value(&table, "declick"), 0.5, "a preset is one step of undo");

    table.click_button("Previous preset");
    let at = table.knob("Output gain");
    table.drag(at, vec2(0.0, 30.0), Modifiers::NONE);
    table.click_button("Preset");
    table.click_button("Save as...");
    table.write("My gramophone");
    table.key(Key::Enter);
    let saved = table.folder.path().join("presets").join("My gramophone.json");
    let text = std::fs::read_to_string(&saved).unwrap_or_else(|error| panic!("{}: {error}", saved.display()));
    assert!(text.contains("\"format\": 1") && text.contains("\"output\""), "{text}");
    assert!(!text.contains("bypass") && !text.contains("removed"), "{text}");
    let kept = value(&table, "output");
    table.click_button("Previous preset");
    assert_ne!(value(&table, "output"), kept);
    table.click_button("Next preset");
    assert!(
        (value(&table, "output") - kept).abs() < 2e-3,
        "found again, to a tenth of a decibel"
    );
}

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
fn the_theme_is_kept_for_the_next_window() {
    let mut table = Table::new();
    table.click_button("Light");
    assert!(table.harness.query_by_label("Dark").is_some(), "the button offers the other theme");
    let kept = std::fs::read_to_string(table.folder.path().join("settings.json")).expect("settings");
    assert!(kept.contains("\"light\": true"), "{kept}");
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
fn everything_has_its_place_at_every_size_and_scale() {
    for size in [PanelSize::LEAST, PanelSize::USUAL, [1600, 1000]] {
        for scale in [1.0, 1.5, 2.0] {
            let mut table = Table::of_size(size, scale);
            table.click_button("Output section");
            let window = egui::Rect::from_min_size(pos2(0.0, 0.0), vec2(size[0] as f32, size[1] as f32));
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
