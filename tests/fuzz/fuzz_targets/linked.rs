//! The plugins, linked into the target so that the fuzzer sees which code runs.

use clack_host::prelude::PluginEntry;
use dualstep_tests::Bundle;

/// The plugins of this process.
pub fn bundle() -> Bundle {
    // SAFETY: the framework's entry point, written to the CLAP standard.
    let entry = unsafe { PluginEntry::load_from_raw(&dualstep::clap_entry, c"") };
    Bundle::from(entry.expect("an entry point"))
}
