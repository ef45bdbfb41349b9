//! Level meters with clip lights, and readings in numbers.

use super::analysis::{Analysis, Level};
use super::theme::Palette;
use egui::{Align2, CursorIcon, FontId, Id, Rect, Sense, Stroke, Ui, WidgetInfo, pos2, vec2};

/// Ends of the scale in dBFS.
const RANGE_DB: [f32; 2] = [-60.0, 6.0];
/// Height of the text above and the clip light.
const LINE: f32 = 18.0;

/// Linear magnitude to dBFS.
pub(super) fn to_db(magnitude: f32) -> f32 {
    20.0 * magnitude.max(1e-6).log10()
}

/// The meter of one signal, a bar per channel, with a clip light that a click puts out.
pub(super) fn meter(ui: &mut Ui, palette: &Palette, place: Rect, name: &str, levels: &mut [Level; 2], channels: usize) {
    let painter = ui.painter_at(place);
    painter.text(
        pos2(place.center().x, place.top() + LINE / 2.0),
        Align2::CENTER_CENTER,
        name,
        FontId::proportional(12.0),
        palette.faint,
    );
    let light = Rect::from_min_size(pos2(place.left(), place.top() + LINE), vec2(place.width(), LINE)).shrink2(vec2(2.0, 1.0));
    let most = levels.iter().fold(0.0f32, |most, level| most.max(level.most));
    let clipped = most >= 1.0;
    let response = ui.interact(light, Id::unique(("clip", name)), Sense::click());
    response.widget_info(|| WidgetInfo::selected(egui::Role::Button, true, clipped, format!("{name} clip light")));
    if clipped {
        painter.rect_filled(light, 3.0, palette.warning);
    }
    painter.rect_stroke(
        light,
        3.0,
        Stroke::new(if response.has_focus() { 2.0 } else { 1.0 }, palette.line),
        egui::StrokeKind::Inside,
    );
    let text = if most > 0.0 {
        format!("{:.1}", to_db(most))
    } else {
        "-".to_owned()
    };
    let colour = if clipped { palette.window } else { palette.text };
    painter.text(light.center(), Align2::CENTER_CENTER, text, FontId::proportional(11.0), colour);
    if response
        .on_hover_cursor(CursorIcon::PointingHand)
        .on_hover_text("Highest peak in dBFS. It lights up at 0 dBFS, where a converter clips. Click to start anew.")
        .clicked()
    {
        levels.iter_mut().for_each(|level| level.most = 0.0);
    }
    let bars = Rect::from_min_max(pos2(place.left() + 2.0, light.bottom() + 4.0), place.max - vec2(2.0, 2.0));
    let response = ui.interact(bars, Id::unique(("meter", name)), Sense::hover());
    response.widget_info(|| WidgetInfo::labeled(egui::Role::ProgressIndicator, true, format!("{name} level")));
    let gap = 2.0;
    let channels = channels.clamp(1, 2);
    let width = (bars.width() - gap * (channels - 1) as f32) / channels as f32;
    let y = |db: f32| bars.bottom() - ((db - RANGE_DB[0]) / (RANGE_DB[1] - RANGE_DB[0])).clamp(0.0, 1.0) * bars.height();
    for (channel, level) in levels.iter().take(channels).enumerate() {
        let left = bars.left() + channel as f32 * (width + gap);
        let bar = Rect::from_min_max(pos2(left, bars.top()), pos2(left + width, bars.bottom()));
        painter.rect_filled(bar, 1.0, palette.track);
        let filled = |db: f32| Rect::from_min_max(pos2(left, y(db)), bar.max);
        painter.rect_filled(filled(to_db(level.peak)), 1.0, palette.neutral.gamma_multiply(0.5));
        painter.rect_filled(filled(to_db(level.rms())), 1.0, palette.neutral);
        if level.peak >= 1.0 {
            painter.rect_filled(Rect::from_min_max(bar.min, pos2(bar.right(), y(0.0))), 1.0, palette.warning);
        }
    }
    for db in [0.0, -20.0, -40.0] {
        painter.line_segment(
            [pos2(bars.left(), y(db)), pos2(bars.right(), y(db))],
            Stroke::new(1.0, palette.window),
        );
    }
    let [left, right] = [&levels[0], &levels[1]];
    response.on_hover_text(format!(
        "{name}: peak {:.1} dBFS, RMS {:.1} dBFS. Bright: RMS, pale: peak. Lines at 0, -20 and -40 dBFS.",
        to_db(left.peak.max(right.peak)),
        to_db(left.rms().max(right.rms()))
    ));
}

/// Clicks per second and noise floors.
pub(super) fn readings(ui: &mut Ui, palette: &Palette, analysis: &Analysis) {
    let row = |ui: &mut Ui, name: &str, value: &str, hint: &str| {
        ui.horizontal(|ui| {
            ui.label(egui::RichText::new(name).small().color(palette.faint));
            ui.label(egui::RichText::new(value).size(13.0));
        })
        .response
        .on_hover_text(hint);
    };
    row(
        ui,
        "Clicks",
        &format!("{} per second", analysis.clicks_per_second()),
        "Clicks that Click repair redrew in the last second, in all channels.",
    );
    let floor = analysis.floor_db().map_or_else(
        || "listening".to_owned(),
        |[before, after]| format!("{before:.0} to {after:.0} dBFS"),
    );
    row(
        ui,
        "Noise floor",
        &floor,
        "Level of the quietest tenth of the last 10 seconds, before and after the restoration (without mix and output gain).",
    );
}
