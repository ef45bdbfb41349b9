//! FLAC files with 24 bits, written a block at a time.
//!
//! The encoder crate makes the frames. The stream's header is written here, because the crate keeps the whole stream in memory to write it
//! and refuses more than 96 kHz, which the format itself takes (RFC 9639, section 8.2).

use std::io::{self, Seek, SeekFrom, Write};

use flacenc::bitsink::ByteSink;
use flacenc::component::{BitRepr, Frame, FrameHeader, FrameOffset, StreamInfo};
use flacenc::config::Encoder;
use flacenc::error::{Verified, Verify};
use flacenc::source::{Context, Fill, FrameBuf};

/// Bits per sample.
pub(super) const BITS: u8 = 24;
/// Samples per channel in one frame.
const BLOCK: usize = 4096;
/// The highest rate the encoder crate works at; above, frames are made as if at this rate and get their real header afterwards.
const CRATE_RATE_HZ: u32 = 96_000;
/// "fLaC", the STREAMINFO block's header (last block, type 0, 34 bytes) and its content (RFC 9639, section 8.2).
const HEADER_BYTES: usize = 4 + 4 + 34;

/// Whether the frame header can name this rate: a standard one, whole kHz up to 255, tens of Hz up to 655 350 or whole Hz up to 65 535
/// (RFC 9639, section 9.1.2).
pub(super) fn takes_rate(sample_rate_hz: u32) -> bool {
    sample_rate_hz > 0 && (sample_rate_hz <= 65_535 || (sample_rate_hz % 10 == 0 && sample_rate_hz <= 655_350))
}

/// An open FLAC file.
pub(super) struct FlacWriter<W: Write + Seek> {
    out: W,
    config: Verified<Encoder>,
    info: StreamInfo,
    sample_rate_hz: u32,
    channels: usize,
    /// Interleaved samples that don't fill a block yet.
    pending: Vec<i32>,
    context: Context,
    buffer: FrameBuf,
    frames: usize,
    /// Smallest and largest frame in bytes.
    sizes: (usize, usize),
}

/// Turns the encoder crate's errors into the kind that writing a file has.
fn invalid(error: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, error.to_string())
}

impl<W: Write + Seek> FlacWriter<W> {
    /// Writes a provisional header.
    pub(super) fn new(mut out: W, sample_rate_hz: u32, channels: usize) -> io::Result<Self> {
        let config = Encoder::default().into_verified().map_err(|(_, error)| invalid(error))?;
        let info = StreamInfo::new(sample_rate_hz.min(CRATE_RATE_HZ) as usize, channels, usize::from(BITS)).map_err(invalid)?;
        out.write_all(&[0; HEADER_BYTES])?;
        Ok(Self {
            out,
            config,
            info,
            sample_rate_hz,
            channels,
            pending: Vec::with_capacity(BLOCK * channels),
            context: Context::new(usize::from(BITS), channels),
            buffer: FrameBuf::with_size(channels, BLOCK).map_err(invalid)?,
            frames: 0,
            sizes: (usize::MAX, 0),
        })
    }

    /// Adds one sample; those of one moment follow each other, channel by channel.
    pub(super) fn push(&mut self, sample: i32) -> io::Result<()> {
        self.pending.push(sample);
        if self.pending.len() == BLOCK * self.channels {
            self.write_frame()?;
        }
        Ok(())
    }

    fn write_frame(&mut self) -> io::Result<()> {
        self.context.fill_interleaved(&self.pending).map_err(invalid)?;
        self.buffer.fill_interleaved(&self.pending).map_err(invalid)?;
        let count = self.pending.len() / self.channels;
        self.pending.clear();
        let mut frame = flacenc::encode_fixed_size_frame(&self.config, &self.buffer, self.frames, &self.info).map_err(invalid)?;
        if self.sample_rate_hz > CRATE_RATE_HZ {
            frame = self.with_real_rate(frame, count)?;
        }
        let mut sink = ByteSink::new();
        frame.write(&mut sink).map_err(invalid)?;
        let bytes = sink.as_slice();
        self.out.write_all(bytes)?;
        self.sizes = (self.sizes.0.min(bytes.len()), self.sizes.1.max(bytes.len()));
        self.frames += 1;
        Ok(())
    }

    /// The same frame with a header that names the real rate.
    fn with_real_rate(&self, frame: Frame, count: usize) -> io::Result<Frame> {
        let (header, subframes) = frame.into_parts();
        let number = u32::try_from(self.frames).map_err(invalid)?;
        let header = FrameHeader::new(
            count,
            header.channel_assignment().clone(),
            usize::from(BITS),
            self.sample_rate_hz as usize,
            FrameOffset::Frame(number),
        )
        .map_err(invalid)?;
        Frame::new(header, subframes.into_iter()).map_err(invalid)
    }

    /// Writes what is left and the final header.
    pub(super) fn finish(mut self) -> io::Result<W> {
        if !self.pending.is_empty() {
            self.write_frame()?;
        }
        let header = self.header()?;
        self.out.seek(SeekFrom::Start(0))?;
        self.out.write_all(&header)?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn header(&self) -> io::Result<Vec<u8>> {
        let block = u16::try_from(BLOCK).map_err(invalid)?;
        let size = |bytes: usize| u32::try_from(bytes).map(|b| b.to_be_bytes()).map_err(invalid);
        let total = self.context.total_samples() as u64;
        if total >= 1 << 36 {
            return Err(invalid("too long for FLAC"));
        }
        let mut header = Vec::with_capacity(HEADER_BYTES);
        header.extend_from_slice(b"fLaC");
        header.extend_from_slice(&[0x80, 0, 0, 34]);
        header.extend_from_slice(&block.to_be_bytes());
        header.extend_from_slice(&block.to_be_bytes());
        header.extend_from_slice(&size(if self.frames == 0 { 0 } else { self.sizes.0 })?[1..]);
        header.extend_from_slice(&size(self.sizes.1)?[1..]);
        // 20 bits of rate, 3 of channels - 1, 5 of bits - 1, 36 of length.
        let packed = u64::from(self.sample_rate_hz) << 44 | (self.channels as u64 - 1) << 41 | (u64::from(BITS) - 1) << 36 | total;
        header.extend_from_slice(&packed.to_be_bytes());
        header.extend_from_slice(&self.context.md5_digest());
        Ok(header)
    }
}
