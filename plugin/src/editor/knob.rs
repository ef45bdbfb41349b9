//! Knob with a value that can be typed.

use super::control::{Control, Desk, hint};
use super::theme::Palette;
use egui::text::{CCursor, CCursorRange};
use egui::{
    Align, Align2, Color32, CursorIcon, Event, EventFilter, FontId, Id, Key, Label, Layout, Modifiers, MouseWheelUnit, PointerButton, Pos2,
    Rect, Response, RichText, Sense, Shape, Stroke, TextEdit, Ui, UiBuilder, Vec2, WidgetInfo, pos2, vec2,
};

/// Pointer travel from one end to the other, in points.
const TRAVEL: f32 = 220.0;
/// Part of a movement that is left with shift.
const FINE: f32 = 0.1;
/// Part of the range that an arrow key or a notch of the wheel moves.
const STEP: f32 = 0.01;
/// Part of the range that page up and down move.
const PAGE: f32 = 0.1;
/// Points that a smooth wheel reports for what is one notch of another.
const POINTS_PER_NOTCH: f32 = 40.0;
/// The knob's ends, clockwise from the right: 7:30 and 4:30 on a clock.
const ANGLES: [f32; 2] = [0.75 * std::f32::consts::PI, 2.25 * std::f32::consts::PI];
/// Height of the lines of text above and below.
const LINE: f32 = 20.0;

/// What a knob shows in its centre: what it does right now.
pub(super) struct Activity {
    /// One or two short lines.
    pub(super) text: [String; 2],
    /// How much, 0..=1.
    pub(super) share: f32,
}

/// A knob for one parameter.
pub(super) struct Knob<'a> {
    pub(super) id: &'static str,
    pub(super) control: &'a dyn Control,
    /// Radius of the dial, in points.
    pub(super) radius: f32,
    /// Height of all, in points: at least [`Knob::height`]. Knobs of the same height have their texts on the same lines.
    pub(super) height: f32,
    pub(super) colour: Color32,
    pub(super) activity: Option<Activity>,
    /// Shown beside the dial: what was found, what is done right now.
    pub(super) reading: Option<String>,
}

/// What is typed into a knob's number.
#[derive(Clone, Default)]
struct Entry {
    text: String,
    /// Whether the text is the user's: what stood there is rounded, and isn't sent.
    typed: bool,
    /// Why it wasn't taken.
    refused: bool,
    /// Whether it was shown before: on the first frame it takes the focus.
    shown: bool,
}

impl Knob<'_> {
    /// Height of a knob of `radius`.
    pub(super) const fn height(radius: f32) -> f32 {
        2.0 * radius + 2.0 * LINE + 8.0
    }

    /// Draws the knob, `width` wide, and lets the user turn it.
    pub(super) fn show(&self, ui: &mut Ui, desk: &mut Desk<'_>, palette: &Palette, width: f32) -> Response {
        let (all, _) = ui.allocate_exact_size(vec2(width, self.height), Sense::hover());
        let centre = all.center();
        let dial = Rect::from_center_size(centre, Vec2::splat(2.0 * self.radius));
        let response = ui.interact(dial, Id::unique(("knob", self.id)), Sense::click_and_drag());
        self.turn(ui, desk, &response);

        let value = desk.value(self.id, self.control);
        let text = self.control.text(value);
        response.widget_info(|| WidgetInfo::slider(true, f64::from(value), self.control.name()));
        self.paint(ui, palette, &response, value);
        ui.painter().text(
            pos2(all.center().x, all.top() + LINE / 2.0),
            Align2::CENTER_CENTER,
            self.control.name(),
            FontId::proportional(14.0),
            palette.text,
        );
        let number = Rect::from_center_size(pos2(all.center().x, all.bottom() - LINE / 2.0), vec2(width.min(92.0), LINE));
        self.number(ui, desk, palette, number, &text);
        if let Some(reading) = &self.reading {
            let place = Rect::from_min_max(pos2(dial.right() + 8.0, dial.top()), pos2(all.right(), dial.bottom()));
            let layout = Layout::left_to_right(Align::Center);
            let mut beside = ui.new_child(UiBuilder::new().max_rect(place).layout(layout));
            beside.add(Label::new(RichText::new(reading).small().color(palette.text)).selectable(false));
        }
        response.on_hover_cursor(CursorIcon::ResizeVertical).on_hover_ui(|ui| {
            ui.set_max_width(300.0);
            ui.label(hint(self.id));
            ui.small("Drag up or down, with shift for fine steps. Double click: default. Click the number to type.");
        })
    }

    /// Pointer, wheel and keys. The panel ends what a drag begins: a drag may end in other ways than here.
    fn turn(&self, ui: &mut Ui, desk: &mut Desk<'_>, response: &Response) {
        let (id, control) = (self.id, self.control);
        let fine = if ui.input(|input| input.modifiers.shift) { FINE } else { 1.0 };
        let step = control.steps().map(|steps| 1.0 / steps.max(1) as f32);
        if response.drag_started_by(PointerButton::Primary) {
            desk.begin(id, control);
            ui.data_mut(|data| data.insert_temp(response.id, desk.value(id, control)));
        }
        if response.dragged_by(PointerButton::Primary) && desk.held(id).is_some() {
            let delta = response.drag_delta();
            // Where the pointer is, between two steps too.
            let position = ui.data_mut(|data| {
                let position = data.get_temp_mut_or_default::<f32>(response.id);
                *position = (*position + fine * (delta.x - delta.y) / TRAVEL).clamp(0.0, 1.0);
                *position
            });
            desk.set(id, control, position);
        }
        if response.double_clicked() {
            desk.change(id, control, control.default());
        }
        if response.hovered() && !response.dragged() {
            let notches = ui.input(wheel);
            if notches != 0.0 {
                let moved = step.map_or(fine * STEP * notches, |step| {
                    step * whole_notches(ui, response.id.with("wheel"), notches)
                });
                desk.change(id, control, desk.value(id, control) + moved);
            }
        }
        if response.has_focus() {
            ui.memory_mut(|memory| {
                let filter = EventFilter {
                    vertical_arrows: true,
                    horizontal_arrows: true,
                    ..EventFilter::default()
                };
                memory.set_focus_lock_filter(response.id, filter);
            });
            if let Some(value) = self.key(ui, desk.value(id, control), step.unwrap_or(fine * STEP)) {
                desk.change(id, control, value);
            }
        }
    }

    /// What a key asks for.
    fn key(&self, ui: &mut Ui, value: f32, step: f32) -> Option<f32> {
        let control = self.control;
        let pressed = |key: Key| ui.input_mut(|input| input.consume_key(Modifiers::NONE, key) || input.consume_key(Modifiers::SHIFT, key));
        if pressed(Key::ArrowUp) || pressed(Key::ArrowRight) {
            Some(value + step)
        } else if pressed(Key::ArrowDown) || pressed(Key::ArrowLeft) {
            Some(value - step)
        } else if pressed(Key::PageUp) {
            Some(value + PAGE.max(step))
        } else if pressed(Key::PageDown) {
            Some(value - PAGE.max(step))
        } else if pressed(Key::Home) {
            Some(0.0)
        } else if pressed(Key::End) {
            Some(1.0)
        } else if pressed(Key::Delete) || pressed(Key::Backspace) {
            Some(control.default())
        } else {
            let typed = ui.input(|input| {
                input.events.iter().find_map(|event| match event {
                    Event::Text(text) if text.starts_with(|c: char| c.is_ascii_digit() || "+-.,".contains(c)) => Some(text.clone()),
                    _ => None,
                })
            });
            if let Some(text) = typed {
                self.edit(ui, text, true);
            } else if pressed(Key::Enter) {
                self.edit(ui, control.text(value), false);
            }
            None
        }
    }

    fn entry_id(&self) -> Id {
        Id::unique(("number", self.id))
    }

    fn edit(&self, ui: &Ui, text: String, typed: bool) {
        let entry = Entry {
            text,
            typed,
            ..Entry::default()
        };
        ui.data_mut(|data| data.insert_temp(self.entry_id(), entry));
    }

    /// The number, or the field to type it into.
    fn number(&self, ui: &mut Ui, desk: &mut Desk<'_>, palette: &Palette, place: Rect, text: &str) {
        let id = self.entry_id();
        let label = format!("{} value", self.control.name());
        let Some(mut entry) = ui.data(|data| data.get_temp::<Entry>(id)) else {
            let response = ui.interact(place, id.with("label"), Sense::click());
            response.widget_info(|| WidgetInfo::labeled(egui::Role::Button, true, &label));
            let hot = response.hovered() || response.has_focus();
            if hot {
                ui.painter().rect_filled(place, 4.0, palette.track);
            }
            ui.painter().text(
                place.center(),
                Align2::CENTER_CENTER,
                text,
                FontId::proportional(14.0),
                if hot { palette.text } else { palette.faint },
            );
            if response.on_hover_cursor(CursorIcon::Text).clicked() {
                self.edit(ui, text.to_owned(), false);
            }
            return;
        };
        let mut child = ui.new_child(UiBuilder::new().max_rect(place));
        let colour = if entry.refused { palette.warning } else { palette.text };
        let output = TextEdit::singleline(&mut entry.text)
            .id(id)
            .desired_width(place.width())
            .align(Align2::CENTER_CENTER)
            .margin(vec2(2.0, 1.0))
            .text_color(colour)
            .show(&mut child);
        let response = output.response.response;
        if response.changed() {
            (entry.typed, entry.refused) = (true, false);
        }
        if !entry.shown {
            entry.shown = true;
            response.request_focus();
            let mut state = output.state;
            let all = CCursorRange::two(CCursor::new(0), CCursor::new(entry.text.chars().count()));
            // What a key began is gone on with; what stood there is replaced.
            let end = CCursorRange::one(CCursor::new(entry.text.chars().count()));
            state.cursor.set_char_range(Some(if entry.typed { end } else { all }));
            state.store(ui.ctx(), id);
        } else if response.lost_focus() {
            let (escape, enter) = ui.input(|input| (input.key_pressed(Key::Escape), input.key_pressed(Key::Enter)));
            match self.control.parse(&entry.text) {
                Some(value) if entry.typed && !escape => {
                    desk.change(self.id, self.control, value);
                    ui.data_mut(|data| data.remove::<Entry>(id));
                    return;
                }
                None if enter && !escape => {
                    entry.refused = true;
                    response.request_focus();
                }
                _ => {
                    ui.data_mut(|data| data.remove::<Entry>(id));
                    return;
                }
            }
        }
        if entry.refused {
            let example = self.control.text(self.control.default());
            response.show_tooltip_text(format!("\"{}\" can't be read. Try something like \"{example}\".", entry.text));
        }
        ui.data_mut(|data| data.insert_temp(id, entry));
    }

    fn paint(&self, ui: &Ui, palette: &Palette, response: &Response, value: f32) {
        let painter = ui.painter();
        let centre = response.rect.center();
        let thick = (self.radius * 0.14).max(4.0);
        let ring = self.radius - thick / 2.0;
        let angle = |share: f32| ANGLES[0] + share * (ANGLES[1] - ANGLES[0]);
        let hot = response.hovered() || response.dragged();
        painter.circle(
            centre,
            self.radius - thick - 3.0,
            if hot { palette.track } else { palette.window },
            Stroke::new(1.0, palette.line),
        );
        arc(ui, centre, ring, [angle(0.0), angle(1.0)], Stroke::new(thick, palette.track));
        if value > 0.0 {
            arc(ui, centre, ring, [angle(0.0), angle(value)], Stroke::new(thick, self.colour));
        }
        let direction = Vec2::angled(angle(value));
        let inner = if self.activity.is_some() { 0.72 } else { 0.35 };
        painter.line_segment(
            [
                centre + direction * self.radius * inner,
                centre + direction * (self.radius - thick - 2.0),
            ],
            Stroke::new(2.5, palette.text),
        );
        if let Some(activity) = &self.activity {
            let inside = self.radius - thick - 4.0;
            if activity.share > 0.0 {
                let colour = self.colour.gamma_multiply(0.6);
                arc(
                    ui,
                    centre,
                    inside,
                    [angle(0.0), angle(activity.share.min(1.0))],
                    Stroke::new(2.5, colour),
                );
            }
            let [first, second] = &activity.text;
            painter.text(
                centre - vec2(0.0, 6.0),
                Align2::CENTER_CENTER,
                first,
                FontId::proportional(16.0),
                palette.text,
            );
            painter.text(
                centre + vec2(0.0, 11.0),
                Align2::CENTER_CENTER,
                second,
                FontId::proportional(11.0),
                palette.faint,
            );
        }
        if response.has_focus() {
            painter.circle_stroke(centre, self.radius + 2.0, Stroke::new(2.0, palette.text));
        }
    }
}

/// Notches of the wheel in this frame, up being positive.
fn wheel(input: &egui::InputState) -> f32 {
    input
        .events
        .iter()
        .map(|event| match event {
            Event::MouseWheel { unit, delta, .. } => {
                // With shift, some systems turn the wheel's direction.
                let delta = delta.x + delta.y;
                match unit {
                    MouseWheelUnit::Point => delta / POINTS_PER_NOTCH,
                    MouseWheelUnit::Line | MouseWheelUnit::Page => delta,
                }
            }
            _ => 0.0,
        })
        .sum()
}

/// Notches for a control of steps: what isn't a whole one yet waits for the rest.
fn whole_notches(ui: &Ui, id: Id, notches: f32) -> f32 {
    ui.data_mut(|data| {
        let waiting = data.get_temp_mut_or_default::<f32>(id);
        *waiting += notches;
        let whole = waiting.trunc();
        *waiting -= whole;
        whole
    })
}

/// Part of a circle between two angles.
fn arc(ui: &Ui, centre: Pos2, radius: f32, [from, to]: [f32; 2], stroke: Stroke) {
    /// Angle between two points of the line: 3 degrees.
    const STEP: f32 = 0.05;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "at most a circle in steps of 3 degrees"
    )]
    let steps = ((to - from).abs() / STEP).ceil().max(1.0) as usize;
    let points = (0..=steps)
        .map(|step| centre + radius * Vec2::angled(from + (to - from) * step as f32 / steps as f32))
        .collect();
    ui.painter().add(Shape::line(points, stroke));
}
