"""Episodes of task policies, played side by side: one policy call a step serves all slots.

Made by :mod:`waker.evaluation.rollouts`, which knows what is to be played. Between two steps a game can be saved, and
another one continues from there: the episodes under way are fixed by (seed, θ) and their actions, and played again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from waker.analysis.regret import EXACT
from waker.behaviour.player import chance_of
from waker.collection.episode import EnvironmentFailed, Episode
from waker.collection.family import Family
from waker.collection.slot import Step, warn_cut
from waker.collection.slot_group import SlotGroup
from waker.evaluation.exact import Exact
from waker.protocols import Player
from waker.replay.relabel import actions_of
from waker.storage.tables import Row

RewardFunction = Callable[[Mapping[str, NDArray[Any]], NDArray[Any]], NDArray[np.float32]]
"""A task defined after the run: observations with leading (B, T), and actions as the environment takes them, to rewards
(B, T). Its attribute ``optimal_return``, where it has one, is :data:`waker.replay.task.Optimum`."""
Job = tuple[Episode, str]
"""An episode and the task whose policy plays it."""


class NotRepeated(Exception):
    """An episode that was played again differs from the saved one; says which one."""


@dataclass
class _Seat:
    """A slot's job by number (−1 = none), the stack member that acts, and what it has seen since the reset.

    ``seen`` holds all observations after the reset, where the task's reward is a function of them.
    """

    job: int = -1
    member: int = 0
    observation: dict[str, NDArray[Any]] = field(default_factory=dict)
    first: bool = True
    seen: list[dict[str, NDArray[Any]]] = field(default_factory=list)


class Game:
    """All jobs over the slots; a slot that ends its episode takes the next job.

    Args:
        player: its ``names`` hold every job's task.
        family: of the environments.
        slots: they are made with what the jobs' episodes ask for.
        jobs: to play.
        rewards: reward functions of tasks that the environment does not have.
        judged: the environment's task that another one is judged by.
        policy: the rows' ``policy`` column.
        exact: gives each episode's optimum.
        sampled: act by actions drawn from the policies, not by their modes.
    """

    def __init__(
        self,
        player: Player,
        family: Family,
        slots: SlotGroup,
        jobs: Sequence[Job],
        rewards: Mapping[str, RewardFunction],
        policy: str,
        exact: Exact,
        sampled: bool = False,
        judged: Mapping[str, str] | None = None,
    ) -> None:
        self._player, self._family, self._spec, self._slots, self._jobs = player, family, family.spec, slots, jobs
        self._rewards, self._policy, self._exact, self._judged = rewards, policy, exact, judged or {}
        self._seats = [_Seat() for _ in slots.plays]
        self._rows: dict[int, Row] = {}  # by job
        self._next = 0  # job
        self._warned_cut = self._begun = False
        self._sampled, self._certain = sampled, not sampled and not chance_of(player)  # certain: by its modes alone
        self._state = player.initial(len(self._seats))

    @property
    def rows(self) -> list[Row]:
        """The rows of all ended episodes, in the jobs' order."""
        return [self._rows[job] for job in sorted(self._rows)]

    @property
    def running(self) -> bool:
        """Whether there is something left to play."""
        return not self._begun or any(seat.job >= 0 for seat in self._seats)

    def progress(self) -> str:
        """How far it is."""
        return f"{len(self._rows):,} of {len(self._jobs):,} episodes of {self._policy} policies"

    def step(self) -> None:
        """One step of every slot.

        Raises:
            EnvironmentFailed: an environment failed.
        """
        if not self._begun:
            self._begin(range(len(self._seats)))
            self._begun = True
        # A slot without work repeats its last observation, so that the policy's batch keeps one shape.
        batch = {k.name: np.stack([seat.observation[k.name] for seat in self._seats]) for k in self._spec.observation}
        first = np.array([seat.first for seat in self._seats])
        members = np.array([seat.member for seat in self._seats], np.int64)
        actions, self._state = self._player.act(batch, first, self._state, members, not self._sampled)
        playing = {i: actions[i] for i, seat in enumerate(self._seats) if seat.job >= 0}
        ended = []
        for i, step in self._slots.advance({}, playing).items():
            self._see(i, step)
            if step.cut and not self._warned_cut:
                warn_cut(self._spec, self._slots.plays[i].episode)
                self._warned_cut = True
            if step.ended:
                self._rows[self._seats[i].job] = self._row(i, step)
                ended.append(i)
        self._begin(ended)

    def state_dict(self) -> dict[str, Any]:
        """Everything that another game of the same jobs needs to continue."""
        slots = [
            {
                "job": seat.job,
                "member": seat.member,
                "first": seat.first,
                "observation": dict(seat.observation),
                "actions": play.state_dict()["actions"],
            }
            for seat, play in zip(self._seats, self._slots.plays, strict=True)
        ]
        return {
            "begun": self._begun,
            "next": self._next,
            "rows": [[job, row] for job, row in self._rows.items()],
            "slots": slots,
            "player": {name: value.cpu() for name, value in self._state.items()},
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from :meth:`state_dict`: play the episodes under way again up to where they were.

        Raises:
            NotRepeated: the environment is not fixed by seed, θ and actions.
        """
        self._begun, self._next = bool(state["begun"]), int(state["next"])
        self._rows = {int(job): dict(row) for job, row in state["rows"]}
        saved = state["slots"]
        for seat, of in zip(self._seats, saved, strict=True):
            seat.job, seat.member, seat.first = int(of["job"]), int(of["member"]), bool(of["first"])
            seat.observation = dict(of["observation"])
        plays = {
            i: (self._jobs[seat.job][0], np.asarray(saved[i]["actions"], np.float32))
            for i, seat in enumerate(self._seats)
            if seat.job >= 0
        }
        for i, step in self._slots.replay(plays, self._see).items():
            was = saved[i]["observation"]
            if isinstance(step, EnvironmentFailed) or any(
                step.ended or not np.array_equal(step.observation[key], was[key]) for key in was
            ):
                episode = plays[i][0]
                raise NotRepeated(
                    f"{self._spec.env_id} did not repeat its episode (seed {episode.seed}, θ = "
                    f"{self._family.space.format(episode.theta)})"
                )
        now = self._state
        self._state = {name: value.to(now[name].device) for name, value in state["player"].items()}

    def _begin(self, slots: Iterable[int]) -> None:
        """Give these slots the next jobs, while there are any."""
        starts = {}
        for i in slots:
            seat = self._seats[i]
            seat.job = self._next if self._next < len(self._jobs) else -1
            if seat.job >= 0:
                self._next += 1
                starts[i], task = self._jobs[seat.job]
                seat.member = self._player.names.index(task)
        for i, step in self._slots.advance(starts, {}).items():
            self._see(i, step)

    def _see(self, i: int, step: Step) -> None:
        """Take note of a slot's step, or of its reset."""
        seat = self._seats[i]
        seat.observation, seat.first = step.observation, step.completion is None
        if seat.first:
            seat.seen = []
        elif self._jobs[seat.job][1] in self._rewards:
            seat.seen.append(step.observation)

    def _row(self, i: int, last: Step) -> Row:
        """The row of a slot's episode, which has ended with this step."""
        seat, play, spec = self._seats[i], self._slots.plays[i], self._spec
        episode, task = self._jobs[seat.job]
        total, completion = 0.0, np.nan
        truth = self._judged.get(task, task)
        if truth in spec.tasks and last.completion is not None:
            k = spec.tasks.index(truth)
            total, completion = float(play.returns[k]), float(last.completion[k])
        if task in self._rewards:
            seen = {k.name: np.stack([o[k.name] for o in seat.seen])[None] for k in spec.observation}
            done = actions_of(spec, np.stack(play.actions)[None])
            total = float(np.sum(self._rewards[task](spec.labelled(seen), done), dtype=np.float64))
        return {
            "task": task,
            "policy": self._policy,
            "suite": episode.suite,
            **self._family.columns(episode),
            "return": total,
            EXACT: total if self._certain and self._exact.deterministic(episode) else np.nan,
            "completion": completion,
            "optimal_return": self._optimum(task, truth, episode),
            "length": len(play.actions),
        }

    def _optimum(self, task: str, truth: str, episode: Episode) -> float:
        """Of the task that judges ``task``, itself in most cases; a new task's function may know its own."""
        if task in self._rewards:
            return self._exact.optimum_of(task, getattr(self._rewards[task], "optimal_return", None), episode)
        return self._exact.optimal_return(truth, episode)
