"""Snapshots of a curriculum over very many θ, made small: some θ by themselves, the others in cells.

A log keeps a snapshot at every row of metrics; whole ones of 10⁵ θ would be most of a run's memory and disk. Called by
:class:`waker.training.session.Session`; read by :mod:`waker.report` and :mod:`waker.analysis.ranking`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from waker.curriculum.api import Columns, Floats, Ints
from waker_envs.api import FiniteThetaSpace, ThetaSpace

WHOLE = 1_000
"""θ up to which a snapshot keeps a row of each; rows that a thinned one has at most."""
_HARD = 200
_CELLS = 200
_HIGHEST = 50
_RANKED = ("probability", "estimate", "episodes")


class Thinning:
    """Snapshots (:meth:`waker.curriculum.api.Curriculum.table`) of a space with more than ``WHOLE`` θ in fewer rows.

    A row of their own have the θ ``alone``, the hard ones (where they are at most 200; else they have cells of their
    own), and the 50 with the highest probability, estimate and number of episodes. All others are in at most 200 cells
    of neighbouring θ, each of one domain and either hard or not. A cell has a row for those with an estimate and one
    for those without; it bears id and coordinates of the θ nearest to the cell's middle, and the means of the other
    columns over all its θ (of the known values). Column ``thetas`` says how many θ a row stands for. So sums over rows
    of ``thetas`` × value are sums over all θ, over all of a domain and over all hard ones.

    Args:
        space: the θ space.
        alone: ids that must have a row of their own, at most 200.
    """

    def __init__(self, space: FiniteThetaSpace, alone: Sequence[int] | Ints = ()) -> None:
        hard = np.unique(np.array([space.index(theta) for theta in space.hard], np.int64))
        self._alone = np.unique(np.concatenate([np.asarray(alone, np.int64), hard if len(hard) <= _HARD else []]))
        self._alone = self._alone.astype(np.int64)
        kind = np.zeros(space.size, np.int64) if space.groups is None else 2 * space.groups
        kind[hard] += 1
        scale = np.ptp(space.points, axis=0)
        unit = space.points / np.where(scale > 0, scale, 1.0)
        self._cell = np.zeros(space.size, np.int64)
        distance, cells = np.zeros(space.size), 0
        for name in np.unique(kind):
            ids = np.flatnonzero(kind == name)
            for members in split(unit, ids, max(1, _CELLS * len(ids) // space.size)):
                self._cell[members] = cells
                distance[members] = ((unit[members] - unit[members].mean(0)) ** 2).sum(1)
                cells += 1
        self._order = np.lexsort((distance, self._cell))  # cell by cell, the one nearest to the middle first

    def __call__(self, table: Columns) -> Columns:
        """The snapshot in fewer rows, in the order of ``theta_id``; columns as before, and ``thetas``."""
        alone = np.zeros(len(self._cell), np.bool_)
        alone[self._alone] = True
        for name in _RANKED:
            if name in table:
                alone[highest(table[name].astype(np.float64), _HIGHEST)] = True
        rest = self._order[~alone[self._order]]
        unknown = np.isnan(table["estimate"][rest]) if "estimate" in table else np.zeros(len(rest), np.bool_)
        key = 2 * self._cell[rest] + unknown
        used = np.bincount(key) > 0
        row = (np.cumsum(used) - 1)[key]  # the row of each θ in ``rest``
        single, middle = np.flatnonzero(alone), np.zeros(np.count_nonzero(used), np.int64)
        middle[row[::-1]] = rest[::-1]  # the last that is put there is the first of ``rest``
        ids = np.concatenate([single, middle])
        order = np.argsort(ids)

        def joined(name: str, values: NDArray[Any]) -> NDArray[Any]:
            if name.startswith("theta_") or values.dtype.kind not in "iuf":
                return values[ids]
            return np.concatenate([values[single].astype(np.float64), means(values[rest], row, len(middle))])

        columns = {name: joined(name, column)[order] for name, column in table.items()}
        return columns | {"thetas": np.concatenate([np.ones_like(single), np.bincount(row)])[order]}


def thinning_of(space: ThetaSpace, alone: Sequence[int]) -> Thinning | None:
    """What makes snapshots over a space small; None where they are small as they are."""
    return Thinning(space, alone) if isinstance(space, FiniteThetaSpace) and space.size > WHOLE else None


def means(values: Floats, row: Ints, rows: int) -> Floats:
    """Means (rows,) of the values (n,) of each row that are not NaN; NaN where there are none."""
    known = ~np.isnan(values)
    count = np.bincount(row[known], minlength=rows)
    total = np.bincount(row[known], weights=values[known], minlength=rows)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def highest(values: Floats, n: int) -> Ints:
    """Ids of the n highest values (M,), fewer where others are NaN; of equals, the lower ids."""
    known = np.flatnonzero(~np.isnan(values))
    if len(known) > n:
        known = known[values[known] >= np.partition(values[known], -n)[-n]]
    return known[np.argsort(-values[known], kind="stable")[:n]]


def split(unit: Floats, ids: Ints, cells: int) -> list[Ints]:
    """Ids (n,) in at most ``cells`` parts of equal size: halved again and again across their widest coordinate.

    Args:
        unit: coordinates of all θ, (M, D), each of range 1.
        ids: of these θ.
        cells: at least 1.
    """
    if cells <= 1 or len(ids) <= 1:
        return [ids]
    axis = int(np.argmax(np.ptp(unit[ids], axis=0)))
    ordered = ids[np.argsort(unit[ids, axis], kind="stable")]
    left = cells // 2
    at = len(ids) * left // cells
    parts = [(ordered[:at], left), (ordered[at:], cells - left)]
    return [cell for part, n in parts if len(part) for cell in split(unit, np.sort(part), n)]
