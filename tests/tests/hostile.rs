//! A hostile host: storms of events, blocks of any size, resets, restarts and broken sessions in mid-stream, in any order.
//!
//! The cases are drawn from fixed seeds. `DUALSTEP_CASES=100 cargo test --package dualstep-tests --test hostile` draws a hundred times as many, other
//! ones.

use dualstep_tests::process::in_child;
use dualstep_tests::session::{assert_in_range, ranges};
#[cfg(not(target_os = "macos"))]
use dualstep_tests::{Absent, Vst3Plugin};
use dualstep_tests::{Bundle, Change, IDS, LIVE, Mode, PLUGINS, Plugin, STUDIO, Signal, assert_identical};

/// Most frames in a block.
const MAX_BLOCK: usize = 4096;

/// Frames in which bypass has surely faded in: 20 ms at the highest rate here.
const RAMP: usize = 1_920;

/// How many random cases a test draws: `usual`, times `DUALSTEP_CASES` for long runs.
fn cases(usual: u32) -> u32 {
    let factor = std::env::var("DUALSTEP_CASES").ok();
    usual * factor.map_or(1, |factor| factor.parse::<u32>().expect("DUALSTEP_CASES is a whole number"))
}

/// Reproducible random numbers (SplitMix64).
struct Random(u64);

impl Random {
    /// The same numbers for the same `seed` and the same `DUALSTEP_CASES`.
    fn new(seed: u64) -> Self {
        Self(seed << 32 | u64::from(cases(1)))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A whole number in `0..limit`.
    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() >> 32).expect("32 bits") % limit
    }

    /// A number in 0..1.
    fn share(&mut self) -> f64 {
        self.below(1 << 24) as f64 / f64::from(1 << 24)
    }

    fn bits(&mut self) -> u32 {
        u32::try_from(self.next() >> 32).expect("32 bits")
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

/// Block sizes, as many small ones as large ones.
fn any_blocks(random: &mut Random) -> Vec<usize> {
    (0..1 + random.below(12))
        .map(|_| {
            let largest = 1 << random.below(13);
            1 + random.below(largest)
        })
        .collect()
}

/// A value that a host may send: mostly on its scale.
fn any_value(random: &mut Random) -> f64 {
    match random.below(4) {
        0 => 0.0,
        1 => 1.0,
        _ => random.share(),
    }
}

/// Changes of all parameters, many to a block, some on the same frame, in order.
fn storm(frames: usize, random: &mut Random) -> Vec<Change> {
    let count = [1, 20, 400][random.below(3)];
    let mut changes: Vec<Change> = (0..count)
        .map(|_| Change {
            at: random.below(frames) / 7 * 7,
            id: random.pick(&IDS),
            value: any_value(random),
        })
        .collect();
    changes.sort_by_key(|change| change.at);
    changes
}

/// Music, with stretches of what no recording holds.
fn any_input(channels: usize, frames: usize, rate_hz: f64, random: &mut Random) -> Signal {
    let mut input = Signal::disc(channels, frames, rate_hz);
    for channel in &mut input.channels {
        for _ in 0..random.below(4) {
            let begin = random.below(frames);
            let end = frames.min(begin + random.below(3000));
            let kind = random.below(4);
            let broken = random.pick(&[f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN, 1e-40, -1e-45, 1e20]);
            for sample in &mut channel[begin..end] {
                *sample = match kind {
                    0 => 0.0,
                    1 => f32::from_bits(random.bits()),
                    _ => broken,
                };
            }
        }
    }
    input
}

#[track_caller]
fn assert_sane(output: &Signal, what: &str) {
    let bad = output.samples().position(|x| !x.is_finite() || x.is_subnormal());
    assert_eq!(bad, None, "{what}: a sample is infinite, not a number or subnormal");
}

/// An instance in any layout and mode, with what the host knows of it.
struct Rig {
    plugin: Plugin,
    channels: usize,
    rate_hz: f64,
}

impl Rig {
    fn start(bundle: &Bundle, id: &str, random: &mut Random) -> Self {
        let channels = 1 + random.below(2);
        let mut rig = Self {
            plugin: Plugin::with_channels(bundle, id, channels),
            channels,
            rate_hz: 0.0,
        };
        rig.restart(random);
        rig
    }

    /// Another rate, mode and largest block.
    fn restart(&mut self, random: &mut Random) {
        self.plugin.deactivate();
        self.plugin.set_mode(random.pick(&[Mode::RealTime, Mode::Offline]));
        self.rate_hz = random.pick(&[8_000.0, 11_025.0, 22_050.0, 44_100.0, 48_000.0, 96_000.0]);
        self.plugin.activate(self.rate_hz, MAX_BLOCK);
    }

    /// Plays clean music bypassed: after the latency and the ramp it must come out as it went in, wherever the stream stands.
    fn check_position(&mut self, random: &mut Random, what: &str) {
        let latency = self.plugin.latency();
        let frames = 2 * latency + 2 * RAMP;
        let bypass = [Change {
            at: 0,
            id: "bypass",
            value: 1.0,
        }];
        let input = Signal::disc(self.channels, frames, self.rate_hz);
        let output = self.plugin.render(&input, &any_blocks(random), &bypass);
        let settled = latency + RAMP..frames;
        assert_identical(&output.slice(settled.clone()), &input.delayed(latency).slice(settled), what);
        assert_sane(&output, what);
        self.plugin.set_value("bypass", 0.0);
    }
}

#[test]
fn storms_keep_the_sound_sane_and_the_position() {
    let bundle = Bundle::release();
    let mut random = Random::new(1);
    for case in 0..cases(24) {
        let id = PLUGINS[case as usize % 2];
        let mut rig = Rig::start(&bundle, id, &mut random);
        for step in 0..8 {
            let what = format!("{id}, case {case}, step {step}, {} channels at {} Hz", rig.channels, rig.rate_hz);
            match random.below(6) {
                0 => rig.plugin.reset(),
                1 => rig.restart(&mut random),
                2 => {
                    let saved = rig.plugin.save();
                    rig.plugin.load(&saved).unwrap_or_else(|error| panic!("{what}: {error}"));
                }
                3 => rig.plugin.set_value(random.pick(&IDS), any_value(&mut random)),
                _ => {}
            }
            let latency = rig.plugin.latency();
            let frames = 1 + random.below(9_000);
            let input = any_input(rig.channels, frames, rig.rate_hz, &mut random);
            let changes = storm(frames, &mut random);
            let output = rig.plugin.render(&input, &any_blocks(&mut random), &changes);
            assert_sane(&output, &what);
            assert_eq!(rig.plugin.latency(), latency, "{what}: the latency moved");
            assert_eq!(rig.plugin.restarts_asked(), 0, "{what}: asks for a restart");
            if random.below(3) == 0 {
                rig.check_position(&mut random, &what);
            }
        }
        rig.check_position(&mut random, &format!("{id}, case {case}, at the end"));
    }
}

#[test]
fn a_storm_sounds_the_same_in_all_blocks() {
    let bundle = Bundle::release();
    let mut random = Random::new(2);
    for case in 0..cases(8) {
        let id = PLUGINS[case as usize % 2];
        let frames = 24_000;
        let input = any_input(2, frames, 48_000.0, &mut random);
        let changes = storm(frames, &mut random);
        let play = |blocks: &[usize]| {
            let mut plugin = Plugin::new(&bundle, id);
            plugin.set_mode(Mode::Offline);
            plugin.activate(48_000.0, MAX_BLOCK);
            plugin.render(&input, blocks, &changes)
        };
        let expected = play(&[512]);
        for _ in 0..3 {
            let blocks = any_blocks(&mut random);
            assert_identical(&play(&blocks), &expected, &format!("{id}, case {case}, blocks {blocks:?}"));
        }
    }
}

/// A saved state with a few bytes changed, cut out, doubled, or with a value exchanged in its JSON.
fn damage(saved: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = saved.to_vec();
    for _ in 0..=random.below(3) {
        if bytes.is_empty() {
            break;
        }
        let at = random.below(bytes.len());
        match random.below(5) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes.truncate(at),
            2 => {
                let end = bytes.len().min(at + random.below(40));
                bytes.drain(at..end);
            }
            3 => {
                let piece: Vec<u8> = bytes[at..].iter().copied().take(random.below(40)).collect();
                bytes.splice(at..at, piece);
            }
            _ => {
                // A digit, so that the JSON stays whole and only its numbers go mad.
                let digits: Vec<usize> = (8..bytes.len()).filter(|at| bytes[*at].is_ascii_digit()).collect();
                if !digits.is_empty() {
                    let at = random.pick(&digits);
                    let number = random.pick(&["1e38", "-1e30", "999999999999999999999", "1e-45", "0", "null", "true", "\"x\""]);
                    bytes.splice(at..=at, number.bytes());
                }
            }
        }
    }
    // Mostly with the right length in front, or nothing behind it would be read.
    if bytes.len() >= 8 && random.below(4) != 0 {
        let length = (bytes.len() - 8) as u64;
        bytes[..8].copy_from_slice(&length.to_le_bytes());
    }
    bytes
}

#[test]
fn broken_sessions_do_no_harm() {
    let bundle = Bundle::release();
    let mut random = Random::new(3);
    let mut plugin = Plugin::new(&bundle, STUDIO);
    let good = plugin.save();
    let mut other = Plugin::new(&bundle, LIVE);
    let ranges = ranges(&mut other);
    for id in IDS {
        other.set_value(id, 1.0);
    }
    let moved = other.save();
    let (mut refused, mut taken) = (0, 0);
    for case in 0..cases(3_000) {
        let bytes = match case % 8 {
            0 => (0..random.below(300)).map(|_| random.bits().to_le_bytes()[3]).collect(),
            _ => damage(&moved, &mut random),
        };
        plugin.load(&good).expect("a good state");
        if plugin.load(&bytes).is_err() {
            refused += 1;
            assert_eq!(plugin.save(), good, "case {case}: a refused session changed something: {bytes:?}");
        } else {
            taken += 1;
            let again = plugin.save();
            assert_in_range(&again, &ranges, &format!("case {case}, {bytes:?}"));
            plugin
                .load(&again)
                .unwrap_or_else(|error| panic!("case {case}: its own state: {error}"));
        }
    }
    assert!(
        refused > 300 && taken > 100,
        "{refused} refused, {taken} taken: the cases are one-sided"
    );
    plugin.load(&good).expect("a good state");
    assert_eq!(plugin.save(), good);
}

#[test]
fn a_change_beyond_its_block_counts_at_the_blocks_last_frame() {
    let bundle = Bundle::release();
    let (block, frames) = (480, 24_000);
    let input = Signal::disc(2, frames, 48_000.0);
    for id in PLUGINS {
        let play = |at: usize, late: u32| {
            let changes: Vec<Change> = (0..frames / block)
                .map(|index| Change {
                    at: index * block + at,
                    id: "output",
                    value: [0.2, 0.6][index % 2],
                })
                .collect();
            let mut plugin = Plugin::new(&bundle, id);
            plugin.set_mode(Mode::Offline);
            plugin.activate(48_000.0, block);
            plugin.delay_events(late);
            plugin.render(&input, &[block], &changes)
        };
        let expected = play(479, 0);
        for late in [380, 381, 100_000] {
            assert_identical(&play(100, late), &expected, &format!("{id}, {late} frames late"));
        }
    }
}

#[test]
fn there_is_no_parameter_after_the_last() {
    if !in_child("there_is_no_parameter_after_the_last", &[]) {
        return;
    }
    for id in PLUGINS {
        let mut plugin = Plugin::new(&Bundle::release(), id);
        let count = u32::try_from(IDS.len()).expect("a count");
        assert!(plugin.parameter(count - 1).is_some(), "{id}");
        assert_eq!(plugin.parameter(count), None, "{id}");
    }
    #[cfg(not(target_os = "macos"))]
    assert_eq!(Vst3Plugin::new("Dualstep").described_parameters(), IDS.len());
}

#[test]
fn an_editor_opens_in_a_host_that_offers_nothing_for_it() {
    if !in_child("an_editor_opens_in_a_host_that_offers_nothing_for_it", &[]) {
        return;
    }
    // Without a screen it can't, and says so.
    let _ = Plugin::new(&Bundle::release(), STUDIO).open_editor();
}

#[cfg(not(target_os = "macos"))]
#[test]
fn a_deactivated_bus_is_silence() {
    if !in_child("a_deactivated_bus_is_silence", &[]) {
        return;
    }
    let frames = 480;
    let input = Signal::disc(2, 50 * frames, 48_000.0);
    for name in ["Dualstep", "Dualstep Live"] {
        let start = || {
            let plugin = Vst3Plugin::new(name);
            plugin.activate(Mode::Offline, 48_000.0, frames);
            plugin.set_processing(true);
            let _ = plugin.render(&input, Mode::Offline, frames, &[]);
            plugin
        };
        let expected = start().render(&Signal::zeros(2, 20 * frames), Mode::Offline, frames, &[]);
        for absent in [Absent::NullPointers, Absent::NoChannels, Absent::NoBus] {
            let plugin = start();
            for begin in (0..20).map(|block| block * frames) {
                let mut output = Signal::noise(2, frames, 0.5, 3);
                plugin.render_without_input(&mut output, absent);
                let what = format!("{name}, input {absent:?}, from frame {begin}");
                assert_identical(&output, &expected.slice(begin..begin + frames), &what);
            }
            plugin.render_without_output(&input.slice(0..frames), absent);
            assert_sane(&plugin.render(&input, Mode::Offline, frames, &[]), name);
        }
    }
}
