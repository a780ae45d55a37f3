"""Spaces of θ: what they hold, how they are drawn from, and what they say about a wrong θ."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
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


# Other precisions ---------------------------------------------------------------------------------------------


TENTHS = FiniteThetaSpace(
    [Parameter("a", ""), Parameter("b", "")], [(a / 10, b / 7) for a in range(11) for b in (1, 3)]
)


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.float16])
def test_a_point_is_itself_in_every_precision(kind: type[np.floating]) -> None:
    for i, point in enumerate(TENTHS.points):
        given = point.astype(kind)
        assert TENTHS.index(given) == i
        assert TENTHS.resolve(given).tolist() == point.tolist()  # not the rounded numbers
        assert TENTHS.index(given.tolist()) == i or kind is np.float16  # a list does not say that it was rounded


def test_neighbours_and_experts_of_a_rounded_point_are_points() -> None:
    rounded = TENTHS.points[4].astype(np.float32)
    assert TENTHS.neighbours(rounded).tolist() == TENTHS.neighbours(TENTHS.points[4]).tolist()
    space = FiniteThetaSpace(
        PARAMETERS, [(0.1, 0.2), (0.3, 0.7)], hardest=np.float32([0.3, 0.7]), hard=[(0.1 + 0.2, 0.7)]
    )
    assert space.hardest is not None
    assert space.hardest.tolist() == space.hard[0].tolist() == [0.3, 0.7]
    suites = FiniteThetaSpace([Parameter("a", "")], [[0.1]], suites={"s": np.float32([[0.1], [0.15]])}).suites
    assert suites["s"].thetas.tolist() == [[0.1], [float(np.float32(0.15))]]


CLOSE = FiniteThetaSpace([Parameter("a", "")], [[1.0], [1.0 + 1e-8], [3.0]])


def test_points_closer_than_float32_can_tell_are_not_guessed() -> None:
    assert CLOSE.index(np.array([1.0 + 1e-8])) == 1
    assert CLOSE.index([1.0]) == 0
    assert CLOSE.index(np.float32([1.0 + 1e-8])) == -1
    with pytest.raises(ThetaError, match=r"may be \(a=1\.0\) or \(a=1\.00000001\): give all digits, in float64"):
        CLOSE.resolve(np.float32([1.0]))


def test_what_is_farther_than_a_rounding_is_outside_and_the_line_shows_why() -> None:
    assert TENTHS.index((0.10001, 1 / 7)) == -1
    space = FiniteThetaSpace([Parameter("a", "")], [[0.1], [0.2]])
    with pytest.raises(ThetaError) as told:
        space.resolve([0.1000004])
    assert str(told.value) == "θ = (a=0.1000004) is outside the space; the nearest is (a=0.1)"


def test_small_numbers_are_points_of_their_own() -> None:
    space = FiniteThetaSpace([Parameter("rate", "")], [[1e-10], [2e-10], [1.0]])
    assert [space.index([r]) for r in (1e-10, 2e-10, 1.5e-10, 0.0)] == [0, 1, -1, -1]


def test_the_bounds_of_a_box_are_in_it_in_float32() -> None:
    space = BoxThetaSpace(PARAMETERS, [0.7, -0.7], [1.1, 0.1])
    for corner in ([0.7, -0.7], [1.1, 0.1]):
        rounded = np.float32(corner)
        assert rounded.astype(float).tolist() != corner
        assert space.contains(rounded)
        assert space.resolve(rounded).tolist() == np.clip(rounded.astype(float), space.low, space.high).tolist()
    assert not space.contains((0.7001 - 0.001, 0.0))
    assert not space.contains((np.nan, 0.0))


SPACES = {
    "finite": FiniteThetaSpace(PARAMETERS, [[0.0, 1.0], [2.0, 0.5]]),
    "box": BoxThetaSpace(PARAMETERS, [0, 0], [2, 1]),
}


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
@pytest.mark.parametrize(
    "given",
    [
        torch.tensor([2.0, 0.5]),
        torch.tensor([2.0, 0.5], dtype=torch.bfloat16),
        torch.tensor([2.0, 0.5], dtype=torch.float16, requires_grad=True),
        torch.tensor([2.0, 0.5], dtype=torch.bfloat16, requires_grad=True),
        [torch.tensor(2.0, requires_grad=True), 0.5],
    ],
    ids=str,
)
def test_a_tensor_of_any_kind_is_numbers(given: Any, space: FiniteThetaSpace | BoxThetaSpace) -> None:
    assert space.resolve(given).tolist() == [2.0, 0.5]
    assert space.contains(given)
    assert space.index(given) == (1 if space.size else -1)
    assert space.nearest(given).tolist() == [2.0, 0.5]
    assert space.format(given) == "a=2, b=0.5"
    assert space.neighbours(given).shape[1] == 2


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
@pytest.mark.parametrize(
    "given",
    [
        None,
        "ab",
        b"ab",
        {},
        {"a": 2.0, "b": 0.5},
        [],
        2.0,
        [2.0],
        [2.0, 0.5, 1.0],
        [[2.0, 0.5]],
        [2.0, None],
        ["2", "0.5"],
        [2.0, [0.5]],
        [2j, 0.5],
        [2.0, np.nan],
        [np.inf, 0.5],
        [2**80, 0.5],
        object(),
        {2.0, 0.5},
        torch.ones(3),
        torch.ones(2, dtype=torch.complex64),
        torch.ones(2, device="meta"),
    ],
)
def test_what_is_no_theta_is_refused_in_one_line_everywhere(
    given: Any, space: FiniteThetaSpace | BoxThetaSpace
) -> None:
    assert not space.contains(given)
    assert space.index(given) == -1
    assert space.meant(given) is None
    for method in (space.resolve, space.nearest, space.neighbours):
        with pytest.raises(ThetaError) as caught:
            method(given)
        assert "\n" not in str(caught.value)


def own_draws(result: Any) -> Any:
    def drawn_by_me(rng: np.random.Generator, n: int) -> Any:
        return result

    return drawn_by_me


@pytest.mark.parametrize(
    ("result", "told"),
    [
        (np.zeros(3), r"must return shape \(3, 1\).*got shape \(3,\)"),
        (np.zeros((2, 1)), r"got shape \(2, 1\)"),
        (None, "got None"),
        ([["a"]] * 3, "got "),
        ([[0.05], [0.2], [0.0]], r"leaves the space: it drew \(a=0.2\)"),
        ([[0.05], [np.nan], [0.0]], r"it drew \(a=nan\)"),
        ([[np.inf]] * 3, r"it drew \(a=inf\)"),
    ],
)
def test_what_a_sampler_draws_outside_the_box_is_told_with_its_name(result: Any, told: str) -> None:
    space = BoxThetaSpace([Parameter("a", "")], [0.0], [0.1], sampler=own_draws(result))
    with pytest.raises(ThetaError, match=rf"sampler\(rng, 3\) of the θ space, .*drawn_by_me, .*{told}") as caught:
        space.sample(np.random.default_rng(0), 3)
    assert "\n" not in str(caught.value)


def test_a_sampler_in_float32_stays_in_the_box() -> None:
    space = BoxThetaSpace([Parameter("a", "")], [0.0], [0.1], sampler=lambda rng, n: np.full((n, 1), np.float32(0.1)))
    assert float(np.float32(0.1)) > 0.1
    assert space.sample(np.random.default_rng(0), 2).tolist() == [[0.1], [0.1]]


# What is refused when a space is made --------------------------------------------------------------------------


def test_a_space_keeps_its_own_numbers() -> None:
    points, weights = np.array([[0.0], [1.0]]), np.array([1.0, 3.0])
    space = FiniteThetaSpace([Parameter("a", "")], points, weights)
    points[:], weights[:] = 9, 9
    assert (space.points.tolist(), space.weights.tolist()) == ([[0.0], [1.0]], [0.25, 0.75])
    space.nearest([0.1])[:] = 7
    assert space.points.tolist() == [[0.0], [1.0]]


def test_weights_whose_sum_leaves_float64_are_kept() -> None:
    assert FiniteThetaSpace([Parameter("a", "")], [[0], [1]], [1e308, 1e308]).weights.tolist() == [0.5, 0.5]


def test_sets_are_points_of_the_space_and_described() -> None:
    space = FiniteThetaSpace(PARAMETERS, [(0.3, 0.2), (0.3, 0.7)], sets={"noisy": np.float32([[0.3, 0.7]])})
    assert space.sets["noisy"].tolist() == [[0.3, 0.7]]
    assert "set noisy: 1 θ" in space.describe()
    assert not FiniteThetaSpace(PARAMETERS, [(0.3, 0.2)]).sets


ONE = [Parameter("a", "")]
WRONG_FINITE: list[tuple[dict[str, object], str]] = [
    ({"points": []}, "shape"),
    ({"points": np.zeros((0, 1))}, "at least one point"),
    ({"points": [[0], [np.nan]]}, "points must be finite numbers, got nan"),
    ({"points": [[0], [np.inf]]}, "points must be finite numbers, got inf"),
    ({"points": [[0], [1, 2]]}, "points must be numbers"),
    ({"points": [["x"]]}, "points must be numbers"),
    ({"points": [[0.3], [0.1 + 0.2]]}, "different, but"),
    ({"points": [[0], [1]], "weights": [np.nan, 1]}, "weights must be finite"),
    ({"points": [[0], [1]], "weights": [np.inf, 1]}, "weights must be finite"),
    ({"points": [[0], [1]], "weights": ["a", "b"]}, "one weight for each of its 2 points"),
    ({"points": [[0], [1]], "weights": 1.0}, r"one weight for each of its 2 points, got shape \(\)"),
    ({"points": [[0], [1]], "hardest": 1.0}, r"hardest must have shape \(1,\), got \(\)"),
    ({"points": [[0], [1]], "hardest": [[1.0]]}, r"hardest must have shape \(1,\), got \(1, 1\)"),
    ({"points": [[0], [1]], "hardest": [np.nan]}, "hardest must be finite"),
    ({"points": [[0], [1]], "hardest": "1"}, "hardest must be 1 numbers"),
    ({"points": [[0], [1]], "hard": [1.0]}, r"hard must have shape \(n, 1\)"),
    ({"points": [[0], [1]], "sets": {"noisy": [[2]]}}, r"set 'noisy': θ \[2.0\] is not a point of the space"),
    ({"points": [[0], [1]], "sets": {"noisy": np.zeros((0, 1))}}, "set 'noisy' has no θ"),
    ({"points": [[0], [1]], "sets": {"noisy": [1.0]}}, r"set 'noisy' must have shape \(n, 1\)"),
    ({"points": [[0], [1]], "sets": {"hard": [[1]]}}, "not hard or exact; got 'hard'"),
    ({"points": [[0], [1]], "sets": {"return_far": [[1]]}}, "letters, digits and hyphens.* got 'return_far'"),
    ({"points": [[0], [1]], "sets": {1: [[1]]}}, "letters, digits and hyphens.* got 1"),
    ({"points": [[0], [1]], "sets": [[1]]}, "sets must be a mapping"),
    ({"points": [[0], [1]], "suites": {"far": []}}, "suite 'far'"),
    ({"points": [[0], [1]], "suites": {"far": np.zeros((0, 1))}}, "suite 'far' has no θ"),
    ({"points": [[0], [1]], "suites": {"far": [[np.inf]]}}, "suite 'far' must be finite"),
    ({"points": [[0], [1]], "suites": {"far": Suite(np.ones((1, 1)), "x")}}, "env_kwargs must be a mapping"),  # type: ignore[arg-type]
    ({"points": [[0], [1]], "suites": [[1.0]]}, "suites must be a mapping"),
    ({"points": [[0], [1]], "groups": [[0], [1, 2]], "group_names": ("x",)}, "one integer for each point"),
    ({"parameters": [], "points": np.zeros((1, 0))}, "at least one Parameter"),
    ({"parameters": ["a"], "points": [[0]]}, r"must be Parameter\(name, description\), got 'a'"),
    ({"parameters": ONE * 2, "points": [[0, 0]]}, "different names, but two are called 'a'"),
]


@pytest.mark.parametrize(("kwargs", "why"), WRONG_FINITE, ids=lambda value: value if isinstance(value, str) else "")
def test_a_finite_space_of_wrong_numbers_is_refused_in_one_line(kwargs: dict[str, object], why: str) -> None:
    with pytest.raises(ThetaError, match=why) as told:
        FiniteThetaSpace(**{"parameters": ONE, **kwargs})  # type: ignore[arg-type]
    assert "\n" not in str(told.value)


WRONG_BOX: list[tuple[dict[str, object], str]] = [
    ({"high": [np.inf]}, "high must be finite numbers, got inf"),
    ({"low": [-np.inf]}, "low must be finite numbers, got -inf"),
    ({"high": [np.nan]}, "high must be finite numbers, got nan"),
    ({"low": [-1e308], "high": [1e308]}, "finite distance"),
    ({"low": [1.0], "high": [0.0]}, "low < high"),
    ({"low": 0.0}, r"low must have shape \(1,\), got \(\)"),
    ({"low": [0.0, 0.0]}, r"low must have shape \(1,\), got \(2,\)"),
    ({"high": ["x"]}, "high must be 1 numbers"),
    ({"hardest": 0.5}, r"hardest must have shape \(1,\), got \(\)"),
    ({"hardest": [2.0]}, r"hard θ \[2.0\] lies outside the box"),
    ({"hard": [[5.0]]}, r"hard θ \[5.0\] lies outside the box"),
    ({"step": 0.0}, "step must be a share"),
    ({"step": np.nan}, "step must be a share"),
    ({"sampler": 3}, "sampler must be a function"),
]


@pytest.mark.parametrize(("kwargs", "why"), WRONG_BOX, ids=lambda value: value if isinstance(value, str) else "")
def test_a_box_of_wrong_numbers_is_refused_in_one_line(kwargs: dict[str, object], why: str) -> None:
    with pytest.raises(ThetaError, match=why) as told:
        BoxThetaSpace(ONE, **{"low": [0.0], "high": [1.0], **kwargs})  # type: ignore[arg-type]
    assert "\n" not in str(told.value)
