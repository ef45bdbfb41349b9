//! Any numbers as sound through the whole engine, in blocks of any size, with all settings moving and resets at any sample: what comes out is finite and
//! not subnormal, and it stays in place to the sample.

#![no_main]

use dualstep_engine::link::{AudioPort, LinkConfig, Pace, Settings, Status, connect};
use dualstep_engine::output::{CUT_HZ, Hum, MOST_TILT_DB, OutputSettings};
use dualstep_engine::{Restorer, latency};
use dualstep_fuzz::{AnyControls, AnySound, DETECTORS, RATES_HZ, TINY, assert_sane, fill, share};
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use std::sync::Arc;

#[derive(Arbitrary, Debug)]
struct Case {
    rate: u8,
    stereo: bool,
    steps: Vec<Step>,
}

#[derive(Arbitrary, Debug)]
enum Step {
    Play {
        frames: u16,
        settings: AnySettings,
        sounds: [AnySound; 2],
    },
    Reset,
    MaxBlock(u16),
}

#[derive(Arbitrary, Debug)]
struct AnySettings {
    controls: AnyControls,
    low_cut: u8,
    hum: u8,
    tilt: u8,
    compression: u8,
    mix: u8,
    gain: u8,
    removed: bool,
    bypass: bool,
}

impl AnySettings {
    fn settings(&self) -> Settings {
        let span = CUT_HZ.end() - CUT_HZ.start();
        Settings {
            controls: self.controls.controls(),
            output: OutputSettings {
                low_cut_hz: (self.low_cut > 0).then(|| CUT_HZ.start() + span * share(self.low_cut)),
                hum: [Hum::Off, Hum::Mains50, Hum::Mains60, Hum::Auto][usize::from(self.hum) % 4],
                tilt_db: MOST_TILT_DB * (2.0 * share(self.tilt) - 1.0),
                compression: share(self.compression),
            },
            mix: share(self.mix),
            // -24 to +24 dB.
            gain: 10.0f32.powf(2.4 * share(self.gain) - 1.2),
            removed: self.removed,
            bypass: self.bypass,
        }
    }
}

/// Samples per channel in a block at most.
const MAX_BLOCK: u16 = 1024;

fn play(port: &mut AudioPort, audio: &mut [Vec<f32>], settings: &Settings) {
    let mut channels: Vec<&mut [f32]> = audio.iter_mut().map(Vec::as_mut_slice).collect();
    port.process(&mut channels, settings, Pace::Offline);
    audio.iter().for_each(|channel| assert_sane(channel));
}

/// Bypassed, a counter must come out as it went in, and so say how far the stream has come.
fn assert_in_place(port: &mut AudioPort, channels: usize) {
    let latency = port.latency();
    // In which bypass has surely faded in: 20 ms.
    let ramp = (port.config().sample_rate_hz / 50.0) as usize;
    let counter: Vec<f32> = (0..2 * latency + ramp).map(|n| n as f32 / 65_536.0).collect();
    let mut audio = vec![counter.clone(); channels];
    let bypassed = Settings {
        bypass: true,
        ..Settings::default()
    };
    play(port, &mut audio, &bypassed);
    let settled = latency + ramp..counter.len();
    for channel in audio {
        assert_eq!(channel[settled.clone()], counter[settled.start - latency..settled.end - latency]);
    }
}

fuzz_target!(|case: Case| {
    let rate_hz = RATES_HZ[usize::from(case.rate) % RATES_HZ.len()];
    let channels = 1 + usize::from(case.stereo);
    let restorer = Restorer::new(&TINY, &DETECTORS, rate_hz, channels).expect("a supported rate");
    let geometry = *restorer.geometry();
    let config = LinkConfig {
        sample_rate_hz: rate_hz,
        channels,
        hop: geometry.hop,
        restorer_delay: latency::restorer_delay(&geometry),
        max_block: usize::from(MAX_BLOCK),
    };
    let (mut port, worker) = connect(config, restorer, &Arc::new(Status::default())).expect("a thread");
    for step in &case.steps {
        match step {
            Step::Play { frames, settings, sounds } => {
                let mut audio = vec![vec![0.0; usize::from(1 + frames % MAX_BLOCK)]; channels];
                audio.iter_mut().zip(sounds).for_each(|(channel, sound)| fill(channel, sound));
                play(&mut port, &mut audio, &settings.settings());
            }
            Step::Reset => port.reset(),
            Step::MaxBlock(frames) => port.set_max_block(usize::from(*frames)),
        }
    }
    assert_in_place(&mut port, channels);
    assert_eq!(port.latency(), config.latency());
    assert!(!worker.has_failed(), "the worker died");
});
