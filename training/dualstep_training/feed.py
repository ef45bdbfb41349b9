"""Degraded batches for training: drawn from the cache, in the trainer's process or ahead of it in worker processes."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

import torch
import torch.multiprocessing
from torch import Tensor

from .degrade import Degrader

REPAIR_SHARE = 0.5
"""Share of items with clicks that arrive as after the engine's click repair."""

REPAIR_ERROR = 0.1
"""Error of a repaired sample, relative to the signal: about what interpolation leaves."""

SPARED_DRUMS = 0.5
"""Share of drum items that arrive without noise: their hits look like crackle, and must be left alone."""

AHEAD = 2
"""Batches that each worker process holds ready."""


@dataclass
class Clips:
    """One batch, each `[batch, samples]`, and the state from which the next one follows."""

    noisy: Tensor
    worn: Tensor
    clean: Tensor
    state: dict[str, object]


class Feed:
    """Endless batches. `state` of the last batch taken is all that a resumed run needs.

    A batch follows from the seed and its number alone, so worker `i` of `n` makes every `n`-th one, and the sequence is the
    same for any number of workers.
    """

    def __init__(self, degrader: Degrader, batch: int, seconds: float, workers: int = 0) -> None:
        self._degrader, self._batch, self._seconds, self._workers = degrader, batch, seconds, workers
        self._queues: list = []
        self._processes: list = []
        self._taken = 0
        self.spent_s = 0.0
        """Time that the trainer has spent on batches: making them, or waiting for a worker."""
        self.state: dict[str, object] = degrader.state_dict()

    def load_state(self, state: dict[str, object]) -> None:
        """Goes on after the batch whose state this is. Only before the first batch is taken."""
        self._degrader.load_state_dict(state)
        self.state = state

    def take(self) -> Clips:
        """The next batch. Raises whatever making it raised."""
        started = time.perf_counter()
        if self._workers == 0:
            clips = made(self._degrader, self._batch, self._seconds)
        else:
            if not self._processes:
                self._start()
            clips = self._queues[self._taken % self._workers].get()
            if isinstance(clips, BaseException):
                raise clips
        self._taken += 1
        self.state = clips.state
        self.spent_s += time.perf_counter() - started
        return clips

    def close(self) -> None:
        """Stops the workers, if there are any."""
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.join()
        self._processes, self._queues, self._taken = [], [], 0

    def _start(self) -> None:
        context = torch.multiprocessing.get_context("spawn")
        starting = []
        for worker in range(self._workers):
            queue = context.Queue(AHEAD)
            arguments = (queue, self._degrader, self.state, worker, self._workers, self._batch, self._seconds)
            process = context.Process(target=_work, args=arguments, name=f"feed-{worker}", daemon=True)
            # A start waits until the new process has imported torch: side by side fifteen take as long as two.
            starting.append(threading.Thread(target=process.start))
            starting[-1].start()
            self._queues.append(queue)
            self._processes.append(process)
        for thread in starting:
            thread.join()


def _work(queue, degrader: Degrader, start: dict, worker: int, workers: int, batch: int, seconds: float) -> None:
    """A worker process: every `workers`-th batch after `start`."""
    torch.set_num_threads(1)
    ahead = worker
    while True:
        try:
            position = {"batches": start["batches"] + ahead, "seconds": start["seconds"] + ahead * batch * seconds}
            degrader.load_state_dict({**start, **position})
            clips = made(degrader, batch, seconds)
        except Exception as error:  # noqa: BLE001 - handed to the process that waits
            queue.put(error)
            return
        queue.put(clips)
        ahead += workers


def made(degrader: Degrader, batch: int, seconds: float) -> Clips:
    """The degrader's next batch, some of it repaired and spared."""
    drawn = degrader.batch(batch, seconds)
    state = degrader.state_dict()
    # Seeded by the batch's number, so that no further random state has to be kept.
    generator = torch.Generator().manual_seed(int(state["batches"]))
    noisy = repaired(drawn.noisy, drawn.worn, drawn.click_mask, generator)
    noisy = spared(noisy, drawn.worn, ["drums" in tags for tags in drawn.tags], generator)
    return Clips(noisy, drawn.worn, drawn.clean, state)


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
