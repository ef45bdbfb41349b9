//! Stage 1: the network for whatever a recording holds, the one for speech alone, and the fade from one to the other.

use super::kernel::Buffer;
use super::stage::Stage;
use crate::weights::Model;

/// Time in which a network takes over from the other: about how long its frames and its recurrent layer take to know the sound.
const FADE_S: f64 = 1.0;

/// Streaming state of stage 1. One network runs; while it takes over from the other, both do.
#[derive(Debug)]
pub(super) struct FirstStage {
    general: Stage,
    speech: Option<Stage>,
    /// How far the network for speech has taken over, in frames: from 0, not at all, to `fade`.
    faded: usize,
    fade: usize,
    /// Whether a frame has arrived since the start of the stream.
    started: bool,
    /// `[channel][bin]`: what the network for speech says.
    spoken: Buffer,
}

impl FirstStage {
    pub(super) fn new(model: &Model, channels: usize) -> Self {
        let spec = model.spec();
        let speech = model.speech().map(|weights| Stage::new(weights, channels));
        Self {
            general: Stage::new(&model.stages()[0], channels),
            faded: 0,
            fade: spec.hops(FADE_S),
            started: false,
            spoken: Buffer::new(if speech.is_some() { channels * spec.bins } else { 0 }),
            speech,
        }
    }

    /// What stage 1 says of the next frame, `[channel][bin]` in log-odds of the gain; for `speech` alone, if there is a network for that.
    pub(super) fn step(&mut self, features: &[f32], speech: bool, said: &mut [f32]) {
        let Some(network) = &mut self.speech else {
            return self.general.step(features, said);
        };
        if !self.started {
            // Nothing was heard that could be faded from.
            self.started = true;
            self.faded = if speech { self.fade } else { 0 };
        }
        // A network that has rested starts anew.
        if speech {
            if self.faded == 0 {
                network.reset();
            }
            self.faded = (self.faded + 1).min(self.fade);
        } else {
            if self.faded == self.fade {
                self.general.reset();
            }
            self.faded = self.faded.saturating_sub(1);
        }
        if self.faded == self.fade {
            return network.step(features, said);
        }
        self.general.step(features, said);
        if self.faded > 0 {
            network.step(features, &mut self.spoken);
            #[expect(clippy::cast_precision_loss, reason = "a few hundred hops at most")]
            let share = self.faded as f32 / self.fade as f32;
            for (said, spoken) in said.iter_mut().zip(&*self.spoken) {
                *said += share * (spoken - *said);
            }
        }
    }

    /// Back to the start of a stream.
    pub(super) fn reset(&mut self) {
        self.general.reset();
        if let Some(network) = &mut self.speech {
            network.reset();
        }
        self.started = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Spec;
    use crate::unet::Network;
    use crate::weights::tests::small;
    use crate::weights::{Noise, untrained};

    /// Frames of features, and a stage 1 with the networks that it is made of, each by itself.
    fn parts(spec: &Spec) -> (Vec<Vec<f32>>, FirstStage, Stage, Option<Stage>) {
        let model = Model::from_bytes(&untrained(spec, 11).expect("sound")).expect("sound");
        let mut noise = Noise::new(3);
        let frames = (0..160).map(|_| noise.vector(spec.bins * Network::Stage1.features())).collect();
        let speech = model.speech().map(|weights| Stage::new(weights, 1));
        (frames, FirstStage::new(&model, 1), Stage::new(&model.stages()[0], 1), speech)
    }

    #[test]
    fn a_switch_fades_within_a_second_into_a_network_that_starts_anew() {
        let spec = small();
        let (frames, mut both, mut general, speech) = parts(&spec);
        let mut speech = speech.expect("the weights have one");
        let fade = spec.hops(FADE_S);
        let [mut said, mut of_general, mut of_speech] = [0; 3].map(|_| vec![0.0; spec.bins]);
        // On, off, and on again when the network for speech has rested.
        let (on, off, again) = (10, 10 + fade + 20, 10 + 2 * fade + 25);
        for (k, features) in frames.iter().enumerate() {
            both.step(features, (on..off).contains(&k) || k >= again, &mut said);
            // Each as if it had begun when it was asked for.
            if k == on || k == again {
                speech.reset();
            }
            if k == off {
                general.reset();
            }
            general.step(features, &mut of_general);
            speech.step(features, &mut of_speech);
            let share = match k {
                k if k < on => 0.0,
                k if k < off => (k + 1 - on).min(fade) as f32 / fade as f32,
                k if k < again => fade.saturating_sub(k + 1 - off) as f32 / fade as f32,
                k => (k + 1 - again) as f32 / fade as f32,
            };
            for ((said, general), speech) in said.iter().zip(&of_general).zip(&of_speech) {
                if share == 0.0 {
                    assert_eq!(said, general, "frame {k}");
                } else if share == 1.0 {
                    assert_eq!(said, speech, "frame {k}");
                } else {
                    let want = general + share * (speech - general);
                    assert!((said - want).abs() < 1e-4, "frame {k}: {said} for {want}");
                }
            }
        }
        assert!(frames.len() > again && again > off + fade, "the way back was seen whole");
    }

    #[test]
    fn a_switch_to_and_fro_keeps_both_networks() {
        let spec = small();
        let (frames, mut both, mut general, _) = parts(&spec);
        let [mut said, mut of_general] = [0; 2].map(|_| vec![0.0; spec.bins]);
        // Never so long that the network for everything would rest: it mustn't have been disturbed.
        for (k, features) in frames.iter().enumerate() {
            both.step(features, k % 20 == 5, &mut said);
            general.step(features, &mut of_general);
            assert_eq!(said == of_general, k % 20 != 5, "frame {k}");
        }
    }

    #[test]
    fn a_stream_begins_with_the_network_that_is_asked_for() {
        let spec = small();
        let (frames, mut both, _, speech) = parts(&spec);
        let mut speech = speech.expect("the weights have one");
        let [mut said, mut of_speech] = [0; 2].map(|_| vec![0.0; spec.bins]);
        for _ in 0..2 {
            for features in &frames[..5] {
                both.step(features, true, &mut said);
                speech.step(features, &mut of_speech);
                assert_eq!(said, of_speech);
            }
            for features in &frames[5..9] {
                both.step(features, false, &mut said);
            }
            both.reset();
            speech.reset();
        }
    }

    #[test]
    fn weights_without_a_network_for_speech_know_no_other_word() {
        let (frames, mut both, mut general, speech) = parts(&Spec { speech: false, ..small() });
        assert!(speech.is_none());
        let [mut said, mut of_general] = [0; 2].map(|_| vec![0.0; small().bins]);
        for (k, features) in frames.iter().enumerate() {
            both.step(features, k % 2 == 0, &mut said);
            general.step(features, &mut of_general);
            assert_eq!(said, of_general);
        }
    }
}
