//! What is asked in front of the panel: names of presets, files to take and to write, and whether something may be replaced.
//!
//! Files are chosen in a list that is drawn inside the panel: the system's own dialog would need a toolkit in the host's process (GTK), or a service that
//! isn't everywhere (the desktop portal), and on some systems it would stop the host's windows while it is open.

use super::built_in::BUILT_IN;
use super::control::Desk;
use super::files::{ENDING, file_stem, is_preset_name, with_ending};
use super::header::Choice;
use super::library::Library;
use super::presets::Preset;
use super::theme::Palette;
use crate::DualstepParams;
use egui::{Align2, Button, Id, Key, Modal, RichText, TextEdit, Ui, Vec2, vec2};
use egui_file::{FileDialog, State};
use std::path::{Path, PathBuf};

/// Size of the list of files, in points. It fits the smallest window.
const FILES: Vec2 = vec2(520.0, 380.0);

/// At most one question at a time.
#[derive(Default)]
pub(super) struct Dialogs {
    open: Option<Dialog>,
    /// Folder that a file was chosen from last.
    folder: Option<PathBuf>,
}

/// A question.
enum Dialog {
    /// Under which name to keep what is set.
    Save(Name),
    /// Whether to delete a preset: its file and its name.
    Delete(PathBuf, String),
    /// Which file to take.
    Import(FileDialog),
    /// Which file to write.
    Export(FileDialog),
    /// Whether a preset from a file may take the place of one of the same name.
    ReplacePreset(Preset),
    /// Whether a file may be written over.
    ReplaceFile(PathBuf),
    /// No question: what went wrong.
    Problem(String),
}

/// A name that is being typed.
#[derive(Default)]
struct Name {
    text: String,
    /// Why the last try failed.
    problem: String,
    shown: bool,
}

/// What the user says.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Answer {
    None,
    Yes,
    No,
}

impl Dialogs {
    /// Asks for a name to save under. `name` is proposed.
    pub(super) fn save(&mut self, name: &str) {
        self.open = Some(Dialog::Save(Name {
            text: name.to_owned(),
            ..Name::default()
        }));
    }

    /// Asks whether to delete a preset.
    pub(super) fn delete(&mut self, path: &Path, name: &str) {
        self.open = Some(Dialog::Delete(path.to_owned(), name.to_owned()));
    }

    /// Asks for a preset file to take.
    pub(super) fn import(&mut self, library: &Library) {
        let files = FileDialog::open_file().title("Import a preset");
        self.open = Some(Dialog::Import(self.files(files, library)));
    }

    /// Asks for a file to write. `name` is proposed.
    pub(super) fn export(&mut self, library: &Library, name: &str) {
        let files = FileDialog::save_file().title("Export what is set now");
        let files = files.default_filename(format!("{}.{ENDING}", file_stem(name)));
        self.open = Some(Dialog::Export(self.files(files, library)));
    }

    /// A list of preset files: in the folder used last, or else the user's own, or else the nearest one to the presets.
    fn files(&self, files: FileDialog, library: &Library) -> FileDialog {
        let home = || etcetera::home_dir().ok().filter(|home| home.is_absolute() && home.is_dir());
        let nearest = || library.folder().ancestors().find(|folder| folder.is_dir()).map(Path::to_owned);
        let folder = self.folder.clone().or_else(home).or_else(nearest).unwrap_or_default();
        let mut files = files
            .initial_path(folder)
            .show_files_filter(Box::new(is_preset_name))
            .show_rename(false)
            .show_new_folder(false)
            .default_size(FILES)
            .anchor(Align2::CENTER_CENTER, Vec2::ZERO)
            .keep_on_top(true);
        files.open();
        files
    }

    /// Draws the question that is open, if any, and does what is answered. `chosen`: the preset that was chosen last.
    pub(super) fn show(
        &mut self,
        ui: &Ui,
        palette: &Palette,
        library: &mut Library,
        params: &DualstepParams,
        desk: &mut Desk<'_>,
        chosen: &mut Option<Choice>,
    ) {
        let Some(dialog) = self.open.take() else { return };
        self.open = match dialog {
            Dialog::Save(name) => save(ui, palette, name, library, params, desk, chosen),
            Dialog::Delete(path, name) => {
                let text = format!("Delete the preset \"{name}\"? Its file moves to the folder \"replaced\".");
                match ask(ui, &text, Some("Delete")) {
                    Answer::None => Some(Dialog::Delete(path, name)),
                    Answer::No => None,
                    Answer::Yes => match library.remove(&path) {
                        Ok(()) => {
                            *chosen = None;
                            None
                        }
                        Err(problem) => Some(Dialog::Problem(problem)),
                    },
                }
            }
            Dialog::Import(mut files) => match self.choice(ui, &mut files) {
                Answer::None => Some(Dialog::Import(files)),
                Answer::No => None,
                Answer::Yes => match path(&files).and_then(|path| Preset::read(&path)) {
                    Ok(preset) => {
                        library.look();
                        if is_built_in(&preset.name) {
                            // In force already, it is kept under a name that the user chooses.
                            desk.change_all(params, &preset.values(params));
                            self.save(&preset.name);
                            self.open.take()
                        } else if library.has(&preset.name) {
                            Some(Dialog::ReplacePreset(preset))
                        } else {
                            take(&preset, library, params, desk, chosen)
                        }
                    }
                    Err(problem) => Some(Dialog::Problem(problem)),
                },
            },
            Dialog::ReplacePreset(preset) => {
                let text = format!(
                    "There is a preset \"{}\" already. Replace it? The old one is kept in the folder \"replaced\".",
                    preset.name
                );
                match ask(ui, &text, Some("Replace")) {
                    Answer::None => Some(Dialog::ReplacePreset(preset)),
                    Answer::No => None,
                    Answer::Yes => take(&preset, library, params, desk, chosen),
                }
            }
            Dialog::Export(mut files) => match self.choice(ui, &mut files) {
                Answer::None => Some(Dialog::Export(files)),
                Answer::No => None,
                Answer::Yes => match path(&files).map(with_ending) {
                    Ok(path) if path.exists() => Some(Dialog::ReplaceFile(path)),
                    Ok(path) => write(&path, params, desk, false),
                    Err(problem) => Some(Dialog::Problem(problem)),
                },
            },
            Dialog::ReplaceFile(path) => {
                let text = format!("{} exists already. Replace it? What it holds is lost.", path.display());
                match ask(ui, &text, Some("Replace")) {
                    Answer::None => Some(Dialog::ReplaceFile(path)),
                    Answer::No => None,
                    Answer::Yes => write(&path, params, desk, true),
                }
            }
            Dialog::Problem(problem) => match ask(ui, &problem, None) {
                Answer::None => Some(Dialog::Problem(problem)),
                Answer::Yes | Answer::No => None,
            },
        };
    }

    /// Draws the list of files.
    fn choice(&mut self, ui: &Ui, files: &mut FileDialog) -> Answer {
        match files.show(ui.ctx()).state() {
            State::Open => Answer::None,
            State::Selected => {
                self.folder = Some(files.directory().to_owned());
                Answer::Yes
            }
            State::Cancelled | State::Closed => Answer::No,
        }
    }
}

/// Asks for a name, and saves under it.
fn save(
    ui: &Ui,
    palette: &Palette,
    mut name: Name,
    library: &mut Library,
    params: &DualstepParams,
    desk: &Desk<'_>,
    chosen: &mut Option<Choice>,
) -> Option<Dialog> {
    let text = name.text.trim().to_owned();
    let (replaces, taken) = (library.has(&text), is_built_in(&text));
    let mut answer = Answer::None;
    let modal = Modal::new(Id::unique("preset dialog")).show(ui.ctx(), |ui| {
        ui.set_width(400.0);
        ui.label("Save under which name?");
        let field = TextEdit::singleline(&mut name.text).desired_width(f32::INFINITY);
        let field = ui.add(field.id(Id::unique("preset name")));
        if !std::mem::replace(&mut name.shown, true) {
            field.request_focus();
        }
        let entered = field.lost_focus() && ui.input(|input| input.key_pressed(Key::Enter));
        if taken {
            ui.small("A preset that Dualstep brings has this name. Choose another one.");
        } else if replaces {
            ui.small("There is a preset of this name. The old one is kept in the folder \"replaced\".");
        }
        if !name.problem.is_empty() {
            ui.label(RichText::new(&name.problem).color(palette.warning));
        }
        let ready = !text.is_empty() && !taken;
        answer = buttons(ui, Some(if replaces { "Replace" } else { "Save" }), ready, entered);
    });
    match answer {
        Answer::Yes => {
            library.look();
            if library.has(&text) && !replaces {
                // It came while the user typed: ask.
                return Some(Dialog::Save(name));
            }
            match library.save(&Preset::of(params, &desk.sound(params), &text)) {
                Ok(path) => {
                    *chosen = Some(Choice::Own(path));
                    None
                }
                Err(problem) => Some(Dialog::Save(Name { problem, ..name })),
            }
        }
        Answer::No => None,
        Answer::None => (!modal.should_close()).then_some(Dialog::Save(name)),
    }
}

/// A text, and what to do about it; without `act` there is nothing to do.
fn ask(ui: &Ui, text: &str, act: Option<&str>) -> Answer {
    let mut answer = Answer::None;
    let modal = Modal::new(Id::unique("preset dialog")).show(ui.ctx(), |ui| {
        ui.set_width(400.0);
        ui.label(text);
        let entered = ui.input(|input| input.key_pressed(Key::Enter)) && ui.memory(|memory| memory.focused().is_none());
        answer = buttons(ui, act, true, entered);
    });
    if answer == Answer::None && modal.should_close() {
        Answer::No
    } else {
        answer
    }
}

fn buttons(ui: &mut Ui, act: Option<&str>, ready: bool, entered: bool) -> Answer {
    ui.horizontal(|ui| {
        let Some(act) = act else {
            return if ui.button("Close").clicked() { Answer::No } else { Answer::None };
        };
        let yes = ui.add_enabled(ready, Button::new(act)).clicked() || (ready && entered);
        let no = ui.button("Cancel").clicked();
        match (yes, no) {
            (true, _) => Answer::Yes,
            (_, true) => Answer::No,
            _ => Answer::None,
        }
    })
    .inner
}

/// Keeps a preset from a file and puts it in force.
fn take(
    preset: &Preset,
    library: &mut Library,
    params: &DualstepParams,
    desk: &mut Desk<'_>,
    chosen: &mut Option<Choice>,
) -> Option<Dialog> {
    match library.save(preset) {
        Ok(path) => {
            desk.change_all(params, &preset.values(params));
            *chosen = Some(Choice::Own(path));
            None
        }
        Err(problem) => Some(Dialog::Problem(problem)),
    }
}

/// Writes what is set to a file, under the file's name.
fn write(path: &Path, params: &DualstepParams, desk: &Desk<'_>, replace: bool) -> Option<Dialog> {
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    let preset = Preset::of(params, &desk.sound(params), &name);
    preset.write(path, replace).err().map(Dialog::Problem)
}

fn is_built_in(name: &str) -> bool {
    BUILT_IN.iter().any(|(known, ..)| *known == name)
}

/// The file that was chosen.
fn path(files: &FileDialog) -> Result<PathBuf, String> {
    match files.path() {
        Some(path) if path.is_absolute() => Ok(path.to_owned()),
        Some(path) => Err(format!(
            "{} doesn't say in which folder. Choose one, or type a whole path.",
            path.display()
        )),
        None => Err("No file was chosen.".to_owned()),
    }
}
