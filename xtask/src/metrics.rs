//! Figures about recordings.

use crate::audio::Planar;

/// Samples whose levels are compared to find the noise floor: 50 ms.
const FLOOR_WINDOW_SECONDS: f64 = 0.05;
/// The share of windows that is at or below the noise floor.
const FLOOR_SHARE: f64 = 0.1;

/// Level in dB of a mean square, relative to a full-scale square wave; at least -200.
#[must_use]
pub fn level_db(mean_square: f64) -> f64 {
    10.0 * mean_square.max(1e-20).log10()
}

/// Noise floor in dBFS (RMS): the level that the quietest tenth of all windows of 50 ms doesn't exceed. Digital silence counts as -200 dB.
#[must_use]
pub fn noise_floor_db(audio: &Planar, sample_rate_hz: u32) -> f64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a positive number of samples")]
    let window = ((f64::from(sample_rate_hz) * FLOOR_WINDOW_SECONDS) as usize).max(1);
    let frames = audio.first().map_or(0, Vec::len);
    let mut levels: Vec<f64> = (0..frames / window)
        .map(|index| {
            let range = index * window..(index + 1) * window;
            let energy: f64 = audio.iter().flat_map(|c| &c[range.clone()]).map(|s| f64::from(*s).powi(2)).sum();
            level_db(energy / (window * audio.len()) as f64)
        })
        .collect();
    if levels.is_empty() {
        return -200.0;
    }
    levels.sort_by(f64::total_cmp);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index below the length")]
    let index = (levels.len() as f64 * FLOOR_SHARE) as usize;
    levels[index.min(levels.len() - 1)]
}

/// Scale-invariant signal-to-distortion ratio of `estimate` against `reference` in dB (Le Roux et al. 2019), over all channels at once.
///
/// # Panics
/// If the two have different shapes.
#[must_use]
pub fn si_sdr_db(reference: &Planar, estimate: &Planar) -> f64 {
    assert_eq!(reference.len(), estimate.len(), "channels");
    let (mut cross, mut power) = (0.0, 0.0);
    for (r, e) in reference.iter().zip(estimate) {
        assert_eq!(r.len(), e.len(), "samples");
        for (r, e) in r.iter().zip(e) {
            cross += f64::from(*r) * f64::from(*e);
            power += f64::from(*r).powi(2);
        }
    }
    let scale = if power > 0.0 { cross / power } else { 0.0 };
    let (mut target, mut error) = (0.0, 0.0);
    for (r, e) in reference.iter().flatten().zip(estimate.iter().flatten()) {
        let wanted = scale * f64::from(*r);
        target += wanted * wanted;
        error += (f64::from(*e) - wanted).powi(2);
    }
    10.0 * (target.max(1e-30) / error.max(1e-30)).log10()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(frames: usize, gain: f32) -> Vec<f32> {
        (0u16..).take(frames).map(|n| gain * (f32::from(n) * 0.1).sin()).collect()
    }

    #[test]
    fn si_sdr_ignores_gain_and_finds_noise() {
        let reference = vec![tone(4000, 0.5)];
        assert!(si_sdr_db(&reference, &vec![tone(4000, 0.1)]) > 100.0);
        // An error at right angles to the reference with a tenth of its amplitude: 20 dB.
        let shifted: Vec<f32> = (0u16..4000).map(|n| 0.05 * (f32::from(n) * 0.1).cos()).collect();
        let noisy = vec![reference[0].iter().zip(&shifted).map(|(a, b)| a + b).collect()];
        let found = si_sdr_db(&reference, &noisy);
        assert!((found - 20.0).abs() < 0.1, "{found}");
    }

    #[test]
    fn the_noise_floor_is_that_of_the_pauses() {
        let mut audio = tone(48_000, 0.5);
        for sample in &mut audio[20_000..30_000] {
            *sample *= 0.001;
        }
        let floor = noise_floor_db(&vec![audio], 48_000);
        assert!((floor - -69.0).abs() < 1.0, "{floor}");
        assert!((noise_floor_db(&vec![Vec::new()], 48_000) - -200.0).abs() < 1e-9);
    }
}
