//! The link alone, with a stand-in for the restorer that halves the level.

use super::*;
use crate::Controls;
use crate::output::{Hum, OutputSection, OutputSettings};
use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

const RATE_HZ: f64 = 48_000.0;
const HOP: usize = 320;
const DELAY: usize = 480;
const LATENCY: usize = DELAY + 2 * HOP;
const FADE: usize = 240;

/// What a test can do to the processor from outside.
#[derive(Debug, Default)]
struct Hooks {
    /// The worker blocks in `process` as long as this is set.
    hold: AtomicBool,
    delay_us: AtomicU64,
    skip_delay_us: AtomicU64,
    /// Hop that panics, counted from 1; 0 for none.
    panic_at: AtomicU64,
    processed: AtomicU64,
    skipped: AtomicU64,
    resets: AtomicU64,
    dropped: AtomicBool,
    controls: Mutex<Vec<Controls>>,
}

/// Delays by [`DELAY`] samples and halves.
struct Halve {
    lines: Vec<VecDeque<f32>>,
    hooks: Arc<Hooks>,
}

impl Halve {
    fn new(channels: usize, hooks: &Arc<Hooks>) -> Self {
        Self {
            lines: vec![VecDeque::from(vec![0.0; DELAY]); channels],
            hooks: Arc::clone(hooks),
        }
    }

    fn delay(&mut self, audio: &mut [f32], gain: f32) -> HopReport {
        for (line, channel) in self.lines.iter_mut().zip(audio.chunks_mut(HOP)) {
            for sample in channel {
                line.push_back(*sample);
                *sample = gain * line.pop_front().expect("the line holds DELAY samples");
            }
        }
        HopReport {
            clicks: 1,
            active: true,
            ..HopReport::default()
        }
    }
}

impl Processor for Halve {
    fn process(&mut self, audio: &mut [f32], controls: &Controls) -> HopReport {
        while self.hooks.hold.load(SeqCst) {
            std::thread::sleep(Duration::from_micros(100));
        }
        std::thread::sleep(Duration::from_micros(self.hooks.delay_us.load(SeqCst)));
        let count = self.hooks.processed.fetch_add(1, SeqCst) + 1;
        assert_ne!(count, self.hooks.panic_at.load(SeqCst), "asked to");
        self.hooks.controls.lock().expect("no test panics here").push(*controls);
        // As the restorer, though at once.
        let active = !controls.idle && audio.iter().any(|sample| *sample != 0.0);
        HopReport {
            active,
            ..self.delay(audio, 0.5)
        }
    }

    fn skip(&mut self, audio: &mut [f32], _controls: &Controls) -> HopReport {
        std::thread::sleep(Duration::from_micros(self.hooks.skip_delay_us.load(SeqCst)));
        self.hooks.skipped.fetch_add(1, SeqCst);
        HopReport {
            active: false,
            ..self.delay(audio, 1.0)
        }
    }

    fn reset(&mut self) {
        self.hooks.resets.fetch_add(1, SeqCst);
        self.lines.iter_mut().for_each(|line| line.make_contiguous().fill(0.0));
    }
}

impl Drop for Halve {
    fn drop(&mut self) {
        self.hooks.dropped.store(true, SeqCst);
    }
}

struct Rig {
    port: AudioPort,
    worker: Worker,
    status: Arc<Status>,
    hooks: Arc<Hooks>,
}

fn rig(channels: usize, max_block: usize) -> Rig {
    let status = Arc::new(Status::default());
    let hooks = Arc::new(Hooks::default());
    let config = LinkConfig {
        sample_rate_hz: RATE_HZ,
        channels,
        hop: HOP,
        restorer_delay: DELAY,
        max_block,
    };
    let (port, worker) = connect(config, Halve::new(channels, &hooks), &status).expect("a thread can be started");
    assert_eq!(port.latency(), LATENCY);
    Rig {
        port,
        worker,
        status,
        hooks,
    }
}

impl Rig {
    /// Runs mono audio through, with settings by position of the block's first sample.
    fn run(&mut self, input: &[f32], block: usize, pace: Pace, settings: impl Fn(usize) -> Settings) -> Vec<f32> {
        let mut output = input.to_vec();
        let mut at = 0;
        for block in output.chunks_mut(block) {
            let length = block.len();
            self.port.process(&mut [block], &settings(at), pace);
            at += length;
        }
        output
    }

    fn wait_until(&self, what: &str, done: impl Fn(&Hooks) -> bool) {
        let start = Instant::now();
        while !done(&self.hooks) {
            assert!(start.elapsed() < Duration::from_secs(10), "waited in vain until {what}");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Noise of level 1 without zeros, from a fixed seed.
fn noise(length: usize) -> Vec<f32> {
    let mut state = 0x2545_F491_4F6C_DD1Du64;
    (0..length)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / 8_388_608.0 - 1.0 + 1e-4
        })
        .collect()
}

fn delayed(input: &[f32], gain: f32) -> Vec<f32> {
    let mut output = vec![0.0; input.len()];
    for (out, sample) in output[LATENCY..].iter_mut().zip(input) {
        *out = gain * sample;
    }
    output
}

fn full(_: usize) -> Settings {
    Settings::default()
}

/// Runs until the worker was never late: on a busy machine the scheduler may hold it up for longer than real time allows.
fn run_undisturbed(input: &[f32], block: usize, pace: Pace, delay_us: u64) -> Vec<f32> {
    for _ in 0..50 {
        let mut rig = rig(1, block);
        rig.hooks.delay_us.store(delay_us, SeqCst);
        let output = rig.run(input, block, pace, full);
        if rig.status.misses() == 0 {
            return output;
        }
        assert_eq!(pace, Pace::RealTime, "offline nothing is ever late");
    }
    panic!("block {block}: hops were late in each of 50 runs");
}

#[test]
fn restored_audio_plays_at_the_latency_for_every_block_size_and_pace() {
    let input = noise(40_000);
    let expected = delayed(&input, 0.5);
    for pace in [Pace::Offline, Pace::RealTime] {
        for block in [1, 2, 17, 64, 256, HOP - 1, HOP, HOP + 1, 480, 1024, 4096, 16_384] {
            assert!(run_undisturbed(&input, block, pace, 0) == expected, "block {block} {pace:?}");
        }
    }
}

#[test]
fn both_channels_are_kept_apart() {
    let mut rig = rig(2, 512);
    let (mut left, mut right) = (noise(8192), noise(8192));
    right.reverse();
    let expected = [delayed(&left, 0.5), delayed(&right, 0.5)];
    for (left, right) in left.chunks_mut(512).zip(right.chunks_mut(512)) {
        rig.port.process(&mut [left, right], &Settings::default(), Pace::Offline);
    }
    assert!([left, right] == expected);
}

#[test]
fn late_hops_are_heard_dry_and_the_next_ones_in_place() {
    let input = noise(HOP * 60);
    let mut rig = rig(1, 64);
    let mut output = input.clone();
    let held = HOP * 20..HOP * 27;
    for (i, block) in output.chunks_mut(64).enumerate() {
        let hold = held.contains(&(i * 64));
        rig.hooks.hold.store(hold, SeqCst);
        let pace = if hold { Pace::RealTime } else { Pace::Offline };
        rig.port.process(&mut [block], &Settings::default(), pace);
    }
    let (dry, wet) = (delayed(&input, 1.0), delayed(&input, 0.5));
    // Behind the cross-fade, each hop is wholly dry or wholly restored, and of the right samples.
    let missed: Vec<usize> = (2..60)
        .filter(|hop| {
            let range = hop * HOP + FADE..(hop + 1) * HOP;
            let is_dry = output[range.clone()] == dry[range.clone()] && dry[range.clone()] != wet[range.clone()];
            assert!(is_dry || output[range.clone()] == wet[range], "hop {hop}");
            is_dry
        })
        .collect();
    assert_eq!(missed.len() as u64, rig.status.misses());
    assert!((5..=8).contains(&missed.len()), "{missed:?}");
    assert!(missed.windows(2).all(|pair| pair[1] == pair[0] + 1), "{missed:?}");
    assert!(rig.hooks.skipped.load(SeqCst) > 0, "late hops are skipped");
    // The cross-fade adds no more than the difference that was there before, played backwards.
    let start = missed[0] * HOP;
    for offset in 0..FADE {
        let before = start - 1 - offset;
        let most = (wet[before] - dry[before]).abs() * 1.001 + 1e-6;
        assert!(
            (output[start + offset] - dry[start + offset]).abs() <= most,
            "sample {offset} of the cross-fade"
        );
    }
    // And back: between dry and restored.
    let end = (missed[missed.len() - 1] + 1) * HOP;
    for at in end..end + FADE {
        let (low, high) = if dry[at] < wet[at] {
            (dry[at], wet[at])
        } else {
            (wet[at], dry[at])
        };
        assert!((low..=high).contains(&output[at]), "sample {at}");
    }
}

#[test]
fn a_worker_that_is_late_does_not_rest() {
    let mut rig = rig(1, HOP);
    rig.hooks.delay_us.store(200_000, SeqCst);
    for block in noise(HOP * 8).chunks_mut(HOP) {
        rig.port.process(&mut [block], &Settings::default(), Pace::RealTime);
    }
    // The worker has the first hop in hand, by then the next five are too late; it skips them and is slow again over the seventh.
    while rig.hooks.skipped.load(SeqCst) < 5 {
        std::thread::sleep(Duration::from_millis(1));
    }
    std::thread::sleep(Duration::from_millis(20));
    assert_eq!(rig.status.state(), WorkerState::Running);
}

#[test]
fn a_steady_tone_does_not_jump_around_a_miss() {
    let tone: Vec<f32> = (0..HOP * 40).map(|i| (i as f32 * 0.01).sin()).collect();
    let mut rig = rig(1, 64);
    let mut output = tone.clone();
    for (i, block) in output.chunks_mut(64).enumerate() {
        let hold = (HOP * 15..HOP * 20).contains(&(i * 64));
        rig.hooks.hold.store(hold, SeqCst);
        let pace = if hold { Pace::RealTime } else { Pace::Offline };
        rig.port.process(&mut [block], &Settings::default(), pace);
    }
    assert!(rig.status.misses() > 0);
    let steepest = output[LATENCY + HOP..]
        .windows(2)
        .map(|pair| (pair[1] - pair[0]).abs())
        .fold(0.0, f32::max);
    assert!(
        steepest < 0.025,
        "the tone moves by at most 0.01 per sample, the output by {steepest}"
    );
}

#[test]
fn hops_lost_for_lack_of_empty_ones_leave_a_gap_that_keeps_the_position() {
    let mut rig = rig(1, 64);
    let hops = rig.port.config().hops();
    let input = noise(HOP * (hops + 60));
    let mut output = input.clone();
    let held = HOP * 10..HOP * (hops + 30);
    for (i, block) in output.chunks_mut(64).enumerate() {
        let hold = held.contains(&(i * 64));
        rig.hooks.hold.store(hold, SeqCst);
        let pace = if hold { Pace::RealTime } else { Pace::Offline };
        rig.port.process(&mut [block], &Settings::default(), pace);
    }
    assert!(rig.hooks.resets.load(SeqCst) >= 2, "the gap was noticed");
    let settled = held.end + HOP * 12;
    assert!(output[settled..] == delayed(&input, 0.5)[settled..]);
    let dry = delayed(&input, 1.0);
    let gap = held.start + HOP * 3..held.end;
    assert!(output[gap.clone()] == dry[gap]);
}

#[test]
fn reset_starts_a_new_stream_and_forgets_the_old_one() {
    let mut rig = rig(1, 512);
    let input = noise(20_000);
    let expected = delayed(&input, 0.5);
    for cut in [0, 1, HOP, 777, 5000] {
        let _ = rig.run(&noise(cut), 512, Pace::Offline, full);
        rig.port.reset();
        assert!(rig.run(&input, 512, Pace::Offline, full) == expected, "after {cut} samples");
    }
    for _ in 0..1000 {
        let _ = rig.run(&noise(HOP), HOP, Pace::RealTime, full);
        rig.port.reset();
    }
    assert!(rig.run(&input, 512, Pace::Offline, full) == expected);
}

#[test]
fn silence_on_both_sides_of_a_reset_is_not_taken_for_more_than_it_is() {
    let bypassed = |_: usize| Settings {
        bypass: true,
        ..Settings::default()
    };
    let silence = vec![0.0; 512];
    for (settings, gain) in [(full as fn(usize) -> Settings, 0.5), (bypassed, 1.0)] {
        // At several places in the delay of the dry signal.
        for sounding in [2560, 1000, 4000] {
            let mut rig = rig(1, 512);
            let _ = rig.run(&noise(sounding), 512, Pace::Offline, settings);
            let _ = rig.run(&silence, 512, Pace::Offline, settings);
            rig.port.reset();
            let quiet = vec![0.0; if gain == 1.0 { 2_600 } else { 60_000 }];
            let input = [quiet, noise(4_000)].concat();
            let heard = rig.run(&input, 512, Pace::Offline, settings);
            let expected = delayed(&input, gain);
            let differs = (0..heard.len()).find(|&n| heard[n] != expected[n]);
            assert_eq!(differs, None, "{sounding} samples before");
        }
    }
}

#[test]
fn real_time_waits_at_most_half_the_block() {
    let mut rig = rig(1, 48_000);
    rig.hooks.hold.store(true, SeqCst);
    let mut block = noise(48_000);
    let start = Instant::now();
    rig.port.process(&mut [&mut block], &Settings::default(), Pace::RealTime);
    let took = start.elapsed();
    rig.hooks.hold.store(false, SeqCst);
    assert!(took >= Duration::from_millis(499), "waited only {took:?}");
    assert!(took < Duration::from_millis(900), "waited {took:?} for a block of a second");
    assert!(rig.status.misses() > 0);
}

#[test]
fn a_slow_worker_is_waited_for_in_large_blocks() {
    let input = noise(60_000);
    for (pace, delay_us) in [(Pace::RealTime, 1500), (Pace::Offline, 9000)] {
        let output = run_undisturbed(&input, 16_384, pace, delay_us);
        assert!(output == delayed(&input, 0.5), "{pace:?}");
    }
}

#[test]
fn a_panic_leaves_the_dry_path_running_and_says_so() {
    let mut rig = rig(1, 512);
    rig.hooks.panic_at.store(30, SeqCst);
    let input = noise(40_000);
    let output = rig.run(&input, 512, Pace::Offline, full);
    assert!(rig.worker.has_failed());
    assert_eq!(rig.status.state(), WorkerState::Failed);
    assert!(rig.status.reason().contains("asked to"), "{}", rig.status.reason());
    let last = HOP * 31 + FADE;
    assert!(output[last..] == delayed(&input, 1.0)[last..]);
    assert_eq!(rig.port.latency(), LATENCY);
}

#[test]
fn at_rest_nobody_waits_for_the_worker() {
    let input = noise(40 * HOP);
    let rest = vec![0.0; 90 * HOP];
    // Bypassed for ten seconds first.
    let long = noise((1500 + 90) * HOP);
    let bypassed = |_: usize| Settings {
        bypass: true,
        ..Settings::default()
    };
    // Silent, and bypassed.
    for (quiet, settings) in [(rest, full as fn(usize) -> Settings), (long, bypassed)] {
        let mut rig = rig(1, 64);
        let mut whole = [input.as_slice(), &quiet].concat();
        rig.run(&input, 64, Pace::Offline, full);
        rig.run(&quiet, 64, Pace::Offline, settings);
        rig.wait_until("the worker has caught up", |hooks| {
            hooks.processed.load(SeqCst) + hooks.skipped.load(SeqCst) == 40 + (quiet.len() / HOP) as u64
        });
        rig.hooks.hold.store(true, SeqCst);
        let heard = rig.run(&quiet[..20 * HOP], 64, Pace::RealTime, settings);
        let begin = whole.len() - LATENCY;
        whole.extend(&quiet[..20 * HOP]);
        assert!(heard == whole[begin..][..heard.len()], "the delayed input, as it is");
        assert_eq!(rig.status.misses(), 0, "a hop was waited for");
        rig.hooks.hold.store(false, SeqCst);
        rig.wait_until("the worker has passed over what came too late", |hooks| {
            hooks.skipped.load(SeqCst) >= 17
        });
        std::thread::sleep(Duration::from_millis(20));
        assert_eq!(rig.status.state(), WorkerState::Resting, "as the panel says");

        // And when it is over, all is as if the worker had been waited for.
        let heard = rig.run(&input, 64, Pace::Offline, full);
        // The bypass takes 10 ms to end.
        let restored: Vec<f32> = input[480..].iter().map(|sample| 0.5 * sample).collect();
        let heard = &heard[LATENCY + 480..];
        assert!(heard == &restored[..heard.len()]);
        assert_eq!(rig.status.misses(), 0);
        assert_eq!(rig.hooks.resets.load(SeqCst), 1, "of the stream's start alone");
        assert!(rig.hooks.skipped.load(SeqCst) > 0, "the hops were sent nevertheless");
    }
}

#[test]
fn only_a_long_bypass_lets_the_worker_rest() {
    let bypassed = |_: usize| Settings {
        bypass: true,
        ..Settings::default()
    };
    let mut rig = rig(1, 64);
    let idle = |rig: &Rig| rig.hooks.controls.lock().expect("no test panics here").iter().any(|c| c.idle);
    rig.run(&noise(40 * HOP), 64, Pace::Offline, full);
    rig.run(&noise(1400 * HOP), 64, Pace::Offline, bypassed);
    assert!(!idle(&rig), "after nine seconds");
    rig.run(&noise(200 * HOP), 64, Pace::Offline, bypassed);
    assert!(idle(&rig), "after ten");
    // What was bypassed from the first sample on has nothing to lose.
    rig.port.reset();
    rig.hooks.controls.lock().expect("no test panics here").clear();
    rig.run(&noise(20 * HOP), 64, Pace::Offline, bypassed);
    assert!(idle(&rig));
}

#[test]
fn silence_ahead_of_time_does_not_leave_the_worker_behind() {
    // Far more silence in one block than hops circulate, and a worker that takes its time with it: 60 ms for two seconds of audio.
    let length = 96_000;
    let mut rig = rig(1, length);
    let (before, silence, after) = (noise(20 * HOP), vec![0.0; length], noise(length));
    rig.run(&before, 64, Pace::Offline, full);
    rig.hooks.skip_delay_us.store(200, SeqCst);
    rig.run(&silence, length, Pace::RealTime, full);
    rig.run(&silence, length, Pace::RealTime, full);
    let heard = rig.run(&after, length, Pace::RealTime, full);
    assert_eq!(rig.hooks.resets.load(SeqCst), 1, "of the stream's start alone");
    assert_eq!(rig.status.misses(), 0);
    assert!(heard == delayed(&after, 0.5), "restored from its first sample on");
}

#[test]
fn steady_settings_take_a_shorter_way_to_the_same_bits() {
    let input = noise(40_000);
    let settings = |at: usize| Settings {
        gain: if (5_000..20_000).contains(&at) { 0.5 } else { 1.7 },
        removed: (12_000..16_000).contains(&at),
        bypass: (24_000..30_000).contains(&at),
        output: OutputSettings {
            low_cut_hz: (at > 34_000).then_some(200.0),
            ..OutputSettings::default()
        },
        ..Settings::default()
    };
    let heard = |block: usize, settings: &dyn Fn(usize) -> Settings| {
        let mut rig = rig(1, block);
        // Without a worker nothing is ever restored, and the mix is one of dry with dry.
        rig.hooks.panic_at.store(1, SeqCst);
        rig.run(&input, block, Pace::Offline, settings)
    };
    let filtered = 34_000 + LATENCY;
    // A mix that is always on its way keeps the samples on the long way.
    let long = heard(100, &|at| Settings {
        mix: if at.is_multiple_of(200) { 0.4 } else { 0.6 },
        ..settings(at)
    });
    for block in [100, 500, 1000] {
        let short = heard(block, &settings);
        let differs = (0..filtered).find(|&n| short[n].to_bits() != long[n].to_bits());
        assert_eq!(differs, None, "blocks of {block}");
        assert!(
            short[filtered + 1000..] != long[filtered + 1000..],
            "the low-cut is heard as the mix says"
        );
    }
}

#[test]
fn what_passes_takes_a_shorter_way_to_the_same_bits() {
    let (mut left, mut right) = (noise(30_000), noise(30_000));
    right.reverse();
    // Silence for longer than anything remembers, silence of one channel, -0, which isn't 0, and what may not pass.
    left[8_010..20_030].fill(0.0);
    right[8_510..20_020].fill(0.0);
    left[22_000..27_000].fill(0.0);
    right[23_000..26_000].fill(-0.0);
    let expected = [&left, &right].map(|channel| delayed(channel, 1.0).iter().map(|sample| sample.to_bits()).collect::<Vec<_>>());
    left[12_000] = f32::NAN;
    right[12_001] = f32::MIN_POSITIVE / 4.0;
    let settings = |at: usize| Settings {
        bypass: (4_000..6_000).contains(&at) || at >= 20_500,
        ..Settings::default()
    };
    let heard = |block: usize, watched: bool| {
        let mut rig = rig(2, block);
        // Without a worker nothing is ever restored.
        rig.hooks.panic_at.store(1, SeqCst);
        let mut output = [left.clone(), right.clone()];
        let [left, right] = &mut output;
        let mut peaks = Vec::new();
        for (n, (left, right)) in left.chunks_mut(block).zip(right.chunks_mut(block)).enumerate() {
            if watched {
                // Whoever looks is shown every sample, which is the long way.
                rig.status.look(|_| {});
            }
            rig.port.process(&mut [left, right], &settings(n * block), Pace::Offline);
            peaks.push((rig.status.input_peak(), rig.status.output_peak()));
        }
        (
            output.map(|channel| channel.iter().map(|sample| sample.to_bits()).collect::<Vec<_>>()),
            peaks,
        )
    };
    for block in [1, 100, 500, 1000] {
        let ((long, long_peaks), (short, short_peaks)) = (heard(block, true), heard(block, false));
        assert!(long == expected, "blocks of {block}, watched");
        assert!(short == expected, "blocks of {block}");
        assert!(short_peaks == long_peaks, "peaks with blocks of {block}");
    }
}

#[test]
fn silence_arrives_at_the_worker_sample_by_sample() {
    /// Echoes what it is given, and keeps it.
    struct Echo(Arc<Mutex<Vec<f32>>>);
    impl Processor for Echo {
        fn process(&mut self, audio: &mut [f32], _controls: &Controls) -> HopReport {
            self.0.lock().expect("no panic").extend_from_slice(audio);
            // What a processor leaves behind is none of the next hop's.
            audio.fill(0.75);
            HopReport::default()
        }

        fn skip(&mut self, audio: &mut [f32], controls: &Controls) -> HopReport {
            self.process(audio, controls)
        }

        fn reset(&mut self) {}
    }
    let mut input = noise(HOP * 40);
    // Whole hops of silence, hops that begin or end with it, and -0, which isn't 0.
    for silence in [HOP * 4..HOP * 14, HOP * 16 + 100..HOP * 18, HOP * 20..HOP * 21 + 200] {
        input[silence].fill(0.0);
    }
    input[HOP * 30..HOP * 32].fill(-0.0);
    for block in [1, 64, HOP, 1000] {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let config = *rig(1, block).port.config();
        let status = Arc::new(Status::default());
        let (mut port, worker) = connect(config, Echo(Arc::clone(&heard)), &status).expect("a thread can be started");
        for block in input.clone().chunks_mut(block) {
            port.process(&mut [block], &Settings::default(), Pace::Offline);
        }
        let start = Instant::now();
        while heard.lock().expect("no panic").len() < input.len() && start.elapsed() < Duration::from_secs(10) {
            std::thread::sleep(Duration::from_millis(1));
        }
        drop(worker);
        let heard = heard.lock().expect("no panic");
        let differs = (0..input.len()).find(|&n| heard.get(n).map(|sample| sample.to_bits()) != Some(input[n].to_bits()));
        assert_eq!(differs, None, "blocks of {block}");
    }
}

#[test]
fn bypass_and_mix_zero_are_the_delayed_input_bit_for_bit() {
    let input = noise(20_000);
    let bypass = |_| Settings {
        bypass: true,
        gain: 0.3,
        ..Settings::default()
    };
    let dry = |_| Settings {
        mix: 0.0,
        ..Settings::default()
    };
    let mut first = rig(1, 512);
    assert!(first.run(&input, 512, Pace::Offline, bypass) == delayed(&input, 1.0));
    assert!(first.hooks.controls.lock().expect("no panic").iter().all(|c| c.idle));
    let mut second = rig(1, 512);
    assert!(second.run(&input, 512, Pace::Offline, dry) == delayed(&input, 1.0));
    assert!(second.hooks.controls.lock().expect("no panic").iter().all(|c| !c.idle));
}

#[test]
fn output_and_removed_add_up_to_the_input() {
    let input = noise(20_000);
    let removed = |_| Settings {
        removed: true,
        gain: 0.25,
        ..Settings::default()
    };
    let output = rig(1, 512).run(&input, 512, Pace::Offline, full);
    let rest = rig(1, 512).run(&input, 512, Pace::Offline, removed);
    for ((out, rest), dry) in output.iter().zip(&rest).zip(delayed(&input, 1.0)) {
        assert_eq!(out + rest, dry);
    }
}

#[test]
fn settings_land_on_the_sample_they_were_written_for() {
    let input = vec![1.0; 20_000];
    let change = 5_003;
    let ramp = 480;
    for block in [change, 1] {
        let mix = |at| Settings {
            mix: if at < change { 1.0 } else { 0.0 },
            ..Settings::default()
        };
        // Blocks split where automation does, as the framework does it.
        let mut rig = rig(1, block);
        let output = rig.run(&input, block, Pace::Offline, mix);
        assert_eq!(output[LATENCY + change - 1], 0.5);
        assert!(output[LATENCY + change] > 0.5);
        assert!(output[LATENCY + change + ramp - 2] < 1.0);
        assert_eq!(output[LATENCY + change + ramp - 1], 1.0);
        let steepest = output[LATENCY + HOP..]
            .windows(2)
            .map(|pair| (pair[1] - pair[0]).abs())
            .fold(0.0, f32::max);
        assert!(steepest < 0.6 / ramp as f32, "zipper: {steepest}");
    }
}

#[test]
fn controls_are_those_at_the_middle_of_each_hop() {
    let middle = HOP / 2;
    let change = 10 * HOP + middle;
    for (change, first_changed) in [(change, 10), (change + 1, 11)] {
        let mut rig = rig(1, 1);
        let settings = |at| Settings {
            controls: Controls {
                stage1: if at < change { 1.0 } else { 0.25 },
                ..Controls::default()
            },
            ..Settings::default()
        };
        let _ = rig.run(&noise(HOP * 20), 1, Pace::Offline, settings);
        rig.wait_until("all hops came through", |hooks| hooks.processed.load(SeqCst) >= 19);
        let controls = rig.hooks.controls.lock().expect("no panic");
        for (index, controls) in controls.iter().enumerate() {
            let expected = if index < first_changed { 1.0 } else { 0.25 };
            assert_eq!(controls.stage1, expected, "hop {index}");
        }
    }
}

#[test]
fn nothing_improper_gets_out() {
    let improper = [
        f32::NAN,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::MIN_POSITIVE / 4.0,
        f32::MAX,
        f32::MIN,
        1.0,
    ];
    let input: Vec<f32> = improper.iter().copied().cycle().take(20_000).collect();
    for settings in [
        Settings::default(),
        Settings {
            gain: 16.0,
            mix: 0.5,
            ..Settings::default()
        },
        Settings {
            removed: true,
            ..Settings::default()
        },
        Settings {
            gain: f32::MIN_POSITIVE,
            ..Settings::default()
        },
        Settings {
            bypass: true,
            ..Settings::default()
        },
    ] {
        let output = rig(1, 512).run(&input, 512, Pace::Offline, |_| settings);
        assert!(output.iter().all(|s| s.is_finite() && !s.is_subnormal()), "{settings:?}");
        assert!(output.iter().any(|s| *s != 0.0), "{settings:?}");
    }
}

#[test]
fn pass_through_has_no_latency_and_says_why() {
    let status = Arc::new(Status::default());
    let mut port = AudioPort::pass_through(4000.0, 1, &status, "too slow");
    let input = noise(5000);
    let mut output = input.clone();
    for block in output.chunks_mut(333) {
        port.process(&mut [block], &Settings::default(), Pace::RealTime);
    }
    assert!(output == input);
    assert_eq!(port.latency(), 0);
    assert_eq!(status.state(), WorkerState::PassThrough);
    assert_eq!(status.reason(), "too slow");
}

#[test]
fn dropping_the_worker_ends_its_thread() {
    let mut rig = rig(1, 512);
    let _ = rig.run(&noise(5000), 512, Pace::Offline, full);
    let Rig { port, worker, hooks, .. } = rig;
    drop(worker);
    assert!(hooks.dropped.load(SeqCst), "the processor is gone with its thread");
    // The port outlives it: dry, and no endless wait.
    let mut block = noise(5000);
    let mut port = port;
    port.process(&mut [&mut block], &Settings::default(), Pace::Offline);
}

#[test]
fn the_output_section_is_fed_the_restored_signal_and_heard_in_the_mix_alone() {
    let output = OutputSettings {
        low_cut_hz: Some(200.0),
        hum: Hum::Mains50,
        tilt_db: -3.0,
        compression: 0.8,
    };
    let input = noise(30_000);
    let settings = |mix, removed| {
        move |_| Settings {
            output,
            mix,
            removed,
            ..Settings::default()
        }
    };
    let run = |settings: &dyn Fn(usize) -> Settings| rig(1, 512).run(&input, 512, Pace::Offline, settings);
    let mut section = OutputSection::new(RATE_HZ);
    let restored = delayed(&input, 0.5);
    let expected: Vec<f32> = restored.iter().map(|x| section.process([*x, 0.0], [0.0; 2], &output)[0]).collect();
    assert_eq!(run(&settings(1.0, false)), expected);
    assert_eq!(run(&settings(0.0, false)), delayed(&input, 1.0));
    // What is removed is the input minus the restored signal, before the output section.
    assert_eq!(run(&settings(1.0, true)), delayed(&input, 0.5));
}

#[test]
fn settings_of_the_output_section_travel_with_the_audio() {
    let (input, at) = (noise(12_000), 5_003);
    let tilted = OutputSettings {
        tilt_db: 6.0,
        ..OutputSettings::default()
    };
    let settings = |now: usize| Settings {
        output: if now < at { OutputSettings::default() } else { tilted },
        ..Settings::default()
    };
    let output = rig(1, 1).run(&input, 1, Pace::Offline, settings);
    let expected = delayed(&input, 0.5);
    let first = output.iter().zip(&expected).position(|(a, b)| a != b).expect("it is heard");
    assert!((at + LATENCY..at + LATENCY + 64).contains(&first), "{first}");
}
