"""TerrainWalker: dm_control's planar walker on hills and stairs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from waker_envs.terrain.base import TerrainEnv, terrain_space
from waker_envs.terrain.tolerance import tolerance


def move_reward(stand: float, speed: float, target: float) -> float:
    """stand · (5·move + 1) / 6, where move is 1 from the target speed on and falls linearly to 0 at no speed."""
    move = tolerance(speed, target, np.inf, target / 2, "linear", 0.5)
    return stand * (5 * move + 1) / 6


class TerrainWalker(TerrainEnv):
    """
    ## Description

    The planar walker of dm_control's suite (Tassa et al. 2018) on a height field: two legs of thigh, leg and foot
    under a torso, moving in the x–z plane. The ground is drawn from θ: hills of value noise, one octave with cosine
    interpolation, 100 m long around the start and up to 0.9 m between valley and peak; level plains go on beyond its
    ends. The domain, its parameters and tasks are those of Rigter, Jiang & Posner (2024), appendix on domains.

    ## Action space

    `Box(-1, 1, (6,), float32)`: torques at the right hip, knee and ankle and the left hip, knee and ankle, as shares of
    100, 50 and 20 N·m. An action is held for `action_repeat` control steps of 25 ms, each ten physics steps. Values
    outside are clipped.

    ## Observation space

    `obs="pixels"`: `Box(0, 255, (64, 64, 3), uint8)`, the suite's side camera, which follows the centre of mass.

    `obs="proprio"`: `Box(-inf, inf, (24,), float32)`, the suite's vector:

    | index   | meaning                                                                | unit      |
    |---------|------------------------------------------------------------------------|-----------|
    | 0 – 13  | xx and xz of the orientation of torso, right thigh, leg, foot, and left | –         |
    | 14      | height of the torso over the right foot                                | m         |
    | 15 – 17 | velocity of the root: z, x, pitch                                      | m/s, rad/s |
    | 18 – 23 | velocity of right hip, knee, ankle, left hip, knee, ankle              | rad/s     |

    `obs="proprio+scan"`: 31 more entries, the height of the ground relative to the torso in m, at 31 points 0.1 m apart
    from 1.5 m behind the torso to 1.5 m ahead of it. That is as far as the picture shows and reaches beyond a stretched
    leg (1.4 m) on both sides, as there are tasks in both directions; two points fit into the shortest length-scale.

    ## Tasks and rewards

    Of a control step, in [0, 1]; the reward of an agent step is their sum over its `action_repeat` control steps.
    - `stand`: (3·standing + upright) / 4, where standing is 1 from a height of 1.2 m of the torso over the *right foot*
      and falls off as a Gaussian to 0.1 at 0.6 m, and upright is 1 for a vertical torso, 0 for one upside down;
    - `walk`, `run`, `walk-backward`: stand · (5·move + 1) / 6, where move grows linearly with the velocity of the
      centre of mass along x to 1 at 1, 8 and −1 m/s;
    - `flip`: the angular momentum of the robot about its centre of mass, around y, growing linearly from 0 to 1 at
      5 kg·m²/s.

    ## Parameters θ

    | # | name         | values              | meaning                                               |
    |---|--------------|---------------------|-------------------------------------------------------|
    | 0 | amplitude    | 0, 0.05, … 1        | height = 0.45 m · amplitude · noise, noise in [−1, 1] |
    | 1 | length_scale | 0.2, 0.25, … 2 m    | distance between the noise's lattice points           |

    DR: uniform over the 777 pairs. `hardest` is (1.0, 0.2); `hard` has amplitude 0.8 … 1 and length_scale 0.2 … 0.4.
    Suites: `steep`, θ = (0.8, 0.15); `stairs`, up and down in steps 0.4 m long and 0.45 m high, made with
    `ground="stairs"`, for which θ means nothing: it carries (1, 1), and the episode's seed chooses the start.

    ## Starting state

    All joints uniform in their range, the pitch uniform in (−π, π), drawn again where the robot would touch itself, at
    rest, at x = 0, 1–2 cm above the ground. The noise's lattice values and its offset, or the offset of the stairs, are
    drawn first. All from the episode's seed.

    ## Episode end

    Truncated after `length` control steps; never terminated. Should the simulation diverge (MuJoCo finds a value that
    is not finite), the episode is truncated at once with reward 0 and `info["diverged"]`.

    ## Registered ids

    `waker/TerrainWalker-v0`

    ## Arguments

    Args:
        task: the task whose reward `step` returns; None = reward-free.
        render_mode: None or "rgb_array".
        obs: "pixels", "proprio" or "proprio+scan".
        look: "fast" (no shadows, only the visible stretch of ground) or "paper" (everything).
        action_repeat: control steps of an agent step.
        length: control steps of an episode.
        ground: "noise" or "stairs".
        authors: the published ground and start in place of ours: every episode of a θ has the same ground, 200 m long
            with length-scales twice what θ says (stairs 0.75 m long between plateaus of 2.4 m), and the robot starts
            at the suite's height above z = 0 whatever the ground, possibly in it.

    Raises:
        ValueError: an argument outside its range, or an action of a wrong shape or with NaN.
        waker_envs.physics.gl.NoRendererError: a picture is asked for and no renderer works.
    """

    ROBOT = "walker"
    CAMERA = "side"
    PEAK = 0.9
    SUBSTEPS = 10
    PROPRIO = 24

    tasks: tuple[str, ...] = ("stand", "walk", "run", "flip", "walk-backward")
    theta_space = terrain_space([round(0.2 + 0.05 * i, 2) for i in range(37)], steep=np.array([0.8, 0.15]))
    metadata = {"render_modes": ["rgb_array"], "render_fps": 20}

    def _find_parts(self) -> None:
        super()._find_parts()
        self._foot = self._model.body("right_foot").id

    def _height(self) -> float:
        return self._xpos.item(self._torso, 2) - self._xpos.item(self._foot, 2)

    def _rewards(self) -> tuple[float, ...]:
        standing = tolerance(self._height(), 1.2, np.inf, 0.6)
        upright = (1 + self._xmat.item(self._torso, 8)) / 2
        stand = (3 * standing + upright) / 4
        speed = self._sensors.item(0)
        flip = tolerance(self._angmom.item(self._torso, 1), 5.0, np.inf, 5.0, "linear", 0.0)
        return (
            stand,
            move_reward(stand, speed, 1.0),
            move_reward(stand, speed, 8.0),
            flip,
            move_reward(stand, -speed, 1.0),
        )

    def _proprio(self, out: NDArray[np.float32]) -> None:
        out[:14].reshape(7, 2)[:] = self._xmat[1:, 0:3:2]  # xx and xz of every body but the world
        out[14] = self._height()
        out[15:] = self._qvel
