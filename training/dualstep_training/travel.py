"""Packs a cache into a few hundred megabytes that can travel to another machine, and unpacks it there.

    python -m dualstep_training.travel pack training/cache OUT --part-mb 60
    python -m dualstep_training.travel unpack OUT/*.tar --out CACHE

Audio travels as Opus, recorded disc noise and hum (which are short, and whose detail is the point) as FLAC. A part is a tar
of recordings and an `index.json`; recordings are dealt to the parts at random, so that the first part alone is already a
fair sample, and parts may arrive one by one: `unpack` adds what the cache lacks.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
import tarfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
import soundfile

from .data import Cache, CacheWriter, Item
from .screening import RATE_HZ
from .sources import SPLITS

LEVELS = {"music": 0.83, "speech": 0.9}
"""libsndfile's compression level per kind: about 50 and 32 kbit/s. Other kinds take `OTHER_LEVEL`, about 80 kbit/s."""
OTHER_LEVEL = 0.7

LOSSLESS = {"noise-disc", "noise-hum", "noise-static"}

SHORT_SPLIT_S = 900.0
"""Of validation and test no more than this travels per kind: enough to score with."""


def encode(audio: np.ndarray, kind: str) -> bytes:
    """int16 `[samples]` at 48 kHz as a file."""
    file = io.BytesIO()
    if kind in LOSSLESS:
        soundfile.write(file, audio, RATE_HZ, format="FLAC", subtype="PCM_16")
    else:
        soundfile.write(file, audio, RATE_HZ, format="OGG", subtype="OPUS", compression_level=LEVELS.get(kind, OTHER_LEVEL))
    return file.getvalue()


def decode(content: bytes) -> np.ndarray:
    """The inverse of `encode`, but for what Opus loses."""
    audio, rate_hz = soundfile.read(io.BytesIO(content), dtype="int16")
    if rate_hz != RATE_HZ or audio.ndim != 1:
        raise ValueError(f"a packed recording has {rate_hz} Hz and {audio.ndim} axes, expected mono at {RATE_HZ} Hz; pack it again")
    return audio


def chosen(cache: Path, longest_s: float, only: list[str], without: list[str]) -> list[Item]:
    """The recordings to pack, in random order: all of training, each cut to `longest_s`, and some of the other splits.

    `only` names the sources to take (empty: all), `without` those to leave out.
    """
    rng = np.random.default_rng(1)
    items = []
    for split in SPLITS:
        spent: dict[str, float] = {}
        here = Cache(cache, split).items
        for index in rng.permutation(len(here)):
            item = here[index]
            if item.source in without or (only and item.source not in only):
                continue
            if split != "train" and spent.get(item.kind, 0.0) > SHORT_SPLIT_S:
                continue
            length = min(item.length, round(longest_s * RATE_HZ))
            spent[item.kind] = spent.get(item.kind, 0.0) + length / RATE_HZ
            # The middle: beginnings fade in.
            items.append(Item(**{**asdict(item), "start": item.start + (item.length - length) // 2, "length": length}))
    return [items[index] for index in rng.permutation(len(items))]


def _encode_item(cache: Path, item: Item) -> bytes:
    samples = np.memmap(cache / f"{item.split}.i16", dtype=np.int16, mode="r")
    return encode(np.asarray(samples[item.start : item.start + item.length]), item.kind)


def pack(cache: Path, out: Path, items: list[Item], part_mb: float, workers: int) -> list[Path]:
    """Writes `part-00.tar`, `part-01.tar`, … of at most `part_mb` each; returns them."""
    from tqdm import tqdm

    out.mkdir(parents=True, exist_ok=True)
    paths: list[Path] = []
    part: list[tuple[Item, bytes]] = []
    size = 0
    with ProcessPoolExecutor(workers) as pool:
        encoded = pool.map(partial(_encode_item, cache), items, chunksize=8)
        for item, content in tqdm(zip(items, encoded, strict=True), total=len(items), desc="packing"):
            if part and size + len(content) + 2048 > part_mb * 1e6:
                paths.append(_write_part(out / f"part-{len(paths):02}.tar", part))
                part, size = [], 0
            part.append((item, content))
            # A tar entry is a header and a whole number of 512-byte blocks; the index takes about as much.
            size += len(content) + 2048
    paths.append(_write_part(out / f"part-{len(paths):02}.tar", part))
    return paths


def _write_part(path: Path, part: list[tuple[Item, bytes]]) -> Path:
    with tarfile.open(path, "w") as tar:
        index = json.dumps([asdict(item) for item, _ in part]).encode()
        for name, content in [("index.json", index), *((f"{n}", content) for n, (_, content) in enumerate(part))]:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return path


def unpack(parts: list[Path], out: Path, workers: int) -> None:
    """Adds the recordings of the parts to the cache at `out`, made if need be."""
    writer = CacheWriter(out)
    with ProcessPoolExecutor(workers) as pool:
        for path in parts:
            try:
                with tarfile.open(path) as tar:
                    items = [Item(**fields) for fields in json.load(tar.extractfile("index.json"))]
                    contents = [tar.extractfile(str(n)).read() for n in range(len(items))]
            except (tarfile.ReadError, KeyError) as error:
                raise ValueError(f"{path} is not a whole part that `pack` wrote ({error}); copy it again") from None
            for item, audio in zip(items, pool.map(decode, contents, chunksize=4), strict=True):
                if f"{item.source}|{item.file}" in writer.known:
                    continue
                writer.add(audio, item.source, item.file, item.kind, item.group, item.split, source_rate_hz=item.source_rate_hz,
                           bandwidth_hz=item.bandwidth_hz, floor_db=item.floor_db, licence=item.licence)
            writer.flush()
    hours = {split: round(samples / RATE_HZ / 3600, 2) for split, samples in writer.samples.items()}
    print(f"{out}: hours {hours}")


def main(arguments: list[str] | None = None) -> int:
    """Command line: see `--help`."""
    parser = argparse.ArgumentParser(prog="python -m dualstep_training.travel", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    packing = commands.add_parser("pack", help="a cache into parts")
    packing.add_argument("cache", type=Path)
    packing.add_argument("out", type=Path)
    packing.add_argument("--part-mb", type=float, default=60.0, help="largest part, MB")
    packing.add_argument("--longest", type=float, default=150.0, help="recordings are cut to this, s")
    packing.add_argument("--only", nargs="*", default=[], metavar="SOURCE", help="pack only these sources")
    packing.add_argument("--without", nargs="*", default=[], metavar="SOURCE", help="leave these sources out")
    unpacking = commands.add_parser("unpack", help="parts into a cache")
    unpacking.add_argument("parts", type=Path, nargs="+")
    unpacking.add_argument("--out", type=Path, required=True)
    for command in (packing, unpacking):
        command.add_argument("--workers", type=int, default=2)
    options = parser.parse_args(arguments)
    try:
        if options.command == "pack":
            items = chosen(options.cache, options.longest, options.only, options.without)
            for path in pack(options.cache, options.out, items, options.part_mb, options.workers):
                print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")
        else:
            unpack(options.parts, options.out, options.workers)
    except (FileNotFoundError, ValueError, soundfile.LibsndfileError) as error:
        print(f"travel: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
