"""Renders scores to audio: music21's corpus -> notes -> MIDI with random instruments, tempo and touch -> fluidsynth -> FLAC.

Rendered music is noise free up to 20 kHz, which game music isn't, so it is what teaches the networks to leave highs alone.
Encodings that are marked non-commercial or "all rights reserved" are left out: Palestrina, the Essen collection, Ut Orpheus.
"""

from __future__ import annotations

import importlib.util
import json
import math
import shutil
import struct
import subprocess
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from .screening import MissingTool
from .sources import Source, fetch

#: Corpus folders, with the most hours that each may fill and how often a score is rendered (each time with other instruments).
FOLDERS: dict[str, tuple[float, int]] = {
    "beethoven": (3.0, 2), "mozart": (1.0, 1), "haydn": (0.6, 1), "bach": (2.5, 1), "monteverdi": (1.0, 1), "trecento": (2.0, 1),
    "schumann_robert": (0.3, 2), "schumann_clara": (0.3, 2), "josquin": (0.3, 1), "joplin": (0.1, 3), "weber": (0.1, 2),
    "handel": (0.1, 2), "chopin": (0.1, 2), "verdi": (0.1, 2), "schubert": (0.1, 2), "corelli": (0.1, 2), "beach": (0.1, 2),
    "cpebach": (0.1, 2), "johnson_j_r": (0.1, 2), "liliuokalani": (0.1, 2), "lusitano": (0.1, 1),
    "ryansMammoth": (3.0, 1), "oneills1850": (0.4, 1), "airdsAirs": (0.1, 1),
}

#: Composers (here: folders) whose split is fixed, so that each is heard in one split only.
COMPOSER_SPLITS = {"mozart": "test", "haydn": "valid", "oneills1850": "test", "airdsAirs": "valid", "josquin": "valid", "handel": "test"}

#: The rendered recordings as a source of the cache; its files lie in `<folder>/<score>-<take>.flac`.
SOURCE = Source("scores", "music", include=("*/*.flac",), group_by="folder",
                licence="compositions: public domain; encodings: as shipped with music21; sounds: MIT (FluidR3 GM, MuseScore General)",
                fixed_splits={**COMPOSER_SPLITS, "*": "train"})

#: General MIDI programs that a part may get, in families: a piece is played by one or two of them.
FAMILIES: dict[str, tuple[int, ...]] = {
    "piano": (0, 0, 1, 2, 3), "harpsichord": (6, 6, 7), "organ": (16, 19, 20), "accordion": (21, 22, 23), "guitar": (24, 25, 26, 27),
    "strings": (40, 41, 42, 48, 49), "plucked": (45, 46, 24, 104, 105, 107), "choir": (52, 53), "brass": (56, 57, 58, 60, 61),
    "reed": (64, 65, 66, 68, 69, 70, 71), "flute": (72, 73, 74, 75), "mallets": (8, 9, 10, 11, 12, 13, 14), "fiddle": (40, 110, 41),
}

#: Longest take, s: a long movement is cut, so that no piece dominates.
MAX_TAKE_S = 420.0

#: MIDI ticks per quarter note, and the channel that General MIDI gives the drums, from 0.
TICKS = 480
DRUM_CHANNEL = 9


@dataclass(frozen=True)
class Note:
    """A note: onset and length in quarter notes, MIDI pitch."""

    onset: float
    length: float
    pitch: int


def corpus_folder() -> Path:
    """Where music21 keeps its scores.

    Raises:
        MissingTool: music21 isn't installed.
    """
    spec = importlib.util.find_spec("music21")
    if spec is None or not spec.submodule_search_locations:
        raise MissingTool("music21 isn't installed: `pip install music21`, then run this again, or leave out the source `scores` (--only)")
    return Path(spec.submodule_search_locations[0]) / "corpus"


def read_parts(path: Path) -> list[list[Note]]:
    """Notes per part of a score; repeats are played where music21 can expand them."""
    import music21

    parsed = music21.converter.parse(path)
    if isinstance(parsed, music21.stream.Opus):
        parsed = parsed.scores[0]
    parts = []
    for part in parsed.parts if len(parsed.parts) else [parsed]:
        try:
            expanded = part.expandRepeats()
        except Exception:  # noqa: BLE001 music21 raises many kinds for odd repeat signs; playing straight through is fine
            expanded = part
        notes = []
        for element in expanded.stripTies().flatten().notes:
            if element.duration.isGrace or element.quarterLength <= 0 or not hasattr(element, "pitches"):
                continue
            notes += [Note(float(element.offset), float(element.quarterLength), int(pitch.midi)) for pitch in element.pitches]
        if notes:
            parts.append(notes)
    return parts


def arrange(parts: list[list[Note]], rng: np.random.Generator) -> tuple[bytes, float]:
    """A MIDI file with random instruments, transposition, tempo, dynamics and timing, and its length in seconds."""
    pitches = np.array([note.pitch for part in parts for note in part])
    shift = int(rng.integers(-4, 5)) + 12 * int(np.clip(round((62 - pitches.mean()) / 24), -1, 1))
    density = len(pitches) / max(note.onset for part in parts for note in part)
    bpm = float(np.clip(rng.uniform(70, 135) / max(density / 6, 0.7), 48, 170))
    families = list(rng.choice(list(FAMILIES), 2, replace=False))
    events: list[tuple[int, int, bytes]] = []  # tick, order, message
    loudness = np.interp(np.arange(4000), np.arange(0, 4000, 8), rng.normal(0, 9, 500))  # one value per quarter note
    for index, part in enumerate(parts):
        channel = [c for c in range(16) if c != DRUM_CHANNEL][index % 15]
        program = int(rng.choice(FAMILIES[families[int(rng.random() < 0.3)]]))
        events.append((0, 0, bytes([0xC0 | channel, program])))
        base, sloppiness = rng.uniform(60, 100), rng.uniform(0, 0.02)
        staccato = rng.uniform(0.6, 1.02)
        for note in part:
            pitch = note.pitch + shift
            if not 20 <= pitch <= 108:
                continue
            velocity = int(np.clip(base + loudness[int(note.onset) % 4000] + rng.normal(0, 6), 20, 127))
            start = max(0, int((note.onset + rng.normal(0, sloppiness)) * TICKS))
            stop = start + max(20, int(note.length * staccato * TICKS))
            events.append((start, 2, bytes([0x90 | channel, pitch, velocity])))
            events.append((stop, 1, bytes([0x80 | channel, pitch, 0])))
    last = max(tick for tick, _, _ in events)
    if rng.random() < 0.25:
        events += _drum_part(rng, last)
    return midi_file(events, bpm), last / TICKS * 60 / bpm


def _drum_part(rng: np.random.Generator, last: int) -> list[tuple[int, int, bytes]]:
    """A drum pattern of one bar of sixteenths, repeated with gaps: bass drum, snare, hi-hat and now and then a tom or a cymbal."""
    events = []
    lines = {36: 0.3, 38: 0.2, 42: 0.5, 46: 0.08, 45: 0.08, 49: 0.03, 39: 0.05, 70: 0.15}
    pattern = {key: rng.random(16) < chance * rng.uniform(0.3, 1.5) for key, chance in lines.items()}
    for step in range(last // (TICKS // 4)):
        for key, hits in pattern.items():
            if hits[step % 16] and rng.random() < 0.9:
                tick = step * TICKS // 4
                events.append((tick, 2, bytes([0x90 | DRUM_CHANNEL, key, int(rng.integers(50, 120))])))
                events.append((tick + 60, 1, bytes([0x80 | DRUM_CHANNEL, key, 0])))
    return events


def midi_file(events: list[tuple[int, int, bytes]], bpm: float) -> bytes:
    """A MIDI file of format 0."""
    track = b"\x00\xff\x51\x03" + struct.pack(">I", int(60e6 / bpm))[1:]
    now = 0
    for tick, _, message in sorted(events, key=lambda event: event[:2]):
        track += _variable_length(tick - now) + message
        now = tick
    track += b"\x00\xff\x2f\x00"
    return b"MThd" + struct.pack(">IHHH", 6, 0, 1, TICKS) + b"MTrk" + struct.pack(">I", len(track)) + track


def _variable_length(value: int) -> bytes:
    """MIDI's variable-length quantity: 7 bits per byte, high bit set on all but the last."""
    digits = [value & 0x7F]
    while value := value >> 7:
        digits.append(0x80 | (value & 0x7F))
    return bytes(reversed(digits))


def synthesise(midi: bytes, soundfont: Path, out: Path, rng: np.random.Generator) -> float:
    """Renders MIDI to mono 48 kHz FLAC with random tuning and reverb. Returns its length, s."""
    with tempfile.TemporaryDirectory() as folder:
        song, sound = Path(folder) / "song.mid", Path(folder) / "song.wav"
        song.write_bytes(midi)
        reverb = rng.random() < 0.6
        subprocess.run(
            ["fluidsynth", "-ni", "-q", "-g", "0.4", "-r", "48000", "-C", "0", "-R", str(int(reverb)),
             "-o", f"synth.reverb.room-size={rng.uniform(0.2, 0.95):.2f}", "-o", f"synth.reverb.level={rng.uniform(0.1, 0.9):.2f}",
             "-o", f"synth.reverb.damp={rng.uniform(0, 0.6):.2f}", "-F", str(sound), str(soundfont), str(song)],
            check=True, capture_output=True)
        audio, rate_hz = soundfile.read(str(sound), dtype="float32", always_2d=True)
    mono = audio.mean(axis=1)[: int(MAX_TAKE_S * rate_hz)]
    peak = float(np.abs(mono).max()) if len(mono) else 0.0
    if peak < 1e-3:
        raise ValueError("rendered to silence")
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = out.with_suffix(".part")
    soundfile.write(str(temporary), mono * (0.9 / peak), rate_hz, format="FLAC", subtype="PCM_16")
    temporary.rename(out)
    return len(mono) / rate_hz


def soundfont(work: Path) -> Path:
    """The General MIDI soundfont that is always there, unpacked under `work`."""
    return sorted(fetch(Source("soundfont", "music", package="musescore-general-soundfont-lossless"), work).rglob("*.sf2"))[0]


def _render_score(task: tuple[str, str, int, tuple[str, ...], int]) -> float:
    """Worker: renders the takes of one score unless they are there. Returns hours; a score that music21 can't read gives 0."""
    path, out, takes, soundfonts, seed = task
    hours = 0.0
    parts = None
    for take in range(takes):
        target = Path(f"{out}-{take}.flac")
        if target.exists():
            hours += soundfile.info(str(target)).duration / 3600
            continue
        rng = np.random.default_rng([seed, take])
        try:
            parts = read_parts(Path(path)) if parts is None else parts
            midi, _ = arrange(parts, rng)
            hours += synthesise(midi, Path(soundfonts[int(rng.integers(len(soundfonts)))]), target, rng) / 3600
        except Exception as error:  # noqa: BLE001 one odd score among two thousand must not end the build
            Path(f"{out}.failed").parent.mkdir(parents=True, exist_ok=True)
            Path(f"{out}.failed").write_text(f"{type(error).__name__}: {error}")
            return hours
    return hours


def render_all(work: Path, workers: int = 1) -> Path:
    """Renders the corpus under `work/scores`, resumable. Returns that folder.

    Raises:
        MissingTool: fluidsynth or music21 isn't installed.
    """
    from tqdm import tqdm

    # Asked before anything is rendered: a score that fails is marked, and never tried again.
    if shutil.which("fluidsynth") is None:
        raise MissingTool("fluidsynth isn't installed: `apt-get install fluidsynth`, then run this again, or leave out the source `scores` (--only)")
    corpus, out = corpus_folder(), work / "scores"
    fonts = [path for path in (Path("/usr/share/sounds/sf2/FluidR3_GM.sf2"),) if path.exists()]
    fonts.append(soundfont(work))
    names = tuple(str(font) for font in fonts)
    with ProcessPoolExecutor(workers) as pool:
        # Folders take turns, so that an unfinished rendering already holds many composers.
        queues = {folder: _tasks(corpus, folder, out, takes, names) for folder, (_, takes) in FOLDERS.items()}
        spent = dict.fromkeys(FOLDERS, 0.0)
        with tqdm(total=round(sum(limit for limit, _ in FOLDERS.values()), 1), desc="scores", unit="h") as bar:
            while queues:
                turn = []
                for folder, queue in queues.items():
                    share = min(math.ceil(len(queue) / 24), 6)
                    turn += [(folder, task) for task in queue[:share]]
                    del queue[:share]
                turn.sort(key=lambda entry: Path(entry[1][0]).stat().st_size)  # long scores take minutes to parse
                for (folder, _), hours in zip(turn, pool.map(_render_score, [task for _, task in turn]), strict=True):
                    spent[folder] += hours
                    bar.update(round(hours, 3))
                queues = {folder: queue for folder, queue in queues.items() if queue and spent[folder] < FOLDERS[folder][0]}
    (out / "hours.json").write_text(json.dumps(spent))
    return out


def _tasks(corpus: Path, folder: str, out: Path, takes: int, fonts: tuple[str, ...]) -> list:
    """The scores of a folder in a seeded random order."""
    paths = sorted(path for path in (corpus / folder).rglob("*") if path.suffix in {".mxl", ".xml", ".musicxml", ".krn", ".abc"})
    if folder == "beethoven":  # the same movements are there twice
        paths = [path for path in paths if path.suffix == ".mxl"]
    tasks = []
    for index, path in enumerate(paths):
        name = "_".join(path.relative_to(corpus / folder).with_suffix("").parts)
        target = out / folder / name
        if not Path(f"{target}.failed").exists():
            tasks.append((str(path), str(target), takes, fonts, 1000 * list(FOLDERS).index(folder) + index))
    order = np.random.default_rng(len(tasks)).permutation(len(tasks))
    return [tasks[index] for index in order]


if __name__ == "__main__":
    import sys

    render_all(Path(sys.argv[1]))
