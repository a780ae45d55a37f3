"""What the CPU computes faster in another way: each function beside the plain torch that it equals, ``plain_…``.

Called by :mod:`waker.model` and :mod:`waker.exploration` under the plain names. On other devices, and where
torch.compile fuses operations itself, the plain form is taken. tests/machine/test_kernels.py holds each pair together,
values and gradients.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from waker.machine import products

LEAST_DEVIATION = 1e-8
"""Below this members agree: the standard deviation has no derivative at zero."""
_BLOCK = 65_536
"""Numbers that fit the second-level cache with their intermediate results."""
_FEW_CLASSES = 16
"""Up to this number of classes, a softmax over the last axis is slower than a transposition and one over the first."""


# Activation ----------------------------------------------------------------------------------------------------------


def elu_(x: Tensor) -> Tensor:
    """ELU in place: from its own result its derivative costs no exponential."""
    if x.device.type == "cpu" and not torch.compiler.is_compiling():
        result: Tensor = _ELU.apply(x)
        return result
    return plain_elu_(x)


def plain_elu_(x: Tensor) -> Tensor:
    """See :func:`elu_`."""
    return F.elu(x, inplace=True)


class _ELU(torch.autograd.Function):
    """max(x, exp(min(x, 0)) − 1), block by block: the library's expm1 takes twice as long.

    The absolute error is that of exp, 6e-8.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.mark_dirty(x)
        # The layouts that occur: as it is, channels last, and a stack's wide first layer.
        for y in (x, x.movedim(1, -1) if x.dim() == 4 else x, x.movedim(0, 1) if x.dim() > 1 else x):
            if y.is_contiguous():
                for block in y.view(-1).split(_BLOCK):
                    torch.maximum(block, block.clamp_max(0.0).exp_().sub_(1.0), out=block)
                break
        else:
            F.elu(x, inplace=True)
        ctx.save_for_backward(x)
        return x

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (result,) = ctx.saved_tensors
        return torch.ops.aten.elu_backward(grads[0], 1.0, 1.0, 1.0, True, result)


# Categoricals --------------------------------------------------------------------------------------------------------


def log_softmax(logits: Tensor) -> Tensor:
    """Log-softmax over the last axis, (..., C).

    With few classes the library is slow along the last axis; over the first one of a transposed copy it is the same
    function.
    """
    narrow = logits.dim() > 1 and logits.shape[-1] <= _FEW_CLASSES
    if not narrow or logits.device.type == "cuda" or torch.compiler.is_compiling():
        return plain_log_softmax(logits)
    by_class = logits.flatten(0, -2).T.contiguous()  # ... c -> c (...)
    return F.log_softmax(by_class, 0).T.unflatten(0, logits.shape[:-1])


def plain_log_softmax(logits: Tensor) -> Tensor:
    """See :func:`log_softmax`."""
    return F.log_softmax(logits, -1)


def straight_through(log_probs: Tensor, draw: Callable[[Tensor], Tensor]) -> Tensor:
    """Samples with the gradient of the probabilities (Bengio et al. 2013): forward draw(p), backward p.

    Args:
        log_probs: (..., C), normalised.
        draw: one-hot samples (..., C) of probabilities.
    """
    if torch.compiler.is_compiling():  # some versions of torch lose a Function's gradient there
        return plain_straight_through(log_probs, draw)
    onehot: Tensor = _StraightThrough.apply(log_probs, draw)
    return onehot


def plain_straight_through(log_probs: Tensor, draw: Callable[[Tensor], Tensor]) -> Tensor:
    """See :func:`straight_through`."""
    probs = log_probs.exp()
    return draw(probs.detach()) + (probs - probs.detach())


class _StraightThrough(torch.autograd.Function):
    """Without the two additions, which cost as much as the sample itself."""

    @staticmethod
    def forward(ctx: Any, log_probs: Tensor, draw: Callable[[Tensor], Tensor]) -> Tensor:
        probs = log_probs.exp()
        ctx.save_for_backward(probs)
        return draw(probs)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (probs,) = ctx.saved_tensors
        return grads[0] * probs, None


# Two-hot means -------------------------------------------------------------------------------------------------------


def paired_mean(pairs: Tensor, up: Tensor) -> Tensor:
    """m = Σ s·t·b over pairs of mirrored bins with mass s, slope t = tanh(half difference) and upper bin b.

    See :func:`waker.model.distributions.paired_twohot_mean`.

    Args:
        pairs: logits (..., n): the middle bin's if n is odd, the pairs' means, half their differences.
        up: the pairs' upper bins, (n // 2,).

    Returns:
        (...).
    """
    if torch.compiler.is_compiling():
        return plain_paired_mean(pairs, up)
    mean: Tensor = _PairedMean.apply(pairs, up)
    return mean


def plain_paired_mean(pairs: Tensor, up: Tensor) -> Tensor:
    """See :func:`paired_mean`."""
    half, odd = divmod(pairs.shape[-1], 2)
    middle, centre, tilt = pairs.split([odd, half, half], -1)
    slope = torch.tanh(tilt)
    # ln(e^l_i + e^l_j) = centre + |tilt| + ln 2 − ln(1 + |slope|), here less ln 2.
    level = centre + tilt.abs() - (1.0 + slope.abs()).log()
    mass = F.softmax(torch.cat([middle - math.log(2.0), level], -1), -1)
    return (mass[..., odd:] * (slope * up)).sum(-1)


class _PairedMean(torch.autograd.Function):
    """With its derivatives s(t·b − m) and s(b − m·t) written out: in fewer passes over memory."""

    @staticmethod
    def forward(ctx: Any, pairs: Tensor, up: Tensor) -> Tensor:
        half, odd = divmod(pairs.shape[-1], 2)
        middle, centre, tilt = pairs.split([odd, half, half], -1)
        slope = torch.tanh(tilt)
        levels = pairs.new_empty(*pairs.shape[:-1], odd + half)  # as in the plain form
        first, rest = levels.split([odd, half], -1)
        torch.sub(middle, math.log(2.0), out=first)
        torch.abs(tilt, out=rest)
        rest.add_(centre).sub_(slope.abs().add_(1.0).log_())
        mass = F.softmax(levels, -1)
        mean = (slope * up).mul_(mass[..., odd:]).sum(-1)
        ctx.save_for_backward(mass, slope, up, mean)
        return mean

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        mass, slope, up, mean = ctx.saved_tensors
        mean, odd, half = mean.unsqueeze(-1), mass.shape[-1] - up.shape[0], up.shape[0]
        weight = mass * grads[0].unsqueeze(-1)
        result = mass.new_empty(*mass.shape[:-1], odd + 2 * half)
        middle, centre, tilt = result.split([odd, half, half], -1)
        torch.mul(weight[..., :odd], -mean, out=middle)
        torch.mul(slope, up, out=centre).sub_(mean).mul_(weight[..., odd:])
        torch.mul(slope, -mean, out=tilt).add_(up).mul_(weight[..., odd:])
        return result, None


# Disagreement --------------------------------------------------------------------------------------------------------


def mean_deviation(prediction: Tensor) -> Tensor:
    """Population standard deviation over E predictions, averaged over entries: (E, n, entries) → (n,)."""
    if torch.compiler.is_compiling():
        return plain_mean_deviation(prediction)
    deviation: Tensor = _Deviation.apply(prediction)
    return deviation


def plain_mean_deviation(prediction: Tensor) -> Tensor:
    """See :func:`mean_deviation`."""
    centred = prediction - prediction.mean(0, keepdim=True)
    return centred.square().mean(0).clamp_min(LEAST_DEVIATION**2).sqrt().mean(-1)


class _Deviation(torch.autograd.Function):
    """Written out, as torch.std over the leading axis costs several times the matmuls.

    The derivative is (x − mean) / (E·entries·std): one product, the mean's own part being zero. Where members agree it
    is zero.
    """

    @staticmethod
    def forward(ctx: Any, prediction: Tensor) -> Tensor:
        centred = prediction - prediction.mean(0, keepdim=True)
        deviation = centred.square().mean(0).sqrt_().clamp_min_(LEAST_DEVIATION)
        ctx.save_for_backward(centred, deviation)
        return deviation.mean(-1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        centred, deviation = ctx.saved_tensors
        share = grads[0].unsqueeze(-1) / (deviation * centred.shape[0] * centred.shape[-1])
        return centred * share.where(deviation > LEAST_DEVIATION, 0.0)


# Convolutions --------------------------------------------------------------------------------------------------------


def conv_output(size: int, kernels: tuple[int, ...]) -> int:
    """The side left of a picture of side ``size`` after unpadded stride-2 convolutions."""
    for kernel in kernels:
        size = (size - kernel) // 2 + 1
    return size


def convolved(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """An unpadded stride-2 convolution, n c h w -> n o y x.

    Where many channels go into few pixels the library takes 2.5 times as long as one matmul over copied windows.
    """
    side = conv_output(max(x.shape[-2:]), conv.kernel_size[:1])
    few = x.device.type == "cpu" and side <= 2 and conv.in_channels >= 128
    return _by_windows(conv, x) if few else plain_convolved(conv, x)


def plain_convolved(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """See :func:`convolved`."""
    y: Tensor = conv(x)
    return y


def _by_windows(conv: nn.Conv2d, x: Tensor) -> Tensor:
    assert conv.bias is not None
    (high, wide), picture = conv.kernel_size, rearrange(x, "n c h w -> n h w c")
    rows, columns = (conv_output(size, (k,)) for size, k in zip(x.shape[-2:], conv.kernel_size, strict=True))
    bands = torch.stack([picture[:, 2 * i : 2 * i + high] for i in range(rows)], 1)  # n y h w c
    windows = torch.stack([bands[:, :, :, 2 * j : 2 * j + wide] for j in range(columns)], 2)  # n y x h w c
    kernel = rearrange(conv.weight, "o c h w -> (h w c) o")
    flat = products.affine(rearrange(windows, "n y x h w c -> (n y x) (h w c)"), kernel, conv.bias)
    return rearrange(flat, "(n y x) o -> n o y x", y=rows, x=columns)


def deconvolved(conv: nn.ConvTranspose2d, x: Tensor) -> Tensor:
    """A transposed convolution of 1×1 pictures, n c -> n o k k: one matmul, many times faster on a CPU."""
    assert conv.bias is not None
    _, out, side, _ = conv.weight.shape
    # Channels last, in which the CPU's convolutions are quickest and the picture is wanted in the end.
    flat = rearrange(conv.weight, "c o y x -> c (y x o)")
    pictures = products.affine(x, flat, conv.bias.repeat(side * side))
    return rearrange(pictures, "n (y x o) -> n o y x", y=side, o=out)


def plain_deconvolved(conv: nn.ConvTranspose2d, x: Tensor) -> Tensor:
    """See :func:`deconvolved`."""
    y: Tensor = conv(x[:, :, None, None])
    return y
