"""Episodes small enough to be written down whole: what ``tabular`` of a family returns, solved exactly.

Used by the families that offer it, by the checker, and by whoever values policies exactly. All is numpy. Of S states, A
actions, K tasks and T steps; values are undiscounted sums over what is left of the episode, as returns are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from waker_envs.predictions import WHOLE, categories
from waker_envs.successors import Floats, Successors, ahead, codes, reached, sums


class TabularMDP(NamedTuple):
    """The episode of one (seed, θ) as a finite-horizon decision process, all chance of its steps averaged out.

    Attributes:
        states: the observation in each state, with leading S: a dict of arrays (S, ...) by key, or one array where the
            observation is no Dict. No two are alike: what is seen tells the state. What is seen when an episode has
            ended is a state too, with moves and rewards of 0: a learned model may believe that it goes on from there.
        move: P(s' and the episode goes on | s, a), (A, S, S), or where few states may follow their
            :class:`~waker_envs.successors.Successors`; a row sums to less than 1 where the episode may end.
        reward: the expected reward of a step from s by a, for each task, (K, A, S).
        start: the state that the episode begins in.
        length: the steps T of its time limit.
    """

    states: Any
    move: Floats | Successors
    reward: Floats
    start: int
    length: int

    @property
    def size(self) -> int:
        """S."""
        return int(self.reward.shape[2])

    @property
    def ended(self) -> NDArray[np.bool_]:
        """The states that are seen only when an episode has ended, (S,): nothing leads to them, or from them."""
        nothing = (sums(self.move) == 0).all(0) & (np.asarray(self.reward) == 0).all((0, 1))
        begins = np.arange(self.size) == self.start
        return np.asarray(nothing & ~reached(self.move) & ~begins)


class Beginning(NamedTuple):
    """A table that episodes of one θ may have, and where they begin in it.

    Attributes:
        table: its own ``start`` means nothing.
        chance: P(an episode of θ has this table and begins in s), (S,); over all tables of a θ they sum to 1.
    """

    table: TabularMDP
    chance: Floats


def by_key(states: Any) -> dict[str, NDArray[Any]]:
    """The states of a :class:`TabularMDP` by key of the observation; one that is no Dict has the one key ``WHOLE``."""
    return {k: np.asarray(v) for k, v in states.items()} if isinstance(states, Mapping) else {WHOLE: np.asarray(states)}


def action_values(move: Floats | Successors, reward: Floats, length: int) -> Floats:
    """Optimal Q[t, k, a, s] by backward induction: the best sum of rewards from step t on, after a in s; (T, K, A, S).

    Args:
        move, reward, length: as in :class:`TabularMDP`.
    """
    q = np.empty((length, *reward.shape))
    value = np.zeros((reward.shape[0], reward.shape[2]))
    for t in reversed(range(length)):
        q[t] = reward + ahead(move, value)
        value = q[t].max(1)
    return q


def optimal_policy(move: Floats | Successors, reward: Floats, length: int) -> tuple[NDArray[np.int64], Floats]:
    """The first of the best actions of task k in state s with t steps made, (T, K, S), and what they earn, (K, S).

    As :func:`action_values`, whose T · K · A · S numbers a large table has no room for.
    """
    policy = np.empty((length, reward.shape[0], reward.shape[2]), np.int64)
    value = np.zeros((reward.shape[0], reward.shape[2]))
    for t in reversed(range(length)):
        q = reward + ahead(move, value)
        policy[t], value = q.argmax(1), q.max(1)
    return policy, value


def policy_values(move: Floats | Successors, reward: Floats, policy: NDArray[np.int64]) -> Floats:
    """Exact expected sums of rewards of a deterministic policy for each task and first state, (K, S).

    Args:
        move, reward: as in :class:`TabularMDP`.
        policy: the action of task k's policy in state s with t steps made, (T, K, S).
    """
    value = np.zeros((reward.shape[0], reward.shape[2]))
    for chosen in policy[::-1]:
        after = reward + ahead(move, value)  # (K, A, S)
        value = np.take_along_axis(after, chosen[:, None], 1)[:, 0]
    return value


def table_fault(table: Any, observation_space: gym.Space[Any], actions: int, tasks: int) -> str | None:
    """What is wrong with the form of a :class:`TabularMDP`, in one line; None if nothing is.

    Args:
        table: what a family returned.
        observation_space: the family's.
        actions, tasks: how many it has.
    """
    if not isinstance(table, TabularMDP):
        return f"it returned a {type(table).__name__} instead of a TabularMDP"
    reward, after = np.asarray(table.reward), None
    n = reward.shape[-1] if reward.ndim else 0
    if isinstance(table.move, Successors):
        after, move = np.asarray(table.move.after), np.asarray(table.move.chance)
        if after.shape != move.shape or after.dtype.kind not in "iu" or ((after < 0) | (after >= n)).any():
            return "the successors of its move must be numbers of states, one for each chance"
    else:
        move = np.asarray(table.move)
    wide = n if after is None or not after.ndim else after.shape[-1]
    for name, array, wanted in (("move", move, (actions, n, wide)), ("reward", reward, (tasks, actions, n))):
        if array.shape != wanted or not n:
            return f"its {name} has shape {array.shape}, where (A, S, S) and (K, A, S) have A = {actions}, K = {tasks}"
        if array.dtype.kind != "f" or not np.isfinite(array).all():
            return f"its {name} must be finite floats"
    if (move < 0).any() or (sums(move) > 1 + 1e-9).any():
        return "each row of its move must be probabilities that sum to 1 at most"
    if not 0 <= table.start < n or table.length < 1:
        return f"its start is {table.start} of {n} states, its length {table.length}"
    return _states_fault(table.states, observation_space, n)


def _states_fault(states: Any, observation_space: gym.Space[Any], n: int) -> str | None:
    classes, given = categories(observation_space), by_key(states)
    if set(given) != set(classes):
        return f"its states have keys {sorted(given)} where the observation has {sorted(classes)}"
    parts = dict(observation_space.spaces) if isinstance(observation_space, spaces.Dict) else {WHOLE: observation_space}
    for key, array in given.items():
        if array.shape != (n, *(parts[key].shape or ())):
            return f"key {key!r} of its states has shape {array.shape} instead of {(n, *(parts[key].shape or ()))}"
        if (counts := classes[key]) is not None and (
            (array < 0) | (array >= np.reshape(counts, array.shape[1:]))
        ).any():
            return f"key {key!r} of its states holds classes that the observation does not have"
        if counts is None and len(np.unique(array, axis=0)) > 1:
            return f"its states differ in key {key!r}, which is not categorical; leave the method out"
    seen = np.concatenate([array.reshape(n, -1) for key, array in given.items() if classes[key] is not None], 1)
    if len(np.unique(codes(seen))) < n:
        return "two of its states look alike; what is seen must tell the state"
    return None


def best_return(table: TabularMDP, arriving: NDArray[Any], ending: float | None = None) -> float:
    """The best expected return of an episode in a task that pays for the states it arrives in.

    Args:
        table: the episode.
        arriving: the reward of arriving in each state, (S,), as a function of ``table.states`` gives it.
        ending: the reward of a step that ends the episode before its time, which arrives in no state; None = there is
            none.

    Raises:
        ValueError: another shape; or the episode may end before its time, and ``ending`` is None.
    """
    earned = np.asarray(arriving, np.float64)
    if earned.shape != (table.size,):
        raise ValueError(f"rewards have shape {earned.shape}; the table has {table.size} states")
    reward, ends = ahead(table.move, earned[None]), 1.0 - ahead(table.move, np.ones((1, table.size)))
    if ending is None and abs(ends).max() > 1e-9:
        raise ValueError("the episode may end before its time: say what such a step pays, ending=…")
    _, value = optimal_policy(table.move, reward + ends * (ending or 0.0), table.length)
    return float(value[0, table.start])
