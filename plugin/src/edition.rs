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

    /// What finds clicks and dropouts, read once per process and shared by all instances.
    ///
    /// # Errors
    /// As for [`Edition::model`].
    fn detectors() -> Result<&'static Detectors, &'static str>;
}

/// Dualstep: 20 ms hops and one hop of look-ahead, 90 ms latency.
pub enum Studio {}

/// Dualstep Live: 6.67 ms hops without look-ahead, 23.3 ms latency.
pub enum Live {}

/// What is read from the bytes inside the plugin, or why it can't be.
type Cell<T> = OnceLock<Result<T, String>>;

impl Edition for Studio {
    const NAME: &'static str = "Dualstep";
    const CLAP_ID: &'static str = "org.dualstep.studio";
    const VST3_CLASS_ID: [u8; 16] = *b"DualstepStudioRs";
    const DESCRIPTION: &'static str = "Restores old recordings: clicks, noise, lost detail";

    fn model() -> Result<&'static Model, &'static str> {
        static MODEL: Cell<Model> = OnceLock::new();
        read_model(&MODEL, include_bytes!("../../assets/weights/studio.safetensors"))
    }

    fn detectors() -> Result<&'static Detectors, &'static str> {
        static DETECTORS: Cell<Detectors> = OnceLock::new();
        read_detectors(&DETECTORS, include_bytes!("../../assets/weights/detector-studio.safetensors"))
    }
}

impl Edition for Live {
    const NAME: &'static str = "Dualstep Live";
    const CLAP_ID: &'static str = "org.dualstep.live";
    const VST3_CLASS_ID: [u8; 16] = *b"DualstepLiveRust";
    const DESCRIPTION: &'static str = "Restores old recordings with low latency: clicks, noise, lost detail";

    fn model() -> Result<&'static Model, &'static str> {
        static MODEL: Cell<Model> = OnceLock::new();
        read_model(&MODEL, include_bytes!("../../assets/weights/live.safetensors"))
    }

    fn detectors() -> Result<&'static Detectors, &'static str> {
        static DETECTORS: Cell<Detectors> = OnceLock::new();
        read_detectors(&DETECTORS, include_bytes!("../../assets/weights/detector-live.safetensors"))
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

fn read_model(cell: &'static Cell<Model>, bytes: &[u8]) -> Result<&'static Model, &'static str> {
    once(cell, || Model::from_bytes(bytes))
}

/// `clicks`: the edition's click detector. Dropouts are found by one network in both.
fn read_detectors(cell: &'static Cell<Detectors>, clicks: &[u8]) -> Result<&'static Detectors, &'static str> {
    once(cell, || {
        Ok(Detectors {
            clicks: ClickDetector::from_bytes(clicks)?,
            dropouts: DropoutDetector::from_bytes(include_bytes!("../../assets/weights/dropouts.safetensors"))?,
        })
    })
}

fn once<T>(cell: &'static Cell<T>, read: impl FnOnce() -> Result<T, WeightsError>) -> Result<&'static T, &'static str> {
    cell.get_or_init(|| read().map_err(|error| error.to_string()))
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
        let [studio, live] = [Studio::detectors(), Live::detectors()].map(|detectors| detectors.expect("the detectors' weights"));
        assert!(studio.dropouts.macs() > 0 && live.dropouts.macs() > 0);
        for (model, detectors) in [(Studio::model(), studio), (Live::model(), live)] {
            let geometry = model.and_then(|model| model.spec().geometry(48e3).map_err(|_| "no geometry"));
            let left = geometry.expect("48 kHz").repair - detectors.clicks.spec().lookahead();
            assert!(left > 96, "{left} samples for clicks and what follows them, expected 2 ms and more");
        }
    }
}
