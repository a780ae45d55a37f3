"""Numbers of one run by task and quantity, and how a quantity with a bracket is written down as five of them.

Called by :mod:`waker.analysis.numbers` and :mod:`waker.analysis.plans_compared`.
"""

from __future__ import annotations

from waker.analysis.worst import Bracket

BRACKETED = ("cvar_0.1_theta", "worst_regret", "planned_worst_regret", "worst_model_error")
PARTS = ("plug_in", "split", "low", "high")
LIMITS = frozenset(f"{quantity}_{limit}" for quantity in BRACKETED for limit in ("low", "high"))
SEED = 0
"""Of bootstraps: the same for every run, so that a number does not depend on what else is in a table."""

Number = tuple[str, str, float]
"""Task, quantity, value."""


def of_bracket(task: str, quantity: str, found: Bracket) -> list[Number]:
    """The corrected value under the quantity's name, and its parts."""
    parts = [(task, f"{quantity}_{part}", float(getattr(found, part))) for part in PARTS]
    return [(task, quantity, found.corrected), *parts]
