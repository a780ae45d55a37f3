"""The law of reward against compute: examples by hand, its search, and a power law."""

from __future__ import annotations

import numpy as np
import pytest

from waker.analysis.scaling_law import Fixed, Law, fit_many, fit_one, fit_power, gained, linearised
from waker.errors import UserError

LAW = Law(0.2, 0.6, 2.0, 1000.0)


def test_values_by_hand() -> None:
    # R = 0.2 + 0.4 / (1 + (1000/C)²): a half of the gain at C_mid, 9/10 at three times as much.
    assert LAW.at([1000.0, 3000.0]) == pytest.approx([0.4, 0.56], abs=1e-15)
    assert round(float(LAW.at(10_000.0)), 5) == 0.59604
    assert round(float(LAW.tail(10_000.0)), 5) == 0.596
    assert LAW.at(0.0) == 0.2


def test_the_tail_is_a_power_law() -> None:
    # D = (A − R₀)·C_mid^B = 0.4·10⁶.
    assert LAW.tail(2000.0) == pytest.approx(0.6 - 0.4e6 / 2000.0**2, abs=1e-15)
    far = np.array([1e5, 1e6])
    assert LAW.at(far) == pytest.approx(LAW.tail(far), rel=1e-6)


def test_the_linearised_law_is_compute_to_the_steepness() -> None:
    assert float(linearised(0.56, 0.2, 0.6, 1000.0, 2.0)) == pytest.approx(3000.0**2, rel=1e-12)
    compute = np.geomspace(10.0, 1e5, 9)
    slopes = np.diff(np.log(linearised(LAW.at(compute), *LAW[:2], LAW.mid, LAW.steepness))) / np.diff(np.log(compute))
    assert slopes == pytest.approx(np.full(8, 2.0), rel=1e-6)
    assert np.isnan(linearised([0.1, 0.2, 0.6, 0.7], 0.2, 0.6, 1000.0, 2.0)).all()


def test_twelve_points_without_noise_give_the_law_back() -> None:
    compute = np.geomspace(100.0, 10_000.0, 12)
    found, error = fit_one(compute, LAW.at(compute), 0.2)
    assert found == pytest.approx(LAW, rel=1e-6)
    assert error < 1e-20


def test_half_of_the_gain_is_at_c_mid_whatever_the_steepness() -> None:
    assert gained(7.0, 7.0, [0.3, 1.0, 5.0]) == pytest.approx([0.5] * 3)


def test_many_curves_are_searched_like_each_alone() -> None:
    compute = np.linspace(1.0, 18.0, 18)
    laws = [Law(0.059, 0.8, 1.5, 4.0), Law(0.059, 0.5, 3.0, 8.0), Law(0.059, 0.95, 0.8, 3.0)]
    found = fit_many(compute, np.stack([law.at(compute) for law in laws]), 0.059)
    for at, law in enumerate(laws):
        assert found.asymptote[at] == pytest.approx(law.asymptote, abs=2e-3)
        assert found.steepness[at] == pytest.approx(law.steepness, rel=1e-2)
        assert found.mid[at] == pytest.approx(law.mid, rel=1e-2)


def test_no_point_of_a_fine_grid_is_better_than_the_fit() -> None:
    rng = np.random.default_rng(3)
    compute = np.linspace(1.0, 18.0, 18)
    noisy = Law(0.059, 0.8, 1.5, 6.0).at(compute) + 0.03 * rng.standard_normal(18)
    _, error = fit_one(compute, noisy, 0.059)
    for asymptote in np.linspace(0.3, 1.0, 36):
        for mid in np.geomspace(1.0, 180.0, 60):
            shape = gained(compute[:, None], mid, np.geomspace(0.2, 10.0, 60))  # (n, B)
            off = ((0.059 + (asymptote - 0.059) * shape - noisy[:, None]) ** 2).sum(0)
            assert off.min() >= error - 1e-12


def test_a_given_asymptote_stays() -> None:
    compute = np.geomspace(100.0, 10_000.0, 12)
    found, _ = fit_one(compute, LAW.at(compute), 0.2, Fixed(asymptote=0.7))
    assert found.asymptote == 0.7
    assert found.steepness < 2.0  # a higher asymptote is come to more slowly


def test_an_asymptote_is_a_share() -> None:
    compute = np.linspace(1.0, 10.0, 10)
    found, _ = fit_one(compute, 0.15 * compute, 0.0)  # a line that would leave [0, 1]
    assert found.asymptote <= 1.0


def test_a_power_law_is_given_back() -> None:
    compute = np.geomspace(10.0, 1000.0, 8)
    found, error = fit_power(compute, 0.9 - 2.0 * compute**-0.5)
    assert found == pytest.approx((0.9, 2.0, 0.5), rel=1e-5)
    assert error < 1e-12
    assert found.at(1e4) == pytest.approx(0.88, abs=1e-6)


def test_a_flat_curve_is_a_power_law_without_gain() -> None:
    found, error = fit_power([1.0, 2.0, 3.0], [0.5, 0.5, 0.5])
    assert found.asymptote == pytest.approx(0.5) and found.scale == pytest.approx(0.0) and error == 0.0


@pytest.mark.parametrize(
    ("compute", "reward", "floor", "told"),
    [
        ([1.0, 2.0], [0.1], 0.0, "2 amounts of compute and 1 rewards"),
        ([0.0, 2.0], [0.1, 0.2], 0.0, "must be positive"),
        ([2.0, 2.0], [0.1, 0.2], 0.0, "increasing"),
        ([1.0, np.inf], [0.1, 0.2], 0.0, "finite"),
        ([1.0, 2.0], [0.1, np.nan], 0.0, "rewards must be finite"),
        ([1.0, 2.0], [0.1, 0.2], 1.0, "below 1"),
        ([1.0, 2.0], [0.1, 0.2], np.nan, "below 1"),
        ([], [], 0.0, "must be positive"),
    ],
)
def test_what_is_no_curve_is_told_in_one_line(
    compute: list[float], reward: list[float], floor: float, told: str
) -> None:
    with pytest.raises(UserError, match=told) as error:
        fit_one(compute, reward, floor)
    assert "\n" not in str(error.value)
