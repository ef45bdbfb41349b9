"""Writes weights files for the engine, with golden vectors, and reads them back.

The layout is that of `plugin/engine/ARCHITECTURE.md`, "Tensors" and "Metadata": one safetensors file whose batch
norms are folded into the convolutions before them, and whose `spec` metadata says everything about the geometry.

    python -m dualstep_training.export --run runs/studio --out ../assets/weights/studio.safetensors \
        --golden ../tests/data/golden/studio.safetensors
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from . import __version__
from .config import Config, ConfigError, Spec
from .model import Dualstep, Stage, running_level
from .stft import Stft

GOLDEN_FRAMES = 24
GOLDEN_RATE_HZ = 48_000
FOLD_TOLERANCE = 1e-4
"""Largest difference of a gain between the trained and the folded network that is still rounding."""


class ExportError(RuntimeError):
    """The weights can't be written or read as asked."""


def fold(conv_weight: Tensor, norm: nn.BatchNorm2d, out_axis: int) -> tuple[Tensor, Tensor]:
    """Weight and bias of the convolution that does what the bias-free one and the batch norm after it do."""
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    shape = [1] * conv_weight.dim()
    shape[out_axis] = -1
    return conv_weight * scale.view(shape), norm.bias - norm.running_mean * scale


def fold_stage(stage: Stage) -> dict[str, Tensor]:
    """The tensors of one stage, named and shaped as in a weights file."""
    tensors = {k: v for k, v in stage.state_dict().items() if "_norm" not in k}

    def put(name: str, norm: nn.BatchNorm2d, out_axis: int = 0) -> None:
        tensors[f"{name}.weight"], tensors[f"{name}.bias"] = fold(tensors[f"{name}.weight"], norm, out_axis)

    for i in range(len(stage.stem)):
        put(f"stem.{i}", stage.stem_norm)
    for part in ("encoder", "decoder"):
        for level, norms in enumerate(getattr(stage, f"{part}_norm")):
            for j, norm in enumerate(norms):
                put(f"{part}.{level}.{j}", norm)
    for level, norm in enumerate(stage.up_norm):
        put(f"up.{level}", norm, out_axis=1)
    return tensors


def fold_network(net: Dualstep) -> dict[str, Tensor]:
    """All tensors of a weights file."""
    with torch.no_grad():
        parts = {name: fold_stage(getattr(net, name)) for name in net.spec.unets} | {"balance": net.balance.state_dict()}
        return {f"{name}.{key}": value.detach().float().contiguous().clone() for name, part in parts.items() for key, value in part.items()}


def folded_network(spec: Spec, tensors: dict[str, Tensor]) -> Dualstep:
    """A network that runs a weights file's tensors.

    Raises `ExportError` naming the first tensor that is missing, unknown, of another shape or not finite.
    """
    net = Dualstep(spec, folded=True)
    expected = {k: tuple(v.shape) for k, v in net.state_dict().items()}
    for name in sorted(set(expected) | set(tensors)):
        if name not in tensors:
            raise ExportError(f"tensor {name} is missing")
        if name not in expected:
            raise ExportError(f"tensor {name} is not one of this network")
        if tuple(tensors[name].shape) != expected[name]:
            raise ExportError(f"tensor {name}: the spec asks for {expected[name]}, it is {tuple(tensors[name].shape)}")
        if not torch.isfinite(tensors[name]).all():
            raise ExportError(f"tensor {name} holds values that are not finite")
    net.load_state_dict(tensors)
    return net.eval()


def golden_clip(spec: Spec, sample_rate: int = GOLDEN_RATE_HZ) -> np.ndarray:
    """A short clip that visits what parity must hold for: silence, an attack, a fade, noise and one click."""
    hop = spec.hop(sample_rate)
    rng = np.random.default_rng(20)
    t = np.arange(GOLDEN_FRAMES * hop) / sample_rate
    tone = sum(np.sin(2 * np.pi * 220 * h * t + h) / h for h in range(1, 12))
    sweep = np.sin(2 * np.pi * (900 + 9000 * t) * t)
    clip = 0.2 * tone * np.linspace(1, 0.02, t.size) + 0.05 * sweep + 0.01 * rng.standard_normal(t.size)
    clip[: 3 * hop] = 0
    clip[18 * hop : 20 * hop] *= 1e-3
    clip[11 * hop + hop // 3] += 0.9
    return clip.astype(np.float32)


def golden_spectrum(spec: Spec) -> Tensor:
    """The golden clip as the network sees it, `[1, frame, bins, 2]`."""
    stft = Stft(spec, GOLDEN_RATE_HZ)
    return stft.network(stft.forward(torch.from_numpy(golden_clip(spec))[None]))


def golden(net: Dualstep) -> dict[str, np.ndarray]:
    """Golden vectors of a network in evaluation mode, computed in double precision."""
    spectrum = golden_spectrum(net.spec)
    with torch.no_grad():
        exact = Dualstep(net.spec, folded=not isinstance(net.stage1.stem_norm, nn.BatchNorm2d)).double().eval()
        exact.load_state_dict(net.state_dict())
        out = exact(spectrum.double())
        found = {"level": running_level(spectrum.double(), net.spec), "gain": out.gain, "stage2": out.stage2}
        if net.spec.speech:
            found["speech_gain"] = exact(spectrum.double(), stages=1, speech=True).gain
    return {"spectrum": spectrum[0].numpy(), **{name: value[0].float().numpy() for name, value in found.items()}}


def write(path: Path, tensors: dict[str, np.ndarray], metadata: dict[str, str]) -> None:
    """Writes a safetensors file so that a reader sees the old one or the new one, never a part."""
    from safetensors.numpy import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    save_file({k: np.ascontiguousarray(v) for k, v in tensors.items()}, part, metadata)
    part.chmod(0o644)
    os.replace(part, path)


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, object]]:
    """Tensors and `spec` metadata of a weights file."""
    from safetensors import safe_open

    with safe_open(path, framework="np") as file:
        metadata = file.metadata() or {}
        tensors = {name: torch.from_numpy(file.get_tensor(name).copy()) for name in file.keys()}
    if "spec" not in metadata:
        raise ExportError(f"{path} has no spec: it is not a weights file of this project")
    return tensors, json.loads(metadata["spec"])


def export(net: Dualstep, out: Path, golden_out: Path | None, origin: dict[str, object]) -> None:
    """Folds, checks and writes a network in evaluation mode; `origin` holds `commit`, `data` and `hours`.

    The golden vectors are the folded network's, and must agree with the trained one's.
    """
    tensors = fold_network(net)
    folded = folded_network(net.spec, tensors)
    trained, vectors = golden(net.eval()), golden(folded)
    for name, value in vectors.items():
        error = float(np.abs(trained[name] - value).max())
        if not error <= FOLD_TOLERANCE:
            raise ExportError(f"folding the batch norms changes {name} by {error:.2g}")
    spec = {**net.spec.metadata(), "version": __version__, **origin}
    Spec.from_metadata(spec)
    write(out, {k: v.numpy() for k, v in tensors.items()}, {"spec": json.dumps(spec)})
    again, fields = read(out)
    folded_network(Spec.from_metadata(fields), again)
    if golden_out is not None:
        write(golden_out, vectors, {"weights": out.name, "spec": json.dumps(spec)})


def randomise(net: Dualstep, seed: int = 0) -> Dualstep:
    """Makes an untrained network non-trivial in every tensor: for parity tests without trained weights."""
    generator = torch.Generator().manual_seed(seed)

    def noise(like: Tensor) -> Tensor:
        return torch.randn(like.shape, generator=generator)

    spectrum = golden_spectrum(net.spec)
    norms = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    with torch.no_grad():
        for name in net.spec.unets:
            stage, size = getattr(net, name), 0.05 if name == "stage2" else 0.3
            stage.position.copy_(0.1 * noise(stage.position))
            for head in stage.head:
                head.weight.copy_(size * noise(head.weight))
                head.bias.add_(0.1 * noise(head.bias))
        for layer in net.balance:
            layer.weight.copy_(noise(layer.weight) / layer.in_features**0.5)
            layer.bias.copy_(0.1 * noise(layer.bias))
        # Statistics near the real ones, or the signal would die away over so many layers.
        for norm in norms:
            norm.momentum = 1.0
        net.train().run_each(spectrum)
        for norm in norms:
            norm.running_mean.add_(0.2 * norm.running_var.sqrt() * noise(norm.running_mean))
            norm.running_var.mul_(torch.exp(0.3 * noise(norm.running_var)))
            norm.weight.copy_(torch.exp(0.2 * noise(norm.weight)))
            norm.bias.copy_(0.2 * noise(norm.bias))
    return net.eval()


def commit() -> str:
    """The commit that this code is at, or "unknown" outside a repository."""
    here = Path(__file__).resolve().parent
    found = subprocess.run(["git", "rev-parse", "--short=12", "HEAD"], cwd=here, capture_output=True, text=True)
    return found.stdout.strip() or "unknown"


def main(argv: list[str] | None = None) -> int:
    """Command line; see `--help`."""
    parser = argparse.ArgumentParser(description="Writes a weights file (and golden vectors) from a training run.")
    parser.add_argument("--run", type=Path, help="folder of a training run")
    parser.add_argument("--random", metavar="CONFIG", help="random weights of this config instead: for parity tests")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--golden", type=Path)
    args = parser.parse_args(argv)
    if (args.run is None) == (args.random is None):
        parser.error("give one of --run and --random")
    try:
        if args.random:
            torch.manual_seed(0)
            net = randomise(Dualstep(Config.load(args.random).spec))
            origin = {"commit": commit(), "data": "none", "hours": 0.0}
        else:
            from .checkpoint import Checkpoint

            saved = Checkpoint.load(args.run)
            net = saved.network()
            origin = {"commit": commit(), "data": saved.data, "hours": round(saved.hours, 3)}
        export(net, args.out, args.golden, origin)
    except (ExportError, ConfigError, FileNotFoundError) as error:
        print(f"export: {error}", file=sys.stderr)
        return 1
    print(f"{args.out}: {args.out.stat().st_size:,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
