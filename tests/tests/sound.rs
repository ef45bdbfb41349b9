//! What the plugins are for: the bundled damaged recording comes out closer to the clean one.

use dualstep_tests::bundle::workspace;
use dualstep_tests::signal::si_sdr_db;
use dualstep_tests::{Bundle, LIVE, Mode, Plugin, STUDIO, Signal, read_audio};
use std::path::{Path, PathBuf};

/// The one file of assets/demo whose name contains `word`.
fn demo(word: &str) -> PathBuf {
    let folder = workspace().join("assets/demo");
    let files = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut found: Vec<PathBuf> = files
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| is_flac(path, word))
        .collect();
    assert_eq!(found.len(), 1, "one FLAC file called …{word}… in {}", folder.display());
    found.remove(0)
}

/// Whether this is a FLAC file with `word` in its name.
fn is_flac(path: &Path, word: &str) -> bool {
    path.extension().is_some_and(|end| end == "flac") && path.file_stem().is_some_and(|name| name.to_string_lossy().contains(word))
}

/// The plugin's output at its initial values, without its latency.
fn restore(id: &str, input: &Signal, rate_hz: f64) -> Signal {
    let mut plugin = Plugin::with_channels(&Bundle::release(), id, input.channels.len());
    plugin.set_mode(Mode::Offline);
    plugin.activate(rate_hz, 4096);
    let latency = plugin.latency();
    let mut padded = input.clone();
    for channel in &mut padded.channels {
        channel.resize(input.frames() + latency, 0.0);
    }
    plugin.render(&padded, &[4096], &[]).slice(latency..latency + input.frames())
}

/// SI-SDR gain of each channel in dB.
fn gains_db(id: &str) -> Vec<f64> {
    let (noisy, rate_hz) = read_audio(&demo("noisy"));
    let (clean, clean_rate_hz) = read_audio(&demo("clean"));
    assert_eq!(rate_hz.to_bits(), clean_rate_hz.to_bits(), "sample rates");
    assert_eq!(
        (noisy.channels.len(), noisy.frames()),
        (clean.channels.len(), clean.frames()),
        "sizes"
    );
    let restored = restore(id, &noisy, rate_hz);
    let channels = restored.channels.iter().zip(&noisy.channels).zip(&clean.channels);
    channels
        .map(|((restored, noisy), clean)| si_sdr_db(restored, clean) - si_sdr_db(noisy, clean))
        .collect()
}

#[test]
fn studio_improves_the_demo_by_five_decibel() {
    let gains_db = gains_db(STUDIO);
    assert!(
        gains_db.iter().all(|gain_db| *gain_db >= 5.0),
        "SI-SDR gain per channel, dB: {gains_db:.2?}"
    );
}

#[test]
fn live_improves_the_demo() {
    let gains_db = gains_db(LIVE);
    assert!(
        gains_db.iter().all(|gain_db| *gain_db >= 3.0),
        "SI-SDR gain per channel, dB: {gains_db:.2?}"
    );
}
