"""Layers that everything is built from: linear layers, norms and MLPs, alone and as *stacks*.

A stack holds M networks of one shape as one tensor per layer, (M, in, out), and runs them in one batched matmul:
the K task policies and the explorer, the K reward heads, the E members of the ensemble. The number of dispatched
operations does not depend on M (but on a CPU that multiplies by oneDNN, which has no batched product: large stacks then
run member by member).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from waker.machine import kernels, products
from waker.machine.precision import float32
from waker.model.distributions import paired

Activation = Callable[[Tensor], Tensor]

ACTIVATIONS: dict[str, Activation] = {"elu": kernels.elu_, "silu": F.silu}
"""Activations by name; they may overwrite their argument, which must be a layer's fresh output."""

_NORM_EPS = {"rms": 1e-4, "layer": 1e-3}


def glorot_(weight: Tensor, fan_in: int, fan_out: int) -> None:
    """Glorot-uniform initialisation in place."""
    limit = math.sqrt(6.0 / (fan_in + fan_out))
    with torch.no_grad():
        weight.uniform_(-limit, limit)


def glorot_convolution_(conv: nn.Conv2d | nn.ConvTranspose2d) -> None:
    """Glorot-uniform kernel and zero bias of a convolution, in place."""
    area = math.prod(conv.kernel_size)
    glorot_(conv.weight, area * conv.in_channels, area * conv.out_channels)
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)


class Linear(nn.Linear):
    """A linear layer with Glorot-uniform weights and zero bias (the initialisation of both presets)."""

    def reset_parameters(self) -> None:
        glorot_(self.weight, self.in_features, self.out_features)
        nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) → (..., out)."""
        return products.linear(x, self.weight, self.bias)


class Norm(nn.Module):
    """RMS or layer normalisation over the last axis with a scale (and offset) per member of a stack, or none.

    Args:
        shape: the scale's shape: (units,) or (M, 1, units).
    """

    def __init__(self, kind: str, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.kind = kind
        if kind != "none":
            self.scale = nn.Parameter(torch.ones(shape))
        if kind == "layer":
            self.offset = nn.Parameter(torch.zeros(shape))

    def forward(self, x: Tensor) -> Tensor:
        if self.kind == "none":
            return x
        # In float32 under autocast too: the sums over many units need its digits.
        return self._normalised(float32(x)).type_as(x)

    def members(self) -> Callable[[Tensor, int], Tensor]:
        """The norm of one member of a stack: a function of its activations, (n, units), and its index."""
        if self.kind == "none":
            return lambda x, m: x
        scales = self.scale.flatten(1).unbind()
        if self.kind == "rms":
            return lambda x, m: F.rms_norm(x, x.shape[-1:], scales[m], _NORM_EPS["rms"])
        offsets = self.offset.flatten(1).unbind()
        return lambda x, m: F.layer_norm(x, x.shape[-1:], scales[m], offsets[m], _NORM_EPS["layer"])

    def _normalised(self, x: Tensor) -> Tensor:
        shape = x.shape[-1:]
        if self.scale.dim() == 1:  # one kernel for a single network
            if self.kind == "rms":
                return F.rms_norm(x, shape, self.scale, _NORM_EPS["rms"])
            return F.layer_norm(x, shape, self.scale, self.offset, _NORM_EPS["layer"])
        if self.kind == "rms":
            return F.rms_norm(x, shape, eps=_NORM_EPS["rms"]) * self.scale
        return torch.addcmul(self.offset, F.layer_norm(x, shape, eps=_NORM_EPS["layer"]), self.scale)


class MLP(nn.Module):
    """Hidden layers (linear, norm, activation) and, where ``out`` is given, a last linear layer."""

    def __init__(self, inputs: int, units: Sequence[int], out: int | None, act: str, norm: str) -> None:
        super().__init__()
        sizes = [inputs, *units]
        self.hidden = nn.ModuleList(Linear(i, o) for i, o in zip(sizes, sizes[1:], strict=False))
        self.norms = nn.ModuleList(Norm(norm, (o,)) for o in units)
        self.out = None if out is None else Linear(sizes[-1], out)
        self.act = ACTIVATIONS[act]
        self.out_features = sizes[-1] if out is None else out

    def forward(self, x: Tensor) -> Tensor:
        for linear, norm in zip(self.hidden, self.norms, strict=True):
            x = self.act(norm(linear(x)))
        return x if self.out is None else float32(self.out(x))


class StackedLinear(nn.Module):
    """M linear layers as one: weight (M, in, out), bias (M, 1, out)."""

    def __init__(self, members: int, inputs: int, out: int, zero: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(members, inputs, out))
        self.bias = nn.Parameter(torch.zeros(members, 1, out))
        if not zero:
            glorot_(self.weight, inputs, out)

    def forward(self, x: Tensor) -> Tensor:
        """(M, n, in) → (M, n, out); a shared input (1, n, in) is seen by every member."""
        weight, bias = self.matrices()
        members = len(weight)
        if x.shape[0] == 1 and members > 1:
            # One wide layer: its input gradient is one matmul, not M of them and a sum.
            wide = rearrange(weight, "m i o -> i (m o)")
            return rearrange(products.affine(x[0], wide, bias.flatten()), "n (m o) -> m n o", m=members)
        return torch.baddbmm(bias, x, weight)

    def matrices(self) -> tuple[Tensor, Tensor]:
        """Weight and bias to multiply by."""
        return self.weight, self.bias


class PairedLinear(StackedLinear):
    """Logits of mirrored bins, put out as :func:`~waker.model.distributions.paired` has them.

    The weights stay those of single bins. They are paired before the product: where two bins have the same weights, as
    outer bins have until a target comes near, their logits differ by exactly 0, and not by the product's rounding.
    """

    def matrices(self) -> tuple[Tensor, Tensor]:
        """Weight and bias of means and half differences."""
        return paired(self.weight), paired(self.bias)


class StackedMLP(nn.Module):
    """M MLPs of one shape, run together.

    Args:
        zero: start the last layer at zero.
        last: class of the last layer.
    """

    def __init__(
        self,
        members: int,
        inputs: int,
        units: Sequence[int],
        out: int,
        act: str,
        norm: str,
        zero: bool = False,
        last: type[StackedLinear] = StackedLinear,
    ) -> None:
        super().__init__()
        sizes = [inputs, *units]
        self.hidden = nn.ModuleList(StackedLinear(members, i, o) for i, o in zip(sizes, sizes[1:], strict=False))
        self.norms = nn.ModuleList(Norm(norm, (members, 1, o)) for o in units)
        self.out = last(members, sizes[-1], out, zero)
        self.act = ACTIVATIONS[act]

    def forward(self, x: Tensor) -> Tensor:
        """(M, n, in) or shared (1, n, in) → (M, n, out)."""
        if products.pays(x, x.shape[1], x.shape[2], self.out.weight.shape[1]):
            return self._by_member(x)
        for linear, norm in zip(self.hidden, self.norms, strict=True):
            x = self.act(norm(linear(x)))
        return float32(self.out(x))

    def _by_member(self, x: Tensor) -> Tensor:
        """The same, one network after another: no batched product is as fast as those of single networks."""
        stacks = (cast(StackedLinear, layer).matrices() for layer in [*self.hidden, self.out])
        layers = [(weight.unbind(), bias.flatten(1).unbind()) for weight, bias in stacks]
        norms = [cast(Norm, norm).members() for norm in self.norms]
        inputs, members, results = x.unbind(), len(layers[0][0]), []
        for m in range(members):
            y = inputs[m % len(inputs)]  # the only one where it is shared
            for i, (weights, biases) in enumerate(layers):
                y = products.affine(y, weights[m], biases[m])
                if i < len(norms):
                    y = self.act(norms[i](y, m))
            results.append(y)
        return float32(torch.stack(results))


class StackShape(NamedTuple):
    """M networks of one shape, whatever they look at; see :class:`StackedMLP`."""

    members: int
    units: Sequence[int]
    out: int
    act: str
    norm: str
    zero: bool = False
    last: type[StackedLinear] = StackedLinear

    def mlp(self, inputs: int) -> StackedMLP:
        """As MLPs on so many inputs."""
        return StackedMLP(self.members, inputs, *self[1:])


Network = Callable[[StackShape], nn.Module]
"""Makes M networks of a shape, (M, n, inputs) or shared (1, n, inputs) → (M, n, out); what they see is settled."""
