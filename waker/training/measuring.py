"""Measurements that a curriculum asks for while a run goes on: when they are due, made, and what they cost.

Made by :class:`waker.training.session.Session`; put together by :mod:`waker.training.build`. A curriculum that is not
:class:`~waker.curriculum.api.Informed`, or wants nothing, never has one due. What is measured is in
:mod:`waker.evaluation.truth`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from waker.config.schema import Config
from waker.curriculum.api import Curriculum, Floats, Informed, Wanted
from waker.evaluation.setup import Setup
from waker.evaluation.sources import RANDOM_ONLY, Source
from waker.evaluation.truth import Truth
from waker.machine.compile_costs import processor_seconds
from waker.protocols import Learner
from waker.seeding import preserved_torch
from waker.training.work_due import Every

if TYPE_CHECKING:
    from waker.agent.agent import Agent
    from waker.collection.family import Family

Measure = Callable[[Learner, Wanted, int], Floats]
"""Measures the agent's model at a step: one number a θ, (M,). It seeds its chance itself."""


class Measuring:
    """A run's measurements.

    Args:
        curriculum: who may ask.
        measure: who measures; None = nobody can.

    Attributes:
        seconds: processor seconds that measuring has taken.

    Raises:
        ValueError: the curriculum asks, and nobody can measure.
    """

    def __init__(self, curriculum: Curriculum, measure: Measure | None) -> None:
        self._curriculum, self._measure = curriculum, measure
        self.wanted = curriculum.wanted if isinstance(curriculum, Informed) else None
        if self.wanted is not None and measure is None:
            raise ValueError("the curriculum asks for measurements, and the run has nobody to make them")
        self._clock = Every(0 if self.wanted is None else self.wanted.every)
        self.seconds = 0.0

    def due(self, step: int) -> bool:
        """Whether it is time."""
        return self._clock.due(step)

    def skip(self, step: int) -> None:
        """Make none until the next multiple: there is no model yet that has learned anything."""
        self._clock.mark(step)

    @property
    def told(self) -> str:
        """One line about what is measured, and what that has cost so far."""
        assert self.wanted is not None
        what, episodes = " or ".join(self.wanted.metrics), self.wanted.episodes
        return (
            f"the sampler is told {what} of the current model, a control that nobody has in practice: {episodes} "
            f"held-out episodes a θ every {self.wanted.every:,} steps, {self.seconds:.1f} CPU s so far"
        )

    def make(self, learner: Learner, step: int) -> None:
        """Measure, and tell the curriculum; training's streams stay as they were.

        Raises:
            Paused: a signal came first; it is still due.
            UserError: an environment failed.
        """
        assert isinstance(self._curriculum, Informed)
        assert self.wanted is not None
        assert self._measure is not None
        began = processor_seconds()
        try:
            with preserved_torch():
                values = self._measure(learner, self.wanted, step)
        finally:
            self.seconds += processor_seconds() - began
        self._curriculum.measured(values, step)
        self._clock.mark(step)

    def state_dict(self) -> dict[str, Any]:
        """Which multiples have been served."""
        return {"passed": self._clock.passed}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there."""
        self._clock.passed = int(state["passed"])


def measure_of(config: Config, family: Family, sources: Sequence[Source] = RANDOM_ONLY) -> Measure:
    """Who measures a run's agent for a curriculum that asks for it; ``sources`` act in held-out episodes."""

    def measure(learner: Learner, wanted: Wanted, step: int) -> Floats:
        truth = Truth(Setup.of_run(config, family, sources), config.seed, config.curriculum.sampler)
        return truth.measure(cast("Agent", learner).model, wanted, step)

    return measure


def check_wanted(config: Config, family: Family, curriculum: Curriculum, agent: Agent) -> None:
    """Measure a little of what the curriculum asks for, if it does.

    Args:
        config: of the run.
        family: its environments.
        curriculum: its curriculum.
        agent: as the run's will be, on the CPU.

    Raises:
        UserError: it cannot be measured there.
    """
    if isinstance(curriculum, Informed) and (wanted := curriculum.wanted) is not None:
        setup = dataclasses.replace(Setup.of_run(config, family), device="cpu")
        Truth(setup, config.seed, config.curriculum.sampler).check(agent.model, wanted)
