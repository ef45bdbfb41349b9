//! The panel under the user's hands: pointer, wheel and keys go in, what reaches the host comes out.

mod controls;
mod look;
mod output_section;
mod presets;
mod settings;
mod table;

/// Ids and names of the knobs that are always there.
pub(crate) const KNOBS: [(&str, &str); 6] = [
    ("stage1", "Noise reduction"),
    ("stage2", "Detail restoration"),
    ("declick", "Click repair"),
    ("limit", "Reduction limit"),
    ("mix", "Dry/wet"),
    ("output", "Output gain"),
];
