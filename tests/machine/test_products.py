"""Products by oneDNN are the same products: values, gradients, and where they are left to the BLAS."""

from __future__ import annotations

import os
import subprocess
import sys
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from waker.errors import UserError
from waker.machine import products
from waker.model.nets import StackedMLP

ROUNDING = 2e-6
"""Of sums of a hundred float32 products, relative to the largest."""


@pytest.fixture
def onednn(monkeypatch: pytest.MonkeyPatch) -> None:
    """oneDNN's way, for products of any size."""
    monkeypatch.setattr(products, "_LEAST_WORK", 0)
    monkeypatch.setattr(products, "_NARROWEST", 1)
    products.use("onednn")


def assert_equal(ours: Tensor, exact: Tensor) -> None:
    exact = exact.detach()
    assert ours.shape == exact.shape
    assert ours.dtype == torch.float32
    ours = ours.detach()
    assert float((ours.double() - exact).abs().max()) <= ROUNDING * float(exact.abs().max())


def exactly(*tensors: Tensor) -> list[Tensor]:
    return [t.detach().double().requires_grad_() for t in tensors]


ROWS = {"pictures of 32": (512,), "pictures of 16": (25, 16), "no pictures": (403,), "few": (3,), "one": (1,)}


@pytest.mark.usefixtures("onednn")
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("rows", ROWS.values(), ids=ROWS)
def test_a_layer_and_its_gradients(rows: tuple[int, ...], transposed: bool) -> None:
    torch.manual_seed(0)
    x, w, b = torch.randn(*rows, 40), torch.randn(24, 40), torch.randn(24)
    w = (w.T.contiguous() if transposed else w).requires_grad_()
    x, b, g = x.requires_grad_(), b.requires_grad_(), torch.randn(*rows, 24)

    def product(bias: Tensor | None) -> Tensor:
        if not transposed:
            return products.linear(x, w, bias)
        flat = products.affine(x.flatten(0, -2), w, torch.zeros(24) if bias is None else bias)
        return flat.unflatten(0, rows)

    y = product(b)
    x64, w64, b64 = exactly(x, w, b)
    y64 = x64 @ (w64 if transposed else w64.T) + b64
    assert_equal(y, y64)
    for ours, exact in zip(
        torch.autograd.grad(y, [x, w, b], g), torch.autograd.grad(y64, [x64, w64, b64], g.double()), strict=True
    ):
        assert_equal(ours, exact)
    with torch.no_grad():
        assert_equal(product(b), y64)
        assert_equal(product(None), y64 - b64)


def columns(t: Tensor) -> Tensor:
    """The same numbers as columns of a wider matrix."""
    return torch.cat([t, t], -1)[..., : t.shape[-1]]


def turned(t: Tensor) -> Tensor:
    """The same numbers, column by column in memory."""
    return t.transpose(-1, -2).contiguous().transpose(-1, -2)


LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {"columns of a wider matrix": columns, "transposed": turned}


@pytest.mark.usefixtures("onednn")
@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_operands_may_lie_anyhow_in_memory(layout: Callable[[Tensor], Tensor]) -> None:
    torch.manual_seed(0)
    x, w, g = torch.randn(512, 40), torch.randn(24, 40), torch.randn(512, 24)
    x, w = layout(x).requires_grad_(), layout(w).requires_grad_()
    y = products.linear(x, w)
    assert_equal(y, x.double() @ w.double().T)
    grad_x, grad_w = torch.autograd.grad(y, [x, w], layout(g))
    assert_equal(grad_x, g.double() @ w.double())
    assert_equal(grad_w, g.double().T @ x.double())


REFERENCE_KERNELS = """
import torch
from waker.machine import products
products._LEAST_WORK = 0
products.use("onednn")
both = torch.randn(512, 80)
w = torch.randn(48, 80, requires_grad=True)
for rows in (512, 500):
    x = both[:rows, :40].detach().requires_grad_()
    y = products.linear(x, w.split(40, 1)[1])
    y.backward(torch.ones(rows, 1).expand(rows, 48))
"""


def test_no_operand_falls_into_a_reference_kernel() -> None:
    """Operands with gaps, and gradients that are expanded, are what oneDNN is a thousand times slower with."""
    environment = {**os.environ, "ONEDNN_VERBOSE": "1"}
    done = subprocess.run([sys.executable, "-c", REFERENCE_KERNELS], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    executed = [line.split(",") for line in done.stdout.splitlines() if ",exec,cpu," in line]
    implementations = [(fields[5], fields[6]) for fields in executed]
    assert sum(kind == "inner_product" for kind, _ in implementations) >= 4
    assert not [found for found in implementations if "ref" in found[1]], implementations


@pytest.mark.usefixtures("onednn")
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("norm", ["none", "rms", "layer"])
@pytest.mark.parametrize("act", ["elu", "silu"])
def test_a_stack_and_its_gradients(act: str, norm: str, shared: bool) -> None:
    """Member by member against the batched form in float64."""
    torch.manual_seed(0)
    stack = StackedMLP(3, 40, (24, 24), 8, act, norm)
    with torch.no_grad():
        for p in stack.parameters():
            p.add_(0.3 * torch.randn_like(p))
    exact = StackedMLP(3, 40, (24, 24), 8, act, norm).double()
    exact.load_state_dict(stack.state_dict())
    x = torch.randn(1 if shared else 3, 128, 40, requires_grad=True)
    (x64,), g = exactly(x), torch.randn(3, 128, 8)
    ours = torch.autograd.grad(stack(x), [x, *stack.parameters()], g)
    products.use("blas")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("waker.model.nets.float32", lambda output: output)
        patch.setattr("waker.model.nets.Norm.forward", _norm_in_double)
        theirs = torch.autograd.grad(exact(x64), [x64, *exact.parameters()], g.double())
    for one, other in zip(ours, theirs, strict=True):
        assert float((one.double() - other).abs().max()) <= 1e-5 * float(other.abs().max())


def _norm_in_double(norm: nn.Module, x: Tensor) -> Tensor:
    return x if norm.kind == "none" else norm._normalised(x)  # type: ignore[operator,return-value]


@pytest.mark.usefixtures("onednn")
def test_a_layers_own_gradients_are_computed_only_where_they_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    real = products._Later.backward
    monkeypatch.setattr(products._Later, "backward", lambda ctx, *g: asked.append(1) or real(ctx, *g))
    x, w, b = (torch.randn(size, requires_grad=True) for size in ((64, 8), (8, 8), (8,)))
    y = products.linear(torch.tanh(products.linear(x, w, b)), w, b).sum()
    torch.autograd.grad(y, [x], retain_graph=True)
    assert not asked
    torch.autograd.grad(y, [w], retain_graph=True)
    assert len(asked) == 2
    torch.autograd.grad(y, [b])
    assert len(asked) == 4


class _Given(torch.autograd.Function):
    """Numbers of an array, which is gone with the last tensor on it; its backward pass tells whether it is."""

    @staticmethod
    def forward(ctx: Any, start: Tensor, array: NDArray[np.float32], gone: list[bool]) -> Tensor:
        ctx.array, ctx.gone = weakref.ref(array), gone
        return torch.from_numpy(array)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        ctx.gone.append(ctx.array() is None)
        return grads[0], None, None


@pytest.mark.usefixtures("onednn")
def test_rows_are_let_go_when_their_product_has_been_differentiated() -> None:
    """Not only with the whole graph: a backward pass would hold all activations and all gradients at its end."""
    w, start = torch.randn(8, 8, requires_grad=True), torch.randn(64, 8, requires_grad=True)
    gone: list[bool] = []
    y = products.linear(_Given.apply(start, np.ones((64, 8), np.float32), gone), w).sum()
    torch.autograd.grad(y, [start])
    assert gone == [True]


@pytest.mark.usefixtures("onednn")
@pytest.mark.parametrize("learns", [(True, False, False), (False, True, False), (False, False, True)])
def test_each_gradient_alone(learns: tuple[bool, bool, bool]) -> None:
    torch.manual_seed(0)
    sizes = ((64, 8), (8, 8), (8,))
    x, w, b = (torch.randn(size, requires_grad=wanted) for size, wanted in zip(sizes, learns, strict=True))
    x64, w64, b64 = (t.detach().double().requires_grad_(t.requires_grad) for t in (x, w, b))
    (wanted,) = (t for t in (x, w, b) if t.requires_grad)
    (exact,) = (t for t in (x64, w64, b64) if t.requires_grad)
    (ours,) = torch.autograd.grad(products.linear(x, w, b).square().sum(), [wanted])
    (theirs,) = torch.autograd.grad((x64 @ w64.T + b64).square().sum(), [exact])
    assert_equal(ours, theirs)
    assert not products.linear(x.detach(), w.detach(), b.detach()).requires_grad


def test_what_is_left_to_the_blas(monkeypatch: pytest.MonkeyPatch) -> None:
    large = torch.zeros(1024, 256)
    products.use("onednn")
    assert products.pays(large, 1024, 256, 256)
    assert not products.pays(large, 64, 256, 256)
    assert not products.pays(large, 1 << 20, 256, 12)  # narrow
    assert not products.pays(large.double(), 1024, 256, 256)
    assert not products.pays(large.to("meta"), 1024, 256, 256)
    with torch.autocast("cpu", torch.bfloat16):
        assert not products.pays(large, 1024, 256, 256)
    with monkeypatch.context() as patch:
        patch.setattr(torch.compiler, "is_compiling", lambda: True)
        assert not products.pays(large, 1024, 256, 256)
    products.use("blas")
    assert not products.pays(large, 1024, 256, 256)


@pytest.mark.parametrize(("blas", "way"), [(1.3, "onednn"), (1.1, "blas"), (0.5, "blas")])
def test_the_faster_is_chosen_where_it_gains_enough(blas: float, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "layer_seconds", lambda: (blas, 1.0))
    assert products.fastest.__wrapped__() == way


def test_measuring_draws_nothing_and_takes_milliseconds() -> None:
    before = torch.get_rng_state()
    blas, onednn = products.layer_seconds(rounds=2)
    assert torch.equal(before, torch.get_rng_state())
    assert 1e-5 < blas < 1.0
    assert 1e-5 < onednn < 1.0


def test_a_torch_without_onednn_has_one_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "has_onednn", lambda: False)
    assert products.fastest.__wrapped__() == "blas"
    with pytest.raises(UserError, match="'auto' always works"):
        products.use("onednn")
    with pytest.raises(ValueError, match="none of"):
        products.use("gpu")  # type: ignore[arg-type]


def test_a_traced_graph_is_not_guarded_by_the_way() -> None:
    torch._dynamo.reset()
    graphs = torch._dynamo.utils.counters["stats"]
    x, weight, bias = torch.randn(1024, 256), torch.randn(256, 256), torch.randn(256)

    def layers(x: torch.Tensor) -> torch.Tensor:
        return products.affine(products.linear(x, weight, bias), weight, bias)

    traced, before = torch.compile(layers, backend="eager", fullgraph=True), graphs["unique_graphs"]
    for way in ("blas", "onednn"):
        products.use(way)
        torch.testing.assert_close(traced(x), layers(x), rtol=1e-4, atol=1e-3)
    assert graphs["unique_graphs"] - before == 1
