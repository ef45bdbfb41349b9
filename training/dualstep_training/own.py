"""A cache of a user's own recordings, for fine-tuning: `train --folder CLEAN [--noise NOISE]`.

`CLEAN` holds recordings as the networks should give them back; those under `speech/` and `drums/` count as such, all
others as music. `NOISE` holds recordings of noise alone; those under `disc/` count as surface noise of discs, those
under `events/` as sounds that end (a door, a cough), all others as noise that goes on. Synthetic noise is made as
ever. The same rules as for the packaged material decide what is fit to be a target (`screening.py`).
"""

from __future__ import annotations

import hashlib
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from .config import ConfigError
from .data import CacheWriter
from .screening import Rejected, Screened, screen
from .sources import AUDIO_SUFFIXES

EVERY = 10
"""One recording of so many, and at least one, is for validation."""

SHOWN = 5
"""Reasons that an error message lists."""


def own_cache(clean: Path, noise: Path | None, out: Path, workers: int = 2) -> Path:
    """Builds the cache at `out`, or adds to it what is new in the folders. Returns `out`.

    Raises `ConfigError` if a folder holds no audio, or fewer than two clean recordings are fit.
    """
    writer = CacheWriter(out)
    with ProcessPoolExecutor(workers) as pool:
        _take(writer, clean, "own", ("music", "speech", "drums"), pool)
        if noise is not None:
            _take(writer, noise, "own-noise", ("noise-everyday", "noise-disc", "noise-events"), pool)
    fit = {item.split for item in writer.items if not item.kind.startswith("noise-")}
    if fit != {"train", "valid"}:
        reasons = [f"{key.split('|', 1)[1]}: {reason}" for key, reason in writer.rejected.items() if key.startswith("own|")]
        listed = "; ".join(reasons[:SHOWN]) + (f"; and {len(reasons) - SHOWN} more" if len(reasons) > SHOWN else "")
        raise ConfigError(
            f"{clean} has {len(fit)} recording(s) fit to train on, expected at least 2, one of them for validation; "
            f"turned away: {listed or 'none'}"
        )
    return out


def _take(writer: CacheWriter, folder: Path, source: str, kinds: tuple[str, ...], pool: ProcessPoolExecutor) -> None:
    """Adds every recording of a folder that isn't in the cache. The first of `kinds` is that of files in no folder of a kind's name."""
    from tqdm import tqdm

    files = [p.relative_to(folder) for p in folder.rglob("*") if p.suffix.lower() in AUDIO_SUFFIXES and p.is_file()] if folder.is_dir() else []
    if not files:
        raise ConfigError(f"no recordings in {folder}; expected files such as .wav, .flac or .ogg")
    # In an order without meaning, so that validation gets a fair sample, and the same one each time.
    files.sort(key=lambda file: hashlib.sha256(file.as_posix().encode()).digest())
    new = [(file, _kind(file, kinds)) for file in files if f"{source}|{file.as_posix()}" not in writer.known]
    results = pool.map(_screened, [folder / file for file, _ in new], [kind for _, kind in new])
    for (file, kind), result in tqdm(zip(new, results), total=len(new), desc=str(folder), disable=not new):
        name = file.as_posix()
        if isinstance(result, str):
            writer.reject(source, name, result)
            print(f"left out {name}: {result}")
            continue
        # Clean material can't be validated without; noise can, and its first recording of a kind is for training.
        before = sum(item.source == source and (item.kind == kind or source == "own") for item in writer.items)
        split = "valid" if before % EVERY == (0 if source == "own" else EVERY - 1) else "train"
        writer.add(result.audio, source, name, kind, name, split, source_rate_hz=result.source_rate_hz,
                   bandwidth_hz=result.bandwidth_hz, floor_db=result.floor_db, licence="the user's own")
    writer.flush()


def _kind(file: Path, kinds: tuple[str, ...]) -> str:
    """The class of a recording, see `data.Item.kind`: by the folder it lies in."""
    named = [kind for kind in kinds if kind.split("-")[-1] in file.parts[:-1]]
    return named[0] if named else kinds[0]


def _screened(path: Path, kind: str) -> Screened | str:
    try:
        return screen(path, kind)
    except Rejected as reason:
        return str(reason)
