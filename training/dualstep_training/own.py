"""A cache of a user's own recordings, for fine-tuning: `train --folder CLEAN [--noise NOISE]`.

`CLEAN` holds recordings as the networks should give them back; those under `speech/` and `drums/` count as such, all
others as music. `CLEAN` may be such a folder itself. Short drum recordings are hits, and those of one folder make a kit.
`NOISE` holds recordings of noise alone; those under `disc/` count as surface noise of discs, those under `events/` as
sounds that end (a door, a cough), all others as noise that goes on. Synthetic noise is made as ever.
The same rules as for the packaged material decide what is fit to be a target (`screening.py`). The cache follows the
folders: what was deleted, changed or moved since is no longer in it.
"""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from .config import ConfigError
from .data import HIT_S, OWN, CacheWriter, replace_json
from .screening import RATE_HZ, Rejected, Screened, screen
from .sources import AUDIO_SUFFIXES

EVERY = 10
"""One recording of so many is for validation; of clean ones it is the second of each kind, for they can't be validated without."""

STAMPS = "files.json"
"""Beside the index: kind, size and time of change of every file that was met, by `source|file`."""

SHOWN = 5
"""Reasons that an error message lists."""


def own_cache(clean: Path, noise: Path | None, out: Path, workers: int = 2) -> Path:
    """Builds the cache at `out`, or makes it follow what has changed in the folders. Returns `out`.

    Raises `ConfigError` if a folder holds no audio, or there are no two clean recordings of one kind that are fit.
    """
    writer = CacheWriter(out)
    with ProcessPoolExecutor(workers) as pool:
        _take(writer, clean, OWN, ("music", "speech", "drums"), pool)
        if noise is not None:
            _take(writer, noise, "own-noise", ("noise-everyday", "noise-disc", "noise-events"), pool)
    fit = [item for item in writer.items if item.source == OWN]
    if {item.split for item in fit} != {"train", "valid"}:
        reasons = [f"{key.split('|', 1)[1]}: {reason}" for key, reason in writer.rejected.items() if key.startswith(f"{OWN}|")]
        listed = "; ".join(reasons[:SHOWN]) + (f"; and {len(reasons) - SHOWN} more" if len(reasons) > SHOWN else "")
        raise ConfigError(
            f"{clean} has {len(fit)} recording(s) fit to train on, expected at least 2 of one kind (music, speech or drums, where the hits of a "
            f"folder count as one), one of them for validation; turned away: {listed or 'none'}"
        )
    return out


def _take(writer: CacheWriter, folder: Path, source: str, kinds: tuple[str, ...], pool: ProcessPoolExecutor) -> None:
    """Brings a source of the cache to what a folder holds. The first of `kinds` is that of files in no folder of a kind's name."""
    from tqdm import tqdm

    folder = folder.resolve()
    files = [p.relative_to(folder) for p in folder.rglob("*") if p.suffix.lower() in AUDIO_SUFFIXES and p.is_file()] if folder.is_dir() else []
    if not files:
        raise ConfigError(f"no recordings in {folder}; expected files such as .wav, .flac or .ogg")
    # In an order without meaning, so that validation gets a fair sample, and the same one each time.
    files.sort(key=lambda file: hashlib.sha256(file.as_posix().encode()).digest())
    now = {f"{source}|{file.as_posix()}": _stamp(folder / file, _kind(Path(folder.name) / file, kinds)) for file in files}
    stamps = writer.path / STAMPS
    met = json.loads(stamps.read_text()) if stamps.exists() else {}
    # A file without a stamp is from before there were any, and taken for unchanged.
    writer.forget({key for key in writer.known if key.startswith(f"{source}|") and (key not in now or met.get(key, now[key]) != now[key])})
    new = [(file, now[key][0]) for file, key in zip(files, now) if key not in writer.known]
    results = pool.map(_screened, [folder / file for file, _ in new], [kind for _, kind in new])
    for (file, kind), result in tqdm(zip(new, results), total=len(new), desc=str(folder), disable=not new):
        name = file.as_posix()
        if isinstance(result, str):
            writer.reject(source, name, result)
            print(f"left out {name}: {result}")
            continue
        is_hit = kind == "drums" and len(result.audio) <= HIT_S * RATE_HZ
        group = f"{file.parent.as_posix()}/" if is_hit else name
        writer.add(result.audio, source, name, kind, group, _split(writer, source, kind, group), source_rate_hz=result.source_rate_hz,
                   bandwidth_hz=result.bandwidth_hz, floor_db=result.floor_db, licence="the user's own")
    writer.flush()
    # After the index: cut off in between, a changed file has its old stamp still and is taken once more.
    replace_json(stamps, {key: stamp for key, stamp in met.items() if not key.startswith(f"{source}|")} | now)


def _stamp(path: Path, kind: str) -> list[str | int]:
    """Differs if the file may."""
    status = path.stat()
    return [kind, status.st_size, status.st_mtime_ns]


def _split(writer: CacheWriter, source: str, kind: str, group: str) -> str:
    """The split of a group: the one it lies in already, else the one that lacks it among those of its kind. The first is always for training."""
    splits = {item.group: item.split for item in writer.items if item.source == source and item.kind == kind}
    if group in splits:
        return splits[group]
    held = list(splits.values())
    wanted = (len(held) + (EVERY - 1 if source == OWN else 1)) // EVERY
    return "valid" if "train" in held and held.count("valid") < wanted else "train"


def _kind(file: Path, kinds: tuple[str, ...]) -> str:
    """The class of a recording, see `data.Item.kind`: by the innermost folder of a kind's name."""
    named = {kind.split("-")[-1]: kind for kind in kinds}
    return next((named[part] for part in reversed(file.parts[:-1]) if part in named), kinds[0])


def _screened(path: Path, kind: str) -> Screened | str:
    try:
        return screen(path, kind)
    except Rejected as reason:
        return str(reason)
