"""Metrics that are not finite: told once each, with what they can come from. Called by the training loops."""

from __future__ import annotations

import math

from waker.storage.metrics_file import Metrics


class NotFinite:
    """Tells of metrics that are not finite, of each once, whatever its name: in a file they are null."""

    def __init__(self) -> None:
        self._told: set[str] = set()

    def line(self, row: Metrics) -> str:
        """One line about those of ``row`` that nothing was said of yet: key, step, where from; empty if there are none.

        Args:
            row: metrics, with ``step`` and ``updates``.
        """
        found = [k for k, v in row.items() if isinstance(v, float) and not math.isfinite(v) and k not in self._told]
        if not found:
            return ""
        self._told.update(found)
        found.sort(key=lambda key: not _of_rewards(key))  # what others are made of first
        more = f" (and {len(found) - 1} more: {', '.join(found[1:4])}{' …' * (len(found) > 4)})" if found[1:] else ""
        where = f"at step {row['step']:,}, update {row['updates']:,}"
        return f"{found[0]}{more} is not finite {where}, and null in metrics.jsonl: {_source(found[0])}"


def _of_rewards(key: str) -> bool:
    return any(part in key for part in ("reward", "return", "critic"))


def _source(key: str) -> str:
    """What a metric that is not finite can come from."""
    largest, squared = "3e38, the largest float32", "1e19, whose square is no float32"
    diverged = "training may have diverged (try a lower learning rate)"
    if key.startswith("episode/"):
        return f"the environment's rewards add up to more than {largest}"
    if _of_rewards(key):
        return f"rewards may exceed {squared}, or {diverged}"
    return f"observations may exceed {squared}, a loss weight may be too large, or {diverged}"
