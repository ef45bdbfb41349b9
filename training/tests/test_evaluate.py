"""The evaluation from end to end on generated clips, with what is installed everywhere; peers are tested where they are."""

import json
import shutil

import numpy as np
import pytest
import scipy.signal
import soundfile
import tiny
import torch

from dualstep_training.data import Cache, CacheWriter
from dualstep_training.evaluate import __main__ as command
from dualstep_training.evaluate import peers, report, scoring, stimuli
from dualstep_training.evaluate.systems import Input, Missing, Plugin, System, Weights, slug
from dualstep_training.export import export, randomise
from dualstep_training.model import Dualstep
from dualstep_training.screening import RATE_HZ
from dualstep_training.validate import Synthesis

KINDS = ("hiss", "everyday-stationary", "clean-music", "drums", "dull", "dull+noise", "recorded-disc")


@pytest.fixture(autouse=True)
def _small_pools(monkeypatch):
    """Pools of a few rows: they are what takes time to make."""
    monkeypatch.setattr("dualstep_training.degrade.POOL_ROWS", 1)
    monkeypatch.setattr("dualstep_training.degrade.POOL_SECONDS", 4.0)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Chords, bursts of coloured noise as speech, decaying hits, steady and fluttering noise."""
    folder = tmp_path_factory.mktemp("cache")
    writer, rng = CacheWriter(folder), np.random.default_rng(0)
    time = np.arange(6 * RATE_HZ) / RATE_HZ

    def add(kind, index, audio):
        writer.add(np.round(audio / np.abs(audio).max() * 29_000).astype(np.int16), kind, f"{index}", kind, f"{kind}/{index}", "test")

    add("music", 0, sum(np.sin(2 * np.pi * f * time) / n for n, f in enumerate((110, 165, 220, 331, 1760), 1)))
    add("speech", 0, scipy.signal.lfilter([1], [1, -0.9], rng.standard_normal(len(time))) * np.clip(np.sin(2 * np.pi * 3 * time), 0, 1))
    add("drums", 0, np.exp(-time[: RATE_HZ // 3] * 20) * rng.standard_normal(RATE_HZ // 3))
    add("noise-everyday", 0, rng.standard_normal(len(time)))
    add("noise-everyday", 1, rng.standard_normal(len(time)) * (np.sin(2 * np.pi * 0.8 * time) > 0.5))
    add("noise-disc", 0, rng.standard_normal(len(time)))
    writer.flush()
    return Cache(folder, "test")


@pytest.fixture(scope="module")
def out(cache, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dualstep_training.degrade.POOL_ROWS", 1)
        patch.setattr("dualstep_training.degrade.POOL_SECONDS", 4.0)
        folder = tmp_path_factory.mktemp("evaluation")
        stimuli.write(cache, folder / "set", 2, 1.5, 1, KINDS)
    return folder


def test_the_set_is_the_same_each_time(cache, out, tmp_path):
    again = stimuli.write(cache, tmp_path, 2, 1.5, 1, KINDS)
    assert again.fingerprint == stimuli.TestSet.load(out / "set").fingerprint
    assert stimuli.write(cache, tmp_path / "other", 2, 1.5, 2, KINDS).fingerprint != again.fingerprint


def test_the_set_holds_what_its_names_say(out):
    test = stimuli.TestSet.load(out / "set")
    assert len(test.clips) == 2 * len(KINDS)
    for clip in test.clips:
        noisy, worn, clean = (test.read(part, [clip])[0] for part in ("noisy", "worn", "clean"))
        assert len(noisy) == len(worn) == len(clean) == round(2.6 * RATE_HZ)
        assert np.array_equal(worn, clean) == (not clip.kind.startswith("dull")), clip.name
        assert np.array_equal(noisy, worn) == (clip.kind in ("clean-music", "drums", "dull")), clip.name
        assert 0.05 < np.abs(noisy).max() < 1


def test_the_places_of_the_kinds_are_kept():
    """They seed the draws: a kind that moves changes every score that was published."""
    assert stimuli.KINDS[:4] == ("hiss", "crackle", "clicks", "thumps") and stimuli.KINDS[8:11] == (*stimuli.EVERYDAY, "clean-music")
    assert stimuli.KINDS.index("dropouts+noise") == 22 and stimuli.KINDS[23:] == (stimuli.DISC,)
    assert set(stimuli.NOISE) < set(stimuli.KINDS) and len(set(stimuli.KINDS)) == len(stimuli.KINDS)


def test_steadiness_tells_noises_apart():
    rng = np.random.default_rng(0)
    steady = rng.standard_normal(4 * RATE_HZ)
    gated = steady * (np.arange(4 * RATE_HZ) % 24_000 < 8000)
    assert stimuli.nonstationarity_db(steady) < stimuli.STATIONARY_DB < stimuli.nonstationarity_db(gated)
    assert stimuli.nonstationarity_db(scipy.signal.lfilter([1], [1, -0.95], steady)) < stimuli.STATIONARY_DB


def test_a_set_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="evaluate set"):
        stimuli.TestSet.load(tmp_path / "set")
    with pytest.raises(ValueError, match="unknown kind 'rust'"):
        stimuli._recipe(np.random.default_rng(0), "rust", "music")


def test_scores_report_and_listening_test(out, capsys):
    assert command.main(["run", "--out", str(out), "--only", "input", "Wiener", "LSA"]) == 0
    test = stimuli.TestSet.load(out / "set")
    table = scoring.load(out, test, "input")["clips"]
    assert table["clean-music/00"]["si_sdr"] > 90 and table["hiss/00"]["si_sdr"] < 30
    assert table["dull/00"]["si_sdr_worn"] > 90 > table["dull/00"]["si_sdr"]
    assert table["drums/00"]["onset_lowest_db"] == pytest.approx(0, abs=0.01)
    assert set(scoring.load(out, test, "Wiener")["clips"]) == {c.name for c in test.clips if not c.kind.startswith("dull")}
    command.main(["report", "--out", str(out), "--docs", str(out / "sound.md")])
    text = (out / "sound.md").read_text()
    assert "| Wiener |" in text and "Not run: " in text and "DTLN" in text
    page = (out / "listening" / "index.html").read_text()
    assert not [name for name in ("LSA", "Wiener", "Dualstep") if name in page], "the page names a system"
    trials = json.loads((out / "listening" / "key.json").read_text())["trials"]
    for trial in trials:
        for sound in trial["sounds"]:
            assert (out / "listening" / sound["file"]).exists()
            assert slug(sound["system"]) not in sound["file"]


def test_scores_of_another_set_do_not_count(out, tmp_path, cache):
    test = stimuli.TestSet.load(out / "set")
    scoring.save(tmp_path, test, Input(), {}, {})
    other = stimuli.write(cache, tmp_path / "set", 1, 1.5, 7, KINDS[:1])
    assert scoring.load(tmp_path, test, "input") is not None
    assert scoring.load(tmp_path, other, "input") is None


def test_scores_of_other_weights_of_the_same_name_do_not_count(out, tmp_path):
    found = []
    test = stimuli.TestSet.load(out / "set")
    for number in range(3):
        path = tmp_path / str(number) / "w.safetensors"
        if number < 2:
            export(randomise(Dualstep(tiny.spec()), number), path, None, {"commit": "c", "data": "d", "hours": 1.0})
        else:
            shutil.copytree(tmp_path / "1", path.parent)
        assert command.main(["run", "--out", str(out), "--only", "weights w.safetensors", "--weights", str(path)]) == 0
        restored = out / "restored" / slug("weights w.safetensors") / "hiss/00.wav"
        found.append((scoring.load(out, test, "weights w.safetensors")["clips"], restored.stat().st_mtime_ns))
    assert found[0][0] != found[1][0]
    assert found[1] == found[2], "the same weights elsewhere: nothing is left to do"


class Changing(System):
    """Restores to the input at a level that its version says; it may be cut off after some clips."""

    name, group, level, breaks_after, build = "changing", "dualstep", 1.0, None, 1

    def version(self) -> str:
        return f"build {self.build}"

    def render(self, test, clips, folder):
        from dualstep_training.evaluate.systems import _todo, _write

        for number, clip in enumerate(_todo(clips, folder)):
            if number == self.breaks_after:
                raise KeyboardInterrupt
            _write(folder, clip, self.level * test.read("noisy", [clip])[0])
        return {}


def test_clips_of_two_versions_are_not_mixed(out, monkeypatch, capsys):
    """A run that was cut off, and goes on with another build."""
    system, test = Changing(), stimuli.TestSet.load(out / "set")
    folder = out / "restored/changing"
    monkeypatch.setattr(command, "_chosen", lambda options: [system])
    run = ["run", "--out", str(out)]
    system.breaks_after = 3
    with pytest.raises(KeyboardInterrupt):
        command.main(run)
    assert len(list(folder.rglob("*.wav"))) == 3
    system.breaks_after = None
    assert command.main(run) == 0
    levels = [scores["level_db"] for scores in scoring.load(out, test, "changing")["clips"].values()]
    before = (out / "scores/changing.json").stat().st_mtime_ns
    assert command.main(run) == 0 and (out / "scores/changing.json").stat().st_mtime_ns == before
    system.level, system.build = 0.5, 2
    system.breaks_after = 3
    with pytest.raises(KeyboardInterrupt):
        command.main(run)
    assert "restored from another set or by another version, so it begins anew" in capsys.readouterr().err
    system.level, system.build, system.breaks_after = 0.25, 3, None
    assert command.main(run) == 0
    after = [scores["level_db"] for scores in scoring.load(out, test, "changing")["clips"].values()]
    np.testing.assert_allclose(np.subtract(after, levels), 20 * np.log10(0.25), atol=0.01)
    # Scores from before versions were noted: the report takes them, a run does them again.
    content = scoring.load(out, test, "changing")
    del content["version"]
    scoring.path_of(out, "changing").write_text(json.dumps(content))
    assert scoring.is_complete(out, test, system) and not scoring.is_current(out, test, system, system.version())


def test_a_system_is_not_compared_with_another_version_of_its_companion(out, monkeypatch, capsys):
    system, other = Changing(), Changing()
    other.name, system.companion = "companion", "companion"
    systems = [system, other]
    monkeypatch.setattr(command, "_chosen", lambda options: systems)
    system.build = other.build = 4
    assert command.main(["run", "--out", str(out)]) == 0 and not capsys.readouterr().err.count("LEFT OUT")
    system.build = other.build = 5
    systems.remove(other)
    assert command.main(["run", "--out", str(out)]) == 0
    assert "LEFT OUT: changing is compared with companion, which isn't there in this version: run that, too" in capsys.readouterr().err


def test_the_bundle_has_a_version(tmp_path, monkeypatch):
    monkeypatch.setenv("DUALSTEP_BUNDLE", str(tmp_path))
    system = Plugin("Dualstep", False)
    with pytest.raises(Missing, match="Dualstep: no bundle at .*Dualstep.clap: build it with `cargo xtask bundle`"):
        system.version()
    versions = []
    (tmp_path / "Dualstep.clap").write_bytes(b"one")
    versions.append(system.version())
    (tmp_path / "Dualstep.clap").unlink()
    for content in (b"two", b"three"):  # as on macOS
        (tmp_path / "Dualstep.clap/Contents/MacOS").mkdir(parents=True, exist_ok=True)
        (tmp_path / "Dualstep.clap/Contents/MacOS/Dualstep").write_bytes(content)
        versions.append(system.version())
    assert len(set(versions)) == 3 and versions[-1] == Plugin("Dualstep Live", True).version()


def test_a_set_that_was_cut_off_is_none(cache, tmp_path, monkeypatch):
    stimuli.write(cache, tmp_path / "set", 1, 1.5, 1, KINDS[:2])
    monkeypatch.setattr(soundfile, "write", lambda *arguments, **options: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        stimuli.write(cache, tmp_path / "set", 1, 1.5, 2, KINDS[:2])
    with pytest.raises(FileNotFoundError, match="evaluate set"):
        stimuli.TestSet.load(tmp_path / "set")


def test_a_system_that_is_missing_is_named(out, capsys, monkeypatch):
    monkeypatch.setattr(peers.Ffmpeg, "installed", lambda self: False)
    assert command.main(["run", "--out", str(out), "--only", "adeclick"]) == 0
    assert "LEFT OUT: adeclick is not installed: apt-get install ffmpeg" in capsys.readouterr().err
    assert command.main(["run", "--out", str(out), "--only", "AR + LSAR, LSA"]) == 0
    assert "run that first" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="no system 'nonsense'"):
        command.main(["run", "--out", str(out), "--only", "nonsense"])


def test_confidence_interval_is_students():
    mean, half = report.interval([1.0, 2.0, 3.0, 4.0])
    assert mean == 2.5 and half == pytest.approx(3.182 * 1.29099 / 2, abs=1e-3)
    assert report.interval([5.0]) == (5.0, None)


def test_delay_is_found_and_taken_out():
    rng = np.random.default_rng(0)
    inputs = [rng.standard_normal(20_000) for _ in range(3)]
    for lag in (0, 1, 960, -30):
        outputs = [0.1 * np.pad(clip, (max(lag, 0), 500))[max(-lag, 0) :] + 0.01 * rng.standard_normal(20_500 + max(lag, 0) - max(-lag, 0)) for clip in inputs]
        assert peers.delay(outputs, inputs) == lag
        aligned = peers.in_time(outputs[0], lag, 20_000)
        assert len(aligned) == 20_000
        assert np.corrcoef(aligned[100:-100], inputs[0][100:-100])[0, 1] > 0.99


@pytest.mark.parametrize("name", list(peers.PEERS))
def test_peers_that_are_installed_run(name):
    program = peers.PEERS[name]
    if not program.installed():
        pytest.skip(f"{name} is not installed: {program.hint}")
    time = np.arange(RATE_HZ) / RATE_HZ
    clip = (0.1 * np.sin(2 * np.pi * 300 * time) + 0.001 * np.random.default_rng(0).standard_normal(RATE_HZ)).astype(np.float32)
    restored = program(clip)
    assert restored.ndim == 1 and len(restored) >= RATE_HZ and np.isfinite(restored).all()
    assert np.array_equal(restored, program(clip)), "it must not remember the clip before"


@pytest.mark.parametrize("metric", ["pesq", "stoi"])
def test_perceptual_metrics_that_are_installed(metric):
    pytest.importorskip({"pesq": "pesq", "stoi": "pystoi"}[metric])
    rng = np.random.default_rng(0)
    time = np.arange(4 * RATE_HZ) / RATE_HZ
    voice = sum(np.sin(2 * np.pi * 140 * h * time + h) / h for h in range(1, 25)) * np.clip(np.sin(2 * np.pi * 2.5 * time), 0, 1) * 0.1
    hiss = rng.standard_normal(len(voice))
    values = [scoring._perceptual(voice + level * hiss, voice)[metric] for level in (0, 0.01, 0.1)]
    assert values[0] > values[1] > values[2]
    assert values[0] == pytest.approx({"pesq": 4.64, "stoi": 1}[metric], abs=0.01)


def test_names_make_distinct_folders():
    from dualstep_training.evaluate.systems import everything

    names = [system.name for system in everything()]
    assert len({slug(name) for name in names}) == len(names)
    for system in everything():
        assert system.companion is None or system.companion in names


def test_bare_weights_with_a_speech_network_are_scored_by_their_stages(out, tmp_path):
    """The test set's recordings aren't all speech."""
    net = randomise(Dualstep(tiny.spec()))
    export(net, tmp_path / "w.safetensors", None, {"commit": "c", "data": "d", "hours": 1.0})
    test = stimuli.TestSet.load(out / "set")
    clip = test.clips[0]
    Weights("weights", tmp_path / "w.safetensors").render(test, [clip], tmp_path)
    restored = soundfile.read(tmp_path / f"{clip.name}.wav")[0]
    expected = Synthesis(net.spec)(net, torch.from_numpy(test.read("noisy", [clip])[0])[None])[1][0].numpy()
    np.testing.assert_allclose(restored[: len(expected)], expected, atol=1e-4)


def test_a_clip_is_only_written_whole(tmp_path):
    from dualstep_training.evaluate.systems import _write

    clip = stimuli.Clip("hiss", 3, "music", ["hiss"])
    _write(tmp_path, clip, np.array([0.5, -1.5]))
    samples, rate_hz = soundfile.read(tmp_path / "hiss" / "03.wav")
    assert rate_hz == RATE_HZ and np.allclose(samples, [0.5, -1.5])
    assert not list(tmp_path.rglob("*.part"))
    assert issubclass(Input, System)
