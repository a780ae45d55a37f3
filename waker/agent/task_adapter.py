"""Task policies after exploration: from a frozen world model and the replay, with no environment.

The promise of reward-free exploration as an object. The tasks may be the environment's own or new ones, defined after
the run by relabelling the replay; their reward heads are trained here on frozen features.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from waker.agent.continue_fit import ContinueFit
from waker.behaviour.actor_critic import ActorCriticStack
from waker.behaviour.imagination import Trajectory
from waker.behaviour.lookahead import LookaheadLearner, lookahead_behaviour
from waker.behaviour.player import ModelPlayer
from waker.behaviour.policy_learner import PolicyGradients, PolicyLearner
from waker.behaviour.starts import start_states
from waker.behaviour.task_rewards import task_rewards
from waker.config.schema import Config
from waker.machine.compile import prepared
from waker.machine.compile_costs import Costs
from waker.machine.cuda_graphs import Recorder
from waker.machine.precision import Precision
from waker.model.egocentric import Where
from waker.model.features import Features
from waker.model.optim import Adam
from waker.model.reward_heads import RewardHeads
from waker.model.rssm import State
from waker.model.world_model import WorldModel
from waker.protocols import Player
from waker.specs import ActionSpec, EnvSpec

HEADS, POLICIES = "reward heads", "task policies"
"""The parts of an update, as they are recorded and compiled."""


class TaskAdapter:
    """Reward heads and policies for the given tasks on top of a frozen world model.

    Heads of tasks the model already knows start from its own; new tasks start afresh. With ``adapt.refit_continue`` a
    copy of the continue head learns beside them.

    Args:
        tasks: the K tasks; the batch's ``task_rewards`` columns must be in this order.
        heads: fitted elsewhere, and left as they are here; None = fitted here, to ``task_rewards``.
        recorder: records updates with ``train.compile = "graphs"``; None = the device's own.
        costs: notes what updates cost; None = nobody does.

    Attributes:
        imagined: the model that policies learn in.
    """

    def __init__(
        self,
        model: WorldModel,
        spec: EnvSpec,
        config: Config,
        tasks: tuple[str, ...],
        recorder: Recorder | None = None,
        costs: Costs | None = None,
        heads: RewardHeads | None = None,
    ) -> None:
        self.model, self.config, self.tasks = model, config, tasks
        features = model.rssm.features
        device = next(model.parameters()).device
        self.precision = Precision(config.train.precision, device)
        self.fits_heads = heads is None
        if heads is None:
            heads = RewardHeads(len(tasks), features, spec.action.dim, config.model).to(device)
            _copy_members(model.rewards, spec.tasks, heads, tasks)
        self.heads = heads
        self.policy_learner = learner_on(model, spec.action, config, tasks, self.precision)
        self.starts = config.adapt.starts if looks_ahead(config, spec.action) else config.behaviour.starts
        self.heads_optimizer = Adam(self.heads.parameters(), config.model.optimizer, len(tasks))
        refits = config.adapt.refit_continue and model.continues is not None
        self.ends = ContinueFit(model, config.model.optimizer, self.precision) if refits else None
        self.imagined = self.ends.model if self.ends else model
        self.updates = 0
        # Two functions, optimisers included, whatever `adapt_repeats` is. Neither sees the number of updates: a number
        # that changes would be compiled in, and a new graph be made at each update.
        how = config.train.compile, device, self._tensors, recorder
        self._learn_heads = prepared(self._heads_update if self.fits_heads else self._observed, *how)
        self._learn_policies = prepared(self._policies_update, *how)
        if costs is not None:
            self._learn_heads = costs.watched(HEADS, self._learn_heads)
            self._learn_policies = costs.watched(POLICIES, self._learn_policies)

    def update(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """One step of the reward heads, and ``train.adapt_repeats`` of actors and critics; metrics are (K,) tensors.

        The first ``train.adapt_heads`` updates are the heads' alone, where they are fitted here.
        """
        state, metrics = self._learn_heads(batch)
        self.updates += 1
        if self.fits_heads and self.updates <= self.config.train.adapt_heads:
            return metrics
        learned: dict[str, Tensor] = {}
        for _ in range(self.config.train.adapt_repeats):
            learned = self._learn_policies(state, batch)
        return {**metrics, **learned}

    def _heads_update(self, batch: Mapping[str, Tensor]) -> tuple[State, dict[str, Tensor]]:
        """One step of the heads; the batch's posterior states (B, T, ...) and the losses before it, each (K,)."""
        state, grads, reward_loss = self._head_gradients(batch)
        self.heads_optimizer.apply(grads)
        return state, {"reward_loss": reward_loss, **self._fit_ends(state, batch)}

    def _observed(self, batch: Mapping[str, Tensor]) -> tuple[State, dict[str, Tensor]]:
        """The same for reward heads that are left as they are, of which there is no loss."""
        with self.precision(), torch.no_grad():
            state = self.model.observe(batch).state
        return state, self._fit_ends(state, batch)

    def _fit_ends(self, state: State, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """One step of the continue head, if it learns; its loss, the same for all tasks, (K,)."""
        if self.ends is None:
            return {}
        return {"continue_loss": self.ends.step(state.feature, batch).repeat(len(self.tasks))}

    def _policies_update(self, state: State, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """One step of actors and critics; metrics, each (K,)."""
        found = self._policy_gradients(state, batch)
        return found.metrics | self.policy_learner.step(found)

    def _head_gradients(self, batch: Mapping[str, Tensor]) -> tuple[State, list[Tensor], Tensor]:
        """The batch's posterior states (B, T, ...), the reward heads' gradients, and their losses (K,)."""
        with self.precision():
            with torch.no_grad():
                posterior = self.model.observe(batch)
            reward_loss = self.heads.loss(posterior.state.feature, batch)
        return posterior.state, self.heads_optimizer.gradients(reward_loss.sum()), reward_loss.detach()

    def _policy_gradients(self, state: State, batch: Mapping[str, Tensor]) -> PolicyGradients:
        starts = start_states(state, batch, self.starts)
        return self.policy_learner.gradients(self.imagined, starts, self._rewards).without_trajectory()

    def _rewards(self, trajectory: Trajectory) -> Tensor:
        return task_rewards(self.heads, trajectory)

    @property
    def policies(self) -> ActorCriticStack:
        """The adapted policies."""
        return self.policy_learner.policies

    def player(self) -> Player:
        """The adapted policies, as players."""
        return ModelPlayer(self.model, self.policies, self.precision)

    def _tensors(self) -> Iterator[Tensor]:
        """All that an update reads or changes in place, but for its batch."""
        for module in (self.model, self.heads):
            yield from (*module.parameters(), *module.buffers())
        yield from (*self.heads_optimizer.tensors(), *self.policy_learner.tensors())
        if self.ends is not None:
            yield from self.ends.tensors()

    def state_dict(self) -> dict[str, Any]:
        """Heads, policies and optimisers (not the frozen model)."""
        return {
            "heads": self.heads.state_dict(),
            "heads_optimizer": self.heads_optimizer.state_dict(),
            "learner": self.policy_learner.state_dict(),
            "updates": self.updates,
            **({} if self.ends is None else {"ends": self.ends.state_dict()}),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        self.heads.load_state_dict(state["heads"])
        self.heads_optimizer.load_state_dict(state["heads_optimizer"])
        self.policy_learner.load_state_dict(state["learner"])
        self.updates = state["updates"]
        if self.ends is not None:
            self.ends.load_state_dict(state["ends"])


def learner_on(
    model: WorldModel, action: ActionSpec, config: Config, tasks: tuple[str, ...], precision: Precision | None = None
) -> PolicyLearner:
    """Fresh policies for the tasks on a model, seeing what ``adapt.sees`` says of it; see :func:`task_learner`."""
    device = next(model.parameters()).device
    # A board is seen from where the agent stands, which its decoded keys laid side by side do not let one do.
    decodes = looks_ahead(config, action) and config.adapt.sees == "decoded" and model.decoder.seen_dim > 0
    decodes = decodes and model.where is None
    size, view = (model.decoder.seen_dim, model.decoder.seen) if decodes else (model.rssm.features, None)
    return task_learner(tasks, size, action, config, device, precision, view, model.where)


def task_learner(
    tasks: tuple[str, ...],
    features: Features,
    action: ActionSpec,
    config: Config,
    device: torch.device,
    precision: Precision | None = None,
    view: Callable[[Tensor], Tensor] | None = None,
    where: Where | None = None,
) -> PolicyLearner:
    """Fresh policies for the tasks, and what they learn by: ``adapt.method``, or rollouts where actions are continuous.

    Args:
        features: size of what actors and critics see.
        view: what that is of a latent feature; None = all of it. For a lookahead alone.
        where: on a board, the cell they look from; None = they see it as it lies.
    """
    if not looks_ahead(config, action):
        policies = ActorCriticStack(tasks, features, action, config.behaviour, config.model, where=where).to(device)
        return PolicyLearner(policies, config.behaviour, precision)
    behaviour = lookahead_behaviour(config.behaviour, config.adapt)
    policies = ActorCriticStack(tasks, features, action, behaviour, config.model, view=view, where=where).to(device)
    return LookaheadLearner(policies, behaviour, config.adapt, precision)


def looks_ahead(config: Config, action: ActionSpec) -> bool:
    """Whether task policies are adapted by a lookahead."""
    return config.adapt.method == "lookahead" and action.discrete


@torch.no_grad()
def _copy_members(
    source: RewardHeads, source_names: tuple[str, ...], target: RewardHeads, target_names: tuple[str, ...]
) -> None:
    """Copy the members that both stacks have."""
    for ours, theirs in zip(target.parameters(), source.parameters(), strict=True):
        for index, name in enumerate(target_names):
            if name in source_names:
                ours[index].copy_(theirs[source_names.index(name)])
