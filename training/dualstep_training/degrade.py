"""Degradation on the fly: clean excerpts become (clean, worn, noisy) triples with a map of the samples that clicks destroyed.

The order is the one in which recordings suffer: wear changes the signal (`wear.py`) and gives stage 1's target, then noise is
added (`defects.py`, recorded noise) and gives the input. Clean, worn and noisy are then limited in band and scaled together.

Speed comes from pools: each kind of defect is synthesised into a few long rows, batches take random slices of them, and one
row is made anew every `REFRESH_SECONDS` of audio. A batch depends only on the seed, the number of batches drawn and the
audio drawn, so three numbers are the whole state, and a resumed run continues exactly.

`python -m dualstep_training.degrade --bench CACHE` prints the speed.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from . import augment, everyday, wear
from .data import Cache
from .defects import GENERATORS, Defect, recorded_disc
from .screening import RATE_HZ

#: Length of a pool row, s, and rows per kind.
POOL_SECONDS = 12.0
POOL_ROWS = 10

#: One pool row is made anew after this much audio, unless a `Degrader` is told otherwise: all of them in about two hours.
REFRESH_SECONDS = 90.0


@dataclass(frozen=True)
class Shares:
    """How often what is done to an item. What is left of the noise is everyday noise."""

    clean: float
    #: Worn, but without noise; `Degrader` may be told another share.
    wear_only: float
    #: One defect alone, and a mixed disc.
    single: float
    disc: float
    #: Worn items among the noisy ones.
    worn: float


#: Of what isn't speech. Of all items half are unworn.
SHARES = Shares(clean=0.11, wear_only=0.07, single=0.26, disc=0.38, worn=0.52)

#: Speech meets more everyday noise; most of all where it is all that is wanted, for then everything that happens beside it is noise.
SPEECH_SHARES = replace(SHARES, single=0.16, disc=0.18)
SPEECH_ALONE_SHARES = Shares(clean=0.06, wear_only=0.02, single=0.12, disc=0.10, worn=0.16)

#: Share of items that digital silence breaks into, as in a DAW before, between and after what was cut, and of these the share in which it comes first.
#: What comes out of it may be clean or not: where only the clean does, a network takes all noise behind a silence for wanted.
SILENCE_SHARE = 0.3
SILENCE_FIRST = 0.7

#: Length of such a silence, s, first and in between; and of the fades at its ends, s, in half of the items.
SILENCE_FIRST_S = (0.001, 0.5)
SILENCE_BETWEEN_S = (0.02, 1.0)
SILENCE_FADE_S = (0.001, 0.1)

#: How often each defect is part of a mixed disc.
DISC_CHANCES = {"hiss": 0.85, "crackle": 0.7, "clicks": 0.6, "scratches": 0.3, "thumps": 0.25, "rumble": 0.3, "hum": 0.2, "disc": 0.3}

#: SNR per defect, dB, and the range of the share of items that are nearly clean.
SNR_DB = (0.0, 25.0)
HIGH_SNR_DB = (20.0, 40.0)
HIGH_SNR_SHARE = 0.17

#: A click counts as damage if its peak exceeds this share of the local RMS (20 ms) of the worn signal, or of its overall RMS.
MASK_LOCAL = 0.2
MASK_OVERALL = 0.01

#: Kinds of `fixed_set`.
FIXED_KINDS = ("hiss", "crackle", "clicks", "thumps", "hum", "mixed-music", "mixed-speech", "everyday-speech", "clean", "drums",
               "saturation", "clipping", "dull", "narrow", "dropouts", "worn+noise")


@dataclass
class Batch:
    """Excerpts at 48 kHz, all `[batch, samples]`."""

    #: float32, unworn: stage 2's target.
    clean: torch.Tensor
    #: float32, worn but noise free: stage 1's target.
    worn: torch.Tensor
    #: float32, worn and noisy: the input.
    noisy: torch.Tensor
    #: bool, samples that a click destroyed.
    click_mask: torch.Tensor
    #: Per row: its class, every defect and every wear, or `clean`.
    tags: list[set[str]]


@dataclass
class Recipe:
    """What is done to one item."""

    #: Class of the clean excerpt.
    kind: str
    wear: set[str] = field(default_factory=set)
    #: Defect -> SNR in dB, relative to the worn signal where it is active.
    noise: dict[str, float] = field(default_factory=dict)
    #: Upper band edge of clean, worn and noisy together, Hz; None leaves the band alone.
    band_hz: float | None = None
    #: Order of the band edge's slope; high is a brick wall, as in a low-rate source.
    band_order: float = 8.0
    #: The clean excerpt ends at `band_hz` by itself, so only the noise needs the limit.
    band_of_source: bool = False
    #: Sets the SNR of clicks and thumps over the excerpt, as fixed sets do, and not over the pool they are sliced from.
    exact_snr: bool = False
    #: Digital silence in all three signals: its first sample, the one after its last, and the length of its fades in samples.
    silence: tuple[int, int, int] | None = None
    #: What recorded everyday noise is varied and put into scenes for, as in training (`everyday.SCENES`); None takes it as it is, as fixed sets do.
    beside: str | None = None
    #: Peak of the loudest of the three signals, dBFS.
    peak_db: float = -3.0


class Degrader:
    """Draws degraded batches from one split of the cache. Every batch follows from (seed, batches drawn, audio drawn)."""

    def __init__(self, cache: Cache, device: str = "cpu", seed: int = 0, sample_rate: int = RATE_HZ, refresh_s: float | None = None,
                 wear_only: float | None = None, speech_alone: bool = False):
        if sample_rate != RATE_HZ:
            raise ValueError(f"sample_rate is {sample_rate}, expected {RATE_HZ}: the cache is at 48 kHz; resample batches instead")
        self.cache, self.device, self.seed = cache, torch.device(device), seed
        self._wear_only = wear_only
        #: Whether all excerpts are speech, most of it in everyday noise: what else sounds beside a voice is then never wanted.
        self._speech_alone = speech_alone
        self._batches, self._seconds = 0, 0.0
        self._pools = Pools(cache, self.device, seed, REFRESH_SECONDS if refresh_s is None else refresh_s)

    def state_dict(self) -> dict[str, float]:
        """What a resumed run needs to go on with the very next batch."""
        return {"seed": self.seed, "batches": self._batches, "seconds": self._seconds}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Continues where `state_dict` was taken, with the same cache.

        Raises:
            ValueError: the state comes from another seed.
        """
        if state["seed"] != self.seed:
            raise ValueError(f"the state was saved with seed {state['seed']}, this degrader has {self.seed}; start it with that seed")
        self._batches, self._seconds = int(state["batches"]), float(state["seconds"])

    def batch(self, batch: int, seconds: float) -> Batch:
        """The next `batch` items of `seconds` each, with the variety of `augment.py`."""
        rng = np.random.default_rng([self.seed, 1, self._batches])
        self._pools.refresh(self._seconds)
        clean, kinds, bands = self.cache.sample_clean_bands(rng, batch, seconds, ["speech"] * batch if self._speech_alone else None)
        augment.clean(rng, clean, kinds)
        recipes = [self._draw_recipe(rng, kind, band) for kind, band in zip(kinds, bands, strict=True)]
        for recipe in recipes:
            recipe.silence = draw_silence(rng, clean.shape[1])
        self._batches += 1
        self._seconds += batch * seconds
        return self.render(rng, clean, recipes)

    def _draw_recipe(self, rng: np.random.Generator, kind: str, source_band_hz: float) -> Recipe:
        """Mixes wear and noise freely, by the shares above."""
        shares = SPEECH_ALONE_SHARES if self._speech_alone else SPEECH_SHARES if kind == "speech" else SHARES
        beside = everyday.SPEECH_ALONE if self._speech_alone else kind
        recipe = Recipe(kind, peak_db=rng.uniform(-20, 0) if rng.random() < 0.7 else rng.uniform(-40, -20), beside=beside)
        self._draw_band(rng, recipe, source_band_hz)
        if rng.random() < shares.clean:
            return recipe
        only_wear = rng.random() < (shares.wear_only if self._wear_only is None else self._wear_only) / (1 - shares.clean)
        if only_wear or rng.random() < shares.worn:
            recipe.wear = draw_wear(rng)
        if only_wear:
            return recipe
        draw = rng.random() * (1 - shares.clean - shares.wear_only)
        if draw < shares.single:
            names = [str(rng.choice(list(DISC_CHANCES)))]
        elif draw < shares.single + shares.disc:
            names = self._mixed_disc(rng)
        else:
            names = ["everyday"] + (["hiss"] if rng.random() < 0.2 else []) + (["hum"] if rng.random() < 0.1 else [])
        low, high = HIGH_SNR_DB if rng.random() < HIGH_SNR_SHARE else SNR_DB
        # A cache without the recorded noise that was drawn must not make clean items of so many.
        names = [name for name in names if self._pools.has(name)] or self._mixed_disc(rng)
        recipe.noise = {name: rng.uniform(low, high) for name in names}
        return recipe

    def _mixed_disc(self, rng: np.random.Generator) -> list[str]:
        """Defects that a disc has together, at least one."""
        drawn = [name for name, chance in DISC_CHANCES.items() if rng.random() < chance]
        return [name for name in drawn if self._pools.has(name)] or ["hiss"]

    @staticmethod
    def _draw_band(rng: np.random.Generator, recipe: Recipe, source_band_hz: float) -> None:
        """Band limits. A source without highs mostly gets noise without highs, or the net would learn that highs are noise."""
        draw = rng.random()
        if source_band_hz < 16_000 and draw < 0.6:
            recipe.band_hz, recipe.band_order, recipe.band_of_source = source_band_hz, rng.uniform(8, 40), True
        elif draw < 0.70:
            return
        elif draw < 0.93:
            recipe.band_hz, recipe.band_order = float(np.exp(rng.uniform(np.log(2500), np.log(20_000)))), rng.uniform(2, 20)
        else:
            recipe.band_hz, recipe.band_order = float(rng.choice([4000, 5512, 8000, 11_025])) * rng.uniform(0.88, 0.98), 60.0

    def render(self, rng: np.random.Generator, clean: np.ndarray, recipes: list[Recipe]) -> Batch:
        """Carries out recipes on clean excerpts, float32 `[batch, samples]`: wear, noise, band, level."""
        clean_t = torch.as_tensor(clean, device=self.device)
        worn = wear.apply(clean_t, [recipe.wear for recipe in recipes], rng)
        power, local = levels(worn)
        noise, peaks = torch.zeros_like(worn), torch.zeros_like(worn)
        for row, recipe in enumerate(recipes):
            self._add_noise(rng, recipe, float(power[row]), noise[row], peaks[row])
        mask = peaks > torch.maximum(MASK_LOCAL * local, MASK_OVERALL * power.sqrt()[:, None])
        clean_t, worn, noise, mask = _limit_band(clean_t, worn, noise, mask, recipes)
        noisy = noise.add_(worn)
        peak = torch.stack([torch.maximum(signal.amax(dim=1), -signal.amin(dim=1)) for signal in (clean_t, worn, noisy)]).amax(dim=0)
        wanted = torch.as_tensor([10 ** (recipe.peak_db / 20) for recipe in recipes], dtype=torch.float32, device=self.device)
        gain = (wanted / peak.clamp_min(1e-4))[:, None].repeat(1, clean.shape[1])
        for row, recipe in enumerate(recipes):
            if recipe.silence is not None:
                _silence(gain[row], mask[row], *recipe.silence)
        # The same gain on bit-equal signals leaves them bit-equal, so clean-in is exactly clean-out.
        return Batch(clean_t * gain, worn.mul_(gain), noisy.mul_(gain), mask, [_tags(recipe) for recipe in recipes])

    def _add_noise(self, rng: np.random.Generator, recipe: Recipe, power: float, noise: torch.Tensor, peaks: torch.Tensor) -> None:
        """Adds each defect of a recipe in place, at its SNR. `noise`, `peaks`: `[samples]`."""
        for name, snr_db in recipe.noise.items():
            if name == "everyday":
                audio, events = torch.as_tensor(self._everyday(rng, recipe, len(noise)), device=self.device), None
            else:
                audio, events = self._pools.take(rng, name, len(noise))
            rms = 1.0
            if name not in IMPULSIVE or recipe.exact_snr:
                rms = max(float(audio.square().mean().sqrt()), 1e-5)
            gain = float(np.sqrt(power)) * 10 ** (-snr_db / 20) / rms
            noise.add_(audio, alpha=gain if rng.random() < 0.5 else -gain)
            if events is not None:
                torch.maximum(peaks, events * gain, out=peaks)

    def _everyday(self, rng: np.random.Generator, recipe: Recipe, samples: int) -> np.ndarray:
        if recipe.beside is not None:
            return everyday.varied(rng, self.cache, samples, recipe.beside)
        return everyday.recorded(rng, self.cache, samples)


#: Defects whose level is set over a whole pool row, not over the slice: a slice with one click shall not have a giant one.
IMPULSIVE = {"clicks", "scratches", "thumps", "crackle"}


class Pools:
    """Rows of pre-synthesised defects on the device, made when first needed and renewed as audio is drawn."""

    def __init__(self, cache: Cache, device: torch.device, seed: int, refresh_s: float):
        self._cache, self._device, self._seed, self._refresh_s = cache, device, seed, refresh_s
        self._names = [*GENERATORS, "disc"]
        self._rows: dict[tuple[str, int], tuple[int, torch.Tensor, torch.Tensor | None]] = {}
        self._refreshes = 0

    def has(self, name: str) -> bool:
        """Whether a defect can be drawn: recorded noise may be missing from the cache."""
        if name == "everyday":
            return bool(everyday.kinds(self._cache))
        return name in GENERATORS or name in self._cache.noise_kinds()

    def refresh(self, seconds: float) -> None:
        """Notes how much audio was drawn; rows that are due are made anew when they are next taken."""
        self._refreshes = int(seconds / self._refresh_s)

    def _generation(self, name: str, row: int) -> int:
        """How often a row has been renewed by now: one row of one kind after another."""
        total = len(self._names) * POOL_ROWS
        place = self._names.index(name) * POOL_ROWS + row
        # Kinds alternate, so that each is renewed evenly over time.
        place = (place % POOL_ROWS) * len(self._names) + place // POOL_ROWS
        return (self._refreshes + total - 1 - place) // total

    def take(self, rng: np.random.Generator, name: str, samples: int) -> tuple[torch.Tensor, torch.Tensor | None]:
        """A random slice of a defect: float32 `[samples]` and, for clicks, the peaks of its events (see `Defect`)."""
        row = int(rng.integers(POOL_ROWS))
        audio, peaks = self._row(name, row)
        if samples > len(audio):
            raise ValueError(f"items of {samples / RATE_HZ:.1f} s, expected at most {POOL_SECONDS} s; draw shorter items or raise POOL_SECONDS")
        for _ in range(8 if name in IMPULSIVE else 1):  # a slice between two clicks would be no defect at all
            start = int(rng.integers(len(audio) - samples + 1))
            if name not in IMPULSIVE or float(audio[start : start + samples].square().mean()) > 0.01:
                break
        return audio[start : start + samples], None if peaks is None else peaks[start : start + samples]

    def _row(self, name: str, row: int) -> tuple[torch.Tensor, torch.Tensor | None]:
        wanted = self._generation(name, row)
        made = self._rows.get((name, row))
        if made is None or made[0] != wanted:
            defect = self._make(name, row, wanted)
            peaks = None if defect.peaks is None else torch.as_tensor(defect.peaks, device=self._device)
            made = (wanted, torch.as_tensor(defect.audio, device=self._device), peaks)
            self._rows[name, row] = made
        return made[1], made[2]

    def _make(self, name: str, row: int, generation: int) -> Defect:
        rng = np.random.default_rng([self._seed, 2, self._names.index(name), row, generation])
        samples = int(POOL_SECONDS * RATE_HZ)
        return recorded_disc(rng, samples, self._cache) if name == "disc" else GENERATORS[name](rng, samples)


def draw_wear(rng: np.random.Generator) -> set[str]:
    """One to three kinds of wear; saturation and clipping exclude each other."""
    names = set(rng.choice(wear.KINDS, int(rng.choice([1, 2, 3], p=[0.6, 0.3, 0.1])), replace=False, p=[0.16, 0.17, 0.15, 0.12, 0.25, 0.15]))
    if "saturation" in names:
        names.discard("clipping")
    return {str(name) for name in names}


def draw_silence(rng: np.random.Generator, samples: int) -> tuple[int, int, int] | None:
    """Where digital silence breaks into an item, see `Recipe.silence`; mostly nowhere."""
    if rng.random() >= SILENCE_SHARE:
        return None
    first = rng.random() < SILENCE_FIRST
    length, fade = (int(RATE_HZ * np.exp(rng.uniform(*np.log(span)))) for span in (SILENCE_FIRST_S if first else SILENCE_BETWEEN_S, SILENCE_FADE_S))
    start = 0 if first else int(rng.integers(samples))
    return start, min(start + length, samples), fade if rng.random() < 0.5 else 0


def _silence(gain: torch.Tensor, mask: torch.Tensor, start: int, end: int, fade: int) -> None:
    """Makes a row's `gain [samples]` zero from `start` to `end`, linearly faded out before and in after it, and takes the silence from its click mask."""
    gain[start:end] = 0.0
    mask[start:end] = False
    ramp = torch.arange(fade, dtype=gain.dtype, device=gain.device) / max(fade, 1)
    gain[end : end + fade] *= ramp[: max(len(gain) - end, 0)]
    before = min(fade, start)
    gain[start - before : start] *= ramp.flip(0)[fade - before :]


def _tags(recipe: Recipe) -> set[str]:
    tags = {recipe.kind} | recipe.wear | set(recipe.noise)
    if not recipe.wear and not recipe.noise:
        tags.add("clean")
    if recipe.wear:
        tags.add("worn")
    return tags


def levels(worn: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Power of each row where it is active `[batch]` (frames within 40 dB of its loudest), and its local RMS over 20 ms `[batch, samples]`."""
    frame = 960
    batch, samples = worn.shape
    padded = torch.nn.functional.pad(worn, (0, -samples % frame))
    power = padded.view(batch, -1, frame).square().mean(dim=2)
    active = (power > 1e-4 * power.amax(dim=1, keepdim=True)).float()
    mean = (power * active).sum(dim=1) / active.sum(dim=1).clamp_min(1)
    # Silence has no level to relate noise to; -26 dBFS stands in.
    mean = torch.where(mean > 1e-7, mean, torch.full_like(mean, 2.5e-3))
    return mean, power.sqrt().repeat_interleave(frame, dim=1)[:, :samples]


def _limit_band(clean: torch.Tensor, worn: torch.Tensor, noise: torch.Tensor, mask: torch.Tensor, recipes: list[Recipe]) -> tuple[torch.Tensor, ...]:
    """Filters clean, worn and noise alike where the recipe says so. The click mask grows by the filter's smear."""
    rows = [row for row, recipe in enumerate(recipes) if recipe.band_hz is not None]
    if not rows:
        return clean, worn, noise, mask
    clean = clean.clone()
    hertz = wear.frequencies(clean.shape[1], clean.device)[0]
    for row in rows:
        recipe = recipes[row]
        # Transforms are what a batch costs: skip signals that are zero, equal, or end at that band by themselves.
        parts = {"noise": noise[row]} if recipe.noise else {}
        if not recipe.band_of_source:
            parts["clean"] = clean[row]
            if recipe.wear:
                parts["worn"] = worn[row]
        if not parts:
            continue
        gain = (1 + (hertz / recipe.band_hz) ** (2 * recipe.band_order)).rsqrt()
        done = dict(zip(parts, wear.filter_rows(torch.stack(list(parts.values())), gain), strict=True))
        if "noise" in done:
            noise[row] = done["noise"]
            smear = int(0.5 * RATE_HZ / recipe.band_hz)
            if smear:
                mask[row] = torch.nn.functional.max_pool1d(mask[row].float()[None, None], 2 * smear + 1, 1, smear)[0, 0] > 0
        if "clean" in done:
            clean[row] = done["clean"]
            worn[row] = done.get("worn", clean[row])
    return clean, worn, noise, mask


def fixed_recipe(rng: np.random.Generator, kind: str, item: str) -> Recipe:
    """The recipe of one item of a fixed set, for a clean excerpt of class `item`."""
    if kind not in FIXED_KINDS:
        raise ValueError(f"unknown kind {kind!r}, expected one of {', '.join(FIXED_KINDS)}")
    recipe = Recipe(item, exact_snr=True, peak_db=rng.uniform(-18, -3))
    if kind in ("hiss", "crackle", "thumps", "hum"):
        recipe.noise = {kind: rng.uniform(2, 18)}
    elif kind == "clicks":
        recipe.noise = {"scratches" if rng.random() < 0.3 else "clicks": rng.uniform(2, 18)}
    elif kind.startswith("mixed"):
        recipe.noise = _disc_mix(rng, 5, 22)
    elif kind == "everyday-speech":
        recipe.noise = {"everyday": rng.uniform(0, 17)}
    elif kind == "worn+noise":
        recipe.wear, recipe.noise = draw_wear(rng), _disc_mix(rng, 8, 25)
    elif kind not in ("clean", "drums"):
        recipe.wear = {kind}
    return recipe


def _disc_mix(rng: np.random.Generator, low_db: float, high_db: float) -> dict[str, float]:
    """Hiss, crackle and clicks always, the rest by `DISC_CHANCES`."""
    chances = DISC_CHANCES | {"hiss": 1.0, "crackle": 1.0, "clicks": 1.0}
    return {name: rng.uniform(low_db, high_db) for name, chance in chances.items() if rng.random() < chance}


def fixed_set(cache: Cache, kind: str, count: int, seconds: float, seed: int) -> Batch:
    """A fixed validation set of one kind of `FIXED_KINDS`: the same cache, arguments and version give the same audio."""
    rng = np.random.default_rng([seed, 3, FIXED_KINDS.index(kind) if kind in FIXED_KINDS else 99])
    if kind.endswith("-speech"):
        items = ["speech"] * count
    elif kind == "mixed-music":
        items = ["music"] * count
    elif kind == "drums":
        items = ["drums"] * count
    else:
        items = [("music", "speech")[index % 2] for index in range(count)]
    present = [name for name in ("music", "speech", "drums") if name in cache.kinds()]
    items = [item if item in present else present[0] for item in items]
    return render_fixed(cache, rng, [fixed_recipe(rng, kind, item) for item in items], seconds, seed)


def render_fixed(cache: Cache, rng: np.random.Generator, recipes: list[Recipe], seconds: float, seed: int) -> Batch:
    """Carries out recipes on excerpts drawn for them; a source without highs gets noise without highs."""
    degrader = Degrader(cache, seed=seed)
    for recipe in recipes:
        recipe.noise = {name: snr for name, snr in recipe.noise.items() if degrader._pools.has(name)}
    clean, _, bands = cache.sample_clean_bands(rng, len(recipes), seconds, [recipe.kind for recipe in recipes])
    for recipe, band in zip(recipes, bands, strict=True):
        if band < 16_000 and recipe.band_hz is None:
            recipe.band_hz, recipe.band_order, recipe.band_of_source = float(band), 30.0, True
    return degrader.render(rng, clean, recipes)


def is_of(batch: Batch, kind: str) -> bool:
    """Whether the cache had the material for a fixed set of this kind; without it, clips come clean, or drums as something else."""
    if kind == "drums":
        return all("drums" in tags for tags in batch.tags)
    return kind == "clean" or not any("clean" in tags for tags in batch.tags)


def bench(cache: Cache, batch: int, seconds: float, batches: int = 30) -> dict[str, float]:
    """Seconds of audio per second on one thread, by the clock and by processor time (on a busy machine they differ); the first pools apart."""
    torch.set_num_threads(1)
    degrader = Degrader(cache, seed=1)
    started = time.perf_counter()
    for name in degrader._pools._names:
        if degrader._pools.has(name):
            for row in range(POOL_ROWS):
                degrader._pools._row(name, row)
    pools_s = time.perf_counter() - started
    degrader.batch(batch, seconds)
    started, started_cpu = time.perf_counter(), time.process_time()
    for _ in range(batches):
        degrader.batch(batch, seconds)
    audio_s = batches * batch * seconds
    return {"audio_s_per_s": audio_s / (time.perf_counter() - started), "audio_s_per_cpu_s": audio_s / (time.process_time() - started_cpu),
            "first_pools_s": pools_s}


def main(arguments: list[str] | None = None) -> None:
    """Command line: see `--help`."""
    parser = argparse.ArgumentParser(prog="python -m dualstep_training.degrade")
    parser.add_argument("--bench", metavar="CACHE", required=True, help="folder of a cache; prints the generator's speed on one thread")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=4.0)
    options = parser.parse_args(arguments)
    result = bench(Cache(options.bench, "train"), options.batch, options.seconds)
    print(f"{result['audio_s_per_s']:.0f} audio-s per second, {result['audio_s_per_cpu_s']:.0f} per second of processor time, on one thread; "
          f"the first pools took {result['first_pools_s']:.1f} s")


if __name__ == "__main__":
    main()
