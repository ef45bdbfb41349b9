//! The first line: presets, A/B, undo, theme, bypass.

use super::built_in::BUILT_IN;
use super::control::{Desk, sound};
use super::dialogs::Dialogs;
use super::library::Library;
use super::presets::Preset;
use super::theme::Palette;
use crate::DualstepParams;
use egui::{Button, ComboBox, Response, RichText, Shape, Stroke, Ui, WidgetInfo, vec2};
use std::path::PathBuf;

/// What the user does with presets.
#[derive(Default)]
pub(super) struct PresetBar {
    /// None where the system names no folder for it.
    pub(super) library: Option<Library>,
    dialogs: Dialogs,
}

impl PresetBar {
    /// Presets kept in `folder`.
    pub(super) fn open(folder: Option<PathBuf>) -> Self {
        Self {
            library: folder.map(|folder| Library::open(folder.join("presets"))),
            dialogs: Dialogs::default(),
        }
    }

    fn find(&self, name: &str) -> Option<Preset> {
        let own = self
            .library
            .iter()
            .flat_map(Library::presets)
            .find(|preset| preset.name == name)
            .cloned();
        own.or_else(|| BUILT_IN.iter().position(|(known, ..)| *known == name).and_then(Preset::built_in))
    }

    /// Names of all presets, in the list's order.
    fn names(&self) -> Vec<String> {
        let own = self.library.iter().flat_map(Library::presets).map(|preset| preset.name.clone());
        BUILT_IN.iter().map(|(name, ..)| (*name).to_owned()).chain(own).collect()
    }

    /// The name to show: of the preset that was chosen last, or of one that is in force.
    fn title(&self, params: &DualstepParams, chosen: &mut Option<String>) -> String {
        if let Some(name) = chosen.as_deref()
            && let Some(preset) = self.find(name)
        {
            return if preset.is_in_force(params) {
                name.to_owned()
            } else {
                format!("{name} (changed)")
            };
        }
        let names = self.names();
        let name = names
            .into_iter()
            .find(|name| self.find(name).is_some_and(|preset| preset.is_in_force(params)));
        chosen.clone_from(&name);
        name.unwrap_or_else(|| "Own setting".to_owned())
    }

    /// Draws the list and its buttons. `chosen`: the preset that was chosen last.
    pub(super) fn show(
        &mut self,
        ui: &mut Ui,
        palette: &Palette,
        params: &DualstepParams,
        desk: &mut Desk<'_>,
        chosen: &mut Option<String>,
    ) {
        let title = self.title(params, chosen);
        let names = self.names();
        let here = names.iter().position(|name| Some(name) == chosen.as_ref());
        let mut pick: Option<String> = None;
        if icon(ui, palette, Icon::Left, "Previous preset", true).clicked() {
            pick = Some(names[here.map_or(0, |index| (index + names.len() - 1) % names.len())].clone());
        }
        let list = ComboBox::from_id_salt("presets")
            .width(190.0)
            .height(420.0)
            .selected_text(title)
            .show_ui(ui, |ui| {
                for (index, name) in names.iter().enumerate() {
                    if index == BUILT_IN.len() {
                        ui.separator();
                    }
                    let response = ui.selectable_label(Some(index) == here, name);
                    let response = match BUILT_IN.get(index) {
                        Some((_, what, _)) => response.on_hover_text(*what),
                        None => response,
                    };
                    if response.clicked() {
                        pick = Some(name.clone());
                    }
                }
                for reason in self.library.iter().flat_map(Library::refused) {
                    ui.label(RichText::new(reason).small().color(palette.warning));
                }
            });
        list.response
            .widget_info(|| WidgetInfo::labeled(egui::Role::ComboBox, true, "Presets"));
        if icon(ui, palette, Icon::Right, "Next preset", true).clicked() {
            pick = Some(names[here.map_or(0, |index| (index + 1) % names.len())].clone());
        }
        if let Some(preset) = pick.and_then(|name| self.find(&name)) {
            desk.change_all(params, &preset.values(params));
            *chosen = Some(preset.name);
        }
        self.menu(ui, chosen.as_deref());
        if let Some(library) = &mut self.library {
            self.dialogs.show(ui, palette, library, params, desk, chosen);
        }
    }

    fn menu(&mut self, ui: &mut Ui, chosen: Option<&str>) {
        let Some(library) = &mut self.library else {
            ui.add_enabled(false, Button::new("Preset"))
                .on_disabled_hover_text("Presets can't be kept: the system names no folder for your data. Is HOME set?");
            return;
        };
        let own = chosen.filter(|name| library.has(name));
        let dialogs = &mut self.dialogs;
        ui.menu_button("Preset", |ui| {
            let hint = "Keep what is set now under a name.";
            if ui.button("Save as...").on_hover_text(hint).clicked() {
                dialogs.save(own.unwrap_or_default());
            }
            let delete = ui.add_enabled(own.is_some(), Button::new("Delete..."));
            if delete.on_disabled_hover_text("Only your own presets can be deleted.").clicked() {
                dialogs.delete(own.unwrap_or_default());
            }
            ui.separator();
            let hint = "Take a preset file into your own presets.";
            if ui.button("Import...").on_hover_text(hint).clicked() {
                dialogs.import(library);
            }
            let hint = "Write what is set now to a file, for others.";
            if ui.button("Export...").on_hover_text(hint).clicked() {
                dialogs.export(library, chosen.unwrap_or("Dualstep preset"));
            }
            ui.separator();
            let folder = library.folder().display().to_string();
            if ui.button("Show folder").on_hover_text(&folder).clicked() {
                ui.open_url(egui::OpenUrl::new_tab(folder));
            }
            if ui.button("Read folder again").clicked() {
                library.look();
            }
        });
    }
}

/// A/B, undo and redo.
pub(super) fn compare(ui: &mut Ui, palette: &Palette, params: &DualstepParams, desk: &mut Desk<'_>) {
    for side in ['A', 'B'] {
        let here = desk.history().side() == side;
        let button = ui.add(Button::selectable(here, side.to_string())).on_hover_text(format!(
            "Setting {side} of two to compare. Each keeps its own values and its own undo."
        ));
        if button.clicked() && !here {
            desk.swap(params);
        }
    }
    let side = desk.history().side();
    let other = if side == 'A' { 'B' } else { 'A' };
    if ui
        .button("Copy")
        .on_hover_text(format!("Makes {other} the same as {side}."))
        .clicked()
    {
        desk.history().copy_to_other(sound(params));
    }
    ui.add_space(6.0);
    let (can_undo, can_redo) = (desk.history().can_undo(), desk.history().can_redo());
    if icon(ui, palette, Icon::Undo, "Undo the last change", can_undo).clicked() {
        desk.undo(params);
    }
    if icon(ui, palette, Icon::Redo, "Do it again", can_redo).clicked() {
        desk.redo(params);
    }
}

/// Signs that no font has to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Icon {
    Left,
    Right,
    Undo,
    Redo,
}

/// A small button with a painted sign.
fn icon(ui: &mut Ui, palette: &Palette, icon: Icon, name: &str, enabled: bool) -> Response {
    let response = ui.add_enabled(enabled, Button::new("").min_size(vec2(24.0, 22.0)));
    response.widget_info(|| WidgetInfo::labeled(egui::Role::Button, enabled, name));
    let colour = if enabled { palette.text } else { palette.line };
    let centre = response.rect.center();
    let stroke = Stroke::new(1.8, colour);
    let side = if matches!(icon, Icon::Left | Icon::Undo) { 1.0 } else { -1.0 };
    let point = |x: f32, y: f32| centre + vec2(side * x, y);
    let shapes = match icon {
        Icon::Left | Icon::Right => vec![Shape::line(vec![point(2.5, -5.0), point(-2.5, 0.0), point(2.5, 5.0)], stroke)],
        Icon::Undo | Icon::Redo => {
            let bow = (0u8..=12).map(|step| {
                let angle = -0.5 * std::f32::consts::PI + f32::from(step) / 12.0 * std::f32::consts::PI;
                point(1.0 + 4.0 * angle.cos(), 1.0 + 4.0 * angle.sin())
            });
            let line: Vec<_> = std::iter::once(point(-5.0, -3.0))
                .chain(bow)
                .chain(std::iter::once(point(-3.0, 5.0)))
                .collect();
            vec![
                Shape::line(line, stroke),
                Shape::line(vec![point(-2.0, -6.0), point(-5.0, -3.0), point(-2.0, 0.0)], stroke),
            ]
        }
    };
    ui.painter().extend(shapes);
    response.on_hover_text(name)
}
