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
import scipy.ndimage
import scipy.signal
import torch
from torch.nn import functional as F

from . import degrade
from .data import Cache

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

DIGITAL_DB = (15.0, 60.0)
"""Their height over the RMS of the second difference, taken over `DIGITAL_AROUND` samples on either side."""

DIGITAL_AROUND = 480

POP_SHARE = 0.5
"""Items with clicks that get pops, too: clicks as recorded discs have them, which swing to both sides before they are over, or rustle, and begin less suddenly
than those of `degrade`. Before there were any, one in three of real
records' that last over 2.5 ms was given less than 0.65, however far it stood out."""

HIT_SHARE = 0.2
"""Items that get hits out of near silence, as of a drum machine: rustling pops begin no other way, and without these they were taken for some."""

HIT_DECAY_S = (4e-3, 0.15)
"""Their time constant."""

HIT_OVER_DB = (10.0, 70.0)
"""Their peak over that of what they come out of."""

POP_RECORDED_SHARE = 0.5
"""Pops that are cut from the recorded discs of the cache; the rest are drawn."""

POP_DB = (6.0, 45.0)
"""Their peak over the level around them."""

POP_MS = (0.3, 5.5)
"""Length of those that are drawn."""

POP_LEAST = 6
"""Samples that a click cut from a disc has at least: what is shorter is `DIGITAL_SHARE`'s."""

UNDER_POP = 0.03
"""Share of its peak from which on a pop's sample is destroyed. What is less is a matter of opinion, and not scored."""

POP_OUTLIER = 20.0
"""What is so many times above the background of a recorded disc (over 1 kHz) is cut out as a click."""

RATES_HZ = {48_000: 0.7, 44_100: 0.1, 32_000: 0.1, 64_000: 0.1}
"""Rates of batches."""

UNCERTAIN = 0.5
"""Noise beyond this share of the local level in an item with crackle or recorded disc noise may be a click that nobody marked: not scored."""

UNCERTAIN_MARGIN = 12
"""Samples around uncertain ones that aren't scored either."""

REFRESH_S = 600.0
"""A worker's pool rows are renewed this rarely: there are as many pools as workers."""

INTACT, DESTROYED, IGNORED = 0, 1, 2
"""Labels."""


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


def cut_pops(disc: np.ndarray) -> list[np.ndarray]:
    """The clicks of a recorded disc, `disc [samples]` at 48 kHz: float32 `[samples]` of peak 1 each, as far as they rise above its background."""
    audio = scipy.signal.sosfiltfilt(scipy.signal.butter(2, 80, "high", output="sos", fs=degrade.RATE_HZ), disc)
    high = np.abs(scipy.signal.sosfilt(scipy.signal.butter(2, 1000, "high", output="sos", fs=degrade.RATE_HZ), audio))
    before, after = 60, 480
    pops, free = [], before
    for at in np.flatnonzero(high > POP_OUTLIER * (np.median(high) / 0.6745 + 1e-9)):
        if at < free or at + after > len(audio):
            continue
        free = at + after + before
        piece = audio[at - before : at + after]
        height, around = np.abs(piece), scipy.ndimage.uniform_filter1d(np.abs(piece), 24)
        top = int(height.argmax())
        quiet = np.flatnonzero(around < max(0.02 * height[top], 3 * np.median(np.abs(audio))))
        first, last = quiet[quiet < top][-1:], quiet[quiet > top][:1]
        if len(first) and len(last) and last[0] - first[0] >= POP_LEAST:
            pops.append(faded(piece[first[0] : last[0]] / height[top]))
    return pops


def recorded_pops(cache: Cache) -> list[np.ndarray]:
    """Those of all recorded discs of a split."""
    return [pop for item in cache.items if item.kind == "noise-disc" for pop in cut_pops(cache.read(item))]


def drawn_pop(rng: np.random.Generator) -> np.ndarray:
    """One that no disc had: a swing whose pitch falls, or a rustle, under an envelope that takes its time to rise. float32 `[samples]` of peak 1."""
    samples = int(np.exp(rng.uniform(*np.log(POP_MS))) * 1e-3 * degrade.RATE_HZ)
    time = np.arange(samples) / samples
    rise = rng.uniform(0.02, 0.5)
    envelope = np.minimum(time / rise, 1) * np.exp(-rng.uniform(1, 5) * np.maximum(time - rise, 0))
    if rng.random() < 0.6:
        turns = rng.uniform(0.7, 2.2)
        pop = np.sin(2 * np.pi * turns * time ** rng.uniform(0.5, 1.1) + rng.uniform(0, 2 * np.pi))
        pop += rng.uniform(0, 0.2) * rng.standard_normal(samples)
    else:
        pop = rng.standard_normal(samples)
    corner_hz = np.exp(rng.uniform(*np.log((1500, 16_000))))
    pop = scipy.signal.sosfilt(scipy.signal.butter(2, corner_hz, output="sos", fs=degrade.RATE_HZ), np.append(pop * envelope, np.zeros(16)))
    return faded(pop / max(np.abs(pop).max(), 1e-6))


def faded(pop: np.ndarray) -> np.ndarray:
    """With its ends drawn to zero, float32."""
    fade = np.minimum(np.minimum(np.arange(1, len(pop) + 1), np.arange(len(pop), 0, -1)) / min(6, len(pop) // 2 + 1), 1)
    return (pop * fade).astype(np.float32)


def add_pops(rng: np.random.Generator, audio: np.ndarray, labels: np.ndarray, cut: list[np.ndarray], recorded: float = POP_RECORDED_SHARE) -> None:
    """Adds a few pops to `audio [samples]` at 48 kHz in place and marks them, the share `recorded` from `cut`, those of recorded discs."""
    before = audio.copy()
    for start in rng.integers(0, len(audio) - 600, int(rng.integers(1, 7))):
        if cut and rng.random() < recorded:
            pop = cut[rng.integers(len(cut))]
            # Played slower or faster, as a disc is.
            pop = np.interp(np.arange(0, len(pop) - 1, np.exp(rng.uniform(-0.5, 0.5))), np.arange(len(pop)), pop).astype(np.float32)
        else:
            pop = drawn_pop(rng)
        pop = pop[:600]
        around = before[max(start - 480, 0) : start + 480]
        height = max(float(np.sqrt(np.mean(around**2))), 1e-4) * 10 ** (rng.uniform(*POP_DB) / 20)
        place = slice(start, start + len(pop))
        audio[place] += rng.choice([-1, 1]) * height * pop
        labels[place] = np.where(labels[place] == INTACT, IGNORED, labels[place])
        loud = np.flatnonzero(np.abs(pop) > UNDER_POP)
        labels[start + loud[0] : start + loud[-1] + 1] = DESTROYED


def add_hits(rng: np.random.Generator, audio: np.ndarray, labels: np.ndarray) -> None:
    """Lowers `audio [samples]` at 48 kHz in place and puts a few drawn hits over it, which are intact, and so is what they cover."""
    peak = float(np.abs(audio).max()) + 1e-5
    audio *= 10 ** (-rng.uniform(*HIT_OVER_DB) / 20)
    for start in rng.integers(0, len(audio) - 960, int(rng.integers(1, 8))):
        decay_s = np.exp(rng.uniform(*np.log(HIT_DECAY_S)))
        time = np.arange(min(len(audio) - start, int(6 * decay_s * degrade.RATE_HZ))) / degrade.RATE_HZ
        tone_hz = np.exp(rng.uniform(*np.log((60, 5000)))) * (1 + rng.uniform(0, 1) * np.exp(-time / 0.01))
        tone = np.sin(2 * np.pi * np.cumsum(tone_hz) / degrade.RATE_HZ + rng.uniform(0, 6))
        rustle = rng.standard_normal(len(time)) / 3
        if rng.random() < 0.6:
            corner_hz = np.exp(rng.uniform(*np.log((1000, 12_000))))
            rustle = scipy.signal.sosfilt(scipy.signal.butter(2, corner_hz, str(rng.choice(["low", "high"])), output="sos", fs=degrade.RATE_HZ), rustle)
        share = rng.choice([0.0, 1.0, rng.random()])
        hit = np.exp(-time / decay_s) * np.minimum(time / rng.uniform(1e-5, 1e-3), 1) * (share * tone + (1 - share) * rustle)
        place = slice(start, start + len(time))
        audio[place] += (peak * rng.uniform(0.1, 1) / max(np.abs(hit).max(), 1e-6) * hit).astype(np.float32)
        labels[place] = INTACT


def add_digital_clicks(rng: np.random.Generator, audio: np.ndarray, labels: np.ndarray) -> None:
    """Adds a few clicks of 1-8 samples to `audio [samples]` in place and marks them.

    They stand `DIGITAL_DB` over what is around them after two differentiations, where music is faint and such a click isn't.
    """
    bend = np.diff(audio.astype(np.float64), 2, prepend=0, append=0)
    peak = float(np.abs(audio).max()) + 1e-5
    for start in rng.integers(0, len(audio) - 8, int(rng.integers(1, 12))):
        length = int(rng.integers(1, 9))
        shape = rng.choice([-1.0, 1.0]) * rng.uniform(0.4, 1.0, length) * rng.choice([1.0, -1.0]) ** np.arange(length)
        around = bend[max(start - DIGITAL_AROUND, 0) : start + DIGITAL_AROUND]
        # The second difference of a single sample of height 1 peaks at 2.
        height = np.sqrt(np.mean(around**2)) * 10 ** (rng.uniform(*DIGITAL_DB) / 20) / 2
        audio[start : start + length] += (np.clip(height, 1e-3 * peak, 3 * peak) * shape).astype(np.float32)
        labels[start : start + length] = DESTROYED


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
