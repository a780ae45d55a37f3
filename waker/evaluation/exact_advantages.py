"""How much worse than the best each step of a replay segment was, exactly, where the family offers its tables.

Called by :mod:`waker.training.asking` for teachers that prefer by regret: A*(s, a) = Q*(s, a) − max Q*(s, ·) with the
time that is left, so at most 0. Summed over a segment it is the regret label of contrastive preference learning (Hejna
et al. 2023, arXiv 2310.13639), without the luck that a sum of rewards has where steps are random.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from waker.collection.episode import Episode
from waker.collection.family import Family
from waker.errors import UserError
from waker.evaluation.exact import Exact
from waker.evaluation.planned import states_of
from waker.names import theta_column
from waker.preferences.segments import Segments, arrived, left
from waker.replay.ring import Replay
from waker.specs import EnvSpec
from waker_envs.successors import Numbers
from waker_envs.tabular import TabularMDP, action_values


class Place(NamedTuple):
    """Where in which episode a segment begins: after ``time`` steps of it."""

    episode: Episode
    time: int


def advantages(
    family: Family, replay: Replay, segments: Segments, places: Sequence[Place], task: str
) -> NDArray[np.float64]:
    """A* of each step of the segments, (n, Lmax); 0 behind a segment's end.

    Args:
        places: of the segments, (n).
        task: of the environment.

    Raises:
        UserError: the family has no table of an episode, or the replay holds what the table does not.
    """
    return step_worths(family, replay, segments, places, task, regret=True)


def step_worths(
    family: Family,
    replay: Replay,
    segments: Segments,
    places: Sequence[Place],
    task: str,
    regret: bool,
    lenient: bool = False,
) -> NDArray[np.float64]:
    """A* of each step of the segments, or the reward that is expected of it, (n, Lmax); 0 behind a segment's end.

    Args:
        places, task: as of :func:`advantages`.
        regret: A*; else the reward.
        lenient: NaN for what is not in the table, as imagined segments may show, instead of an error.

    Raises:
        UserError: the family has no table of an episode, or the replay holds what the table does not.
    """
    spec, k = family.spec, family.spec.tasks.index(task)
    states = {key.name: left(replay, key.name, segments)[0] for key in spec.observation if key.classes}
    action, inside = arrived(replay, "action", segments)
    chosen = action.argmax(-1)
    found = np.zeros(inside.shape)
    with Exact(family) as exact:
        known: dict[tuple[int, int], _Room | None] = {}
        for n, place in enumerate(places):
            key = place.episode.theta_id, place.episode.seed
            if key not in known:
                table = exact.tabular(place.episode)
                known[key] = None if table is None else _Room.of(spec, table, k)
            if (room := known[key]) is None:
                told = "--score regret needs the exact optimum" if regret else "what is imagined is judged by tables"
                instead = "; use --score return" if regret and not lenient else ""
                raise UserError(f"{told}, and {spec.env_id} offers no table of its episodes (`tabular`){instead}")
            steps = int(segments.length[n])
            seen = {name: array[n, :steps] for name, array in states.items()}
            worth = room.worths(seen, chosen[n, :steps], place.time, regret)
            if np.isnan(worth).any() and not lenient:
                raise UserError(
                    "the replay holds a state that is not in the family's table: the environment has changed"
                )
            found[n, :steps] = worth
    return found


class _Room(NamedTuple):
    """An episode's table, solved: Q* (T, A, S), rewards (A, S), whether a state is one of an episode that has ended
    (S,), and which of its states an observation is."""

    q: NDArray[np.float64]
    reward: NDArray[np.float64]
    ended: NDArray[np.bool_]
    numbers: Numbers

    @classmethod
    def of(cls, spec: EnvSpec, table: TabularMDP, task: int) -> _Room:
        q = action_values(table.move, table.reward[task : task + 1], table.length)[:, 0]
        states = states_of(spec, table)
        return cls(
            q,
            np.asarray(table.reward[task]),
            table.ended,
            Numbers(_rows({key.name: states[key.name] for key in spec.observation if key.classes})),
        )

    def worths(
        self, seen: Mapping[str, NDArray[Any]], action: NDArray[np.int64], time: int, regret: bool
    ) -> NDArray[np.float64]:
        """A* or the expected reward of each step, (L,); NaN where the table has no such step: another state, another
        time, or an episode that has ended."""
        state, number = self.numbers.of(_rows(seen)), np.arange(len(action))
        unknown = (state < 0) | (time + number >= len(self.q)) | self.ended[np.maximum(state, 0)]
        known = np.where(unknown, 0, state)
        if not regret:
            return np.where(unknown, np.nan, self.reward[action, known])
        q = self.q[np.minimum(time + number, len(self.q) - 1), :, known]  # (L, A)
        return np.where(unknown, np.nan, q[number, action] - q.max(1))


def _rows(states: Mapping[str, NDArray[Any]]) -> NDArray[np.int64]:
    """States by key (n, …) as rows of their variables (n, V)."""
    return np.concatenate([array.reshape(len(array), -1).astype(np.int64) for array in states.values()], 1)


def places_of(
    family: Family, replay: Replay, segments: Segments, episodes: pd.DataFrame, running: Sequence[Mapping[str, Any]]
) -> list[Place]:
    """The episodes that segments belong to, found by the order in which each slot's episodes ended.

    Args:
        episodes: the run's rows of training episodes up to the replay's newest record.
        running: of each slot what a checkpoint holds of its unfinished episode.

    Raises:
        UserError: rows and replay do not fit together.
    """
    slots = {int(slot): rows.to_dict("records") for slot, rows in episodes.groupby("slot")} if len(episodes) else {}
    finished = {slot: _finished(family, replay, slot, slots.get(slot, [])) for slot in set(segments.slot.tolist())}
    found = []
    for slot, tick, length in zip(*(part.tolist() for part in segments), strict=True):
        ends, of_slot = finished[slot]
        number = int(np.searchsorted(ends, tick + length))
        if number < len(ends):
            episode, steps = of_slot[number]
            found.append(Place(episode, steps - (int(ends[number]) - tick)))
        else:
            found.append(_of_running(running[slot], replay, tick))
        if found[-1].time < 0 or found[-1].episode.theta_id != _theta_id(replay, slot, tick):
            raise _apart()
    return found


def _finished(
    family: Family, replay: Replay, slot: int, rows: list[dict[str, Any]]
) -> tuple[NDArray[np.int64], list[tuple[Episode, int]]]:
    """The ticks at which the slot's episodes ended, and these with their lengths: the newest rows."""
    ticks = np.concatenate([np.arange(start, stop) for start, stop in replay.spans])
    ends = ticks[replay.arrays["is_last"][slot, ticks % replay.size]]
    newest = rows[len(rows) - len(ends) :] if len(ends) else []
    if len(newest) < len(ends):
        raise _apart()
    names = [theta_column(name) for name in family.space.names]
    of_slot = []
    for tick, row in zip(ends.tolist(), newest, strict=True):
        if int(row["theta_id"]) != _theta_id(replay, slot, tick):
            raise _apart()
        theta = np.array([row[name] for name in names], np.float64)
        of_slot.append((Episode(theta, int(row["theta_id"]), int(row["episode_seed"])), int(row["length"])))
    return ends, of_slot


def _of_running(slot: Mapping[str, Any], replay: Replay, tick: int) -> Place:
    """A segment's place in the episode that was under way at the checkpoint."""
    episode = Episode(np.asarray(slot["theta"], np.float64), int(slot["theta_id"]), int(slot["seed"]))
    return Place(episode, len(slot["actions"]) - (replay.ticks - 1 - tick))


def _theta_id(replay: Replay, slot: int, tick: int) -> int:
    return int(replay.arrays["theta_id"][slot, tick % replay.size])


def _apart() -> UserError:
    return UserError(
        "the run's rows of episodes do not fit its replay (some are damaged or lost), so nobody knows which episodes "
        "segments are of; use --score return"
    )
