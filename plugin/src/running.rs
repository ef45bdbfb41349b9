//! The audio port and its worker, for one sample rate and channel count.

use crate::Edition;
use dualstep_engine::link::{AudioPort, LinkConfig, Status, Worker, connect};
use dualstep_engine::{Restorer, latency};
use std::sync::Arc;

/// What runs from one activation to the next, as long as it fits.
pub(crate) struct Running {
    /// For the audio thread.
    pub(crate) port: AudioPort,
    /// Without it, audio passes through.
    worker: Option<Worker>,
    sample_rate_hz: f64,
    channels: usize,
}

impl Running {
    /// Starts a worker. If nothing can be restored, audio passes through and the status says why.
    pub(crate) fn start<E: Edition>(sample_rate_hz: f64, channels: usize, max_block: usize, status: &Arc<Status>) -> Self {
        let (port, worker) = match connect_restorer::<E>(sample_rate_hz, channels, max_block, status) {
            Ok((port, worker)) => (port, Some(worker)),
            Err(reason) => (AudioPort::pass_through(sample_rate_hz, channels, status, &reason), None),
        };
        Self {
            port,
            worker,
            sample_rate_hz,
            channels,
        }
    }

    /// Whether this can go on at this sample rate with so many channels.
    pub(crate) fn fits(&self, sample_rate_hz: f64, channels: usize) -> bool {
        // The hooks are read when a worker starts: with them, each activation starts one.
        !cfg!(feature = "fault-injection")
            && self.sample_rate_hz == sample_rate_hz
            && self.channels == channels
            && !self.worker.as_ref().is_some_and(Worker::has_failed)
    }
}

fn connect_restorer<E: Edition>(
    sample_rate_hz: f64,
    channels: usize,
    max_block: usize,
    status: &Arc<Status>,
) -> Result<(AudioPort, Worker), String> {
    let model = E::model()?;
    let restorer = Restorer::new(model, E::detectors()?, sample_rate_hz, channels).map_err(|error| error.to_string())?;
    let geometry = *restorer.geometry();
    let config = LinkConfig {
        sample_rate_hz,
        channels,
        hop: geometry.hop,
        restorer_delay: latency::restorer_delay(&geometry),
        max_block,
    };
    debug_assert_eq!(config.latency(), latency::total(&geometry));
    #[cfg(feature = "fault-injection")]
    let restorer = crate::fault::Faulty::from_environment(restorer);
    let no_thread = |error| format!("the system can't start a thread: {error}");
    #[cfg(feature = "fault-injection")]
    crate::fault::thread_start().map_err(no_thread)?;
    connect(config, restorer, status).map_err(no_thread)
}
