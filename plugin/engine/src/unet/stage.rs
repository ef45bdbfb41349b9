//! One stage, frame by frame.

use super::Network;
use super::convolution::{Convolution, Scratch};
use super::kernel::{Activation, Affine, Buffer, Isa, Job, Rows};
use super::math;
use super::plane::Plane;
use crate::spec::{Spec, StageSpec};
use std::sync::Arc;

/// One stage's weights, packed for the kernel of one instruction set.
#[derive(Debug)]
pub struct StageWeights {
    isa: Isa,
    shape: Shape,
    stem: Vec<Affine>,
    encoder: Vec<[Convolution; 2]>,
    squeeze: Affine,
    /// Input and hidden part of the recurrent layer's three gates (r, z, n).
    gru: [Affine; 2],
    expand: Affine,
    up: Vec<Affine>,
    decoder: Vec<[Convolution; 2]>,
    head: Vec<Affine>,
}

/// Sizes of one stage.
#[derive(Clone, Debug)]
struct Shape {
    /// Features per bin.
    cin: usize,
    /// Values per bin that come out.
    outs: usize,
    bins: usize,
    /// `[bands, bins per band]`.
    segments: Vec<[usize; 2]>,
    /// Channels per level.
    widths: Vec<usize>,
    /// Bands per level.
    bands: Vec<usize>,
    /// Channels per band around the recurrent layer.
    squeeze: usize,
    /// Size of the recurrent layer.
    hidden: usize,
}

impl StageWeights {
    /// Packs `network`; `get` finds a tensor's values by its name within it. They must have the sizes that [`crate::weights::layout`] says.
    pub(crate) fn pack<'a>(isa: Isa, spec: &Spec, network: Network, get: impl Fn(&str) -> &'a [f32]) -> Self {
        use Activation::{Leaky, None};
        let (cin, outs) = (network.features(), network.values(spec));
        let StageSpec { ref widths, squeeze } = *network.spec(spec);
        let (first, top) = (widths[0], widths.len() - 1);
        let bands = spec.bands();

        let mut band = 0;
        let stem = spec.segments.iter().enumerate().map(|(i, &[count, stride])| {
            // [C0, cin, 1, stride]; a row is [bin][feature]. The bias is a row per band: the position is added to it.
            let weight = get(&format!("stem.{i}.weight"));
            let bias = get(&format!("stem.{i}.bias"));
            let position = get("position");
            let bias: Vec<f32> = (band..band + count)
                .flat_map(|band| (0..first).map(move |channel| bias[channel] + position[channel * bands + band]))
                .collect();
            band += count;
            let weight = |_, k, column| weight[(column * cin + k % cin) * stride + k / cin];
            Affine::new(isa, &[stride * cin], first, weight, &bias, Leaky)
        });
        let stem = stem.collect();

        // [Co, sum of parts, 2 frames, 3 bands].
        let conv = |name: String, level: usize, parts: &[usize]| {
            let [weight, bias] = ["weight", "bias"].map(|kind| get(&format!("{name}.{kind}")));
            Convolution::new(isa, spec.bands_at(level), parts, widths[level], weight, bias)
        };
        // [Co, K]: a plain matrix.
        let dense = |weight: &str, bias: &str, inner: usize, columns: usize, activation| {
            let weight = get(weight);
            Affine::new(
                isa,
                &[inner],
                columns,
                |_, k, column| weight[column * inner + k],
                get(bias),
                activation,
            )
        };
        // [Ci, Co, 1, stride], transposed convolution: a row of the output is [stride][Co], whole bands or bins one after the other.
        let transposed = |name: &str, inner: usize, outs: usize, stride: usize, activation| {
            let weight = get(&format!("{name}.weight"));
            let bias = get(&format!("{name}.bias")).repeat(stride);
            let packed = |_, k, column| weight[(k * outs + column % outs) * stride + column / outs];
            Affine::new(isa, &[inner], outs * stride, packed, &bias, activation)
        };

        let hidden = spec.recurrent(network.spec(spec));
        Self {
            isa,
            shape: Shape {
                cin,
                outs,
                bins: spec.bins,
                segments: spec.segments.clone(),
                widths: widths.clone(),
                bands: (0..widths.len()).map(|level| spec.bands_at(level)).collect(),
                squeeze,
                hidden,
            },
            stem,
            encoder: (0..=top)
                .map(|l| {
                    let before = widths[l.saturating_sub(1)];
                    [
                        conv(format!("encoder.{l}.0"), l, &[before]),
                        conv(format!("encoder.{l}.1"), l, &[widths[l]]),
                    ]
                })
                .collect(),
            squeeze: dense("squeeze.weight", "squeeze.bias", widths[top], squeeze, Leaky),
            gru: ["ih", "hh"].map(|part| {
                let [weight, bias] = ["weight", "bias"].map(|kind| format!("gru.{kind}_{part}_l0"));
                dense(&weight, &bias, hidden, 3 * hidden, None)
            }),
            expand: dense("expand.weight", "expand.bias", squeeze, widths[top], None),
            up: (0..top)
                .map(|l| transposed(&format!("up.{l}"), widths[l + 1], widths[l], 2, Leaky))
                .collect(),
            decoder: (0..top)
                .map(|l| {
                    [
                        conv(format!("decoder.{l}.0"), l, &[widths[l]; 2]),
                        conv(format!("decoder.{l}.1"), l, &[widths[l]]),
                    ]
                })
                .collect(),
            head: (spec.segments.iter().enumerate())
                .map(|(i, &[_, stride])| transposed(&format!("head.{i}"), first, outs, stride, None))
                .collect(),
        }
    }

    fn convolutions(&self) -> impl Iterator<Item = &Convolution> {
        self.encoder.iter().chain(&self.decoder).flatten()
    }

    /// Multiply-adds per frame, as the network is written down.
    pub(crate) fn macs(&self) -> usize {
        let segments = self.shape.segments.iter().zip(self.stem.iter().zip(&self.head));
        let segments: usize = segments.map(|([bands, _], (stem, head))| bands * (stem.macs() + head.macs())).sum();
        let convolutions: usize = self.convolutions().map(Convolution::macs).sum();
        let bands = &self.shape.bands;
        let up: usize = self.up.iter().zip(&bands[1..]).map(|(up, bands)| bands * up.macs()).sum();
        let lowest = bands[bands.len() - 1] * (self.squeeze.macs() + self.expand.macs());
        segments + convolutions + up + lowest + self.gru[0].macs() + self.gru[1].macs()
    }

    /// The instruction set these weights are packed for.
    pub(crate) fn isa(&self) -> Isa {
        self.isa
    }
}

/// Streaming state of one stage for all channels. Channels share nothing but the weights; they go through each layer one after the other or at once, so that
/// its weights are fetched once. As long as all channels have been the same, to the bit, as those of a mono recording on a stereo track are, only the first
/// is computed.
#[derive(Debug)]
pub(crate) struct Stage {
    weights: Arc<StageWeights>,
    channels: usize,
    /// Whether all channels have been the same since the start of the stream; then the state holds the first one's alone.
    same: bool,
    levels: Vec<Level>,
    scratch: Scratch,
    /// `[channel][hidden]`: what goes into the recurrent layer, and its state.
    squeezed: Buffer,
    hidden: Buffer,
    /// `[channel][3 * hidden]`: the gates' sums of input and hidden part.
    sums: [Buffer; 2],
    /// `[band][channel]` of the lowest level: what comes out of `expand`.
    expanded: Buffer,
}

/// The planes of one resolution, in the order they are written, and what its convolutions keep.
#[derive(Debug)]
struct Level {
    /// What the encoder's first convolution sees: the stem, or the pooled skip of the level above.
    entered: Plane,
    /// Between the encoder's convolutions.
    middle: Plane,
    /// The encoder's output; at the lowest level also that of the recurrent layer.
    skip: Plane,
    encoder: [Buffer; 2],
    /// What came up from the level below. Unused at the lowest level, as are the following.
    up: Plane,
    /// Between the decoder's convolutions.
    merged: Plane,
    /// The decoder's output.
    left: Plane,
    decoder: [Buffer; 2],
}

impl Level {
    /// What goes up: the lowest level has no decoder.
    fn output(&self, lowest: bool) -> &Plane {
        if lowest { &self.skip } else { &self.left }
    }
}

impl Stage {
    /// At the start of a stream.
    pub(crate) fn new(weights: &Arc<StageWeights>, channels: usize) -> Self {
        let shape = &weights.shape;
        let top = shape.widths.len() - 1;
        let level = |l: usize| {
            let (bands, width) = (shape.bands[l], shape.widths[l]);
            let decoded = if l < top { bands } else { 0 };
            let kept = |pair: &[Convolution; 2]| [0, 1].map(|which: usize| pair[which].kept(channels));
            Level {
                entered: Plane::new(channels, bands, shape.widths[l.saturating_sub(1)]),
                middle: Plane::new(channels, bands, width),
                skip: Plane::new(channels, bands, width),
                encoder: kept(&weights.encoder[l]),
                up: Plane::new(channels, decoded, width),
                merged: Plane::new(channels, decoded, width),
                left: Plane::new(channels, decoded, width),
                decoder: weights.decoder.get(l).map(kept).unwrap_or_default(),
            }
        };
        Self {
            channels,
            same: true,
            levels: (0..=top).map(level).collect(),
            scratch: Scratch::new(weights.convolutions(), channels),
            squeezed: Buffer::new(channels * shape.hidden),
            hidden: Buffer::new(channels * shape.hidden),
            sums: [0, 1].map(|_| Buffer::new(channels * 3 * shape.hidden)),
            expanded: Buffer::new(shape.bands[top] * shape.widths[top]),
            weights: Arc::clone(weights),
        }
    }

    /// Advances all channels by a frame. `features`: `[channel][bin][feature]`; `out`: `[channel][bin][value]`.
    ///
    /// # Panics
    /// If a slice has another size.
    ///
    /// # Real-time
    /// No allocation, lock or system call.
    pub(crate) fn step(&mut self, features: &[f32], out: &mut [f32]) {
        let weights = Arc::clone(&self.weights);
        let shape = &weights.shape;
        let top = shape.widths.len() - 1;
        assert_eq!(features.len(), self.channels * shape.bins * shape.cin);
        assert_eq!(out.len(), self.channels * shape.bins * shape.outs);

        let all = features.chunks_exact(shape.bins * shape.cin);
        let same = self.same && all.clone().skip(1).all(|channel| *channel == features[..shape.bins * shape.cin]);
        if self.same && !same {
            self.spread();
        }
        self.same = same;
        let channels = if same { 1 } else { self.channels };

        for (channel, features) in all.take(channels).enumerate() {
            stem(&weights, features, self.levels[0].entered.rows_mut(channel));
        }
        for l in 0..=top {
            let (above, below) = self.levels.split_at_mut(l + 1);
            let level = &mut above[l];
            let ([first, second], [kept_first, kept_second]) = (&weights.encoder[l], &mut level.encoder);
            first.step(channels, &[&level.entered], kept_first, &mut self.scratch, &mut level.middle);
            second.step(channels, &[&level.middle], kept_second, &mut self.scratch, &mut level.skip);
            if let Some(below) = below.first_mut() {
                for channel in 0..channels {
                    weights.isa.run(Pool {
                        rows: level.skip.rows(channel),
                        width: shape.widths[l],
                        pooled: below.entered.rows_mut(channel),
                    });
                }
            }
        }
        self.recur(&weights, channels);
        for l in (0..top).rev() {
            let (above, below) = self.levels.split_at_mut(l + 1);
            let (level, below) = (&mut above[l], below[0].output(l + 1 == top));
            for channel in 0..channels {
                let rows = Rows {
                    data: below.rows(channel),
                    stride: shape.widths[l + 1],
                };
                weights.up[l].apply(&[rows], level.up.rows_mut(channel));
            }
            let ([first, second], [kept_first, kept_second]) = (&weights.decoder[l], &mut level.decoder);
            first.step(
                channels,
                &[&level.up, &level.skip],
                kept_first,
                &mut self.scratch,
                &mut level.merged,
            );
            second.step(channels, &[&level.merged], kept_second, &mut self.scratch, &mut level.left);
        }
        for (channel, out) in out.chunks_exact_mut(shape.bins * shape.outs).take(channels).enumerate() {
            head(&weights, self.levels[0].output(top == 0).rows(channel), out);
        }
        let (computed, others) = out.split_at_mut(channels * shape.bins * shape.outs);
        for other in others.chunks_exact_mut(shape.bins * shape.outs) {
            other.copy_from_slice(computed);
        }
    }

    /// Gives each channel the state that has been the same for all.
    fn spread(&mut self) {
        let Self {
            weights, levels, hidden, ..
        } = self;
        for (l, level) in levels.iter_mut().enumerate() {
            let decoder = weights.decoder.get(l).into_iter().flatten();
            let kept = level.encoder.iter_mut().chain(&mut level.decoder);
            for (convolution, kept) in weights.encoder[l].iter().chain(decoder).zip(kept) {
                convolution.spread(kept);
            }
        }
        let size = weights.shape.hidden;
        for channel in 1..self.channels {
            hidden.copy_within(..size, channel * size);
        }
    }

    /// The recurrent layer of the lowest level, of the first `channels` at once: its weights are more than half of the stage's and are used once per frame.
    fn recur(&mut self, weights: &StageWeights, channels: usize) {
        let shape = &weights.shape;
        let (top, hidden) = (shape.widths.len() - 1, shape.hidden);
        let lowest = &mut self.levels[top].skip;
        let [squeezed, state] = [&mut self.squeezed, &mut self.hidden].map(|all| &mut all[..channels * hidden]);
        for (channel, squeezed) in squeezed.chunks_exact_mut(hidden).enumerate() {
            let rows = Rows {
                data: lowest.rows(channel),
                stride: shape.widths[top],
            };
            weights.squeeze.apply(&[rows], squeezed);
        }
        let [input, kept] = self.sums.each_mut().map(|all| &mut all[..channels * 3 * hidden]);
        for ((affine, data), sums) in weights.gru.iter().zip([&*squeezed, &*state]).zip([&mut *input, &mut *kept]) {
            affine.apply(&[Rows { data, stride: hidden }], sums);
        }
        let gates = input.chunks_exact(3 * hidden).zip(kept.chunks_exact(3 * hidden));
        for ((input, kept), state) in gates.zip(state.chunks_exact_mut(hidden)) {
            weights.isa.run(Gates { input, kept, state });
        }
        for (channel, state) in state.chunks_exact(hidden).enumerate() {
            let rows = Rows {
                data: state,
                stride: shape.squeeze,
            };
            weights.expand.apply(&[rows], &mut self.expanded);
            for (value, more) in lowest.rows_mut(channel).iter_mut().zip(self.expanded.iter()) {
                *value += more;
            }
        }
    }

    /// Back to the start of a stream.
    pub(crate) fn reset(&mut self) {
        for level in &mut self.levels {
            for kept in level.encoder.iter_mut().chain(&mut level.decoder) {
                kept.fill(0.0);
            }
        }
        self.hidden.fill(0.0);
        self.same = true;
    }

    /// All intermediate rows of a channel after a step, by the names that [`super::forward`] gives them.
    #[cfg(test)]
    pub(super) fn trace(&self, channel: usize) -> Vec<(String, Vec<f32>)> {
        let hidden = self.weights.shape.hidden;
        let mut all = vec![
            ("squeeze".to_owned(), self.squeezed[channel * hidden..][..hidden].to_vec()),
            ("gru".to_owned(), self.hidden[channel * hidden..][..hidden].to_vec()),
        ];
        for (l, level) in self.levels.iter().enumerate() {
            let entered = if l == 0 { "stem".to_owned() } else { format!("pool.{}", l - 1) };
            let mut add = |name: String, plane: &Plane| all.push((name, plane.rows(channel).to_vec()));
            add(entered, &level.entered);
            add(format!("encoder.{l}.0"), &level.middle);
            if l + 1 == self.levels.len() {
                add("bottleneck".to_owned(), &level.skip);
            } else {
                add(format!("encoder.{l}.1"), &level.skip);
                add(format!("up.{l}"), &level.up);
                add(format!("decoder.{l}.0"), &level.merged);
                add(format!("decoder.{l}.1"), &level.left);
            }
        }
        all
    }
}

/// Bins to bands: `features [bin][feature]` -> `out [band][channel]`.
fn stem(weights: &StageWeights, mut features: &[f32], mut out: &mut [f32]) {
    for (affine, [bands, stride]) in weights.stem.iter().zip(&weights.shape.segments) {
        let stride = stride * weights.shape.cin;
        let (rows, rest) = out.split_at_mut(bands * affine.columns());
        affine.apply(&[Rows { data: features, stride }], rows);
        features = &features[bands * stride..];
        out = rest;
    }
}

/// Bands to bins: `rows [band][channel]` -> `out [bin][value]`.
fn head(weights: &StageWeights, mut rows: &[f32], mut out: &mut [f32]) {
    let stride = weights.shape.widths[0];
    for (affine, [bands, _]) in weights.head.iter().zip(&weights.shape.segments) {
        let (bins, rest) = out.split_at_mut(bands * affine.columns());
        affine.apply(&[Rows { data: rows, stride }], bins);
        rows = &rows[bands * stride..];
        out = rest;
    }
}

/// Larger of each two neighbouring bands: `rows [2 * band][channel]` -> `pooled [band][channel]`.
struct Pool<'a> {
    rows: &'a [f32],
    width: usize,
    pooled: &'a mut [f32],
}

impl Job for Pool<'_> {
    #[inline(always)]
    fn run(self) {
        let Self { rows, width, pooled } = self;
        for (pooled, pair) in pooled.chunks_exact_mut(width).zip(rows.chunks_exact(2 * width)) {
            let (a, b) = pair.split_at(width);
            for ((pooled, a), b) in pooled.iter_mut().zip(a).zip(b) {
                *pooled = if a > b { *a } else { *b };
            }
        }
    }
}

/// A gated recurrent unit's step (PyTorch's form and gate order r, z, n). `input`, `kept`: `[3][hidden]`, the sums of the input's and the state's part
/// with their biases; `state`: `[hidden]`.
struct Gates<'a> {
    input: &'a [f32],
    kept: &'a [f32],
    state: &'a mut [f32],
}

impl Job for Gates<'_> {
    #[inline(always)]
    fn run(self) {
        let size = self.state.len();
        let (input_r, rest) = self.input.split_at(size);
        let (input_z, input_n) = rest.split_at(size);
        let (kept_r, rest) = self.kept.split_at(size);
        let (kept_z, kept_n) = rest.split_at(size);
        let (input_n, kept_n) = (&input_n[..size], &kept_n[..size]);
        for i in 0..size {
            let r = math::sigmoid(input_r[i] + kept_r[i]);
            let z = math::sigmoid(input_z[i] + kept_z[i]);
            let n = math::tanh(input_n[i] + r * kept_n[i]);
            let next = (1.0 - z) * n + z * self.state[i];
            // What is not a number (false in every comparison) must not stay in the state for ever, and tiny values would become slow subnormal ones.
            self.state[i] = if next.abs() > 1e-20 { next } else { 0.0 };
        }
    }
}
