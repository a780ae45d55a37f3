"""Pictures: what is where, both looks, cameras that share a context, and clear refusals."""

from __future__ import annotations

import multiprocessing

import mujoco
import numpy as np
import pytest
from numpy.typing import NDArray

from waker_envs.physics.camera import LARGEST, Camera, Look, prepare

SCENE = """<mujoco>
<asset><hfield name="hill" nrow="2" ncol="9" size="1 1 .5 .1"/></asset>
<worldbody>
  <light pos="0 0 4" dir="0 0 -1"/>
  <camera name="top" pos="0 0 4"/><camera name="side" pos="0 -4 .3" xyaxes="1 0 0 0 0 1"/>
  <geom type="plane" size="9 9 .1" rgba="1 1 1 1" pos="0 0 -.2"/>
  <geom type="box" size=".3 .3 .3" pos="1 1 .3" rgba="0 0 1 1"/>
  <geom type="box" size=".3 .3 .3" pos="-1 1 .3" rgba="0 1 0 1" group="3"/>
  <geom type="box" size=".3 .3 .3" pos="-1 -1 .3" rgba="1 0 0 1" group="4"/>
  <geom type="hfield" hfield="hill" rgba="1 0 1 1"/>
</worldbody></mujoco>"""
Picture = NDArray[np.uint8]


def scene(look: Look) -> tuple[mujoco.MjModel, mujoco.MjData]:
    spec = mujoco.MjSpec.from_string(SCENE)
    prepare(spec, look)
    model = spec.compile()
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    return model, data


def strongest(picture: Picture, row: float, column: float) -> list[bool]:
    """Which of red, green and blue are bright at a place given as shares of the picture's sides."""
    pixel = picture[int(row * picture.shape[0]), int(column * picture.shape[1])].astype(int)
    return [bool(v > pixel.max() / 2) for v in pixel]


@pytest.mark.parametrize("look", ["fast", "paper"])
@pytest.mark.parametrize("side", [64, 480])
def test_things_are_where_they_should_be_and_upright(look: Look, side: int) -> None:
    model, data = scene(look)
    camera = Camera(model, side, side, "top", look)
    picture = camera.picture(data)
    assert (picture.shape, picture.dtype) == ((side, side, 3), np.uint8)
    # Field of view 45°: the box's top (z = 0.6, distance 3.4) at ±1 m is 0.355 of the side from the middle.
    assert strongest(picture, 0.145, 0.855) == [False, False, True]  # y up: the top of the picture
    assert strongest(picture, 0.145, 0.145) == [False, True, False]
    assert strongest(picture, 0.855, 0.145) == [True, True, True]  # group 4 collides and is never drawn
    camera.close()


def test_pictures_need_not_be_square() -> None:
    model, data = scene("fast")
    assert Camera(model, 48, 100, "top").picture(data).shape == (48, 100, 3)


def test_a_picture_is_the_caller_s_own() -> None:
    model, data = scene("fast")
    camera = Camera(model, 64, 64, "top")
    first = camera.picture(data)
    kept = first.copy()
    first[:] = 0
    np.testing.assert_array_equal(camera.picture(data), kept)


def test_cameras_of_one_context_do_not_disturb_one_another() -> None:
    kinds: list[tuple[Look, int]] = [("fast", 64), ("paper", 64), ("fast", 200)]
    alone = []
    for look, side in kinds:
        model, data = scene(look)
        camera = Camera(model, side, side, "top", look)
        alone.append(camera.picture(data))
        camera.close()
    models = [scene(look) for look, _ in kinds]
    cameras = [Camera(m, side, side, "top", look) for (m, _), (look, side) in zip(models, kinds, strict=True)]
    for i in (0, 1, 2, 1, 0, 2, 0):
        np.testing.assert_array_equal(cameras[i].picture(models[i][1]), alone[i])
    cameras[2].close()
    np.testing.assert_array_equal(cameras[0].picture(models[0][1]), alone[0])


@pytest.mark.parametrize("look", ["fast", "paper"])
def test_a_height_field_shows_after_its_upload(look: Look) -> None:
    model, data = scene(look)
    camera = Camera(model, 64, 64, "side", look)
    flat = camera.picture(data)
    model.hfield("hill").data[:] = np.r_[np.zeros(4), 1, np.zeros(4)]
    camera.upload_height_field("hill")
    hill = camera.picture(data)

    def purple(picture: Picture) -> int:
        return int(((picture[..., 0] > 1.5 * picture[..., 1]) & (picture[..., 2] > 1.5 * picture[..., 1])).sum())

    assert purple(hill) > purple(flat) + 20


def test_a_camera_the_model_does_not_have() -> None:
    with pytest.raises(ValueError, match="the model has no camera 'front'"):
        Camera(scene("fast")[0], 64, 64, "front")


@pytest.mark.parametrize(("height", "width"), [(LARGEST + 1, 64), (64, LARGEST + 1), (0, 64), (64, -1)])
def test_a_picture_too_large_or_empty(height: int, width: int) -> None:
    with pytest.raises(ValueError, match=f"up to 1024 pixels a side, not {height} × {width}"):
        Camera(scene("fast")[0], height, width, "top")


def test_closing_twice_does_nothing() -> None:
    model, data = scene("fast")
    camera = Camera(model, 64, 64, "top")
    camera.picture(data)
    camera.close()
    camera.close()


def _child(queue: multiprocessing.Queue) -> None:  # type: ignore[type-arg]
    model, data = scene("fast")
    queue.put(Camera(model, 64, 64, "top").picture(data))


def test_a_forked_child_makes_pictures_of_its_own() -> None:
    model, data = scene("fast")
    camera = Camera(model, 64, 64, "top")
    here = camera.picture(data)
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_child, args=(queue,), daemon=True)
    child.start()
    try:
        np.testing.assert_array_equal(queue.get(timeout=20), here)
    finally:
        child.kill()
        child.join()
    np.testing.assert_array_equal(camera.picture(data), here)
