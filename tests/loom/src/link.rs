//! `plugin/engine/src/link`, with as much of its other files as the three need.

use super::{Controls, time::Duration};

#[path = "../../../plugin/engine/src/link/hop.rs"]
mod hop;
#[allow(dead_code, reason = "the port isn't here")]
#[path = "../../../plugin/engine/src/link/wire.rs"]
mod wire;
#[path = "../../../plugin/engine/src/link/worker.rs"]
mod worker;

mod tests;

/// Hops that circulate: as few as will do, for loom's sake.
const HOPS: usize = 3;

/// What a processor panics with to see what becomes of that.
const ON_PURPOSE: &str = "on purpose";

pub(crate) struct HopReport;

pub(crate) trait Processor: Send + 'static {
    fn process(&mut self, audio: &mut [f32], controls: &Controls) -> HopReport;
    fn skip(&mut self, audio: &mut [f32], controls: &Controls) -> HopReport;
    fn reset(&mut self);
}

pub(crate) struct LinkConfig {
    sample_rate_hz: f64,
    channels: usize,
    hop: usize,
    restorer_delay: usize,
}

impl LinkConfig {
    fn hops(&self) -> usize {
        HOPS
    }

    fn most_wait(&self) -> Duration {
        Duration::from_secs(1)
    }
}

mod status {
    #[derive(PartialEq)]
    pub(crate) enum WorkerState {
        Running,
        Failed,
    }

    pub(crate) struct Status;

    impl Status {
        /// What loom or an assertion finds in the worker's thread is a panic that the worker catches: here it goes on.
        pub(super) fn enter(&self, state: WorkerState, reason: &str) {
            assert!(state == WorkerState::Running || reason.contains(super::ON_PURPOSE), "{reason}");
        }

        pub(super) fn report(&self, _: &super::HopReport, _: f32) {}
    }
}

/// The real one asks the system for a priority.
mod urgency {
    pub(super) struct Urgency;

    impl Urgency {
        pub(super) fn new() -> Self {
            Self
        }

        pub(super) fn follow(&mut self, _: bool) {}

        pub(super) fn rested(&mut self) {}
    }
}
