//! Stage 2's slow part: what the recording has sounded like in the last seconds decides on an equaliser, and on how far stage 2's U-Net is trusted.
//! ARCHITECTURE.md, "Balance".

use super::kernel::{Activation, Affine, Buffer, Isa, Job, Rows};
use super::math;
use crate::spec::Spec;
use std::sync::Arc;

/// Most that a band is raised or lowered, as a natural logarithm: 24 dB.
pub(super) const LIMIT: f32 = 2.763_102;

/// Long-term power of a band, relative to the mean of all, that counts as none.
pub(super) const NOTHING: f32 = 1e-4;

/// Least mean of the long-term powers that is divided by.
pub(super) const FAINT: f32 = 1e-12;

/// Trust under which stage 2's U-Net adds nothing: it would be 40 dB less than it says.
pub(super) const LEAST_TRUST: f32 = 0.01;

/// The balance's weights, packed for the kernel of one instruction set.
#[derive(Debug)]
pub struct BalanceWeights {
    isa: Isa,
    layers: [Affine; 3],
    /// `[bands, bins per band]`.
    segments: Vec<[usize; 2]>,
    bands: usize,
    keep: f32,
}

impl BalanceWeights {
    /// Packs the layers; `get` finds a tensor's values by its name within the balance. They must have the sizes that [`crate::weights::layout`] says.
    pub(crate) fn pack<'a>(isa: Isa, spec: &Spec, get: impl Fn(&str) -> &'a [f32]) -> Self {
        let bands = spec.bands();
        let layer = |index: usize, inner: usize, columns: usize, activation| {
            let weight = get(&format!("{index}.weight"));
            let bias = get(&format!("{index}.bias"));
            Affine::new(isa, &[inner], columns, |_, k, column| weight[column * inner + k], bias, activation)
        };
        Self {
            isa,
            layers: [
                layer(0, 2 * bands + 1, spec.balance, Activation::Leaky),
                layer(1, spec.balance, spec.balance, Activation::Leaky),
                layer(2, spec.balance, bands + 1, Activation::None),
            ],
            segments: spec.segments.clone(),
            bands,
            keep: spec.balance_keep,
        }
    }

    /// Multiply-adds per frame.
    pub(crate) fn macs(&self) -> usize {
        self.layers.iter().map(Affine::macs).sum()
    }
}

/// Streaming state for all channels.
#[derive(Debug)]
pub(super) struct Balance {
    weights: Arc<BalanceWeights>,
    channels: Vec<Heard>,
    /// What is left of the first frame's weight: 1 before it, 0 after many seconds.
    faded: f32,
    /// `[2 * band + 1]`: what the layers see.
    seen: Buffer,
    /// `[hidden]`: what the first two layers say.
    hidden: [Buffer; 2],
}

/// What one channel has sounded like.
#[derive(Debug)]
struct Heard {
    /// Long-term power of each band, compressed, before and after stage 1.
    power: [Vec<f32>; 2],
    /// `[band + 1]`: gains, then the trust.
    decided: Buffer,
}

impl Balance {
    /// At the start of a stream.
    pub(super) fn new(weights: &Arc<BalanceWeights>, channels: usize) -> Self {
        let bands = weights.bands;
        let hidden = weights.layers[0].columns();
        let heard = || Heard {
            power: [0, 1].map(|_| vec![0.0; bands]),
            decided: Buffer::new(bands + 1),
        };
        Self {
            weights: Arc::clone(weights),
            channels: (0..channels).map(|_| heard()).collect(),
            faded: 1.0,
            seen: Buffer::new(2 * bands + 1),
            hidden: [0, 1].map(|_| Buffer::new(hidden)),
        }
    }

    /// Takes the next frame's compressed magnitudes of one channel, before and after stage 1; bins beyond their ends are missing.
    pub(super) fn hear(&mut self, channel: usize, before: &[f32], after: &[f32]) {
        for (power, magnitude) in self.channels[channel].power.iter_mut().zip([before, after]) {
            self.weights.isa.run(Hear {
                keep: self.weights.keep,
                segments: &self.weights.segments,
                magnitude,
                power,
            });
        }
    }

    /// Decides on gains and trust after all channels have been heard; the same for all if they are linked.
    pub(super) fn decide(&mut self, linked: bool) {
        self.faded *= self.weights.keep;
        if self.faded < 1e-9 {
            self.faded = 0.0;
        }
        let bands = self.weights.bands;
        let count = if linked { 1 } else { self.channels.len() };
        for channel in 0..count {
            let heard = if linked {
                &self.channels[..]
            } else {
                &self.channels[channel..=channel]
            };
            // The layers see what stage 1 has left, what it has taken, and how long that was heard.
            let (left, rest) = self.seen.split_at_mut(bands);
            let (taken, age) = rest.split_at_mut(bands);
            for (shape, which) in [(&mut *left, 1), (&mut *taken, 0)] {
                self.weights.isa.run(Shape {
                    heard,
                    which,
                    segments: &self.weights.segments,
                    shape,
                });
            }
            for (taken, left) in taken.iter_mut().zip(left.iter()) {
                *taken -= left;
            }
            age[0] = 1.0 - self.faded;

            let decided = &mut self.channels[channel].decided;
            let [first, second] = &mut self.hidden;
            let [a, b, c] = &self.weights.layers;
            a.apply(&[row(&self.seen)], first);
            b.apply(&[row(first)], second);
            c.apply(&[row(second)], decided);
            let (gain, trust) = decided.split_at_mut(bands);
            self.weights.isa.run(Decide {
                gain,
                trust: &mut trust[0],
            });
        }
        if linked {
            let (first, others) = self.channels.split_at_mut(1);
            for other in others {
                other.decided.copy_from_slice(&first[0].decided);
            }
        }
    }

    /// Gain of each bin of a channel.
    pub(super) fn gains(&self, channel: usize) -> impl Iterator<Item = f32> {
        let sizes = self
            .weights
            .segments
            .iter()
            .flat_map(|&[bands, size]| std::iter::repeat_n(size, bands));
        let bands = self.channels[channel].decided.iter().zip(sizes);
        bands.flat_map(|(gain, size)| std::iter::repeat_n(*gain, size))
    }

    /// Share of what stage 2's U-Net says of a channel that is done: 0, or from [`LEAST_TRUST`] to 1.
    pub(super) fn trust(&self, channel: usize) -> f32 {
        self.channels[channel].decided[self.weights.bands]
    }

    /// Back to the start of a stream.
    pub(super) fn reset(&mut self) {
        for power in self.channels.iter_mut().flat_map(|heard| &mut heard.power) {
            power.fill(0.0);
        }
        self.faded = 1.0;
    }
}

fn row(data: &[f32]) -> Rows<'_> {
    Rows { data, stride: data.len() }
}

/// Adds a frame to the long-term powers: `power = keep power + sum of magnitude^2`, per band.
struct Hear<'a> {
    keep: f32,
    segments: &'a [[usize; 2]],
    magnitude: &'a [f32],
    power: &'a mut [f32],
}

impl Job for Hear<'_> {
    #[inline(always)]
    fn run(self) {
        let (mut magnitude, mut power) = (self.magnitude, self.power);
        for &[bands, size] in self.segments {
            let (now, later) = magnitude.split_at(magnitude.len().min(bands * size));
            let (powers, rest) = power.split_at_mut(bands);
            let mut bins = now.chunks(size);
            for power in powers {
                let frame: f32 = bins.next().map_or(0.0, |bins| bins.iter().map(|x| x * x).sum());
                *power = self.keep * *power + frame;
            }
            (magnitude, power) = (later, rest);
        }
    }
}

/// The shape of a long-term spectrum, whatever its level: half the logarithm of each band's mean power over the mean of all bands.
struct Shape<'a> {
    heard: &'a [Heard],
    /// Before (0) or after (1) stage 1.
    which: usize,
    segments: &'a [[usize; 2]],
    shape: &'a mut [f32],
}

impl Job for Shape<'_> {
    #[inline(always)]
    fn run(self) {
        #[expect(clippy::cast_precision_loss, reason = "at most 8192 bins")]
        let sizes = self
            .segments
            .iter()
            .flat_map(|&[bands, size]| std::iter::repeat_n(1.0 / size as f32, bands));
        let mut sum = 0.0;
        for (band, (shape, size)) in self.shape.iter_mut().zip(sizes).enumerate() {
            *shape = self.heard.iter().map(|heard| heard.power[self.which][band]).sum::<f32>() * size;
            sum += *shape;
        }
        #[expect(clippy::cast_precision_loss, reason = "at most 8192 bands")]
        let mean = (sum / self.shape.len() as f32).max(FAINT);
        for shape in self.shape {
            *shape = 0.5 * math::ln(*shape / mean + NOTHING);
        }
    }
}

/// Turns what the last layer says into gains and the trust, in place.
struct Decide<'a> {
    gain: &'a mut [f32],
    trust: &'a mut f32,
}

impl Job for Decide<'_> {
    #[inline(always)]
    fn run(self) {
        for gain in self.gain {
            let said = math::exp(LIMIT * math::tanh(*gain / LIMIT));
            // What is not a number changes nothing.
            *gain = if said.is_nan() { 1.0 } else { said };
        }
        let said = math::sigmoid(*self.trust);
        // False as well for what is not a number.
        *self.trust = if said >= LEAST_TRUST { said } else { 0.0 };
    }
}
