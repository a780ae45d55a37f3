"""Turn a MiniGrid environment class into a parametric family: θ are arguments of its constructor.

Called by :mod:`waker_envs.grids.minigrids` for the families we register, and by anyone who has a MiniGrid class.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal

import numpy as np
from gymnasium import spaces
from minigrid.core.constants import COLOR_TO_IDX, OBJECT_TO_IDX, STATE_TO_IDX
from minigrid.minigrid_env import MiniGridEnv

from waker_envs.api import FiniteThetaSpace, ParametricEnv, Theta, Transition
from waker_envs.checked import check_choice, checked_index
from waker_envs.grids.pictures import PIXELS, Picture, framed

TaskReward = Callable[[MiniGridEnv, float], float]
"""The reward of a task after a step, from the environment and the reward it gave itself."""

ToArguments = Callable[[Theta], dict[str, Any]]
"""The constructor arguments that θ stands for."""

_EMPTY = (OBJECT_TO_IDX["empty"], 0, 0)
_WALL = (OBJECT_TO_IDX["wall"], COLOR_TO_IDX["grey"], 0)


def own_reward(env: MiniGridEnv, reward: float) -> float:
    """The reward of the environment itself."""
    return reward


def _unseen(env: MiniGridEnv) -> dict[str, Any]:
    """What MiniGrid's agent would see, without the picture."""
    view = np.zeros((env.agent_view_size, env.agent_view_size, 3), np.uint8)
    return {"image": view, "direction": env.agent_dir, "mission": env.mission}


class MiniGridFamily(ParametricEnv):
    """Base of the classes that :func:`minigrid_family` makes; see there for observations and arguments."""

    env_class: ClassVar[type[MiniGridEnv]]
    to_arguments: ClassVar[ToArguments]
    task_rewards: ClassVar[Mapping[str, TaskReward]]
    theta_space: FiniteThetaSpace
    observation_weights = {"agent": 3.0, "carrying": 3.0, "types": 0.3, "colours": 0.1, "states": 0.3}

    def __init__(
        self,
        task: str | None = None,
        render_mode: str | None = None,
        *,
        obs: Literal["symbolic", "pixels"] = "symbolic",
    ) -> None:
        super().__init__(task, render_mode)
        check_choice("obs", obs, ("symbolic", "pixels"))
        self.obs_kind = obs
        suites = [suite.thetas for suite in self.theta_space.suites.values()]
        self._members = {tuple(theta): self._member(theta) for theta in np.vstack([self.theta_space.points, *suites])}
        self.rows = max(env.height for env in self._members.values())
        self.columns = max(env.width for env in self._members.values())
        cells = self.rows * self.columns
        first = next(iter(self._members.values()))
        self._n_actions = len(first.actions)
        self.action_space = spaces.Discrete(self._n_actions)
        if obs == "pixels":
            self.observation_space = spaces.Box(0, 255, (PIXELS, PIXELS, 3), np.uint8)
        else:
            self.observation_space = spaces.Dict(
                agent=spaces.MultiDiscrete([self.rows, self.columns, 4]),
                carrying=spaces.MultiDiscrete([len(OBJECT_TO_IDX), len(COLOR_TO_IDX)]),
                types=spaces.MultiDiscrete([len(OBJECT_TO_IDX)] * cells),
                colours=spaces.MultiDiscrete([len(COLOR_TO_IDX)] * cells),
                states=spaces.MultiDiscrete([len(STATE_TO_IDX)] * cells),
            )

    def _member(self, theta: Theta) -> MiniGridEnv:
        env = self.env_class(**type(self).to_arguments(theta))
        # The partial view costs most of a MiniGrid step, and nobody looks at it here. A partial, because it is copied
        # and pickled along with its environment.
        vars(env)["gen_obs"] = functools.partial(_unseen, env)
        return env

    def begin(self, theta: Theta) -> Any:
        matches = [env for known, env in self._members.items() if np.allclose(known, theta, atol=1e-9)]
        self._env = matches[0]
        self._env.np_random = self.np_random  # one generator, so that (seed, θ) fixes the episode
        self._env.reset()
        return self._observation()

    def advance(self, action: Any) -> Transition:
        _, reward, terminated, truncated, _ = self._env.step(checked_index("the action", action, self._n_actions))
        rewards = [function(self._env, float(reward)) for function in self.task_rewards.values()]
        return Transition(self._observation(), rewards, terminated, truncated)

    def _observation(self) -> Any:
        env = self._env
        if self.obs_kind == "pixels":
            return framed(self._picture(PIXELS // max(self.rows, self.columns)), PIXELS)
        grid = np.empty((self.rows, self.columns, 3), np.int64)
        grid[:] = _WALL
        cells = [_EMPTY if cell is None else cell.encode() for cell in env.grid.grid]
        grid[: env.height, : env.width] = np.array(cells).reshape(env.height, env.width, 3)
        types, colours, states = grid.reshape(-1, 3).T.copy()
        column, row = env.agent_pos
        held = _EMPTY if env.carrying is None else env.carrying.encode()
        return {
            "agent": np.array([row, column, env.agent_dir], np.int64),
            "carrying": np.array(held[:2], np.int64),
            "types": types,
            "colours": colours,
            "states": states,
        }

    def _picture(self, tile: int) -> Picture:
        column, row = self._env.agent_pos
        return np.asarray(self._env.grid.render(tile, (int(column), int(row)), self._env.agent_dir), np.uint8)

    def picture(self) -> Picture:
        """The whole grid at 32 pixels a cell, in a frame as large as the largest grid."""
        return framed(self._picture(32), 32 * max(self.rows, self.columns))


def minigrid_family(
    name: str,
    env_class: type[MiniGridEnv],
    theta_space: FiniteThetaSpace,
    to_arguments: ToArguments,
    tasks: Mapping[str, TaskReward] | None = None,
    doc: str | None = None,
) -> type[MiniGridFamily]:
    """A :class:`ParametricEnv` class around ``env_class``.

    Its constructor takes `task`, `render_mode` and `obs`. `obs="symbolic"` shows the full grid as a `Dict` of
    categories, padded with wall to the largest grid of any θ: `agent` (row, column, heading: 0 right, 1 down, 2 left,
    3 up), `carrying` (type and colour; type 1 = nothing), and row by row `types`, `colours` and `states`, with
    MiniGrid's numbers. `obs="pixels"` is a 64 × 64 picture of it (without what is carried).

    Args:
        name: of the new class.
        env_class: all its chance must come from its ``np_random``, as in every MiniGrid environment.
        theta_space: the family's parameters.
        to_arguments: the constructor arguments for a θ of the space or of its suites.
        tasks: task → its reward; None = the environment's own reward, as task `goal`.
        doc: the class's documentation.

    Returns:
        The class. For pickling and for registration by name, bind it to ``name`` at module level.
    """
    rewards = dict(tasks or {"goal": own_reward})
    body = {
        "env_class": env_class,
        "theta_space": theta_space,
        "to_arguments": staticmethod(to_arguments),
        "task_rewards": rewards,
        "tasks": tuple(rewards),
        "__doc__": doc or f"{env_class.__name__} of MiniGrid as a parametric family.",
    }
    return type(name, (MiniGridFamily,), body)
