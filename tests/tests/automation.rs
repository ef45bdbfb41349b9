//! Automation lands on the audio it was written for: to the sample for what is mixed, to the hop for the stages, for all block sizes.

use dualstep_tests::{Bundle, Change, Mode, PLUGINS, Plugin, Signal, assert_identical, hop};

/// The tests' sample rate.
const RATE_HZ: f64 = 48_000.0;

/// What the host hears with delay compensation: the signal without the plugin's first `latency` frames.
fn play(bundle: &Bundle, id: &str, set: &[(&str, f64)], blocks: &[usize], changes: &[Change]) -> Signal {
    let mut plugin = Plugin::with_channels(bundle, id, 1);
    plugin.set_mode(Mode::Offline);
    for (parameter, value) in set {
        plugin.set_value(parameter, *value);
    }
    plugin.activate(RATE_HZ, 16_384);
    let latency = plugin.latency();
    let input = sound();
    let mut padded = input.clone();
    padded.channels[0].resize(input.frames() + latency, 0.0);
    plugin.render(&padded, blocks, changes).slice(latency..padded.frames())
}

/// What is played: never silent, so that each sample tells dry from restored.
fn sound() -> Signal {
    let noise = Signal::noise(1, 48_000, 0.1, 31);
    Signal::disc(1, 48_000, RATE_HZ).with(&noise, |a, b| a + b)
}

/// One step of `id` to `value` at frame `at`.
fn step(id: &'static str, value: f64, at: usize) -> [Change; 1] {
    [Change { at, id, value }]
}

#[test]
fn a_step_of_what_is_mixed_starts_on_its_sample() {
    let bundle = Bundle::release();
    for plugin in PLUGINS {
        for (parameter, from, to) in [
            ("mix", 0.0, 1.0),
            ("mix", 1.0, 0.0),
            ("output", 0.5, 1.0),
            ("removed", 0.0, 1.0),
            ("bypass", 0.0, 1.0),
            ("bypass", 1.0, 0.0),
        ] {
            let before = play(&bundle, plugin, &[(parameter, from)], &[512], &[]);
            let after = play(&bundle, plugin, &[(parameter, to)], &[512], &[]);
            for at in [10_000, 10_001, 20_479, 20_480] {
                let stepped = play(&bundle, plugin, &[(parameter, from)], &[512], &step(parameter, to, at));
                let first = stepped.first_difference(&before);
                // A smoothed value may leave its start on the next sample.
                assert!(
                    first == Some(at) || first == Some(at + 1),
                    "{plugin}: {parameter} written at {at} is heard first at {first:?}"
                );
                let settled = at + 9_600..48_000;
                let rest_db = stepped.slice(settled.clone()).minus(&after.slice(settled)).level_db(&after);
                assert!(
                    rest_db < -100.0,
                    "{plugin}: {parameter} written at {at} is not reached 200 ms later ({rest_db:.1} dB)"
                );
            }
        }
    }
}

#[test]
fn a_step_of_a_stage_lands_on_its_hop() {
    let bundle = Bundle::release();
    for plugin in PLUGINS {
        let hop = hop(plugin, RATE_HZ);
        let calm = [("declick", 0.0), ("stage2", 0.0)];
        let play = |from: f64, changes: &[Change]| play(&bundle, plugin, &[&calm[..], &[("stage1", from)]].concat(), &[512], changes);
        let (none, full) = (play(0.0, &[]), play(1.0, &[]));
        for at in [12_000, 12_000 + hop / 3, 12_000 + hop / 2, 12_000 + hop - 1] {
            let stepped = play(0.0, &step("stage1", 1.0, at));
            // The first hop whose middle sample lies at or after the step. Its frame's window reaches one hop to each side of that middle.
            let index = (at - hop / 2).div_ceil(hop);
            let middle = index * hop + hop / 2;
            let first = stepped.first_difference(&none).expect("a step that is heard");
            assert!(
                first >= middle - hop,
                "{plugin}: written at {at}, heard at {first}, before {}",
                middle - hop
            );
            assert!(
                first <= middle,
                "{plugin}: written at {at}, heard at {first}, after its hop's middle {middle}"
            );
            let settled = at + 9_600..48_000;
            assert_identical(
                &stepped.slice(settled.clone()),
                &full.slice(settled),
                &format!("{plugin}: 200 ms after the step at {at}"),
            );
        }
    }
}

#[test]
fn automation_sounds_the_same_in_all_blocks() {
    let bundle = Bundle::release();
    for plugin in PLUGINS {
        let mut changes: Vec<Change> = Vec::new();
        let ids = [
            "mix", "stage1", "limit", "stage2", "output", "declick", "low_cut", "tilt", "comp", "hum", "bypass", "removed", "link",
            "declip", "speech", "dropouts",
        ];
        for index in 0..120 {
            let value = f64::from(u8::try_from(index * 37 % 11).expect("small")) / 10.0;
            let id = ids[index % ids.len()];
            let value = match id {
                "hum" => (3.0 * value).round(),
                "bypass" | "removed" | "link" | "declip" | "speech" | "dropouts" => value.round(),
                _ => value,
            };
            changes.push(Change {
                at: 300 * index + index % 7,
                id,
                value,
            });
        }
        let expected = play(&bundle, plugin, &[], &[512], &changes);
        for blocks in [&[1][..], &[17], &[64], &[4096], &[16_384], &[3, 900, 1, 5000]] {
            let found = play(&bundle, plugin, &[], blocks, &changes);
            assert_identical(&found, &expected, &format!("{plugin}, blocks {blocks:?}"));
        }
    }
}

#[test]
fn steps_make_no_clicks() {
    let bundle = Bundle::release();
    for plugin in PLUGINS {
        // A slow sine through a plugin that restores nothing: any jump is the control's.
        let sine = Signal::mono(48_000, |frame| 0.5 * (frame as f32 * 0.01).sin());
        for (parameter, from, to) in [
            ("mix", 0.0, 1.0),
            ("output", 0.25, 0.75),
            ("removed", 0.0, 1.0),
            ("bypass", 0.0, 1.0),
            ("bypass", 1.0, 0.0),
            ("low_cut", 0.0, 1.0),
            ("low_cut", 1.0, 0.0),
            ("tilt", 0.5, 0.0),
            ("hum", 0.0, 2.0),
            ("comp", 0.0, 1.0),
        ] {
            let mut host = Plugin::with_channels(&bundle, plugin, 1);
            host.set_mode(Mode::Offline);
            host.set_value(parameter, from);
            if parameter == "bypass" {
                host.set("output", "-12 dB");
            }
            host.activate(RATE_HZ, 512);
            let output = host.render(&sine, &[512], &step(parameter, to, 24_000));
            let heard = &output.channels[0][24_000..];
            let jump = heard.windows(2).map(|pair| (pair[1] - pair[0]).abs()).fold(0.0, f32::max);
            // The sine itself moves by at most 0.005 a sample, four times that with +12 dB.
            assert!(jump < 0.03, "{plugin}: {parameter} jumps by {jump}");
        }
    }
}
