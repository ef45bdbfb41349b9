//! Reads weights files and checks them against the spec they carry.

use crate::spec::{Spec, SpecError, StageSpec};
use crate::unet::{BalanceWeights, Isa, Network, StageWeights};
use candle_core::{Device, Tensor};
use safetensors::{Dtype, SafeTensorError, SafeTensors};
use serde::Deserialize;
use std::collections::HashMap;
use std::sync::Arc;
use thiserror::Error;

/// All networks' weights, checked and packed. Cheap to clone: instances share one copy.
#[derive(Clone, Debug)]
pub struct Model {
    spec: Arc<Spec>,
    /// As the file has them, for [`crate::unet::forward`].
    tensors: Arc<HashMap<String, Tensor>>,
    /// Packed for the streaming step.
    stages: [Arc<StageWeights>; 2],
    speech: Option<Arc<StageWeights>>,
    balance: Arc<BalanceWeights>,
}

/// Why a weights file was refused.
#[derive(Debug, Error)]
pub enum WeightsError {
    /// The bytes are no safetensors file.
    #[error("this is no weights file (safetensors): {0}; it may be cut short, download or export it again")]
    Format(SafeTensorError),
    /// The metadata has no spec.
    #[error("the weights carry no spec: expected the metadata entry \"spec\", found {found}; use a file written by Dualstep's exporter")]
    NoSpec {
        /// Names of the metadata entries there are.
        found: String,
    },
    /// The spec is not the JSON that it should be.
    #[error("the weights' spec can't be read: {0}; use weights exported for this version of Dualstep")]
    SpecJson(serde_json::Error),
    /// The spec can't be run.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// A tensor that the spec asks for is not there.
    #[error("the weights lack tensor {tensor}: expected shape {expected:?}, found nothing; export them again")]
    Missing {
        /// Name of the tensor.
        tensor: String,
        /// Shape that the spec asks for.
        expected: Vec<usize>,
    },
    /// A tensor has another shape than the spec asks for.
    #[error("tensor {tensor} has shape {found:?}: the weights' spec expects {expected:?}; export them again")]
    Shape {
        /// Name of the tensor.
        tensor: String,
        /// Shape that the spec asks for.
        expected: Vec<usize>,
        /// Shape in the file.
        found: Vec<usize>,
    },
    /// A tensor is stored in another type than 32-bit floats.
    #[error("tensor {tensor} is stored as {found}: expected F32; export it without quantisation")]
    Type {
        /// Name of the tensor.
        tensor: String,
        /// Type in the file.
        found: String,
    },
    /// A tensor holds a value that is not finite.
    #[error("tensor {tensor} holds {found} at index {index}: expected finite values; the training has diverged, use an earlier checkpoint")]
    NotFinite {
        /// Name of the tensor.
        tensor: String,
        /// Position of the first such value, in memory order.
        index: usize,
        /// The value.
        found: f32,
    },
    /// The file holds a tensor that the spec doesn't know. Running only a part of a network would give wrong sound without a word, so it is refused.
    #[error(
        "the weights hold a tensor {tensor} that their spec doesn't know; they are for another network, use weights exported for this version of Dualstep"
    )]
    Unknown {
        /// Name of the tensor.
        tensor: String,
    },
}

/// What all versions of the `spec` entry have.
#[derive(Deserialize)]
struct Layout {
    format: u32,
}

/// Names and shapes of all tensors that a file with this spec holds.
#[must_use]
pub fn layout(spec: &Spec) -> Vec<(String, Vec<usize>)> {
    let mut all = Vec::new();
    for network in Network::all(spec) {
        let (cin, outs) = (network.features(), network.values(spec));
        let mut add = |name: String, shape: &[usize]| all.push((format!("{}.{name}", network.name()), shape.to_vec()));
        let StageSpec { ref widths, squeeze } = *network.spec(spec);
        let (first, top) = (widths[0], widths.len() - 1);
        for (i, [_, stride]) in spec.segments.iter().enumerate() {
            add(format!("stem.{i}.weight"), &[first, cin, 1, *stride]);
            add(format!("stem.{i}.bias"), &[first]);
            add(format!("head.{i}.weight"), &[first, outs, 1, *stride]);
            add(format!("head.{i}.bias"), &[outs]);
        }
        add("position".into(), &[first, spec.bands()]);
        for (level, &width) in widths.iter().enumerate() {
            for (j, before) in [widths[level.saturating_sub(1)], width].into_iter().enumerate() {
                add(format!("encoder.{level}.{j}.weight"), &[width, before, 2, 3]);
                add(format!("encoder.{level}.{j}.bias"), &[width]);
            }
        }
        let hidden = spec.recurrent(network.spec(spec));
        add("squeeze.weight".into(), &[squeeze, widths[top], 1, 1]);
        add("squeeze.bias".into(), &[squeeze]);
        for part in ["ih", "hh"] {
            add(format!("gru.weight_{part}_l0"), &[3 * hidden, hidden]);
            add(format!("gru.bias_{part}_l0"), &[3 * hidden]);
        }
        add("expand.weight".into(), &[widths[top], squeeze, 1, 1]);
        add("expand.bias".into(), &[widths[top]]);
        for level in 0..top {
            let width = widths[level];
            add(format!("up.{level}.weight"), &[widths[level + 1], width, 1, 2]);
            add(format!("up.{level}.bias"), &[width]);
            for (j, before) in [2 * width, width].into_iter().enumerate() {
                add(format!("decoder.{level}.{j}.weight"), &[width, before, 2, 3]);
                add(format!("decoder.{level}.{j}.bias"), &[width]);
            }
        }
    }
    let sizes = [2 * spec.bands() + 1, spec.balance, spec.balance, spec.bands() + 1];
    for (layer, size) in sizes.windows(2).enumerate() {
        all.push((format!("balance.{layer}.weight"), vec![size[1], size[0]]));
        all.push((format!("balance.{layer}.bias"), vec![size[1]]));
    }
    all
}

impl Model {
    /// Reads a safetensors file's bytes.
    ///
    /// # Errors
    /// If the bytes are no safetensors file, the spec is missing or can't be run, or a tensor is missing, has another shape than the spec asks for, or holds a value that is not finite.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, WeightsError> {
        Self::from_bytes_for(bytes, Isa::best())
    }

    /// As [`Model::from_bytes`], packed for the instruction set `isa` instead of the fastest.
    ///
    /// # Errors
    /// As [`Model::from_bytes`].
    pub fn from_bytes_for(bytes: &[u8], isa: Isa) -> Result<Self, WeightsError> {
        let spec = spec_of(bytes)?;
        let Layout { format } = serde_json::from_str(&spec).map_err(WeightsError::SpecJson)?;
        Spec::check_format(format)?;
        let spec: Spec = serde_json::from_str(&spec).map_err(WeightsError::SpecJson)?;
        spec.check()?;

        let file = SafeTensors::deserialize(bytes).map_err(WeightsError::Format)?;
        let values = read_all(&file, layout(&spec))?;
        let pack = |network: Network| {
            let get = |name: &str| values[&format!("{}.{name}", network.name())].1.as_slice();
            Arc::new(StageWeights::pack(isa, &spec, network, get))
        };
        let stages = [Network::Stage1, Network::Stage2].map(pack);
        let speech = spec.speech.then(|| pack(Network::Speech));
        let get = |name: &str| values[&format!("balance.{name}")].1.as_slice();
        let balance = Arc::new(BalanceWeights::pack(isa, &spec, get));
        let mut tensors = HashMap::with_capacity(values.len());
        for (name, (shape, values)) in values {
            // Can't fail: as many values as the shape says, on the processor.
            if let Ok(tensor) = Tensor::from_vec(values, shape, &Device::Cpu) {
                tensors.insert(name, tensor);
            }
        }
        Ok(Self {
            spec: Arc::new(spec),
            tensors: Arc::new(tensors),
            stages,
            speech,
            balance,
        })
    }

    /// Geometry and widths of these weights.
    #[must_use]
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// A tensor of the file, by its full name ("stage1.gru.bias_hh_l0").
    #[must_use]
    pub fn tensor(&self, name: &str) -> Option<&Tensor> {
        self.tensors.get(name)
    }

    /// Weights and biases of both stages, the balance being a part of the second; stage 1 for speech isn't among them.
    #[must_use]
    pub fn parameters(&self) -> [usize; 2] {
        [&["stage1."][..], &["stage2.", "balance."]].map(|prefixes| {
            let of_stage = self
                .tensors
                .iter()
                .filter(|(name, _)| prefixes.iter().any(|prefix| name.starts_with(prefix)));
            of_stage.map(|(_, tensor)| tensor.elem_count()).sum()
        })
    }

    /// Multiply-adds that both stages need per frame and channel.
    #[must_use]
    pub fn macs(&self) -> [usize; 2] {
        [self.stages[0].macs(), self.stages[1].macs() + self.balance.macs()]
    }

    /// The instruction set that the weights are packed for.
    #[must_use]
    pub fn isa(&self) -> Isa {
        self.stages[0].isa()
    }

    /// Packed weights of both stages.
    pub(crate) fn stages(&self) -> &[Arc<StageWeights>; 2] {
        &self.stages
    }

    /// Packed weights of stage 1 for speech alone, if there is one.
    pub(crate) fn speech(&self) -> Option<&Arc<StageWeights>> {
        self.speech.as_ref()
    }

    /// Packed weights of stage 2's balance.
    pub(crate) fn balance(&self) -> &Arc<BalanceWeights> {
        &self.balance
    }
}

/// Shape and values of a tensor, in memory order.
pub(crate) type Values = (Vec<usize>, Vec<f32>);

/// The `spec` entry of a file's metadata.
pub(crate) fn spec_of(bytes: &[u8]) -> Result<String, WeightsError> {
    let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(WeightsError::Format)?;
    let entries = metadata.metadata().as_ref();
    entries.and_then(|entries| entries.get("spec")).cloned().ok_or_else(|| {
        let mut names: Vec<_> = entries.into_iter().flat_map(HashMap::keys).map(String::as_str).collect();
        names.sort_unstable();
        WeightsError::NoSpec {
            found: if names.is_empty() { "none".into() } else { names.join(", ") },
        }
    })
}

/// All tensors of a file by name: those of `layout`, and no others.
pub(crate) fn read_all(file: &SafeTensors<'_>, layout: Vec<(String, Vec<usize>)>) -> Result<HashMap<String, Values>, WeightsError> {
    let mut values = HashMap::with_capacity(layout.len());
    for (name, shape) in layout {
        values.insert(name.clone(), read(file, name, shape)?);
    }
    match file.names().into_iter().filter(|name| !values.contains_key(*name)).min() {
        Some(name) => Err(WeightsError::Unknown { tensor: name.to_owned() }),
        None => Ok(values),
    }
}

fn read(file: &SafeTensors<'_>, tensor: String, expected: Vec<usize>) -> Result<Values, WeightsError> {
    let Ok(view) = file.tensor(&tensor) else {
        return Err(WeightsError::Missing { tensor, expected });
    };
    if view.dtype() != Dtype::F32 {
        let found = format!("{:?}", view.dtype());
        return Err(WeightsError::Type { tensor, found });
    }
    if view.shape() != expected {
        let found = view.shape().to_vec();
        return Err(WeightsError::Shape { tensor, expected, found });
    }
    let (chunks, _) = view.data().as_chunks();
    let values: Vec<f32> = chunks.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    if let Some(index) = values.iter().position(|x| !x.is_finite()) {
        let found = values[index];
        return Err(WeightsError::NotFinite { tensor, index, found });
    }
    Ok((expected, values))
}

/// A weights file with noise of a plausible size instead of learned values: for tests and benches that need a network but not its sound.
///
/// # Errors
/// If the spec can't be run.
pub fn untrained(spec: &Spec, seed: u64) -> Result<Vec<u8>, WeightsError> {
    spec.check()?;
    let mut noise = Noise::new(seed);
    let tensors: Vec<(String, Vec<usize>, Vec<u8>)> = layout(spec)
        .into_iter()
        .map(|(name, shape)| {
            // Uniform in +-sqrt(3 / fan-in): about as large going out as coming in.
            let fan: usize = if name.contains(".up.") || name.contains(".head.") {
                shape[0]
            } else {
                shape[1..].iter().product()
            };
            let size = if shape.len() > 1 && !name.ends_with("position") {
                #[expect(clippy::cast_precision_loss, reason = "fan-ins are small")]
                let fan = fan as f32;
                (3.0 / fan).sqrt()
            } else {
                0.1
            };
            let count = shape.iter().product();
            let bytes = noise.vector(count).iter().flat_map(|x| (x * size).to_le_bytes()).collect();
            (name, shape, bytes)
        })
        .collect();
    let views = tensors.iter().map(|(name, shape, bytes)| {
        let view = safetensors::tensor::TensorView::new(Dtype::F32, shape.clone(), bytes);
        view.map(|view| (name.as_str(), view))
    });
    let views = views.collect::<Result<Vec<_>, _>>().map_err(WeightsError::Format)?;
    let json = serde_json::to_string(spec).map_err(WeightsError::SpecJson)?;
    let metadata = HashMap::from([("spec".to_owned(), json)]);
    safetensors::serialize(views, Some(metadata)).map_err(WeightsError::Format)
}

/// Seeded uniform noise (SplitMix64), the same on every machine.
pub(crate) struct Noise(u64);

impl Noise {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Values in -1..1.
    pub(crate) fn vector(&mut self, count: usize) -> Vec<f32> {
        #[expect(clippy::cast_precision_loss, reason = "24 bits")]
        let value = |bits: u64| (bits >> 40) as f32 / 8_388_608.0 - 1.0;
        (0..count).map(|_| value(self.next())).collect()
    }

    /// A whole number in `0..limit`.
    #[cfg(test)]
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() >> 32).unwrap_or(0) % limit
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The studio geometry and widths.
    pub(crate) fn studio() -> Spec {
        Spec {
            format: crate::spec::FORMAT,
            name: "studio".into(),
            version: "test".into(),
            hop_units: 6,
            analysis_hops: 2,
            synthesis_hops: 2,
            lookahead_hops: 1,
            bins: 800,
            segments: vec![[64, 1], [64, 2], [32, 4], [32, 15]],
            stages: [0, 1].map(|_| StageSpec {
                widths: vec![32, 48, 64, 96, 128],
                squeeze: 24,
            }),
            speech: true,
            taps: 3,
            balance: 192,
            level_rise: 0.095_162_58,
            level_fall: 0.009_950_166,
            level_floor: 0.01,
            floor_keep: 0.993_355_5,
            balance_keep: 0.995_012_46,
            commit: String::new(),
            data: String::new(),
            hours: 0.0,
        }
    }

    /// Networks small enough to test in no time, with odd widths, and unlike each other.
    pub(crate) fn small() -> Spec {
        Spec {
            name: "small".into(),
            lookahead_hops: 2,
            bins: 30,
            segments: vec![[4, 1], [5, 2], [3, 4], [4, 1]],
            stages: [(vec![5, 8, 3], 3), (vec![6, 7], 4)].map(|(widths, squeeze)| StageSpec { widths, squeeze }),
            taps: 2,
            balance: 6,
            ..studio()
        }
    }

    /// Takes the file apart, lets `change` alter it and puts it together again.
    fn altered(change: impl FnOnce(&mut serde_json::Value, &mut Vec<u8>)) -> Vec<u8> {
        let bytes = untrained(&small(), 1).expect("the spec is sound");
        let length = u64::from_le_bytes(bytes[..8].try_into().expect("8 bytes"));
        let length = usize::try_from(length).expect("small");
        let mut header = serde_json::from_slice(&bytes[8..8 + length]).expect("JSON");
        let mut data = bytes[8 + length..].to_vec();
        change(&mut header, &mut data);
        let header = serde_json::to_vec(&header).expect("JSON");
        [&(header.len() as u64).to_le_bytes()[..], &header, &data].concat()
    }

    fn refused(change: impl FnOnce(&mut serde_json::Value, &mut Vec<u8>)) -> String {
        Model::from_bytes(&altered(change)).expect_err("must be refused").to_string()
    }

    #[test]
    fn reads_what_it_writes() {
        let model = Model::from_bytes(&untrained(&studio(), 1).expect("sound")).expect("sound");
        assert_eq!(model.spec(), &studio());
        assert_eq!(model.tensor("stage2.head.3.weight").expect("there").dims(), [32, 8, 1, 15]);
        let stages = Spec { speech: false, ..studio() };
        let total: usize = layout(&stages).iter().map(|(_, shape)| shape.iter().product::<usize>()).sum();
        assert_eq!(model.parameters().iter().sum::<usize>(), total);
        assert!(Model::from_bytes(&altered(|_, _| ())).is_ok());
    }

    #[test]
    fn says_what_was_expected_and_what_was_found() {
        let message = refused(|header, _| {
            header["__metadata__"] = serde_json::json!({"licence": "MIT"});
        });
        assert!(message.contains("\"spec\"") && message.contains("licence"), "{message}");

        let message = refused(|header, _| {
            header.as_object_mut().expect("map").remove("__metadata__").expect("there");
        });
        assert!(message.contains("\"spec\"") && message.contains("found none"), "{message}");

        let message = refused(|header, _| {
            header["__metadata__"]["spec"] = "{\"format\": 5}".into();
        });
        assert!(message.contains("missing field"), "{message}");

        // A file of a layout before.
        let message = refused(|header, _| {
            header["__metadata__"]["spec"] = "{\"format\": 1, \"name\": \"studio\"}".into();
        });
        assert!(message.contains("format = 1: expected 5"), "{message}");

        let message = refused(|header, _| {
            let spec = header["__metadata__"]["spec"]
                .as_str()
                .expect("text")
                .replace("\"taps\":2", "\"taps\":9");
            header["__metadata__"]["spec"] = spec.into();
        });
        assert!(message.contains("taps = 9") && message.contains("1 to 8"), "{message}");

        let message = refused(|header, _| {
            let spec = header["__metadata__"]["spec"].as_str().expect("text").replace("[5,8,3]", "[5,9,3]");
            header["__metadata__"]["spec"] = spec.into();
        });
        assert!(
            message.contains("stage1.encoder.1.0.weight has shape [8, 5, 2, 3]") && message.contains("[9, 5, 2, 3]"),
            "{message}"
        );

        for (from, to, found, expected) in [
            ("[6,7]", "[6,0]", "stages = widths [6, 0] in stage 2", "1 to 8 widths of 1 to 512"),
            (
                "[6,7]",
                "[6,7,6,7,6,7]",
                "segments = 16 bands",
                "a multiple of 32 for the 6 levels of stage 2",
            ),
            ("\"squeeze\":4", "\"squeeze\":513", "stages = squeeze 513 in stage 2", "1 to 512"),
        ] {
            let message = refused(|header, _| {
                let spec = header["__metadata__"]["spec"].as_str().expect("text").replace(from, to);
                header["__metadata__"]["spec"] = spec.into();
            });
            assert!(message.contains(found) && message.contains(expected), "{message}");
        }

        let message = refused(|header, _| {
            let entry = header.as_object_mut().expect("map").remove("stage1.position").expect("there");
            header["stage1.positions"] = entry;
        });
        assert!(message.contains("stage1.position:") && message.contains("[5, 16]"), "{message}");

        let message = refused(|header, data| {
            let end = data.len();
            header["stage3.bias"] = serde_json::json!({"dtype": "F32", "shape": [1], "data_offsets": [end, end + 4]});
            data.extend([0; 4]);
        });
        assert!(message.contains("stage3.bias"), "{message}");

        // Tensors of a network that the spec doesn't declare, and the other way round.
        let message = refused(|header, _| {
            let spec = header["__metadata__"]["spec"]
                .as_str()
                .expect("text")
                .replace("\"speech\":true,", "");
            header["__metadata__"]["spec"] = spec.into();
        });
        assert!(message.contains("hold a tensor speech."), "{message}");
        let message = refused(|header, _| {
            let entry = header.as_object_mut().expect("map").remove("speech.position").expect("there");
            header["speech.positions"] = entry;
        });
        assert!(message.contains("lack tensor speech.position:"), "{message}");

        let message = refused(|header, _| {
            header["stage1.position"]["dtype"] = "I32".into();
        });
        assert!(message.contains("stage1.position is stored as I32"), "{message}");

        for value in [f32::NAN, f32::INFINITY] {
            let message = refused(|header, data| {
                let start = header["stage2.position"]["data_offsets"][0].as_u64().expect("number");
                let at = usize::try_from(start).expect("small") + 8;
                data[at..at + 4].copy_from_slice(&value.to_le_bytes());
            });
            assert!(
                message.contains("stage2.position holds") && message.contains("index 2"),
                "{message}"
            );
        }
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let good = altered(|_, _| ());
        for cut in [0, 1, 7, 8, 9, 100, 5000, good.len() - 1] {
            assert!(Model::from_bytes(&good[..cut]).is_err(), "cut at {cut}");
        }
        let mut noise = Noise::new(7);
        let mut refusals = 0;
        for _ in 0..400 {
            let mut bytes = good.clone();
            // Mostly in the header, which is where structure can be broken.
            let reach = [16, 400, 20_000, bytes.len()][noise.below(4)].min(bytes.len());
            for _ in 0..=noise.below(4) {
                let at = noise.below(reach);
                bytes[at] = u8::try_from(noise.below(256)).expect("a byte");
            }
            refusals += usize::from(Model::from_bytes(&bytes).is_err());
        }
        assert!(refusals > 100, "{refusals}");
    }

    #[test]
    fn absurd_specs_are_refused_before_anything_is_allocated() {
        for (from, to) in [
            ("\"bins\":30", "\"bins\":18446744073709551615"),
            ("[4,1]", "[4294967296,4294967296]"),
            ("[5,8,3]", "[]"),
            ("[5,8,3]", "[512,512,512]"),
            ("\"squeeze\":3", "\"squeeze\":0"),
            (",{\"widths\":[6,7],\"squeeze\":4}", ""),
            ("\"level_floor\":0.01", "\"level_floor\":1e39"),
            ("\"floor_keep\":0.9933555", "\"floor_keep\":1.0"),
            ("\"balance\":6", "\"balance\":0"),
            ("\"balance\":6", "\"balance\":100000"),
            ("[[4,1],[5,2],[3,4],[4,1]]", "[]"),
        ] {
            let message = refused(|header, _| {
                let spec = header["__metadata__"]["spec"].as_str().expect("text");
                assert!(spec.contains(from), "{spec}");
                header["__metadata__"]["spec"] = spec.replace(from, to).into();
            });
            assert!(!message.is_empty());
        }
    }
}
