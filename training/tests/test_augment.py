"""Variety of the clean material and of recorded noise."""

from __future__ import annotations

import numpy as np
import pytest

from dualstep_training import augment
from dualstep_training.screening import RATE_HZ


def talk(seconds: float, seed: int = 0) -> np.ndarray:
    """Bursts of noise with pauses, float32 `[samples]`."""
    rng = np.random.default_rng(seed)
    audio = rng.standard_normal(int(seconds * RATE_HZ)).astype(np.float32) * 0.1
    audio[(np.arange(len(audio)) // 9600) % 2 == 1] = 0.0
    return audio


@pytest.mark.parametrize("seed", range(20))
def test_a_room_is_a_direct_sound_and_a_decay_within_its_range(seed):
    impulse = augment.room(np.random.default_rng(seed))
    assert impulse[0] == 1.0
    assert np.all(impulse[1 : int(0.002 * RATE_HZ)] == 0.0)
    ratio_db = -10 * np.log10(np.square(impulse[1:]).sum())
    # What comes before the first wall is cut off, so that the ratio can only rise.
    assert augment.ROOM_RATIO_DB[0] - 0.1 <= ratio_db <= augment.ROOM_RATIO_DB[1] + 12
    half = len(impulse) // 2
    assert np.square(impulse[half:]).sum() < 0.3 * np.square(impulse[1:half]).sum()


@pytest.mark.parametrize("seed", range(20))
def test_a_tone_is_positive_and_bounded(seed):
    gain_db = 20 * np.log10(augment.tone(np.random.default_rng(seed), np.linspace(0, 24_000, 2049)))
    assert np.all(np.isfinite(gain_db))
    assert np.all(np.abs(gain_db) <= 4 * 1.5 + 3 * 6)


def test_a_tone_keeps_length_and_peak_and_changes_the_spectrum():
    audio = talk(1.0)
    changed = augment.coloured(np.random.default_rng(3), audio, in_room=False, with_tone=True)
    assert changed.dtype == np.float32 and changed.shape == audio.shape
    assert np.abs(changed).max() == pytest.approx(np.abs(audio).max(), rel=1e-5)
    assert np.abs(changed - audio).max() > 0.01


def test_a_room_sounds_on_in_the_pauses():
    audio = talk(1.0)
    changed = augment.coloured(np.random.default_rng(4), audio, in_room=True, with_tone=False)
    pause = slice(9600 + 960, 9600 + 1920)
    assert np.square(audio[pause]).sum() == 0.0
    assert np.square(changed[pause]).mean() > 1e-8


def test_silence_stays_silence():
    silent = np.zeros(RATE_HZ, dtype=np.float32)
    assert not augment.coloured(np.random.default_rng(0), silent, in_room=True, with_tone=True).any()


def test_shares_are_those_stated_and_drums_get_no_room():
    audio = np.stack([talk(0.5, seed) for seed in range(8)])
    kinds = ["speech"] * 8
    rng, changed = np.random.default_rng(5), 0
    for _ in range(50):
        copy = audio.copy()
        augment.clean(rng, copy, kinds)
        changed += int((copy != audio).any(axis=1).sum())
    expected = 1 - (1 - augment.ROOM_SHARE["speech"]) * (1 - augment.TONE_SHARE)
    assert changed / 400 == pytest.approx(expected, abs=0.08)

    def sounding(kind: str) -> int:
        rng, found = np.random.default_rng(6), 0
        for _ in range(100):
            copy = audio[:1].copy()
            augment.clean(rng, copy, [kind])
            found += int(np.square(copy[0, 10560:11520]).mean() > 1e-7)
        return found

    assert sounding("drums") < sounding("speech")


def test_voices_meet_music_and_stay_within_full_scale():
    voice, music = talk(0.5), np.sin(np.arange(RATE_HZ // 2) * 0.05).astype(np.float32)
    rng, met = np.random.default_rng(7), 0
    for _ in range(300):
        both = np.stack([voice, music])
        augment.clean(rng, both, ["speech", "music"])
        assert np.abs(both).max() <= 1.0 + 1e-5
        met += int(np.square(both[0, 9600:19_200]).mean() > 1e-3)
    assert 0.03 < met / 300 < 0.2


def test_the_same_generator_gives_the_same_variety():
    first, second = (np.stack([talk(0.3, seed) for seed in range(4)]) for _ in range(2))
    augment.clean(np.random.default_rng(8), first, ["speech", "music", "drums", "speech"])
    augment.clean(np.random.default_rng(8), second, ["speech", "music", "drums", "speech"])
    assert np.array_equal(first, second)
