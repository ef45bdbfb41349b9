//! A panel on the table: the host that it talks to, and the user's hands.

#![expect(unsafe_code, reason = "the host's side of the framework's parameter interface")]

use dualstep::{DualstepParams, Instance, Panel, PanelSize};
use dualstep_engine::link::{AudioPort, LinkConfig, Pace, Processor, Settings, Status, Worker, connect};
use dualstep_engine::{Controls, HopReport};
use egui::accesskit::Role;
use egui::{Event, Key, Modifiers, MouseWheelUnit, Pos2, Vec2, vec2};
use egui_kittest::Harness;
use egui_kittest::kittest::Queryable;
use nice_plug::context::gui::GuiContextInner;
use nice_plug::params::internals::ParamPtr;
use nice_plug::prelude::{ParamSetter, Params, PluginApi, PluginState};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

/// What a host hears from a panel.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Heard {
    Begin(String),
    Set(String, f32),
    End(String),
}

/// A host that takes every value, at once or, if it is `idle`, when it goes on processing.
pub(crate) struct Host {
    params: Arc<DualstepParams>,
    idle: AtomicBool,
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
        if !self.idle.load(Relaxed) {
            // SAFETY: the pointer is one of `self.params`, which lives as long as the host.
            unsafe { param._internal_set_normalized_value(normalized) };
        }
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

/// Restores nothing.
struct Idle;

impl Processor for Idle {
    fn process(&mut self, _audio: &mut [f32], _controls: &Controls) -> HopReport {
        HopReport {
            active: true,
            ..HopReport::default()
        }
    }

    fn skip(&mut self, audio: &mut [f32], controls: &Controls) -> HopReport {
        self.process(audio, controls)
    }

    fn reset(&mut self) {}
}

/// A panel on the table.
pub(crate) struct Table {
    pub(crate) harness: Harness<'static>,
    instance: Arc<Instance>,
    host: Arc<Host>,
    status: Arc<Status>,
    worker: Option<Worker>,
    /// Where the panel keeps presets and settings.
    pub(crate) folder: tempfile::TempDir,
}

impl Table {
    pub(crate) fn new() -> Self {
        Self::of_size(PanelSize::USUAL, 1.0)
    }

    pub(crate) fn of_size([width, height]: [u32; 2], scale: f32) -> Self {
        let params = Arc::new(DualstepParams::default());
        let status = Arc::new(Status::default());
        let folder = tempfile::tempdir().expect("a folder");
        let host = Arc::new(Host {
            params: Arc::clone(&params),
            idle: AtomicBool::new(false),
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
            instance,
            host,
            status,
            worker: None,
            folder,
        };
        table.settle();
        table
    }

    /// Some frames: what was asked for happens.
    pub(crate) fn settle(&mut self) {
        self.harness.run_steps(4);
    }

    /// What the host heard since the last call.
    pub(crate) fn heard(&self) -> Vec<Heard> {
        std::mem::take(&mut *self.host.heard.lock().expect("no test panics here"))
    }

    pub(crate) fn rect(&self, role: Role, label: &str) -> egui::Rect {
        self.harness.get_by_role_and_label(role, label).rect()
    }

    pub(crate) fn knob(&self, label: &str) -> Pos2 {
        self.rect(Role::Slider, label).center()
    }

    pub(crate) fn click(&mut self, at: Pos2) {
        self.harness.hover_at(at);
        self.press(at);
        self.settle();
    }

    pub(crate) fn click_button(&mut self, label: &str) {
        let at = self.rect(Role::Button, label).center();
        self.click(at);
    }

    /// Drags from `at` by `way` in ten steps, with the modifiers held.
    pub(crate) fn drag(&mut self, at: Pos2, way: Vec2, modifiers: Modifiers) {
        self.harness.event(Event::ModifiersChanged(modifiers));
        self.hold(at, way);
        self.harness.drop_at(at + way);
        self.harness.event(Event::ModifiersChanged(Modifiers::NONE));
        self.settle();
    }

    /// Drags from `at` by `way` in ten steps, and doesn't let go.
    pub(crate) fn hold(&mut self, at: Pos2, way: Vec2) {
        self.harness.hover_at(at);
        self.harness.step();
        self.harness.drag_at(at);
        self.harness.step();
        for step in 1..=10u8 {
            self.harness.hover_at(at + way * (f32::from(step) / 10.0));
            self.harness.step();
        }
    }

    /// The window goes away.
    pub(crate) fn let_go(&self) {
        self.instance.let_go(ParamSetter::new(&*self.host));
    }

    /// Whether the host has stopped to process.
    pub(crate) fn set_idle(&self, idle: bool) {
        self.host.idle.store(idle, Relaxed);
    }

    /// Turns the wheel where the pointer is, up being positive.
    pub(crate) fn wheel(&mut self, notches: f32) {
        self.harness.event(Event::MouseWheel {
            unit: MouseWheelUnit::Line,
            delta: vec2(0.0, notches),
            modifiers: Modifiers::NONE,
            phase: egui::TouchPhase::Move,
            source: egui::MouseWheelSource::Unknown,
        });
        self.settle();
    }

    pub(crate) fn write(&mut self, text: &str) {
        self.harness.event(Event::Text(text.to_owned()));
        self.settle();
    }

    pub(crate) fn key(&mut self, key: Key) {
        self.harness.key_press(key);
        self.settle();
    }

    /// Presses and lets go of the pointer's button where it is.
    fn press(&mut self, at: Pos2) {
        for pressed in [true, false] {
            self.harness.event(Event::PointerButton {
                pos: at,
                button: egui::PointerButton::Primary,
                pressed,
                modifiers: Modifiers::NONE,
            });
        }
    }

    pub(crate) fn double_click(&mut self, at: Pos2) {
        self.harness.hover_at(at);
        self.press(at);
        self.press(at);
        self.settle();
    }

    /// Clicks a knob's number and types another one.
    pub(crate) fn type_value(&mut self, label: &str, text: &str) {
        self.click_button(&format!("{label} value"));
        self.write(text);
        self.key(Key::Enter);
    }

    /// Takes an entry of the menu "Preset".
    pub(crate) fn preset_menu(&mut self, entry: &str) {
        self.click_button("Preset");
        self.click_button(entry);
    }

    fn param(&self, id: &str) -> ParamPtr {
        let map = self.host.params.param_map();
        map.into_iter()
            .find(|(known, ..)| known == id)
            .expect("a parameter of the plugin")
            .1
    }

    /// Normalized value of a parameter.
    pub(crate) fn value(&self, id: &str) -> f32 {
        // SAFETY: the pointer is one of `self.host.params`.
        unsafe { self.param(id).unmodulated_normalized_value() }
    }

    /// Sets a parameter's normalized value as a host's automation does.
    pub(crate) fn automate(&mut self, id: &str, value: f32) {
        // SAFETY: the pointer is one of `self.host.params`.
        unsafe { self.param(id)._internal_set_normalized_value(value) };
        self.settle();
    }

    /// Plays a signal, given by time in seconds, through the plugin's audio end, and looks at it. `seconds` at 48 kHz.
    pub(crate) fn play_through(&mut self, settings: &Settings, seconds: f64, signal: impl Fn(f64) -> f64) {
        let port = AudioPort::pass_through(48_000.0, 2, &self.status, "a test");
        self.play_to(port, settings, seconds, signal);
    }

    /// The same with a worker.
    pub(crate) fn restore(&mut self, seconds: f64, signal: impl Fn(f64) -> f64) {
        let config = LinkConfig {
            sample_rate_hz: 48_000.0,
            channels: 2,
            hop: 960,
            restorer_delay: 0,
            max_block: 960,
        };
        let (port, worker) = connect(config, Idle, &self.status).expect("a thread can be started");
        self.play_to(port, &Settings::default(), seconds, signal);
        // A worker that ends says so.
        self.worker = Some(worker);
    }

    fn play_to(&mut self, mut port: AudioPort, settings: &Settings, seconds: f64, signal: impl Fn(f64) -> f64) {
        const BLOCK: u32 = 960;
        self.settle();
        let mut time = 0.0;
        while time < seconds {
            #[expect(clippy::cast_possible_truncation, reason = "samples")]
            let sample = |i: u32| signal(time + f64::from(i) / 48_000.0) as f32;
            let mut left: Vec<f32> = (0..BLOCK).map(sample).collect();
            let mut right = left.clone();
            port.process(&mut [&mut left, &mut right], settings, Pace::RealTime);
            self.harness.step();
            time += f64::from(BLOCK) / 48_000.0;
        }
        self.settle();
    }

    /// Plays a sine of a peak level.
    pub(crate) fn play(&mut self, peak: f64) {
        self.play_through(&Settings::default(), 0.8, |time| peak * (2_880.0 * time).sin());
    }
}

/// One gesture on one parameter, with at least one value; the last of which is given back.
pub(crate) fn gesture(heard: &[Heard], id: &str) -> f32 {
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
