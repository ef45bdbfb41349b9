"""Multiply-adds of any network, counted while it runs: the ablation's variants have no closed formula each."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from .config import Spec


class Macs(TorchFunctionMode):
    """Counts what matrix products, convolutions and recurrent layers cost; element-wise work isn't counted."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_function__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        if function in (functional.linear, torch.addmm):
            self.total += out.numel() * args[-2 if function is torch.addmm else 0].shape[-1]
        elif function is functional.conv2d or function is torch.conv2d:
            self.total += out.numel() * args[1][0].numel()
        return out


def macs_per_frame(net: nn.Module, spec: Spec, frames: int = 128) -> float:
    """Multiply-adds per frame of both stages, over a clip of so many frames. On the CPU."""
    counter = Macs()
    with torch.no_grad(), counter:
        net(torch.randn(1, frames, spec.bins, 2))
    return counter.total / frames
