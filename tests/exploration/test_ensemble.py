"""Disagreement of the whole ensemble, its rewards, and which transitions it learns from."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Literal

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.helpers.tiny_learner import CATEGORICAL, tiny_batch, tiny_config, tiny_spec
from waker.config.schema import ExplorerConfig
from waker.exploration import ensemble as module
from waker.exploration.ensemble import Ensemble
from waker.model.rssm import Posterior
from waker.model.world_model import WorldModel

Target = Literal["feature", "deter", "latent", "observation"]
TARGETS: tuple[Target, ...] = ("feature", "deter", "latent", "observation")
SPEC = tiny_spec()


def build(
    target: Target, action: Literal["taken", "authors"] = "taken", across: bool = False
) -> tuple[WorldModel, Ensemble]:
    torch.manual_seed(0)
    config = tiny_config("paper")
    model = WorldModel(SPEC, config.model)
    explorer: ExplorerConfig = replace(config.explorer, target=target, action=action, across_ends=across, scale=2.0)
    return model, Ensemble(model, SPEC.action.dim, explorer)


def inputs(*lead: int) -> tuple[Tensor, Tensor]:
    return torch.randn(*lead, 22), torch.randn(*lead, SPEC.action.dim)


@pytest.mark.parametrize(("target", "size"), [("feature", 22), ("deter", 10)])
def test_disagreement_is_the_mean_standard_deviation_over_heads(target: Target, size: int) -> None:
    _, ensemble = build(target)
    feature, action = inputs(5, 4)
    predictions = ensemble.predict(feature.flatten(0, 1), action.flatten(0, 1)).detach().double().numpy()
    assert predictions.shape == (3, 20, size)
    expected = predictions.std(0).mean(-1).reshape(5, 4)
    np.testing.assert_allclose(ensemble.disagreement(feature, action).detach().numpy(), expected, rtol=1e-4)


@pytest.mark.parametrize("target", TARGETS)
def test_heads_with_equal_weights_agree(target: Target) -> None:
    _, ensemble = build(target)
    with torch.no_grad():
        for p in ensemble.parameters():
            p.copy_(p[:1].expand_as(p))
    assert ensemble.disagreement(*inputs(6)).max().item() < 1e-6


@pytest.mark.parametrize("target", TARGETS)
def test_blocks_change_nothing(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    _, ensemble = build(target)
    feature, action = inputs(5, 7)
    feature.requires_grad_()
    whole = ensemble.disagreement(feature, action)
    (gradient,) = torch.autograd.grad(whole.sum(), feature)
    monkeypatch.setattr(module, "_CHUNK_ROWS", 4)  # 35 rows: eight blocks and a remainder
    blocks = ensemble.disagreement(feature, action)
    assert blocks.shape == (5, 7)
    torch.testing.assert_close(blocks, whole)
    torch.testing.assert_close(torch.autograd.grad(blocks.sum(), feature)[0], gradient)


def test_disagreement_stays_differentiable_where_heads_agree() -> None:
    _, ensemble = build("feature")
    with torch.no_grad():
        for p in ensemble.parameters():
            p.zero_()
    feature, action = inputs(6)
    (grad,) = torch.autograd.grad(ensemble.disagreement(feature.requires_grad_(), action).sum(), feature)
    assert torch.isfinite(grad).all()


# Rewards ------------------------------------------------------------------------------------------------------


def test_the_reward_of_arriving_is_the_disagreement_about_the_step_there() -> None:
    _, ensemble = build("deter")
    feature, action = inputs(4, 5)
    reward = ensemble.intrinsic_reward(feature, action)
    assert not reward[0].any()
    for t in range(3):
        torch.testing.assert_close(reward[t + 1], 2.0 * ensemble.disagreement(feature[t], action[t + 1]))


def test_the_authors_reward_conditions_on_the_action_that_led_into_the_state() -> None:
    _, ensemble = build("deter", "authors")
    feature, action = inputs(4, 5)
    reward = ensemble.intrinsic_reward(feature, action)
    for t in range(4):
        torch.testing.assert_close(reward[t], 2.0 * ensemble.disagreement(feature[t], action[t]))


# Learning -----------------------------------------------------------------------------------------------------


def posterior_of(model: WorldModel) -> tuple[Posterior, dict[str, Tensor]]:
    batch = tiny_batch(SPEC)
    return model.observe(batch, mode=True), batch


def loss_of(ensemble: Ensemble, posterior: Posterior, batch: dict[str, Tensor]) -> Tensor:
    return ensemble.loss(ensemble.predict_steps(posterior, batch), posterior, batch)


def plain_loss(ensemble: Ensemble, posterior: Posterior, batch: dict[str, Tensor], led_into: bool) -> float:
    """The loss as loops over sequences, steps and heads."""
    feature, total, count = posterior.state.feature, 0.0, 0
    for b in range(3):
        for t in range(5):
            if batch["is_first"][b, t + 1] and not ensemble.config.across_ends:
                continue
            action = batch["action"][b, t if led_into else t + 1]
            predictions = ensemble.predict(feature[b, t].unsqueeze(0), action.unsqueeze(0))[:, 0]
            count += 1
            for prediction in predictions:
                if ensemble.config.target == "observation":
                    variables = prediction.split(list(CATEGORICAL.classes))
                    for logits, value in zip(variables, batch["cells"][b, t + 1].tolist(), strict=True):
                        total -= CATEGORICAL.weight * torch.log_softmax(logits, -1)[value].item()
                elif ensemble.config.target == "latent":
                    log_probs = torch.log_softmax(prediction.unflatten(0, (3, 4)), -1)
                    total -= (posterior.posterior[b, t + 1].exp() * log_probs).sum().item()
                else:
                    state = posterior.state
                    truth = state.feature if ensemble.config.target == "feature" else state.deter
                    distance = (truth[b, t + 1] - prediction).square().sum().item()
                    total += 0.5 * distance + 0.5 * math.log(2 * math.pi) * len(prediction)
    return total / count


@pytest.mark.parametrize("across", [False, True])
@pytest.mark.parametrize("action", ["taken", "authors"])
@pytest.mark.parametrize("target", TARGETS)
def test_the_loss_is_the_mean_over_transitions_of_the_sum_over_heads(
    target: Target, action: Literal["taken", "authors"], across: bool
) -> None:
    model, ensemble = build(target, action, across)
    posterior, batch = posterior_of(model)
    expected = plain_loss(ensemble, posterior, batch, action == "authors")
    assert loss_of(ensemble, posterior, batch).item() == pytest.approx(expected, rel=1e-5)


def test_what_lies_beyond_an_episode_s_end_is_not_learned() -> None:
    model, ensemble = build("feature")
    posterior, batch = posterior_of(model)  # sequence 0 starts a new episode at step 3
    before = loss_of(ensemble, posterior, batch)
    deter = posterior.state.deter.clone()
    batch["action"][0, 3] = 9.0
    changed = posterior._replace(state=posterior.state._replace(deter=deter))
    assert loss_of(ensemble, changed, batch).item() == before.item()
    batch["is_first"][0, 3] = False
    assert loss_of(ensemble, changed, batch).item() != before.item()


def test_a_batch_of_nothing_but_first_records_is_no_loss() -> None:
    model, ensemble = build("feature")
    posterior, batch = posterior_of(model)
    batch["is_first"] = torch.ones_like(batch["is_first"])
    assert loss_of(ensemble, posterior, batch).item() == 0.0


@pytest.mark.parametrize("target", TARGETS)
def test_no_gradient_reaches_the_world_model(target: Target) -> None:
    model, ensemble = build(target)
    loss = loss_of(ensemble, *posterior_of(model))
    grads = torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)
    assert all(g is None for g in grads)


def test_a_head_s_weights_do_not_matter_to_another_s_gradient() -> None:
    model, ensemble = build("feature")
    posterior, batch = posterior_of(model)
    weight = ensemble.net.out.weight
    before = torch.autograd.grad(loss_of(ensemble, posterior, batch), weight)[0]
    with torch.no_grad():
        for p in ensemble.parameters():
            p[0] += 1.0
    after = torch.autograd.grad(loss_of(ensemble, posterior, batch), weight)[0]
    assert torch.equal(before[1:], after[1:])
    assert not torch.allclose(before[0], after[0])
