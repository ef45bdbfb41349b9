//! What the streaming step must not do: allocate, or start threads.

mod common;

use common::{Counting, allocator_calls, shipped_spec};
use dualstep_engine::unet::{RestoredFrame, TwoStage};
use dualstep_engine::{Controls, Model, weights};
use realfft::num_complex::Complex32;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Threads of this process, or 0 where the system doesn't say.
fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count)
}

/// One test, because another would run on a thread of its own and be counted.
#[test]
fn the_step_allocates_nothing_and_starts_no_thread() {
    let before_vec = allocator_calls();
    drop(std::hint::black_box(vec![1u8; 100]));
    assert_eq!(allocator_calls(), before_vec + 2, "the count must count");

    let before_threads = threads();
    for name in ["studio", "live"] {
        let model = Model::from_bytes(&weights::untrained(&shipped_spec(name), 1).expect("sound")).expect("sound");
        let bins = model.spec().bins;
        let mut stages = TwoStage::new(&model, 2);
        let mut frame = RestoredFrame::new(&model, 2);
        let spectrum: Vec<_> = (0..2 * bins)
            .map(|i| Complex32::new((i as f32).sin(), (i as f32).cos()) * 0.01)
            .collect();
        let poison = vec![Complex32::new(f32::NAN, f32::INFINITY); 2 * bins];

        let before = allocator_calls();
        // From the very first frame on.
        for k in 0..40 {
            let controls = Controls {
                linked: k % 3 != 0,
                // Both networks of stage 1, and the fades between them.
                speech: (5..15).contains(&k),
                ..Controls::default()
            };
            stages.step(if k % 10 == 9 { &poison } else { &spectrum }, &controls, &mut frame);
            if k == 20 {
                stages.reset();
            }
        }
        assert_eq!(allocator_calls(), before, "{name}: calls to the allocator");
    }
    assert_eq!(threads(), before_threads, "threads");
}
