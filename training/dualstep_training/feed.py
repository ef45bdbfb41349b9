"""Degraded batches for training: drawn from the cache, in the trainer's process or ahead of it in worker processes."""

from __future__ import annotations

import queue
import signal
import threading
import time
from dataclasses import dataclass

import torch
import torch.multiprocessing
from torch import Tensor

from .degrade import Degrader
from .screening import RATE_HZ

REPAIR_SHARE = 0.5
"""Share of items with clicks that arrive as after the engine's click repair."""

REPAIR_ERROR = 0.1
"""Error of a repaired sample, relative to the signal: about what interpolation leaves."""

SPARED_DRUMS = 0.5
"""Share of drum items that arrive without noise: their hits look like crackle, and must be left alone."""

AHEAD = 2
"""Batches that each worker process holds ready."""

ALIVE_S = 1.0
"""How often a trainer that waits for a worker looks whether it is alive, s."""

ECHO_ROWS = 2048
"""Clips that `Echo` holds."""

MOVED_SHARE = 0.75
"""Share of an echo's clips whose noise is moved."""

MOVED_DB = 5.0
"""By how much moved noise is raised or lowered at most, dB."""

MOVED_FADE_S = 0.005
"""Fade at both ends of noise that is moved, s: where they meet there shall be no click."""


class FeedEnded(RuntimeError):
    """A process that makes batches has ended, so there is no next one."""


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
            clips = self._next(self._taken % self._workers)
            if isinstance(clips, BaseException):
                raise clips
        self._taken += 1
        self.state = clips.state
        self.spent_s += time.perf_counter() - started
        return clips

    def _next(self, worker: int) -> Clips | BaseException:
        """What a worker has made next. One that was killed will never make anything, and must not be waited for."""
        process = self._processes[worker]
        while True:
            try:
                return self._queues[worker].get(timeout=ALIVE_S)
            except queue.Empty:
                pass
            except (EOFError, OSError):
                # The batches that a worker has ready end with it, perhaps a moment earlier.
                process.join(ALIVE_S)
                if process.is_alive():
                    raise
            if not process.is_alive():
                raise FeedEnded(f"{process.name}, which makes batches, ended with exit code {process.exitcode}; is there enough memory?")

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
            batches = context.Queue(AHEAD)
            arguments = (batches, self._degrader, self.state, worker, self._workers, self._batch, self._seconds)
            process = context.Process(target=_work, args=arguments, name=f"feed-{worker}", daemon=True)
            # A start waits until the new process has imported torch: side by side fifteen take as long as two.
            starting.append(threading.Thread(target=process.start))
            starting[-1].start()
            self._queues.append(batches)
            self._processes.append(process)
        for thread in starting:
            thread.join()


class Echo:
    """A feed whose clips are used several times, for a device that trains faster than batches are made ("data echoing", Choi et al. 2019).

    The clips lie in a pool on the device. Each batch is drawn from it, with most clips' noise moved in time, at another level and turned over, so that
    the same music and the same noise meet in ever new ways. The oldest clips are replaced as fast as the feed makes new ones; if a clip would
    be used more than `times` on average, the trainer waits. A resumed run fills its pool anew, so it goes on, but not bit by bit.
    """

    def __init__(self, feed: Feed, times: float, batch: int, device: str | torch.device, seed: int = 0, rows: int = ECHO_ROWS) -> None:
        self._feed, self._times, self._batch, self._rows, self._device = feed, times, batch, max(rows, batch), torch.device(device)
        self._generator = torch.Generator().manual_seed(seed)
        self._ready: queue.Queue = queue.Queue(AHEAD)
        self._thread: threading.Thread | None = None
        self._ended = threading.Event()
        self._pool: list[Tensor] | None = None
        self._made = self._drawn = 0
        self.spent_s = 0.0
        """Time that the trainer has waited for new clips."""
        self.state: dict[str, object] = feed.state

    def load_state(self, state: dict[str, object]) -> None:
        """Goes on after the batch whose state this is. Only before the first batch is taken."""
        self._feed.load_state(state)
        self.state = state

    def take(self) -> Clips:
        """The next batch, on the device. Raises whatever making it raised."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._fill, name="echo", daemon=True)
            self._thread.start()
        started = time.perf_counter()
        while self._made < min(self._rows, 4 * self._batch) or self._drawn + self._batch > self._times * self._made:
            self._put(self._ready.get())
        while not self._ready.empty():
            self._put(self._ready.get())
        self.spent_s += time.perf_counter() - started
        self._drawn += self._batch
        rows = torch.randperm(min(self._made, self._rows), generator=self._generator)[: self._batch].to(self._device)
        noisy, worn, clean = (part[rows] for part in self._pool)
        # Noise that moves must not fill the digital silence of a clip.
        return Clips(torch.where(noisy == 0, noisy, worn + moved(noisy - worn, self._generator)), worn, clean, self.state)

    def close(self) -> None:
        """Stops the feed."""
        self._ended.set()
        self._feed.close()

    def _fill(self) -> None:
        while not self._ended.is_set():
            try:
                clips = self._feed.take()
                if self._device.type == "cuda":
                    clips = Clips(clips.noisy.pin_memory(), clips.worn.pin_memory(), clips.clean.pin_memory(), clips.state)
            except Exception as error:  # noqa: BLE001 - handed to the thread that waits
                clips = error
            self._ready.put(clips)
            if isinstance(clips, Exception):
                return

    def _put(self, clips: Clips | Exception) -> None:
        """Takes new clips into the pool, in place of the oldest."""
        if isinstance(clips, Exception):
            raise clips
        parts = (clips.noisy, clips.worn, clips.clean)
        if self._pool is None:
            self._pool = [torch.empty(self._rows, part.shape[1], device=self._device) for part in parts]
        rows = (torch.arange(len(clips.noisy)) + self._made).remainder(self._rows).to(self._device)
        for pool, part in zip(self._pool, parts):
            pool[rows] = part.to(self._device, non_blocking=True)
        self._made += len(clips.noisy)
        self.state = clips.state


def moved(noise: Tensor, generator: torch.Generator) -> Tensor:
    """Most rows of `noise [batch, samples]` turned around in time, at another level and with either sign; what is silent stays silent."""
    batch, samples = noise.shape

    def drawn() -> Tensor:
        return torch.rand(batch, 1, generator=generator)

    chosen, gain = drawn() < MOVED_SHARE, 10.0 ** ((2 * drawn() - 1) * MOVED_DB / 20) * torch.where(drawn() < 0.5, -1.0, 1.0)
    shift = (drawn() * samples).long()
    chosen, gain, shift = (each.to(noise.device) for each in (chosen, gain, shift))
    at = torch.arange(samples, device=noise.device)
    fade = (torch.minimum(at, samples - 1 - at) / (MOVED_FADE_S * RATE_HZ)).clamp_max(1.0)
    turned = (noise * fade).gather(1, (at + shift).remainder(samples))
    return torch.where(chosen, turned * gain, noise)


def _work(batches, degrader: Degrader, start: dict, worker: int, workers: int, batch: int, seconds: float) -> None:
    """A worker process: every `workers`-th batch after `start`."""
    torch.set_num_threads(1)
    # Ctrl-C reaches every process of the terminal, but the trainer still needs the batch of its step. It ends its workers itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ahead = worker
    while True:
        try:
            position = {"batches": start["batches"] + ahead, "seconds": start["seconds"] + ahead * batch * seconds}
            degrader.load_state_dict({**start, **position})
            clips = made(degrader, batch, seconds)
        except Exception as error:  # noqa: BLE001 - handed to the process that waits
            batches.put(error)
            return
        batches.put(clips)
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
