//! Any host: the plugin itself, linked, with the shipped weights; blocks of any size, storms of parameter changes, resets, restarts at other rates and
//! sessions loaded, in any order. What comes out is finite and not subnormal, and the latency stays.

#![no_main]

mod linked;

use dualstep_fuzz::{AnySound, RATES_HZ, assert_sane, fill, share};
use dualstep_tests::{Change, Mode, PLUGINS, Plugin, Signal};
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use std::cell::RefCell;

/// Parameters, and one that there is none of.
const IDS: [&str; 17] = [
    "declick", "stage1", "stage2", "limit", "mix", "output", "removed", "link", "bypass", "low_cut", "hum", "tilt", "comp", "declip",
    "speech", "dropouts", "none",
];

/// Samples per channel in a step at most.
const MOST_FRAMES: usize = 2048;

#[derive(Arbitrary, Debug)]
struct Case {
    live: bool,
    rate: u8,
    real_time: bool,
    steps: Vec<Step>,
}

#[derive(Arbitrary, Debug)]
enum Step {
    Play {
        frames: u16,
        blocks: [u8; 4],
        changes: Vec<AnyChange>,
        sounds: [AnySound; 2],
    },
    Set(AnyChange),
    Reset,
    Restart {
        rate: u8,
        real_time: bool,
    },
    Reload,
}

#[derive(Arbitrary, Debug)]
struct AnyChange {
    at: u16,
    id: u8,
    value: AnyValue,
}

#[derive(Arbitrary, Debug)]
enum AnyValue {
    /// On the host's scale.
    Share(u8),
    /// Whatever a broken host may send.
    Number(f64),
}

impl AnyChange {
    fn id(&self) -> &'static str {
        IDS[usize::from(self.id) % IDS.len()]
    }

    fn value(&self) -> f64 {
        match self.value {
            AnyValue::Share(byte) => f64::from(share(byte)),
            AnyValue::Number(number) => number,
        }
    }
}

thread_local! {
    /// An instance of each plugin, and the session that each case starts from.
    static INSTANCES: RefCell<[(Plugin, Vec<u8>); 2]> = {
        let bundle = linked::bundle();
        RefCell::new(PLUGINS.map(|id| {
            let mut plugin = Plugin::new(&bundle, id);
            let initial = plugin.save();
            (plugin, initial)
        }))
    };
}

fn restart(plugin: &mut Plugin, rate: u8, real_time: bool) {
    plugin.deactivate();
    plugin.set_mode(if real_time { Mode::RealTime } else { Mode::Offline });
    plugin.activate(RATES_HZ[usize::from(rate) % RATES_HZ.len()], MOST_FRAMES);
}

fuzz_target!(|case: Case| {
    INSTANCES.with_borrow_mut(|instances| {
        let (plugin, initial) = &mut instances[usize::from(case.live)];
        plugin.load(initial).expect("its own state");
        restart(plugin, case.rate, case.real_time);
        plugin.reset();
        for step in &case.steps {
            let latency = plugin.latency();
            match step {
                Step::Play {
                    frames,
                    blocks,
                    changes,
                    sounds,
                } => {
                    let frames = 1 + usize::from(*frames) % MOST_FRAMES;
                    let mut input = Signal::zeros(2, frames);
                    input
                        .channels
                        .iter_mut()
                        .zip(sounds)
                        .for_each(|(channel, sound)| fill(channel, sound));
                    let blocks = blocks.map(|size| 1 + usize::from(size) * usize::from(size) % frames);
                    let mut changes: Vec<Change> = changes
                        .iter()
                        .map(|change| Change {
                            at: usize::from(change.at) % frames,
                            id: change.id(),
                            value: change.value(),
                        })
                        .collect();
                    changes.sort_by_key(|change| change.at);
                    let output = plugin.render(&input, &blocks, &changes);
                    output.channels.iter().for_each(|channel| assert_sane(channel));
                    assert_eq!(plugin.latency(), latency, "the latency moved");
                }
                Step::Set(change) => plugin.set_value(change.id(), change.value()),
                Step::Reset => plugin.reset(),
                Step::Restart { rate, real_time } => restart(plugin, *rate, *real_time),
                Step::Reload => {
                    let saved = plugin.save();
                    plugin.load(&saved).expect("its own state");
                }
            }
        }
    });
});
