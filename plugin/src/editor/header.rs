//! The first line: presets, A/B, undo, theme, bypass.

use super::built_in::BUILT_IN;
use super::control::Desk;
use super::dialogs::Dialogs;
use super::library::Library;
use super::presets::Preset;
use super::theme::Palette;
use crate::DualstepParams;
use egui::{Button, ComboBox, Response, RichText, Shape, Stroke, Ui, WidgetInfo, vec2};
use std::path::PathBuf;

/// A preset in the list. Names of one's own needn't be unique: files come from elsewhere.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Choice {
    /// One that the plugin brings, by its index.
    BuiltIn(usize),
    /// One of the user's, by its file.
    Own(PathBuf),
}

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

    /// All presets, in the list's order.
    fn presets(&self) -> Vec<(Choice, Preset)> {
        let built_in = (0..BUILT_IN.len()).filter_map(|index| Some((Choice::BuiltIn(index), Preset::built_in(index)?)));
        let own = self.library.iter().flat_map(Library::presets);
        built_in
            .chain(own.map(|(path, preset)| (Choice::Own(path.clone()), preset.clone())))
            .collect()
    }

    /// Draws the list and its buttons. `chosen`: the preset that was chosen last.
    pub(super) fn show(
        &mut self,
        ui: &mut Ui,
        palette: &Palette,
        params: &DualstepParams,
        desk: &mut Desk<'_>,
        chosen: &mut Option<Choice>,
    ) {
        let presets = self.presets();
        let sound = desk.sound(params);
        let find = |chosen: &Choice| presets.iter().position(|(choice, _)| choice == chosen);
        let here = chosen.as_ref().and_then(find);
        // Without one that was chosen, one that is in force.
        let here = here.or_else(|| presets.iter().position(|(_, preset)| preset.holds(params, &sound)));
        *chosen = here.map(|index| presets[index].0.clone());
        let title = match here.map(|index| &presets[index].1) {
            Some(preset) if preset.holds(params, &sound) => preset.name.clone(),
            Some(preset) => format!("{} (changed)", preset.name),
            None => "Own setting".to_owned(),
        };
        let mut pick = None;
        if icon(ui, palette, Icon::Left, "Previous preset", true).clicked() {
            pick = Some(here.map_or(0, |index| (index + presets.len() - 1) % presets.len()));
        }
        let list = ComboBox::from_id_salt("presets")
            .width(190.0)
            .height(420.0)
            .selected_text(title)
            .show_ui(ui, |ui| {
                for (index, (_, preset)) in presets.iter().enumerate() {
                    if index == BUILT_IN.len() {
                        ui.separator();
                    }
                    let response = ui.selectable_label(Some(index) == here, &preset.name);
                    let response = match BUILT_IN.get(index) {
                        Some((_, what, _)) => response.on_hover_text(*what),
                        None => response,
                    };
                    if response.clicked() {
                        pick = Some(index);
                    }
                }
                for reason in self.library.iter().flat_map(Library::refused) {
                    ui.label(RichText::new(reason).small().color(palette.warning));
                }
            });
        list.response
            .widget_info(|| WidgetInfo::labeled(egui::Role::ComboBox, true, "Presets"));
        if icon(ui, palette, Icon::Right, "Next preset", true).clicked() {
            pick = Some(here.map_or(0, |index| (index + 1) % presets.len()));
        }
        if let Some((choice, preset)) = pick.and_then(|index| presets.get(index)) {
            desk.change_all(params, &preset.values(params));
            *chosen = Some(choice.clone());
        }
        let named = chosen.as_ref().and_then(find).map(|index| &presets[index]);
        self.menu(ui, named);
        if let Some(library) = &mut self.library {
            self.dialogs.show(ui, palette, library, params, desk, chosen);
        }
    }

    fn menu(&mut self, ui: &mut Ui, chosen: Option<&(Choice, Preset)>) {
        let Some(library) = &mut self.library else {
            ui.add_enabled(false, Button::new("Preset"))
                .on_disabled_hover_text("Presets can't be kept: the system names no folder for your data. Is HOME set?");
            return;
        };
        let own = chosen.and_then(|(choice, preset)| match choice {
            Choice::Own(path) => Some((path, &*preset.name)),
            Choice::BuiltIn(_) => None,
        });
        let dialogs = &mut self.dialogs;
        ui.menu_button("Preset", |ui| {
            let hint = "Keep what is set now under a name.";
            if ui.button("Save as...").on_hover_text(hint).clicked() {
                library.look();
                dialogs.save(own.map_or("", |(_, name)| name));
            }
            let delete = ui.add_enabled(own.is_some(), Button::new("Delete..."));
            let clicked = delete.on_disabled_hover_text("Only your own presets can be deleted.").clicked();
            if let (true, Some((path, name))) = (clicked, own) {
                dialogs.delete(path, name);
            }
            ui.separator();
            let hint = "Take a preset file into your own presets.";
            if ui.button("Import...").on_hover_text(hint).clicked() {
                dialogs.import(library);
            }
            let hint = "Write what is set now to a file, for others.";
            if ui.button("Export...").on_hover_text(hint).clicked() {
                dialogs.export(library, chosen.map_or("Dualstep preset", |(_, preset)| &preset.name));
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
        desk.copy_to_other(params);
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
