//! Dualstep as a VST3 and CLAP plugin: a thin shell around `dualstep-engine`.
//!
//! Two plugins from one code: **Dualstep** (studio quality, 90 ms) and **Dualstep Live** (23 ms). They share parameters, sessions and editor and differ in
//! the weights they run, see [`Edition`].
//!
//! - Architecture invariant: no signal processing here; the host's events become [`dualstep_engine::link::Settings`] and nothing more.
//! - Architecture invariant: latency is told to the host in `activate` and nowhere else.

#![forbid(unsafe_code)]

mod edition;
mod editor;
#[cfg(feature = "fault-injection")]
mod fault;
mod params;
mod running;
mod state;

pub use edition::{Edition, Live, Studio};
pub use editor::{Instance, Panel, PanelEditor, PanelHandle, PanelSize};
pub use params::DualstepParams;

use dualstep_engine::link::{Pace, Status};
use nice_plug::prelude::*;
use running::Running;
use std::marker::PhantomData;
use std::sync::Arc;

/// One plugin instance.
pub struct Dualstep<E: Edition> {
    params: Arc<DualstepParams>,
    status: Arc<Status>,
    /// From the first activation on.
    running: Option<Running>,
    pace: Pace,
    edition: PhantomData<E>,
}

impl<E: Edition> Default for Dualstep<E> {
    fn default() -> Self {
        Self {
            params: Arc::default(),
            status: Arc::default(),
            running: None,
            pace: Pace::RealTime,
            edition: PhantomData,
        }
    }
}

impl<E: Edition> Plugin for Dualstep<E> {
    const NAME: &'static str = E::NAME;
    const VENDOR: &'static str = "Dualstep";
    const URL: &'static str = "";
    const EMAIL: &'static str = "";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");

    const AUDIO_IO_LAYOUTS: &'static [AudioIOLayout] = &[layout(2), layout(1)];
    const SAMPLE_ACCURATE_AUTOMATION: bool = true;

    type Editor = PanelEditor;
    type SysExMessage = ();
    type BackgroundTask = ();

    fn params(&self) -> Arc<dyn Params> {
        Arc::clone(&self.params) as Arc<dyn Params>
    }

    fn editor(&mut self, _executor: AsyncExecutor<Self>) -> Option<Self::Editor> {
        Some(PanelEditor::new(Instance::new(
            E::NAME,
            edition::weights::<E>,
            Arc::clone(&self.params),
            Arc::clone(&self.status),
            editor::data_folder(),
        )))
    }

    fn filter_state(state: &mut PluginState) {
        state::check(state);
    }

    fn activate(&mut self, layout: &AudioIOLayout, config: &BufferConfig, context: &mut impl ActivateContext<Self>) -> bool {
        self.pace = pace(config.process_mode);
        let sample_rate_hz = f64::from(config.sample_rate);
        let channels = layout.main_output_channels.map_or(2, |count| count.get() as usize);
        let max_block = config.max_buffer_size as usize;
        // Hosts activate again and again: a worker that fits goes on.
        let mut running = match self.running.take() {
            Some(running) if running.fits(sample_rate_hz, channels) => running,
            old => {
                // The old worker ends before the new one starts.
                drop(old);
                Running::start::<E>(sample_rate_hz, channels, max_block, &self.status)
            }
        };
        running.port.set_max_block(max_block);
        context.set_latency_samples(u32::try_from(running.port.latency()).unwrap_or(u32::MAX));
        self.running = Some(running);
        true
    }

    fn reset(&mut self) {
        if let Some(running) = &mut self.running {
            running.port.reset();
        }
    }

    fn process(&mut self, buffer: &mut Buffer, _aux: &mut AuxiliaryBuffers, _context: &mut impl ProcessContext<Self>) -> ProcessStatus {
        let Some(running) = &mut self.running else {
            return ProcessStatus::Error("processed before it was activated");
        };
        running.port.process(buffer.as_slice(), &self.params.settings(), self.pace);
        ProcessStatus::Tail(self.status.latency())
    }
}

impl<E: Edition> ClapPlugin for Dualstep<E> {
    const CLAP_ID: &'static str = E::CLAP_ID;
    const CLAP_DESCRIPTION: Option<&'static str> = Some(E::DESCRIPTION);
    const CLAP_MANUAL_URL: Option<&'static str> = None;
    const CLAP_SUPPORT_URL: Option<&'static str> = None;
    const CLAP_FEATURES: &'static [ClapFeature] = &[
        ClapFeature::AudioEffect,
        ClapFeature::Restoration,
        ClapFeature::Stereo,
        ClapFeature::Mono,
    ];

    fn set_process_mode(&mut self, process_mode: ProcessMode) {
        self.pace = pace(process_mode);
    }
}

impl<E: Edition> Vst3Plugin for Dualstep<E> {
    const VST3_CLASS_ID: [u8; 16] = E::VST3_CLASS_ID;
    const VST3_SUBCATEGORIES: &'static [Vst3SubCategory] = &[Vst3SubCategory::Fx, Vst3SubCategory::Restoration];

    fn set_process_mode(&mut self, process_mode: ProcessMode) {
        self.pace = pace(process_mode);
    }
}

/// How long to wait for the worker, by what the host says of its own time.
const fn pace(mode: ProcessMode) -> Pace {
    match mode {
        ProcessMode::Offline => Pace::Offline,
        ProcessMode::Realtime | ProcessMode::Buffered => Pace::RealTime,
    }
}

/// `channels` in, as many out.
const fn layout(channels: u32) -> AudioIOLayout {
    AudioIOLayout {
        main_input_channels: Some(new_nonzero_u32(channels)),
        main_output_channels: Some(new_nonzero_u32(channels)),
        ..AudioIOLayout::const_default()
    }
}

nice_export_clap!(Dualstep<Studio>, Dualstep<Live>);
nice_export_vst3!(Dualstep<Studio>, Dualstep<Live>);
