"""The regret of the world model alone: plans that are optimal in the learned model, valued exactly in the true one.

Called by :mod:`waker.evaluation.records`. A learned policy's regret has two parts: what the model got wrong, and what
the actor made of the model. A plan has no actor: it is the best that the model's own table knows
(:mod:`waker.evaluation.learned_table`), by dynamic programming over the steps that are left, and its regret is what the
data bought. It is valued by dynamic programming in the family's true table (``tabular``), so that no dice fall and an
episode's row is exact. Where the family knows all tables that a θ's episodes may have, and how often each begins where
(``beginnings``), a row more for each θ and task has the expectation over all of them: no sample of episodes is left.

The plan is that of an agent that knows the state and the time left, as the optimum is. It believes the model's prior
from a filter that begins in each state, and the model's own reward heads: those trained beside the model, also where
task policies are trained afterwards (``train.task_policies = "after"``), whose copies of the heads continue to learn.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from waker.analysis.regret import EXACT
from waker.collection.episode import Episode
from waker.collection.family import Family
from waker.evaluation.exact import Exact
from waker.evaluation.learned_successors import learned_successors
from waker.evaluation.learned_table import DRAWS, PlannedModel, States, learned_tables
from waker.evaluation.pieces import Piece, Pieces
from waker.evaluation.setup import Setup
from waker.names import EXPECTED, PLANNED
from waker.seeding import stream, torch_seed
from waker.specs import EnvSpec
from waker.storage.tables import Row
from waker_envs.successors import Floats, Successors
from waker_envs.tabular import TabularMDP, by_key, optimal_policy, policy_values


class Room(NamedTuple):
    """A table that some episodes share, which differ in their start alone, and its states by key of the spec."""

    table: TabularMDP
    states: States


Shares = list[tuple[int, Floats]]
"""The rooms that a θ's episodes may have, by number, and P(an episode has it and begins in s), (S,) each."""


class Worth(NamedTuple):
    """Expected sums over an episode from each of S states, for each of K tasks; (K, S) each.

    Attributes:
        planned: return of the plan.
        optimal: return of the best policy.
        length: steps of the plan.
    """

    planned: Floats
    optimal: Floats
    length: Floats


def planned_rows(
    setup: Setup,
    model: PlannedModel,
    episodes: Sequence[Episode],
    samples: int,
    piece: Piece | None = None,
) -> list[Row]:
    """Plan in the model and value the plans, in episodes of a family that offers its tables.

    Args:
        setup: its seed is that of the latent samples, which depend on the episodes alone.
        model: with its reward heads, on the setup's device.
        episodes: in which plans are valued.
        samples: latent samples behind each (state, action) of the learned table; none where the family's table names
            successors, see :mod:`waker.evaluation.learned_successors`.
        piece: what to continue from, and where to keep it when a signal comes; None = from the beginning.

    Returns:
        One row for each (episode, task), with the columns of an evaluation's rows: ``policy`` is ``planned``,
        ``return`` and ``exact_value`` are the plan's exact value, ``length`` its expected steps. None for families
        without tables, and for episodes without one. Then one for each (suite, θ, task) of whose episodes the family
        knows all: ``policy`` is :data:`~waker.names.EXPECTED`, ``episode_seed`` −1, values are expectations.

    Raises:
        UserError: an environment that cannot be made.
        Paused: a signal has come.
    """
    family, spec = setup.family, setup.family.spec
    episodes = episodes if spec.action.discrete else ()
    with Exact(family) as exact:
        places, rooms = _rooms(spec, episodes, exact)
        met = len(rooms)
        with_tables = [episode for episode, place in zip(episodes, places, strict=True) if place is not None]
        shares = _shares(spec, with_tables, exact, rooms)
    piece = piece or Pieces().piece(PLANNED)
    worth = [Worth(*map(np.asarray, of_room)) for of_room in (piece.state or {"worth": []})["worth"]]

    def snapshot() -> dict[str, Any]:
        return {"worth": [list(of_room) for of_room in worth]}

    for portion in _portions(rooms, spec.action.dim, samples, len(worth), met):
        piece.tick(snapshot, lambda: f"{len(snapshot()['worth']):,} of {len(rooms):,} rooms")
        with torch_seed(int(stream(setup.seed, f"{PLANNED} from room {portion.start}").integers(2**31))):
            worth += _worth(model, spec, rooms[portion], samples, setup.device)
    rows: list[Row] = []
    for episode, place in zip(episodes, places, strict=True):
        if place is not None:
            number, start = place
            rows += _rows(family, episode, [values[:, start] for values in worth[number]], PLANNED)
    for episode, of_theta in shares:
        parts = [[values @ chance for values in worth[number]] for number, chance in of_theta]
        expected = [np.sum(values, 0) for values in zip(*parts, strict=True)]
        rows += _rows(family, replace(episode, seed=-1), expected, EXPECTED)
    return rows


def _rooms(spec: EnvSpec, episodes: Sequence[Episode], exact: Exact) -> tuple[list[tuple[int, int] | None], list[Room]]:
    """For each episode the number of its room and its start, or None; and the rooms, each once."""
    places: list[tuple[int, int] | None] = [None] * len(episodes)
    rooms: dict[str, tuple[int, Room]] = {}
    kinds = list(dict.fromkeys(episode.kind for episode in episodes))
    for number, episode in sorted(enumerate(episodes), key=lambda item: kinds.index(item[1].kind)):
        if (table := exact.tabular(episode)) is not None:
            at, _ = rooms.setdefault(_digest(table), (len(rooms), Room(table, states_of(spec, table))))
            places[number] = at, int(table.start)
    return places, [room for _, room in rooms.values()]


def _shares(
    spec: EnvSpec, episodes: Sequence[Episode], exact: Exact, rooms: list[Room]
) -> list[tuple[Episode, Shares]]:
    """All that the episodes of each θ of each suite may be, where the family knows it; the first episode stands for θ.

    Args:
        rooms: those of the episodes; further ones are put behind.
    """
    numbers = {_digest(room.table): number for number, room in enumerate(rooms)}
    first: dict[Any, Episode] = {}
    for episode in episodes:
        first.setdefault((episode.suite, episode.theta.tobytes()), episode)
    found: list[tuple[Episode, Shares]] = []
    for episode in first.values():
        shares: Shares = []
        for begun in exact.beginnings(episode) or ():
            if (digest := _digest(begun.table)) not in numbers:
                numbers[digest] = len(rooms)
                rooms.append(Room(begun.table, states_of(spec, begun.table)))
            shares.append((numbers[digest], np.asarray(begun.chance, np.float64)))
        if shares:
            found.append((episode, shares))
    return found


def _digest(table: TabularMDP) -> str:
    """Of all but the start."""
    digest = hashlib.blake2b(str(table.length).encode())
    moves = table.move if isinstance(table.move, Successors) else [table.move]
    for array in (*moves, table.reward, *(value for _, value in sorted(by_key(table.states).items()))):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def states_of(spec: EnvSpec, table: TabularMDP) -> dict[str, NDArray[Any]]:
    """The states as a learner sees them, each (S, ...)."""
    given = by_key(table.states)
    named = {
        key.name: given[key.label] if isinstance(table.states, Mapping) else table.states for key in spec.observation
    }
    return {key.name: np.asarray(named[key.name]).reshape(-1, *key.shape).astype(key.dtype) for key in spec.observation}


def _portions(rooms: Sequence[Room], actions: int, samples: int, done: int, met: int) -> Iterator[slice]:
    """Rooms whose (state, action) pairs are asked about at once, from room ``done`` on.

    Those from ``met`` on stand apart: the samples of the others do not depend on whether there are any.
    """
    first, draws = 0, 0
    for number, room in enumerate(rooms):
        own = room.table.size * actions * samples
        if draws and (draws + own > DRAWS or number == met):
            if first >= done:
                yield slice(first, number)
            first, draws = number, 0
        draws += own
    if first < len(rooms) and first >= done:
        yield slice(first, len(rooms))


def _worth(model: PlannedModel, spec: EnvSpec, rooms: Sequence[Room], samples: int, device: str) -> list[Worth]:
    actions, small = spec.action.dim, [room for room in rooms if not isinstance(room.table.move, Successors)]
    states = [room.states for room in small]
    tables = iter(learned_tables(model, spec.observation, states, actions, samples, device) if small else ())
    worth = []
    for room in rooms:
        table = (
            learned_successors(model, spec.observation, room.states, actions, device)
            if isinstance(room.table.move, Successors)
            else next(tables)
        )
        policy, _ = optimal_policy(table.move, table.reward, room.table.length)
        worth.append(worth_of(room.table, policy))
    return worth


def worth_of(table: TabularMDP, policy: NDArray[np.int64]) -> Worth:
    """Exact worth of a policy, (T, K, S) actions, in a table, beside the optimum."""
    return Worth(
        policy_values(table.move, table.reward, policy),
        optimal_policy(table.move, table.reward, table.length)[1],
        policy_values(table.move, np.ones_like(table.reward), policy),
    )


def _rows(family: Family, episode: Episode, values: Sequence[Floats], policy: str) -> list[Row]:
    """Args: values: as in :class:`Worth`, of each task (K,)."""
    planned, optimal, length = values
    return [
        {
            "task": task,
            "policy": policy,
            "suite": episode.suite,
            **family.columns(episode),
            "return": float(planned[k]),
            EXACT: float(planned[k]),
            "completion": np.nan,
            "optimal_return": float(optimal[k]),
            "length": float(length[k]),
        }
        for k, task in enumerate(family.spec.tasks)
    ]
