"""The learner as a whole: everything learns, everything is saved, and errors are credited to the right θ."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.helpers.tiny_learner import ALL_KINDS, tiny_batch, tiny_config, tiny_spec
from waker.agent.agent import Agent
from waker.behaviour.policy_learner import Rollout
from waker.behaviour.starts import Starts
from waker.config.presets import PRESETS
from waker.config.schema import Config
from waker.errors import UserError
from waker.model.rssm import State
from waker.specs import EnvSpec

CONTINUOUS = pytest.mark.parametrize("discrete", [True, False], ids=["discrete", "continuous"])
ONLINE_METRICS = {
    "model_loss", "model_grad_norm", "kl_loss", "model_kl", "prior_ent", "post_ent", "reward_loss", "cells_loss",
    "actor_loss", "actor_grad_norm", "actor_ent", "critic_loss", "critic_grad_norm", "reward_mean", "return_scale",
    "ensemble_loss", "ensemble_grad_norm", "credit",
}  # fmt: skip


def make(spec: EnvSpec, config: Config, seed: int = 0) -> Agent:
    torch.manual_seed(seed)
    return Agent(spec, config)


def trainable(agent: Agent) -> dict[str, Tensor]:
    """Every weight that an update may move, the slow critics among them."""
    parts = {"model": agent.model, "ensemble": agent.ensemble, "policies": agent.policy_learner.policies}
    if agent.adapter is not None:
        parts |= {"heads": agent.adapter.heads, "tasks": agent.adapter.policy_learner.policies}
    return {f"{part}.{name}": p for part, module in parts.items() for name, p in module.named_parameters()}


def snapshot(agent: Agent) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in trainable(agent).items()}


def same(a: Any, b: Any) -> bool:
    """Whether two nested states are equal bit for bit."""
    if isinstance(a, Tensor):
        return torch.equal(a, b)
    if isinstance(a, Mapping):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


# Learning -----------------------------------------------------------------------------------------------------


@CONTINUOUS
@pytest.mark.parametrize("recipe", sorted(PRESETS.keys() - {"grid"}))  # which is for boards: tests/model/test_cells.py
@pytest.mark.parametrize("kinds", [ALL_KINDS, ("categorical",)], ids=["all kinds", "categorical"])
def test_every_recipe_learns_from_every_observation_and_action(
    kinds: tuple[str, ...], recipe: str, discrete: bool
) -> None:
    spec = tiny_spec(kinds=kinds, discrete=discrete)
    config = tiny_config(recipe)
    agent = make(spec, config)
    for seed in range(2):
        credit, metrics = agent.update(tiny_batch(spec, seed=seed))
    assert set(metrics) >= ONLINE_METRICS
    assert all(torch.isfinite(value).all() and not value.requires_grad for value in metrics.values())
    assert metrics["actor_loss"].shape == (3,)  # two tasks and the explorer
    assert metrics["reward_loss"].shape == (2,)
    credited = 15 if config.explorer.credit == "replayed" else 18
    assert credit.error.shape == credit.theta_id.shape == (credited,)
    assert torch.isfinite(credit.error).all()
    assert not credit.error.requires_grad


@CONTINUOUS
@pytest.mark.parametrize("recipe", ["tiny", "paper"])
def test_two_updates_move_every_weight(recipe: str, discrete: bool) -> None:
    """Two, because a last layer that starts at zero passes no gradient back at the first."""
    spec, config = tiny_spec(kinds=ALL_KINDS, discrete=discrete), tiny_config(recipe)
    config = replace(
        config,
        model=replace(config.model, free_nats=0.0, optimizer=replace(config.model.optimizer, decay=0.0)),
        behaviour=replace(config.behaviour, slow_every=1),
    )
    agent = make(spec, config)
    before = snapshot(agent)
    for seed in range(2):
        agent.update(tiny_batch(spec, seed=seed))
    assert [name for name, p in trainable(agent).items() if torch.equal(before[name], p)] == []


def test_a_model_that_sees_one_batch_again_and_again_learns_it() -> None:
    spec, config = tiny_spec(), tiny_config()
    config = replace(config, model=replace(config.model, optimizer=replace(config.model.optimizer, lr=1e-2)))
    agent, batch = make(spec, config), tiny_batch(spec)
    losses = [agent.update(batch)[1]["cells_loss"].item() for _ in range(60)]
    assert losses[-1] < 0.7 * losses[0]


def test_the_same_seed_gives_the_same_update() -> None:
    spec, config = tiny_spec(), tiny_config()
    ours, theirs = make(spec, config), make(spec, config)
    for agent in (ours, theirs):
        torch.manual_seed(1)
        agent.update(tiny_batch(spec))
    assert same(ours.state_dict(), theirs.state_dict())


def test_an_agent_of_one_task_and_one_of_many() -> None:
    for tasks in (1, 4):
        spec = tiny_spec(tasks=tasks)
        _, metrics = make(spec, tiny_config()).update(tiny_batch(spec))
        assert metrics["actor_loss"].shape == (tasks + 1,)


@CONTINUOUS
def test_a_random_explorer_still_estimates_errors(discrete: bool) -> None:
    spec, config = tiny_spec(discrete=discrete), tiny_config()
    agent = make(spec, replace(config, explorer=replace(config.explorer, name="random")))
    before = snapshot(agent)
    credit, metrics = agent.update(tiny_batch(spec))
    assert (credit.error[credit.theta_id >= 0] > 0).all()
    assert metrics["actor_grad_norm"][-1] == 0.0
    assert (metrics["actor_grad_norm"][:-1] > 0).all()
    assert torch.equal(before["policies.actor.out.bias"][-1], agent.policy_learner.policies.actor.out.bias[-1])


def test_nothing_is_imagined_where_nobody_learns_from_it(monkeypatch: pytest.MonkeyPatch) -> None:
    spec, config = tiny_spec(), tiny_config(after=True)
    explorer = replace(config.explorer, name="random", credit="replayed")
    agent = make(spec, replace(config, explorer=explorer))
    monkeypatch.setattr(agent.policy_learner, "gradients", lambda *args: pytest.fail("imagined"))
    before = snapshot(agent)
    credit, metrics = agent.update(tiny_batch(spec))
    assert (credit.error[credit.theta_id >= 0] > 0).all()
    assert "ensemble_loss" in metrics and "actor_loss" not in metrics
    after = snapshot(agent)
    assert all(torch.equal(value, after[name]) for name, value in before.items() if name.startswith("policies."))
    assert any(not torch.equal(value, after[name]) for name, value in before.items() if name.startswith("model"))
    for needs in (replace(config, explorer=replace(explorer, credit="imagined")), config, tiny_config()):
        assert make(spec, needs).imagines


# Credit -------------------------------------------------------------------------------------------------------


def test_errors_are_credited_to_the_theta_of_their_start_and_ends_to_nobody() -> None:
    spec = tiny_spec()
    credit, _ = make(spec, tiny_config()).update(tiny_batch(spec))
    expected = np.repeat([0, 1, 2], 6)
    expected[2] = -1  # sequence 0 ended its episode at step 2
    assert credit.theta_id.tolist() == expected.tolist()
    assert not credit.theta_id.is_floating_point()


@pytest.mark.parametrize(("first", "steps"), [(False, 0), (True, 0), (False, 1), (True, 2)])
def test_the_credit_is_the_mean_disagreement_of_the_explorer_s_rollout(
    first: bool, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, config = tiny_spec(), tiny_config("paper")
    agent = make(spec, replace(config, explorer=replace(config.explorer, credit_first=first, credit_steps=steps)))
    ensemble, learn, rollouts = copy.deepcopy(agent.ensemble), agent.policy_learner.gradients, list[Rollout]()

    def keep(*args: Any) -> Any:
        result = learn(*args)
        rollouts.append(result.rollout)
        return result

    monkeypatch.setattr(agent.policy_learner, "gradients", keep)
    credit, metrics = agent.update(tiny_batch(spec))
    trajectory = rollouts[0].trajectory
    error = ensemble.intrinsic_reward(trajectory.feature[:, -1], trajectory.action[:, -1])  # (H+1, N); entry 0 is zero
    credited = error[: 1 + steps] if steps else error
    expected = credited.mean(0) if first else credited[1:].mean(0)
    alive = credit.theta_id >= 0
    assert alive.sum() == 17
    torch.testing.assert_close(credit.error[alive], expected.detach()[alive])
    torch.testing.assert_close(metrics["credit"], credit.error.mean())


def test_only_imagined_states_of_a_living_episode_count() -> None:
    """Weights w_t = Π cont: an episode that surely ends after one step is judged by that step."""
    agent = make(tiny_spec(), tiny_config())
    error = torch.tensor([[0.0, 0.0], [2.0, 2.0], [7.0, 4.0], [9.0, 6.0]])
    cont = torch.tensor([[1.0, 1.0], [0.0, 1.0], [1.0, 0.5], [1.0, 1.0]])
    state = State(torch.zeros(2, 1), torch.zeros(2, 1))
    credit = agent._imagined_credit(error, cont, Starts(state, torch.tensor([1.0, 0.0]), torch.tensor([5, 6])))
    # Second start: weights 1, 1, ½ on errors 2, 4, 6.
    torch.testing.assert_close(credit.error, torch.tensor([2.0, (2.0 + 4.0 + 3.0) / 2.5]))
    assert credit.theta_id.tolist() == [5, -1]


@pytest.mark.parametrize("action", ["taken", "authors"])
def test_replayed_credit_is_the_disagreement_about_the_steps_of_the_batch(
    action: Literal["taken", "authors"], monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, config = tiny_spec(), tiny_config()
    explorer = replace(config.explorer, credit="replayed", scale=3.0, action=action)
    config = replace(config, behaviour=replace(config.behaviour, starts=5), explorer=explorer)
    agent, batch, observed = make(spec, config), tiny_batch(spec), list[Tensor]()
    ensemble, loss = copy.deepcopy(agent.ensemble), agent.model.loss

    def keep(*args: Any) -> Any:
        output = loss(*args)
        observed.append(output.posterior.state.feature)
        return output

    monkeypatch.setattr(agent.model, "loss", keep)
    credit, metrics = agent.update(batch)
    # What was taken at t is recorded with t + 1; sequence 0 begins a new episode at step 3.
    taken = batch["action"][:, :-1] if action == "authors" else batch["action"][:, 1:]
    expected = 3.0 * ensemble.disagreement(observed[0][:, :-1], taken)  # (3, 5), by the members before their step
    torch.testing.assert_close(credit.error, expected.flatten())
    assert credit.theta_id.tolist() == [0, 0, -1, 0, 0, *[1] * 5, *[2] * 5]
    torch.testing.assert_close(metrics["credit"], credit.error.mean())
    assert not credit.error.requires_grad
    assert len(credit.error) == agent.credits(replace(config, train=replace(config.train, batch=3, length=6)))


def test_drawn_starts_are_credited_to_their_own_theta() -> None:
    spec, config = tiny_spec(), tiny_config()
    agent = make(spec, replace(config, behaviour=replace(config.behaviour, starts=5)))
    batch = tiny_batch(spec)
    batch["theta_id"] = torch.tensor([4, 11, 23], dtype=torch.int32).unsqueeze(1).repeat(1, 6)
    seen = set()
    for _ in range(10):
        credit, _ = agent.update(batch)
        assert credit.error.shape == (5,)
        seen |= set(credit.theta_id.tolist())
    assert seen <= {4, 11, 23, -1}
    assert len(seen) > 2


# Task policies afterwards -------------------------------------------------------------------------------------


@CONTINUOUS
def test_adapting_touches_neither_the_world_model_nor_the_explorer(discrete: bool) -> None:
    spec = tiny_spec(discrete=discrete)
    agent = make(spec, tiny_config(after=True))
    _, metrics = agent.update(tiny_batch(spec))
    assert metrics["actor_loss"].shape == (1,)
    adapter = agent.start_adaptation()
    heads = {name: p.clone() for name, p in agent.model.rewards.named_parameters()}
    assert all(torch.equal(heads[name], p) for name, p in adapter.heads.named_parameters())
    frozen = {k: copy.deepcopy(v) for k, v in agent.state_dict().items() if k != "adapter"}
    before = snapshot(agent)
    for seed in range(2):
        adapted = agent.adapt_update(tiny_batch(spec, seed=seed))
    assert same(frozen, {k: v for k, v in agent.state_dict().items() if k != "adapter"})
    assert {name for name, p in trainable(agent).items() if torch.equal(before[name], p)} == {
        name for name in before if not name.startswith(("heads.", "tasks."))
    }
    assert all(value.shape == (2,) for value in adapted.values())


def test_policies_left_for_later_cannot_play_before_they_are_trained() -> None:
    spec = tiny_spec()
    agent = make(spec, tiny_config(after=True))
    with pytest.raises(UserError, match="no task policies yet.*waker adapt"):
        agent.task_player()
    agent.adapt_update(tiny_batch(spec))
    assert agent.task_player().names == spec.tasks
    assert agent.explorer().names == ("explorer",)


def test_online_policies_play_at_once_beside_the_explorer() -> None:
    spec = tiny_spec()
    agent = make(spec, tiny_config())
    assert agent.task_player().names[:2] == spec.tasks
    assert agent.explorer().names.index("explorer") == 2


@pytest.mark.parametrize("after", [False, True], ids=["online", "after"])
def test_players_follow_the_newest_weights(after: bool) -> None:
    spec = tiny_spec(discrete=False)
    agent = make(spec, tiny_config(after=after))
    if after:
        agent.start_adaptation()
    player, batch = agent.task_player(), tiny_batch(spec)
    observation = {"cells": batch["cells"][:, 0].numpy()}

    def act() -> Any:
        return player.act(observation, np.ones(3, np.bool_), player.initial(3), np.array([0, 1, 0]), True)[0]

    before = act()
    agent.adapt_update(batch) if after else agent.update(batch)
    assert not np.array_equal(before, act())


# Saving -------------------------------------------------------------------------------------------------------


@CONTINUOUS
@pytest.mark.parametrize("after", [False, True], ids=["online", "after"])
@pytest.mark.parametrize("recipe", ["tiny", "authors", "laptop"])
def test_a_saved_agent_continues_bit_for_bit(recipe: str, after: bool, discrete: bool, tmp_path: Path) -> None:
    spec, config = tiny_spec(discrete=discrete), tiny_config(recipe, after=after)
    config = replace(config, behaviour=replace(config.behaviour, starts=7))
    ours = make(spec, config)

    def learn(agent: Agent, seed: int) -> list[Tensor]:
        batch = tiny_batch(spec, seed=seed)
        credit, metrics = agent.update(batch)
        adapted = agent.adapt_update(batch) if after else {}
        return [*credit, *metrics.values(), *adapted.values()]

    for seed in range(2):
        learn(ours, seed)
    torch.save(ours.state_dict(), tmp_path / "agent.pt")
    stream = torch.get_rng_state()
    expected = [learn(ours, seed) for seed in (2, 3)]

    theirs = make(spec, config, seed=99)
    theirs.load_state_dict(torch.load(tmp_path / "agent.pt", weights_only=True))
    torch.set_rng_state(stream)
    assert same(expected, [learn(theirs, seed) for seed in (2, 3)])
    assert same(ours.state_dict(), theirs.state_dict())


def test_loading_a_state_from_before_adaptation_forgets_the_adapter() -> None:
    spec = tiny_spec()
    agent = make(spec, tiny_config(after=True))
    state = copy.deepcopy(agent.state_dict())
    agent.adapt_update(tiny_batch(spec))
    agent.load_state_dict(state)
    with pytest.raises(UserError, match="waker adapt"):
        agent.task_player()


def test_a_state_of_another_size_is_refused() -> None:
    spec, config = tiny_spec(), tiny_config()
    wider = replace(config, model=replace(config.model, deter=11))
    with pytest.raises(RuntimeError, match="size mismatch"):
        make(spec, config).load_state_dict(make(spec, wider).state_dict())
