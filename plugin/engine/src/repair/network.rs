//! The click detector: a small network over time that says of each sample how likely a click has destroyed it.
//!
//! Trained and described by `training/dualstep_training/detector.py`, whose names these are. Everything is causal: the answer at a sample is about the one
//! [`Spec::lookahead`] before. Planes are `[time][channel]`, so that the taps of a convolution are one contiguous slice and each layer is one
//! `Affine` over all that a call brings.

use super::plane::Plane;
use super::residual::{Residual, TAPS};
use crate::unet::kernel::{Activation, Affine, Isa, Job};
use crate::weights;
use crate::{SpecError, WeightsError};
use safetensors::SafeTensors;
use serde::Deserialize;
use std::sync::Arc;

/// Version of the file's layout that this engine reads.
pub const FORMAT: u32 = 2;

/// Where the compression of a band saturates, in units of its level.
const KNEE: f32 = 8.0;

/// Least power of a band: -120 dBFS.
const FLOOR: f32 = 1e-12;

/// What the file's `spec` metadata declares.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Spec {
    /// Layout version of the file, see [`FORMAT`].
    pub format: u32,
    /// Version of the weights.
    pub version: String,
    /// Rate at which they were trained in the first place, in Hz; the engine brings every other near it.
    pub rate_hz: f64,
    /// Length of the band filters, in samples.
    pub taps: usize,
    /// Frames over which a band's level is taken.
    pub level_frames: usize,
    /// Samples per group, and groups per frame.
    pub stride: usize,
    /// Channels at samples, groups and frames.
    pub widths: [usize; 3],
    /// Of the residual layers, in frames.
    pub dilations: Vec<usize>,
    /// Frames by which each of them holds back what it adds to, so that it sees as much of what follows.
    pub waits: Vec<usize>,
    /// Frames between the newest sample and the one decided about, the waits among them.
    pub lookahead_frames: usize,
    /// Commit of the training code.
    #[serde(default)]
    pub commit: String,
    /// Hash of the training data's manifest.
    #[serde(default)]
    pub data: String,
    /// Hours of audio the weights were trained on.
    #[serde(default)]
    pub hours: f64,
}

impl Spec {
    /// Samples per frame.
    #[must_use]
    pub fn frame(&self) -> usize {
        self.stride * self.stride
    }

    /// Samples between an answer and the sample it is about.
    #[must_use]
    pub fn lookahead(&self) -> usize {
        self.lookahead_frames * self.frame()
    }

    /// Delay of the skip at samples: the look-ahead, less half a filter and the middle of the merging layer's taps.
    fn sample_delay(&self) -> usize {
        self.lookahead() - self.taps / 2 - 1
    }

    /// The same at groups, in groups.
    fn group_delay(&self) -> usize {
        self.lookahead() / self.stride - 2
    }

    /// Checks every field against what the engine can run.
    fn check(&self) -> Result<(), WeightsError> {
        let within = |field, found: String, sound: bool, expected: &str| {
            SpecError::unless(sound, field, found, expected).map_err(WeightsError::Spec)
        };
        within("format", self.format.to_string(), self.format == FORMAT, &FORMAT.to_string())?;
        let rate = (32e3..=96e3).contains(&self.rate_hz);
        within("rate_hz", self.rate_hz.to_string(), rate, "32000 to 96000")?;
        within("taps", self.taps.to_string(), (2..=64).contains(&self.taps), "2 to 64")?;
        let frames = (1..=256).contains(&self.level_frames);
        within("level_frames", self.level_frames.to_string(), frames, "1 to 256")?;
        within("stride", self.stride.to_string(), (2..=8).contains(&self.stride), "2 to 8")?;
        let widths = self.widths.iter().all(|width| (1..=128).contains(width));
        within("widths", format!("{:?}", self.widths), widths, "3 widths of 1 to 128")?;
        let dilations = self.dilations.len() <= 16 && self.dilations.iter().all(|d| (1..=256).contains(d));
        within("dilations", format!("{:?}", self.dilations), dilations, "up to 16 of 1 to 256")?;
        let waited = self.waits.iter().try_fold(0usize, |sum, wait| sum.checked_add(*wait));
        let waits = self.waits.len() == self.dilations.len() && waited.is_some_and(|sum| sum < self.lookahead_frames);
        within(
            "waits",
            format!("{:?}", self.waits),
            waits,
            "one per dilation, less than lookahead_frames in all",
        )?;
        let lookahead = (1..=16).contains(&self.lookahead_frames) && self.lookahead() > self.taps / 2;
        within("lookahead_frames", self.lookahead_frames.to_string(), lookahead, "1 to 16")
    }

    /// Names and shapes of the tensors.
    fn layout(&self) -> Vec<(String, Vec<usize>)> {
        let [c0, c1, c2] = self.widths;
        let kernel = 2 * self.stride;
        let mut all = vec![
            ("filters.weight".to_owned(), vec![c0, 1, self.taps]),
            ("level.weight".to_owned(), vec![c0, self.level_frames]),
        ];
        let mut add = |name: String, weight: [usize; 3], bias: usize| {
            all.push((format!("{name}.weight"), weight.to_vec()));
            all.push((format!("{name}.bias"), vec![bias]));
        };
        for (i, [cin, cout]) in [[c0, c1], [c1, c2]].into_iter().enumerate() {
            add(format!("down.{i}"), [cout, cin, kernel], cout);
            add(format!("up.{i}"), [cout, cin, self.stride], cin);
            add(format!("merge.{i}"), [cin, cin, TAPS], cin);
        }
        for (name, shape) in Residual::layout(&self.dilations, c2) {
            add(name, shape, c2);
        }
        add("head".to_owned(), [1, c0, 1], 1);
        all
    }
}

/// The detector's weights, checked and packed. Cheap to clone: all channels and instances share one copy.
#[derive(Clone, Debug)]
pub struct ClickDetector(Arc<Weights>);

#[derive(Debug)]
struct Weights {
    spec: Spec,
    isa: Isa,
    filters: Affine,
    /// `[frame][channel]`, oldest first.
    level: Vec<f32>,
    down: [Affine; 2],
    layers: Residual,
    up: [Affine; 2],
    merge: [Affine; 2],
    head: Affine,
}

impl ClickDetector {
    /// Reads a safetensors file's bytes.
    ///
    /// # Errors
    /// If the bytes are no safetensors file, the spec is missing or can't be run, or a tensor is missing, unknown, of another shape than the spec asks
    /// for, or holds a value that is not finite.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, WeightsError> {
        Self::from_bytes_for(bytes, Isa::best())
    }

    /// As [`ClickDetector::from_bytes`], packed for the instruction set `isa` instead of the fastest.
    ///
    /// # Errors
    /// As [`ClickDetector::from_bytes`].
    pub fn from_bytes_for(bytes: &[u8], isa: Isa) -> Result<Self, WeightsError> {
        let spec: Spec = serde_json::from_str(&weights::spec_of(bytes)?).map_err(WeightsError::SpecJson)?;
        spec.check()?;
        let file = SafeTensors::deserialize(bytes).map_err(WeightsError::Format)?;
        let values = weights::read_all(&file, spec.layout())?;
        let get = |name: String| values[&name].1.as_slice();
        let [c0, c1, c2] = spec.widths;
        // `[cout][cin][tap]` to rows of `[tap][cin]`.
        let conv = |name: &str, cin: usize, cout: usize, kernel: usize| {
            let weight = get(format!("{name}.weight"));
            let at = |_, index: usize, column: usize| weight[(column * cin + index % cin) * kernel + index / cin];
            Affine::new(isa, &[kernel * cin], cout, at, get(format!("{name}.bias")), Activation::Leaky)
        };
        let up = |name: &str, cin: usize, cout: usize| {
            let weight = get(format!("{name}.weight"));
            // `[cin][cout][step]` to columns of `[step][cout]`.
            let at = |_, index: usize, column: usize| weight[(index * cout + column % cout) * spec.stride + column / cout];
            let bias = get(format!("{name}.bias")).repeat(spec.stride);
            Affine::new(isa, &[cin], cout * spec.stride, at, &bias, Activation::None)
        };
        let filters = get("filters.weight".to_owned());
        let level = get("level.weight".to_owned());
        let head = get("head.weight".to_owned());
        let kernel = 2 * spec.stride;
        let weights = Weights {
            isa,
            filters: Affine::new(
                isa,
                &[spec.taps],
                c0,
                |_, index, column| filters[column * spec.taps + index],
                &vec![0.0; c0],
                Activation::None,
            ),
            level: (0..spec.level_frames * c0)
                .map(|i| level[(i % c0) * spec.level_frames + i / c0])
                .collect(),
            down: [conv("down.0", c0, c1, kernel), conv("down.1", c1, c2, kernel)],
            layers: Residual::new(isa, &spec.dilations, &spec.waits, c2, get),
            up: [up("up.0", c1, c0), up("up.1", c2, c1)],
            merge: [conv("merge.0", c0, c0, TAPS), conv("merge.1", c1, c1, TAPS)],
            head: Affine::new(
                isa,
                &[c0],
                1,
                |_, index, _| head[index],
                get("head.bias".to_owned()),
                Activation::None,
            ),
            spec,
        };
        Ok(Self(Arc::new(weights)))
    }

    /// What the weights declare.
    #[must_use]
    pub fn spec(&self) -> &Spec {
        &self.0.spec
    }

    /// Multiply-adds per sample.
    #[must_use]
    pub fn macs(&self) -> f64 {
        let w = &self.0;
        let stride = w.spec.stride as f64;
        let samples = w.filters.macs() + w.merge[0].macs() + w.head.macs();
        let groups = w.down[0].macs() + w.up[0].macs() + w.merge[1].macs();
        let frames = w.down[1].macs() + w.up[1].macs() + w.layers.macs() + w.level.len();
        samples as f64 + groups as f64 / stride + frames as f64 / (stride * stride)
    }
}

/// The detector over one channel's stream, at the detector's rate.
#[derive(Clone, Debug)]
pub struct DetectorStream {
    weights: ClickDetector,
    /// Most frames per call.
    frames: usize,
    /// Samples that wait for the rest of their frame.
    waiting: usize,
    input: Plane,
    bands: Plane,
    /// Power of the bands per frame.
    power: Plane,
    s0: Plane,
    s1: Plane,
    /// What enters each residual layer, and what leaves the last.
    s2: Vec<Plane>,
    u1: Plane,
    u0: Plane,
    merged1: Plane,
    merged0: Plane,
    logits: Vec<f32>,
}

impl DetectorStream {
    /// At the start of a stream that comes in pieces of at most `samples` samples.
    #[must_use]
    pub fn new(detector: &ClickDetector, samples: usize) -> Self {
        let spec = detector.spec();
        let [c0, c1, c2] = spec.widths;
        let (frame, stride) = (spec.frame(), spec.stride);
        let frames = samples.div_ceil(frame) + 1;
        let (groups, most) = (frames * stride, frames * frame);
        Self {
            weights: detector.clone(),
            frames,
            waiting: 0,
            input: Plane::new(1, spec.taps - 1, most + frame),
            bands: Plane::new(c0, 0, most),
            power: Plane::new(c0, spec.level_frames, frames),
            s0: Plane::new(c0, spec.sample_delay().max(stride), most),
            s1: Plane::new(c1, spec.group_delay().max(stride), groups),
            s2: detector.0.layers.planes(c2, frames),
            u1: Plane::new(c1, TAPS - 1, groups),
            u0: Plane::new(c0, TAPS - 1, most),
            merged1: Plane::new(c1, 0, groups),
            merged0: Plane::new(c0, 0, most),
            logits: vec![0.0; most],
        }
    }

    /// Samples between an answer and the sample it is about.
    #[must_use]
    pub fn lookahead(&self) -> usize {
        self.weights.spec().lookahead()
    }

    /// Back to the start of a stream.
    pub fn reset(&mut self) {
        self.waiting = 0;
        let planes = [
            &mut self.input,
            &mut self.power,
            &mut self.s0,
            &mut self.s1,
            &mut self.u1,
            &mut self.u0,
        ];
        for plane in planes.into_iter().chain(&mut self.s2) {
            plane.data.fill(0.0);
        }
    }

    /// Takes the next samples and returns the probabilities that they complete, whole frames: the first is about the sample after the last one answered
    /// for; the first of a stream is about the sample [`Spec::lookahead`] before its start.
    ///
    /// # Panics
    /// If there are more samples than [`DetectorStream::new`] was told.
    ///
    /// # Real-time
    /// No allocation, lock or system call.
    pub fn process(&mut self, samples: &[f32]) -> &[f32] {
        let Self { weights, .. } = self;
        let weights = Arc::clone(&weights.0);
        let frame = weights.spec.frame();
        let known = self.waiting + samples.len();
        let frames = known / frame;
        assert!(frames <= self.frames, "more samples than the stream was made for");
        self.input.new_rows(known)[self.waiting..].copy_from_slice(samples);
        let done = frames * frame;
        if frames > 0 {
            self.run(&weights, frames);
            self.input.data.copy_within(done..done + weights.spec.taps - 1 + known - done, 0);
        }
        self.waiting = known - done;
        &self.logits[..done]
    }

    /// The network over the next `frames` frames of the input.
    fn run(&mut self, weights: &Weights, frames: usize) {
        let spec = &weights.spec;
        let (groups, samples) = (frames * spec.stride, frames * spec.frame());
        weights
            .filters
            .apply(&[self.input.taps(spec.taps - 1, 1)], self.bands.new_rows(samples));
        weights.isa.run(Compress {
            bands: self.bands.new_rows(samples),
            power: &mut self.power,
            weights: &weights.level,
            frame: spec.frame(),
            out: self.s0.new_rows(samples),
        });
        weights.down[0].apply(&[self.s0.taps(spec.stride, spec.stride)], self.s1.new_rows(groups));
        weights.down[1].apply(&[self.s1.taps(spec.stride, spec.stride)], self.s2[0].new_rows(frames));
        weights.layers.run(&mut self.s2, frames);
        let last = &self.s2[spec.dilations.len()];
        weights.up[1].apply(&[last.taps(0, 1)], self.u1.new_rows(groups));
        let u1 = self.u1.new_rows(groups);
        weights.isa.run(Join {
            x: u1,
            skip: self.s1.from(spec.group_delay()),
        });
        weights.merge[1].apply(&[self.u1.taps(TAPS - 1, 1)], self.merged1.new_rows(groups));
        weights.up[0].apply(&[self.merged1.taps(0, 1)], self.u0.new_rows(samples));
        let u0 = self.u0.new_rows(samples);
        weights.isa.run(Join {
            x: u0,
            skip: self.s0.from(spec.sample_delay()),
        });
        weights.merge[0].apply(&[self.u0.taps(TAPS - 1, 1)], self.merged0.new_rows(samples));
        let logits = &mut self.logits[..samples];
        weights.head.apply(&[self.merged0.taps(0, 1)], logits);
        for x in logits {
            *x = 1.0 / (1.0 + (-*x).exp());
        }
        self.power.advance(frames);
        self.s0.advance(samples);
        self.s1.advance(groups);
        self.s2.iter_mut().for_each(|plane| plane.advance(frames));
        self.u1.advance(groups);
        self.u0.advance(samples);
    }
}

/// Band signals relative to their levels, compressed. The level before a frame is that of the frames before it.
struct Compress<'a> {
    bands: &'a [f32],
    power: &'a mut Plane,
    weights: &'a [f32],
    frame: usize,
    out: &'a mut [f32],
}

impl Job for Compress<'_> {
    #[inline(always)]
    fn run(self) {
        let channels = self.power.channels;
        let size = self.frame * channels;
        for (index, (bands, out)) in self.bands.chunks_exact(size).zip(self.out.chunks_exact_mut(size)).enumerate() {
            let (past, power) = self.power.data.split_at_mut((self.power.past + index) * channels);
            let power = &mut power[..channels];
            power.fill(0.0);
            for band in bands.chunks_exact(channels) {
                for (power, y) in power.iter_mut().zip(band) {
                    *power += y * y;
                }
            }
            for power in power.iter_mut() {
                *power /= self.frame as f32;
            }
            let recent = &past[index * channels..];
            // The gain, in the frame's first row until it is overwritten, needs no room of its own.
            let (gain, rest) = out.split_at_mut(channels);
            gain.fill(FLOOR);
            for (power, weight) in recent.chunks_exact(channels).zip(self.weights.chunks_exact(channels)) {
                for ((gain, power), weight) in gain.iter_mut().zip(power).zip(weight) {
                    *gain += power * weight;
                }
            }
            for gain in gain.iter_mut() {
                *gain = 1.0 / gain.sqrt();
            }
            for (out, band) in rest.chunks_exact_mut(channels).zip(bands.chunks_exact(channels).skip(1)) {
                for ((out, y), gain) in out.iter_mut().zip(band).zip(&*gain) {
                    *out = compressed(y * gain);
                }
            }
            for (gain, y) in gain.iter_mut().zip(bands) {
                *gain = compressed(y * *gain);
            }
        }
    }
}

/// `z`, saturating at [`KNEE`].
#[inline(always)]
fn compressed(z: f32) -> f32 {
    z / (1.0 + z.abs() / KNEE)
}

/// Adds a skip and applies the leaky ReLU.
struct Join<'a> {
    x: &'a mut [f32],
    skip: &'a [f32],
}

impl Job for Join<'_> {
    #[inline(always)]
    fn run(self) {
        for (x, skip) in self.x.iter_mut().zip(self.skip) {
            let sum = *x + skip;
            *x = sum.max(crate::unet::SLOPE * sum);
        }
    }
}
