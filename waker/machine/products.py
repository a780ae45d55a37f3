"""Matrix products of networks on a CPU: torch's BLAS, or oneDNN where the processor is faster by it.

torch multiplies float32 matrices with its BLAS. On x86-64 that is MKL, which keeps its AVX-512 kernels to processors of
one maker; oneDNN, a part of torch too, asks the processor itself what it can do. Every linear layer and every stack of
them (:mod:`waker.model.nets`, :mod:`waker.model.rssm`) comes through :func:`linear` and :func:`affine`, which hand
large products to oneDNN where that was chosen (:func:`use`) and leave all others to torch, as they do on a device, in
another precision, under autocast and while torch.compile traces. There is no batched form: a stack asks :func:`pays`,
and is then computed member by member.

What oneDNN computes, and by which of torch's operations:

* y = x Wᵀ + b and ∂x = g W by ``mkldnn::_linear_pointwise``, which torch.compile makes of linear layers on a CPU: it
  takes plain matrices and their transposes, so that no weight is copied (columns of one are);
* ∂W = gᵀ x by the weight gradient of a 1 × 1 convolution over a "picture" whose pixels are the rows
  (``aten::convolution_backward``): it reads both matrices as they lie in memory. As a linear layer of the transposes
  where the rows cannot be cut into a batch of pictures.

Operands must be dense: rows or columns of a wider matrix silently take a reference kernel, a thousand times slower.
"""

from __future__ import annotations

import functools
import time
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from waker.errors import UserError

Way = Literal["blas", "onednn"]
"""Who multiplies: torch's BLAS, or oneDNN wherever that pays."""

_LEAST_WORK = 16_000_000
"""Multiplications (rows × inputs × outputs). Smaller products stay with the BLAS: they take a part of a millisecond,
and oneDNN's preparation and an autograd function in Python cost 0.1 ms."""
_NARROWEST = 32
"""Inputs and outputs, at least: narrower products are bound by memory, whoever makes them."""
_PICTURE_ROWS = (32, 16)
"""Pixels of a picture, tried in turn, in the convolution that stands for a weight gradient …"""
_FEWEST_PICTURES = 16
"""… and pictures at least: with fewer torch has a slow path of its own for 1 × 1 convolutions on one thread."""
_LEAST_GAIN = 1.2
"""oneDNN is chosen where it is faster by this factor; where there is little to gain nothing changes."""

_way: Way = "blas"


def use(way: Way) -> None:
    """Multiply this way from now on, in this process (as :func:`torch.set_num_threads` counts for all of it).

    Raises:
        UserError: this torch cannot.
    """
    global _way
    if way not in get_args(Way):
        raise ValueError(f"{way!r} is none of {get_args(Way)}")
    if way == "onednn" and not has_onednn():
        raise UserError("train.products is 'onednn', but this torch was built without oneDNN; 'auto' always works")
    _way = way


def used() -> Way:
    """The way now in use."""
    return _way


@functools.cache
def has_onednn() -> bool:
    """Whether this torch has oneDNN and the operation that products need of it."""
    return torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


@functools.cache
def fastest() -> Way:
    """The faster way on this processor: a layer with its gradients timed both ways, in turn, 0.1 s in all.

    Measured once a process.
    """
    if not has_onednn():
        return "blas"
    blas, onednn = layer_seconds()
    return "onednn" if blas > _LEAST_GAIN * onednn else "blas"


def layer_seconds(rows: int = 1024, units: int = 256, rounds: int = 10) -> tuple[float, float]:
    """Seconds of a layer with both gradients by the BLAS and by oneDNN: the best of ``rounds``, taken in turn."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        x, g, w = (torch.randn(shape) for shape in ((rows, units), (rows, units), (units, units)))

        def blas() -> None:
            torch.mm(x, w.t()), torch.mm(g, w), torch.mm(g.t(), x)

        def onednn() -> None:
            times(x, w.t()), times(g, w), _weight_gradient(g, x)

        best = {blas: float("inf"), onednn: float("inf")}
        for _ in range(rounds):
            for way in best:
                start = time.thread_time() if torch.get_num_threads() == 1 else time.perf_counter()
                way()
                end = time.thread_time() if torch.get_num_threads() == 1 else time.perf_counter()
                best[way] = min(best[way], end - start)
    return best[blas], best[onednn]


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x Wᵀ + b: (..., in), (out, in), (out,) → (..., out)."""
    # is_compiling first: then a graph is not guarded by the way. No look at shapes: small updates have small layers.
    if torch.compiler.is_compiling() or _way == "blas":
        return F.linear(x, weight, bias)
    out, inputs = weight.shape
    if pays(x, x.numel() // max(inputs, 1), inputs, out):
        return _product(x, weight, bias, transposed=False)
    return F.linear(x, weight, bias)


def affine(x: Tensor, matrix: Tensor, bias: Tensor) -> Tensor:
    """x A + b: (n, in), (in, out), (out,) → (n, out)."""
    if not torch.compiler.is_compiling() and _way != "blas" and pays(x, x.shape[0], *matrix.shape):
        return _product(x, matrix, bias, transposed=True)
    return torch.addmm(bias, x, matrix)


def pays(x: Tensor, rows: int, inputs: int, out: int) -> bool:
    """Whether oneDNN multiplies so many rows of ``x``."""
    return (
        not torch.compiler.is_compiling()  # first, as in its callers: then nothing else is compiled, or guarded
        and _way == "onednn"
        and rows * inputs * out >= _LEAST_WORK
        and min(inputs, out) >= _NARROWEST
        and x.device.type == "cpu"
        and x.dtype == torch.float32
        and not torch.is_autocast_enabled("cpu")
    )


def _product(x: Tensor, weight: Tensor, bias: Tensor | None, transposed: bool) -> Tensor:
    """By oneDNN; a weight (in, out) is ``transposed``."""
    matrix = weight if transposed else weight.t()
    learns = weight.requires_grad or (bias is not None and bias.requires_grad)
    if not torch.is_grad_enabled() or not (learns or x.requires_grad):
        return times(x, matrix, bias)
    tokens = _Later.apply(x.detach(), weight, bias, transposed) if learns else (None, None)
    constant = None if bias is None else bias.detach()
    result: Tensor = _Product.apply(x, matrix.detach(), constant, *tokens)
    return result


# oneDNN's operations -------------------------------------------------------------------------------------------------


def times(x: Tensor, matrix: Tensor, bias: Tensor | None = None) -> Tensor:
    """x A + b: (..., in), (in, out), (out,) → (..., out)."""
    rows = x.contiguous().view(-1, x.shape[-1])
    result: Tensor = torch.ops.mkldnn._linear_pointwise(rows, _dense(matrix).t(), bias, "none", [], "")
    # Not as a view: activations overwrite it, which autograd forbids for a view made in a Function.
    return torch.ops.aten._unsafe_view(result, [*x.shape[:-1], matrix.shape[1]]) if x.dim() > 2 else result


def _dense(matrix: Tensor) -> Tensor:
    """The matrix, copied unless it or its transpose is contiguous."""
    return matrix if matrix.is_contiguous() or matrix.t().is_contiguous() else matrix.contiguous()


def _weight_gradient(left: Tensor, right: Tensor) -> Tensor:
    """leftᵀ right: (n, a), (n, b) → (a, b), a sum over many rows."""
    n = len(left)
    left, right = left.contiguous(), right.contiguous()
    pixels = next((k for k in _PICTURE_ROWS if n % k == 0 and n // k >= _FEWEST_PICTURES), None)
    if pixels is None:
        return times(left.t().contiguous(), right)
    kernel = left.new_empty(left.shape[1], right.shape[1], 1, 1)
    of = _pictures(left, pixels), _pictures(right, pixels), kernel, None
    once, none = [1, 1], [0, 0]
    only_weight = [False, True, False]
    _, gradient, _ = torch.ops.aten.convolution_backward(*of, once, none, once, False, none, 1, only_weight)
    return gradient.view(left.shape[1], right.shape[1])


def _pictures(rows: Tensor, pixels: int) -> Tensor:
    """Rows as pixels of pictures whose channels come last in memory: (n p) c -> n c p 1, no copy."""
    return rows.view(-1, pixels, 1, rows.shape[1]).permute(0, 3, 1, 2)


# Derivatives ---------------------------------------------------------------------------------------------------------
#
# A layer's own gradients have a node of their own: y depends on W and b through two tokens that hold no numbers; the
# "gradient" of one is y's, of the other the rows x. So autograd computes ∂W and ∂b only where somebody asks for them,
# and lets go of x as soon as the product has been differentiated. Imagination is differentiated by the policies'
# weights through the model's, whose gradients nobody asks for, and a Function that made all could not know.


class _Product(torch.autograd.Function):
    """Rows (..., in), matrix (in, out), bias, tokens → their product."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, matrix: Tensor, bias: Tensor | None, result: Tensor | None, rows: Tensor | None
    ) -> Tensor:
        ctx.save_for_backward(matrix, None if rows is None else x)
        return times(x, matrix, bias)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (matrix, x), g = ctx.saved_tensors, grads[0].contiguous()
        of_x = times(g, matrix.t()) if ctx.needs_input_grad[0] else None
        return of_x, None, None, None if x is None else g, x


class _Later(torch.autograd.Function):
    """The tokens, in the shapes of product and rows without their numbers; ∂W = gᵀ x and ∂b = Σ g over all rows."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, transposed: bool) -> tuple[Tensor, Tensor]:
        ctx.transposed = transposed
        out = weight.shape[1 if transposed else 0]
        return x.new_empty(1).expand(*x.shape[:-1], out), x.new_empty(1).expand(x.shape)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        _, needs_weight, needs_bias, _ = ctx.needs_input_grad
        (g, x), weight = (grad.flatten(0, -2) for grad in grads), None
        if needs_weight:
            weight = _weight_gradient(x, g) if ctx.transposed else _weight_gradient(g, x)
        return None, weight, g.sum(0) if needs_bias else None, None
