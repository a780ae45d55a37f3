"""What a world model believes of rooms of many states: for each (state, action) the likeliest next state.

Called by :mod:`waker.evaluation.planned` for families whose tables name successors
(:class:`waker_envs.successors.Successors`). As :mod:`waker.evaluation.learned_table`, which has the probability of
every pair of states; here each pair is asked about once. n states of a room at once, A actions, K tasks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from waker.evaluation.learned_table import PlannedModel, States, filtered, origins, outcomes, varying_in
from waker.specs import ObservationKey
from waker_envs.successors import Floats, Numbers, Successors

AT_ONCE = 1024
"""Steps decoded at once: a board's states fill the cache sooner than a vector's."""


class LearnedSuccessors(NamedTuple):
    """A model's table of one room: ``move`` and ``reward`` (K, A, S) as in a ``TabularMDP``."""

    move: Successors
    reward: Floats


@torch.no_grad()
def learned_successors(
    model: PlannedModel,
    keys: Sequence[ObservationKey],
    room: States,
    actions: int,
    device: torch.device | str = "cpu",
) -> LearnedSuccessors:
    """Ask the model about every (state, action) of a room, some thousand at a time.

    A state is the mode of the posterior of a filter that begins there. After each action stands the mode of the prior,
    decoded to the likeliest class of every variable in which the room's states differ: it moves to the state that looks
    so, with the probability that the episode goes on. What looks like none of the states is lost, as if the episode
    ended: nothing is earned there.

    Modes, because a sample or two of a prior that is nearly sure have errors that a plan goes for: of ten thousand
    states some would seem to be next to every goal.

    Args:
        model: on ``device``.
        keys: of the observation.
        room: the states; they differ in no key that is not categorical.
        actions: A.
    """
    size = len(next(iter(room.values())))
    varying = [(key.name, differing) for key in keys if (differing := varying_in(room[key.name])).size]
    numbers = Numbers(np.concatenate([room[name][:, differing] for name, differing in varying], 1)) if varying else None
    after: list[NDArray[np.int64]] = []
    cont: list[Tensor] = []
    rewards: list[Tensor] = []
    at_once = max(1, AT_ONCE // actions)
    for first in range(0, size, at_once):
        part = {name: values[first : first + at_once] for name, values in room.items()}
        state = filtered(model, [part], actions, device)
        feature = outcomes(model, state, actions, 1, mode=True)  # n a 1 F
        before, action = origins(state, actions, 1)
        rewards.append(model.rewards.earned(before, action, feature).squeeze(-1))  # k n a
        feature = feature.squeeze(2)
        cont.append(model.continue_probability(feature))
        if numbers is None:
            after.append(np.zeros(feature.shape[:2], np.int64))
            continue
        decoded = model.decoder(feature)
        seen = [
            model.decoder.layout(name).log_probabilities(decoded[name])[..., differing, :].argmax(-1)
            for name, differing in varying
        ]
        rows = torch.cat(seen, -1).cpu().numpy()  # n a v
        after.append(numbers.of(rows.reshape(-1, rows.shape[-1])).reshape(rows.shape[:2]))
    found = np.concatenate(after).T[..., None]  # s a -> a s 1
    chance = torch.cat(cont).T.unsqueeze(-1).cpu().double().numpy()
    reward = torch.cat(rewards, 1).transpose(1, 2).cpu().double().numpy()  # k s a -> k a s
    return LearnedSuccessors(Successors(found.clip(0), np.where(found >= 0, chance, 0.0)), reward)
