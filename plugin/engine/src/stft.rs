//! Analysis and synthesis windows, forward and inverse transform, overlap-add.
//!
//! A long analysis window and a short synthesis window that ends with it: fine bins at a short delay (D. Mauler, R. Martin, "A low delay, variable
//! resolution, perfect reconstruction spectral analysis-synthesis system for speech enhancement", EUSIPCO 2007). ARCHITECTURE.md has the formulas.

use crate::Geometry;
use realfft::num_complex::Complex32;
use realfft::{ComplexToReal, RealFftPlanner, RealToComplex};
use std::f64::consts::FRAC_PI_2;
use std::fmt;
use std::sync::Arc;

/// Plans, windows and scratch of one geometry, shared by all channels of an instance.
pub struct Stft {
    hop: usize,
    /// Analysis window times `2 / sum(window)`, `analysis` samples.
    analysis: Vec<f32>,
    /// Synthesis window times what undoes the scale of the spectrum and of the inverse transform, the last `2 hop` samples.
    synthesis: Vec<f32>,
    /// Both windows together, without any scale: the Hann window over the last `2 hop` samples.
    both: Vec<f32>,
    forward: Arc<dyn RealToComplex<f32>>,
    inverse: Arc<dyn ComplexToReal<f32>>,
    /// One frame in the time domain.
    time: Vec<f32>,
    scratch: Vec<Complex32>,
}

impl fmt::Debug for Stft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stft")
            .field("hop", &self.hop)
            .field("analysis", &self.analysis.len())
            .finish_non_exhaustive()
    }
}

/// What one channel carries from hop to hop.
#[derive(Clone, Debug)]
pub struct StftChannel {
    /// The last `analysis` samples of input.
    history: Vec<f32>,
    /// Second half of the last synthesis frame, `hop` samples.
    overlap: Vec<f32>,
}

impl StftChannel {
    /// A channel at the start of a stream: silence so far.
    #[must_use]
    pub fn new(geometry: &Geometry) -> Self {
        Self {
            history: vec![0.0; geometry.analysis],
            overlap: vec![0.0; geometry.hop],
        }
    }

    /// Appends a hop of input.
    fn take(&mut self, audio: &[f32]) {
        let kept = self.history.len() - audio.len();
        self.history.copy_within(audio.len().., 0);
        self.history[kept..].copy_from_slice(audio);
    }

    /// Back to the start of a stream.
    pub fn reset(&mut self) {
        self.history.fill(0.0);
        self.overlap.fill(0.0);
    }
}

/// Analysis window, before scaling: rises like a sine over all but the last hop, falls like a cosine over the last hop.
///
/// `analysis`: samples in the window, at least `2 hop`.
#[must_use]
pub fn analysis_window(analysis: usize, hop: usize) -> Vec<f64> {
    let rise = analysis - hop;
    (0..analysis)
        .map(|n| {
            if n < rise {
                (FRAC_PI_2 * n as f64 / rise as f64).sin()
            } else {
                (FRAC_PI_2 * (n - rise) as f64 / hop as f64).cos()
            }
        })
        .collect()
}

/// Synthesis window over the last `2 hop` samples of a frame: together with the analysis window it is a Hann window, which adds up to one.
#[must_use]
pub fn synthesis_window(analysis: &[f64], hop: usize) -> Vec<f64> {
    let tail = &analysis[analysis.len() - 2 * hop..];
    tail.iter()
        .enumerate()
        .map(|(n, a)| {
            let hann = (FRAC_PI_2 * n as f64 / hop as f64).sin().powi(2);
            // Only sample 0 of a two-hop window is 0 / 0; its limit is 0.
            if n == 0 { 0.0 } else { hann / a }
        })
        .collect()
}

impl Stft {
    /// Plans the transforms of `geometry`.
    #[must_use]
    pub fn new(geometry: &Geometry) -> Self {
        let analysis = analysis_window(geometry.analysis, geometry.hop);
        let synthesis = synthesis_window(&analysis, geometry.hop);
        let scale = 2.0 / analysis.iter().sum::<f64>();
        let unscale = 1.0 / (scale * geometry.analysis as f64);
        let tail = &analysis[analysis.len() - 2 * geometry.hop..];
        let both: Vec<f64> = tail.iter().zip(&synthesis).map(|(a, s)| a * s).collect();
        let mut planner = RealFftPlanner::new();
        let forward = planner.plan_fft_forward(geometry.analysis);
        let inverse = planner.plan_fft_inverse(geometry.analysis);
        Self {
            hop: geometry.hop,
            analysis: scaled(&analysis, scale),
            synthesis: scaled(&synthesis, unscale),
            both: scaled(&both, 1.0),
            time: vec![0.0; geometry.analysis],
            scratch: vec![Complex32::default(); forward.get_scratch_len().max(inverse.get_scratch_len())],
            forward,
            inverse,
        }
    }

    /// Takes the next hop of one channel and writes the spectrum of the frame that ends with it.
    ///
    /// `audio`: `hop` samples; `spectrum`: `spectrum_bins` bins, scaled so that a full-scale sine has magnitude 1 at its bin.
    ///
    /// # Panics
    /// If a slice has another length.
    ///
    /// # Real-time
    /// No allocation, lock or system call.
    pub fn analyse(&mut self, channel: &mut StftChannel, audio: &[f32], spectrum: &mut [Complex32]) {
        channel.take(audio);
        for ((time, sample), window) in self.time.iter_mut().zip(&channel.history).zip(&self.analysis) {
            *time = sample * window;
        }
        let done = self.forward.process_with_scratch(&mut self.time, spectrum, &mut self.scratch);
        assert!(done.is_ok(), "the spectrum doesn't have the geometry's bins");
    }

    /// Takes the next hop of one channel, as [`Stft::analyse`] does, without the transform: writes the `2 hop` samples in which the frame is heard, for
    /// [`Stft::pass`].
    ///
    /// # Panics
    /// If a slice has another length.
    ///
    /// # Real-time
    /// No allocation, lock or system call.
    pub fn keep(&self, channel: &mut StftChannel, audio: &[f32], samples: &mut [f32]) {
        assert_eq!(audio.len(), self.hop, "one hop goes in");
        channel.take(audio);
        samples.copy_from_slice(&channel.history[channel.history.len() - 2 * self.hop..]);
    }

    /// What [`Stft::synthesise`] does with the spectrum as it was, but for rounding, without the transform: `samples` are those of [`Stft::keep`].
    ///
    /// # Panics
    /// If a slice has another length.
    ///
    /// # Real-time
    /// No allocation, lock or system call.
    pub fn pass(&self, channel: &mut StftChannel, samples: &[f32], audio: &mut [f32]) {
        assert_eq!(audio.len(), self.hop, "one hop comes out");
        let (first, second) = samples.split_at(self.hop);
        let (rise, fall) = self.both.split_at(self.hop);
        for n in 0..self.hop {
            audio[n] = channel.overlap[n] + first[n] * rise[n];
            channel.overlap[n] = second[n] * fall[n];
        }
    }

    /// Adds the next frame of one channel and writes the hop that it completes: the one before the hop the frame ends with.
    ///
    /// `spectrum`: `spectrum_bins` bins, left undefined; `audio`: `hop` samples.
    ///
    /// # Panics
    /// If a slice has another length.
    ///
    /// # Real-time
    /// No allocation, lock or system call.
    pub fn synthesise(&mut self, channel: &mut StftChannel, spectrum: &mut [Complex32], audio: &mut [f32]) {
        // A real signal has real ends of its spectrum; stage 2 needn't know.
        let last = spectrum.len() - 1;
        spectrum[0].im = 0.0;
        if self.time.len().is_multiple_of(2) {
            spectrum[last].im = 0.0;
        }
        let done = self.inverse.process_with_scratch(spectrum, &mut self.time, &mut self.scratch);
        assert!(done.is_ok(), "the spectrum doesn't have the geometry's bins");
        assert_eq!(audio.len(), self.hop, "one hop comes out");
        let (first, second) = self.time[self.time.len() - 2 * self.hop..].split_at(self.hop);
        let (rise, fall) = self.synthesis.split_at(self.hop);
        for n in 0..self.hop {
            audio[n] = channel.overlap[n] + first[n] * rise[n];
            channel.overlap[n] = second[n] * fall[n];
        }
    }
}

/// `window * scale`, rounded once.
#[expect(clippy::cast_possible_truncation, reason = "windows are computed in f64 and used in f32")]
fn scaled(window: &[f64], scale: f64) -> Vec<f32> {
    window.iter().map(|w| (w * scale) as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::f64::consts::TAU;

    fn geometry(rate_hz: f64, units: f64, analysis_hops: usize) -> Geometry {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a test's small positive number"
        )]
        let hop = (rate_hz * units / 300.0).round() as usize;
        let analysis = hop * analysis_hops;
        Geometry {
            hop,
            analysis,
            synthesis: 2 * hop,
            synthesis_hops: 2,
            lookahead_hops: 0,
            repair: hop / 2,
            spectrum_bins: analysis / 2 + 1,
            network_bins: (analysis / 2 + 1).min(800),
        }
    }

    /// A reproducible sample in -1..1.
    fn noise(seed: &mut u32) -> f32 {
        *seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (*seed >> 8) as f32 / 8_388_608.0 - 1.0
    }

    /// Energy of `(out - in)` over that of `in`, in dB, after the delay of one hop.
    fn reconstruction_db(geometry: &Geometry) -> f64 {
        let mut stft = Stft::new(geometry);
        let mut channel = StftChannel::new(geometry);
        let mut spectrum = vec![Complex32::default(); geometry.spectrum_bins];
        let mut seed = 1;
        let input: Vec<f32> = (0..geometry.hop * 24).map(|_| noise(&mut seed)).collect();
        let mut output = Vec::new();
        for hop in input.chunks_exact(geometry.hop) {
            let mut out = vec![0.0; geometry.hop];
            stft.analyse(&mut channel, hop, &mut spectrum);
            stft.synthesise(&mut channel, &mut spectrum, &mut out);
            output.extend(out);
        }
        let kept = input.len() - geometry.hop;
        let error: f64 = (0..kept).map(|n| f64::from(output[n + geometry.hop] - input[n]).powi(2)).sum();
        let energy: f64 = input[..kept].iter().map(|x| f64::from(*x).powi(2)).sum();
        10.0 * (error / energy).log10()
    }

    #[test]
    fn reconstructs_at_every_rate() {
        for rate_hz in [8e3, 11_025.0, 22_050.0, 31_337.0, 44.1e3, 48e3, 96e3, 192e3, 384e3] {
            for (units, hops) in [(6.0, 2), (2.0, 6), (2.0, 3), (2.0, 5)] {
                let error_db = reconstruction_db(&geometry(rate_hz, units, hops));
                assert!(error_db < -120.0, "{rate_hz} Hz, {hops} hops: {error_db:.1} dB");
            }
        }
    }

    #[test]
    fn passing_is_transforming_there_and_back() {
        for (units, hops) in [(6.0, 2), (2.0, 6)] {
            let geometry = geometry(48e3, units, hops);
            let mut stft = Stft::new(&geometry);
            let mut spectrum = vec![Complex32::default(); geometry.spectrum_bins];
            let mut channels = [StftChannel::new(&geometry), StftChannel::new(&geometry)];
            let mut seed = 3;
            for hop in 0..30 {
                let input: Vec<f32> = (0..geometry.hop).map(|_| noise(&mut seed)).collect();
                let mut whole = vec![0.0; geometry.hop];
                stft.analyse(&mut channels[0], &input, &mut spectrum);
                stft.synthesise(&mut channels[0], &mut spectrum, &mut whole);
                // Now and then only: one must take over from the other anywhere.
                let mut mixed = input.clone();
                let mut samples = vec![0.0; geometry.synthesis];
                if hop % 7 < 3 {
                    stft.keep(&mut channels[1], &input, &mut samples);
                    stft.pass(&mut channels[1], &samples, &mut mixed);
                } else {
                    stft.analyse(&mut channels[1], &input, &mut spectrum);
                    stft.synthesise(&mut channels[1], &mut spectrum, &mut mixed);
                }
                let worst = whole.iter().zip(&mixed).fold(0.0, |worst: f32, (a, b)| worst.max((a - b).abs()));
                assert!(worst < 2e-6, "hop {hop}: {worst}");
            }
        }
    }

    #[test]
    fn windows_add_up_to_one() {
        for (hop, hops) in [(960, 2), (320, 6), (53, 3)] {
            let analysis = analysis_window(hop * hops, hop);
            let synthesis = synthesis_window(&analysis, hop);
            let tail = &analysis[analysis.len() - 2 * hop..];
            for n in 0..hop {
                let sum = tail[n] * synthesis[n] + tail[hop + n] * synthesis[hop + n];
                assert!((sum - 1.0).abs() < 1e-12, "{hop} {hops} {n}: {sum}");
            }
        }
    }

    #[test]
    fn full_scale_sine_has_magnitude_one() {
        for (units, hops) in [(6.0, 2), (2.0, 6)] {
            for rate_hz in [44.1e3, 48e3, 192e3] {
                let geometry = geometry(rate_hz, units, hops);
                let mut stft = Stft::new(&geometry);
                let mut channel = StftChannel::new(&geometry);
                let mut spectrum = vec![Complex32::default(); geometry.spectrum_bins];
                let bin = 40;
                for hop in 0..hops {
                    #[expect(clippy::cast_possible_truncation, reason = "samples are f32")]
                    let audio: Vec<f32> = (0..geometry.hop)
                        .map(|n| (TAU * bin as f64 * (hop * geometry.hop + n) as f64 / geometry.analysis as f64).sin() as f32)
                        .collect();
                    stft.analyse(&mut channel, &audio, &mut spectrum);
                }
                assert!((spectrum[bin].norm() - 1.0).abs() < 1e-3, "{}", spectrum[bin].norm());
            }
        }
    }

    #[test]
    fn reset_forgets() {
        let geometry = geometry(48e3, 2.0, 6);
        let mut stft = Stft::new(&geometry);
        let mut channel = StftChannel::new(&geometry);
        let mut spectrum = vec![Complex32::default(); geometry.spectrum_bins];
        let mut out = vec![0.0; geometry.hop];
        stft.analyse(&mut channel, &vec![1.0; geometry.hop], &mut spectrum);
        stft.synthesise(&mut channel, &mut spectrum, &mut out);
        channel.reset();
        stft.analyse(&mut channel, &vec![0.0; geometry.hop], &mut spectrum);
        stft.synthesise(&mut channel, &mut spectrum, &mut out);
        assert!(out.iter().all(|x| *x == 0.0));
    }
}
