//! The editor: a window of a size that sessions keep, and the panel in it.

mod analysis;
mod built_in;
mod control;
mod dialogs;
mod files;
mod handle;
mod header;
mod history;
mod knob;
mod library;
mod meters;
mod panel;
mod presets;
mod settings;
mod size;
mod spectrogram;
mod status_line;
mod switch;
mod theme;

pub use handle::PanelHandle;
pub use panel::{Instance, Panel};
pub(crate) use settings::data_folder;
pub use size::PanelSize;

use nice_plug::context::gui::GuiContext;
use nice_plug::editor::dpi::{LogicalSize, NativeSize, Size};
use nice_plug::editor::{HostMethods, SpawnedEditor};
use nice_plug::prelude::{Editor, ParentWindowHandle, ResizeHint};
use nice_plug_egui::{EguiEditorState, EguiNiceSettings, create_egui_editor};
use std::error::Error;
use std::sync::Arc;

/// Makes the editor's windows.
///
/// `nice_plug_egui`'s own editor fixes the window's size when the plugin is loaded, before the session is: this one makes a new editor, of the
/// session's size, for each window.
pub struct PanelEditor {
    instance: Arc<Instance>,
}

impl PanelEditor {
    /// An editor with no window open.
    pub(crate) fn new(instance: Arc<Instance>) -> Self {
        Self { instance }
    }

    fn logical_size(&self) -> LogicalSize<f32> {
        let [width, height] = self.instance.size().get();
        LogicalSize::new(width as f32, height as f32)
    }
}

impl Editor for PanelEditor {
    type Handle = PanelHandle;

    fn spawn(
        &self,
        parent: Option<ParentWindowHandle>,
        wait_for_parent: bool,
        fallback_scale_factor: Option<f64>,
        gui_context: GuiContext,
        host: Option<HostMethods>,
    ) -> Result<SpawnedEditor<Self::Handle>, Box<dyn Error>> {
        let panel = Panel::new(&self.instance);
        let notifier = panel.notifier();
        let settings = EguiNiceSettings::new()
            .with_tile(self.instance.title())
            .with_resize_hint(self.resize_hint());
        let state = EguiEditorState::from_size(self.logical_size(), 1.0);
        let spawned = create_egui_editor(state, notifier, settings, panel)
            .ok_or("the editor's window can't be made")?
            .spawn(parent, wait_for_parent, fallback_scale_factor, gui_context.clone(), host)?;
        Ok(SpawnedEditor {
            handle: PanelHandle::new(spawned.handle, Arc::clone(&self.instance), gui_context),
            window: spawned.window,
        })
    }

    fn size(&self) -> NativeSize<u32> {
        NativeSize::from_size(Size::from(self.logical_size()), self.instance.size().scale_factor())
    }

    fn resize_hint(&self) -> ResizeHint {
        let [width, height] = PanelSize::LEAST;
        ResizeHint::RESIZABLE.with_min_logical_size(LogicalSize::new(width as f32, height as f32))
    }
}
