//! The networks for whole clips, written down plainly with candle: what the streaming form is tested against.
//!
//! Never for a plugin: candle's convolutions start threads and allocate. Planes are `[1, channel, frame, band]`, spectra
//! `[channel][frame][bin]` as in ARCHITECTURE.md, "Network, exactly".

use super::balance::{FAINT, LEAST_TRUST, LIMIT, NOTHING};
use super::math::EPSILON;
use super::two_stage::SILENT_LEVEL;
use super::{Network, SLOPE};
use crate::level::Level;
use crate::weights::Model;
use candle_core::{Device, IndexOp, Result, Tensor};
use std::collections::HashMap;

/// What the layers of a stage remember of the frames before: the last frame that each convolution saw, and the recurrent state. Empty at the start of a
/// stream. A clip may be fed in pieces of any length with the same memory.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    kept: HashMap<String, Tensor>,
    /// Every layer's output of the last call, if asked for.
    #[cfg(test)]
    pub(super) trace: Vec<(String, Tensor)>,
}

/// Runs one network. `features`: `[feature, frame, bin]`. Returns `[frame, bin, value]`, before any activation.
///
/// # Errors
/// If `features` has another number of features or bins than the network.
pub fn stage(model: &Model, network: Network, features: &Tensor, memory: &mut Memory) -> Result<Tensor> {
    #[cfg(test)]
    memory.trace.clear();
    let net = Net { model, network };
    let top = network.spec(model.spec()).widths.len() - 1;
    let mut x = net.stem(features)?;
    memory.note("stem", &x);
    let mut skips = Vec::new();
    for level in 0..=top {
        if level > 0 {
            x = pool(&x)?;
            memory.note(&format!("pool.{}", level - 1), &x);
        }
        for j in 0..2 {
            x = net.conv(&format!("encoder.{level}.{j}"), &x, memory)?;
        }
        skips.push(x.clone());
    }
    x = (&x + net.recurrent(&x, memory)?)?;
    memory.note("bottleneck", &x);
    for level in (0..top).rev() {
        x = leaky(&net.transposed(&format!("up.{level}"), &x)?)?;
        memory.note(&format!("up.{level}"), &x);
        x = Tensor::cat(&[&x, &skips[level]], 1)?;
        for j in 0..2 {
            x = net.conv(&format!("decoder.{level}.{j}"), &x, memory)?;
        }
    }
    net.head(&x)
}

/// What both stages say of a clip, row `k` being about frame `k - lookahead_hops`.
#[derive(Clone, Debug)]
pub struct Clip {
    /// The level of each input frame `k`, `[frame]`.
    pub level: Tensor,
    /// Stage 1's gain, `[frame, bin]`.
    pub gain: Tensor,
    /// Stage 2's spectrum `Y2`, `[frame, bin, 2]`.
    pub stage2: Tensor,
}

/// Runs both stages over a whole clip of one channel, with stage 1 for speech in place of the other if `speech`. `spectrum`: `[frame, bin, 2]`, all bins
/// present.
///
/// # Errors
/// If `spectrum` has another shape, or the weights have no stage 1 for speech.
pub fn clip(model: &Model, spectrum: &Tensor, speech: bool) -> Result<Clip> {
    let spec = model.spec();
    let ahead = spec.lookahead_hops;
    let level = levels(model, spectrum)?;
    let seen = Tensor::cat(&[features(spectrum, &level)?, floors(model, spectrum, &level)?], 0)?;
    let first = if speech { Network::Speech } else { Network::Stage1 };
    let gain = stage(model, first, &seen, &mut Memory::default())?.squeeze(2)?;
    let gain = candle_nn::ops::sigmoid(&gain)?;

    let here = delay(spectrum, ahead, 0.0)?;
    let level_here = delay(&level, ahead, level.i(0)?.to_scalar()?)?;
    let stage1 = here.broadcast_mul(&gain.unsqueeze(2)?)?;
    let both = Tensor::cat(&[features(&here, &level_here)?, features(&stage1, &level_here)?], 0)?;
    let [gain2, trust] = balance(model, &here, &stage1)?;
    let out = stage(model, Network::Stage2, &both, &mut Memory::default())?.broadcast_mul(&trust.unsqueeze(2)?)?;

    let mut filtered = stage1.clone();
    for tap in 0..spec.taps {
        let past = delay(&stage1, tap, 0.0)?;
        let (re, im) = (past.i((.., .., 0))?, past.i((.., .., 1))?);
        let (tap_re, tap_im) = (out.i((.., .., 2 * tap))?, out.i((.., .., 2 * tap + 1))?);
        let product = [((&tap_re * &re)? - (&tap_im * &im)?)?, ((&tap_re * &im)? + (&tap_im * &re)?)?];
        filtered = (filtered + Tensor::stack(&product, 2)?)?;
    }
    let level_here = level_here.reshape(((), 1, 1))?;
    let compressed = filtered.broadcast_mul(&(power(&filtered)? + f64::from(EPSILON))?.powf(-0.35)?)?;
    let z = (compressed.broadcast_div(&level_here)? + out.narrow(2, 2 * spec.taps, 2)?)?;
    let z = z.broadcast_mul(&level_here)?;
    let stage2 = z.broadcast_mul(&power(&z)?.powf(7.0 / 6.0)?)?;
    let stage2 = stage2.broadcast_mul(&gain2.unsqueeze(2)?)?;
    Ok(Clip { level, gain, stage2 })
}

/// The balance's gain `[frame, bin]` and its trust in the U-Net `[frame, 1]`, from the spectra `[frame, bin, 2]` before and after stage 1.
fn balance(model: &Model, dry: &Tensor, stage1: &Tensor) -> Result<[Tensor; 2]> {
    let spec = model.spec();
    let keep = f64::from(spec.balance_keep);
    // Half the logarithm of each band's long-term power over the mean of all bands, `[frame, band]`.
    let shape = |spectrum: &Tensor| {
        let power = magnitudes(spectrum)?.sqr()?;
        let frames = power.dim(0)?;
        let mut bands = Vec::new();
        let mut bin = 0;
        for &[count, size] in &spec.segments {
            let piece = power.narrow(1, bin, count * size)?.reshape((frames, count, size))?;
            bands.push(piece.mean(2)?);
            bin += count * size;
        }
        let frame = Tensor::cat(&bands, 1)?;
        let mut sum = frame.i(0)?.zeros_like()?;
        let mut all = Vec::new();
        for k in 0..frames {
            sum = ((sum * keep)? + frame.i(k)?)?;
            all.push(sum.clone());
        }
        let all = Tensor::stack(&all, 0)?;
        let mean = all.mean_keepdim(1)?.maximum(f64::from(FAINT))?;
        (all.broadcast_div(&mean)? + f64::from(NOTHING))?.log()? * 0.5
    };
    let left = shape(stage1)?;
    let taken = (shape(dry)? - &left)?;
    let frames = left.dim(0)?;
    #[expect(clippy::cast_possible_truncation, reason = "0 to 1")]
    let age: Vec<f32> = (1..=frames).map(|k| (1.0 - keep.powf(k as f64)) as f32).collect();
    let mut x = Tensor::cat(&[left, taken, Tensor::from_vec(age, (frames, 1), &Device::Cpu)?], 1)?;
    for layer in 0..3 {
        let get = |part: &str| {
            let name = format!("balance.{layer}.{part}");
            let tensor = model.tensor(&name).cloned();
            tensor.ok_or_else(|| candle_core::Error::Msg(format!("no tensor {name}")))
        };
        x = x.matmul(&get("weight")?.t()?)?.broadcast_add(&get("bias")?)?;
        if layer < 2 {
            x = leaky(&x)?;
        }
    }
    let trust = candle_nn::ops::sigmoid(&x.narrow(1, spec.bands(), 1)?)?;
    let trust = (&trust * trust.ge(LEAST_TRUST)?.to_dtype(trust.dtype())?)?;
    let gain = ((x / f64::from(LIMIT))?.tanh()? * f64::from(LIMIT))?.exp()?;
    let mut bins = Vec::new();
    let mut band = 0;
    for &[count, size] in &spec.segments {
        let piece = gain.narrow(1, band, count)?.unsqueeze(2)?.broadcast_as((frames, count, size))?;
        bins.push(piece.reshape((frames, count * size))?);
        band += count;
    }
    Ok([Tensor::cat(&bins, 1)?, trust])
}

/// Compressed magnitudes of `[frame, bin, 2]`: `[frame, bin]`.
fn magnitudes(spectrum: &Tensor) -> Result<Tensor> {
    (power(spectrum)? + f64::from(EPSILON))?.powf(0.15)?.squeeze(2)
}

/// Squared magnitudes of `[frame, bin, 2]`: `[frame, bin, 1]`.
fn power(z: &Tensor) -> Result<Tensor> {
    z.sqr()?.sum_keepdim(2)
}

/// Running level of `[frame, bin, 2]`: `[frame]`.
fn levels(model: &Model, spectrum: &Tensor) -> Result<Tensor> {
    let mean = (power(spectrum)? + f64::from(EPSILON))?.powf(0.15)?.mean((1, 2))?;
    let mut level = Level::new(model.spec());
    let levels: Vec<f32> = mean.to_vec1()?.into_iter().map(|mean| level.advance(mean)).collect();
    Tensor::new(levels, &Device::Cpu)
}

/// Compressed real part, imaginary part and magnitude of `spectrum [frame, bin, 2]` over `level [frame]`: `[3, frame, bin]`.
fn features(spectrum: &Tensor, level: &Tensor) -> Result<Tensor> {
    let power = (power(spectrum)? + f64::from(EPSILON))?;
    let parts = [spectrum.broadcast_mul(&power.powf(-0.35)?)?, power.powf(0.15)?];
    let parts = Tensor::cat(&parts, 2)?.broadcast_div(&level.reshape(((), 1, 1))?)?;
    parts.permute((2, 0, 1))?.contiguous()
}

/// Running floor of `spectrum [frame, bin, 2]` over `level [frame]`: `[1, frame, bin]`.
fn floors(model: &Model, spectrum: &Tensor, level: &Tensor) -> Result<Tensor> {
    let keep = f64::from(model.spec().floor_keep);
    let magnitude = magnitudes(spectrum)?;
    let inverse = magnitude.powf(-2.0)?;
    let mut sum = inverse.i(0)?.zeros_like()?;
    let mut weight = 0.0;
    let mut floors = Vec::new();
    for frame in 0..inverse.dim(0)? {
        let mean = magnitude.i(frame)?.mean_all()?.to_scalar::<f32>()?;
        let heard = if f64::from(mean) >= SILENT_LEVEL { 1.0 } else { 0.0 };
        sum = ((sum * keep)? + (inverse.i(frame)? * heard)?)?;
        weight = weight * keep + heard;
        floors.push(if weight > 0.0 {
            (&sum / weight)?.powf(-0.5)?
        } else {
            magnitude.i(frame)?
        });
    }
    Tensor::stack(&floors, 0)?.broadcast_div(&level.unsqueeze(1)?)?.unsqueeze(0)
}

/// Moves `[frame, ..]` back by `frames`; what comes before has value `first`.
fn delay(x: &Tensor, frames: usize, first: f32) -> Result<Tensor> {
    if frames == 0 {
        return Ok(x.clone());
    }
    let count = x.dim(0)?;
    let mut shape = x.dims().to_vec();
    shape[0] = frames;
    Tensor::cat(&[Tensor::full(first, shape, &Device::Cpu)?, x.clone()], 0)?.narrow(0, 0, count)
}

fn leaky(x: &Tensor) -> Result<Tensor> {
    candle_nn::ops::leaky_relu(x, f64::from(SLOPE))
}

/// Larger of each two neighbouring bands.
fn pool(x: &Tensor) -> Result<Tensor> {
    let (batch, channels, frames, bands) = x.dims4()?;
    x.reshape((batch, channels, frames, bands / 2, 2))?.max(4)
}

impl Memory {
    #[cfg(test)]
    fn note(&mut self, name: &str, x: &Tensor) {
        self.trace.push((name.to_owned(), x.clone()));
    }

    #[cfg(not(test))]
    fn note(&mut self, _: &str, _: &Tensor) {}
}

/// One network's weights and layers.
struct Net<'a> {
    model: &'a Model,
    network: Network,
}

impl Net<'_> {
    fn get(&self, name: &str) -> Result<Tensor> {
        let name = format!("{}.{name}", self.network.name());
        let tensor = self.model.tensor(&name).cloned();
        tensor.ok_or_else(|| candle_core::Error::Msg(format!("no tensor {name}")))
    }

    /// Adds a bias per channel to `[1, channel, frame, band]`.
    fn biased(&self, x: &Tensor, name: &str) -> Result<Tensor> {
        x.broadcast_add(&self.get(&format!("{name}.bias"))?.reshape((1, (), 1, 1))?)
    }

    /// `[feature, frame, bin]` -> `[1, C0, frame, band]`. A convolution whose stride is its kernel is a matrix product of pieces.
    fn stem(&self, x: &Tensor) -> Result<Tensor> {
        let (cin, frames, _) = x.dims3()?;
        let mut parts = Vec::new();
        let mut bin = 0;
        for (i, [bands, stride]) in self.model.spec().segments.iter().enumerate() {
            let weight = self.get(&format!("stem.{i}.weight"))?;
            let width = weight.dim(0)?;
            let weight = weight.reshape((width, cin * stride))?;
            // [feature, frame, band, bin in band] -> [frame * band, feature * bin in band]
            let piece = x.narrow(2, bin, bands * stride)?.reshape((cin, frames, *bands, *stride))?;
            let piece = piece.permute((1, 2, 0, 3))?.reshape((frames * bands, cin * stride))?;
            let out = piece
                .matmul(&weight.t()?)?
                .reshape((1, frames, *bands, width))?
                .permute((0, 3, 1, 2))?;
            parts.push(self.biased(&out, &format!("stem.{i}"))?);
            bin += bands * stride;
        }
        let position = self.get("position")?.unsqueeze(1)?.unsqueeze(0)?;
        leaky(&Tensor::cat(&parts, 3)?.broadcast_add(&position)?)
    }

    /// Convolution over this and the previous frame and three bands, with its activation.
    fn conv(&self, name: &str, x: &Tensor, memory: &mut Memory) -> Result<Tensor> {
        let frames = x.dim(2)?;
        let past = match memory.kept.remove(name) {
            Some(past) => past,
            None => x.narrow(2, 0, 1)?.zeros_like()?,
        };
        memory.kept.insert(name.to_owned(), x.narrow(2, frames - 1, 1)?);
        let padded = Tensor::cat(&[&past, x], 2)?.pad_with_zeros(3, 1, 1)?;
        let out = padded.conv2d(&self.get(&format!("{name}.weight"))?, 0, 1, 1, 1)?;
        let out = leaky(&self.biased(&out, name)?)?;
        memory.note(name, &out);
        Ok(out)
    }

    /// 1 x 1 convolution.
    fn pointwise(&self, name: &str, x: &Tensor) -> Result<Tensor> {
        self.biased(&x.conv2d(&self.get(&format!("{name}.weight"))?, 0, 1, 1, 1)?, name)
    }

    /// Transposed convolution over bands whose stride is its kernel, `[1, Ci, frame, band]` -> `[1, Co, frame, band * stride]`.
    fn transposed(&self, name: &str, x: &Tensor) -> Result<Tensor> {
        let (_, cin, frames, bands) = x.dims4()?;
        let weight = self.get(&format!("{name}.weight"))?;
        let (_, outs, _, stride) = weight.dims4()?;
        let rows = x.permute((0, 2, 3, 1))?.reshape((frames * bands, cin))?;
        let out = rows.matmul(&weight.reshape((cin, outs * stride))?)?;
        // [frame, band, Co, stride] -> [Co, frame, band, stride]
        let out = out.reshape((frames, bands, outs, stride))?.permute((2, 0, 1, 3))?;
        self.biased(&out.reshape((1, outs, frames, bands * stride))?, name)
    }

    /// The recurrent layer between `squeeze` and `expand`, without the sum around it.
    fn recurrent(&self, x: &Tensor, memory: &mut Memory) -> Result<Tensor> {
        let (_, _, frames, bands) = x.dims4()?;
        let x = leaky(&self.pointwise("squeeze", x)?)?;
        memory.note("squeeze", &x);
        let channels = x.dim(1)?;
        let x = x.permute((0, 2, 3, 1))?.reshape((frames, bands * channels))?;
        let [weight_x, bias_x, weight_h, bias_h] =
            ["weight_ih", "bias_ih", "weight_hh", "bias_hh"].map(|name| self.get(&format!("gru.{name}_l0")));
        let (weight_h, bias_h) = (weight_h?.t()?, bias_h?);
        let x = x.matmul(&weight_x?.t()?)?.broadcast_add(&bias_x?)?;
        let hidden = bands * channels;
        let mut h = match memory.kept.remove("gru") {
            Some(h) => h,
            None => x.i((..1, ..hidden))?.zeros_like()?,
        };
        let mut all = Vec::new();
        for frame in 0..frames {
            let x = x.narrow(0, frame, 1)?.chunk(3, 1)?;
            let kept = h.matmul(&weight_h)?.broadcast_add(&bias_h)?.chunk(3, 1)?;
            let r = candle_nn::ops::sigmoid(&(&x[0] + &kept[0])?)?;
            let z = candle_nn::ops::sigmoid(&(&x[1] + &kept[1])?)?;
            let n = (&x[2] + (r * &kept[2])?)?.tanh()?;
            h = ((&n * z.affine(-1.0, 1.0)?)? + (z * &h)?)?;
            all.push(h.clone());
        }
        memory.kept.insert("gru".to_owned(), h);
        let x = Tensor::cat(&all, 0)?.reshape((1, frames, bands, channels))?.permute((0, 3, 1, 2))?;
        memory.note("gru", &x);
        self.pointwise("expand", &x.contiguous()?)
    }

    /// `[1, C0, frame, band]` -> `[frame, bin, value]`.
    fn head(&self, x: &Tensor) -> Result<Tensor> {
        let mut parts = Vec::new();
        let mut band = 0;
        for (i, [bands, _]) in self.model.spec().segments.iter().enumerate() {
            parts.push(self.transposed(&format!("head.{i}"), &x.narrow(3, band, *bands)?)?);
            band += bands;
        }
        Tensor::cat(&parts, 3)?.squeeze(0)?.permute((1, 2, 0))?.contiguous()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::tests::small;
    use crate::weights::{Noise, untrained};

    #[test]
    fn pieces_of_any_length_give_the_whole() {
        let model = Model::from_bytes(&untrained(&small(), 3).expect("sound")).expect("sound");
        let frames = 19;
        for network in Network::all(model.spec()) {
            let cin = network.features();
            let x = Noise::new(4).vector(cin * frames * 30);
            let x = Tensor::from_vec(x, (cin, frames, 30), &Device::Cpu).expect("shape");
            let whole = stage(&model, network, &x, &mut Memory::default()).expect("runs");
            for piece in [1, 2, 3, 5, 8] {
                let mut memory = Memory::default();
                let mut parts = Vec::new();
                for start in (0..frames).step_by(piece) {
                    let part = x.narrow(1, start, piece.min(frames - start)).expect("in range");
                    parts.push(stage(&model, network, &part, &mut memory).expect("runs"));
                }
                let parts = Tensor::cat(&parts, 0).expect("shapes");
                let difference = (&whole - parts).expect("shape").abs().expect("abs").max_all().expect("max");
                assert!(
                    difference.to_scalar::<f32>().expect("scalar") < 1e-5,
                    "pieces of {piece}: {difference}"
                );
            }
        }
    }
}
