//! The link between the audio thread and its worker under hostile timing: seeded pauses on both sides, blocks of any size, resets at any sample.
//!
//! The protocol alone, in every order of steps, is `tests/loom`'s (docs/reliability.md, "The loom model"); here runs all that ships. On x86 hardware these
//! tests can't show a missing acquire or release; Miri, which emulates weak memory and varies the schedule by seed, can:
//! `MIRIFLAGS="-Zmiri-disable-isolation -Zmiri-many-seeds=0..16" cargo +nightly miri test --package dualstep-engine --test link`.

mod common;

use common::{Random, cases};
use dualstep_engine::link::{AudioPort, LinkConfig, Pace, Processor, Settings, Status, Worker, connect};
use dualstep_engine::{Controls, HopReport};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// Samples per hop.
const HOP: usize = 320;
/// Delay of the processor. No whole number of hops, as the restorer's isn't.
const DELAY: usize = 480;
const LATENCY: usize = DELAY + 2 * HOP;
/// Samples after a hop's first in which a missing hop is faded out or in: 5 ms.
const FADE: usize = 240;

/// Halves the level, [`DELAY`] samples late, and takes as long as its seed says.
struct Halve {
    line: VecDeque<f32>,
    pauses: Random,
}

impl Halve {
    fn delay(&mut self, audio: &mut [f32]) -> HopReport {
        pause(&mut self.pauses);
        for sample in audio {
            self.line.push_back(*sample);
            *sample = 0.5 * self.line.pop_front().expect("the line holds DELAY samples");
        }
        HopReport {
            active: true,
            ..HopReport::default()
        }
    }
}

impl Processor for Halve {
    fn process(&mut self, audio: &mut [f32], _controls: &Controls) -> HopReport {
        self.delay(audio)
    }

    fn skip(&mut self, audio: &mut [f32], _controls: &Controls) -> HopReport {
        self.delay(audio)
    }

    fn reset(&mut self) {
        self.line.iter_mut().for_each(|sample| *sample = 0.0);
    }
}

/// Mostly nothing; now and then gives way, naps, or stalls for longer than a hop lasts.
fn pause(random: &mut Random) {
    match random.below(if cfg!(miri) { 8 } else { 64 }) {
        0 => std::thread::sleep(Duration::from_millis(10)),
        1..=3 => std::thread::sleep(Duration::from_micros(1 + random.below(300) as u64)),
        4..=20 => std::thread::yield_now(),
        _ => {}
    }
}

fn start(random: &mut Random) -> (AudioPort, Worker, Arc<Status>) {
    let status = Arc::new(Status::default());
    let config = LinkConfig {
        sample_rate_hz: 48_000.0,
        channels: 1,
        hop: HOP,
        restorer_delay: DELAY,
        max_block: 4096,
    };
    let processor = Halve {
        line: VecDeque::from(vec![0.0; DELAY]),
        pauses: Random::new(random.below(1 << 20) as u64),
    };
    let (port, worker) = connect(config, processor, &status).expect("a thread can be started");
    assert_eq!(port.latency(), LATENCY);
    (port, worker, status)
}

/// Noise. No sample is 0, and none is half of its neighbour: wet, dry and silence can be told apart.
fn noise(length: usize, random: &mut Random) -> Vec<f32> {
    (0..length).map(|_| 0.5 + 0.25 * random.signed()).collect()
}

/// Plays a stream in blocks of any size. Gives what came out.
fn play(port: &mut AudioPort, input: &[f32], pace: Pace, random: &mut Random) -> Vec<f32> {
    let mut output = input.to_vec();
    let mut rest = output.as_mut_slice();
    while !rest.is_empty() {
        let largest = 1 << random.below(13);
        let count = (1 + random.below(largest)).min(rest.len());
        let (block, after) = rest.split_at_mut(count);
        port.process(&mut [block], &Settings::default(), pace);
        rest = after;
        pause(random);
    }
    output
}

/// Hops of streams: many outside Miri, which is thousands of times slower.
fn any_length(random: &mut Random) -> usize {
    1 + random.below(if cfg!(miri) { 6 } else { 60 } * HOP)
}

#[test]
fn offline_every_sample_is_restored_and_in_place() {
    let mut random = Random::new(11);
    for case in 0..if cfg!(miri) { 1 } else { cases(6) } {
        let (mut port, worker, status) = start(&mut random);
        for stream in 0..4 {
            let length = any_length(&mut random);
            let input = noise(length, &mut random);
            let output = play(&mut port, &input, Pace::Offline, &mut random);
            for (n, found) in output.iter().enumerate() {
                let expected = n.checked_sub(LATENCY).map_or(0.0, |from| 0.5 * input[from]);
                assert_eq!(*found, expected, "case {case}, stream {stream}, sample {n} of {length}");
            }
            port.reset();
        }
        assert_eq!(status.misses(), 0, "case {case}");
        assert!(!worker.has_failed());
    }
}

/// Half a second of silence sends the stream to rest, where nobody waits for the worker, and which is over with the first sample.
#[test]
#[cfg_attr(miri, ignore = "half a second takes too long there")]
fn offline_a_rest_is_not_heard() {
    let mut random = Random::new(13);
    for case in 0..cases(6) {
        let (mut port, worker, status) = start(&mut random);
        let mut input = Vec::new();
        for _ in 0..4 {
            let length = 1 + random.below(5 * HOP);
            input.extend(noise(length, &mut random));
            input.resize(input.len() + (70 + random.below(40)) * HOP + random.below(HOP), 0.0);
        }
        input.extend(noise(5 * HOP, &mut random));
        let output = play(&mut port, &input, Pace::Offline, &mut random);
        for (n, found) in output.iter().enumerate() {
            let expected = n.checked_sub(LATENCY).map_or(0.0, |from| 0.5 * input[from]);
            assert_eq!(*found, expected, "case {case}, sample {n}");
        }
        assert_eq!(status.misses(), 0, "case {case}");
        assert!(!worker.has_failed());
    }
}

#[test]
fn in_real_time_every_hop_is_restored_or_dry_and_in_place() {
    let mut random = Random::new(12);
    let mut wet_hops = 0;
    for case in 0..if cfg!(miri) { 1 } else { cases(24) } {
        let (mut port, worker, _) = start(&mut random);
        for stream in 0..4 {
            let length = any_length(&mut random);
            let input = noise(length, &mut random);
            let output = play(&mut port, &input, Pace::RealTime, &mut random);
            assert!(
                output[..LATENCY.min(length)].iter().all(|x| *x == 0.0),
                "case {case}, stream {stream}: something came early"
            );
            // The end of each hop, past the cross-fade at its beginning, is wholly one or the other; the stream's first hops still hold silence.
            for begin in (LATENCY.next_multiple_of(HOP)..length).step_by(HOP) {
                let end = begin + HOP;
                if end > length {
                    break;
                }
                let settled = begin + FADE..end;
                let is = |gain: f32| settled.clone().all(|n| output[n] == gain * input[n - LATENCY]);
                let (wet, dry) = (is(0.5), is(1.0));
                assert!(
                    wet || dry,
                    "case {case}, stream {stream}, hop at {begin}: neither restored nor dry, or not in its place"
                );
                wet_hops += usize::from(wet);
            }
            port.reset();
        }
        assert!(!worker.has_failed());
    }
    // How many are dry is the machine's affair; that misses do happen is forced in `tests/faults.rs` of the hosts' tests.
    assert!(cfg!(miri) || wet_hops > 100, "only {wet_hops} restored hops");
}
