"""FLOP of an update by formula, against those of the update itself as torch counts them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from experiments.bench.configs import WALKER, laptop_grid
from waker.analysis.flops import ALL, FORWARD, WEIGHTS, layer, network, uncounted, update_flops
from waker.config.presets import preset
from waker.config.schema import Config
from waker.errors import UserError
from waker.specs import EnvSpec
from waker.training.update_work import adaptation_flop, update_work

SPEC: EnvSpec = laptop_grid().resolved()[0]


def test_a_layer_by_hand() -> None:
    assert layer(7, 3, 5, FORWARD) == 2 * 7 * 3 * 5
    assert layer(7, 3, 5, ALL) == 3 * layer(7, 3, 5, FORWARD)
    # Two layers, of which the first has no input that learns.
    assert network(7, [3, 5, 2], WEIGHTS, ALL) == 2 * (2 * 7 * 3 * 5) + 3 * (2 * 7 * 5 * 2)
    assert network(7, [3], WEIGHTS, ALL) == 0.0


VARIANTS: dict[str, dict[str, Any]] = {
    "as it is": {},
    "online": {"train": {"task_policies": "online"}},
    "after": {"train": {"task_policies": "after"}},
    "imagined credit": {"explorer": {"credit": "imagined"}},
    "random": {"explorer": {"name": "random"}},
    "slow target": {"behaviour": {"slow_target": True, "slow_regulariser": 0.0}},
    "authors": {"explorer": {"target": "deter", "action": "authors"}, "behaviour": {"baseline": "authors"}},
    "gaussian, no continue head": {"model": {"reward_gradients": True, "continue_scale": 0.0, "reward": "gaussian"}},
    "chunks": {"behaviour": {"starts": 0, "chunk": 3}},
}


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS)
def test_the_formula_is_torchs_count_of_the_tiny_preset(changes: dict[str, Any]) -> None:
    config = preset("tiny").with_(**changes)
    assert update_flops(SPEC, config) == update_work(SPEC, config).flop


def test_the_formula_is_torchs_count_of_the_laptop_preset() -> None:
    assert update_flops(SPEC, preset("laptop")) == update_work(SPEC, preset("laptop")).flop == 1_528_393_728


def test_adaptation_is_heads_first_then_policies() -> None:
    config = preset("tiny")
    train = replace(config.train, task_policies="after", adapt_updates=5, adapt_heads=2, adapt_repeats=1)
    both = adaptation_flop(SPEC, replace(config, train=train))
    heads = adaptation_flop(SPEC, replace(config, train=replace(train, adapt_updates=2)))
    policies = adaptation_flop(SPEC, replace(config, train=replace(train, adapt_updates=3, adapt_heads=0)))
    assert both == heads + policies and policies > heads > 0
    assert adaptation_flop(SPEC, replace(config, train=replace(train, task_policies="online"))) == 0.0


def test_what_is_not_covered_is_said() -> None:
    assert uncounted(SPEC, preset("laptop")) == ""
    cases: list[tuple[EnvSpec, Config, str]] = [
        (SPEC, preset("grid"), "a latent in every cell"),
        (WALKER, preset("authors"), "pictures"),
        (SPEC, preset("laptop").with_(behaviour={"gradient": "dynamics"}), "gradients through"),
        (SPEC, preset("laptop").with_(explorer={"name": "rnd"}), "the explorer rnd"),
    ]
    for spec, config, told in cases:
        assert told in uncounted(spec, config)
        with pytest.raises(UserError, match="does not cover"):
            update_flops(spec, config)
