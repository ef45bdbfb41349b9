//! A small CLAP host: loads a bundle, sets parameters, processes blocks.
//!
//! One [`Instance`] lives on the thread that made it, which is its main thread and its audio thread at once: that is how an offline
//! renderer works, and CLAP allows it. Several threads may each make their own instance from one [`Bundle`].

use std::ffi::{CStr, CString};
use std::path::Path;

use clack_extensions::audio_ports_config::{AudioPortsConfigBuffer, PluginAudioPortsConfig};
use clack_extensions::latency::PluginLatency;
use clack_extensions::params::{ParamInfoBuffer, PluginParams};
use clack_extensions::render::{PluginRender, RenderMode};
use clack_extensions::state::PluginState;
use clack_host::events::event_types::ParamValueEvent;
use clack_host::prelude::*;
use clack_host::utils::ClapId;
use thiserror::Error;

/// Why a plugin could not be hosted.
#[derive(Debug, Error)]
pub enum HostError {
    /// The file isn't there or isn't a CLAP plugin.
    #[error("can't load {path} as a CLAP plugin: {reason}")]
    Load {
        /// What was asked for.
        path: String,
        /// What the loader said.
        reason: String,
    },
    /// The bundle has no plugin of this id.
    #[error("no plugin {id} in this bundle, which has {}", found.join(", "))]
    NoSuchPlugin {
        /// The id asked for.
        id: String,
        /// The ids that are there.
        found: Vec<String>,
    },
    /// The plugin refused to start.
    #[error("the plugin failed to {step}: {reason}")]
    Plugin {
        /// What was asked of it.
        step: &'static str,
        /// What it said.
        reason: String,
    },
    /// The plugin has no parameter with this id.
    #[error("the plugin has no parameter {id:?}: rebuild the bundle with `cargo xtask bundle`")]
    NoSuchParameter {
        /// The id asked for.
        id: String,
    },
    /// The plugin doesn't take this text as a value.
    #[error("the plugin doesn't take {text:?} for {id:?}")]
    Text {
        /// The parameter's id.
        id: String,
        /// The text it refused.
        text: String,
    },
    /// The plugin has no layout with this many channels.
    #[error("the plugin has no layout with {channels} channels in and out")]
    Layout {
        /// The number asked for.
        channels: usize,
    },
}

fn failed(step: &'static str) -> impl Fn(PluginInstanceError) -> HostError {
    move |error| HostError::Plugin {
        step,
        reason: error.to_string(),
    }
}

/// The host's side of the callbacks. Rendering needs none of them.
struct Host;

impl HostHandlers for Host {
    type Shared<'a> = ();
    type MainThread<'a> = ();
    type AudioProcessor<'a> = ();
}

/// A loaded `.clap` file.
#[derive(Clone)]
pub struct Bundle {
    entry: PluginEntry,
}

impl Bundle {
    /// Loads the file or, on macOS, the folder at `path`.
    ///
    /// # Errors
    /// If there is none or it isn't a CLAP plugin.
    pub fn load(path: &Path) -> Result<Self, HostError> {
        let fail = |reason: String| HostError::Load {
            path: path.display().to_string(),
            reason,
        };
        // The loader wants an absolute path: a bare name would be looked up in the system's library folders.
        let absolute = path.canonicalize().map_err(|error| fail(error.to_string()))?;
        #[expect(unsafe_code, reason = "loading a dynamic library runs its initialisers")]
        // SAFETY: the library is a CLAP plugin that this workspace built, or one that the user named; its initialisers are as safe as
        // running the program itself.
        let entry = unsafe { PluginEntry::load(absolute.as_os_str()) };
        Ok(Self {
            entry: entry.map_err(|error| fail(error.to_string()))?,
        })
    }

    /// Ids and names of the plugins in this bundle.
    #[must_use]
    pub fn plugins(&self) -> Vec<(String, String)> {
        let text = |bytes: Option<&CStr>| bytes.map(|b| b.to_string_lossy().into_owned()).unwrap_or_default();
        let Some(factory) = self.entry.get_plugin_factory() else {
            return Vec::new();
        };
        factory.plugin_descriptors().map(|d| (text(d.id()), text(d.name()))).collect()
    }

    /// A new instance of the plugin `id`.
    ///
    /// # Errors
    /// If the bundle has no such plugin or the plugin fails to start.
    pub fn instance(&self, id: &str) -> Result<Instance, HostError> {
        let found: Vec<String> = self.plugins().into_iter().map(|(id, _)| id).collect();
        let (true, Ok(c_id)) = (found.iter().any(|f| f == id), CString::new(id)) else {
            return Err(HostError::NoSuchPlugin { id: id.to_owned(), found });
        };
        let info = HostInfo::new("Dualstep xtask", "Dualstep", "", env!("CARGO_PKG_VERSION")).map_err(|error| HostError::Plugin {
            step: "read the host's name",
            reason: error.to_string(),
        })?;
        let plugin = PluginInstance::<Host>::new(|_| (), |_| (), &self.entry, &c_id, &info).map_err(failed("start"))?;
        Ok(Instance { plugin })
    }
}

/// What a plugin says about one of its parameters.
#[derive(Clone, Debug, PartialEq)]
pub struct ParameterInfo {
    /// CLAP's number for it; [`parameter_number`] of its id.
    pub number: u32,
    /// Name for the user.
    pub name: String,
    /// Lowest CLAP value.
    pub min: f64,
    /// Highest CLAP value.
    pub max: f64,
    /// CLAP value of a new instance.
    pub default: f64,
}

/// CLAP's number of the parameter with this id, as nice-plug derives it: a polynomial hash in base 31 of the id's bytes with the top bit
/// cleared (VST3 keeps that for the host).
#[must_use]
pub fn parameter_number(id: &str) -> u32 {
    let hash = id
        .bytes()
        .fold(0u32, |hash, byte| hash.wrapping_mul(31).wrapping_add(u32::from(byte)));
    hash & !(1 << 31)
}

/// How to run a plugin.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Sample rate in Hz.
    pub sample_rate_hz: f64,
    /// Most samples in one block.
    pub max_block: usize,
    /// Channels in and out: 1 or 2.
    pub channels: usize,
    /// Whether the plugin is told that it renders offline.
    pub offline: bool,
}

/// A parameter change inside a block.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Change {
    /// Sample in the block.
    pub offset: usize,
    /// CLAP's number of the parameter.
    pub number: u32,
    /// CLAP value.
    pub value: f64,
}

/// An instance of a plugin, not processing.
pub struct Instance {
    plugin: PluginInstance<Host>,
}

impl Instance {
    /// What the plugin says about its parameters.
    pub fn parameters(&mut self) -> Vec<ParameterInfo> {
        let handle = self.plugin.plugin_handle();
        let Some(params) = handle.get_extension::<PluginParams>() else {
            return Vec::new();
        };
        let mut buffer = ParamInfoBuffer::new();
        (0..params.count(&handle))
            .filter_map(|index| {
                params.get_info(&handle, index, &mut buffer).map(|info| ParameterInfo {
                    number: info.id.get(),
                    name: String::from_utf8_lossy(info.name).into_owned(),
                    min: info.min_value,
                    max: info.max_value,
                    default: info.default_value,
                })
            })
            .collect()
    }

    /// The CLAP value that the plugin reads out of `text`.
    ///
    /// # Errors
    /// If there is no such parameter or the plugin refuses the text.
    pub fn text_to_value(&mut self, id: &str, text: &str) -> Result<f64, HostError> {
        let handle = self.plugin.plugin_handle();
        let refused = || HostError::Text {
            id: id.to_owned(),
            text: text.to_owned(),
        };
        let params = handle.get_extension::<PluginParams>().ok_or_else(refused)?;
        let c_text = CString::new(text).map_err(|_| refused())?;
        params.text_to_value(&handle, clap_id(id), &c_text).ok_or_else(refused)
    }

    /// How the plugin writes a CLAP value.
    #[must_use]
    pub fn value_to_text(&mut self, id: &str, value: f64) -> Option<String> {
        let handle = self.plugin.plugin_handle();
        let params = handle.get_extension::<PluginParams>()?;
        let mut buffer = [0u8; 128];
        let text = params.value_to_text(&handle, clap_id(id), value, &mut buffer).ok()?;
        Some(String::from_utf8_lossy(text).into_owned())
    }

    /// The parameter's CLAP value.
    #[must_use]
    pub fn value(&mut self, id: &str) -> Option<f64> {
        let handle = self.plugin.plugin_handle();
        handle.get_extension::<PluginParams>()?.get_value(&handle, clap_id(id))
    }

    /// Sets the parameter to a CLAP value, without smoothing: the plugin is not processing.
    ///
    /// # Errors
    /// If there is no such parameter.
    pub fn set(&mut self, id: &str, value: f64) -> Result<(), HostError> {
        let missing = || HostError::NoSuchParameter { id: id.to_owned() };
        self.value(id).ok_or_else(missing)?;
        let mut handle = self.plugin.inactive_plugin_handle().ok_or_else(missing)?;
        let params = handle.get_extension::<PluginParams>().ok_or_else(missing)?;
        let event = [ParamValueEvent::new(0, clap_id(id), Pckn::match_all(), value)];
        params.flush(&mut handle, &InputEvents::from_buffer(&event), &mut OutputEvents::void());
        Ok(())
    }

    /// The plugin's saved state.
    ///
    /// # Errors
    /// If the plugin fails to save it.
    pub fn save_state(&mut self) -> Result<Vec<u8>, HostError> {
        let refused = |reason: &str| HostError::Plugin {
            step: "save its state",
            reason: reason.to_owned(),
        };
        let handle = self.plugin.plugin_handle();
        let state = handle.get_extension::<PluginState>().ok_or_else(|| refused("it keeps none"))?;
        let mut bytes = Vec::new();
        state.save(&handle, &mut bytes).map_err(|error| refused(&error.to_string()))?;
        Ok(bytes)
    }

    /// Restores a state that [`Self::save_state`] gave.
    ///
    /// # Errors
    /// If the plugin refuses it.
    pub fn load_state(&mut self, bytes: &[u8]) -> Result<(), HostError> {
        let refused = |reason: &str| HostError::Plugin {
            step: "load a state",
            reason: reason.to_owned(),
        };
        let handle = self.plugin.plugin_handle();
        let state = handle.get_extension::<PluginState>().ok_or_else(|| refused("it keeps none"))?;
        state.load(&handle, &mut &*bytes).map_err(|error| refused(&error.to_string()))
    }

    /// Starts processing.
    ///
    /// # Errors
    /// If the plugin has no layout with these channels or fails to activate.
    pub fn activate(mut self, config: &Config) -> Result<Session, HostError> {
        self.select_layout(config.channels)?;
        let handle = self.plugin.plugin_handle();
        if let Some(render) = handle.get_extension::<PluginRender>() {
            let mode = if config.offline {
                RenderMode::Offline
            } else {
                RenderMode::Realtime
            };
            render.set(&handle, mode).map_err(|error| HostError::Plugin {
                step: "change to offline rendering",
                reason: error.to_string(),
            })?;
        }
        let audio = PluginAudioConfiguration {
            sample_rate: config.sample_rate_hz,
            min_frames_count: 1,
            max_frames_count: u32::try_from(config.max_block).unwrap_or(u32::MAX),
        };
        let stopped = self.plugin.activate(|_, _| (), audio).map_err(failed("activate"))?;
        let handle = self.plugin.plugin_handle();
        let latency = handle.get_extension::<PluginLatency>().map_or(0, |l| l.get(&handle));
        let started = match stopped.start_processing() {
            Ok(started) => started,
            Err(error) => {
                let reason = error.to_string();
                self.plugin.deactivate(error.into_stopped_processor());
                return Err(HostError::Plugin {
                    step: "start processing",
                    reason,
                });
            }
        };
        Ok(Session {
            started: Some(started),
            instance: Some(self),
            latency: latency as usize,
            position: 0,
            ports: (
                AudioPorts::with_capacity(config.channels, 1),
                AudioPorts::with_capacity(config.channels, 1),
            ),
            events: EventBuffer::new(),
        })
    }

    /// Chooses the layout with `channels` in and out.
    fn select_layout(&mut self, channels: usize) -> Result<(), HostError> {
        let handle = self.plugin.plugin_handle();
        let none = || HostError::Layout { channels };
        let Some(configs) = handle.get_extension::<PluginAudioPortsConfig>() else {
            return if channels == 2 { Ok(()) } else { Err(none()) };
        };
        let mut buffer = AudioPortsConfigBuffer::new();
        let wanted = (0..configs.count(&handle)).find_map(|index| {
            let layout = configs.get(&handle, index, &mut buffer)?;
            let fits = |port: Option<clack_extensions::audio_ports_config::MainPortInfo>| {
                port.is_some_and(|port| usize::try_from(port.channel_count) == Ok(channels))
            };
            let id = layout.id;
            (fits(layout.main_input) && fits(layout.main_output)).then_some(id)
        });
        configs.select(&handle, wanted.ok_or_else(none)?).map_err(|_| none())
    }
}

fn clap_id(id: &str) -> ClapId {
    ClapId::new(parameter_number(id))
}

/// An instance that processes. Dropping it deactivates the plugin and then ends the instance.
pub struct Session {
    started: Option<StartedPluginAudioProcessor<Host>>,
    instance: Option<Instance>,
    latency: usize,
    position: u64,
    ports: (AudioPorts, AudioPorts),
    events: EventBuffer,
}

impl Session {
    /// Samples between input and output, as the plugin reports them.
    #[must_use]
    pub fn latency(&self) -> usize {
        self.latency
    }

    /// Processes one block: all channels of `input`, which must have one length, into `output` of the same shape.
    /// `changes` must be in order of their offsets.
    ///
    /// # Errors
    /// If the plugin reports a failure.
    pub fn process(&mut self, input: &mut [&mut [f32]], output: &mut [&mut [f32]], changes: &[Change]) -> Result<(), HostError> {
        self.events.clear();
        for change in changes {
            let offset = u32::try_from(change.offset).unwrap_or(u32::MAX);
            let event = ParamValueEvent::new(offset, ClapId::new(change.number), Pckn::match_all(), change.value);
            self.events.push(&event);
        }
        let frames = input.first().map_or(0, |channel| channel.len());
        let audio_in = self.ports.0.with_input_buffers([AudioPortBuffer {
            latency: 0,
            channels: AudioPortBufferType::f32_input_only(input.iter_mut().map(|channel| InputChannel::variable(*channel))),
        }]);
        let mut audio_out = self.ports.1.with_output_buffers([AudioPortBuffer {
            latency: 0,
            channels: AudioPortBufferType::f32_output_only(output.iter_mut().map(|channel| &mut **channel)),
        }]);
        let Some(started) = &mut self.started else {
            return Ok(());
        };
        started
            .process(
                &audio_in,
                &mut audio_out,
                &InputEvents::from_buffer(&self.events),
                &mut OutputEvents::void(),
                Some(self.position),
                None,
            )
            .map_err(failed("process"))?;
        self.position += frames as u64;
        Ok(())
    }

    /// Forgets the stream so far, as a host does when the transport jumps.
    pub fn reset(&mut self) {
        if let Some(started) = &mut self.started {
            started.reset();
        }
        self.position = 0;
    }

    /// Stops processing and gives the instance back.
    #[must_use]
    pub fn deactivate(mut self) -> Option<Instance> {
        self.stop();
        self.instance.take()
    }

    fn stop(&mut self) {
        if let (Some(started), Some(instance)) = (self.started.take(), &mut self.instance) {
            instance.plugin.deactivate(started.stop_processing());
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.stop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameter_numbers_are_stable() {
        assert_eq!(parameter_number("mix"), 108_124);
        assert_eq!(parameter_number("bypass"), 773_352_680);
    }

    #[test]
    fn a_missing_bundle_is_named() {
        let error = Bundle::load(Path::new("/nowhere/Dualstep.clap")).err().map(|e| e.to_string());
        assert!(error.is_some_and(|e| e.contains("/nowhere/Dualstep.clap")));
    }
}
