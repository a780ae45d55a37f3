"""TerrainHopper: dm_control's planar hopper on hills and stairs."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from waker_envs.terrain.base import TerrainEnv, terrain_space
from waker_envs.terrain.tolerance import tolerance


class TerrainHopper(TerrainEnv):
    """
    ## Description

    The planar hopper of dm_control's suite (Tassa et al. 2018) on a height field: torso, pelvis, thigh, calf and one
    foot, moving in the x–z plane. The ground is drawn from θ: hills of value noise, one octave with cosine
    interpolation, 100 m long around the start and up to 0.6 m between valley and peak; level plains go on beyond its
    ends. The domain, its parameters and tasks are those of Rigter, Jiang & Posner (2024), appendix on domains.

    ## Action space

    `Box(-1, 1, (4,), float32)`: torques at waist, hip, knee and ankle as shares of 30, 40, 30 and 10 N·m. An action is
    held for `action_repeat` control steps of 20 ms, each four physics steps. Values outside are clipped.

    ## Observation space

    `obs="pixels"`: `Box(0, 255, (64, 64, 3), uint8)`, the suite's side camera, which follows the centre of mass.

    `obs="proprio"`: `Box(-inf, inf, (15,), float32)`, the suite's vector:

    | index   | meaning                                            | unit            |
    |---------|----------------------------------------------------|-----------------|
    | 0 – 1   | root: z relative to 1 m, pitch                     | m, rad          |
    | 2 – 5   | waist, hip, knee, ankle                            | rad             |
    | 6 – 8   | velocity of the root: x, z, pitch                  | m/s, m/s, rad/s |
    | 9 – 12  | velocity of waist, hip, knee, ankle                | rad/s           |
    | 13 – 14 | ln(1 + force) on toe and heel, force in N          | –               |

    `obs="proprio+scan"`: 31 more entries, the height of the ground relative to the torso in m, at 31 points 0.1 m apart
    from 1.5 m behind the torso to 1.5 m ahead of it. That is as far as the picture shows and reaches beyond a stretched
    leg (1.2 m) on both sides, as there are tasks in both directions.

    ## Tasks and rewards

    Of a control step, in [0, 1]; the reward of an agent step is their sum over its `action_repeat` control steps.
    Standing is 1 while the torso's centre is 0.6 … 2 m above the foot's, else 0.
    - `hop`: standing · move, where move is 1 from 2 m/s of the centre of mass along x on, linear below, 0.5 at 1 m/s
      and 0 at rest;
    - `stand`: standing · the mean of 1 − a² over the four actions a;
    - `hop-backward`: as `hop`, for −2 m/s.

    ## Parameters θ

    | # | name         | values              | meaning                                              |
    |---|--------------|---------------------|------------------------------------------------------|
    | 0 | amplitude    | 0, 0.05, … 1        | height = 0.3 m · amplitude · noise, noise in [−1, 1] |
    | 1 | length_scale | 0.15, 0.2, … 1.5 m  | distance between the noise's lattice points          |

    DR: uniform over the 588 pairs. `hardest` is (1.0, 0.2); `hard` has amplitude 0.8 … 1 and length_scale 0.2 … 0.4.
    Suites: `steep`, θ = (0.8, 0.1125); `max`, θ = (1.0, 0.15); `stairs`, up and down in steps 0.4 m long and 0.3 m
    high, made with `ground="stairs"`, for which θ means nothing: it carries (1, 1), and the episode's seed chooses the
    start.

    ## Starting state

    All joints uniform in their range, the pitch uniform in (−π, π), drawn again where the robot would touch itself, at
    rest, at x = 0, 1–2 cm above the ground. The noise's lattice values and its offset, or the offset of the stairs, are
    drawn first. All from the episode's seed.

    ## Episode end

    Truncated after `length` control steps; never terminated. Should the simulation diverge (MuJoCo finds a value that
    is not finite), the episode is truncated at once with reward 0 and `info["diverged"]`.

    ## Registered ids

    `waker/TerrainHopper-v0`

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

    ROBOT = "hopper"
    CAMERA = "cam0"
    PEAK = 0.6
    SUBSTEPS = 4
    PROPRIO = 15

    tasks: tuple[str, ...] = ("hop", "stand", "hop-backward")
    theta_space = terrain_space(
        [round(0.15 + 0.05 * i, 2) for i in range(28)], steep=np.array([0.8, 0.1125]), max=np.array([1.0, 0.15])
    )
    metadata = {"render_modes": ["rgb_array"], "render_fps": 25}

    def _find_parts(self) -> None:
        super()._find_parts()
        self._foot = self._model.body("foot").id

    def _rewards(self) -> tuple[float, ...]:
        height = self._xipos.item(self._torso, 2) - self._xipos.item(self._foot, 2)
        if not 0.6 <= height <= 2.0:
            return 0.0, 0.0, 0.0
        speed = self._sensors.item(0)
        actions = self._ctrl.tolist()
        small = sum(tolerance(a, margin=1.0, sigmoid="quadratic", value_at_margin=0.0) for a in actions) / len(actions)
        return (
            tolerance(speed, 2.0, np.inf, 1.0, "linear", 0.5),
            small,
            tolerance(-speed, 2.0, np.inf, 1.0, "linear", 0.5),
        )

    def _proprio(self, out: NDArray[np.float32]) -> None:
        out[:6] = self._qpos[1:]
        out[6:13] = self._qvel
        out[13], out[14] = math.log1p(self._sensors.item(3)), math.log1p(self._sensors.item(4))
