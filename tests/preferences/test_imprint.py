"""Feature imprints: planes found exactly, errors against the formula written out and a bootstrap, what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import t as student

from waker.errors import UserError
from waker.preferences.imprint import (
    bonferroni,
    checked_design,
    combinations,
    imprints,
    inflation,
    p_values,
    regress,
    reward_shift,
    standardised,
)


def clustered(rng: np.random.Generator, n: int, rooms: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """y = 1 + 2 a − ½ b with errors that a room shares: (n,), (n, 2), (n,)."""
    room = np.arange(n) % rooms
    x = np.stack([rng.normal(size=n) + rng.normal(size=rooms)[room], rng.random(n) < 0.3], 1).astype(float)
    shared = rng.normal(size=rooms)[room]
    return 1.0 + x @ [2.0, -0.5] + shared * (1 + x[:, 0]) + rng.normal(size=n), x, room


def test_a_plane_is_recovered_exactly() -> None:
    """The example (1, 2, −½): constant and both slopes, with no error left."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(30, 2))
    fit = regress(1.0 + x @ [2.0, -0.5], x, np.arange(30) % 5)
    np.testing.assert_allclose(fit.estimate, [2.0, -0.5], atol=1e-12)
    assert fit.constant == pytest.approx(1.0, abs=1e-12)
    assert fit.se.tolist() == [0.0, 0.0] and (fit.n, fit.groups) == (30, 5)


def test_what_is_exactly_unpaid_is_zero_and_no_rounding() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(50, 3))
    fit = regress(4.0 * x[:, 0], x, np.arange(50) % 7)
    assert fit.estimate[1:].tolist() == [0.0, 0.0] and fit.p.tolist() == [0.0, 1.0, 1.0]


def test_effects_of_pairs_are_taken_off() -> None:
    """Pairs whose level differs by ±3: within pairs the slope is 2.0, pooled it is not."""
    pair = np.repeat(np.arange(20), 2)
    level = np.where(pair % 2, 3.0, -3.0)
    x = np.tile([0.0, 1.0], 20) + (pair % 2)
    y = 2.0 * x + level
    assert regress(y, x[:, None], pair, within=True).estimate[0] == pytest.approx(2.0, abs=1e-12)
    assert regress(y, x[:, None], pair).estimate[0] > 3.0


def test_standard_errors_are_the_sandwich_written_out() -> None:
    """Sums over rooms one by one, and the correction for few rooms, in the plainest way."""
    y, x, room = clustered(np.random.default_rng(2), 120, 8)
    design = np.concatenate([x, np.ones((120, 1))], 1)
    bread = np.linalg.inv(sum(np.outer(row, row) for row in design))
    beta = bread @ sum(row * value for row, value in zip(design, y, strict=True))
    meat = np.zeros((3, 3))
    for g in range(8):
        score = sum((design[i] * (y[i] - design[i] @ beta) for i in np.flatnonzero(room == g)), np.zeros(3))
        meat += np.outer(score, score)
    covariance = 8 / 7 * 119 / 117 * bread @ meat @ bread
    fit = regress(y, x, room)
    np.testing.assert_allclose(fit.estimate, beta[:2])
    np.testing.assert_allclose(fit.se, np.sqrt(np.diag(covariance))[:2])
    assert fit.constant_se == pytest.approx(np.sqrt(covariance[2, 2]))
    np.testing.assert_allclose(fit.high - fit.estimate, student.ppf(0.975, 7) * fit.se)
    np.testing.assert_allclose(fit.p, 2 * student.sf(np.abs(beta[:2]) / fit.se, 7), atol=1e-15)


def test_a_mean_has_the_error_of_its_rooms_means() -> None:
    """By hand: two entries a room, a feature that is ±1 by room. β̂ = mean(y x), scores are u x."""
    y = np.array([1.0, 3.0, -1.0, -1.0, 2.0, 0.0, -2.0, -4.0])
    x, room = np.array([1.0, 1, -1, -1, 1, 1, -1, -1]), np.repeat(np.arange(4), 2)
    fit = regress(y, x[:, None], room)
    # ȳ = −¼, β = (1+3+1+1+2+0+2+4)/8 = 1.75; residual sums of rooms ±: (4 − 3, −2 + 4, 2 − 3, −6 + 4) = (1, 2, −1, −2)
    assert fit.estimate[0] == pytest.approx(1.75) and fit.constant == pytest.approx(-0.25)
    # scores of x: (1, −2, −1, 2), squares sum to 10; c = 4/3 · 7/6
    assert fit.se[0] == pytest.approx(np.sqrt(4 / 3 * 7 / 6 * 10) / 8)


def test_errors_agree_with_a_bootstrap_of_rooms() -> None:
    rng = np.random.default_rng(3)
    y, x, room = clustered(rng, 1_200, 60)
    for within in (False, True):
        fit = regress(y, x, room, within)
        drawn = []
        for _ in range(400):
            picked = rng.integers(60, size=60)
            rows = np.concatenate([np.flatnonzero(room == g) for g in picked])
            anew = np.repeat(np.arange(60), 20)
            drawn.append(regress(y[rows], x[rows], anew, within).estimate)
        np.testing.assert_allclose(np.std(drawn, axis=0), fit.se, rtol=0.25)


def test_errors_that_a_room_shares_are_not_taken_for_many() -> None:
    """A feature of the room: plain least squares would be sure by a factor of about √20."""
    rng = np.random.default_rng(4)
    room = np.repeat(np.arange(40), 20)
    x = rng.normal(size=40)[room]
    y = rng.normal(size=40)[room] + 0.1 * rng.normal(size=800)
    apart = regress(y, x[:, None], np.arange(800)).se[0]
    assert regress(y, x[:, None], room).se[0] > 3.0 * apart


@pytest.mark.parametrize(("n", "within"), [(100, 0.6), (200, 0.5), (1_000, 0.3)])
def test_a_planted_truth_is_found_the_better_the_more_entries(n: int, within: float) -> None:
    """The interval holds the truth in about 95 % of the cases, and shrinks as 1/√n."""
    truth, held, width = np.array([2.0, -0.5]), [], []
    for seed in range(60):
        rng = np.random.default_rng([n, seed])
        x = np.stack([rng.normal(size=n), rng.random(n) < 0.3], 1).astype(float)
        fit = regress(1.0 + x @ truth + rng.normal(size=n), x, np.arange(n) % 25)
        held.append((fit.low <= truth) & (truth <= fit.high))
        width.append(fit.high - fit.low)
    assert 0.85 <= np.mean(held) <= 1.0
    assert np.mean(width, 0)[0] < within
    assert np.mean(width, 0)[0] == pytest.approx(2 * 2.06 / np.sqrt(n), rel=0.25)


def test_p_values_and_their_correction() -> None:
    p = p_values(np.array([0.0, 0.0, 1.0, 2.0]), np.array([0.0, 1.0, 0.0, 1.0]), 10)
    np.testing.assert_allclose(p, [1.0, 1.0, 0.0, 2 * student.sf(2.0, 10)])
    np.testing.assert_allclose(bonferroni([0.01, 0.2, 0.5]), [0.03, 0.6, 1.0])


def test_inflation_is_one_over_what_others_leave() -> None:
    rng = np.random.default_rng(5)
    a, b = rng.normal(size=(2, 5_000))
    r = np.corrcoef(a, a + b)[0, 1]
    np.testing.assert_allclose(inflation(np.stack([a, a + b], 1)), 1 / (1 - r**2))
    assert inflation(np.stack([a], 1)).tolist() == [1.0]


def test_rewards_of_any_scale_have_the_same_imprint() -> None:
    y = np.random.default_rng(6).normal(size=40)
    np.testing.assert_allclose(standardised(7.0 - 2.0 * y), -standardised(y))
    assert standardised(y).std() == pytest.approx(1.0)
    with pytest.raises(ValueError, match="the same"):
        standardised(np.full(5, 3.0))


def test_differences_of_imprints_are_imprints_of_differences() -> None:
    rng = np.random.default_rng(7)
    x, room = {"a": rng.normal(size=200), "b": rng.normal(size=200)}, np.arange(200) % 20
    one, two = rng.normal(size=(2, 200)) + x["a"]
    rows = {
        (r.reward, r.feature): r
        for r in imprints(x, {"1": one, "2": two, "d": one - two}, room, "f")
        if r.effects == "pooled"
    }
    for name in x:
        assert rows["d", name].estimate == pytest.approx(rows["1", name].estimate - rows["2", name].estimate)
    assert rows["d", "a"].p_adjusted == pytest.approx(min(1.0, 2 * rows["d", "a"].p))


def test_what_is_the_same_all_over_a_room_has_no_imprint_within() -> None:
    rng = np.random.default_rng(8)
    room = np.arange(300) % 10
    columns = {"size": 0.1 * (room % 3), "here": rng.random(300), "twice": rng.random(300)}
    columns["twice"] = 2 * columns["here"] + columns["size"]
    with pytest.raises(UserError, match="'twice' is a sum of multiples of 'size', 'here'"):
        imprints(columns, {"y": rng.normal(size=300)}, room, "f")
    columns["twice"] = 2 * columns["here"] + columns["size"] ** 2
    rows = {r.feature: r for r in imprints(columns, {"y": rng.normal(size=300)}, room, "f") if r.effects == "within"}
    assert np.isnan(rows["size"].estimate) and rows["size"].why == "the same all over each room"
    assert np.isnan(rows["twice"].estimate) and rows["twice"].why == "within rooms it is a sum of here"
    assert np.isfinite(rows["here"].estimate)


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({}, "has no features left"),
        ({"a": [1.0, 2, 3], "b": [1.0, 0, 0]}, "3 steps are too few for the 2 features of f"),
        ({"a": np.arange(9.0), "b": np.ones(9)}, "feature 'b' is the same in all 9 steps, .*--without b"),
        (
            {"a": np.arange(9.0), "b": np.ones(9), "c": -np.arange(9.0)},
            "feature 'b' is the same in all 9 steps, .*; feature 'c' is a sum of multiples of 'a' .*: --without b c$",
        ),
        ({"a": np.ones(9), "b": np.ones(9)}, "features 'a', 'b' are the same in all 9 steps, .*--without a b"),
        (
            {"a": np.arange(9.0) ** 2, "b": np.arange(9.0), "c": 3 - np.arange(9.0)},
            "'c' is a sum of multiples of 'b' .*--without c",
        ),
        ({"a": np.arange(9.0), "b c": np.ones(9)}, "feature 'b c' is the same in all 9 steps, .*--without 'b c'"),
        ({"a": np.arange(9.0), "b c": -np.arange(9.0)}, "'b c' is a sum of multiples of 'a' .*--without 'b c'"),
        (
            {"a": np.arange(9) == 1, "b": np.arange(9) > 1, "c": np.arange(9) < 1},
            "'c' is a sum of multiples of 'a', 'b'",
        ),
    ],
)
def test_features_that_nobody_can_tell_apart_are_refused_by_name(columns: dict[str, np.ndarray], said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        checked_design(columns, "f")
    assert "\n" not in str(caught.value)


def test_features_that_are_nearly_alike_are_not_refused() -> None:
    rng = np.random.default_rng(9)
    a = rng.normal(size=100)
    x = checked_design({"a": a, "b": a + 1e-3 * rng.normal(size=100), "large": 1e9 * rng.normal(size=100)}, "f")
    assert not combinations(x - x.mean(0), ["a", "b", "large"])


def test_too_few_groups_or_entries_are_errors_of_the_caller() -> None:
    with pytest.raises(ValueError, match="too few"):
        regress(np.arange(5.0), np.arange(5.0)[:, None], np.zeros(5))


@pytest.mark.parametrize("within", [False, True])
@pytest.mark.parametrize(("rooms", "told"), [(3, False), (4, False), (5, True)])
def test_fewer_rooms_than_coefficients_tell_no_errors(rooms: int, told: bool, within: bool) -> None:
    """Three features and a constant: scores of G rooms sum to zero, so that four have rank three at most."""
    rng = np.random.default_rng(10)
    room = np.arange(60) % rooms
    x = {name: rng.normal(size=60) for name in "abc"}
    y = x["a"] + rng.normal(size=60)
    fit = regress(y, np.stack(list(x.values()), 1), room, within)
    assert np.isfinite(fit.estimate).all()
    for column in (fit.se, fit.low, fit.high, fit.p):
        assert np.isfinite(column).all() == told and np.isnan(column).all() != told
    assert within or np.isfinite(fit.constant_se) == told
    rows = imprints(x, {"y": y}, room, "f")
    reason = "" if told else f"{rooms} clusters are too few for errors of 3 features"
    assert {row.why for row in rows} == {reason}
    assert all(np.isnan(row.p_adjusted) != told for row in rows)


@pytest.mark.parametrize(("rooms", "held"), [(5, 0.74), (20, 0.90), (80, 0.94)])
def test_intervals_of_few_rooms_hold_the_truth_less_often_than_they_say(rooms: int, held: float) -> None:
    """The coverage that docs/audit.md tells, of a feature of the room beside two others."""
    rng, count = np.random.default_rng(12), 0
    room = np.repeat(np.arange(rooms), 20)
    for _ in range(400):
        x = rng.normal(size=(20 * rooms, 3)) + rng.normal(size=(rooms, 3))[room]
        x[:, 0] = rng.normal(size=rooms)[room]
        fit = regress(rng.normal(size=rooms)[room] + rng.normal(size=20 * rooms), x, room)
        count += bool(fit.low[0] <= 0.0 <= fit.high[0])
    assert count / 400 == pytest.approx(held, abs=0.06)  # three standard errors of 400


def test_an_exact_fit_has_no_error_however_few_rooms_there_are() -> None:
    x = np.random.default_rng(11).normal(size=(40, 2))
    fit = regress(1.0 + 2.0 * x[:, 0], x, np.arange(40) % 2)
    assert fit.se.tolist() == [0.0, 0.0] and fit.p.tolist() == [0.0, 1.0]


def test_a_reward_shift_is_the_signed_angle() -> None:
    before, after = [[1.0, 0], [0, 1], [1, 1], [1, 0]], [[0.0, 2], [3, 0], [2, 2], [-1, 0]]
    np.testing.assert_allclose(reward_shift(before, after), [np.pi / 2, -np.pi / 2, 0.0, np.pi])
