"""Moves of large tables: of every (state, action) the few states that may follow, and how often.

A part of :mod:`waker_envs.tabular`; a family whose steps are certain, or nearly so, gives its table these instead of an
array over all pairs of states. S states, A actions, J successors of each pair, K tasks, V variables of a state.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Successors(NamedTuple):
    """P(s' and the episode goes on | s, a) by its few successors.

    Attributes:
        after: numbers of states, (A, S, J); one may be named several times.
        chance: the probability of each, (A, S, J); they sum to less than 1 where the episode may end.
    """

    after: NDArray[np.int64]
    chance: Floats


def certain_moves(after: NDArray[np.int64]) -> Successors:
    """Moves that have one successor each, (A, S)."""
    return Successors(after[..., None], np.ones((*after.shape, 1)))


def ahead(move: Floats | Successors, value: Floats) -> Floats:
    """Σ over s' of P(s' | s, a) · value for each task's value (K, S): (K, A, S)."""
    if isinstance(move, Successors):
        return np.asarray((value[:, move.after] * move.chance).sum(-1))
    actions, states, _ = move.shape
    return (value @ move.reshape(actions * states, states).T).reshape(len(value), actions, states)


def chances(move: Floats | Successors, action: int, state: int) -> Floats:
    """P(s' | state, action) of every s', (S,)."""
    if not isinstance(move, Successors):
        return move[action, state]
    found = np.zeros(move.after.shape[1])
    np.add.at(found, move.after[action, state], move.chance[action, state])
    return found


def is_certain(move: Floats | Successors) -> bool:
    """Whether no dice fall: of each (state, action) all probabilities are 0 or 1."""
    of_each = move.chance if isinstance(move, Successors) else move
    return not ((of_each > 1e-9) & (of_each < 1.0 - 1e-9)).any()


def sums(move: Floats | Successors) -> Floats:
    """P(the episode goes on | s, a), (A, S)."""
    return np.asarray((move.chance if isinstance(move, Successors) else move).sum(2))


def reached(move: Floats | Successors) -> NDArray[np.bool_]:
    """Whether some (state, action) leads to a state, (S,)."""
    if not isinstance(move, Successors):
        return np.asarray((move > 0).any((0, 1)))
    found = np.zeros(move.after.shape[1], np.bool_)
    found[move.after[move.chance > 0]] = True
    return found


def codes(rows: NDArray[np.integer]) -> NDArray[np.uint64]:
    """A number of each row (n, V) of small integers: equal rows have equal ones, others as good as never."""
    weights = np.random.default_rng(0).integers(1, 1 << 63, rows.shape[1], np.uint64)
    return np.asarray(rows.astype(np.uint64) @ (2 * weights + 1))


class Numbers:
    """Which of S states a row of their variables is.

    Args:
        rows: the states, (S, V), no two alike.
    """

    def __init__(self, rows: NDArray[np.integer]) -> None:
        self._rows, own = rows, codes(rows)
        self._order = own.argsort()
        self._sorted = own[self._order]

    def of(self, rows: NDArray[np.integer]) -> NDArray[np.int64]:
        """The number of each row (n, V); −1 for what is none of the states."""
        place = np.searchsorted(self._sorted, codes(rows)).clip(max=len(self._order) - 1)
        found = self._order[place]
        return np.where((self._rows[found] == rows).all(1), found, -1)
