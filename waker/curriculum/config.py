"""Settings of a curriculum, as the command line shows them; read by :mod:`waker.curriculum.registry`'s factories."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Annotated, Literal

import numpy as np
from annotated_types import Interval

from waker.curriculum.api import Floats
from waker.settings import Count, Detail, NotNegativeInt, Positive, Settings, Share, Short
from waker_envs.api import FiniteThetaSpace


@dataclass(frozen=True)
class CurriculumConfig(Settings, section="curriculum"):
    """Which sampler chooses the next environment, and its numbers (defaults: the paper's)."""

    sampler: Annotated[str, Short("--sampler")] = "waker-m"
    """dr, waker-m, waker-r, gradual-expansion, plr, robust-plr, accel or another rival (docs/curricula.md has all),
    hardest-oracle, reweighting-oracle, error-oracle, regret-oracle, one from another package, or file.py:factory."""
    settings: Detail[dict[str, str | int | float | bool | None]] = field(default_factory=dict)
    """Numbers of that sampler's own, which `--curriculum.SAMPLER.NAME VALUE` sets too."""
    dr_share: Share = 0.2
    """Probability that an episode's θ comes from domain randomisation (dr and hardest-oracle ignore it)."""
    staleness: Share = 0.0
    """Of the rest, the share given to θ in proportion to the episodes since each was last sampled (level replay)."""
    priority: Literal["boltzmann", "rank", "top-k"] = "boltzmann"
    """How waker-m, waker-r, error-oracle and regret-oracle turn scores into probabilities."""
    temperature: Positive | None = None
    """Of the Boltzmann distribution; None = the paper's: 0.5 for waker-r, 1.0 for waker-m and the others."""
    rank_temperature: Positive = 0.1
    """β of the rank priority: p ∝ rank^(−1/β)."""
    top_k: Count = 10
    """θ among which the top-k priority draws uniformly."""
    error_decay: Detail[Annotated[float, Interval(ge=0, lt=1)]] = 0.9999
    """γ of the running error estimate, per credited sample of any θ and any domain (as published)."""
    memory_updates: Positive | None = None
    """If set, replaces `error_decay`: an estimate forgets by a factor e in so many updates, in every domain alike."""
    reduction_interval: Count = 10_000
    """waker-r: agent steps between two measurements of the error's reduction, which are made at multiples of it."""
    reduction_start: NotNegativeInt = 50_000
    """waker-r: no measurement before so many agent steps, nor before the next multiple after the first update."""
    reduction_rate: Annotated[float, Interval(gt=0, le=1)] = 0.05
    """waker-r: weight of the newest reduction in its running average."""
    oracle_interval: Count = 10_000
    """error-oracle, regret-oracle: agent steps between two measurements of the truth, which are made at multiples of
    it, from the first one after the first update on."""
    oracle_episodes: Detail[Count] = 4
    """error-oracle, regret-oracle: held-out episodes of each θ in a measurement. Their steps are no agent steps."""
    oracle_error: Detail[str] = ""
    """error-oracle: the metric of the model's error, as in model_error.parquet (one_step_tv, open_loop_tv_10,
    observation_nll_1 …); empty = one_step_tv where the family predicts exactly, else observation_nll_1."""
    oracle_regret: Detail[Literal["mean", "worst"]] = "mean"
    """regret-oracle: a θ's regret is the mean over tasks, or that of the worst one."""


def resolve_decay(config: CurriculumConfig, space: FiniteThetaSpace, samples_per_update: int) -> float | Floats:
    """γ per credited sample, from ``memory_updates`` where it is set.

    An update credits N = ``samples_per_update`` samples to the M θ of the space, N/M each on average; over
    ``memory_updates`` updates an old value keeps the weight γ^(memory·N/M), which is set to 1/e:
    γ = exp(−M / (memory·N)). The published 1/10 000 per sample is the paper's scale; a run of minutes needs its own.

    Of D domains each gets N/D samples, whatever its own number of θ M_d, as all have the same total weight: there
    γ_d = exp(−D·M_d / (memory·N)). With one γ for all, the 35 θ of a small domain would forget 22 times as fast as the
    777 of a large one. ``error_decay`` is the published rate of a sample and knows no domains.

    Args:
        config: the settings.
        space: the θ space.
        samples_per_update: N = B·T, at least 1.

    Returns:
        One γ, or shape (M,), each θ's, in a space of several domains with ``memory_updates``.
    """
    if config.memory_updates is None:
        return config.error_decay
    credits = config.memory_updates * samples_per_update
    if space.groups is None:
        return math.exp(-space.size / credits)
    sizes = np.bincount(space.groups)  # (D,)
    decay: Floats = np.exp(-len(sizes) * sizes / credits)[space.groups]
    return decay
