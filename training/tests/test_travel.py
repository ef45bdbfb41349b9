"""A cache that was packed and unpacked holds the same recordings, nearly."""

import dataclasses
import json

import numpy as np
import pytest

soundfile = pytest.importorskip("soundfile")
if tuple(map(int, soundfile.__version__.split(".")[:2])) < (0, 13):
    pytest.skip("needs soundfile 0.13 or newer to choose Opus's rate", allow_module_level=True)

from dualstep_training import travel  # noqa: E402
from dualstep_training.data import RATE_HZ, Cache, CacheWriter  # noqa: E402


def build(path):
    writer = CacheWriter(path)
    t = np.arange(3 * RATE_HZ) / RATE_HZ
    for number in range(4):
        for kind in ("music", "noise-disc"):
            audio = (8000 * np.sin(2 * np.pi * 220 * (number + 1) * t)).astype(np.int16)
            writer.add(audio, kind, f"{number}", kind, f"{kind}-{number}", ("train", "train", "valid", "test")[number], licence="CC0")
    writer.flush()


def test_parts_hold_the_same_recordings(tmp_path):
    build(tmp_path / "cache")
    items = travel.chosen(tmp_path / "cache", 2.0, [], [])
    parts = travel.pack(tmp_path / "cache", tmp_path / "out", items, 0.1, 1)
    assert len(parts) > 1 and all(part.stat().st_size <= 0.25e6 for part in parts)
    for _ in range(2):  # again adds nothing
        travel.unpack(parts, tmp_path / "there", 1)
    here, there = Cache(tmp_path / "cache", "train"), Cache(tmp_path / "there", "train")
    assert len(there.items) == len(here.items) == 4
    for item in there.items:
        (source,) = [other for other in here.items if (other.source, other.file) == (item.source, item.file)]
        assert item.length == 2 * RATE_HZ
        assert dataclasses.replace(item, start=0, length=0) == dataclasses.replace(source, start=0, length=0)
        cut = source.start + (source.length - item.length) // 2
        wanted = here.samples[cut : cut + item.length].astype(float)
        got = there.samples[item.start : item.start + item.length].astype(float)
        error = 10 * np.log10(np.sum(wanted**2) / max(np.sum((got - wanted) ** 2), 1e-9))
        assert error > (100 if item.kind in travel.LOSSLESS else 20)


def test_sources_are_chosen(tmp_path):
    build(tmp_path)
    assert {item.source for item in travel.chosen(tmp_path, 9.0, ["music"], [])} == {"music"}
    assert {item.source for item in travel.chosen(tmp_path, 9.0, [], ["music"])} == {"noise-disc"}


def test_a_foreign_file_is_an_error(tmp_path, capsys):
    json.dump({}, (tmp_path / "part.tar").open("w"))
    assert travel.main(["unpack", str(tmp_path / "part.tar"), "--out", str(tmp_path / "cache")]) == 1
    assert "part.tar" in capsys.readouterr().err
