//! The whole restoration, hop in, hop out, with the weights that ship. What is asserted holds whatever they have learned.

mod common;

use common::{repository, shipped_detectors};
use dualstep_engine::{Controls, HopReport, Model, Restorer, latency};

/// A reproducible stream of samples in -1..1.
struct Noise(u32);

impl Noise {
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.0 >> 8) as f32 / 8_388_608.0 - 1.0
    }
}

fn model(name: &str) -> Model {
    let path = repository(&format!("assets/weights/{name}.safetensors"));
    Model::from_bytes(&std::fs::read(path).expect("the weights are committed")).expect("the weights are sound")
}

fn restorer(name: &str, rate_hz: f64, channels: usize) -> Restorer {
    Restorer::new(&model(name), &shipped_detectors(name), rate_hz, channels).expect("the rate is supported")
}

/// Nothing is changed.
const OFF: Controls = Controls {
    declick: 0.0,
    declip: false,
    dropouts: false,
    stage1: 0.0,
    stage2: 0.0,
    floor: 0.0,
    linked: true,
    speech: false,
    idle: false,
};

/// Both stages in full, no click repair.
const FULL: Controls = Controls {
    stage1: 1.0,
    stage2: 1.0,
    ..OFF
};

/// Tones under hiss, `[sample]`.
fn noisy(samples: usize, rate_hz: f64) -> Vec<f32> {
    let mut noise = Noise(1);
    (0..samples)
        .map(|n| {
            #[expect(clippy::cast_possible_truncation, reason = "samples are f32")]
            let time = (n as f64 / rate_hz) as f32 * std::f32::consts::TAU;
            let beat = 0.6 + 0.4 * (3.0 * time).sin();
            beat * (0.2 * (220.0 * time).sin() + 0.1 * (447.0 * time).sin() + 0.05 * (1801.0 * time).sin()) + 0.02 * noise.next()
        })
        .collect()
}

/// Restores `input`, `[channel][sample]`, hop by hop with the controls that `controls(hop)` gives. The delay stays in.
fn render(restorer: &mut Restorer, input: &[Vec<f32>], controls: impl Fn(usize) -> Controls) -> (Vec<Vec<f32>>, Vec<HopReport>) {
    let hop = restorer.geometry().hop;
    let mut output = vec![Vec::new(); input.len()];
    let mut reports = Vec::new();
    for index in 0..input[0].len() / hop {
        let mut audio: Vec<f32> = input.iter().flat_map(|x| x[index * hop..][..hop].iter().copied()).collect();
        reports.push(restorer.process(&mut audio, &controls(index)));
        for (output, audio) in output.iter_mut().zip(audio.chunks_exact(hop)) {
            output.extend_from_slice(audio);
        }
    }
    (output, reports)
}

fn energy(x: &[f32]) -> f64 {
    x.iter().map(|x| f64::from(*x).powi(2)).sum()
}

/// Energy of the difference over that of `x`, dB.
fn difference_db(x: &[f32], y: &[f32]) -> f64 {
    let error: f64 = x.iter().zip(y).map(|(x, y)| f64::from(x - y).powi(2)).sum();
    10.0 * ((error + 1e-30) / (energy(x) + 1e-30)).log10()
}

#[test]
fn without_strength_the_input_comes_out_at_the_delay() {
    for name in ["studio", "live"] {
        for rate_hz in [8e3, 11_025.0, 44.1e3, 48e3, 96e3, 192e3] {
            let mut restorer = restorer(name, rate_hz, 1);
            let hop = restorer.geometry().hop;
            let delay = latency::restorer_delay(restorer.geometry());
            let mut input = noisy(12 * hop, rate_hz);
            let (output, reports) = render(&mut restorer, std::slice::from_ref(&input), |_| OFF);
            let error_db = difference_db(&input[..input.len() - delay], &output[0][delay..]);
            assert!(error_db < -100.0, "{name} {rate_hz} Hz: {error_db:.1} dB");
            assert!(
                output[0][..delay].iter().all(|x| x.abs() < 1e-5),
                "{name} {rate_hz} Hz: nothing comes early"
            );
            assert!(
                reports
                    .iter()
                    .all(|r| r.removed_db == 0.0 && r.restored_db == -120.0 && r.clicks == 0)
            );

            input.fill(0.0);
            input[3 * hop + 7] = 1.0;
            restorer.reset();
            let (output, _) = render(&mut restorer, &[input], |_| OFF);
            let peak = (0..output[0].len()).max_by(|a, b| output[0][*a].total_cmp(&output[0][*b]));
            assert_eq!(peak, Some(3 * hop + 7 + delay), "{name} {rate_hz} Hz");
        }
    }
}

#[test]
fn more_noise_reduction_removes_more() {
    for name in ["studio", "live"] {
        let input = [noisy(48_000, 48e3)];
        let mut last = -1.0f32;
        for step in 0..=4 {
            let stage1 = step as f32 / 4.0;
            let (_, reports) = render(&mut restorer(name, 48e3, 1), &input, |_| Controls { stage1, ..OFF });
            let removed = reports.iter().map(|r| r.removed_db).sum::<f32>();
            assert!(removed >= last - 1e-3, "{name} {stage1}: {removed} after {last}");
            last = removed;
        }
    }
}

#[test]
fn speech_only_takes_over_within_a_second_from_its_hop_on() {
    for name in ["studio", "live"] {
        let input = [noisy(192_000, 48e3)];
        let mut restorer = restorer(name, 48e3, 1);
        let (hop, delay) = (restorer.geometry().hop, latency::restorer_delay(restorer.geometry()));
        let switch = 48_000 / hop;
        let (general, _) = render(&mut restorer, &input, |_| FULL);
        restorer.reset();
        let (switched, _) = render(&mut restorer, &input, |index| Controls {
            speech: index >= switch,
            ..FULL
        });
        // The first frame that it decides about begins with the hop before.
        let begin = (switch - 1) * hop + delay;
        assert!(general[0][..begin] == switched[0][..begin], "{name}: nothing before");
        let after = |seconds: f64| {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a sample")]
            let at = begin + (seconds * 48e3) as usize;
            difference_db(&general[0][at..at + 2 * hop], &switched[0][at..at + 2 * hop])
        };
        let (first, half, whole) = (after(0.0), after(0.5), after(1.0));
        assert!(
            first < half - 6.0 && half < whole + 3.0 && whole > -40.0,
            "{name}: {first:.1}, {half:.1}, {whole:.1} dB"
        );
    }
}

#[test]
fn reduction_limit_holds() {
    // Gains lie between the limit and one, so all of the energy does, but for what bins add to each other within a window.
    for name in ["studio", "live"] {
        let input = [noisy(48_000, 48e3)];
        let mut restorer = restorer(name, 48e3, 1);
        let delay = latency::restorer_delay(restorer.geometry());
        let floor = 0.5;
        let (_, reports) = render(&mut restorer, &input, |_| Controls {
            floor,
            stage2: 0.0,
            ..FULL
        });
        assert!(reports.iter().all(|r| r.removed_db <= 6.03), "{name}");
        restorer.reset();
        let (output, reports) = render(&mut restorer, &input, |_| Controls {
            floor: 1.0,
            stage2: 0.0,
            ..FULL
        });
        assert!(
            difference_db(&input[0][..48_000 - delay], &output[0][delay..]) < -100.0,
            "{name}: no reduction at all"
        );
        assert!(reports.iter().all(|r| r.removed_db < 1e-3));
    }
}

#[test]
fn channels_alike_stay_alike() {
    for name in ["studio", "live"] {
        let input = noisy(48_000, 48e3);
        for linked in [true, false] {
            let controls = |_| Controls {
                linked,
                declick: 0.5,
                ..FULL
            };
            let (one, _) = render(&mut restorer(name, 48e3, 1), std::slice::from_ref(&input), controls);
            let (two, _) = render(&mut restorer(name, 48e3, 2), &[input.clone(), input.clone()], controls);
            assert!(two[0] == two[1], "{name} linked {linked}: left and right differ");
            let error_db = difference_db(&one[0], &two[0]);
            assert!(error_db < -60.0, "{name} linked {linked}: mono against dual mono {error_db:.1} dB");
        }
    }
}

#[test]
fn panned_mono_stays_where_it_is() {
    for name in ["studio", "live"] {
        let left = noisy(48_000, 48e3);
        let right: Vec<f32> = left.iter().map(|x| 0.5 * x).collect();
        let (output, _) = render(&mut restorer(name, 48e3, 2), &[left, right], |_| FULL);
        let ratio_db = 10.0 * (energy(&output[0][9600..]) / energy(&output[1][9600..])).log10();
        assert!((ratio_db - 6.02).abs() < 0.5, "{name}: {ratio_db:.2} dB between the channels");
    }
}

#[test]
fn reset_is_a_fresh_start() {
    for name in ["studio", "live"] {
        let input = [noisy(24_000, 48e3), noisy(24_001, 48e3)[1..].to_vec()];
        let mut used = restorer(name, 48e3, 2);
        let (first, reports) = render(&mut used, &input, |_| Controls::default());
        let poison = [vec![1e9; 9600], vec![f32::NAN; 9600]];
        render(&mut used, &poison, |_| FULL);
        used.reset();
        assert_eq!((first, reports), render(&mut used, &input, |_| Controls::default()), "{name}");
    }
}

#[test]
fn skipped_hops_keep_the_position() {
    for name in ["studio", "live"] {
        let mut restorer = restorer(name, 48e3, 1);
        let hop = restorer.geometry().hop;
        let delay = latency::restorer_delay(restorer.geometry());
        let input = noisy(40 * hop, 48e3);
        let skipped = 10..14;
        let mut output = Vec::new();
        for (index, audio) in input.chunks_exact(hop).enumerate() {
            let mut audio = audio.to_vec();
            // Between skips the networks run, but nothing is asked of them: what comes out must be the input throughout.
            let report = if skipped.contains(&index) || index % 7 == 0 {
                restorer.skip(&mut audio, &FULL)
            } else {
                restorer.process(&mut audio, &OFF)
            };
            assert_eq!(report.active, !(skipped.contains(&index) || index % 7 == 0));
            output.extend(audio);
        }
        // Frames next to a skip use the controls of the hop before: only where those were off must the input come out.
        let delayed = &input[..input.len() - delay];
        let from = 11 * hop;
        let until = 14 * hop;
        let error_db = difference_db(&delayed[from - delay..until - delay], &output[from..until]);
        assert!(error_db < -100.0, "{name}: {error_db:.1} dB while skipping");
    }
}

#[test]
fn garbage_in_audio_out() {
    for name in ["studio", "live"] {
        let mut restorer = restorer(name, 48e3, 2);
        let hop = restorer.geometry().hop;
        let hops = 2 * 48_000 / hop;
        let clean = noisy(hops * hop, 48e3);
        let mut noise = Noise(5);
        for (index, audio) in clean.chunks_exact(hop).enumerate() {
            let mut audio: Vec<f32> = audio.iter().chain(audio).copied().collect();
            if index < 14 {
                for x in &mut audio {
                    *x = match index % 7 {
                        0 => f32::NAN,
                        1 => f32::INFINITY,
                        2 => f32::NEG_INFINITY,
                        3 => 1e-40,
                        4 => f32::MAX * noise.next(),
                        5 => 1e-30,
                        _ => *x,
                    };
                }
            }
            let report = restorer.process(&mut audio, &Controls::default());
            assert!(audio.iter().all(|x| *x == 0.0 || x.is_normal()), "{name} hop {index}");
            assert!(report.removed_db.is_finite() && report.restored_db.is_finite());
            let peak = audio.iter().fold(0.0f32, |m, x| m.max(x.abs()));
            assert!(index + 20 < hops || (peak > 1e-3 && peak < 4.0), "{name} hop {index}: {peak}");
        }
    }
}

#[test]
fn what_is_no_audio_is_forgotten_as_soon_as_it_has_passed() {
    for name in ["studio", "live"] {
        let clean = [noisy(3 * 48_000, 48e3)];
        let (want, _) = render(&mut restorer(name, 48e3, 1), &clean, |_| FULL);
        let mut spoilt = clean;
        let mut noise = Noise(6);
        for x in &mut spoilt[0][24_000..43_200] {
            *x = f32::MAX.copysign(noise.next());
        }
        let (got, _) = render(&mut restorer(name, 48e3, 1), &spoilt, |_| FULL);
        let last = 96_000..want[0].len();
        let off_db = difference_db(&want[0][last.clone()], &got[0][last]);
        assert!(off_db < -30.0, "{name}: still {off_db:.1} dB off a second later");
    }
}

#[test]
fn silence_sends_the_networks_to_rest() {
    for name in ["studio", "live"] {
        let hop = restorer(name, 48e3, 1).geometry().hop;
        let signal = noisy(30 * hop, 48e3);
        let rest = 24_000_usize.div_ceil(hop);
        let silence = vec![0.0; (rest + 20) * hop];
        let stream = [signal.clone(), silence, signal.clone()].concat();
        let (output, reports) = render(&mut restorer(name, 48e3, 1), &[stream], |_| FULL);
        let begin = 30 + rest - 1;
        assert!(
            reports[..begin].iter().all(|r| r.active),
            "{name}: active until half a second has passed"
        );
        assert!(reports[begin..30 + rest + 20].iter().all(|r| !r.active), "{name}: then at rest");
        assert!(reports[30 + rest + 20..].iter().all(|r| r.active), "{name}: awake again");
        // The hop in which they go to rest still holds the end of their last frame.
        assert!(
            output[0][(begin + 1) * hop..(30 + rest + 20) * hop].iter().all(|x| x.abs() < 1e-6),
            "{name}: silent"
        );

        // Waking is starting, but for the floor of the noise, which is remembered.
        let (fresh, _) = render(&mut restorer(name, 48e3, 1), std::slice::from_ref(&signal), |_| FULL);
        let woken = &output[0][(30 + rest + 20) * hop..];
        let off_db = difference_db(&fresh[0], woken);
        assert!((-60.0..-15.0).contains(&off_db), "{name}: {off_db:.1} dB");
    }
}

#[test]
fn how_long_a_silence_was_makes_no_difference() {
    for name in ["studio", "live"] {
        let geometry = *restorer(name, 48e3, 1).geometry();
        let (hop, delay) = (geometry.hop, latency::restorer_delay(&geometry));
        let mut seed = 3u32;
        let hiss: Vec<f32> = (0..24_000)
            .map(|_| {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                0.02 * ((seed >> 8) as f32 / 8_388_608.0 - 1.0)
            })
            .collect();
        // From several places in a hop on; with click repair's delay its first frame may still be silence.
        for offset in [0, hop / 4, hop / 2 + 1, hop - 1] {
            let after = |hops: usize| {
                let begin = hops * hop + offset;
                let stream = [vec![0.0; begin], hiss.clone()].concat();
                let (output, _) = render(&mut restorer(name, 48e3, 1), &[stream], |_| FULL);
                output[0][begin + delay..][..9_600].to_vec()
            };
            // Longer than what sends the networks to rest, and shorter.
            let off_db = difference_db(&after(90), &after(3));
            assert!(off_db < -40.0, "{name}, {offset} samples: {off_db:.1} dB");
        }
    }
}

#[test]
fn idle_hops_send_the_networks_to_rest() {
    let input = [noisy(96_000, 48e3)];
    let (_, reports) = render(&mut restorer("studio", 48e3, 1), &input, |hop| Controls {
        idle: (10..60).contains(&hop),
        ..FULL
    });
    assert!(reports[..34].iter().all(|r| r.active) && reports[34..60].iter().all(|r| !r.active) && reports[60..].iter().all(|r| r.active));
}

#[test]
fn level_makes_no_difference() {
    for name in ["studio", "live"] {
        let input = noisy(96_000, 48e3);
        let quiet: Vec<f32> = input.iter().map(|x| 0.1 * x).collect();
        let (loud, _) = render(&mut restorer(name, 48e3, 1), &[input], |_| FULL);
        let (quiet, _) = render(&mut restorer(name, 48e3, 1), &[quiet], |_| FULL);
        let scaled: Vec<f32> = quiet[0].iter().map(|x| 10.0 * x).collect();
        let error_db = difference_db(&loud[0][24_000..], &scaled[24_000..]);
        assert!(error_db < -40.0, "{name}: {error_db:.1} dB");
    }
}

#[test]
fn controls_act_on_the_audio_they_came_with() {
    // Strength is switched off and on for ten hops each; with the delay taken off, untouched audio lies exactly where it was off.
    for name in ["studio", "live"] {
        let mut restorer = restorer(name, 48e3, 1);
        let geometry = *restorer.geometry();
        let delay = latency::restorer_delay(&geometry);
        let input = noisy(60 * geometry.hop, 48e3);
        let off = |hop: usize| (hop / 10) % 2 == 1;
        let (output, _) = render(&mut restorer, std::slice::from_ref(&input), |hop| if off(hop) { OFF } else { FULL });
        for hop in 1..55 {
            let here = hop * geometry.hop..(hop + 1) * geometry.hop;
            let shifted = here.start + delay..here.end + delay;
            // Half a hop is the cross-fade of neighbouring frames.
            let inside = off(hop - 1) && off(hop) && off(hop + 1);
            if inside && shifted.end <= output[0].len() {
                let error_db = difference_db(&input[here], &output[0][shifted]);
                assert!(error_db < -90.0, "{name} hop {hop}: {error_db:.1} dB");
            }
        }
    }
}

#[test]
fn unsupported_rates_are_refused() {
    for rate_hz in [0.0, 7_999.0, 384_001.0, f64::NAN] {
        assert!(Restorer::new(&model("studio"), &shipped_detectors("studio"), rate_hz, 1).is_err());
    }
}
