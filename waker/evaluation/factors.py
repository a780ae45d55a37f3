"""How far a predicted distribution lies from the exact one, for each key of the observation.

Called by :mod:`waker.evaluation.model_error`. A *factor* is a key of the observation: where the agent is, where the
blocks are. The total variation of the whole observation's joint distribution is what bounds regret, and cannot be
counted out where there are 3⁴⁹ boards; each factor's distance can.

- Of a key with few outcomes (:func:`waker_envs.predictions.is_joint`) the distance is the total variation of its joint
  distribution, which never exceeds the whole observation's.
- Of a board it is the total variation of *where a thing is and what it is*. The commonest class of the truth is the
  ground (no block, say), the places of all others are the things. Both distributions over (place, class) are filled up
  to one number of things with "nowhere" and compared. With one block that is the total variation of its cell; of
  several sure blocks it is the share that the model misplaces; one that it made up counts as one misplaced. It is 0
  exactly where all marginals agree, and cells in which nothing ever lies do not dilute it. It does not exceed the
  joint's total variation where the number of things is sure, in truth and in the model.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Distance = Callable[[Floats, Floats], Floats]


def total_variation(model: Floats, exact: Floats) -> Floats:
    """½ Σ |p − q| over outcomes: (..., outcomes) twice → (...)."""
    return np.asarray(0.5 * np.abs(model - exact).sum(-1))


def misplaced(model: Floats, exact: Floats) -> Floats:
    """The share of things that the model puts elsewhere: marginals (..., V, C) twice → (...) in [0, 1]."""
    ground = exact.sum(-2).argmax(-1)  # (...): the commonest class
    things = np.arange(exact.shape[-1]) != ground[..., None]  # (..., C)
    # In doubles: the difference of two sums over a board must not show as a thing.
    p, q = (np.where(things[..., None, :], x, 0.0).astype(np.float64) for x in (exact, model))
    more = np.clip(q - p, 0.0, None).sum((-2, -1))
    less = np.clip(p - q, 0.0, None).sum((-2, -1))
    number = np.maximum(1.0, np.maximum(p.sum((-2, -1)), q.sum((-2, -1))))
    return np.asarray(np.maximum(more, less) / number)


def without_sampling_error(distance: Distance, halves: Floats, exact: Floats) -> Floats:
    """A distance without what the finite number of samples alone makes.

    With S samples the expected distance is about a + b/√S, even for a perfect model (a = 0). The two halves of the
    samples give a + b/√(S/2), and both together tell a. May fall a little below 0 by chance.

    Args:
        distance: of a model's distribution from an exact one.
        halves: the model's by each half of the samples, (2, n, ...); (1, n, ...) if there is one sample.
        exact: (n, ...).

    Returns:
        (n,).
    """
    together = distance(halves.mean(0), exact)
    apart = np.mean([distance(half, exact) for half in halves], axis=0)
    return np.asarray(together - (apart - together) / (np.sqrt(2.0) - 1.0))
