//! What the editor may know: written by the audio thread and the worker through atomics, read by anyone.

use super::scope::{Moment, Scope};
use atomic_float::{AtomicF32, AtomicF64};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

/// What the worker is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum WorkerState {
    /// The host hasn't activated the plugin.
    Off = 0,
    /// Hops are being restored.
    Running = 1,
    /// The networks rest: silence or bypass.
    Resting = 2,
    /// Nothing is restored at this sample rate; audio passes through. See [`Status::reason`].
    PassThrough = 3,
    /// The worker stopped for good; the dry signal goes on. See [`Status::reason`].
    Failed = 4,
}

/// State and meters of one plugin instance. All levels are of the last audio seen; nothing here is exact to the sample.
#[derive(Debug)]
pub struct Status {
    state: AtomicU8,
    sample_rate_hz: AtomicF64,
    latency: AtomicU32,
    misses: AtomicU64,
    clicks: AtomicU64,
    resting: AtomicBool,
    removed_db: AtomicF32,
    restored_db: AtomicF32,
    load: AtomicF32,
    input_peak: [AtomicF32; 2],
    output_peak: [AtomicF32; 2],
    /// Not a number: none.
    hum_hz: AtomicF32,
    compressor_db: AtomicF32,
    /// Never touched by the audio thread.
    reason: Mutex<String>,
    pub(super) scope: Scope,
}

impl Default for Status {
    fn default() -> Self {
        Self {
            state: AtomicU8::new(WorkerState::Off as u8),
            sample_rate_hz: AtomicF64::new(0.0),
            latency: AtomicU32::new(0),
            misses: AtomicU64::new(0),
            clicks: AtomicU64::new(0),
            resting: AtomicBool::new(false),
            removed_db: AtomicF32::new(0.0),
            restored_db: AtomicF32::new(-120.0),
            load: AtomicF32::new(0.0),
            input_peak: [AtomicF32::new(0.0), AtomicF32::new(0.0)],
            output_peak: [AtomicF32::new(0.0), AtomicF32::new(0.0)],
            hum_hz: AtomicF32::new(f32::NAN),
            compressor_db: AtomicF32::new(0.0),
            reason: Mutex::new(String::new()),
            scope: Scope::default(),
        }
    }
}

impl Status {
    /// What the worker is doing.
    #[must_use]
    pub fn state(&self) -> WorkerState {
        match self.state.load(Relaxed) {
            1 if self.resting.load(Relaxed) => WorkerState::Resting,
            1 | 2 => WorkerState::Running,
            3 => WorkerState::PassThrough,
            4 => WorkerState::Failed,
            _ => WorkerState::Off,
        }
    }

    /// Why audio passes through or the worker failed; empty otherwise. Takes a lock: not for the audio thread.
    #[must_use]
    pub fn reason(&self) -> String {
        self.reason.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Samples between input and output, as told to the host.
    #[must_use]
    pub fn latency(&self) -> u32 {
        self.latency.load(Relaxed)
    }

    /// Sample rate in Hz; 0 before the host activated the plugin.
    #[must_use]
    pub fn sample_rate_hz(&self) -> f64 {
        self.sample_rate_hz.load(Relaxed)
    }

    /// Hops that weren't there in time and were heard dry, since the plugin was loaded.
    #[must_use]
    pub fn misses(&self) -> u64 {
        self.misses.load(Relaxed)
    }

    /// Clicks repaired since the plugin was loaded.
    #[must_use]
    pub fn clicks(&self) -> u64 {
        self.clicks.load(Relaxed)
    }

    /// Energy stage 1 took from the last hop, in dB; 0 or more.
    #[must_use]
    pub fn removed_db(&self) -> f32 {
        self.removed_db.load(Relaxed)
    }

    /// Size of stage 2's change to the last hop relative to stage 1's output, in dB; at least -120.
    #[must_use]
    pub fn restored_db(&self) -> f32 {
        self.restored_db.load(Relaxed)
    }

    /// Part of a hop's duration the worker computes for it, averaged over some hops: 0.25 is a quarter of a core.
    #[must_use]
    pub fn load(&self) -> f32 {
        self.load.load(Relaxed)
    }

    /// Peak of the input per channel, linear, falling when nothing louder comes.
    #[must_use]
    pub fn input_peak(&self) -> [f32; 2] {
        [self.input_peak[0].load(Relaxed), self.input_peak[1].load(Relaxed)]
    }

    /// Peak of the output per channel, linear, falling when nothing louder comes.
    #[must_use]
    pub fn output_peak(&self) -> [f32; 2] {
        [self.output_peak[0].load(Relaxed), self.output_peak[1].load(Relaxed)]
    }

    /// Fundamental of the hum that the output section takes out, in Hz; `None` if it takes none out, or is still listening for it.
    #[must_use]
    pub fn hum_hz(&self) -> Option<f32> {
        Some(self.hum_hz.load(Relaxed)).filter(|hz| hz.is_finite())
    }

    /// Gain of the output section's compressor in dB, make-up included; 0 when it is off.
    #[must_use]
    pub fn compressor_db(&self) -> f32 {
        self.compressor_db.load(Relaxed)
    }

    /// Shows the samples that came since the last look, oldest first, and sees to it that the audio thread keeps them for half a second of audio from now
    /// on. Returns how many didn't find room since the plugin was loaded. For one reader at a time; takes a lock: not for the audio thread.
    pub fn look(&self, see: impl FnMut(&[Moment])) -> u64 {
        self.scope.look(see)
    }

    pub(super) fn enter(&self, state: WorkerState, reason: &str) {
        reason.clone_into(&mut self.reason.lock().unwrap_or_else(PoisonError::into_inner));
        self.resting.store(false, Relaxed);
        self.state.store(state as u8, Relaxed);
    }

    pub(super) fn set_stream(&self, sample_rate_hz: f64, latency: usize) {
        self.sample_rate_hz.store(sample_rate_hz, Relaxed);
        self.latency.store(u32::try_from(latency).unwrap_or(u32::MAX), Relaxed);
    }

    pub(super) fn count_miss(&self) {
        self.misses.fetch_add(1, Relaxed);
    }

    pub(super) fn set_peaks(&self, input: [f32; 2], output: [f32; 2]) {
        for channel in 0..2 {
            self.input_peak[channel].store(input[channel], Relaxed);
            self.output_peak[channel].store(output[channel], Relaxed);
        }
    }

    pub(super) fn set_output_section(&self, section: &crate::output::OutputSection) {
        #[expect(clippy::cast_possible_truncation, reason = "for display")]
        let single = |value: f64| value as f32;
        self.hum_hz.store(section.hum_hz().map_or(f32::NAN, single), Relaxed);
        self.compressor_db.store(single(section.compressor_db()), Relaxed);
    }

    /// `load`: the part of the hop's duration it took to restore it.
    pub(super) fn report(&self, report: &crate::HopReport, load: f32) {
        self.clicks.fetch_add(u64::from(report.clicks), Relaxed);
        self.removed_db.store(report.removed_db, Relaxed);
        self.restored_db.store(report.restored_db, Relaxed);
        self.resting.store(!report.active, Relaxed);
        /// Share of the newest hop in the average.
        const NEWEST: f32 = 0.1;
        let old = self.load.load(Relaxed);
        self.load.store(old + NEWEST * (load - old), Relaxed);
    }
}
