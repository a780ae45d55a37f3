"""A linear reward from answers: its maximum of likelihood, with and without errors, and what functions must return."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.helpers.asked import answered, family, replay
from waker.errors import UserError
from waker.preferences.linear import columns, fit_linear, weights_of
from waker.preferences.table import answers_of
from waker.preferences.teachers import at_random, preferred


def under_the_agent(observation: Any) -> dict[str, Any]:
    side = int(np.sqrt(observation["cells"].shape[-1]))
    cell = (observation["agent"] @ [side, 1])[..., None]
    here = np.take_along_axis(observation["cells"], cell, -1)[..., 0]
    names = family().make().unwrapped.cell_names
    return {name: here == number for number, name in enumerate(names)}


@pytest.mark.parametrize("error", [0.0, 0.3])
def test_the_weights_behind_probabilities_come_back(error: float) -> None:
    rng = np.random.default_rng(0)
    first, second, true = rng.normal(size=(200, 3)), rng.normal(size=(200, 3)), np.array([1.0, -2.0, 0.5])
    label = at_random(preferred((first - second) @ true), error)
    np.testing.assert_allclose(fit_linear(first, second, label, error, ridge=1e-9), true, atol=1e-4)


def test_answers_that_never_contradict_have_a_best_fit() -> None:
    found = fit_linear(np.array([[1.0], [2.0]]), np.zeros((2, 1)), np.array([1.0, 1.0]))
    assert 1.0 < found[0] < 50.0


def test_25_answers_about_named_features_tell_the_task() -> None:
    answers = answers_of(Path("q"), answered(25, length=8))
    found = weights_of(replay(), family().spec, answers, under_the_agent, "f", 0.0)
    assert max(found, key=found.__getitem__) == "green"
    others = [abs(weight) for name, weight in found.items() if name != "green"]
    assert max(others) < 0.3 * found["green"]


@pytest.mark.parametrize(
    ("returned", "told"),
    [
        (None, "must return a dict of named features"),
        ({}, "must return a dict of named features"),
        ({"a": np.zeros(3)}, "feature 'a' must be finite numbers of shape (2, 4)"),
        ({"a": np.full((2, 4), np.nan)}, "feature 'a' must be finite numbers"),
    ],
)
def test_functions_that_return_something_else(returned: Any, told: str) -> None:
    with pytest.raises(UserError) as error:
        columns(lambda observation: returned, {"x": np.zeros((2, 4, 5))}, "features f.py:f")
    assert told in str(error.value) and str(error.value).startswith("features f.py:f")
