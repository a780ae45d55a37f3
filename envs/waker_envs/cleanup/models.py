"""The MuJoCo model of an arena with blocks and a robot, and what a reset changes in it. Used by ``cleanup.base``.

One model serves all θ: it is compiled once with the largest number of blocks; walls, goals and colours are moved and
set at each reset. A block that θ does not have stays behind, invisible, touching nothing and weightless, so it
rests to the last bit. MuJoCo puts to sleep what has come to rest until something touches it: absent blocks and those
nobody pushes cost next to nothing and cannot creep (measured with four blocks and a robot driving at random: a step
takes a quarter of the time it takes without sleep, with the car six tenths).

Contact parameters, where they are not MuJoCo's defaults:

- elliptic friction cones: 3 rows a contact in place of 4, and equal friction in all directions;
- the ``implicitfast`` integrator, which takes the point robot's turn-velocity servo as implicit damping: on so light a
  body it is stiff (its rate times the timestep is above 1);
- slippery walls (friction 0.1, with priority), or a robot with its nose against one sticks to it;
- hard walls (time constant 0.01 s, impedance 0.98 … 0.999): a contact's stiffness goes with the mass of what
  touches, and a robot weighs 200 to 400 blocks. MuJoCo's own would let it drive a block 3 cm into a wall, these 6 mm.

Blocks keep MuJoCo's friction of 1 on the floor: pushed away, they stop within centimetres.

Walls are half-spaces (planes), so nothing can tunnel through one, however hard it is pushed; the fences drawn
collide with nothing.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from waker_envs.cleanup.arena import GOAL_WIDTH, MAX_BLOCKS, goal_x, half_size
from waker_envs.physics.camera import Look, prepare
from waker_envs.physics.simulator import mujoco

Colour = tuple[float, float, float]

FLOOR: Colour = (0.55, 0.55, 0.55)
FENCE: Colour = (0.15, 0.15, 0.15)
GREEN: Colour = (0.05, 0.60, 0.05)
BLUE: Colour = (0.05, 0.10, 0.80)
GREEN_GOAL: Colour = (0.62, 0.88, 0.62)
BLUE_GOAL: Colour = (0.62, 0.70, 0.95)
ROBOT: Colour = (0.85, 0.10, 0.10)
NOSE: Colour = (1.00, 0.90, 0.10)
"""Colours: blocks are saturated, goals pale in the same hue, floor and fence grey, the robot red with a yellow
nose."""

CAMERA = "above"
CAMERA_HEIGHT = 3.5
FIELD_OF_VIEW = 45.0
"""Of the camera, in metres above the floor and degrees. It sees 1.45 m of floor to each side, the arena has 1.4."""

_FLOOR_BIT, _SOLID_BIT = 1, 2
SOLID = f'contype="{_SOLID_BIT}" conaffinity="{_SOLID_BIT}"'
"""For a geom that touches walls, blocks and robots."""
ROLLS = f'contype="0" conaffinity="{_FLOOR_BIT}"'
"""For a geom that touches the floor alone."""
SOLID_ON_FLOOR = f'contype="{_SOLID_BIT}" conaffinity="{_FLOOR_BIT | _SOLID_BIT}"'

_SLEEP = int(getattr(mujoco.mjtEnableBit, "mjENBL_SLEEP", 0))  # older MuJoCo cannot; then it is only slower

_FENCE_HEIGHT, _FENCE_WIDTH = 0.1, 0.05
_STRIP = 0.002  # half the thickness of a goal's strip: enough for the depth buffer, and nothing touches it


@dataclass(frozen=True)
class Robot:
    """What differs between the two robots of the family.

    Attributes:
        body: MJCF of one body named ``robot`` at the origin, facing x.
        actuators: MJCF of two actuators with controls in [−1, 1].
        timestep: seconds.
        radius: of the circle around it that keeps clear of other things at the start, metres.
        block_half: half-size of the blocks it pushes, metres.
        block_density: theirs.
    """

    body: str
    actuators: str
    timestep: float
    radius: float
    block_half: float
    block_density: float


def rgba(colour: Colour) -> str:
    """A colour as MJCF writes it."""
    return "{} {} {} 1".format(*colour)


def mjcf(robot: Robot) -> str:
    """The model's MJCF. What a reset places is anywhere here, only not at the origin: MuJoCo would hold it there."""
    turned = {"left": "0 1 0", "right": "0 -1 0", "lower": "-1 0 0", "upper": "1 0 0"}
    walls = "\n".join(
        # A plane's normal is its z: turned by 90°, it points into the arena.
        f"""<body name="{side}" mocap="true" axisangle="{axis} 90">
          <geom type="plane" size="1 1 1" group="4" priority="1" friction="0.1" solref="0.01 1"
                solimp="0.98 0.999 0.001" {SOLID}/>
        </body>
        <geom name="fence-{side}" class="drawn" type="box" pos="0 0 1" size="1 1 1" rgba="{rgba(FENCE)}"/>"""
        for side, axis in turned.items()
    )
    goals = "\n".join(
        f'<geom name="goal-{side}" class="drawn" type="box" pos="0 0 1" size="1 1 1" rgba="{rgba(colour)}"/>'
        for side, colour in (("left", GREEN_GOAL), ("right", BLUE_GOAL))
    )
    b = robot.block_half
    blocks = "\n".join(
        # With gravity compensation in the compiled model, a reset may switch it on and off.
        f"""<body name="block-{i}" pos="0 0 {b}" gravcomp="1"><freejoint name="block-{i}"/>
          <geom name="block-{i}" type="box" size="{b} {b} {b}" density="{robot.block_density}" {SOLID_ON_FLOOR}/>
        </body>"""
        for i in range(MAX_BLOCKS)
    )
    return f"""
    <mujoco>
      <option timestep="{robot.timestep}" integrator="implicitfast" cone="elliptic"/>
      <statistic extent="4" center="0 0 0"/>
      <visual>
        <headlight ambient="0.45 0.45 0.45" diffuse="0.45 0.45 0.45" specular="0 0 0"/>
        <map znear="0.1" zfar="10"/>
      </visual>
      <default>
        <default class="drawn"><geom contype="0" conaffinity="0" mass="0"/></default>
      </default>
      <worldbody>
        <light directional="true" pos="-1 -1 3" dir="0.3 0.3 -1" diffuse="0.2 0.2 0.2" specular="0 0 0"/>
        <camera name="{CAMERA}" pos="0 0 {CAMERA_HEIGHT}" fovy="{FIELD_OF_VIEW}"/>
        <geom name="floor" type="plane" size="3 3 1" rgba="{rgba(FLOOR)}"
              contype="{_FLOOR_BIT}" conaffinity="0"/>
        {walls}
        {goals}
        {robot.body}
        {blocks}
      </worldbody>
      <actuator>{robot.actuators}</actuator>
    </mujoco>"""


class Arena:
    """A compiled model, its state, and the places in them that the family reads and writes.

    Attributes:
        model, data: MuJoCo's.
        half: half-size of the arena now, metres.
    """

    def __init__(self, robot: Robot, look: Look) -> None:
        spec = mujoco.MjSpec.from_string(mjcf(robot))
        prepare(spec, look)
        self.model: mujoco.MjModel = spec.compile()
        self.data = mujoco.MjData(self.model)
        self.half = half_size(4)
        self._block_half = robot.block_half
        m = self.model
        self._geoms = np.array([m.geom(f"block-{i}").id for i in range(MAX_BLOCKS)])
        self._bodies = np.array([m.body(f"block-{i}").id for i in range(MAX_BLOCKS)])
        self._find_blocks()
        self._walls = [int(m.body(side).mocapid[0]) for side in ("left", "right", "lower", "upper")]
        self._fences = [m.geom(f"fence-{side}").id for side in ("left", "right", "lower", "upper")]
        self._goals = [m.geom("goal-left").id, m.geom("goal-right").id]

    def _find_blocks(self) -> None:
        """Views of the blocks' part of the state; their free joints follow one another in qpos and qvel."""
        joint = self.model.joint("block-0")
        q, v = joint.qposadr[0], joint.dofadr[0]
        self.block_qpos = self.data.qpos[q : q + 7 * MAX_BLOCKS].reshape(MAX_BLOCKS, 7)  # x, y, z, quaternion
        self.block_qvel = self.data.qvel[v : v + 6 * MAX_BLOCKS].reshape(MAX_BLOCKS, 6)  # linear, angular

    def __copy__(self) -> Self:
        """Never a shallow one: two arenas would move one simulation."""
        return copy.deepcopy(self)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """For copies and pickles: their views must be of their own state."""
        vars(self).update(state)
        self._find_blocks()

    def furnish(self, half: float, n_green: int, n_blue: int, blocks: NDArray[np.float64]) -> None:
        """Forget the last episode, put up walls, goals and blocks. The robot's place and :meth:`forward` are to follow.

        Args:
            half: half-size of the arena, metres.
            n_green, n_blue: how many blocks of each colour; the green ones come first.
            blocks: their centres, shape (n_green + n_blue, 2), metres.
        """
        m, d, n = self.model, self.data, n_green + n_blue
        mujoco.mj_resetData(m, d)
        self.half = half
        self._put_up_walls(half)
        present = np.arange(MAX_BLOCKS) < n
        m.geom_contype[self._geoms] = np.where(present, _SOLID_BIT, 0)
        m.geom_conaffinity[self._geoms] = np.where(present, _FLOOR_BIT | _SOLID_BIT, 0)
        m.body_gravcomp[self._bodies] = ~present
        m.geom_rgba[self._geoms] = 0.0
        m.geom_rgba[self._geoms[:n_green]] = (*GREEN, 1.0)
        m.geom_rgba[self._geoms[n_green:n]] = (*BLUE, 1.0)
        self.block_qpos[:n, :2] = blocks

    def forward(self) -> None:
        """Work out everything that follows from the model and the state; call it once all is in its place.

        A model that lets things sleep takes what cannot move for unmoved, but a reset has just moved walls and goals.
        """
        self.model.opt.enableflags &= ~_SLEEP
        mujoco.mj_forward(self.model, self.data)
        self.model.opt.enableflags |= _SLEEP

    def _put_up_walls(self, half: float) -> None:
        m, d = self.model, self.data
        out = half + _FENCE_WIDTH / 2
        for k, (dx, dy) in enumerate(((-1, 0), (1, 0), (0, -1), (0, 1))):
            d.mocap_pos[self._walls[k]] = (dx * half, dy * half, 0.0)
            m.geom_pos[self._fences[k]] = (dx * out, dy * out, _FENCE_HEIGHT / 2)
            long = half + _FENCE_WIDTH
            m.geom_size[self._fences[k]] = (
                _FENCE_WIDTH / 2 if dx else long,
                _FENCE_WIDTH / 2 if dy else long,
                _FENCE_HEIGHT / 2,
            )
        for geom, sign in zip(self._goals, (-1, 1), strict=True):
            m.geom_pos[geom] = (sign * goal_x(half), 0.0, _STRIP)
            m.geom_size[geom] = (GOAL_WIDTH / 2, half, _STRIP)
