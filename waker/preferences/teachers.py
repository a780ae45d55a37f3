"""Simulated teachers: who answers queries in the place of a person, by the truth, and how they err.

The model of an answer is Bradley–Terry's, P(first preferred) = σ(β (G₁ − G₂)), G the sum of a segment's scores; errors
and their order are those of B-Pref (Lee et al. 2021, arXiv 2111.03026), whose six teachers :func:`parse_teacher` knows
by name. One thing is not taken over: its code multiplies the thresholds of *skip* and *equal* by their share twice.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from waker.errors import UserError, unknown

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
LARGEST = 50.0
"""|β (G₁ − G₂)| beyond it counts as it, so that no probability is 0 (as in the package *imitation*)."""
TIE = 0.5
ROUNDING = 1e-9
"""Sums of the same steps in another order differ by less."""


def preferred(difference: ArrayLike, beta: float = 1.0) -> Floats:
    """P(first preferred) of G₁ − G₂: σ(β · difference); with β = ∞ 1, 0, or ½ where they are equal but for rounding."""
    gap = np.asarray(difference, np.float64)
    if math.isinf(beta):
        return 0.5 * (np.sign(np.where(np.abs(gap) < ROUNDING, 0.0, gap)) + 1.0)
    return 1.0 / (1.0 + np.exp(-np.clip(beta * gap, -LARGEST, LARGEST)))


def flipped(probability: ArrayLike, share: float) -> Floats:
    """P(first preferred) of who answers the opposite with probability ``share``: (1 − ε) p + ε (1 − p)."""
    p = np.asarray(probability, np.float64)
    return (1.0 - share) * p + share * (1.0 - p)


def at_random(probability: ArrayLike, share: float) -> Floats:
    """P(first preferred) of who answers by a coin with probability ``share``: ε/2 + (1 − ε) p; a flip of ε/2."""
    return flipped(probability, share / 2.0)


def discounted(scores: ArrayLike, inside: Bools, gamma: float, late: bool) -> Floats:
    """Weighted sums over each segment's steps, (n,).

    Args:
        scores: (n, Lmax), of each step.
        inside: (n, Lmax), the steps that belong to the segment, from its first on.
        gamma: 1 = plain sums.
        late: late steps count, γ^(L−1−t), as for B-Pref's *myopic* teacher; else early ones, γ^t, as in *imitation*.
    """
    step = np.arange(inside.shape[1])
    age = inside.sum(1, keepdims=True) - 1 - step if late else np.broadcast_to(step, inside.shape)
    weights = np.where(inside, gamma ** np.maximum(age, 0), 0.0)
    return np.asarray((np.where(inside, scores, 0.0) * weights).sum(1), np.float64)


def threshold(share: float, length: int, longest: int, mean_return: float) -> float:
    """δ of *skip* and *equal*: what ``share`` of a segment of L steps earns on average, ε (L / T_max) · mean return.

    Args:
        length: L.
        longest: T_max, steps of the longest episode.
        mean_return: of the newest ten training episodes.
    """
    return share * length / longest * mean_return


@dataclass(frozen=True)
class Teacher:
    """How a simulated teacher answers; as it is by default, an oracle.

    Attributes:
        beta: certainty of an answer; ∞ = always the larger sum, ½ where they are equal.
        gamma: a step that is k steps before the segment's last counts γ^k.
        flip: share of answers that are turned round.
        skip: no answer where neither segment earns more than the threshold of this share.
        equal: a tie where sums differ by less than the threshold of this share.
    """

    beta: float = math.inf
    gamma: float = 1.0
    flip: float = 0.0
    skip: float = 0.0
    equal: float = 0.0

    def answers(self, first: Floats, second: Floats, inside: tuple[Bools, Bools], scale: Scale, seed: int) -> Floats:
        """Labels (n,): 1 = first preferred, 0 = second, ½ = tie, NaN = skipped.

        In B-Pref's order: skip and equality by plain sums, then weighted sums, the answer, the flip, and a tie where
        they were found equal.

        Args:
            first, second: scores of the steps, (n, Lmax) each.
            inside: which of them belong to the segments.
            scale: what thresholds are shares of.
            seed: of the chance in answers.
        """
        rng = np.random.default_rng(seed)
        plain = [discounted(s, i, 1.0, late=True) for s, i in zip((first, second), inside, strict=True)]
        length = max(int(i.sum(1).max(initial=0)) for i in inside)
        skipped = np.maximum(*plain) <= scale.threshold(self.skip, length) if self.skip else np.zeros(len(first), bool)
        same = np.abs(plain[0] - plain[1]) < scale.threshold(self.equal, length) if self.equal else skipped & False
        sums = [discounted(s, i, self.gamma, late=True) for s, i in zip((first, second), inside, strict=True)]
        p = preferred(sums[0] - sums[1], self.beta)
        chance = rng.random((2, len(p)))  # drawn whether needed or not: a teacher's other answers stay as they are
        label = p if math.isinf(self.beta) else (chance[0] < p).astype(np.float64)
        label = np.where(chance[1] < self.flip, 1.0 - label, label)
        return np.where(skipped, np.nan, np.where(same, TIE, label))

    @property
    def parameters(self) -> dict[str, Any]:
        """As JSON; β of an oracle is null."""
        given = dataclasses.asdict(self)
        return {**given, "beta": None if math.isinf(self.beta) else self.beta}


@dataclass(frozen=True)
class Scale:
    """What the thresholds of *skip* and *equal* are shares of.

    Attributes:
        longest: steps of the longest training episode.
        mean_return: of the newest ten.
    """

    longest: int = 1
    mean_return: float = 0.0

    def threshold(self, share: float, length: int) -> float:
        """See :func:`threshold`."""
        return threshold(share, length, self.longest, self.mean_return)


_FIELDS = {"flip": "flip", "noisy": "beta", "skip": "skip", "equal": "equal", "myopic": "gamma"}
_DEFAULTS = {"flip": 0.1, "noisy": 1.0, "skip": 0.1, "equal": 0.1, "myopic": 0.9}
"""B-Pref's."""


def parse_teacher(text: str) -> Teacher:
    """A teacher by name: ``oracle``, ``flip:0.1``, ``noisy:1``, ``skip:0.1``, ``equal:0.1``, ``myopic:0.9``.

    Several errors are joined by ``+``, as ``noisy:1+flip:0.05``; a name alone has B-Pref's number.

    Raises:
        UserError: no such teacher, or a number outside its range.
    """
    changes: dict[str, float] = {}
    for part in text.split("+"):
        name, separator, number = part.partition(":")
        if name == "oracle" and not separator:
            continue
        if name not in _FIELDS:
            raise unknown("teacher", name, ["oracle", *_FIELDS])
        try:
            value = float(number) if separator else _DEFAULTS[name]
        except ValueError:
            value = math.nan
        most = math.inf if name in ("noisy", "skip", "equal") else 1.0
        if not 0.0 <= value <= most or (name == "noisy" and (value == 0.0 or math.isinf(value))):
            share = "a number above 0" if name == "noisy" else "0 or more" if most > 1.0 else "a number in [0, 1]"
            raise UserError(f"teacher {part!r}: {name} takes {share}")
        changes[_FIELDS[name]] = value
    return Teacher(**changes)
