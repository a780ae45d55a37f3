"""The interface between a curriculum and the rest: what the training loop, checkpoints and reports call.

Shapes: D θ dimensions, M points of a finite θ space, n episodes.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from waker.curriculum.evidence import NOTHING, EpisodeEvidence, Evidence, Needs

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
State = dict[str, Any]
"""A flat dict of numpy arrays and JSON scalars (str, int, float, bool)."""
Columns = dict[str, NDArray[Any]]
"""Rows as one array a column, all of the same length."""
UNCHANGED: Ints = np.zeros(0, np.int64)
"""The ids of no θ."""


class Thetas(NamedTuple):
    """Some θ: their ids (n,), −1 outside a finite space and in a continuous one, and their points (n, D)."""

    ids: Ints
    points: Floats


class Curriculum(Protocol):
    """Chooses the θ of every episode and learns from the model's error."""

    def sample(self, n: int) -> Thetas:
        """The θ of the next n episodes. A third party's sampler may return the points alone."""

    def observe(self, theta_id: NDArray[np.integer[Any]], error: NDArray[np.floating[Any]], step: int) -> None:
        """Credit one batch of errors to the θ they come from.

        Args:
            theta_id: any shape, flattened in C order; ids below 0 (θ outside the space) are ignored.
            error: the same shape; the disagreement credited to each.
            step: agent steps made so far.
        """

    def episode_done(self, theta: Floats, theta_id: int, stats: Mapping[str, float]) -> None:
        """Take note of a finished episode: θ of shape (D,), its id (−1 outside the space), the episode's numbers."""

    def probabilities(self) -> Floats | None:
        """Exact probability that the next sample is each θ, shape (M,), sum 1; None for a continuous space."""

    def estimates(self) -> Floats | None:
        """The running error estimate e(θ), shape (M,), NaN where unknown; None for a continuous space."""

    def table(self) -> Columns:
        """One row a θ for logs and plots; no columns for a continuous space.

        Columns, each of shape (M,): ``theta_id``, the integers 0 … M−1 in this order; ``theta_<name>`` for each
        parameter; ``probability`` and ``estimate``, NaN where unknown. Ours have ``score``, ``episodes`` and
        ``credits``, too; others may be added.
        """

    def state_dict(self) -> State:
        """Everything needed to continue identically, the random generator included (as text: its integers are long).

        Checkpoints are read without running code: they hold numpy arrays of numbers, and JSON's scalars.
        """

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore :meth:`state_dict`'s value.

        Raises:
            UserError: the state belongs to another sampler or θ space; nothing has been changed.
        """


@dataclass(frozen=True)
class Wanted:
    """What a curriculum asks to have measured of the current world model, again and again (:class:`Informed`).

    Attributes:
        metrics: names in order of preference; the first that every measured θ has is taken. See
            :mod:`waker.evaluation.truth` for what there is.
        every: agent steps between two measurements, at least 1; they are made at multiples of it, the first at the
            first one after the first update.
        episodes: held-out episodes of each θ, at least 1.
    """

    metrics: tuple[str, ...]
    every: int
    episodes: int

    def __post_init__(self) -> None:
        """Check what others may have written.

        Raises:
            ValueError: no metric, or a number below 1.
        """
        if not self.metrics or min(self.every, self.episodes) < 1:
            raise ValueError(f"metrics must be at least one name, every and episodes at least 1, not {self}")


@runtime_checkable
class Informed(Curriculum, Protocol):
    """A curriculum that is told the truth about the current model: a control, as nobody has that truth in practice.

    Optional: the training loop measures for those that have these two.
    """

    @property
    def wanted(self) -> Wanted | None:
        """What to measure, always the same; None = nothing."""

    def measured(self, values: Floats, step: int) -> None:
        """Take a measurement.

        Args:
            values: shape (M,), NaN where it is not known.
            step: agent steps made so far.
        """


@runtime_checkable
class Evident(Curriculum, Protocol):
    """A curriculum that reads more of what the learner measures than the credited disagreement.

    Optional. For those that have these, ``learn`` is called before ``observe`` of the same update, and
    ``learn_episode`` before ``episode_done``. Held-out episodes are told in rounds, by ``learn_episode`` alone.
    """

    @property
    def needs(self) -> Needs:
        """The fields it reads, always the same; empty = none, and it is told nothing."""

    def learn(self, evidence: Evidence) -> None:
        """Take one update's record: the fields of ``needs.update`` are there, others may be None."""

    def learn_episode(self, evidence: EpisodeEvidence) -> None:
        """Take one episode's record: the fields of ``needs.episode`` are there, others may be None."""


@runtime_checkable
class Staging(Curriculum, Protocol):
    """A curriculum that has some episodes collected for their score alone (robust level replay)."""

    @property
    def staged(self) -> NDArray[np.bool_]:
        """Of the last ``sample(n)``, (n,): whether the episode must be kept out of training.

        Its steps count, and earn no updates. Before the first update none is kept out: all data is needed then.
        """


def stages(curriculum: object) -> bool:
    """Whether a curriculum may keep episodes out of training; of one under guard, what is inside decides.

    Without asking for ``staged``, which need not be there before the first sample.
    """
    own = inspect.getattr_static(curriculum, "stages", None)
    return bool(curriculum.stages) if own is not None else _has(curriculum, "staged")  # type: ignore[attr-defined]


def _has(thing: object, name: str) -> bool:
    return inspect.getattr_static(thing, name, None) is not None


class Score(ABC):
    """One number per θ: how much it deserves to be sampled. No randomness, no knowledge of the environment.

    A new score overrides what it needs: it may learn from credits (``observe``), from finished episodes
    (``episode``) or from what was handed out (``sampled``). Whatever it remembers belongs in ``state_dict``. One that
    sets ``wanted`` is told what is measured of the model (``measured``); one that sets ``needs`` gets the learner's
    records (``learn``, ``learn_episode``).

    These return the ids whose scores may have changed, each once, so that the next draw need not look at the
    others; None, which a method without ``return`` gives, means that any may have.
    """

    wanted: Wanted | None = None
    needs: Needs = NOTHING
    ADDED: ClassVar[frozenset[str]] = frozenset()
    """Keys that states of earlier versions lack: what a fresh score has stands in for them."""

    @abstractmethod
    def values(self) -> Floats:
        """The scores, shape (M,), NaN where a θ has none yet. A fresh array."""

    def at(self, theta_id: Ints) -> Floats:
        """The scores of these θ, shape (n,). To be overridden where that is cheaper than :meth:`values`."""
        return self.values()[theta_id]

    def observe(self, theta_id: Ints, error: Floats, step: int) -> Ints | None:
        """One batch of finite credits, both (N,), ids in 0 … M−1; see :meth:`Curriculum.observe`."""
        return UNCHANGED

    def sampled(self, theta_id: Ints) -> Ints | None:
        """These θ, shape (n,), have been handed out for the next episodes."""
        return UNCHANGED

    def episode(self, theta_id: int, stats: Mapping[str, float]) -> Ints | None:
        """A finished episode of a θ of the space."""
        return UNCHANGED

    def measured(self, values: Floats, step: int) -> Ints | None:
        """A measurement, (M,); see :meth:`Informed.measured`."""
        return UNCHANGED

    def learn(self, evidence: Evidence) -> Ints | None:
        """One update's record; ids at or above M never occur, others may be negative. See :class:`Evident`."""
        return UNCHANGED

    def learn_episode(self, evidence: EpisodeEvidence) -> Ints | None:
        """One episode's record, of a θ of the space; see :class:`Evident`."""
        return UNCHANGED

    def state_dict(self) -> State:
        """The score's memory: flat, numpy arrays and JSON scalars, copied. Its keys never change."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:  # noqa: B027
        """Restore :meth:`state_dict`'s value (keys and shapes have been checked)."""


class Priority(Protocol):
    """Turns scores into a distribution. Pure: no state.

    A priority whose distribution can be drawn from without reading all scores also has a method ``draws(size)``, see
    :class:`waker.curriculum.priorities.rules.Drawable`.
    """

    def distribution(self, scores: Floats) -> Floats | None:
        """Scores (M,), NaN = none → probabilities (M,) that sum to 1; None where no θ has a score."""
