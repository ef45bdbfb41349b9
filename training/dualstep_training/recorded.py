"""A training step on a GPU as one launch: CUDA graphs."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

WARM_UP = 3
"""Runs before the recording, in which libraries choose their kernels and memory is laid out."""


class Recorded:
    """`function` of tensors, recorded once and replayed: a step is about two thousand small kernels, and launching each took longer than running it.

    What the function does in Python happens at the recording alone, and its results lie in the same memory each time. Gradients that
    it leaves in weights are overwritten, not added to.
    """

    def __init__(self, function: Callable[..., dict[str, Tensor]], inputs: tuple[Tensor, ...]) -> None:
        self._inputs = tuple(each.clone() for each in inputs)
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(WARM_UP):
                function(*self._inputs)
        torch.cuda.current_stream().wait_stream(aside)
        self._graph = torch.cuda.CUDAGraph()
        # Other threads bring new clips to the device meanwhile.
        with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
            outputs = function(*self._inputs)
        self._outputs = {name: value.detach() for name, value in outputs.items()}

    def __call__(self, *inputs: Tensor) -> dict[str, Tensor]:
        for own, new in zip(self._inputs, inputs):
            own.copy_(new, non_blocking=True)
        self._graph.replay()
        return dict(self._outputs)
