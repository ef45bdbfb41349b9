//! Buttons for parameters that are on or off.

use super::control::{Control, Desk, hint};
use egui::{Button, Color32, Response, RichText, Ui, Vec2};

/// A button that stays down while the parameter is on, then in `colour`.
pub(super) fn switch(ui: &mut Ui, desk: &mut Desk<'_>, id: &'static str, control: &dyn Control, colour: Color32, size: Vec2) -> Response {
    let on = desk.value(id, control) >= 0.5;
    let mut text = RichText::new(control.name());
    if on {
        text = text.color(readable_on(colour)).strong();
    }
    let mut button = Button::selectable(on, text).frame_when_inactive(true).min_size(size);
    if on {
        button = button.fill(colour);
    }
    let response = ui.add(button);
    if response.clicked() {
        desk.change(id, control, if on { 0.0 } else { 1.0 });
    }
    response.on_hover_text(hint(id))
}

/// Black or white, whichever stands out.
fn readable_on(colour: Color32) -> Color32 {
    if colour.intensity() > 0.5 { Color32::BLACK } else { Color32::WHITE }
}
