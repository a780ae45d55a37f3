"""What a run's curriculum is told about the model: its wishes, its family and the agent put together.

Called by :mod:`waker.training.build`; see :mod:`waker.training.measuring` for when, :mod:`waker.evaluation.truth` for
what.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from waker.config.schema import Config
from waker.curriculum import Curriculum, Informed, Wanted
from waker.curriculum.api import Floats
from waker.evaluation.setup import Setup
from waker.evaluation.sources import RANDOM_ONLY, Source
from waker.evaluation.truth import Truth
from waker.protocols import Learner
from waker.training.measuring import Measure

if TYPE_CHECKING:
    from waker.agent.agent import Agent
    from waker.collection.family import Family


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
