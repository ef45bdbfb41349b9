//! Build, render, test and measure Dualstep: the commands of `cargo xtask`.
//!
//! | module | command |
//! |---|---|
//! | [`bundle`] | `bundle`: builds the `.clap` and `.vst3` |
//! | [`install`] | `install`, `uninstall`: the user's plugin folders |
//! | [`dist`] | `dist`: zip files for users, with licences, manual and checksums |
//! | [`render`] | `render`: recordings through the built plugin |
//! | [`demo`] | `demo`: the bundled recording before and after, with figures |
//! | [`pictures`] | `pictures`: the manual's pictures of the panel |
//! | [`mod@test`] | `test`: every test, with what the tests need |
//! | [`mod@bench`] | `bench`, `golden`: figures, and Rust against PyTorch |
//!
//! Shared by them: [`host`] (a CLAP host), [`audio`] (files in and out), [`parameters`], [`automation`], [`spectrogram`], [`metrics`].

#![expect(clippy::print_stdout, reason = "the commands' results belong on the standard output")]

pub mod audio;
pub mod automation;
pub mod bench;
pub mod bundle;
pub mod demo;
pub mod dist;
pub mod host;
pub mod install;
pub mod metrics;
pub mod parameters;
pub mod pictures;
pub mod render;
pub mod spectrogram;
pub mod test;
