"""A reward that is linear in named features of the observation, fitted to preferences.

The features are a function of the user's: observations with leading (B, T) → name → numbers (B, T). Called by
:mod:`waker.training.adapt_features`. Bradley and Terry's model on sums of features is a logistic regression.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from waker.errors import UserError
from waker.preferences.segments import Segments, arrived
from waker.preferences.table import Answers
from waker.preferences.teachers import preferred
from waker.replay.ring import Replay
from waker.specs import EnvSpec

Floats = NDArray[np.float64]
Features = Callable[[Mapping[str, NDArray[Any]]], Mapping[str, NDArray[Any]]]
RIDGE = 1e-3
"""Weight of the squared weights in the loss: without it, answers that never contradict each other have no best fit."""
_STEPS = 100


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
        array = np.asarray(values, np.float64)
        if array.shape != shape or not np.isfinite(array).all():
            raise UserError(f"{what}: feature {name!r} must be finite numbers of shape {shape}, it has {array.shape}")
        found[str(name)] = array
    return found


def summed(replay: Replay, spec: EnvSpec, segments: Segments, named: Features, what: str) -> dict[str, Floats]:
    """Each feature's sum over the states that the segments' steps led to, name → (n,)."""
    states = {key.name: arrived(replay, key.name, segments)[0] for key in spec.observation}
    _, inside = arrived(replay, "is_last", segments)
    found = columns(named, spec.labelled(states), what)
    return {name: np.asarray((array * inside).sum(1)) for name, array in found.items()}


def fit_linear(first: Floats, second: Floats, label: Floats, error: float = 0.0, ridge: float = RIDGE) -> Floats:
    """Weights (V,) by maximum likelihood, by Newton's method.

    Args:
        first, second: sums of features over both segments of each pair, (n, V).
        label: P(first preferred), (n,).
        error: share of answers taken to be a coin's.
        ridge: see :data:`RIDGE`.
    """
    gap, weight = first - second, np.zeros(first.shape[1])
    for _ in range(_STEPS):
        p = preferred(gap @ weight)
        chance = 0.5 * error + (1.0 - error) * p
        # dℓ/dd of −y log q − (1 − y) log(1 − q), q = ε/2 + (1 − ε) σ(d)
        slope = (1.0 - error) * p * (1.0 - p) / np.maximum(chance * (1.0 - chance), 1e-12)
        gradient = gap.T @ (slope * (chance - label)) + ridge * weight
        curvature = (gap * (slope * (1.0 - error) * p * (1.0 - p))[:, None]).T @ gap + ridge * np.eye(len(weight))
        step = np.linalg.solve(curvature, gradient)
        weight = weight - step / max(1.0, float(np.abs(step).max()))
        if np.abs(step).max() < 1e-9:
            break
    return weight


def weights_of(
    replay: Replay, spec: EnvSpec, answers: Answers, named: Features, what: str, error: float
) -> dict[str, float]:
    """The weight of each named feature that the answers tell."""
    one, two = (summed(replay, spec, segments, named, what) for segments in answers.pairs)
    both = [np.stack(list(of.values()), 1) for of in (one, two)]
    found = fit_linear(both[0], both[1], answers.label, error)
    return dict(zip(one, found.tolist(), strict=True))
