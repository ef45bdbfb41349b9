//! Hop in, hop out: the whole restoration on one thread.
//!
//! Hop `k` completes frame `k` of the repaired stream. The networks answer with what they know of frame `k - lookahead_hops`; the controls that were in
//! force at its middle, those of the hop before it, decide how much of that is done; and its synthesis completes one hop of output.

mod blend;

use crate::repair::{Detectors, Repairs, SampleRepair};
use crate::saturation::{Bent, Desaturator};
use crate::stft::{Stft, StftChannel};
use crate::unet::{RestoredFrame, TwoStage};
use crate::{Controls, Geometry, Model, SpecError};
use blend::{Energies, Word};
use realfft::num_complex::Complex32;

/// Samples below this magnitude in all channels are silence (-120 dBFS).
pub const SILENCE: f32 = 1e-6;

/// Silence or idle hops of this length send the networks to rest.
pub const REST_AFTER_S: f64 = 0.5;

/// The same in hops of `hop` samples.
#[must_use]
pub fn rest_after(sample_rate_hz: f64, hop: usize) -> usize {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "half a second in hops")]
    let hops = (REST_AFTER_S * sample_rate_hz / hop as f64).ceil() as usize;
    hops
}

/// Input beyond this magnitude is clamped (+60 dBFS). It is no audio: the networks start anew when it has passed, or the running level would take seconds to
/// come down.
pub const LOUDEST: f32 = 1e3;

/// Input below this magnitude is 0 (-300 dBFS, far below the last bit of any converter): its square would be subnormal.
pub const FAINTEST: f32 = 1e-15;

/// Position of a frame that doesn't exist.
const NO_FRAME: u64 = u64::MAX;

/// What happened while one hop was restored, for meters. Levels in dB.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct HopReport {
    /// Clicks repaired.
    pub clicks: u32,
    /// Energy that stage 1 took away, as the ratio of its input to its output in dB, at the strength in force; 0 or more.
    pub removed_db: f32,
    /// Size of stage 2's change relative to stage 1's output in dB, at the strength in force; `f32::NEG_INFINITY` is never reported, -120 is the least.
    pub restored_db: f32,
    /// Whether the networks ran, or rested because of silence or bypass.
    pub active: bool,
}

/// Single-threaded, deterministic restoration: the same hops and controls give the same bits.
#[derive(Debug)]
pub struct Restorer {
    geometry: Geometry,
    channels: usize,
    /// Bins of the networks, whether the rate has them or not.
    network_bins: usize,
    /// Bins in the networks' top band: the bins above take their mean gain.
    top_band: usize,
    repairs: Vec<SampleRepair>,
    stft: Stft,
    states: Vec<StftChannel>,
    networks: TwoStage,
    /// What goes into the networks, `[channel][bin]`.
    input: Vec<Complex32>,
    /// What comes out of them.
    frame: RestoredFrame,
    /// The last `lookahead_hops + 1` frames.
    frames: Vec<Frame>,
    /// Positions of the last `lookahead_hops + 1` frames that the networks saw.
    fed: Vec<u64>,
    /// Controls of the last `lookahead_hops + 2` hops.
    controls: Vec<Controls>,
    /// Frame to synthesise, all bins of one channel.
    output: Vec<Complex32>,
    /// Stage 2's last part, on samples.
    desaturator: Desaturator,
    /// Index of the next hop.
    position: u64,
    /// Hops of silence or idleness in a row, up to `rest_after`.
    quiet: usize,
    /// Hops of silence or idleness after which the networks rest.
    rest_after: usize,
    /// Whether the hop before was at rest, and silent behind click repair.
    hushed: bool,
    /// Hops until no frame holds a sample beyond [`LOUDEST`] any more.
    spoilt: usize,
}

/// A frame that waits to be synthesised.
#[derive(Debug)]
struct Frame {
    /// `[channel][bin]`, all bins; of a frame at rest those of an older one.
    spectra: Vec<Complex32>,
    /// `[channel][sample]`, what the synthesis window sees. Only of a frame at rest: nothing is asked of it, so it needs no spectrum.
    samples: Vec<f32>,
    /// Whether the frame was taken at rest.
    at_rest: bool,
}

impl Frame {
    /// Silence.
    fn new(geometry: &Geometry, channels: usize) -> Self {
        Self {
            spectra: vec![Complex32::default(); channels * geometry.spectrum_bins],
            samples: vec![0.0; channels * geometry.synthesis],
            at_rest: false,
        }
    }

    fn reset(&mut self) {
        self.spectra.fill(Complex32::default());
        self.at_rest = false;
    }
}

impl Restorer {
    /// A restorer at the start of a stream of `channels` channels (1 or 2). `detectors` find what is to be repaired, `model` does the rest.
    ///
    /// # Errors
    /// If the sample rate isn't supported.
    pub fn new(model: &Model, detectors: &Detectors, sample_rate_hz: f64, channels: usize) -> Result<Self, SpecError> {
        let spec = model.spec();
        let geometry = spec.geometry(sample_rate_hz)?;
        let frames = geometry.lookahead_hops + 1;
        Ok(Self {
            channels,
            network_bins: spec.bins,
            top_band: spec.segments.last().map_or(1, |[_, stride]| *stride),
            repairs: (0..channels)
                .map(|_| SampleRepair::new(detectors, &geometry, sample_rate_hz))
                .collect(),
            stft: Stft::new(&geometry),
            states: (0..channels).map(|_| StftChannel::new(&geometry)).collect(),
            networks: TwoStage::with_bins(model, channels, geometry.network_bins),
            frame: RestoredFrame::new(model, channels),
            input: vec![Complex32::default(); channels * spec.bins],
            frames: (0..frames).map(|_| Frame::new(&geometry, channels)).collect(),
            fed: vec![NO_FRAME; frames],
            controls: vec![Controls::default(); frames + 1],
            output: vec![Complex32::default(); geometry.spectrum_bins],
            desaturator: Desaturator::new(&geometry, sample_rate_hz, channels),
            position: 0,
            quiet: 0,
            rest_after: rest_after(sample_rate_hz, geometry.hop),
            hushed: false,
            spoilt: 0,
            geometry,
        })
    }

    /// Geometry at this sample rate.
    #[must_use]
    pub fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// Restores one hop in place. `audio` is planar: `[channel][sample]`, `channels * hop` samples. What comes out is the stream that went in,
    /// [`crate::latency::restorer_delay`] samples ago.
    ///
    /// # Panics
    /// If `audio` doesn't hold `channels * hop` samples.
    ///
    /// # Real-time
    /// No allocation, lock or system call.
    pub fn process(&mut self, audio: &mut [f32], controls: &Controls) -> HopReport {
        self.advance(audio, controls, true)
    }

    /// Takes a hop without running the networks, when its result would come too late anyway. Gains of its frame are one; the stream keeps its position.
    ///
    /// With look-ahead, the frame that is answered in this hop and the one that begins with it both go untouched.
    ///
    /// # Panics
    /// If `audio` doesn't hold `channels * hop` samples.
    ///
    /// # Real-time
    /// No allocation, lock or system call.
    pub fn skip(&mut self, audio: &mut [f32], controls: &Controls) -> HopReport {
        self.advance(audio, controls, false)
    }

    /// Back to the start of a stream.
    pub fn reset(&mut self) {
        self.repairs.iter_mut().for_each(SampleRepair::reset);
        self.states.iter_mut().for_each(StftChannel::reset);
        self.frames.iter_mut().for_each(Frame::reset);
        self.controls.fill(Controls::default());
        self.position = 0;
        self.quiet = 0;
        self.hushed = false;
        self.spoilt = 0;
        self.forget();
    }

    /// Networks and desaturation at the start of a stream.
    fn forget(&mut self) {
        self.networks.reset();
        self.desaturator.reset();
        self.fed.fill(NO_FRAME);
    }

    fn advance(&mut self, audio: &mut [f32], controls: &Controls, run: bool) -> HopReport {
        assert_eq!(audio.len(), self.channels * self.geometry.hop, "one hop per channel goes in");
        if sanitise(audio) {
            // Its last sample is in the frames of this hop and of as many as the window has, since click repair delays the stream by a part of a hop.
            self.spoilt = self.geometry.analysis / self.geometry.hop + 1;
        }
        let rest = self.rests(audio, controls);
        let decisive = self.remember(controls);
        let mut report = HopReport::default();

        #[expect(clippy::cast_possible_truncation, reason = "less than the number of frames")]
        let slot = (self.position % self.frames.len() as u64) as usize;
        let (bins, window) = (self.geometry.spectrum_bins, self.geometry.synthesis);
        let repairs = if rest {
            Repairs::default()
        } else {
            Repairs {
                declick: controls.declick,
                declip: controls.declip,
                dropouts: controls.dropouts,
            }
        };
        let newest = &mut self.frames[slot];
        newest.at_rest = rest;
        let mut hushed = rest;
        for (channel, audio) in audio.chunks_exact_mut(self.geometry.hop).enumerate() {
            report.clicks += self.repairs[channel].process(audio, repairs);
            hushed = hushed && audio.iter().all(|x| x.abs() < SILENCE);
            let state = &mut self.states[channel];
            if rest {
                self.stft.keep(state, audio, &mut newest.samples[channel * window..][..window]);
            } else {
                self.stft.analyse(state, audio, &mut newest.spectra[channel * bins..][..bins]);
            }
        }

        report.active = run && !rest;
        if report.active && self.hushed {
            self.hear_silence(&decisive);
        }
        self.hushed = hushed;
        let known = report.active && self.ask(slot, &decisive);

        // The slot after the newest holds the oldest frame, the one to synthesise; with no look-ahead that is the newest.
        let oldest = &self.frames[(slot + 1) % self.frames.len()];
        let at_rest = oldest.at_rest;
        let mut energies = Energies::default();
        let mut sound = true;
        for (channel, audio) in audio.chunks_exact_mut(self.geometry.hop).enumerate() {
            if at_rest {
                self.stft
                    .pass(&mut self.states[channel], &oldest.samples[channel * window..][..window], audio);
                finite(audio);
                continue;
            }
            self.output.copy_from_slice(&oldest.spectra[channel * bins..][..bins]);
            if known {
                let all = channel * self.network_bins;
                let present = self.geometry.network_bins;
                let gain = &self.frame.gain[all..][..present];
                let top = self.network_bins - self.top_band.min(self.network_bins);
                let word = Word {
                    gain,
                    restored: &self.frame.restored[all..][..present],
                    // Rates that lack the whole top band have no bins above it either.
                    above: mean(&gain[top.min(present)..]),
                };
                sound &= blend::blend(&mut self.output, &word, &decisive, &mut energies);
            }
            self.stft.synthesise(&mut self.states[channel], &mut self.output, audio);
            finite(audio);
        }
        let bent = if at_rest {
            self.desaturator.rest();
            Bent::default()
        } else {
            self.desaturator.process(audio, blend::unit(decisive.stage2), decisive.linked)
        };
        if known {
            report.removed_db = energies.removed_db();
        }
        report.restored_db = energies.restored_db(bent.ratio());
        let garbage_passed = self.spoilt == 1;
        self.spoilt = self.spoilt.saturating_sub(1);
        if garbage_passed || !sound {
            // Whatever the networks carry may be spoilt, for seconds or for good: they start anew.
            self.forget();
        }
        self.position += 1;
        report
    }

    /// Keeps count of silent and idle hops; true while the networks rest.
    fn rests(&mut self, audio: &[f32], controls: &Controls) -> bool {
        let silent = audio.iter().all(|x| x.abs() < SILENCE);
        if !silent && !controls.idle {
            self.quiet = 0;
            return false;
        }
        if silent && self.position == 0 {
            // There is nothing yet to be sent to rest: what begins with silence is as after a long one.
            self.quiet = self.rest_after;
        }
        if self.quiet < self.rest_after {
            self.quiet += 1;
            if self.quiet == self.rest_after {
                self.networks.rest();
                self.fed.fill(NO_FRAME);
            }
        }
        self.quiet == self.rest_after
    }

    /// Stores the controls of the newest hop and returns those for the frame to synthesise, `lookahead_hops` behind: of the hop before it, in whose middle
    /// the frame's centre is (see ARCHITECTURE.md). The first frame has no hop before it.
    fn remember(&mut self, controls: &Controls) -> Controls {
        if self.position == 0 {
            self.controls.fill(*controls);
        }
        self.controls.rotate_left(1);
        if let Some(newest) = self.controls.last_mut() {
            *newest = *controls;
        }
        self.controls[0]
    }

    /// Shows the networks a frame of the silence before the newest one: to them, what comes out of silence is an onset, and what a stream begins with may be
    /// noise. Click repair delays the stream by half a hop, so that half of all frames that end a silence begin with it, and the others don't.
    fn hear_silence(&mut self, controls: &Controls) {
        self.input.fill(Complex32::default());
        self.step(self.position - 1, controls);
    }

    /// Runs the networks on the newest frame. Returns whether `self.frame` then holds what they know of the frame to synthesise: after a start or a skip
    /// they may speak of another.
    fn ask(&mut self, slot: usize, controls: &Controls) -> bool {
        let present = self.geometry.network_bins;
        let spectra = self.frames[slot].spectra.chunks_exact(self.geometry.spectrum_bins);
        for (input, spectrum) in self.input.chunks_exact_mut(self.network_bins).zip(spectra) {
            input[..present].copy_from_slice(&spectrum[..present]);
        }
        self.step(self.position, controls);
        let oldest = self.fed[0];
        oldest != NO_FRAME && oldest + self.geometry.lookahead_hops as u64 == self.position
    }

    /// Gives the networks `self.input`, as the frame at `position`.
    fn step(&mut self, position: u64, controls: &Controls) {
        self.networks.step(&self.input, controls, &mut self.frame);
        self.fed.rotate_left(1);
        if let Some(newest) = self.fed.last_mut() {
            *newest = position;
        }
    }
}

/// Mean; 1 for none.
fn mean(x: &[f32]) -> f32 {
    if x.is_empty() {
        1.0
    } else {
        x.iter().sum::<f32>() / x.len() as f32
    }
}

/// Replaces what isn't audio: NaN, infinity and the faintest values by 0, absurd ones by the loudest. Returns whether there were absurd ones.
fn sanitise(audio: &mut [f32]) -> bool {
    let mut absurd = false;
    for x in audio {
        let size = x.abs();
        absurd |= size > LOUDEST && size < f32::INFINITY;
        *x = if (FAINTEST..f32::INFINITY).contains(&size) {
            x.clamp(-LOUDEST, LOUDEST)
        } else {
            0.0
        };
    }
    absurd
}

/// Replaces what mustn't leave by 0: NaN, infinity and subnormal numbers.
fn finite(audio: &mut [f32]) {
    for x in audio {
        if !x.is_normal() {
            *x = 0.0;
        }
    }
}
