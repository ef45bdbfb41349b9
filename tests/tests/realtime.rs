//! A host that runs faster than time without saying so still gets the whole sound. Alone in its program: it competes with no other test.

use dualstep_tests::{Bundle, Mode, PLUGINS, Plugin, Signal, assert_identical};

/// A busy machine may rightly miss a deadline now and then; a fault misses each time.
const TRIES: usize = 8;

#[test]
fn free_wheeling_in_real_time_mode_gives_the_same_bits() {
    let bundle = Bundle::release();
    let rate_hz = 48_000.0;
    for id in PLUGINS {
        for (channels, block) in [(1, 1024), (1, 4096), (1, 16_384), (2, 4096), (2, 16_384)] {
            let input = Signal::disc(channels, 96_000, rate_hz);
            let render = |mode| {
                let mut plugin = Plugin::with_channels(&bundle, id, channels);
                plugin.set_mode(mode);
                plugin.activate(rate_hz, block);
                plugin.render(&input, &[block], &[])
            };
            let expected = render(Mode::Offline);
            let mut found = render(Mode::RealTime);
            for _ in 1..TRIES {
                if found.first_difference(&expected).is_none() {
                    break;
                }
                found = render(Mode::RealTime);
            }
            assert_identical(&found, &expected, &format!("{id}, {channels} channels, blocks of {block}"));
        }
    }
}
