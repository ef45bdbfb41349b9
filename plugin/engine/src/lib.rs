#![doc = include_str!("../ARCHITECTURE.md")]

pub mod controls;
mod floor;
pub mod latency;
pub mod level;
pub mod link;
pub mod output;
mod ramp;
pub mod repair;
pub mod restorer;
mod saturation;
pub mod spec;
pub mod stft;
pub mod unet;
pub mod weights;

pub use controls::Controls;

pub use restorer::{HopReport, Restorer};
pub use spec::{Geometry, Spec, SpecError, StageSpec};
pub use weights::{Model, WeightsError};
