"""A reward that is linear in named features of the observation, fitted to preferences.

The features are a function of the user's: observations with leading (B, T) → name → numbers (B, T). Called by
:mod:`waker.training.adapt_features`. Bradley and Terry's model on sums of features is a logistic regression.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from waker.errors import UserError
from waker.preferences.segments import Segments, arrived
from waker.preferences.table import Answers
from waker.preferences.teachers import at_random, preferred
from waker.replay.ring import Replay
from waker.specs import EnvSpec

Floats = NDArray[np.float64]
Features = Callable[[Mapping[str, NDArray[Any]]], Mapping[str, NDArray[Any]]]
RIDGE = 1e-3
"""Weight of the squared weights in the loss: without it, answers that never contradict each other have no best fit."""
_SEARCHES = 12
"""Drawn weights from which the best ones with errors are searched, beside those without errors."""


def columns(named: Features, observation: Mapping[str, NDArray[Any]], what: str) -> dict[str, Floats]:
    """The features of observations, each (B, T).

    Args:
        what: the function's name in messages.

    Raises:
        UserError: they are no mapping of names to finite numbers (B, T).
    """
    shape = next(iter(observation.values())).shape[:2]
    given = named(observation)
    if not isinstance(given, Mapping) or not given:
        raise UserError(f"{what} must return a dict of named features, each an array (batch, time)")
    found = {}
    for name, values in given.items():
        array = _real(values, f"{what}: feature {name!r}")
        if array.shape != shape or not np.isfinite(array).all():
            raise UserError(f"{what}: feature {name!r} must be finite numbers of shape {shape}, it has {array.shape}")
        found[str(name)] = array
    return found


def _real(values: Any, what: str) -> Floats:
    """As numbers.

    Raises:
        UserError: they are none.
    """
    try:
        array = np.asarray(values)
        if array.dtype.kind not in "biuf":
            raise TypeError(f"values of type {array.dtype}")
        return array.astype(np.float64)
    except (TypeError, ValueError) as error:  # text, ragged lists, objects
        raise UserError(f"{what} must be numbers: {error}") from error


def summed(replay: Replay, spec: EnvSpec, segments: Segments, named: Features, what: str) -> dict[str, Floats]:
    """Each feature's sum over the states that the segments' steps led to, name → (n,)."""
    states = {key.name: arrived(replay, key.name, segments)[0] for key in spec.observation}
    _, inside = arrived(replay, "is_last", segments)
    found = columns(named, spec.labelled(states), what)
    return {name: np.asarray((array * inside).sum(1)) for name, array in found.items()}


def fit_linear(first: Floats, second: Floats, label: Floats, error: float = 0.0, ridge: float = RIDGE) -> Floats:
    """Weights (V,) of greatest likelihood, in any units of the features alike.

    Without errors the loss has one minimum. With a coin's share it may have several: the search begins at the weights
    without errors, at none, and at :data:`_SEARCHES` drawn ones, the same ones always, and the best end is taken.

    Args:
        first, second: sums of features over both segments of each pair, (n, V).
        label: P(first preferred), (n,).
        error: share of answers taken to be a coin's.
        ridge: see :data:`RIDGE`; of weights of features whose differences have a mean square of 1.
    """
    gap = first - second
    size = np.sqrt((gap**2).mean(0))
    size = np.where(size > 0, size, 1.0)
    gap = gap / size
    sure = _least(gap, label, 0.0, ridge, np.zeros(gap.shape[1]))
    if error > 0:
        drawn = np.random.default_rng(0).normal(size=(_SEARCHES, len(sure))) * np.linspace(0.5, 4.0, _SEARCHES)[:, None]
        ends = [_least(gap, label, error, ridge, start) for start in (sure, np.zeros(len(sure)), *drawn)]
        sure = min(ends, key=lambda weight: _loss(weight, gap, label, error, ridge)[0])
    return np.asarray(sure / size)


def _least(gap: Floats, label: Floats, error: float, ridge: float, start: Floats) -> Floats:
    found = minimize(
        _loss, start, (gap, label, error, ridge), jac=True, method="L-BFGS-B",
        options={"maxiter": 1_000, "ftol": 1e-13, "gtol": 1e-7},
    )  # fmt: skip
    return np.asarray(found.x)


def _loss(weight: Floats, gap: Floats, label: Floats, error: float, ridge: float) -> tuple[float, Floats]:
    """−Σ y log q + (1 − y) log(1 − q) with q = ε/2 + (1 − ε) σ(d), and the ridge; and its gradient (V,)."""
    d = gap @ weight
    p = preferred(d)
    if error == 0:  # by logarithms that do not overflow where p is rounded to 0 or 1
        value = (label * np.logaddexp(0.0, -d) + (1.0 - label) * np.logaddexp(0.0, d)).sum()
        slope = p - label
    else:
        q = at_random(p, error)
        value = -(label * np.log(q) + (1.0 - label) * np.log1p(-q)).sum()
        slope = (q - label) / (q * (1.0 - q)) * (1.0 - error) * p * (1.0 - p)
    return float(value + 0.5 * ridge * weight @ weight), np.asarray(gap.T @ slope + ridge * weight)


def weights_of(
    replay: Replay, spec: EnvSpec, answers: Answers, named: Features, what: str, error: float
) -> dict[str, float]:
    """The weight of each named feature that the answers tell."""
    one, two = (summed(replay, spec, segments, named, what) for segments in answers.pairs)
    both = [np.stack(list(of.values()), 1) for of in (one, two)]
    found = fit_linear(both[0], both[1], answers.label, error)
    return dict(zip(one, found.tolist(), strict=True))
