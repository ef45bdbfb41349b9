//! Colours, sizes of text, and how egui's own widgets look.

use egui::{Color32, Context, CornerRadius, FontId, Stroke, TextStyle, Theme, Visuals};

/// The panel's colours. Meanings are never told by colour alone.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Palette {
    /// Behind everything.
    pub(super) window: Color32,
    /// Behind groups of controls.
    pub(super) group: Color32,
    /// Tracks of knobs and meters.
    pub(super) track: Color32,
    /// Outlines.
    pub(super) line: Color32,
    /// Text that must be read.
    pub(super) text: Color32,
    /// Text that may be read.
    pub(super) faint: Color32,
    /// Stage 1 and what it removes.
    pub(super) stage1: Color32,
    /// Stage 2 and what it restores.
    pub(super) stage2: Color32,
    /// All other controls, levels.
    pub(super) neutral: Color32,
    /// What asks for attention.
    pub(super) warning: Color32,
}

/// Stages and warning: Okabe and Ito's colours that colour-blind people tell apart (2008); on white, darkened until text in them can be read.
const DARK: Palette = Palette {
    window: Color32::from_rgb(20, 23, 28),
    group: Color32::from_rgb(29, 33, 40),
    track: Color32::from_rgb(52, 58, 69),
    line: Color32::from_rgb(66, 73, 86),
    text: Color32::from_rgb(232, 236, 241),
    faint: Color32::from_rgb(158, 167, 180),
    stage1: Color32::from_rgb(86, 180, 233),
    stage2: Color32::from_rgb(230, 159, 0),
    neutral: Color32::from_rgb(178, 190, 205),
    warning: Color32::from_rgb(255, 122, 61),
};

const LIGHT: Palette = Palette {
    window: Color32::from_rgb(236, 238, 241),
    group: Color32::from_rgb(250, 251, 252),
    track: Color32::from_rgb(205, 210, 217),
    line: Color32::from_rgb(176, 183, 192),
    text: Color32::from_rgb(24, 28, 34),
    faint: Color32::from_rgb(84, 92, 104),
    stage1: Color32::from_rgb(0, 106, 166),
    stage2: Color32::from_rgb(150, 87, 0),
    neutral: Color32::from_rgb(74, 84, 98),
    warning: Color32::from_rgb(183, 60, 0),
};

impl Palette {
    /// The colours of a theme.
    pub(super) const fn of(theme: Theme) -> Self {
        match theme {
            Theme::Dark => DARK,
            Theme::Light => LIGHT,
        }
    }
}

/// Makes egui's widgets look like the panel, in both themes.
pub(super) fn install(context: &Context) {
    for theme in [Theme::Dark, Theme::Light] {
        let palette = Palette::of(theme);
        context.style_mut_of(theme, |style| {
            let mut visuals = match theme {
                Theme::Dark => Visuals::dark(),
                Theme::Light => Visuals::light(),
            };
            visuals.override_text_color = Some(palette.text);
            visuals.panel_fill = palette.window;
            visuals.window_fill = palette.group;
            visuals.window_stroke = Stroke::new(1.0, palette.line);
            visuals.extreme_bg_color = palette.window;
            visuals.selection.bg_fill = palette.stage1.gamma_multiply(0.45);
            visuals.selection.stroke = Stroke::new(1.0, palette.text);
            let widgets = &mut visuals.widgets;
            widgets.noninteractive.bg_stroke = Stroke::new(1.0, palette.line);
            for (widget, fill) in [
                (&mut widgets.inactive, palette.group),
                (&mut widgets.hovered, palette.track),
                (&mut widgets.active, palette.line),
                (&mut widgets.open, palette.track),
            ] {
                widget.bg_fill = fill;
                widget.weak_bg_fill = fill;
                widget.bg_stroke = Stroke::new(1.0, palette.line);
                widget.fg_stroke = Stroke::new(1.0, palette.text);
                widget.corner_radius = CornerRadius::same(4);
                widget.expansion = 0.0;
            }
            style.visuals = visuals;
            style.spacing.item_spacing = egui::vec2(6.0, 4.0);
            style.spacing.button_padding = egui::vec2(8.0, 3.0);
            style.text_styles = [
                (TextStyle::Heading, FontId::proportional(20.0)),
                (TextStyle::Body, FontId::proportional(14.0)),
                (TextStyle::Button, FontId::proportional(14.0)),
                (TextStyle::Small, FontId::proportional(12.0)),
                (TextStyle::Monospace, FontId::monospace(12.0)),
            ]
            .into();
            style.interaction.tooltip_delay = 0.6;
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Relative luminance (WCAG 2.2).
    fn luminance(colour: Color32) -> f32 {
        let linear = |value: u8| {
            let value = f32::from(value) / 255.0;
            if value <= 0.040_45 {
                value / 12.92
            } else {
                ((value + 0.055) / 1.055).powf(2.4)
            }
        };
        0.2126 * linear(colour.r()) + 0.7152 * linear(colour.g()) + 0.0722 * linear(colour.b())
    }

    #[test]
    fn text_can_be_read() {
        for theme in [Theme::Dark, Theme::Light] {
            let palette = Palette::of(theme);
            for behind in [palette.window, palette.group] {
                for text in [palette.text, palette.faint, palette.stage1, palette.stage2, palette.warning] {
                    let (a, b) = (luminance(text), luminance(behind));
                    let contrast = (a.max(b) + 0.05) / (a.min(b) + 0.05);
                    assert!(
                        contrast >= 4.5,
                        "{theme:?}: {text:?} on {behind:?} has a contrast of {contrast:.1}, 4.5 is expected"
                    );
                }
            }
        }
    }
}
