//! The lock-free link between the audio thread and the worker thread.
//!
//! [`AudioPort`] belongs to the audio thread, [`Worker`] owns the thread that runs a [`Processor`] (the [`Restorer`]). Preallocated hops circulate
//! between them through two single-producer single-consumer rings: nothing is allocated, freed or locked on the audio thread.
//!
//! ```text
//! sample 0      H       2H      3H
//!        | hop 0 | hop 1 | hop 2 |      collected from the input
//!                | hop 0 | hop 1 |      worker restores it during the next hop
//!                        | hop 0 |      played: restored hop k starts at sample (k + 2) H
//! ```
//!
//! A restored hop is what entered the processor `restorer_delay` samples earlier, so that the whole latency is `restorer_delay + 2 H`
//! ([`crate::latency::total`]). The dry signal, and each per-sample control, is delayed by exactly as much.
//!
//! - Architecture invariant: a hop is played at the position its index says or not at all.
//! - Architecture invariant: the audio thread waits for the worker only as [`AudioPort::process`] says; it never takes a lock.
//! - At rest (silent for half a second, or bypassed for ten) hops are still sent, but nobody waits for them and the worker isn't woken for each.
//! - Architecture invariant: what is heard doesn't depend on how the host cuts the stream into blocks.

mod delay;
mod hop;
mod port;
mod scope;
mod status;
mod urgency;
mod wire;
mod worker;

#[cfg(test)]
mod tests;

pub use port::{AudioPort, Settings};
pub use scope::Moment;
pub use status::{Status, WorkerState};
pub use wire::Pace;
pub use worker::Worker;

use crate::restorer::rest_after;
use crate::{Controls, HopReport, Restorer};
use std::sync::Arc;
use std::time::Duration;

/// What a [`Worker`] runs: hop in, hop out. All hops have the same length; `audio` is planar, `[channel][sample]`.
pub trait Processor: Send + 'static {
    /// Processes one hop in place. What comes out is the stream that went in, `restorer_delay` samples ago.
    fn process(&mut self, audio: &mut [f32], controls: &Controls) -> HopReport;

    /// Takes a hop whose result nobody will hear, at less cost than [`Processor::process`]; the stream keeps its position.
    fn skip(&mut self, audio: &mut [f32], controls: &Controls) -> HopReport;

    /// Back to the start of a stream.
    fn reset(&mut self);
}

impl Processor for Restorer {
    fn process(&mut self, audio: &mut [f32], controls: &Controls) -> HopReport {
        Self::process(self, audio, controls)
    }

    fn skip(&mut self, audio: &mut [f32], controls: &Controls) -> HopReport {
        Self::skip(self, audio, controls)
    }

    fn reset(&mut self) {
        Self::reset(self);
    }
}

/// The measures both ends of the link agree on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LinkConfig {
    /// Sample rate in Hz.
    pub sample_rate_hz: f64,
    /// Channels, 1 or 2.
    pub channels: usize,
    /// Samples per hop.
    pub hop: usize,
    /// Delay of the processor, in samples.
    pub restorer_delay: usize,
    /// Largest block the host announced, in samples. Bounds how long the audio thread may wait; larger blocks work too.
    pub max_block: usize,
}

impl LinkConfig {
    /// Samples between input and output.
    #[must_use]
    pub const fn latency(&self) -> usize {
        self.restorer_delay + crate::latency::LINK_HOPS * self.hop
    }

    /// The longest wait a host can run up by asking for audio ahead of real time: half the duration of its largest block, but at least half a second.
    fn most_wait(&self) -> Duration {
        Duration::from_secs_f64((self.max_block as f64 / self.sample_rate_hz).max(1.0) / 2.0)
    }

    /// Hops in a row, each of them silent or bypassed for long, after which the stream is at rest: the processor rests ([`rest_after`]), and
    /// what comes out of it went in since it does. It is silence, or isn't heard, so the audio thread plays the delayed input in its place.
    fn rest_hops(&self) -> usize {
        rest_after(self.sample_rate_hz, self.hop) + self.restorer_delay.div_ceil(self.hop) + 1
    }

    /// Hops that circulate: half a second's worth, so that a stalled worker finds every hop when it goes on. At least 8.
    fn hops(&self) -> usize {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "at most half a second of samples at a supported rate"
        )]
        let half_second = (self.sample_rate_hz / 2.0) as usize;
        (half_second / self.hop.max(1)).max(8)
    }
}

/// Starts a worker for `processor` and gives the audio thread's end of the link.
///
/// # Errors
/// If the system can't start a thread.
pub fn connect(config: LinkConfig, processor: impl Processor, status: &Arc<Status>) -> std::io::Result<(AudioPort, Worker)> {
    let (worker, wire) = worker::start(config, processor, Arc::clone(status))?;
    Ok((AudioPort::new(config, Some(wire), Arc::clone(status)), worker))
}
