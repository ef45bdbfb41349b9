//! The host: one plugin instance, driven as a DAW drives it.

use crate::{Bundle, Signal};
use clack_extensions::audio_ports_config::{AudioPortsConfigBuffer, MainPortInfo, PluginAudioPortsConfig};
use clack_extensions::gui::{GuiApiType, GuiConfiguration, PluginGui};
use clack_extensions::latency::{HostLatency, HostLatencyImpl, PluginLatency};
use clack_extensions::params::{
    HostParams, HostParamsImplMainThread, HostParamsImplShared, ParamClearFlags, ParamInfoBuffer, ParamInfoFlags, ParamRescanFlags,
    PluginParams,
};
use clack_extensions::render::{PluginRender, RenderMode};
use clack_extensions::state::{HostState, HostStateImpl, PluginState, StateError};
use clack_host::events::event_types::{ParamModEvent, ParamValueEvent};
use clack_host::prelude::*;
use std::cell::Cell;
use std::ffi::CString;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// All parameters, in the plugins' order. Sessions keep these ids: an id may be added, never changed.
pub const IDS: [&str; 16] = [
    "declick", "stage1", "stage2", "limit", "mix", "output", "removed", "link", "bypass", "low_cut", "hum", "tilt", "comp", "declip",
    "speech", "dropouts",
];

/// Values on the host's scale at which restored and dry sound the same: any hole, slip or drift shows as a difference from the delayed input.
pub const TRANSPARENT: [(&str, f64); 5] = [
    ("declick", 0.0),
    ("declip", 0.0),
    ("dropouts", 0.0),
    ("stage1", 0.0),
    ("stage2", 0.0),
];

/// How a host renders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// As it plays: the host says real time, and may still run as fast as it can.
    RealTime,
    /// The host says that it renders offline.
    Offline,
}

/// A parameter's new value, written for one frame of the input.
#[derive(Clone, Debug)]
pub struct Change {
    /// Frame of the rendered signal.
    pub at: usize,
    /// The parameter's id.
    pub id: &'static str,
    /// Value on the host's scale: 0..=1, or the step.
    pub value: f64,
}

/// What the plugin tells about a parameter.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// The number that hosts keep.
    pub number: u32,
    /// Name in the host's lists.
    pub name: String,
    /// Least value on the host's scale.
    pub least: f64,
    /// Greatest value on the host's scale.
    pub greatest: f64,
    /// Value of a new instance.
    pub initial: f64,
    /// Whether the host may automate it.
    pub automatable: bool,
    /// Whether it is the host's bypass.
    pub bypass: bool,
}

/// What the plugin asked of the host, from any thread.
#[derive(Debug, Default)]
struct Asked {
    restarts: AtomicUsize,
    callback: AtomicBool,
}

impl SharedHandler<'_> for Asked {
    fn request_restart(&self) {
        self.restarts.fetch_add(1, Ordering::Relaxed);
    }
    fn request_process(&self) {}
    fn request_callback(&self) {
        self.callback.store(true, Ordering::Relaxed);
    }
}

impl HostParamsImplShared for Asked {
    fn request_flush(&self) {}
}

/// The host's side of the extensions it offers.
#[derive(Default)]
struct MainThread {
    latencies_told: Cell<usize>,
}

impl MainThreadHandler<'_> for MainThread {}

impl HostLatencyImpl for MainThread {
    fn changed(&self) {
        self.latencies_told.set(self.latencies_told.get() + 1);
    }
}

impl HostStateImpl for MainThread {
    fn mark_dirty(&self) {}
}

impl HostParamsImplMainThread for MainThread {
    fn rescan(&self, _flags: ParamRescanFlags) {}
    fn clear(&self, _param_id: ClapId, _flags: ParamClearFlags) {}
}

/// Ties the handlers together for the host library.
struct Handlers;

impl HostHandlers for Handlers {
    type Shared<'a> = Asked;
    type MainThread<'a> = MainThread;
    type AudioProcessor<'a> = ();

    fn declare_extensions(builder: &mut HostExtensions<Self>, _shared: &Self::Shared<'_>) {
        builder.register::<HostLatency>().register::<HostParams>().register::<HostState>();
    }
}

/// One instance of a plugin. Created inactive, stereo, in real-time mode.
pub struct Plugin {
    instance: PluginInstance<Handlers>,
    processor: Option<StartedPluginAudioProcessor<Handlers>>,
    channels: usize,
    played: u64,
    /// Frames by which the host writes events too late into its blocks.
    events_late: u32,
}

impl Plugin {
    /// An instance of the plugin called `id`.
    ///
    /// # Panics
    /// If the bundle has no such plugin or it refuses to start.
    #[must_use]
    pub fn new(bundle: &Bundle, id: &str) -> Self {
        let host = HostInfo::new("Dualstep tests", "Dualstep", "", env!("CARGO_PKG_VERSION")).expect("a host description");
        let name = CString::new(id).expect("an id without a zero byte");
        let instance = PluginInstance::<Handlers>::new(|()| Asked::default(), |_| MainThread::default(), &bundle.entry, &name, &host);
        Self {
            instance: instance.unwrap_or_else(|error| panic!("no instance of {id}: {error}")),
            processor: None,
            channels: 2,
            played: 0,
            events_late: 0,
        }
    }

    /// The same, but for `channels` channels.
    #[must_use]
    pub fn with_channels(bundle: &Bundle, id: &str, channels: usize) -> Self {
        let mut plugin = Self::new(bundle, id);
        plugin.set_channels(channels);
        plugin
    }

    /// Chooses the port configuration of `channels` channels, while inactive.
    ///
    /// # Panics
    /// If the plugin offers none.
    pub fn set_channels(&mut self, channels: usize) {
        let ports = self.extension::<PluginAudioPortsConfig>();
        let handle = self.instance.plugin_handle();
        let mut buffer = AudioPortsConfigBuffer::new();
        let fits = |port: Option<MainPortInfo>| port.is_some_and(|port| usize::try_from(port.channel_count) == Ok(channels));
        let wanted = (0..ports.count(&handle)).find_map(|index| {
            let found = ports.get(&handle, index, &mut buffer)?;
            (fits(found.main_input) && fits(found.main_output)).then_some(found.id)
        });
        let wanted = wanted.unwrap_or_else(|| panic!("no port configuration of {channels} channels"));
        ports.select(&handle, wanted).expect("the configuration the plugin offered");
        self.channels = channels;
    }

    fn extension<E: clack_host::extensions::Extension<ExtensionSide = clack_host::extensions::PluginExtensionSide>>(&self) -> E {
        self.instance
            .plugin_shared_handle()
            .get_extension()
            .expect("an extension every plugin here has")
    }

    /// Announces how the host renders. Takes effect with the next block.
    ///
    /// # Panics
    /// If the plugin refuses.
    pub fn set_mode(&mut self, mode: Mode) {
        let render = self.extension::<PluginRender>();
        let mode = match mode {
            Mode::RealTime => RenderMode::Realtime,
            Mode::Offline => RenderMode::Offline,
        };
        render.set(&self.instance.plugin_handle(), mode).expect("both modes are allowed");
        self.attend();
    }

    /// Prepares for playing blocks of up to `max_block` frames at `rate_hz`.
    ///
    /// # Panics
    /// If the plugin refuses, or asks to be started again.
    pub fn activate(&mut self, rate_hz: f64, max_block: usize) {
        let configuration = PluginAudioConfiguration {
            sample_rate: rate_hz,
            min_frames_count: 1,
            max_frames_count: u32::try_from(max_block).expect("a block size"),
        };
        let stopped = self
            .instance
            .activate(|_, _| (), configuration)
            .unwrap_or_else(|error| panic!("refuses {rate_hz} Hz, blocks of {max_block}: {error}"));
        self.processor = Some(stopped.start_processing().expect("processing starts"));
        self.attend();
        assert_eq!(
            self.restarts_asked(),
            0,
            "asks for a restart at {rate_hz} Hz, blocks of {max_block}"
        );
    }

    /// Ends playing.
    pub fn deactivate(&mut self) {
        if let Some(processor) = self.processor.take() {
            self.instance.deactivate(processor.stop_processing());
            self.attend();
        }
    }

    /// Back to the start of a stream, while active.
    ///
    /// # Panics
    /// If the plugin isn't active.
    pub fn reset(&mut self) {
        self.processor.as_mut().expect("active").reset();
    }

    /// Gives the plugin its turn on the main thread, if it asked for one.
    fn attend(&mut self) {
        if self
            .instance
            .access_shared_handler(|asked| asked.callback.swap(false, Ordering::Relaxed))
        {
            self.instance.call_on_main_thread_callback();
        }
    }

    /// Frames of latency the plugin reports.
    ///
    /// # Panics
    /// Never: a latency fits.
    #[must_use]
    pub fn latency(&mut self) -> usize {
        let latency = self.extension::<PluginLatency>().get(&self.instance.plugin_handle());
        usize::try_from(latency).expect("a latency that fits")
    }

    /// How often the plugin has told the host that its latency is a new one.
    #[must_use]
    pub fn latencies_told(&self) -> usize {
        self.instance.access_handler(|main_thread| main_thread.latencies_told.get())
    }

    /// How often the plugin asked to be restarted.
    #[must_use]
    pub fn restarts_asked(&self) -> usize {
        self.instance.access_shared_handler(|asked| asked.restarts.load(Ordering::Relaxed))
    }

    /// All parameters, in the plugin's order.
    #[must_use]
    pub fn parameters(&mut self) -> Vec<Parameter> {
        let count = self.extension::<PluginParams>().count(&self.instance.plugin_handle());
        (0..count).filter_map(|index| self.parameter(index)).collect()
    }

    /// One parameter, if there is one of this index.
    #[must_use]
    pub fn parameter(&mut self, index: u32) -> Option<Parameter> {
        let params = self.extension::<PluginParams>();
        let mut buffer = ParamInfoBuffer::new();
        let info = params.get_info(&self.instance.plugin_handle(), index, &mut buffer)?;
        Some(Parameter {
            number: info.id.get(),
            name: String::from_utf8_lossy(info.name).into_owned(),
            least: info.min_value,
            greatest: info.max_value,
            initial: info.default_value,
            automatable: info.flags.contains(ParamInfoFlags::IS_AUTOMATABLE),
            bypass: info.flags.contains(ParamInfoFlags::IS_BYPASS),
        })
    }

    /// A parameter's value on the host's scale.
    ///
    /// # Panics
    /// If there is no such parameter.
    #[must_use]
    pub fn value(&mut self, id: &str) -> f64 {
        let params = self.extension::<PluginParams>();
        let value = params.get_value(&self.instance.plugin_handle(), number(id));
        value.unwrap_or_else(|| panic!("no parameter {id}"))
    }

    /// What the plugin writes for a value.
    ///
    /// # Panics
    /// If there is no such parameter.
    #[must_use]
    pub fn text(&mut self, id: &str, value: f64) -> String {
        let params = self.extension::<PluginParams>();
        let mut buffer = [0; 256];
        let text = params
            .value_to_text(&self.instance.plugin_handle(), number(id), value, &mut buffer)
            .unwrap_or_else(|_| panic!("no text for {id} = {value}"));
        String::from_utf8_lossy(text).into_owned()
    }

    /// The value the plugin reads in a text.
    ///
    /// # Panics
    /// If the text holds a zero byte.
    #[must_use]
    pub fn read(&mut self, id: &str, text: &str) -> Option<f64> {
        let params = self.extension::<PluginParams>();
        let text = CString::new(text).expect("a text without a zero byte");
        params.text_to_value(&self.instance.plugin_handle(), number(id), &text)
    }

    /// Sets a parameter from a text in its own unit, while the host isn't playing.
    ///
    /// # Panics
    /// If the plugin can't read the text.
    pub fn set(&mut self, id: &str, text: &str) {
        let value = self.read(id, text).unwrap_or_else(|| panic!("{id} doesn't read {text:?}"));
        self.set_value(id, value);
    }

    /// Sets a parameter on the host's scale, while the host isn't playing.
    ///
    /// # Panics
    /// If there is no such extension.
    pub fn set_value(&mut self, id: &str, value: f64) {
        self.send(&ParamValueEvent::new(0, number(id), Pckn::match_all(), value));
    }

    /// Modulates a parameter by an amount on the host's scale, while the host isn't playing.
    ///
    /// # Panics
    /// If there is no such extension.
    pub fn modulate(&mut self, id: &str, amount: f64) {
        self.send(&ParamModEvent::new(0, number(id), Pckn::match_all(), amount));
    }

    /// Gives the plugin an event without sound.
    fn send(&mut self, event: &impl AsRef<UnknownEvent>) {
        let params = self.extension::<PluginParams>();
        let mut events = EventBuffer::new();
        events.push(event);
        let (input, mut output) = (events.as_input(), OutputEvents::void());
        match &mut self.processor {
            Some(processor) => params.flush_active(&mut processor.plugin_handle(), &input, &mut output),
            None => params.flush(&mut self.instance.inactive_plugin_handle().expect("inactive"), &input, &mut output),
        }
        self.attend();
    }

    /// The plugin's state, as a host keeps it in a session.
    ///
    /// # Panics
    /// If the plugin can't save.
    #[must_use]
    pub fn save(&mut self) -> Vec<u8> {
        let state = self.extension::<PluginState>();
        let mut saved = Vec::new();
        state.save(&self.instance.plugin_handle(), &mut saved).expect("a state to save");
        saved
    }

    /// Gives the plugin a saved state.
    ///
    /// # Errors
    /// If the plugin rejects it.
    pub fn load(&mut self, mut saved: &[u8]) -> Result<(), StateError> {
        let state = self.extension::<PluginState>();
        let result = state.load(&self.instance.plugin_handle(), &mut saved);
        self.attend();
        result
    }

    /// From now on the host writes each event of a block so many frames too late, even beyond the block's end.
    pub fn delay_events(&mut self, frames: u32) {
        self.events_late = frames;
    }

    /// Opens the editor, but gives it no window, and closes it. Returns whether it opened: it needs a screen.
    ///
    /// # Panics
    /// If there is no such extension.
    #[must_use]
    pub fn open_editor(&mut self) -> bool {
        let gui = self.extension::<PluginGui>();
        let configuration = GuiConfiguration {
            api_type: GuiApiType::default_for_current_platform().expect("a windowing system"),
            is_floating: false,
        };
        let handle = self.instance.plugin_handle();
        let opened = gui.create(&handle, configuration).is_ok();
        if opened {
            gui.destroy(&handle);
        }
        opened
    }

    /// Plays a whole signal on an audio thread, as fast as it goes: blocks of the given sizes in turn, the changes written for its frames (in order).
    /// What the plugin doesn't write stays "not a number".
    ///
    /// # Panics
    /// If the plugin isn't active, or fails to process.
    #[must_use]
    pub fn render(&mut self, input: &Signal, blocks: &[usize], changes: &[Change]) -> Signal {
        assert_eq!(input.channels.len(), self.channels, "channels");
        let processor = self.processor.as_mut().expect("active");
        let mut output = Signal {
            channels: vec![vec![f32::NAN; input.frames()]; self.channels],
        };
        let (played, late) = (&mut self.played, self.events_late);
        let audio_thread = || play(processor, input.clone(), &mut output, blocks, changes, late, played);
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().name("audio".to_owned());
            let thread = thread.spawn_scoped(scope, audio_thread).expect("an audio thread");
            if let Err(panic) = thread.join() {
                std::panic::resume_unwind(panic);
            }
        });
        self.attend();
        output
    }
}

/// What the audio thread does: `process` for one block after the other.
fn play(
    processor: &mut StartedPluginAudioProcessor<Handlers>,
    mut input: Signal,
    output: &mut Signal,
    blocks: &[usize],
    changes: &[Change],
    late: u32,
    played: &mut u64,
) {
    let frames = input.frames();
    let (mut inputs, mut outputs) = (AudioPorts::with_capacity(2, 1), AudioPorts::with_capacity(2, 1));
    let mut events = EventBuffer::new();
    let mut sizes = blocks.iter().copied().cycle();
    let mut begin = 0;
    while begin < frames {
        let end = frames.min(begin + sizes.next().expect("a block size"));
        events.clear();
        for change in changes.iter().filter(|change| (begin..end).contains(&change.at)) {
            let time = u32::try_from(change.at - begin).expect("a frame of the block");
            events.push(&ParamValueEvent::new(
                time + late,
                number(change.id),
                Pckn::match_all(),
                change.value,
            ));
        }
        let reading = input
            .channels
            .iter_mut()
            .map(|channel| InputChannel::variable(&mut channel[begin..end]));
        let input = inputs.with_input_buffers([AudioPortBuffer {
            latency: 0,
            channels: AudioPortBufferType::f32_input_only(reading),
        }]);
        let writing = output.channels.iter_mut().map(|channel| &mut channel[begin..end]);
        let mut output = outputs.with_output_buffers([AudioPortBuffer {
            latency: 0,
            channels: AudioPortBufferType::f32_output_only(writing),
        }]);
        processor
            .process(
                &input,
                &mut output,
                &events.as_input(),
                &mut OutputEvents::void(),
                Some(*played),
                None,
            )
            .unwrap_or_else(|error| panic!("frames {begin}..{end}: {error}"));
        *played += (end - begin) as u64;
        begin = end;
    }
}

impl Drop for Plugin {
    fn drop(&mut self) {
        self.deactivate();
    }
}

/// The number the framework derives from a parameter's id. Sessions keep it: it must never change.
pub(crate) fn number(id: &str) -> ClapId {
    let hash = id.bytes().fold(0u32, |hash, byte| hash.wrapping_mul(31).wrapping_add(byte.into()));
    ClapId::new(hash & !(1 << 31))
}
