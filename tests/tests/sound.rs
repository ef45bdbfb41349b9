//! What the plugins are for: the bundled damaged recording comes out closer to the clean one.

use dualstep_tests::bundle::workspace;
use dualstep_tests::signal::si_sdr_db;
use dualstep_tests::{Bundle, LIVE, Mode, Plugin, STUDIO, Signal, read_audio};
use std::path::PathBuf;

/// What a clean reference's name ends in; the damaged recording's ends in `.flac` alone.
const CLEAN: &str = ".clean.flac";

/// The recordings of assets/demo that have a clean reference: damaged and clean.
fn demos() -> Vec<(PathBuf, PathBuf)> {
    let folder = workspace().join("assets/demo");
    let files = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut demos: Vec<_> = files
        .filter_map(|entry| {
            let clean = entry.ok()?.path();
            let name = clean.file_name()?.to_str()?.strip_suffix(CLEAN)?.to_owned();
            Some((folder.join(format!("{name}.flac")), clean))
        })
        .collect();
    demos.sort();
    assert!(!demos.is_empty(), "no clean reference in {}", folder.display());
    demos
}

/// The plugin's output without its latency. What isn't among `values` has its initial one.
fn restore(id: &str, values: &[(&str, f64)], input: &Signal, rate_hz: f64) -> Signal {
    let mut plugin = Plugin::with_channels(&Bundle::release(), id, input.channels.len());
    plugin.set_mode(Mode::Offline);
    for (parameter, value) in values {
        plugin.set_value(parameter, *value);
    }
    plugin.activate(rate_hz, 4096);
    let latency = plugin.latency();
    let mut padded = input.clone();
    for channel in &mut padded.channels {
        channel.resize(input.frames() + latency, 0.0);
    }
    plugin.render(&padded, &[4096], &[]).slice(latency..latency + input.frames())
}

/// Checks that the plugin brings every channel of every demo at least `least_db` closer to the clean one.
fn check_gain(id: &str, least_db: f64) {
    for (noisy, clean) in demos() {
        let name = noisy.display().to_string();
        let ((noisy, rate_hz), (clean, clean_rate_hz)) = (read_audio(&noisy), read_audio(&clean));
        assert_eq!(rate_hz.to_bits(), clean_rate_hz.to_bits(), "{name}: sample rates");
        assert_eq!(
            (noisy.channels.len(), noisy.frames()),
            (clean.channels.len(), clean.frames()),
            "{name}: sizes"
        );
        let restored = restore(id, &[], &noisy, rate_hz);
        let channels = restored.channels.iter().zip(&noisy.channels).zip(&clean.channels);
        for ((restored, noisy), clean) in channels {
            let (before_db, after_db) = (si_sdr_db(noisy, clean), si_sdr_db(restored, clean));
            let gain_db = after_db - before_db;
            assert!(
                gain_db >= least_db,
                "{name}, {id}: SI-SDR {before_db:.2} dB became {after_db:.2} dB"
            );
        }
    }
}

// The aim is 5 dB for both; studio reaches 5.9, live 5.3.

#[test]
fn studio_brings_the_demo_closer_to_the_clean_recording() {
    check_gain(STUDIO, 5.0);
}

#[test]
fn live_brings_the_demo_closer_to_the_clean_recording() {
    check_gain(LIVE, 5.0);
}

#[test]
fn clipped_peaks_are_redrawn_unless_it_is_switched_off() {
    for (_, clean) in demos() {
        let name = clean.display().to_string();
        let (clean, rate_hz) = read_audio(&clean);
        let level = 0.3 * clean.peak();
        let clipped = clean.with(&clean, |x, _| x.clamp(-level, level));
        for id in [STUDIO, LIVE] {
            let switched = |on: f64| restore(id, &[("declip", on), ("stage1", 0.0), ("stage2", 0.0)], &clipped, rate_hz);
            let (on, off) = (switched(1.0), switched(0.0));
            for (channel, clean) in clean.channels.iter().enumerate() {
                let [off_db, on_db] = [&off, &on].map(|signal| si_sdr_db(&signal.channels[channel], clean));
                assert!(on_db > off_db + 5.0, "{name}, {id}: SI-SDR {off_db:.2} dB became {on_db:.2} dB");
            }
        }
    }
}
