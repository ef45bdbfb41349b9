//! The low-cut: a Butterworth high-pass of fourth order, 24 dB per octave, minimum phase.

use super::svf::{BUTTERWORTH_4, Coefficients, Svf, warp};
use super::{Frame, RAMP_S, ramp};
use crate::ramp::Ramp;

/// Takes away rumble. Below [`crate::output::CUT_HZ`]'s start it is off.
#[derive(Debug)]
pub(super) struct LowCut {
    sample_rate_hz: f64,
    /// Share of the filtered signal: 0 is off.
    presence: Ramp,
    /// The cut-off as the filter sees it; it glides.
    warped: Ramp,
    coefficients: [Coefficients; 2],
    sections: [Svf; 2],
}

impl LowCut {
    pub(super) fn new(sample_rate_hz: f64) -> Self {
        Self {
            sample_rate_hz,
            presence: ramp(sample_rate_hz, RAMP_S),
            warped: ramp(sample_rate_hz, RAMP_S),
            coefficients: BUTTERWORTH_4.map(|damping| Coefficients::new(0.0, damping)),
            sections: [Svf::default(); 2],
        }
    }

    /// Sets out for a cut-off in Hz, or for off. At once if `now`.
    pub(super) fn aim(&mut self, cutoff_hz: Option<f32>, now: bool) {
        if let Some(cutoff_hz) = cutoff_hz {
            #[expect(
                clippy::cast_possible_truncation,
                reason = "a coefficient of six digits is exact enough to glide to"
            )]
            let warped = warp(f64::from(cutoff_hz), self.sample_rate_hz) as f32;
            if now || !self.is_on() {
                self.warped.snap(warped);
                self.tune();
                self.sections = [Svf::default(); 2];
            } else {
                self.warped.aim(warped);
            }
        }
        let presence = f32::from(u8::from(cutoff_hz.is_some()));
        if now {
            self.presence.snap(presence);
        } else {
            self.presence.aim(presence);
        }
        self.sections.iter_mut().for_each(Svf::flush);
    }

    /// Whether anything is done to the signal.
    pub(super) fn is_on(&self) -> bool {
        !self.presence.rests_at(0.0)
    }

    pub(super) fn process(&mut self, frame: Frame) -> Frame {
        if !self.is_on() {
            return frame;
        }
        if self.warped.moves() {
            self.warped.advance();
            self.tune();
        }
        let mut filtered = frame;
        for (section, coefficients) in self.sections.iter_mut().zip(&self.coefficients) {
            filtered = section.process(filtered, coefficients).0;
        }
        let presence = f64::from(self.presence.advance());
        std::array::from_fn(|channel| frame[channel] + presence * (filtered[channel] - frame[channel]))
    }

    fn tune(&mut self) {
        let warped = f64::from(self.warped.value());
        self.coefficients = BUTTERWORTH_4.map(|damping| Coefficients::new(warped, damping));
    }
}

#[cfg(test)]
mod tests {
    use super::super::measure::{gain_db, jump, sine};
    use super::*;

    fn low_cut(sample_rate_hz: f64, cutoff_hz: f32) -> LowCut {
        let mut filter = LowCut::new(sample_rate_hz);
        filter.aim(Some(cutoff_hz), true);
        filter
    }

    #[test]
    fn response_is_butterworths_at_every_rate() {
        for sample_rate_hz in [8_000.0, 44_100.0, 48_000.0, 192_000.0, 384_000.0] {
            for cutoff in [10.0f32, 40.0, 300.0] {
                let cutoff_hz = f64::from(cutoff);
                for octaves in [-2.0f64, -1.0, 0.0, 1.0, 3.0] {
                    let frequency_hz = cutoff_hz * octaves.exp2();
                    // |H|^2 = 1 / (1 + (fc / f)^8), with both frequencies warped.
                    let ratio = warp(cutoff_hz, sample_rate_hz) / warp(frequency_hz, sample_rate_hz);
                    let expected_db = -10.0 * (1.0 + ratio.powi(8)).log10();
                    let mut filter = low_cut(sample_rate_hz, cutoff);
                    let found_db = gain_db(sample_rate_hz, frequency_hz, |frame| filter.process(frame));
                    assert!(
                        (found_db - expected_db).abs() < 0.02,
                        "{cutoff_hz} Hz at {sample_rate_hz} Hz: {found_db:.3} dB at {frequency_hz} Hz, expected {expected_db:.3} dB"
                    );
                }
            }
        }
    }

    #[test]
    fn a_cut_off_beyond_the_nyquist_frequency_is_kept_below_it() {
        let mut filter = low_cut(500.0, 300.0);
        assert!((0..5_000).all(|n| filter.process([(f64::from(n) * 0.3).sin(); 2])[0].abs() < 3.0));
    }

    #[test]
    fn switching_and_sweeping_make_no_clicks() {
        let tone = sine(48_000.0, 100.0, 48_000);
        let steady = jump(&tone);
        for settings in [[None, Some(40.0), None], [Some(10.0), Some(300.0), Some(20.0)]] {
            let mut filter = LowCut::new(48_000.0);
            let heard: Vec<f64> = tone
                .iter()
                .enumerate()
                .map(|(n, x)| {
                    if n % 16_000 == 0 {
                        filter.aim(settings[n / 16_000], n == 0);
                    }
                    filter.process([*x, *x])[0]
                })
                .collect();
            // A high-pass turns the phase of what it lets through: it may move a little faster than the tone for a moment, never jump.
            assert!(jump(&heard) < 2.5 * steady, "{settings:?}: {} after {steady}", jump(&heard));
        }
    }

    #[test]
    fn off_is_the_signal_itself_once_it_has_faded() {
        let mut filter = low_cut(48_000.0, 100.0);
        filter.aim(None, false);
        for n in 0..4_800 {
            filter.process([f64::from(n).sin(); 2]);
        }
        assert!(!filter.is_on());
        assert_eq!(filter.process([0.3, -0.7]), [0.3, -0.7]);
    }
}
