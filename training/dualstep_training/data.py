"""The training material: builds the cache (`python -m dualstep_training.data --out DIR`) and reads it (`Cache`).

A cache is a folder with one file of mono, 48 kHz, 16-bit samples per split, plus `index.json`, which says where each
recording lies, and `manifest.json`, which sums up sources and licences. The sample files only ever grow and the index is
replaced atomically, so a trainer may read while the cache is being built, and a build that is cut off resumes.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import scipy.fft

from . import sources
from .screening import RATE_HZ, Rejected, Screened, has_steady_noise, screen

INDEX_VERSION = 1

#: Shares of the classes in `Cache.sample_clean`; the rest is music and speech in equal parts.
DRUM_SHARE = 0.12

#: Share of clean items that are resampled, and by how much at most: a cheap jitter of pitch and tempo.
JITTER_SHARE = 0.35
JITTER = 0.03

#: A piece of music counts as no longer than this when pieces are drawn, s.
MUSIC_CAP_S = 300.0

#: Cross-fade where a recording is looped, s.
LOOP_FADE_S = 0.05

#: Drums longer than this may be loops, s; shorter ones are hits.
HIT_S = 2.0

#: Source of a user's own clean recordings, see `own.py`. Packaged ones are drawn as they always were, or published sets would change.
OWN = "own"


@dataclass(frozen=True)
class Item:
    """One recording in the cache."""

    source: str
    file: str
    #: `music`, `speech`, `drums` or `noise-<folder>`.
    kind: str
    #: Speaker, kit or recording; a group lies in one split only.
    group: str
    split: str
    #: First sample and number of samples in the split's file.
    start: int
    length: int
    source_rate_hz: int
    bandwidth_hz: int
    floor_db: float
    licence: str


class CacheWriter:
    """Appends recordings to a cache folder."""

    def __init__(self, path: Path | str):
        self.path = Path(path)
        self.path.mkdir(parents=True, exist_ok=True)
        self.items: list[Item] = []
        self.rejected: dict[str, str] = {}
        self.samples = dict.fromkeys(sources.SPLITS, 0)
        index = self.path / "index.json"
        if index.exists():
            content = _read_index(index)
            self.items = [Item(**item) for item in content["items"]]
            self.rejected = content["rejected"]
            self.samples = content["samples"]
        self.known = {f"{item.source}|{item.file}" for item in self.items} | set(self.rejected)
        for split in sources.SPLITS:
            file = self.path / f"{split}.i16"
            file.touch()
            # What lies behind the index's end was written by a build that was cut off; no reader maps it.
            os.truncate(file, 2 * self.samples[split])

    def add(self, audio: np.ndarray, source: str, file: str, kind: str, group: str, split: str, *,
            source_rate_hz: int = RATE_HZ, bandwidth_hz: int = RATE_HZ // 2, floor_db: float = -100.0, licence: str = "") -> None:
        """Appends int16 `[samples]` at 48 kHz. It becomes visible to readers at the next `flush`."""
        if audio.dtype != np.int16 or audio.ndim != 1:
            raise TypeError(f"audio is {audio.dtype} with {audio.ndim} axes, expected int16 [samples]; scale and mix down first")
        with open(self.path / f"{split}.i16", "ab") as handle:
            audio.tofile(handle)
        self.items.append(Item(source, file, kind, group, split, self.samples[split], len(audio), source_rate_hz, bandwidth_hz,
                               round(floor_db, 1), licence))
        self.samples[split] += len(audio)
        self.known.add(f"{source}|{file}")

    def reject(self, source: str, file: str, reason: str) -> None:
        """Remembers that a file was turned away, so that a resumed build doesn't decode it again."""
        self.rejected[f"{source}|{file}"] = reason
        self.known.add(f"{source}|{file}")

    def forget(self, keys: set[str]) -> None:
        """Takes recordings and rejections, as `source|file`, out as if never met. Their samples stay in the files, unused."""
        self.items = [item for item in self.items if f"{item.source}|{item.file}" not in keys]
        self.rejected = {key: reason for key, reason in self.rejected.items() if key not in keys}
        self.known -= keys

    def drop(self, source: str, file: str, reason: str) -> None:
        """Takes a recording out of the index, as after a stricter screening. Its samples stay in the file, unused."""
        self.items = [item for item in self.items if (item.source, item.file) != (source, file)]
        self.reject(source, file, reason)

    def flush(self) -> None:
        """Publishes what was added: the index and the manifest are replaced atomically."""
        content = {"version": INDEX_VERSION, "rate_hz": RATE_HZ, "split_seed": sources.SPLIT_SEED, "samples": self.samples,
                   "items": [asdict(item) for item in self.items], "rejected": self.rejected}
        replace_json(self.path / "index.json", content)
        replace_json(self.path / "manifest.json", manifest(self.items, self.rejected))


def replace_json(path: Path, content: dict) -> None:
    """Writes JSON beside `path` and moves it into place."""
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(content, indent=None if path.name == "index.json" else 1))
    os.replace(temporary, path)


def _read_index(path: Path) -> dict:
    content = json.loads(path.read_text())
    if content.get("version") != INDEX_VERSION:
        raise ValueError(f"{path} has version {content.get('version')}, expected {INDEX_VERSION}; build the cache again")
    return content


def manifest(items: list[Item], rejected: dict[str, str]) -> dict:
    """Per source: kind, licence, files, hours per split, sample rates, usable bandwidth and what was turned away."""
    table: dict[str, dict] = {}
    for item in items:
        row = table.setdefault(item.source, {"kind": item.kind, "licence": item.licence, "files": 0, "groups": set(),
                                             "hours": dict.fromkeys(sources.SPLITS, 0.0), "rates_hz": set(), "bands_hz": []})
        row["files"] += 1
        row["groups"].add(item.group)
        row["hours"][item.split] += item.length / RATE_HZ / 3600
        row["rates_hz"].add(item.source_rate_hz)
        row["bands_hz"].append(item.bandwidth_hz)
    for name, row in table.items():
        row["groups"] = len(row["groups"])
        row["hours"] = {split: round(hours, 3) for split, hours in row["hours"].items()}
        row["rates_hz"] = sorted(row["rates_hz"])
        row["usable_bandwidth_hz"] = int(np.median(row.pop("bands_hz")))
        row["turned_away"] = sum(key.startswith(f"{name}|") for key in rejected)
    return {"split_seed": sources.SPLIT_SEED, "rate_hz": RATE_HZ, "sources": table}


class Cache:
    """One split of a cache, memory-mapped, from which random excerpts are drawn.

    All randomness comes from the generator that is passed in, so a caller that restores its generator gets the same audio again.
    """

    def __init__(self, path: Path | str, split: str):
        path = Path(path)
        if split not in sources.SPLITS:
            raise ValueError(f"split is {split!r}, expected one of {', '.join(sources.SPLITS)}")
        if not (path / "index.json").exists():
            raise FileNotFoundError(f"no index.json in {path}; build the cache with `python -m dualstep_training.data --out {path}`")
        content = _read_index(path / "index.json")
        self.path, self.split = path, split
        self.items = [item for item in (Item(**entry) for entry in content["items"]) if item.split == split]
        if not self.items:
            raise ValueError(f"the {split} split in {path} is empty; build more sources")
        self.samples = np.memmap(path / f"{split}.i16", dtype=np.int16, mode="r", shape=(content["samples"][split],))
        self._groups: dict[str, list[tuple[list[Item], np.ndarray]]] = {}
        self._group_weights: dict[str, np.ndarray] = {}
        for kind in sorted({item.kind for item in self.items}):
            self._index_kind(kind)

    def __getstate__(self) -> dict:
        # Worker processes map the samples themselves.
        return {**self.__dict__, "samples": self.samples.shape}

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        self.samples = np.memmap(self.path / f"{self.split}.i16", dtype=np.int16, mode="r", shape=state["samples"])

    def _index_kind(self, kind: str) -> None:
        """Sorts a kind's items into groups and weighs them.

        A speaker, kit or noise is drawn by the root of its length, so that a long one doesn't drown the rest. Music is drawn
        by length with a cap per recording: a group may be one game track or all scores of a composer.
        """
        groups: dict[str, list[Item]] = {}
        for item in self.items:
            if item.kind == kind:
                groups.setdefault(item.group, []).append(item)
        weights = []
        self._groups[kind] = []
        for items in groups.values():
            lengths = np.array([item.length for item in items], dtype=np.float64)
            weight = np.minimum(lengths, MUSIC_CAP_S * RATE_HZ).sum() if kind == "music" else np.sqrt(lengths.sum())
            if kind == "speech" and np.median([item.bandwidth_hz for item in items]) > 9000:
                weight *= 1.3  # full-band voices are rarer than telephone prompts, and matter more
            weights.append(weight)
            self._groups[kind].append((items, np.cumsum(lengths / lengths.sum())))
        self._group_weights[kind] = np.cumsum(weights) / np.sum(weights)

    def kinds(self) -> list[str]:
        """The classes present, such as `["drums", "music", "noise-disc", "speech"]`."""
        return sorted(self._groups)

    def noise_kinds(self) -> list[str]:
        """The kinds that `sample_noise` can draw."""
        return [kind[len("noise-"):] for kind in self.kinds() if kind.startswith("noise-")]

    def sample_clean(self, rng: np.random.Generator, batch: int, seconds: float,
                     kinds: list[str] | None = None) -> tuple[np.ndarray, list[str]]:
        """Draws clean excerpts: float32 `[batch, samples]` within -1..1 at 48 kHz, and each one's class.

        `kinds` fixes the class per item; otherwise music and speech come in equal parts, with 12 % drums.
        """
        audio, names, _ = self.sample_clean_bands(rng, batch, seconds, kinds)
        return audio, names

    def sample_clean_bands(self, rng: np.random.Generator, batch: int, seconds: float,
                           kinds: list[str] | None = None) -> tuple[np.ndarray, list[str], np.ndarray]:
        """Like `sample_clean`, plus the usable bandwidth of each excerpt, Hz `[batch]`."""
        samples = round(seconds * RATE_HZ)
        names = kinds if kinds is not None else [self._draw_class(rng) for _ in range(batch)]
        audio = np.empty((batch, samples), dtype=np.float32)
        bands = np.empty(batch, dtype=np.float64)
        for row, kind in enumerate(names):
            if kind not in self._groups:
                raise KeyError(f"no {kind!r} in the {self.split} split, only {self.kinds()}; build more sources")
            audio[row], bands[row] = self._clean_excerpt(rng, kind, samples)
        return audio, list(names), bands

    def _draw_class(self, rng: np.random.Generator) -> str:
        """A class by its share; what the split lacks falls to what it has."""
        present = [kind for kind in ("music", "speech", "drums") if kind in self._groups]
        if not present:
            raise KeyError(f"no clean material in the {self.split} split, only {self.kinds()}; build music or speech")
        share = {"music": (1 - DRUM_SHARE) / 2, "speech": (1 - DRUM_SHARE) / 2, "drums": DRUM_SHARE}
        edges = np.cumsum([share[kind] for kind in present])
        return present[int(np.searchsorted(edges / edges[-1], rng.random()))]

    def _clean_excerpt(self, rng: np.random.Generator, kind: str, samples: int) -> tuple[np.ndarray, float]:
        """One excerpt and its bandwidth, with pitch and tempo jittered now and then."""
        wanted, stretch = samples, 1.0
        if kind != "drums" and rng.random() < JITTER_SHARE:
            wanted = scipy.fft.next_fast_len(int(samples * (1 + rng.uniform(-JITTER, JITTER))), real=True)
            stretch = wanted / samples
        draw = {"speech": self._speech, "drums": self._drums}.get(kind, self._music)
        audio, band = draw(rng, kind, wanted)
        if wanted != samples:
            audio = _resample(audio, samples)
        return audio, min(band * stretch, RATE_HZ / 2)

    def _draw_group(self, rng: np.random.Generator, kind: str) -> tuple[list[Item], np.ndarray]:
        edges = self._group_weights[kind]
        return self._groups[kind][min(int(np.searchsorted(edges, rng.random())), len(edges) - 1)]

    @staticmethod
    def _draw_item(rng: np.random.Generator, group: tuple[list[Item], np.ndarray]) -> Item:
        items, edges = group
        return items[min(int(np.searchsorted(edges, rng.random())), len(items) - 1)]

    def read(self, item: Item, offset: int = 0, count: int | None = None) -> np.ndarray:
        """float32 samples of an item within -1..1."""
        count = item.length - offset if count is None else min(count, item.length - offset)
        start = item.start + offset
        return self.samples[start : start + count].astype(np.float32) * np.float32(1 / 32768)

    def _music(self, rng: np.random.Generator, kind: str, samples: int) -> tuple[np.ndarray, float]:
        item = self._draw_item(rng, self._draw_group(rng, kind))
        if item.length <= samples:
            return loop(self.read(item), samples, int(rng.integers(item.length))), item.bandwidth_hz
        return self.read(item, int(rng.integers(item.length - samples)), samples), item.bandwidth_hz

    def _speech(self, rng: np.random.Generator, kind: str, samples: int) -> tuple[np.ndarray, float]:
        """Utterances of one speaker in a row, with pauses as in talk; it may begin in the middle of a word."""
        group = self._draw_group(rng, kind)
        audio = np.zeros(samples, dtype=np.float32)
        band, position = 0.0, 0
        while position < samples:
            item = self._draw_item(rng, group)
            if position:
                offset = 0
            elif item.source == OWN and item.length > samples:  # a long talk, all of which shall be heard
                offset = int(rng.integers(item.length - samples))
            else:
                offset = int(rng.integers(item.length)) // 2
            piece = self.read(item, offset, samples - position)
            audio[position : position + len(piece)] = piece
            band = max(band, item.bandwidth_hz)
            position += len(piece) + int(RATE_HZ * min(rng.exponential(0.2) + 0.03, 1.0))
        return audio, band

    def _drums(self, rng: np.random.Generator, kind: str, samples: int) -> tuple[np.ndarray, float]:
        """A pattern on a grid of sixteenths from the hits of one kit; a loop is played as it is."""
        group = self._draw_group(rng, kind)
        audio = np.zeros(samples, dtype=np.float32)
        step = RATE_HZ * 60 / rng.uniform(70, 170) / 4
        band = 0.0
        for _ in range(int(rng.integers(2, 5))):
            item = group[0][int(rng.integers(len(group[0])))]
            hit = self.read(item)
            band = max(band, item.bandwidth_hz)
            if item.length > HIT_S * RATE_HZ and item.kind == "drums" and (item.source == OWN or "loop" in item.file):
                return loop(hit, samples, int(rng.integers(item.length))), item.bandwidth_hz
            pattern = rng.random(16) < rng.uniform(0.1, 0.5)
            pattern[int(rng.integers(16))] = True
            origin = -rng.uniform(0, 16) * step
            for beat in range(int((samples - origin) / step) + 1):
                at = int(origin + beat * step)
                if pattern[beat % 16] and 0 <= at < samples:
                    piece = hit[: samples - at]
                    audio[at : at + len(piece)] += piece * np.float32(rng.uniform(0.3, 1.0))
        peak = np.abs(audio).max()
        return audio / max(peak, 1.0), band

    def sample_noise(self, rng: np.random.Generator, batch: int, seconds: float, kind: str) -> np.ndarray:
        """Draws recorded noise of a kind (`disc`, `everyday`, `hum`, ...): float32 `[batch, samples]` at 48 kHz, looped with cross-fades."""
        key = f"noise-{kind}"
        if key not in self._groups:
            raise KeyError(f"no noise of kind {kind!r} in the {self.split} split, only {self.noise_kinds()}; build with --noise")
        samples = round(seconds * RATE_HZ)
        return np.stack([self._music(rng, key, samples)[0] for _ in range(batch)]) if batch else np.zeros((0, samples), np.float32)

    def sample_recording(self, rng: np.random.Generator, kind: str, seconds: float) -> np.ndarray:
        """Draws one whole recording of a kind such as `noise-events`, or its first `seconds`: float32 `[samples]` at 48 kHz."""
        return self.read(self._draw_item(rng, self._draw_group(rng, kind)), 0, round(seconds * RATE_HZ))


def loop(audio: np.ndarray, samples: int, offset: int = 0) -> np.ndarray:
    """Repeats `audio` with equal-power cross-fades and cuts `samples` from `offset` on."""
    fade = min(int(LOOP_FADE_S * RATE_HZ), len(audio) // 4)
    if fade > 0:
        ramp = np.sin(np.linspace(0, np.pi / 2, fade, dtype=np.float32))
        body = audio[: len(audio) - fade].copy()
        body[:fade] = body[:fade] * ramp + audio[len(audio) - fade :] * ramp[::-1]
    else:
        body = audio
    offset %= len(body)
    return np.tile(body, 1 + (offset + samples) // len(body))[offset : offset + samples]


def _resample(audio: np.ndarray, samples: int) -> np.ndarray:
    """Fourier resampling to `samples`: exact within the band, and it costs two transforms."""
    spectrum = scipy.fft.rfft(audio)
    spectrum = spectrum[: samples // 2 + 1] if len(spectrum) > samples // 2 + 1 else np.pad(spectrum, (0, samples // 2 + 1 - len(spectrum)))
    return scipy.fft.irfft(spectrum, samples).astype(np.float32) * np.float32(samples / len(audio))


def _screen_task(task: tuple[str, str, int]) -> Screened | str:
    """Worker of the build: the screened recording, or the reason why it was turned away."""
    path, kind, raw_rate_hz = task
    try:
        return screen(Path(path), kind, raw_rate_hz)
    except Rejected as reason:
        return str(reason)


def build_source(writer: CacheWriter, source: sources.Source, folder: Path, workers: ProcessPoolExecutor, limit_hours: float) -> None:
    """Screens and appends every file of a source that isn't in the cache yet; stops at `limit_hours` of the whole cache."""
    from tqdm import tqdm

    names = [name for name in sources.files_of(source, folder) if f"{source.name}|{name}" not in writer.known]
    tasks = [(str(folder / name), source.kind, source.raw_rate_hz) for name in names]
    chunk = 1 if source.kind == "music" else 8
    for position in tqdm(range(0, len(tasks), 32), desc=f"{source.name:20}", unit="x32 files", disable=not tasks):
        part = slice(position, position + 32)
        for name, result in zip(names[part], workers.map(_screen_task, tasks[part], chunksize=chunk), strict=True):
            if isinstance(result, str):
                writer.reject(source.name, name, result)
                continue
            group = sources.group_of(source, name)
            writer.add(result.audio, source.name, name, source.kind, group, sources.split_of(group, source.fixed_splits),
                       source_rate_hz=result.source_rate_hz, bandwidth_hz=result.bandwidth_hz, floor_db=result.floor_db,
                       licence=source.licence)
        writer.flush()
        if sum(writer.samples.values()) > limit_hours * 3600 * RATE_HZ:
            break


def rescreen(writer: CacheWriter) -> list[str]:
    """Drops music that today's screening for steady noise turns away. Returns the names."""
    samples = {split: np.memmap(writer.path / f"{split}.i16", dtype=np.int16, mode="r") for split, count in writer.samples.items() if count}
    noisy = []
    for item in writer.items:
        if item.kind == "music" and has_steady_noise(samples[item.split][item.start : item.start + item.length]):
            noisy.append(item)
    for item in noisy:
        writer.drop(item.source, item.file, "carries a steady noise")
    writer.flush()
    return [f"{item.source}|{item.file}" for item in noisy]


def hours_per_kind(writer: CacheWriter) -> dict[str, float]:
    """Hours in the cache per class, over all splits."""
    hours: dict[str, float] = {}
    for item in writer.items:
        hours[item.kind] = hours.get(item.kind, 0.0) + item.length / RATE_HZ / 3600
    return {kind: round(value, 2) for kind, value in sorted(hours.items())}


def main(arguments: list[str] | None = None) -> int:
    """Command line: see `--help`."""
    default = Path(__file__).resolve().parents[1] / "cache"
    parser = argparse.ArgumentParser(prog="python -m dualstep_training.data", description="Builds the training cache. Run it again to resume.")
    parser.add_argument("--out", type=Path, default=default, help="folder of the cache (default: training/cache)")
    parser.add_argument("--work", type=Path, help="folder for downloads (default: OUT/work); may be deleted afterwards")
    parser.add_argument("--noise", type=Path, help="folder of recorded noise with one sub-folder per kind (disc, everyday, ...)")
    parser.add_argument("--hours", type=float, default=1e9, help="stop when the cache holds this many hours")
    parser.add_argument("--only", nargs="*", default=[], help="names of sources to build; default: all")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rescreen", action="store_true", help="screen the music that is in the cache again, by today's rules, and stop")
    options = parser.parse_args(arguments)
    known = [source.name for source in sources.SOURCES] + ["noise", "kits", "scores"]
    unknown = set(options.only) - set(known)
    if unknown:
        parser.error(f"no source named {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    writer = CacheWriter(options.out)
    if options.rescreen:
        print("dropped:", rescreen(writer))
        return 0
    try:
        _build(writer, options)
    except (FileNotFoundError, RuntimeError) as error:
        print(f"data: {error}", file=sys.stderr)
        return 1
    print("hours in the cache:", hours_per_kind(writer))
    return 0


def _build(writer: CacheWriter, options: argparse.Namespace) -> None:
    """Builds what the command line asks for."""
    work = (options.work or options.out / "work").resolve()
    with ProcessPoolExecutor(options.workers) as workers:
        if options.noise and (not options.only or "noise" in options.only):
            for source in sources.noise_sources(options.noise):
                build_source(writer, source, options.noise, workers, 1e9)
        for source in sources.SOURCES:
            if not options.only or source.name in options.only:
                build_source(writer, source, sources.fetch(source, work), workers, options.hours)
        if not options.only or "kits" in options.only:
            from . import kits

            build_source(writer, kits.SOURCE, kits.render_all(work), workers, options.hours)
        if not options.only or "scores" in options.only:
            from . import scores

            # Rendering takes hours: what an earlier run left is taken in first, so that it is of use at once.
            build_source(writer, scores.SOURCE, work / "scores", workers, options.hours)
            build_source(writer, scores.SOURCE, scores.render_all(work, options.workers), workers, options.hours)


if __name__ == "__main__":
    sys.exit(main())
