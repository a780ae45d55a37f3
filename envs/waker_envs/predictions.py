"""The form of exact predictions: what ``predict`` of a family returns for each key of its observation.

Used by the families that predict, by the checker, and by whoever compares a model with them. A key of few outcomes
has one joint distribution. A board of 49 cells has more outcomes than can be listed: there the marginal distribution of
each cell says where things are.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from numpy.typing import ArrayLike, NDArray

LARGEST_JOINT = 4096
"""Outcomes of a key up to which its joint distribution is given; the marginals of its variables beyond."""
WHOLE = "observation"
"""What the one key of an observation that is no Dict is called."""


def is_joint(classes: tuple[int, ...]) -> bool:
    """Whether a key of variables with these numbers of classes is predicted by its joint distribution."""
    return math.prod(classes) <= LARGEST_JOINT


def prediction_shape(classes: tuple[int, ...]) -> tuple[int, ...]:
    """Of one step's prediction: ``classes`` for a joint, (V, widest) for the marginals of V variables."""
    return classes if is_joint(classes) else (len(classes), max(classes))


def categories(space: gym.Space[Any]) -> dict[str, tuple[int, ...] | None]:
    """The numbers of classes of every key of an observation space; None for a key that is not categorical."""
    parts = dict(space.spaces) if isinstance(space, spaces.Dict) else {WHOLE: space}
    found: dict[str, tuple[int, ...] | None] = {}
    for name, part in parts.items():
        if isinstance(part, spaces.MultiDiscrete):
            found[name] = tuple(int(n) for n in np.ravel(part.nvec))
        else:
            found[name] = (int(part.n),) if isinstance(part, spaces.Discrete) else None
    return found


def not_covered(keys: Iterable[str], predicted: Mapping[str, Any]) -> list[str]:
    """The keys of an observation that a prediction leaves out."""
    return [key for key in keys if key not in predicted]


def fits(rows: Any, steps: int, classes: tuple[int, ...]) -> bool:
    """Whether ``rows`` is a distribution after each of ``steps`` actions, in the form of :func:`prediction_shape`."""
    array = np.asarray(rows, np.float64)
    if array.shape != (steps, *prediction_shape(classes)) or not (array >= 0).all():
        return False
    sums = array.reshape(steps, -1).sum(1) if is_joint(classes) else array.sum(2)
    return bool(np.allclose(sums, 1.0, atol=1e-6))


def certain(values: ArrayLike, classes: tuple[int, ...]) -> NDArray[np.float64]:
    """The prediction of a key that is known for sure.

    Args:
        values: its V variables after each of k actions, (k, V).
        classes: of the variables.

    Returns:
        (k, \\*classes) or (k, V, widest), ones where the values are.
    """
    known = np.asarray(values, np.int64).reshape(-1, len(classes))
    rows = np.zeros((len(known), *prediction_shape(classes)))
    if is_joint(classes):
        rows.reshape(len(known), -1)[np.arange(len(known)), np.ravel_multi_index(tuple(known.T), classes)] = 1.0
    else:
        np.put_along_axis(rows, known[..., None], 1.0, 2)
    return rows


def probability(row: NDArray[np.float64], value: ArrayLike, classes: tuple[int, ...]) -> float:
    """How probable one step's prediction makes a value: of the joint, or of its least probable variable."""
    seen = np.ravel(np.asarray(value, np.int64))
    return float(row[tuple(seen)] if is_joint(classes) else row[np.arange(len(seen)), seen].min())


def prediction_fault(env: Any, theta: NDArray[np.float64], seed: int, steps: int = 8) -> str | None:
    """What is wrong with ``env.predict`` in one episode of random actions, in one line; None if nothing was found.

    Its keys are those of the observation, its rows are distributions, and what then happened has a probability.

    Args:
        env: a :class:`~waker_envs.api.ParametricEnv` with the method.
        steps: of the episode; it predicts them from the first observation, and the second half from the middle.
    """
    keys, (observations, actions) = categories(env.observation_space), _walk(env, theta, seed, steps)
    for start in dict.fromkeys((0, len(actions) // 2)):
        left = actions[start:]
        predicted = env.predict(theta, seed, observations[start], np.array(left))
        if not isinstance(predicted, Mapping):
            return f"predict(…) returns {type(predicted).__name__}; it must be a dict from the observation's keys"
        if unknown := [key for key in predicted if keys.get(key) is None]:
            why = "is not categorical" if unknown[0] in keys else "is not of the observation"
            return f"predict(…) has key {unknown[0]!r}, which {why}; the observation has {', '.join(keys)}"
        if predicted and (missing := not_covered(keys, predicted)):
            return (
                f"predict(…) covers only a part of the observation: it leaves out {', '.join(missing)}; predict every "
                "key, or leave the method out: an error measured on a part takes the rest for known"
            )
        for key, rows in predicted.items():
            classes = keys[key] or ()
            if not fits(rows, len(left), classes):
                return (
                    f"predict(…)[{key!r}] must be one distribution for each of the {len(left)} actions, of shape "
                    f"{(len(left), *prediction_shape(classes))}, nowhere negative and summing to 1; its shape is "
                    f"{np.shape(rows)}"
                )
            for ahead, seen in enumerate(observations[start + 1 :], 1):
                value = seen[key] if isinstance(seen, Mapping) else seen
                if probability(np.asarray(rows)[ahead - 1], value, classes) <= 0.0:
                    return (
                        f"predict(…)[{key!r}] gives probability 0 to what was observed {ahead} steps after step "
                        f"{start} of the episode of seed {seed}; predict all that can happen"
                    )
    return None


def _walk(env: Any, theta: NDArray[np.float64], seed: int, steps: int) -> tuple[list[Any], list[Any]]:
    """Observations of an episode of random actions, and the actions; what terminated stays as it was."""
    observation, _ = env.reset(seed=seed, options={"theta": theta})
    env.action_space.seed(seed)
    observations, actions, ended, cut = [copy.deepcopy(observation)], [], False, False
    for _ in range(steps):
        actions.append(env.action_space.sample())
        if not ended:
            observation, _, ended, cut, _ = env.step(actions[-1])
        observations.append(copy.deepcopy(observation))
        if cut and not ended:  # the world would go on: there is nothing more to compare with
            break
    return observations, actions
