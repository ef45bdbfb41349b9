"""What a training run keeps on disk, written atomically: a run that is cut off loses minutes, not hours."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from .config import ConfigError, Spec
from .export import folded_network, read
from .grow import grow
from .model import Dualstep

NAME = "checkpoint.pt"


@dataclass
class Checkpoint:
    """The whole state of a run."""

    spec: dict[str, object]
    """As in a weights file: which network this is."""
    weights: dict[str, Tensor]
    """The network as the optimiser sees it."""
    average: dict[str, Tensor]
    """The averaged network: what is validated and exported."""
    data: str = "none"
    """Short hash of the data manifest."""
    hours: float = 0.0
    """Audio trained on so far, over all stages."""
    step: int = 0
    """Steps so far, over all stages."""
    phase: dict[str, object] = field(default_factory=dict)
    """Stage being trained, its elapsed seconds and steps, optimiser, data position, random state, skipped steps."""

    def save(self, run: Path) -> None:
        """Writes the run's checkpoint; a reader sees the old one or the new one, never a part."""
        run.mkdir(parents=True, exist_ok=True)
        part = run / (NAME + ".part")
        torch.save(self.__dict__, part)
        os.replace(part, run / NAME)

    @classmethod
    def load(cls, run: Path, device: str | torch.device = "cpu") -> Checkpoint:
        """Reads the checkpoint of a run's folder, or the file itself. Raises `FileNotFoundError` if there is none."""
        path = run / NAME if run.is_dir() else run
        if not path.exists():
            raise FileNotFoundError(f"no checkpoint at {path}")
        return cls(**torch.load(path, map_location=device))

    def network(self) -> Dualstep:
        """The averaged network, in evaluation mode."""
        net = Dualstep(Spec.from_metadata(self.spec))
        net.load_state_dict(self.average)
        return net.eval()


def manifest_hash(cache: Path) -> str:
    """Short hash of a data cache's manifest: what a weights file says about its data."""
    return hashlib.sha256((cache / "manifest.json").read_bytes()).hexdigest()[:16]


def with_speech(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of a network that has no speech network yet, and those of one as it begins: as stage 1."""
    return tensors | {"speech." + name.removeprefix("stage1."): value for name, value in tensors.items() if name.startswith("stage1.")}


def declared(weights: Path) -> Spec:
    """The spec of an exported file, a checkpoint or a run. Raises `ConfigError` if it is of another format."""
    return Spec.from_metadata(_read(weights)[1])


def _read(weights: Path) -> tuple[dict[str, Tensor], dict[str, object]]:
    """Tensors (a run's averaged ones) and `spec` entry with the hours of audio."""
    if weights.suffix == ".safetensors":
        return read(weights)
    saved = Checkpoint.load(weights)
    return saved.average, {**saved.spec, "hours": saved.hours}


def initialise(net: Dualstep, weights: Path, calibrate_with: Tensor) -> float:
    """Starts `net` from a checkpoint or an exported file, of the same widths or of smaller ones (see `grow.py`), whatever the hop.

    An exported file has no batch norms left: their statistics are measured on `calibrate_with`, a spectrum
    `[batch, frame, bins, 2]`, such that the network still does the same. If `net` has a speech network and the weights have none, it
    begins as stage 1. Returns the hours of audio behind the weights.
    Raises `ConfigError` if the networks differ in more than their geometry in time, or `net` is the narrower one.
    """
    tensors, fields = _read(weights)
    have = Spec.from_metadata(fields)
    if net.spec.speech and not have.speech:
        have, tensors = dataclasses.replace(have, speech=True), with_speech(tensors)
    start = Dualstep(_spec_to_start_from(net.spec, have)).to(calibrate_with.device)
    if weights.suffix == ".safetensors":
        own = start.state_dict()
        own.update({name: value for name, value in folded_network(start.spec, tensors).state_dict().items() if name in own})
        start.load_state_dict(own)
        _unfold(start, tensors, calibrate_with)
    else:
        start.load_state_dict(tensors)
    if start.spec == net.spec:
        net.load_state_dict(start.state_dict())
    else:
        grow(start, net, calibrate_with)
    return float(fields.get("hours", 0.0))


def _spec_to_start_from(spec: Spec, have: Spec) -> Spec:
    """`spec` with the U-Nets that weights have."""
    for key in ("bins", "segments", "taps", "balance"):
        if getattr(have, key) != getattr(spec, key):
            raise ConfigError(f"the weights have {key} {getattr(have, key)}, {spec.name} asks for {getattr(spec, key)}")
    for number, (small, large) in enumerate(zip(have.stages, spec.stages), 1):
        levels = len(small.widths) == len(large.widths)
        if not levels or any(a > b for a, b in zip((*small.widths, small.squeeze), (*large.widths, large.squeeze))):
            raise ConfigError(f"stage {number} of the weights has {small}, {spec.name} asks for {large}: a stage can grow, but not shrink")
    return dataclasses.replace(spec, stages=have.stages, speech=have.speech)


def _unfold(net: Dualstep, tensors: dict[str, Tensor], spectrum: Tensor) -> None:
    """Gives each batch norm the bias that was folded away, and measured statistics that leave the function alone."""

    def measure(norm: nn.BatchNorm2d, inputs: tuple[Tensor]) -> None:
        (x,) = inputs
        norm.running_mean.copy_(x.mean((0, 2, 3)))
        norm.running_var.copy_(x.var((0, 2, 3), unbiased=False))
        norm.weight.copy_(torch.sqrt(norm.running_var + norm.eps))
        norm.bias.copy_(norm.folded_bias.to(norm.bias.device) + norm.running_mean)

    hooks = []
    for name, module in net.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            source = name.replace("_norm", "") + (".0" if name.endswith("stem_norm") else "") + ".bias"
            # All segments of the stem share one norm, so their folded biases are equal.
            module.folded_bias = tensors[source]
            hooks.append(module.register_forward_pre_hook(measure))
    with torch.no_grad():
        net.eval().run_each(spectrum)
    for hook in hooks:
        hook.remove()
