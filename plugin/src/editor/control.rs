//! Parameters as the panel's controls see them, and the one way to change them.

use super::history::{Change, History, Values};
use crate::DualstepParams;
use nice_plug::prelude::{Param, ParamSetter};
use std::time::{Duration, Instant};

/// A host that processes brings a value back within this time, or never.
const ANSWER: Duration = Duration::from_secs(1);

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
        ("dropouts", &params.dropouts),
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
        "dropouts" => "Gives back the level that a tape or a stylus loses for some milliseconds. Nothing else changes.",
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

/// Values that the host was asked for and that parameters don't have yet. A host brings them back when it processes, and some of them don't while the plugin
/// is bypassed: until then the user's value is the one to go on from.
#[derive(Debug, Default)]
pub(super) struct Asked(Vec<Request>);

#[derive(Debug)]
struct Request {
    id: &'static str,
    value: f32,
    /// What the parameter was.
    before: f32,
    at: Instant,
}

impl Asked {
    /// Forgets what was answered. `heard`: when audio was processed last.
    pub(super) fn settle(&mut self, params: &DualstepParams, heard: Option<Instant>) {
        self.0.retain(|request| {
            let unanswered = control(params, request.id).is_some_and(|control| control.value() == request.before);
            unanswered && heard.is_none_or(|heard| heard < request.at + ANSWER)
        });
    }
}

/// Where controls write to: the host and the history.
pub(super) struct Desk<'a> {
    setter: ParamSetter<'a>,
    history: &'a mut History,
    asked: &'a mut Asked,
}

impl<'a> Desk<'a> {
    /// `setter` is the host's.
    pub(super) fn new(setter: ParamSetter<'a>, history: &'a mut History, asked: &'a mut Asked) -> Self {
        Self { setter, history, asked }
    }

    /// The value that the user left the control at, or that the host has changed it to since.
    pub(super) fn value(&self, id: &str, control: &dyn Control) -> f32 {
        let now = control.value();
        let asked = self.asked.0.iter().find(|request| request.id == id && request.before == now);
        self.held(id).or(asked.map(|request| request.value)).unwrap_or(now)
    }

    /// Values of all parameters that make the sound.
    pub(super) fn sound(&self, params: &DualstepParams) -> Values {
        controls(params)
            .into_iter()
            .filter(|(id, _)| !LISTENING.contains(id))
            .map(|(id, control)| (id, self.value(id, control)))
            .collect()
    }

    /// The value of a control that the user holds.
    pub(super) fn held(&self, id: &str) -> Option<f32> {
        self.history.held().find(|(held, _)| *held == id).map(|(_, value)| value)
    }

    /// The user takes hold of a control.
    pub(super) fn begin(&mut self, id: &'static str, control: &dyn Control) {
        self.history.hold(id, self.value(id, control));
        control.begin(&self.setter);
    }

    /// The user moves it.
    pub(super) fn set(&mut self, id: &'static str, control: &dyn Control, value: f32) {
        let value = nearest(control, value);
        if value != self.value(id, control) {
            self.send(id, control, value);
            self.history.moved(id, value);
        }
    }

    /// The user lets go of all that is held.
    pub(super) fn let_go(&mut self, params: &DualstepParams) {
        let held: Vec<_> = self.history.held().map(|(id, _)| id).collect();
        for id in held {
            if let Some(control) = control(params, id) {
                control.end(&self.setter);
            }
            self.history.release(id);
        }
    }

    /// One step, begin to end: a click, a key, a notch of the wheel.
    pub(super) fn change(&mut self, id: &'static str, control: &dyn Control, value: f32) {
        let change = self.step(id, control, value);
        self.history.record(change.into_iter().collect(), Instant::now());
    }

    /// Many parameters in one step of undo. `values`: ids and normalized values.
    pub(super) fn change_all(&mut self, params: &DualstepParams, values: &[(&'static str, f32)]) {
        let changes = self.apply(params, values);
        self.history.record(changes, Instant::now());
    }

    /// Like [`Desk::change_all`], but not a step of undo.
    fn apply(&mut self, params: &DualstepParams, values: &[(&'static str, f32)]) -> Vec<Change> {
        let values = values.iter();
        values
            .filter_map(|(id, value)| self.step(id, control(params, id)?, *value))
            .collect()
    }

    /// Sends a value, begin to end, unless it is there already.
    fn step(&mut self, id: &'static str, control: &dyn Control, value: f32) -> Option<Change> {
        let (before, after) = (self.value(id, control), nearest(control, value));
        (before != after).then(|| {
            control.begin(&self.setter);
            self.send(id, control, after);
            control.end(&self.setter);
            Change { id, before, after }
        })
    }

    fn send(&mut self, id: &'static str, control: &dyn Control, value: f32) {
        let before = control.value();
        control.set(&self.setter, value);
        self.asked.0.retain(|request| request.id != id);
        self.asked.0.push(Request {
            id,
            value,
            before,
            at: Instant::now(),
        });
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
        let values = self.history.swap(self.sound(params));
        self.apply(params, &values);
    }

    /// Makes the other side of the A/B comparison the same as this one.
    pub(super) fn copy_to_other(&mut self, params: &DualstepParams) {
        self.history.copy_to_other(self.sound(params));
    }

    /// What undo and A/B know.
    pub(super) fn history(&self) -> &History {
        self.history
    }
}

/// The value that the control can take nearest to `value`.
fn nearest(control: &dyn Control, value: f32) -> f32 {
    let value = value.clamp(0.0, 1.0);
    control
        .steps()
        .map_or(value, |steps| (value * steps as f32).round() / steps.max(1) as f32)
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
