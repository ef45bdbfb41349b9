//! A slow or failing worker, and the audio thread's promise to allocate nothing: with the debug bundle, whose worker can be told to misbehave.
//!
//! Each test runs in a process of its own, because the hooks are environment variables and because an allocation in `process` ends the process.

#[cfg(not(target_os = "macos"))]
use dualstep_tests::Vst3Plugin;
use dualstep_tests::process::in_child;
use dualstep_tests::{Bundle, Change, IDS, Mode, PLUGINS, Plugin, Signal, TRANSPARENT, assert_identical, assert_no_hole, hop};

/// The tests' usual sample rate.
const RATE_HZ: f64 = 48_000.0;

/// Delays each hop of the worker by so many milliseconds.
const DELAY_MS: &str = "DUALSTEP_WORKER_DELAY_MS";

/// Lets the worker panic at this hop.
const PANIC_AT_HOP: &str = "DUALSTEP_WORKER_PANIC_AT_HOP";

/// Leaves the system without a thread to give.
const NO_THREAD: &str = "DUALSTEP_NO_THREAD";

/// An active instance of the debug bundle, mono, with the values `set` on the host's scale.
fn start(bundle: &Bundle, id: &str, mode: Mode, set: &[(&str, f64)]) -> Plugin {
    let mut plugin = Plugin::with_channels(bundle, id, 1);
    plugin.set_mode(mode);
    for (parameter, value) in set {
        plugin.set_value(parameter, *value);
    }
    plugin.activate(RATE_HZ, 1024);
    plugin
}

#[test]
fn a_worker_too_slow_is_heard_as_dry() {
    if !in_child("a_worker_too_slow_is_heard_as_dry", &[(DELAY_MS, "1000")]) {
        return;
    }
    let bundle = Bundle::debug();
    for id in PLUGINS {
        let input = Signal::disc(1, 48_000, RATE_HZ);
        let mut plugin = start(&bundle, id, Mode::RealTime, &[]);
        let output = plugin.render(&input, &[480], &[]);
        assert_identical(&output, &input.delayed(plugin.latency()), id);
    }
}

#[test]
fn a_worker_now_and_then_too_slow_leaves_no_hole() {
    // About as slow as the host is fast: some hops come in time, some don't.
    for delay_ms in ["2", "5", "9"] {
        if in_child("a_worker_now_and_then_too_slow_leaves_no_hole", &[(DELAY_MS, delay_ms)]) {
            PLUGINS.into_iter().for_each(find_holes);
            return;
        }
    }
}

/// Plays what sounds the same restored and dry, and looks for anything else.
fn find_holes(id: &str) {
    let mut plugin = start(&Bundle::debug(), id, Mode::RealTime, &TRANSPARENT);
    let latency = plugin.latency();
    let input = Signal::disc(1, 96_000, RATE_HZ);
    let output = plugin.render(&input, &[64, 480, 1024], &[]);
    assert_no_hole(&output, &input, latency, id);
}

#[test]
fn a_worker_that_catches_up_is_heard_again() {
    if !in_child("a_worker_that_catches_up_is_heard_again", &[(DELAY_MS, "30")]) {
        return;
    }
    let bundle = Bundle::debug();
    for id in PLUGINS {
        let hop = hop(id, RATE_HZ);
        let mut plugin = start(&bundle, id, Mode::RealTime, &[]);
        let latency = plugin.latency();
        let input = Signal::disc(1, 240 * hop, RATE_HZ);
        let dry = input.delayed(latency);
        let mut output = Signal::zeros(1, 0);
        let mut play = |plugin: &mut Plugin, hops: std::ops::Range<usize>| {
            let block = plugin.render(&input.slice(hops.start * hop..hops.end * hop), &[hop], &[]);
            output.channels[0].extend_from_slice(&block.channels[0]);
        };
        // As fast as it goes: too fast for this worker.
        play(&mut plugin, 0..200);
        // Then slower than it needs, until what piled up is gone.
        for index in 200..240 {
            std::thread::sleep(std::time::Duration::from_millis(120));
            play(&mut plugin, index..index + 1);
        }
        let late = 100 * hop..200 * hop;
        let dry_db = output
            .slice(late.clone())
            .minus(&dry.slice(late.clone()))
            .level_db(&dry.slice(late));
        let last = 230 * hop..240 * hop;
        let wet_db = output
            .slice(last.clone())
            .minus(&dry.slice(last.clone()))
            .level_db(&dry.slice(last));
        assert!(wet_db > -40.0, "{id}: still dry at the end ({wet_db:.1} dB of restoration)");
        assert!(dry_db < wet_db, "{id}: the worker was never late ({dry_db:.1} dB of restoration)");
        assert!(
            wet_db < 0.0,
            "{id}: what is heard at the end is far from the input ({wet_db:.1} dB): the stream has moved"
        );
    }
}

#[test]
fn without_a_thread_the_sound_passes_through() {
    if !in_child("without_a_thread_the_sound_passes_through", &[(NO_THREAD, "1")]) {
        return;
    }
    let bundle = Bundle::debug();
    for id in PLUGINS {
        let input = Signal::disc(1, 24_000, RATE_HZ);
        for mode in [Mode::RealTime, Mode::Offline] {
            let mut plugin = start(&bundle, id, mode, &[]);
            assert_eq!(plugin.latency(), 0, "{id}: nothing is restored, so nothing is delayed");
            assert_identical(&plugin.render(&input, &[480, 17], &[]), &input, id);
        }
    }
}

#[test]
fn offline_waits_for_the_slowest_worker() {
    if !in_child("offline_waits_for_the_slowest_worker", &[]) {
        return;
    }
    let bundle = Bundle::debug();
    for id in PLUGINS {
        let input = Signal::disc(1, 24_000, RATE_HZ);
        let expected = start(&bundle, id, Mode::Offline, &[]).render(&input, &[480], &[]);
        // Hosts announce an export before they activate the plugin or while it is active, as the standard allows.
        for before in [Mode::Offline, Mode::RealTime] {
            slow_worker(Some("30"));
            let mut plugin = start(&bundle, id, before, &[]);
            slow_worker(None);
            plugin.set_mode(Mode::Offline);
            assert_identical(&plugin.render(&input, &[480], &[]), &expected, id);
            assert_eq!(plugin.restarts_asked(), 0, "{id}: asks for a restart");
        }
    }
}

/// Ardour announces an export with its blocks and nowhere else.
#[cfg(not(target_os = "macos"))]
#[test]
fn in_a_vst3_each_block_says_whether_it_waits() {
    if !in_child("in_a_vst3_each_block_says_whether_it_waits", &[]) {
        return;
    }
    for name in ["Dualstep", "Dualstep Live"] {
        let input = Signal::disc(2, 24_000, RATE_HZ);
        let render = |setup, blocks| {
            let plugin = Vst3Plugin::debug(name);
            plugin.activate(setup, RATE_HZ, 480);
            plugin.set_processing(true);
            let output = plugin.render(&input, blocks, 480, &[]);
            (output, plugin.latency())
        };
        let (expected, latency) = render(Mode::Offline, Mode::Offline);
        slow_worker(Some("30"));
        let (exported, _) = render(Mode::RealTime, Mode::Offline);
        slow_worker(Some("1000"));
        let (played, _) = render(Mode::Offline, Mode::RealTime);
        slow_worker(None);
        assert_identical(&exported, &expected, &format!("{name}, offline blocks"));
        assert_identical(&played, &input.delayed(latency), &format!("{name}, blocks in real time"));
    }
}

/// Sets or clears the hook for the activations that follow in this process.
fn slow_worker(delay_ms: Option<&str>) {
    #[expect(unsafe_code, reason = "the hook is an environment variable")]
    // SAFETY: only in a child process that runs this one test, while no instance is being activated.
    unsafe {
        match delay_ms {
            Some(delay_ms) => std::env::set_var(DELAY_MS, delay_ms),
            None => std::env::remove_var(DELAY_MS),
        }
    }
}

#[test]
fn a_failed_worker_leaves_the_dry_signal() {
    if !in_child("a_failed_worker_leaves_the_dry_signal", &[(PANIC_AT_HOP, "20")]) {
        return;
    }
    let bundle = Bundle::debug();
    for id in PLUGINS {
        let hop = hop(id, RATE_HZ);
        for mode in [Mode::Offline, Mode::RealTime] {
            let mut plugin = start(&bundle, id, mode, &[]);
            let latency = plugin.latency();
            let input = Signal::disc(1, 80 * hop, RATE_HZ);
            let dry = input.delayed(latency);
            let output = plugin.render(&input, &[480], &[]);
            let restored = latency..20 * hop;
            let failed = 30 * hop..80 * hop;
            assert!(
                mode == Mode::RealTime || output.slice(restored.clone()).first_difference(&dry.slice(restored)).is_some(),
                "{id}, {mode:?}: nothing was restored before the failure"
            );
            assert_identical(
                &output.slice(failed.clone()),
                &dry.slice(failed),
                &format!("{id}, {mode:?}, after the failure"),
            );
            assert!(
                output.peak() <= 2.0 * input.peak(),
                "{id}, {mode:?}: the failure is heard, peak {}",
                output.peak()
            );
            // The instance lives on: it plays, saves, resets and stops.
            plugin.reset();
            let again = plugin.render(&input, &[64], &[]);
            assert!(again.samples().all(f32::is_finite), "{id}, {mode:?}: after a reset");
            assert!(!plugin.save().is_empty());
            plugin.deactivate();
        }
    }
}

/// Everything a host may do between activation and deactivation.
fn use_in_every_way(bundle: &Bundle, id: &str) {
    for mode in [Mode::RealTime, Mode::Offline] {
        for channels in [1, 2] {
            for (rate_hz, blocks) in [
                (48_000.0, &[1, 64, 480, 1024, 3, 700][..]),
                (44_100.0, &[441]),
                (96_000.0, &[1024]),
                (1_000.0, &[100]),
            ] {
                let mut plugin = Plugin::with_channels(bundle, id, channels);
                plugin.set_mode(mode);
                plugin.activate(rate_hz, 1024);
                let mut input = Signal::disc(channels, 12_000, rate_hz);
                for (frame, broken) in (3_000..).zip([f32::NAN, f32::INFINITY, 1e-40, f32::MAX]) {
                    input.channels[0][frame] = broken;
                }
                for channel in &mut input.channels {
                    channel[6_000..9_000].fill(0.0);
                }
                let changes: Vec<Change> = (0..240)
                    .map(|n| Change {
                        at: 50 * n,
                        id: IDS[n % IDS.len()],
                        value: f64::from(u8::from((n / IDS.len()).is_multiple_of(2))),
                    })
                    .collect();
                let output = plugin.render(&input, blocks, &changes);
                assert!(output.samples().all(f32::is_finite), "{id}");
                plugin.reset();
                plugin.set_value("stage1", 0.5);
                let saved = plugin.save();
                plugin.load(&saved).expect("its own state");
                let _ = plugin.render(&input, blocks, &[]);
                // Parameters flushed between blocks, from the main thread, while active.
                plugin.set_value("mix", 0.25);
                let _ = plugin.render(&input.slice(0..2_000), &[2_000], &[]);
            }
        }
    }
}

#[test]
fn the_audio_thread_never_allocates() {
    if in_child("the_audio_thread_never_allocates", &[]) {
        let bundle = Bundle::debug();
        PLUGINS.into_iter().for_each(|id| use_in_every_way(&bundle, id));
    }
}

#[test]
fn the_audio_thread_never_allocates_beside_a_slow_worker() {
    if in_child("the_audio_thread_never_allocates_beside_a_slow_worker", &[(DELAY_MS, "4")]) {
        let bundle = Bundle::debug();
        PLUGINS.into_iter().for_each(|id| use_in_every_way(&bundle, id));
    }
}

#[test]
fn the_audio_thread_never_allocates_beside_a_failed_worker() {
    if in_child("the_audio_thread_never_allocates_beside_a_failed_worker", &[(PANIC_AT_HOP, "5")]) {
        let bundle = Bundle::debug();
        PLUGINS.into_iter().for_each(|id| use_in_every_way(&bundle, id));
    }
}
