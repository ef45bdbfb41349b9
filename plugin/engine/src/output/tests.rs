//! The section as a whole.

use super::measure::{jump, sine};
use super::*;

const RATE_HZ: f64 = 48_000.0;

const ALL: OutputSettings = OutputSettings {
    low_cut_hz: Some(80.0),
    hum: Hum::Mains50,
    tilt_db: 3.0,
    compression: 0.7,
};

#[expect(clippy::cast_possible_truncation, reason = "test signals")]
fn tone(frequency_hz: f64, length: usize) -> Vec<f32> {
    sine(RATE_HZ, frequency_hz, length).into_iter().map(|x| (0.4 * x) as f32).collect()
}

fn run(section: &mut OutputSection, input: &[f32], settings: impl Fn(usize) -> OutputSettings) -> Vec<f32> {
    let process = |(n, x): (usize, &f32)| section.process([*x, -*x], [*x, -*x], &settings(n))[0];
    input.iter().enumerate().map(process).collect()
}

#[test]
fn off_is_the_signal_itself_to_the_bit() {
    let mut section = OutputSection::new(RATE_HZ);
    for x in [0.0, -0.0, 1.0, -1e-40, 1e-45, f32::MAX, f32::MIN_POSITIVE, 0.1] {
        let [left, right] = section.process([x, -x], [x, -x], &OutputSettings::default());
        assert_eq!((left.to_bits(), right.to_bits()), (x.to_bits(), (-x).to_bits()), "{x}");
    }
}

#[test]
fn each_part_alone_does_something_and_off_again_does_nothing() {
    let input = tone(100.0, 200_000);
    let parts = [
        OutputSettings {
            low_cut_hz: Some(200.0),
            ..OutputSettings::default()
        },
        OutputSettings {
            hum: Hum::Mains50,
            ..OutputSettings::default()
        },
        OutputSettings {
            hum: Hum::Mains60,
            ..OutputSettings::default()
        },
        OutputSettings {
            tilt_db: -4.0,
            ..OutputSettings::default()
        },
        OutputSettings {
            compression: 1.0,
            ..OutputSettings::default()
        },
        ALL,
    ];
    for on in parts {
        let mut section = OutputSection::new(RATE_HZ);
        let heard = run(&mut section, &input, |n| if n < 48_000 { on } else { OutputSettings::default() });
        assert_ne!(heard[10_000..48_000], input[10_000..48_000], "{on:?}");
        assert_eq!(heard[190_000..], input[190_000..], "{on:?}");
    }
}

#[test]
fn the_first_settings_are_in_force_at_once_and_a_reset_starts_afresh() {
    let input = tone(170.0, 30_000);
    let mut section = OutputSection::new(RATE_HZ);
    let expected = run(&mut section, &input, |_| ALL);
    for other in [
        OutputSettings::default(),
        OutputSettings { hum: Hum::Auto, ..ALL },
        OutputSettings { tilt_db: -6.0, ..ALL },
    ] {
        section.reset();
        run(&mut section, &tone(333.0, 12_345), |_| other);
        section.reset();
        assert_eq!(run(&mut section, &input, |_| ALL), expected, "after {other:?}");
    }
}

#[test]
fn settings_may_jump_about_without_a_click() {
    let input = tone(200.0, 480_000);
    let step = |n: usize| n / 3_000;
    let settings = |n: usize| OutputSettings {
        low_cut_hz: [None, Some(10.0), Some(300.0), Some(35.0), None][step(n) % 5],
        hum: [Hum::Off, Hum::Mains50, Hum::Mains60, Hum::Auto][step(n) % 4],
        tilt_db: [0.0, 6.0, -6.0][step(n) % 3],
        compression: [0.0, 1.0][step(n) / 7 % 2],
    };
    let heard = run(&mut OutputSection::new(RATE_HZ), &input, settings);
    let wide = |signal: &[f32]| jump(&signal.iter().map(|x| f64::from(*x)).collect::<Vec<_>>());
    // Tilt and make-up may quadruple the level: so may what it moves by.
    assert!(wide(&heard) < 4.0 * wide(&input), "{} after {}", wide(&heard), wide(&input));
}

#[test]
fn anything_may_enter_and_only_numbers_leave() {
    for rate_hz in [8_000.0, 48_000.0, 384_000.0] {
        for broken in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN, 1e-40] {
            let mut section = OutputSection::new(rate_hz);
            for n in 0..20_000 {
                let x = if (3_000..3_100).contains(&n) {
                    broken
                } else {
                    0.25 * (n as f32 * 0.03).sin()
                };
                let out = section.process([x, 0.0], [x, 0.0], &OutputSettings { hum: Hum::Auto, ..ALL });
                assert!(out.iter().all(|y| y.is_finite() && y.abs() < 1e5), "{broken} at {rate_hz}: {out:?}");
            }
            // A second later there is sound again, of a sound level.
            let mut peak = 0.0f32;
            for n in 0..2 * 48_000 {
                let [left, _] = section.process([0.25 * (n as f32 * 0.3).sin(), 0.0], [0.0; 2], &ALL);
                peak = if n < 48_000 { 0.0 } else { peak.max(left.abs()) };
            }
            assert!((0.02..1.0).contains(&peak), "{broken} at {rate_hz} Hz: {peak}");
        }
    }
}

#[test]
fn silence_after_sound_leaves_no_subnormal_numbers() {
    let mut section = OutputSection::new(8_000.0);
    for n in 0..80_000 {
        let x = if n < 100 { 0.5 } else { 0.0 };
        section.process([x, -x], [x, -x], &OutputSettings { hum: Hum::Auto, ..ALL });
    }
    let text = format!("{section:?}");
    let subnormal = text
        .split(|c: char| !(c.is_ascii_alphanumeric() || "+-.".contains(c)))
        .filter_map(|word| word.parse::<f64>().ok())
        .filter(|x| x.is_subnormal())
        .count();
    assert_eq!(subnormal, 0, "{text}");
    assert!(
        text.contains("state: [Row { re: [0.0, 0.0"),
        "the notches have fallen silent: {text}"
    );
}

#[test]
fn automatic_notches_take_hum_out_and_leave_the_rest() {
    let length = 14 * 48_000;
    let lines_hz = [50.5, 151.5];
    let mut input = tone(440.0, length);
    for line_hz in lines_hz {
        input.iter_mut().zip(tone(line_hz, length)).for_each(|(x, hum)| *x += 0.02 * hum);
    }
    let mut section = OutputSection::new(RATE_HZ);
    let auto = OutputSettings {
        hum: Hum::Auto,
        ..OutputSettings::default()
    };
    let heard = run(&mut section, &input, |_| auto);
    let found_hz = section.hum_hz().expect("hum");
    assert!((found_hz - 50.5).abs() < 0.02, "{found_hz}");
    assert_eq!(heard[..2 * 48_000], input[..2 * 48_000], "nothing is touched before it is sure");
    // Two seconds hold each of these frequencies a whole number of times.
    let late = 12 * 48_000..14 * 48_000;
    let amplitude = |signal: &[f32], hz: f64| {
        let turns = |n: usize| std::f64::consts::TAU * hz * n as f64 / RATE_HZ;
        let part = |wave: fn(f64) -> f64| signal.iter().enumerate().map(|(n, x)| f64::from(*x) * wave(turns(n))).sum::<f64>();
        part(f64::sin).hypot(part(f64::cos))
    };
    let change_db = |hz: f64| 20.0 * (amplitude(&heard[late.clone()], hz) / amplitude(&input[late.clone()], hz)).log10();
    for line_hz in lines_hz {
        assert!(change_db(line_hz) < -30.0, "{line_hz} Hz: {:.1} dB", change_db(line_hz));
    }
    assert!(change_db(440.0).abs() < 0.5, "the tone: {:.2} dB", change_db(440.0));
}

#[test]
fn hum_is_listened_for_in_the_input_and_cut_from_what_is_restored() {
    let hum = tone(60.1, 4 * 48_000);
    let auto = OutputSettings {
        hum: Hum::Auto,
        ..OutputSettings::default()
    };
    let mut section = OutputSection::new(RATE_HZ);
    // The restoration has lowered it, now more, now less: that would not be a steady line.
    let restored = |n: usize, x: f32| x * [0.5, 0.05][n / 9_600 % 2];
    let out: Vec<f32> = (0..hum.len())
        .map(|n| section.process([restored(n, hum[n]); 2], [hum[n]; 2], &auto)[0])
        .collect();
    let found_hz = section.hum_hz().expect("hum");
    assert!((found_hz - 60.1).abs() < 0.01, "{found_hz}");
    assert_ne!(
        out[3 * 48_000..],
        (3 * 48_000..hum.len()).map(|n| restored(n, hum[n])).collect::<Vec<_>>()
    );
    // What is broken in the input is not in what is restored, and does no lasting harm.
    section.reset();
    for (n, x) in hum.iter().enumerate() {
        let heard = if n == 1_000 { f32::NAN } else { *x };
        assert!(section.process([*x; 2], [heard; 2], &auto)[0].is_finite());
    }
    assert!(section.hum_hz().is_some());
}

#[test]
fn passing_samples_by_keeps_the_ticks() {
    let sound = |n: usize| [(n as f32 * 0.1).sin(), (n as f32 * 0.07).cos()];
    let settings = |n: usize| OutputSettings {
        low_cut_hz: (3_017..9_001).contains(&n).then_some(100.0),
        ..OutputSettings::default()
    };
    let (mut whole, mut passing) = (OutputSection::new(48_000.0), OutputSection::new(48_000.0));
    let (mut n, mut by) = (0, 0);
    while n < 60_000 {
        // Settings change between two calls, as between two blocks.
        let end = (n + 1 + n % 97).min([3_017, 9_001].into_iter().find(|&change| change > n).unwrap_or(60_000));
        let passed = passing.pass(end - n, &settings(n));
        by += passed;
        for at in n..end {
            let expected = whole.process(sound(at), sound(at), &settings(at));
            let found = if at < n + passed {
                sound(at)
            } else {
                passing.process(sound(at), sound(at), &settings(at))
            };
            assert_eq!(found, expected, "sample {at}");
        }
        n = end;
    }
    assert!((45_000..55_000).contains(&by), "{by} samples passed by");
}
