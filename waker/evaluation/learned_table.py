"""What a world model believes of small rooms, asked state by state: its dynamics and rewards as a table.

Called by :mod:`waker.evaluation.planned`. N states of several rooms side by side, A actions, K tasks, n latent samples.
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
from waker.spaces import ObservationKey
from waker_envs.tabular import Floats

States = Mapping[str, NDArray[Any]]
"""A room's states as observations by key, each (S, ...)."""


class RewardHeads(Protocol):
    """What of :class:`waker.model.heads.ScalarStack` is asked."""

    def predict(self, feature: Tensor) -> Tensor: ...


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
    episode goes on. Compared are the categorical variables in which the room's states differ. What the decoder gives to
    none of the states is lost, as if the episode ended: nothing is earned there.

    Args:
        model: on ``device``.
        keys: of the observation; rooms differ in no key that is not categorical.
        rooms: the states of each.
        actions: A.
        samples: n, of the prior after each pair.
    """
    sizes = [len(next(iter(room.values()))) for room in rooms]
    feature = _outcomes(model, _filtered(model, rooms, actions, device), actions, samples)  # (N A n F)
    decoded = model.decoder(feature)
    chances = {
        key.name: model.decoder.layout(key.name).log_probabilities(decoded[key.name])  # (N A n V widest)
        for key in keys
        if key.kind == "categorical" and any(_varying(room[key.name]).size for room in rooms)
    }
    goes_on = model.continue_probability(feature)
    reward = model.rewards.predict(feature.flatten(0, 2).unsqueeze(0))  # (K, N·A·n)
    reward = reward.unflatten(1, (-1, actions, samples)).mean(3)
    tables, first = [], 0
    for size, room in zip(sizes, rooms, strict=True):
        rows = slice(first, first + size)
        arrive = _arrival(room, {name: chance[rows] for name, chance in chances.items()})  # (S, A, n, S)
        move = (arrive * goes_on[rows].unsqueeze(-1)).mean(2).transpose(0, 1)
        own = reward[:, rows].transpose(1, 2)  # k s a -> k a s
        tables.append(LearnedTable(move.cpu().double().numpy(), own.cpu().double().numpy()))
        first += size
    return tables


def _filtered(model: PlannedModel, rooms: Sequence[States], actions: int, device: torch.device | str) -> State:
    """The posterior mode of an episode that begins in each state of all rooms, (N, ...)."""
    batch = {name: torch.from_numpy(np.concatenate([room[name] for room in rooms])).unsqueeze(1) for name in rooms[0]}
    n = len(next(iter(batch.values())))
    batch |= {"action": torch.zeros(n, 1, actions), "is_first": torch.ones(n, 1, dtype=torch.bool)}
    state = model.observe({name: value.to(device) for name, value in batch.items()}, mode=True).state
    return State(state.stoch[:, 0], state.deter[:, 0])


def _outcomes(model: PlannedModel, state: State, actions: int, samples: int) -> Tensor:
    """Features drawn from the prior after each action in each state, (N, A, n, F)."""
    n = len(state.deter)
    action = torch.eye(actions, device=state.deter.device).expand(n, -1, -1).flatten(0, 1)  # (n a) A
    before = State(state.stoch.repeat_interleave(actions, 0), state.deter.repeat_interleave(actions, 0))
    deter = model.rssm.transition(before, action)
    prior = model.rssm.prior(deter)  # (n a) latents classes
    drawn = model.rssm.sample(prior.unsqueeze(1).expand(-1, samples, -1, -1))  # (n a) samples stoch
    feature = torch.cat([drawn, deter.unsqueeze(1).expand(-1, samples, -1)], -1)
    return feature.unflatten(0, (n, actions))


def _varying(values: NDArray[Any]) -> NDArray[np.int64]:
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
        for variable in _varying(room[name]).tolist():
            value = torch.from_numpy(room[name][:, variable].astype(np.int64)).to(chance.device)
            total = total.to(chance.device) + chance[..., variable, :].index_select(-1, value)
    return total.exp()
