"""The recurrent layer with a backward pass that suits a CPU.

Autograd of `nn.GRU` on a CPU adds up one weight gradient per frame; here they are one matrix product at the end.
The arithmetic is PyTorch's: gates in the order r, z, n.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class _Recurrence(torch.autograd.Function):
    """`inputs [frame, batch, 3 hidden]` (input part of the gates, bias included) -> states `[frame, batch, hidden]`."""

    @staticmethod
    def forward(ctx, inputs: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        frames, batch, gates = inputs.shape
        hidden = gates // 3
        states = inputs.new_zeros(frames + 1, batch, hidden)
        resets, updates, news, pasts = (inputs.new_empty(frames, batch, hidden) for _ in range(4))
        transposed = weight.t()
        for k in range(frames):
            from_state = torch.addmm(bias, states[k], transposed)
            both = torch.sigmoid(inputs[k, :, : 2 * hidden] + from_state[:, : 2 * hidden])
            resets[k], updates[k], pasts[k] = both[:, :hidden], both[:, hidden:], from_state[:, 2 * hidden :]
            new = torch.tanh(torch.addcmul(inputs[k, :, 2 * hidden :], resets[k], pasts[k]))
            news[k] = new
            torch.lerp(new, states[k], updates[k], out=states[k + 1])
        ctx.save_for_backward(weight, states, resets, updates, news, pasts)
        return states[1:].clone()

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        weight, states, resets, updates, news, pasts = ctx.saved_tensors
        frames, batch, hidden = grad.shape
        # Everything that doesn't depend on the recursion is one operation over all frames.
        to_update = (states[:-1] - news) * updates * (1 - updates)
        to_new = (1 - updates) * (1 - news.square())
        to_reset = pasts * resets * (1 - resets)
        from_inputs = grad.new_empty(frames, batch, 3 * hidden)
        from_states = grad.new_empty(frames, batch, 3 * hidden)
        carried = grad.new_zeros(batch, hidden)
        for k in range(frames - 1, -1, -1):
            state = grad[k] + carried
            new = state * to_new[k]
            gates = from_states[k]
            torch.mul(new, to_reset[k], out=gates[:, :hidden])
            torch.mul(state, to_update[k], out=gates[:, hidden : 2 * hidden])
            torch.mul(new, resets[k], out=gates[:, 2 * hidden :])
            from_inputs[k, :, 2 * hidden :] = new
            carried = torch.addmm(state * updates[k], gates, weight)
        from_inputs[..., : 2 * hidden] = from_states[..., : 2 * hidden]
        flat = from_states.reshape(-1, 3 * hidden)
        return from_inputs, flat.t() @ states[:-1].reshape(-1, hidden), flat.sum(0)


def gru(layer: nn.GRU, x: Tensor) -> Tensor:
    """What `layer(x)[0]` gives for a one-layer, batch-first GRU: `[batch, frame, hidden]`."""
    # In float32 whatever is around: cuDNN knows no bfloat16 here, and errors add up over frames.
    with torch.autocast(x.device.type, enabled=False):
        x = x if x.dtype == torch.float64 else x.float()
        if x.is_cuda:
            return layer(x)[0]
        inputs = functional.linear(x.transpose(0, 1), layer.weight_ih_l0, layer.bias_ih_l0)
        return _Recurrence.apply(inputs, layer.weight_hh_l0, layer.bias_hh_l0).transpose(0, 1)
