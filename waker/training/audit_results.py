"""What an audit of a learned reward found: its rows, and the constant that is added to a head, in numbers and words.

Made by :mod:`waker.training.audit`; shown by :mod:`waker.report.audit_page`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import stdtrit

from waker.preferences.imprint import LEVEL, regress

Floats = NDArray[np.float64]
HEAD, TRUE, BEFORE = "head", "true", "before"
SHARE, SHIFT = "share lost", "reward shift"
CONSTANT = 0.1
"""Of what the best states pay: a constant that is smaller is told, and not called one."""


@dataclass(frozen=True)
class Constant:
    """What a head pays where the task earns nothing; 1 = what the best states pay.

    Attributes:
        value, low, high: with the truth, α of r̂ = α + β r and its 95 % interval; without it the median, and NaN.
        median: what the median step is paid.
        pinned: segments of different length told the constant; None = nobody knows.
        ends: share of the steps that end their episode by themselves.
    """

    value: float
    low: float
    high: float
    median: float
    pinned: bool | None
    ends: float

    @property
    def found(self) -> bool:
        """Whether it is more than :data:`CONSTANT`, and more than chance."""
        return abs(self.value) > CONSTANT and not self.low <= 0.0 <= self.high

    @property
    def told(self) -> str:
        """In words."""
        of_truth = not np.isnan(self.low)
        interval = f" [{self.low:+.2f}, {self.high:+.2f}]" if of_truth else ""
        size = f"{self.value:+.2f}{interval} a step, where the best states pay 1"
        if not self.found and of_truth:
            return f"No constant is added to the head: what earns nothing is paid {size}."
        if not self.found:
            return f"No constant is seen: the median step of the replay is paid {size}."
        if not self.ends:
            effect = "no step of the replay ended an episode, so it changes nothing there"
        elif self.value < 0:
            effect = "every step costs, so a policy gains by ending its episode"
        else:
            effect = "every step pays, so a policy gains by staying alive, whatever it does"
        if not of_truth:
            unsure = "if the task earns nothing there, a constant is added to the head"
            return f"The median step of the replay is paid {size}: {unsure}, and {effect}."
        return f"A constant is added to the head: what earns nothing is paid {size}; {effect}."


@dataclass
class Audit:
    """All that was found.

    Attributes:
        about: run, head, task, features, numbers of steps, rooms and pairs.
        imprint: one row a reward, kind of effects and feature: the columns of
            :class:`~waker.preferences.imprint.Imprint`, and ``tag``.
        constant: None where the head pays the same everywhere.
        resistance: a row for each source of pairs and class: pairs, hits, n, share, low, high.
        robustness: a row for each edit and for nothing edited.
        theta: as ``imprint``, of what the policy loses on θ.
        notes: what was left out, and why.
    """

    about: dict[str, Any]
    imprint: pd.DataFrame
    constant: Constant | None
    resistance: pd.DataFrame
    robustness: pd.DataFrame
    theta: pd.DataFrame
    notes: list[str] = field(default_factory=list)

    @property
    def tables(self) -> dict[str, pd.DataFrame]:
        """All rows by name."""
        return {name: getattr(self, name) for name in ("imprint", "resistance", "robustness", "theta")}

    @property
    def plain(self) -> dict[str, Any]:
        """Everything as JSON."""
        constant = (
            None if self.constant is None else {**dataclasses.asdict(self.constant), "found": self.constant.found}
        )
        found = {"about": self.about, "constant": constant, "notes": self.notes}
        return {**_plain(found), **{name: _rows(rows) for name, rows in self.tables.items()}}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [_plain({str(k): v for k, v in row.items()}) for row in frame.to_dict("records")]


def unit_of(rewards: Floats) -> float:
    """What the best states pay more than the median one: up to the 99 % quantile, or to the maximum where that is no
    more (:meth:`waker.model.preference_heads.PreferenceHeads.settle`)."""
    median, high = np.quantile(rewards, [0.5, 0.99])
    return float(high - median) or float(rewards.max() - median)


def differences(paid: Mapping[str, Floats]) -> dict[str, Floats]:
    """What the head pays otherwise than the truth, and than before, ``head − true`` and ``head − before``, each (n,).

    Each reward is first divided by :func:`unit_of`. By their own standard deviations it would not do: a head that pays
    for more things has a larger one, and would be told to pay too little for the task.

    Args:
        paid: by :data:`HEAD`, and by :data:`TRUE` and :data:`BEFORE` as far as they are there; any constant.
    """
    of_unit = {name: reward / unit for name, reward in paid.items() if (unit := unit_of(reward)) > 0}
    return {
        f"{HEAD} − {other}": of_unit[HEAD] - of_unit[other]
        for other in (TRUE, BEFORE)
        if HEAD in of_unit and other in of_unit
    }


def constant_of(paid: Floats, truth: Floats, room: NDArray[np.int64]) -> tuple[float, float, float]:
    """α of paid = α + β truth with its 95 % interval over rooms, all (n,); NaN limits with two rooms alone."""
    fit = regress(paid, truth[:, None], room)
    half = float(stdtrit(fit.groups - 1, 0.5 + LEVEL / 2)) * fit.constant_se
    return fit.constant, fit.constant - half, fit.constant + half
