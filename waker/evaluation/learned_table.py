"""What a world model believes of small rooms, asked state by state: its dynamics and rewards as a table.

Called by :mod:`waker.evaluation.planned`. N states of several rooms side by side, n of them at once, A
actions, K tasks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from waker.evaluation.open_loop import Model
from waker.model.rssm import State
from waker.specs import ObservationKey
from waker_envs.tabular import Floats

DRAWS = 16384
"""Latent samples decoded at once: enough to fill the matrix units, small enough for any memory."""

States = Mapping[str, NDArray[Any]]
"""A room's states as observations by key, each (S, ...)."""


class RewardHeads(Protocol):
    """What of :class:`waker.model.reward_heads.RewardHeads` is asked."""

    def earned(self, before: Tensor, action: Tensor, after: Tensor) -> Tensor: ...


class PlannedModel(Model, Protocol):
    """What of :class:`waker.model.world_model.WorldModel` is asked: its reward heads are in the order of the tasks."""

    @property
    def rewards(self) -> RewardHeads: ...


class LearnedTable(NamedTuple):
    """A model's table of one room: ``move`` (A, S, S) and ``reward`` (K, A, S) as in a ``TabularMDP``."""

    move: Floats
    reward: Floats


@torch.no_grad()
def learned_tables(
    model: PlannedModel,
    keys: Sequence[ObservationKey],
    rooms: Sequence[States],
    actions: int,
    samples: int,
    device: torch.device | str = "cpu",
) -> list[LearnedTable]:
    """Ask the model about every (state, action) of some rooms in one batch.

    A state is the mode of the posterior of a filter that begins there. From it the prior is sampled for each action; a
    sample moves to each state by the decoder's probability of that state's observation, times the probability that the
    episode continues. Compared are the categorical variables in which the room's states differ. What the decoder gives
    to none of the states is lost, as if the episode ended: nothing is earned there. States that are seen when an
    episode has ended are asked like all others: that it ends there is for the model to know.

    Args:
        model: on ``device``.
        keys: of the observation; rooms differ in no key that is not categorical.
        rooms: the states of each.
        actions: A.
        samples: of the prior after each pair.
    """
    edges = np.concatenate([[0], np.cumsum([len(next(iter(room.values()))) for room in rooms])]).tolist()
    varying = [key.name for key in keys if any(varying_in(room[key.name]).size for room in rooms)]
    state = filtered(model, rooms, actions, device)
    moves: list[list[Tensor]] = [[] for _ in rooms]
    rewards: list[Tensor] = []
    at_once = max(1, DRAWS // (actions * samples))
    for first in range(0, edges[-1], at_once):
        last = min(first + at_once, edges[-1])
        part = State(state.stoch[first:last], state.deter[first:last])
        feature = outcomes(model, part, actions, samples)  # (n A samples F)
        before, action = origins(part, actions, samples)
        decoded, cont = model.decoder(feature), model.continue_probability(feature)
        chances = {name: model.decoder.layout(name).log_probabilities(decoded[name]) for name in varying}
        rewards.append(model.rewards.earned(before, action, feature).mean(3))  # k n a samples -> k n a
        for room, move, begin, end in zip(rooms, moves, edges[:-1], edges[1:], strict=True):
            rows = slice(max(begin, first) - first, max(min(end, last) - first, 0))
            if rows.start < rows.stop:
                arrive = _arrival(room, {name: chance[rows] for name, chance in chances.items()})
                move.append((arrive * cont[rows].unsqueeze(-1)).mean(2))  # s a samples s' -> s a s'
    reward = torch.cat(rewards, 1).transpose(1, 2).cpu().double().numpy()  # k n a -> k a n
    return [
        LearnedTable(torch.cat(move).transpose(0, 1).cpu().double().numpy(), reward[:, :, begin:end])
        for move, begin, end in zip(moves, edges[:-1], edges[1:], strict=True)
    ]


def filtered(model: PlannedModel, rooms: Sequence[States], actions: int, device: torch.device | str) -> State:
    """The posterior mode of an episode that begins in each state of all rooms, (N, ...)."""
    batch = {name: torch.from_numpy(np.concatenate([room[name] for room in rooms])).unsqueeze(1) for name in rooms[0]}
    n = len(next(iter(batch.values())))
    batch |= {"action": torch.zeros(n, 1, actions), "is_first": torch.ones(n, 1, dtype=torch.bool)}
    state = model.observe({name: value.to(device) for name, value in batch.items()}, mode=True).state
    return State(state.stoch[:, 0], state.deter[:, 0])


def outcomes(model: PlannedModel, state: State, actions: int, samples: int, mode: bool = False) -> Tensor:
    """Features drawn from the prior after each action in each state, or its modes, (n, A, samples, F)."""
    n = len(state.deter)
    action = torch.eye(actions, device=state.deter.device).expand(n, -1, -1).flatten(0, 1)  # (n a) A
    before = State(state.stoch.repeat_interleave(actions, 0), state.deter.repeat_interleave(actions, 0))
    deter = model.rssm.transition(before, action)
    prior = model.rssm.prior(deter)  # (n a) latents classes
    drawn = model.rssm.sample(prior.unsqueeze(1).expand(-1, samples, -1, -1), mode)  # (n a) samples stoch
    feature = torch.cat([drawn, deter.unsqueeze(1).expand(-1, samples, -1)], -1)
    return feature.unflatten(0, (n, actions))


def origins(state: State, actions: int, samples: int) -> tuple[Tensor, Tensor]:
    """What led to each outcome: the feature before (n, A, samples, F), the action (n, A, samples, A)."""
    n = len(state.deter)
    before = state.feature.view(n, 1, 1, -1).expand(n, actions, samples, -1)
    return before, torch.eye(actions, device=before.device).view(1, actions, 1, -1).expand(n, actions, samples, -1)


def varying_in(values: NDArray[Any]) -> NDArray[np.int64]:
    """The variables of a key (S, V) in which states differ."""
    return np.flatnonzero((values != values[0]).any(0))


def _arrival(room: States, chances: Mapping[str, Tensor]) -> Tensor:
    """The decoder's probability of the observation of each of S states, (..., S); 1 in a room of one state.

    Args:
        room: the states.
        chances: log probabilities (..., V, widest) by key.
    """
    total = torch.zeros(())
    for name, chance in chances.items():
        for variable in varying_in(room[name]).tolist():
            value = torch.from_numpy(room[name][:, variable].astype(np.int64)).to(chance.device)
            total = total.to(chance.device) + chance[..., variable, :].index_select(-1, value)
    return total.exp()
