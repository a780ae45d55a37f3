"""Samplers of a table on a continuous space: kernel estimates, and the table's law as the kernel narrows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.helpers.spaces import POINTS, box_space, finite_space
from waker.curriculum import CurriculumConfig, Rank, make_curriculum
from waker.curriculum.boxes.kernel import regress
from waker.curriculum.boxes.kernel_scores import KernelSettings
from waker.curriculum.boxes.level_buffer import LevelBuffer
from waker.curriculum.evidence import EpisodeEvidence
from waker.curriculum.level_replay.replay_settings import LevelReplaySettings
from waker.errors import UserError
from waker_envs.api import BoxThetaSpace, Theta, ThetaSpace

SCALE = np.array([2.0, 0.2])


class OtherSpace(ThetaSpace):
    """A continuous space that is no box."""

    parameters = box_space().parameters
    hard, hardest, suites, size = np.zeros((0, 2)), None, {}, None

    def sample(self, rng: np.random.Generator, n: int) -> np.ndarray:
        return rng.uniform(size=(n, 2))

    def index(self, theta: Any) -> int:
        return -1

    def contains(self, theta: Any) -> bool:
        return True

    def neighbours(self, theta: Any) -> np.ndarray:
        return np.zeros((0, 2))

    def describe(self) -> str:
        return ""


def test_kernel_regression_by_hand() -> None:
    known, values = np.array([[0.0], [1.0], [5.0]]), np.array([2.0, 4.0, np.nan])
    k = np.exp(-0.5 * 0.25**2), np.exp(-0.5 * 0.75**2)
    found = regress(np.array([[0.25]]), known, values, 1.0, np.ones(1))
    mean = (2 * k[0] + 4 * k[1]) / sum(k)
    share = np.array(k) / sum(k)
    np.testing.assert_allclose(found.mean, [mean])
    spread = share @ (np.array([2.0, 4.0]) - mean) ** 2
    np.testing.assert_allclose(found.variance, [spread * (share**2).sum()])


def test_a_narrow_kernel_is_the_table_and_far_points_take_the_nearest() -> None:
    found = regress(np.array([[0.0], [1.0], [900.0]]), np.array([[0.0], [1.0]]), np.array([2.0, 4.0]), 1e-4, np.ones(1))
    np.testing.assert_array_equal(found.mean, [2.0, 4.0, 4.0])
    assert np.isnan(regress(np.zeros((2, 1)), np.zeros((1, 1)), np.array([np.nan]), 1.0, np.ones(1)).mean).all()


def drawn_at(points: np.ndarray, name: str, **settings: Any) -> Any:
    """A sampler on a box whose draws so far were these θ."""
    later = iter(points)

    def sampler(rng: np.random.Generator, n: int) -> np.ndarray:
        rows = [next(later, None) for _ in range(n)]
        return np.array([rng.uniform([3.0, 0.0], [5.0, 0.2]) if row is None else row for row in rows])

    space = BoxThetaSpace(box_space().parameters, [3.0, 0.0], [5.0, 0.2], sampler=sampler)
    config = CurriculumConfig(reduction_start=0, reduction_interval=10, error_decay=0.5)
    made: Any = make_curriculum(
        name, space, config, np.random.default_rng(0), settings=KernelSettings(memory=len(points), **settings)
    )
    np.testing.assert_array_equal(made.sample(len(points)).points, points)
    return made


@pytest.mark.parametrize("name", ["waker-m", "waker-r"])
def test_waker_s_law_on_the_table_s_own_theta(name: str) -> None:
    box = drawn_at(POINTS, name, bandwidth=1e-5)
    config = CurriculumConfig(reduction_start=0, reduction_interval=10, error_decay=0.5, dr_share=0.0)
    table: Any = make_curriculum(name, finite_space(), config, np.random.default_rng(0))
    world = np.random.default_rng(1)
    for step in (0, 10, 20, 30):
        ids, errors = world.integers(5, size=40), world.exponential(size=40)  # θ 5 never
        box.observe(ids, errors, step)
        table.observe(ids, errors, step)
    estimates = box.estimate(POINTS[:5]).mean
    np.testing.assert_allclose(box.priority.distribution(estimates), table.probabilities()[:5], rtol=0, atol=1e-9)


def test_draws_follow_the_estimate() -> None:
    made = drawn_at(POINTS, "waker-m", bandwidth=0.05)
    made.observe(np.arange(6), np.array([1.0, 1, 1, 1, 1, 9]), 0)  # θ 5: size 5, slip .1
    thetas = made.sample(400).points
    near = (abs(thetas - POINTS[5]) < [0.5, 0.05]).all(1)
    assert near.mean() > 3 * 0.125  # its share of the box


def test_the_memory_forgets_its_oldest_theta() -> None:
    made = drawn_at(POINTS, "waker-m", bandwidth=0.1)
    made.observe(np.arange(6), np.arange(1.0, 7.0), 0)
    fresh = made.sample(2)
    assert fresh.ids.tolist() == [6, 7]
    np.testing.assert_array_equal(made.thetas[:2], fresh.points)
    assert np.isnan(made.score.values()[:2]).all()
    made.observe(np.array([0, 6]), np.array([50.0, 8.0]), 0)  # the number 0 is gone
    np.testing.assert_array_equal(made.score.values(), [8.0, np.nan, 3, 4, 5, 6])


def test_errors_without_numbers_of_draws_are_refused() -> None:
    with pytest.raises(UserError, match="'waker-m' on a continuous θ space credits errors to the numbers of its draws"):
        drawn_at(POINTS, "waker-m").observe(np.array([-1, -1]), np.ones(2), 0)


@pytest.mark.parametrize("name", ["waker-m", "plr"])
def test_a_space_that_is_no_box_is_refused(name: str) -> None:
    with pytest.raises(UserError, match=f"'{name}' needs a finite θ space or a box"):
        make_curriculum(name, OtherSpace(), CurriculumConfig(), np.random.default_rng(0))


def played(curriculum: Any, theta: Theta, reward: float, theta_id: int = -1) -> None:
    curriculum.learn_episode(
        EpisodeEvidence(step=0, theta=theta, theta_id=theta_id, steps=1, rewards=np.array([reward]), values=np.zeros(2))
    )


def test_level_replay_on_a_box_has_the_table_s_law() -> None:
    settings = LevelReplaySettings(capacity=6, fill=0.0)
    box: Any = make_curriculum("plr", box_space(), CurriculumConfig(), np.random.default_rng(0), settings=settings)
    table: Any = make_curriculum("plr", finite_space(), CurriculumConfig(), np.random.default_rng(0), settings=settings)
    for i, reward in enumerate((1.0, 5, 2, 2, 0, 3)):
        played(box, POINTS[i], reward)
        played(table, POINTS[i], reward, i)
        table.stale.drawn(i)
    np.testing.assert_allclose(box.buffer.distribution(), table.replay_distribution(), rtol=0, atol=1e-12)
    n = 20_000
    p, counts = box.buffer.distribution(), np.zeros(6)
    for _ in range(n):
        state = box.buffer.stamps.copy(), box.buffer.clock
        counts[box.buffer.slot(box.buffer.draw(box._rng))] += 1
        box.buffer.stamps, box.buffer.clock = state
    assert (abs(counts - n * p) < 4 * np.sqrt(n * p * (1 - p))).all()


def test_a_kernel_s_width_smooths_a_buffer_s_scores_and_none_leaves_them() -> None:
    laws = []
    for bandwidth in (0.0, 1e-5, 0.5):
        buffer = LevelBuffer(2, 6, Rank(0.3), 0.0, bandwidth, SCALE)
        for theta, score in zip(POINTS, (5.0, 0, 0, 0, 3, 4), strict=True):
            buffer.insert(theta, score)
        laws.append(buffer.distribution())
    np.testing.assert_allclose(laws[0], laws[1], rtol=0, atol=1e-12)
    assert np.argmax(laws[0]) == 0
    assert np.argmax(laws[2]) != 0  # alone with its 5, beside two that have 3 and 4


def test_children_on_a_box_are_near_their_parents() -> None:
    made: Any = make_curriculum("accel", box_space(), CurriculumConfig(), np.random.default_rng(0))
    theta = np.array([4.0, 0.1])
    for _ in range(2):
        played(made, theta, 1.0)  # new, then replayed
    (child,) = made.sample(1).points
    assert made.staged.tolist() == [True]
    assert (abs(child - theta) <= 0.05 * SCALE).all() and (child != theta).sum() == 1


def test_a_staged_duplicate_is_young_again() -> None:
    """A child, or a new θ, that equals a level of the buffer: its score and its age are those of the new visit."""
    made: Any = make_curriculum("accel", box_space(), CurriculumConfig(), np.random.default_rng(0))
    for theta in POINTS[:3]:
        played(made, theta, 1.0)
    buffer, before = made.buffer, made.buffer.clock
    made.learn_episode(
        EpisodeEvidence(
            step=0, theta=POINTS[0], theta_id=-1, steps=1, kind="staged", rewards=np.array([7.0]), values=np.zeros(2)
        )
    )
    assert (buffer.size, buffer.clock) == (3, before + 1)
    assert (buffer.stamps[0], buffer.scores[0]) == (before + 1, 7.0)
    assert made._children == []


def test_what_needs_a_table_is_refused_on_a_box() -> None:
    settings = LevelReplaySettings(score="max-mc")
    with pytest.raises(UserError, match="max-mc needs a finite θ space"):
        make_curriculum("plr", box_space(), CurriculumConfig(), np.random.default_rng(0), settings=settings)
    with pytest.raises(UserError, match="credit = 'imagined'; it must be episode"):
        make_curriculum(
            "plr", box_space(), CurriculumConfig(), np.random.default_rng(0),
            settings=LevelReplaySettings(credit="imagined"),
        )  # fmt: skip
