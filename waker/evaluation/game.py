"""Episodes of task policies, played side by side: one policy call a step serves all slots.

Made by :mod:`waker.evaluation.rollouts`, which knows what is to be played. Between two steps a game can be saved, and
another one goes on from there: the episodes under way are fixed by (seed, θ) and their actions, and played again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from waker.analysis.regret import EXACT
from waker.behaviour.player import chance_of
from waker.collection.slot import checked_observation, checked_rewards, tell_cut
from waker.errors import UserError
from waker.evaluation.exact import Exact
from waker.evaluation.failures import guarded
from waker.evaluation.plan import Episode, theta_columns
from waker.protocols import Player
from waker.specs import EnvSpec, completion_of
from waker.torch_globals import torch_unchanged
from waker_envs.api import ParametricEnv, ThetaSpace

Row = dict[str, Any]
RewardFunction = Callable[[Mapping[str, NDArray[Any]]], NDArray[np.float32]]
"""A task defined after the run: observations with leading (B, T) to rewards (B, T)."""


class NotRepeated(Exception):
    """An episode that was played again did not come out as it was; says which one."""


@dataclass
class _Slot:
    """One environment, the (episode, task) it plays, by number (−1 = none), and the stack member that acts in it."""

    env: ParametricEnv
    job: int = -1
    member: int = 0
    observation: dict[str, NDArray[Any]] = field(default_factory=dict)
    first: bool = True
    total: float = 0.0
    actions: list[NDArray[np.float32]] = field(default_factory=list)
    seen: list[dict[str, NDArray[Any]]] = field(default_factory=list)


@dataclass
class _Ended:
    """How an episode ended: the task's completion, NaN if there is none."""

    completion: float


class Game:
    """All jobs over the slots; a slot that ends its episode takes the next job.

    Args:
        player: its ``names`` hold every job's task.
        envs: one a slot.
        jobs: (episode, task) to play.
        rewards: reward functions of tasks that the environment does not have.
        policy: the rows' ``policy`` column.
        exact: asked for each episode's optimum.
        sampled: act by actions drawn from the policies, not by their modes.
    """

    def __init__(
        self,
        player: Player,
        envs: Sequence[ParametricEnv],
        spec: EnvSpec,
        space: ThetaSpace,
        jobs: Sequence[tuple[Episode, str]],
        rewards: Mapping[str, RewardFunction],
        policy: str,
        exact: Exact,
        sampled: bool = False,
    ) -> None:
        self._player, self._spec, self._space, self._jobs = player, spec, space, jobs
        self._rewards, self._policy, self._exact = rewards, policy, exact
        self._slots = [_Slot(env) for env in envs]
        self._rows: dict[int, Row] = {}  # by job
        self._next = 0  # job
        self._told_cut = self._begun = False
        self._sampled, self._certain = sampled, not sampled and not chance_of(player)  # certain: by its modes alone
        self._state = player.initial(len(envs))

    @property
    def rows(self) -> list[Row]:
        """The rows of all ended episodes, in the jobs' order."""
        return [self._rows[job] for job in sorted(self._rows)]

    @property
    def running(self) -> bool:
        """Whether there is something left to play."""
        return not self._begun or any(slot.job >= 0 for slot in self._slots)

    def progress(self) -> str:
        """How far it is."""
        return f"{len(self._rows):,} of {len(self._jobs):,} episodes of {self._policy} policies"

    def step(self) -> None:
        """One step of every slot.

        Raises:
            UserError: an environment failed.
        """
        if not self._begun:
            for slot in self._slots:
                self._begin(slot)
            self._begun = True
        # A slot without work repeats its last observation, so that the policy's batch keeps one shape.
        batch = {k.name: np.stack([slot.observation[k.name] for slot in self._slots]) for k in self._spec.observation}
        first = np.array([slot.first for slot in self._slots])
        members = np.array([slot.member for slot in self._slots], np.int64)
        actions, self._state = self._player.act(batch, first, self._state, members, not self._sampled)
        for slot, action in zip(self._slots, actions, strict=True):
            if slot.job >= 0 and (ended := self._step(slot, action)) is not None:
                self._rows[slot.job] = self._row(slot, ended)
                self._begin(slot)

    def state_dict(self) -> dict[str, Any]:
        """Everything that another game of the same jobs needs to go on."""
        dim = self._spec.action.dim
        slots = [
            {
                "job": slot.job,
                "member": slot.member,
                "first": slot.first,
                "observation": dict(slot.observation),
                "actions": np.array(slot.actions, np.float32).reshape(len(slot.actions), dim),
            }
            for slot in self._slots
        ]
        return {
            "begun": self._begun,
            "next": self._next,
            "rows": [[job, row] for job, row in self._rows.items()],
            "slots": slots,
            "player": {name: value.cpu() for name, value in self._state.items()},
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from :meth:`state_dict`: play the episodes under way again up to where they were.

        Raises:
            NotRepeated: the environment is not fixed by seed, θ and actions.
        """
        self._begun, self._next = bool(state["begun"]), int(state["next"])
        self._rows = {int(job): dict(row) for job, row in state["rows"]}
        for slot, saved in zip(self._slots, state["slots"], strict=True):
            slot.job, slot.member, slot.first = int(saved["job"]), int(saved["member"]), bool(saved["first"])
            slot.observation = dict(saved["observation"])
            if slot.job >= 0 and not self._repeated(slot, saved["actions"]):
                episode = self._jobs[slot.job][0]
                raise NotRepeated(
                    f"{self._spec.env_id} did not repeat its episode (seed {episode.seed}, θ = "
                    f"{self._space.format(episode.theta)})"
                )
        now = self._state
        self._state = {name: value.to(now[name].device) for name, value in state["player"].items()}

    def _repeated(self, slot: _Slot, actions: NDArray[np.float32]) -> bool:
        """Play a slot's episode again; whether it is as its observation said."""
        was = slot.observation
        try:
            self._reset(slot)
            ended = [self._step(slot, action) is not None for action in actions]
        except UserError:  # it did not fail before
            return False
        return not any(ended) and all(np.array_equal(slot.observation[key], was[key]) for key in was)

    def _begin(self, slot: _Slot) -> None:
        """Give a slot the next job, if there is one."""
        slot.job = self._next if self._next < len(self._jobs) else -1
        if slot.job >= 0:
            self._next += 1
            slot.member = self._player.names.index(self._jobs[slot.job][1])
            self._reset(slot)

    def _reset(self, slot: _Slot) -> None:
        episode = self._jobs[slot.job][0]
        with torch_unchanged(f"a reset of {self._spec.env_id}"), guarded(self._spec, episode, ()):
            observation, _ = slot.env.reset(seed=episode.seed, options={"theta": episode.theta.copy()})
            slot.observation = checked_observation(self._spec, observation)
        slot.first, slot.total, slot.actions, slot.seen = True, 0.0, [], []

    def _step(self, slot: _Slot, action: NDArray[np.float32]) -> _Ended | None:
        """One step of one slot; how its episode ended, if it did."""
        (episode, task), spec = self._jobs[slot.job], self._spec
        slot.actions.append(np.array(action))
        watched = torch_unchanged(f"a step of {spec.env_id}", whole=slot.first)
        with watched, guarded(spec, episode, slot.actions):
            observation, _, terminated, truncated, info = slot.env.step(spec.action.to_env(action))
            slot.observation = checked_observation(spec, observation)
            checked_rewards(spec, info)
            received = np.asarray(info["task_rewards"], np.float64)
            over = bool(terminated or truncated)
            cut = not over and len(slot.actions) >= spec.longest > 0
            completion = completion_of(info, spec.task_labels) if over or cut else None
        slot.first = False
        if task in self._rewards:
            slot.seen.append(slot.observation)
        if task in spec.tasks:
            slot.total += float(received[spec.tasks.index(task)])
        if cut and not self._told_cut:
            tell_cut(spec, episode.seed, episode.theta)
            self._told_cut = True
        if completion is None:
            return None
        return _Ended(float(completion[spec.tasks.index(task)]) if task in spec.tasks else np.nan)

    def _row(self, slot: _Slot, ended: _Ended) -> Row:
        episode, task = self._jobs[slot.job]
        total = slot.total
        if task in self._rewards:
            seen = {k.name: np.stack([o[k.name] for o in slot.seen])[None] for k in self._spec.observation}
            total = float(np.sum(self._rewards[task](self._spec.labelled(seen)), dtype=np.float64))
        return {
            "task": task,
            "policy": self._policy,
            "suite": episode.suite,
            "theta_id": episode.theta_id,
            **theta_columns(self._space, episode.theta),
            "episode_seed": episode.seed,
            "return": total,
            EXACT: total if self._certain and self._exact.deterministic(slot.env, episode) else np.nan,
            "completion": ended.completion,
            "optimal_return": self._exact.optimal_return(slot.env, task, episode),
            "length": len(slot.actions),
        }
