//! Test hooks: a worker that is slow, breaks or can't be started. Only with the feature `fault-injection`, which no release has.

use dualstep_engine::link::Processor;
use dualstep_engine::{Controls, HopReport};
use std::time::Duration;

/// Environment variable: milliseconds each restored hop takes longer.
const DELAY_MS: &str = "DUALSTEP_WORKER_DELAY_MS";
/// Environment variable: the hop, counted from 1, at which the worker panics.
const PANIC_AT_HOP: &str = "DUALSTEP_WORKER_PANIC_AT_HOP";
/// Environment variable: if set, the system has no thread to give.
const NO_THREAD: &str = "DUALSTEP_NO_THREAD";

/// What starting a thread says where the system has no more of them.
///
/// # Errors
/// If the environment says so.
pub(crate) fn thread_start() -> std::io::Result<()> {
    match std::env::var_os(NO_THREAD) {
        Some(_) => Err(std::io::ErrorKind::WouldBlock.into()),
        None => Ok(()),
    }
}

/// A processor that misbehaves as the environment said when it was made.
pub(crate) struct Faulty<P> {
    inner: P,
    delay: Duration,
    panic_at: Option<u64>,
    hops: u64,
}

impl<P: Processor> Faulty<P> {
    /// Reads both variables; without them, `inner` behaves.
    pub(crate) fn from_environment(inner: P) -> Self {
        let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
        Self {
            inner,
            delay: Duration::from_millis(number(DELAY_MS).unwrap_or(0)),
            panic_at: number(PANIC_AT_HOP),
            hops: 0,
        }
    }

    fn count(&mut self) {
        self.hops += 1;
        assert_ne!(Some(self.hops), self.panic_at, "{PANIC_AT_HOP} asks for a panic");
    }
}

impl<P: Processor> Processor for Faulty<P> {
    fn process(&mut self, audio: &mut [f32], controls: &Controls) -> HopReport {
        self.count();
        std::thread::sleep(self.delay);
        self.inner.process(audio, controls)
    }

    fn skip(&mut self, audio: &mut [f32], controls: &Controls) -> HopReport {
        self.count();
        self.inner.skip(audio, controls)
    }

    fn reset(&mut self) {
        self.inner.reset();
    }
}
