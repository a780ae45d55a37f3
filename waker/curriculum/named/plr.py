"""``plr``, ``robust-plr`` and ``task-plr``: prioritised level replay.

Jiang et al. 2021 (arXiv 2010.03934) and 2021b (arXiv 2110.02439, robust: gradients on replayed levels alone). With
probability p a level that has a score is replayed, by P = (1−ρ)·rank^(−1/β) + ρ·age; else a new one comes from DR.

Published settings: Procgen β .1, ρ .1, value L1; mazes (dcd) β .1 with MaxMC or .3 with PVL, ρ .3, p .5, 4,000 levels;
bipedal ρ .5; car racing proportional with β 1, ρ .7; jaxued and minimax β .3, ρ .3. The defaults here are rank, β .3,
ρ .3, p .5, no replay before half of the θ have a score. MiniGrid's settings beyond an issue thread are not verified.

Ours: scores are of the exploration policy's intrinsic rewards and critic, a regret that is not the task's; ``credit``
(see :mod:`waker.curriculum.scores.credited`) chooses whose trajectories are scored, ``episode`` being the published
timing; "new" is DR over all θ (``ReplayLaw``); equal scores are ranked by id, lower first (as jaxued; dcd and
level-replay: higher first). A new θ of ``robust-plr`` is collected, filtered through the model and
scored, but kept out of the replay; its steps count, no update is made for them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from waker.curriculum.api import Curriculum
from waker.curriculum.boxes.level_replay import box_replay
from waker.curriculum.config import CurriculumConfig
from waker.curriculum.level_replay.replay_settings import LevelReplaySettings, level_replay
from waker.curriculum.registry import privileged, register_curriculum, takes_boxes
from waker.curriculum.scores import advantages as formulas
from waker.curriculum.scores.credited import Credited, check_mode
from waker.curriculum.scores.quantities import OfAdvantages
from waker_envs.api import ThetaSpace


@register_curriculum("plr", LevelReplaySettings)
@takes_boxes
def make_plr(
    space: ThetaSpace,
    config: CurriculumConfig,
    rng: np.random.Generator,
    samples_per_update: int,
    settings: LevelReplaySettings,
) -> Curriculum:
    """Level replay; episodes of new and of replayed θ are trained on."""
    if space.size is None:
        return box_replay("plr", space, rng, settings)
    return level_replay("plr", space, config, rng, samples_per_update, settings, settings.credited)


@register_curriculum("robust-plr", LevelReplaySettings)
@takes_boxes
def make_robust_plr(
    space: ThetaSpace,
    config: CurriculumConfig,
    rng: np.random.Generator,
    samples_per_update: int,
    settings: LevelReplaySettings,
) -> Curriculum:
    """Level replay; episodes of new θ are scored and not trained on.

    Raises:
        UserError: ``credit`` is not ``episode``: the other modes have no score for what is not trained on.
    """
    check_mode("robust-plr", settings.credit, "episode")
    if space.size is None:
        return box_replay("robust-plr", space, rng, settings, staging=True)
    return level_replay("robust-plr", space, config, rng, samples_per_update, settings, settings.credited, staging=True)


@dataclass(frozen=True)
class TaskReplaySettings(LevelReplaySettings, section="curriculum.task-plr"):
    """Numbers of level replay; ``score`` and ``credit`` are not used."""

    FIXED: ClassVar[frozenset[str]] = frozenset({"score", "credit"})


@register_curriculum("task-plr", TaskReplaySettings)
@privileged
def make_task_plr(
    space: ThetaSpace,
    config: CurriculumConfig,
    rng: np.random.Generator,
    samples_per_update: int,
    settings: TaskReplaySettings,
) -> Curriculum:
    """Level replay by the PVL of a task's critic on real episodes: the published method, *not reward-free*.

    Its ``score`` and ``credit`` are fixed.
    """
    quantity = OfAdvantages(formulas.positive_value_loss, task=True)
    return level_replay(
        "task-plr",
        space,
        config,
        rng,
        samples_per_update,
        settings,
        lambda points, decay: Credited(points.size, quantity, "episode", alpha=settings.alpha),
    )
