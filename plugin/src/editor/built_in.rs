//! The presets that the plugin brings.

/// Name, what it is for, ids and texts of the values that aren't the default.
type BuiltIn = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

/// What the plugin brings.
pub(super) const BUILT_IN: [BuiltIn; 11] = [
    ("Standard", "Everything at its default.", &[]),
    (
        "78 rpm shellac",
        "Heavy crackle and hiss. A bed of noise stays, so that the music doesn't sound cut out.",
        &[("declick", "70 %"), ("limit", "24 dB"), ("low_cut", "40 Hz")],
    ),
    (
        "Wax cylinder",
        "Thumps and dense noise louder than some of the music.",
        &[("declick", "85 %"), ("limit", "30 dB"), ("low_cut", "80 Hz")],
    ),
    (
        "LP crackle",
        "Ticks and light crackle on vinyl; room and reverb stay.",
        &[
            ("declick", "60 %"),
            ("stage1", "60 %"),
            ("stage2", "50 %"),
            ("limit", "12 dB"),
            ("low_cut", "20 Hz"),
        ],
    ),
    (
        "Clicks only",
        "Nothing but click repair: the sound between the clicks is untouched.",
        &[
            ("declick", "60 %"),
            ("declip", "Off"),
            ("dropouts", "Off"),
            ("stage1", "0 %"),
            ("stage2", "0 %"),
        ],
    ),
    (
        "Tape hiss",
        "Steady hiss under music. No clicks on tape, so click repair is off.",
        &[("declick", "0 %"), ("stage1", "80 %"), ("limit", "15 dB")],
    ),
    (
        "Hum",
        "Mains hum and its harmonics: the hum notch listens for the frequency, noise reduction helps.",
        &[("declick", "0 %"), ("stage1", "60 %"), ("limit", "20 dB"), ("hum", "auto")],
    ),
    (
        "Noisy speech",
        "As much noise out as there is; words first.",
        &[("declick", "30 %"), ("speech", "On"), ("low_cut", "80 Hz"), ("comp", "20 %")],
    ),
    (
        "Live voice",
        "Monitoring while you speak or sing: no click repair that could mistake consonants, a little room left.",
        &[
            ("declick", "0 %"),
            ("dropouts", "Off"),
            ("stage1", "85 %"),
            ("stage2", "50 %"),
            ("limit", "18 dB"),
            ("low_cut", "80 Hz"),
        ],
    ),
    (
        "Music with drums",
        "Attacks and cymbals come first: little is taken away.",
        // Loud music is often flat-topped on purpose; redrawn peaks would be the largest change of all.
        &[
            ("declick", "20 %"),
            ("declip", "Off"),
            ("dropouts", "Off"),
            ("stage1", "40 %"),
            ("stage2", "0 %"),
            ("limit", "8 dB"),
        ],
    ),
    (
        "Gentle",
        "A touch on recordings that are nearly good.",
        &[
            ("declick", "40 %"),
            ("declip", "Off"),
            ("dropouts", "Off"),
            ("stage1", "50 %"),
            ("stage2", "50 %"),
            ("limit", "9 dB"),
        ],
    ),
];

#[cfg(test)]
mod tests {
    use super::super::control::control;
    use super::super::presets::Preset;
    use super::*;
    use crate::DualstepParams;

    #[test]
    fn built_in_presets_are_whole() {
        let params = DualstepParams::default();
        let defaults = Preset::built_in(0).expect("a preset").values(&params);
        let mut names: Vec<&str> = BUILT_IN.iter().map(|(name, ..)| *name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), BUILT_IN.len(), "each name once");
        for (index, (name, what, values)) in BUILT_IN.iter().enumerate() {
            assert!(!what.is_empty(), "{name} says what it is for");
            for (id, text) in *values {
                let control = control(&params, id).unwrap_or_else(|| panic!("{name} names {id}"));
                let value = control.parse(text).unwrap_or_else(|| panic!("{name}: {id} can't read {text:?}"));
                assert_eq!(control.text(value), *text, "{name}: {id}");
            }
            assert_eq!(
                Preset::built_in(index).expect("a preset").holds(&params, &defaults),
                index == 0,
                "{name}"
            );
        }
    }
}
