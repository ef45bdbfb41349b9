//! Instances come and go: no thread, no memory and no sound is left behind.

use dualstep_tests::process::{in_child, resident_kib, threads};
use dualstep_tests::{Bundle, LIVE, Mode, PLUGINS, Plugin, STUDIO, Signal, assert_identical};

/// The tests' usual sample rate.
const RATE_HZ: f64 = 48_000.0;

/// An active offline instance.
fn offline(bundle: &Bundle, id: &str) -> Plugin {
    let mut plugin = Plugin::new(bundle, id);
    plugin.set_mode(Mode::Offline);
    plugin.activate(RATE_HZ, 1024);
    plugin
}

#[test]
fn a_hundred_activations_leak_nothing() {
    if !in_child("a_hundred_activations_leak_nothing", &[]) {
        return;
    }
    let bundle = Bundle::release();
    for id in PLUGINS {
        let input = Signal::disc(2, 4_000, RATE_HZ);
        let mut plugin = Plugin::new(&bundle, id);
        plugin.set_mode(Mode::Offline);
        let mut cycle = |times: usize| {
            for index in 0..times {
                // Rates in turn, so that no buffer can simply be kept.
                plugin.activate([48_000.0, 44_100.0, 96_000.0][index % 3], 1024);
                let _ = plugin.render(&input, &[1024], &[]);
                plugin.deactivate();
            }
            (threads(), resident_kib())
        };
        let (threads_before, kib_before) = cycle(20);
        let (threads_after, kib_after) = cycle(100);
        assert_eq!(threads_after, threads_before, "{id}: threads");
        if let (Some(before), Some(after)) = (kib_before, kib_after) {
            assert!(after < before + 8 * 1024, "{id}: {before} KiB became {after} KiB");
        }
    }
}

#[test]
fn instances_take_their_threads_and_memory_with_them() {
    if !in_child("instances_take_their_threads_and_memory_with_them", &[]) {
        return;
    }
    let bundle = Bundle::release();
    let input = Signal::disc(2, 4_000, RATE_HZ);
    let live_once = |id: &str| {
        let mut plugin = offline(&bundle, id);
        let _ = plugin.render(&input, &[1024], &[]);
    };
    for id in PLUGINS {
        let mut idle = None;
        for round in 0..4 {
            for _ in 0..10 {
                live_once(id);
            }
            let now = (threads(), resident_kib());
            if round == 0 {
                idle = Some(now);
            }
            let before = idle.expect("a first round");
            assert_eq!(now.0, before.0, "{id}: threads after round {round}");
            if let (Some(before), Some(now)) = (before.1, now.1) {
                assert!(now < before + 8 * 1024, "{id}: {before} KiB became {now} KiB in round {round}");
            }
        }
    }
}

#[test]
fn an_instance_is_one_thread() {
    if !in_child("an_instance_is_one_thread", &[]) {
        return;
    }
    let bundle = Bundle::release();
    for id in PLUGINS {
        // The first instance may start what all share: the framework's own background thread.
        let mut first = offline(&bundle, id);
        let _ = first.render(&Signal::disc(2, 8_000, RATE_HZ), &[1024], &[]);
        let before = threads();
        let mut second = offline(&bundle, id);
        let _ = second.render(&Signal::disc(2, 8_000, RATE_HZ), &[1024], &[]);
        assert_eq!(threads(), before.map(|threads| threads + 1), "{id}: threads with a second instance");
    }
}

#[test]
fn a_further_instance_takes_little_memory() {
    if !in_child("a_further_instance_takes_little_memory", &[]) {
        return;
    }
    let bundle = Bundle::release();
    for id in PLUGINS {
        let mut instances: Vec<Plugin> = Vec::new();
        let mut kib = Vec::new();
        for _ in 0..8 {
            let mut plugin = offline(&bundle, id);
            let _ = plugin.render(&Signal::disc(2, 24_000, RATE_HZ), &[1024], &[]);
            instances.push(plugin);
            kib.extend(resident_kib());
        }
        if let (Some(first), Some(last)) = (kib.first(), kib.last()) {
            let each = last.saturating_sub(*first) / 7;
            assert!(each <= 40 * 1024, "{id}: {each} KiB for each further instance");
        }
    }
}

#[test]
fn eight_instances_at_once_sound_like_one() {
    let bundle = Bundle::release();
    let input = Signal::disc(2, 20_000, RATE_HZ);
    let expected = PLUGINS.map(|id| offline(&bundle, id).render(&input, &[480], &[]));
    std::thread::scope(|scope| {
        for index in 0..8 {
            let (bundle, input, expected) = (&bundle, &input, &expected);
            scope.spawn(move || {
                let output = offline(bundle, PLUGINS[index % 2]).render(input, &[[480, 64, 1024, 17][index / 2]], &[]);
                assert_identical(&output, &expected[index % 2], &format!("instance {index}"));
            });
        }
    });
}

#[test]
fn instances_play_in_turn_without_hearing_each_other() {
    let bundle = Bundle::release();
    let inputs: Vec<Signal> = (0..8).map(|seed| Signal::noise(2, 9_600, 0.2, 40 + seed)).collect();
    let alone: Vec<Signal> = inputs
        .iter()
        .map(|input| offline(&bundle, STUDIO).render(input, &[480], &[]))
        .collect();
    let mut plugins: Vec<Plugin> = inputs.iter().map(|_| offline(&bundle, STUDIO)).collect();
    let mut together = vec![Signal::zeros(2, 0); 8];
    for begin in (0..9_600).step_by(480) {
        for ((plugin, input), output) in plugins.iter_mut().zip(&inputs).zip(&mut together) {
            let block = plugin.render(&input.slice(begin..begin + 480), &[480], &[]);
            for (to, from) in output.channels.iter_mut().zip(block.channels) {
                to.extend(from);
            }
        }
    }
    for (index, (found, expected)) in together.iter().zip(&alone).enumerate() {
        assert_identical(found, expected, &format!("instance {index}"));
    }
}

#[test]
fn another_start_sounds_like_the_first() {
    let bundle = Bundle::release();
    for id in PLUGINS {
        let input = Signal::disc(2, 20_000, RATE_HZ);
        let mut plugin = offline(&bundle, id);
        let expected = plugin.render(&input, &[480], &[]);
        for rate_hz in [48_000.0, 96_000.0, 8_000.0, 1_000.0, 48_000.0] {
            plugin.deactivate();
            plugin.activate(rate_hz, 4096);
            let output = plugin.render(&input, &[480], &[]);
            if rate_hz == RATE_HZ {
                assert_identical(&output, &expected, id);
            }
        }
    }
}

#[test]
fn layouts_change_between_starts() {
    let bundle = Bundle::release();
    for id in [STUDIO, LIVE] {
        let stereo = Signal::disc(2, 20_000, RATE_HZ);
        let expected = offline(&bundle, id).render(&stereo, &[480], &[]);
        let mono = Signal::disc(1, 20_000, RATE_HZ);
        let mut plugin = Plugin::with_channels(&bundle, id, 1);
        plugin.set_mode(Mode::Offline);
        plugin.activate(RATE_HZ, 1024);
        let first = plugin.render(&mono, &[480], &[]);
        plugin.deactivate();
        plugin.set_channels(2);
        plugin.activate(RATE_HZ, 1024);
        assert_identical(&plugin.render(&stereo, &[480], &[]), &expected, &format!("{id}, stereo after mono"));
        plugin.deactivate();
        plugin.set_channels(1);
        plugin.activate(RATE_HZ, 1024);
        assert_identical(&plugin.render(&mono, &[480], &[]), &first, &format!("{id}, mono after stereo"));
    }
}

#[test]
fn an_instance_that_never_plays_goes_quietly() {
    let bundle = Bundle::release();
    for id in PLUGINS {
        drop(Plugin::new(&bundle, id));
        let mut plugin = Plugin::new(&bundle, id);
        plugin.activate(RATE_HZ, 64);
        drop(plugin);
    }
}
