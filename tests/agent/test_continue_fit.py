"""The continue head that adaptation trains: what learns, what is left alone, and where it is used."""

from __future__ import annotations

import copy
import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from tests.helpers.tiny_learner import tiny_batch, tiny_config, tiny_spec
from waker.agent.continue_fit import ContinueFit
from waker.agent.task_adapter import TaskAdapter
from waker.config.schema import Config, OptimizerConfig
from waker.machine.precision import Precision
from waker.model.reward_heads import RewardHeads
from waker.model.world_model import WorldModel

SPEC = tiny_spec()


def refitting() -> Config:
    config = tiny_config()
    return replace(
        config,
        model=replace(config.model, optimizer=OptimizerConfig(lr=1e-2)),
        adapt=replace(config.adapt, refit_continue=True),
    )


def adapter(config: Config, heads: RewardHeads | None = None) -> TaskAdapter:
    torch.manual_seed(0)
    return TaskAdapter(WorldModel(SPEC, config.model), SPEC, config, SPEC.tasks, heads=heads)


def off(model: WorldModel, batch: dict[str, Tensor]) -> float:
    """Mean distance of the continue head from what happened."""
    with torch.no_grad():
        believed = model.continue_probability(model.observe(batch).state.feature)
    return (believed - (1.0 - batch["is_terminal"].float())).abs().mean().item()


def test_the_copy_learns_where_episodes_end_and_the_model_keeps_its_own_head() -> None:
    adapted, batch = adapter(refitting()), tiny_batch(SPEC)
    assert batch["is_terminal"].any()
    own = copy.deepcopy(adapted.model.state_dict())
    before = off(adapted.imagined, batch)
    for _ in range(60):
        adapted.update(batch)
    assert off(adapted.imagined, batch) < 0.5 * before
    assert all(torch.equal(own[name], p) for name, p in adapted.model.state_dict().items())


def test_its_loss_is_told_beside_each_task_s() -> None:
    adapted, batch = adapter(refitting()), tiny_batch(SPEC)
    torch.manual_seed(5)  # latents are drawn
    with torch.no_grad():
        expected = adapted.imagined.continue_loss(adapted.model.observe(batch).state.feature, batch)
    torch.manual_seed(5)
    told = adapted.update(batch)["continue_loss"]
    assert told.shape == (len(adapted.tasks),)
    assert torch.equal(told, expected.expand_as(told))
    assert "continue_loss" not in adapter(tiny_config()).update(batch)


def test_policies_imagine_with_the_copy() -> None:
    """A copy that says that every episode ends now leaves nothing but the next step's reward to value."""
    config = refitting()
    config = replace(config, adapt=replace(config.adapt, method="lookahead"))
    adapted, batch = adapter(config), tiny_batch(SPEC)
    state, _ = adapted._observed(batch)
    with torch.no_grad():
        for p in adapted.policy_learner.policies.slow.parameters():
            p.fill_(0.1)  # values that are not 0
    assert adapted.ends is not None
    targets = []
    for bias in (-50.0, 50.0):
        with torch.no_grad():
            last = list(adapted.ends.head.parameters())[-2:]
            last[0].zero_()
            last[1].fill_(bias)
        torch.manual_seed(1)
        targets.append(adapted._policy_gradients(state, batch).metrics["critic_target"])
    assert (targets[0] - targets[1]).abs().min() > 1e-3


def test_without_it_and_without_a_continue_head_policies_imagine_in_the_model_itself() -> None:
    plain = adapter(tiny_config())
    assert plain.ends is None and plain.imagined is plain.model
    config = refitting()
    endless = adapter(replace(config, model=replace(config.model, continue_scale=0.0)))
    assert endless.ends is None and endless.imagined is endless.model
    with pytest.raises(ValueError, match="no continue head"):
        ContinueFit(endless.model, config.model.optimizer, Precision("fp32", torch.device("cpu")))


def test_it_learns_beside_heads_that_were_fitted_elsewhere() -> None:
    config, batch = refitting(), tiny_batch(SPEC)
    elsewhere = adapter(config).heads
    adapted = adapter(config, elsewhere)
    given, before = copy.deepcopy(elsewhere.state_dict()), off(adapted.imagined, batch)
    for _ in range(60):
        adapted.update(batch)
    assert off(adapted.imagined, batch) < 0.5 * before
    assert all(torch.equal(given[name], p) for name, p in adapted.heads.state_dict().items())


def test_a_restored_one_goes_on_bit_for_bit() -> None:
    ours, theirs = adapter(refitting()), adapter(refitting())
    ours.update(tiny_batch(SPEC))
    theirs.load_state_dict(copy.deepcopy(ours.state_dict()))
    for each in (ours, theirs):
        torch.manual_seed(3)
        each.update(tiny_batch(SPEC, seed=1))
    assert ours.ends is not None and theirs.ends is not None
    for a, b in zip(ours.ends.tensors(), theirs.ends.tensors(), strict=True):
        assert torch.equal(a, b)
    for a, b in zip(ours.policies.parameters(), theirs.policies.parameters(), strict=True):
        assert torch.equal(a, b)


def test_the_loss_is_the_mean_surprise_about_ends() -> None:
    """Logits 0 everywhere: ln 2 a record, whatever happened; logits ln 3: ln(4/3) where it goes on, ln 4 where not."""
    model, batch = WorldModel(SPEC, tiny_config().model), tiny_batch(SPEC)
    feature = model.observe(batch).state.feature
    assert model.continues is not None
    weight, bias = list(model.continues.parameters())[-2:]
    ends = batch["is_terminal"].float().mean().item()
    for logit, expected in (
        (0.0, math.log(2.0)),
        (math.log(3.0), (1.0 - ends) * math.log(4.0 / 3.0) + ends * math.log(4.0)),
    ):
        with torch.no_grad():
            weight.zero_()
            bias.fill_(logit)
        assert model.continue_loss(feature, batch).item() == pytest.approx(expected, abs=1e-6)
