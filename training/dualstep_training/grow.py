"""Wider networks that begin as a narrower one: more channels, the same function ("Net2Net", Chen et al. 2016, with new channels in place of copied ones).

New channels are drawn as in a fresh network and see everything, but what was there before doesn't hear them yet: their weights into old channels are
zero, and training opens them.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from .config import StageSpec
from .model import Dualstep, Stage


def grow(narrow: Dualstep, wide: Dualstep, spectrum: Tensor) -> None:
    """Makes `wide` do what `narrow` does, both with batch norms; the new channels' statistics are measured on `spectrum [batch, frame, bins, 2]`."""
    with torch.no_grad():
        for name, large in wide.spec.unets.items():
            _place(getattr(narrow, name), getattr(wide, name), narrow.spec.unets[name], large)
        wide.balance.load_state_dict(narrow.balance.state_dict())
        _calibrate(narrow, wide, spectrum)


def _place(narrow: Stage, wide: Stage, small: StageSpec, large: StageSpec) -> None:
    """Puts each tensor of `narrow` where its channels are in `wide`, and zeros where new channels lead into old ones."""
    bands = narrow.spec.bands >> (len(small.widths) - 1)
    own = wide.state_dict()
    for name, value in narrow.state_dict().items():
        target = own[name]
        if value.dim() == 0:
            continue  # a batch norm's counter
        outs, ins = _axes(name)
        at = [torch.arange(size) for size in value.shape]
        if name.startswith("gru."):
            at[0] = _recurrent(small, large, bands, gates=3)
            if value.dim() == 2:
                at[1] = _recurrent(small, large, bands, gates=1)
        elif name.startswith("decoder") and name.endswith(".0.weight") and "norm" not in name:
            # What came up lies before the skip, each at its own width.
            half = value.shape[1] // 2
            at[1] = torch.cat((torch.arange(half), target.shape[1] // 2 + torch.arange(half)))
        if ins is not None:
            # Old channels, all inputs: nothing yet.
            target.index_fill_(outs, at[outs].to(target.device), 0.0)
        target[torch.meshgrid(*at, indexing="ij")] = value


def _axes(name: str) -> tuple[int, int | None]:
    """The axes of a parameter's outputs and of its inputs; None where it has no inputs that grow."""
    if name == "position" or not name.endswith(("weight", "weight_ih_l0", "weight_hh_l0")) or "norm" in name:
        return 0, None
    return (1, 0) if name.startswith(("up.", "head.")) else (0, 1)


def _recurrent(small: StageSpec, large: StageSpec, bands: int, gates: int) -> Tensor:
    """Where the recurrent layer's old units are among the new ones: they lie band by band, gate by gate."""
    unit = torch.arange(bands)[:, None] * large.squeeze + torch.arange(small.squeeze)
    return (torch.arange(gates)[:, None] * bands * large.squeeze + unit.flatten()).flatten()


def _calibrate(narrow: Dualstep, wide: Dualstep, spectrum: Tensor) -> None:
    """Gives the new channels of each batch norm the statistics of what they see."""
    old = dict(narrow.named_modules())

    def measure(first: int, norm: nn.BatchNorm2d, inputs: tuple[Tensor]) -> None:
        (x,) = inputs
        new = slice(first, None)
        norm.running_mean[new] = x.mean((0, 2, 3))[new]
        norm.running_var[new] = x.var((0, 2, 3), unbiased=False)[new]

    hooks = []
    for name, norm in wide.named_modules():
        if isinstance(norm, nn.BatchNorm2d):
            hooks.append(norm.register_forward_pre_hook(partial(measure, old[name].num_features)))
    wide.eval().run_each(spectrum)
    for hook in hooks:
        hook.remove()
