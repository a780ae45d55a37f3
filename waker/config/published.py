"""What was published for each domain of Rigter, Jiang & Posner (ICLR 2024), and for each sampler.

A published setting belongs to a domain: presets ``paper`` and ``authors`` ask here which numbers an environment has.
Sources: the paper's appendix on hyperparameters and the settings that its authors' code holds for each domain. What is
the same in all of them is in :mod:`waker.config.presets`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from waker.errors import UserError


@dataclass(frozen=True)
class Recipe:
    """The numbers of one kind of domain.

    Attributes:
        env_ids: the domains; the first is the one a preset of this recipe begins with.
        model_lr: learning rate of the world model.
        entropy: bonus of all policies, summed over action dimensions.
        kl_scale: weight of the KL in the model's loss.
        prefill: agent steps of random actions before the first update (see :data:`SHORT_PREFILL`).
        train_every: agent steps between updates.
        steps: agent steps of a run. Action repeat is 2: 10 M frames are 5 M steps.
    """

    env_ids: tuple[str, ...]
    model_lr: float
    entropy: float
    kl_scale: float
    prefill: int = 100_000
    train_every: float = 8.0
    steps: int = 5_000_000


RECIPES: Mapping[str, Recipe] = {
    "terrain": Recipe(("waker/TerrainWalker-v0", "waker/TerrainHopper-v0"), model_lr=3e-4, entropy=1e-4, kl_scale=1.0),
    "cleanup": Recipe(("waker/CleanUp-v0", "waker/CarCleanUp-v0"), model_lr=2e-4, entropy=1e-3, kl_scale=3.0),
    "combined": Recipe(
        ("waker/Combined-v0",),
        model_lr=2e-4,
        entropy=1e-3,
        kl_scale=3.0,
        prefill=200_000,
        train_every=10.0,
        steps=10_000_000,  # "twice the steps": one model, two domains
    ),
}
"""By the name that ``paper-<name>`` has."""

SHORT_PREFILL: Mapping[str, int] = {"gradual-expansion": 500, "hardest-oracle": 500, "reweighting-oracle": 500}
"""Samplers that were published with a short prefill: they do not wait for an estimate of the model's error."""

REPLAY = 3_000_000
"""Steps that the replay holds, in every domain."""


def recipe_of(preset: str, env_id: str) -> str:
    """The name of the recipe that was published for an environment.

    Args:
        preset: ``paper`` or ``authors``, for the message.
        env_id: full.

    Raises:
        UserError: no paper has it.
    """
    for name, recipe in RECIPES.items():
        if env_id in recipe.env_ids:
            return name
    known = ", ".join(env_id for recipe in RECIPES.values() for env_id in recipe.env_ids)
    others = " or ".join(f"--preset {preset}-{name}" for name in RECIPES)
    raise UserError(
        f"no paper has {env_id}: preset {preset!r} holds what was published for {known}; to use the settings of one "
        f"kind of domain on it, say which: {others}"
    )


def prefill_of(recipe: Recipe, sampler: str) -> int:
    """Agent steps of random actions before the first update."""
    return SHORT_PREFILL.get(sampler, recipe.prefill)
