"""dm_control's planar walker and hopper on a height field, compiled. Used by :mod:`waker_envs.terrain.base`."""

from __future__ import annotations

import copy
from functools import lru_cache
from importlib import resources
from typing import Literal

import numpy as np

from waker_envs.physics.camera import Look, prepare
from waker_envs.physics.simulator import mujoco
from waker_envs.terrain.ground import MEAN, POINTS, ROWS, SUNK, Ground

Robot = Literal["walker", "hopper"]

TILE = 200.0 * 10 / (POINTS - 1)
"""Side of the ground's checker pattern, m: a whole number of cells of the height field, close to the suite's 1 m."""
VIEW_TILES = 6
"""Tiles of ground drawn in the fast look. The cameras see 1.6 m to either side, and the window moves tile by tile."""

_DRAWN, _HIDDEN = 0, 4
"""Groups of geoms."""
_REACH = 300.0
"""How far the plains beyond the height field go, m: no robot runs farther in 1000 steps."""
_HALF_WIDTH = 0.8
"""Half the width of the ground, m."""
_THICKNESS = 1.0
"""Of the ground, m: enough that nothing falls through it between two steps."""
_SHIFT = _HALF_WIDTH / (ROWS - 1)
"""The field is shifted along y by half a cell, m: the robot then stands in the middle of one row of cells instead
of on the seam of two, which halves its contacts and changes nothing else, as all rows are alike."""


def build(robot: Robot, ground: Ground, look: Look) -> mujoco.MjModel:
    """The model of a robot on ``ground``; the caller's own, to be changed at will.

    The suite's floor becomes a height field "ground" that is sunk by ``SUNK``, with level plains beyond its ends.
    Its heights are zigzag until ``model.hfield_data`` is written; the compiler must see a field that spans its
    elevation, for it scales the heights it is given. In the fast look nothing of this is drawn; a second field
    "view" without contacts is, of a few metres, which the environment keeps under the camera.
    """
    # Compiling takes 100–200 ms and a training run makes dozens of environments; copying takes a few.
    return copy.copy(_compiled(robot, ground.peak, ground.half, ground.spacing, look))


def view_cells(spacing: float) -> tuple[int, int]:
    """Cells of a height field with points this far apart in one tile, and in the whole field "view"."""
    tile = round(TILE / spacing)
    return tile, VIEW_TILES * tile


@lru_cache(maxsize=8)
def _compiled(robot: Robot, peak: float, ground_half: float, spacing: float, look: Look) -> mujoco.MjModel:
    """See :func:`build`. Shared by all environments of the process: never changed."""
    spec = _read(robot)
    drawn = _DRAWN if look == "paper" else _HIDDEN
    spec.material("grid").texrepeat = [1 / TILE, 1 / TILE]

    zigzag = np.tile(np.arange(POINTS) % 2, ROWS).astype(float)
    spec.add_hfield(
        name="ground",
        nrow=ROWS,
        ncol=POINTS,
        size=[ground_half, _HALF_WIDTH, peak, _THICKNESS],
        userdata=zigzag,
    )
    floor = spec.geom("floor")
    floor.name, floor.type, floor.hfieldname = "ground", mujoco.mjtGeom.mjGEOM_HFIELD, "ground"
    floor.pos, floor.size, floor.group = [0.0, _SHIFT, -SUNK], [0.0, 0.0, 0.0], drawn

    half = (_REACH - ground_half) / 2
    level = MEAN * peak - SUNK
    for side, name in ((-1, "left_plain"), (1, "right_plain")):
        spec.worldbody.add_geom(
            name=name,
            type=mujoco.mjtGeom.mjGEOM_BOX,
            size=[half, _HALF_WIDTH, _THICKNESS / 2],
            pos=[side * (ground_half + half), _SHIFT, level - _THICKNESS / 2],
            contype=1,
            conaffinity=1,
            friction=floor.friction,
            material="grid",
            group=drawn,
        )
    if look == "fast":
        _add_view(spec, peak, spacing)
        spec.delete(spec.texture("skybox"))  # 11.5 of the model's 11.9 MB, and never drawn in this look
    # A handful of geoms and one robot: bounding-volume trees and the search for islands of contacts find nothing
    # to save and cost 15 % of a step. The motion is the same, bit for bit.
    spec.option.disableflags |= mujoco.mjtDisableBit.mjDSBL_MIDPHASE | mujoco.mjtDisableBit.mjDSBL_ISLAND
    prepare(spec, look)
    return spec.compile()


def _add_view(spec: mujoco.MjSpec, peak: float, spacing: float) -> None:
    _, cells = view_cells(spacing)
    spec.add_hfield(
        name="view",
        nrow=2,
        ncol=cells + 1,
        size=[cells * spacing / 2, _HALF_WIDTH, peak, _THICKNESS],
        userdata=np.tile(np.arange(cells + 1) % 2, 2).astype(float),
    )
    spec.worldbody.add_geom(
        name="view",
        type=mujoco.mjtGeom.mjGEOM_HFIELD,
        hfieldname="view",
        pos=[0.0, _SHIFT, -SUNK],
        contype=0,
        conaffinity=0,
        material="grid",
        group=_DRAWN,
    )


def _read(robot: Robot) -> mujoco.MjSpec:
    """The suite's own file, from the installed package; dm_control.suite itself is not imported."""
    suite = resources.files("dm_control") / "suite"
    include = {f"./common/{name}.xml": (suite / "common" / f"{name}.xml").read_bytes() for name in _COMMON}
    return mujoco.MjSpec.from_string((suite / f"{robot}.xml").read_text(encoding="utf-8"), include=include)


_COMMON = ("visual", "skybox", "materials")
