"""The checker's part for ``neutral_edits``: are they states of the family, and do they leave rewards alone?

Rewards cannot be asked for of a state that somebody made up. But many an edited room is met in play, of another θ or
another episode: where an edited step has been played, it must have earned there what it earned before the edit.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from waker_envs.api import Theta
from waker_envs.played import Episode, play
from waker_envs.tabular import by_key

_EPISODES = 4
"""Of each θ."""
_OTHERS = 6
"""θ beside the one that is looked at, in whose episodes edited steps are looked for."""
States = dict[str, NDArray[Any]]
Step = tuple[bytes, bytes]


def edits_fault(env: Any, theta: Theta, seed: int) -> str | None:
    """What is wrong with ``env.neutral_edits`` in episodes of random actions, in one line; None if nothing was found.

    Args:
        env: a :class:`~waker_envs.api.ParametricEnv` with the method.
    """
    episodes = _played(env, theta, seed)
    others = [*env.theta_space.neighbours(theta)][:_OTHERS]
    others += [*env.theta_space.sample(np.random.default_rng(seed), _OTHERS)]
    known = [*episodes, *(episode for other in others for episode in _played(env, other, seed))]
    for k, task in enumerate(env.tasks):
        earned = _earned(known, k)
        for episode in episodes:
            if (fault := _fault(env, task, k, episode, earned)) is not None:
                return f"neutral_edits({task!r}, states): {fault}"
    return None


def _played(env: Any, theta: Theta, seed: int) -> list[Episode]:
    return [play(env, theta, own) for own in range(seed, seed + _EPISODES)]


def states_of(episode: Episode) -> States:
    """An episode's T + 1 observations by key, (T + 1, …)."""
    each = [by_key(observation) for observation in episode.observations]
    return {name: np.stack([one[name] for one in each]) for name in each[0]}


def _steps(states: Mapping[str, NDArray[Any]]) -> list[Step]:
    """What is seen before and after each of T steps."""
    ticks = len(next(iter(states.values())))
    seen = [b"|".join(np.ascontiguousarray(states[name][t]).tobytes() for name in sorted(states)) for t in range(ticks)]
    return list(zip(seen, seen[1:], strict=False))


def _earned(episodes: list[Episode], task: int) -> dict[Step, float]:
    """What steps earned in play; without those that earned now this, now that."""
    found: dict[Step, float] = {}
    varying = set[Step]()
    for episode in episodes:
        for step, rewards in zip(_steps(states_of(episode)), episode.task_rewards, strict=True):
            reward = float(rewards[task])
            if found.setdefault(step, reward) != reward:
                varying.add(step)
    return {step: reward for step, reward in found.items() if step not in varying}


def _fault(env: Any, task: str, k: int, episode: Episode, earned: Mapping[Step, float]) -> str | None:
    states = states_of(episode)
    before = {name: array.copy() for name, array in states.items()}
    found = env.neutral_edits(task, states)
    if any(not np.array_equal(states[name], before[name]) for name in states):
        return "it changes the states that it is given; work on copies"
    if not isinstance(found, Mapping):
        return f"it returns a {type(found).__name__} instead of a dict of edits by name"
    for name, edited in found.items():
        if (fault := _form_fault(env, states, edited)) is not None:
            return f"edit {name!r}: {fault}"
        for t, (step, rewards) in enumerate(zip(_steps(edited), episode.task_rewards, strict=True), 1):
            if (reward := earned.get(step)) is not None and reward != float(rewards[k]):
                return (
                    f"edit {name!r} changes the reward: step {t} earned {float(rewards[k]):g}, and as it is edited it "
                    f"earns {reward:g} in play; offer only what leaves every reward of {task!r} as it is"
                )
    return None


def _form_fault(env: Any, states: States, edited: Any) -> str | None:
    if not isinstance(edited, Mapping) or set(edited) != set(states):
        return f"it must have the keys {sorted(states)} of the observation"
    for name, array in states.items():
        if np.shape(edited[name]) != array.shape or np.asarray(edited[name]).dtype != array.dtype:
            given = np.asarray(edited[name])
            return f"key {name!r} is {given.dtype} {given.shape} where {array.dtype} {array.shape} was given"
    if all(np.array_equal(edited[name], array) for name, array in states.items()):
        return "it changes nothing; leave it out where it does not apply"
    for t in range(len(next(iter(states.values())))):
        state = {name: np.asarray(edited[name])[t] for name in states}
        if not env.observation_space.contains(state if _is_dict(env) else next(iter(state.values()))):
            return f"state {t} is not in the observation space"
    return None


def _is_dict(env: Any) -> bool:
    return hasattr(env.observation_space, "spaces")
