"""CleanUp: a point robot sorts green and blue blocks to opposite sides of an arena (MuJoCo)."""

from __future__ import annotations

import math

from waker_envs.cleanup.base import CleanUpEnv
from waker_envs.cleanup.models import NOSE, ROBOT, SOLID, Robot, rgba

_RADIUS = 0.15
# The paper gives neither the robot's mass nor its damping. Density 1, in the units in which the blocks have 0.001,
# gives 14.1 g; with the 0.015 N of the motor that is 1.06 m/s². Damping 0.01 N·s/m ends at 1.5 m/s: from rest 1.4 m
# in two seconds, so that the largest arena, 2.8 m, is crossed in about three and the smallest in less than two. The
# hinge's damping is small beside the servo's.
_POINT = Robot(
    body=f"""
    <body name="robot" pos="0 0 {_RADIUS}">
      <joint name="x" type="slide" axis="1 0 0" damping="0.01"/>
      <joint name="y" type="slide" axis="0 1 0" damping="0.01"/>
      <joint name="z" type="hinge" axis="0 0 1" damping="0.0005"/>
      <geom name="robot" type="sphere" size="{_RADIUS}" density="1" rgba="{rgba(ROBOT)}" {SOLID}/>
      <geom name="nose" type="sphere" pos="{_RADIUS} 0 0" size="0.05" density="0" group="4" {SOLID}/>
      <geom name="heading" class="drawn" type="box" pos="0.11 0 0.08" size="0.09 0.05 0.08" rgba="{rgba(NOSE)}"/>
      <site name="robot"/>
    </body>""",
    actuators="""
    <motor name="forward" site="robot" gear="0.3 0 0 0 0 0" ctrlrange="-1 1" forcerange="-0.05 0.05"/>
    <velocity name="turn" joint="z" gear="0.3" kv="1" ctrlrange="-1 1" forcerange="-0.05 0.05"/>""",
    timestep=0.002,
    radius=_RADIUS,
    block_half=0.2,
    block_density=0.001,
)


class CleanUp(CleanUpEnv):
    """
    ## Description

    A walled square arena seen from above, a green goal along its left wall and a blue one along its right wall, and
    green and blue blocks between them. A robot pushes the blocks to the goals the task names (Rigter, Jiang & Posner
    2024, appendix on domains). Built on the physics of `mujoco`.

    The robot is a sphere of radius 0.15 m with a nose, sliding over the floor. The blocks are light free boxes of
    half-size 0.2 m and density 0.001. Walls are slippery, so that neither robot nor block sticks to one.

    ## Action space

    `Box(-1, 1, (2,), float32)`: forward force (1 is 0.015 N along the heading, 1.06 m/s², at most 1.5 m/s) and turn
    velocity (1 is 3.3 rad/s, to the left). What is out of range is clipped. One step holds the action for
    `action_repeat` control steps of 20 ms (10 timesteps of 2 ms).

    ## Observation space

    `obs="pixels"` (default): `Box(0, 255, (64, 64, 3), uint8)`, the picture of a camera 3.5 m above the middle, with
    45° of view: x to the right, y up. The largest arena just fills it. Needs OpenGL.

    `obs="proprio"`: `Box(-inf, inf, (7,), float32)`: x, y (m), cos and sin of the heading, velocity along x and y
    (m/s), yaw rate (rad/s).

    `obs="proprio+scan"`: `Box(-inf, inf, (45,), float32)`: the same 7; then for each of 5 places of a block: present,
    green, blue (0 or 1), x, y (m), velocity along x and y (m/s), all 0 where there is no block; then x of the left
    goal's and of the right goal's middle, and the arena's half-size (m). All in the arena's coordinates, origin in
    the middle. Green blocks take the first places; a block keeps its place through the episode.

    ## Tasks and rewards

    `sort`: green blocks to the left, blue to the right. `sort-reversed`: the other way. `push`: all to the right. A
    control step pays 100 × the decrease of Σ|x of block − x of the middle of its goal|, in metres, + 0.5 × the
    fraction of blocks whose centre is inside their goal after it (1 when there are none); a step pays the sum over
    its repeats. `info["completion"]`, shape (3,), is that fraction for each task, after the step.

    ## Parameters θ

    | # | name    | values      | meaning                                        |
    |---|---------|-------------|------------------------------------------------|
    | 0 | arena   | 0 … 4       | half-size 0.7, 0.875, 1.05, 1.225, 1.4 m       |
    | 1 | n_green | 0 … arena   | green blocks; at most `arena` with n_blue      |
    | 2 | n_blue  | 0 … arena   | blue blocks                                    |

    DR: arena uniform, the number of blocks uniform in 0 … arena, the green ones uniform in 0 … that number. `hardest`
    is (4, 2, 2), `hard` is arena 4 with four blocks of any split. Suite `5-blocks`: arena 5 (as large as arena 4)
    with five blocks of every split.

    ## Starting state

    Drawn by the episode's generator. Blocks stand parallel to the walls, whole outside the goals (strips 0.5 m wide),
    0.35 m of free floor between any two. The robot's centre is between the goals, its sphere 0.2 m from every block
    and wall, its heading anything. All is at rest.

    ## Episode end

    Truncated after `length` control steps; never terminated. Should the simulation diverge, the episode is truncated at
    once with reward 0 and `info["diverged"]`.

    ## Registered ids

    `waker/CleanUp-v0`

    ## Arguments

    Args:
        task: the task whose reward `step` returns; None = reward-free.
        render_mode: None or "rgb_array" (480 × 480 for people).
        obs: "pixels", "proprio" or "proprio+scan".
        look: "fast" (no shadows, no multisampling) or "paper" (everything on).
        action_repeat: control steps in one step.
        length: control steps of an episode.

    Raises:
        ValueError: an argument outside its range, or an action of another shape or with NaN.
        NoRendererError: at the first picture, where no OpenGL is at hand.
    """

    robot = _POINT
    proprio_names = ("x", "y", "cos heading", "sin heading", "x velocity", "y velocity", "yaw rate")

    def place(self, x: float, y: float, heading: float) -> None:
        self.arena.data.qpos[:3] = (x, y, heading)  # the robot's joints come first

    def proprio(self) -> list[float]:
        x, y, heading = self.arena.data.qpos[:3].tolist()
        return [x, y, math.cos(heading), math.sin(heading), *self.arena.data.qvel[:3].tolist()]
