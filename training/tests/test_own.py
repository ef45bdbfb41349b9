"""Fine-tuning on a user's own folders: what is taken, what is refused, and that training from there works."""

import dataclasses
import json

import numpy as np
import pytest
import soundfile
import tiny
from test_train import write_cache

from dualstep_training import curves, train
from dualstep_training.checkpoint import Checkpoint
from dualstep_training.config import ConfigError
from dualstep_training.data import Cache
from dualstep_training.own import own_cache


def write(path, seconds, seed, clipped=False, words=False):
    path.parent.mkdir(parents=True, exist_ok=True)
    audio = tiny.clips(1, round(seconds * 44_100), seed)[0].numpy()
    if words:  # and silence between them
        audio = audio * (np.arange(audio.size) % 30_000 < 20_000)
    soundfile.write(path, np.clip(8 * audio, -1, 1) if clipped else audio, 44_100)


def folders(path):
    for n in range(3):
        write(path / "clean" / f"album/{n}.flac", 9, n)
    write(path / "clean/speech/talk.wav", 3, 7, words=True)
    write(path / "clean/ruined.wav", 9, 8, clipped=True)
    (path / "clean/notes.txt").write_text("not audio")
    rng = np.random.default_rng(0)
    for name in ("street.wav", "disc/run-in.wav", "events/cough.wav"):
        (path / "noise" / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path / "noise" / name, 0.1 * rng.standard_normal(4 * 48_000), 48_000)
    return path / "clean", path / "noise"


def test_folders_become_a_cache(tmp_path, capsys):
    clean, noise = folders(tmp_path)
    cache = own_cache(clean, noise, tmp_path / "cache")
    items = Cache(cache, "train").items + Cache(cache, "valid").items
    assert {item.file: item.kind for item in items} == {
        "album/0.flac": "music", "album/1.flac": "music", "album/2.flac": "music", "speech/talk.wav": "speech",
        "street.wav": "noise-everyday", "disc/run-in.wav": "noise-disc", "events/cough.wav": "noise-events",
    }  # fmt: skip
    assert len(Cache(cache, "valid").items) == 1
    assert "left out ruined.wav: clipped" in capsys.readouterr().out
    before = (cache / "train.i16").stat().st_size
    write(clean / "album/3.flac", 9, 20)
    own_cache(clean, noise, cache)
    assert (cache / "train.i16").stat().st_size - before == pytest.approx(2 * 9 * 48_000, rel=0.02), "only what is new is added"


def test_folders_that_cannot_do_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="no recordings in .*nothing; expected files such as .wav"):
        own_cache(tmp_path / "nothing", None, tmp_path / "cache")
    write(tmp_path / "clean/one.wav", 9, 0)
    write(tmp_path / "clean/short.wav", 2, 1)
    with pytest.raises(ConfigError, match=r"1 recording\(s\) fit .* expected at least 2.*short.wav: too short"):
        own_cache(tmp_path / "clean", None, tmp_path / "cache")


def test_fine_tuning_from_another_run(tmp_path, capsys):
    clean, _ = folders(tmp_path)
    config = tmp_path / "tiny.json"
    config.write_text(json.dumps({"spec": dataclasses.asdict(tiny.spec())}))
    write_cache(tmp_path / "cache")
    common = ["--config", str(config), "--minutes", "1", "--threads", "1", "--batch", "2", "--seconds", "0.4"]
    first = [*common, "--run", str(tmp_path / "first"), "--cache", str(tmp_path / "cache"), "--stage", "1", "--steps", "2", "--validate-count", "0"]
    assert train.main(first) == 0
    own = [*common, "--run", str(tmp_path / "own"), "--folder", str(clean), "--init", str(tmp_path / "first"), "--stage", "both", "--freeze-norm"]
    own += ["--steps", "3", "--validate-count", "1", "--validate-seconds", "0.6", "--rate", "1e-4"]
    assert train.main(own) == 0
    saved, start = Checkpoint.load(tmp_path / "own"), Checkpoint.load(tmp_path / "first")
    assert saved.hours == pytest.approx(5 * 2 * 0.4 / 3600)
    change = max(float((saved.average[k] - v).abs().max()) for k, v in start.average.items() if k.endswith("weight"))
    assert 0 < change < 1e-2, "it started there, and went on"
    kinds = {row["kind"] for row in curves.rows(tmp_path / "own/validation.csv")}
    assert "hiss" in kinds and not kinds & {"everyday-speech", "drums"}, "there is no such material"
    music = tmp_path / "music"
    for n in range(2):
        write(music / f"{n}.flac", 9, n)
    assert train.main([*common, "--run", str(tmp_path / "y"), "--folder", str(music), "--stage", "speech"]) == 1
    assert "music has no speech to train on" in capsys.readouterr().err
    assert train.main([*first[:-6], "--run", str(tmp_path / "x"), "--stage", "1", "--noise", str(clean)]) == 1
    assert "--noise goes with --folder" in capsys.readouterr().err
