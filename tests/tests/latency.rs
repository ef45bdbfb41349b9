//! One latency per sample rate, the same whatever the host does, and the sound arrives exactly then.

use dualstep_tests::{Bundle, Change, IDS, LIVE, Mode, PLUGINS, Plugin, STUDIO, Signal, assert_identical, hop};

/// Rates a host may use, the usual and the odd, in Hz.
const RATES_HZ: [f64; 10] = [
    44_100.0, 48_000.0, 88_200.0, 96_000.0, 192_000.0, 8_000.0, 11_025.0, 22_050.0, 37_800.0, 384_000.0,
];

/// Block sizes a host may use.
const BLOCKS: [usize; 7] = [1, 17, 64, 480, 1024, 4096, 16_384];

/// The terms of ARCHITECTURE.md, "Geometry": D + (L + S + 1) H.
fn expected_latency(id: &str, rate_hz: f64) -> usize {
    let hop = hop(id, rate_hz);
    let lookahead_hops = if id == STUDIO { 1 } else { 0 };
    hop / 2 + (lookahead_hops + 2 + 1) * hop
}

#[test]
fn the_bundle_holds_both_plugins() {
    let mut plugins = Bundle::release().plugins();
    plugins.sort();
    let named = |id: &str, name: &str| (id.to_owned(), name.to_owned());
    assert_eq!(plugins, [named(LIVE, "Dualstep Live"), named(STUDIO, "Dualstep")]);
}

#[test]
fn the_latency_is_the_geometrys() {
    let bundle = Bundle::release();
    for id in PLUGINS {
        for rate_hz in RATES_HZ {
            let mut plugin = Plugin::new(&bundle, id);
            plugin.activate(rate_hz, 1024);
            assert_eq!(plugin.latency(), expected_latency(id, rate_hz), "{id} at {rate_hz} Hz");
        }
    }
}

#[test]
fn the_latency_is_what_was_promised() {
    let bundle = Bundle::release();
    for (id, rates_hz, most_ms) in [(STUDIO, &RATES_HZ[..5], 100.0), (LIVE, &RATES_HZ[..5], 25.0)] {
        for rate_hz in rates_hz {
            let mut plugin = Plugin::new(&bundle, id);
            plugin.activate(*rate_hz, 256);
            let latency_ms = plugin.latency() as f64 / rate_hz * 1000.0;
            assert!(latency_ms <= most_ms, "{id} at {rate_hz} Hz: {latency_ms} ms");
        }
    }
}

#[test]
fn the_latency_is_the_same_after_every_start() {
    let bundle = Bundle::release();
    for id in PLUGINS {
        let mut plugin = Plugin::new(&bundle, id);
        for max_block in BLOCKS {
            for rate_hz in [44_100.0, 48_000.0] {
                plugin.activate(rate_hz, max_block);
                assert_eq!(plugin.latency(), expected_latency(id, rate_hz), "{id}, blocks of {max_block}");
                let _ = plugin.render(&Signal::zeros(2, 3 * max_block), &[max_block], &[]);
                assert_eq!(plugin.latency(), expected_latency(id, rate_hz), "{id} while playing");
                assert_eq!(plugin.restarts_asked(), 0, "{id} asks for a restart while playing");
                plugin.deactivate();
            }
        }
    }
}

#[test]
fn an_impulse_in_bypass_arrives_at_the_reported_latency() {
    let bundle = Bundle::release();
    for id in PLUGINS {
        for rate_hz in RATES_HZ {
            for block in BLOCKS {
                for mode in [Mode::RealTime, Mode::Offline] {
                    let mut plugin = Plugin::new(&bundle, id);
                    plugin.set_mode(mode);
                    plugin.set_value("bypass", 1.0);
                    plugin.activate(rate_hz, block);
                    let at = 123;
                    let latency = plugin.latency();
                    let input = Signal::impulse(2, at + latency + 200, at);
                    let output = plugin.render(&input, &[block], &[]);
                    assert_identical(
                        &output,
                        &input.delayed(latency),
                        &format!("{id} at {rate_hz} Hz, blocks of {block}, {mode:?}"),
                    );
                }
            }
        }
    }
}

#[test]
fn the_restored_sound_arrives_at_the_reported_latency() {
    let bundle = Bundle::release();
    for id in PLUGINS {
        for rate_hz in RATES_HZ {
            let mut plugin = Plugin::with_channels(&bundle, id, 1);
            plugin.set_mode(Mode::Offline);
            for parameter in ["declick", "stage1", "stage2"] {
                plugin.set_value(parameter, 0.0);
            }
            plugin.activate(rate_hz, 512);
            let latency = plugin.latency();
            let input = Signal::noise(1, latency + 12 * hop(id, rate_hz), 0.5, 1);
            let output = plugin.render(&input, &[512], &[]);
            let expected = input.delayed(latency);
            let error_db = output.minus(&expected).level_db(&expected);
            assert!(
                error_db < -100.0,
                "{id} at {rate_hz} Hz: with both strengths at 0 the input comes back to {error_db:.1} dB"
            );
            assert!(
                output.first_difference(&expected).is_some(),
                "{id} at {rate_hz} Hz: this went through no transform"
            );
        }
    }
}

#[test]
fn rates_out_of_range_pass_the_sound_through() {
    let bundle = Bundle::release();
    for id in PLUGINS {
        for rate_hz in [1_000.0, 7_999.0, 384_001.0, 768_000.0] {
            let mut plugin = Plugin::new(&bundle, id);
            let input = Signal::noise(2, 20_000, 0.5, 2);
            let mut latencies = Vec::new();
            for block in [1, 64, 4096] {
                plugin.activate(rate_hz, block);
                let latency = plugin.latency();
                let output = plugin.render(&input, &[block], &[]);
                assert_identical(
                    &output,
                    &input.delayed(latency),
                    &format!("{id} at {rate_hz} Hz, blocks of {block}"),
                );
                latencies.push(latency);
                plugin.deactivate();
            }
            assert!(
                latencies.windows(2).all(|pair| pair[0] == pair[1]),
                "{id} at {rate_hz} Hz: latencies {latencies:?}"
            );
        }
    }
}

#[test]
fn a_change_of_any_parameter_leaves_the_latency_alone() {
    let bundle = Bundle::release();
    for id in PLUGINS {
        let mut plugin = Plugin::new(&bundle, id);
        plugin.activate(48_000.0, 480);
        let latency = plugin.latency();
        let changes: Vec<Change> = IDS
            .into_iter()
            .enumerate()
            .flat_map(|(index, id)| {
                [(0, 1.0), (100, 0.0)].map(|(offset, value)| Change {
                    at: 1_000 * index + offset,
                    id,
                    value,
                })
            })
            .collect();
        let _ = plugin.render(&Signal::noise(2, 16_000, 0.1, 5), &[480], &changes);
        assert_eq!(plugin.latency(), latency, "{id}");
        assert_eq!(plugin.restarts_asked(), 0, "{id} asks for a restart while playing");
    }
}

#[test]
fn a_new_latency_is_told_at_once_and_needs_no_restart() {
    let bundle = Bundle::release();
    for id in PLUGINS {
        let mut plugin = Plugin::new(&bundle, id);
        for (rate_hz, told) in [(48_000.0, 1), (48_000.0, 1), (96_000.0, 2), (44_100.0, 3)] {
            plugin.activate(rate_hz, 512);
            assert_eq!(plugin.latencies_told(), told, "{id} at {rate_hz} Hz");
            plugin.deactivate();
        }
    }
}

#[cfg(not(target_os = "macos"))]
#[test]
fn the_tail_is_the_latency_before_anything_has_played() {
    for name in ["Dualstep", "Dualstep Live"] {
        let plugin = dualstep_tests::Vst3Plugin::new(name);
        plugin.activate(Mode::RealTime, 48_000.0, 512);
        assert_eq!(plugin.tail(), plugin.latency(), "{name}");
    }
}
