"""Means of metrics between two rows. An update's metrics are tensors that stay on the device until a row is due."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor


class Means:
    """Means of metrics over the updates since the last row, accumulated where the tensors are.

    Metrics that come together (one mapping's keys) form one vector: an update costs a concatenation and an
    addition, and no synchronisation. Sums are float64: of finite metrics they are finite. The entries of a metric that
    is itself a vector become ``key/<label>``.

    Args:
        labels: what the entries of a metric are called, asked by the metric's key; where it names another number of
            them than there are, they are numbered.
    """

    def __init__(self, labels: Callable[[str], Sequence[str]] = lambda key: ()) -> None:
        self._labels = labels
        self._sums: dict[tuple[str, ...], tuple[Tensor, int]] = {}

    def add(self, metrics: Mapping[str, Tensor | float]) -> None:
        """Add one update's metrics: 0-dim tensors or vectors of one device, or plain numbers."""
        if not metrics:
            return
        keys: list[str] = []
        parts: list[Tensor] = []
        for key, value in metrics.items():
            tensor = value.detach() if isinstance(value, Tensor) else torch.tensor(float(value), dtype=torch.float64)
            keys += [key] if tensor.ndim == 0 else self._keys(key, tensor.numel())
            parts.append(tensor.reshape(-1).to(torch.float64))
        vector = torch.cat(parts)
        total, count = self._sums.get(tuple(keys), (torch.zeros_like(vector), 0))
        self._sums[tuple(keys)] = (total.to(vector.device) + vector, count + 1)

    def _keys(self, key: str, n: int) -> list[str]:
        names = self._labels(key)
        return [f"{key}/{entry}" for entry in (names if len(names) == n else range(n))]

    def take(self) -> dict[str, float]:
        """The means, on the host; then begin again."""
        found: dict[str, float] = {}
        for keys, (total, count) in self._sums.items():
            found.update(zip(keys, (total / count).tolist(), strict=True))
        self._sums.clear()
        return found

    def state_dict(self) -> dict[str, Any]:
        """What has been added since the last row."""
        return {"sums": [[list(k), total.cpu(), count] for k, (total, count) in self._sums.items()]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue a row that was under way; its sums move to the metrics' device at the next addition."""
        self._sums = {tuple(keys): (total, count) for keys, total, count in state["sums"]}
