"""The optimiser against torch's own, against the authors' formula in numpy, and member by member."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.helpers.rounding import adam_drift, rounding
from waker.config.schema import OptimizerConfig
from waker.errors import UserError
from waker.model.optim import Adam

pytestmark = pytest.mark.usefixtures("float64")
SHAPES = ((4, 3), (3,), (2, 2, 2))
PLAIN = OptimizerConfig(lr=1e-2, eps=1e-5, clip=0.0)


def parameters(seed: int = 0, shapes: tuple[tuple[int, ...], ...] = SHAPES) -> list[Tensor]:
    rng = torch.Generator().manual_seed(seed)
    return [torch.randn(s, generator=rng).requires_grad_() for s in shapes]


def gradients(step: int, like: list[Tensor]) -> list[Tensor]:
    rng = torch.Generator().manual_seed(1000 + step)
    return [torch.randn(p.shape, generator=rng) * 10.0 ** (i - 1) for i, p in enumerate(like)]


def close(ours: Any, theirs: Any) -> None:
    """Equal but for rounding: of 20 steps of at most 16 operations each, and of sums over at most 24 gradients."""
    bound = rounding(1_000)
    torch.testing.assert_close(ours, theirs, atol=bound, rtol=bound)


def test_twenty_steps_equal_torch_adam() -> None:
    ours, theirs = parameters(), parameters()
    adam, reference = Adam(ours, PLAIN), torch.optim.Adam(theirs, lr=1e-2, eps=1e-5)
    for step in range(20):
        grads = gradients(step, ours)
        for p, g in zip(theirs, grads, strict=True):
            p.grad = g.clone()
        reference.step()
        adam.apply(grads)
    close(ours, theirs)


@pytest.mark.parametrize("keras", [False, True])
def test_the_published_formulas_in_numpy(keras: bool) -> None:
    """docs/method.md, World model: w ← w·(1 − decay) − lr·√(1−β₂ᵗ)/(1−β₁ᵗ)·m/(√v + eps) in Keras' form."""
    config = replace(PLAIN, keras=keras, decay=1e-3, eps=1e-2)
    ours = parameters()
    adam = Adam(ours, config)
    w = [p.detach().numpy().copy() for p in ours]
    m, v = [np.zeros_like(x) for x in w], [np.zeros_like(x) for x in w]
    for t in range(1, 6):
        grads = gradients(t, ours)
        for i, g in enumerate(grads):
            m[i] = 0.9 * m[i] + 0.1 * g.numpy()
            v[i] = 0.999 * v[i] + 0.001 * g.numpy() ** 2
            root = np.sqrt(1 - 0.999**t)
            step = root / (1 - 0.9**t) * m[i] / (np.sqrt(v[i]) + (1e-2 if keras else 1e-2 * root))
            w[i] = w[i] * (1 - 1e-3) - 1e-2 * step
        adam.apply([g.clone() for g in grads])
    close(ours, [torch.from_numpy(x) for x in w])


def test_the_two_forms_differ_by_epsilon_s_place_at_the_first_step() -> None:
    """At t = 1 Keras' eps is torch's divided by √(1 − β₂)."""
    ours, theirs = parameters(), parameters()
    grads = [1e-4 * g for g in gradients(0, ours)]
    Adam(ours, replace(PLAIN, keras=True)).apply([g.clone() for g in grads])
    Adam(theirs, replace(PLAIN, eps=1e-5 / math.sqrt(1 - 0.999))).apply([g.clone() for g in grads])
    close(ours, theirs)


def test_a_step_differentiates_the_loss_and_leaves_other_leaves_alone() -> None:
    x, other = torch.tensor([3.0, -4.0], requires_grad=True), torch.tensor([1.0, 1.0], requires_grad=True)
    adam = Adam([x], replace(PLAIN, lr=0.1, eps=0.0))
    norm = adam.apply(adam.gradients((0.5 * x.square() * other).sum()))
    assert norm.item() == pytest.approx(5.0)
    torch.testing.assert_close(x.detach(), torch.tensor([2.9, -3.9]))  # the first Adam step is lr·sign(g)
    assert x.grad is None
    assert other.grad is None
    assert other.tolist() == [1.0, 1.0]


def test_clipping_scales_all_gradients_by_one_global_norm() -> None:
    ours, theirs = parameters(), parameters()
    adam, reference = Adam(ours, replace(PLAIN, clip=1.0)), torch.optim.Adam(theirs, lr=1e-2, eps=1e-5)
    for step in range(3):
        grads = gradients(step, ours)
        for p, g in zip(theirs, grads, strict=True):
            p.grad = g.clone()
        expected = torch.nn.utils.clip_grad_norm_(theirs, 1.0)
        reference.step()
        close(adam.apply(grads), expected)
    # torch divides by the norm + 1e-6: its gradients are shorter by at most that part of their norm, which is above 1.
    torch.testing.assert_close(ours, theirs, atol=adam_drift(PLAIN, 1e-6, 3), rtol=0.0)


def test_small_gradients_are_not_scaled_up_by_clipping() -> None:
    ours, theirs = parameters(), parameters()
    grads = [1e-3 * g for g in gradients(0, ours)]
    Adam(ours, replace(PLAIN, clip=100.0)).apply([g.clone() for g in grads])
    Adam(theirs, PLAIN).apply([g.clone() for g in grads])
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_each_member_of_a_stack_is_clipped_as_if_alone() -> None:
    shapes = ((3, 4, 2), (3, 1, 2))
    stack = parameters(shapes=shapes)
    alone = [[p.detach()[k].clone().requires_grad_() for p in stack] for k in range(3)]
    config = replace(PLAIN, clip=2.0, decay=1e-4)
    adam, singles = Adam(stack, config, members=3), [Adam(p, config) for p in alone]
    scale = torch.tensor([1e-3, 1.0, 1e3]).view(3, 1, 1)  # the first is not clipped, the others are
    for step in range(4):
        grads = [g * scale for g in gradients(step, stack)]
        norms = [single.apply([g[k].clone() for g in grads]) for k, single in enumerate(singles)]
        close(adam.apply(grads), torch.stack(norms))
    for k in range(3):
        close([p[k] for p in stack], alone[k])


def test_a_member_without_gradient_stands_still() -> None:
    stack = parameters(shapes=((2, 3),))
    before = stack[0].detach().clone()
    Adam(stack, replace(PLAIN, clip=1.0), members=2).apply([torch.tensor([[0.0] * 3, [1.0] * 3])])
    assert torch.equal(stack[0][0], before[0])
    assert (stack[0][1] != before[1]).all()


def rates(config: OptimizerConfig, steps: int) -> list[float]:
    """The learning rate of each of the first steps, as a step with constant gradient 1 shows it."""
    x = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    adam = Adam([x], replace(config, eps=0.0, clip=0.0))
    moved = []
    for _ in range(steps):
        before = x.item()
        adam.apply([torch.ones(1, dtype=torch.float64)])
        moved.append(before - x.item())
    return moved


def test_warm_up_rises_linearly_to_the_rate() -> None:
    expected = [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    assert rates(OptimizerConfig(lr=1.0, warmup=4), 6) == pytest.approx(expected, rel=1e-4)


def test_annealing_is_a_cosine_to_its_floor() -> None:
    expected = [1.0, 0.1 + 0.45 * (1 + math.sqrt(0.5)), 0.55, 0.1 + 0.45 * (1 - math.sqrt(0.5)), 0.1, 0.1]
    assert rates(OptimizerConfig(lr=1.0, anneal=4, anneal_to=0.1), 6) == pytest.approx(expected, rel=1e-4)


def test_warm_up_and_annealing_multiply() -> None:
    both = rates(OptimizerConfig(lr=1.0, warmup=2, anneal=4, anneal_to=0.0), 4)
    quarter = 0.5 * (1 + math.sqrt(0.5))
    assert both == pytest.approx([0.5, quarter, 0.5, 1 - quarter], rel=1e-4)


def test_decay_shrinks_every_variable_whatever_the_rate() -> None:
    x, bias = torch.tensor([2.0, -4.0], requires_grad=True), torch.tensor(1.0, requires_grad=True)
    Adam([x, bias], OptimizerConfig(lr=0.0, decay=0.25)).apply([torch.ones(2), torch.ones(())])
    assert x.tolist() == [1.5, -3.0]
    assert bias.item() == 0.75


def test_a_restored_state_continues_bit_for_bit() -> None:
    config = OptimizerConfig(lr=1e-2, warmup=5, anneal=9, decay=1e-3, keras=True)
    ours = parameters()
    adam = Adam(ours, config)
    for step in range(3):
        adam.apply(gradients(step, ours))
    saved = {k: [x.clone() for x in v] if isinstance(v, list) else v.clone() for k, v in adam.state_dict().items()}
    theirs = [p.detach().clone().requires_grad_() for p in ours]
    restored = Adam(theirs, config)
    restored.load_state_dict(saved)
    for step in range(3, 6):
        adam.apply(gradients(step, ours))
        restored.apply(gradients(step, theirs))
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("shapes", [((4, 3), (3,)), ((4, 3), (3,), (2, 2, 3))])
def test_a_state_of_other_parameters_is_refused(shapes: tuple[tuple[int, ...], ...]) -> None:
    with pytest.raises(UserError, match="belongs to a model of another shape"):
        Adam(parameters(), PLAIN).load_state_dict(Adam(parameters(shapes=shapes), PLAIN).state_dict())
