"""CarCleanUp: CleanUp with a two-wheeled car and smaller blocks (MuJoCo)."""

from __future__ import annotations

import math

from waker_envs.cleanup.base import CleanUpEnv
from waker_envs.cleanup.models import NOSE, ROBOT, ROLLS, SOLID_ON_FLOOR, Robot, rgba

_WHEEL, _CASTER = 0.05, 0.03
# The car is ours: the paper says no more than two driven wheels and a ball caster behind. It weighs 3.2 g, of which
# each wheel can push 1.6 mN: 1 m/s² or a little less, as the point robot. The wheels' damping ends at 1.2 m/s. The
# chassis reaches beyond the wheels on all sides, so that no driven wheel can climb a wall or a block (wheels touch
# the floor alone), and is low and long enough that the motors can tip it neither forward nor back. Wheels roll as
# spheres: one contact each, at the same place at any angle; cylinders are what is drawn.
_CAR = Robot(
    body=f"""
    <body name="robot" pos="0 0 {_WHEEL}">
      <freejoint name="robot"/>
      <geom name="robot" type="box" pos="0 0 0.03" size="0.13 0.11 0.04" mass="0.002" group="4" {SOLID_ON_FLOOR}/>
      <geom name="chassis" class="drawn" type="box" pos="0 0 0.03" size="0.13 0.08 0.04" rgba="{rgba(ROBOT)}"/>
      <geom name="heading" class="drawn" type="box" pos="0.09 0 0.035" size="0.042 0.05 0.042" rgba="{rgba(NOSE)}"/>
      <body name="left wheel" pos="0.04 0.095 0">
        <joint name="left wheel" type="hinge" axis="0 1 0" damping="3.3e-6"/>
        <geom type="sphere" size="{_WHEEL}" mass="0.0005" group="4" {ROLLS}/>
        <geom class="drawn" type="cylinder" size="{_WHEEL} 0.015" euler="90 0 0" rgba="0.1 0.1 0.1 1"/>
      </body>
      <body name="right wheel" pos="0.04 -0.095 0">
        <joint name="right wheel" type="hinge" axis="0 1 0" damping="3.3e-6"/>
        <geom type="sphere" size="{_WHEEL}" mass="0.0005" group="4" {ROLLS}/>
        <geom class="drawn" type="cylinder" size="{_WHEEL} 0.015" euler="90 0 0" rgba="0.1 0.1 0.1 1"/>
      </body>
      <body name="caster" pos="-0.09 0 {_CASTER - _WHEEL}">
        <joint name="caster" type="ball" damping="1e-8"/>
        <geom type="sphere" size="{_CASTER}" mass="0.0002" group="4" {ROLLS}/>
      </body>
    </body>""",
    actuators="""
    <motor name="left" joint="left wheel" gear="8e-5" ctrlrange="-1 1"/>
    <motor name="right" joint="right wheel" gear="8e-5" ctrlrange="-1 1"/>""",
    timestep=0.004,
    radius=0.17,
    block_half=0.125,
    block_density=0.0005,
)


class CarCleanUp(CleanUpEnv):
    """
    ## Description

    `waker/CleanUp-v0` with a car for a robot and smaller blocks (half-size 0.125 m, density 0.0005): the same arena,
    goals, θ, tasks and rewards (Rigter, Jiang & Posner 2024, appendix on domains). The car has two driven wheels, a
    ball caster behind and a yellow front; it is 0.26 m long and 0.22 m wide.

    ## Action space

    `Box(-1, 1, (2,), float32)`: torque of the left and of the right wheel. Both at 1 drive straight ahead, at first
    with 0.9 m/s² and in the end at 1.2 m/s; opposite ones turn on the spot. What is finite and out of range is
    clipped. One step holds the action for `action_repeat` control steps of 40 ms (10 timesteps of 4 ms).

    ## Observation space

    `obs="pixels"` (default): `Box(0, 255, (64, 64, 3), uint8)`, the picture of a camera 3.5 m above the middle, with
    45° of view: x to the right, y up. The largest arena just fills it. Needs OpenGL.

    `obs="proprio"`: `Box(-inf, inf, (9,), float32)`: x, y (m), cos and sin of the heading, velocity along x and y
    (m/s), yaw rate, and the speeds of the left and the right wheel (rad/s).

    `obs="proprio+scan"`: `Box(-inf, inf, (47,), float32)`: the same 9, then blocks, goals and half-size as in
    `waker/CleanUp-v0`.

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

    DR, `hardest`, `hard` and suite `5-blocks` are those of `waker/CleanUp-v0`.

    ## Starting state

    As in `waker/CleanUp-v0`; the car keeps a circle of radius 0.17 m clear of blocks and walls by 0.2 m.

    ## Episode end

    Truncated after `length` control steps; never terminated. Should the simulation diverge, the episode is truncated at
    once with reward 0 and `info["diverged"]`.

    ## Registered ids

    `waker/CarCleanUp-v0`

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

    robot = _CAR
    proprio_names = (
        *("x", "y", "cos heading", "sin heading", "x velocity", "y velocity", "yaw rate"),
        *("left wheel's speed", "right wheel's speed"),
    )

    def place(self, x: float, y: float, heading: float) -> None:
        qpos = self.arena.data.qpos  # the robot's joints come first
        qpos[:2] = (x, y)
        qpos[3:7] = (math.cos(heading / 2), 0.0, 0.0, math.sin(heading / 2))

    def proprio(self) -> list[float]:
        x, y, _, w, i, j, k = self.arena.data.qpos[:7].tolist()
        heading = math.atan2(2 * (w * k + i * j), 1 - 2 * (j * j + k * k))
        vx, vy, _, _, _, yaw, left, right = self.arena.data.qvel[:8].tolist()
        return [x, y, math.cos(heading), math.sin(heading), vx, vy, yaw, left, right]
