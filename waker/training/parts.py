"""What a training session is made of: the factories that it is handed. Put together by :mod:`waker.training.build`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from waker.collection.family import Family
from waker.curriculum import Curriculum
from waker.evaluation.records import Measurement
from waker.protocols import Learner
from waker.training.measuring import Measure

Evaluate = Callable[[Learner], Measurement]
"""Measures an agent, with chance of its own; raises :class:`~waker.terminal.signals.Paused` where a signal comes."""


@dataclass(frozen=True)
class Parts:
    """The factories that a run is made of; called once each, in this order, with all seeds set.

    Attributes:
        family: of its environments.
        make_curriculum: from its own generator.
        make_agent: the learner; draws its weights from torch's global generator.
        evaluate: see :data:`Evaluate`.
        measured: ids of the θ whose model error it measures: a snapshot of the curriculum keeps their own rows.
        measure: what a curriculum may ask to have measured; None = such a curriculum cannot be used.
    """

    family: Family
    make_curriculum: Callable[[np.random.Generator], Curriculum]
    make_agent: Callable[[], Learner]
    evaluate: Evaluate
    measured: Sequence[int] = ()
    measure: Measure | None = None
