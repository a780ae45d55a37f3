"""The learner with a state in every cell: it runs whole, is saved, and learns the rules of a board in seconds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from tests.helpers.tiny_board import BOARD, SPEC, board_config, play
from tests.helpers.tiny_learner import tiny_batch
from waker.agent.agent import Agent
from waker.collection.family import Family
from waker.config.schema import Config, OptimizerConfig
from waker.errors import UserError
from waker.machine.compile import whole
from waker.model.optim import Adam
from waker.model.rssm import State
from waker.model.world_model import WorldModel
from waker.training.memory_needs import training

TARGETS = ("feature", "deter", "latent", "observation")


def finite(value: Any) -> bool:
    return all(bool(torch.isfinite(x).all()) for x in value)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("after", [False, True], ids=["online", "after"])
def test_an_update_runs_with_every_target_of_the_ensemble(target: Any, after: bool) -> None:
    torch.manual_seed(0)
    config = board_config(after=after)
    explorer = replace(config.explorer, name="plan2explore", target=target, credit="imagined")
    agent = Agent(SPEC, replace(config, explorer=explorer))
    batch = tiny_batch(SPEC, 3, 5)
    before = [p.clone() for p in agent.ensemble.parameters()]
    credit, metrics = agent.update(batch)
    assert finite([credit.error, *metrics.values()])
    assert (credit.error[credit.theta_id >= 0] > 0).all()
    assert not any(torch.equal(p, q) for p, q in zip(before, agent.ensemble.parameters(), strict=True))
    if after:
        assert finite(agent.adapt_update(batch).values())


def test_an_update_needs_no_values() -> None:
    """On torch's meta device, as every update must run (:mod:`tests.agent.test_meta`)."""
    config = board_config(after=True)
    with torch.device("meta"):
        agent = Agent(SPEC, config, "meta")
    batch = {name: value.to("meta") for name, value in tiny_batch(SPEC, 2, 4).items()}
    credit, metrics = agent.update(batch)
    results = [*credit, *metrics.values(), *agent.adapt_update(batch).values()]
    assert all(value.device.type == "meta" for value in results)


def learned(config: Config, updates: int) -> WorldModel:
    torch.manual_seed(0)
    model = WorldModel(SPEC, config.model)
    optimizer = Adam(model.parameters(), config.model.optimizer)
    for update in range(updates):
        loss = model.loss(play(16, 6, seed=update)).loss
        optimizer.apply(optimizer.gradients(loss))
    return model


def test_the_rules_of_a_board_are_learned_in_seconds() -> None:
    """The agent's step and the trace it leaves, predicted one step ahead on boards never seen."""
    model_config = board_config().model
    rate = OptimizerConfig(lr=1e-2, eps=1e-8, warmup=20, anneal=250)
    sizes = {"hidden": 16, "deter": 8, "classes": 6, "encoder_units": (16,), "decoder_units": (16,)}
    model = learned(replace(board_config(), model=replace(model_config, optimizer=rate, **sizes)), 250)
    batch = play(64, 6, seed=1 << 20)
    with torch.no_grad():
        posterior = model.observe(batch)
        prior = State(model.rssm.sample(posterior.prior, mode=True), posterior.state.deter)
        decoded = model.decoder.predict(model.decoder(prior.feature[:, 1:]))
    agent = (decoded["agent"].argmax(-1) == batch["agent"][:, 1:]).all(-1)
    colours = (decoded["colours"].argmax(-1) == batch["colours"][:, 1:]).all(-1)
    assert agent.float().mean() > 0.9
    assert colours.float().mean() > 0.9


def test_the_first_state_s_kl_counts_only_where_it_is_asked_for() -> None:
    torch.manual_seed(0)
    config, batch = board_config().model, play(4, 5, 0)
    counted = WorldModel(SPEC, replace(config, kl_first=True))
    left_out = WorldModel(SPEC, replace(config, kl_first=False))
    left_out.load_state_dict(counted.state_dict())
    kl = counted.loss(batch, mode=True).metrics["model_kl"]
    without = left_out.loss(batch, mode=True).metrics["model_kl"]
    alone = {name: value[:, :1] for name, value in batch.items()}
    first = counted.loss(alone, mode=True).metrics["model_kl"]
    torch.testing.assert_close(without, kl - first / 5)
    assert left_out.loss(alone, mode=True).metrics["model_kl"] == 0.0


@pytest.mark.parametrize(
    ("section", "name"),
    [
        ("model", "head_units"),
        ("model", "continue_units"),
        ("behaviour", "actor_units"),
        ("behaviour", "critic_units"),
        ("explorer", "units"),
    ],
)
def test_a_network_without_layers_is_refused(section: str, name: str) -> None:
    config = board_config()
    bare = replace(getattr(config, section), **{name: ()})
    with pytest.raises(UserError, match=rf"{section}\.{name} must name at least one layer with model\.latent 'cells'"):
        replace(config, **{section: bare})


def test_memory_is_counted_for_every_cell() -> None:
    config = board_config()
    vector = replace(config, model=replace(config.model, latent="vector"))
    cells, one = ({need.what: need.bytes for need in training(c, SPEC)} for c in (config, vector))
    state = Agent(SPEC, config).model.rssm.initial(1).feature.shape[1]
    policy = sum(config.behaviour.actor_units)
    expected = (state + policy) / (5 + 2 * 3 + policy)
    assert cells["imagined states"] / one["imagined states"] == pytest.approx(expected)


def test_an_update_compiles_without_a_break() -> None:
    config = board_config(after=True)
    config = replace(config, behaviour=replace(config.behaviour, horizon=2))
    torch.manual_seed(0)
    agent, batch = Agent(SPEC, config), tiny_batch(SPEC, 2, 4)
    torch.manual_seed(1)  # which rewards are drawn

    def model_part() -> tuple[list[torch.Tensor], State]:
        output = agent.model.loss(batch, True)
        return agent.model_optimizer.gradients(output.loss), output.posterior.detach().state

    gradients, state = model_part()
    adapter = agent.start_adaptation()
    torch.manual_seed(1)
    again, _ = whole(model_part, "eager")()
    torch.testing.assert_close(again, gradients)
    torch.manual_seed(1)
    found = adapter._policy_gradients(state, batch)
    torch.manual_seed(1)
    compiled = whole(adapter._policy_gradients, "eager")(state, batch)
    assert compiled.rollout.reward.shape == found.rollout.reward.shape
    assert finite([*compiled.actor, *compiled.critic])


@pytest.mark.parametrize("env", ["waker/GridCleanUp-v0", "waker/GridHazards-v0"])
def test_the_grids_name_their_boards(env: str) -> None:
    spec = Family.of(replace(board_config(), env=env)).spec
    assert spec.board is not None
    assert (spec.board.rows, spec.board.columns) == ((7, 7) if "CleanUp" in env else (5, 5))
    assert WorldModel(spec, board_config().model).rssm.deter_dim == spec.board.size * 5
    assert BOARD.size == 12
