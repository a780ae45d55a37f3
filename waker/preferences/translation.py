"""Preferences and demonstrations of one family carried to another look or layout of it.

PHOENIX (arXiv 2401.10580) taught a model a language in which it had no preferences by machine-translated ones. Here a
*translator* is a function segment → segment: what a class of cells looks like there, where a cell of the board lies,
and which action does what. Labels stay as they were given. Whether they are still right can be computed: of sums of
rewards they are, whatever the dynamics there, as long as the translator maps what pays rightly; labels by regret may be
wrong where the dynamics differ, and every label may be where the translator loses or confuses what pays.

A board is seen as classes of its cells, (..., C), row by row, and the agent's place as a cell's number.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from waker.errors import UserError

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
MIRRORS = ("none", "columns", "rows", "transposed")
"""How a square board may lie: as it is, left for right, top for bottom, or rows for columns."""


class Translator(NamedTuple):
    """Where everything of one family is found in the other.

    Attributes:
        cells: cell i lies there at ``cells[i]``, (C,), a permutation.
        classes: class v looks there like ``classes[v]``, (V,); it loses something where two look alike.
        actions: action a is there ``actions[a]``, (A,), a permutation.
    """

    cells: Ints
    classes: Ints
    actions: Ints

    def boards(self, seen: ArrayLike) -> Ints:
        """Boards (..., C) as they look there."""
        given = np.asarray(seen, np.int64)
        found = np.empty_like(given)
        found[..., self.cells] = self.classes[given]
        return found

    def places(self, cell: ArrayLike) -> Ints:
        """Cells of any shape."""
        return np.asarray(self.cells[np.asarray(cell, np.int64)])

    def acts(self, action: ArrayLike) -> Ints:
        """Actions of any shape."""
        return np.asarray(self.actions[np.asarray(action, np.int64)])

    def policy(self, chances: Floats) -> Floats:
        """P(action | cell), (..., C, A), of policies there that do the same."""
        found = np.empty_like(chances)
        found[..., self.cells[:, None], self.actions[None]] = chances
        return found

    def moves(self, chances: Floats) -> Floats:
        """P(next cell | cell, action), (..., A, C, C), of boards there with the same chances."""
        found = np.empty_like(chances)
        found[..., self.actions[:, None, None], self.cells[None, :, None], self.cells[None, None, :]] = chances
        return found

    @property
    def lossless(self) -> bool:
        """Whether what is seen there tells what was seen here."""
        return len(np.unique(self.classes)) == len(self.classes)

    def inverse(self) -> Translator:
        """The way back.

        Raises:
            UserError: two classes look alike there.
        """
        if not self.lossless:
            raise UserError("a translator that makes two classes look alike has no way back")
        return Translator(*(np.argsort(part) for part in self))

    def then(self, other: Translator) -> Translator:
        """This one, and another after it."""
        return Translator(*(theirs[ours] for ours, theirs in zip(self, other, strict=True)))


def translator(side: int, classes: Sequence[int], steps: ArrayLike, mirror: str = "none") -> Translator:
    """A translator of square boards.

    Args:
        side: of the board; C = side².
        classes: what each class looks like there.
        steps: rows and columns that each action moves by, (A, 2), from which follows what it is in a mirror.
        mirror: one of :data:`MIRRORS`.

    Raises:
        UserError: no such mirror, classes that are none, or actions that have no counterpart in it.
    """
    if mirror not in MIRRORS:
        raise UserError(f"mirror is one of {', '.join(MIRRORS)}, not {mirror!r}")
    looks = np.asarray(classes, np.int64)
    if looks.ndim != 1 or (looks < 0).any() or (looks >= len(looks)).any():
        raise UserError(f"classes must name one of {len(looks)} classes for each, not {list(classes)}")
    moved = np.asarray(steps, np.int64)
    row, column = np.divmod(np.arange(side * side), side)
    there = _laid(row, column, side - 1, mirror)
    actions = []
    for step in np.stack(_laid(moved[:, 0], moved[:, 1], 0, mirror), 1):
        same = np.flatnonzero((moved == step).all(1))
        if not len(same):
            raise UserError(f"no action moves by {step.tolist()}: the mirror {mirror!r} has no counterpart of one")
        actions.append(int(same[0]))
    return Translator(there[0] * side + there[1], looks, np.array(actions))


def _laid(row: Ints, column: Ints, last: int, mirror: str) -> tuple[Ints, Ints]:
    """Rows and columns in a mirror whose last ones have the number ``last``; of steps, 0."""
    if mirror == "transposed":
        return column, row
    return (last - row if mirror == "rows" else row), (last - column if mirror == "columns" else column)


class Contradictions(NamedTuple):
    """Shares of labels against the truth there: ``opposite`` prefers the other, ``tie`` has a tie for a choice or a
    choice for a tie."""

    opposite: float
    tie: float


def contradictions(label: ArrayLike, truth: ArrayLike) -> Contradictions:
    """How labels stand to the true answers, both P(first preferred), (n,); skipped ones (NaN) do not count.

    Raises:
        UserError: none is left.
    """
    given, true = np.asarray(label, np.float64), np.asarray(truth, np.float64)
    known = ~(np.isnan(given) | np.isnan(true))
    if not known.any():
        raise UserError("no label has a true answer to be compared with")
    ours, theirs = np.sign(given[known] - 0.5), np.sign(true[known] - 0.5)
    return Contradictions(float((ours * theirs < 0).mean()), float(((ours == 0) != (theirs == 0)).mean()))
