"""Combined: TerrainWalker and CleanUp as one family, for one world model that serves both."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from waker_envs.combining import CombinedEnv, Member


class Combined(CombinedEnv):
    """
    ## Description

    TerrainWalker and CleanUp under one world model (Rigter, Jiang & Posner 2024, appendix on domains). The first
    parameter chooses the domain; an episode of (seed, θ) is that domain's own episode, see
    :class:`~waker_envs.terrain.walker.TerrainWalker` and :class:`~waker_envs.cleanup.point.CleanUp`. The model of a
    domain is made when it is first visited.

    ## Action space

    `Box(-1, 1, (6,), float32)`: TerrainWalker's six joint motors; CleanUp's robot takes the first two entries and
    ignores the others.

    ## Observation space

    `obs="pixels"`: `Box(0, 255, (64, 64, 3), uint8)`. `obs="proprio"` and `obs="proprio+scan"`: the domain's vector,
    filled up with zeros to the length of the longer of the two, float32.

    ## Tasks and rewards

    `walk`, `run` (TerrainWalker's), `sort`, `push` (CleanUp's). In the other domain a task earns 0; `task_groups` says
    which task belongs to which domain. CleanUp's episodes have `info["completion"]`: the fraction of blocks inside
    their goal for each of its two tasks, by name.

    ## Parameters θ

    | # | name         | values           | meaning                                   |
    |---|--------------|------------------|-------------------------------------------|
    | 0 | domain       | 0, 1             | 0 walker, 1 cleanup                       |
    | 1 | amplitude    | 0, 0.05 … 1      | walker: height of the hills               |
    | 2 | length_scale | 0.2, 0.25 … 2 m  | walker: length of the hills               |
    | 3 | arena        | 0 … 4            | cleanup: size of the arena                |
    | 4 | n_green      | 0 … arena        | cleanup: green blocks                     |
    | 5 | n_blue       | 0 … arena        | cleanup: blue blocks                      |

    The other domain's parameters are 0. DR: each domain with probability ½, inside it its own DR. `hard` is the union
    of both sets; there is no `hardest`, as one θ would leave out a whole domain. Suites: `walker:steep`,
    `walker:stairs`, `cleanup:5-blocks`.

    ## Starting state

    The domain's.

    ## Episode end

    Truncated after `length` control steps; never terminated. Should the simulation diverge, the episode is truncated at
    once with reward 0 and `info["diverged"]`.

    ## Registered ids

    `waker/Combined-v0`

    ## Arguments

    Args:
        task: the task whose reward `step` returns; None = reward-free.
        render_mode: None or "rgb_array".
        obs: "pixels", "proprio" or "proprio+scan".
        look: "fast" or "paper", see the two families.
        action_repeat: control steps an agent step.
        length: control steps of an episode.
        authors: TerrainWalker's published ground.
        member_kwargs: `{"walker": {…}, "cleanup": {…}}`: further arguments of one family alone.

    Raises:
        ValueError: an argument outside its range.
    """

    members = (
        Member("walker", "waker/TerrainWalker-v0", ("walk", "run")),
        Member("cleanup", "waker/CleanUp-v0", ("sort", "push")),
    )

    def __init__(
        self,
        task: str | None = None,
        render_mode: str | None = None,
        *,
        obs: Literal["pixels", "proprio", "proprio+scan"] = "pixels",
        look: Literal["fast", "paper"] = "fast",
        action_repeat: int = 2,
        length: int = 1000,
        authors: bool = False,
        member_kwargs: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        self._shared = {"obs": obs, "look": look, "action_repeat": action_repeat, "length": length}
        self._walker = {"authors": authors}
        super().__init__(task, render_mode, member_kwargs=member_kwargs)

    def arguments(self, member: str) -> dict[str, Any]:
        return {**self._shared, **(self._walker if member == "walker" else {})}
