"""Explorers: found by name, rewarded as their sources say, and apart from the estimate that θ is credited by."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.helpers.tiny_learner import tiny_batch, tiny_config, tiny_spec
from waker.agent.agent import Agent
from waker.config.schema import Config
from waker.errors import UserError
from waker.exploration import registry
from waker.exploration.api import Explorer
from waker.exploration.named.latent_disagreement import LatentDisagreement
from waker.exploration.named.rnd import RND
from waker.exploration.registry import explorer_class, explorer_names, make_explorer, register_explorer
from waker.model.optim import Adam
from waker.model.rssm import Posterior
from waker.model.world_model import WorldModel

SPEC = tiny_spec()
OURS = ["latent-disagreement", "plan2explore", "random", "rnd"]


@pytest.fixture(autouse=True)
def _restore_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    explorer_names()  # ours are registered on the first look-up
    monkeypatch.setattr(registry.EXPLORERS, "registered", dict(registry.EXPLORERS.registered))


def config_of(name: str, after: bool = False, **changes: Any) -> Config:
    config = tiny_config(after=after)
    return replace(config, explorer=replace(config.explorer, name=name, **changes))


def agent_of(name: str, seed: int = 0, **changes: Any) -> Agent:
    torch.manual_seed(seed)
    return Agent(SPEC, config_of(name, **changes))


def posterior_of(model: WorldModel) -> Posterior:
    return model.observe(tiny_batch(SPEC), mode=True)


def rnd_of(model: WorldModel, scale: float = 1.0, **settings: int) -> RND:
    config = replace(config_of("rnd").explorer, scale=scale, settings={"size": 5, "width": 16, **settings})
    explorer = make_explorer(model, SPEC.action.dim, config)
    assert isinstance(explorer, RND)
    return explorer


@pytest.fixture
def model() -> WorldModel:
    torch.manual_seed(0)
    return WorldModel(SPEC, tiny_config().model)


# Names and settings -----------------------------------------------------------------------------------------------


def test_ours_are_found() -> None:
    assert [name for name in explorer_names() if name in OURS] == OURS
    assert [name for name in OURS if explorer_class(name).acts_at_random] == ["random"]


def test_an_unknown_name_or_setting_offers_the_nearest(model: WorldModel) -> None:
    with pytest.raises(UserError, match="unknown explorer 'plan'; did you mean 'plan2explore'"):
        explorer_class("plan")
    with pytest.raises(UserError, match=r"unknown setting 'explorer\.settings\.widht'; did you mean '.*width'"):
        rnd_of(model, widht=3)
    with pytest.raises(UserError, match="there is none to choose from"):
        make_explorer(model, 4, replace(config_of("random").explorer, settings={"width": 3}))


@pytest.mark.parametrize("value", ["wide", 2.5, True, 0])
def test_a_setting_of_another_type_or_out_of_range_is_refused(value: Any, model: WorldModel) -> None:
    with pytest.raises(UserError, match=r"explorer\.settings\.width"):
        rnd_of(model, width=value)


def test_an_explorer_is_one_class() -> None:
    @register_explorer("far-from-zero")
    class FarFromZero(Explorer):
        def reward(self, feature: Tensor, action: Tensor) -> Tensor:
            return feature.square().mean(-1)

    _, metrics = agent_of("far-from-zero").update(tiny_batch(SPEC))
    assert metrics["reward_mean"][-1] > 0.01
    assert "explorer_loss" not in metrics


def test_what_is_no_explorer_and_what_cannot_be_made_are_refused(model: WorldModel) -> None:
    register_explorer("no-class")(lambda *args: None)
    with pytest.raises(UserError, match="'no-class' is no subclass"):
        explorer_class("no-class")

    @register_explorer("broken")
    class Broken(Explorer):
        def __init__(self, *args: Any) -> None:
            raise RuntimeError("no such file")

    with pytest.raises(UserError, match="'broken' cannot be made: RuntimeError: no such file"):
        make_explorer(model, 4, config_of("broken").explorer)


# Apart from the estimate ------------------------------------------------------------------------------------------


def test_credit_and_error_estimate_are_the_ensembles_whoever_explores() -> None:
    """With one task policy's weights and the model's alike, the explorers' credits of replayed steps are equal."""
    batch, credits = tiny_batch(SPEC), {}
    for name in ("plan2explore", "random", "rnd", "latent-disagreement"):
        agent = agent_of(name, credit="replayed")
        torch.manual_seed(1)
        credits[name] = agent.update(batch, True)[0].error
    for name, error in credits.items():
        torch.testing.assert_close(error, credits["plan2explore"], msg=name)


@pytest.mark.parametrize("chunk", [0, 7])
def test_imagined_credit_is_disagreement_where_the_reward_is_another(chunk: int) -> None:
    agent = agent_of("rnd", scale=1.0)
    agent.policy_learner.config = replace(agent.policy_learner.config, chunk=chunk)
    asked, ensemble = list[Tensor](), copy.deepcopy(agent.ensemble)
    reward = agent.exploration.reward

    def keep(feature: Tensor, action: Tensor) -> Tensor | None:
        asked.append(ensemble.intrinsic_reward(feature, action).detach())
        return reward(feature, action)

    agent.exploration.reward = keep  # type: ignore[method-assign]
    credit, metrics = agent.update(tiny_batch(SPEC))
    assert len(asked) == (3 if chunk else 1)  # of 18 start states
    error = torch.cat(asked, -1)[1:]
    low, high = error.min(0).values, error.max(0).values
    alive = credit.theta_id >= 0
    assert ((credit.error >= low * 0.999) & (credit.error <= high * 1.001))[alive].all()
    assert not torch.isclose(metrics["reward_mean"][-1], error.mean(), rtol=0.05)


def test_no_networks_no_optimiser_and_frozen_ones_stay() -> None:
    assert agent_of("plan2explore").exploration_optimizer is None
    agent = agent_of("rnd")
    before = copy.deepcopy(agent.exploration.state_dict())
    for seed in range(2):
        _, metrics = agent.update(tiny_batch(SPEC, seed=seed))
    assert metrics["explorer_grad_norm"] > 0
    for name, value in agent.exploration.state_dict().items():
        assert torch.equal(value, before[name]) == name.startswith("target."), name


@pytest.mark.parametrize("name", ["rnd", "latent-disagreement"])
@pytest.mark.parametrize("discrete", [True, False], ids=["discrete", "continuous"])
def test_a_saved_agent_continues_bit_for_bit(name: str, discrete: bool) -> None:
    spec = tiny_spec(discrete=discrete)
    torch.manual_seed(0)
    ours = Agent(spec, config_of(name))
    ours.update(tiny_batch(spec))
    state = copy.deepcopy(ours.state_dict())
    torch.manual_seed(5)
    theirs = Agent(spec, config_of(name))
    theirs.load_state_dict(state)
    found = []
    for agent in (ours, theirs):
        torch.manual_seed(9)
        found.append(agent.update(tiny_batch(spec, seed=1)))
    (credit, metrics), (again, same) = found
    assert torch.equal(credit.error, again.error)
    assert all(torch.equal(value, same[key]) for key, value in metrics.items())
    for ours_now, theirs_now in zip(ours.exploration.parameters(), theirs.exploration.parameters(), strict=True):
        assert torch.equal(ours_now, theirs_now)


@pytest.mark.parametrize("name", ["plan2explore", "random"])
def test_an_explorer_without_a_state_leaves_no_trace_in_the_agents(name: str) -> None:
    """Run folders of before explorers had a state must resume: a missing entry is refused."""
    of_before = ["model", "model_optimizer", "ensemble", "ensemble_optimizer", "learner", "adapter"]
    assert list(agent_of(name).state_dict()) == of_before


# Random Network Distillation ---------------------------------------------------------------------------------------


def test_the_reward_is_the_squared_error_in_standard_deviations(model: WorldModel) -> None:
    explorer = rnd_of(model, scale=3.0)
    feature, action = torch.randn(4, 6, model.rssm.feature_dim), torch.zeros(4, 6, SPEC.action.dim)
    explorer.variance.fill_(0.25)
    difference = (explorer.predictor(feature) - explorer.target(feature)).detach()
    torch.testing.assert_close(explorer.reward(feature, action).detach(), 3.0 * difference.square().mean(-1) / 0.5)


def test_the_running_deviation_is_that_of_all_errors_so_far(model: WorldModel) -> None:
    """By hand: errors 1, 3 and then 5, 5 have mean 3.5 and variance (6.25 + 0.25 + 2.25 + 2.25)/4 = 2.75."""
    explorer = rnd_of(model)
    for errors in ([1.0, 3.0], [5.0, 5.0]):
        explorer._count_in(torch.tensor(errors))
    torch.testing.assert_close(
        torch.stack([explorer.mean, explorer.variance]), torch.tensor([3.5, 2.75]), rtol=2e-3, atol=0
    )


def test_the_reward_falls_where_it_has_been_trained_and_not_elsewhere(model: WorldModel) -> None:
    explorer, action = rnd_of(model), torch.zeros(1, 1, SPEC.action.dim)
    posterior = posterior_of(model).detach()
    seen = posterior.state.feature.flatten(0, 1)[:1].unsqueeze(0)
    unseen = seen.flip(-1)
    optimizer = Adam(explorer.parameters(), config_of("rnd").explorer.optimizer)
    optimizer.config = replace(optimizer.config, lr=1e-2)
    before = explorer.error(seen).item(), explorer.error(unseen).item()
    for _ in range(100):
        optimizer.descend(explorer.loss(posterior, {}))
    assert explorer.error(seen).item() < 0.02 * before[0]
    assert explorer.error(unseen).item() > 10 * explorer.error(seen).item()
    assert explorer.reward(unseen, action) > 10 * explorer.reward(seen, action)


def test_no_gradient_reaches_the_world_model(model: WorldModel) -> None:
    for explorer in (rnd_of(model), latents_of(model)):
        loss = explorer.loss(posterior_of(model), tiny_batch(SPEC))
        assert loss is not None
        grads = torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)
        assert all(grad is None for grad in grads)


# Latent disagreement -----------------------------------------------------------------------------------------------


def latents_of(model: WorldModel, target: Any = "deter") -> LatentDisagreement:
    config = replace(config_of("latent-disagreement").explorer, target=target, scale=2.0)
    explorer = make_explorer(model, SPEC.action.dim, config)
    assert isinstance(explorer, LatentDisagreement)
    return explorer


def test_members_that_are_sure_of_different_latents_are_log_two_apart(model: WorldModel) -> None:
    """Two of four members say one class and two another, of every latent: their divergence is ln 2."""
    explorer = latents_of(model)
    rssm = model.rssm
    sure = torch.full((4, 1, rssm.latents, rssm.classes), -30.0)
    sure[:2, ..., 0] = sure[2:, ..., 1] = 30.0
    explorer.ensemble.predict = lambda feature, action: sure.flatten(-2)  # type: ignore[method-assign]
    reward = explorer.reward(torch.zeros(2, 1, rssm.feature_dim), torch.zeros(2, 1, SPEC.action.dim))
    torch.testing.assert_close(reward, torch.tensor([[0.0], [2.0 * 0.6931472]]))


def test_latent_disagreement_falls_where_it_has_been_trained(model: WorldModel) -> None:
    explorer, batch = latents_of(model), tiny_batch(SPEC)
    with torch.no_grad():
        for parameter in explorer.parameters():
            parameter.mul_(3.0)  # members begin well apart
    posterior = posterior_of(model).detach()
    feature, action = posterior.state.feature.movedim(1, 0), batch["action"].movedim(1, 0)
    before = explorer.reward(feature, action)[1:].mean().item()
    optimizer = Adam(explorer.parameters(), replace(config_of("rnd").explorer.optimizer, lr=1e-2))
    for _ in range(200):
        optimizer.descend(explorer.loss(posterior, batch))
    assert explorer.reward(feature, action)[1:].mean().item() < 0.2 * before


def test_it_is_refused_where_the_estimate_is_the_same(model: WorldModel) -> None:
    with pytest.raises(UserError, match="take explorer 'plan2explore'"):
        latents_of(model, "latent")
