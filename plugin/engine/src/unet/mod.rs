//! The two U-Net stages: [`forward`] for whole clips, [`TwoStage`] for one hop at a time.
//!
//! | file | what lives there |
//! |---|---|
//! | `forward.rs` | the networks written down plainly with candle: the reference that the streaming form is tested against |
//! | `two_stage.rs` | both stages in a row with everything between them: level, features, look-ahead, stereo link, taps |
//! | `balance.rs` | stage 2's equaliser, from what the recording has sounded like lately |
//! | `first_stage.rs` | stage 1 for everything and for speech alone, and the fade between them |
//! | `stage.rs` | one stage, frame by frame, on buffers that are allocated once |
//! | `convolution.rs` | the stages' convolutions, half of whose products are saved by minimal filtering |
//! | `plane.rs` | a layer's rows of one frame |
//! | `math.rs` | powers and activations that vectorise |
//! | `kernel/` | the one inner loop, for each instruction set |

mod balance;
mod convolution;
mod first_stage;
pub mod forward;
pub(crate) mod kernel;
pub(crate) mod math;
mod plane;
mod stage;
#[cfg(test)]
mod tests;
mod two_stage;

pub use balance::BalanceWeights;
pub use kernel::Isa;
pub use stage::StageWeights;
pub use two_stage::{RestoredFrame, TwoStage};

use crate::spec::{Spec, StageSpec};

/// Features per bin of a spectrum: compressed real part, imaginary part and magnitude, over the level.
const SPECTRUM_FEATURES: usize = 3;

/// Features per bin that each stage sees: stage 1 the input's and its floor over the level, stage 2 the input's and those of stage 1's output.
const FEATURES: [usize; 2] = [SPECTRUM_FEATURES + 1, 2 * SPECTRUM_FEATURES];

/// One of the U-Nets of a weights file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// Gains from the features of the input and its floor.
    Stage1,
    /// Taps and an additive term from the features of the input and of stage 1's output.
    Stage2,
    /// Stage 1 for recordings of speech alone: as large, with the same features.
    Speech,
}

impl Network {
    /// Those that weights of this spec hold.
    pub(crate) fn all(spec: &Spec) -> impl Iterator<Item = Self> {
        [Self::Stage1, Self::Stage2].into_iter().chain(spec.speech.then_some(Self::Speech))
    }

    /// What its tensors' names begin with.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stage1 => "stage1",
            Self::Stage2 => "stage2",
            Self::Speech => "speech",
        }
    }

    /// What it is made of.
    #[must_use]
    pub const fn spec(self, spec: &Spec) -> &StageSpec {
        match self {
            Self::Stage1 | Self::Speech => &spec.stages[0],
            Self::Stage2 => &spec.stages[1],
        }
    }

    /// Features per bin that it sees.
    pub(crate) const fn features(self) -> usize {
        match self {
            Self::Stage1 | Self::Speech => FEATURES[0],
            Self::Stage2 => FEATURES[1],
        }
    }

    /// Values per bin that it gives: a gain, or complex taps and an additive term.
    pub(crate) const fn values(self, spec: &Spec) -> usize {
        match self {
            Self::Stage1 | Self::Speech => 1,
            Self::Stage2 => 2 * spec.taps + 2,
        }
    }
}

/// Slope of the leaky ReLU below zero.
pub(crate) const SLOPE: f32 = 0.1;
