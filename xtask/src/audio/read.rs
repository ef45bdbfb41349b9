//! Reading audio files as a stream.

use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use symphonia::core::codecs::audio::well_known::{CODEC_ID_MP3, CODEC_ID_OPUS};
use symphonia::core::codecs::audio::{AudioDecoder, AudioDecoderOptions};
use symphonia::core::errors::Error;
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::{FormatOptions, FormatReader, TrackType};
use symphonia::core::io::MediaSourceStream;
use symphonia::core::meta::MetadataOptions;
use thiserror::Error;

use super::Planar;

/// Most channels that the plugin takes.
const MAX_CHANNELS: usize = 2;

/// Samples beyond its promised end that are no reason to refuse a recording: the largest block of OGG Vorbis, seven frames of MP3.
const SLACK: u64 = 8192;

/// Why a recording can't be read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The file isn't there or may not be read.
    #[error("can't open it: {0}")]
    Open(std::io::Error),
    /// Reading stopped in the middle.
    #[error("reading failed after {seconds:.3} s: {reason}")]
    Io {
        /// How far it went.
        seconds: f64,
        /// Why.
        reason: std::io::Error,
    },
    /// No known audio format.
    #[error("not an audio file of a known format (WAV, AIFF, FLAC, MP3 or OGG Vorbis)")]
    NotAudio,
    /// A format that is known but not read.
    #[error("it is {name}, which isn't read; convert it first, for instance with `ffmpeg -i {path} recording.flac`")]
    Foreign {
        /// What the format is called.
        name: &'static str,
        /// The file.
        path: String,
    },
    /// A known container with a codec that isn't read.
    #[error("its audio is in a form that isn't supported: {0}")]
    Unsupported(&'static str),
    /// Damaged data.
    #[error("it is damaged at {seconds:.3} s: {reason}")]
    Damaged {
        /// Where.
        seconds: f64,
        /// What the decoder said.
        reason: String,
    },
    /// The file ends before its header says.
    #[error("it is cut short: its header promises {expected} samples per channel, it holds {found}")]
    Truncated {
        /// Samples per channel that the header declares.
        expected: u64,
        /// Samples per channel that could be read.
        found: u64,
    },
    /// An MP3 that goes on where its own note says that it ends.
    #[error(
        "it goes on after the {expected} samples per channel that its header promises; if several recordings were joined in it, convert it first, for instance with `ffmpeg -i {path} recording.flac`"
    )]
    Longer {
        /// Samples per channel that the header declares.
        expected: u64,
        /// The file.
        path: String,
    },
    /// An Ogg file without its end.
    #[error("it is cut short: the page that ends an OGG recording is missing")]
    EndMissing,
    /// Nothing in it.
    #[error("it holds no samples")]
    Empty,
    /// More channels than two.
    #[error("it has {found} channels: Dualstep takes mono and stereo")]
    Channels {
        /// How many.
        found: usize,
    },
}

/// An open recording.
pub struct Reader {
    format: Box<dyn FormatReader>,
    decoder: Box<dyn AudioDecoder>,
    track: u32,
    sample_rate_hz: u32,
    channels: usize,
    /// Samples per channel that the header declares.
    declared: Option<u64>,
    /// Whether `declared` is a promise, or only an estimate.
    exact: bool,
    /// Samples that an MP3's encoder says it filled up at the end, and those that were taken off there.
    padding: u64,
    trimmed: u64,
    path: String,
    /// What the decoder gave beyond the last read.
    pending: Planar,
    taken: usize,
    /// Samples per channel that were decoded.
    decoded: u64,
    ended: bool,
}

impl Reader {
    /// Opens the recording and decodes its first packet.
    ///
    /// # Errors
    /// If it isn't audio, or not of a kind that the plugin takes, or empty.
    pub fn open(path: &Path) -> Result<Self, ReadError> {
        contain(0.0, || Self::open_file(path))
    }

    fn open_file(path: &Path) -> Result<Self, ReadError> {
        // Windows opens no folders, and says of them that access is denied.
        if path.is_dir() {
            return Err(ReadError::NotAudio);
        }
        let mut file = File::open(path).map_err(ReadError::Open)?;
        let metadata = file.metadata().map_err(ReadError::Open)?;
        if metadata.len() == 0 {
            return Err(ReadError::Empty);
        }
        let said_path = path.display().to_string();
        let foreign = |name| ReadError::Foreign {
            name,
            path: said_path.clone(),
        };
        if let Some(name) = foreign_format(&mut file).map_err(ReadError::Open)? {
            return Err(foreign(name));
        }
        if !ogg_is_whole(&mut file, metadata.len()).map_err(ReadError::Open)? {
            return Err(ReadError::EndMissing);
        }
        let stream = MediaSourceStream::new(Box::new(file), Default::default());
        let mut hint = Hint::new();
        if let Some(ending) = path.extension().and_then(|e| e.to_str()) {
            hint.with_extension(ending);
        }
        let format = symphonia::default::get_probe()
            .probe(&hint, stream, FormatOptions::default(), MetadataOptions::default())
            .map_err(|error| match error {
                Error::DecodeError(reason) => ReadError::Damaged {
                    seconds: 0.0,
                    reason: reason.to_owned(),
                },
                _ => ReadError::NotAudio,
            })?;
        let track = format.default_track(TrackType::Audio).ok_or(ReadError::NotAudio)?;
        let parameters = track.codec_params.as_ref().and_then(|c| c.audio()).ok_or(ReadError::NotAudio)?;
        // Without the encoder's own note, an MP3's length is guessed from its first bit rates; what lies beyond that mustn't be cut off.
        let exact = parameters.codec != CODEC_ID_MP3 || track.delay.is_some();
        let decoder = symphonia::default::get_codecs()
            .make_audio_decoder(parameters, &AudioDecoderOptions::default().gapless(exact))
            .map_err(|_| match parameters.codec {
                CODEC_ID_OPUS => foreign("Opus"),
                _ => ReadError::Unsupported("no decoder for this codec"),
            })?;
        let mut reader = Self {
            track: track.id,
            sample_rate_hz: parameters.sample_rate.unwrap_or(0),
            channels: parameters.channels.as_ref().map_or(0, |c| c.count()),
            declared: track.num_frames,
            exact,
            padding: u64::from(track.padding.unwrap_or(0)),
            trimmed: 0,
            path: said_path,
            decoder,
            format,
            pending: Planar::new(),
            taken: 0,
            decoded: 0,
            ended: false,
        };
        if reader.channels > MAX_CHANNELS {
            return Err(ReadError::Channels { found: reader.channels });
        }
        reader.refill()?;
        if reader.decoded == 0 {
            return Err(ReadError::Empty);
        }
        Ok(reader)
    }

    /// Sample rate in Hz.
    #[must_use]
    pub fn sample_rate_hz(&self) -> u32 {
        self.sample_rate_hz
    }

    /// Channels: 1 or 2.
    #[must_use]
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// Samples per channel, if the header says so; not exact for every MP3.
    #[must_use]
    pub fn declared(&self) -> Option<u64> {
        self.declared
    }

    /// Samples per channel, if that is certain.
    #[must_use]
    pub fn promised(&self) -> Option<u64> {
        self.declared.filter(|_| self.exact)
    }

    /// Reads up to `frames` samples per channel to the start of `out`'s channels; fewer only at the end of the recording.
    ///
    /// # Errors
    /// If the file is damaged or ends before its header says.
    ///
    /// # Panics
    /// If `out` doesn't have room for `frames` samples in each channel.
    pub fn read(&mut self, out: &mut Planar, frames: usize) -> Result<usize, ReadError> {
        let mut filled = 0;
        while filled < frames {
            let held = self.pending.first().map_or(0, Vec::len) - self.taken;
            if held == 0 {
                if self.ended {
                    break;
                }
                self.refill()?;
                continue;
            }
            let count = held.min(frames - filled);
            for (to, from) in out.iter_mut().zip(&self.pending) {
                to[filled..filled + count].copy_from_slice(&from[self.taken..self.taken + count]);
            }
            self.taken += count;
            filled += count;
        }
        Ok(filled)
    }

    /// Decodes the next packet that has samples into `pending`, or notes the end.
    fn refill(&mut self) -> Result<(), ReadError> {
        contain(self.seconds(), || self.decode())
    }

    fn decode(&mut self) -> Result<(), ReadError> {
        self.taken = 0;
        for channel in &mut self.pending {
            channel.clear();
        }
        loop {
            let packet = match self.format.next_packet() {
                Ok(Some(packet)) => packet,
                Ok(None) => return self.end(),
                Err(Error::IoError(error)) if error.kind() == ErrorKind::UnexpectedEof => return self.end(),
                Err(error) => return Err(self.fail(error)),
            };
            if packet.track_id != self.track {
                continue;
            }
            let (rate, channels) = match self.decoder.decode(&packet) {
                Ok(audio) => {
                    audio.copy_to_vecs_planar(&mut self.pending);
                    (audio.spec().rate(), audio.spec().channels().count())
                }
                // The last block of a cut-off file.
                Err(Error::IoError(error)) if error.kind() == ErrorKind::UnexpectedEof => return self.end(),
                Err(error) => return Err(self.fail(error)),
            };
            self.trimmed += packet.trim_end.get();
            let frames = self.pending.first().map_or(0, Vec::len);
            if frames == 0 {
                continue;
            }
            if channels > MAX_CHANNELS {
                return Err(ReadError::Channels { found: channels });
            }
            if self.decoded == 0 {
                (self.sample_rate_hz, self.channels) = (rate, channels);
            } else if (rate, channels) != (self.sample_rate_hz, self.channels) {
                return Err(ReadError::Unsupported("sample rate or channels change in the middle"));
            }
            self.decoded += frames as u64;
            return Ok(());
        }
    }

    fn end(&mut self) -> Result<(), ReadError> {
        self.ended = true;
        match self.promised() {
            Some(expected) if self.decoded > 0 && self.decoded < expected => Err(ReadError::Truncated {
                expected,
                found: self.decoded,
            }),
            Some(expected) if self.trimmed > self.padding + SLACK => Err(ReadError::Longer {
                expected,
                path: self.path.clone(),
            }),
            _ => Ok(()),
        }
    }

    /// How far it has been decoded.
    fn seconds(&self) -> f64 {
        self.decoded as f64 / f64::from(self.sample_rate_hz.max(1))
    }

    fn fail(&self, error: Error) -> ReadError {
        let seconds = self.seconds();
        match error {
            Error::IoError(reason) => ReadError::Io { seconds, reason },
            Error::Unsupported(what) => ReadError::Unsupported(what),
            Error::ResetRequired => ReadError::Unsupported("several recordings chained in one file"),
            other => ReadError::Damaged {
                seconds,
                reason: other.to_string(),
            },
        }
    }
}

/// Makes a decoder's panic an error. symphonia 0.6.1 computes with lengths out of damaged headers before it has checked them all, which panics where
/// overflow is checked, as it is in `cargo xtask`.
fn contain<T>(seconds: f64, work: impl FnOnce() -> Result<T, ReadError>) -> Result<T, ReadError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        Err(ReadError::Damaged {
            seconds,
            reason: "the decoder stopped at a value that makes no sense".to_owned(),
        })
    })
}

/// The name of a format that no reader here knows, by its first bytes. Leaves the file at its start.
fn foreign_format(file: &mut File) -> std::io::Result<Option<&'static str>> {
    let mut start = Vec::new();
    file.by_ref().take(16).read_to_end(&mut start)?;
    file.rewind()?;
    // Sony's Wave64 starts with the GUID 66666972-912E-11CF-A5D6-28DB04C10000.
    const WAVE64: [u8; 16] = *b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00";
    Ok(match start.get(..4) {
        Some(b"RF64" | b"BW64") => Some("RF64, the WAV of more than 4 GiB"),
        _ if start == WAVE64 => Some("Wave64"),
        _ => None,
    })
}

/// Whether a file is no Ogg file, or one whose last page is there in full and marked as the last (RFC 3533, section 6). An Ogg file declares
/// its length nowhere else. Leaves the file at its start.
fn ogg_is_whole(file: &mut File, length: u64) -> std::io::Result<bool> {
    const HEADER: usize = 27;
    const LARGEST_PAGE: u64 = 65_307;
    const CAPTURE: &[u8; 4] = b"OggS";
    const END_OF_STREAM: u8 = 4;
    let mut start = [0; 4];
    let is_ogg = length >= 4 && file.read_exact(&mut start).is_ok() && &start == CAPTURE;
    let mut tail = Vec::new();
    if is_ogg {
        file.seek(SeekFrom::Start(length.saturating_sub(LARGEST_PAGE)))?;
        file.read_to_end(&mut tail)?;
    }
    file.rewind()?;
    let Some(at) = tail.windows(4).rposition(|w| w == CAPTURE) else {
        return Ok(!is_ogg);
    };
    let page = &tail[at..];
    let Some((header, rest)) = page.split_at_checked(HEADER) else {
        return Ok(false);
    };
    let segments = usize::from(header[HEADER - 1]);
    let content: usize = rest.iter().take(segments).map(|s| usize::from(*s)).sum();
    Ok(header[5] & END_OF_STREAM != 0 && rest.len() >= segments + content)
}

#[cfg(test)]
mod tests {
    use super::super::{Encoding, Planar, Writer};
    use super::*;

    type Outcome = Result<(), Box<dyn std::error::Error>>;

    fn message(path: &Path) -> String {
        let mut reader = match Reader::open(path) {
            Ok(reader) => reader,
            Err(error) => return error.to_string(),
        };
        let mut block: Planar = vec![vec![0.0; 1000]; 2];
        loop {
            match reader.read(&mut block, 1000) {
                Ok(1000) => {}
                Ok(_) => return "fine".to_owned(),
                Err(error) => return error.to_string(),
            }
        }
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said() -> Outcome {
        let folder = tempfile::tempdir()?;
        let at = |name: &str| folder.path().join(name);
        let audio: Planar = vec![(0u16..20_000).map(|n| (f32::from(n) * 0.1).sin() * 0.5).collect()];
        for name in ["whole.wav", "whole.flac", "empty.wav"] {
            let mut writer = Writer::create(&at(name), 44_100, 1, Encoding::Int24, None, false)?;
            let frames = if name.starts_with("empty") { 0 } else { 20_000 };
            writer.write(&audio, 0, frames)?;
            writer.finish()?;
        }
        for ending in ["wav", "flac"] {
            let whole = std::fs::read(at(&format!("whole.{ending}")))?;
            std::fs::write(at(&format!("cut.{ending}")), &whole[..whole.len() / 2])?;
        }
        std::fs::write(at("text.wav"), "these are words, not samples")?;
        std::fs::write(at("nothing.flac"), "")?;
        let mut page = vec![0; 27];
        page[..4].copy_from_slice(b"OggS");
        std::fs::write(at("cut.ogg"), page)?;
        std::fs::write(at("long.wav"), b"RF64\xff\xff\xff\xffWAVEds64\x1c\0\0\0")?;
        std::fs::write(at("long.w64"), b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\0\0\0\0\0\0")?;
        std::fs::write(at("voice.opus"), opus())?;
        assert_eq!(message(&at("whole.wav")), "fine");
        assert_eq!(message(&at("whole.flac")), "fine");
        assert!(message(&at("cut.wav")).contains("promises 20000 samples per channel, it holds"));
        assert!(message(&at("cut.flac")).contains("promises 20000 samples per channel, it holds"));
        assert!(message(&at("cut.ogg")).contains("page that ends"));
        assert_eq!(message(&at("empty.wav")), "it holds no samples");
        assert_eq!(message(&at("nothing.flac")), "it holds no samples");
        for (name, format) in [("long.wav", "RF64"), ("long.w64", "Wave64"), ("voice.opus", "Opus")] {
            let said = message(&at(name));
            assert!(
                said.contains(format) && said.contains("ffmpeg -i ") && said.contains(name),
                "{name}: {said}"
            );
        }
        assert!(message(&at("text.wav")).contains("not an audio file"));
        assert!(message(&at("none.wav")).contains("can't open it"));
        assert!(message(folder.path()).contains("not an audio file"));
        Ok(())
    }

    /// The pages of an empty Ogg Opus file (RFC 7845, section 5): identification, comments, one packet of silence.
    fn opus() -> Vec<u8> {
        let packets: [&[u8]; 3] = [
            b"OpusHead\x01\x01\0\0\x80\xbb\0\0\0\0\0",
            b"OpusTags\x04\0\0\0test\0\0\0\0",
            b"\xf8\xff\xfe",
        ];
        let mut file = Vec::new();
        for (number, packet) in packets.into_iter().enumerate() {
            let number = u8::try_from(number).expect("three pages");
            let mut page = b"OggS\0".to_vec();
            page.push([2, 0, 4][usize::from(number)]);
            page.extend(u64::to_le_bytes(if number == 2 { 960 } else { 0 }));
            page.extend([7, 0, 0, 0, number, 0, 0, 0, 0, 0, 0, 0, 1]);
            page.push(u8::try_from(packet.len()).expect("a short packet"));
            page.extend(packet);
            // RFC 3533, section 6: polynomial 0x04c11db7, nothing reflected.
            let crc = page.iter().fold(0u32, |crc, byte| {
                (0..8).fold(crc ^ (u32::from(*byte) << 24), |crc, _| {
                    (crc << 1) ^ if crc >> 31 == 1 { 0x04c1_1db7 } else { 0 }
                })
            });
            page[22..26].copy_from_slice(&crc.to_le_bytes());
            file.extend(page);
        }
        file
    }

    /// A silent frame of a mono MP3 at 44.1 kHz, with `note` where the encoder's own note would be (ISO 11172-3, 2.4.1).
    fn mp3_frame(kilobits: usize, note: &[u8]) -> Vec<u8> {
        let index = [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320]
            .iter()
            .position(|rate| *rate == kilobits);
        let index = u8::try_from(index.expect("a bit rate of MP3")).expect("a small number") + 1;
        let mut frame = vec![0xff, 0xfb, index << 4, 0xc0];
        frame.resize(4 + 17, 0); // the side information of one channel
        frame.extend(note);
        frame.resize(144 * kilobits * 1000 / 44_100, 0);
        frame
    }

    /// An Info frame that promises `frames` frames, less the delay of 529 + 576 samples and the padding of 1000.
    fn mp3_note(frames: u32) -> Vec<u8> {
        let trim = (576u32 << 12) | (1000 + 529);
        let mut note = b"Info\0\0\0\x01".to_vec();
        note.extend(frames.to_be_bytes());
        note.extend(b"Lavc61.19");
        note.extend([0; 12]);
        note.extend(&trim.to_be_bytes()[1..]);
        mp3_frame(128, &note)
    }

    #[test]
    fn an_mp3_is_read_to_its_end() -> Outcome {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("a.mp3");
        let read = |file: Vec<u8>| -> Result<u64, Box<dyn std::error::Error>> {
            std::fs::write(&path, file)?;
            let mut reader = Reader::open(&path)?;
            let mut block: Planar = vec![vec![0.0; 1000]; 1];
            while reader.read(&mut block, 1000)? == 1000 {}
            Ok(reader.decoded)
        };
        // Without a note: what follows is at a lower bit rate than the start, and than the start again.
        let (dense, thin) = (mp3_frame(320, &[]).repeat(30), mp3_frame(32, &[]).repeat(300));
        assert_eq!(read([dense.clone(), thin.clone()].concat())?, 330 * 1152);
        assert_eq!(read([thin, dense].concat())?, 330 * 1152);
        let noted = [mp3_note(40), mp3_frame(128, &[]).repeat(40)].concat();
        let promised = 40 * 1152 - (576 + 529 + 1000);
        assert_eq!(read(noted.clone())?, promised);
        let joined = read([noted.clone(), noted].concat()).map_err(|e| e.to_string());
        assert!(
            joined
                .as_ref()
                .is_err_and(|said| said.contains(&promised.to_string()) && said.contains("ffmpeg -i ")),
            "{joined:?}"
        );
        Ok(())
    }

    #[test]
    fn more_than_two_channels_are_refused() -> Outcome {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("four.wav");
        let audio: Planar = vec![vec![0.1; 100]; 4];
        let mut writer = Writer::create(&path, 44_100, 4, Encoding::Float, None, false)?;
        writer.write(&audio, 0, 100)?;
        writer.finish()?;
        assert_eq!(message(&path), "it has 4 channels: Dualstep takes mono and stereo");
        Ok(())
    }
}
