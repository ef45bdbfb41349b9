"""What the ablation compares: the shipped network, and networks or losses that differ from it in one thing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from .config import Spec, StageSpec
from .loss import Loss, Weights, with_magnitude
from .model import Dualstep, Restored, Stage, costs, delay, running_level
from .paper24 import DOUBLED, QUADRUPLED, Paper24


@dataclass(frozen=True)
class Variant:
    """One row of the table."""

    name: str
    says: str
    """What differs from the first row, in words."""
    net: Callable[[Spec], Dualstep] = Dualstep
    change: Callable[[Spec], Spec] = lambda spec: spec
    """Makes its spec of the first row's."""
    weights: Weights = field(default_factory=Weights)
    loss: type[Loss] = Loss
    stage: str = "both"
    """What is trained, as of `train.Options`."""

    def spec(self, shipped: Spec) -> Spec:
        """Its spec. Without a speech network: none is trained here."""
        return self.change(replace(shipped, speech=False))


class NoRecurrence(Stage):
    """Convolutions only: what happened more than a second ago is forgotten."""

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        del self.gru, self.squeeze, self.expand

    def _recurrent(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x)


class AveragePool(Stage):
    """The mean of two bands instead of their maximum."""

    def pool(self, x: Tensor) -> Tensor:
        return functional.avg_pool2d(x, (1, 2))


def of(kind: type[Stage]) -> type[Dualstep]:
    """Both stages of another kind."""

    class Other(Dualstep):
        def make_stage(self, sizes: StageSpec, cin: int, outs: int, folded: bool) -> nn.Module:
            return kind(self.spec, sizes, cin, outs, folded)

    return Other


class ComplexMask(Dualstep):
    """Stage 1 may turn phases: the mask is 1 + its head, as stage 2's first tap is."""

    def make_stage(self, sizes: StageSpec, cin: int, outs: int, folded: bool) -> nn.Module:
        return super().make_stage(sizes, cin, 2 if outs == 1 else outs, folded)

    def __init__(self, spec: Spec, folded: bool = False) -> None:
        super().__init__(spec, folded)
        start_as_identity(self.stage1)

    def mask(self, out: Tensor, here: Tensor) -> tuple[Tensor, Tensor]:
        real, imaginary = 1.0 + out[..., 0], out[..., 1]
        a, b = here[..., 0], here[..., 1]
        masked = torch.stack((real * a - imaginary * b, real * b + imaginary * a), -1)
        return (real.square() + imaginary.square() + 1e-12).sqrt(), masked


class NoFloor(Dualstep):
    """Stage 1 isn't told the noise floor."""

    def make_stage(self, sizes: StageSpec, cin: int, outs: int, folded: bool) -> nn.Module:
        return super().make_stage(sizes, cin - 1 if outs == 1 else cin, outs, folded)

    def seen(self, spectrum: Tensor, level: Tensor) -> Tensor:
        return super().seen(spectrum, level)[:, :-1]


class GainAlone(Dualstep):
    """Stage 1 without a second: a gain is all there is between the input and the unworn recording."""

    def make_stage(self, sizes: StageSpec, cin: int, outs: int, folded: bool) -> nn.Module:
        return super().make_stage(sizes, cin, outs, folded) if outs == 1 else NoStage()

    def forward(self, spectrum: Tensor, stages: int = 2) -> Restored:
        out = super().forward(spectrum, 1)
        return replace(out, compressed2=out.compressed1[..., :2])


class OneStage(Dualstep):
    """One stage that sees what stage 1 does and may do what stage 2 may: complex taps and an additive term."""

    def make_stage(self, sizes: StageSpec, cin: int, outs: int, folded: bool) -> nn.Module:
        return super().make_stage(sizes, cin, 2 * self.spec.taps + 2, folded) if outs == 1 else NoStage()

    def __init__(self, spec: Spec, folded: bool = False) -> None:
        super().__init__(spec, folded)
        start_as_identity(self.stage1)

    def forward(self, spectrum: Tensor, stages: int = 2) -> Restored:
        ahead = self.spec.lookahead_hops
        level = running_level(spectrum, self.spec)
        out = self._run(self.stage1, self.seen(spectrum, level))
        here, level = delay(spectrum, ahead), delay(level, ahead, first=level[:, :1])
        compressed = self._second(out, here, level)
        restored = Restored(here[..., 0], here, with_magnitude(compressed), compressed, level)
        restored.stage1 = restored.stage2
        with torch.no_grad():
            # Above the network's bins the gain of the topmost band is heard.
            restored.gain = (restored.stage1.norm(dim=-1) / (here.norm(dim=-1) + 1e-9)).clamp_max(1.0)
        return restored


def start_as_identity(stage: Stage) -> None:
    """What its head says is a change; at first none."""
    with torch.no_grad():
        for head in stage.head:
            head.weight.zero_()
            head.bias.zero_()


class NoStage(nn.Module):
    """In the place of a stage that isn't there: says zero."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.ModuleList()

    def forward(self, x: Tensor) -> Tensor:
        return x.new_zeros(x.shape[0], x.shape[2], x.shape[3], 1)


class CleanTarget(Loss):
    """Stage 1 against the unworn recording."""

    def __call__(self, out: Restored, spectrum: Tensor, worn: Tensor, clean: Tensor, stage: str) -> dict[str, Tensor]:
        return super().__call__(out, spectrum, clean, clean, stage)


def scaled(spec: Spec, factor: float) -> Spec:
    """All widths times `factor`, in steps of 4."""
    def wider(stage: StageSpec) -> StageSpec:
        return replace(stage, widths=tuple(max(4, 4 * round(factor * width / 4)) for width in stage.widths))

    first, second = map(wider, spec.stages)
    return replace(spec, stages=(first, second))


def as_dear_as_both(spec: Spec) -> Spec:
    """The widths with which one stage costs what both cost at the spec's."""
    goal = sum(macs for _, macs in costs(spec).values())
    alike = replace(spec, stages=(spec.stages[0],) * 2)

    def off(factor: float) -> float:
        return abs(costs(scaled(alike, factor))["stage2"][1] - goal)

    return scaled(alike, min((0.5 + 0.01 * step for step in range(150)), key=off))


VARIANTS = (
    Variant("baseline", "two stages as shipped, both trained at once"),
    Variant("one-stage-equal", "one stage of equal cost: complex taps and an additive term", net=OneStage, change=as_dear_as_both, loss=CleanTarget, stage="1"),
    Variant("one-stage-gain", "stage 1 alone, trained towards the unworn recording", net=GainAlone, loss=CleanTarget, stage="1"),
    Variant("paper24-x2", "the paper's network, channels times 2 at each step", net=lambda spec: Paper24(spec, 8, DOUBLED)),
    Variant("paper24-x4", "the paper's network, channels times 4 at two steps", net=lambda spec: Paper24(spec, 4, QUADRUPLED)),
    Variant("large", "widths times 1.5", change=lambda spec: scaled(spec, 1.5)),
    Variant("small", "widths times 0.5", change=lambda spec: scaled(spec, 0.5)),
    Variant("no-lookahead", "no look-ahead", change=lambda spec: replace(spec, lookahead_hops=0)),
    Variant("no-gru", "no recurrent layer", net=of(NoRecurrence)),
    Variant("complex-mask", "stage 1 gives a complex mask instead of a gain", net=ComplexMask),
    Variant("average-pool", "average instead of maximum pooling", net=of(AveragePool)),
    Variant("no-floor", "stage 1 isn't told the noise floor", net=NoFloor),
    Variant("no-missing", "missing energy costs what left-over noise costs", weights=replace(Weights(), missing=1.0)),
    Variant("no-ratio", "loss without the signal-to-noise ratio", weights=replace(Weights(), ratio=0.0)),
    Variant("magnitude-only", "loss over magnitudes only", weights=replace(Weights(), magnitude=1.0, complex=0.0, ratio=0.0)),
)
