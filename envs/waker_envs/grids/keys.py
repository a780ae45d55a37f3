"""GridKeys: chambers behind locked doors, whose optimal return is known exactly."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from gymnasium import spaces
from gymnasium.utils import seeding
from minigrid.core.world_object import Door, Goal, Key, Wall
from numpy.typing import ArrayLike, NDArray

from waker_envs.api import Board, FiniteThetaSpace, Parameter, ParametricEnv, Suite, Theta, Transition, UnknownTaskError
from waker_envs.checked import check_choice, checked_count, checked_index
from waker_envs.grids.keys_room import BLUE, GREEN, N_ACTIONS, KeyRoom, RoomKey, key_room, room_table
from waker_envs.grids.pictures import PIXELS, Picture, TileSet, framed
from waker_envs.predictions import certain
from waker_envs.tabular import Beginning, TabularMDP, optimal_policy

N_CLASSES = 7
MOST_DOORS = 2
_FIRST_FRESH = 1 << 32  # fresh layouts never coincide with the numbered ones


@lru_cache(maxsize=16)
def _tiles(tile: int) -> TileSet:
    doors = Door("yellow", is_locked=True), Door("yellow", is_open=True)
    return TileSet([None, Wall(), *doors, Key("yellow"), Goal("green"), Goal("blue")], tile)


def keys_space(sizes: Sequence[int]) -> FiniteThetaSpace:
    """Each size with 0, 1 and 2 doors, as far as it has room for them."""
    all_points = [(size, doors) for size in sizes for doors in range(MOST_DOORS + 1) if 2 * doors + 1 <= size]
    points = np.array(all_points, float)
    size, doors = max(all_points)
    return FiniteThetaSpace(
        [Parameter("size", "side of the room", "cells"), Parameter("doors", "locked doors", "doors")],
        points,
        hard=points[points[:, 1] == doors],
        hardest=(size, doors),
        suites={
            "fresh": Suite(points, {"n_layouts": None}),
            "oblong": Suite(points[points[:, 0] == size], {"shape": "oblong"}),
        },
    )


class GridKeys(ParametricEnv):
    """
    ## Description

    A room divided into up to three chambers by walls with locked doors. Walking on a key takes it, walking into the
    next door with the key in hand opens it. The green tile is in the first chamber, the blue one in the last. The whole
    room is seen, nothing is random once an episode has begun, and the few dozen states of a room are known as a table,
    so that regret is exact. With more doors there is more that changes, and there are more layouts: up to six times
    as many as without.

    ## Action space

    `Discrete(5)`: 0 stay, 1 up, 2 right, 3 down, 4 left (absolute; walls and locked doors stop a move).

    ## Observation space

    `obs="symbolic"`: `Dict` with
    - `agent`: `MultiDiscrete([n, n])`, the agent's row and column, n = the largest size;
    - `holding`: `MultiDiscrete([2])`, whether the agent has a key in hand;
    - `cells`: `MultiDiscrete([7] * n²)`, the class of each cell row by row, without the agent: floor, wall, locked
      door, open door, key, green tile, blue tile.

    `obs="pixels"`: `Box(0, 255, (64, 64, 3), uint8)`, the same as a picture without what is held; the agent is a white
    disc.

    ## Tasks and rewards

    `green`, `blue`: 1 for each step at whose end the agent stands on that tile, else 0.

    ## Parameters θ

    | # | name  | values (default) | meaning                                                        |
    |---|-------|------------------|----------------------------------------------------------------|
    | 0 | size  | 3, 4, 5          | side of the room in cells; the rest of the n × n frame is wall |
    | 1 | doors | 0, 1, 2          | locked doors; at least 2 · doors + 1 cells a side              |

    DR is uniform over all combinations. `hardest` is the largest room with the most doors, `hard` are all with the most
    doors. Suites. Harder: `fresh` (all θ, with a layout never seen in training every episode). Different, but not
    harder: `oblong` (the largest size with two rows less).

    ## Starting state

    A layout, one of `n_layouts` for its number of doors, and any of its states in which the agent stands on plain
    floor: an episode may begin at any stage, with a key in hand or doors open. Both are drawn by the episode's
    generator.

    ## Episode end

    Truncated after 4 · size steps.

    ## Registered ids

    `waker/GridKeys-v0`

    ## Arguments

    Args:
        task: the task whose reward `step` returns; None = reward-free.
        obs: "symbolic" or "pixels".
        sizes: room sizes, each ≥ 3.
        n_layouts: layouts of each θ without doors, with one, and with two; None = a fresh one every episode.
        shape: "square", or "oblong": two rows less, at least three.
        render_mode: None or "rgb_array".

    Raises:
        ValueError: an argument outside its range.
    """

    tasks: tuple[str, ...] = ("green", "blue")
    theta_space: FiniteThetaSpace
    # Dozens of cells that hardly change would otherwise drown the one thing that moves.
    observation_weights = {"agent": 3.0, "holding": 3.0, "cells": 0.3}

    def __init__(
        self,
        task: str | None = None,
        render_mode: str | None = None,
        *,
        obs: Literal["symbolic", "pixels"] = "symbolic",
        sizes: Sequence[int] = (3, 4, 5),
        n_layouts: Sequence[int] | None = (1, 2, 6),
        shape: Literal["square", "oblong"] = "square",
    ) -> None:
        super().__init__(task, render_mode)
        check_choice("obs", obs, ("symbolic", "pixels"))
        check_choice("shape", shape, ("square", "oblong"))
        if not sizes or min(sizes) < 3 or any(s != int(s) for s in sizes):
            raise ValueError(f"sizes must be whole numbers of at least 3, got {list(sizes)}")
        if n_layouts is not None and len(n_layouts) != MOST_DOORS + 1:
            raise ValueError(f"n_layouts {list(n_layouts)} must have one entry for each of 0, 1 and 2 doors")
        self._layouts = None if n_layouts is None else [checked_count("n_layouts, if not None,", n) for n in n_layouts]
        each_size = sorted({int(size) for size in sizes})
        self.obs_kind, self.frame, self._oblong = obs, each_size[-1], shape == "oblong"
        self.theta_space = keys_space(each_size)
        self._classes = {"agent": (self.frame,) * 2, "holding": (2,), "cells": (N_CLASSES,) * self.frame**2}
        self.action_space = spaces.Discrete(N_ACTIONS)
        if obs == "pixels":
            self.observation_space = spaces.Box(0, 255, (PIXELS, PIXELS, 3), np.uint8)
        else:
            self.observation_space = spaces.Dict({k: spaces.MultiDiscrete(list(c)) for k, c in self._classes.items()})
            self.observation_board = Board(self.frame, self.frame, ("cells",), ("agent",))

    # --- the episode ---------------------------------------------------------------------------------------

    def begin(self, theta: Theta) -> Any:
        room, self._state = self._draw(theta, self.np_random)
        self._room = key_room(*room)
        self._length, self._t = self._episode_length(theta), 0
        return self._observation()

    def advance(self, action: Any) -> Transition:
        self._state = int(self._room.after[checked_index("the action", action, N_ACTIONS), self._state])
        self._t += 1
        there = self._cells()[self._room.cell[self._state]]
        return Transition(
            self._observation(), [float(there == GREEN), float(there == BLUE)], False, self._t >= self._length
        )

    def _draw(self, theta: Theta, rng: np.random.Generator) -> tuple[RoomKey, int]:
        """The room and the first state of an episode: the first draws from its generator."""
        numbers = (_FIRST_FRESH, 1 << 62) if self._layouts is None else (0, self._layouts[int(theta[1])])
        room = self._key(theta, int(rng.integers(*numbers)))
        return room, int(rng.choice(key_room(*room).starts))

    def _key(self, theta: Theta, index: int) -> RoomKey:
        size, doors = (int(value) for value in theta)
        return self.frame, max(3, size - 2) if self._oblong else size, size, doors, index

    def _episode(self, theta: ArrayLike, seed: int) -> tuple[RoomKey, int]:
        rng, _ = seeding.np_random(int(seed))
        return self._draw(self._checked(theta), rng)

    @staticmethod
    def _episode_length(theta: Theta) -> int:
        return 4 * int(theta[0])

    def _cells(self) -> NDArray[np.int64]:
        return self._room.seen[self._room.stage[self._state]]

    def _observation(self) -> Any:
        if self.obs_kind == "pixels":
            return framed(self._picture(PIXELS // self.frame), PIXELS)
        return {key: values[0] for key, values in self._states(self._room, np.array([self._state])).items()}

    def _states(self, room: KeyRoom, states: NDArray[np.int64]) -> dict[str, NDArray[np.int64]]:
        """The observations in n states, each (n, ...)."""
        stage = room.stage[states]
        return {
            "agent": np.stack(np.divmod(room.cell[states], self.frame), 1),
            "holding": stage[:, None] % 2,
            "cells": room.seen[stage],
        }

    def _picture(self, tile: int) -> Picture:
        row, column = divmod(int(self._room.cell[self._state]), self.frame)
        return _tiles(tile).compose(self._cells().reshape(self.frame, self.frame), (row, column))

    def picture(self) -> Picture:
        """The room at 48 pixels a cell with a rim of wall."""
        return framed(self._picture(48), 48 * self.frame + 32)

    # --- exact solutions -----------------------------------------------------------------------------------

    def optimal_return(self, theta: ArrayLike, task: str, seed: int) -> float:
        """The best return of the episode that (seed, θ) fixes, by dynamic programming over its table.

        Raises:
            ThetaError: θ is neither in the space nor in a suite.
            UnknownTaskError: the family has no such task.
        """
        if task not in self.tasks:
            raise UnknownTaskError(f"unknown task {task!r}; this family has {', '.join(self.tasks)}")
        room, start = self._episode(theta, seed)
        return float(_best(room, self._episode_length(self._checked(theta)))[self.tasks.index(task), start])

    def tabular(self, theta: ArrayLike, seed: int) -> TabularMDP:
        """The whole episode as a table; see :class:`~waker_envs.tabular.TabularMDP`.

        Raises:
            NotImplementedError: pixel observations, which have no categories to tell states by.
            ThetaError: θ is neither in the space nor in a suite.
        """
        key, start = self._episode(theta, seed)
        return self._table(key, self._checked(theta))._replace(start=start)

    def beginnings(self, theta: ArrayLike) -> list[Beginning]:
        """All layouts of θ, equally likely, and so are the starts of each.

        Raises:
            NotImplementedError: every episode has a fresh layout; or pixel observations.
            ThetaError: θ is neither in the space nor in a suite.
        """
        checked = self._checked(theta)
        if self._layouts is None:
            raise NotImplementedError("there is no end of fresh layouts")
        count = self._layouts[int(checked[1])]
        found = []
        for index in range(count):
            key = self._key(checked, index)
            chance = np.zeros(len(key_room(*key).cell))
            chance[key_room(*key).starts] = 1.0 / len(key_room(*key).starts) / count
            found.append(Beginning(self._table(key, checked), chance))
        return found

    def _table(self, key: RoomKey, theta: Theta) -> TabularMDP:
        """The table of a room; it begins in the first state."""
        if self.obs_kind == "pixels":
            raise NotImplementedError("a picture has no categories to tell states by")
        room = key_room(*key)
        states = self._states(room, np.arange(len(room.cell)))
        return TabularMDP(states, *room_table(*key), 0, self._episode_length(theta))

    def deterministic(self, theta: ArrayLike) -> bool:
        """True: nothing is random once an episode has begun.

        Raises:
            ThetaError: θ is neither in the space nor in a suite.
        """
        self._checked(theta)
        return True

    def predict(
        self, theta: ArrayLike, seed: int, observation: Any, actions: ArrayLike
    ) -> dict[str, NDArray[np.float64]]:
        """What will be seen after each action of an open-loop sequence; certain, as nothing here is random.

        Args:
            observation: where the sequence starts, from the episode of (seed, θ).
            actions: shape (k,).

        Returns:
            Every key in the form of :mod:`waker_envs.predictions`; empty for pixel observations, which have no
            categorical key.
        """
        if self.obs_kind == "pixels":
            return {}
        room = key_room(*self._episode(theta, seed)[0])
        row, column = (int(x) for x in observation["agent"])
        alike = (room.cell == row * self.frame + column) & (room.seen[room.stage] == observation["cells"]).all(1)
        state, states = int(np.flatnonzero(alike)[0]), []
        for action in np.asarray(actions, np.int64).tolist():
            state = int(room.after[action, state])
            states.append(state)
        seen = self._states(room, np.array(states, np.int64))
        return {name: certain(seen[name], classes) for name, classes in self._classes.items()}


@lru_cache(maxsize=1024)
def _best(room: RoomKey, length: int) -> NDArray[np.float64]:
    """The optimal return of each task from each state, (2, S)."""
    return optimal_policy(*room_table(*room), length)[1]
