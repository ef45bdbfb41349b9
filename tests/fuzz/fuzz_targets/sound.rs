//! Any numbers as sound into the restorer, hop by hop, with any controls, skipped hops and resets between: what comes out is finite and not subnormal.

#![no_main]

use dualstep_engine::Restorer;
use dualstep_fuzz::{AnyControls, AnySound, DETECTORS, RATES_HZ, TINY, assert_sane, fill};
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Case {
    rate: u8,
    stereo: bool,
    steps: Vec<Step>,
}

#[derive(Arbitrary, Debug)]
enum Step {
    /// This many hops of the same.
    Process(u8, AnyControls, [AnySound; 2]),
    Skip(AnyControls, [AnySound; 2]),
    Reset,
}

fuzz_target!(|case: Case| {
    let rate_hz = RATES_HZ[usize::from(case.rate) % RATES_HZ.len()];
    let channels = 1 + usize::from(case.stereo);
    let mut restorer = Restorer::new(&TINY, &DETECTORS, rate_hz, channels).expect("a supported rate");
    let hop = restorer.geometry().hop;
    let mut audio = vec![0.0; channels * hop];
    let mut play = |restorer: &mut Restorer, run: bool, controls: &AnyControls, sounds: &[AnySound; 2]| {
        audio.chunks_mut(hop).zip(sounds).for_each(|(channel, sound)| fill(channel, sound));
        let controls = controls.controls();
        let report = if run {
            restorer.process(&mut audio, &controls)
        } else {
            restorer.skip(&mut audio, &controls)
        };
        assert_sane(&audio);
        assert!(report.removed_db.is_finite() && report.restored_db.is_finite(), "{report:?}");
    };
    for step in &case.steps {
        match step {
            Step::Process(hops, controls, sounds) => (0..=hops % 32).for_each(|_| play(&mut restorer, true, controls, sounds)),
            Step::Skip(controls, sounds) => play(&mut restorer, false, controls, sounds),
            Step::Reset => restorer.reset(),
        }
    }
});
