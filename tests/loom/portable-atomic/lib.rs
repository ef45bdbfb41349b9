//! What ringbuf takes from `portable-atomic`, of loom.

pub use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
