//! Undoes saturation: what was driven too hot into a tape, a groove or an amplifier, and has no samples that are lost, is bent back.
//!
//! Saturation does the same to every sample, whatever came before. So the curve that undoes it can be found from the sound alone (`estimate.rs`) and needs
//! neither training nor latency (`curve.rs`). It is stage 2's as the balance is: slow, and nothing where it isn't sure. ARCHITECTURE.md, "Saturation".

mod curve;
mod estimate;

use crate::Geometry;
use crate::unet::kernel::{Isa, Job};
use curve::{BLOCK, Inverse, Known};
use estimate::{Analysis, Estimate};

/// Time in which a curve comes in or goes.
const FADE_S: f64 = 0.06;

/// Of so many frames one is heard where nothing seems to be saturated.
const PATROL: usize = 4;

/// Streaming state for all channels of a stream.
#[derive(Debug)]
pub(crate) struct Desaturator {
    isa: Isa,
    hop: usize,
    /// Samples between two frames that are analysed: half of one.
    step: usize,
    /// Samples since the last one.
    since: usize,
    /// Frames since the last one that every estimate heard.
    passed: usize,
    analysis: Analysis,
    channels: Vec<Channel>,
    /// Whether all channels shared a curve in the last hop.
    linked: bool,
    /// Most that the share of a curve may change by in a hop.
    fade: f32,
}

#[derive(Debug)]
struct Channel {
    /// The last samples, as many as a frame has.
    history: Vec<f32>,
    estimate: Estimate,
    /// How far the curve has come in, 0..=1.
    trust: f32,
    /// What was applied at the end of the last hop.
    applied: Applied,
}

/// A curve, and how much of what it changes is done.
#[derive(Clone, Copy, Debug)]
struct Applied {
    known: Known,
    share: f32,
}

/// Energies of a hop over all channels, for the meters.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Bent {
    change: f64,
    all: f64,
}

impl Bent {
    /// Energy of the change over that of what was changed.
    pub(crate) fn ratio(self) -> f64 {
        if self.change > 0.0 {
            self.change / self.all.max(1e-300)
        } else {
            0.0
        }
    }
}

impl Desaturator {
    /// At the start of a stream.
    pub(crate) fn new(geometry: &Geometry, sample_rate_hz: f64, channels: usize) -> Self {
        let nothing = || Channel {
            history: vec![0.0; geometry.analysis],
            estimate: Estimate::default(),
            trust: 0.0,
            applied: Applied::of(&Estimate::default(), 0.0),
        };
        #[expect(clippy::cast_possible_truncation, reason = "a share of a fraction of a second")]
        let fade = (geometry.hop as f64 / sample_rate_hz / FADE_S) as f32;
        Self {
            isa: Isa::best(),
            hop: geometry.hop,
            step: geometry.analysis / 2,
            since: 0,
            passed: 0,
            analysis: Analysis::new(geometry),
            channels: (0..channels).map(|_| nothing()).collect(),
            linked: false,
            fade,
        }
    }

    /// Undoes `strength` (0..=1) of the saturation of a hop in place, by what was heard before it, and hears it. `audio` is `[channel][sample]`; with `linked`
    /// all channels have one curve.
    ///
    /// # Real-time
    /// No allocation, lock or system call.
    pub(crate) fn process(&mut self, audio: &mut [f32], strength: f32, linked: bool) -> Bent {
        if self.linked && !linked {
            let (first, others) = self.channels.split_at_mut(1);
            for other in others {
                other.estimate.clone_from(&first[0].estimate);
            }
        }
        self.linked = linked;
        self.since += self.hop;
        let due = self.since >= self.step;
        if due {
            self.since = 0;
        }
        let mut bent = Bent::default();
        for index in 0..self.channels.len() {
            let hop = &mut audio[index * self.hop..][..self.hop];
            let estimate = &self.channels[if linked { 0 } else { index }].estimate;
            let target = if estimate.believed() { 1.0 } else { 0.0 };
            let trust = self.channels[index].trust;
            let trust = trust + (target - trust).clamp(-self.fade, self.fade);
            let now = Applied::of(estimate, trust * strength);
            let channel = &mut self.channels[index];
            let before = std::mem::replace(&mut channel.applied, now);
            channel.trust = trust;
            let kept = channel.history.len() - self.hop;
            channel.history.copy_within(self.hop.., 0);
            channel.history[kept..].copy_from_slice(hop);
            if before.share > 0.0 || now.share > 0.0 {
                self.isa.run(Apply {
                    hop,
                    before,
                    now,
                    bent: &mut bent,
                });
            } else {
                bent.all += hop.iter().map(|x| f64::from(x * x)).sum::<f64>();
            }
        }
        if due {
            self.hear(linked);
        }
        bent
    }

    /// Lets the estimates hear the newest frame of each channel; the first one hears them all if they are linked, but the same one only once.
    fn hear(&mut self, linked: bool) {
        self.passed = (self.passed + 1) % PATROL;
        let all = self.passed == 0;
        let (first, others) = self.channels.split_at_mut(1);
        let first = &mut first[0];
        let shared = all || first.estimate.curious();
        if shared {
            first.estimate.hear(&mut self.analysis, &first.history);
        }
        for other in others {
            if linked && shared && other.history != first.history {
                first.estimate.hear(&mut self.analysis, &other.history);
            }
            if !linked && (all || other.estimate.curious()) {
                other.estimate.hear(&mut self.analysis, &other.history);
            }
        }
    }

    /// The stream goes on after a rest, in which nothing was heard; what was learned of it is kept.
    pub(crate) fn rest(&mut self) {
        for channel in &mut self.channels {
            channel.history.fill(0.0);
        }
    }

    /// Back to the start of a stream.
    pub(crate) fn reset(&mut self) {
        self.rest();
        self.since = 0;
        self.passed = 0;
        for channel in &mut self.channels {
            channel.estimate = Estimate::default();
            channel.trust = 0.0;
            channel.applied = Applied::of(&channel.estimate, 0.0);
        }
    }
}

impl Applied {
    fn of(estimate: &Estimate, share: f32) -> Self {
        let (curve, peaks) = estimate.curve();
        Self {
            known: Inverse::new(curve).known(peaks),
            share,
        }
    }
}

/// Applies a curve to a hop, going over from the one before.
struct Apply<'a> {
    hop: &'a mut [f32],
    before: Applied,
    now: Applied,
    bent: &'a mut Bent,
}

impl Job for Apply<'_> {
    #[inline(always)]
    fn run(self) {
        let step = 1.0 / self.hop.len() as f32;
        let mut block = [0.0; BLOCK];
        for (index, samples) in self.hop.chunks_mut(BLOCK).enumerate() {
            block[..samples.len()].copy_from_slice(samples);
            let (old, new) = (self.before.known.changes(&block), self.now.known.changes(&block));
            for (n, y) in samples.iter_mut().enumerate() {
                let part = (index * BLOCK + n + 1) as f32 * step;
                let change = (1.0 - part) * self.before.share * old[n] + part * self.now.share * new[n];
                self.bent.change += f64::from(change * change);
                self.bent.all += f64::from(*y * *y);
                // Subnormal numbers are slow, for whatever comes next.
                let bent = *y + change;
                *y = if bent.is_normal() { bent } else { 0.0 };
            }
        }
    }
}
