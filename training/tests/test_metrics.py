"""Measures on signals whose value is known."""

import numpy as np
import pytest
import torch

from dualstep_training import metrics

RATE_HZ = 48_000


def tone(hertz: float, seconds: float = 1.0) -> torch.Tensor:
    return torch.sin(2 * torch.pi * hertz * torch.arange(int(seconds * RATE_HZ)) / RATE_HZ)[None]


def noise(seed: int, samples: int = RATE_HZ) -> torch.Tensor:
    return torch.randn(1, samples, generator=torch.Generator().manual_seed(seed))


def test_si_sdr_knows_no_level_but_snr_does():
    clean = tone(440)
    estimate = 0.5 * (clean + 0.1 * tone(1000))  # 20 dB under
    assert metrics.si_sdr(estimate, clean).item() == pytest.approx(20, abs=0.01)
    assert metrics.snr(estimate, clean).item() == pytest.approx(-10 * np.log10(0.25 + 0.0025), abs=0.01)
    assert metrics.si_sdr(clean, clean).item() == pytest.approx(100, abs=0.1)


def test_segmental_snr_leaves_silence_out():
    clean = torch.cat((tone(500), torch.zeros(1, RATE_HZ)), 1)
    assert metrics.segmental_snr(clean + 0.1 * torch.cat((tone(900), tone(900)), 1), clean).item() == pytest.approx(20, abs=0.3)


def test_log_spectral_distance_of_a_level_is_that_level():
    clean = noise(0)
    assert metrics.log_spectral_distance(2 * clean, clean).item() == pytest.approx(6.02, abs=0.05)
    assert metrics.log_spectral_distance(clean, clean).item() == 0


def test_energy_lost_counts_only_what_is_missing():
    low, high = tone(500), tone(5000)
    clean = low + high
    # Half of the energy gone; the other half too loud doesn't make up for it.
    assert metrics.energy_lost(1.4 * low, clean, clean).item() == pytest.approx(0.5, abs=0.01)
    assert metrics.over_suppression(2**0.5 * low, clean, clean).item() == pytest.approx(0, abs=0.05)
    assert metrics.energy_lost(clean + 0.01 * noise(1), clean, clean).item() < 0.01
    # Where noise dominates nothing is counted.
    assert metrics.energy_lost(0 * clean, 1e-3 * low, 1e-3 * low + noise(2)).item() == 0


def test_each_onset_is_found_and_measured():
    starts = [5000, 15_000, 30_000, 42_000]
    clean = torch.zeros(RATE_HZ)
    hit = torch.exp(-torch.arange(4000) / 800) * noise(3, 4000)[0]
    for start in starts:
        clean[start : start + 4000] += hit
    restored = clean.clone()
    restored[14_900:19_000] *= 0.5
    changes = metrics.onset_changes(restored + 1e-6, clean)
    assert len(changes) == len(starts)
    assert changes.tolist() == pytest.approx([0, -6.02, 0, 0], abs=0.05)
    assert len(metrics.onset_changes(tone(300)[0], tone(300)[0])) == 0
