"""Actions as physics takes them: clipped, float64, and refused where they would spoil the simulation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from waker_envs.physics.control import checked_action


def test_values_outside_are_clipped_and_those_inside_kept() -> None:
    action = checked_action([-7, -0.25, 0.5, 1.0, 1e30], 5)
    assert action.dtype == np.float64
    assert action.tolist() == [-1.0, -0.25, 0.5, 1.0, 1.0]


def test_the_caller_s_array_is_neither_changed_nor_kept() -> None:
    given = np.array([2.0, 0.5])
    checked_action(given, 2)[:] = 0.0
    assert given.tolist() == [2.0, 0.5]


@pytest.mark.parametrize("action", [0.5, [], [0.1], [0.1, 0.2, 0.3], [[0.1, 0.2]]])
def test_another_shape_is_refused(action: Any) -> None:
    with pytest.raises(ValueError, match=r"must have shape \(2,\), got \("):
        checked_action(action, 2)


@pytest.mark.parametrize("action", ["ab", None, ["a", "b"], ["1", "2"], [[0.1], [0.1, 0.2]], [1j, 0], [None, 0.0], {}])
def test_what_is_no_number_is_refused_in_one_line(action: Any) -> None:
    with pytest.raises(ValueError, match=r"^the action must have shape \(2,\) and be numbers, got .+$"):
        checked_action(action, 2)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match=r"the action is not finite: \[0\.0, (nan|-?inf)\]"):
        checked_action([0.0, value], 2)
