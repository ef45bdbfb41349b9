//! The last line: what the plugin does, at which price, and why not if it doesn't.

use super::theme::Palette;
use dualstep_engine::link::{Status, WorkerState};
use egui::{RichText, Ui};

/// Draws the line. `playing`: whether the host processes audio. `forgotten`: misses that the user has seen and reset.
pub(super) fn status_line(ui: &mut Ui, palette: &Palette, status: &Status, playing: bool, weights: &str, forgotten: &mut u64) {
    let faint = |text: String| RichText::new(text).small().color(palette.faint);
    let loud = |text: String| RichText::new(text).small().strong().color(palette.warning);
    let (state, fine) = state_text(status.state(), playing);
    ui.label(if fine { faint(state.to_owned()) } else { loud(state.to_owned()) })
        .on_hover_text("What the plugin is doing.");
    let reason = status.reason();
    if !reason.is_empty() {
        ui.label(loud(reason));
    }
    ui.separator();
    ui.label(faint(latency_text(status.latency(), status.sample_rate_hz())))
        .on_hover_text("A host is told of it and makes up for it. It never changes.");
    ui.separator();
    let load = if playing { status.load() } else { 0.0 };
    ui.label(faint(format!("worker {:.0} % of a core", load * 100.0)))
        .on_hover_text("Time the restoration takes on its own thread.");
    ui.separator();
    let misses = status.misses().saturating_sub(*forgotten);
    let text = format!("late: {misses}");
    ui.label(if misses > 0 { loud(text) } else { faint(text) })
        .on_hover_text("Moments in which the restored sound wasn't ready in time: the original was faded in, nothing shifted.");
    if misses > 0 && ui.small_button("Reset").on_hover_text("Count late hops from here on.").clicked() {
        *forgotten = status.misses();
    }
    ui.separator();
    ui.label(faint(weights.to_owned()))
        .on_hover_text("The trained networks inside this plugin.");
}

/// The state in words, and whether it is a good one.
fn state_text(state: WorkerState, playing: bool) -> (&'static str, bool) {
    match state {
        WorkerState::Off => ("Not active", true),
        WorkerState::Running if !playing => ("Ready: nothing plays", true),
        WorkerState::Running => ("Restoring", true),
        WorkerState::Resting => ("Resting: silence or bypass", true),
        WorkerState::PassThrough => ("Passing through", false),
        WorkerState::Failed => ("Stopped", false),
    }
}

fn latency_text(latency: u32, sample_rate_hz: f64) -> String {
    if sample_rate_hz > 0.0 {
        let latency_ms = f64::from(latency) * 1000.0 / sample_rate_hz;
        format!(
            "latency {latency_ms:.1} ms, {latency} samples at {:.1} kHz",
            sample_rate_hz / 1000.0
        )
    } else {
        "latency: known once the host has activated the plugin".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latency_is_told_in_both_units() {
        assert_eq!(latency_text(4320, 48_000.0), "latency 90.0 ms, 4320 samples at 48.0 kHz");
        assert!(!latency_text(0, 0.0).contains("NaN"));
    }
}
