"""A policy on a frozen world model that is learned by the likelihood of actions: no critic, no gradient of a return.

The base of what ``waker adapt --method cpl``, ``rest`` and ``self`` train; each has a file of its own. All begin by
cloning the replay's actions, that is whoever explored. What then follows is a pure function of the policy, the number
of updates and the seed, so that a checkpoint holds no rollouts: they are made again.

Shapes: n segments or rollouts, L steps, F feature, A action.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from waker.agent.task_adapter import learner_on
from waker.behaviour.actor_critic import ActorCriticStack
from waker.behaviour.player import ModelPlayer
from waker.config.schema import Config, OptimizerConfig
from waker.machine.precision import Precision
from waker.model.optim import Adam
from waker.model.preference_heads import PreferenceHeads
from waker.model.world_model import WorldModel
from waker.protocols import Player
from waker.settings import Count, NotNegativeInt, Positive, Settings
from waker.specs import EnvSpec

Batch = Mapping[str, Tensor]


@dataclass(frozen=True)
class DirectSettings(Settings, section="method"):
    """What all of these methods have."""

    lr: Positive = 1e-3
    """Learning rate."""
    batch: Count = 64
    """Pairs or rollouts of an update."""
    clone: NotNegativeInt = 300
    """Updates at the beginning in which the replay's actions are cloned: the policy that others are compared with."""

    @property
    def total(self) -> int:
        """Updates in all where nobody says how many."""
        raise NotImplementedError


class DirectPolicy(ABC):
    """One policy, its reference, and how it learns.

    Args:
        model: frozen.
        task: its name.
        settings: of the method.
        heads: that judge, where the method has a judge; fitted elsewhere, and left as they are here.
        seed: of all chance after the cloning.

    Attributes:
        policies: what learns; of its stack the actor alone.
        reference: π_ref, an earlier state of it.
        updates: made so far.
    """

    def __init__(
        self,
        model: WorldModel,
        spec: EnvSpec,
        config: Config,
        task: str,
        settings: Any,
        heads: PreferenceHeads | None,
        seed: int,
    ) -> None:
        self.model, self.settings, self.heads, self.seed = model, settings, heads, seed
        self.tasks: tuple[str, ...] = (task,)
        self.device = next(model.parameters()).device
        self.precision = Precision(config.train.precision, self.device)
        self.policies, self.reference = (
            learner_on(model, spec.action, config, (task,), self.precision).policies for _ in range(2)
        )
        self.reference.requires_grad_(False)
        self._refer()
        self.updates = 0
        self.optimizer = self._optimizer()

    def update(self, next_batch: Callable[[], Batch]) -> dict[str, Tensor]:
        """One update; metrics, each (1,).

        Args:
            next_batch: gives a batch of the replay; asked while its actions are cloned.
        """
        if self.updates < self.settings.clone:
            found = self._clone(next_batch())
        else:
            found = self._learn(self.updates - self.settings.clone)
        self.updates += 1
        return {name: value.detach().reshape(1) for name, value in found.items()}

    @abstractmethod
    def _learn(self, number: int) -> dict[str, Tensor]:
        """One update of the method's own, the ``number``-th from 0; metrics, 0-dim."""

    def _rate(self, updates: int) -> float:
        """The learning rate of the stage in which that many updates have been made."""
        return float(self.settings.lr)

    def _stage(self) -> None:
        """Begin a stage: with fresh moments, and with the policy as it is now for a reference."""
        self._refer()
        self.optimizer = self._optimizer()

    def _refer(self) -> None:
        self.reference.actor.load_state_dict(self.policies.actor.state_dict())

    def _optimizer(self) -> Adam:
        how = OptimizerConfig(lr=self._rate(self.updates), eps=1e-8)
        return Adam(self.policies.actor.parameters(), how, 1)

    def _rng(self, *number: int) -> np.random.Generator:
        """Chance of its own for each number: nothing of it is in a checkpoint."""
        return np.random.default_rng([self.seed, *number])

    def _clone(self, batch: Batch) -> dict[str, Tensor]:
        """−log π of the actions that led from one record of a window to the next."""
        with self.precision():
            with torch.no_grad():
                feature = self.model.observe(batch).state.feature
            led = (~batch["is_first"][:, 1:]).float()
            likely = log_probs(self.policies, feature[:, :-1], batch["action"][:, 1:])
            loss = -(likely * led).sum() / led.sum().clamp_min(1.0)
        self.optimizer.descend(loss)
        return {"clone_loss": loss}

    def player(self) -> Player:
        """The policy, as a player."""
        return ModelPlayer(self.model, self.policies, self.precision)

    def state_dict(self) -> dict[str, Any]:
        """Policy, reference, optimiser and head (not the frozen model)."""
        return {
            "actor": self.policies.actor.state_dict(),
            "reference": self.reference.actor.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "heads": {} if self.heads is None else self.heads.state_dict(),
            "updates": self.updates,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        self.policies.actor.load_state_dict(state["actor"])
        self.reference.actor.load_state_dict(state["reference"])
        self.updates = int(state["updates"])
        self.optimizer = self._optimizer()
        self.optimizer.load_state_dict(state["optimizer"])
        if self.heads is not None:
            self.heads.load_state_dict(state["heads"])


def log_probs(policies: ActorCriticStack, feature: Tensor, action: Tensor) -> Tensor:
    """log π(a|s) of the first policy of a stack: states left (n, L, F), actions taken there (n, L, A) → (n, L)."""
    parameters = policies.actor(policies.see(feature).flatten(0, 1).unsqueeze(0))
    return policies.log_prob(parameters, action.flatten(0, 1).unsqueeze(0))[0].unflatten(0, action.shape[:2])
