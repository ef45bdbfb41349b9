//! The two U-Net stages: [`forward`] for whole clips, [`TwoStage`] for one hop at a time.
//!
//! | file | what lives there |
//! |---|---|
//! | `forward.rs` | the networks written down plainly with candle: the reference that the streaming form is tested against |
//! | `two_stage.rs` | both stages in a row with everything between them: level, features, look-ahead, stereo link, taps |
//! | `balance.rs` | stage 2's equaliser, from what the recording has sounded like lately |
//! | `stage.rs` | one stage, frame by frame, on buffers that are allocated once |
//! | `plane.rs` | a layer's rows of the current and the previous frame |
//! | `math.rs` | powers and activations that vectorise |
//! | `kernel/` | the one inner loop, for each instruction set |

mod balance;
pub mod forward;
pub(crate) mod kernel;
mod math;
mod plane;
mod stage;
#[cfg(test)]
mod tests;
mod two_stage;

pub use balance::BalanceWeights;
pub use kernel::Isa;
pub use stage::StageWeights;
pub use two_stage::{RestoredFrame, TwoStage};

/// Features per bin of a spectrum: compressed real part, imaginary part and magnitude, over the level.
const SPECTRUM_FEATURES: usize = 3;

/// Features per bin that each stage sees: stage 1 the input's and its floor over the level, stage 2 the input's and those of stage 1's output.
pub(crate) const FEATURES: [usize; 2] = [SPECTRUM_FEATURES + 1, 2 * SPECTRUM_FEATURES];

/// Slope of the leaky ReLU below zero.
pub(crate) const SLOPE: f32 = 0.1;
