//! Audio files in and out, a block at a time.

mod read;
mod write;

pub use read::{ReadError, Reader};
pub(crate) use write::temporary_file;
pub use write::{Encoding, WriteError, Writer, clean_up_when_interrupted};

/// File name endings that are read.
pub const READABLE: [&str; 9] = ["wav", "wave", "aif", "aiff", "aifc", "flac", "mp3", "ogg", "oga"];

/// Planar samples, one vector per channel, all of one length.
pub type Planar = Vec<Vec<f32>>;

/// `channels` channels of `frames` zeros.
#[must_use]
pub fn silence(channels: usize, frames: usize) -> Planar {
    vec![vec![0.0; frames]; channels]
}
