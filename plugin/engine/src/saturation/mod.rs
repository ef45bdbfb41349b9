//! Undoes saturation: what was driven too hot into a tape, a groove or an amplifier, and has no samples that are lost, is bent back.
//!
//! Saturation does the same to every sample, whatever came before. So the curve that undoes it can be found from the sound alone (`estimate.rs`) and needs
//! neither training nor latency (`curve.rs`). It is stage 2's as the balance is: slow, and nothing where it isn't sure. ARCHITECTURE.md, "Saturation".

mod curve;
mod estimate;

use crate::Geometry;
use crate::unet::kernel::{Isa, Job};
use curve::{BLOCK, Inverse, Known};
use estimate::{Analysis, Estimate};

/// Time in which a curve comes in or goes.
const FADE_S: f64 = 0.06;

/// Of so many frames one is heard where nothing seems to be saturated.
const PATROL: usize = 4;

/// Streaming state for all channels of a stream.
#[derive(Debug)]
pub(crate) struct Desaturator {
    isa: Isa,
    hop: usize,
    /// Samples between two frames that are analysed: half of one.
    step: usize,
    /// Samples since the last one.
    since: usize,
    /// Frames since the last one that every estimate heard.
    passed: usize,
    analysis: Analysis,
    channels: Vec<Channel>,
    /// Whether all channels shared a curve in the last hop.
    linked: bool,
    /// Most that the share of a curve may change by in a hop.
    fade: f32,
}

#[derive(Debug)]
struct Channel {
    /// The last samples, as many as a frame has.
    history: Vec<f32>,
    estimate: Estimate,
    /// How far the curve has come in, 0..=1.
    trust: f32,
    /// What was applied at the end of the last hop.
    applied: Applied,
}

/// A curve, and how much of what it changes is done.
#[derive(Clone, Copy, Debug)]
struct Applied {
    known: Known,
    share: f32,
}

/// Energies of a hop over all channels, for the meters.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Bent {
    change: f64,
    all: f64,
}

impl Bent {
    /// Energy of the change over that of what was changed.
    pub(crate) fn ratio(self) -> f64 {
        if self.change > 0.0 {
            self.change / self.all.max(1e-300)
        } else {
            0.0
        }
    }
}

impl Desaturator {
    /// At the start of a stream.
    pub(crate) fn new(geometry: &Geometry, sample_rate_hz: f64, channels: usize) -> Self {
        let nothing = || Channel {
            history: vec![0.0; geometry.analysis],
            estimate: Estimate::default(),
            trust: 0.0,
            applied: Applied::of(&Estimate::default(), 0.0),
        };
        #[expect(clippy::cast_possible_truncation, reason = "a share of a fraction of a second")]
        let fade = (geometry.hop as f64 / sample_rate_hz / FADE_S) as f32;
        Self {
            isa: Isa::best(),
            hop: geometry.hop,
            step: geometry.analysis / 2,
            since: 0,
            passed: 0,
            analysis: Analysis::new(geometry),
            channels: (0..channels).map(|_| nothing()).collect(),
            linked: false,
            fade,
        }
    }

    /// Undoes `strength` (0..=1) of the saturation of a hop in place, by what was heard before it, and hears it. `audio` is `[channel][sample]`; with `linked`
    /// all channels have one curve.
    ///
    /// # Real-time
    /// No allocation, lock or system call.
    pub(crate) fn process(&mut self, audio: &mut [f32], strength: f32, linked: bool) -> Bent {
        if self.linked && !linked {
            let (first, others) = self.channels.split_at_mut(1);
            for other in others {
                other.estimate.clone_from(&first[0].estimate);
            }
        }
        self.linked = linked;
        self.since += self.hop;
        let due = self.since >= self.step;
        if due {
            self.since = 0;
        }
        let mut bent = Bent::default();
        for index in 0..self.channels.len() {
            let hop = &mut audio[index * self.hop..][..self.hop];
            let estimate = &self.channels[if linked { 0 } else { index }].estimate;
            let target = if estimate.believed() { 1.0 } else { 0.0 };
            let trust = self.channels[index].trust;
            let trust = trust + (target - trust).clamp(-self.fade, self.fade);
            let now = Applied::of(estimate, trust * strength);
            let channel = &mut self.channels[index];
            let before = std::mem::replace(&mut channel.applied, now);
            channel.trust = trust;
            let kept = channel.history.len() - self.hop;
            channel.history.copy_within(self.hop.., 0);
            channel.history[kept..].copy_from_slice(hop);
            if before.share > 0.0 || now.share > 0.0 {
                self.isa.run(Apply {
                    hop,
                    before,
                    now,
                    bent: &mut bent,
                });
            } else {
                bent.all += hop.iter().map(|x| f64::from(x * x)).sum::<f64>();
            }
        }
        if due {
            self.hear(linked);
        }
        bent
    }

    /// Lets the estimates hear the newest frame of each channel; the first one hears them all if they are linked, but the same one only once.
    fn hear(&mut self, linked: bool) {
        self.passed = (self.passed + 1) % PATROL;
        let all = self.passed == 0;
        let (first, others) = self.channels.split_at_mut(1);
        let first = &mut first[0];
        let shared = all || first.estimate.curious();
        if shared {
            first.estimate.hear(&mut self.analysis, &first.history);
        }
        for other in others {
            if linked && shared && other.history != first.history {
                first.estimate.hear(&mut self.analysis, &other.history);
            }
            if !linked && (all || other.estimate.curious()) {
                other.estimate.hear(&mut self.analysis, &other.history);
            }
        }
    }

    /// The stream goes on after a rest, in which nothing was heard; what was learned of it is kept.
    pub(crate) fn rest(&mut self) {
        self.since = 0;
        self.passed = 0;
        for channel in &mut self.channels {
            channel.history.fill(0.0);
        }
    }

    /// Back to the start of a stream.
    pub(crate) fn reset(&mut self) {
        self.rest();
        for channel in &mut self.channels {
            channel.estimate = Estimate::default();
            channel.trust = 0.0;
            channel.applied = Applied::of(&channel.estimate, 0.0);
        }
    }
}

impl Applied {
    fn of(estimate: &Estimate, share: f32) -> Self {
        let (curve, peaks) = estimate.curve();
        Self {
            known: Inverse::new(curve).known(peaks),
            share,
        }
    }
}

/// Applies a curve to a hop, going over from the one before.
struct Apply<'a> {
    hop: &'a mut [f32],
    before: Applied,
    now: Applied,
    bent: &'a mut Bent,
}

impl Job for Apply<'_> {
    #[inline(always)]
    fn run(self) {
        let step = 1.0 / self.hop.len() as f32;
        let mut block = [0.0; BLOCK];
        for (index, samples) in self.hop.chunks_mut(BLOCK).enumerate() {
            block[..samples.len()].copy_from_slice(samples);
            let (old, new) = (self.before.known.changes(&block), self.now.known.changes(&block));
            for (n, y) in samples.iter_mut().enumerate() {
                let part = (index * BLOCK + n + 1) as f32 * step;
                let change = (1.0 - part) * self.before.share * old[n] + part * self.now.share * new[n];
                self.bent.change += f64::from(change * change);
                self.bent.all += f64::from(*y * *y);
                // Subnormal numbers are slow, for whatever comes next.
                let bent = *y + change;
                *y = if bent.is_normal() { bent } else { 0.0 };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::tests::studio;

    fn desaturator(rate_hz: f64, channels: usize) -> Desaturator {
        let geometry = studio().geometry(rate_hz).expect("the rate is supported");
        Desaturator::new(&geometry, rate_hz, channels)
    }

    /// Notes of three partials each, three at a time, that are struck and die away; seconds of it at full scale at most.
    fn music(rate_hz: f64, seconds: f64) -> Vec<f32> {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a test's small positive numbers"
        )]
        let (samples, spacing) = ((seconds * rate_hz) as usize, (0.23 * rate_hz) as usize);
        let mut all = vec![0.0_f64; samples];
        for (note, start) in (0..samples).step_by(spacing).enumerate() {
            let hertz = 110.0 * 2_f64.powf([0.0, 7.0, 16.0, 12.0, 3.0, 21.0, 10.0, 5.0][note % 8] / 12.0) * 1.003_f64.powf(note as f64);
            for (n, x) in all[start..].iter_mut().enumerate() {
                let time = n as f64 / rate_hz;
                let tone = |k: f64| (std::f64::consts::TAU * hertz * k * time).sin() / (k * k);
                *x += (-3.0 * time).exp() * (1.0 - (-300.0 * time).exp()) * (tone(1.0) + tone(2.0) + tone(3.02));
            }
        }
        let peak = all.iter().fold(0.0_f64, |peak, x| peak.max(x.abs()));
        #[expect(clippy::cast_possible_truncation, reason = "samples are f32")]
        all.iter().map(|x| (x / peak) as f32).collect()
    }

    /// What comes out, channel by channel, and whether any hop was changed.
    fn run(desaturator: &mut Desaturator, input: &[&[f32]], strength: f32, linked: bool) -> (Vec<Vec<f32>>, bool) {
        let hop = desaturator.hop;
        let (mut output, mut changed) = (vec![Vec::new(); input.len()], false);
        for start in (0..=input[0].len() - hop).step_by(hop) {
            let mut audio: Vec<f32> = input.iter().flat_map(|x| &x[start..start + hop]).copied().collect();
            changed |= desaturator.process(&mut audio, strength, linked).ratio() > 0.0;
            for (output, audio) in output.iter_mut().zip(audio.chunks(hop)) {
                output.extend_from_slice(audio);
            }
        }
        (output, changed)
    }

    /// Signal-to-error ratio in dB after the first two seconds, whatever the gain.
    fn ratio_db(got: &[f32], clean: &[f32], rate_hz: f64) -> f64 {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "two seconds in samples")]
        let start = (2.0 * rate_hz) as usize;
        let pairs = || {
            got[start..]
                .iter()
                .zip(&clean[start..])
                .map(|(a, b)| (f64::from(*a), f64::from(*b)))
        };
        let gain = pairs().map(|(a, b)| a * b).sum::<f64>() / pairs().map(|(_, b)| b * b).sum::<f64>();
        let error: f64 = pairs().map(|(a, b)| (a - gain * b).powi(2)).sum();
        10.0 * (pairs().map(|(_, b)| (gain * b).powi(2)).sum::<f64>() / error).log10()
    }

    /// Name, least gain in dB, and the curve.
    type Shape = (&'static str, f64, fn(f32) -> f32);

    /// A saturation driven so far at full scale, with a bias.
    fn saturated(clean: &[f32], level: f32, drive: f32, bias: f32, curve: impl Fn(f32) -> f32) -> Vec<f32> {
        clean
            .iter()
            .map(|x| level * (curve(drive * x + bias) - curve(bias)) / drive)
            .collect()
    }

    #[test]
    fn what_saturated_comes_back_at_any_rate_and_level() {
        for (rate_hz, level) in [(16e3, 0.5), (44.1e3, 0.02), (48e3, 0.9), (96e3, 3.0)] {
            let clean = music(rate_hz, 6.0);
            for (drive, bias) in [(1.0, 0.1), (2.0, -0.2), (3.0, 0.3)] {
                let hot = saturated(&clean, level, drive, bias, f32::tanh);
                let (out, _) = run(&mut desaturator(rate_hz, 1), &[&hot], 1.0, true);
                let (before, after) = (ratio_db(&hot, &clean, rate_hz), ratio_db(&out[0], &clean, rate_hz));
                assert!(
                    after > before + 8.0,
                    "{rate_hz} Hz, drive {drive}: {before:.1} dB became {after:.1} dB"
                );
            }
        }
    }

    #[test]
    fn saturations_of_other_shapes_come_back_in_part_or_stay() {
        let clean = music(48e3, 6.0);
        let shapes: [Shape; 4] = [
            ("arc tangent", 12.0, f32::atan),
            ("root", 12.0, |x| x / (1.0 + x * x).sqrt()),
            ("algebraic", 3.0, |x| x / (1.0 + x.abs())),
            // Of no curve in the family, and this music is too plain to tell.
            ("diode on one side", -1.0, |x| if x > 0.0 { 1.0 - (-x).exp() } else { x.tanh() }),
        ];
        for (name, least, shape) in shapes {
            let hot = saturated(&clean, 0.5, 2.0, 0.0, shape);
            let (out, _) = run(&mut desaturator(48e3, 1), &[&hot], 1.0, true);
            let (before, after) = (ratio_db(&hot, &clean, 48e3), ratio_db(&out[0], &clean, 48e3));
            assert!(after > before + least, "{name}: {before:.1} dB became {after:.1} dB");
        }
    }

    #[test]
    fn what_is_not_saturated_stays_to_the_bit() {
        let clean = music(48e3, 6.0);
        let mut seed = 7_u32;
        let mut noise = || {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 8) as f32 / 8_388_608.0 - 1.0
        };
        let hiss: Vec<f32> = (0..clean.len()).map(|_| 0.1 * noise()).collect();
        let noisy: Vec<f32> = clean.iter().map(|x| x + 0.01 * noise()).collect();
        let limited: Vec<f32> = clean
            .chunks(480)
            .flat_map(|part| {
                let peak = part.iter().fold(0.2_f32, |peak, x| peak.max(x.abs()));
                part.iter().map(move |x| x * 0.2 / peak)
            })
            .collect();
        for (name, input) in [
            ("music", &clean),
            ("noise", &hiss),
            ("music and noise", &noisy),
            ("a limiter", &limited),
            ("silence", &vec![0.0; 48_000]),
        ] {
            let (out, changed) = run(&mut desaturator(48e3, 1), &[input], 1.0, true);
            assert!(!changed && out[0] == input[..out[0].len()], "{name}");
        }
    }

    #[test]
    fn strength_says_how_much_is_done() {
        let clean = music(48e3, 5.0);
        let hot = saturated(&clean, 0.5, 2.0, 0.1, f32::tanh);
        let at = |strength| run(&mut desaturator(48e3, 1), &[&hot], strength, true).0.remove(0);
        let (none, half, full) = (at(0.0), at(0.5), at(1.0));
        assert_eq!(none, hot[..none.len()]);
        for (n, half) in half.iter().enumerate() {
            assert!((half - 0.5 * (none[n] + full[n])).abs() < 1e-6);
        }
    }

    #[test]
    fn linked_channels_share_a_curve_and_others_have_their_own() {
        let clean = music(48e3, 5.0);
        let hot = saturated(&clean, 0.5, 2.0, 0.1, f32::tanh);
        let soft: Vec<f32> = clean.iter().map(|x| 0.5 * x).collect();
        let mono = run(&mut desaturator(48e3, 1), &[&hot], 1.0, true).0;
        let (both, _) = run(&mut desaturator(48e3, 2), &[&hot, &hot], 1.0, true);
        assert!(both[0] == mono[0] && both[1] == mono[0]);
        let (apart, _) = run(&mut desaturator(48e3, 2), &[&hot, &soft], 1.0, false);
        assert!(apart[0] == mono[0] && apart[1] == soft[..apart[1].len()]);
    }

    #[test]
    fn a_reset_is_a_fresh_start_and_garbage_passes() {
        let clean = music(48e3, 4.0);
        let hot = saturated(&clean, 0.5, 2.0, 0.1, f32::tanh);
        let mut desaturator = desaturator(48e3, 1);
        let first = run(&mut desaturator, &[&hot], 1.0, true).0;
        run(&mut desaturator, &[&vec![1e3; 9600]], 1.0, true);
        let wild: Vec<f32> = (0..96_000).map(|n| if n % 7 == 0 { 1e3 } else { -1e-30 }).collect();
        let (out, _) = run(&mut desaturator, &[&wild], 1.0, true);
        assert!(out[0].iter().all(|x| *x == 0.0 || x.is_normal()));
        desaturator.reset();
        assert_eq!(run(&mut desaturator, &[&hot], 1.0, true).0, first);
    }
}
