//! What the window shows, and where.

use super::PanelSize;
use super::analysis::Analysis;
use super::control::{Asked, Desk, OUTPUT_SECTION, control};
use super::header::{Choice, PresetBar, compare};
use super::history::History;
use super::knob::{Activity, Knob};
use super::meters::{meter, readings};
use super::settings::Settings;
use super::spectrogram::{Spectrogram, View};
use super::status_line::status_line;
use super::switch::switch;
use super::theme::{self, Palette};
use crate::DualstepParams;
use crate::params::HUM_AUTO;
use dualstep_engine::link::{Status, WorkerState};
use dualstep_engine::output::static_gain_db;
use egui::{Align, Button, Context, Layout, Rect, Rgba, RichText, ScrollArea, Theme, Ui, UiBuilder, pos2, vec2};
use nice_plug::context::gui::GuiContext;
use nice_plug::prelude::ParamSetter;
use nice_plug_egui::baseview::{HandlerError, WindowSize};
use nice_plug_egui::resizable_window::paint_resize_corner;
use nice_plug_egui::{Frame, NiceEguiApp, RepaintNotifier};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Time between two pictures while audio plays.
const FRAME: Duration = Duration::from_millis(33);
/// The same while nothing plays.
const IDLE: Duration = Duration::from_millis(200);
/// Time without samples after which nothing plays: longer than any block of a host.
const SILENCE: Duration = Duration::from_secs(1);
/// Time constant of the numbers in the knobs, in seconds.
const SMOOTH_S: f32 = 0.25;
/// Sizes in points.
const MARGIN: f32 = 10.0;
const HEADER: f32 = 30.0;
const STATUS: f32 = 22.0;
const METER: f32 = 44.0;
const BIG: f32 = 50.0;
const SMALL: f32 = 27.0;
const TINY: f32 = 19.0;

/// What belongs to one plugin instance, whether or not its window is open.
pub struct Instance {
    title: &'static str,
    /// Tells which weights are in use.
    weights: fn() -> String,
    params: Arc<DualstepParams>,
    status: Arc<Status>,
    /// Folder of presets and settings.
    folder: Option<PathBuf>,
    /// Whether the host has hidden the window.
    hidden: AtomicBool,
    /// What windows hand on to the next one.
    memory: Mutex<Memory>,
}

/// What one instance remembers from window to window.
#[derive(Default)]
struct Memory {
    history: History,
    asked: Asked,
    chosen: Option<Choice>,
    view: View,
    divider: Option<f32>,
    forgotten_misses: u64,
    /// Whether the output section is unfolded.
    output_open: bool,
}

impl Instance {
    /// `folder`: where presets and settings are kept; none if the system has no place for them.
    #[must_use]
    pub fn new(
        title: &'static str,
        weights: fn() -> String,
        params: Arc<DualstepParams>,
        status: Arc<Status>,
        folder: Option<PathBuf>,
    ) -> Arc<Self> {
        Arc::new(Self {
            title,
            weights,
            params,
            status,
            folder,
            hidden: AtomicBool::new(false),
            memory: Mutex::default(),
        })
    }

    /// Tells the panel whether anybody can see it.
    pub(super) fn set_hidden(&self, hidden: bool) {
        self.hidden.store(hidden, Relaxed);
    }

    /// Ends what the user holds: nobody will once the window is gone.
    pub fn let_go(&self, setter: ParamSetter<'_>) {
        let mut memory = self.memory();
        let Memory { history, asked, .. } = &mut *memory;
        Desk::new(setter, history, asked).let_go(&self.params);
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        // Nothing else panics while it holds the lock; what is remembered is of use in any case.
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn title(&self) -> &'static str {
        self.title
    }

    pub(super) fn size(&self) -> &PanelSize {
        &self.params.panel
    }
}

/// The contents of one window.
pub struct Panel {
    instance: Arc<Instance>,
    weights: String,
    settings: Settings,
    presets: PresetBar,
    analysis: Analysis,
    spectrogram: Spectrogram,
    /// Smoothed, in dB: what stage 1 removes, what stage 2 changes, by how much the compressor lowers what is loud.
    amounts: [f32; 3],
    /// When samples came last, and when they were looked for last.
    heard: Option<Instant>,
    looked: Instant,
    /// From the window's first moment on.
    gui: Option<GuiContext>,
    notifier: RepaintNotifier,
}

impl Panel {
    /// A panel for a window that is about to open.
    #[must_use]
    pub fn new(instance: &Arc<Instance>) -> Self {
        Self {
            weights: (instance.weights)(),
            settings: Settings::read(instance.folder.as_deref()),
            presets: PresetBar::open(instance.folder.clone()),
            analysis: Analysis::default(),
            spectrogram: Spectrogram::default(),
            amounts: [0.0, -120.0, 0.0],
            heard: None,
            looked: Instant::now(),
            gui: None,
            notifier: RepaintNotifier::new(),
            instance: Arc::clone(instance),
        }
    }

    /// Asks the window for a picture from outside.
    pub(super) fn notifier(&self) -> RepaintNotifier {
        self.notifier.clone()
    }

    /// Prepares a window's context. To be called once, before the first [`Panel::draw`].
    pub fn prepare(&self, context: &Context) {
        theme::install(context);
        context.set_theme(self.settings.theme());
        // The window is the host's to close.
        context.options_mut(|options| options.quit_shortcuts.clear());
    }

    /// Draws the panel into all of `ui`, and does what the user does.
    pub fn draw(&mut self, ui: &mut Ui, setter: ParamSetter<'_>) {
        let instance = Arc::clone(&self.instance);
        let mut memory = instance.memory();
        let Memory {
            history,
            asked,
            chosen,
            view,
            divider,
            forgotten_misses,
            output_open,
        } = &mut *memory;
        self.listen(ui.ctx());
        asked.settle(&instance.params, self.heard);
        let mut desk = Desk::new(setter, history, asked);

        let palette = Palette::of(ui.theme());
        let all = ui.max_rect();
        ui.painter().rect_filled(all, 0.0, palette.window);
        let inner = all.shrink(MARGIN);
        let controls_height = Knob::height(BIG) + 12.0;
        let header = Rect::from_min_size(inner.min, vec2(inner.width(), HEADER));
        let status = Rect::from_min_max(pos2(inner.left(), inner.bottom() - STATUS), inner.max);
        let strip_height = if *output_open { Knob::height(TINY) + 16.0 } else { 0.0 };
        let strip = Rect::from_min_max(
            pos2(inner.left(), status.top() - 4.0 - strip_height),
            pos2(inner.right(), status.top() - 4.0),
        );
        let controls = Rect::from_min_max(pos2(inner.left(), strip.top() - controls_height), pos2(inner.right(), strip.top()));
        let picture = Rect::from_min_max(
            pos2(inner.left(), header.bottom() + 6.0),
            pos2(inner.right(), (controls.top() - 8.0).max(header.bottom() + 60.0)),
        );

        row(ui, header, |ui| {
            ui.heading(RichText::new(instance.title).color(palette.text));
            ui.add_space(8.0);
            self.presets.show(ui, &palette, &instance.params, &mut desk, chosen);
            ui.add_space(8.0);
            compare(ui, &palette, &instance.params, &mut desk);
            ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
                if let Some(bypass) = control(&instance.params, "bypass") {
                    switch(ui, &mut desk, "bypass", bypass, palette.warning, vec2(70.0, 24.0));
                }
                self.theme_button(ui);
            });
        });
        self.picture(ui, &palette, picture, view, divider.get_or_insert(0.5));
        ui.painter().rect_filled(controls, 6.0, palette.group);
        if *output_open {
            ui.painter().rect_filled(strip.with_min_y(strip.top() + 4.0), 6.0, palette.group);
            self.output_section(ui, &palette, strip, &instance.params, &mut desk);
        }
        self.controls(ui, &palette, controls, &instance.params, &mut desk, output_open);
        row(ui, status, |ui| {
            ScrollArea::horizontal().id_salt("status").show(ui, |ui| {
                ui.horizontal(|ui| status_line(ui, &palette, &instance.status, self.playing(), &self.weights, forgotten_misses));
            });
        });
        if ui.ctx().dragged_id().is_none() {
            desk.let_go(&instance.params);
        }
    }

    /// Takes in what was played since the last picture, and plans the next one.
    fn listen(&mut self, context: &Context) {
        let status = &self.instance.status;
        let now = Instant::now();
        let passed = now.duration_since(std::mem::replace(&mut self.looked, now));
        let columns = self.analysis.update(status, passed);
        if !columns.is_empty() {
            self.heard = Some(now);
            self.spectrogram.push(context, &columns);
        }
        let playing = self.playing();
        if !playing {
            self.analysis.rest(passed);
        }
        let share = 1.0 - (-passed.as_secs_f32() / SMOOTH_S).exp();
        let (removed_db, restored_db) = if playing && status.state() == WorkerState::Running {
            (status.removed_db(), status.restored_db())
        } else {
            (0.0, -120.0)
        };
        let reduction_db = if playing {
            compressor_reduction_db(status, &self.instance.params)
        } else {
            0.0
        };
        for (amount, now_db) in self.amounts.iter_mut().zip([removed_db, restored_db, reduction_db]) {
            *amount += share * (now_db - *amount);
        }
        context.request_repaint_after(if playing { FRAME } else { IDLE });
    }

    /// Whether the host processes audio.
    fn playing(&self) -> bool {
        self.heard.is_some_and(|heard| self.looked.duration_since(heard) < SILENCE)
    }

    fn theme_button(&mut self, ui: &mut Ui) {
        let (name, other) = match ui.theme() {
            Theme::Dark => ("Light", Theme::Light),
            Theme::Light => ("Dark", Theme::Dark),
        };
        if ui
            .add(Button::new(name))
            .on_hover_text("Light or dark panel, for all sessions.")
            .clicked()
        {
            ui.set_theme(other);
            self.settings.set_theme(other);
            if let Some(folder) = &self.instance.folder {
                // It is no loss: the next window is in the old theme.
                let _ = self.settings.write(folder);
            }
        }
    }

    /// Meters at both sides, the spectrogram between them.
    fn picture(&mut self, ui: &mut Ui, palette: &Palette, place: Rect, view: &mut View, divider: &mut f32) {
        let [input, output] = &mut self.analysis.levels;
        let channels = self.analysis.channels;
        let left = Rect::from_min_max(place.min, pos2(place.left() + METER, place.bottom()));
        let right = Rect::from_min_max(pos2(place.right() - METER, place.top()), place.max);
        meter(ui, palette, left, "Input", input, channels);
        meter(ui, palette, right, "Output", output, channels);
        let middle = Rect::from_min_max(pos2(left.right() + 6.0, place.top()), pos2(right.left() - 8.0, place.bottom()));
        let tabs = Rect::from_min_size(middle.min, vec2(middle.width(), 24.0));
        row(ui, tabs, |ui| {
            ui.add_space(34.0);
            for (known, name, hint) in View::ALL {
                if ui.add(Button::selectable(*view == known, name)).on_hover_text(hint).clicked() {
                    *view = known;
                }
            }
            ui.with_layout(Layout::right_to_left(Align::Center), |ui| self.spectrogram.scale(ui, palette));
        });
        let plot = Rect::from_min_max(pos2(middle.left(), tabs.bottom() + 4.0), middle.max);
        self.spectrogram.show(ui, palette, plot, *view, divider);
    }

    /// Low-cut, hum notch, tilt and compressor.
    fn output_section(&self, ui: &mut Ui, palette: &Palette, place: Rect, params: &DualstepParams, desk: &mut Desk<'_>) {
        let place = place.with_min_y(place.top() + 4.0).shrink2(vec2(10.0, 4.0));
        let mut ui = ui.new_child(UiBuilder::new().max_rect(place).layout(Layout::left_to_right(Align::Center)));
        let unit = (place.width() - 3.0 * 6.0) / OUTPUT_SECTION.len() as f32;
        for id in OUTPUT_SECTION {
            let Some(control) = control(params, id) else { continue };
            let knob = Knob {
                id,
                control,
                radius: TINY,
                height: Knob::height(TINY),
                colour: palette.neutral,
                activity: None,
                reading: self.found(id, params),
            };
            knob.show(&mut ui, desk, palette, unit);
        }
    }

    /// What a part of the output section finds and does right now, if it is on.
    fn found(&self, id: &str, params: &DualstepParams) -> Option<String> {
        match id {
            "hum" if params.hum.value() == HUM_AUTO => Some(match self.instance.status.hum_hz() {
                Some(hz) => format!("{hz:.2} Hz"),
                None => "listening...".to_owned(),
            }),
            "comp" if params.comp.value() > 0.0 => Some(loss_text(self.amounts[2])),
            _ => None,
        }
    }

    /// Stages, other knobs, switches and readings.
    fn controls(&self, ui: &mut Ui, palette: &Palette, place: Rect, params: &DualstepParams, desk: &mut Desk<'_>, output_open: &mut bool) {
        let place = place.shrink2(vec2(10.0, 6.0));
        let mut ui = ui.new_child(UiBuilder::new().max_rect(place).layout(Layout::left_to_right(Align::Center)));
        // Two large knobs take as much as three small ones; the switches have their own column.
        let side = 232.0;
        let unit = (place.width() - side - 6.0 * 7.0) / 7.0;
        let knobs = [
            ("stage1", BIG, 1.5, palette.stage1, Some(removed_activity(self.amounts[0]))),
            ("stage2", BIG, 1.5, palette.stage2, Some(restored_activity(self.amounts[1]))),
            ("declick", SMALL, 1.0, palette.neutral, None),
            ("limit", SMALL, 1.0, palette.neutral, None),
            ("mix", SMALL, 1.0, palette.neutral, None),
            ("output", SMALL, 1.0, palette.neutral, None),
        ];
        for (id, radius, units, colour, activity) in knobs {
            let Some(control) = control(params, id) else { continue };
            let knob = Knob {
                id,
                control,
                radius,
                height: Knob::height(BIG),
                colour,
                activity,
                reading: None,
            };
            knob.show(&mut ui, desk, palette, unit * units);
        }
        let (column, _) = ui.allocate_exact_size(vec2(side, place.height()), egui::Sense::hover());
        let mut ui = ui.new_child(UiBuilder::new().max_rect(column).layout(Layout::top_down(Align::Min)));
        let width = side - 8.0;
        // Each with its share of the column's width.
        for ids in [
            &[("removed", 1.0)][..],
            &[("link", 0.485), ("speech", 0.515)],
            &[("declip", 0.496), ("dropouts", 0.504)],
        ] {
            ui.horizontal(|ui| {
                let gaps = ui.spacing().item_spacing.x * (ids.len() - 1) as f32;
                for (id, share) in ids {
                    let Some(known) = control(params, id) else { continue };
                    let colour = if *id == "removed" { palette.warning } else { palette.neutral };
                    switch(ui, desk, id, known, colour, vec2((width - gaps) * share, 22.0));
                }
            });
        }
        let on = OUTPUT_SECTION
            .iter()
            .filter_map(|id| Some((id, control(params, id)?)))
            .filter(|(id, control)| desk.value(id, *control) != control.default())
            .count();
        let name = if on > 0 {
            format!("Output section: {on} on")
        } else {
            "Output section".to_owned()
        };
        let fold = Button::selectable(*output_open, name)
            .frame_when_inactive(true)
            .min_size(vec2(width, 22.0));
        if ui
            .add(fold)
            .on_hover_text("Low-cut, hum notch, tilt and compressor for the restored signal. Off by default.")
            .clicked()
        {
            *output_open = !*output_open;
        }
        readings(&mut ui, palette, &self.analysis);
    }
}

impl NiceEguiApp for Panel {
    fn build(&mut self, context: Context, gui: GuiContext, frame: &mut Frame) -> Result<(), HandlerError> {
        self.prepare(&context);
        let window = Palette::of(self.settings.theme()).window;
        frame.set_clear_color(Rgba::from(window));
        self.gui = Some(gui);
        // Hosts ask for the size in pixels before it changes for the first time.
        self.instance.size().set_scale_factor(frame.baseview_window().scale_factor());
        Ok(())
    }

    fn ui(&mut self, ui: &mut Ui, _frame: &mut Frame) {
        let Some(gui) = self.gui.clone() else { return };
        if self.instance.hidden.load(Relaxed) {
            // Nothing is drawn, read or planned: the host asks for a picture when it shows the window again.
            return;
        }
        resize_corner(ui);
        self.draw(ui, gui.param_setter());
    }

    fn resized(&mut self, size: WindowSize) {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the size of a window, in pixels"
        )]
        let logical = [size.logical.width.round() as u32, size.logical.height.round() as u32];
        self.instance.size().set(logical);
        self.instance.size().set_scale_factor(size.scale_factor);
    }
}

/// Contents from left to right in a place of their own.
fn row(ui: &mut Ui, place: Rect, contents: impl FnOnce(&mut Ui)) {
    let mut ui = ui.new_child(UiBuilder::new().max_rect(place).layout(Layout::left_to_right(Align::Center)));
    contents(&mut ui);
}

/// A corner that resizes the window, for hosts that draw none. `nice_plug_egui`'s `ResizableWindow` wraps a margin around all contents.
fn resize_corner(ui: &mut Ui) {
    let all = ui.max_rect();
    let corner = Rect::from_min_max(all.max - vec2(14.0, 14.0), all.max);
    let response = ui.interact(corner, egui::Id::unique("resize"), egui::Sense::drag());
    if response.drag_started() {
        ui.data_mut(|data| data.insert_temp(response.id, all.size()));
    }
    if let (Some(start), Some(delta)) = (
        ui.data(|data| data.get_temp::<egui::Vec2>(response.id)),
        response.total_drag_delta(),
    ) {
        let [width, height] = PanelSize::LEAST;
        let size = (start + delta).max(vec2(width as f32, height as f32));
        ui.send_viewport_cmd(egui::ViewportCommand::InnerSize(size));
    }
    if response.drag_stopped() {
        ui.data_mut(|data| data.remove::<egui::Vec2>(response.id));
    }
    paint_resize_corner(ui, &response);
    let _ = response.on_hover_cursor(egui::CursorIcon::ResizeNwSe);
}

/// What the compressor takes from what is loud, in dB: 0 or less. Its make-up, which what is quiet gets too, is left out.
fn compressor_reduction_db(status: &Status, params: &DualstepParams) -> f32 {
    let amount = f64::from(params.comp.value() / 100.0);
    let makeup_db = static_gain_db(f64::NEG_INFINITY, amount);
    #[expect(clippy::cast_possible_truncation, reason = "some decibels, for display")]
    let makeup_db = makeup_db as f32;
    (status.compressor_db() - makeup_db).min(0.0)
}

/// A change of at most 0 dB, to a tenth; never "-0.0".
fn loss_text(change_db: f32) -> String {
    format!("{:.1} dB", (10.0 * change_db.min(0.0)).round() / 10.0 + 0.0)
}

/// What stage 1 removes; the ring is full at 30 dB.
fn removed_activity(removed_db: f32) -> Activity {
    Activity {
        text: [loss_text(-removed_db), "removed".to_owned()],
        share: removed_db / 30.0,
    }
}

/// The size of stage 2's change; the ring is empty at -60 dB and full at 0 dB.
fn restored_activity(restored_db: f32) -> Activity {
    let text = if restored_db > -90.0 {
        format!("{restored_db:.0} dB")
    } else {
        "nothing".to_owned()
    };
    Activity {
        text: [text, "restored".to_owned()],
        share: (restored_db / 60.0 + 1.0).max(0.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_are_never_minus_nothing() {
        for (change_db, text) in [
            (-0.04, "0.0 dB"),
            (0.0, "0.0 dB"),
            (-0.0, "0.0 dB"),
            (1.0, "0.0 dB"),
            (-9.38, "-9.4 dB"),
        ] {
            assert_eq!(loss_text(change_db), text);
        }
    }
}
