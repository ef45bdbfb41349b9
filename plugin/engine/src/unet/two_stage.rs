//! Both stages in a row, frame by frame: level, floor, features, stage 1, look-ahead, stage 2 with its balance.

use super::balance::Balance;
use super::first_stage::FirstStage;
use super::kernel::{Buffer, Isa, Job};
use super::math;
use super::stage::Stage;
use super::{FEATURES, SPECTRUM_FEATURES};
use crate::Controls;
use crate::floor::Floor;
use crate::level::Level;
use crate::weights::Model;
use realfft::num_complex::Complex32;

/// Spectrum values are kept within this, 120 dB above full scale: no power of them overflows.
const LARGEST: f32 = 1e6;

/// Mean compressed magnitude of a frame below which it is digital silence, and no noise: all bins at -160 dBFS.
pub(super) const SILENT_LEVEL: f64 = 0.004;

/// Parts of spectrum values below this, -300 dB, count as zero: no power of them is subnormal.
const SMALLEST: f32 = 1e-15;

/// Stage 2's U-Net rests after so much time without trust in any channel. Trust comes and goes within seconds, and a U-Net that starts anew needs some time.
const REST_AFTER_S: f64 = 2.0;

/// Time in which it is trusted more and more after a rest: about how long its frames and its recurrent layer take to know the sound.
const WARM_AFTER_S: f64 = 1.0;

/// What both stages say of one frame, `lookahead_hops` behind the frame that went in. All fields are `[channel][bin]`, over the spec's `bins`.
#[derive(Clone, Debug, Default)]
pub struct RestoredFrame {
    /// The frame's input spectrum `X`.
    pub dry: Vec<Complex32>,
    /// Stage 1's gain, 0..=1, after the stereo link.
    pub gain: Vec<f32>,
    /// Stage 2's output `Y2` at full strength (stage 1's full-strength output is `gain * dry`).
    pub restored: Vec<Complex32>,
}

impl RestoredFrame {
    /// Zeros, of the size that [`TwoStage::step`] writes for `channels` channels.
    #[must_use]
    pub fn new(model: &Model, channels: usize) -> Self {
        let mut frame = Self::default();
        frame.fit(channels * model.spec().bins);
        frame
    }

    fn fit(&mut self, size: usize) {
        self.dry.resize(size, Complex32::default());
        self.gain.resize(size, 0.0);
        self.restored.resize(size, Complex32::default());
    }
}

/// Streaming state of both stages for all channels.
#[derive(Debug)]
pub struct TwoStage {
    isa: Isa,
    channels: usize,
    bins: usize,
    /// Bins below this exist at the sample rate in use.
    present: usize,
    taps: usize,
    first: FirstStage,
    second: Stage,
    balance: Balance,
    /// Hops in a row in which stage 2's U-Net was trusted with no channel, up to those after which it rests.
    untrusted: usize,
    rest_after: usize,
    /// Share of the trust that it gets, 1 but for the time after a rest, and what is added per hop.
    warmth: f32,
    warming: f32,
    levels: Vec<Level>,
    floors: Vec<Floor>,
    /// The last `lookahead_hops + 1` frames, a ring.
    frames: Vec<Frame>,
    /// Where the newest of them is.
    now: usize,
    /// Whether a frame has arrived since the start of the stream.
    started: bool,
    /// Stage 1's spectra of the last `taps` frames, a ring; each `[channel][bin]`.
    stage1: Vec<Vec<Complex32>>,
    /// Where the newest of them is.
    newest: usize,
    /// `[channel][bin][FEATURES[1]]`: what stage 2 sees.
    both: Buffer,
    /// `[channel][bin][2 * taps + 2]`: what stage 2 says.
    said: Buffer,
    /// `[bin]` each.
    scratch: [Buffer; 4],
}

/// One frame on its way through the look-ahead.
#[derive(Clone, Debug)]
struct Frame {
    /// `[channel][bin]`.
    spectrum: Vec<Complex32>,
    /// `[channel][bin][FEATURES[0]]`: what stage 1 sees.
    features: Buffer,
    /// `[channel]`.
    level: Vec<f32>,
}

impl TwoStage {
    /// State for `channels` channels, as at the start of a stream, at a sample rate that has all the spec's bins.
    #[must_use]
    pub fn new(model: &Model, channels: usize) -> Self {
        Self::with_bins(model, channels, model.spec().bins)
    }

    /// As [`TwoStage::new`], at a sample rate that has only the first `present` bins ([`crate::Geometry::network_bins`]): the networks see no features in
    /// the others, and nothing is restored there.
    #[must_use]
    pub fn with_bins(model: &Model, channels: usize, present: usize) -> Self {
        let spec = model.spec();
        let size = channels * spec.bins;
        let frame = Frame {
            spectrum: vec![Complex32::default(); size],
            features: Buffer::new(size * FEATURES[0]),
            level: vec![spec.level_floor; channels],
        };
        Self {
            isa: model.isa(),
            channels,
            bins: spec.bins,
            present: present.min(spec.bins),
            taps: spec.taps,
            first: FirstStage::new(model, channels),
            second: Stage::new(&model.stages()[1], channels),
            balance: Balance::new(model.balance(), channels),
            untrusted: 0,
            rest_after: spec.hops(REST_AFTER_S),
            warmth: 1.0,
            #[expect(clippy::cast_precision_loss, reason = "a few hundred hops at most")]
            warming: 1.0 / spec.hops(WARM_AFTER_S) as f32,
            levels: vec![Level::new(spec); channels],
            floors: vec![Floor::new(spec); channels],
            frames: vec![frame; spec.lookahead_hops + 1],
            now: 0,
            started: false,
            stage1: vec![vec![Complex32::default(); size]; spec.taps],
            newest: 0,
            both: Buffer::new(size * FEATURES[1]),
            said: Buffer::new(size * (2 * spec.taps + 2)),
            scratch: [0; 4].map(|_| Buffer::new(spec.bins)),
        }
    }

    /// Takes the next frame's spectrum, `[channel][bin]` over the spec's `bins` (missing bins are 0), and writes what is known of frame `k - lookahead_hops`.
    ///
    /// `frame` may have any size before the call; one of the right size ([`RestoredFrame::new`], or of the call before) is only written.
    /// Of the controls, `linked` (all channels get the same gains and the same taps) and `speech` (stage 1 is the one for that) say what the networks do.
    ///
    /// # Panics
    /// If `spectrum` doesn't hold `channels * bins` values.
    ///
    /// # Real-time
    /// No allocation, lock or system call, if `frame` has its size; runs on the calling thread.
    pub fn step(&mut self, spectrum: &[Complex32], controls: &Controls, frame: &mut RestoredFrame) {
        assert_eq!(spectrum.len(), self.channels * self.bins, "channels * bins");
        frame.fit(self.channels * self.bins);
        let linked = controls.linked && self.channels > 1;
        self.now = (self.now + 1) % self.frames.len();
        self.take(spectrum);
        // The oldest frame of the ring is the one that stage 1 now decides about: `lookahead_hops` frames ago.
        let oldest = (self.now + 1) % self.frames.len();

        self.first.step(&self.frames[self.now].features, controls.speech, &mut frame.gain);
        frame.dry.copy_from_slice(&self.frames[oldest].spectrum);
        self.isa.run(Gains {
            said: &mut frame.gain,
            link: linked.then_some((&frame.dry, self.bins)),
        });

        self.newest = (self.newest + 1) % self.taps;
        self.see_both(oldest, frame);
        self.balance.decide(linked);
        self.ask_second(linked);
        let past: &[Vec<Complex32>] = &self.stage1;
        let values = self.bins * (2 * self.taps + 2);
        for (channel, restored) in frame.restored.chunks_exact_mut(self.bins).enumerate() {
            let trust = self.balance.trust(channel) * self.warmth;
            if trust > 0.0 {
                let said = &mut self.said[channel * values..][..values];
                said.iter_mut().for_each(|value| *value *= trust);
                let [re, im, add_re, add_im] = &mut self.scratch;
                self.isa.run(Restore {
                    said,
                    taps: self.taps,
                    past,
                    newest: self.newest,
                    bins: channel * self.bins..channel * self.bins + self.present,
                    level: self.frames[oldest].level[channel],
                    filtered: [re, im],
                    added: [add_re, add_im],
                    restored,
                });
            } else {
                let (present, missing) = restored.split_at_mut(self.present);
                present.copy_from_slice(&past[self.newest][channel * self.bins..][..self.present]);
                missing.fill(Complex32::default());
            }
            for (restored, gain) in restored.iter_mut().zip(self.balance.gains(channel)) {
                *restored *= gain;
            }
        }
    }

    /// What stage 2's U-Net says of the frame, unless it rests. Most recordings aren't worn, and it is half of the cost of both stages; after a rest it starts
    /// anew.
    fn ask_second(&mut self, linked: bool) {
        let rested = self.untrusted == self.rest_after;
        let trusted = (0..self.channels).any(|channel| self.balance.trust(channel) > 0.0);
        self.untrusted = if trusted { 0 } else { (self.untrusted + 1).min(self.rest_after) };
        if self.untrusted == self.rest_after {
            return;
        }
        if rested {
            self.second.reset();
            self.warmth = 0.0;
        }
        self.warmth = (self.warmth + self.warming).min(1.0);
        self.second.step(&self.both, &mut self.said);
        if linked {
            self.isa.run(LinkTaps {
                said: &mut self.said,
                stage1: &self.stage1[self.newest],
                values: 2 * self.taps + 2,
                bins: self.bins,
            });
        }
    }

    /// Puts a frame into the ring's slot `now`, with its level and features.
    fn take(&mut self, spectrum: &[Complex32]) {
        for channel in 0..self.channels {
            let frame = &mut self.frames[self.now];
            let kept = &mut frame.spectrum[channel * self.bins..][..self.bins];
            for (kept, value) in kept.iter_mut().zip(&spectrum[channel * self.bins..][..self.present]) {
                *kept = Complex32::new(tame(value.re), tame(value.im));
            }
            let [magnitude, factor, floor, _] = self.scratch.each_mut().map(|buffer| &mut buffer[..self.present]);
            self.isa.run(Compress {
                spectrum: kept,
                magnitude,
                factor,
            });
            #[expect(clippy::cast_precision_loss, reason = "at most 8192 bins")]
            let mean = magnitude.iter().map(|x| f64::from(*x)).sum::<f64>() / self.bins as f64;
            #[expect(clippy::cast_possible_truncation, reason = "a mean of f32 values")]
            let level = self.levels[channel].advance(mean as f32);
            frame.level[channel] = level;
            self.isa.run(FollowFloor {
                state: &mut self.floors[channel],
                heard: mean >= SILENT_LEVEL,
                magnitude,
                floor,
            });
            let features = &mut frame.features[channel * self.bins * FEATURES[0]..][..self.present * FEATURES[0]];
            self.isa.run(Features {
                spectrum: kept,
                magnitude,
                factor,
                level,
                values: FEATURES[0],
                out: features,
            });
            for (features, floor) in features.chunks_exact_mut(FEATURES[0]).zip(floor) {
                features[SPECTRUM_FEATURES] = *floor / level;
            }
        }
        if !self.started {
            self.started = true;
            self.imagine_past();
        }
    }

    /// Frames before the first are silence at the first frame's level.
    fn imagine_past(&mut self) {
        let now = self.now;
        for channel in 0..self.channels {
            let level = self.frames[now].level[channel];
            let magnitude = math::compression(0.0).0 / level;
            for (_, frame) in self.frames.iter_mut().enumerate().filter(|(slot, _)| *slot != now) {
                frame.level[channel] = level;
                let features = &mut frame.features[channel * self.bins * FEATURES[0]..][..self.present * FEATURES[0]];
                for bin in features.chunks_exact_mut(FEATURES[0]) {
                    // Only stage 2 sees these, and not the floor.
                    bin[..SPECTRUM_FEATURES].copy_from_slice(&[0.0, 0.0, magnitude]);
                }
            }
        }
    }

    /// Stage 1's spectra of the frame in slot `oldest`, and what stage 2 sees of it.
    fn see_both(&mut self, oldest: usize, restored: &RestoredFrame) {
        let stage1 = &mut self.stage1[self.newest];
        for ((stage1, dry), gain) in stage1.iter_mut().zip(&restored.dry).zip(&restored.gain) {
            *stage1 = *dry * *gain;
        }
        let frame = &self.frames[oldest];
        for channel in 0..self.channels {
            let both = &mut self.both[channel * self.bins * FEATURES[1]..][..self.present * FEATURES[1]];
            let first = &frame.features[channel * self.bins * FEATURES[0]..][..self.present * FEATURES[0]];
            for (both, first) in both.chunks_exact_mut(FEATURES[1]).zip(first.chunks_exact(FEATURES[0])) {
                both[..SPECTRUM_FEATURES].copy_from_slice(&first[..SPECTRUM_FEATURES]);
            }
            let spectrum = &stage1[channel * self.bins..][..self.bins];
            let [magnitude, factor, before, _] = self.scratch.each_mut().map(|buffer| &mut buffer[..self.present]);
            self.isa.run(Compress {
                spectrum,
                magnitude,
                factor,
            });
            for (before, first) in before.iter_mut().zip(first.chunks_exact(FEATURES[0])) {
                *before = first[SPECTRUM_FEATURES - 1] * frame.level[channel];
            }
            self.balance.hear(channel, before, magnitude);
            self.isa.run(Features {
                spectrum,
                magnitude,
                factor,
                level: frame.level[channel],
                values: FEATURES[1],
                out: &mut both[SPECTRUM_FEATURES..],
            });
        }
    }

    /// Back to the start of a stream.
    pub fn reset(&mut self) {
        self.rest();
        self.balance.reset();
        for floor in &mut self.floors {
            floor.reset();
        }
    }

    /// As a stream that begins, but of the same recording: what took seconds to learn of it, its noise's floor and its long-term spectrum, is kept.
    pub fn rest(&mut self) {
        self.first.reset();
        self.second.reset();
        self.untrusted = 0;
        self.warmth = 1.0;
        for level in &mut self.levels {
            level.reset();
        }
        for frame in &mut self.frames {
            frame.spectrum.fill(Complex32::default());
        }
        for spectrum in &mut self.stage1 {
            spectrum.fill(Complex32::default());
        }
        self.started = false;
    }
}

/// A part of a spectrum value as the networks take it: finite and no power of it extreme.
fn tame(part: f32) -> f32 {
    if part.abs() > SMALLEST {
        part.clamp(-LARGEST, LARGEST)
    } else {
        // Tiny, or not a number, which is false in every comparison.
        0.0
    }
}

/// Compressed magnitudes and the factors that compress the parts; all `[bin]`, `spectrum` may be longer.
struct Compress<'a> {
    spectrum: &'a [Complex32],
    magnitude: &'a mut [f32],
    factor: &'a mut [f32],
}

impl Job for Compress<'_> {
    #[inline(always)]
    fn run(self) {
        for ((z, magnitude), factor) in self.spectrum.iter().zip(self.magnitude).zip(self.factor) {
            (*magnitude, *factor) = math::compression(z.re * z.re + z.im * z.im);
        }
    }
}

/// Advances a channel's floor by a frame; both slices are `[bin]`.
struct FollowFloor<'a> {
    state: &'a mut Floor,
    /// Whether the frame is more than digital silence.
    heard: bool,
    magnitude: &'a [f32],
    floor: &'a mut [f32],
}

impl Job for FollowFloor<'_> {
    #[inline(always)]
    fn run(self) {
        self.state.advance(self.magnitude, self.heard, self.floor);
    }
}

/// Writes a spectrum's features to the first three of each `values` values per bin; the last bin may be cut short behind them.
struct Features<'a> {
    spectrum: &'a [Complex32],
    magnitude: &'a [f32],
    factor: &'a [f32],
    level: f32,
    values: usize,
    out: &'a mut [f32],
}

impl Job for Features<'_> {
    #[inline(always)]
    fn run(self) {
        let scale = 1.0 / self.level;
        let compressed = self.magnitude.iter().zip(self.factor);
        for ((out, z), (magnitude, factor)) in self.out.chunks_mut(self.values).zip(self.spectrum).zip(compressed) {
            let factor = factor * scale;
            out[..SPECTRUM_FEATURES].copy_from_slice(&[z.re * factor, z.im * factor, magnitude * scale]);
        }
    }
}

/// Turns what stage 1 says into gains, in place, and links them over the channels by the energy of the spectrum, if it is given (with its bins per channel).
struct Gains<'a> {
    said: &'a mut [f32],
    link: Option<(&'a [Complex32], usize)>,
}

impl Job for Gains<'_> {
    #[inline(always)]
    fn run(self) {
        for value in self.said.iter_mut() {
            let gain = math::sigmoid(*value);
            // What is not a number takes nothing away. Tiny gains would make subnormal spectra.
            let gain = if gain > 1e-12 { gain } else { 0.0 };
            *value = if value.is_nan() { 1.0 } else { gain };
        }
        let Some((dry, bins)) = self.link else { return };
        for bin in 0..bins {
            let (mut taken, mut all) = (0.0, 0.0);
            for (gain, z) in self.said[bin..].iter().step_by(bins).zip(dry[bin..].iter().step_by(bins)) {
                // The summand decides only where there is silence.
                let energy = z.re * z.re + z.im * z.im + 1e-30;
                taken += gain * gain * energy;
                all += energy;
            }
            let gain = (taken / all).sqrt().min(1.0);
            for value in self.said[bin..].iter_mut().step_by(bins) {
                *value = gain;
            }
        }
    }
}

/// Replaces all channels' taps by their mean, weighted by the energy of stage 1's spectra.
struct LinkTaps<'a> {
    /// `[channel][bin][values]`, the last two being the additive term.
    said: &'a mut [f32],
    /// `[channel][bin]`.
    stage1: &'a [Complex32],
    values: usize,
    bins: usize,
}

impl Job for LinkTaps<'_> {
    #[inline(always)]
    fn run(self) {
        let channel = self.bins * self.values;
        let (mean, others) = self.said.split_at_mut(channel);
        for bin in 0..self.bins {
            let mut spectra = self.stage1[bin..].iter().step_by(self.bins);
            let energy = |z: &Complex32| z.re * z.re + z.im * z.im + 1e-30;
            let scale = 1.0 / spectra.clone().map(energy).sum::<f32>();
            let mut weight = || spectra.next().map_or(0.0, energy) * scale;
            let taps = bin * self.values..(bin + 1) * self.values - 2;
            let mean = &mut mean[taps.clone()];
            let first = weight();
            for mean in mean.iter_mut() {
                *mean *= first;
            }
            for other in others.chunks_exact(channel) {
                let weight = weight();
                for (mean, tap) in mean.iter_mut().zip(&other[taps.clone()]) {
                    *mean += weight * tap;
                }
            }
            for other in others.chunks_exact_mut(channel) {
                other[taps.clone()].copy_from_slice(mean);
            }
        }
    }
}

/// Stage 2's spectrum of one channel from what the network says.
struct Restore<'a> {
    /// `[bin][2 * taps + 2]`.
    said: &'a [f32],
    taps: usize,
    /// Ring of stage 1's spectra, all channels.
    past: &'a [Vec<Complex32>],
    newest: usize,
    /// Where this channel's present bins are in them.
    bins: std::ops::Range<usize>,
    level: f32,
    /// Scratch for the filtered spectrum and the additive term.
    filtered: [&'a mut Buffer; 2],
    added: [&'a mut Buffer; 2],
    /// `[bin]`; bins that aren't present become 0.
    restored: &'a mut [Complex32],
}

impl Job for Restore<'_> {
    #[inline(always)]
    fn run(self) {
        let count = self.bins.len();
        let [re, im] = self.filtered.map(|buffer| &mut buffer[..count]);
        let [add_re, add_im] = self.added.map(|buffer| &mut buffer[..count]);
        let values = 2 * self.taps + 2;
        for tap in 0..self.taps {
            let past = &self.past[(self.newest + self.taps - tap) % self.taps][self.bins.clone()];
            for (i, (said, z)) in self.said.chunks_exact(values).zip(past).enumerate() {
                let (t_re, t_im) = (said[2 * tap], said[2 * tap + 1]);
                let product = (t_re * z.re - t_im * z.im, t_re * z.im + t_im * z.re);
                (re[i], im[i]) = if tap == 0 {
                    (z.re + product.0, z.im + product.1)
                } else {
                    (re[i] + product.0, im[i] + product.1)
                };
            }
        }
        for (i, said) in self.said.chunks_exact(values).take(count).enumerate() {
            (add_re[i], add_im[i]) = (said[values - 2], said[values - 1]);
        }
        for i in 0..count {
            let (_, factor) = math::compression(re[i] * re[i] + im[i] * im[i]);
            // (F factor / m + a) m
            let (z_re, z_im) = (re[i] * factor + add_re[i] * self.level, im[i] * factor + add_im[i] * self.level);
            let factor = math::expansion(z_re * z_re + z_im * z_im);
            (re[i], im[i]) = (z_re * factor, z_im * factor);
        }
        let stage1 = &self.past[self.newest][self.bins.clone()];
        let (present, missing) = self.restored.split_at_mut(count);
        for (((out, re), im), stage1) in present.iter_mut().zip(re).zip(im).zip(stage1) {
            // False as well for what is not a number: then stage 2 has nothing to say.
            let sound = re.abs() < LARGEST && im.abs() < LARGEST;
            *out = if sound { Complex32::new(*re, *im) } else { *stage1 };
        }
        missing.fill(Complex32::default());
    }
}
