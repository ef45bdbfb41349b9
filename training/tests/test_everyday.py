"""Everyday noise in scenes: what each is made of, beside what, and that it follows from the seed. All audio is generated."""

import numpy as np
import pytest

from dualstep_training import everyday
from dualstep_training.data import Cache, CacheWriter
from dualstep_training.screening import RATE_HZ

SECOND = RATE_HZ


def as_int16(audio: np.ndarray) -> np.ndarray:
    return np.round(audio / np.abs(audio).max() * 29_000).astype(np.int16)


@pytest.fixture(params=[True, False], ids=["with events", "without"])
def cache(request, tmp_path):
    """A steady recording at 1 kHz, knocks at 4 kHz and voices at 200 Hz, so that a spectrum tells them apart."""
    writer, rng = CacheWriter(tmp_path), np.random.default_rng(0)
    time = np.arange(3 * SECOND) / RATE_HZ
    writer.add(as_int16(np.sin(2 * np.pi * 1000 * time)), "street", "a.ogg", "noise-everyday", "street/a", "train")
    for index in range(4):
        writer.add(as_int16(np.sin(2 * np.pi * 200 * time + index)), "talk", f"{index}.ogg", "speech", f"talk/{index}", "train")
        if request.param:
            knock = np.exp(-time[: SECOND // 4] * 30) * np.sin(2 * np.pi * 4000 * time[: SECOND // 4] + rng.uniform(0, 6))
            writer.add(as_int16(knock), "knocks", f"{index}.ogg", "noise-events", f"knocks/{index}", "train")
    writer.flush()
    return Cache(tmp_path, "train")


def level_db(audio: np.ndarray, low_hz: float, high_hz: float) -> float:
    power = np.abs(np.fft.rfft(audio)) ** 2
    frequency = np.fft.rfftfreq(len(audio), 1 / RATE_HZ)
    return 10 * np.log10(power[(frequency > low_hz) & (frequency < high_hz)].sum() / power.sum() + 1e-12)


def draws(cache: Cache, beside: str, count: int = 60) -> list[np.ndarray]:
    return [everyday.varied(np.random.default_rng(seed), cache, SECOND, beside) for seed in range(count)]


def test_scenes_are_seeded_finite_and_never_silent(cache):
    for first, again in zip(draws(cache, "speech"), draws(cache, "speech"), strict=True):
        assert np.array_equal(first, again)
        assert first.shape == (SECOND,)
        assert first.dtype == np.float32
        assert np.isfinite(first).all()
        assert np.abs(first).max() > 0.01


def test_events_and_voices_come_beside_a_voice_and_not_beside_music(cache):
    has_events = "events" in cache.noise_kinds()
    beside_speech, beside_music = draws(cache, "speech"), draws(cache, "music")
    knocking = [scene for scene in beside_speech if level_db(scene, 3000, 5500) > -20]
    talking = [scene for scene in beside_speech if level_db(scene, 50, 600) > -20]
    assert (len(knocking) > 10) == has_events
    assert len(talking) > 2
    assert len(beside_speech) - len(knocking) - len(talking) > 10, "a recording alone stays the most common"
    beside_speech_alone = draws(cache, everyday.SPEECH_ALONE)
    assert not has_events or sum(level_db(scene, 3000, 5500) > -20 for scene in beside_speech_alone) > len(knocking), "more happens"
    for scene in beside_music:
        assert level_db(scene, 600, 1700) > -0.1, "something other than the recording"


def test_an_event_may_reach_over_either_end(cache):
    if "events" not in cache.noise_kinds():
        return
    scenes = [everyday.events(np.random.default_rng(seed), cache, SECOND) for seed in range(40)]
    assert any(np.abs(scene[:50]).max() > 0.01 for scene in scenes), "none had begun before"
    assert any(np.abs(scene[-50:]).max() > 0.01 for scene in scenes), "none goes on"
    assert all(np.abs(scene).max() > 0.1 for scene in scenes), "none without an event"


def test_babble_is_several_voices(cache, monkeypatch):
    asked = []
    sample = Cache.sample_clean

    def counted(self, rng, batch, seconds, kinds=None):
        asked.append((batch, kinds))
        return sample(self, rng, batch, seconds, kinds)

    monkeypatch.setattr(Cache, "sample_clean", counted)
    for seed in range(20):
        everyday.babble(np.random.default_rng(seed), cache, SECOND)
    assert all(count >= 3 and kinds == ["speech"] * count for count, kinds in asked)
