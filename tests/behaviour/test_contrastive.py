"""Contrastive losses: numbers by hand, gradients, what they cannot see, and a policy found again from its preferences.

Each test names the trap that its numbers catch.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from waker.behaviour.contrastive import cpl_loss, dpo_loss, ipo_loss, regularised_optimum, segment_score

WINNER, LOSER = torch.tensor([[0.5, 0.4]]).log(), torch.tensor([[0.2, 0.1]]).log()
WHOLE = torch.ones(1, 2)
FIRST = torch.ones(1)


def scores(gamma: float = 1.0, alpha: float = 0.1) -> list[torch.Tensor]:
    return [alpha * segment_score(of, WHOLE, gamma) for of in (WINNER, LOSER)]


def test_cpl_by_hand() -> None:
    """The trap: α outside the sum, or forgotten."""
    one, two = scores()
    assert float(one - two) == pytest.approx(0.23026, abs=5e-6)
    assert float(cpl_loss(one, two, FIRST)) == pytest.approx(0.58463, abs=5e-6)


def test_the_bias_is_on_the_loser() -> None:
    """The trap: λ on the winner, or on whichever segment stands second."""
    one, two = scores()
    assert float(one - 0.5 * two) == pytest.approx(0.03466, abs=5e-6)
    assert float(cpl_loss(one, two, FIRST, 0.5)) == pytest.approx(0.67597, abs=5e-6)
    assert float(cpl_loss(two, one, 1.0 - FIRST, 0.5)) == pytest.approx(0.67597, abs=5e-6)


def test_the_discount_counts_from_the_start_of_a_segment() -> None:
    """The trap: B-Pref's teachers discount the other way round; late weights give 0.22565."""
    one, two = scores(gamma=0.9)
    assert float(one - two) == pytest.approx(0.21640, abs=5e-6)


def test_without_a_bias_all_probability_may_leave_what_was_seen() -> None:
    """The trap: with λ = 1 dividing every probability by e costs nothing; λ < 1 notices."""
    less = [0.1 * segment_score(of - 1.0, WHOLE) for of in (WINNER, LOSER)]
    assert float(cpl_loss(*less, FIRST)) == pytest.approx(0.58463, abs=5e-6)
    assert float(cpl_loss(*less, FIRST, 0.5)) == pytest.approx(0.72635, abs=5e-6)


@pytest.mark.parametrize("bias", [1.0, 0.5])
def test_a_tie_is_half_of_each_answer_and_swapping_changes_nothing(bias: float) -> None:
    """The trap: a label that means the second segment, or λ that stays on one side."""
    one, two, label = torch.randn(30), torch.randn(30), torch.rand(30)
    torch.testing.assert_close(cpl_loss(one, two, label, bias), cpl_loss(two, one, 1.0 - label, bias))
    tie = cpl_loss(one, two, torch.full((30,), 0.5), bias)
    both = cpl_loss(one, two, torch.ones(30), bias) + cpl_loss(one, two, torch.zeros(30), bias)
    torch.testing.assert_close(tie, 0.5 * both)


def test_steps_behind_a_segment_s_end_do_not_count() -> None:
    """The trap: the padding of segments that ended early."""
    likely = torch.tensor([[-1.0, -2.0, -100.0]])
    assert float(segment_score(likely, torch.tensor([[1.0, 1.0, 0.0]]))) == -3.0
    assert float(segment_score(likely, torch.tensor([[1.0, 1.0, 0.0]]), 0.5)) == -2.0


def test_dpo_and_its_gradient_by_hand() -> None:
    """The trap: a reference left out, or log-ratios the wrong way round."""
    policy = torch.tensor([0.4, 0.1], requires_grad=True)
    ratio = policy.log() - torch.tensor([0.2, 0.4]).log()
    u = 0.1 * (ratio[0] - ratio[1])
    loss = dpo_loss(u, torch.tensor(1.0))
    assert float(u) == pytest.approx(0.2079, abs=5e-5)
    assert float(loss) == pytest.approx(0.5946, abs=5e-5)
    (slope,) = torch.autograd.grad(loss, ratio)
    # −β σ(−u) (∇log π(y⁺) − ∇log π(y⁻))
    assert slope.tolist() == pytest.approx([-0.0448, 0.0448], abs=5e-5)


def test_errors_by_hand_conservative_and_robust() -> None:
    """The trap: one taken for the other; the robust loss is unbiased under flips, the conservative one is not."""
    u, yes = torch.tensor(0.1 * math.log(8.0)), torch.tensor(1.0)
    assert float(dpo_loss(u, yes, 0.1)) == pytest.approx(0.6154, abs=5e-5)
    assert float(dpo_loss(u, yes, 0.1, "robust")) == pytest.approx(0.5686, abs=5e-5)
    flipped = 0.9 * dpo_loss(u, yes, 0.1, "robust") + 0.1 * dpo_loss(u, 1.0 - yes, 0.1, "robust")
    assert float(flipped) == pytest.approx(float(dpo_loss(u, yes)), abs=1e-6)
    assert float(dpo_loss(torch.tensor(9.0), yes, 0.1, "robust")) < 0
    with pytest.raises(ValueError, match="half"):
        dpo_loss(u, yes, 0.5)


def test_cpl_s_labels_are_smoothed_as_conservative_dpo_s() -> None:
    """The trap: an option of all methods that one of them reads and does not use."""
    first, second, label = torch.randn(9), torch.randn(9), torch.rand(9)
    expected = dpo_loss(first - second, label, 0.1)
    torch.testing.assert_close(cpl_loss(first, second, label, 1.0, 0.1), expected)
    assert float(cpl_loss(torch.tensor(1.0), torch.tensor(0.0), torch.tensor(1.0), 1.0, 0.1)) == pytest.approx(
        0.9 * math.log1p(math.exp(-1.0)) + 0.1 * math.log1p(math.exp(1.0))
    )


def test_ipo_by_hand() -> None:
    """The trap: τ where 1/(2τ) belongs, or a square that forgets who won."""
    assert float(ipo_loss(torch.tensor(math.log(8.0)), torch.tensor(1.0), 0.1)) == pytest.approx(8.530, abs=5e-4)
    gap = torch.randn(9)
    torch.testing.assert_close(ipo_loss(gap, torch.ones(9), 0.3), ipo_loss(-gap, torch.zeros(9), 0.3))


def test_the_regularised_optimum_by_hand_and_its_reward_but_for_a_constant() -> None:
    """The trap: β on the wrong side; and Z, which cancels in a pair alone."""
    reference, reward = torch.tensor([0.5, 0.3, 0.2]), torch.tensor([1.0, 0.0, 2.0])
    best = regularised_optimum(reference, reward, 1.0)
    assert best.tolist() == pytest.approx([0.4333, 0.0956, 0.4711], abs=5e-5)
    for beta in (0.3, 2.0):
        found = beta * (regularised_optimum(reference, reward, beta) / reference).log()
        torch.testing.assert_close(found - found[0], reward - reward[0])


# A process of three states, all of whose numbers are known. -----------------------------------------------------------

MOVE = np.array([[0, 1, 2], [1, 2, 0]])  # action, state -> state; action 0 stays
REWARD = np.array([[0.0, 0.2, 1.0], [0.3, 0.0, -0.5]])  # action, state
GAMMA = 0.9


def soft_optimum() -> tuple[np.ndarray, np.ndarray]:
    """A* = Q* − V* (A, S) of maximum-entropy control with α = 1, and its policy exp(A*)."""
    value = np.zeros(3)
    for _ in range(2_000):
        q = REWARD + GAMMA * value[MOVE]
        value = np.log(np.exp(q).sum(0))
    return q - value, np.exp(q - value)


@pytest.mark.parametrize(("labels_of", "near"), [("regret", True), ("return", False)])
def test_cpl_finds_the_soft_optimal_policy_from_regret_labels_alone(labels_of: str, near: bool) -> None:
    """The trap: answers by returns are another model of people; more of them do not help."""
    advantage, policy = soft_optimum()
    assert policy.sum(0) == pytest.approx(1.0)
    rng, n, steps = np.random.default_rng(0), 500_000, 2
    logits = torch.zeros(2, 3, requires_grad=True)
    sums, counts = [], []
    for _ in range(2):
        state = rng.integers(3, size=n)
        total, count = np.zeros(n), np.zeros((n, 2, 3), np.float32)
        for _ in range(steps):
            action = rng.integers(2, size=n)
            total += (advantage if labels_of == "regret" else REWARD)[action, state]
            count[np.arange(n), action, state] += 1
            state = MOVE[action, state]
        sums.append(total)
        counts.append(torch.from_numpy(count.reshape(n, 6)))
    label = torch.from_numpy((rng.random(n) < 1 / (1 + np.exp(sums[1] - sums[0]))).astype(np.float32))
    kinds, which, weight = torch.cat(counts, 1).unique(dim=0, return_inverse=True, return_counts=True)
    share = torch.zeros(len(kinds)).index_add(0, which, label) / weight
    optimizer = torch.optim.LBFGS([logits], max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        likely = logits.log_softmax(0).flatten()
        loss = (cpl_loss(kinds[:, :6] @ likely, kinds[:, 6:] @ likely, share) * weight).sum() / n
        loss.backward()
        return loss

    optimizer.step(closure)
    error = np.abs(logits.detach().softmax(0).numpy() - policy).max()
    assert error < 0.005 if near else error > 0.02
