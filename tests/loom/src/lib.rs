//! The link between audio thread and worker under [loom](https://docs.rs/loom), which runs a test again and again: in each order that the threads' steps can
//! take, and with each value that weak memory may give.
//!
//! `wire.rs`, `worker.rs` and `hop.rs` are the plugin's own files, and the rings are the `ringbuf` crate's own code. Only their atomics, reference counts and
//! threads are loom's: for the plugin's files this crate stands in for `std`; ringbuf takes them from `portable-atomic` and `portable-atomic-util`, for which
//! the crates beside this one stand in.
#![cfg(test)]

extern crate self as std;
extern crate std as real_std;

mod link;

use loom::cell::UnsafeCell;
pub use real_std::{io, mem, panic};

pub mod sync {
    pub use loom::sync::{Arc, atomic};
}

pub mod thread {
    use super::time::Duration;
    pub use loom::thread::{Builder, JoinHandle, Thread};

    /// Doesn't wake up by itself, so that a lost wake-up is a deadlock.
    pub fn park_timeout(_: Duration) {
        loom::thread::park();
    }

    /// Goes on after another thread has.
    pub fn sleep(_: Duration) {
        loom::thread::yield_now();
    }
}

pub mod time {
    pub use real_std::time::Duration;

    /// Of a clock that says the same in each of loom's runs: since any instant, 50 µs have passed, the time between two looks of the audio thread.
    #[derive(Clone, Copy, Debug)]
    pub struct Instant;

    impl Instant {
        pub fn now() -> Self {
            Self
        }

        pub fn elapsed(&self) -> Duration {
            Duration::from_micros(50)
        }
    }
}

/// What a hop holds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Content {
    /// Epoch and index that the hop was sent with.
    place: (u32, u64),
    restored: bool,
}

thread_local! {
    /// Hops that exist. loom runs all threads of a test on one.
    static LIVING: core::cell::Cell<usize> = const { core::cell::Cell::new(0) };
}

/// The part of a hop that the processor sees. In the cell, loom finds any access that isn't ordered after the last one by another thread.
#[derive(Debug)]
pub struct Controls(UnsafeCell<Content>);

impl Controls {
    fn get(&self) -> Content {
        // SAFETY: loom ends the test if another thread may be writing.
        self.0.with(|content| unsafe { *content })
    }

    fn set(&self, new: Content) {
        // SAFETY: loom ends the test if another thread may be reading or writing.
        self.0.with_mut(|content| unsafe { *content = new });
    }
}

impl Default for Controls {
    fn default() -> Self {
        LIVING.set(LIVING.get() + 1);
        Self(UnsafeCell::new(Content::default()))
    }
}

impl Drop for Controls {
    fn drop(&mut self) {
        LIVING.set(LIVING.get() - 1);
    }
}
