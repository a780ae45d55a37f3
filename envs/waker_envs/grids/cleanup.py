"""GridCleanUp: sort green and blue blocks to opposite sides of a room; CleanUp's parameters and tasks on a grid."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Literal, NamedTuple

import numpy as np
from gymnasium import spaces
from gymnasium.utils import seeding
from minigrid.core.world_object import Box, Floor, Wall, WorldObj
from numpy.typing import ArrayLike, NDArray

from waker_envs.api import Board, ParametricEnv, Theta, Transition, UnknownTaskError
from waker_envs.checked import check_choice, checked_count, checked_index
from waker_envs.cleanup.arena import ARENAS, cleanup_theta_space
from waker_envs.grids.cleanup_exact import Room, Solution
from waker_envs.grids.cleanup_goals import GOALS, Goals, symmetry
from waker_envs.grids.cleanup_optima import optimum
from waker_envs.grids.pictures import PIXELS, Picture, TileSet, framed
from waker_envs.grids.pushing import N_ACTIONS, move
from waker_envs.predictions import certain

GREEN, BLUE = 1, 2
"""Colours of blocks."""
_FLOOR, _WALL, _GREEN_GOAL, _BLUE_GOAL = range(4)
ELSEWHERE: dict[str, dict[str, Any]] = {goals: {"goals": goals} for goals in GOALS[1:]}
"""Suites of rooms that are mirrored: constructor arguments."""


def arena_side(arena: int) -> int:
    """Side of an arena's floor in cells: 3 … 7; arena 5, the out-of-distribution one, is as large as arena 4."""
    return 3 + min(arena, ARENAS - 1)


@lru_cache(maxsize=8)
def _tiles(tile: int) -> TileSet:
    floors: list[WorldObj | None] = [None, Wall(), Floor("green"), Floor("blue")]
    # Class = floor + 4 · block: a block hides the floor under it.
    return TileSet([*floors, *[Box("green")] * 4, *[Box("blue")] * 4], tile)


class GridCleanUp(ParametricEnv):
    """
    ## Description

    A square room with a green goal along its left wall, a blue goal along its right wall, and green and blue
    blocks between them. Bring the blocks to the goals the task names. The parameters, their distribution, the
    tasks and the form of the reward are CleanUp's (Rigter, Jiang & Posner 2024, appendix on domains); a cell
    stands for 0.4 m, the side of a block.

    The agent pushes single blocks and pulls them. With pushing alone, a block in a goal column would stay there for
    ever, and an exploring agent would soon make most tasks impossible. A pull undoes a push and a push a pull, so
    no state is a dead end: a task that could be solved at the start still can.

    ## Action space

    `Discrete(9)`: 0 stay; 1 up, 2 right, 3 down, 4 left, pushing the block ahead if the cell beyond it is free; 5 up,
    6 right, 7 down, 8 left, drawing along the block directly behind, if there is one. What is blocked does nothing.

    ## Observation space

    `obs="symbolic"`: `Dict` of categories over a frame of 7 × 7 cells, row by row, with
    - `agent`: `MultiDiscrete([7, 7])`, row and column;
    - `blocks`: `MultiDiscrete([3] * 49)`: no block, green, blue;
    - `cells`: `MultiDiscrete([4] * 49)`: floor, wall, green goal, blue goal; constant through an episode.

    `obs="pixels"`: `Box(0, 255, (64, 64, 3), uint8)`, the same as a picture.

    ## Tasks and rewards

    `sort`: blocks to the goal of their colour, so green ones to the left. `sort-reversed`: to the other goal. `push`:
    all to the blue goal. The reward of a step is 4 × the decrease of Σ|column of block − column of its goal|, in
    cells, + 0.5 × the fraction of blocks inside their goal after the step (1 when there are none). CleanUp pays 100
    a metre, 40 a cell, in episodes of 1000 control steps; with a tenth of the steps, a tenth of 40 keeps the two
    terms in proportion.
    `info["completion"]`, shape (3,), is that fraction for each task.

    ## Parameters θ

    | # | name    | values      | meaning                                   |
    |---|---------|-------------|-------------------------------------------|
    | 0 | arena   | 0 … 4       | the room has (3 + arena)² cells           |
    | 1 | n_green | 0 … arena   | green blocks; at most `arena` with n_blue |
    | 2 | n_blue  | 0 … arena   | blue blocks                               |

    DR: arena uniform, the number of blocks uniform in 0 … arena, the green ones uniform in 0 … that number. `hardest`
    is (4, 2, 2), `hard` is arena 4 with four blocks of any split.

    Suites: harder is `5-blocks`, arena 5 (as large as arena 4) with five blocks of every split. Different and exactly
    as hard are `swapped`, all θ with the green goal on the right and the blue one on the left, and `ends`, all θ with
    the green goal along the upper wall and the blue one along the lower: an episode of one θ and seed is the ordinary
    one mirrored, of the same optimum. An evaluation draws θ evenly there, and other seeds.

    ## Starting state

    Blocks and agent on different cells between the goals, drawn uniformly by the episode's generator.

    ## Episode end

    Truncated after 100 steps; never terminated.

    ## Registered ids

    `waker/GridCleanUp-v0`

    ## Arguments

    Args:
        task: the task whose reward `step` returns; None = reward-free.
        obs: "symbolic" or "pixels".
        length: steps of an episode.
        goals: where the green and the blue goal lie: "sides", left and right; "swapped", right and left; "ends", along
            the upper and the lower wall, rows then taking the place of columns.
        render_mode: None or "rgb_array".

    Raises:
        ValueError: an argument outside its range.
    """

    tasks: tuple[str, ...] = ("sort", "sort-reversed", "push")
    frame = 7
    """The room is shown in a square of so many cells a side."""
    theta_space = cleanup_theta_space("size of the arena: 3 + arena cells a side", ELSEWHERE)
    observation_weights = {"agent": 3.0, "blocks": 1.0, "cells": 0.1}

    PER_CELL = 4.0
    INSIDE = 0.5

    def __init__(
        self,
        task: str | None = None,
        render_mode: str | None = None,
        *,
        obs: Literal["symbolic", "pixels"] = "symbolic",
        length: int = 100,
        goals: Goals = "sides",
    ) -> None:
        super().__init__(task, render_mode)
        check_choice("obs", obs, ("symbolic", "pixels"))
        check_choice("goals", goals, GOALS)
        self.goals = goals
        self.obs_kind, self.length = obs, checked_count("length", length)
        self.action_space = spaces.Discrete(N_ACTIONS)
        if obs == "pixels":
            self.observation_space = spaces.Box(0, 255, (PIXELS, PIXELS, 3), np.uint8)
        else:
            self.observation_space = spaces.Dict(
                {name: spaces.MultiDiscrete(list(classes)) for name, classes in self._classes.items()}
            )
            self.observation_board = Board(self.frame, self.frame, ("blocks", "cells"), ("agent",))

    @property
    def _classes(self) -> dict[str, tuple[int, ...]]:
        """Classes of the variables of each key."""
        cells = self.frame**2
        return {"agent": (self.frame, self.frame), "blocks": (3,) * cells, "cells": (4,) * cells}

    def begin(self, theta: Theta) -> Any:
        start = start_of(theta, self.np_random, self.frame)
        self._side, self._t, self._agent = start.side, 0, start.agent
        self._blocks = [0] * self.frame**2
        for cells, colour in ((start.green, GREEN), (start.blue, BLUE)):
            for cell in cells:
                self._blocks[cell] = colour
        self._shown = symmetry(self.goals, self._side, self.frame)
        self._cells = floor_plan(self._side, self.frame)
        self._distances, self._inside = self._standing()
        return self._observation()

    def advance(self, action: Any) -> Transition:
        chosen = checked_index("the action", action, N_ACTIONS)
        before = self._distances
        self._agent = move(self.frame, self._side, self._agent, self._blocks, int(self._shown.actions[chosen]))
        self._t += 1
        self._distances, self._inside = self._standing()
        rewards = self.PER_CELL * (before - self._distances) + self.INSIDE * self._inside
        info = {"completion": self._inside.astype(np.float32)}
        return Transition(self._observation(), rewards, truncated=self._t >= self.length, info=info)

    def _standing(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """For each task, Σ|column − goal column| in cells and the fraction of blocks inside their goal."""
        far = self._side - 1
        placed = [(colour, cell % self.frame) for cell, colour in enumerate(self._blocks) if colour]
        goals = ({GREEN: 0, BLUE: far}, {GREEN: far, BLUE: 0}, {GREEN: far, BLUE: far})
        distances = [sum(abs(column - goal[colour]) for colour, column in placed) for goal in goals]
        inside = [sum(column == goal[colour] for colour, column in placed) for goal in goals]
        fractions = np.array(inside, float) / len(placed) if placed else np.ones(len(goals))
        return np.array(distances, float), fractions

    def _observation(self) -> Any:
        if self.obs_kind == "pixels":
            return framed(self._picture(PIXELS // self.frame), PIXELS)
        cells = self._shown.cells
        return {
            "agent": np.array(divmod(int(cells[self._agent]), self.frame)),
            "blocks": np.array(self._blocks)[cells],
            "cells": self._cells[cells],
        }

    def _picture(self, tile: int) -> Picture:
        shown = self._shown.cells
        cells = (self._cells + 4 * np.array(self._blocks))[shown].reshape(self.frame, self.frame)
        row, column = divmod(int(shown[self._agent]), self.frame)
        return _tiles(tile).compose(cells, (row, column))

    def picture(self) -> Picture:
        """The room at 48 pixels a cell."""
        return framed(self._picture(48), 48 * self.frame + 32)

    # --- exact solutions -----------------------------------------------------------------------------------

    def optimal_return(self, theta: ArrayLike, task: str, seed: int) -> float:
        """The best return of the episode that (seed, θ) fixes: of a plan, as nothing here is random.

        NaN where the search ended without a proof; :meth:`return_bounds` then says how much is known. It never did with
        up to four blocks and episodes of 100 steps. Kept on disk by
        :mod:`waker_envs.grids.cleanup_optima`.

        Raises:
            ThetaError: θ is neither in the space nor in a suite.
            UnknownTaskError: the family has no such task.
        """
        low, high = self.return_bounds(theta, task, seed)
        return low if low == high else float("nan")

    def return_bounds(self, theta: ArrayLike, task: str, seed: int) -> tuple[float, float]:
        """The return of the best plan known, and one that no plan exceeds; see :meth:`optimal_return`."""
        room, found = self._solved(theta, task, seed)
        n = max(1, len(room.left) + len(room.right))
        most = self.PER_CELL * room.distance + self.INSIDE * self.length
        return most - self.INSIDE * found.cost / n, most - self.INSIDE * found.bound / n

    def optimal_actions(self, theta: ArrayLike, task: str, seed: int) -> NDArray[np.int64]:
        """The actions of the best plan known, shape (length,)."""
        room, found = self._solved(theta, task, seed)
        becomes = symmetry(self.goals, room.side, self.frame).actions
        return np.asarray(becomes[np.array(found.actions, np.int64)])

    def _solved(self, theta: ArrayLike, task: str, seed: int) -> tuple[Room, Solution]:
        if task not in self.tasks:
            raise UnknownTaskError(f"unknown task {task!r}; this family has {', '.join(self.tasks)}")
        rng, _ = seeding.np_random(int(seed))
        room = start_of(self._checked(theta), rng, self.frame).room(task)
        n = len(room.left) + len(room.right)
        return room, optimum(room, self.length, round(n * self.PER_CELL / self.INSIDE))

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
            observation: where the sequence starts.
            actions: shape (k,).

        Returns:
            ``agent`` (k, 7, 7), one-hot over rows and columns; ``blocks`` (k, 49, 3) and ``cells`` (k, 49, 4), one-hot
            over the classes of each cell. Empty for pixel observations, which have no categorical key.
        """
        if self.obs_kind == "pixels":
            return {}
        side = arena_side(int(self._checked(theta)[0]))
        shown = symmetry(self.goals, side, self.frame)
        row, column = (int(x) for x in observation["agent"])
        agent = int(shown.cells[row * self.frame + column])
        blocks = np.asarray(observation["blocks"])[shown.cells].tolist()
        sequence = shown.actions[np.asarray(actions, np.int64)]
        agents, boards = np.zeros((len(sequence), 2), np.int64), np.zeros((len(sequence), self.frame**2), np.int64)
        for k, action in enumerate(sequence.tolist()):
            agent = move(self.frame, side, agent, blocks, action)
            agents[k], boards[k] = divmod(int(shown.cells[agent]), self.frame), blocks
        cells = np.broadcast_to(floor_plan(side, self.frame)[shown.cells], boards.shape)
        seen = {"agent": agents, "blocks": boards[:, shown.cells], "cells": cells}
        return {name: certain(seen[name], classes) for name, classes in self._classes.items()}


class Start(NamedTuple):
    """Where an episode begins: cells of the agent and of each colour's blocks in the frame, goals at the sides."""

    frame: int
    side: int
    agent: int
    green: list[int]
    blue: list[int]

    def room(self, task: str) -> Room:
        """The same as the solver sees it: cells numbered within the room, blocks by the wall they belong to."""
        green, blue = (tuple(sorted(self._inside(cell) for cell in cells)) for cells in (self.green, self.blue))
        left, right = {"sort": (green, blue), "sort-reversed": (blue, green)}.get(task, ((), green + blue))
        return Room(self.side, self._inside(self.agent), left, tuple(sorted(right)))

    def _inside(self, cell: int) -> int:
        row, column = divmod(cell, self.frame)
        return row * self.side + column


def start_of(theta: Theta, rng: np.random.Generator, frame: int) -> Start:
    """The start of an episode: the first draw from its generator."""
    arena, n_green, n_blue = (int(v) for v in theta)
    side = arena_side(arena)
    middle = [r * frame + c for r in range(side) for c in range(1, side - 1)]
    agent, *blocks = rng.permutation(middle)[: 1 + n_green + n_blue].tolist()
    return Start(frame, side, agent, blocks[:n_green], blocks[n_green:])


@lru_cache(maxsize=8)
def floor_plan(side: int, frame: int) -> NDArray[np.int64]:
    """The class of each cell of the frame for a room of this side, goals at the sides, shape (frame²,), read-only."""
    plan = np.full((frame, frame), _WALL, np.int64)
    plan[:side, :side] = _FLOOR
    plan[:side, 0], plan[:side, side - 1] = _GREEN_GOAL, _BLUE_GOAL
    plan.setflags(write=False)
    return plan.ravel()
