"""Spaces of θ: what they hold, how they are drawn from, and what they say about a wrong θ."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from waker_envs import BoxThetaSpace, FiniteThetaSpace, Parameter, Suite, ThetaError

PARAMETERS = [Parameter("a", "first", "m"), Parameter("b", "second")]
GRID = [(a, b) for a in (0.0, 1.0, 2.0) for b in (0.0, 0.5)]


def finite(**kwargs: object) -> FiniteThetaSpace:
    return FiniteThetaSpace(PARAMETERS, GRID, **kwargs)  # type: ignore[arg-type]


def test_index_is_the_place_in_the_list_and_minus_one_outside() -> None:
    space = finite()
    assert [space.index(p) for p in GRID] == list(range(6))
    assert space.index((3.0, 0.0)) == space.index((0.0,)) == -1


def test_index_forgives_rounding() -> None:
    space = FiniteThetaSpace([Parameter("a", "")], [[0.3]])
    assert space.index([0.1 + 0.2]) == 0


def test_weights_are_the_frequencies_of_sample() -> None:
    weights = np.array([1, 2, 3, 4, 0, 10.0])
    space = finite(weights=weights)
    drawn = space.sample(np.random.default_rng(0), 20_000)
    counts = np.bincount([space.index(theta) for theta in drawn], minlength=6) / 20_000
    np.testing.assert_allclose(counts, weights / 20, atol=0.012)  # 3.4 standard errors of the largest
    assert counts[4] == 0


def test_neighbours_differ_in_one_coordinate_by_one_place() -> None:
    assert sorted(map(tuple, finite().neighbours((1.0, 0.0)))) == [(0.0, 0.0), (1.0, 0.5), (2.0, 0.0)]


def test_neighbours_leave_out_points_that_are_not_there() -> None:
    space = FiniteThetaSpace(PARAMETERS, [(0, 0), (0, 1), (1, 1)])
    assert space.neighbours((0, 0)).tolist() == [[0, 1]]


@pytest.mark.parametrize(
    "kwargs",
    [
        {"weights": [1, 2]},
        {"weights": [0] * 6},
        {"weights": [-1, 1, 1, 1, 1, 1]},
        {"hard": [[9, 9]]},
        {"hardest": [9, 9]},
        {"suites": {"s": [[1, 2, 3]]}},
    ],
)
def test_a_finite_space_refuses_what_does_not_fit(kwargs: dict[str, object]) -> None:
    with pytest.raises(ThetaError):
        finite(**kwargs)


def test_points_must_differ() -> None:
    with pytest.raises(ThetaError, match="different"):
        FiniteThetaSpace([Parameter("a", "")], [[1], [1]])


def test_suites_come_as_arrays_or_with_constructor_arguments() -> None:
    space = finite(suites={"far": [[9, 9]], "fresh": Suite(np.array(GRID), {"n_layouts": None})})
    assert space.suites["far"].thetas.tolist() == [[9, 9]]
    assert space.suites["far"].env_kwargs == {}
    assert space.suites["fresh"].env_kwargs == {"n_layouts": None}
    assert "suite fresh: 6 θ, made with n_layouts=None" in space.describe()


def test_nearest_scales_each_coordinate_by_its_range() -> None:
    assert finite().nearest((1.2, 0.4)).tolist() == [1.0, 0.5]


def test_describe_and_format_name_the_parameters() -> None:
    assert "a ∈ {0, 1, 2} m: first" in finite().describe()
    assert finite().format((1, 0.5)) == "a=1, b=0.5"


def box(**kwargs: object) -> BoxThetaSpace:
    return BoxThetaSpace(PARAMETERS, [0, -1], [2, 1], **kwargs)  # type: ignore[arg-type]


@given(st.integers(0, 2**32 - 1), st.integers(1, 50))
def test_draws_from_a_box_lie_in_it(seed: int, n: int) -> None:
    drawn = box().sample(np.random.default_rng(seed), n)
    assert drawn.shape == (n, 2)
    assert all(box().contains(theta) for theta in drawn)


def test_a_box_uses_its_own_sampler() -> None:
    space = box(sampler=lambda rng, n: np.tile([1.0, 0.0], (n, 1)))
    assert space.sample(np.random.default_rng(0), 3).tolist() == [[1, 0]] * 3


def test_neighbours_in_a_box_stop_at_its_sides() -> None:
    found = sorted(map(tuple, box(step=0.1).neighbours((0.0, 0.0)).round(9).tolist()))
    assert found == [(0.0, -0.2), (0.0, 0.2), (0.2, 0.0)]


def test_a_box_has_no_ids_and_clips_to_the_nearest() -> None:
    assert box().size is None
    assert box().index((1, 0)) == -1
    assert box().nearest((5, 0)).tolist() == [2, 0]
    assert not box().contains((1, np.nan))
    assert "b ∈ [-1, 1]: second" in box().describe()


def test_a_box_needs_room() -> None:
    with pytest.raises(ThetaError, match="low < high"):
        BoxThetaSpace([Parameter("a", "")], [1], [1])
