"""Renders the drum kits of a General MIDI soundfont hit by hit: brushes, shakers, maracas, a guiro. Recorded kits lack what sounds like noise and isn't."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import soundfile

from .scores import DRUM_CHANNEL, TICKS, midi_file, soundfont
from .screening import MissingTool
from .sources import Source

#: Program changes of General MIDI level 2 on the drum channel.
KITS = {"standard": 0, "room": 8, "power": 16, "electronic": 24, "analog": 25, "jazz": 32, "brush": 40, "orchestra": 48}

#: Keys that level 2 gives a sound, and how hard each is struck, as MIDI velocity.
STRUCK = [(key, velocity) for key in range(27, 88) for velocity in (48, 108)]

#: From one hit to the next, s; what rings longer is cut.
HIT_S = 1.9
FADE_S = 0.05

#: The hits as a source of the cache; they lie in `<kit>/<key>-<velocity>.flac`. Later than the rest, so all of it is for training.
SOURCE = Source("kits", "drums", include=("*/*.flac",), group_by="folder", licence="MIT (MuseScore General)", fixed_splits={"*": "train"})


def render_all(work: Path) -> Path:
    """Renders all kits under `work/kits`, unless they are there. Returns that folder.

    Raises:
        MissingTool: fluidsynth isn't installed.
    """
    if shutil.which("fluidsynth") is None:
        raise MissingTool("fluidsynth isn't installed: `apt-get install fluidsynth`, then run this again, or leave out the source `kits` (--only)")
    out = work / "kits"
    for kit, program in KITS.items():
        if not (out / kit).exists():
            part = out / f"{kit}.part"
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir(parents=True)
            _render(program, soundfont(work), part)
            part.rename(out / kit)
    return out


def song(program: int) -> bytes:
    """A MIDI file that strikes every key of a kit, one hit every `HIT_S`."""
    events = [(0, 0, bytes([0xC0 | DRUM_CHANNEL, program]))]
    for index, (key, velocity) in enumerate(STRUCK):
        # At 60 quarter notes per minute a tick is 1 / TICKS s.
        tick = round(index * HIT_S * TICKS)
        events += [(tick, 2, bytes([0x90 | DRUM_CHANNEL, key, velocity])), (tick + TICKS // 2, 1, bytes([0x80 | DRUM_CHANNEL, key, 0]))]
    return midi_file(events, 60.0)


def cut(audio: np.ndarray, rate_hz: int) -> dict[str, np.ndarray]:
    """The hits in a rendering of `song`, `[samples]`, each faded out at its end; keys without a sound are left out."""
    size = round(HIT_S * rate_hz)
    fade = np.minimum(1.0, np.arange(size, 0, -1, dtype=np.float32) / (FADE_S * rate_hz))
    hits = {}
    for index, (key, velocity) in enumerate(STRUCK):
        hit = audio[index * size : (index + 1) * size]
        if len(hit) == size and np.abs(hit).max() > 1e-3:
            hits[f"{key}-{velocity}"] = hit * fade
    return hits


def _render(program: int, font: Path, out: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        midi, sound = Path(folder) / "song.mid", Path(folder) / "song.wav"
        midi.write_bytes(song(program))
        # Soft enough that no hit clips; the cache brings each to the same peak.
        command = ["fluidsynth", "-ni", "-q", "-g", "0.5", "-r", "48000", "-C", "0", "-R", "0", "-F", str(sound), str(font), str(midi)]
        subprocess.run(command, check=True, capture_output=True)
        audio, rate_hz = soundfile.read(str(sound), dtype="float32", always_2d=True)
    for name, hit in cut(audio.mean(axis=1), rate_hz).items():
        soundfile.write(str(out / f"{name}.flac"), hit, rate_hz, subtype="PCM_24")
