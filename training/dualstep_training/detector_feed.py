"""Labelled batches for the click detector: our own degradation, with more clicks and more of what is mistaken for them.

Making them is the processor's work, so worker processes do it, each with its own seeded degrader.
"""

from __future__ import annotations

import multiprocessing
import queue
import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.fft
import torch
from torch.nn import functional as F

from . import degrade
from .data import Cache
from .detector_events import DESTROYED, IGNORED, add_digital_clicks, add_hits, add_pops, recorded_pops

CLASSES = {"music": 0.45, "speech": 0.3, "drums": 0.25}
"""Clean material: drums are the hardest to tell from clicks; plosives, brass and plucked strings come with speech and music."""

CLICKLESS_SHARE = 0.3
"""Items without a click: clean, worn, or with other noise."""

CLICKS_ONLY_SHARE = 0.35
"""Items with clicks or scratches and nothing else. The rest are mixed discs with clicks."""

SNR_DB = (-2.0, 40.0)
"""Of clicks, over the whole stretch. Sparse clicks of 40 dB still peak over the music."""

CLIPPED_SHARE = 0.15
"""Items whose loudest peaks the recorder has cut, clicks and all."""

DIGITAL_SHARE = 0.4
"""Items that get clicks of 1-8 samples, as lost or wrong samples of a digital transfer: no pickup has rounded them."""

POP_SHARE = 0.25
"""Items with clicks that get pops, too, see `detector_events`. With more of them drum hits are taken for some."""

HIT_SHARE = 0.3
"""Items that get hits out of near silence: rustling pops begin no other way, and without these hits were taken for some."""

RATES_HZ = {48_000: 0.7, 44_100: 0.1, 32_000: 0.1, 64_000: 0.1}
"""Rates of batches."""

UNCERTAIN = 0.5
"""Noise beyond this share of the local level in an item with crackle or recorded disc noise may be a click that nobody marked: not scored."""

UNCERTAIN_MARGIN = 12
"""Samples around uncertain ones that aren't scored either."""

REFRESH_S = 600.0
"""A worker's pool rows are renewed this rarely: there are as many pools as workers."""


@dataclass
class Labelled:
    """One batch."""

    audio: np.ndarray
    """int16 `[batch, samples]`, each row scaled to its peak: half the size to hand over, and the network doesn't see the level."""
    labels: np.ndarray
    """uint8 `[batch, samples]`: `INTACT`, `DESTROYED` or `IGNORED`."""
    hard: np.ndarray
    """bool `[batch]`: no click in the item, so every mark is a false one."""


class ClickDegrader(degrade.Degrader):
    """As `Degrader`, with more drums, and recipes for clicks."""

    STREAM = 4
    """Which of the seed's random streams it draws from."""

    def batch(self, batch: int, seconds: float) -> degrade.Batch:
        """The next `batch` items of `seconds` each."""
        rng = np.random.default_rng([self.seed, self.STREAM, self._batches])
        self._pools.refresh(self._seconds)
        present = [name for name in CLASSES if name in self.cache.kinds()]
        shares = np.array([CLASSES[name] for name in present])
        kinds = [str(kind) for kind in rng.choice(present, batch, p=shares / shares.sum())]
        clean, kinds, bands = self.cache.sample_clean_bands(rng, batch, seconds, kinds)
        recipes = [self._draw_recipe(rng, kind, band) for kind, band in zip(kinds, bands, strict=True)]
        self._batches += 1
        self._seconds += batch * seconds
        return self.render(rng, clean, recipes)

    def _draw_recipe(self, rng: np.random.Generator, kind: str, source_band_hz: float) -> degrade.Recipe:
        recipe = degrade.Recipe(kind, peak_db=rng.uniform(-20, 0))
        self._draw_band(rng, recipe, source_band_hz)
        if rng.random() < 0.35:
            recipe.wear = degrade.draw_wear(rng)
        draw = rng.random()
        if draw < 0.5 * CLICKLESS_SHARE:
            return recipe
        if draw < CLICKLESS_SHARE:
            names = [str(rng.choice(["hiss", "hum", "rumble", "everyday"], p=[0.4, 0.15, 0.15, 0.3]))]
        elif draw < CLICKLESS_SHARE + CLICKS_ONLY_SHARE:
            names = [str(rng.choice(["clicks", "scratches"], p=[0.75, 0.25]))]
        else:
            names = [name for name, chance in degrade.DISC_CHANCES.items() if rng.random() < chance]
            names += ["clicks"] * ("clicks" not in names)
        recipe.noise = {name: self._snr_db(rng, name) for name in names if self._pools.has(name)}
        return recipe

    @staticmethod
    def _snr_db(rng: np.random.Generator, name: str) -> float:
        return rng.uniform(*SNR_DB) if name in ("clicks", "scratches") else rng.uniform(5, 40)


def labels_of(batch: degrade.Batch) -> torch.Tensor:
    """uint8 `[batch, samples]`."""
    _, local = degrade.levels(batch.worn)
    labels = batch.click_mask.to(torch.uint8)
    for row, tags in enumerate(batch.tags):
        if tags & {"crackle", "disc"}:
            loud = ((batch.noisy[row] - batch.worn[row]).abs() > UNCERTAIN * local[row]).float()
            near = F.max_pool1d(loud[None, None], 2 * UNCERTAIN_MARGIN + 1, 1, UNCERTAIN_MARGIN)[0, 0] > 0
            labels[row][near & ~batch.click_mask[row]] = IGNORED
    return labels


class Maker:
    """Makes one worker's batches."""

    def __init__(self, cache: Path, split: str, seed: int, batch: int, seconds: float):
        self._degrader = ClickDegrader(Cache(cache, split), seed=seed, refresh_s=REFRESH_S)
        self._batch, self._seconds = batch, seconds
        self._rng = np.random.default_rng([seed, 5])
        self._cut = recorded_pops(self._degrader.cache)

    def make(self) -> Labelled:
        """The next batch, at one of `RATES_HZ`, whole frames of 16 samples."""
        made = self._degrader.batch(self._batch, self._seconds)
        labels, noisy = labels_of(made).numpy(), made.noisy.numpy()
        for row, draw in enumerate(self._rng.random(len(noisy))):
            # What has no click stays without: there a false mark costs most.
            if draw < POP_SHARE and (labels[row] == DESTROYED).any():
                add_pops(self._rng, noisy[row], labels[row], self._cut)
            elif draw > 1 - HIT_SHARE:
                add_hits(self._rng, noisy[row], labels[row])
        for row in np.flatnonzero(self._rng.random(len(noisy)) < CLIPPED_SHARE):
            limit = float(made.worn[row].abs().max()) * self._rng.uniform(0.9, 2.0)
            noisy[row] = np.clip(noisy[row], -limit, limit)
        rate_hz = int(self._rng.choice(list(RATES_HZ), p=list(RATES_HZ.values())))
        audio, labels = resampled(noisy, labels, rate_hz / degrade.RATE_HZ)
        # Faults of the transfer come last: no filter has seen them.
        for row in np.flatnonzero(self._rng.random(len(audio)) < DIGITAL_SHARE):
            add_digital_clicks(self._rng, audio[row], labels[row])
        samples = audio.shape[1] // 16 * 16
        audio, labels = audio[:, :samples], labels[:, :samples]
        peak = np.maximum(np.abs(audio).max(axis=1, keepdims=True), 1e-9)
        return Labelled(np.rint(audio * (32_767 / peak)).astype(np.int16), np.ascontiguousarray(labels), ~(labels == DESTROYED).any(axis=1))


def resampled(audio: np.ndarray, labels: np.ndarray, factor: float) -> tuple[np.ndarray, np.ndarray]:
    """Both at `factor` times the rate."""
    samples = audio.shape[1]
    wanted = round(samples * factor)
    if wanted == samples:
        return audio, labels
    spectrum = scipy.fft.rfft(audio)
    kept = np.zeros((len(audio), wanted // 2 + 1), spectrum.dtype)
    size = min(kept.shape[1], spectrum.shape[1])
    kept[:, :size] = spectrum[:, :size]
    index = np.minimum((np.arange(wanted) / factor).round().astype(int), samples - 1)
    return scipy.fft.irfft(kept, wanted).astype(np.float32) * np.float32(factor), labels[:, index]


def _work(cache: Path, split: str, seed: int, batch: int, seconds: float, out: multiprocessing.Queue) -> None:
    """A worker process: makes batches for ever, or hands over why it can't."""
    torch.set_num_threads(1)
    try:
        maker = Maker(cache, split, seed, batch, seconds)
        while True:
            made = maker.make()
            out.put((made.audio, made.labels, made.hard))
    except Exception as error:  # noqa: BLE001 - handed to the process that waits
        out.put(f"worker {seed}: {type(error).__name__}: {error}")


class Feed:
    """Endless batches from `workers` processes; 0 makes them in this one. Each worker's stream follows from the seed; their order doesn't."""

    def __init__(self, cache: Path, batch: int, seconds: float, workers: int, seed: int, split: str = "train"):
        self._processes: list[multiprocessing.Process] = []
        if workers == 0:
            self._maker = Maker(cache, split, 1000 * seed, batch, seconds)
            return
        context = multiprocessing.get_context("spawn")
        # A queue per worker: one writer each, and a worker that dies blocks none of the others.
        self._queues = [context.Queue(2) for _ in range(workers)]
        for number, line in enumerate(self._queues):
            process = context.Process(target=_work, args=(cache, split, 1000 * seed + number, batch, seconds, line), daemon=True)
            process.start()
            self._processes.append(process)
        self._ready: queue.Queue = queue.Queue(max(4, workers))
        for line, process in zip(self._queues, self._processes, strict=True):
            threading.Thread(target=self._forward, args=(line, process), daemon=True).start()

    def _forward(self, line, process) -> None:
        """Brings one worker's batches to the common queue."""
        while True:
            try:
                self._ready.put(line.get(timeout=5))
            except queue.Empty:
                if not process.is_alive():
                    self._ready.put(f"a worker ended with exit code {process.exitcode}; is there enough memory?")
                    return
            except (EOFError, OSError):
                return

    def take(self) -> Labelled:
        """The next batch. Raises `RuntimeError` if a worker failed."""
        if not self._processes:
            return self._maker.make()
        item = self._ready.get()
        if isinstance(item, str):
            raise RuntimeError(item)
        return Labelled(*item)

    def close(self) -> None:
        """Ends the workers."""
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.join(5)
