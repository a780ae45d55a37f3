"""Standard deviations of columns of numbers that change row by row, held still while they change little.

What divides scores by their spread changes all of them with every new number. Here the spread that is used stays what
it was until the present one is a twentieth away; all numbers are then looked at again. Used by ``traced``.
"""

from __future__ import annotations

import numpy as np

from waker.curriculum.api import Floats

TOLERANCE = 0.05


class Spreads:
    """Running sums of C columns, and the spread in use.

    Args:
        columns: C.

    Attributes:
        scale: the spread in use, (C,); 1 where there is none.
    """

    def __init__(self, columns: int) -> None:
        self.scale: Floats = np.ones(columns)
        self._centre, self._sum, self._squares = np.zeros((3, columns))
        self._n = 0

    def take(self, old: Floats, rows: Floats, at: int) -> bool:
        """Column ``at`` of rows (C, M) is new, in place of ``old`` (C,), NaN where there was none.

        Returns:
            Whether the spread in use has changed with it.
        """
        if np.isnan(old).any():
            self._n += 1
        else:
            self._add(old, -1.0)
        self._add(rows[:, at], 1.0)
        if worn := self.worn():
            self.renew(rows)
        return worn

    def _add(self, row: Floats, sign: float) -> None:
        x = row - self._centre
        self._sum, self._squares = self._sum + sign * x, self._squares + sign * x * x

    def worn(self) -> bool:
        """Whether the present spread is a twentieth away from that in use."""
        variance = self._squares / self._n - (self._sum / self._n) ** 2
        return bool((abs(_positive(np.sqrt(np.maximum(variance, 0.0))) - self.scale) > TOLERANCE * self.scale).any())

    def renew(self, rows: Floats) -> None:
        """Begin anew from all that is known of rows (C, M), NaN elsewhere; at least one column is."""
        known = rows[:, ~np.isnan(rows[0])]
        self._n, self._centre, self._sum = known.shape[1], known.mean(1), np.zeros(len(known))
        self._squares = ((known - self._centre[:, None]) ** 2).sum(1)
        self.scale = _positive(np.sqrt(self._squares / self._n))

    def packed(self) -> Floats:
        """Everything, (5, C)."""
        counts = np.full(len(self.scale), float(self._n))
        return np.array([self.scale, self._centre, self._sum, self._squares, counts])

    def unpack(self, packed: Floats, rows: Floats | None) -> None:
        """Go on from :meth:`packed`; where that holds nothing, as of before spreads were kept, from rows (C, M)."""
        self.scale, self._centre, self._sum, self._squares = np.array(packed[:4], np.float64)
        self._n = int(packed[4, 0])
        if not self._n and rows is not None and not np.isnan(rows).all():
            self.renew(rows)


def _positive(spread: Floats) -> Floats:
    return np.where(spread > 0, spread, 1.0)
