"""Draws against the distributions they stand for: exactly, by frequency, and by what they read."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from tests.helpers.spaces import finite_space, plane_space
from waker.curriculum import CurriculumConfig, make_curriculum
from waker.curriculum.api import Floats, Ints, Score
from waker.curriculum.composed import ComposedCurriculum
from waker.curriculum.priorities.draws import Ranked
from waker.curriculum.priorities.exponential import BINS, Exponential
from waker.curriculum.priorities.mixture import Mixture
from waker.curriculum.priorities.rules import Boltzmann, Fixed, Rank, Restrict, TopK
from waker.curriculum.scores.error_estimate import Magnitude

SIZES = [1, 6, 400, 5_000]
NORMALISE = ["zscore", "mean-abs"]


def implied(draws: Exponential) -> Floats:
    """The distribution (L,) of :meth:`Exponential.draw`, from the counts that a draw goes through."""
    assert not draws.due
    p = np.zeros(len(draws._x))
    for i, k in enumerate(draws._bin):
        if k < BINS:
            edge = draws._low + (k + 1) * draws._width
            # Its bin's share, one of the bin's members, and the chance to be kept.
            p[i] = np.exp(draws._beta * draws._width * (k + 1 - BINS)) * np.exp(draws._beta * (draws._x[i] - edge))
    return p / p.sum()


def check_counts(draws: Exponential) -> None:
    """Every θ is counted once, in its own bin and block, below its bin's upper edge."""
    counts = np.zeros_like(draws._counts)
    np.add.at(counts, (draws._bin, np.arange(len(draws._bin)) // draws._block), 1)
    np.testing.assert_array_equal(draws._counts, counts)
    np.testing.assert_array_equal(draws._totals, counts.sum(1))
    known = draws._bin < BINS
    edges = draws._low + (draws._bin[known] + 1) * draws._width
    assert (draws._x[known] <= edges + 1e-12 * abs(edges)).all()


@pytest.mark.parametrize("normalise", NORMALISE)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("eta", [0.05, 1.0])
def test_the_kept_proposals_have_the_priority_s_distribution(normalise: Any, size: int, eta: float) -> None:
    """Over many updates of few θ each: new ones, fading, growing and lost ones; sums and bins wear and are renewed."""
    rng = np.random.default_rng(size)
    priority, draws = Boltzmann(eta, normalise), Exponential(size, eta, normalise == "zscore")
    scores = np.full(size, np.nan)
    level, builds = 1.0, 0
    for update in range(300):
        level *= rng.choice([0.97, 1.0, 1.02]) if update % 100 else 1e3 ** rng.uniform(-1, 1)
        n = int(rng.integers(1, min(size, 60) + 1))
        ids = np.sort(rng.choice(size, n, replace=False))
        fresh = level * rng.gamma(2.0, 1.0, n)
        if normalise == "mean-abs":
            fresh *= rng.choice([-1.0, 1.0], n)
        fresh[rng.random(n) < 0.02] = np.nan
        scores[ids] = fresh
        draws.update(ids, fresh)
        if draws.due:
            builds += 1
            draws.build(scores)
        expected = priority.distribution(scores)
        if expected is None:
            assert not draws.present
        elif update % 10 == 0:
            np.testing.assert_allclose(implied(draws), expected, rtol=1e-9, atol=1e-300)
            check_counts(draws)
    assert builds < 300


@pytest.mark.parametrize("size", [6, 5_000])
def test_equal_scores_are_uniform_and_stay_so(size: int) -> None:
    for normalise, value in (("zscore", 3.3), ("mean-abs", 0.0), ("mean-abs", -2.0)):
        draws = Exponential(size, 1.0, normalise == "zscore")
        draws.build(np.full(size, value))
        for _ in range(5):
            draws.update(np.arange(4), np.full(4, value))
            assert not draws.due
            np.testing.assert_allclose(implied(draws), 1 / size, rtol=1e-12)


def frequencies(draws: Any, n: int, bins: Ints, p: Floats) -> float:
    """p-value of a χ² test of n draws, counted in ``bins`` (M,), against p (M,)."""
    rng = np.random.default_rng(0)
    counts = np.bincount(bins[[draws.draw(rng) for _ in range(n)]], minlength=bins.max() + 1)
    expected = np.bincount(bins, weights=p)
    assert not counts[expected == 0].any()
    return float(stats.chisquare(counts[expected > 0], n * expected[expected > 0]).pvalue)


@pytest.mark.parametrize("normalise", NORMALISE)
@pytest.mark.parametrize("size", [6, 20_000])
def test_frequencies_follow(normalise: Any, size: int) -> None:
    """By id, and by how probable a θ is: where a wrong chance to be kept would show."""
    rng = np.random.default_rng(1)
    priority = Boltzmann(0.5, normalise)
    scores = rng.gamma(2.0, 1.0, size)
    scores[::5] = np.nan
    draws = priority.draws(size)
    draws.settle(scores.copy)
    for _ in range(20):  # worn bins, running sums
        ids = np.sort(rng.choice(size, max(1, size // 100), replace=False))
        scores[ids] *= 0.7
        draws.update(ids, scores[ids])
        draws.settle(scores.copy)
    p = priority.distribution(scores)
    assert p is not None
    by_id = np.arange(size) * 6 // size
    by_rank = np.argsort(np.argsort(p)) * min(size, 40) // size
    assert frequencies(draws, 20_000, by_id, p) > 1e-4
    assert frequencies(draws, 20_000, by_rank, p) > 1e-4


def test_restricted_and_fixed_frequencies_follow() -> None:
    rng = np.random.default_rng(2)
    weights = rng.exponential(size=1_000) * (rng.random(1_000) < 0.8)
    scores = np.where(rng.random(1_000) < 0.5, 1.0, np.nan)
    restrict = Restrict(weights)
    draws = restrict.draws(1_000)
    draws.settle(scores.copy)
    scores[100:120], scores[500:510] = 1.0, np.nan
    for part in (slice(100, 120), slice(500, 510)):
        draws.update(np.arange(1_000)[part], scores[part])
    p = restrict.distribution(scores)
    assert p is not None
    by_id = np.arange(1_000) // 20
    assert frequencies(draws, 20_000, by_id, p) > 1e-4
    assert frequencies(Fixed(weights).draws(1_000), 20_000, by_id, weights / weights.sum()) > 1e-4


RANKED = [Rank(0.1), Rank(1.0), TopK(1), TopK(10), TopK(10**6)]


@pytest.mark.parametrize("priority", RANKED, ids=lambda p: f"{type(p).__name__}-{getattr(p, 'beta', None) or p.k}")
@pytest.mark.parametrize("size", [1, 6, 6_000])
def test_each_rank_is_the_theta_that_has_it(priority: Rank | TopK, size: int) -> None:
    """Over updates with equal scores, fading, growing and lost ones: a draw of rank r gives what sorting gives."""
    rng = np.random.default_rng(size)
    draws = priority.draws(size)
    domain = draws._domains[0]
    assert isinstance(domain, Ranked)
    scores, builds = np.full(size, np.nan), 0
    for update in range(150):
        ids = np.sort(rng.choice(size, min(size, int(rng.integers(1, 400))), replace=False))
        scores[ids] = np.round(rng.gamma(2.0, 1.0 if update % 30 else 4.0, len(ids)), 1)  # many equal ones
        scores[ids[rng.random(len(ids)) < 0.02]] = np.nan
        draws.update(ids, scores[ids])
        builds += domain.due
        draws.settle(scores.copy)
        known = np.flatnonzero(~np.isnan(scores))
        assert domain.present == bool(len(known))
        if not len(known):
            continue
        order = known[np.argsort(-scores[known], kind="stable")]
        sums = domain._sums[: len(known)]
        np.testing.assert_array_equal(np.isin(order[: len(domain._pool)], domain._pool), True)
        for _ in range(3):
            state = rng.bit_generator.state
            rank = int(np.searchsorted(sums, rng.random() * sums[-1], "right"))
            rng.bit_generator.state = state
            assert draws.draw(rng) == order[rank]
    assert builds < 150 or size == 1


@pytest.mark.parametrize("priority", RANKED[1:4], ids=["rank", "top-1", "top-10"])
def test_ranked_frequencies_follow(priority: Rank | TopK) -> None:
    scores = np.random.default_rng(4).gamma(2.0, 1.0, 2_000)
    scores[::3] = np.nan
    draws = priority.draws(2_000)
    draws.settle(scores.copy)
    p = priority.distribution(scores)
    assert p is not None
    bins = np.argsort(np.argsort(-p, kind="stable")).clip(0, 12)
    if np.count_nonzero(p) > 1:
        assert frequencies(draws, 5_000, bins, p) > 1e-4
    else:
        assert draws.draw(np.random.default_rng(0)) == np.argmax(p)


def test_domains_are_drawn_alike_and_apart() -> None:
    rng = np.random.default_rng(3)
    groups = rng.integers(0, 3, 600)
    scores = rng.gamma(2.0, 1.0, 600) * 10.0**groups
    scores[groups == 2] = np.nan
    priority = Boltzmann(1.0, groups=groups)
    draws = priority.draws(600)
    draws.settle(scores.copy)
    ids = np.sort(rng.choice(600, 200, replace=False))
    scores[ids] *= 2.0
    draws.update(ids, scores[ids])
    draws.settle(scores.copy)
    p = priority.distribution(scores)
    assert p is not None
    known = groups == 2  # one domain waits: the θ given a score here are drawn for a third
    assert frequencies(draws, 20_000, np.where(known, 60, np.arange(600) // 10), p) > 1e-4


@pytest.mark.parametrize("name", ["waker-m", "waker-r", "reweighting-oracle", "dr"])
def test_a_sampler_s_draws_have_its_probabilities(name: str) -> None:
    space = plane_space(3_000, hard=20)
    config = CurriculumConfig(reduction_start=0, reduction_interval=10, memory_updates=20.0)
    curriculum = make_curriculum(name, space, config, np.random.default_rng(0))
    rng = np.random.default_rng(1)
    for update in range(40):
        ids = rng.integers(3_000, size=800)
        curriculum.observe(ids, rng.exponential(size=800) * (1 + ids % 7), 5 * update)
        curriculum.sample(2)
    p = curriculum.probabilities()
    assert p is not None
    drawn = curriculum.sample(6_000).ids
    bins = np.argsort(np.argsort(p, kind="stable")) // 100
    counts, expected = np.bincount(bins[drawn], minlength=30), 6_000 * np.bincount(bins, weights=p)
    assert stats.chisquare(counts, expected).pvalue > 1e-4


class Counted(Magnitude):
    """Counts how often all scores are read."""

    read = 0

    def values(self) -> Floats:
        self.read += 1
        return super().values()


def composed(score: Score, tracker: Magnitude, size: int) -> ComposedCurriculum:
    return ComposedCurriculum(
        "test",
        plane_space(size),
        tracker=tracker,
        score=score,
        priority=Boltzmann(1.0),
        mixture=Mixture(0.2),
        rng=np.random.default_rng(0),
    )


def test_the_usual_update_and_draw_read_only_the_batch_s_scores() -> None:
    tracker = Counted(20_000, 0.99)
    curriculum, rng = composed(tracker, tracker, 20_000), np.random.default_rng(0)
    curriculum.observe(np.arange(20_000), rng.exponential(size=20_000), 0)
    curriculum.sample(1)
    tracker.read = 0
    for _ in range(300):
        curriculum.observe(rng.integers(20_000, size=800), rng.exponential(size=800), 0)
        curriculum.sample(1)
    assert tracker.read <= 3


class Silent(Score):
    """A score that does not say what has changed."""

    def __init__(self, size: int) -> None:
        self.scores = np.ones(size)

    def values(self) -> Floats:
        return self.scores.copy()

    def observe(self, theta_id: Ints, error: Floats, step: int) -> None:
        self.scores = np.where(np.arange(len(self.scores)) == theta_id[0], 1e3, 1.0)


def test_a_score_that_tells_nothing_is_read_anew() -> None:
    score = Silent(400)
    curriculum = composed(score, Magnitude(400), 400)
    for theta_id in (3, 77, 200):
        curriculum.observe(np.array([theta_id]), np.array([1.0]), 0)
        drawn = curriculum.sample(50).ids.tolist()
        assert np.mean(np.array(drawn) == theta_id) > 0.6  # 19.98 standard deviations above the others


@pytest.mark.parametrize("name", ["waker-m", "waker-r", "gradual-expansion"])
def test_a_restored_sampler_draws_the_same_whenever_it_was_saved(name: str) -> None:
    """At 2,000 θ sums are running ones for long: a state that rebuilt them would draw otherwise sooner or later."""
    space = plane_space(2_000)
    config = CurriculumConfig(reduction_start=0, reduction_interval=70, memory_updates=3.0)

    def fresh() -> Any:
        return make_curriculum(name, space, config, np.random.default_rng(5))

    def drive(curriculum: Any, step: int) -> list[list[float]]:
        world = np.random.default_rng(step)
        ids = world.integers(-1, 2_000, size=300)
        curriculum.observe(ids, world.exponential(size=300) * np.exp(-step / 20), step)
        return curriculum.sample(2).points.tolist() if step % 3 == 0 else []

    whole, given, states = fresh(), [], []
    for step in range(200):
        states.append(whole.state_dict())
        given.append(drive(whole, step))
    for saved in (100, 101, 102, 141):
        other = fresh()
        other.load_state_dict(states[saved])
        assert [drive(other, step) for step in range(saved, 200)] == given[saved:]
        for key, value in other.state_dict().items():
            np.testing.assert_array_equal(value, whole.state_dict()[key], err_msg=key)


def test_a_state_without_draws_is_taken_and_draws_from_the_same_distribution() -> None:
    """States of earlier versions: nothing in them is missing but what follows from the scores."""
    curriculum = make_curriculum("waker-m", finite_space(), CurriculumConfig(), np.random.default_rng(0))
    curriculum.observe(np.arange(6), np.arange(6.0), 0)
    state = curriculum.state_dict()
    del state["draws"]
    other = make_curriculum("waker-m", finite_space(), CurriculumConfig(), np.random.default_rng(9))
    other.load_state_dict(state)
    np.testing.assert_array_equal(other.sample(20).ids, curriculum.sample(20).ids)
