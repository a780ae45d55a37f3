"""Scores: the closed form equals the loop over samples; waker-r against a worked example."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers.spaces import finite_space, joint_space
from waker.curriculum.config import CurriculumConfig, resolve_decay
from waker.curriculum.scores.error_estimate import Magnitude, Reduction, Visits, credit

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
    seen = reductions([(53, e), (58, e), (61, [0.5] * 3), (69, [9.0] * 3), (95, [0.0] * 3), (99, [3.0] * 3)])
    known = [not math.isnan(r[0]) for r in seen]
    assert known == [False, False, False, False, True, True]  # 53 was the first batch; 61 met the mark at 60
    assert seen[4][0] == pytest.approx(0.05 * 0.5)  # 70, 80, 90 were missed together: one measurement
    assert seen[5] == seen[4]  # the next mark is 100


def marks_of(score: Reduction, tracker: Magnitude, steps: range) -> list[int]:
    """The steps at which e_prev was taken, with a batch of one θ at each of ``steps``."""
    found = []
    for step in steps:
        ids, x, before = np.array([step // 8 % 3]), np.array([1.0 + step]), score.previous
        tracker.observe(ids, x, step)
        score.observe(ids, x, step)
        if score.previous is not before:
            found.append(step)
    return found


@pytest.mark.parametrize(
    ("first", "every", "expected"),
    [
        (100_000, 8, [110_000, 120_000, 130_000]),  # as published: prefill 100,000, eight environments
        (100_003, 8, [110_003, 120_003, 130_003]),
        (109_999, 1, [110_000, 120_000, 130_000]),
        (110_000, 1, [120_000, 130_000]),  # at the first batch nothing was known before
        (400, 8, [50_000, 60_000, 70_000, 80_000, 90_000, 100_000, 110_000, 120_000, 130_000]),
    ],
)
def test_the_first_mark_is_the_next_multiple_at_which_estimates_exist(
    first: int, every: int, expected: list[int]
) -> None:
    tracker = Magnitude(3)
    assert marks_of(Reduction(tracker), tracker, range(first, 138_000, every)) == expected


def test_batches_that_credit_nobody_begin_nothing() -> None:
    tracker = Magnitude(3)
    score = Reduction(tracker, interval=10, start=0)
    nobody, none = np.zeros(0, np.int64), np.zeros(0)
    for step in (5, 15):
        tracker.observe(nobody, none, step)
        score.observe(nobody, none, step)
    assert marks_of(score, tracker, range(17, 40)) == [20, 30]


@pytest.mark.parametrize("stop", [100_000, 104_000, 110_000, 112_000, 120_000])
def test_marks_go_on_across_a_resume(stop: int) -> None:
    tracker = Magnitude(3)
    score = Reduction(tracker)
    found = marks_of(score, tracker, range(100_000, stop, 8))
    states = tracker.state_dict(), score.state_dict()
    tracker, score = Magnitude(3), Reduction(Magnitude(3))
    score.magnitude = tracker
    tracker.load_state_dict(states[0])
    score.load_state_dict(states[1])
    found += marks_of(score, tracker, range(stop, 138_000, 8))
    assert found == [110_000, 120_000, 130_000]


def test_states_from_before_marks_waited_for_a_credit_go_on() -> None:
    unknown, start = np.full(3, np.nan), 50_000  # what was saved then: the next mark was the start from the beginning
    for credits, first, expected in ((0, 100_000, 110_000), (7, 40_000, 50_000)):
        tracker = Magnitude(3)
        tracker.load_state_dict({"estimate": np.where(credits, 1.0, unknown), "credits": np.full(3, credits)})
        score = Reduction(tracker)
        score.load_state_dict({"previous": unknown, "reduction": unknown, "next_mark": start})
        assert marks_of(score, tracker, range(first, 130_000, 8))[0] == expected


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
