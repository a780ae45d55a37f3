"""Scores that change θ by θ are those of a look at all θ; over 10⁵ of them an episode touches few."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from waker.curriculum import CurriculumConfig, make_curriculum
from waker.curriculum.evidence import EpisodeEvidence
from waker.curriculum.named.traced import TracedScore, TracedSettings
from waker.curriculum.scores.spreads import TOLERANCE, Spreads
from waker_envs.api import FiniteThetaSpace, Parameter


def space_of(side: int) -> FiniteThetaSpace:
    points = np.stack(divmod(np.arange(float(side * side)), side), 1)
    return FiniteThetaSpace([Parameter("row", ""), Parameter("column", "")], points)


def episode(rng: np.random.Generator, theta_id: int) -> EpisodeEvidence:
    return EpisodeEvidence(
        step=0, theta=np.zeros(2), theta_id=theta_id, steps=8, rewards=rng.exponential(size=8) * (1 + theta_id % 5),
        values=rng.exponential(size=9), transition_loss=rng.exponential(size=8), features=rng.normal(size=(8, 6)),
    )  # fmt: skip


@pytest.mark.parametrize("name", ["traced", "diplr", "cenie"])
def test_what_was_told_theta_by_theta_is_what_a_look_at_all_finds(name: str) -> None:
    """The draws' own scores, against those of one that is restored, which looks at all."""
    settings = {"cenie": {"refit": 5, "components": 2, "dimensions": 3}, "diplr": {"memory": 7}}.get(name, {})
    config = CurriculumConfig(sampler=name, settings={"fill": 0.0, **settings})
    one: Any = make_curriculum(name, space_of(5), config, np.random.default_rng(0))
    two: Any = make_curriculum(name, space_of(5), config, np.random.default_rng(0))
    rng = np.random.default_rng(1)
    for k in range(120):
        one.learn_episode(episode(rng, int(rng.integers(25))))
        one.sample(1)
        np.testing.assert_allclose(one.score.at(np.arange(25)), one.score.values(), rtol=1e-12)
        if k % 20 == 7:
            two.load_state_dict(one.state_dict())
            np.testing.assert_allclose(two.probabilities(), one.probabilities(), rtol=1e-9)
            domain_one, domain_two = one._draws._domains[0], two._draws._domains[0]
            one._draws.settle(one.score.values)
            np.testing.assert_array_equal(domain_one._scores, domain_two._scores)
            assert one.sample(5).ids.tolist() == two.sample(5).ids.tolist()


def test_the_spread_in_use_is_within_a_twentieth_of_the_present_one() -> None:
    rng, rows, spreads, renewed = np.random.default_rng(0), np.full((2, 400), np.nan), Spreads(2), 0
    for _ in range(3_000):
        at = int(rng.integers(400))
        old = rows[:, at].copy()
        rows[:, at] = rng.normal(size=2) * (3.0, 0.1) + (100.0, 0.0)
        renewed += spreads.take(old, rows, at)
        known = rows[:, ~np.isnan(rows[0])]
        if known.shape[1] > 1:
            assert (abs(known.std(1) / spreads.scale - 1) < TOLERANCE + 1e-6).all()
    assert renewed < 300


def test_traced_says_whose_scores_have_changed() -> None:
    """All that it does not name have the score of before."""
    rng, score = np.random.default_rng(0), TracedScore(300, TracedSettings(cycle=4))
    told, all_of_them = 0, 0
    before = score.values()
    for _ in range(600):
        changed = score.learn_episode(episode(rng, int(rng.integers(300))))
        after = score.values()
        moved = np.flatnonzero(~((before == after) | (np.isnan(before) & np.isnan(after))))
        if changed is None:
            all_of_them += 1
        else:
            told += 1
            assert set(moved.tolist()) <= set(changed.tolist())
            assert len(changed) <= 5
        before = after
    assert all_of_them < 0.15 * told
