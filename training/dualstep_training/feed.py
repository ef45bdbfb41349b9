"""Degraded batches for training: drawn from the cache, in the foreground or a few ahead in a thread."""

from __future__ import annotations

import queue
import threading
import time
from dataclasses import dataclass

import torch
from torch import Tensor

from .degrade import Degrader

REPAIR_SHARE = 0.5
"""Share of items with clicks that arrive as after the engine's click repair."""

REPAIR_ERROR = 0.1
"""Error of a repaired sample, relative to the signal: about what interpolation leaves."""

SPARED_DRUMS = 0.5
"""Share of drum items that arrive without noise: their hits look like crackle, and must be left alone."""


@dataclass
class Clips:
    """One batch, each `[batch, samples]`, and the state from which the next one follows."""

    noisy: Tensor
    worn: Tensor
    clean: Tensor
    state: dict[str, object]


class Feed:
    """Endless batches. `state` of the last batch taken is all that a resumed run needs."""

    def __init__(self, degrader: Degrader, batch: int, seconds: float, prefetch: int = 0) -> None:
        self._degrader, self._batch, self._seconds = degrader, batch, seconds
        self._clips = queue.Queue(max(prefetch, 1))
        self._prefetch = prefetch
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self.spent_s = 0.0
        """Time that making batches has taken, in whichever thread."""
        self.state: dict[str, object] = degrader.state_dict()

    def load_state(self, state: dict[str, object]) -> None:
        """Goes on after the batch whose state this is. Only before the first batch is taken."""
        self._degrader.load_state_dict(state)
        self.state = state

    def take(self) -> Clips:
        """The next batch. Raises whatever making it raised."""
        if self._prefetch == 0:
            clips = self._make()
        else:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="feed", daemon=True)
                self._thread.start()
            clips = self._clips.get()
            if isinstance(clips, BaseException):
                raise clips
        self.state = clips.state
        return clips

    def close(self) -> None:
        """Stops the thread, if there is one."""
        self._stop.set()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                made = self._make()
            except BaseException as error:  # noqa: BLE001 - handed to the thread that waits
                made = error
            while not self._stop.is_set():
                try:
                    self._clips.put(made, timeout=0.5)
                    break
                except queue.Full:
                    continue
            if isinstance(made, BaseException):
                return

    def _make(self) -> Clips:
        started = time.perf_counter()
        batch = self._degrader.batch(self._batch, self._seconds)
        state = self._degrader.state_dict()
        # Seeded by the batch's number, so that no further random state has to be kept.
        generator = torch.Generator().manual_seed(int(state["batches"]))
        noisy = repaired(batch.noisy, batch.worn, batch.click_mask, generator)
        noisy = spared(noisy, batch.worn, ["drums" in tags for tags in batch.tags], generator)
        self.spent_s += time.perf_counter() - started
        return Clips(noisy, batch.worn, batch.clean, state)


def repaired(noisy: Tensor, worn: Tensor, mask: Tensor, generator: torch.Generator) -> Tensor:
    """Makes some items look as the engine's click repair leaves them: masked samples are the worn ones, nearly.

    The network runs behind that repair, but not every click is found: the other items keep theirs.
    """
    chosen = (torch.rand(noisy.shape[0], 1, generator=generator) < REPAIR_SHARE).to(noisy.device)
    error = torch.randn(noisy.shape, generator=generator).to(noisy.device)
    return torch.where(mask & chosen, worn * (1.0 + REPAIR_ERROR * error), noisy)


def spared(noisy: Tensor, worn: Tensor, drums: list[bool], generator: torch.Generator) -> Tensor:
    """Takes the noise away from some of the items that are drums."""
    chosen = torch.rand(noisy.shape[0], generator=generator) < SPARED_DRUMS
    chosen = (chosen & torch.tensor(drums)).to(noisy.device)
    return torch.where(chosen[:, None], worn, noisy)
