mod cpal;
mod dummy;
mod jack;

use nice_plug_core::audio_setup::AuxiliaryBuffers;
use nice_plug_core::context::process::Transport;
use nice_plug_core::midi::PluginNoteEvent;

pub use self::cpal::CpalMidir;
pub use self::dummy::Dummy;
pub use self::jack::Jack;
use super::config::WrapperConfig;
pub use crate::buffer::Buffer;
pub use crate::plugin::Plugin;

/// An audio+MIDI backend for the standalone wrapper.
pub trait Backend<P: Plugin>: 'static + Send + Sync {
    /// What is in force when `requested` was asked for: some backends take the sample rate and the
    /// period size from a server.
    fn config(&self, requested: WrapperConfig) -> WrapperConfig {
        requested
    }

    /// Start processing audio and MIDI on this thread. The process callback will be called whenever
    /// there's a new block of audio to be processed. The process callback receives the audio
    /// buffers for the wrapped plugin's outputs. Any inputs will have already been copied to this
    /// buffer. This will block until the process callback returns `false`.
    fn run(
        &mut self,
        cb: impl FnMut(
            &mut Buffer,
            &mut AuxiliaryBuffers,
            Transport,
            &[PluginNoteEvent<P>],
            &mut Vec<PluginNoteEvent<P>>,
        ) -> bool
        + 'static
        + Send,
    );
}
