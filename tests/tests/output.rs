//! The output section in the built plugin: nothing when off, what it says when on, on the restored signal only, in time.

use dualstep_tests::{Bundle, Change, Mode, PLUGINS, Plugin, Signal, TRANSPARENT, assert_identical};

/// The tests' sample rate.
const RATE_HZ: f64 = 48_000.0;

/// A plugin that restores nothing, so that what is heard is the output section's, with values given as texts.
fn wire(bundle: &Bundle, id: &str, channels: usize, set: &[(&str, &str)]) -> Plugin {
    let mut plugin = Plugin::with_channels(bundle, id, channels);
    plugin.set_mode(Mode::Offline);
    for (parameter, value) in TRANSPARENT {
        plugin.set_value(parameter, value);
    }
    for (parameter, text) in set {
        plugin.set(parameter, text);
    }
    plugin.activate(RATE_HZ, 4096);
    plugin
}

/// A sine of amplitude 0.5 in every channel.
fn sine(channels: usize, frames: usize, frequency_hz: f64) -> Signal {
    let one = Signal::mono(frames, |frame| {
        dualstep_tests::signal::single(0.5 * (std::f64::consts::TAU * frequency_hz * frame as f64 / RATE_HZ).sin())
    });
    Signal {
        channels: vec![one.channels[0].clone(); channels],
    }
}

/// Level after `from` frames against the input's, in dB.
fn gain_db(bundle: &Bundle, id: &str, set: &[(&str, &str)], frequency_hz: f64, seconds: usize) -> f64 {
    let frames = seconds * 48_000;
    let input = sine(2, frames, frequency_hz);
    let late = frames - 24_000..frames;
    let output = wire(bundle, id, 2, set).render(&input, &[512], &[]);
    output.slice(late.clone()).level_db(&input.slice(late))
}

#[test]
fn all_off_is_the_plugin_without_it_to_the_bit() {
    let bundle = Bundle::release();
    let input = Signal::disc(2, 60_000, RATE_HZ);
    for id in PLUGINS {
        let mut plugin = Plugin::new(&bundle, id);
        plugin.set_mode(Mode::Offline);
        plugin.activate(RATE_HZ, 512);
        let expected = plugin.render(&input, &[512], &[]);
        assert!(expected.first_difference(&input.delayed(plugin.latency())).is_some());
        let mut plugin = Plugin::new(&bundle, id);
        plugin.set_mode(Mode::Offline);
        for (parameter, text) in [("low_cut", "off"), ("hum", "off"), ("tilt", "0 dB"), ("comp", "0 %")] {
            // On and off again.
            plugin.set_value(parameter, 1.0);
            plugin.set(parameter, text);
        }
        plugin.activate(RATE_HZ, 512);
        assert_identical(&plugin.render(&input, &[512], &[]), &expected, id);
    }
}

#[test]
fn latency_dry_signal_and_removed_signal_are_untouched() {
    let bundle = Bundle::release();
    let input = Signal::disc(2, 40_000, RATE_HZ);
    let on = [("low_cut", "100 Hz"), ("hum", "50 Hz"), ("tilt", "6 dB"), ("comp", "100 %")];
    for id in PLUGINS {
        for silencer in [("mix", "0 %"), ("bypass", "on"), ("removed", "on")] {
            let render = |set: &[(&str, &str)]| {
                let mut plugin = Plugin::new(&bundle, id);
                plugin.set_mode(Mode::Offline);
                set.iter()
                    .chain([&silencer])
                    .for_each(|(parameter, text)| plugin.set(parameter, text));
                plugin.activate(RATE_HZ, 512);
                (plugin.latency(), plugin.render(&input, &[512], &[]))
            };
            let ((latency, found), (latency_without, expected)) = (render(&on), render(&[]));
            assert_eq!(latency, latency_without, "{id}");
            assert_identical(&found, &expected, &format!("{id}, {silencer:?}"));
        }
    }
}

#[test]
fn low_cut_and_tilt_have_the_stated_response() {
    let bundle = Bundle::release();
    for id in PLUGINS {
        for (set, frequency_hz, expected_db, tolerance_db) in [
            // Butterworth of fourth order: 10 log10(1 + (fc / f)^8) below.
            (("low_cut", "80 Hz"), 80.0, -3.01, 0.1),
            (("low_cut", "80 Hz"), 40.0, -24.1, 0.2),
            (("low_cut", "80 Hz"), 400.0, 0.0, 0.1),
            (("low_cut", "300 Hz"), 75.0, -48.2, 0.6),
            (("tilt", "6 dB"), 30.0, -6.0, 0.1),
            (("tilt", "6 dB"), 1_000.0, 0.0, 0.1),
            (("tilt", "6 dB"), 15_000.0, 6.0, 0.1),
            (("tilt", "-3 dB"), 15_000.0, -3.0, 0.1),
        ] {
            let found_db = gain_db(&bundle, id, &[set], frequency_hz, 2);
            assert!(
                (found_db - expected_db).abs() < tolerance_db,
                "{id}, {set:?}: {found_db:.2} dB at {frequency_hz} Hz, expected {expected_db} dB"
            );
        }
    }
}

#[test]
fn the_hum_notch_takes_lines_out_and_finds_them() {
    let bundle = Bundle::release();
    for id in PLUGINS {
        // "auto" is sure of a line after three seconds, and of one that the mains never are at after eight.
        for (text, line_hz, seconds, bar_db) in [
            ("50 Hz", 150.0, 4, -20.0),
            ("60 Hz", 60.0, 4, -20.0),
            ("auto", 60.0, 5, -30.0),
            ("auto", 60.1, 5, -30.0),
            ("auto", 100.0, 5, -30.0),
            ("auto", 60.6, 12, -30.0),
        ] {
            let found_db = gain_db(&bundle, id, &[("hum", text)], line_hz, seconds);
            assert!(found_db < bar_db, "{id}, {text}: {line_hz} Hz still at {found_db:.1} dB");
        }
        let beside_db = gain_db(&bundle, id, &[("hum", "50 Hz")], 125.0, 4);
        assert!(beside_db.abs() < 0.1, "{id}: 125 Hz at {beside_db:.2} dB");
        // No mains line: nothing to do, to the bit.
        let music = Signal::disc(1, 10 * 48_000, RATE_HZ);
        let render = |text| wire(&bundle, id, 1, &[("hum", text)]).render(&music, &[512], &[]);
        assert_identical(&render("auto"), &render("off"), &format!("{id}, music without hum"));
    }
}

#[test]
fn the_compressor_keeps_the_reference_level_and_halves_what_is_above() {
    let bundle = Bundle::release();
    for id in PLUGINS {
        // 2:1 about -18 dB: a sine of amplitude 0.5 is at -6 dB, 12 dB above.
        let found_db = gain_db(&bundle, id, &[("comp", "100 %")], 997.0, 3);
        assert!((found_db + 6.0).abs() < 0.2, "{id}: {found_db:.2} dB");
    }
}

#[test]
fn blocks_and_resets_do_not_matter() {
    let bundle = Bundle::release();
    let input = Signal::disc(2, 40_000, RATE_HZ);
    let on = [("low_cut", "45 Hz"), ("hum", "auto"), ("tilt", "-4 dB"), ("comp", "60 %")];
    for id in PLUGINS {
        let mut plugin = wire(&bundle, id, 2, &on);
        let expected = plugin.render(&input, &[480], &[]);
        plugin.reset();
        assert_identical(&plugin.render(&input, &[480], &[]), &expected, &format!("{id}, after a reset"));
        for blocks in [&[1][..], &[17], &[4096], &[5, 777, 3000, 2]] {
            let found = wire(&bundle, id, 2, &on).render(&input, blocks, &[]);
            assert_identical(&found, &expected, &format!("{id}, blocks {blocks:?}"));
        }
    }
}

#[test]
fn automation_is_heard_where_it_was_drawn() {
    let bundle = Bundle::release();
    // The section looks at its settings 1500 times a second.
    let tick = 32;
    for id in PLUGINS {
        for (parameter, value) in [("tilt", 1.0), ("low_cut", 1.0), ("comp", 1.0)] {
            let input = sine(1, 48_000, 200.0);
            let mut plugin = wire(&bundle, id, 1, &[]);
            let latency = plugin.latency();
            let before = plugin.render(&input, &[512], &[]);
            for at in [20_000, 20_479] {
                let change = [Change { at, id: parameter, value }];
                let found = wire(&bundle, id, 1, &[]).render(&input, &[512], &change);
                let first = found.first_difference(&before).expect("a change that is heard");
                let expected = at + latency..=at + latency + 2 * tick;
                assert!(
                    expected.contains(&first),
                    "{id}: {parameter} drawn at {at} is heard from {first}, not within {expected:?}"
                );
            }
        }
    }
}
