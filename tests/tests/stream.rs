//! The same sound whatever the host's blocks and mode; exact dry and removed signals; whatever enters, sane numbers leave.

use dualstep_tests::{Bundle, Change, LIVE, Mode, PLUGINS, Plugin, STUDIO, Signal, assert_identical, hop};

/// The tests' usual sample rate.
const RATE_HZ: f64 = 48_000.0;

/// An active offline instance with the values `set`, on the host's scale.
fn offline(bundle: &Bundle, id: &str, channels: usize, set: &[(&str, f64)]) -> Plugin {
    let mut plugin = Plugin::with_channels(bundle, id, channels);
    plugin.set_mode(Mode::Offline);
    for (parameter, value) in set {
        plugin.set_value(parameter, *value);
    }
    plugin.activate(RATE_HZ, 16_384);
    plugin
}

#[test]
fn blocks_of_any_size_give_the_same_bits() {
    let bundle = Bundle::release();
    for id in PLUGINS {
        for channels in [1, 2] {
            let input = Signal::disc(channels, 40_000, RATE_HZ);
            let expected = offline(&bundle, id, channels, &[]).render(&input, &[960], &[]);
            assert!(expected.first_difference(&input).is_some() && expected.energy() > 0.0);
            let patterns: [&[usize]; 8] = [&[1], &[17], &[64], &[480], &[1024], &[4096], &[16_384], &[5, 1, 777, 3000, 2, 64]];
            for blocks in patterns {
                let found = offline(&bundle, id, channels, &[]).render(&input, blocks, &[]);
                assert_identical(&found, &expected, &format!("{id}, {channels} channels, blocks {blocks:?}"));
            }
        }
    }
}

#[test]
fn the_announced_block_size_does_not_matter() {
    let bundle = Bundle::release();
    let input = Signal::disc(2, 30_000, RATE_HZ);
    for id in PLUGINS {
        let expected = offline(&bundle, id, 2, &[]).render(&input, &[256], &[]);
        for max_block in [256, 300, 8192] {
            let mut plugin = Plugin::new(&bundle, id);
            plugin.set_mode(Mode::Offline);
            plugin.activate(RATE_HZ, max_block);
            assert_identical(
                &plugin.render(&input, &[256], &[]),
                &expected,
                &format!("{id}, at most {max_block}"),
            );
        }
    }
}

#[test]
fn wholly_dry_is_the_delayed_input_to_the_bit() {
    let bundle = Bundle::release();
    for id in PLUGINS {
        for silencer in [("mix", 0.0), ("bypass", 1.0)] {
            for mode in [Mode::RealTime, Mode::Offline] {
                let mut plugin = Plugin::new(&bundle, id);
                plugin.set_mode(mode);
                plugin.set_value(silencer.0, silencer.1);
                plugin.activate(RATE_HZ, 1024);
                let input = Signal::disc(2, 48_000, RATE_HZ);
                let output = plugin.render(&input, &[64, 1024, 1, 333], &[]);
                assert_identical(&output, &input.delayed(plugin.latency()), &format!("{id}, {silencer:?}, {mode:?}"));
            }
        }
    }
}

#[test]
fn removed_and_restored_add_up_to_the_input() {
    let bundle = Bundle::release();
    for id in PLUGINS {
        let input = Signal::disc(2, 60_000, RATE_HZ);
        let mut plugin = offline(&bundle, id, 2, &[]);
        let restored = plugin.render(&input, &[480], &[]);
        let removed = offline(&bundle, id, 2, &[("removed", 1.0)]).render(&input, &[480], &[]);
        let input = input.delayed(plugin.latency());
        assert!(removed.energy() > 1e-3 * input.energy(), "{id}: nothing was removed");
        for (channel, samples) in input.channels.iter().enumerate() {
            for (frame, sample) in samples.iter().enumerate() {
                let (a, b) = (restored.channels[channel][frame], removed.channels[channel][frame]);
                let rounding = f32::EPSILON * sample.abs().max(a.abs());
                assert!((a + b - sample).abs() <= rounding, "{id}, frame {frame}: {a} + {b} isn't {sample}");
            }
        }
    }
}

#[test]
fn the_output_gain_is_a_gain_and_leaves_the_removed_signal_alone() {
    let bundle = Bundle::release();
    let input = Signal::disc(1, 30_000, RATE_HZ);
    let render = |removed: f64, text: &str| {
        let mut plugin = Plugin::with_channels(&bundle, STUDIO, 1);
        plugin.set_mode(Mode::Offline);
        plugin.set_value("removed", removed);
        plugin.set("output", text);
        plugin.activate(RATE_HZ, 512);
        plugin.render(&input, &[512], &[])
    };
    let loss_db = render(0.0, "-6 dB").level_db(&render(0.0, "0 dB"));
    assert!((loss_db + 6.0).abs() < 0.01, "-6 dB are {loss_db:.3} dB");
    assert_identical(&render(1.0, "-6 dB"), &render(1.0, "0 dB"), "the removed signal");
}

#[test]
fn equal_channels_stay_equal_and_sound_as_one() {
    let bundle = Bundle::release();
    for id in PLUGINS {
        for link in [0.0, 1.0] {
            let mono = Signal::disc(1, 30_000, RATE_HZ);
            let both = Signal {
                channels: vec![mono.channels[0].clone(); 2],
            };
            let output = offline(&bundle, id, 2, &[("link", link)]).render(&both, &[512], &[]);
            let (left, right) = (&output.channels[..1], &output.channels[1..]);
            let one = |channel: &[Vec<f32>]| Signal {
                channels: channel.to_vec(),
            };
            assert_identical(&one(left), &one(right), &format!("{id}, link {link}: left and right"));
            let alone = offline(&bundle, id, 1, &[]).render(&mono, &[512], &[]);
            let difference_db = one(left).minus(&alone).level_db(&alone);
            assert!(difference_db < -80.0, "{id}, link {link}: mono differs by {difference_db:.1} dB");
        }
    }
}

#[test]
fn a_reset_starts_afresh() {
    let bundle = Bundle::release();
    for id in PLUGINS {
        let input = Signal::disc(2, 30_000, RATE_HZ);
        let mut plugin = offline(&bundle, id, 2, &[]);
        let expected = plugin.render(&input, &[480], &[]);
        for played in [1, 777, 12_345] {
            plugin.reset();
            let _ = plugin.render(&Signal::noise(2, played, 0.5, 11), &[100], &[]);
            plugin.reset();
            let found = plugin.render(&input, &[480], &[]);
            assert_identical(&found, &expected, &format!("{id}, reset after {played} frames"));
        }
    }
}

#[test]
fn silence_stays_silent() {
    let bundle = Bundle::release();
    for id in PLUGINS {
        let mut plugin = offline(&bundle, id, 2, &[]);
        let latency = plugin.latency();
        let mut input = Signal::zeros(2, 3 * 48_000);
        let burst = Signal::disc(2, 24_000, RATE_HZ);
        for (to, from) in input.channels.iter_mut().zip(&burst.channels) {
            to[48_000..72_000].copy_from_slice(from);
        }
        let output = plugin.render(&input, &[512], &[]);
        let before = output.slice(0..48_000);
        assert!(before.peak() < 1e-6, "{id}: {} out of silence", before.peak());
        let sound = output.slice(48_000 + latency..72_000 + latency);
        assert!(sound.level_db(&burst) > -20.0, "{id}: the sound after silence is lost");
        // The windows that hold the end of the sound, 40 ms and a hop, may smear it.
        let window = 1920 + hop(id, RATE_HZ);
        let after = output.slice(72_000 + latency + window..3 * 48_000);
        assert!(after.peak() < 1e-6, "{id}: {} after the sound", after.peak());
    }
}

/// Samples no recording holds.
const BROKEN: [f32; 5] = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -1e-40, f32::MAX];

#[test]
fn broken_numbers_go_in_and_none_come_out() {
    let bundle = Bundle::release();
    for id in PLUGINS {
        for set in [
            &[][..],
            &[("removed", 1.0)],
            &[("mix", 0.5)],
            &[("mix", 0.0)],
            &[("bypass", 1.0)],
            &[("declick", 0.0)],
            &[("output", 1.0)],
        ] {
            for broken in BROKEN {
                let mut input = Signal::disc(2, 16_000, RATE_HZ);
                for frame in (6_000..8_000).step_by(3) {
                    input.channels[0][frame] = broken;
                }
                input.channels[1][7_000] = broken;
                let output = offline(&bundle, id, 2, set).render(&input, &[512], &[]);
                let bad = output.samples().find(|sample| !sample.is_finite() || sample.is_subnormal());
                assert_eq!(bad, None, "{id}, {set:?}: came out after {broken:e} went in");
            }
        }
    }
}

#[test]
fn the_networks_recover_from_broken_numbers() {
    let bundle = Bundle::release();
    for id in PLUGINS {
        let clean = Signal::disc(2, 10 * 48_000, RATE_HZ);
        let mut plugin = offline(&bundle, id, 2, &[]);
        let expected = plugin.render(&clean, &[512], &[]);
        for broken in BROKEN {
            // What isn't a number counts as silence; a number too large is the loudest sound there is, and the running level falls slowly after it.
            let (seconds, most_db) = if broken == f32::MAX { (10, -25.0) } else { (4, -40.0) };
            let mut input = clean.slice(0..seconds * 48_000);
            for channel in &mut input.channels {
                channel[9_000..9_600].fill(broken);
            }
            plugin.reset();
            let output = plugin.render(&input, &[512], &[]);
            let last = (seconds - 1) * 48_000..seconds * 48_000;
            let (output, expected) = (output.slice(last.clone()), expected.slice(last));
            let difference_db = output.minus(&expected).level_db(&expected);
            assert!(
                difference_db < most_db,
                "{id}: {seconds} s after {broken:e} the output still differs by {difference_db:.1} dB"
            );
        }
    }
}

#[test]
fn subnormal_tails_stay_out() {
    let bundle = Bundle::release();
    for id in PLUGINS {
        let mut input = Signal::disc(2, 96_000, RATE_HZ);
        for channel in &mut input.channels {
            for (frame, sample) in channel.iter_mut().enumerate() {
                // Falls by 20 dB per 1000 frames: through all subnormal numbers within the signal.
                *sample *= 0.1f32.powf(frame as f32 / 1000.0);
            }
        }
        for set in [
            &[][..],
            &[("removed", 1.0)],
            &[("mix", 0.3)],
            &[("mix", 0.0)],
            &[("bypass", 1.0)],
            &[("output", 0.0)],
        ] {
            let output = offline(&bundle, id, 2, set).render(&input, &[512], &[]);
            let bad = output.samples().find(|sample| !sample.is_finite() || sample.is_subnormal());
            assert_eq!(bad, None, "{id}, {set:?}");
        }
    }
}

#[test]
fn more_strength_removes_more_noise() {
    let bundle = Bundle::release();
    for id in PLUGINS {
        let noise = Signal::noise(1, 96_000, 0.03, 21);
        let levels_db: Vec<f64> = [0.0, 0.25, 0.5, 0.75, 1.0]
            .into_iter()
            .map(|strength| {
                let mut plugin = offline(&bundle, id, 1, &[("stage1", strength), ("stage2", 0.0), ("declick", 0.0)]);
                let output = plugin.render(&noise, &[512], &[]);
                output.slice(48_000..96_000).level_db(&noise.slice(0..48_000))
            })
            .collect();
        assert!(
            levels_db.windows(2).all(|pair| pair[1] < pair[0]),
            "{id}: noise left at rising strength, dB: {levels_db:.1?}"
        );
        assert!(levels_db[4] < -6.0, "{id}: noise left at full strength, dB: {levels_db:.1?}");
    }
}

#[test]
fn the_reduction_limit_bounds_what_is_taken() {
    let bundle = Bundle::release();
    let noise = Signal::noise(1, 96_000, 0.03, 22);
    let render = |limit: &str| {
        let mut plugin = Plugin::with_channels(&bundle, STUDIO, 1);
        plugin.set_mode(Mode::Offline);
        plugin.set_value("declick", 0.0);
        plugin.set("limit", limit);
        plugin.activate(RATE_HZ, 512);
        let output = plugin.render(&noise, &[512], &[]);
        output.slice(48_000..96_000).level_db(&noise.slice(0..48_000))
    };
    let (free_db, limited_db, untouched_db) = (render("none"), render("6 dB"), render("0 dB"));
    assert!(limited_db > -6.5 && limited_db < -3.0, "a limit of 6 dB leaves {limited_db:.2} dB");
    assert!(free_db < limited_db, "without a limit {free_db:.2} dB are left");
    assert!(untouched_db > -0.5, "a limit of 0 dB leaves {untouched_db:.2} dB");
}

#[test]
fn parameters_at_their_ends_stay_sane() {
    let bundle = Bundle::release();
    for id in PLUGINS {
        for extreme in [0.0, 1.0] {
            let input = Signal::disc(2, 24_000, RATE_HZ);
            let ids = ["declick", "stage1", "stage2", "limit", "mix", "output", "link"];
            let changes = ids.map(|id| Change {
                at: 12_000,
                id,
                value: extreme,
            });
            let output = offline(&bundle, id, 2, &[]).render(&input, &[512], &changes);
            let loudest = 16.0 * input.peak() * 2.0;
            assert!(output.peak() <= loudest, "{id}, all at {extreme}: peak {}", output.peak());
        }
    }
}

#[test]
fn live_and_studio_differ() {
    let bundle = Bundle::release();
    let input = Signal::disc(1, 24_000, RATE_HZ);
    let studio = offline(&bundle, STUDIO, 1, &[]).render(&input, &[512], &[]);
    let live = offline(&bundle, LIVE, 1, &[]).render(&input, &[512], &[]);
    assert!(studio.first_difference(&live).is_some());
}
