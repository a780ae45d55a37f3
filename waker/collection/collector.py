"""The collector: all environment slots in lock-step, one record of each into the replay at every tick.

Called by the training loop. It asks the curriculum for the θ of every new episode, the player for all slots'
actions at once, and tells the curriculum and the log of every finished episode. A slot whose episode has ended
spends its next tick on the reset (no environment step), so that every tick adds exactly one record to each slot.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from waker.collection.slot import EnvironmentFailed, Episode, MakeEnv, Step, tell_cut
from waker.collection.slot_group import slot_group
from waker.curriculum import Curriculum
from waker.errors import UserError
from waker.names import theta_column
from waker.protocols import EXPLORER, Player, PlayerState
from waker.replay.ring import Replay, record_fields
from waker.seeding import Streams
from waker.specs import EnvSpec
from waker_envs.api import ThetaSpace

Row = dict[str, Any]


class Collector:
    """Steps ``envs`` slots. Call :meth:`close` in the end.

    Args:
        make_env: makes one slot's environment; called once for each.
        spec, space: of these environments.
        curriculum: chooses θ and hears of finished episodes.
        replay: receives the records.
        envs: number of slots.
        streams: ``episodes`` draws episode seeds, ``actions`` the random actions.
        on_episode: receives a row for each finished episode: step, slot, theta_id, theta_<name>…, episode_seed,
            length, return_<task>… of the tasks that exist there, and completion_<task>… where the environment
            reports it.
        processes: worker processes for the slots; 0 = none.

    Attributes:
        slots: the environments.
        step: agent steps (``env.step`` calls) made so far.
    """

    def __init__(
        self,
        make_env: MakeEnv,
        spec: EnvSpec,
        space: ThetaSpace,
        curriculum: Curriculum,
        replay: Replay,
        envs: int,
        streams: Streams,
        on_episode: Callable[[Row], None],
        processes: int = 0,
    ) -> None:
        self.spec, self.space, self.curriculum, self.replay = spec, space, curriculum, replay
        self._streams, self._on_episode = streams, on_episode
        self.slots = slot_group(make_env, spec, envs, processes)
        self.step = 0
        # The newest record of every slot, name → (slots, …); also what the player sees next.
        self._record = {n: np.zeros((envs, *shape), dtype) for n, (shape, dtype) in record_fields(spec).items()}
        self._record["is_last"][:] = True  # every slot begins with a reset
        self._player_state: PlayerState | None = None
        self._told_cut = False

    @property
    def theta(self) -> NDArray[np.float64]:
        """θ of the first slot's episode, (D,): what a progress line shows."""
        return self._episodes[0].theta

    @property
    def _episodes(self) -> Sequence[Episode]:
        return self.slots.episodes

    def tick(self, player: Player | None) -> None:
        """Add one record to every slot.

        Args:
            player: who acts; None = uniform random actions.

        Raises:
            EnvironmentFailed: nothing of this tick is in the replay. Call :meth:`abandon` before going on.
            UserError: the player's actions are not finite.
        """
        ended = self._record["is_last"].copy()
        actions = self._act(player, ended)
        starts = dict(zip(np.flatnonzero(ended).tolist(), self._starts(int(ended.sum())), strict=True))
        steps = self.slots.advance(starts, actions)
        for i, (episode, step) in enumerate(zip(self._episodes, steps, strict=True)):
            self._write(i, episode, step, first=i in starts)
        self.replay.add(self._record)
        self.step += len(steps) - len(starts)
        for i, (episode, step) in enumerate(zip(self._episodes, steps, strict=True)):
            if step.cut and not self._told_cut:
                tell_cut(self.spec, episode.seed, episode.theta)
                self._told_cut = True
            if self._record["is_last"][i]:
                self._report(i, episode, step)

    def abandon(self) -> None:
        """Give up every slot's episode, after a failure: the next tick begins fresh ones."""
        self._record["is_last"][:] = True
        self._player_state = None

    def close(self) -> None:
        """Close all environments."""
        self.slots.close()

    def state_dict(self) -> dict[str, Any]:
        """Slots (seed, θ, actions), the newest records, the player's state; curriculum and streams save themselves.

        Of an episode that has ended nothing is kept: loaded and saved again, a state is the same.
        """
        over = Episode(self.spec)
        pairs = zip(self._episodes, self._record["is_last"], strict=True)
        return {
            "step": self.step,
            "slots": [(over if ended else episode).state_dict() for episode, ended in pairs],
            "record": {name: array.copy() for name, array in self._record.items()},
            "player": None if self._player_state is None else {k: v.cpu() for k, v in self._player_state.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any], player: Player, note: Callable[[str], None]) -> None:
        """Rebuild every slot's episode by playing its actions again.

        Args:
            player: whose devices the saved player state goes back to.
            note: told in one line when an episode does not come out as it was (the environment is not fixed by
                its seed and θ); that slot begins a new episode, and the run is no longer the uninterrupted one.
        """
        self.step = int(state["step"])
        self._record = {name: np.array(array) for name, array in state["record"].items()}
        self._player_state = None
        if state["player"] is not None:
            now = player.initial(len(self._episodes))
            self._player_state = {k: v.to(now[k].device) for k, v in state["player"].items()}
        running = {i: saved for i, saved in enumerate(state["slots"]) if not self._record["is_last"][i]}
        for i, step in self.slots.rebuild(running).items():
            same = not isinstance(step, EnvironmentFailed) and all(
                np.array_equal(step.observation[k.name], self._record[k.name][i]) for k in self.spec.observation
            )
            if not same:
                episode = self._episodes[i]
                note(
                    f"{self.spec.env_id} did not repeat its episode (seed {episode.seed}, θ = "
                    f"{self.space.format(episode.theta)}); environment {i} begins a new one"
                )
                self._record["is_last"][i] = True

    def _act(self, player: Player | None, ended: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Actions (slots, A) for the newest observations; those of ended slots are not used."""
        n = len(ended)
        if player is None:
            self._player_state = None
            return self.spec.action.random(self._streams.actions, n)
        if ended.all():  # nobody needs an action: at the very start there is no observation either
            return np.zeros((n, self.spec.action.dim), np.float32)
        # A player that takes over from random actions meets every slot as if its episode began now.
        fresh = self._player_state is None
        state = player.initial(n) if self._player_state is None else self._player_state
        observation = {k.name: self._record[k.name] for k in self.spec.observation}
        is_first = np.ones(n, np.bool_) if fresh else self._record["is_first"]
        # A stack that holds task policies as well names its explorer; a player of one policy needs no name.
        member = player.names.index(EXPLORER) if EXPLORER in player.names else 0
        actions, self._player_state = player.act(observation, is_first, state, np.full(n, member, np.int64), False)
        if not np.isfinite(actions).all():
            raise UserError(f"the policy's actions are not finite at step {self.step}: training has diverged")
        return actions

    def _starts(self, n: int) -> Sequence[tuple[NDArray[np.float64], int, int]]:
        """θ, its id and a seed for n new episodes."""
        if n == 0:
            return []
        thetas = self.curriculum.sample(n)
        seeds = self._streams.episodes.integers(2**31, size=n)
        return [(theta, self.space.index(theta), int(seed)) for theta, seed in zip(thetas, seeds, strict=True)]

    def _write(self, i: int, episode: Episode, step: Step, first: bool) -> None:
        record = self._record
        for name, value in step.observation.items():
            record[name][i] = value
        record["action"][i] = 0.0 if first else episode.actions[-1]
        record["task_rewards"][i] = step.rewards
        record["theta_id"][i] = episode.theta_id
        record["is_first"][i] = first
        record["is_last"][i] = step.terminated or step.truncated
        record["is_terminal"][i] = step.terminated

    def _report(self, i: int, episode: Episode, step: Step) -> None:
        groups = self.space.groups
        here = None if groups is None or episode.theta_id < 0 else int(groups[episode.theta_id])
        returns = {
            f"return_{t}": float(r)
            for t, r in zip(self.spec.tasks, episode.returns, strict=True)
            if here is None or self.spec.domain_of(t) in (None, here)  # tasks of other domains earn nothing here
        }
        stats = {"length": float(len(episode.actions)), "terminated": float(step.terminated), **returns}
        done = np.full(len(self.spec.tasks), np.nan) if step.completion is None else step.completion
        completion = {f"completion_{t}": float(c) for t, c in zip(self.spec.tasks, done, strict=True) if np.isfinite(c)}
        stats |= completion
        self.curriculum.episode_done(episode.theta, episode.theta_id, stats)
        theta = {theta_column(n): float(v) for n, v in zip(self.space.names, episode.theta, strict=True)}
        self._on_episode(
            {
                "step": self.step,
                "slot": i,
                "theta_id": episode.theta_id,
                **theta,
                "episode_seed": episode.seed,
                "length": len(episode.actions),
                **returns,
                **completion,
            }
        )
