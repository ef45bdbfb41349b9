"""The cache: building, splitting, reading. All audio is generated."""

import json
import os
import shutil
import subprocess
import zipfile

import numpy as np
import pytest
import scipy.signal
import soundfile

from dualstep_training import kits, scores, sources
from dualstep_training.data import Cache, CacheWriter, loop, main, manifest
from dualstep_training.screening import RATE_HZ, MissingTool, Rejected, bandwidth_hz, has_steady_noise, screen


def tone(seconds: float, hertz: float = 440.0, rate_hz: int = RATE_HZ) -> np.ndarray:
    """float32 `[samples]`, amplitude 0.5, with a slow tremolo down to silence so that it has quiet frames."""
    time = np.arange(int(seconds * rate_hz)) / rate_hz
    return (0.5 * np.sin(2 * np.pi * hertz * time) * np.abs(np.sin(np.pi * time))).astype(np.float32)


def as_int16(audio: np.ndarray) -> np.ndarray:
    return np.round(audio * 32767).astype(np.int16)


@pytest.fixture
def cache_folder(tmp_path):
    """A cache with every class, each recording a tone of its own."""
    writer = CacheWriter(tmp_path / "cache")
    for split in sources.SPLITS:
        for index in range(3):
            writer.add(as_int16(tone(6, 300 + 50 * index)), "songs", f"{split}{index}.ogg", "music", f"songs/{split}{index}", split)
            writer.add(as_int16(tone(0.7, 200 + 30 * index)), "talk", f"{split}{index}.ogg", "speech", f"talk/{split}", split, bandwidth_hz=8000)
            writer.add(as_int16(tone(0.2, 100 + 30 * index)), "kit", f"{split}{index}.wav", "drums", f"kit/{split}", split)
        writer.add(as_int16(tone(1.5, 5000)), "noise-disc", f"disc/{split}.flac", "noise-disc", f"noise-disc/{split}", split)
    writer.flush()
    return tmp_path / "cache"


def test_excerpts_have_the_promised_shape_and_range(cache_folder):
    audio, kinds = Cache(cache_folder, "train").sample_clean(np.random.default_rng(1), 24, 1.5)
    assert audio.shape == (24, round(1.5 * RATE_HZ))
    assert audio.dtype == np.float32
    assert np.abs(audio).max() <= 1.0
    assert set(kinds) <= {"music", "speech", "drums"}
    assert (np.abs(audio).max(axis=1) > 0.01).all(), "an excerpt is silent"


def test_music_and_speech_come_in_equal_parts_with_few_drums(cache_folder):
    cache = Cache(cache_folder, "train")
    rng = np.random.default_rng(2)
    drawn = [cache._draw_class(rng) for _ in range(4000)]
    share = {kind: drawn.count(kind) / len(drawn) for kind in set(drawn)}
    assert share["drums"] == pytest.approx(0.12, abs=0.02)
    assert share["music"] == pytest.approx(share["speech"], abs=0.04)


def test_the_same_generator_state_gives_the_same_audio(cache_folder):
    cache = Cache(cache_folder, "train")
    first, _ = cache.sample_clean(np.random.default_rng(5), 8, 1.0)
    again, _ = cache.sample_clean(np.random.default_rng(5), 8, 1.0)
    other, _ = cache.sample_clean(np.random.default_rng(6), 8, 1.0)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_noise_shorter_than_the_excerpt_is_looped_without_gap_or_jump(cache_folder):
    noise = Cache(cache_folder, "train").sample_noise(np.random.default_rng(3), 2, 5.0, "disc")
    assert noise.shape == (2, 5 * RATE_HZ)
    # A 5 kHz tone of amplitude 0.5 steps by at most 2 pi 5000 / 48000 * 0.5 = 0.33 per sample; a jump would exceed it.
    assert np.abs(np.diff(noise, axis=1)).max() < 0.36


def test_unknown_noise_names_what_there_is(cache_folder):
    with pytest.raises(KeyError, match="disc"):
        Cache(cache_folder, "train").sample_noise(np.random.default_rng(0), 1, 1.0, "motorbike")


def test_unknown_split_and_missing_cache_are_refused(cache_folder, tmp_path):
    with pytest.raises(ValueError, match="expected one of train, valid, test"):
        Cache(cache_folder, "dev")
    with pytest.raises(FileNotFoundError, match="build the cache"):
        Cache(tmp_path / "nothing", "train")


def test_a_reader_survives_growth_and_a_build_that_was_cut_off(cache_folder):
    cache = Cache(cache_folder, "train")
    before = np.array(cache.samples)
    writer = CacheWriter(cache_folder)
    writer.add(as_int16(tone(1)), "songs", "late.ogg", "music", "songs/late", "train")  # never flushed: the build dies here
    assert np.array_equal(before, cache.samples)
    size_with_orphan = os.path.getsize(cache_folder / "train.i16")
    resumed = CacheWriter(cache_folder)
    assert os.path.getsize(cache_folder / "train.i16") < size_with_orphan
    assert "songs|late.ogg" not in resumed.known
    resumed.add(as_int16(tone(1)), "songs", "late.ogg", "music", "songs/late", "train")
    resumed.flush()
    assert len(Cache(cache_folder, "train").samples) == len(before) + RATE_HZ
    assert np.array_equal(before, cache.samples)


def ramp(seconds: float) -> np.ndarray:
    """int16 samples that say where in the recording they are."""
    return np.linspace(100, 30_000, int(seconds * RATE_HZ)).astype(np.int16)


@pytest.mark.parametrize("source, whole", [("own", True), ("talk", False)])
def test_of_a_users_long_talk_all_is_heard(tmp_path, source, whole):
    """Packaged utterances begin in their first half, as ever."""
    writer = CacheWriter(tmp_path)
    writer.add(ramp(20), source, "talk.wav", "speech", "talk", "train")
    writer.flush()
    cache, rng = Cache(tmp_path, "train"), np.random.default_rng(1)
    pieces = [cache._speech(rng, "speech", RATE_HZ)[0] for _ in range(200)]
    assert (max(piece[0] for piece in pieces) * 32_768 > 25_000) == whole
    assert all((piece > 0).all() for piece in pieces), "a second of it, without a pause"


@pytest.mark.parametrize("source, whole", [("own", True), ("kit", False)])
def test_a_users_drum_take_is_played_as_it_is(tmp_path, source, whole):
    """A packaged one only if its name says that it is a loop."""
    writer = CacheWriter(tmp_path)
    writer.add(as_int16(tone(4, 300)), source, "take.wav", "drums", "take.wav", "train")
    writer.flush()
    cache = Cache(tmp_path, "train")
    take, heard = cache.read(cache.items[0]), cache._drums(np.random.default_rng(2), "drums", RATE_HZ // 2)[0]
    at = next((at for at in range(len(take) - 240) if np.array_equal(take[at : at + 240], heard[:240])), None)
    assert (at is not None) == whole
    assert at is None or np.array_equal(heard, loop(take, len(heard), at))


def test_jitter_moves_the_pitch_by_about_three_percent(cache_folder):
    cache, rng = Cache(cache_folder, "train"), np.random.default_rng(8)
    seen = []
    for _ in range(40):
        audio, _ = cache.sample_clean(rng, 1, 2.0, ["music"])
        seen.append(np.argmax(np.abs(np.fft.rfft(audio[0] * np.hanning(len(audio[0]))))) / 2.0)
    nearest = np.array([min((300, 350, 400), key=lambda tone_hz, hertz=hertz: abs(hertz - tone_hz)) for hertz in seen])
    off = np.abs(np.array(seen) / nearest - 1)
    assert off.max() < 0.045, "3 % plus the rounding to a fast transform length"
    assert (off > 0.005).any(), "nothing was jittered"


def test_a_loop_keeps_the_level_across_its_seam():
    noise = np.random.default_rng(0).standard_normal(48_000).astype(np.float32)
    looped = loop(noise, 200_000)
    power = np.square(looped[: 199_200]).reshape(-1, 2400).mean(axis=1)
    assert power.min() > 0.8
    assert power.max() < 1.25


def test_splits_are_stable_and_have_the_right_shares():
    splits = [sources.split_of(f"songs/{index}") for index in range(4000)]
    assert splits == [sources.split_of(f"songs/{index}") for index in range(4000)]
    assert splits.count("valid") / 4000 == pytest.approx(sources.VALID_SHARE, abs=0.015)
    assert splits.count("test") / 4000 == pytest.approx(sources.TEST_SHARE, abs=0.015)


def test_one_voice_in_two_languages_lies_in_one_split():
    english, spanish = (next(s for s in sources.SOURCES if s.name == f"asterisk-{language}") for language in ("en", "es"))
    a = sources.group_of(english, "usr/share/asterisk/sounds/en_US_f_Allison/digits/1.g722")
    b = sources.group_of(spanish, "usr/share/asterisk/sounds/es_MX_f_Allison/hello.g722")
    assert a == b == "asterisk/Allison"
    assert sources.split_of(a, english.fixed_splits) == sources.split_of(b, spanish.fixed_splits) == "train"


def test_material_kept_for_testing_is_left_out(tmp_path):
    source = next(s for s in sources.SOURCES if s.name == "hydrogen-drumkits")
    for kit in ("The Black Pearl 1.0", "Gimme A Hand 1.0", "ForzeeStereo"):
        (tmp_path / "data/drumkits" / kit).mkdir(parents=True)
        (tmp_path / "data/drumkits" / kit / "kick.wav").touch()
    assert sources.files_of(source, tmp_path) == ["data/drumkits/ForzeeStereo/kick.wav"]
    samples = next(s for s in sources.SOURCES if s.name == "sonic-pi-samples")
    (tmp_path / "a/samples").mkdir(parents=True)
    for name in ("vinyl_hiss", "loop_amen_full", "loop_tabla", "bd_haus"):
        (tmp_path / "a/samples" / f"{name}.flac").touch()
    assert sources.files_of(samples, tmp_path) == ["a/samples/bd_haus.flac"]


def test_a_noise_that_goes_on_is_none_that_happens(tmp_path):
    (tmp_path / "sounds").mkdir()
    for name in ("rain_light", "door_knock_01", "ghost_01"):
        (tmp_path / "sounds" / f"sounds_{name}.ogg").touch()
    everyday, events = (next(s for s in sources.SOURCES if s.name == f"mod-sounds-{kind}") for kind in ("everyday", "events"))
    assert sources.files_of(everyday, tmp_path) == ["sounds/sounds_rain_light.ogg"]
    assert sources.files_of(events, tmp_path) == ["sounds/sounds_door_knock_01.ogg"]


def test_screening_resamples_and_measures_the_band(tmp_path):
    rng = np.random.default_rng(4)
    speech = rng.standard_normal(3 * 16_000).astype(np.float32) * 0.1 * np.repeat([1.0, 0.0, 1.0], 16_000)
    soundfile.write(tmp_path / "a.wav", speech, 16_000)
    result = screen(tmp_path / "a.wav", "speech")
    assert result.audio.dtype == np.int16
    assert len(result.audio) == pytest.approx(3 * RATE_HZ, rel=0.05)
    assert 7000 < result.bandwidth_hz <= 8000
    assert 0.85 * 32767 < np.abs(result.audio.astype(int)).max() < 0.93 * 32767


@pytest.mark.parametrize(
    ("audio", "reason"),
    [
        (np.zeros(RATE_HZ), "silent"),
        (np.sign(np.sin(np.arange(2 * RATE_HZ) * 0.05)) * 0.9, "clipped"),
        (np.random.default_rng(0).standard_normal(2 * RATE_HZ) * 0.1, "noise floor"),
        (np.r_[np.zeros(RATE_HZ), np.ones(40) * 0.5, np.zeros(RATE_HZ)], "too short"),
    ],
)
def test_unfit_targets_are_turned_away_with_a_reason(tmp_path, audio, reason):
    soundfile.write(tmp_path / "a.wav", audio.astype(np.float32), RATE_HZ, subtype="FLOAT")
    with pytest.raises(Rejected, match=reason):
        screen(tmp_path / "a.wav", "speech")


def test_music_over_a_steady_noise_is_told_from_music():
    rng = np.random.default_rng(2)
    music = sum(tone(10, hertz) for hertz in (440, 880, 3520, 5280))
    assert not has_steady_noise(music)
    assert has_steady_noise(music + 0.3 * rng.standard_normal(len(music)).astype(np.float32))


def test_rescreening_drops_noisy_music_and_keeps_the_rest(cache_folder):
    writer = CacheWriter(cache_folder)
    noise = np.random.default_rng(3).standard_normal(5 * RATE_HZ) * 0.1
    writer.add(as_int16(noise), "songs", "surf.ogg", "music", "songs/surf", "train")
    writer.flush()
    main(["--out", str(cache_folder), "--rescreen"])
    after = CacheWriter(cache_folder)
    assert "songs|surf.ogg" in after.rejected
    assert sum(item.kind == "music" for item in after.items) == 9


def test_bandwidth_of_filtered_noise():
    noise = np.random.default_rng(1).standard_normal(2 * RATE_HZ)
    low = scipy.signal.sosfilt(scipy.signal.ellip(10, 0.1, 120, 4000, output="sos", fs=RATE_HZ), noise)
    assert bandwidth_hz(low.astype(np.float32), RATE_HZ) == pytest.approx(4800, abs=800)
    assert bandwidth_hz(noise.astype(np.float32), RATE_HZ) > 23_000


def test_the_command_builds_from_a_folder_of_noise_and_resumes(tmp_path, capsys):
    for name in ("vinyl1_a", "vinyl2_b", "vinyl3_c"):
        (tmp_path / "noise/disc").mkdir(parents=True, exist_ok=True)
        soundfile.write(tmp_path / f"noise/disc/{name}.wav", tone(1.0, 3000), RATE_HZ)
    command = ["--out", str(tmp_path / "cache"), "--noise", str(tmp_path / "noise"), "--only", "noise", "--workers", "1"]
    main(command)
    size = os.path.getsize(tmp_path / "cache/train.i16")
    main(command)
    assert os.path.getsize(tmp_path / "cache/train.i16") == size > 0
    content = json.loads((tmp_path / "cache/manifest.json").read_text())
    assert content["sources"]["noise-disc"]["files"] == 3
    assert {item.split for s in sources.SPLITS for item in Cache(tmp_path / "cache", s).items} == set(sources.SPLITS)
    assert "noise-disc" in capsys.readouterr().out


def test_a_missing_tool_is_no_fault_of_the_recording(tmp_path, monkeypatch, capsys):
    """The build ends and says what to install; what was not read is read the next time."""
    (tmp_path / "noise/disc").mkdir(parents=True)
    (tmp_path / "noise/disc/a.g722").write_bytes(bytes(4000))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingTool, match="ffmpeg isn't installed, and a.g722 can't be read without it: `apt-get install ffmpeg`"):
        screen(tmp_path / "noise/disc/a.g722", "noise-disc")
    command = ["--out", str(tmp_path / "cache"), "--noise", str(tmp_path / "noise"), "--only", "noise", "--workers", "1"]
    assert main(command) == 1
    assert "data: ffmpeg isn't installed" in capsys.readouterr().err
    assert not CacheWriter(tmp_path / "cache").known
    with pytest.raises(MissingTool, match="fluidsynth isn't installed: `apt-get install fluidsynth`"):
        scores.render_all(tmp_path)
    assert not (tmp_path / "scores").exists()
    with pytest.raises(MissingTool, match="or leave out the source `kits`"):
        kits.render_all(tmp_path)
    assert not (tmp_path / "kits").exists()


def test_a_folder_of_noise_that_is_not_there_is_named(tmp_path, capsys):
    assert main(["--out", str(tmp_path / "cache"), "--noise", str(tmp_path / "recorded/noise"), "--workers", "1"]) == 1
    assert "recorded/noise; expected one per kind of noise" in capsys.readouterr().err


@pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="packages come from Debian")
def test_a_package_is_unpacked_with_the_archives_in_it(tmp_path):
    content = tmp_path / "package/usr/share/game"
    content.mkdir(parents=True)
    with zipfile.ZipFile(content / "data.pk3", "w") as archive:
        archive.writestr("sound/door.ogg", b"door")
        archive.writestr("maps/big.bsp", b"map")
    (tmp_path / "package/DEBIAN").mkdir()
    (tmp_path / "package/DEBIAN/control").write_text("Package: game\nVersion: 1\nArchitecture: all\nMaintainer: nobody\nDescription: none\n")
    (tmp_path / "work/deb").mkdir(parents=True)
    subprocess.run(["dpkg-deb", "--build", tmp_path / "package", tmp_path / "work/deb/game_1_all.deb"], check=True, capture_output=True)
    source = sources.Source("game", "noise-events", package="game", include=("*/sound/*",))
    folder = sources.fetch(source, tmp_path / "work")
    assert sources.files_of(source, folder) == ["usr/share/game/data/sound/door.ogg"]
    assert [path.name for path in folder.rglob("*") if path.is_file()] == ["door.ogg"], "what isn't audio is left packed, and the archive goes"


def test_a_repository_is_fetched_at_its_commit(tmp_path):
    def git(*arguments):
        command = ["git", "-c", "user.name=n", "-c", "user.email=e@x", *arguments]
        return subprocess.run(command, cwd=tmp_path / "origin", check=True, capture_output=True, text=True).stdout.strip()

    (tmp_path / "origin/rain").mkdir(parents=True)
    git("init", "--quiet")
    git("config", "uploadpack.allowAnySHA1InWant", "true")
    for name in ("old", "new"):
        (tmp_path / f"origin/rain/{name}.ogg").write_bytes(b"rain")
        git("add", ".")
        git("commit", "--quiet", "--message", name)
    source = sources.Source("rain", "noise-everyday", repository=str(tmp_path / "origin"), commit=git("rev-parse", "HEAD~1"), include=("rain/*",))
    folder = sources.fetch(source, tmp_path / "work")
    assert sources.files_of(source, folder) == ["rain/old.ogg"]
    assert sources.fetch(source, tmp_path / "work") == folder
    missing = sources.Source("rain", "noise-everyday", repository=str(tmp_path / "nowhere"), commit="0" * 40)
    with pytest.raises(RuntimeError, match="nowhere"):
        sources.fetch(missing, tmp_path / "work")


def test_the_manifest_counts_hours_and_rejections(cache_folder):
    writer = CacheWriter(cache_folder)
    writer.reject("songs", "bad.ogg", "clipped")
    row = manifest(writer.items, writer.rejected)["sources"]["songs"]
    assert row["hours"]["train"] == pytest.approx(18 / 3600, abs=1e-3)
    assert row["turned_away"] == 1


def test_midi_lengths_are_coded_in_sevens_of_bits():
    # Standard MIDI Files 1.0, "Variable-length quantity": examples of the table.
    for value, coded in ((0, "00"), (0x7F, "7f"), (0x80, "8100"), (0x2000, "c000"), (0x0FFFFFFF, "ffffff7f")):
        assert scores._variable_length(value).hex() == coded


def test_an_arrangement_keeps_every_note_and_is_seeded():
    part = [scores.Note(float(beat), 1.0, 60 + beat % 12) for beat in range(32)]
    midi, seconds = scores.arrange([part, part], np.random.default_rng(1))
    assert midi == scores.arrange([part, part], np.random.default_rng(1))[0]
    assert midi != scores.arrange([part, part], np.random.default_rng(2))[0]
    assert midi[:4] == b"MThd"
    assert 5 < seconds < 60


def test_a_kit_is_cut_into_its_hits():
    size = round(kits.HIT_S * RATE_HZ)
    audio = np.zeros(len(kits.STRUCK) * size, np.float32)
    audio[3 * size : 4 * size] = 0.5
    audio[5 * size] = 0.25
    hits = kits.cut(audio, RATE_HZ)
    (key, velocity), (other, softness) = kits.STRUCK[3], kits.STRUCK[5]
    assert list(hits) == [f"{key}-{velocity}", f"{other}-{softness}"], "keys without a sound are left out"
    assert hits[f"{key}-{velocity}"][0] == 0.5 and hits[f"{key}-{velocity}"][-1] < 0.001, "what rings on is faded"
    midi = kits.song(40)
    assert midi != kits.song(0) and midi.count(bytes([key, velocity])) >= 1
