//! Controls for parameters.
//!
//! `nice_plug_egui`'s slider ends a gesture only when a drag does: a plain click begins one that never ends, and hosts go on recording. These end it
//! with the press.

use egui::{Checkbox, DragValue, Id, PointerButton, Response, Slider, Ui};
use nice_plug::prelude::{BoolParam, FloatParam, Param, ParamSetter};

/// A labelled slider with a value that can be typed. Double click or Ctrl+click on the slider resets.
pub(super) fn slider(ui: &mut Ui, param: &FloatParam, setter: &ParamSetter<'_>) {
    ui.label(param.name());
    let mut value = f64::from(param.unmodulated_normalized_value());
    // The grid's last column: what the number leaves.
    let number_width = 76.0;
    ui.horizontal(|ui| {
        ui.spacing_mut().slider_width = (ui.available_width() - number_width - ui.spacing().item_spacing.x).max(60.0);
        let response = ui.add(Slider::new(&mut value, 0.0..=1.0).show_value(false));
        let reset = response.hovered()
            && ui.input(|input| {
                input.pointer.button_double_clicked(PointerButton::Primary) || (input.modifiers.command && input.pointer.primary_pressed())
            });
        if reset {
            value = f64::from(param.default_normalized_value());
        }
        write(
            ui,
            param,
            setter,
            &response,
            reset.then_some(value).or(response.changed().then_some(value)),
        );

        let mut typed = f64::from(param.unmodulated_normalized_value());
        let response = ui.add_sized(
            [number_width, ui.spacing().interact_size.y],
            DragValue::new(&mut typed)
                .range(0.0..=1.0)
                .speed(0.002)
                .update_while_editing(false)
                .custom_formatter(|value, _| param.normalized_value_to_string(to_f32(value), true))
                .custom_parser(|text| param.string_to_normalized_value(text).map(f64::from)),
        );
        write(ui, param, setter, &response, response.changed().then_some(typed));
    });
    ui.end_row();
}

/// A check box with the parameter's name.
pub(super) fn switch(ui: &mut Ui, param: &BoolParam, setter: &ParamSetter<'_>) {
    let mut on = param.value();
    if ui.add(Checkbox::new(&mut on, param.name())).changed() {
        setter.begin_set_parameter(param);
        setter.set_parameter(param, on);
        setter.end_set_parameter(param);
    }
}

/// Sets the parameter inside a gesture that lasts as long as the pointer is held down.
fn write(ui: &Ui, param: &FloatParam, setter: &ParamSetter<'_>, response: &Response, value: Option<f64>) {
    let id: Id = response.id.with("gesture");
    let mut open = ui.data(|data| data.get_temp::<bool>(id)).unwrap_or(false);
    if let Some(value) = value {
        if !open {
            setter.begin_set_parameter(param);
            open = true;
        }
        setter.set_parameter_normalized(param, to_f32(value));
    }
    if open && !response.is_pointer_button_down_on() && !response.dragged() {
        setter.end_set_parameter(param);
        open = false;
    }
    ui.data_mut(|data| data.insert_temp(id, open));
}

fn to_f32(value: f64) -> f32 {
    #[expect(clippy::cast_possible_truncation, reason = "a normalized value")]
    let value = value as f32;
    value
}
