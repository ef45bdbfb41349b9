//! Dualstep without a host, on JACK, the system's audio or none. `--help` lists the options.

use dualstep::{Dualstep, Studio};
use nice_plug::prelude::nice_export_standalone;
use std::process::ExitCode;

fn main() -> ExitCode {
    if nice_export_standalone::<Dualstep<Studio>>() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
