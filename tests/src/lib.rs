//! A small, honest CLAP host for the integration tests, and the measures they share.
//!
//! The tests never link the plugin: they load the built `Dualstep.clap` as a host would, by its absolute path. `cargo xtask test`
//! builds the bundles and says where they are in `DUALSTEP_BUNDLE` and `DUALSTEP_DEBUG_BUNDLE`.
//!
//! - [`Bundle`] and [`Plugin`] load, set, play and save.
//! - [`Signal`] makes test sounds and compares what comes out.
//! - [`session`] looks into saved states.
//! - [`process`] runs a test in a process of its own and counts threads and memory.

mod audio;
pub mod bundle;
mod host;
pub mod process;
pub mod session;
pub mod signal;

pub use audio::read_audio;
pub use bundle::{Bundle, LIVE, PLUGINS, STUDIO, hop};
pub use host::{Change, Mode, Parameter, Plugin, TRANSPARENT};
pub use signal::{Signal, assert_identical, assert_no_hole};
