"""Every test starts from the same random state."""

from pathlib import Path

import numpy as np
import pytest
import torch

from dualstep_training.data import CacheWriter


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)
    torch.set_num_threads(1)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """Half a minute of notes, as the tests of the detectors use it."""
    rng = np.random.default_rng(3)
    writer = CacheWriter(tmp_path / "cache")
    time = np.arange(6 * 48_000) / 48_000
    for split in ("train", "valid"):
        for number in range(3):
            notes = sum(np.sin(2 * np.pi * f * time) for f in rng.uniform(100, 2000, 5)) * (0.5 + 0.5 * np.sin(2 * np.pi * 1.3 * time))
            writer.add((3000 * notes).astype(np.int16), "made", f"{split}{number}", "music", f"{split}{number}", split)
    writer.flush()
    return tmp_path / "cache"
