//! Keeps the editor's window open on Linux, where it runs in a thread of its own, in a way that
//! other things than the window can end.

use std::error::Error;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

use nice_plug_core::editor::dpi::Size;
use nice_plug_core::editor::{EditorHandle, HostCallbacks, HostMainThreadCaller, HostMethods};
use parking_lot::Mutex;

/// How long a request to close may go unseen.
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// How long the window's thread may take to end after the window was closed.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// The host methods for a window without a host. The receiver gets a message when the window's
/// thread wants [`EditorHandle::host_main_thread_callback()`] called, and is disconnected when that
/// thread ends.
pub fn host() -> (HostMethods, Receiver<()>) {
    let (sender, receiver) = mpsc::channel();
    let host = HostMethods {
        callbacks: Box::new(NoParent),
        main_thread_caller: Box::new(MainThread(sender)),
    };

    (host, receiver)
}

/// Shows the window and blocks until the user closes it or `should_close` returns true.
///
/// # Errors
/// If the window can't be shown or its thread ended with an error.
pub fn run_until_closed<H: EditorHandle>(
    window: H::Window,
    handle: &Mutex<Option<H>>,
    window_thread: &Receiver<()>,
    should_close: impl Fn() -> bool,
) -> Result<(), H::Error> {
    if let Some(handle) = handle.lock().as_ref() {
        handle.show(&window)?;
    }

    while !should_close() {
        match window_thread.recv_timeout(POLL_INTERVAL) {
            Ok(()) => {
                if let Some(handle) = handle.lock().as_ref() {
                    handle.host_main_thread_callback(&window);
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                // The last thing that the thread does after this is to mark the window as closed
                std::thread::sleep(POLL_INTERVAL);
                return H::run_until_closed(window);
            }
        }
    }

    // This closes the window but doesn't always wait for its thread
    drop(window);
    while window_thread.recv_timeout(CLOSE_TIMEOUT).is_ok() {}
    Ok(())
}

/// There is no parent window that has to follow this one.
struct NoParent;

impl HostCallbacks for NoParent {
    fn request_resize(
        &mut self,
        _new_size: Size,
        _scale_factor: f64,
    ) -> Result<(), Box<dyn Error>> {
        Ok(())
    }

    fn destroyed(&mut self) {}
}

struct MainThread(Sender<()>);

impl HostMainThreadCaller for MainThread {
    fn call_main_thread(&mut self) {
        // Nobody listens any more when the program is about to end
        let _ = self.0.send(());
    }
}
