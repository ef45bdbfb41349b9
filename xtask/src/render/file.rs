//! One recording through the plugin into one file.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use super::stream::pump;
use crate::audio::{Encoding, Planar, Reader, Writer, silence};
use crate::automation::{self, Point};
use crate::host::{Bundle, Config};
use crate::parameters::Setting;
use crate::spectrogram::{self, Spectrogram};

/// Sample rates that Dualstep restores at, in Hz.
const SAMPLE_RATES_HZ: std::ops::RangeInclusive<u32> = 8_000..=384_000;

/// How recordings are rendered.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The plugin's id.
    pub plugin: String,
    /// Parameters from the first sample on; the others keep the plugin's defaults.
    pub set: Vec<Setting>,
    /// Parameter changes over time.
    pub automation: Vec<Point>,
    /// Samples per block.
    pub block: usize,
    /// How WAV files store their samples.
    pub encoding: Encoding,
    /// Whether existing files are replaced.
    pub force: bool,
}

/// What one rendering reads and writes.
#[derive(Clone, Debug)]
pub struct Job<'a> {
    /// The recording.
    pub input: &'a Path,
    /// The restored recording.
    pub output: &'a Path,
    /// What was removed: input minus output.
    pub removed: Option<&'a Path>,
    /// A picture of before, after and what was removed.
    pub spectrogram: Option<&'a Path>,
}

/// What came of it.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// Samples per channel.
    pub frames: u64,
    /// Sample rate in Hz.
    pub sample_rate_hz: u32,
    /// The plugin's latency in samples, taken out of the result.
    pub latency: usize,
    /// Wall-clock time in seconds.
    pub seconds: f64,
    /// Samples that had to be clipped.
    pub clipped: u64,
}

impl Outcome {
    /// Length of the recording in seconds.
    #[must_use]
    pub fn duration(&self) -> f64 {
        self.frames as f64 / f64::from(self.sample_rate_hz)
    }

    /// How many times faster than real time it went.
    #[must_use]
    pub fn speed(&self) -> f64 {
        self.duration() / self.seconds.max(1e-9)
    }
}

/// The three pictures of a rendering.
struct Pictures {
    before: Spectrogram,
    after: Spectrogram,
    removed: Spectrogram,
}

/// Renders one recording. `progress` gets the samples done and the total if the file declares one.
///
/// What was removed is computed as input minus output, sample by sample, so that the two files add up to the recording whatever the
/// settings (the plugin's own `removed` leaves the mix and the output gain out).
///
/// # Errors
/// If the recording can't be read or isn't of a kind that the plugin takes, or a result can't be written. Nothing is left behind then.
pub fn render(bundle: &Bundle, settings: &Settings, job: &Job, progress: &dyn Fn(u64, Option<u64>)) -> Result<Outcome> {
    let begin = Instant::now();
    let mut reader = Reader::open(job.input)?;
    let (rate, channels) = (reader.sample_rate_hz(), reader.channels());
    if !SAMPLE_RATES_HZ.contains(&rate) {
        bail!(
            "its sample rate of {rate} Hz is not supported: Dualstep restores {} to {} Hz",
            SAMPLE_RATES_HZ.start(),
            SAMPLE_RATES_HZ.end()
        );
    }
    if let Some(picture) = job.spectrogram {
        check_picture(picture, settings.force)?;
    }
    let length = reader.declared();
    let promised = reader.promised();
    let create = |path: &Path| Writer::create(path, rate, channels, settings.encoding, promised, settings.force);
    let mut output = create(job.output)?;
    let mut removed = job.removed.map(create).transpose()?;
    let mut pictures = job.spectrogram.map(|_| Pictures {
        before: Spectrogram::new(rate),
        after: Spectrogram::new(rate),
        removed: Spectrogram::new(rate),
    });

    let mut instance = bundle.instance(&settings.plugin)?;
    for setting in &settings.set {
        let value = setting.clap_value(&mut instance)?;
        instance.set(setting.parameter.id, value)?;
    }
    let events = automation::resolve(&settings.automation, rate, &mut instance)?;
    let mut session = instance.activate(&Config {
        sample_rate_hz: f64::from(rate),
        max_block: settings.block,
        channels,
        offline: true,
    })?;
    let latency = session.latency();

    let mut difference: Planar = silence(channels, settings.block);
    let mut done = 0;
    let frames = pump(&mut session, &mut reader, channels, settings.block, &events, &mut |stretch| {
        let (from, to) = (stretch.from, stretch.to);
        output.write(stretch.after, from, to)?;
        if removed.is_some() || pictures.is_some() {
            subtract(stretch.before, stretch.after, &mut difference);
        }
        if let Some(removed) = &mut removed {
            removed.write(&difference, from, to)?;
        }
        if let Some(pictures) = &mut pictures {
            pictures.before.push(stretch.before, from, to);
            pictures.after.push(stretch.after, from, to);
            pictures.removed.push(&difference, from, to);
        }
        done += (to - from) as u64;
        progress(done, length);
        Ok(())
    })?;
    drop(session);

    let clipped = output.clipped() + removed.as_ref().map_or(0, Writer::clipped);
    if let (Some(pictures), Some(path)) = (&pictures, job.spectrogram) {
        let panels = [
            ("before", &pictures.before),
            ("after", &pictures.after),
            ("removed", &pictures.removed),
        ];
        spectrogram::draw(&panels, path)?;
    }
    if let Some(removed) = removed {
        removed.finish()?;
    }
    output.finish()?;
    Ok(Outcome {
        frames,
        sample_rate_hz: rate,
        latency,
        seconds: begin.elapsed().as_secs_f64(),
        clipped,
    })
}

/// `before - after`, all of it.
fn subtract(before: &Planar, after: &Planar, difference: &mut Planar) {
    for ((out, before), after) in difference.iter_mut().zip(before).zip(after) {
        for ((out, before), after) in out.iter_mut().zip(before).zip(after) {
            *out = before - after;
        }
    }
}

/// Says early what would otherwise be found out after hours.
fn check_picture(path: &Path, force: bool) -> Result<()> {
    if path.extension().is_none_or(|e| !e.eq_ignore_ascii_case("png")) {
        bail!("{}: the spectrogram's ending must be .png", path.display());
    }
    if !force && path.symlink_metadata().is_ok() {
        bail!("{} exists already; --force replaces it", path.display());
    }
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    tempfile::tempfile_in(folder).with_context(|| format!("can't write {}", path.display()))?;
    Ok(())
}
