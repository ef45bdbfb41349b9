//! Writing audio files as a stream, under a temporary name until they are whole.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::{Mutex, PoisonError};

use flac_codec::encode::{FlacSampleWriter, Options};
use hound::{SampleFormat, WavSpec, WavWriter};
use tempfile::TempPath;
use thiserror::Error;

use super::Planar;

/// Bits per sample of FLAC files.
const FLAC_BITS: u32 = 24;
/// Exit status after an interrupt: 128 and the number of SIGINT, as shells say it.
const INTERRUPTED: i32 = 130;
/// Where a WAV file of more than 16 bits says which loudspeakers its channels are for (`dwChannelMask` of `WAVEFORMATEXTENSIBLE`), in bytes from its start.
const CHANNEL_MASK_AT: u64 = 40;
/// Front centre, as `dwChannelMask` says it.
const FRONT_CENTRE: u32 = 4;
/// The largest data chunk a WAV file is given: its lengths are 32 bits wide, and the header needs some.
const WAV_MAX_BYTES: u64 = u32::MAX as u64 - 4096;

/// Why a file can't be written.
#[derive(Debug, Error)]
pub enum WriteError {
    /// The name's ending is neither `.wav` nor `.flac`.
    #[error("{path}: the ending must be .wav or .flac")]
    Ending {
        /// The name.
        path: String,
    },
    /// Something is there already.
    #[error("{path} exists already; --force replaces it")]
    Exists {
        /// The name.
        path: String,
    },
    /// The folder is missing or doesn't let itself be written to, or the disk is full.
    #[error("can't write {path}: {reason}")]
    Io {
        /// The name.
        path: String,
        /// Why.
        reason: io::Error,
    },
    /// WAV can't hold so much.
    #[error("{path}: more than the 4 GiB that a WAV file can hold; write a .flac file")]
    TooLong {
        /// The name.
        path: String,
    },
}

/// How samples are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// 32-bit floating point, the same numbers that the plugin gives. The only one that can go above full scale.
    Float,
    /// 24-bit integers.
    Int24,
}

enum Sink {
    Wav(WavWriter<BufWriter<File>>),
    Flac {
        encoder: Box<FlacSampleWriter<Shared>>,
        file: Shared,
        interleaved: Vec<i32>,
    },
}

/// A file that its owner can still flush after an encoder has finished with it: only then is a full disk noticed.
#[derive(Clone)]
struct Shared(Rc<RefCell<BufWriter<File>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.borrow_mut().flush()
    }
}

impl Seek for Shared {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.0.borrow_mut().seek(to)
    }
}

/// A file being written. It appears under its own name when [`Writer::finish`] succeeds; dropped before, it leaves nothing behind.
pub struct Writer {
    sink: Sink,
    temporary: TempPath,
    path: PathBuf,
    force: bool,
    encoding: Encoding,
    clipped: u64,
    bytes: u64,
}

impl Writer {
    /// Begins a file of the kind that `path`'s ending names. FLAC is always 24-bit.
    ///
    /// `length`: samples per channel, if known: what would be too long is refused at once.
    ///
    /// # Errors
    /// If the ending is unknown, the file exists and `force` isn't set, or its folder can't be written to.
    pub fn create(
        path: &Path,
        sample_rate_hz: u32,
        channels: usize,
        encoding: Encoding,
        length: Option<u64>,
        force: bool,
    ) -> Result<Self, WriteError> {
        let name = || path.display().to_string();
        let io_error = |reason| WriteError::Io { path: name(), reason };
        let kind = ending(path)?;
        if !force && path.symlink_metadata().is_ok() {
            return Err(WriteError::Exists { path: name() });
        }
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let (file, temporary) = temporary_file(folder).map_err(io_error)?.into_parts();
        let out = BufWriter::with_capacity(1 << 16, file);
        let (sink, encoding) = match kind {
            Ending::Flac => {
                let file = Shared(Rc::new(RefCell::new(out)));
                let channels = u8::try_from(channels).unwrap_or(u8::MAX);
                let encoder = FlacSampleWriter::new(file.clone(), Options::default(), sample_rate_hz, FLAC_BITS, channels, None);
                let sink = Sink::Flac {
                    encoder: Box::new(encoder.map_err(|e| io_error(from_flac(e)))?),
                    file,
                    interleaved: Vec::new(),
                };
                (sink, Encoding::Int24)
            }
            Ending::Wav => {
                let bytes = if encoding == Encoding::Float { 4 } else { 3 } * channels as u64;
                if length.is_some_and(|frames| frames.saturating_mul(bytes) > WAV_MAX_BYTES) {
                    return Err(WriteError::TooLong { path: name() });
                }
                let spec = WavSpec {
                    channels: u16::try_from(channels).unwrap_or(u16::MAX),
                    sample_rate: sample_rate_hz,
                    bits_per_sample: if encoding == Encoding::Float { 32 } else { 24 },
                    sample_format: if encoding == Encoding::Float {
                        SampleFormat::Float
                    } else {
                        SampleFormat::Int
                    },
                };
                let writer = WavWriter::new(out, spec).map_err(|e| io_error(from_hound(e)))?;
                (Sink::Wav(writer), encoding)
            }
        };
        Ok(Self {
            sink,
            temporary,
            path: path.to_owned(),
            force,
            encoding,
            clipped: 0,
            bytes: 0,
        })
    }

    /// Adds samples `from..to` of every channel.
    ///
    /// # Errors
    /// If the disk is full or the file grows too long for its format.
    ///
    /// # Panics
    /// If a channel has fewer samples.
    pub fn write(&mut self, audio: &Planar, from: usize, to: usize) -> Result<(), WriteError> {
        if let Sink::Wav(_) = self.sink {
            let width = if self.encoding == Encoding::Float { 4 } else { 3 };
            self.bytes += width * (to - from) as u64 * audio.len() as u64;
            if self.bytes > WAV_MAX_BYTES {
                return Err(WriteError::TooLong {
                    path: self.path.display().to_string(),
                });
            }
        }
        let result = match &mut self.sink {
            Sink::Wav(wav) => write_wav(wav, self.encoding, audio, from..to, &mut self.clipped).map_err(from_hound),
            Sink::Flac { encoder, interleaved, .. } => {
                interleaved.clear();
                for frame in from..to {
                    interleaved.extend(audio.iter().map(|channel| quantise(channel[frame], &mut self.clipped)));
                }
                encoder.write(interleaved).map_err(from_flac)
            }
        };
        result.map_err(|reason| WriteError::Io {
            path: self.path.display().to_string(),
            reason,
        })
    }

    /// Samples that were above full scale and had to be clipped; 0 for floating point.
    #[must_use]
    pub fn clipped(&self) -> u64 {
        self.clipped
    }

    /// Completes the file and gives it its name.
    ///
    /// # Errors
    /// If the disk is full or the name has been taken meanwhile.
    pub fn finish(self) -> Result<(), WriteError> {
        let Self {
            sink,
            temporary,
            path,
            force,
            ..
        } = self;
        let name = || path.display().to_string();
        let io_error = |reason| WriteError::Io { path: name(), reason };
        match sink {
            Sink::Wav(wav) => {
                let mono = wav.spec().channels == 1;
                wav.finalize().map_err(|e| io_error(from_hound(e)))?;
                if mono {
                    say_mono(&temporary).map_err(io_error)?;
                }
            }
            Sink::Flac { encoder, mut file, .. } => {
                encoder.finalize().map_err(|e| io_error(from_flac(e)))?;
                file.flush().map_err(io_error)?;
            }
        }
        let persisted = if force {
            temporary.persist(&path)
        } else {
            temporary.persist_noclobber(&path)
        };
        persisted.map_err(|error| match error.error.kind() {
            io::ErrorKind::AlreadyExists => WriteError::Exists { path: name() },
            _ => io_error(error.error),
        })
    }
}

/// Every temporary name that was given out. Those that became files under their own name are gone by then, so that nothing needs to be taken off.
static TEMPORARY: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// From now on an interrupt (Ctrl-C, and where there are others SIGTERM and SIGHUP) removes the files that are not whole yet before the program ends.
///
/// # Errors
/// If the system refuses, or this was called before.
pub fn clean_up_when_interrupted() -> Result<(), ctrlc::Error> {
    ctrlc::set_handler(|| {
        // The lock is kept: no file is begun any more.
        let names = TEMPORARY.lock().unwrap_or_else(PoisonError::into_inner);
        for name in names.iter() {
            // Most aren't there any more.
            let _ = std::fs::remove_file(name);
        }
        std::process::exit(INTERRUPTED);
    })
}

/// A temporary file in `folder` with the permissions of an ordinary one.
pub(crate) fn temporary_file(folder: &Path) -> io::Result<tempfile::NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".dualstep-").suffix(".part");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    let mut names = TEMPORARY.lock().unwrap_or_else(PoisonError::into_inner);
    let file = builder.tempfile_in(folder).map_err(|error| {
        // The library adds the temporary name, which says nothing to a user.
        let inner = error.get_ref().and_then(|e| e.source()).and_then(|e| e.downcast_ref::<io::Error>());
        inner.and_then(io::Error::raw_os_error).map_or(error, io::Error::from_raw_os_error)
    })?;
    names.push(file.path().to_owned());
    Ok(file)
}

enum Ending {
    Wav,
    Flac,
}

fn ending(path: &Path) -> Result<Ending, WriteError> {
    match path.extension().and_then(|e| e.to_str()).map(str::to_ascii_lowercase).as_deref() {
        Some("wav" | "wave") => Ok(Ending::Wav),
        Some("flac") => Ok(Ending::Flac),
        _ => Err(WriteError::Ending {
            path: path.display().to_string(),
        }),
    }
}

/// Puts a mono WAV file's channel in the centre. hound gives a single channel to the front left loudspeaker, which is where some players play it, then.
fn say_mono(path: &Path) -> io::Result<()> {
    let mut file = File::options().write(true).open(path)?;
    file.seek(SeekFrom::Start(CHANNEL_MASK_AT))?;
    file.write_all(&FRONT_CENTRE.to_le_bytes())
}

fn write_wav(
    wav: &mut WavWriter<BufWriter<File>>,
    encoding: Encoding,
    audio: &Planar,
    frames: std::ops::Range<usize>,
    clipped: &mut u64,
) -> Result<(), hound::Error> {
    for frame in frames {
        for channel in audio {
            match encoding {
                Encoding::Float => wav.write_sample(channel[frame])?,
                Encoding::Int24 => wav.write_sample(quantise(channel[frame], clipped))?,
            }
        }
    }
    Ok(())
}

fn from_flac(error: flac_codec::Error) -> io::Error {
    match error {
        flac_codec::Error::Io(error) => error,
        other => io::Error::new(io::ErrorKind::InvalidInput, other.to_string()),
    }
}

fn from_hound(error: hound::Error) -> io::Error {
    match error {
        hound::Error::IoError(error) => error,
        other => io::Error::new(io::ErrorKind::InvalidInput, other.to_string()),
    }
}

/// Nearest 24-bit number. A 24-bit recording that passes unchanged comes out bit by bit; 144 dB down, dither has nothing to hide.
fn quantise(sample: f32, clipped: &mut u64) -> i32 {
    const FULL: f64 = 8_388_608.0;
    let scaled = (f64::from(sample) * FULL).round();
    if !(-FULL..FULL).contains(&scaled) {
        *clipped += u64::from(!scaled.is_nan());
    }
    #[expect(clippy::cast_possible_truncation, reason = "clamped to 24 bits; NaN becomes 0")]
    let sample = scaled.clamp(-FULL, FULL - 1.0) as i32;
    sample
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::{Reader, silence};
    use super::*;

    type Outcome = Result<(), Box<dyn std::error::Error>>;

    /// Deterministic noise with a tone, `frames` long.
    fn signal(channels: usize, frames: usize) -> Planar {
        let mut state = 1u32;
        let mut audio = silence(channels, frames);
        for frame in 0..frames {
            for (index, channel) in audio.iter_mut().enumerate() {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let noise = f64::from(state) / f64::from(u32::MAX) - 0.5;
                let tone = (frame as f64 * (0.05 + index as f64 * 0.01)).sin();
                let value = ((0.5 * tone + 0.01 * noise) * 8_388_608.0).round() / 8_388_608.0;
                #[expect(clippy::cast_possible_truncation, reason = "24 bits fit")]
                let sample = value as f32;
                channel[frame] = sample;
            }
        }
        audio
    }

    fn read_all(path: &Path) -> Result<(u32, Planar), ReadError> {
        let mut reader = Reader::open(path)?;
        let mut all = vec![Vec::new(); reader.channels()];
        let mut block = silence(reader.channels(), 1000);
        loop {
            let n = reader.read(&mut block, 1000)?;
            for (to, from) in all.iter_mut().zip(&block) {
                to.extend_from_slice(&from[..n]);
            }
            if n < 1000 {
                return Ok((reader.sample_rate_hz(), all));
            }
        }
    }

    use super::super::ReadError;

    #[test]
    fn what_is_written_is_read_back_exactly() -> Outcome {
        let folder = tempfile::tempdir()?;
        for (name, rate, channels, frames, encoding) in [
            ("a.wav", 44_100, 1, 10_007, Encoding::Float),
            ("b.wav", 48_000, 2, 5, Encoding::Int24),
            ("c.flac", 44_056, 2, 10_007, Encoding::Float),
            ("d.flac", 8_000, 1, 1, Encoding::Int24),
            ("e.flac", 192_000, 2, 8_192, Encoding::Int24),
            ("f.flac", 384_000, 1, 4_097, Encoding::Int24),
            ("g.flac", 100_001, 2, 4_112, Encoding::Int24),
        ] {
            let path = folder.path().join(name);
            let audio = signal(channels, frames);
            let mut writer = Writer::create(&path, rate, channels, encoding, None, false)?;
            writer.write(&audio, 0, frames / 2)?;
            writer.write(&audio, frames / 2, frames)?;
            assert_eq!(writer.clipped(), 0);
            writer.finish()?;
            let (found_rate, found) = read_all(&path)?;
            assert_eq!(found_rate, rate, "{name}");
            assert!(found == audio, "{name} differs");
        }
        assert_eq!(fs::read_dir(folder.path())?.count(), 7, "only the files themselves are left");
        Ok(())
    }

    #[test]
    fn mono_is_in_the_centre() -> Outcome {
        let folder = tempfile::tempdir()?;
        for (channels, encoding, mask) in [
            (1, Encoding::Float, FRONT_CENTRE),
            (1, Encoding::Int24, FRONT_CENTRE),
            (2, Encoding::Float, 3),
        ] {
            let path = folder.path().join("a.wav");
            let mut writer = Writer::create(&path, 44_100, channels, encoding, None, true)?;
            writer.write(&signal(channels, 10), 0, 10)?;
            writer.finish()?;
            let file = fs::read(&path)?;
            assert_eq!(file[20..22], [0xfe, 0xff], "WAVE_FORMAT_EXTENSIBLE");
            assert_eq!(file[40..44], mask.to_le_bytes(), "{channels} channels, {encoding:?}");
        }
        Ok(())
    }

    #[test]
    fn nothing_is_overwritten_without_force_and_nothing_left_behind() -> Outcome {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("a.wav");
        fs::write(&path, "mine")?;
        let create = |force| Writer::create(&path, 44_100, 1, Encoding::Float, None, force);
        assert!(matches!(create(false), Err(WriteError::Exists { .. })));
        let mut writer = create(true)?;
        writer.write(&signal(1, 10), 0, 10)?;
        drop(writer);
        assert_eq!(fs::read_to_string(&path)?, "mine");
        assert_eq!(fs::read_dir(folder.path())?.count(), 1);
        create(true)?.finish()?;
        assert_ne!(fs::read(&path)?, b"mine");
        // A file that appears while another is being rendered is kept, too.
        let late = folder.path().join("b.wav");
        let writer = Writer::create(&late, 44_100, 1, Encoding::Float, None, false)?;
        fs::write(&late, "late")?;
        assert!(matches!(writer.finish(), Err(WriteError::Exists { .. })));
        assert_eq!(fs::read_to_string(&late)?, "late");
        assert_eq!(fs::read_dir(folder.path())?.count(), 2);
        Ok(())
    }

    #[test]
    fn unusable_targets_are_named() {
        let create = |path: &str, rate, length| {
            let path = std::env::temp_dir().join(path);
            Writer::create(&path, rate, 2, Encoding::Float, length, false)
                .map(drop)
                .map_err(|e| e.to_string())
        };
        assert!(create("out.mp3", 44_100, None).is_err_and(|e| e.contains("must be .wav or .flac")));
        assert!(create("no-such-folder/out.wav", 44_100, None).is_err_and(|e| e.contains("can't write") && e.contains("no-such-folder")));
        assert!(create("out-rate.flac", 2_000_000, None).is_err());
        assert!(create("out-long.wav", 44_100, Some(600_000_000)).is_err_and(|e| e.contains("4 GiB")));
    }

    #[test]
    fn flac_never_grows_beyond_plain_samples() -> Outcome {
        // Full-scale noise with 24 bits doesn't compress; an encoder with 16-bit code tables would blow it up a hundredfold.
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("noise.flac");
        let mut state = 1u32;
        let noise: Vec<f32> = (0..50_000)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                f32::from(u16::try_from(state >> 16).unwrap_or(0)) / 32_768.0 - 1.0
            })
            .map(|coarse| (coarse * 1.234_567).clamp(-0.99, 0.99))
            .collect();
        let mut writer = Writer::create(&path, 48_000, 1, Encoding::Int24, None, false)?;
        writer.write(&vec![noise], 0, 50_000)?;
        writer.finish()?;
        let bytes = fs::metadata(&path)?.len();
        assert!(bytes < 50_000 * 3 + 10_000, "{bytes}");
        Ok(())
    }

    #[test]
    fn clipping_is_counted() {
        let mut clipped = 0;
        assert_eq!(quantise(1.0, &mut clipped), 8_388_607);
        assert_eq!(quantise(-1.0, &mut clipped), -8_388_608);
        assert_eq!(quantise(-2.0, &mut clipped), -8_388_608);
        assert_eq!(quantise(f32::NAN, &mut clipped), 0);
        assert_eq!(clipped, 2);
    }
}
