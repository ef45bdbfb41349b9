//! Saves a state of the .clap bundle as a host keeps it in a session: `clap-state PLUGIN_ID OUT [PARAMETER=VALUE]…`, values on the host's scale.
//!
//! How tests/data/states is added to: see the README there.

use dualstep_tests::{Bundle, Plugin};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [id, output, values @ ..] = &arguments[..] else {
        panic!("clap-state PLUGIN_ID OUT [PARAMETER=VALUE]…");
    };
    let mut plugin = Plugin::new(&Bundle::release(), id);
    for value in values {
        let (parameter, value) = value.split_once('=').expect("PARAMETER=VALUE");
        plugin.set_value(parameter, value.parse().expect("a number"));
    }
    std::fs::write(output, plugin.save()).expect("the output file");
}
