"""The fast 64 × 64 picture shows what the tasks need: each block's colour, both goals, the robot and its heading."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from waker_envs.cleanup.base import CleanUpEnv
from waker_envs.cleanup.car import CarCleanUp
from waker_envs.cleanup.models import CAMERA_HEIGHT, FIELD_OF_VIEW
from waker_envs.cleanup.point import CleanUp

FAMILIES = [CleanUp, CarCleanUp]
SIDE = 64
Picture = NDArray[np.uint8]
Mask = NDArray[np.bool_]


def pixel(x: float, y: float, z: float) -> tuple[float, float]:
    """Where a point appears: (column, row) of the picture, by the pinhole camera's formula."""
    scale = SIDE / 2 / math.tan(math.radians(FIELD_OF_VIEW / 2)) / (CAMERA_HEIGHT - z)
    return SIDE / 2 + x * scale, SIDE / 2 - y * scale


def masks(picture: Picture) -> dict[str, Mask]:
    """Which pixels have which thing's colour."""
    r, g, b = (picture[..., k].astype(float) for k in range(3))
    return {
        "green": (g > 1.6 * r) & (g > 1.6 * b) & (g > 40),
        "blue": (b > 1.6 * r) & (b > 1.6 * g) & (b > 40),
        "green goal": (g > 1.15 * r) & (g > 1.15 * b) & (r > 100),
        "blue goal": (b > 1.15 * r) & (b > 1.1 * g) & (r > 100),
        "red": (r > 1.6 * g) & (r > 1.6 * b) & (r > 40),
        "yellow": (r > 1.6 * b) & (g > 1.6 * b) & (r > 100),
    }


def around(mask: Mask, column: float, row: float, reach: int) -> Mask:
    """The part of a mask within ``reach`` pixels of a point, cut at the picture's edge."""
    c, r = int(column), int(row)
    return mask[max(r - reach, 0) : r + reach + 1, max(c - reach, 0) : c + reach + 1]


def middle(mask: Mask) -> NDArray[np.float64]:
    """The mean (column, row) of a mask's pixels."""
    rows, columns = np.nonzero(mask)
    return np.array([columns.mean() + 0.5, rows.mean() + 0.5])


@pytest.mark.parametrize("family", FAMILIES)
def test_every_block_shows_its_colour_where_it_is(family: type[CleanUpEnv]) -> None:
    env = family()
    for theta in ([1, 1, 0], [1, 0, 1], [2, 1, 1], [3, 1, 2], [4, 2, 2], [4, 4, 0], [4, 0, 4], [5, 3, 2]):
        for seed in range(3):
            found = masks(env.reset(seed=seed, options={"theta": theta})[0])
            top = 2 * env.robot.block_half
            for i, (x, y) in enumerate(env.arena.block_qpos[: theta[1] + theta[2], :2]):
                own, other = ("green", "blue") if i < theta[1] else ("blue", "green")
                column, row = pixel(x, y, top)
                assert around(found[own], column, row, 1).all(), (theta, seed, i)
                assert not around(found[other], column, row, 1).any()
            # And colours show nothing else: without blocks of a colour, not a pixel of it.
            assert found["green"].any() == (theta[1] > 0)
            assert found["blue"].any() == (theta[2] > 0)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("arena", range(5))
def test_goals_are_the_strips_along_the_walls(family: type[CleanUpEnv], arena: int) -> None:
    env = family()
    found = masks(env.reset(seed=0, options={"theta": [arena, 0, 0]})[0])
    half = env.arena.half
    inner, outer = pixel(half - 0.5, 0, 0)[0] - SIDE / 2, pixel(half, 0, 0)[0] - SIDE / 2
    reach = pixel(0, -half, 0)[1] - SIDE / 2
    at = np.arange(SIDE) + 0.5 - SIDE / 2  # pixels' centres from the middle
    rows = abs(at) < reach - 1
    for name, sign in (("green goal", -1), ("blue goal", 1)):
        columns = (sign * at > inner + 1) & (sign * at < outer - 1)
        assert found[name][np.ix_(rows, columns)].mean() > 0.97
        beyond = (sign * at < inner - 1) | (sign * at > outer + 2)
        assert not found[name][:, beyond].any()


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("arena", range(5))
def test_the_robot_and_its_heading_are_to_be_seen(family: type[CleanUpEnv], arena: int) -> None:
    env, turned = family(), []
    for seed in range(24):
        picture, _ = env.reset(seed=seed, options={"theta": [arena, 0, 0]})
        x, y, cos, sin = env.proprio()[:4]
        found = masks(picture)
        body, nose = middle(found["red"] | found["yellow"]), middle(found["yellow"])
        column, row = pixel(x, y, 0.15)
        assert math.hypot(body[0] - column, body[1] - row) < 2.0
        pointed = (nose - body) * [1, -1]  # rows go down, y goes up
        assert math.hypot(*pointed) > 0.8
        ahead, aside = pointed @ [cos, sin], pointed @ [-sin, cos]
        turned.append(math.degrees(math.atan2(aside, ahead)))
    # The robot is six pixels wide: a single heading is as exact as that, and none is biased.
    assert max(abs(t) for t in turned) < 40
    assert abs(np.mean(turned)) < 6


@pytest.mark.parametrize("family", FAMILIES)
def test_the_robot_is_seen_among_blocks_too(family: type[CleanUpEnv]) -> None:
    env = family()
    for seed in range(10):
        found = masks(env.reset(seed=seed, options={"theta": [5, 3, 2]})[0])
        assert found["red"].sum() >= 4
        assert found["yellow"].sum() >= 2


def test_the_picture_is_of_the_state_after_the_step() -> None:
    env, numbers = CleanUp(), CleanUp(obs="proprio")
    env.reset(seed=0, options={"theta": [4, 0, 0]})
    numbers.reset(seed=0, options={"theta": [4, 0, 0]})
    for e in (env, numbers):
        e.place(-1.0, 0.0, 0.0)
    for _ in range(45):
        picture, *_ = env.step([1, 0])
        state, *_ = numbers.step([1, 0])
    found = masks(picture)
    assert state[4] > 0.8
    column, row = pixel(state[0] + 0.02, state[1], 0.15)
    body = middle(found["red"] | found["yellow"])
    assert math.hypot(body[0] - column, body[1] - row) < 1.0
    # To the last bit: what is drawn is where the robot is, not where it was a timestep before.
    assert env.arena.data.body("robot").xpos[0] == env.arena.data.qpos[0]


@pytest.mark.parametrize("family", FAMILIES)
def test_the_picture_for_people_is_large_and_other_looks_have_the_same_layout(family: type[CleanUpEnv]) -> None:
    env = family(render_mode="rgb_array", look="paper")
    small, _ = env.reset(seed=0, options={"theta": [4, 2, 2]})
    large = env.render()
    assert large.shape == (480, 480, 3)
    assert large.dtype == np.uint8
    for name in ("green", "blue"):
        np.testing.assert_allclose(middle(masks(large)[name]) / 480, middle(masks(small)[name]) / 64, atol=0.02)
    assert family().render() is None
    env.close()
