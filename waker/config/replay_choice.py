"""Settings of what is trained on, whatever is collected; read by :mod:`waker.replay.curious`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from waker.settings import Detail, NotNegative, Positive, Settings, Share


@dataclass(frozen=True)
class ReplayConfig(Settings, section="replay"):
    """Which windows of the replay the model is trained on, whatever sampler chooses what is collected."""

    choice: Literal["uniform", "curious"] = "uniform"
    """`uniform`: all windows alike. `curious`: by p = c·β^visits + (loss + ε)^α of their first step (Curious Replay,
    arXiv 2306.15934); costs memory of 12 bytes a step, and a draw reads them all. Task policies that are trained
    afterwards learn from all windows alike."""
    visit_weight: Detail[NotNegative] = 1e4
    """c."""
    visit_decay: Detail[Share] = 0.7
    """β."""
    loss_power: Detail[Positive] = 0.7
    """α."""
    loss_offset: Detail[Positive] = 0.01
    """ε."""
    new_priority: Detail[Positive] = 1e5
    """p of steps that have not been trained on."""
