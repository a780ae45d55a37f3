"""What callers hand in: what fits is taken as it is, what does not is told in one line of ours, not numpy's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import waker_envs
from waker_envs import BoxThetaSpace, FiniteThetaSpace, Parameter, ThetaError
from waker_envs.checked import check_choice, check_names, checked_count, checked_index, checked_numbers, shown

NO_NUMBERS = ("ab", None, ["a", "b"], ["1", "2"], [[0.1], [0.1, 0.2]], [None, 0.5], np.array([0.1, 0.2], object), {})
ROBOTS = ("TerrainWalker", "TerrainHopper", "CleanUp", "CarCleanUp", "Combined")
GRIDS = ("GridHazards", "GridCleanUp", "DoorKey")


def test_numbers_come_as_float64_of_whatever_kind() -> None:
    for value in ([1, 0], (True, False), np.array([1, 0], np.int8), np.array([1, 0], np.float32)):
        numbers = checked_numbers("it", value, 2)
        assert numbers.dtype == np.float64
        assert numbers.tolist() == [1.0, 0.0]


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ([0.0], "it must have shape (2,) for (a, b), got (1,)"),
        ([0.0, np.inf], "it is not finite: [0.0, inf]"),
        (["a", "b"], "it must have shape (2,) for (a, b) and be numbers, got ['a', 'b']"),
    ],
)
def test_each_mistake_has_its_line(value: Any, told: str) -> None:
    with pytest.raises(ThetaError) as caught:
        checked_numbers("it", value, 2, " for (a, b)", ThetaError)
    assert str(caught.value) == told


@pytest.mark.parametrize("value", [3, 3.0, np.int64(3), np.array(3), np.array([3])])
def test_an_index_is_a_whole_number_in_range(value: Any) -> None:
    assert checked_index("it", value, 4) == 3
    with pytest.raises(ValueError, match="^it must be a whole number from 0 to 2, got"):
        checked_index("it", value, 3)


@pytest.mark.parametrize("value", [0, -3, 2.5, float("nan"), "9", True, None])
def test_a_count_is_a_whole_number_of_at_least_one(value: Any) -> None:
    assert checked_count("length", np.int64(7)) == 7
    with pytest.raises(ValueError, match="length must be a whole number of at least 1, got"):
        checked_count("length", value)


@pytest.mark.parametrize("value", ["c", ["a"], None, {}, np.array(["a", "b"])])
def test_a_choice_is_one_of_the_names(value: Any) -> None:
    check_choice("it", "b", ("a", "b"))
    with pytest.raises(ValueError, match=r"^it must be 'a' or 'b', got .+$"):
        check_choice("it", value, ("a", "b"))


def test_a_value_in_a_message_is_one_short_line() -> None:
    for value in (np.zeros((30, 30)), "x" * 1000, list(range(1000)), "a\nb"):
        assert len(shown(value)) < 100
        assert "\n" not in shown(value)


@pytest.mark.parametrize("name", ROBOTS + GRIDS)
def test_theta_that_is_no_number_is_told_in_one_line(name: str) -> None:
    env = waker_envs.make(name) if name in GRIDS else waker_envs.make(name, obs="proprio")
    wanted = f"θ must have shape ({env.theta_space.dim},) for ({', '.join(env.theta_space.names)})"
    for theta in NO_NUMBERS[:1] + NO_NUMBERS[2:]:  # None asks for one from DR
        with pytest.raises(ThetaError) as caught:
            env.reset(options={"theta": theta})
        assert str(caught.value).startswith(f"{wanted} and be numbers, got ")
        assert "\n" not in str(caught.value)
    with pytest.raises(ThetaError, match="^θ is not finite"):
        env.reset(options={"theta": np.full(env.theta_space.dim, np.nan)})


@pytest.mark.parametrize("name", ROBOTS)
def test_actions_that_are_no_numbers_are_told_in_one_line(name: str) -> None:
    env = waker_envs.make(name, obs="proprio")
    env.reset(seed=0)
    for action in NO_NUMBERS:
        with pytest.raises(ValueError) as caught:
            env.step(action)
        assert str(caught.value).startswith(f"the action must have shape {env.action_space.shape} and be numbers, got ")
        assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match=r"^the action is not finite: \[nan, "):
        env.step(np.full(env.action_space.shape or (), np.nan))


@pytest.mark.parametrize("name", GRIDS)
def test_grids_take_one_whole_number_in_range(name: str) -> None:
    env = waker_envs.make(name)
    env.reset(seed=0)
    for action in (*NO_NUMBERS, 1.5, np.nan, [0, 1], -1, 99):
        with pytest.raises(ValueError) as caught:
            env.step(action)
        assert str(caught.value).startswith("the action must be a whole number from 0 to ")
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("wrong", [["proprio"], {}, None, 3, "text"])
def test_arguments_that_are_no_such_name_are_told_in_one_line(wrong: Any) -> None:
    cases = [(name, argument) for name in ROBOTS for argument in ("obs", "look")]
    cases += [("TerrainWalker", "ground"), ("TerrainHopper", "ground"), *((name, "obs") for name in GRIDS)]
    for name, argument in cases:
        with pytest.raises(ValueError, match=rf"^{argument} must be '.*' or '.*', got .+$"):
            waker_envs.make(name, **{argument: wrong})


def test_an_author_s_theta_must_be_numbers_too() -> None:
    one = [waker_envs.Parameter("a", "the only one")]
    for given in ([["a"]], [[1.0], [1.0, 2.0]]):
        with pytest.raises(ThetaError, match=r"^points must be numbers of shape \(n, 1\), got"):
            waker_envs.FiniteThetaSpace(one, given)  # type: ignore[arg-type]
        with pytest.raises(ThetaError, match=r"^suite 'far' must be numbers of shape \(n, 1\), got"):
            waker_envs.FiniteThetaSpace(one, [[0.0]], suites={"far": given})  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("given_names", "told"),
    [
        (["a", 3], "task 3 is of type int; its name must be text"),
        (["a", b"b"], "is of type bytes; its name must be text"),
        (["\ud800"], "is no valid Unicode"),
        (["a\n", "b", "a\n"], r"task 'a\n' is there twice"),
    ],
)
def test_names_that_no_table_can_hold_are_refused(given_names: list[str], told: str) -> None:
    with pytest.raises(ValueError) as caught:
        check_names("task", given_names)
    assert told in str(caught.value)
    assert str(caught.value).isprintable()


def test_parameters_and_suites_of_one_name_are_refused_where_a_space_is_made() -> None:
    twice = [Parameter("wind", ""), Parameter("wind", "")]
    for make in (lambda p: FiniteThetaSpace(p, [[0.0, 1.0]]), lambda p: BoxThetaSpace(p, [0, 0], [1, 1])):
        with pytest.raises(ThetaError, match="two are called 'wind'"):
            make(twice)
    with pytest.raises(ThetaError, match="suite 3 is of type int"):
        FiniteThetaSpace(twice[:1], [[0.0]], suites={3: [[0.0]]})  # type: ignore[dict-item]
