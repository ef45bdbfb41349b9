"""The geometry and widths of a network (`Spec`) and how it is trained (`Recipe`), read from `configs/*.json`."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass
from pathlib import Path

FORMAT = 5
"""Version of the weights file's layout; the engine refuses any other."""

UNIT_S = 1.0 / 300.0
"""One geometry unit: whole samples at 44.1, 48, 88.2, 96, 176.4 and 192 kHz."""

LEVEL_RISE_S = 0.2
LEVEL_FALL_S = 2.0
"""Time constants of the running level."""

FLOOR_S = 3.0
"""Time constant of the noise floor."""

BALANCE_S = 4.0
"""Time constant of the long-term spectra that stage 2's balance looks at."""

CONFIGS = Path(__file__).resolve().parent.parent / "configs"


class ConfigError(ValueError):
    """A config or a weights file says something that can't be."""


COEFFICIENTS = ("level_rise", "level_fall", "floor_keep", "balance_keep")
"""Properties of a `Spec` that a weights file states, so that the engine needs no time constants."""


@dataclass(frozen=True)
class StageSpec:
    """What a U-Net is made of."""

    widths: tuple[int, ...]
    """Channels of level 0..4."""
    squeeze: int
    """Channels per band that enter the recurrent layer."""


@dataclass(frozen=True)
class Spec:
    """What a weights file declares about its network. Field names are the keys of the file's `spec` metadata."""

    name: str
    hop_units: int
    """Hop H in units of 1/300 s."""
    analysis_hops: int
    """Length of the analysis window, in hops."""
    synthesis_hops: int
    """Length of the synthesis window, in hops. Always 2: analysis times synthesis is a Hann window."""
    lookahead_hops: int
    """Frames that stage 1 sees beyond the one it gives gains for."""
    bins: int
    """Bins the network sees, from 0 Hz."""
    segments: tuple[tuple[int, int], ...]
    """`(bands, stride)`: so many bands of so many bins each, from 0 Hz up."""
    stages: tuple[StageSpec, StageSpec]
    """Stage 1 and stage 2."""
    taps: int
    """Complex taps of stage 2: this frame of stage 1's output and the ones before it."""
    balance: int
    """Hidden width of stage 2's balance."""
    level_floor: float = 0.01
    speech: bool = False
    """Whether there is a second stage 1, for recordings of speech alone. In a config: whether a run may get one."""

    def __post_init__(self) -> None:
        covered = sum(bands * stride for bands, stride in self.segments)
        if covered != self.bins:
            raise ConfigError(f"{self.name}: the segments cover {covered} bins, the network has {self.bins}")
        for stage in self.stages:
            halvings = len(stage.widths) - 1
            if self.bands % (1 << halvings):
                raise ConfigError(f"{self.name}: {self.bands} bands can't be halved {halvings} times")
        if self.synthesis_hops != 2:
            raise ConfigError(f"{self.name}: the synthesis window must be 2 hops, not {self.synthesis_hops}")

    @property
    def unets(self) -> dict[str, StageSpec]:
        """What each U-Net is made of, by the name that its tensors begin with."""
        first, second = self.stages
        return {"stage1": first, "stage2": second, **({"speech": first} if self.speech else {})}

    @property
    def bands(self) -> int:
        """Bands of level 0."""
        return sum(bands for bands, _ in self.segments)

    @property
    def hop_s(self) -> float:
        return self.hop_units * UNIT_S

    @property
    def level_rise(self) -> float:
        """Coefficient per hop of a rising level."""
        return 1.0 - math.exp(-self.hop_s / LEVEL_RISE_S)

    @property
    def level_fall(self) -> float:
        """Coefficient per hop of a falling level."""
        return 1.0 - math.exp(-self.hop_s / LEVEL_FALL_S)

    @property
    def floor_keep(self) -> float:
        """What a hop leaves of the noise floor's past."""
        return math.exp(-self.hop_s / FLOOR_S)

    @property
    def balance_keep(self) -> float:
        """What a hop leaves of the long-term spectra's past."""
        return math.exp(-self.hop_s / BALANCE_S)

    def hop(self, sample_rate: int) -> int:
        """Samples per hop."""
        return round(sample_rate * self.hop_units / 300)

    def metadata(self) -> dict[str, object]:
        """The `spec` entry of a weights file, without what only an exporter knows (commit, data, hours)."""
        fields = dataclasses.asdict(self)
        return {"format": FORMAT, **fields, **{key: getattr(self, key) for key in COEFFICIENTS}}

    @classmethod
    def from_metadata(cls, fields: dict[str, object]) -> Spec:
        """Reads a `spec` entry back.

        Raises `ConfigError` for another format, a missing field, or coefficients that don't fit the hop.
        """
        if fields.get("format") != FORMAT:
            raise ConfigError(f"weights of format {fields.get('format')}; this code reads {FORMAT}")
        spec = _build(cls, _with_stages({f.name: fields.get(f.name) for f in dataclasses.fields(cls)}))
        for key in COEFFICIENTS:
            if abs(float(fields[key]) - getattr(spec, key)) > 1e-6:
                raise ConfigError(f"{spec.name}: {key} is {fields[key]}, the hop asks for {getattr(spec, key)}")
        return spec


@dataclass(frozen=True)
class Recipe:
    """How a network is trained. Each value can be overruled on the command line."""

    batch: int = 8
    """Clips per step."""
    seconds: float = 2.5
    """Length of a clip."""
    rate: float = 2e-3
    """Highest learning rate of AdamW."""
    joint_rate: float = 3e-4
    """Highest learning rate when both stages are trained together."""
    decay: float = 0.01
    """Weight decay of AdamW."""
    clip: float = 1.0
    """Largest norm of the gradient."""
    average: float = 0.998
    """Decay per step of the averaged weights."""
    freeze_from: float = 0.6
    """Share of a phase's budget after which the batch norms keep their averaged statistics. With few clips per step the
    network learns to lean on each batch's own: a bass-heavy clip scored 16 dB so and 4 dB with the averages it ships with."""
    warmup_steps: int = 50
    """Steps over which the learning rate rises."""


@dataclass(frozen=True)
class Config:
    spec: Spec
    recipe: Recipe

    @classmethod
    def load(cls, name: str) -> Config:
        """Reads `configs/NAME.json`, or the file of that path."""
        path = Path(name) if name.endswith(".json") else CONFIGS / f"{name}.json"
        try:
            fields = json.loads(path.read_text())
        except FileNotFoundError:
            known = ", ".join(sorted(p.stem for p in CONFIGS.glob("*.json")))
            raise ConfigError(f"no config {name!r}; there are: {known}") from None
        return cls(_build(Spec, _with_stages(fields["spec"])), _build(Recipe, fields.get("recipe", {})))


def _with_stages(fields: dict[str, object]) -> dict[str, object]:
    """A spec's JSON with its stages built."""
    stages = fields.get("stages") or ()
    if len(stages) != 2:
        raise ConfigError(f"{fields.get('name')}: {len(stages)} stages, expected 2: what each of the two U-Nets is made of")
    return {**fields, "stages": tuple(_build(StageSpec, stage) for stage in stages)}


def _build(kind: type, fields: dict[str, object]):
    """Makes a dataclass of JSON values: lists become tuples, unknown or missing names are errors."""

    def frozen(value):
        return tuple(frozen(v) for v in value) if isinstance(value, (list, tuple)) else value

    known = {f.name: f for f in dataclasses.fields(kind)}
    unknown = sorted(set(fields) - set(known))
    if unknown:
        raise ConfigError(f"{kind.__name__} has no field {', '.join(unknown)}")
    missing = [n for n, f in known.items() if f.default is dataclasses.MISSING and fields.get(n) is None]
    if missing:
        raise ConfigError(f"{kind.__name__} lacks {', '.join(missing)}")
    return kind(**{n: frozen(v) for n, v in fields.items() if v is not None})
