//! What a person sees of a rendering: bars on a terminal, lines elsewhere.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Error;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::Outcome;

/// Progress of all recordings.
pub(super) struct Report {
    bars: MultiProgress,
    overall: Option<ProgressBar>,
    total: usize,
    begun: AtomicUsize,
}

/// Progress of one recording.
pub(super) struct Bar<'a> {
    report: &'a Report,
    bar: ProgressBar,
    name: String,
    number: usize,
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

impl Report {
    pub(super) fn new(total: usize) -> Self {
        // On anything but a terminal, the bars hide themselves.
        let bars = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(10));
        let overall = (total > 1).then(|| {
            let bar = bars.add(ProgressBar::new(total as u64));
            bar.set_style(style("{pos}/{len} recordings {wide_bar} {elapsed} so far"));
            bar.tick();
            bar
        });
        Self {
            bars,
            overall,
            total,
            begun: AtomicUsize::new(0),
        }
    }

    pub(super) fn begin(&self, name: &str) -> Bar<'_> {
        let number = self.begun.fetch_add(1, Ordering::Relaxed) + 1;
        let bar = self.bars.add(ProgressBar::no_length());
        bar.set_style(style("{spinner} {msg:30!} {human_pos} samples, {elapsed}"));
        bar.set_message(name.to_owned());
        let bar = Bar {
            report: self,
            bar,
            name: name.to_owned(),
            number,
        };
        if self.bars.is_hidden() {
            eprintln!("{}{name} ...", bar.counter());
        }
        bar
    }

    pub(super) fn end(&self) {
        if let Some(overall) = &self.overall {
            overall.finish_and_clear();
        }
    }
}

impl Bar<'_> {
    fn counter(&self) -> String {
        if self.report.total > 1 {
            format!("[{}/{}] ", self.number, self.report.total)
        } else {
            String::new()
        }
    }

    /// Notes how many samples are done, and of how many.
    pub(super) fn progress(&self, done: u64, total: Option<u64>) {
        if let (None, Some(total)) = (self.bar.length(), total) {
            self.bar.set_length(total);
            self.bar.set_style(style("{msg:30!} {wide_bar} {percent:>3} %, {eta} left"));
        }
        self.bar.set_position(done);
    }

    pub(super) fn done(self, output: &Path, outcome: &Outcome) {
        let mut line = format!(
            "{}{} -> {}: {:.1} s in {:.1} s ({:.1} x real time), latency {:.1} ms taken out",
            self.counter(),
            self.name,
            output.display(),
            outcome.duration(),
            outcome.seconds,
            outcome.speed(),
            outcome.latency as f64 * 1000.0 / f64::from(outcome.sample_rate_hz),
        );
        if outcome.clipped > 0 {
            line += &format!(
                "; {} samples clipped: lower --set output=..., or write 32-bit floating point",
                outcome.clipped
            );
        }
        self.finish(&line);
    }

    pub(super) fn failed(self, error: &Error) {
        let line = format!("{}{}: error: {error:#}", self.counter(), self.name);
        self.finish(&line);
    }

    fn finish(self, line: &str) {
        self.bar.finish_and_clear();
        self.report.bars.suspend(|| eprintln!("{line}"));
        if let Some(overall) = &self.report.overall {
            overall.inc(1);
        }
    }
}
