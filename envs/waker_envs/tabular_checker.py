"""The checker's part for tables: does ``tabular`` say what play then shows, do ``beginnings`` hold every episode's
table, and does ``deterministic`` say the truth?"""

from __future__ import annotations

import copy
import functools
import operator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from waker_envs.api import ParametricEnv, Theta
from waker_envs.successors import Floats, Successors, chances, is_certain
from waker_envs.tabular import Beginning, TabularMDP, by_key, optimal_policy, table_fault

_EPISODES = 50
"""Of each θ. Probabilities that are wrong by 0.2 show in some 150 steps."""
_FAR = 5.0
"""Standard errors beyond which frequencies are not those of the table: one chance in a million for a right one."""


def tabular_fault(env: Any, theta: Theta, seed: int) -> str | None:
    """What is wrong with ``env.tabular`` in episodes of random actions, in one line; None if nothing was found.

    Its form, its optimum against ``optimal_return`` where that is there, and against play: the start, which states
    follow and how often, ends, the time limit, and rewards where they are certain.

    Args:
        env: a :class:`~waker_envs.api.ParametricEnv` with the method and discrete actions.
    """
    surprise, variance = 0.0, 0.0
    walk: _Walk | None = None
    for own in range(seed, seed + _EPISODES):
        table = env.tabular(theta, own)
        if walk is None or not walk.shares(table):
            fault = table_fault(table, env.observation_space, int(getattr(env.action_space, "n", 0)), len(env.tasks))
            if fault is not None:
                return f"tabular(θ, {own}): {fault}"
            walk = _Walk(table)
        found = walk.play(env, theta, own, table.start)
        if isinstance(found, str):
            return f"tabular(θ, {own}): {found}"
        surprise, variance = surprise + found[0], variance + found[1]
        if (fault := _optimum_fault(env, theta, own, walk.best[:, table.start])) is not None:
            return fault
    if abs(surprise) > _FAR * np.sqrt(variance) + 1e-6:
        return (
            f"tabular(…): in {_EPISODES} episodes the likeliest next states were met {surprise:+.1f} times too often, "
            f"where chance makes ±{np.sqrt(variance):.1f}; its move must be the probabilities of play"
        )
    return None


def beginnings_fault(env: Any, theta: Theta, seed: int) -> str | None:
    """What is wrong with ``env.beginnings`` beside ``env.tabular``, in one line; None if nothing was found.

    Every episode's table and start must be among them, and the optimum over them must be that of episodes.

    Args:
        env: a :class:`~waker_envs.api.ParametricEnv` with both methods.
    """
    given = list(env.beginnings(theta))
    for number, begun in enumerate(given):
        if not isinstance(begun, Beginning):
            return f"beginnings(θ) holds a {type(begun).__name__} instead of a Beginning"
        actions, tasks = int(getattr(env.action_space, "n", 0)), len(env.tasks)
        if (fault := table_fault(begun.table, env.observation_space, actions, tasks)) is not None:
            return f"table {number} of beginnings(θ): {fault}"
        if np.shape(begun.chance) != (begun.table.size,) or (np.asarray(begun.chance) < 0).any():
            return f"the chances of table {number} of beginnings(θ) must be a probability for each of its states"
    total = float(sum(np.sum(begun.chance) for begun in given))
    if abs(total - 1.0) > 1e-9:
        return f"the chances of beginnings(θ) sum to {total:g} instead of 1"
    best = [optimal_policy(begun.table.move, begun.table.reward, begun.table.length)[1] for begun in given]
    met = []
    for own in range(seed, seed + _EPISODES):
        table = env.tabular(theta, own)
        at = next((i for i, begun in enumerate(given) if _same(begun.table, table)), None)
        if at is None or given[at].chance[table.start] <= 0:
            return f"tabular(θ, {own}) is a table, or begins in a state, to which beginnings(θ) give probability 0"
        met.append(best[at][:, table.start])
    expected = sum(value @ begun.chance for value, begun in zip(best, given, strict=True))
    spread = np.std(met, 0, ddof=1) / np.sqrt(_EPISODES)
    if (np.abs(np.mean(met, 0) - expected) > _FAR * spread + 1e-6).any():
        return (
            f"the optima of {_EPISODES} episodes are {np.mean(met, 0)} in the mean, where by beginnings(θ) they are "
            f"{expected}; its chances must be those of episodes"
        )
    return None


def _same(one: TabularMDP, other: TabularMDP) -> bool:
    """Whether two tables are equal but for their start."""
    pairs = zip(_arrays(one), _arrays(other), strict=False)
    return len(_arrays(one)) == len(_arrays(other)) and all(np.array_equal(a, b) for a, b in pairs)


def _optimum_fault(env: Any, theta: Theta, seed: int, best: Floats) -> str | None:
    """Args: best: of each task from the start, (K,)."""
    if not hasattr(env, "optimal_return"):
        return None
    for task, ours in zip(env.tasks, best.tolist(), strict=True):
        try:
            value = float(env.optimal_return(theta, task, seed))
        except NotImplementedError:
            return None
        if abs(value - ours) > 1e-6 * max(1.0, abs(value)):
            return (
                f"tabular(θ, {seed}) has the optimum {ours:g} for task {task!r}, where optimal_return(θ, {task!r}, "
                f"{seed}) is {value:g}; one of them is wrong"
            )
    return None


class _Walk:
    """Episodes of random actions beside their table, which a family may share between them."""

    def __init__(self, table: TabularMDP) -> None:
        self.table = table
        states = by_key(table.states)
        self.numbers = {_seen({k: v[s] for k, v in states.items()}): s for s in range(table.size)}

    def shares(self, table: TabularMDP) -> bool:
        """Whether another episode has the same table, but for its start, in the same memory."""
        return len(ours := _arrays(self.table)) == len(theirs := _arrays(table)) and all(
            map(operator.is_, ours, theirs)
        )

    @functools.cached_property
    def best(self) -> Floats:
        """The optimum of each task from each state, (K, S)."""
        return optimal_policy(self.table.move, self.table.reward, self.table.length)[1]

    def play(self, env: Any, theta: Theta, seed: int, start: int) -> str | tuple[float, float]:
        """A fault; or how much oftener than expected the likeliest successors were met, and the variance of that."""
        observation, _ = env.reset(seed=seed, options={"theta": theta})
        at = self.numbers.get(_seen(by_key(observation)))
        if at is None or at != start:
            return "the episode begins in another state than its start"
        env.action_space.seed(seed)
        surprise, variance = 0.0, 0.0
        for t in range(1, self.table.length + 1):
            action = int(env.action_space.sample())
            observation, _, terminated, truncated, info = env.step(action)
            row = chances(self.table.move, action, at)
            likely = int(row.argmax())
            seen = self.numbers.get(_seen(by_key(observation)))
            after = None if terminated else seen
            chance = 1.0 - row.sum() if terminated else 0.0 if after is None else row[after]
            if chance <= 1e-9:
                what = "an end" if terminated else "a state" if after is not None else "what is none of its states"
                return f"step {t} leads to {what} to which it gives probability 0; it must know all that can happen"
            if seen is None:
                return (
                    f"the episode ended after step {t} with an observation that is none of its states; add it, with "
                    "moves and rewards of 0: a plan in a learned model must not be told where episodes end"
                )
            if row[likely] >= 1.0 - 1e-9 or row.sum() <= 1e-9:
                expected = self.table.reward[:, action, at]
                if not np.allclose(info["task_rewards"], expected, atol=1e-5):
                    return f"step {t}, which is certain, earns {info['task_rewards']}, where it says {expected}"
            surprise += float(after == likely) - row[likely]
            variance += row[likely] * (1.0 - row[likely])
            if terminated or truncated:
                early = truncated and not terminated and t < self.table.length
                return (
                    f"the time limit came after {t} steps, where it says {self.table.length}"
                    if early
                    else (
                        surprise,
                        variance,
                    )
                )
            assert after is not None  # an end has returned, and what is none of the states
            at = after
        return f"the episode goes on after its length of {self.table.length} steps"


def _arrays(table: TabularMDP) -> list[Any]:
    """All that a table says but for its start."""
    moves = table.move if isinstance(table.move, Successors) else [table.move]
    return [*moves, table.reward, *by_key(table.states).values(), table.length]


def _seen(observation: Any) -> tuple[Any, ...]:
    """An observation by key as something that can be looked up."""
    return tuple((key, np.asarray(value).astype(np.float64).tobytes()) for key, value in sorted(observation.items()))


def deterministic_fault(env: ParametricEnv, theta: Theta, seed: int) -> str | None:
    """What is wrong with ``env.deterministic``, in one line; None if nothing was found.

    Where it says True, an episode is played twice from one beginning with other dice: ``np_random`` is replaced after
    reset. Dice that an episode draws when it begins are found by its table alone.
    """
    asked: Any = env
    certain = asked.deterministic(theta)
    if not isinstance(certain, bool | np.bool_):
        return f"deterministic(θ) returns {certain!r}; return True or False"
    if not certain:
        return None
    first, second = (_rolled(env, theta, seed, dice) for dice in (1, 2))
    if first != second:
        return "deterministic(θ) is True, but two episodes that begin alike differ when np_random does; return False"
    if hasattr(env, "tabular"):
        try:
            move = asked.tabular(theta, seed).move
        except NotImplementedError:
            return None
        if not is_certain(move):
            return "deterministic(θ) is True, but tabular(θ, seed) has moves that are not certain; return False"
    return None


def _rolled(env: ParametricEnv, theta: Theta, seed: int, dice: int) -> list[bytes]:
    """What an episode of random actions shows after its beginning, with dice of its own."""
    env.reset(seed=seed, options={"theta": theta})
    env.np_random = np.random.default_rng(dice)
    env.action_space.seed(seed)
    shown: list[bytes] = []
    for _ in range(64):
        observation, _, terminated, truncated, info = env.step(env.action_space.sample())
        parts: list[NDArray[Any]] = [*by_key(copy.deepcopy(observation)).values(), info["task_rewards"]]
        shown += [part.tobytes() for part in parts]
        if terminated or truncated:
            break
    return shown
