//! Repair over whole streams: what it finds, what it gains, what it leaves alone.

mod common;

use common::shipped_detectors;
use dualstep_engine::Geometry;
use dualstep_engine::repair::{Detectors, Repairs, SampleRepair};

/// A reproducible stream of samples in -1..1.
struct Noise(u32);

impl Noise {
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.0 >> 8) as f32 / 8_388_608.0 - 1.0
    }
}

const ALL: Repairs = Repairs {
    declick: 0.7,
    declip: true,
    dropouts: true,
};

fn geometry(hop: usize) -> Geometry {
    Geometry {
        hop,
        analysis: 2 * hop,
        synthesis: 2 * hop,
        synthesis_hops: 2,
        lookahead_hops: 0,
        repair: hop / 2,
        spectrum_bins: hop + 1,
        network_bins: hop + 1,
    }
}

/// Those of the edition that has such hops.
fn detectors(hop: usize, rate_hz: f64) -> Detectors {
    shipped_detectors(if hop as f64 > 10e-3 * rate_hz { "studio" } else { "live" })
}

/// `input` through the repair of clicks alone, the delay taken off, and the clicks counted. `declick`: per hop.
fn repaired(input: &[f32], hop: usize, rate_hz: f64, declick: impl Fn(usize) -> f32) -> (Vec<f32>, u32) {
    through(input, hop, rate_hz, |hop| Repairs {
        declick: declick(hop),
        ..Repairs::default()
    })
}

/// `input` through the repair of clipped peaks alone, the delay taken off. `declip`: per hop.
fn unclipped(input: &[f32], hop: usize, rate_hz: f64, declip: impl Fn(usize) -> bool) -> Vec<f32> {
    let repairs = |hop| Repairs {
        declip: declip(hop),
        ..Repairs::default()
    };
    through(input, hop, rate_hz, repairs).0
}

fn through(input: &[f32], hop: usize, rate_hz: f64, repairs: impl Fn(usize) -> Repairs) -> (Vec<f32>, u32) {
    let geometry = geometry(hop);
    let mut repair = SampleRepair::new(&detectors(hop, rate_hz), &geometry, rate_hz);
    let mut stream = input.to_vec();
    stream.resize((input.len() + geometry.repair).next_multiple_of(hop), 0.0);
    let mut clicks = 0;
    for (index, hop) in stream.chunks_exact_mut(hop).enumerate() {
        clicks += repair.process(hop, repairs(index));
    }
    (stream[geometry.repair..][..input.len()].to_vec(), clicks)
}

/// Energy of the reference over that of the difference, dB.
fn snr_db(reference: &[f32], estimate: &[f32]) -> f64 {
    let energy: f64 = reference.iter().map(|x| f64::from(*x).powi(2)).sum();
    let error: f64 = reference.iter().zip(estimate).map(|(x, y)| f64::from(x - y).powi(2)).sum();
    10.0 * ((energy + 1e-20) / (error + 1e-20)).log10()
}

/// Tones over noise as of an old disc: two partials and a floor of -55 dB.
fn tones(samples: usize) -> Vec<f32> {
    let mut noise = Noise(1);
    (0..samples)
        .map(|n| 0.3 * (0.05 * n as f32).sin() + 0.2 * (0.131 * n as f32).sin() + 0.001 * noise.next())
        .collect()
}

/// An autoregressive process with a few resonances: like music, but known.
fn resonances(samples: usize) -> Vec<f32> {
    let mut noise = Noise(9);
    let mut x = vec![0.0f64; samples];
    let mut excitation: Vec<f64> = (0..samples).map(|_| f64::from(noise.next()) * 0.002).collect();
    for (frequency, radius) in [(0.04f64, 0.995f64), (0.17, 0.99), (0.6, 0.97), (1.3, 0.9)] {
        for n in 2..samples {
            x[n] = excitation[n] + 2.0 * radius * frequency.cos() * x[n - 1] - radius * radius * x[n - 2];
        }
        // Each resonance is driven by the one before, scaled so that levels stay moderate.
        let peak = x.iter().fold(0.0f64, |m, x| m.max(x.abs()));
        excitation = x.iter().map(|x| x / peak * 0.5).collect();
    }
    #[expect(clippy::cast_possible_truncation, reason = "samples are f32")]
    excitation.iter().map(|x| *x as f32).collect()
}

/// Adds a decaying click every 7177 samples; returns the damaged stream and where clicks start.
fn damaged(clean: &[f32], length: usize) -> (Vec<f32>, Vec<usize>) {
    let mut damaged = clean.to_vec();
    let starts: Vec<usize> = (5000..clean.len() - 5000).step_by(7177).collect();
    for (index, start) in starts.iter().enumerate() {
        let height = if index % 2 == 0 { 0.8 } else { -0.5 };
        for i in 0..length {
            let time = i as f32 / length as f32;
            damaged[start + i] += height * (-4.0 * time).exp() * (0.3 * i as f32).cos();
        }
    }
    (damaged, starts)
}

#[test]
fn finds_and_repairs_clicks() {
    for (name, clean) in [("tones", tones(240_000)), ("resonances", resonances(240_000))] {
        for hop in [960, 320] {
            for length in [1, 12, 60] {
                let (damaged, starts) = damaged(&clean, length);
                let (output, clicks) = repaired(&damaged, hop, 48e3, |_| 0.5);
                let before_db = snr_db(&clean, &damaged);
                let gain_db = snr_db(&clean, &output) - before_db;
                let found = starts
                    .iter()
                    .filter(|s| (0..length).any(|i| output[*s + i] != damaged[*s + i]))
                    .count();
                assert!(10 * found >= 9 * starts.len(), "{name} {hop} {length}: {found} of {}", starts.len());
                // A long one may be repaired in two parts.
                assert!(clicks as usize <= starts.len() * 5 / 4, "{name} {hop} {length}: {clicks} repairs");
                // A long gap in a process that noise drives can't be guessed as well.
                let least_db = if length > 50 { 6.0 } else { 10.0 };
                assert!(
                    gain_db > least_db,
                    "{name} {hop} {length}: {gain_db:.1} dB gained over {before_db:.1} dB"
                );
            }
        }
    }
}

/// Slow clicks, as of a worn stylus, high above quiet sound: the network is sure of two thirds of them, but what else could they be?
#[test]
fn clicks_alone_in_digital_silence_go() {
    let energy = |stream: &[f32]| stream.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>();
    for (length, least) in [(12, 4.0), (60, 100.0)] {
        let (damaged, _) = damaged(&vec![0.0; 100_000], length);
        let (output, _) = repaired(&damaged, 960, 48e3, |_| 0.5);
        assert!(least * energy(&output) < energy(&damaged), "{length}: {} left", energy(&output));
    }
}

#[test]
fn finds_slow_clicks_that_stand_out() {
    let clean: Vec<f32> = tones(480_000).iter().map(|x| 0.1 * x).collect();
    let mut damaged = clean.clone();
    let starts: Vec<usize> = (5000..clean.len() - 5000).step_by(7177).collect();
    for (index, start) in starts.iter().enumerate() {
        // Up for 0.18 to 0.31 ms, down for about 1 ms.
        let stretch = 0.7 + 0.06 * (index % 10) as f32;
        for i in 0..192 {
            let (up, down) = (i as f32 / (12.0 * stretch), (i as f32 - 12.0 * stretch) / (48.0 * stretch));
            let rise = 0.5 - 0.5 * (std::f32::consts::PI * up.min(1.0)).cos();
            damaged[start + i] += 0.3 * rise * (-down.max(0.0).powi(2)).exp();
        }
    }
    let (output, _) = repaired(&damaged, 960, 48e3, |_| 0.5);
    let found = starts.iter().filter(|s| (0..80).any(|i| output[*s + i] != damaged[*s + i])).count();
    assert!(found >= 56, "{found} of {}", starts.len());
    let gain_db = snr_db(&clean, &output) - snr_db(&clean, &damaged);
    assert!(gain_db > 7.0, "{gain_db:.1} dB");
}

/// A wrong sample or two of a digital transfer, whatever the rate. Live knows too little of the future below 16 kHz.
#[test]
fn finds_single_samples_at_every_rate() {
    for (rate_hz, hop) in [(44.1e3, 882), (48e3, 320), (96e3, 1920), (192e3, 1280), (384e3, 7680)] {
        let clean = resonances(240_000);
        for length in [1, 2] {
            let mut damaged = clean.clone();
            let starts: Vec<usize> = (60_000..230_000).step_by(23_456).collect();
            for (index, start) in starts.iter().enumerate() {
                damaged[*start] += if index % 2 == 0 { 0.3 } else { -0.15 };
                damaged[start + length - 1] += 0.1;
            }
            let (output, _) = repaired(&damaged, hop, rate_hz, |_| 0.5);
            for start in &starts {
                assert!(
                    output[*start] != damaged[*start],
                    "{rate_hz} {length}: the click at {start} was missed"
                );
            }
            let gain_db = snr_db(&clean, &output) - snr_db(&clean, &damaged);
            assert!(gain_db > 15.0, "{rate_hz} {length}: {gain_db:.1} dB");
        }
    }
}

#[test]
fn replaces_marked_samples_only() {
    let clean = tones(96_000);
    let (damaged, starts) = damaged(&clean, 30);
    let (output, _) = repaired(&damaged, 960, 48e3, |_| 0.5);
    for n in 0..clean.len() {
        let near = starts.iter().any(|s| (s.saturating_sub(30)..s + 80).contains(&n));
        assert!(near || output[n].to_bits() == damaged[n].to_bits(), "sample {n}");
    }
}

#[test]
fn off_is_a_delay_to_the_bit() {
    let mut noise = Noise(4);
    let mut input: Vec<f32> = (0..20_000).map(|_| noise.next()).collect();
    input[700] = 100.0;
    input[701] = f32::MIN_POSITIVE / 2.0;
    for (hop, rate_hz) in [(53, 8e3), (221, 11_025.0), (960, 48e3), (320, 48e3), (3840, 192e3), (7680, 384e3)] {
        let (output, clicks) = repaired(&input, hop, rate_hz, |_| 0.0);
        assert_eq!(clicks, 0);
        assert!(output.iter().zip(&input).all(|(y, x)| y.to_bits() == x.to_bits()), "hop {hop}");
    }
}

#[test]
fn switching_on_keeps_the_stream() {
    let clean = tones(96_000);
    let (damaged, starts) = damaged(&clean, 20);
    let on_from = 48_000;
    let (output, clicks) = repaired(&damaged, 960, 48e3, |hop| if hop * 960 >= on_from { 0.6 } else { 0.0 });
    assert!(clicks > 0);
    assert!(
        (0..on_from).all(|n| output[n].to_bits() == damaged[n].to_bits()),
        "off until the switch"
    );
    let after: Vec<_> = starts.iter().filter(|s| **s >= on_from).collect();
    assert!(after.iter().all(|s| output[**s] != damaged[**s]), "on from the switch");
    let (output, _) = repaired(&damaged, 960, 48e3, |hop| if hop * 960 < on_from { 0.6 } else { 0.0 });
    assert!(
        (on_from..clean.len()).all(|n| output[n].to_bits() == damaged[n].to_bits()),
        "off from the switch"
    );
}

/// Hits out of near silence: noise bursts and falling low tones with sharp starts.
fn drums(samples: usize) -> Vec<f32> {
    let mut noise = Noise(77);
    let mut x: Vec<f32> = (0..samples).map(|_| 1e-4 * noise.next()).collect();
    for (index, start) in (4000..samples - 20_000).step_by(9600).enumerate() {
        for i in 0..14_000 {
            let time = i as f32 / 48e3;
            x[start + i] += match index % 3 {
                0 => 0.8 * (-time * 18.0).exp() * (2.0 * std::f32::consts::PI * (55.0 * time - 6.0 * (-time * 30.0).exp())).sin(),
                1 => 0.4 * (-time * 25.0).exp() * (noise.next() + (1200.0 * time).sin()),
                _ => 0.2 * (-time * 90.0).exp() * noise.next(),
            };
        }
    }
    x
}

#[test]
fn leaves_drums_and_noise_alone() {
    let mut noise = Noise(3);
    let hiss: Vec<f32> = (0..240_000).map(|_| 0.1 * (noise.next() + noise.next() + noise.next())).collect();
    for (name, clean) in [
        ("drums", drums(240_000)),
        ("tones", tones(240_000)),
        ("resonances", resonances(240_000)),
        ("hiss", hiss),
    ] {
        for hop in [960, 320] {
            let (output, clicks) = repaired(&clean, hop, 48e3, |_| 0.5);
            let kept_db = snr_db(&clean, &output);
            assert!(kept_db > 45.0, "{name} {hop}: {kept_db:.1} dB, {clicks} false alarms");
        }
    }
}

#[test]
fn works_at_every_rate() {
    for rate_hz in [8e3f64, 22_050.0, 44.1e3, 96e3, 192e3, 384e3] {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate in whole samples")]
        let (samples, hop) = (rate_hz as usize * 2, (rate_hz / 50.0).round() as usize);
        let mut noise = Noise(6);
        #[expect(clippy::cast_possible_truncation, reason = "samples are f32")]
        let clean: Vec<f32> = (0..samples)
            .map(|n| 0.3 * (std::f64::consts::TAU * 300.0 * n as f64 / rate_hz).sin() as f32 + 0.002 * noise.next())
            .collect();
        let mut damaged = clean.clone();
        let starts: Vec<usize> = (samples / 10..samples * 9 / 10).step_by(samples / 13).collect();
        for start in &starts {
            // 0.5 ms, ringing at 3 kHz: the same sound at every rate.
            for i in 0..samples / 4000 {
                let time = i as f64 / rate_hz;
                #[expect(clippy::cast_possible_truncation, reason = "samples are f32")]
                let ringing = (0.7 * (-8000.0 * time).exp() * (std::f64::consts::TAU * 3000.0 * time).cos()) as f32;
                damaged[start + i] += ringing;
            }
        }
        let (output, _) = repaired(&damaged, hop, rate_hz, |_| 0.5);
        let gain_db = snr_db(&clean, &output) - snr_db(&clean, &damaged);
        assert!(gain_db > 10.0, "{rate_hz} Hz: {gain_db:.1} dB");
    }
}

/// `clean` with what exceeds `share` of its peak cut off.
fn clipped(clean: &[f32], share: f32) -> Vec<f32> {
    let level = share * clean.iter().fold(0.0f32, |peak, x| peak.max(x.abs()));
    clean.iter().map(|x| x.clamp(-level, level)).collect()
}

#[test]
fn redraws_clipped_peaks_and_nothing_else() {
    for (name, clean, least_db) in [("tones", tones(96_000), 20.0), ("resonances", resonances(96_000), 5.0)] {
        for (rate_hz, hop) in [(44.1e3, 882), (48e3, 960), (48e3, 320), (96e3, 1920)] {
            for share in [0.5, 0.7, 0.9] {
                let damaged = clipped(&clean, share);
                let output = unclipped(&damaged, hop, rate_hz, |_| true);
                let level = damaged.iter().fold(0.0f32, |peak, x| peak.max(x.abs()));
                for (n, (y, x)) in output.iter().zip(&damaged).enumerate() {
                    assert!(
                        y.to_bits() == x.to_bits() || x.abs() == level && y / x > 1.0,
                        "{name} {hop} {share}: sample {n} was {x} and became {y}"
                    );
                }
                let gain_db = snr_db(&clean, &output) - snr_db(&clean, &damaged);
                assert!(gain_db > least_db, "{name} {rate_hz} {hop} {share}: {gain_db:.1} dB");
            }
        }
    }
}

/// Flat, but meant to be; not flat any more; never flat.
#[test]
fn what_was_not_clipped_stays_to_the_bit() {
    let mut noise = Noise(12);
    let dithered: Vec<f32> = clipped(&tones(96_000), 0.6)
        .iter()
        .map(|x| (x * 32_768.0 + noise.next() + noise.next()).round() / 32_768.0)
        .collect();
    let bass: Vec<f32> = (0..96_000)
        .map(|n| ((0.3 * (0.005 * n as f32).sin() + 0.1 * (0.013 * n as f32).sin()) * 32_768.0).round() / 32_768.0)
        .collect();
    let sine: Vec<f32> = (0..96_000)
        .map(|n| (20_000.0 * (0.003 * n as f32).sin()).round() / 32_768.0)
        .collect();
    let square = |period: usize, high: usize| (0..96_000).map(|n| if n % period < high { 0.7 } else { -0.7 }).collect();
    for (name, clean) in [
        ("tones", tones(96_000)),
        ("resonances", resonances(96_000)),
        ("drums", drums(96_000)),
        ("dithered", dithered),
        ("bass of 16 bits", bass),
        ("sine of 16 bits", sine),
        ("square", square(480, 240)),
        ("pulses", square(100, 12)),
    ] {
        for hop in [960, 320] {
            let output = unclipped(&clean, hop, 48e3, |_| true);
            let changed = output.iter().zip(&clean).filter(|(y, x)| y.to_bits() != x.to_bits()).count();
            assert_eq!(changed, 0, "{name} {hop}");
        }
    }
}

#[test]
fn clipping_repair_is_switched_where_it_was_drawn() {
    let damaged = clipped(&tones(96_000), 0.6);
    let changed = |output: &[f32]| -> Vec<usize> { (0..output.len()).filter(|n| output[*n] != damaged[*n]).collect() };
    let switch = 48_000;
    let on = changed(&unclipped(&damaged, 960, 48e3, |hop| hop * 960 >= switch));
    assert!(on.len() > 1000 && on.iter().all(|n| *n >= switch), "{:?}", on.first());
    let off = changed(&unclipped(&damaged, 960, 48e3, |hop| hop * 960 < switch));
    // A peak that begins before the switch is repaired to its end.
    assert!(off.len() > 1000 && off.iter().all(|n| *n < switch + 100), "{:?}", off.last());
}

#[test]
fn clicks_come_before_clipped_peaks() {
    let clean = tones(240_000);
    let (mut damaged, starts) = damaged(&clean, 40);
    damaged.iter_mut().for_each(|x| *x = x.clamp(-0.55, 0.55));
    let both = Repairs {
        declick: 0.5,
        declip: true,
        dropouts: false,
    };
    let (output, _) = through(&damaged, 960, 48e3, |_| both);
    let (clicks_alone, _) = repaired(&damaged, 960, 48e3, |_| 0.5);
    let gain_db = snr_db(&clean, &output) - snr_db(&clean, &clicks_alone);
    assert!(
        gain_db > -0.5,
        "{gain_db:.1} dB over click repair alone with {} clicks",
        starts.len()
    );
}

#[test]
fn survives_whatever_comes() {
    let mut noise = Noise(8);
    let garbage = |kind: usize, noise: &mut Noise| match kind {
        0 => f32::NAN,
        1 => f32::INFINITY,
        2 => 1e30 * noise.next(),
        3 => 1e-30 * noise.next(),
        4 => 1.0,
        5 => noise.next().signum(),
        _ => noise.next(),
    };
    for hop in [53, 320, 960] {
        let geometry = geometry(hop);
        let mut repair = SampleRepair::new(&shipped_detectors("studio"), &geometry, hop as f64 * 50.0);
        for kind in 0..12 {
            for _ in 0..8 {
                let mut audio: Vec<f32> = (0..hop).map(|_| garbage(kind % 7, &mut noise)).collect();
                repair.process(&mut audio, ALL);
            }
        }
        let mut fresh = SampleRepair::new(&shipped_detectors("studio"), &geometry, hop as f64 * 50.0);
        repair.reset();
        for _ in 0..20 {
            let mut one: Vec<f32> = (0..hop).map(|_| noise.next()).collect();
            one[hop / 2] += 20.0;
            let mut two = one.clone();
            assert_eq!(repair.process(&mut one, ALL), fresh.process(&mut two, ALL));
            assert_eq!(one, two, "reset is a fresh start");
        }
    }
}
