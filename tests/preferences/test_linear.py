"""A linear reward from answers: its maximum of likelihood, with and without errors, and what functions must return."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize

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


@pytest.mark.parametrize("error", [0.0, 0.1, 0.3])
def test_it_is_the_least_loss_that_other_searches_find(error: float) -> None:
    """Few hard answers, of which some are wrong: with errors the loss has several minima."""
    for seed in range(3):
        rng = np.random.default_rng(seed)
        gap = rng.normal(size=(25, 6))
        label = ((gap @ rng.normal(size=6) > 0) ^ (rng.random(25) < 0.15)).astype(float)
        size = np.sqrt((gap**2).mean(0))

        def loss(weight: np.ndarray, gap: np.ndarray = gap / size, label: np.ndarray = label) -> float:
            q = np.clip(at_random(preferred(gap @ weight), error), 1e-300, 1 - 1e-16)
            return float(-(label * np.log(q) + (1 - label) * np.log1p(-q)).sum() + 0.5e-3 * weight @ weight)

        found = fit_linear(gap, np.zeros_like(gap), label, error) * size
        others = [minimize(loss, scale * rng.normal(size=6), method="BFGS").fun for scale in (0.5, 1.0, 3.0)]
        assert loss(found) <= min(others) + 1e-3


def test_units_of_features_do_not_matter() -> None:
    rng = np.random.default_rng(1)
    first, second = rng.normal(size=(40, 4)), rng.normal(size=(40, 4))
    label = (rng.random(40) < preferred((first - second) @ [1.0, 0.0, -1.0, 2.0])).astype(float)
    units = np.array([1e-3, 1.0, 1e6, 1e3])
    plain = fit_linear(first, second, label, 0.1)
    np.testing.assert_allclose(
        fit_linear(first * units, second * units, label, 0.1) * units, plain, rtol=1e-3, atol=1e-3
    )


@pytest.mark.parametrize("values", [[["x", "y"]], [[1, 2], [3]], None, [[1j, 2]]])
def test_features_that_are_no_numbers_are_one_line(values: Any) -> None:
    with pytest.raises(UserError, match="f: feature 'a' must be numbers"):
        columns(lambda observation: {"a": values}, {"x": np.zeros((1, 2, 5))}, "f")
