"""Scores: the closed form equals the loop over samples; waker-r against a worked example."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.curriculum.spaces import finite_space, joint_space
from waker.curriculum.config import CurriculumConfig, resolve_decay
from waker.curriculum.scores import Magnitude, Reduction, Visits, credit

M = 5


def sequential(estimate: np.ndarray, ids: np.ndarray, x: np.ndarray, decay: float) -> np.ndarray:
    """The definition: one sample after the other, the first sets e."""
    e = estimate.copy()
    for i, value in zip(ids, x, strict=True):
        e[i] = value if math.isnan(e[i]) else decay * e[i] + (1 - decay) * value
    return e


values = st.floats(-1e6, 1e6, allow_subnormal=False)
batches = st.lists(st.tuples(st.integers(0, M - 1), values), max_size=60)


@settings(max_examples=200, deadline=None)
@given(
    start=st.lists(st.one_of(st.just(math.nan), values), min_size=M, max_size=M),
    first=batches,
    second=batches,
    decay=st.sampled_from([0.0, 0.3, 0.9, 0.9999]),
)
def test_closed_form_equals_the_loop(
    start: list[float], first: list[tuple[int, float]], second: list[tuple[int, float]], decay: float
) -> None:
    expected = got = np.array(start)
    for batch in (first, second):
        ids = np.array([i for i, _ in batch], np.int64)
        x = np.array([v for _, v in batch], np.float64)
        expected = sequential(expected, ids, x, decay)
        touched, fresh, count = credit(got, ids, x, decay)
        assert dict(zip(touched.tolist(), count.tolist(), strict=True)) == Counter(ids.tolist())
        got = got.copy()
        got[touched] = fresh
    # Absolute slack: sums of large values of both signs cancel.
    np.testing.assert_allclose(got, expected, rtol=1e-10, atol=1e-7)


def test_order_within_a_theta_matters_and_is_kept() -> None:
    ids, fresh, count = credit(np.full(9, np.nan), np.array([7, 0, 7, 7]), np.array([8.0, 5.0, 4.0, 0.0]), 0.5)
    assert ids.tolist() == [0, 7]
    assert fresh.tolist() == [5.0, 3.0]  # 8 → (8+4)/2 = 6 → (6+0)/2 = 3
    assert count.tolist() == [1, 3]


def test_magnitude_at_paper_size_forgets_at_the_published_rate() -> None:
    score = Magnitude(1, 0.9999)
    score.observe(np.zeros(1, np.int64), np.ones(1), 0)
    score.observe(np.zeros(800, np.int64), np.zeros(800), 0)
    assert score.values()[0] == pytest.approx(0.9999**800, rel=1e-12)
    assert score.credits.tolist() == [801]


def test_values_are_copies() -> None:
    score = Magnitude(2)
    score.observe(np.array([0]), np.array([1.0]), 0)
    score.values()[0] = 7.0
    assert score.values()[0] == 1.0


def reductions(marks: list[tuple[int, list[float]]]) -> list[list[float]]:
    """waker-r after each (step, e) with interval 10, start 50, rate 0.05; NaN in e = not credited."""
    tracker = Magnitude(3, decay=0.0)  # e is the last sample
    score = Reduction(tracker, interval=10, start=50, rate=0.05)
    seen = []
    for step, e in marks:
        ids = np.flatnonzero(~np.isnan(e))
        x = np.array(e)[ids]
        tracker.observe(ids, x, step)
        score.observe(ids, x, step)
        seen.append(score.values().tolist())
    return seen


def test_reduction_by_hand() -> None:
    nan = math.nan
    seen = reductions(
        [
            (40, [9.0, 9.0, nan]),  # before the start: nothing
            (50, [4.0, 1.0, nan]),  # first mark: e_prev = (4, 1, –)
            (55, [3.5, 1.0, nan]),  # between marks: nothing
            (60, [3.0, 1.5, 2.0]),  # Δ = (1, −0.5): r = 0.05 Δ; θ 2 gets its e_prev
            (70, [2.0, 1.5, 1.0]),  # Δ = (1, 0, 1); r = 0.95 r + 0.05 Δ
        ]
    )
    unknown = [nan] * 3
    np.testing.assert_equal(seen[:3], [unknown] * 3)
    np.testing.assert_allclose(seen[3], [0.05, -0.025, nan], rtol=1e-12)
    np.testing.assert_allclose(seen[4], [0.95 * 0.05 + 0.05, 0.95 * -0.025, 0.05], rtol=1e-12)


def test_marks_are_met_by_the_first_batch_at_or_after_them() -> None:
    e = [1.0, 1.0, 1.0]
    seen = reductions([(53, e), (58, [0.0] * 3), (61, [0.5] * 3), (69, [9.0] * 3), (95, [0.0] * 3), (99, [3.0] * 3)])
    known = [not math.isnan(r[0]) for r in seen]
    assert known == [False, False, True, True, True, True]
    assert seen[2][0] == pytest.approx(0.05 * 0.5)  # 53 set e_prev = 1; the mark at 60 was met at 61 with e = 0.5
    assert seen[3] == seen[2]
    assert seen[4][0] == pytest.approx(0.95 * 0.025 + 0.05 * 0.5)  # 70, 80, 90 were missed together: one measurement
    assert seen[5] == seen[4]  # the next mark is 100


def test_visits_know_what_was_sampled_and_what_others_ran() -> None:
    score = Visits(4)
    score.observe(np.array([0]), np.array([1.0]), 0)
    score.sampled(np.array([2, 2]))
    score.episode(3, {})
    np.testing.assert_equal(score.values(), [np.nan, np.nan, 1.0, 1.0])


@pytest.mark.parametrize(("samples", "memory"), [(800, 100.0), (32, 1000.0)])
def test_memory_in_updates_gives_an_e_fold(samples: int, memory: float) -> None:
    space = finite_space()
    decay = resolve_decay(CurriculumConfig(memory_updates=memory), space, samples)
    assert decay ** (memory * samples / space.size) == pytest.approx(math.exp(-1))


def test_without_memory_the_published_rate_holds_in_every_domain() -> None:
    assert resolve_decay(CurriculumConfig(), finite_space(), 800) == 0.9999
    assert resolve_decay(CurriculumConfig(), joint_space(), 800) == 0.9999


def test_each_theta_may_have_its_own_decay() -> None:
    rng = np.random.default_rng(0)
    decay, ids, x = np.array([0.0, 0.3, 0.9, 0.9999, 0.5]), rng.integers(M, size=60), rng.normal(size=60)
    start = np.array([1.0, math.nan, 2.0, 3.0, math.nan])
    touched, got, _ = credit(start, ids, x, decay)
    assert touched.tolist() == list(range(M))
    for theta in range(M):
        here = ids == theta
        _, (alone,), _ = credit(start, ids[here], x[here], float(decay[theta]))
        assert got[theta] == pytest.approx(alone, rel=1e-12)
