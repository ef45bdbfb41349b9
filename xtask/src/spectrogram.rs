//! Spectrograms with a logarithmic frequency axis, drawn as a PNG picture.
//!
//! A [`Spectrogram`] takes any amount of audio in constant memory: when its columns are used up, neighbours are merged.

use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

use ab_glyph::{Font, FontRef, PxScale, ScaleFont, point};
use anyhow::{Context, Result};
use realfft::num_complex::Complex;
use realfft::{RealFftPlanner, RealToComplex};

use crate::audio::{Planar, temporary_file};

/// Lowest frequency shown, in Hz.
const LOW_HZ: f64 = 40.0;
/// Highest frequency shown, in Hz; less where the recording ends below.
const HIGH_HZ: f64 = 20_000.0;
/// Levels at the two ends of the colour map, in dB relative to a full-scale sine.
const RANGE_DB: (f64, f64) = (-105.0, -20.0);
/// Most columns kept. Half of it is what a long recording ends up with at least.
const MAX_COLUMNS: usize = 2400;
/// Rows kept, each a narrow band.
const ROWS: usize = 280;
/// Analysis window in seconds.
const WINDOW_SECONDS: f64 = 0.085;

/// A picture of a recording's frequencies over time.
pub struct Spectrogram {
    fft: Arc<dyn RealToComplex<f32>>,
    window: Vec<f32>,
    /// Power of a bin holding a full-scale sine.
    full_scale: f64,
    /// Samples between transforms.
    step: usize,
    /// First and last bin of each row, from the lowest frequency up.
    rows: Vec<(f64, f64)>,
    /// Mean over channels of what doesn't fill a window yet.
    pending: Vec<f32>,
    scratch: Vec<f32>,
    spectrum: Vec<Complex<f32>>,
    /// Power of each row, column after column.
    columns: Vec<Vec<f32>>,
    /// Transforms merged into each column.
    per_column: usize,
    /// The column being filled, and how many transforms are in it.
    current: (Vec<f32>, usize),
    sample_rate_hz: u32,
    high_hz: f64,
    frames: u64,
}

impl Spectrogram {
    /// An empty picture for a recording at this rate.
    #[must_use]
    pub fn new(sample_rate_hz: u32) -> Self {
        let rate = f64::from(sample_rate_hz);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a positive number of samples")]
        let size = ((rate * WINDOW_SECONDS) as usize).next_power_of_two().max(64);
        let window: Vec<f32> = (0..size)
            .map(|n| {
                let phase = std::f64::consts::TAU * n as f64 / size as f64;
                #[expect(clippy::cast_possible_truncation, reason = "0 to 1")]
                let value = (0.5 - 0.5 * phase.cos()) as f32;
                value
            })
            .collect();
        let sum: f64 = window.iter().map(|w| f64::from(*w)).sum();
        let high_hz = HIGH_HZ.min(rate / 2.0);
        let bin_of = |row: usize| frequency_of(row as f64 / ROWS as f64, high_hz) * size as f64 / rate;
        Self {
            fft: RealFftPlanner::new().plan_fft_forward(size),
            full_scale: (sum / 2.0).powi(2),
            step: size / 8,
            rows: (0..ROWS).map(|row| (bin_of(row), bin_of(row + 1))).collect(),
            // So that the first column is centred on the first sample.
            pending: vec![0.0; size / 2],
            scratch: vec![0.0; size],
            spectrum: vec![Complex::default(); size / 2 + 1],
            window,
            columns: Vec::new(),
            per_column: 1,
            current: (vec![0.0; ROWS], 0),
            sample_rate_hz,
            high_hz,
            frames: 0,
        }
    }

    /// Adds samples `from..to` of every channel.
    ///
    /// # Panics
    /// If a channel has fewer samples.
    pub fn push(&mut self, audio: &Planar, from: usize, to: usize) {
        let share = 1.0 / f32::from(u8::try_from(audio.len().max(1)).unwrap_or(u8::MAX));
        for frame in from..to {
            let sum: f32 = audio.iter().map(|channel| channel[frame]).sum();
            self.pending.push(if sum.is_finite() { sum * share } else { 0.0 });
            if self.pending.len() == self.window.len() {
                self.transform();
                self.pending.drain(..self.step);
            }
        }
        self.frames += (to - from) as u64;
    }

    fn transform(&mut self) {
        for ((out, sample), weight) in self.scratch.iter_mut().zip(&self.pending).zip(&self.window) {
            *out = sample * weight;
        }
        if self.fft.process(&mut self.scratch, &mut self.spectrum).is_err() {
            return;
        }
        let power = |bin: usize| f64::from(self.spectrum.get(bin).map_or(0.0, Complex::norm_sqr));
        for (out, (low, high)) in self.current.0.iter_mut().zip(&self.rows) {
            // Rows narrower than a bin are interpolated, wider ones take their mean.
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bins of the spectrum")]
            let (first, last) = (low.floor() as usize, high.ceil() as usize);
            let value = if high - low < 2.0 {
                let (middle, base) = ((low + high) / 2.0, ((low + high) / 2.0).floor());
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a bin of the spectrum")]
                let bin = base as usize;
                power(bin) * (1.0 - (middle - base)) + power(bin + 1) * (middle - base)
            } else {
                (first..last).map(power).sum::<f64>() / (last - first) as f64
            };
            #[expect(clippy::cast_possible_truncation, reason = "single precision is enough for a picture")]
            let value = (value / self.full_scale) as f32;
            *out += value;
        }
        self.current.1 += 1;
        if self.current.1 == self.per_column {
            self.close_column();
        }
    }

    fn close_column(&mut self) {
        let (column, count) = std::mem::replace(&mut self.current, (vec![0.0; ROWS], 0));
        let share = 1.0 / f32::from(u16::try_from(count.max(1)).unwrap_or(u16::MAX));
        self.columns.push(column.into_iter().map(|power| power * share).collect());
        if self.columns.len() == MAX_COLUMNS {
            self.columns = self
                .columns
                .chunks_exact(2)
                .map(|pair| pair[0].iter().zip(&pair[1]).map(|(a, b)| (a + b) / 2.0).collect())
                .collect();
            self.per_column *= 2;
        }
    }

    /// Length of what was pushed, in seconds.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        self.frames as f64 / f64::from(self.sample_rate_hz)
    }

    /// Level at a time in seconds and a height from 0 (lowest frequency) to 1, in dB.
    fn level_db(&self, seconds: f64, height: f64) -> f64 {
        let column = seconds * f64::from(self.sample_rate_hz) / (self.step * self.per_column) as f64;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "indices are clamped")]
        let (column, row) = (column as usize, (height * ROWS as f64) as usize);
        let column = self.columns.get(column.min(self.columns.len().saturating_sub(1)));
        10.0 * f64::from(column.map_or(0.0, |c| c[row.min(ROWS - 1)])).max(1e-20).log10()
    }
}

/// Frequency in Hz at a height from 0 to 1.
fn frequency_of(height: f64, high_hz: f64) -> f64 {
    LOW_HZ * (high_hz / LOW_HZ).powf(height)
}

/// Height from 0 to 1 of a frequency in Hz.
fn height_of(frequency_hz: f64, high_hz: f64) -> f64 {
    (frequency_hz / LOW_HZ).ln() / (high_hz / LOW_HZ).ln()
}

/// Sizes of the picture in pixels.
mod layout {
    pub(super) const WIDTH: usize = 1400;
    pub(super) const LEFT: usize = 86;
    pub(super) const RIGHT: usize = 120;
    pub(super) const PANEL: usize = 280;
    pub(super) const TITLE: usize = 40;
    pub(super) const BOTTOM: usize = 64;
    pub(super) const BAR: usize = 18;
    pub(super) const TEXT: f32 = 17.0;
    pub(super) const TITLE_TEXT: f32 = 20.0;
}

/// An RGB picture to draw on.
struct Canvas<'a> {
    width: usize,
    height: usize,
    pixels: Vec<u8>,
    font: FontRef<'a>,
}

const INK: [u8; 3] = [235, 235, 235];
const PAPER: [u8; 3] = [24, 24, 28];

#[derive(Clone, Copy)]
enum Align {
    Left,
    Centre,
    Right,
}

impl Canvas<'_> {
    fn set(&mut self, x: usize, y: usize, colour: [u8; 3]) {
        if x < self.width && y < self.height {
            let at = 3 * (y * self.width + x);
            self.pixels[at..at + 3].copy_from_slice(&colour);
        }
    }

    fn horizontal(&mut self, x: std::ops::Range<usize>, y: usize) {
        for x in x {
            self.set(x, y, INK);
        }
    }

    fn vertical(&mut self, x: usize, y: std::ops::Range<usize>) {
        for y in y {
            self.set(x, y, INK);
        }
    }

    /// Writes a line of text whose middle is at height `y`.
    fn text(&mut self, x: usize, y: usize, align: Align, size: f32, text: &str) {
        let font = self.font.clone();
        let scaled = font.as_scaled(PxScale::from(size));
        let width: f32 = text.chars().map(|c| scaled.h_advance(scaled.glyph_id(c))).sum();
        let position = |pixels: usize| f32::from(u16::try_from(pixels).unwrap_or(u16::MAX));
        let mut left = position(x)
            - match align {
                Align::Left => 0.0,
                Align::Centre => width / 2.0,
                Align::Right => width,
            };
        let baseline = position(y) + (scaled.ascent() + scaled.descent()) / 2.0;
        for character in text.chars() {
            let glyph = scaled.glyph_id(character).with_scale_and_position(size, point(left, baseline));
            left += scaled.h_advance(scaled.glyph_id(character));
            let Some(outline) = font.outline_glyph(glyph) else { continue };
            let bounds = outline.px_bounds();
            outline.draw(|dx, dy, cover| {
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "pixels of the picture; the cast saturates"
                )]
                let (x, y) = (bounds.min.x as usize + dx as usize, bounds.min.y as usize + dy as usize);
                if x < self.width && y < self.height {
                    let at = 3 * (y * self.width + x);
                    for (pixel, ink) in self.pixels[at..at + 3].iter_mut().zip(INK) {
                        let mixed = f32::from(*pixel) + (f32::from(ink) - f32::from(*pixel)) * cover.min(1.0);
                        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between two colours")]
                        let mixed = mixed as u8;
                        *pixel = mixed;
                    }
                }
            });
        }
    }
}

fn colour_of(level_db: f64) -> [u8; 3] {
    let share = ((level_db - RANGE_DB.0) / (RANGE_DB.1 - RANGE_DB.0)).clamp(0.0, 1.0);
    colorous::MAGMA.eval_continuous(share).as_array()
}

/// Draws panels with their titles below each other on one time axis and writes the picture to `path`, which is replaced.
///
/// # Errors
/// If the file can't be written.
pub fn draw(panels: &[(&str, &Spectrogram)], path: &Path) -> Result<()> {
    let font = FontRef::try_from_slice(epaint_default_fonts::UBUNTU_LIGHT).context("the built-in font can't be read")?;
    let height = panels.len() * (layout::TITLE + layout::PANEL) + layout::BOTTOM;
    let mut canvas = Canvas {
        width: layout::WIDTH,
        height,
        pixels: PAPER.repeat(layout::WIDTH * height),
        font,
    };
    let seconds = panels.iter().map(|(_, s)| s.seconds()).fold(0.0, f64::max).max(1e-3);
    let right = layout::WIDTH - layout::RIGHT;
    for (index, (title, spectrogram)) in panels.iter().enumerate() {
        let top = index * (layout::TITLE + layout::PANEL) + layout::TITLE;
        let bottom = top + layout::PANEL;
        canvas.text(layout::LEFT, top - layout::TITLE / 2 + 4, Align::Left, layout::TITLE_TEXT, title);
        for y in 0..layout::PANEL {
            let row = 1.0 - (y as f64 + 0.5) / layout::PANEL as f64;
            for x in layout::LEFT..right {
                let time = (x - layout::LEFT) as f64 / (right - layout::LEFT) as f64 * seconds;
                canvas.set(x, top + y, colour_of(spectrogram.level_db(time, row)));
            }
        }
        frequency_axis(&mut canvas, top, spectrogram.high_hz);
        time_axis(&mut canvas, bottom, seconds, index + 1 == panels.len());
        level_bar(&mut canvas, top);
    }
    canvas.text(
        usize::midpoint(layout::LEFT, right),
        height - 16,
        Align::Centre,
        layout::TEXT,
        if seconds < 120.0 {
            "time in seconds"
        } else {
            "time in minutes:seconds"
        },
    );
    save(&canvas, path)
}

fn frequency_axis(canvas: &mut Canvas, top: usize, high_hz: f64) {
    let bottom = top + layout::PANEL;
    canvas.vertical(layout::LEFT - 1, top..bottom);
    for (frequency, label) in [
        (50.0, "50 Hz"),
        (100.0, "100 Hz"),
        (200.0, "200 Hz"),
        (500.0, "500 Hz"),
        (1e3, "1 kHz"),
        (2e3, "2 kHz"),
        (5e3, "5 kHz"),
        (1e4, "10 kHz"),
        (2e4, "20 kHz"),
    ] {
        if frequency <= high_hz {
            let y = bottom - pixels(height_of(frequency, high_hz) * layout::PANEL as f64);
            canvas.horizontal(layout::LEFT - 7..layout::LEFT, y);
            canvas.text(layout::LEFT - 11, y, Align::Right, layout::TEXT, label);
        }
    }
}

fn time_axis(canvas: &mut Canvas, bottom: usize, seconds: f64, labelled: bool) {
    let right = layout::WIDTH - layout::RIGHT;
    canvas.horizontal(layout::LEFT..right, bottom);
    let steps = [
        0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0,
    ];
    let step = steps.into_iter().find(|step| seconds / step <= 12.0).unwrap_or(7200.0);
    for tick in 0..=pixels(seconds / step) {
        let time = tick as f64 * step;
        if time > seconds {
            break;
        }
        let x = layout::LEFT + pixels(time / seconds * (right - layout::LEFT) as f64);
        canvas.vertical(x, bottom..bottom + 6);
        if labelled {
            let label = if seconds < 120.0 {
                format!("{}", (time * 10.0).round() / 10.0)
            } else {
                format!("{}:{:02}", pixels(time) / 60, pixels(time) % 60)
            };
            canvas.text(x, bottom + 18, Align::Centre, layout::TEXT, &label);
        }
    }
}

fn level_bar(canvas: &mut Canvas, top: usize) {
    let left = layout::WIDTH - layout::RIGHT + 22;
    for y in 0..layout::PANEL {
        let share = 1.0 - y as f64 / (layout::PANEL - 1) as f64;
        let colour = colour_of(RANGE_DB.0 + share * (RANGE_DB.1 - RANGE_DB.0));
        for x in left..left + layout::BAR {
            canvas.set(x, top + y, colour);
        }
    }
    for level in [-100, -80, -60, -40, -20] {
        let share = (f64::from(level) - RANGE_DB.0) / (RANGE_DB.1 - RANGE_DB.0);
        let y = top + layout::PANEL - 1 - pixels(share * (layout::PANEL - 1) as f64);
        canvas.horizontal(left + layout::BAR..left + layout::BAR + 5, y);
        // A minus sign proper; the hyphen is too short to be seen.
        let label = format!("\u{2212}{} dB", -level);
        canvas.text(left + layout::BAR + 9, y, Align::Left, layout::TEXT, &label);
    }
}

fn pixels(value: f64) -> usize {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "positions in the picture; the cast saturates"
    )]
    let pixels = value.round() as usize;
    pixels
}

fn save(canvas: &Canvas, path: &Path) -> Result<()> {
    let failed = || format!("can't write {}", path.display());
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let (file, temporary) = temporary_file(folder).with_context(failed)?.into_parts();
    let (width, height) = (u32::try_from(canvas.width)?, u32::try_from(canvas.height)?);
    let mut out = BufWriter::new(file);
    let mut encoder = png::Encoder::new(&mut out, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header().with_context(failed)?;
    writer.write_image_data(&canvas.pixels).with_context(failed)?;
    writer.finish().with_context(failed)?;
    out.flush().with_context(failed)?;
    temporary.persist(path).with_context(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tone_is_where_it_belongs_and_memory_stays_bounded() {
        let mut spectrogram = Spectrogram::new(48_000);
        let tone: Vec<f32> = (0u16..48_000)
            .map(|n| (f32::from(n) * std::f32::consts::TAU * 1000.0 / 48_000.0).sin())
            .collect();
        for _ in 0..60 {
            spectrogram.push(&vec![tone.clone(), tone.clone()], 0, tone.len());
        }
        assert!((spectrogram.seconds() - 60.0).abs() < 1e-9);
        assert!(spectrogram.columns.len() < MAX_COLUMNS && spectrogram.per_column > 1);
        let high = spectrogram.high_hz;
        let at = |hz| spectrogram.level_db(30.0, height_of(hz, high));
        assert!(at(1000.0) > -6.0 && at(1000.0) <= 0.5, "{}", at(1000.0));
        assert!(at(2000.0) < -80.0 && at(500.0) < -80.0);
    }

    #[test]
    fn the_frequency_axis_is_logarithmic() {
        assert!((height_of(LOW_HZ, HIGH_HZ)).abs() < 1e-9);
        assert!((height_of(HIGH_HZ, HIGH_HZ) - 1.0).abs() < 1e-9);
        assert!((frequency_of(height_of(1234.0, HIGH_HZ), HIGH_HZ) - 1234.0).abs() < 1e-6);
    }

    #[test]
    fn a_picture_is_written() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("a.png");
        let mut spectrogram = Spectrogram::new(8000);
        spectrogram.push(&vec![vec![0.1; 8000]], 0, 8000);
        draw(&[("before", &spectrogram), ("after", &spectrogram)], &path)?;
        let decoder = png::Decoder::new(std::io::BufReader::new(std::fs::File::open(&path)?));
        let info = decoder.read_info()?.info().size();
        assert_eq!(info, (1400, 704));
        Ok(())
    }
}
