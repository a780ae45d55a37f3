"""Distances of a key's predicted distribution from the exact one, against values counted by hand."""

from __future__ import annotations

from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from waker.evaluation.factors import misplaced, total_variation, without_sampling_error

CELLS, NONE, GREEN, BLUE = 6, 0, 1, 2


def board(**things: list[int]) -> np.ndarray:
    """A sure board, (CELLS, 3): green and blue things in the cells named."""
    rows = np.zeros((CELLS, 3))
    rows[:, NONE] = 1
    for colour, name in ((GREEN, "green"), (BLUE, "blue")):
        for cell in things.get(name, []):
            rows[cell] = 0
            rows[cell, colour] = 1
    return rows


TRUTH = board(green=[0, 1], blue=[5])


@pytest.mark.parametrize(
    ("model", "share"),
    [
        (TRUTH, 0.0),
        (board(green=[0, 2], blue=[5]), 1 / 3),  # one of three lies elsewhere
        (board(green=[0, 5], blue=[1]), 2 / 3),  # two have changed places: another colour is another thing
        (board(green=[2, 3], blue=[4]), 1.0),
        (board(), 1.0),  # all forgotten
        (board(green=[0, 1]), 1 / 3),
        (board(green=[0, 1, 2], blue=[5]), 1 / 4),  # one made up: one of four
        (0.5 * TRUTH + 0.5 * board(green=[0, 2], blue=[5]), 1 / 6),
    ],
)
def test_the_share_of_things_that_lie_elsewhere(model: np.ndarray, share: float) -> None:
    assert misplaced(model, TRUTH) == pytest.approx(share, abs=1e-12)


def test_an_empty_board_is_wrong_by_what_the_model_made_up() -> None:
    assert misplaced(board(), board()) == 0
    assert misplaced(0.9 * board() + 0.1 * board(blue=[2]), board()) == pytest.approx(0.1)
    assert misplaced(board(blue=[2], green=[3]), board()) == 1


@given(st.lists(st.floats(0, 1), min_size=2 * CELLS, max_size=2 * CELLS))
def test_of_one_thing_it_is_the_total_variation_of_its_cell(weights: list[float]) -> None:
    p, q = (np.array(w) + 1e-3 for w in (weights[:CELLS], weights[CELLS:]))
    p, q = 0.4 * p / p.sum(), 0.4 * q / q.sum()  # the ground stays the commonest class
    p, q = 2.5 * p, 2.5 * q
    boards = [np.stack([1 - w, w, np.zeros(CELLS)], 1) for w in (p, q)]
    if boards[0][:, NONE].sum() > boards[0][:, GREEN].sum():
        assert misplaced(boards[1], boards[0]) == pytest.approx(total_variation(q, p))


def test_no_factor_exceeds_the_total_variation_of_the_joint() -> None:
    """An agent in one of three places and two things on four cells, which depend on each other: counted out."""
    rng, places = np.random.default_rng(0), list(combinations(range(4), 2))
    for _ in range(200):
        p, q = (rng.dirichlet(np.full(3 * len(places), 0.2)).reshape(3, len(places)) for _ in range(2))
        joint = total_variation(q.ravel(), p.ravel())
        agent = total_variation(q.sum(1), p.sum(1))
        full = [sum(x.sum(0)[i] * np.isin(np.arange(4), place) for i, place in enumerate(places)) for x in (p, q)]
        empty = np.tile([1.0, 0.0], (6, 1))  # more ground, so that the things are none
        boards = [np.concatenate([np.stack([1 - w, w], 1), empty]) for w in full]
        assert max(agent, misplaced(boards[1], boards[0])) <= joint + 1e-12


def test_many_states_at_once_are_each_by_itself() -> None:
    rng = np.random.default_rng(1)
    p, q = (rng.dirichlet(np.ones(3), size=(5, CELLS)) for _ in range(2))
    np.testing.assert_allclose(misplaced(q, p), [misplaced(b, a) for a, b in zip(p, q, strict=True)])


@pytest.mark.parametrize(("believed", "tolerance"), [([0.8, 0.1, 0.1], 0.01), ([0.5, 0.4, 0.1], 0.02)])
def test_few_samples_do_not_bias_total_variation(believed: list[float], tolerance: float) -> None:
    truth, rng = np.array([0.8, 0.1, 0.1]), np.random.default_rng(0)
    halves = rng.multinomial(16, believed, size=(2, 4000)) / 16  # two halves of 32 samples
    right = 0.5 * abs(np.array(believed) - truth).sum()
    plain = total_variation(halves.mean(0), truth).mean()
    exact = np.broadcast_to(truth, (4000, 3))
    assert without_sampling_error(total_variation, halves, exact).mean() == pytest.approx(right, abs=tolerance)
    assert plain > right + 0.005


def test_few_samples_do_not_bias_the_share_of_misplaced_things() -> None:
    """The truth is a thing in one of two cells; each sample of the model says one of the two, rightly distributed."""
    rng, truth = np.random.default_rng(0), 0.5 * board(green=[0]) + 0.5 * board(green=[1])
    sure = np.stack([board(green=[0]), board(green=[1])])
    halves = sure[rng.integers(2, size=(2, 4000, 16))].mean(2)
    exact = np.broadcast_to(truth, (4000, *truth.shape))
    assert misplaced(halves.mean(0), exact).mean() > 0.05
    assert without_sampling_error(misplaced, halves, exact).mean() == pytest.approx(0, abs=0.01)


def test_joint_outcomes_are_the_product_s_order() -> None:
    """What "joint" is compared with: the exact rows of a family, flat, must mean the same outcomes as the model's."""
    from waker_envs.predictions import certain, probability

    classes = (2, 3, 4)
    for at, outcome in enumerate(product(*map(range, classes))):
        row = certain([outcome], classes)[0]
        assert row.reshape(-1)[at] == 1
        assert probability(row, outcome, classes) == 1
