//! Renders raw samples through the .clap bundle, for tests in other languages that compare hosts:
//! `clap-render PLUGIN_ID RATE_HZ CHANNELS BLOCK MODE IN OUT [PARAMETER=TEXT]…`
//!
//! IN and OUT are planar 32-bit floats in the machine's order. MODE is `offline` or `real-time`. The output starts with the plugin's latency;
//! nothing is compensated.

use dualstep_tests::{Bundle, Mode, Plugin, Signal};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [id, rate_hz, channels, block, mode, input, output, values @ ..] = &arguments[..] else {
        panic!("clap-render PLUGIN_ID RATE_HZ CHANNELS BLOCK MODE IN OUT [PARAMETER=TEXT]…");
    };
    let channels: usize = channels.parse().expect("a number of channels");
    let block: usize = block.parse().expect("a block size");
    let bytes = std::fs::read(input).expect("the input file");
    let samples: Vec<f32> = bytes.as_chunks().0.iter().map(|sample| f32::from_ne_bytes(*sample)).collect();
    let frames = samples.len() / channels;
    let signal = Signal {
        channels: samples.chunks_exact(frames).map(<[f32]>::to_vec).collect(),
    };

    let mut plugin = Plugin::with_channels(&Bundle::release(), id, channels);
    plugin.set_mode(if mode == "offline" { Mode::Offline } else { Mode::RealTime });
    for value in values {
        let (parameter, text) = value.split_once('=').expect("PARAMETER=TEXT");
        plugin.set(parameter, text);
    }
    plugin.activate(rate_hz.parse().expect("a sample rate"), block);
    let rendered = plugin.render(&signal, &[block], &[]);
    let bytes: Vec<u8> = rendered.samples().flat_map(f32::to_ne_bytes).collect();
    std::fs::write(output, bytes).expect("the output file");
}
