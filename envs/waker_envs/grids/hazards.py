"""GridHazards: a room of coloured tiles, hazards and slippery floor whose optimal return is known exactly."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from gymnasium import spaces
from gymnasium.utils import seeding
from minigrid.core.world_object import Floor, Goal, Lava, Wall
from numpy.typing import ArrayLike, NDArray

from waker_envs.api import Board, ParametricEnv, Theta, Transition, UnknownTaskError
from waker_envs.checked import check_choice, checked_index
from waker_envs.grids.hazards_edits import room_edits
from waker_envs.grids.hazards_exact import cell_values, forward, room_table
from waker_envs.grids.hazards_theta import Layouts, hazard_space, layout_counts, nearest, sides
from waker_envs.grids.layouts import HAZARD, N_ACTIONS, TILES, WALL, Layout, check_room, hazard_count, make_layout
from waker_envs.grids.pictures import PIXELS, Picture, TileSet, framed
from waker_envs.predictions import certain
from waker_envs.tabular import Beginning, TabularMDP

_FLOOR_COLOURS = (None, "purple", "yellow", "grey")
_FIRST_FRESH = 1 << 32  # fresh layouts never coincide with the numbered ones


@lru_cache(maxsize=16)
def _tiles(n_slips: int, tile: int) -> TileSet:
    floors = [None if colour is None else Floor(colour) for colour in _FLOOR_COLOURS[:n_slips]]
    return TileSet([*floors, Wall(), Lava(), Goal("green"), Goal("blue"), Goal("red")], tile)


class GridHazards(ParametricEnv):
    """
    ## Description

    A square room with a green, a blue and a red tile, hazards, and floor that may be slippery. Stand on the
    tile the task names, and do not step on a hazard. The whole room is seen. It is small enough for dynamic
    programming over the true dynamics, so regret is exact; slip is noise that no model can predict away, so a
    good error estimate must not chase it.

    ## Action space

    `Discrete(5)`: 0 stay, 1 up, 2 right, 3 down, 4 left (absolute; walls stop a move). With the slip probability
    the chosen action is replaced by one drawn uniformly from all five.

    ## Observation space

    `obs="symbolic"`: `Dict` with
    - `agent`: `MultiDiscrete([n, n])`, the agent's row and column, n = the largest size;
    - `cells`: `MultiDiscrete([C] * n²)`, the class of each cell row by row, without the agent: one floor class for
      each slip level, then wall, hazard, green, blue, red. It is constant through an episode, and shows the
      slip level.

    `obs="pixels"`: `Box(0, 255, (64, 64, 3), uint8)`, the same as a picture; the agent is a white disc.

    ## Tasks and rewards

    `green`, `blue`, `red`: 1 for each step at whose end the agent stands on that tile, else 0.

    ## Parameters θ

    | # | name    | values (default) | meaning                                                          |
    |---|---------|------------------|------------------------------------------------------------------|
    | 0 | size    | 3, 4, 5          | side of the room in cells; the rest of the n × n frame is wall   |
    | 1 | hazards | 0, 0.1, 0.2      | share of the cells that are hazards, at least one when positive  |
    | 2 | slip    | 0, 0.1           | probability that the chosen action is replaced by a random one   |

    DR is uniform over all combinations. `hardest` is the largest value of each; `hard` are the rooms of the largest
    size with hazards of which density or slip is at its largest: the longest ways, with most to lose on them. The set
    `noisy` has the θ whose slip is the largest, where some have less: data there is dice that nobody can foresee.

    Suites. Harder: `fresh` (all θ, with a layout never seen in training every episode) and `denser` (the largest size
    with hazard density 0.3, each slip). Different, but not harder: `emptier` (the largest size with half the smallest
    positive density) and `oblong` (the θ of the largest size in rooms with two columns less).

    ## Starting state

    A layout, one of `n_layouts` for its (size, hazards), and a floor cell, both drawn by the episode's generator.
    No hazard cuts off a tile or a start.

    ## Episode end

    Terminated on a hazard; truncated after 4 · size steps.

    ## Registered ids

    `waker/GridHazards-v0`

    `waker/GridHazardsWide-v0`: slips 0 and 0.3, and more layouts the larger and the more dangerous the room,
    `n_layouts=((1, 1, 1), (1, 1, 2), (1, 2, 8))`: some θ have up to eight times as many as others, so that it
    matters which environment data comes from.

    ## Arguments

    Args:
        task: the task whose reward `step` returns; None = reward-free.
        obs: "symbolic" or "pixels".
        sizes: room sizes, each ≥ 3.
        densities: hazard densities, each in [0, 1), with room for the tiles.
        slips: slip probabilities, each in [0, 1]; at most four.
        n_layouts: layouts for each (size, hazards): one number, or one for each size, smallest first, or for each size
            one for each density; None = a fresh one every episode.
        shape: "square", or "oblong": two columns less, at least three.
        render_mode: None or "rgb_array".

    Raises:
        ValueError: an argument outside its range.
    """

    tasks: tuple[str, ...] = ("green", "blue", "red")
    # Dozens of cells that never change would otherwise drown the one thing that moves.
    observation_weights = {"agent": 3.0, "cells": 0.3}

    def __init__(
        self,
        task: str | None = None,
        render_mode: str | None = None,
        *,
        obs: Literal["symbolic", "pixels"] = "symbolic",
        sizes: Sequence[int] = (3, 4, 5),
        densities: Sequence[float] = (0.0, 0.1, 0.2),
        slips: Sequence[float] = (0.0, 0.1),
        n_layouts: Layouts | None = 2,
        shape: Literal["square", "oblong"] = "square",
    ) -> None:
        super().__init__(task, render_mode)
        check_choice("obs", obs, ("symbolic", "pixels"))
        if not sizes or min(sizes) < 3 or any(s != int(s) for s in sizes):
            raise ValueError(f"sizes must be whole numbers of at least 3, got {list(sizes)}")
        if not densities or min(densities) < 0:
            raise ValueError(f"densities must be numbers of at least 0, got {list(densities)}")
        if not 1 <= len(slips) <= len(_FLOOR_COLOURS) or min(slips) < 0 or max(slips) > 1:
            raise ValueError(f"slips must be one to {len(_FLOOR_COLOURS)} probabilities, got {list(slips)}")
        check_choice("shape", shape, ("square", "oblong"))
        self._oblong = shape == "oblong"
        for size, density in itertools.product(sizes, densities):
            check_room(*sides(size, self._oblong), density)
        self.obs_kind = obs
        each_size = sorted({int(size) for size in sizes})
        self.frame = each_size[-1]
        self.densities = tuple(sorted({float(d) for d in densities}))
        self.slips = tuple(sorted({float(s) for s in slips}))
        self._layouts = layout_counts(n_layouts, each_size, self.densities)
        self.theta_space = hazard_space(each_size, self.densities, self.slips)
        self.n_classes = len(self.slips) + 2 + len(TILES)
        self.action_space = spaces.Discrete(N_ACTIONS)
        if obs == "pixels":
            self.observation_space = spaces.Box(0, 255, (PIXELS, PIXELS, 3), np.uint8)
        else:
            self.observation_space = spaces.Dict(
                agent=spaces.MultiDiscrete([self.frame, self.frame]),
                cells=spaces.MultiDiscrete([self.n_classes] * self.frame**2),
            )
            self.observation_board = Board(self.frame, self.frame, ("cells",), ("agent",))

    @property
    def cell_names(self) -> tuple[str, ...]:
        """The name of each class of ``cells``."""
        floors = [f"floor (slip {slip:g})" for slip in self.slips]
        return (*floors, "wall", "hazard", *self.tasks)

    # --- the episode ---------------------------------------------------------------------------------------

    def begin(self, theta: Theta) -> Any:
        self._layout, self._cell, self._index = self._draw(theta, self.np_random)
        self._length = self._episode_length(theta)
        self._level = self._slip_level(theta)
        self._t = 0
        self._replaced: NDArray[np.bool_] | None = None
        if theta[2] > 0:
            # Drawn for the whole episode at once: two calls in place of two a step, half of a step's time.
            self._replaced = self.np_random.random(self._length) < theta[2]
            self._random = self.np_random.integers(N_ACTIONS, size=self._length)
        self._cells = self._classes(self._layout, self._level)
        return self._observation()

    def advance(self, action: Any) -> Transition:
        chosen = checked_index("the action", action, N_ACTIONS)
        if self._replaced is not None and self._replaced[self._t]:
            chosen = int(self._random[self._t])
        self._t += 1
        self._cell = self._layout.moves[chosen][self._cell]
        kind = self._layout.kinds[self._cell]
        rewards = [float(kind == tile) for tile in TILES]
        return Transition(self._observation(), rewards, kind == HAZARD, self._t >= self._length)

    def _draw(self, theta: Theta, rng: np.random.Generator) -> tuple[Layout, int, int]:
        """The layout and start cell of an episode: the first draws from its generator."""
        count = self._count(theta)
        index = int(rng.integers(_FIRST_FRESH, 1 << 62) if count is None else rng.integers(count))
        layout = self._layout_number(theta, index)
        return layout, layout.starts[int(rng.integers(len(layout.starts)))], index

    def layouts(self, theta: ArrayLike) -> tuple[Layout, ...]:
        """Every layout that an episode of θ may have.

        Raises:
            ValueError: each has a fresh one.
        """
        checked = self._checked(theta)
        count = self._count(checked)
        if count is None:
            raise ValueError("every episode has a fresh layout: there is no end of them")
        return tuple(self._layout_number(checked, index) for index in range(count))

    def _count(self, theta: Theta) -> int | None:
        """The number of layouts; None = a fresh one every episode."""
        return None if self._layouts is None else self._layouts[int(theta[0])][nearest(self.densities, theta[1])]

    def _layout_number(self, theta: Theta, index: int) -> Layout:
        return make_layout(self.frame, *sides(theta[0], self._oblong), self._hazards(theta), index)

    def _hazards(self, theta: Theta) -> int:
        rows, columns = sides(theta[0], self._oblong)
        return hazard_count(rows * columns, float(theta[1]))

    @staticmethod
    def _episode_length(theta: Theta) -> int:
        return 4 * int(theta[0])

    def _slip_level(self, theta: Theta) -> int:
        return nearest(self.slips, theta[2])

    def _classes(self, layout: Layout, level: int) -> NDArray[np.int64]:
        """Observed classes, shape (n²,): a floor class for the slip level, then the other kinds."""
        return np.where(layout.kinds >= WALL, layout.kinds + len(self.slips) - 1, level)

    def _observation(self) -> Any:
        if self.obs_kind == "pixels":
            return framed(self._picture(PIXELS // self.frame), PIXELS)
        return {"agent": np.array(divmod(self._cell, self.frame)), "cells": self._cells.copy()}

    def _picture(self, tile: int) -> Picture:
        cells = self._cells.reshape(self.frame, self.frame)
        row, column = divmod(self._cell, self.frame)
        return _tiles(len(self.slips), tile).compose(cells, (row, column))

    def picture(self) -> Picture:
        """The room at 48 pixels a cell with a rim of wall."""
        return framed(self._picture(48), 48 * self.frame + 32)

    # --- exact solutions -----------------------------------------------------------------------------------

    def optimal_return(self, theta: ArrayLike, task: str, seed: int) -> float:
        """The best expected return of the episode that (seed, θ) fixes, by dynamic programming.

        The policy sees the room and the time left, and knows slip, but not how this episode's dice will fall.
        """
        _, cell, _ = self._episode(theta, seed)
        return float(self.action_values(theta, task, seed)[0, :, cell].max())

    def action_values(self, theta: ArrayLike, task: str, seed: int) -> NDArray[np.float64]:
        """Optimal Q[t, a, s] of that episode after t steps in cell s, shape (4 · size, 5, n²), read-only.

        Raises:
            ThetaError: θ is neither in the space nor in a suite.
            UnknownTaskError: the family has no such task.
        """
        if task not in self.tasks:
            raise UnknownTaskError(f"unknown task {task!r}; this family has {', '.join(self.tasks)}")
        checked = self._checked(theta)
        _, _, index = self._episode(checked, seed)
        slip, length = self.slips[self._slip_level(checked)], self._episode_length(checked)
        key = (*sides(checked[0], self._oblong), self._hazards(checked), index)
        return cell_values(self.frame, *key, slip, self.tasks.index(task), length)

    def optimal_policy(self, theta: ArrayLike, task: str, seed: int) -> NDArray[np.int64]:
        """An optimal action for each number of steps made and each cell, shape (4 · size, n²)."""
        return self.action_values(theta, task, seed).argmax(1)

    def tabular(self, theta: ArrayLike, seed: int) -> TabularMDP:
        """The whole episode as a table; see :class:`~waker_envs.tabular.TabularMDP`.

        Raises:
            NotImplementedError: pixel observations, which have no categories to tell states by.
            ThetaError: θ is neither in the space nor in a suite.
        """
        checked = self._checked(theta)
        _, start, index = self._episode(checked, seed)
        table, cells = self._room(checked, index)
        return table._replace(start=int(np.searchsorted(cells, start)))

    def beginnings(self, theta: ArrayLike) -> list[Beginning]:
        """All layouts of θ, equally likely, and so are the starts of each.

        Raises:
            NotImplementedError: every episode has a fresh layout; or pixel observations.
            ThetaError: θ is neither in the space nor in a suite.
        """
        checked = self._checked(theta)
        if (count := self._count(checked)) is None:
            raise NotImplementedError("there is no end of fresh layouts")
        found = []
        for index in range(count):
            table, cells = self._room(checked, index)
            begins = np.isin(cells, self._layout_number(checked, index).starts)
            found.append(Beginning(table, begins / begins.sum() / count))
        return found

    def _room(self, theta: Theta, index: int) -> tuple[TabularMDP, NDArray[np.int64]]:
        """The table of a layout, and the cell of each state; it begins in the first."""
        if self.obs_kind == "pixels":
            raise NotImplementedError("a picture has no categories to tell states by")
        level = self._slip_level(theta)
        key = (*sides(theta[0], self._oblong), self._hazards(theta), index)
        cells, move, reward = room_table(self.frame, *key, self.slips[level])
        seen = self._classes(self._layout_number(theta, index), level)
        room = np.broadcast_to(seen, (len(cells), self.frame**2))
        states = {"agent": np.stack(np.divmod(cells, self.frame), 1), "cells": room}
        return TabularMDP(states, move, reward, 0, self._episode_length(theta)), cells

    def deterministic(self, theta: ArrayLike) -> bool:
        """Whether nothing in an episode of θ is random once it has begun: no slip."""
        return self.slips[self._slip_level(self._checked(theta))] == 0.0

    def predict(
        self, theta: ArrayLike, seed: int, observation: Any, actions: ArrayLike
    ) -> dict[str, NDArray[np.float64]]:
        """The exact distribution of what will be seen after each action of an open-loop sequence.

        A hazard holds whoever enters it. The time limit is not modelled: it is not in the observation.

        Args:
            observation: where the sequence starts, from the episode of (seed, θ).
            actions: shape (k,).

        Returns:
            ``agent`` (k, n, n) over rows and columns; ``cells``, which stay as they are, in the form of
            :mod:`waker_envs.predictions`. Empty for pixel observations, which have no categorical key.
        """
        if self.obs_kind == "pixels":
            return {}
        checked = self._checked(theta)
        layout, _, _ = self._episode(checked, seed)
        row, column = (int(x) for x in observation["agent"])
        level = self._slip_level(checked)
        rows = forward(layout, self.slips[level], row * self.frame + column, np.asarray(actions, np.int64))
        cells = np.broadcast_to(self._classes(layout, level), (len(rows), self.frame**2))
        return {
            "agent": rows.reshape(-1, self.frame, self.frame),
            "cells": certain(cells, (self.n_classes,) * self.frame**2),
        }

    def neutral_edits(self, task: str, states: Mapping[str, NDArray[Any]]) -> dict[str, dict[str, NDArray[Any]]]:
        """Edits of consecutive states of a room that leave all rewards of ``task`` as they are.

        ``slip recoloured``: the floor of another slip level; ``other tiles swapped``: the two tiles that the task does
        not name; ``hazard moved``: a hazard on which no state stands, to floor on which none stands; ``room shifted``:
        a row down and a column to the right in its frame of wall, where there is room.

        Args:
            states: ``agent`` (T, 2) and ``cells`` (T, n²).

        Raises:
            NotImplementedError: pixel observations.
            UnknownTaskError: the family has no such task.
        """
        if self.obs_kind == "pixels":
            raise NotImplementedError("pictures are not edited")
        if task not in self.tasks:
            raise UnknownTaskError(f"unknown task {task!r}; this family has {', '.join(self.tasks)}")
        tile, agent, cells = len(self.slips) + 2 + self.tasks.index(task), states["agent"], states["cells"]
        found = room_edits(agent.astype(np.int64), cells.astype(np.int64), len(self.slips), tile)
        return {name: {k: seen[k].astype(states[k].dtype) for k in states} for name, seen in found.items()}

    def _episode(self, theta: ArrayLike, seed: int) -> tuple[Layout, int, int]:
        rng, _ = seeding.np_random(int(seed))
        return self._draw(self._checked(theta), rng)
