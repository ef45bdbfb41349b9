//! What the search for the mains line looks at: the spectrum of the last two seconds below some hundred hertz, four times a second.

use super::super::Frame;
use super::super::svf::{BUTTERWORTH_4, Coefficients, Svf, warp};
use realfft::num_complex::Complex32;
use realfft::{RealFftPlanner, RealToComplex};
use std::f64::consts::TAU;
use std::sync::Arc;

/// Rate that the signal is brought to, in Hz, about.
const LOW_RATE_HZ: f64 = 2_048.0;
/// Samples transformed: two seconds, so that bins are half a hertz apart.
const LENGTH: usize = 4_096;
/// Samples between two transforms: a quarter of a second.
const EVERY: usize = 512;
/// Low-pass before the rate is lowered: two Butterworth filters of order 4, one after the other. A tone that would come down to where hum is sought
/// lies above 1.6 kHz and is 105 dB weaker by then; held notes are as steady as hum.
const LOW_PASS_HZ: f64 = 350.0;
/// Bins to each side that a bin's surroundings begin and end at: 2.5 to 8 Hz away.
const SURROUNDINGS: (usize, usize) = (5, 16);

/// Time from one spectrum to the next in seconds, about.
pub(super) const EVERY_S: f32 = 0.25;

/// A line in the spectrum.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peak {
    pub(super) bin: usize,
    /// How far it stands out of its surroundings, in dB.
    pub(super) out_db: f32,
}

/// The low end's spectrum, both channels together.
pub(super) struct LowSpectrum {
    /// Samples per sample of the low rate.
    decimation: u32,
    low_rate_hz: f64,
    low_pass: [Coefficients; 4],
    sections: [Svf; 4],
    until_next: u32,
    /// The last [`LENGTH`] samples at the low rate, written around.
    ring: [Box<[f32]>; 2],
    at: usize,
    filled: usize,
    fft: Arc<dyn RealToComplex<f32>>,
    window: Box<[f32]>,
    windowed: Box<[f32]>,
    scratch: Box<[Complex32]>,
    /// The newest spectrum and the one before, per channel.
    spectra: [[Box<[Complex32]>; 2]; 2],
    /// Spectra since the stream began, at most 2.
    count: usize,
    /// Of the sum of both channels, per bin.
    level_db: Box<[f32]>,
    /// Running sum of `level_db`: element `b` holds the bins below `b`.
    sums_db: Box<[f32]>,
}

impl LowSpectrum {
    /// Levels are known up to `highest_hz` and their surroundings.
    pub(super) fn new(sample_rate_hz: f64, highest_hz: f64) -> Self {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "at least 1, and a rate is at most 10 MHz"
        )]
        let decimation = (sample_rate_hz / LOW_RATE_HZ).round().max(1.0) as u32;
        let low_rate_hz = sample_rate_hz / f64::from(decimation);
        let warped = warp(LOW_PASS_HZ, sample_rate_hz);
        let fft = RealFftPlanner::<f32>::new().plan_fft_forward(LENGTH);
        #[expect(clippy::cast_possible_truncation, reason = "a window")]
        let hann = |n: usize| (0.5 - 0.5 * (TAU * n as f64 / LENGTH as f64).cos()) as f32;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "some hundred hertz over half of one"
        )]
        let bins = (highest_hz * LENGTH as f64 / low_rate_hz) as usize + SURROUNDINGS.1;
        let bins = bins.min(LENGTH / 2);
        Self {
            decimation,
            low_rate_hz,
            low_pass: std::array::from_fn(|index| Coefficients::new(warped, BUTTERWORTH_4[index % 2])),
            sections: [Svf::default(); 4],
            until_next: 0,
            ring: [0, 1].map(|_| vec![0.0; LENGTH].into()),
            at: 0,
            filled: 0,
            window: (0..LENGTH).map(hann).collect(),
            windowed: fft.make_input_vec().into(),
            scratch: fft.make_scratch_vec().into(),
            spectra: [0, 1].map(|_| [0, 1].map(|_| fft.make_output_vec().into())),
            count: 0,
            level_db: vec![0.0; bins].into(),
            sums_db: vec![0.0; bins + 1].into(),
            fft,
        }
    }

    /// Forgets everything.
    pub(super) fn reset(&mut self) {
        self.sections = [Svf::default(); 4];
        (self.until_next, self.at, self.filled, self.count) = (0, 0, 0, 0);
    }

    /// Lets states that have faded away be zero.
    pub(super) fn flush(&mut self) {
        self.sections.iter_mut().for_each(Svf::flush);
    }

    /// Takes one frame. Returns whether there is a new spectrum, and one before it to compare it with.
    ///
    /// # Real-time
    /// Allocates nothing. Four times a second it takes as long as two transforms of 4096 samples.
    pub(super) fn push(&mut self, frame: Frame) -> bool {
        let mut low = frame;
        for (section, coefficients) in self.sections.iter_mut().zip(&self.low_pass) {
            low = section.process(low, coefficients).1;
        }
        if self.until_next > 0 {
            self.until_next -= 1;
            return false;
        }
        self.until_next = self.decimation - 1;
        for (ring, sample) in self.ring.iter_mut().zip(low) {
            #[expect(clippy::cast_possible_truncation, reason = "what is looked at needs no more digits")]
            let sample = sample as f32;
            ring[self.at] = sample;
        }
        self.at = (self.at + 1) % LENGTH;
        self.filled = (self.filled + 1).min(LENGTH);
        if self.filled < LENGTH || !self.at.is_multiple_of(EVERY) {
            return false;
        }
        self.transform();
        self.count = (self.count + 1).min(2);
        self.count == 2
    }

    fn transform(&mut self) {
        self.spectra.swap(0, 1);
        self.level_db.fill(0.0);
        for (ring, spectrum) in self.ring.iter().zip(&mut self.spectra[0]) {
            let (new, old) = ring.split_at(self.at);
            let samples = old.iter().chain(new);
            for ((windowed, sample), window) in self.windowed.iter_mut().zip(samples).zip(&self.window) {
                *windowed = sample * window;
            }
            let done = self.fft.process_with_scratch(&mut self.windowed, spectrum, &mut self.scratch);
            debug_assert!(done.is_ok(), "the buffers are the plan's own");
            for (level, bin) in self.level_db.iter_mut().zip(spectrum.iter()) {
                *level += bin.norm_sqr();
            }
        }
        let mut sum_db = 0.0;
        for (level, sum) in self.level_db.iter_mut().zip(&mut self.sums_db[1..]) {
            *level = 10.0 * (*level + 1e-20).log10();
            sum_db += *level;
            *sum = sum_db;
        }
    }

    /// Level of a bin in dB; the scale's zero is arbitrary.
    pub(super) fn level_db(&self, bin: usize) -> f32 {
        self.level_db.get(bin).copied().unwrap_or(f32::MIN)
    }

    /// The peak within one bin of a frequency, if there is one.
    pub(super) fn peak_near(&self, frequency_hz: f64) -> Option<Peak> {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "less than the Nyquist frequency's bin"
        )]
        let centre = (frequency_hz * LENGTH as f64 / self.low_rate_hz).round() as usize;
        let level_db = |bin: usize| self.level_db(bin);
        let bin = (centre.saturating_sub(1)..=centre + 1).max_by(|a, b| level_db(*a).total_cmp(&level_db(*b)))?;
        let is_peak = level_db(bin) >= level_db(bin.saturating_sub(1)) && level_db(bin) >= level_db(bin + 1);
        let out_db = self.prominence_db(bin);
        is_peak.then_some(Peak { bin, out_db })
    }

    /// How far the bin stands out of its surroundings, in dB.
    fn prominence_db(&self, bin: usize) -> f32 {
        let (near, far) = SURROUNDINGS;
        if bin < far || bin + far >= self.level_db.len() {
            return 0.0;
        }
        let sum_of = |from: usize, to: usize| self.sums_db[to] - self.sums_db[from];
        let around_db = sum_of(bin - far, bin - near + 1) + sum_of(bin + near, bin + far + 1);
        self.level_db[bin] - around_db / (2 * (far - near + 1)) as f32
    }

    /// How far the line whose peak is at `bin` is from a steady sine, over the two seconds: 0 for one, about `d / 14` for one that fades by `d` dB per second.
    ///
    /// Under a Hann window, the ratio of two neighbouring bins tells how far from them the line lies (T. Grandke, "Interpolation algorithms for discrete
    /// Fourier transforms of weighted signals", IEEE Trans. Instrum. Meas. 32, 1983). Of a steady sine both neighbours of the peak tell the same, a real
    /// number; of one that fades, the same complex one; of anything else, different ones.
    pub(super) fn unsteadiness(&self, bin: usize) -> f32 {
        let new = &self.spectra[0];
        let power: f32 = new.iter().map(|channel| channel[bin].norm_sqr()).sum();
        let offset = |neighbour: usize| {
            let ratio = -new
                .iter()
                .map(|channel| channel[neighbour] * channel[bin].conj())
                .sum::<Complex32>()
                / (power + 1e-20);
            (2.0 * ratio - 1.0) / (1.0 + ratio)
        };
        let (above, below) = (offset(bin + 1), -offset(bin - 1));
        (above - below.conj()).norm()
    }

    /// Frequency of the line whose peak is at `bin`, in Hz: by how far its phase has moved since the spectrum before (J. L. Flanagan, R. M. Golden,
    /// "Phase vocoder", Bell Syst. Tech. J. 45, 1966). Averaged over spectra, what one phase errs by cancels but for the first and the last.
    pub(super) fn frequency_hz(&self, bin: usize) -> f64 {
        let [new, old] = &self.spectra;
        let turned: Complex32 = new.iter().zip(old).map(|(new, old)| new[bin] * old[bin].conj()).sum();
        let turns = f64::from(turned.arg()) / TAU;
        // The whole turns are those that bring it nearest to the bin: they are 4 Hz apart, bins half of one.
        let rough = bin as f64 * EVERY as f64 / LENGTH as f64;
        (turns + (rough - turns).round()) * self.low_rate_hz / EVERY as f64
    }
}
