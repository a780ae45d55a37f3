"""Numbers that no computation holds are refused with their settings, however many digits they have."""

from __future__ import annotations

from typing import Any

import pytest

from waker.config.schema import BehaviourConfig, Config, EvalConfig, ModelConfig, OptimizerConfig, TrainConfig
from waker.curriculum.config import CurriculumConfig
from waker.errors import UserError


@pytest.mark.parametrize(
    ("kind", "setting", "value", "told"),
    [
        (Config, "seed", 2**63, "seed = 9223372036854775808 must fit in 64 bits"),
        (Config, "seed", 10**5000, "seed = 1e5000 must fit in 64 bits"),
        (Config, "seed", -(10**5000), "seed = -1e5000 must fit in 64 bits"),
        (TrainConfig, "steps", 10**30, "must fit in 64 bits"),
        (TrainConfig, "train_every", 1e-320, "is 0 in 32 bits"),
        (TrainConfig, "train_every", float("nan"), "must be a finite number"),
        (EvalConfig, "samples", 2**64, "must fit in 64 bits"),
        (ModelConfig, "free_nats", 3.5e38, "must fit in 32 bits"),
        (ModelConfig, "bins_limit", 300.0, "at most 80"),
        (ModelConfig, "head_units", (16, 10**25), "head_units = 16 1e25 must fit in 64 bits"),
        (OptimizerConfig, "lr", 1e-320, "is 0 in 32 bits"),
        (OptimizerConfig, "lr", 1e39, "must fit in 32 bits"),
        (BehaviourConfig, "return_floor", float("inf"), "must be a finite number"),
        (CurriculumConfig, "temperature", 1e-320, "is 0 in 32 bits"),
        (CurriculumConfig, "temperature", float("inf"), "must be a finite number"),
        (CurriculumConfig, "memory_updates", float("inf"), "must be a finite number"),
        (CurriculumConfig, "top_k", 2**63, "must fit in 64 bits"),
        (CurriculumConfig, "reduction_start", float("inf"), "must be a whole number"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",  # some have more digits than str() takes
)
def test_a_number_beyond_what_computes_is_refused(kind: Any, setting: str, value: Any, told: str) -> None:
    with pytest.raises(UserError) as refused:
        kind(**{setting: value})
    assert told in str(refused.value)
    assert setting in str(refused.value)


def test_the_largest_that_fits_is_taken() -> None:
    assert Config(seed=2**63 - 1).seed == 2**63 - 1
    assert ModelConfig(kl_scale=3.4e38).kl_scale == 3.4e38
    assert ModelConfig(kl_dyn=0.0).kl_dyn == 0.0
