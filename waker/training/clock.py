"""Small clocks that say when something is due. The training loop reads as four blocks because of them.

Both depend on the step alone, or on counts that are in the checkpoint, so that a resumed run keeps the rhythm of
the uninterrupted one.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Every:
    """Due once each time the step has passed another multiple of ``interval``.

    Args:
        interval: in steps; 0 = never due.
        passed: multiples already served.
    """

    interval: int
    passed: int = 0

    def due(self, step: int) -> bool:
        """Whether a multiple has been passed since the last :meth:`mark`."""
        return self.interval > 0 and step // self.interval > self.passed

    def mark(self, step: int) -> None:
        """Served. Multiples that were jumped over are not made up for."""
        if self.interval > 0:
            self.passed = step // self.interval


@dataclass(frozen=True)
class Ratio:
    """How many updates belong to a number of steps: one at step ``start``, then one every ``every`` steps."""

    every: float
    start: int = 0

    def allowed(self, step: int) -> int:
        """Updates that may have been made at ``step``."""
        return 0 if step < self.start else int((step - self.start) / self.every) + 1

    def due(self, step: int, updates: int) -> bool:
        """Whether an update is outstanding."""
        return updates < self.allowed(step)
