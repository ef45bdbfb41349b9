//! The scrolling picture: spectrogram, divider, reduction history, axes.

use super::analysis::{COLUMNS_HZ, Column, INPUT, OUTPUT, RANGE_DB, REMOVED, ROWS, frequency_hz, height};
use super::theme::Palette;
use egui::{
    Align2, Color32, ColorImage, Context, CursorIcon, EventFilter, FontId, Id, Key, Mesh, Modifiers, Painter, Pos2, Rangef, Rect, Sense,
    Shape, Stroke, TextureHandle, TextureOptions, Ui, WidgetInfo, pos2, vec2,
};
use std::collections::VecDeque;

/// Columns of the picture: 12 s.
const COLUMNS: usize = 720;
/// Reduction at the lower end of the history, in dB.
const HISTORY_DB: f32 = 30.0;
/// Height of the history, in points.
const HISTORY: f32 = 46.0;
/// Room for the frequency axis and below for the time axis, in points.
const AXIS: [f32; 2] = [34.0, 16.0];
/// How close to the divider the pointer takes hold of it, in points.
const REACH: f32 = 8.0;

/// What the picture shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum View {
    /// Input left of the divider, output right of it.
    #[default]
    Split,
    Input,
    Output,
    Removed,
}

impl View {
    /// All, with their names.
    pub(super) const ALL: [(Self, &'static str, &'static str); 4] = [
        (
            Self::Split,
            "Before / after",
            "Input left of the divider, output right of it. Drag the divider.",
        ),
        (Self::Input, "Input", "The recording as it comes in."),
        (Self::Output, "Output", "What you hear."),
        (
            Self::Removed,
            "Removed",
            "What the restoration takes away or adds: the input minus the restored signal.",
        ),
    ];
}

/// The picture's memory: three textures that are written as rings.
pub(super) struct Spectrogram {
    /// One each for input, output, removed. Made when the window's context is known.
    textures: Option<[TextureHandle; 3]>,
    /// Column that is written next: the oldest one.
    head: usize,
    /// Reduction and clicks of each column, newest last.
    history: VecDeque<(f32, u32)>,
    colours: [Color32; 256],
}

impl Default for Spectrogram {
    fn default() -> Self {
        let mut colours = [Color32::BLACK; 256];
        for (level, colour) in colours.iter_mut().enumerate() {
            let [r, g, b] = colorous::VIRIDIS.eval_continuous(level as f64 / 255.0).as_array();
            *colour = Color32::from_rgb(r, g, b);
        }
        Self {
            textures: None,
            head: 0,
            history: VecDeque::with_capacity(COLUMNS),
            colours,
        }
    }
}

impl Spectrogram {
    /// Adds columns at the right.
    pub(super) fn push(&mut self, context: &Context, columns: &[Column]) {
        let colours = &self.colours;
        let textures = self.textures.get_or_insert_with(|| {
            ["input", "output", "removed"].map(|name| {
                let empty = ColorImage::filled([COLUMNS, ROWS], colours[0]);
                context.load_texture(format!("spectrogram of {name}"), empty, TextureOptions::LINEAR)
            })
        });
        let columns = &columns[columns.len().saturating_sub(COLUMNS)..];
        let mut rest = columns;
        while !rest.is_empty() {
            // As far as the ring's end in one piece.
            let (now, later) = rest.split_at(rest.len().min(COLUMNS - self.head));
            for (signal, texture) in textures.iter_mut().enumerate() {
                let pixels = (0..ROWS)
                    .rev()
                    .flat_map(|row| now.iter().map(move |column| colours[usize::from(column.levels[signal][row])]))
                    .collect();
                texture.set_partial([self.head, 0], ColorImage::new([now.len(), ROWS], pixels), TextureOptions::LINEAR);
            }
            self.head = (self.head + now.len()) % COLUMNS;
            rest = later;
        }
        for column in columns {
            if self.history.len() == COLUMNS {
                self.history.pop_front();
            }
            self.history.push_back((column.removed_db, column.clicks));
        }
    }

    /// Draws the picture into `all`. `divider`: 0..=1 from the left.
    pub(super) fn show(&self, ui: &mut Ui, palette: &Palette, all: Rect, view: View, divider: &mut f32) {
        let plot = Rect::from_min_max(
            all.min + vec2(AXIS[0], 0.0),
            pos2(all.right(), (all.bottom() - AXIS[1] - HISTORY).max(all.top() + 20.0)),
        );
        let response = ui.interact(plot, Id::unique("spectrogram"), Sense::click_and_drag());
        response.widget_info(|| WidgetInfo::labeled(egui::Role::Image, true, "Spectrogram"));
        let painter = ui.painter_at(all);
        painter.rect_filled(plot, 0.0, self.colours[0]);
        if view == View::Split {
            drag_divider(ui, &response, plot, divider);
            let x = plot.left() + *divider * plot.width();
            self.paint(&painter, plot, Rangef::new(plot.left(), x), INPUT);
            self.paint(&painter, plot, Rangef::new(x, plot.right()), OUTPUT);
            paint_divider(&painter, plot, x, response.has_focus());
        } else {
            let signal = match view {
                View::Input => INPUT,
                View::Removed => REMOVED,
                View::Split | View::Output => OUTPUT,
            };
            self.paint(&painter, plot, plot.x_range(), signal);
        }
        if self.history.is_empty() {
            painter.text(
                plot.center(),
                Align2::CENTER_CENTER,
                "Play something: it appears here",
                FontId::proportional(15.0),
                Color32::from_gray(190),
            );
        }
        if let Some(pointer) = response.hover_pos() {
            paint_reading(&painter, plot, pointer);
        }
        paint_frequencies(&painter, plot, palette);
        let history = Rect::from_min_max(pos2(plot.left(), plot.bottom() + 3.0), pos2(plot.right(), all.bottom() - AXIS[1]));
        self.paint_history(&painter, history, palette);
        paint_times(&painter, history, palette);
        ui.interact(history, Id::unique("history"), Sense::hover())
            .on_hover_text("Blue: how much stage 1 takes away, in dB. Strokes at the lower edge: clicks that were repaired.");
    }

    /// One signal's texture, as far as it lies between the `visible` abscissae.
    fn paint(&self, painter: &Painter, plot: Rect, visible: Rangef, signal: usize) {
        let Some(textures) = &self.textures else { return };
        let painter = painter.with_clip_rect(Rect::from_x_y_ranges(visible, plot.y_range()));
        let split = plot.left() + plot.width() * (COLUMNS - self.head) as f32 / COLUMNS as f32;
        let texel = 0.5 / COLUMNS as f32;
        let head = self.head as f32 / COLUMNS as f32;
        // Half a texel in, so that the newest and the oldest column don't mix at the seam.
        for (x, u) in [
            (Rangef::new(plot.left(), split), [head + texel, 1.0 - texel]),
            (Rangef::new(split, plot.right()), [texel, head - texel]),
        ] {
            if x.span() > 0.0 {
                let uv = Rect::from_min_max(pos2(u[0], 0.0), pos2(u[1], 1.0));
                painter.image(textures[signal].id(), Rect::from_x_y_ranges(x, plot.y_range()), uv, Color32::WHITE);
            }
        }
    }

    /// Reduction as an area that hangs from the top, clicks as strokes at the bottom.
    fn paint_history(&self, painter: &Painter, place: Rect, palette: &Palette) {
        painter.rect_filled(place, 0.0, palette.group);
        let x = |index: usize| place.right() - (self.history.len() - index) as f32 / COLUMNS as f32 * place.width();
        let mut area = Mesh::default();
        let mut edge: Vec<Pos2> = Vec::with_capacity(self.history.len());
        let fill = palette.stage1.gamma_multiply(0.35);
        for (index, (removed_db, clicks)) in self.history.iter().enumerate() {
            let y = place.top() + (removed_db / HISTORY_DB).clamp(0.0, 1.0) * (place.height() - 8.0);
            area.colored_vertex(pos2(x(index), place.top()), fill);
            area.colored_vertex(pos2(x(index), y), fill);
            edge.push(pos2(x(index), y));
            if *clicks > 0 {
                let bottom = place.bottom();
                painter.line_segment(
                    [pos2(x(index), bottom - 7.0), pos2(x(index), bottom - 1.0)],
                    Stroke::new(1.5, palette.text),
                );
            }
        }
        for index in 1..u32::try_from(edge.len()).unwrap_or(0) {
            let first = 2 * (index - 1);
            area.add_triangle(first, first + 1, first + 2);
            area.add_triangle(first + 1, first + 2, first + 3);
        }
        painter.add(Shape::mesh(area));
        painter.add(Shape::line(edge, Stroke::new(1.5, palette.stage1)));
        let font = FontId::proportional(11.0);
        for (db, align) in [(0.0, Align2::RIGHT_TOP), (HISTORY_DB, Align2::RIGHT_BOTTOM)] {
            let y = place.top() + db / HISTORY_DB * place.height();
            let text = if db > 0.0 { format!("-{db:.0} dB") } else { "0".to_owned() };
            painter.text(pos2(place.left() - 4.0, y), align, text, font.clone(), palette.faint);
        }
    }

    /// The colour scale with its ends in dB.
    pub(super) fn scale(&self, ui: &mut Ui, palette: &Palette) {
        let (all, response) = ui.allocate_exact_size(vec2(170.0, 18.0), Sense::hover());
        let painter = ui.painter();
        let bar = Rect::from_center_size(all.center(), vec2(76.0, 10.0));
        let mut mesh = Mesh::default();
        for step in 0u8..=16 {
            let x = bar.left() + bar.width() * f32::from(step) / 16.0;
            let colour = self.colours[usize::from(step) * 255 / 16];
            mesh.colored_vertex(pos2(x, bar.top()), colour);
            mesh.colored_vertex(pos2(x, bar.bottom()), colour);
            if step > 0 {
                let first = 2 * (u32::from(step) - 1);
                mesh.add_triangle(first, first + 1, first + 2);
                mesh.add_triangle(first + 1, first + 2, first + 3);
            }
        }
        painter.add(Shape::mesh(mesh));
        let font = FontId::proportional(11.0);
        painter.text(
            bar.left_center() - vec2(5.0, 0.0),
            Align2::RIGHT_CENTER,
            format!("{:.0}", RANGE_DB[0]),
            font.clone(),
            palette.faint,
        );
        painter.text(
            bar.right_center() + vec2(5.0, 0.0),
            Align2::LEFT_CENTER,
            format!("{:.0} dBFS", RANGE_DB[1]),
            font,
            palette.faint,
        );
        response.on_hover_text("Level of each frequency. A full-scale sine is 0 dBFS.");
    }
}

/// Pointer and arrow keys on the divider.
fn drag_divider(ui: &mut Ui, response: &egui::Response, plot: Rect, divider: &mut f32) {
    let x = plot.left() + *divider * plot.width();
    let near = |pointer: Pos2| (pointer.x - x).abs() <= REACH;
    if response.hover_pos().is_some_and(near) || response.dragged() {
        ui.set_cursor_icon(CursorIcon::ResizeHorizontal);
    }
    if (response.dragged() || response.clicked())
        && let Some(pointer) = response.interact_pointer_pos()
    {
        *divider = (pointer.x - plot.left()) / plot.width();
    }
    if response.double_clicked() {
        *divider = 0.5;
    }
    if response.has_focus() {
        ui.memory_mut(|memory| {
            let filter = EventFilter {
                horizontal_arrows: true,
                ..EventFilter::default()
            };
            memory.set_focus_lock_filter(response.id, filter);
        });
        for (key, step) in [(Key::ArrowLeft, -0.02), (Key::ArrowRight, 0.02)] {
            if ui.input_mut(|input| input.consume_key(Modifiers::NONE, key)) {
                *divider += step;
            }
        }
    }
    *divider = divider.clamp(0.0, 1.0);
}

fn paint_divider(painter: &Painter, plot: Rect, x: f32, focused: bool) {
    let painter = painter.with_clip_rect(plot);
    let width = if focused { 3.0 } else { 1.5 };
    painter.line_segment([pos2(x, plot.top()), pos2(x, plot.bottom())], Stroke::new(width, Color32::WHITE));
    let handle = pos2(x, plot.center().y);
    painter.circle(handle, 9.0, Color32::from_black_alpha(200), Stroke::new(width, Color32::WHITE));
    for side in [-1.0, 1.0] {
        let tip = handle + vec2(side * 6.0, 0.0);
        let tail = vec2(-side * 3.5, 3.0);
        painter.add(Shape::convex_polygon(
            vec![tip, tip + tail, tip + vec2(tail.x, -tail.y)],
            Color32::WHITE,
            Stroke::NONE,
        ));
    }
    for (text, align, offset) in [("before", Align2::RIGHT_TOP, -8.0), ("after", Align2::LEFT_TOP, 8.0)] {
        label(&painter, pos2(x + offset, plot.top() + 5.0), align, text);
    }
}

/// Text on the picture, readable on any colour.
fn label(painter: &Painter, at: Pos2, align: Align2, text: &str) {
    let galley = painter.layout_no_wrap(text.to_owned(), FontId::proportional(12.0), Color32::WHITE);
    let place = align.anchor_size(at, galley.size());
    painter.rect_filled(place.expand2(vec2(4.0, 1.0)), 3.0, Color32::from_black_alpha(160));
    painter.galley(place.min, galley, Color32::WHITE);
}

/// Frequency and time under the pointer.
fn paint_reading(painter: &Painter, plot: Rect, pointer: Pos2) {
    let painter = painter.with_clip_rect(plot);
    let hz = frequency_hz((plot.bottom() - pointer.y) / plot.height());
    let seconds = (plot.right() - pointer.x) / plot.width() * COLUMNS as f32 / COLUMNS_HZ;
    let frequency = if hz < 1000.0 {
        format!("{hz:.0} Hz")
    } else {
        format!("{:.2} kHz", hz / 1000.0)
    };
    let thin = Stroke::new(1.0, Color32::from_white_alpha(90));
    painter.line_segment([pos2(plot.left(), pointer.y), pos2(plot.right(), pointer.y)], thin);
    let left = pointer.x > plot.center().x;
    let (align, offset) = if left {
        (Align2::RIGHT_BOTTOM, -10.0)
    } else {
        (Align2::LEFT_BOTTOM, 10.0)
    };
    label(
        &painter,
        pointer + vec2(offset, -4.0),
        align,
        &format!("{frequency}, {seconds:.1} s ago"),
    );
}

fn paint_frequencies(painter: &Painter, plot: Rect, palette: &Palette) {
    let font = FontId::proportional(11.0);
    for (hz, name) in [
        (50.0, "50"),
        (100.0, "100"),
        (200.0, "200"),
        (500.0, "500"),
        (1000.0, "1k"),
        (2000.0, "2k"),
        (5000.0, "5k"),
        (10_000.0, "10k"),
    ] {
        let y = plot.bottom() - height(hz) * plot.height();
        painter.line_segment([pos2(plot.left() - 3.0, y), pos2(plot.left(), y)], Stroke::new(1.0, palette.faint));
        painter.text(pos2(plot.left() - 5.0, y), Align2::RIGHT_CENTER, name, font.clone(), palette.faint);
    }
    painter.text(
        pos2(plot.left() - 5.0, plot.bottom()),
        Align2::RIGHT_BOTTOM,
        "Hz",
        font,
        palette.faint,
    );
}

fn paint_times(painter: &Painter, plot: Rect, palette: &Palette) {
    let font = FontId::proportional(11.0);
    let span_s = COLUMNS as f32 / COLUMNS_HZ;
    for seconds in [2u8, 4, 6, 8, 10] {
        let x = plot.right() - f32::from(seconds) / span_s * plot.width();
        painter.line_segment(
            [pos2(x, plot.bottom()), pos2(x, plot.bottom() + 3.0)],
            Stroke::new(1.0, palette.faint),
        );
        painter.text(
            pos2(x, plot.bottom() + 3.0),
            Align2::CENTER_TOP,
            format!("-{seconds} s"),
            font.clone(),
            palette.faint,
        );
    }
    painter.text(
        pos2(plot.right(), plot.bottom() + 3.0),
        Align2::RIGHT_TOP,
        "now",
        font,
        palette.faint,
    );
}
