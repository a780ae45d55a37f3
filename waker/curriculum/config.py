"""Settings of a curriculum, as the command line shows them; read by :mod:`waker.curriculum.registry`'s factories."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from waker.curriculum.api import Floats
from waker.errors import UserError
from waker.ranges import FINITE, require
from waker_envs.api import FiniteThetaSpace


@dataclass(frozen=True)
class CurriculumConfig:
    """Which sampler chooses the next environment, and its numbers (defaults: the paper's)."""

    sampler: str = "waker-m"
    """dr, waker-m, waker-r, gradual-expansion, hardest-oracle, reweighting-oracle, error-oracle, regret-oracle, or one
    from another package."""
    dr_share: float = 0.2
    """Probability that an episode's θ comes from domain randomisation (dr and hardest-oracle ignore it)."""
    staleness: float = 0.0
    """Of the rest, the share given to θ in proportion to the episodes since each was last sampled (level replay)."""
    priority: Literal["boltzmann", "rank", "top-k"] = "boltzmann"
    """How waker-m, waker-r, error-oracle and regret-oracle turn scores into probabilities."""
    temperature: float | None = None
    """Of the Boltzmann distribution; None = the paper's: 0.5 for waker-r, 1.0 for waker-m and the others."""
    rank_temperature: float = 0.1
    """β of the rank priority: p ∝ rank^(−1/β)."""
    top_k: int = 10
    """θ among which the top-k priority draws uniformly."""
    error_decay: float = 0.9999
    """γ of the running error estimate, per credited sample of any θ and any domain (as published)."""
    memory_updates: float | None = None
    """If set, replaces `error_decay`: an estimate forgets by a factor e in so many updates, in every domain alike."""
    reduction_interval: int = 10_000
    """waker-r: agent steps between two measurements of the error's reduction, which are made at multiples of it."""
    reduction_start: int = 50_000
    """waker-r: no measurement before so many agent steps, nor before the next multiple after the first update."""
    reduction_rate: float = 0.05
    """waker-r: weight of the newest reduction in its running average."""
    oracle_interval: int = 10_000
    """error-oracle, regret-oracle: agent steps between two measurements of the truth, which are made at multiples of
    it, from the first one after the first update on."""
    oracle_episodes: int = 4
    """error-oracle, regret-oracle: held-out episodes of each θ in a measurement. Their steps are no agent steps."""
    oracle_error: str = ""
    """error-oracle: the metric of the model's error, as in model_error.parquet (one_step_tv, open_loop_tv_10,
    observation_nll_1 …); empty = one_step_tv where the family predicts exactly, else observation_nll_1."""
    oracle_regret: Literal["mean", "worst"] = "mean"
    """regret-oracle: a θ's regret is the mean over tasks, or that of the worst one."""

    def __post_init__(self) -> None:
        """Check every number.

        Raises:
            UserError: a value outside its range; the message gives the range.
        """
        _require(0 <= self.dr_share <= 1, "dr_share", self.dr_share, "from 0 to 1")
        _require(0 <= self.staleness <= 1, "staleness", self.staleness, "from 0 to 1")
        _require(self.priority in ("boltzmann", "rank", "top-k"), "priority", self.priority, "boltzmann, rank or top-k")
        _require(self.temperature is None or self.temperature > 0, "temperature", self.temperature, "above 0")
        _require(self.rank_temperature > 0, "rank_temperature", self.rank_temperature, "above 0")
        _require(self.top_k >= 1, "top_k", self.top_k, "at least 1")
        _require(0 <= self.error_decay < 1, "error_decay", self.error_decay, "at least 0 and below 1")
        memory = self.memory_updates
        _require(memory is None or memory > 0, "memory_updates", memory, "above 0")
        _require(self.reduction_interval >= 1, "reduction_interval", self.reduction_interval, "at least 1")
        _require(self.reduction_start >= 0, "reduction_start", self.reduction_start, "at least 0")
        _require(0 < self.reduction_rate <= 1, "reduction_rate", self.reduction_rate, "above 0, at most 1")
        _require(self.oracle_interval >= 1, "oracle_interval", self.oracle_interval, "at least 1")
        _require(self.oracle_episodes >= 1, "oracle_episodes", self.oracle_episodes, "at least 1")
        _require(self.oracle_regret in ("mean", "worst"), "oracle_regret", self.oracle_regret, "mean or worst")
        set_ = (name for name, value in vars(self).items() if isinstance(value, int | float))
        require(self, "curriculum.", FINITE, *set_)


def _require(holds: bool, key: str, value: object, valid: str) -> None:
    if not holds:
        raise UserError(f"curriculum setting {key} = {value!r} is not valid; it must be {valid}")


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
