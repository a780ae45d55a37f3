"""The collector: all environment slots in lock-step, one record of each into the replay at every tick.

Called by the training loop. It asks the curriculum for the θ of every new episode, the player for all slots'
actions at once, and reports every finished episode to the curriculum and the log. A slot whose episode has ended
spends its next tick on the reset (no environment step), so that every tick adds exactly one record to each slot.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from waker.collection.episode import EnvironmentFailed, Episode, Play
from waker.collection.family import Family
from waker.collection.replay_gate import Finished, ReplayGate
from waker.collection.slot import Step, warn_cut
from waker.collection.slot_group import slot_group
from waker.curriculum import Curriculum
from waker.curriculum.api import Staging
from waker.curriculum.evidence import EpisodeKind
from waker.errors import UserError
from waker.protocols import EXPLORER, Player, PlayerState
from waker.replay.ring import Replay, record_fields
from waker.seeding import Streams
from waker.storage.tables import Row


class Collector:
    """Steps ``envs`` slots. Call :meth:`close` in the end.

    Args:
        family: of the environments.
        curriculum: chooses θ and receives finished episodes.
        replay: receives the records.
        envs: number of slots.
        streams: ``episodes`` draws episode seeds, ``actions`` the random actions.
        on_episode: receives a row for each finished episode: step, slot, theta_id, theta_<name>…, episode_seed,
            length, return_<task>… of the tasks that exist there, and completion_<task>… where the environment
            reports it.
        processes: worker processes for the slots; 0 = none.
        gate: decides which episodes enter the replay, and rows then have their ``kind``; None = all do.
        on_finished: receives every finished episode before the curriculum is told of its end; only with a gate.
        on_chosen: receives every new episode.

    Attributes:
        slots: the environments.
        step: agent steps (``env.step`` calls) made so far.
    """

    def __init__(
        self,
        family: Family,
        curriculum: Curriculum,
        replay: Replay,
        envs: int,
        streams: Streams,
        on_episode: Callable[[Row], None],
        processes: int = 0,
        gate: ReplayGate | None = None,
        on_finished: Callable[[Finished], None] = lambda finished: None,
        on_chosen: Callable[[Episode], None] = lambda episode: None,
    ) -> None:
        self.family, self.spec, self.curriculum, self.replay = family, family.spec, curriculum, replay
        self._streams, self._on_episode = streams, on_episode
        self.gate, self._on_finished, self._on_chosen = gate, on_finished, on_chosen
        self.slots = slot_group(family, envs, processes)
        self.step = 0
        # The newest record of every slot, name → (slots, …); also what the player sees next.
        self._record = {n: np.zeros((envs, *shape), dtype) for n, (shape, dtype) in record_fields(self.spec).items()}
        self._record["is_last"][:] = True  # every slot begins with a reset
        self._player_state: PlayerState | None = None
        self._warned_cut = False

    @property
    def theta(self) -> NDArray[np.float64]:
        """θ of the first slot's episode, (D,): what a progress line shows."""
        return self.slots.plays[0].episode.theta

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
        begun = np.flatnonzero(ended).tolist()
        starts = dict(zip(begun, self._starts(len(begun)), strict=True))
        kinds = self._kinds([episode.theta_id for episode in starts.values()])
        steps = self.slots.advance(starts, dict(enumerate(actions)))
        for i, step in steps.items():
            self._write(self._record, i, step, first=i in starts)
        if self.gate is None:
            self.replay.add(self._record)
        else:
            self.gate.begin(dict(zip(begun, kinds, strict=True)))
            self.gate.add(self._record)
        self.step += len(steps) - len(starts)
        for i, step in steps.items():
            if step.cut and not self._warned_cut:
                warn_cut(self.spec, self.slots.plays[i].episode)
                self._warned_cut = True
            if step.ended:
                self._report(i, step)

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
        over = Play(self.spec)
        pairs = zip(self.slots.plays, self._record["is_last"], strict=True)
        state = {
            "step": self.step,
            "slots": [(over if ended else play).state_dict() for play, ended in pairs],
            "record": {name: array.copy() for name, array in self._record.items()},
            "player": None if self._player_state is None else {k: v.cpu() for k, v in self._player_state.items()},
        }
        return state if self.gate is None else state | {"gate": self.gate.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any], player: Player, note: Callable[[str], None]) -> None:
        """Rebuild every slot's episode by playing its actions again.

        Args:
            player: whose devices the saved player state goes back to.
            note: receives one line when an episode is not repeated exactly (the environment is not fixed by its seed
                and θ); that slot begins a new episode, and the run is no longer the uninterrupted one.
        """
        self.step = int(state["step"])
        self._record = {name: np.array(array) for name, array in state["record"].items()}
        self._player_state = None
        if self.gate is not None and "gate" in state:
            self.gate.load_state_dict(state["gate"])
        if state["player"] is not None:
            now = player.initial(len(self.slots.plays))
            self._player_state = {k: v.to(now[k].device) for k, v in state["player"].items()}
        running = {}
        for i in np.flatnonzero(~self._record["is_last"]).tolist():
            saved = state["slots"][i]
            episode = Episode(np.asarray(saved["theta"], np.float64), int(saved["theta_id"]), int(saved["seed"]))
            running[i] = episode, np.asarray(saved["actions"], np.float32)
        for i, step in self.slots.replay(running, self._made_again).items():
            if isinstance(step, EnvironmentFailed) or any(
                not np.array_equal(step.observation[k.name], self._record[k.name][i]) for k in self.spec.observation
            ):
                episode = running[i][0]
                note(
                    f"{self.spec.env_id} did not repeat its episode (seed {episode.seed}, θ = "
                    f"{self.family.space.format(episode.theta)}); environment {i} begins a new one"
                )
                self._record["is_last"][i] = True

    def _act(self, player: Player | None, ended: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Actions (slots, A) for the newest observations; those of ended slots are not used."""
        n = len(ended)
        if player is None:
            self._player_state = None
            return self.spec.action.random(self._streams.actions, n)
        if ended.all():  # no action is used: at the very start there is no observation either
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

    def _starts(self, n: int) -> Sequence[Episode]:
        """n new episodes."""
        if n == 0:
            return []
        ids, points = self.curriculum.sample(n)
        seeds = self._streams.episodes.integers(2**31, size=n)
        episodes = [Episode(points[i], int(ids[i]), int(seeds[i])) for i in range(n)]
        for episode in episodes:
            self._on_chosen(episode)
        return episodes

    def _kinds(self, theta_ids: list[int]) -> list[EpisodeKind]:
        """Of the episodes that have just been chosen, by their θ."""
        if self.gate is None or not theta_ids:
            return ["trained"] * len(theta_ids)
        return self.gate.choose(theta_ids, self.curriculum.staged if isinstance(self.curriculum, Staging) else None)

    def _made_again(self, i: int, step: Step) -> None:
        """A step of an episode that is played again after a resume."""
        if self.gate is not None:
            scratch = {name: np.zeros_like(array) for name, array in self._record.items()}
            self._write(scratch, i, step, first=not self.slots.plays[i].actions)
            self.gate.again(i, {name: array[i] for name, array in scratch.items()})

    def _write(self, record: dict[str, NDArray[Any]], i: int, step: Step, first: bool) -> None:
        play = self.slots.plays[i]
        for name, value in step.observation.items():
            record[name][i] = value
        record["action"][i] = 0.0 if first else play.actions[-1]
        record["task_rewards"][i] = step.rewards
        record["theta_id"][i] = play.episode.theta_id
        record["is_first"][i] = first
        record["is_last"][i] = step.ended
        record["is_terminal"][i] = step.terminated

    def _report(self, i: int, step: Step) -> None:
        play, spec = self.slots.plays[i], self.spec
        here = self.family.domain_of(play.episode.theta_id)
        returns = {
            f"return_{t}": float(r)
            for t, r in zip(spec.tasks, play.returns, strict=True)
            if here is None or spec.domain_of(t) in (None, here)  # tasks of other domains earn nothing here
        }
        done = np.full(len(spec.tasks), np.nan) if step.completion is None else step.completion
        completion = {f"completion_{t}": float(c) for t, c in zip(spec.tasks, done, strict=True) if np.isfinite(c)}
        length, numbers = len(play.actions), returns | completion
        kind: dict[str, Any] = {}
        if self.gate is not None:
            kind = {"kind": self.gate.kinds[i]}
            if self.gate.whole:
                self._on_finished(self.gate.finished(i, play.episode, done))
        if kind.get("kind") != "heldout":
            self.curriculum.episode_done(
                play.episode.theta,
                play.episode.theta_id,
                {"length": float(length), "terminated": float(step.terminated), **numbers},
            )
        row = {"step": self.step, "slot": i, **self.family.columns(play.episode), "length": length, **kind, **numbers}
        self._on_episode(row)
