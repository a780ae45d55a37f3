"""Pictures of MuJoCo models without a screen; used by every MuJoCo family.

Two looks. ``fast`` is for agents: no shadows, reflections, sky or multisampling, few polygons; a 64 × 64 picture takes
about a millisecond on one core instead of twenty to thirty. ``paper`` has everything on.
"""

from __future__ import annotations

from typing import Literal, NoReturn

import numpy as np
from numpy.typing import NDArray

from waker_envs.physics import gl
from waker_envs.physics.simulator import mujoco

Look = Literal["fast", "paper"]

LARGEST = 1024
"""Largest side of a picture, pixels."""
_GEOMS = 1000
_FLAG = mujoco.mjtRndFlag
_COSTLY = (_FLAG.mjRND_SHADOW, _FLAG.mjRND_REFLECTION, _FLAG.mjRND_SKYBOX, _FLAG.mjRND_HAZE, _FLAG.mjRND_FOG)
_HIDDEN_GROUPS = (4, 5)
"""Geoms of these groups collide and are never drawn."""


def prepare(spec: mujoco.MjSpec, look: Look) -> None:
    """Set what a look needs to be known before a model is compiled: samples, shadow map, polygons, buffer size."""
    # A camera gives its buffer its own size; this one is only what every camera starts from.
    spec.visual.global_.offwidth = spec.visual.global_.offheight = 64
    quality = spec.visual.quality
    if look == "fast":
        quality.offsamples, quality.shadowsize = 0, 0
        quality.numslices, quality.numstacks, quality.numquads = 10, 6, 1


class Camera:
    """Pictures of one model through one of its cameras.

    All cameras of a process share one GL context; each has its own buffer of the picture's size.

    Args:
        model: compiled after :func:`prepare`.
        height, width: of a picture, pixels.
        camera: name in the model.
        look: see the module.

    Raises:
        ValueError: a picture larger than 1024 pixels, or a camera the model does not have.
        waker_envs.physics.gl.NoRendererError: no OpenGL works here.
    """

    def __init__(self, model: mujoco.MjModel, height: int, width: int, camera: str, look: Look = "fast") -> None:
        if not 0 < min(height, width) <= max(height, width) <= LARGEST:
            raise ValueError(f"a picture may have up to {LARGEST} pixels a side, not {height} × {width}")
        self._view = mujoco.MjvCamera()
        self._view.type = mujoco.mjtCamera.mjCAMERA_FIXED
        self._view.fixedcamid = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_CAMERA, camera)
        if self._view.fixedcamid < 0:
            raise ValueError(f"the model has no camera {camera!r}")
        self._model, self._shape = model, (height, width, 3)
        self._gl = gl.context()
        self._gl.make_current()
        self._context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_50)
        mujoco.mjr_resizeOffscreen(width, height, self._context)
        self._scene = mujoco.MjvScene(model, _GEOMS)
        if look == "fast":
            for flag in _COSTLY:
                self._scene.flags[flag] = 0
        self._options = mujoco.MjvOption()
        self._options.geomgroup[:4] = 1
        self._options.geomgroup[list(_HIDDEN_GROUPS)] = 0
        self._options.flags[mujoco.mjtVisFlag.mjVIS_RANGEFINDER] = 0
        self._window = mujoco.MjrRect(0, 0, width, height)
        self._upside_down = np.empty(self._shape, np.uint8)

    def picture(self, data: mujoco.MjData) -> NDArray[np.uint8]:
        """The state ``data`` as (height, width, 3); the caller's own array.

        Raises:
            RuntimeError: the camera was closed, or another thread drew the first picture of this process.
        """
        if self._context is None:
            raise RuntimeError("this camera was closed")
        gl.check_thread()
        self._gl.make_current()
        # Which buffer is drawn into belongs to the GL context that all cameras share: another may have drawn since.
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._context)
        everything = mujoco.mjtCatBit.mjCAT_ALL
        mujoco.mjv_updateScene(self._model, data, self._options, None, self._view, everything, self._scene)
        mujoco.mjr_render(self._window, self._scene, self._context)
        mujoco.mjr_readPixels(self._upside_down, None, self._window, self._context)
        return self._upside_down[::-1].copy()  # OpenGL's first row is the bottom

    def upload_height_field(self, name: str) -> None:
        """Send a height field's data to the renderer; needed after ``model.hfield_data`` has changed."""
        self._gl.make_current()
        mujoco.mjr_uploadHField(self._model, self._context, self._model.hfield(name).id)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a camera cannot be copied: its buffers lie in this process's renderer; make another one")

    def close(self) -> None:
        """Free the buffers. The camera cannot be used afterwards; closing twice does nothing."""
        if self._context is not None:
            self._gl.make_current()
            self._context.free()
            self._context = None
