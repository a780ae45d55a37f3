"""Every CPU kernel is its plain twin: in value, and in gradient."""

from __future__ import annotations

import functools
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.helpers.rounding import rounding
from waker.machine import kernels
from waker.model.distributions import _drawn


def held_together(
    ours: Callable[[], Tensor], plain: Callable[[], Tensor], inputs: list[Tensor], bound: float = 1e-6
) -> None:
    """Equal values, and gradients equal to a share ``bound`` of their largest entry."""
    y, expected = ours(), plain()
    torch.testing.assert_close(y, expected, rtol=bound, atol=bound * expected.abs().max().item())
    towards = torch.randn_like(expected)
    gradients = (torch.autograd.grad(z, inputs, towards) for z in (y, expected))
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b, rtol=bound, atol=bound * b.abs().max().item())


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


LAYOUTS = {
    "plain": lambda x: x,
    "channels last": lambda x: x.movedim(-1, 1),
    "members inside": lambda x: x.flatten(1).unflatten(1, (5, -1)).movedim(1, 0),
    "strided": lambda x: x[..., ::2],
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_elu(layout: str) -> None:
    x = (2.0 * torch.randn(2, 5, 6, 4)).requires_grad_()
    lay = LAYOUTS[layout]
    held_together(lambda: kernels.elu_(lay(x * 1.0)), lambda: kernels.plain_elu_(lay(x * 1.0)), [x])


def test_elu_of_more_than_one_block() -> None:
    x = torch.randn(kernels._BLOCK + 3, requires_grad=True)
    held_together(lambda: kernels.elu_(x * 1.0), lambda: F.elu(x), [x])


@pytest.mark.parametrize("shape", [(7, 3, 4), (5, 16), (5, 17), (4,)])
def test_log_softmax(shape: tuple[int, ...]) -> None:
    x = (5.0 * torch.randn(shape)).requires_grad_()
    held_together(lambda: kernels.log_softmax(x), lambda: kernels.plain_log_softmax(x), [x])


@pytest.mark.parametrize("mode", [False, True])
def test_straight_through(mode: bool) -> None:
    logits = torch.randn(50, 3, 4, requires_grad=True)
    draw = functools.partial(_drawn, mode=mode)

    def of(form: Callable[[Tensor, Callable[[Tensor], Tensor]], Tensor]) -> Tensor:
        torch.manual_seed(1)
        return form(logits.log_softmax(-1), draw)

    held_together(lambda: of(kernels.straight_through), lambda: of(kernels.plain_straight_through), [logits])
    assert set(of(kernels.straight_through).unique().tolist()) == {0.0, 1.0}


@pytest.mark.parametrize("bins", [1, 2, 11, 255])
def test_paired_mean(bins: int) -> None:
    pairs = (3.0 * torch.randn(4, 5, bins, dtype=torch.float64)).requires_grad_()
    up = torch.linspace(0.0, 9.0, bins // 2 + 1, dtype=torch.float64)[1:].exp()
    held_together(lambda: kernels.paired_mean(pairs, up), lambda: kernels.plain_paired_mean(pairs, up), [pairs], 1e-12)


def test_mean_deviation() -> None:
    prediction = torch.randn(4, 6, 5, requires_grad=True)
    torch.testing.assert_close(kernels.mean_deviation(prediction), prediction.std(0, correction=0).mean(-1))
    forms = (kernels.mean_deviation, kernels.plain_mean_deviation)
    held_together(*(functools.partial(form, prediction) for form in forms), [prediction])


def test_members_that_agree_have_no_gradient() -> None:
    prediction = torch.ones(4, 6, 5, requires_grad=True)
    for form in (kernels.mean_deviation, kernels.plain_mean_deviation):
        (gradient,) = torch.autograd.grad(form(prediction).sum(), prediction)
        assert not gradient.any()


@pytest.mark.parametrize(("height", "width", "kernel"), [(6, 6, 4), (5, 4, 4), (6, 3, 3)])
def test_a_wide_convolution_of_few_windows(
    height: int, width: int, kernel: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    conv = nn.Conv2d(128, 5, kernel, stride=2).double()
    x = torch.randn(3, 128, height, width, dtype=torch.float64, requires_grad=True)
    bound = rounding(128 * kernel**2)  # terms of an output; a gradient has fewer
    inputs = [x, *conv.parameters()]
    held_together(lambda: kernels.convolved(conv, x), lambda: kernels.plain_convolved(conv, x), inputs, bound)
    monkeypatch.setattr(kernels, "_by_windows", lambda conv, x: "windows")
    assert kernels.convolved(conv, x) == "windows"
    assert kernels.convolved(conv, torch.zeros(3, 128, 9, width, dtype=torch.float64)) != "windows"
    assert kernels.convolved(nn.Conv2d(64, 5, kernel, stride=2).double(), x[:, :64]) != "windows"


def test_a_transposed_convolution_of_single_pixels() -> None:
    conv = nn.ConvTranspose2d(6, 5, 4, stride=2).double()
    x = torch.randn(3, 6, dtype=torch.float64, requires_grad=True)
    forms = (kernels.deconvolved, kernels.plain_deconvolved)
    held_together(*(functools.partial(form, conv, x) for form in forms), [x, *conv.parameters()], 1e-12)
