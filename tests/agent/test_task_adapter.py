"""Task policies from a frozen model: what moves, what does not, and which heads are inherited."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch

from tests.helpers.tiny_learner import tiny_batch, tiny_config, tiny_spec
from waker.agent.task_adapter import TaskAdapter
from waker.config.schema import OptimizerConfig
from waker.model.world_model import WorldModel


@pytest.fixture
def model() -> WorldModel:
    torch.manual_seed(0)
    made = WorldModel(tiny_spec(), tiny_config().model)
    with torch.no_grad():
        for p in made.rewards.parameters():
            p.normal_()
    return made


def adapter(model: WorldModel, tasks: tuple[str, ...], discrete: bool = True) -> TaskAdapter:
    return TaskAdapter(model, tiny_spec(discrete=discrete), tiny_config(), tasks)


def test_known_tasks_inherit_their_reward_heads_whatever_the_order(model: WorldModel) -> None:
    adapted = adapter(model, ("new", "task1", "task0"))
    for ours, theirs in zip(adapted.heads.parameters(), model.rewards.parameters(), strict=True):
        assert torch.equal(ours[1], theirs[1])
        assert torch.equal(ours[2], theirs[0])
        assert not torch.equal(ours[0], theirs[0])
        assert not torch.equal(ours[0], theirs[1])


@pytest.mark.parametrize("discrete", [True, False])
def test_adapting_moves_heads_actors_and_critics_and_not_the_model(discrete: bool) -> None:
    torch.manual_seed(0)
    spec = tiny_spec(discrete=discrete)
    model = WorldModel(spec, tiny_config().model)
    adapted = adapter(model, spec.tasks, discrete)
    frozen = copy.deepcopy(model.state_dict())
    heads, policies = (copy.deepcopy(m.state_dict()) for m in (adapted.heads, adapted.policy_learner.policies))
    for seed in range(2):
        metrics = adapted.update(tiny_batch(spec, seed=seed))
    assert all(torch.equal(frozen[name], p) for name, p in model.state_dict().items())
    assert all(not torch.equal(heads[name][k], p[k]) for name, p in adapted.heads.state_dict().items() for k in (0, 1))
    for name, p in adapted.policy_learner.policies.state_dict().items():
        assert all(not torch.equal(policies[name][k], p[k]) for k in (0, 1)), name
    assert all(value.shape == (2,) and torch.isfinite(value).all() for value in metrics.values())
    assert all(p.grad is None for p in model.parameters())


def test_reward_heads_learn_the_rewards_of_the_batch(model: WorldModel) -> None:
    config = tiny_config()
    fast = replace(config, model=replace(config.model, optimizer=OptimizerConfig(lr=1e-2)))
    adapted = TaskAdapter(model, tiny_spec(), fast, ("task0", "new"))
    batch = tiny_batch(tiny_spec())
    losses = torch.stack([adapted.update(batch)["reward_loss"] for _ in range(40)])
    assert (losses[-1] < losses[0] - 0.1).all()


def test_reward_heads_go_first_where_asked(model: WorldModel) -> None:
    config = tiny_config()
    waiting = replace(config, train=replace(config.train, adapt_heads=2))
    adapted = TaskAdapter(model, tiny_spec(), waiting, ("task0", "new"))
    policies, batch = copy.deepcopy(adapted.policy_learner.policies.state_dict()), tiny_batch(tiny_spec())
    for _ in range(2):
        heads = copy.deepcopy(adapted.heads.state_dict())
        assert set(adapted.update(batch)) == {"reward_loss"}
        assert all(not torch.equal(p, heads[name]) for name, p in adapted.heads.state_dict().items())
    unchanged = adapted.policy_learner.policies.state_dict()
    assert all(torch.equal(p, unchanged[name]) for name, p in policies.items())
    resumed = TaskAdapter(model, tiny_spec(), waiting, ("task0", "new"))
    resumed.load_state_dict(copy.deepcopy(adapted.state_dict()))
    for each in (adapted, resumed):
        assert "actor_loss" in each.update(batch)
        assert not torch.equal(each.policy_learner.policies.actor.out.bias, policies["actor.out.bias"])


def test_policies_take_several_steps_from_one_batch_where_asked(model: WorldModel) -> None:
    config = tiny_config()
    thrice = replace(config, train=replace(config.train, adapt_repeats=3))
    by_hand = TaskAdapter(model, tiny_spec(), config, ("task0", "new"))
    repeated = TaskAdapter(model, tiny_spec(), thrice, ("task0", "new"))
    batch = tiny_batch(tiny_spec())
    repeated.load_state_dict(copy.deepcopy(by_hand.state_dict()))
    torch.manual_seed(1)
    repeated.update(batch)
    # By hand: one step of the heads, and three of the policies from the same posterior states.
    torch.manual_seed(1)
    state, grads, _ = by_hand._head_gradients(batch)
    by_hand.heads_optimizer.apply(grads)
    for _ in range(3):
        by_hand.policy_learner.step(by_hand._policy_gradients(state, batch))
    expected = by_hand.policy_learner.policies.state_dict()
    assert all(torch.equal(p, expected[name]) for name, p in repeated.policy_learner.policies.state_dict().items())
    assert all(torch.equal(p, q) for p, q in zip(repeated.heads.parameters(), by_hand.heads.parameters(), strict=True))


def test_the_adapted_player_knows_its_tasks(model: WorldModel) -> None:
    assert adapter(model, ("new", "task0")).player().names == ("new", "task0")


def test_a_restored_adapter_continues_bit_for_bit(model: WorldModel) -> None:
    ours, theirs = adapter(model, ("task0", "new")), adapter(model, ("task0", "new"))
    batch = tiny_batch(tiny_spec())
    ours.update(batch)
    theirs.load_state_dict(copy.deepcopy(ours.state_dict()))
    for each in (ours, theirs):
        torch.manual_seed(5)
        each.update(batch)
    for a, b in ((ours.heads, theirs.heads), (ours.policy_learner.policies, theirs.policy_learner.policies)):
        state = b.state_dict()
        assert all(torch.equal(p, state[name]) for name, p in a.state_dict().items())
