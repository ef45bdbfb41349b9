//! The host's hold on an open window.

use super::panel::Instance;
use nice_plug::context::gui::GuiContext;
use nice_plug::editor::EditorHandle;
use nice_plug::editor::dpi::NativeSize;
use nice_plug::prelude::ParentWindowHandle;
use nice_plug_egui::EguiEditorHandle;
use std::sync::Arc;

/// `nice_plug_egui`'s handle, which also tells the panel whether it is hidden, since a window goes on drawing when it is, and lets go of what the user holds
/// when it goes away.
pub struct PanelHandle {
    inner: EguiEditorHandle,
    instance: Arc<Instance>,
    gui: GuiContext,
}

impl PanelHandle {
    /// For a window that was just made.
    pub(super) fn new(inner: EguiEditorHandle, instance: Arc<Instance>, gui: GuiContext) -> Self {
        instance.set_hidden(false);
        Self { inner, instance, gui }
    }
}

impl Drop for PanelHandle {
    fn drop(&mut self) {
        self.instance.let_go(self.gui.param_setter());
    }
}

impl EditorHandle for PanelHandle {
    type Window = <EguiEditorHandle as EditorHandle>::Window;
    type Error = <EguiEditorHandle as EditorHandle>::Error;

    fn run_until_closed(window: Self::Window) -> Result<(), Self::Error> {
        EguiEditorHandle::run_until_closed(window)
    }

    fn set_parent(&self, parent: ParentWindowHandle, window: &Self::Window) -> Result<(), Self::Error> {
        self.inner.set_parent(parent, window)
    }

    fn show(&self, window: &Self::Window) -> Result<(), Self::Error> {
        self.instance.set_hidden(false);
        self.inner.show(window)
    }

    fn hide(&self, window: &Self::Window) -> Result<(), Self::Error> {
        self.instance.set_hidden(true);
        self.instance.let_go(self.gui.param_setter());
        self.inner.hide(window)
    }

    fn set_size(&self, new_size: NativeSize<u32>, window: &Self::Window) -> Result<(), Self::Error> {
        self.inner.set_size(new_size, window)
    }

    fn host_main_thread_callback(&self, window: &Self::Window) {
        self.inner.host_main_thread_callback(window);
    }

    fn adjust_size(&self, new_size: NativeSize<u32>, window: &Self::Window) -> Option<NativeSize<u32>> {
        self.inner.adjust_size(new_size, window)
    }

    fn set_fallback_scale_factor(&self, scale_factor: f64, window: &Self::Window) -> Result<(), Self::Error> {
        self.inner.set_fallback_scale_factor(scale_factor, window)
    }

    fn state_changed(&self) {
        self.inner.state_changed();
    }

    fn param_value_changed(&self, id: &str, normalized_value: f32) {
        self.inner.param_value_changed(id, normalized_value);
    }

    fn param_modulation_changed(&self, id: &str, modulation_offset: f32) {
        self.inner.param_modulation_changed(id, modulation_offset);
    }
}
