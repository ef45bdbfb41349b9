//! Reads the demo recordings.

use crate::Signal;
use std::path::Path;
use symphonia::core::codecs::audio::AudioDecoderOptions;
use symphonia::core::formats::TrackType;
use symphonia::core::formats::probe::Hint;
use symphonia::core::io::MediaSourceStream;

/// Reads a whole audio file. Returns its samples and its sample rate in Hz.
///
/// # Panics
/// If the file can't be read to its end.
#[must_use]
pub fn read_audio(path: &Path) -> (Signal, f64) {
    let what = path.display();
    let file = std::fs::File::open(path).unwrap_or_else(|error| panic!("{what}: {error}"));
    let stream = MediaSourceStream::new(Box::new(file), Default::default());
    let mut format = symphonia::default::get_probe()
        .probe(&Hint::new(), stream, Default::default(), Default::default())
        .unwrap_or_else(|error| panic!("{what}: {error}"));
    let track = format.default_track(TrackType::Audio).expect("an audio track");
    let parameters = track
        .codec_params
        .as_ref()
        .and_then(|codec| codec.audio())
        .expect("audio parameters");
    let rate = parameters.sample_rate.expect("a sample rate");
    let id = track.id;
    let mut decoder = symphonia::default::get_codecs()
        .make_audio_decoder(parameters, &AudioDecoderOptions::default())
        .unwrap_or_else(|error| panic!("{what}: {error}"));
    let mut channels: Vec<Vec<f32>> = Vec::new();
    let mut block = Vec::new();
    while let Some(packet) = format.next_packet().unwrap_or_else(|error| panic!("{what}: {error}")) {
        if packet.track_id != id {
            continue;
        }
        let decoded = decoder.decode(&packet).unwrap_or_else(|error| panic!("{what}: {error}"));
        let count = decoded.spec().channels().count();
        channels.resize_with(count, Vec::new);
        block.resize(decoded.samples_interleaved(), 0.0f32);
        decoded.copy_to_slice_interleaved(&mut block);
        for frame in block.chunks_exact(count) {
            for (channel, sample) in channels.iter_mut().zip(frame) {
                channel.push(*sample);
            }
        }
    }
    (Signal { channels }, f64::from(rate))
}
