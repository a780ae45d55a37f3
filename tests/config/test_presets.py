"""Presets hold the published numbers, build an agent, and misspelt names get an answer."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace

import pytest
import torch

from experiments.dispatch_count import CELLS, IMAGE, meta_agent
from tests.helpers import tiny_board
from waker.agent.agent import Agent
from waker.config.presets import PRESETS, authors, default, laptop, paper, preset
from waker.config.schema import Config, OptimizerConfig
from waker.errors import UserError
from waker.model.cell_rssm import CellRSSM
from waker.protocols import EXPLORER

AUTHORS_ADAM = {"eps": 1e-5, "clip": 100.0, "decay": 1e-6, "keras": True}


@pytest.mark.parametrize("name", sorted(PRESETS.keys() - {"grid"}))
def test_every_preset_builds_an_agent(name: str) -> None:
    for key in (IMAGE, CELLS):
        agent = meta_agent(preset(name), key, discrete=True, after=False, tasks=2, heads=3)
        assert agent.policy_learner.policies.names == ("task0", "task1", EXPLORER)


def test_the_grid_preset_builds_an_agent_for_a_board_and_for_nothing_else() -> None:
    with torch.device("meta"):
        agent = Agent(tiny_board.SPEC, preset("grid"), "meta")
    assert isinstance(agent.model.rssm, CellRSSM)
    with pytest.raises(UserError, match=r"waker/Meta-v0 names none; take model\.latent 'vector'"):
        meta_agent(preset("grid"), CELLS, discrete=True, after=False, tasks=2, heads=3)


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_a_fresh_frozen_configuration(name: str) -> None:
    config = preset(name)
    assert config == preset(name)
    with pytest.raises(FrozenInstanceError):
        config.seed = 1  # type: ignore[misc]
    assert replace(config, seed=1) != config


@pytest.mark.parametrize(("name", "meant"), [("papr", "paper"), ("Laptop", "laptop"), ("defaults", "default")])
def test_an_unknown_preset_names_the_nearest(name: str, meant: str) -> None:
    with pytest.raises(UserError, match=f"unknown preset '{name}'; did you mean '{meant}'"):
        preset(name)


def test_the_paper_s_world_model() -> None:
    """docs/method.md, World model."""
    m = paper().model
    assert (m.deter, m.hidden, m.stoch, m.classes, m.cnn_depth) == (600, 600, 32, 32, 48)
    assert (m.encoder_kernels, m.decoder_kernels) == ((4, 4, 4, 4), (5, 5, 6, 6))
    assert m.encoder_units == m.decoder_units == m.head_units == (400,) * 4
    assert (m.act, m.norm, m.unimix, m.symlog, m.reward, m.zero_heads) == ("elu", "none", 0.0, False, "gaussian", False)
    assert (m.kl_balance, m.kl_dyn, m.kl_rep, m.kl_scale, m.free_nats) == ("mix", 0.8, 0.2, 1.0, 1.0)
    assert (m.continue_scale, m.reward_gradients) == (0.0, False)
    assert m.optimizer == OptimizerConfig(lr=3e-4, **AUTHORS_ADAM)  # type: ignore[arg-type]


def test_the_paper_s_policies() -> None:
    """docs/method.md, Policies."""
    b = paper().behaviour
    assert (b.horizon, b.discount, b.lambda_, b.starts) == (15, 0.99, 0.95, 0)
    assert b.actor_units == b.critic_units == (400,) * 4
    assert (b.critic, b.gradient, b.actor_unimix, b.normalise_returns) == ("gaussian", "auto", 0.0, False)
    assert (b.entropy, b.explorer_entropy) == (1e-4, 1e-4)
    assert (b.slow_target, b.slow_every, b.slow_rate, b.slow_regulariser) == (True, 100, 1.0, 0.0)
    assert b.actor_optimizer == b.critic_optimizer == OptimizerConfig(lr=1e-4, **AUTHORS_ADAM)  # type: ignore[arg-type]


def test_the_paper_s_explorer_and_the_authors_switches() -> None:
    """docs/method.md, Exploration, and the published code's conditioning."""
    e = paper().explorer
    assert (e.heads, e.units, e.target, e.action, e.scale) == (10, (400,) * 4, "feature", "taken", 50.0)
    assert not e.credit_first
    assert authors().explorer == replace(e, action="authors", credit_first=True)
    assert replace(authors(), explorer=e) == paper()


def test_the_paper_s_schedule() -> None:
    """docs/method.md, Evaluation: 100 000 random steps, an update every 8 steps, B × T = 16 × 50."""
    t = paper().train
    assert (t.prefill, t.train_every, t.batch, t.length, t.task_policies) == (100_000, 8.0, 16, 50, "online")


TERRAIN = (3e-4, 1.0, 1e-4, 100_000, 8.0, 5_000_000)
CLEANUP = (2e-4, 3.0, 1e-3, 100_000, 8.0, 5_000_000)
COMBINED = (2e-4, 3.0, 1e-3, 200_000, 10.0, 10_000_000)
DOMAINS = {
    "waker/TerrainWalker-v0": TERRAIN,
    "waker/TerrainHopper-v0": TERRAIN,
    "waker/CleanUp-v0": CLEANUP,
    "waker/CarCleanUp-v0": CLEANUP,
    "waker/Combined-v0": COMBINED,
}
"""docs/method.md, Evaluation: model's rate, KL scale, entropy, prefill, an update every, steps."""


def published(config: Config) -> tuple[float, ...]:
    m, b, t = config.model, config.behaviour, config.train
    assert b.entropy == b.explorer_entropy
    assert t.replay == 3_000_000
    assert b.actor_optimizer.lr == b.critic_optimizer.lr == 1e-4  # in all domains
    assert config.explorer.optimizer.lr == 3e-4
    return (m.optimizer.lr, m.kl_scale, b.entropy, t.prefill, t.train_every, t.steps)


@pytest.mark.parametrize("name", ["paper", "authors"])
@pytest.mark.parametrize(("env", "numbers"), DOMAINS.items())
def test_published_numbers_belong_to_a_domain(name: str, env: str, numbers: tuple[float, ...]) -> None:
    config = preset(name, env)
    assert config.env == env
    assert published(config) == numbers
    assert config.explorer.credit_first == (name == "authors")


@pytest.mark.parametrize("name", ["paper", "authors"])
@pytest.mark.parametrize(
    ("sampler", "prefill"),
    [
        *((s, None) for s in ("dr", "waker-m", "waker-r")),
        *((s, 500) for s in ("gradual-expansion", "hardest-oracle", "reweighting-oracle")),
    ],
)
def test_the_prefill_belongs_to_a_sampler(name: str, sampler: str, prefill: int | None) -> None:
    """docs/method.md, Curricula: 500 random steps for GE, HE and RW."""
    for env, numbers in DOMAINS.items():
        config = preset(name, env, sampler)
        assert config.curriculum.sampler == sampler
        assert config.train.prefill == (prefill or numbers[3])
        assert published(replace(config, train=replace(config.train, prefill=0)))[4:] == numbers[4:]


@pytest.mark.parametrize("name", ["paper", "authors"])
@pytest.mark.parametrize("env", ["waker/GridHazards-v0", "waker/GridCleanUp-v0", "example/Corridor-v0"])
def test_what_no_paper_has_is_refused_with_a_way_to_go(name: str, env: str) -> None:
    with pytest.raises(UserError, match=f"no paper has {env}: preset '{name}'") as told:
        preset(name, env)
    assert f"--preset {name}-terrain or --preset {name}-cleanup or --preset {name}-combined" in str(told.value)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(("domain", "numbers"), [("terrain", TERRAIN), ("cleanup", CLEANUP), ("combined", COMBINED)])
def test_a_domain_s_numbers_can_be_asked_for_by_name(domain: str, numbers: tuple[float, ...]) -> None:
    for name in ("paper", "authors"):
        assert published(preset(f"{name}-{domain}")) == numbers
        assert published(preset(f"{name}-{domain}", "waker/GridHazards-v0", "dr")) == numbers
        assert preset(f"{name}-{domain}", sampler="hardest-oracle").train.prefill == 500


def test_the_paper_s_size() -> None:
    """54.8 M trainable parameters, 23.4 M of them the model's, as counted on the authors' code (5 tasks, 6 actions)."""
    agent = meta_agent(paper(), IMAGE, discrete=False, after=False, tasks=5, heads=10)
    model = sum(p.numel() for p in agent.model.parameters())
    rest = [*agent.policy_learner.policies.parameters(), *agent.ensemble.parameters()]
    total = model + sum(p.numel() for p in rest if p.requires_grad)
    assert model / 1e6 == pytest.approx(23.4, abs=0.05)
    assert total / 1e6 == pytest.approx(54.8, abs=0.05)


@pytest.mark.parametrize("config", [default(), laptop()], ids=["default", "laptop"])
def test_the_later_recipe(config: Config) -> None:
    """docs/method.md, World model: the `default` column."""
    m, b = config.model, config.behaviour
    assert (m.symlog, m.reward, b.critic) == (True, "twohot", "twohot")
    assert (m.unimix, b.actor_unimix) == (0.01, 0.01)
    assert m.act == "silu"
    assert m.norm in ("rms", "layer")
    assert (m.kl_balance, m.kl_dyn, m.kl_rep) == ("dyn-rep", 0.5, 0.1)
    assert b.normalise_returns
    assert (b.slow_every, b.slow_rate) == (1, 0.02)
    assert not config.explorer.credit_first
    assert config.explorer.action == "taken"
