//! Dropouts: how much level a channel has lost for some milliseconds, and giving it back.
//!
//! A tape that leaves the head multiplies the sound by something less than one, in all bands alike, within a millisecond or so, and lets go as fast. What
//! is left is the sound itself, so it is multiplied back: no interpolation fills tens of milliseconds. Notes that end and consonants fade band by band; a
//! small network knows the difference. Trained and described by `training/dualstep_training/dropouts.py`, whose names these are.
//!
//! Frames are 1 ms at every rate. Everything is causal: an answer is about the frame some frames ago, as many as the repair's look-ahead allows.

use super::plane::Plane;
use super::residual::{Residual, TAPS};
use crate::unet::kernel::{Activation, Affine, Isa};
use crate::weights;
use crate::{SpecError, WeightsError};
use realfft::num_complex::Complex32;
use realfft::{RealFftPlanner, RealToComplex};
use safetensors::SafeTensors;
use serde::Deserialize;
use std::fmt;
use std::sync::Arc;

/// Version of the file's layout that this engine reads.
pub const FORMAT: u32 = 1;

/// Frames per second, as near as a whole number of samples comes to it.
const FRAMES_PER_S: f64 = 1000.0;

/// Rate that differences are scaled to, so that they are slopes.
const SLOPE_RATE_HZ: f64 = 48e3;

/// Added to powers: -130 dB below that of a sine at full scale.
const FLOOR: f32 = 1e-13;

/// Logarithms of powers over what was before are held within this.
const LARGEST: (f32, f32) = (-14.0, 8.0);

/// Greatest depth, in nepers: 43 dB.
const MOST: f32 = 5.0;

/// Log-odds, the mean over a frame and its neighbours, from which it is one in a dropout.
const THRESHOLD: f32 = 3.0;

/// Power of a frame that is silent, -90 dBFS, a 16-bit recording's dither: a cut or a gate. What leads into it is no dropout, and there is nothing to give back.
const SILENCE: f32 = 1e-9;

/// What the file's `spec` metadata declares.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Spec {
    /// Layout version of the file, see [`FORMAT`].
    pub format: u32,
    /// Version of the weights.
    pub version: String,
    /// Where the bands begin, and the last one ends, in bins of the transform of a window.
    pub edges: Vec<usize>,
    /// Length of the window, in frames.
    pub window_frames: usize,
    /// Frames over which a power's level is taken.
    pub level_frames: usize,
    /// Channels of the layers.
    pub width: usize,
    /// Of the residual layers, in frames.
    pub dilations: Vec<usize>,
    /// Frames between the newest and the one decided about, for each pair of outputs, rising.
    pub lookaheads: Vec<usize>,
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
    /// Bands, the frame's own power, and that of its differences.
    fn powers(&self) -> usize {
        self.edges.len() + 1
    }

    /// Checks every field against what the engine can run.
    fn check(&self) -> Result<(), WeightsError> {
        let within = |field, found: String, sound: bool, expected: &str| {
            SpecError::unless(sound, field, found, expected).map_err(WeightsError::Spec)
        };
        within("format", self.format.to_string(), self.format == FORMAT, &FORMAT.to_string())?;
        let rise = |list: &[usize]| list.windows(2).all(|pair| pair[0] < pair[1]);
        let edges = (2..=64).contains(&self.edges.len()) && rise(&self.edges) && self.edges.iter().all(|edge| *edge <= 256);
        within("edges", format!("{:?}", self.edges), edges, "2 to 64 rising ones up to 256")?;
        let window = (1..=16).contains(&self.window_frames);
        within("window_frames", self.window_frames.to_string(), window, "1 to 16")?;
        let level = (1..=256).contains(&self.level_frames);
        within("level_frames", self.level_frames.to_string(), level, "1 to 256")?;
        within("width", self.width.to_string(), (1..=128).contains(&self.width), "1 to 128")?;
        let dilations = self.dilations.len() <= 16 && self.dilations.iter().all(|d| (1..=256).contains(d));
        within("dilations", format!("{:?}", self.dilations), dilations, "up to 16 of 1 to 256")?;
        let lookaheads =
            (1..=4).contains(&self.lookaheads.len()) && rise(&self.lookaheads) && self.lookaheads.iter().all(|ahead| *ahead <= 64);
        within(
            "lookaheads",
            format!("{:?}", self.lookaheads),
            lookaheads,
            "1 to 4 rising ones up to 64",
        )
    }

    /// Names and shapes of the tensors.
    fn layout(&self) -> Vec<(String, Vec<usize>)> {
        let width = self.width;
        let mut all = Vec::new();
        let mut add = |name: String, weight: [usize; 3]| {
            all.push((format!("{name}.weight"), weight.to_vec()));
            all.push((format!("{name}.bias"), vec![weight[0]]));
        };
        add("input".to_owned(), [width, 2 * self.powers(), TAPS]);
        for (name, shape) in Residual::layout(&self.dilations, width) {
            add(name, shape);
        }
        add("head".to_owned(), [2 * self.lookaheads.len(), width, 1]);
        all
    }
}

/// The network's weights, checked and packed. Cheap to clone: all channels and instances share one copy.
#[derive(Clone, Debug)]
pub struct DropoutDetector(Arc<Weights>);

#[derive(Debug)]
struct Weights {
    spec: Spec,
    input: Affine,
    layers: Residual,
    head: Affine,
}

impl DropoutDetector {
    /// Reads a safetensors file's bytes.
    ///
    /// # Errors
    /// If the bytes are no safetensors file, the spec is missing or can't be run, or a tensor is missing, unknown, of another shape than the spec asks
    /// for, or holds a value that is not finite.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, WeightsError> {
        Self::from_bytes_for(bytes, Isa::best())
    }

    /// As [`DropoutDetector::from_bytes`], packed for the instruction set `isa` instead of the fastest.
    ///
    /// # Errors
    /// As [`DropoutDetector::from_bytes`].
    pub fn from_bytes_for(bytes: &[u8], isa: Isa) -> Result<Self, WeightsError> {
        let spec: Spec = serde_json::from_str(&weights::spec_of(bytes)?).map_err(WeightsError::SpecJson)?;
        spec.check()?;
        let file = SafeTensors::deserialize(bytes).map_err(WeightsError::Format)?;
        let values = weights::read_all(&file, spec.layout())?;
        let get = |name: String| values[&name].1.as_slice();
        let (cin, width) = (2 * spec.powers(), spec.width);
        // `[cout][cin][tap]`.
        let input = get("input.weight".to_owned());
        let head = get("head.weight".to_owned());
        let weights = Weights {
            input: Affine::new(
                isa,
                &[TAPS * cin],
                width,
                |_, index, column| input[(column * cin + index % cin) * TAPS + index / cin],
                get("input.bias".to_owned()),
                Activation::Leaky,
            ),
            layers: Residual::new(isa, &spec.dilations, &vec![0; spec.dilations.len()], width, get),
            head: Affine::new(
                isa,
                &[width],
                2 * spec.lookaheads.len(),
                |_, index, column| head[column * width + index],
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

    /// Multiply-adds per frame.
    #[must_use]
    pub fn macs(&self) -> usize {
        let w = &self.0;
        w.input.macs() + w.layers.macs() + w.head.macs()
    }
}

/// The network over one channel's stream, and the depths that it finds.
#[derive(Clone)]
pub struct DropoutStream {
    weights: DropoutDetector,
    /// Samples per frame, and most frames per call.
    frame: usize,
    frames: usize,
    /// Which pair of outputs is used.
    pair: usize,
    transform: Arc<dyn RealToComplex<f32>>,
    window: Vec<f32>,
    /// What makes the transform's squares powers relative to a sine at full scale, and differences slopes.
    scale: f32,
    slope: f32,
    windowed: Vec<f32>,
    spectrum: Vec<Complex32>,
    scratch: Vec<Complex32>,
    /// A window's past, then the samples that wait for the rest of their frame and those of the call.
    samples: Vec<f32>,
    waiting: usize,
    /// Logarithms of the powers.
    logs: Plane,
    features: Plane,
    /// What enters each residual layer, and what leaves the last.
    hidden: Vec<Plane>,
    out: Vec<f32>,
    /// Whether the call's frames are silent, and frames since the last one that was.
    silent: Vec<bool>,
    sounding: usize,
    /// Log-odds of the frame before the one decided about, and, with the shortest look-ahead, of those from the one after it on.
    before: f32,
    after: Vec<f32>,
    /// Depth of the last frames in nepers, the oldest first; 0 outside of dropouts.
    depths: Vec<f32>,
}

impl fmt::Debug for DropoutStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DropoutStream")
            .field("frame", &self.frame)
            .field("lookahead_frames", &self.lookahead_frames())
            .finish_non_exhaustive()
    }
}

impl DropoutStream {
    /// At the start of a stream that comes in pieces of at most `hop` samples. A sample leaves, and is repaired, when `lookahead` to `lookahead + hop`
    /// samples behind it are known.
    ///
    /// Of the weights' look-aheads the greatest is taken whose answers are there by then: up to a frame waits to be complete, and the line to the middle of the
    /// next frame takes another half.
    #[must_use]
    pub fn new(detector: &DropoutDetector, sample_rate_hz: f64, hop: usize, lookahead: usize) -> Self {
        let spec = detector.spec();
        let frame = super::samples(sample_rate_hz, FRAMES_PER_S.recip()).max(1);
        let frames = hop.div_ceil(frame) + 1;
        let fits = |ahead: &usize| 2 * lookahead >= (2 * ahead + 3) * frame;
        let pair = spec.lookaheads.iter().rposition(fits).unwrap_or(0);
        let size = spec.window_frames * frame;
        let transform = RealFftPlanner::new().plan_fft_forward(size);
        let window: Vec<f32> = (0..size)
            .map(|n| {
                #[expect(clippy::cast_possible_truncation, reason = "windows are in single precision")]
                let value = (std::f64::consts::PI * n as f64 / size as f64).sin().powi(2) as f32;
                value
            })
            .collect();
        let powers = spec.powers();
        #[expect(clippy::cast_possible_truncation, reason = "features are in single precision")]
        let slope = (sample_rate_hz / SLOPE_RATE_HZ) as f32;
        let mut stream = Self {
            pair,
            frame,
            frames,
            spectrum: transform.make_output_vec(),
            scratch: transform.make_scratch_vec(),
            transform,
            scale: (2.0 / window.iter().sum::<f32>()).powi(2),
            slope,
            windowed: vec![0.0; size],
            window,
            samples: vec![0.0; size + hop + frame],
            waiting: 0,
            logs: Plane::new(powers, spec.level_frames, frames),
            features: Plane::new(2 * powers, TAPS - 1, frames),
            hidden: detector.0.layers.planes(spec.width, frames),
            out: vec![0.0; 2 * spec.lookaheads.len() * frames],
            silent: vec![false; frames],
            sounding: 0,
            before: 0.0,
            after: vec![0.0; spec.lookaheads[pair] - spec.lookaheads[0]],
            depths: vec![0.0; (lookahead + hop) / frame + 3],
            weights: detector.clone(),
        };
        stream.reset();
        stream
    }

    /// Frames between the newest and the one decided about.
    #[must_use]
    pub fn lookahead_frames(&self) -> usize {
        self.weights.spec().lookaheads[self.pair]
    }

    /// Back to the start of a stream.
    pub fn reset(&mut self) {
        self.samples.fill(0.0);
        self.waiting = 0;
        self.logs.data.fill(FLOOR.ln());
        self.features.data.fill(0.0);
        self.hidden.iter_mut().for_each(|plane| plane.data.fill(0.0));
        self.sounding = usize::MAX;
        self.before = 0.0;
        self.after.fill(0.0);
        self.depths.fill(0.0);
    }

    /// Takes the next samples, and returns what the network says of the frames that they complete: log-odds and depth for each look-ahead of the file.
    ///
    /// # Panics
    /// If there are more samples than [`DropoutStream::new`] was told.
    ///
    /// # Real-time
    /// No allocation, lock or system call.
    pub fn follow(&mut self, samples: &[f32]) -> &[f32] {
        let weights = Arc::clone(&self.weights.0);
        let past = self.window.len();
        let known = self.waiting + samples.len();
        let frames = known / self.frame;
        assert!(frames <= self.frames, "more samples than the stream was made for");
        self.samples[past + self.waiting..][..samples.len()].copy_from_slice(samples);
        for frame in 0..frames {
            self.measure(&weights.spec, frame);
        }
        let done = frames * self.frame;
        if frames > 0 {
            self.run(&weights, frames);
            self.samples.copy_within(done..past + known, 0);
        }
        self.waiting = known - done;
        let outs = 2 * weights.spec.lookaheads.len();
        let answers = &self.out[..frames * outs];
        for (answer, silent) in answers.chunks_exact(outs).zip(&self.silent) {
            self.sounding = if *silent { 0 } else { self.sounding.saturating_add(1) };
            let cut = self.sounding <= self.lookahead_frames();
            let (odds, found) = (answer[2 * self.pair], answer[2 * self.pair + 1]);
            // A frame alone is seldom a dropout.
            let mut settled = 0.5 * (self.before + odds);
            self.before = odds;
            if let Some(newest) = self.after.first_mut() {
                *newest = answer[0];
                self.after.rotate_left(1);
                settled = (2.0 * settled + self.after[0]) / 3.0;
            }
            self.depths.rotate_left(1);
            if let Some(depth) = self.depths.last_mut() {
                *depth = if settled > THRESHOLD && !cut { found } else { 0.0 };
            }
        }
        answers
    }

    /// Powers of the call's frame `index` and what the network sees of them.
    fn measure(&mut self, spec: &Spec, index: usize) {
        let powers = spec.powers();
        let size = self.window.len();
        // The frame ends a window after the past that it begins with.
        let heard = &self.samples[(index + 1) * self.frame..][..size];
        for ((windowed, x), weight) in self.windowed.iter_mut().zip(heard).zip(&self.window) {
            *windowed = x * weight;
        }
        let transformed = self
            .transform
            .process_with_scratch(&mut self.windowed, &mut self.spectrum, &mut self.scratch);
        debug_assert!(transformed.is_ok(), "the buffers are the transform's own");
        let start = self.logs.past + index;
        let (before, now) = self.logs.data.split_at_mut(start * powers);
        let now = &mut now[..powers];
        for (power, edges) in now.iter_mut().zip(spec.edges.windows(2)) {
            // Bins that this rate lacks are silent.
            let bins = self.spectrum.get(edges[0]..edges[1].min(self.spectrum.len())).unwrap_or_default();
            *power = self.scale * bins.iter().map(|z| z.norm_sqr()).sum::<f32>() / (edges[1] - edges[0]) as f32;
        }
        let own = &self.samples[size + index * self.frame - 1..][..=self.frame];
        now[powers - 2] = own[1..].iter().map(|x| x * x).sum::<f32>() / self.frame as f32;
        self.silent[index] = now[powers - 2] < SILENCE;
        now[powers - 1] = own.windows(2).map(|x| ((x[1] - x[0]) * self.slope).powi(2)).sum::<f32>() / self.frame as f32;
        now.iter_mut().for_each(|power| *power = (*power + FLOOR).ln());
        let (over, level) = self.features.new_rows(index + 1)[index * 2 * powers..].split_at_mut(powers);
        level.fill(0.0);
        let past = &before[(start - spec.level_frames) * powers..];
        for row in past.chunks_exact(powers) {
            for (level, log) in level.iter_mut().zip(row) {
                *level += log;
            }
        }
        level.iter_mut().for_each(|level| *level /= spec.level_frames as f32);
        let mean = level.iter().sum::<f32>() / powers as f32;
        for ((over, level), log) in over.iter_mut().zip(level).zip(now) {
            *over = (*log - *level).clamp(LARGEST.0, LARGEST.1) / 3.0;
            *level = (*level - mean) / 6.0;
        }
    }

    /// The network over the call's `frames` frames.
    fn run(&mut self, weights: &Weights, frames: usize) {
        weights
            .input
            .apply(&[self.features.taps(TAPS - 1, 1)], self.hidden[0].new_rows(frames));
        weights.layers.run(&mut self.hidden, frames);
        let outs = 2 * weights.spec.lookaheads.len();
        let out = &mut self.out[..frames * outs];
        weights.head.apply(&[self.hidden[weights.spec.dilations.len()].taps(0, 1)], out);
        for depth in out.iter_mut().skip(1).step_by(2) {
            // Softplus; beyond 20 it is the identity.
            *depth = if *depth > 20.0 { *depth } else { depth.exp().ln_1p() }.min(MOST);
        }
        self.logs.advance(frames);
        self.features.advance(frames);
        self.hidden.iter_mut().for_each(|plane| plane.advance(frames));
    }

    /// Gives back what dropouts took. The first sample of `audio` is `behind` samples before the end of what [`DropoutStream::follow`] was given, at most
    /// `hop + lookahead`. Outside of dropouts nothing changes by a bit.
    ///
    /// Depths hold in the middles of their frames; between them there are straight lines. What no frame knows of yet is as the last one.
    pub fn give_back(&self, audio: &mut [f32], behind: usize) {
        if self.depths.iter().all(|depth| *depth == 0.0) {
            return;
        }
        let newest = self.depths.len() - 1;
        let middle = self.waiting as f32 + (self.lookahead_frames() as f32 + 0.5) * self.frame as f32;
        for (i, x) in audio.iter_mut().enumerate() {
            let back = ((behind as f32 - i as f32 - 0.5 - middle) / self.frame as f32).max(0.0);
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "frames back, at most a hop and the look-ahead"
            )]
            let whole = (back as usize).min(newest);
            let (later, earlier) = (self.depths[newest - whole], self.depths[newest - (whole + 1).min(newest)]);
            let depth = later + (earlier - later) * (back - whole as f32);
            if depth > 0.0 {
                *x *= depth.exp();
            }
        }
    }
}
