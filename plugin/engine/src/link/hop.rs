//! What carries one hop to the worker and back.

use crate::Controls;

/// What became of a hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The audio is restored and may be played.
    Restored,
    /// The audio is not to be heard: too late, of an old epoch, or from a processor that hasn't settled after a gap.
    Unusable,
}

/// One hop on its way. Allocated before the audio starts, then only moved.
#[derive(Debug)]
pub(super) struct Hop {
    /// Position in the stream: the hop's first sample is sample `index * hop` since the last reset.
    pub(super) index: u64,
    /// Counts resets: hops of another epoch than the current one are nobody's.
    pub(super) epoch: u32,
    /// Controls in force at the hop's middle sample.
    pub(super) controls: Controls,
    /// `[channel][sample]`, `channels * hop` samples.
    pub(super) audio: Box<[f32]>,
    /// Whether all samples on the way to the worker are 0, whatever `audio` holds: the audio thread leaves it to the worker to write them.
    pub(super) blank: bool,
    /// Set by the worker.
    pub(super) outcome: Outcome,
}

impl Hop {
    /// An empty hop for `channels` channels of `hop` samples.
    pub(super) fn new(channels: usize, hop: usize) -> Self {
        Self {
            index: 0,
            epoch: 0,
            controls: Controls::default(),
            audio: vec![0.0; channels * hop].into_boxed_slice(),
            blank: false,
            outcome: Outcome::Unusable,
        }
    }
}
