"""Worst cases from noisy episodes: by hand, against brute force, and whether intervals hold the truth."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from waker.analysis.metrics import Floats, tail_weights
from waker.analysis.worst import Bracket, Sample, arrange, cvar_of, geometric, worst_of


def sample(x: NDArray[np.float64]) -> Sample:
    """Values (M, N, K) of every θ, unit and task."""
    theta, unit, task = (index.ravel() for index in np.indices(x.shape))
    return arrange(theta, unit, x.ravel(), task)


def bracket(x: NDArray[np.float64], **more: int) -> Bracket:
    return worst_of(sample(x), np.random.default_rng(0), **more)


def test_by_hand() -> None:
    x = np.array([[[1.0], [5.0], [3.0]], [[4.0], [0.0], [5.0]]])  # means 3 and 3; units 0 and 2 | 1: 2, 4.5 | 5, 0
    found = bracket(x)
    assert found.plug_in == pytest.approx(3.0)
    assert found.split == pytest.approx(0.5 * (0.0 + 2.0))
    assert found.cells.tolist() == [[1.0], [0.0]]


def test_rows_of_one_unit_and_cell_are_added_up() -> None:
    found = arrange([0, 0, 0, 1], [7, 7, 9, 3], [1.0, 2.0, 4.0, 8.0], [0, 0, 0, 1])
    assert found.units.tolist() == [2, 1]
    assert found.sums[..., 0].tolist() == [[3.0, 4.0], [0.0, 0.0]]
    assert found.counts[..., 1].tolist() == [[0.0, 0.0], [1.0, 0.0]]
    assert worst_of(found, np.random.default_rng(0)).plug_in == 8.0


@pytest.mark.parametrize("tasks", [1, 3])
def test_the_jackknife_is_that_of_independent_samples(tasks: int) -> None:
    """Against leaving out every unit in turn, held inside the bracket."""
    inside = 0
    for seed in range(10):
        x = np.random.default_rng(seed).normal(size=(4, 5, tasks))
        whole = x.mean(1).max()
        bias = 0.0
        for theta in range(4):
            without = []
            for unit in range(5):
                means = x.mean(1)
                means[theta] = np.delete(x[theta], unit, 0).mean(0)
                without.append(means.max())
            bias += 4 * (np.mean(without) - whole)
        found = bracket(x, repetitions=0)
        least = min(max(found.split, x.mean()), whole)
        assert found.corrected == pytest.approx(np.clip(whole - bias, least, whole))
        inside += least < whole - bias < whole - 1e-6
    assert inside >= 2


def test_a_correction_stays_inside_its_bracket() -> None:
    ties = np.zeros((20, 10, 1))
    ties[:, 0] = 1.0
    found = bracket(ties)
    assert found.split <= found.corrected <= found.plug_in
    assert (found.split, found.plug_in) == pytest.approx((0.1, 0.1))


def test_nothing_is_told_that_cannot_be() -> None:
    once = worst_of(arrange([0, 1], [0, 0], [1.0, 2.0]), np.random.default_rng(0))
    assert once.plug_in == 2.0
    assert np.isnan(once[1:5]).all()
    hidden = bracket(np.array([[[1.0], [np.nan]], [[1.0], [2.0]]]))
    assert np.isnan(hidden[:5]).all()
    with pytest.raises(ValueError, match="no values"):
        worst_of(Sample(np.zeros((1, 1, 1)), np.zeros((1, 1, 1)), np.array([1])), np.random.default_rng(0))


def test_values_without_noise_are_their_own_interval() -> None:
    assert bracket(np.repeat([[[1.0]], [[4.0]]], 3, 1))[:5] == (4.0, 4.0, 4.0, 4.0, 4.0)


def test_a_lucky_streak_is_not_certainty() -> None:
    """A θ whose few episodes are all alike borrows the noise of the others."""
    x = np.random.default_rng(0).normal(size=(6, 4, 1))
    x[0] = 5.0
    found = bracket(x)
    assert found.low < 5.0 < found.high


def test_cvar_over_theta_by_hand() -> None:
    means = np.array([1.0, 5.0, 3.0, 4.0])
    x = np.repeat(means[:, None, None], 2, 1)
    found = cvar_of(sample(x), 0.375, np.random.default_rng(0))  # one and a half of four
    assert found.plug_in == found.split == pytest.approx((5.0 + 0.5 * 4.0) / 1.5)
    assert tail_weights(means, np.full(4, 0.25), 0.375).tolist() == pytest.approx([2 / 3, 0, 1 / 3, 0])


def simulate(
    means: NDArray[np.float64],
    units: int,
    n: int,
    *,
    tasks: int = 1,
    noise: Callable[..., Floats] = np.random.Generator.normal,
    seed: int = 0,
    repetitions: int = 1000,
) -> list[Bracket]:
    """Brackets of n samples; tasks of a unit share half of their noise."""
    rng = np.random.default_rng(seed)
    shape = (n, len(means), units)
    together, apart = noise(rng, size=(*shape, 1)), noise(rng, size=(*shape, tasks))
    x = means[:, None, None] + (together if tasks == 1 else math.sqrt(0.5) * (together + apart))
    return [worst_of(sample(one), rng, repetitions=repetitions) for one in x]


def covered(found: list[Bracket], truth: float) -> float:
    return float(np.mean([b.low <= truth <= b.high for b in found]))


LEAST = 0.95 - 3 * math.sqrt(0.95 * 0.05 / 150)
"""Nominal, within the error of 150 samples."""
ALIKE, ONE_HARD = np.zeros(12), np.r_[np.zeros(11), 4.0]


def test_a_percentile_bootstrap_of_a_maximum_never_covers_and_ours_does() -> None:
    rng, n, units = np.random.default_rng(0), 150, 10
    holds = 0
    for _ in range(n):
        x = rng.normal(size=(12, units))
        drawn = rng.integers(units, size=(400, 12, units))
        maxima = x[np.arange(12)[:, None], drawn].mean(2).max(1)
        low, high = np.quantile(maxima, [0.025, 0.975])
        holds += low <= 0.0 <= high
    assert holds <= 0.02 * n
    assert covered(simulate(ALIKE, units, n), 0.0) >= LEAST


@pytest.mark.parametrize(
    ("means", "units", "tasks"), [(ALIKE, 4, 1), (ALIKE, 10, 3), (ONE_HARD, 4, 1), (ONE_HARD, 10, 3)]
)
def test_the_simultaneous_interval_covers(means: NDArray[np.float64], units: int, tasks: int) -> None:
    assert covered(simulate(means, units, 150, tasks=tasks), means.max()) >= LEAST


def test_the_simultaneous_interval_covers_where_returns_are_skewed() -> None:
    def exponential(rng: np.random.Generator, size: tuple[int, ...]) -> Floats:
        return rng.exponential(size=size) - 1.0

    assert covered(simulate(ALIKE, 10, 150, noise=exponential), 0.0) >= LEAST


def test_bonferroni_agrees_on_the_lower_limit() -> None:
    """Student's quantile with Bonferroni's share: for independent Gaussian cells nearly exact."""
    from scipy import stats

    x = np.random.default_rng(3).normal(size=(18, 30, 1))
    errors = x[..., 0].std(1, ddof=1) / math.sqrt(30)
    expected = (x[..., 0].mean(1) - stats.t.ppf(1 - 0.025 / 18, 29) * errors).max()
    assert bracket(x).low == pytest.approx(expected, abs=0.35 * errors.mean())


def test_the_bracket_holds_the_truth_on_average_and_the_correction_is_nearer() -> None:
    for means in (ALIKE, np.linspace(0, 1, 12)):
        found, truth = simulate(means, 10, 150, seed=1, repetitions=0), means.max()
        error = {name: np.mean([getattr(b, name) for b in found]) - truth for name in ("plug_in", "split", "corrected")}
        spread = np.std([b.split for b in found]) / math.sqrt(150)
        assert error["split"] < 3 * spread
        assert error["plug_in"] > 0.1
        assert abs(error["corrected"]) < 0.75 * error["plug_in"]


def test_the_geometric_mean_is_exact_for_gaussian_theta() -> None:
    """E plug-in · E split = E² of the maximum of true means, whatever the noise; two units a θ take it."""
    rng, n, theta, tau, noise = np.random.default_rng(0), 4000, 18, 1.0, 1.5
    true = tau * rng.normal(size=(n, theta))
    a, b = (true + noise * rng.normal(size=(n, theta)) for _ in range(2))
    at = np.arange(n)
    plug_in = 0.5 * (a.max(1) + b.max(1)).mean()
    split = 0.5 * (b[at, a.argmax(1)] + a[at, b.argmax(1)]).mean()
    assert plug_in > 1.5 * true.max(1).mean()
    assert split < 0.7 * true.max(1).mean()
    assert geometric(plug_in, split, 0.0) == pytest.approx(true.max(1).mean(), rel=0.02)
    assert geometric(1.0, -1.0, 0.0) == 0.0
    found = bracket(np.stack([a[0], b[0]], 1)[..., None])
    centre = 0.5 * (a[0].mean() + b[0].mean())
    halves = 0.5 * (a[0].max() + b[0].max())
    assert found.corrected == pytest.approx(min(geometric(halves, found.split, centre), found.plug_in))


def test_where_many_cells_are_nearly_the_worst_the_correction_stays_above_the_truth() -> None:
    """18 θ, 3 tasks and 16 units, regret 0 or 18; three θ lose 8.1 in the mean of every task, the others nothing."""
    rng, chance = np.random.default_rng(0), np.zeros((18, 1, 1))
    chance[:3] = 0.45
    found = [bracket(np.where(rng.random((18, 16, 3)) < chance, 18.0, 0.0), repetitions=0) for _ in range(200)]
    errors = {name: np.mean([getattr(b, name) for b in found]) - 8.1 for name in ("plug_in", "corrected", "split")}
    assert errors["plug_in"] == pytest.approx(3.4, abs=0.3)
    assert errors["corrected"] == pytest.approx(2.4, abs=0.4)
    assert errors["split"] == pytest.approx(0.0, abs=0.4)
