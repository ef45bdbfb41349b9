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
    with pytest.raises(ConfigError, match=r"1 recording\(s\) fit .* expected at least 2 of one kind.*short.wav: too short"):
        own_cache(tmp_path / "clean", None, tmp_path / "cache")


def split_of(cache) -> dict[str, str]:
    return {item.file: split for split in ("train", "valid") for item in Cache(cache, split).items}


def test_each_kind_is_for_training_first_and_then_for_validation(tmp_path):
    for n in range(5):
        write(tmp_path / f"clean/{n}.flac", 8.5, n)
    for n in range(3):
        write(tmp_path / f"clean/speech/{n}.wav", 3, 10 + n, words=True)
    write(tmp_path / "clean/drums/take.wav", 3, 20)
    cache = own_cache(tmp_path / "clean", None, tmp_path / "cache")
    counts = {}
    for split in ("train", "valid"):
        for item in Cache(cache, split).items:
            counts[item.kind, split] = counts.get((item.kind, split), 0) + 1
    assert counts == {("music", "train"): 4, ("music", "valid"): 1, ("speech", "train"): 2, ("speech", "valid"): 1, ("drums", "train"): 1}


def test_hits_of_a_folder_make_a_kit_and_takes_stand_alone(tmp_path):
    for name, seconds in (("a/kick", 0.3), ("a/snare", 0.3), ("b/kick", 0.3), ("b/snare", 0.3), ("one", 2.5), ("two", 2.5)):
        write(tmp_path / f"clean/drums/{name}.wav", seconds, len(name))
    cache = own_cache(tmp_path / "clean", None, tmp_path / "cache")
    items = [item for split in ("train", "valid") for item in Cache(cache, split).items]
    groups = {item.file.removeprefix("drums/").removesuffix(".wav"): item.group for item in items}
    assert groups["a/kick"] == groups["a/snare"] != groups["b/kick"] == groups["b/snare"]
    assert len(set(groups.values())) == 4
    assert {len({item.split for item in items if item.group == group}) for group in groups.values()} == {1}, "a kit lies in one split"


def test_the_cache_follows_its_folder(tmp_path, capsys):
    clean = tmp_path / "clean"
    for n in range(4):
        write(clean / f"{n}.flac", 8.5, n)
    write(clean / "ruined.flac", 8.5, 8, clipped=True)
    write(clean / "gone-and-ruined.flac", 8.5, 8, clipped=True)
    write(clean / "talk.wav", 3, 7, words=True)
    cache = own_cache(clean, None, tmp_path / "cache")
    assert sorted(split_of(cache)) == [f"{n}.flac" for n in range(4)]
    capsys.readouterr()
    (clean / "0.flac").unlink()
    (clean / "album").mkdir()
    (clean / "1.flac").rename(clean / "album/1.flac")
    write(clean / "2.flac", 10, 2)
    write(clean / "ruined.flac", 8.5, 8)
    (clean / "gone-and-ruined.flac").unlink()
    (clean / "speech").mkdir()
    (clean / "talk.wav").rename(clean / "speech/talk.wav")
    own_cache(clean, None, cache)
    items = {item.file: item for split in ("train", "valid") for item in Cache(cache, split).items}
    assert sorted(items) == ["2.flac", "3.flac", "album/1.flac", "ruined.flac", "speech/talk.wav"]
    assert items["2.flac"].length == pytest.approx(10 * 48_000, rel=0.02)
    assert not json.loads((cache / "index.json").read_text())["rejected"] and "left out" not in capsys.readouterr().out
    before = (cache / "train.i16").stat().st_size
    (cache / "files.json").unlink()
    own_cache(clean, None, cache)
    assert (cache / "train.i16").stat().st_size == before, "a cache from before there were stamps is taken as it is"


def test_a_folder_named_as_a_kind_is_one(tmp_path):
    for n in range(2):
        write(tmp_path / f"music/speech/{n}.wav", 3, n, words=True)
        write(tmp_path / f"music/{n}.wav", 8.5, n)
    for folder, kinds in (("music/speech", {"speech"}), ("music", {"speech", "music"})):
        cache = own_cache(tmp_path / folder, None, tmp_path / f"cache-{len(kinds)}")
        assert {item.kind for split in ("train", "valid") for item in Cache(cache, split).items} == kinds


def test_speech_alone_needs_everyday_noise(tmp_path, capsys):
    for n in range(2):
        write(tmp_path / f"speech/{n}.wav", 3, n, words=True)
    common = ["--config", "live", "--minutes", "1", "--threads", "1", "--run", str(tmp_path / "run"), "--stage", "speech"]
    assert train.main([*common, "--folder", str(tmp_path / "speech")]) == 1
    assert "speech has no everyday noise, which --stage speech learns to take away: give --noise with recordings of noise" in capsys.readouterr().err


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
