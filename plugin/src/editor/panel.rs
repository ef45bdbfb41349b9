//! What the window shows.

use super::widgets::{slider, switch};
use crate::DualstepParams;
use dualstep_engine::link::{Status, WorkerState};
use egui::{Color32, Context, Grid, ProgressBar, RichText, ScrollArea, Ui};
use nice_plug::context::gui::GuiContext;
use nice_plug::prelude::ParamSetter;
use nice_plug_egui::baseview::{HandlerError, WindowSize};
use nice_plug_egui::resizable_window::ResizableWindow;
use nice_plug_egui::{Frame, NiceEguiApp};
use std::sync::Arc;
use std::time::Duration;

/// Time between two looks at the meters.
const REFRESH: Duration = Duration::from_millis(33);
/// Lowest level of the peak meters, in dBFS.
const METER_FLOOR_DB: f32 = -60.0;
/// Colour of what needs the user's attention.
const WARNING: Color32 = Color32::from_rgb(224, 108, 58);

/// All controls, the latency and the meters of one instance.
pub struct Panel {
    title: &'static str,
    params: Arc<DualstepParams>,
    status: Arc<Status>,
    /// While the window is open.
    gui: Option<GuiContext>,
}

impl Panel {
    pub(crate) fn new(title: &'static str, params: Arc<DualstepParams>, status: Arc<Status>) -> Self {
        Self {
            title,
            params,
            status,
            gui: None,
        }
    }

    /// Draws the panel.
    pub fn draw(&self, ui: &mut Ui, setter: &ParamSetter<'_>) {
        let params = &self.params;
        ui.heading(self.title);
        self.draw_state(ui);
        ui.separator();
        Grid::new("parameters").num_columns(2).spacing([12.0, 8.0]).show(ui, |ui| {
            slider(ui, &params.declick, setter);
            slider(ui, &params.stage1, setter);
            slider(ui, &params.stage2, setter);
            slider(ui, &params.limit, setter);
            slider(ui, &params.mix, setter);
            slider(ui, &params.output, setter);
        });
        ui.horizontal_wrapped(|ui| {
            switch(ui, &params.removed, setter);
            switch(ui, &params.link, setter);
            switch(ui, &params.bypass, setter);
        });
        ui.separator();
        self.draw_meters(ui);
    }

    fn draw_state(&self, ui: &mut Ui) {
        let status = &self.status;
        ui.label(latency_text(status.latency(), status.sample_rate_hz()));
        let dropouts = status.dropouts();
        let text = RichText::new(format!("Dropouts: {dropouts}"));
        ui.label(if dropouts > 0 { text.color(WARNING) } else { text });
        let state = match status.state() {
            WorkerState::Off => "Not active".to_owned(),
            WorkerState::Running => format!("Restoring, {:.0} % of a core", status.load() * 100.0),
            WorkerState::Resting => "Resting: silence or bypass".to_owned(),
            WorkerState::PassThrough => "Passing through".to_owned(),
            WorkerState::Failed => "Stopped".to_owned(),
        };
        ui.label(state);
        let reason = status.reason();
        if !reason.is_empty() {
            ui.label(RichText::new(reason).color(WARNING));
        }
    }

    fn draw_meters(&self, ui: &mut Ui) {
        let status = &self.status;
        Grid::new("meters").num_columns(2).spacing([12.0, 4.0]).show(ui, |ui| {
            for (name, peaks) in [("Input", status.input_peak()), ("Output", status.output_peak())] {
                ui.label(name);
                ui.vertical(|ui| peaks.map(|peak| peak_meter(ui, peak)));
                ui.end_row();
            }
            ui.label("Removed");
            ui.label(format!("{:.1} dB", status.removed_db()));
            ui.end_row();
            ui.label("Restored");
            ui.label(format!("{:.1} dB", status.restored_db()));
            ui.end_row();
            ui.label("Clicks repaired");
            ui.label(status.clicks().to_string());
            ui.end_row();
        });
    }
}

impl NiceEguiApp for Panel {
    fn build(&mut self, _context: Context, gui: GuiContext, _frame: &mut Frame) -> Result<(), HandlerError> {
        self.gui = Some(gui);
        Ok(())
    }

    fn ui(&mut self, ui: &mut Ui, _frame: &mut Frame) {
        ui.ctx().request_repaint_after(REFRESH);
        let Some(gui) = &self.gui else { return };
        let setter = gui.param_setter();
        let [width, height] = super::PanelSize::LEAST;
        ResizableWindow::new("panel")
            .min_size(egui::vec2(width as f32, height as f32))
            .show(ui, |ui| {
                ScrollArea::vertical().auto_shrink([false, false]).show(ui, |ui| {
                    egui::Frame::new().inner_margin(12.0).show(ui, |ui| self.draw(ui, &setter));
                });
            });
    }

    fn resized(&mut self, size: WindowSize) {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the size of a window, in pixels"
        )]
        let logical = [size.logical.width.round() as u32, size.logical.height.round() as u32];
        self.params.panel.set(logical);
        self.params.panel.set_scale_factor(size.scale_factor);
    }

    fn editor_closed(&mut self) {
        self.gui = None;
    }
}

fn latency_text(latency: u32, sample_rate_hz: f64) -> String {
    if sample_rate_hz > 0.0 {
        let latency_ms = f64::from(latency) * 1000.0 / sample_rate_hz;
        format!(
            "Latency: {latency_ms:.1} ms ({latency} samples at {:.1} kHz)",
            sample_rate_hz / 1000.0
        )
    } else {
        "Latency: known when the host has activated the plugin".to_owned()
    }
}

fn peak_meter(ui: &mut Ui, peak: f32) {
    let level_db = 20.0 * peak.max(1e-6).log10();
    let text = if peak > 0.0 {
        format!("{level_db:.1} dB")
    } else {
        "silent".to_owned()
    };
    ui.add(ProgressBar::new(1.0 - (level_db / METER_FLOOR_DB).clamp(0.0, 1.0)).text(text));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latency_is_told_in_both_units() {
        assert_eq!(latency_text(4320, 48_000.0), "Latency: 90.0 ms (4320 samples at 48.0 kHz)");
        assert!(!latency_text(0, 0.0).contains("NaN"));
    }
}
