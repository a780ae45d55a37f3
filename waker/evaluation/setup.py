"""How agents are measured, as one thing: what every function of an evaluation needs besides the agent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from waker.collection.family import Family
from waker.config.schema import Config, EvalConfig
from waker.evaluation.sources import RANDOM_ONLY, Source

SEED = 0
"""Seed of evaluations: the same for all runs, so that all meet the same episodes. Their seeds come from streams
of their own over 2³¹ values: held out from training but for a negligible chance."""


@dataclass(frozen=True)
class Setup:
    """How agents are measured: the same for all runs that are compared.

    Attributes:
        family: the environments.
        config: how much of everything.
        seed: fixes θ, episodes, actions and latent samples.
        device: of the models that are measured.
        sources: who acts in the held-out episodes of the world model's error.
        processes: worker processes for environments; 0 = none.
    """

    family: Family
    config: EvalConfig
    seed: int = SEED
    device: str = "cpu"
    sources: Sequence[Source] = RANDOM_ONLY
    processes: int = 0

    @classmethod
    def of_run(cls, config: Config, family: Family, sources: Sequence[Source] = RANDOM_ONLY) -> Setup:
        """That of a run's own evaluations."""
        processes = config.train.env_processes
        return cls(family, config.evaluation, device=config.device, sources=sources, processes=processes)
