//! Parameters as the panel's controls see them, and the one way to change them.

use super::history::{Change, History};
use crate::DualstepParams;
use nice_plug::prelude::{Param, ParamSetter};
use std::time::Instant;

/// A parameter of any type. Values are normalized, 0..=1.
pub(super) trait Control {
    /// Name, for the user.
    fn name(&self) -> &str;
    /// Value in force, without the host's modulation.
    fn value(&self) -> f32;
    /// Value of a new instance.
    fn default(&self) -> f32;
    /// Steps between the ends; none if it is continuous.
    fn steps(&self) -> Option<usize>;
    /// What the panel and presets say for a value, with its unit.
    fn text(&self, value: f32) -> String;
    /// The value of a text, if it is one.
    fn parse(&self, text: &str) -> Option<f32>;
    /// Tells the host that the user takes hold of it.
    fn begin(&self, setter: &ParamSetter<'_>);
    /// Changes it. Only between `begin` and `end`.
    fn set(&self, setter: &ParamSetter<'_>, value: f32);
    /// Tells the host that the user lets go.
    fn end(&self, setter: &ParamSetter<'_>);
}

impl<P: Param> Control for P {
    fn name(&self) -> &str {
        Param::name(self)
    }

    fn value(&self) -> f32 {
        self.unmodulated_normalized_value()
    }

    fn default(&self) -> f32 {
        self.default_normalized_value()
    }

    fn steps(&self) -> Option<usize> {
        self.step_count()
    }

    fn text(&self, value: f32) -> String {
        self.normalized_value_to_string(value, true)
    }

    fn parse(&self, text: &str) -> Option<f32> {
        self.string_to_normalized_value(text)
    }

    fn begin(&self, setter: &ParamSetter<'_>) {
        setter.begin_set_parameter(self);
    }

    fn set(&self, setter: &ParamSetter<'_>, value: f32) {
        setter.set_parameter_normalized(self, value);
    }

    fn end(&self, setter: &ParamSetter<'_>) {
        setter.end_set_parameter(self);
    }
}

/// All parameters with their ids, in the host's order.
pub(super) fn controls(params: &DualstepParams) -> Vec<(&'static str, &dyn Control)> {
    vec![
        ("declick", &params.declick),
        ("stage1", &params.stage1),
        ("stage2", &params.stage2),
        ("limit", &params.limit),
        ("mix", &params.mix),
        ("output", &params.output),
        ("removed", &params.removed),
        ("link", &params.link),
        ("bypass", &params.bypass),
        ("low_cut", &params.low_cut),
        ("hum", &params.hum),
        ("tilt", &params.tilt),
        ("comp", &params.comp),
        ("declip", &params.declip),
        ("speech", &params.speech),
    ]
}

/// The parameter `id`.
pub(super) fn control<'a>(params: &'a DualstepParams, id: &str) -> Option<&'a dyn Control> {
    controls(params)
        .into_iter()
        .find(|(known, _)| *known == id)
        .map(|(_, control)| control)
}

/// Parameters that say how one listens: presets and A/B leave them alone.
pub(super) const LISTENING: [&str; 2] = ["removed", "bypass"];

/// Parameters of the output section.
pub(super) const OUTPUT_SECTION: [&str; 4] = ["low_cut", "hum", "tilt", "comp"];

/// What a parameter does, in plain words.
pub(super) fn hint(id: &str) -> &'static str {
    match id {
        "declick" => "Finds single clicks and scratches and redraws the few samples they hide. Higher finds fainter ones; 0 is off.",
        "declip" => "Redraws peaks that were cut off flat. They get higher than they were: leave some room above them.",
        "stage1" => "Takes away noise: hiss, crackle, hum, thumps. The number in the knob is what it takes off right now.",
        "stage2" => {
            "Gives back detail that wear, noise and their removal took. The number in the knob is the size of its change against the signal right now."
        }
        "limit" => "Nothing gets quieter than this, so that a natural bed of noise stays. \"none\" removes all it can.",
        "mix" => "0 % is the recording as it was, 100 % fully restored. Both are in time with each other.",
        "output" => "Loudness after everything else.",
        "removed" => "Hear only what is taken away. If there is music in it, turn Noise reduction down.",
        "link" => "Both channels are restored alike, so that the stereo image stays where it is. Turn it off for two unrelated channels.",
        "speech" => {
            "For recordings of speech alone: whatever isn't a voice is noise, so more of it goes. Leave it off for music and singing."
        }
        "bypass" => "Hear the recording as it was, still in time with the rest of the session.",
        "low_cut" => "Takes away rumble below this frequency.",
        "hum" => "Cuts mains hum and its harmonics: 50 Hz (most of the world), 60 Hz (the Americas), or found by listening.",
        "tilt" => "Turns the sound around its middle: up is brighter, down is warmer.",
        "comp" => "Gently evens out loud and quiet, and makes up for the level.",
        _ => "",
    }
}

/// Where controls write to: the host and the history.
pub(super) struct Desk<'a> {
    setter: ParamSetter<'a>,
    history: &'a mut History,
}

impl<'a> Desk<'a> {
    /// `setter` is the host's.
    pub(super) fn new(setter: ParamSetter<'a>, history: &'a mut History) -> Self {
        Self { setter, history }
    }

    /// The user takes hold of a control.
    pub(super) fn begin(&mut self, id: &'static str, control: &dyn Control) {
        self.history.hold(id, control.value());
        control.begin(&self.setter);
    }

    /// The user moves it.
    pub(super) fn set(&mut self, id: &'static str, control: &dyn Control, value: f32) {
        let value = value.clamp(0.0, 1.0);
        control.set(&self.setter, value);
        self.history.moved(id, value);
    }

    /// The user lets go.
    pub(super) fn end(&mut self, id: &'static str, control: &dyn Control) {
        control.end(&self.setter);
        self.history.release(id);
    }

    /// One step, begin to end: a click, a key, a notch of the wheel.
    pub(super) fn change(&mut self, id: &'static str, control: &dyn Control, value: f32) {
        self.begin(id, control);
        self.set(id, control, value);
        self.end(id, control);
    }

    /// Many parameters in one step of undo. `values`: ids and normalized values; what is there already isn't touched.
    pub(super) fn change_all(&mut self, params: &DualstepParams, values: &[(&'static str, f32)]) {
        let changes = self.apply(params, values);
        self.history.record(changes, Instant::now());
    }

    /// Like [`Desk::change_all`], but not a step of undo.
    pub(super) fn apply(&mut self, params: &DualstepParams, values: &[(&'static str, f32)]) -> Vec<Change> {
        let mut changes = Vec::new();
        for (id, value) in values {
            let Some(control) = control(params, id) else { continue };
            let before = control.value();
            if before != *value {
                control.begin(&self.setter);
                control.set(&self.setter, *value);
                control.end(&self.setter);
                changes.push(Change { id, before, after: *value });
            }
        }
        changes
    }

    /// Takes back the last change.
    pub(super) fn undo(&mut self, params: &DualstepParams) {
        let values: Vec<_> = self.history.undo().iter().map(|change| (change.id, change.before)).collect();
        self.apply(params, &values);
    }

    /// Does again what was taken back.
    pub(super) fn redo(&mut self, params: &DualstepParams) {
        let values: Vec<_> = self.history.redo().iter().map(|change| (change.id, change.after)).collect();
        self.apply(params, &values);
    }

    /// Goes to the other side of the A/B comparison, which remembers what it was left with.
    pub(super) fn swap(&mut self, params: &DualstepParams) {
        let values = self.history.swap(sound(params));
        self.apply(params, &values);
    }

    /// What undo and A/B know.
    pub(super) fn history(&mut self) -> &mut History {
        self.history
    }
}

/// Values in force of all parameters that make the sound.
pub(super) fn sound(params: &DualstepParams) -> Vec<(&'static str, f32)> {
    controls(params)
        .into_iter()
        .filter(|(id, _)| !LISTENING.contains(id))
        .map(|(id, control)| (id, control.value()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use nice_plug::prelude::Params;

    #[test]
    fn every_parameter_has_a_control_and_a_hint() {
        let params = DualstepParams::default();
        let known: Vec<String> = params.param_map().into_iter().map(|(id, ..)| id).collect();
        let shown: Vec<&str> = controls(&params).iter().map(|(id, _)| *id).collect();
        assert_eq!(shown, known, "controls() lists the parameters in the host's order");
        for id in shown {
            assert!(!hint(id).is_empty(), "{id} has no hint");
        }
    }
}
