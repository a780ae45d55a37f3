"""What is called unused changes nothing: a made-up run draws the same θ, and gives the same probabilities."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from waker.curriculum import CurriculumConfig, curriculum_names, curriculum_settings, make_curriculum
from waker.curriculum.kit.world import World, small_box, small_space
from waker.curriculum.registry import box_samplers
from waker.curriculum.unused import unused_settings
from waker_envs.api import ThetaSpace

OTHER: dict[str, Any] = {
    "dr_share": 0.7, "staleness": 0.6, "priority": "rank", "temperature": 3.0, "rank_temperature": 2.0, "top_k": 2,
    "error_decay": 0.3, "memory_updates": 2.0, "reduction_interval": 20, "reduction_start": 10, "reduction_rate": 0.9,
    "oracle_interval": 30, "oracle_episodes": 1, "oracle_error": "observation_nll_1", "oracle_regret": "worst",
}  # fmt: skip
OWN: dict[str, Any] = {
    "score": "l1", "credit": "imagined", "priority": "proportional", "alpha": 0.2, "max_mc_decay": 0.3, "capacity": 3,
    "bandwidth": 0.9, "candidates": 5, "memory": 7, "edit_probability": 0.1, "batch": 3, "parents": "lowest-regret",
    "solved": 0.1, "unbiased": False,
    "fill": 0.1, "generalise": "regressor", "optimism": 2.0,
}  # fmt: skip


def drawn(config: CurriculumConfig, space: ThetaSpace) -> tuple[Any, ...]:
    curriculum = make_curriculum(config.sampler, space, config, np.random.default_rng(0), 8)
    world = World(space)
    thetas = [world.step(curriculum, 10 * step) for step in range(20)]
    return thetas, None if curriculum.probabilities() is None else np.asarray(curriculum.probabilities()).tolist()


EXPERTS = {"hardest-oracle", "reweighting-oracle"}
FINITE = [
    pytest.param(name, small_space(), id=f"{name}-finite")
    for name in sorted({*curriculum_names()} - EXPERTS - {"alp-gmm"})
]
BOXES = [pytest.param(name, small_box(), id=f"{name}-box") for name in sorted({*box_samplers()} - EXPERTS)]


@pytest.mark.parametrize(("sampler", "space"), [*FINITE, *BOXES])
def test_what_is_called_unused_changes_nothing(sampler: str, space: ThetaSpace) -> None:
    config = CurriculumConfig(sampler=sampler)
    idle, usual = unused_settings(config, space), drawn(config, space)
    own = curriculum_settings(sampler)
    assert idle <= {f.name for f in dataclasses.fields(config)} | {
        f"{sampler}.{f.name}" for f in (dataclasses.fields(own) if own else ())
    }
    for name in idle:
        if "." in name:
            changed = dataclasses.replace(config, settings={name.partition(".")[2]: OWN[name.partition(".")[2]]})
        else:
            changed = dataclasses.replace(config, **{name: OTHER[name]})
        assert drawn(changed, space) == usual, name


@pytest.mark.parametrize(
    ("sampler", "name"),
    [("waker-m", "temperature"), ("waker-r", "dr_share"), ("plr", "plr.beta"), ("plr", "plr.alpha")],
)
def test_what_is_used_is_not_called_so(sampler: str, name: str) -> None:
    config = CurriculumConfig(sampler=sampler, reduction_interval=20, reduction_start=10)
    assert name not in unused_settings(config, small_space())
    settings = {"beta": 3.0} if name == "plr.beta" else {"alpha": 0.2}
    change = {"settings": settings} if "." in name else {name: OTHER[name]}
    assert drawn(dataclasses.replace(config, **change), small_space()) != drawn(config, small_space())
