"""Episodes of task policies over domain randomisation and the suites, as tidy rows.

Called by ``waker evaluate`` and by the loop's evaluation block. All tasks run at once: the environment slots are
stepped together and one policy call serves them all, each slot naming the stack member that acts in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from waker.config import EvalConfig
from waker.errors import unknown
from waker.evaluation.failures import failed
from waker.evaluation.plan import Episode, plan_episodes, theta_columns
from waker.learner import Player
from waker.slots import checked_observation, checked_rewards
from waker.spaces import EnvSpec, completion_of
from waker_envs.api import ParametricEnv, ThetaSpace

Row = dict[str, Any]
MakeEnv = Callable[..., ParametricEnv]
RewardFunction = Callable[[Mapping[str, NDArray[Any]]], NDArray[np.float32]]
"""A task defined after the run: observations with leading (B, T) to rewards (B, T)."""


@contextmanager
def torch_seed(seed: int) -> Iterator[None]:
    """Torch's generators seeded inside, restored after: measuring never changes what training draws next."""
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices=devices), torch.no_grad():
        torch.manual_seed(seed)
        yield


@dataclass
class _Slot:
    """One environment and the (episode, task) it plays."""

    env: ParametricEnv
    job: int = -1
    observation: dict[str, NDArray[Any]] = field(default_factory=dict)
    first: bool = True
    total: float = 0.0
    actions: list[NDArray[np.float32]] = field(default_factory=list)
    seen: list[dict[str, NDArray[Any]]] = field(default_factory=list)

    @property
    def length(self) -> int:
        """Agent steps of the episode so far."""
        return len(self.actions)


def evaluate(
    player: Player,
    make_env: MakeEnv,
    spec: EnvSpec,
    space: ThetaSpace,
    config: EvalConfig,
    seed: int,
    tasks: Sequence[str],
    *,
    slots: int = 32,
    policy: str = "learned",
    rewards: Mapping[str, RewardFunction] | None = None,
) -> list[Row]:
    """Play the DR suite and every other suite with every task's deterministic policy.

    In a family of several domains a task is played in its own alone: on DR restricted to it, and on its suites.

    Args:
        player: its ``names`` must hold every task.
        make_env: makes an environment, ``make_env(**env_kwargs)`` with a suite's own arguments.
        spec: of the environment.
        space: the family's parameters.
        config: how many episodes.
        seed: fixes every (θ, episode seed), the same for all tasks and players, and the policies' chance.
        tasks: to evaluate; names of the environment's tasks or of ``rewards``.
        slots: environments stepped together.
        policy: the rows' ``policy`` column, e.g. ``random`` for a reference.
        rewards: reward functions of tasks that the environment does not have.

    Returns:
        One row for each (episode, task): task, policy, suite, theta_id, theta_<name>…, episode_seed, return
        (undiscounted sum), completion (NaN if the environment reports none), optimal_return (NaN where it cannot
        be computed), length in agent steps.

    Raises:
        UserError: a task that the player or the environment does not have; an environment that fails.
    """
    rewards = rewards or {}
    for task in tasks:
        if task not in player.names:
            raise unknown("task", task, player.names)
        if task not in spec.tasks and task not in rewards:
            raise unknown("task", task, [*spec.tasks, *rewards])
    alike: dict[str, list[tuple[Episode, str]]] = {}  # jobs by what their environments are made with
    for domain in dict.fromkeys(map(spec.domain_of, tasks)):
        of_domain = [task for task in tasks if spec.domain_of(task) == domain]
        for episode in plan_episodes(space, config, seed, domain):
            made = alike.setdefault(repr(sorted(episode.env_kwargs.items())), [])
            made += [(episode, task) for task in of_domain]
    rows: list[Row] = []
    with torch_seed(seed):
        for jobs in alike.values():
            envs = [make_env(**jobs[0][0].env_kwargs) for _ in range(min(slots, len(jobs)))]
            try:
                rows += _play(player, envs, spec, space, jobs, rewards, policy)
            finally:
                for env in envs:
                    env.close()
    return rows


def _play(
    player: Player,
    envs: Sequence[ParametricEnv],
    spec: EnvSpec,
    space: ThetaSpace,
    jobs: Sequence[tuple[Episode, str]],
    rewards: Mapping[str, RewardFunction],
    policy: str,
) -> list[Row]:
    """Play all jobs over the slots; a slot that ends its episode takes the next job. Rows in the jobs' order."""
    rows: list[Row | None] = [None] * len(jobs)
    slots = [_Slot(env) for env in envs]
    waiting = iter(range(len(jobs)))
    members = np.zeros(len(slots), np.int64)
    for s, slot in enumerate(slots):
        _begin(slot, next(waiting), jobs, spec)
        members[s] = player.names.index(jobs[slot.job][1])
    state = player.initial(len(slots))
    while any(slot.job >= 0 for slot in slots):
        # A slot without work repeats its last observation, so that the policy's batch keeps one shape.
        batch = {k.name: np.stack([slot.observation[k.name] for slot in slots]) for k in spec.observation}
        first = np.array([slot.first for slot in slots])
        actions, state = player.act(batch, first, state, members, True)
        for s, slot in enumerate(slots):
            if slot.job < 0:
                continue
            episode, task = jobs[slot.job]
            info, ended = _step(slot, actions[s], spec, episode, task)
            if not ended:
                continue
            if task in rewards:
                seen = {k.name: np.stack([o[k.name] for o in slot.seen])[None] for k in spec.observation}
                slot.total = float(np.sum(rewards[task](seen)))
            rows[slot.job] = _row(slot, episode, task, info, space, policy)
            following = next(waiting, -1)
            if following < 0:
                slot.job = -1
            else:
                _begin(slot, following, jobs, spec)
                members[s] = player.names.index(jobs[following][1])
    return [row for row in rows if row is not None]


def _begin(slot: _Slot, job: int, jobs: Sequence[tuple[Episode, str]], spec: EnvSpec) -> None:
    episode, _ = jobs[job]
    try:
        observation, _ = slot.env.reset(seed=episode.seed, options={"theta": episode.theta.copy()})
        slot.observation = checked_observation(spec, observation)
    except Exception as error:  # environments are other people's code: any exception may come
        raise failed(spec, episode, (), error) from error
    slot.job, slot.first, slot.total, slot.actions, slot.seen = job, True, 0.0, [], []


def _step(
    slot: _Slot, action: NDArray[np.float32], spec: EnvSpec, episode: Episode, task: str
) -> tuple[dict[str, Any], bool]:
    """One step of one slot; its info and whether the episode ended."""
    slot.actions.append(action.copy())
    try:
        observation, _, terminated, truncated, info = slot.env.step(spec.action.to_env(action))
        slot.observation = checked_observation(spec, observation)
        checked_rewards(spec, info)
        received = np.asarray(info["task_rewards"], np.float64)
    except Exception as error:
        raise failed(spec, episode, slot.actions, error) from error
    slot.first = False
    slot.seen.append(slot.observation)
    if task in spec.tasks:
        slot.total += float(received[spec.tasks.index(task)])
    return info, terminated or truncated


def _row(slot: _Slot, episode: Episode, task: str, info: Mapping[str, Any], space: ThetaSpace, policy: str) -> Row:
    env: Any = slot.env.unwrapped
    exact = task in env.tasks and hasattr(env, "optimal_return")
    return {
        "task": task,
        "policy": policy,
        "suite": episode.suite,
        "theta_id": episode.theta_id,
        **theta_columns(space, episode.theta),
        "episode_seed": episode.seed,
        "return": slot.total,
        "completion": float(completion_of(info, env.tasks)[env.tasks.index(task)]) if task in env.tasks else np.nan,
        "optimal_return": float(env.optimal_return(episode.theta, task, episode.seed)) if exact else np.nan,
        "length": slot.length,
    }
