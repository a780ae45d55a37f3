"""Reward heads: one a task, as a stack, on the state arrived in or on the whole step that led there.

Trained beside the model (:meth:`waker.model.world_model.WorldModel.reward_loss`) and on the frozen one
(:class:`waker.agent.task_adapter.TaskAdapter`); asked by imagination (:mod:`waker.behaviour.task_rewards`) and by plans
(:mod:`waker.evaluation.learned_table`).

Shapes: K tasks, n steps, F feature, A action.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping

import torch
from einops import rearrange
from torch import Tensor

from waker.config.schema import ModelConfig
from waker.model.cell_nets import summed_network
from waker.model.features import Features, Inputs, step_inputs
from waker.model.heads import ScalarStack


class RewardHeads(ScalarStack):
    """K heads; ``model.reward_sees`` says of what.

    A family's reward may depend on the step, R(s, a, s'), as that for what an agent *does* to things: then the state
    arrived in alone does not tell it, unless its recurrent part happens to remember the one before.

    Args:
        features: of the states.
        action_dim: A.
    """

    def __init__(self, tasks: int, features: Features, action_dim: int, config: ModelConfig) -> None:
        c, self.of_steps, self.draws = config, config.reward_sees != "state", config.reward_draws
        change = config.reward_sees == "change"
        inputs: Inputs = step_inputs(features, action_dim, change) if self.of_steps else features
        build = functools.partial(summed_network, inputs)
        super().__init__(tasks, build, c.head_units, c.act, c.norm, c.reward, c.bins, c.bins_limit, c.zero_heads)

    def given(self, before: Tensor, action: Tensor, after: Tensor) -> Tensor:
        """What the heads see of steps, (..., inputs), from both features (..., F) and the actions (..., A)."""
        return torch.cat([before, action, after], -1) if self.of_steps else after

    def earned(self, before: Tensor, action: Tensor, after: Tensor) -> Tensor:
        """Expected rewards of the same steps by every head: (..., F), (..., A), (..., F) → (K, ...)."""
        given = self.given(before, action, after)
        return self.predict(given.flatten(0, -2).unsqueeze(0)).unflatten(1, given.shape[:-1])

    def loss(self, feature: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """−log likelihood of each task's rewards in a batch, (K,): the mean over its records, or over those drawn.

        Heads that see steps leave out records that no step led to, an episode's first and a window's.

        Args:
            feature: of the posterior, (B, T, F).
            batch: ``task_rewards`` (B, T, K), ``action`` (B, T, A), which led into the record, ``is_first`` (B, T).
        """
        target = batch["task_rewards"]
        if not self.of_steps:
            flat, target = (rearrange(x, "b t d -> (b t) d") for x in (feature, target))
            if self.draws:
                drawn = self._drawn(target, torch.ones_like(target[:, 0]))
                flat, target = flat[drawn], target[drawn]
            return self._nll(flat, target).mean(-1)
        steps = feature[:, :-1], batch["action"][:, 1:], feature[:, 1:], target[:, 1:]
        before, action, after, target = (rearrange(x, "b t d -> (b t) d") for x in steps)
        led = (~batch["is_first"][:, 1:]).to(feature.dtype).flatten()
        if self.draws and len(target):  # a window of one record has no step
            drawn = self._drawn(target, led)
            before, action, after, target, led = (x[drawn] for x in (before, action, after, target, led))
        nll = self._nll(self.given(before, action, after), target)
        return (nll * led).sum(-1) / led.sum().clamp_min(1.0)

    def _nll(self, given: Tensor, target: Tensor) -> Tensor:
        """(n, inputs), (n, K) → (K, n)."""
        return self.nll(self(given.unsqueeze(0)), target.T)

    def _drawn(self, target: Tensor, allowed: Tensor) -> Tensor:
        """Indices (draws,) of records with rewards (n, K): of each task alike, and of each reward of a task alike.

        Rewards in the same bin count as one.

        Args:
            allowed: (n,), 1 for records that may be drawn, else 0; if there are none, all may.
        """
        bins = torch.bucketize(target, self.bins)  # (n, K)
        count = target.new_zeros(len(self.bins) + 1, target.shape[1])
        count = count.scatter_add(0, bins, allowed.unsqueeze(1).expand_as(target))
        weight = allowed.unsqueeze(1) / count.gather(0, bins).clamp_min(1.0)
        share = (weight / weight.sum(0).clamp_min(1.0)).mean(1) + torch.finfo(weight.dtype).tiny
        return torch.multinomial(share, self.draws, replacement=True)
