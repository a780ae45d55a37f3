"""Policies that act in environments: filter observations with the world model, then ask the actor.

Collectors and evaluations see only the :class:`waker.protocols.Player` protocol; observations and actions are numpy
arrays.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from waker.behaviour.actor_critic import ActorCriticStack
from waker.machine.cuda_graphs import Recorded, Recorder
from waker.machine.precision import Precision
from waker.model.rssm import State
from waker.model.world_model import WorldModel
from waker.protocols import PlayerState
from waker.specs import ActionSpec


class ModelPlayer:
    """Policies of an :class:`ActorCriticStack` on top of a world model.

    Args:
        recorder: records the first step and replays it from then on, for players that are always asked for as many
            slots and in the same way; None = every step is computed operation by operation.
    """

    def __init__(
        self,
        model: WorldModel,
        policies: ActorCriticStack,
        precision: Precision | None = None,
        recorder: Recorder | None = None,
    ) -> None:
        self.model, self.policies, self.precision = model, policies, precision or Precision()
        self.device = policies.learns.device
        # Recorded, a step reads weights where they lie and changes nothing.
        self._step = self._steps if recorder is None else Recorded(self._steps, recorder, tuple)

    @property
    def names(self) -> tuple[str, ...]:
        return self.policies.names

    def initial(self, n: int) -> PlayerState:
        state = self.model.rssm.initial(n)
        action = state.deter.new_zeros(n, self.policies.action_dim)
        return {"stoch": state.stoch, "deter": state.deter, "action": action}

    @torch.no_grad()
    def act(
        self,
        observation: Mapping[str, NDArray[Any]],
        is_first: NDArray[np.bool_],
        state: PlayerState,
        member: NDArray[np.int64],
        deterministic: bool,
    ) -> tuple[NDArray[np.float32], PlayerState]:
        tensors = {k: torch.as_tensor(v, device=self.device) for k, v in observation.items()}
        first, members = (torch.as_tensor(x, device=self.device) for x in (is_first, member))
        action, following = self._step(tensors, first, state, members, deterministic)
        return action.cpu().numpy(), following

    def _steps(
        self, observation: Mapping[str, Tensor], is_first: Tensor, state: PlayerState, member: Tensor, mode: bool
    ) -> tuple[Tensor, PlayerState]:
        """:meth:`act` on tensors. Where every policy acts at random, nobody asks what state the world is in."""
        if self.policies.all_uniform:
            action = self.policies.undirected(state["action"])
            return action, {**state, "action": action}
        keep = (~is_first).float().unsqueeze(-1)
        previous = State(state["stoch"] * keep, state["deter"] * keep)
        rssm = self.model.rssm
        with self.precision():
            deter = rssm.transition(previous, state["action"] * keep)
            log_probs = rssm.posterior(deter, self.model.encoder(observation))
            latent = State(rssm.sample(log_probs, mode), deter)
            action = self.policies.act(latent.feature, member, mode)
        return action, {"stoch": latent.stoch, "deter": deter, "action": action}


class RandomPlayer:
    """Uniform random actions: prefill, and the reference a policy must beat.

    Args:
        names: the tasks it stands in for.
        rng: its own source of actions.
    """

    def __init__(self, action: ActionSpec, rng: np.random.Generator, names: tuple[str, ...] = ("random",)) -> None:
        self.action, self.rng, self._names = action, rng, names

    @property
    def names(self) -> tuple[str, ...]:
        return self._names

    def initial(self, n: int) -> PlayerState:
        return {}

    def act(
        self,
        observation: Mapping[str, NDArray[Any]],
        is_first: NDArray[np.bool_],
        state: PlayerState,
        member: NDArray[np.int64],
        deterministic: bool,
    ) -> tuple[NDArray[np.float32], PlayerState]:
        return self.action.random(self.rng, len(is_first)), state


def chance_of(player: Any) -> dict[str, Any]:
    """The state of a player's own source of chance; empty for those that draw from torch's generators."""
    return dict(player.rng.bit_generator.state) if isinstance(player, RandomPlayer) else {}


def set_chance(player: Any, state: Mapping[str, Any]) -> None:
    """Restore what :func:`chance_of` returned."""
    if isinstance(player, RandomPlayer) and state:
        player.rng.bit_generator.state = state
