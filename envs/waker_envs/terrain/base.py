"""TerrainEnv: what TerrainWalker and TerrainHopper share: θ, ground, start, stepping, pictures, observations."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Literal, get_args

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from waker_envs.api import FiniteThetaSpace, Parameter, ParametricEnv, Suite, Theta, Transition
from waker_envs.checked import check_choice, checked_count
from waker_envs.physics.camera import Camera, Look
from waker_envs.physics.control import START_TIME, checked_action
from waker_envs.physics.simulator import mujoco
from waker_envs.terrain.ground import SCAN_POINTS, Ground, Kind
from waker_envs.terrain.models import Robot, build, view_cells

Observations = Literal["pixels", "proprio", "proprio+scan"]
PIXELS = 64
"""Side of the agent's picture."""
FOR_PEOPLE = 480
"""Side of the picture that ``render`` gives."""

_LIFT = 0.015
"""Gap between robot and ground at the start, m."""
_POSES = 100
"""Poses drawn at most until one touches nothing; nine of ten hoppers' first ones do not, and all walkers'."""


def terrain_space(lengths: Sequence[float], steep: Theta, **others: Theta) -> FiniteThetaSpace:
    """θ of a terrain family: 21 amplitudes × ``lengths``, uniform; the experts' sets; the suites.

    Args:
        lengths: length-scales, m.
        steep: θ of the suite "steep".
        others: further suites of one θ each.
    """
    amplitudes = [round(0.05 * i, 2) for i in range(21)]
    return FiniteThetaSpace(
        [
            Parameter("amplitude", "height of the hills as a share of the height field's elevation"),
            Parameter("length_scale", "distance between the points whose heights are drawn at random", "m"),
        ],
        [(a, length) for a in amplitudes for length in lengths],
        hard=[(a, length) for a in amplitudes if a >= 0.8 for length in lengths if 0.2 <= length <= 0.4],
        hardest=(1.0, 0.2),
        suites={
            "steep": [steep],
            # Any θ would do, as stairs have no use for it; a member of the space for samplers that look it up.
            "stairs": Suite(np.array([[1.0, 1.0]]), {"ground": "stairs"}),
            **{name: [theta] for name, theta in others.items()},
        },
    )


class TerrainEnv(ParametricEnv):
    """A planar robot on a height field. Families say which robot, its sizes, rewards and proprioception.

    Args:
        task, render_mode, obs, look, action_repeat, length, ground, authors: see the families.

    Raises:
        ValueError: an argument outside its range.
    """

    ROBOT: ClassVar[Robot]
    CAMERA: ClassVar[str]
    PEAK: ClassVar[float]
    """Elevation of the height field, m."""
    SUBSTEPS: ClassVar[int]
    """Physics steps in a control step."""
    PROPRIO: ClassVar[int]
    """Length of the proprioceptive vector."""

    def __init__(
        self,
        task: str | None = None,
        render_mode: str | None = None,
        *,
        obs: Observations = "pixels",
        look: Look = "fast",
        action_repeat: int = 2,
        length: int = 1000,
        ground: Kind = "noise",
        authors: bool = False,
    ) -> None:
        super().__init__(task, render_mode)
        check_choice("obs", obs, get_args(Observations))
        check_choice("look", look, get_args(Look))
        check_choice("ground", ground, get_args(Kind))
        self.obs_kind, self.look, self.ground_kind = obs, look, ground
        self.action_repeat, self.length = checked_count("action_repeat", action_repeat), checked_count("length", length)
        self.authors = authors
        self._ground = Ground(self.PEAK, authors)
        self._model = model = build(self.ROBOT, self._ground, look)
        self._data = mujoco.MjData(model)
        seconds = model.opt.timestep * self.SUBSTEPS * action_repeat
        self.metadata = {**type(self).metadata, "render_fps": round(1 / seconds, 3)}
        self._cameras: dict[int, tuple[Camera, list[int]]] = {}
        self._find_parts()

        self.action_space = spaces.Box(-1.0, 1.0, (model.nu,), np.float32)
        self._size = self.PROPRIO + (SCAN_POINTS if obs == "proprio+scan" else 0)
        if obs == "pixels":
            self.observation_space = spaces.Box(0, 255, (PIXELS, PIXELS, 3), np.uint8)
        else:
            self.observation_space = spaces.Box(-np.inf, np.inf, (self._size,), np.float32)

    def _find_parts(self) -> None:
        """Indices and views that every step needs; asking the bindings each time would cost more than the rewards."""
        m, d = self._model, self._data
        self._ctrl, self._qpos, self._qvel, self._sensors = d.ctrl, d.qpos, d.qvel, d.sensordata
        self._xmat, self._xpos, self._xipos, self._angmom = d.xmat, d.xpos, d.xipos, d.subtree_angmom
        self._torso = m.body("torso").id
        self._rootx, self._rootz = (int(m.joint(name).qposadr[0]) for name in ("rootx", "rootz"))
        self._rooty = int(m.joint("rooty").qposadr[0])
        limited = np.flatnonzero(m.jnt_limited)
        self._limited, self._ranges = m.jnt_qposadr[limited], m.jnt_range[limited].copy()  # (j,), (j, 2)
        self._camera_id = m.camera(self.CAMERA).id
        self._view_id = m.geom("view").id if self.look == "fast" else -1
        self._capsules = np.flatnonzero(m.geom_type == mujoco.mjtGeom.mjGEOM_CAPSULE)
        self._radii = m.geom_size[self._capsules, 0].copy()

    def __getstate__(self) -> dict[str, Any]:
        """For copies and pickles: without cameras, which belong to this process's renderer; a copy makes its own."""
        return {**vars(self), "_cameras": {}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._find_parts()  # or its views would be arrays that no simulation reads

    # The families' part.

    @abstractmethod
    def _rewards(self) -> tuple[float, ...]:
        """Every task's reward in the current state."""

    @abstractmethod
    def _proprio(self, out: NDArray[np.float32]) -> None:
        """Write the proprioceptive vector into ``out``, shape (PROPRIO,)."""

    # Episodes.

    def begin(self, theta: Theta) -> Any:
        m, d = self._model, self._data
        self._t = 0
        self._ground.draw(self.np_random, self.ground_kind, float(theta[0]), float(theta[1]))
        # All rows are alike; MuJoCo's own copy is float32, shares of the elevation, row by row.
        m.hfield("ground").data[:] = self._ground.profile
        mujoco.mj_resetData(m, d)
        d.time = START_TIME
        for _ in range(_POSES):
            self._pose()
            mujoco.mj_forward(m, d)
            # Some poses fold the hopper into itself, from where it would be thrown apart or jam.
            if self.authors or d.ncon == 0:
                break
        self._last = self._observation()
        return self._last

    def _pose(self) -> None:
        """Draw joints and pitch, as the suite does, and put the robot just above the ground."""
        self._qpos[self._limited] = self.np_random.uniform(self._ranges[:, 0], self._ranges[:, 1])
        self._qpos[self._rooty] = self.np_random.uniform(-np.pi, np.pi)
        if not self.authors:
            mujoco.mj_kinematics(self._model, self._data)
            self._qpos[self._rootz] += _LIFT - self.clearance()

    def advance(self, action: Any) -> Transition:
        m, d = self._model, self._data
        self._ctrl[:] = checked_action(action, m.nu)
        totals = [0.0] * len(self.tasks)
        repeats = min(self.action_repeat, self.length - self._t)
        before = d.time
        for _ in range(repeats):
            # As dm_control steps: mj_step leaves the quantities derived from position and velocity one step behind
            # the state, so the first half of the next step is done at once and rewards see the state as it is.
            mujoco.mj_step2(m, d)
            if self.SUBSTEPS > 1:
                mujoco.mj_step(m, d, self.SUBSTEPS - 1)
            mujoco.mj_step1(m, d)
            for k, reward in enumerate(self._rewards()):
                totals[k] += reward
        self._t += repeats
        if d.time < before + m.opt.timestep * (self.SUBSTEPS * repeats - 0.5):
            # The simulation diverged, and MuJoCo started it anew from its own initial state: no part of this episode.
            nothing = [0.0] * len(self.tasks)
            return Transition(self._last.copy(), nothing, truncated=True, info={"diverged": True})
        self._last = self._observation()
        return Transition(self._last, totals, truncated=self._t >= self.length)

    def clearance(self) -> float:
        """The smallest vertical gap between robot and ground, m; negative where it stands in the ground."""
        d, chosen = self._data, self._capsules
        centre = d.geom_xpos[chosen][:, [0, 2]]  # (n, 2)
        half = self._model.geom_size[chosen, 1:2] * d.geom_xmat[chosen][:, [2, 8]]  # (n, 2), along the capsules' z
        ends = np.stack([centre - half, centre + half], 1)  # (n, 2, 2)
        return self._ground.clearance(float(self._qpos[self._rootx]), ends, self._radii)

    # What is seen.

    def _observation(self) -> Any:
        if self.obs_kind == "pixels":
            return self._picture(PIXELS)
        out = np.empty(self._size, np.float32)
        self._proprio(out[: self.PROPRIO])
        if self.obs_kind == "proprio+scan":
            x, z = self._xpos.item(self._torso, 0), self._xpos.item(self._torso, 2)
            out[self.PROPRIO :] = self._ground.scan(x) - z
        return out

    def _picture(self, side: int) -> NDArray[np.uint8]:
        if side not in self._cameras:
            self._cameras[side] = (Camera(self._model, side, side, self.CAMERA, self.look), [-1, -1])
        camera, shown = self._cameras[side]
        if self.look == "fast":
            self._move_view(camera, shown)
        elif shown[0] != self._ground.version:
            shown[0] = self._ground.version
            camera.upload_height_field("ground")
        return camera.picture(self._data)

    def _move_view(self, camera: Camera, shown: list[int]) -> None:
        """Keep the drawn stretch of ground under the camera. ``shown``: version and first cell of its last upload."""
        m, d, ground = self._model, self._data, self._ground
        tile, cells = view_cells(ground.spacing)
        # Whole tiles, so that the pattern stands still while its window moves.
        middle = round((d.cam_xpos[self._camera_id, 0] + ground.half) / (tile * ground.spacing)) * tile
        first = middle - cells // 2
        m.geom_pos[self._view_id, 0] = d.geom_xpos[self._view_id, 0] = middle * ground.spacing - ground.half
        if shown != [ground.version, first]:
            shown[:] = [ground.version, first]
            m.hfield("view").data[:] = ground.window(first, cells)
            camera.upload_height_field("view")

    def picture(self) -> NDArray[np.uint8]:
        """The current state for people, shape (480, 480, 3)."""
        return self._picture(FOR_PEOPLE)

    def close(self) -> None:
        for camera, _ in self._cameras.values():
            camera.close()
        self._cameras.clear()
        super().close()
