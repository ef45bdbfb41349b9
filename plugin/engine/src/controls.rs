//! The values in force for one hop.

/// What the user asked of the restoration, as it stood at the middle sample of a hop.
///
/// Controls travel with the audio they were written for; see ARCHITECTURE.md, "What the controls do".
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Controls {
    /// Click repair sensitivity, 0..=1. 0 finds none.
    pub declick: f32,
    /// Whether clipped peaks are repaired.
    pub declip: bool,
    /// Whether what dropouts took is given back.
    pub dropouts: bool,
    /// Noise reduction, 0..=1: the exponent of stage 1's gain.
    pub stage1: f32,
    /// Detail restoration, 0..=1: how much of stage 2's change is added.
    pub stage2: f32,
    /// Lowest linear gain any bin may get, 0..=1. 0 sets no limit.
    pub floor: f32,
    /// Whether all channels share one gain pattern.
    pub linked: bool,
    /// Whether speech is all that is wanted: then stage 1 is the network for that, if the weights have one.
    pub speech: bool,
    /// Whether nobody will hear this hop (bypassed all through, and has been for long): the networks may rest.
    pub idle: bool,
}

impl Default for Controls {
    /// Everything on, no reduction limit, channels linked, speech not alone.
    fn default() -> Self {
        Self {
            declick: 0.5,
            declip: true,
            dropouts: true,
            stage1: 1.0,
            stage2: 1.0,
            floor: 0.0,
            linked: true,
            speech: false,
            idle: false,
        }
    }
}
