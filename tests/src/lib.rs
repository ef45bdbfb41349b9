//! Small, honest hosts for the integration tests, and the measures they share.
//!
//! The tests never link the plugin: they load the built `Dualstep.clap` or `Dualstep.vst3` as a host would, by its absolute path. `cargo xtask test`
//! builds the bundles and says where they are in `DUALSTEP_BUNDLE` and `DUALSTEP_DEBUG_BUNDLE`.
//!
//! - [`Bundle`] and [`Plugin`] load, set, play and save the CLAP plugins, `Vst3Plugin` the VST3 ones.
//! - [`Signal`] makes test sounds and compares what comes out.
//! - [`session`] looks into saved states.
//! - [`process`] runs a test in a process of its own and counts threads and memory.

mod audio;
pub mod bundle;
mod host;
pub mod process;
pub mod session;
pub mod signal;
#[cfg(not(target_os = "macos"))]
mod vst3_host;

pub use audio::read_audio;
pub use bundle::{Bundle, LIVE, PLUGINS, STUDIO, hop};
pub use host::{Change, IDS, Mode, Parameter, Plugin, TRANSPARENT};
pub use signal::{Signal, assert_identical, assert_no_hole};
#[cfg(not(target_os = "macos"))]
pub use vst3_host::{Absent, Vst3Plugin};
