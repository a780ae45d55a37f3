"""Players filter as the model does, keep slots apart and follow the member asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.helpers.tiny_learner import tiny_batch, tiny_config, tiny_spec
from waker.behaviour.actor_critic import ActorCriticStack
from waker.behaviour.player import ModelPlayer, RandomPlayer
from waker.model.world_model import WorldModel
from waker.protocols import PlayerState
from waker.specs import EnvSpec

SLOTS, STEPS = 3, 6


def player(discrete: bool = True, kinds: tuple[str, ...] = ("categorical",)) -> tuple[ModelPlayer, EnvSpec]:
    torch.manual_seed(0)
    spec, config = tiny_spec(kinds=kinds, discrete=discrete), tiny_config()
    model = WorldModel(spec, config.model)
    policies = ActorCriticStack(spec.tasks, model.rssm.feature_dim, spec.action, config.behaviour, config.model)
    with torch.no_grad():
        for p in policies.parameters():
            p.add_(0.5 * torch.randn_like(p))
    return ModelPlayer(model, policies), spec


def observations(spec: EnvSpec) -> tuple[dict[str, NDArray[Any]], NDArray[np.bool_]]:
    """Arrays by key (SLOTS, STEPS, …) and is_first; the first slot starts a new episode at step 3."""
    batch = tiny_batch(spec, SLOTS, STEPS)
    return {k.name: batch[k.name].numpy() for k in spec.observation}, batch["is_first"].numpy()


def play(
    actor: ModelPlayer, spec: EnvSpec, slots: list[int], member: NDArray[np.int64]
) -> tuple[NDArray[np.float32], PlayerState]:
    """Deterministic actions (n, STEPS, A) of some slots, and the last state."""
    arrays, first = observations(spec)
    state, actions = actor.initial(len(slots)), []
    for t in range(STEPS):
        observation = {name: a[slots, t] for name, a in arrays.items()}
        action, state = actor.act(observation, first[slots, t], state, member, True)
        actions.append(action)
    return np.stack(actions, 1), state


@pytest.mark.parametrize("discrete", [True, False])
@pytest.mark.parametrize("kinds", [("categorical",), ("image", "vector")])
def test_a_player_s_state_is_the_model_s_posterior(discrete: bool, kinds: tuple[str, ...]) -> None:
    actor, spec = player(discrete, kinds)
    actions, state = play(actor, spec, [0, 1, 2], np.array([0, 1, 0]))
    assert actions.shape == (SLOTS, STEPS, spec.action.dim)
    assert actions.dtype == np.float32
    arrays, first = observations(spec)
    batch = {name: torch.as_tensor(a) for name, a in arrays.items()}
    led_into = np.concatenate([np.zeros_like(actions[:, :1]), actions[:, :-1]], 1)
    batch |= {"action": torch.as_tensor(led_into), "is_first": torch.as_tensor(first)}
    posterior = actor.model.observe(batch, mode=True)
    torch.testing.assert_close(state["deter"], posterior.state.deter[:, -1])
    torch.testing.assert_close(state["stoch"], posterior.state.stoch[:, -1], atol=1e-6, rtol=0.0)
    # And each slot's actions are its member's at those posterior states.
    for slot, member in enumerate([0, 1, 0]):
        feature = posterior.state.feature[slot]
        own = actor.policies.act(feature, torch.full((STEPS,), member), True)
        np.testing.assert_allclose(actions[slot], own.detach().numpy(), atol=1e-5)


def test_slots_are_independent_of_each_other() -> None:
    actor, spec = player()
    together, _ = play(actor, spec, [0, 1, 2], np.array([0, 1, 1]))
    for slot, member in enumerate([0, 1, 1]):
        alone, _ = play(actor, spec, [slot], np.array([member]))
        assert np.array_equal(alone[0], together[slot])


@pytest.mark.parametrize("discrete", [True, False])
def test_deterministic_acting_draws_no_random_number_and_exploring_does(discrete: bool) -> None:
    actor, spec = player(discrete)
    before = torch.get_rng_state()
    play(actor, spec, [0, 1], np.array([0, 1]))
    assert torch.equal(torch.get_rng_state(), before)
    arrays, first = observations(spec)
    seen = set()
    for _ in range(20):
        observation = {name: a[:, 0] for name, a in arrays.items()}
        action, _ = actor.act(observation, first[:, 0], actor.initial(SLOTS), np.zeros(SLOTS, np.int64), False)
        seen.add(action.tobytes())
    assert len(seen) > 1


def test_discrete_actions_are_exact_onehots() -> None:
    actor, spec = player()
    actions, _ = play(actor, spec, [0, 1, 2], np.array([0, 0, 1]))
    assert set(actions.flatten()) == {np.float32(0.0), np.float32(1.0)}
    assert (actions.sum(-1) == 1.0).all()


def test_names_are_the_stack_s() -> None:
    actor, spec = player()
    assert actor.names == spec.tasks


@pytest.mark.parametrize("discrete", [True, False])
def test_random_players_follow_their_own_generator(discrete: bool) -> None:
    spec = tiny_spec(discrete=discrete)
    first = np.ones(5, np.bool_)
    drawn = []
    for _ in range(2):
        random = RandomPlayer(spec.action, np.random.default_rng(3), names=("task0",))
        action, state = random.act({}, first, random.initial(5), np.zeros(5, np.int64), True)
        drawn.append(action)
        assert random.names == ("task0",)
        assert state == {}
    assert np.array_equal(drawn[0], drawn[1])
    assert np.array_equal(drawn[0], spec.action.random(np.random.default_rng(3), 5))


@pytest.mark.parametrize("discrete", [True, False])
def test_where_everybody_acts_at_random_the_model_is_not_asked(discrete: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    spec, config = tiny_spec(discrete=discrete), tiny_config()
    model = WorldModel(spec, config.model)
    how = config.behaviour, config.model, ("a",)
    actor = ModelPlayer(model, ActorCriticStack(("a",), model.rssm.feature_dim, spec.action, *how))
    monkeypatch.setattr(model.rssm, "transition", lambda *_: pytest.fail("filtered"))
    state, batch = actor.initial(2_000), tiny_batch(spec, 2_000, 4)
    observation = {k.name: batch[k.name][:, 0].numpy() for k in spec.observation}
    action, after = actor.act(observation, np.ones(2_000, bool), state, np.zeros(2_000, np.int64), False)
    assert np.array_equal(after["action"].numpy(), action)
    assert after["deter"].shape == state["deter"].shape
    if discrete:
        assert set(np.unique(action)) == {0.0, 1.0}
        np.testing.assert_allclose(action.mean(0), 0.25, atol=0.04)
    else:
        np.testing.assert_allclose(action.mean(0), 0.0, atol=0.06)
        np.testing.assert_allclose(action.std(0), 1 / 3**0.5, atol=0.04)
