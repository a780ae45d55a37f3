"""What cannot fit is refused from the settings alone, with the setting's name; what can is not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.helpers.tiny_learner import tiny_config, tiny_spec
from waker.agent.agent import Agent
from waker.collection.family import Family
from waker.config.presets import PRESETS
from waker.config.replay_choice import ReplayConfig
from waker.config.schema import Config
from waker.errors import UserError
from waker.storage.state_shapes import tensors_of
from waker.training import memory_needs
from waker.training.memory_needs import Need, check_fits, check_run, weights
from waker_envs.testing import HardTheta

ROOM = 8 << 30
FAMILY = Family(HardTheta, tiny_spec(), HardTheta().theta_space)


@pytest.fixture(autouse=True)
def room(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine of 8 GB, whatever this one has."""
    monkeypatch.setattr(memory_needs, "free_memory", lambda: ROOM)


def changed(section: str, **changes: Any) -> Config:
    """The tiny preset with some settings of a section changed."""
    tiny = PRESETS["tiny"]()
    return replace(tiny, **{section: replace(getattr(tiny, section), **changes)})


@pytest.mark.parametrize("name", [name for name in PRESETS if name not in ("paper", "authors")])
def test_presets_fit(name: str) -> None:
    check_run(PRESETS[name](), FAMILY)


@pytest.mark.parametrize(
    ("config", "told"),
    [
        (changed("model", deter=200_000), "weights and optimisers alone take"),
        (changed("model", deter=10**18), "model.deter = 1"),
        (changed("model", encoder_units=(10**10, 10**10)), "model.encoder_units = 10000000000 is too large"),
        (changed("model", reward_draws=10**9), "model.reward_draws and head_units"),
        (changed("explorer", units=(10**6, 10**6)), "explorer"),
        (changed("explorer", heads=10**10), "explorer"),
        (changed("behaviour", critic_units=(10**5, 10**6)), "behaviour.*_units"),
        (changed("behaviour", horizon=10**9), "behaviour.horizon"),
        (changed("train", batch=10**9), "train.batch"),
        (changed("train", task_policies="after", adapt_updates=1, adapt_batch=10**9), "train.adapt_batch"),
        (
            replace(changed("train", replay=10**9), replay=ReplayConfig(choice="curious")),
            "the replay alone take 20.0 GB (train.replay with replay.choice curious)",
        ),
        (changed("train", envs=10**7), "train.envs"),
        (changed("train", envs=10**4, env_processes=10**4), "train.env_processes"),
        (changed("evaluation", episodes=10**12), "evaluation.episodes"),
        (changed("evaluation", suite_episodes=10**12), "suite_episodes"),
        (changed("evaluation", model_episodes=2**62), "evaluation.model_episodes"),
        (changed("evaluation", samples=2**31), "evaluation.samples"),
        (changed("evaluation", samples=10**8), "evaluation.samples"),
        (changed("evaluation", horizon=2**40), "evaluation.horizon"),
    ],
)
def test_what_cannot_fit_is_refused_by_name(config: Config, told: str) -> None:
    with pytest.raises(UserError, match=r".") as refused:
        check_run(config, FAMILY)
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("after", [False, True])
def test_weights_are_counted_exactly(after: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_needs, "_SMALL", 0.0)
    spec, config = tiny_spec(), tiny_config("tiny", after=after)
    before = torch.get_rng_state()
    counted = weights(config, spec)[0].bytes
    assert torch.equal(torch.get_rng_state(), before)  # a run draws its weights from this generator
    agent = Agent(spec, config)
    if after and config.train.adapt_updates:
        agent.start_adaptation()
    held = [*tensors_of(agent.state_dict())]
    trained = [*agent.model.parameters(), *agent.ensemble.parameters(), *agent.policy_learner.policies.parameters()]
    assert counted == sum(t.numel() * t.element_size() for t in [*held, *trained])


def test_small_nets_are_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    def count(*_: Any) -> None:
        raise AssertionError("counting costs seconds")

    monkeypatch.setattr(memory_needs, "Agent", count)
    for name in ("tiny", "laptop", "control"):
        assert weights(PRESETS[name](), tiny_spec()) == []


def test_a_replay_beyond_the_disk_is_refused_before_the_run_has_a_folder(tmp_path: Path) -> None:
    check_run(changed("train", replay=10**4), FAMILY, tmp_path / "run")
    with pytest.raises(UserError, match=r"a replay of 999,999,999,999,999 steps takes"):
        check_run(changed("train", envs=1, replay=10**15 - 1), FAMILY, tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_the_largest_need_is_named() -> None:
    needs = [Need("mice", 1e9, "a.mice"), Need("elephants", 9e9, "an.elephant")]
    with pytest.raises(UserError, match=r"at least 10\.0 GB of memory.* elephants alone take 9\.0 GB \(an\.elephant\)"):
        check_fits(needs)
    check_fits(needs[:1])
