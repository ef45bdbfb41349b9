"""Scores of a training in a few minutes, to compare it with another one.

Bare networks in PyTorch on the validation split: the test split stays out of every choice. Without click repair, so clicks look worse than in
the plugin.
"""

from __future__ import annotations

import time
from pathlib import Path

from .. import validate
from ..train import fixed_items
from .systems import load_network

#: As long as the test set's: within 4 s a network that takes held chords for noise looks well.
CLIPS, SECONDS = 6, 11.0


def run(cache: Path, weights: Path, clips: int = CLIPS) -> dict[str, dict[str, float]]:
    """Prints the table of `validate`, and the means that say how a training fares. Returns the table."""
    started = time.perf_counter()
    net = load_network(weights)
    table = validate.score(net, fixed_items(cache, clips, SECONDS, "cpu"))
    print(f"{weights}: {net.spec.name}, {clips} clips of {SECONDS:g} s per kind, validation split\n")
    print(validate.markdown(table))
    print("\n" + ", ".join(f"{name} {value:.2f}" for name, value in validate.summary(table).items()) + f" ({time.perf_counter() - started:.0f} s)")
    return table
