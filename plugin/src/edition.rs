//! What sets the two plugins apart: names, ids and weights.

use dualstep_engine::repair::{ClickDetector, Detectors, DropoutDetector};
use dualstep_engine::{Model, WeightsError};
use std::sync::OnceLock;

/// One of the two plugins. The ids are in users' sessions: they never change.
pub trait Edition: Send + Sync + 'static {
    /// Name in the host's list.
    const NAME: &'static str;
    /// Id of the CLAP plugin.
    const CLAP_ID: &'static str;
    /// Class id of the VST3 plugin.
    const VST3_CLASS_ID: [u8; 16];
    /// One line for the host's plugin browser.
    const DESCRIPTION: &'static str;

    /// The weights, read once per process and shared by all instances.
    ///
    /// # Errors
    /// Why the weights inside the plugin can't be used, for the user.
    fn model() -> Result<&'static Model, &'static str>;
}

/// Dualstep: 20 ms hops and one hop of look-ahead, 90 ms latency.
pub enum Studio {}

/// Dualstep Live: 6.67 ms hops without look-ahead, 23.3 ms latency.
pub enum Live {}

/// A model read from the bytes inside the plugin, or why it can't be.
type Cell = OnceLock<Result<Model, String>>;

impl Edition for Studio {
    const NAME: &'static str = "Dualstep";
    const CLAP_ID: &'static str = "org.dualstep.studio";
    const VST3_CLASS_ID: [u8; 16] = *b"DualstepStudioRs";
    const DESCRIPTION: &'static str = "Restores old recordings: clicks, noise, lost detail";

    fn model() -> Result<&'static Model, &'static str> {
        static MODEL: Cell = OnceLock::new();
        read(&MODEL, include_bytes!("../../assets/weights/studio.safetensors"))
    }
}

impl Edition for Live {
    const NAME: &'static str = "Dualstep Live";
    const CLAP_ID: &'static str = "org.dualstep.live";
    const VST3_CLASS_ID: [u8; 16] = *b"DualstepLiveRust";
    const DESCRIPTION: &'static str = "Restores old recordings with low latency: clicks, noise, lost detail";

    fn model() -> Result<&'static Model, &'static str> {
        static MODEL: Cell = OnceLock::new();
        read(&MODEL, include_bytes!("../../assets/weights/live.safetensors"))
    }
}

/// Which weights are in use, for the user.
pub(crate) fn weights<E: Edition>() -> String {
    match E::model() {
        Ok(model) => {
            let spec = model.spec();
            format!("weights: {} {}", spec.name, spec.version)
        }
        Err(_) => "no weights".to_owned(),
    }
}

/// What finds clicks and dropouts in both editions, read once per process and shared by all instances.
///
/// # Errors
/// Why the weights inside the plugin can't be used, for the user.
pub(crate) fn detectors() -> Result<&'static Detectors, &'static str> {
    static DETECTORS: OnceLock<Result<Detectors, String>> = OnceLock::new();
    let read = || {
        Ok::<_, WeightsError>(Detectors {
            clicks: ClickDetector::from_bytes(include_bytes!("../../assets/weights/detector.safetensors"))?,
            dropouts: DropoutDetector::from_bytes(include_bytes!("../../assets/weights/dropouts.safetensors"))?,
        })
    };
    DETECTORS
        .get_or_init(|| read().map_err(|error| error.to_string()))
        .as_ref()
        .map_err(String::as_str)
}

fn read(cell: &'static Cell, bytes: &[u8]) -> Result<&'static Model, &'static str> {
    cell.get_or_init(|| Model::from_bytes(bytes).map_err(|error| error.to_string()))
        .as_ref()
        .map_err(String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_weights_load_and_are_read_once() {
        let studio = Studio::model().expect("the studio weights");
        let live = Live::model().expect("the live weights");
        assert_eq!(studio.spec().name, "studio");
        assert_eq!(live.spec().name, "live");
        assert!(std::ptr::eq(studio, Studio::model().expect("the studio weights")));
        let detectors = detectors().expect("the detectors' weights");
        assert!(detectors.clicks.macs() > 0.0 && detectors.dropouts.macs() > 0);
    }
}
