//! How a state that the editor restores gets to the audio thread, and back to be freed.

use crossbeam::queue::ArrayQueue;
use nice_plug_core::plugin::PluginState;
use std::time::{Duration, Instant};

/// How often the GUI thread looks whether the audio thread has restored the state.
const POLL_INTERVAL: Duration = Duration::from_millis(1);

/// Room for one state in each direction. The GUI thread [`submit`][Self::submit]s a state and waits.
/// The audio thread [`take`][Self::take]s it at the end of a processing cycle, restores it, and
/// [`give_back`][Self::give_back]s it so that it's freed on the GUI thread. Neither `take()` nor
/// `give_back()` ever locks, allocates, or frees anything.
pub(crate) struct StateHandover {
    submitted: ArrayQueue<PluginState>,
    restored: ArrayQueue<PluginState>,
}

impl StateHandover {
    pub fn new() -> Self {
        Self {
            submitted: ArrayQueue::new(1),
            restored: ArrayQueue::new(1),
        }
    }

    /// Hands `state` to the audio thread and waits until it has been restored. If the audio thread
    /// hasn't taken it within `timeout`, as when the host has stopped processing, then the state is
    /// returned as an error. Must not be called from the audio thread.
    pub fn submit(&self, state: PluginState, timeout: Duration) -> Result<(), PluginState> {
        let deadline = Instant::now() + timeout;
        self.submitted.push(state)?;

        loop {
            if self.restored.pop().is_some() {
                return Ok(());
            }
            // Once the audio thread has taken the state it will give it back, so then this only
            // needs to wait
            if Instant::now() >= deadline
                && let Some(state) = self.submitted.pop()
            {
                return Err(state);
            }
            std::thread::sleep(POLL_INTERVAL);
        }
    }

    /// The state that was submitted, if any. To be called from the audio thread.
    #[inline]
    pub fn take(&self) -> Option<PluginState> {
        self.submitted.pop()
    }

    /// Returns a state from [`take()`][Self::take] to the GUI thread.
    pub fn give_back(&self, state: PluginState) {
        // There's never more than one on its way, so there's always room
        if let Err(state) = self.restored.push(state) {
            std::mem::forget(state);
        }
    }
}
