"""Films: as many pictures as steps, time that passes as fast as it should, colours that stay."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

import waker_envs
from waker_envs.films import film, frame_rate, write_gif
from waker_envs.testing import HardTheta


def written(greys: list[int], fps: float) -> Image.Image:
    """A film of one-coloured pictures."""
    file = io.BytesIO()
    write_gif(file, [np.full((8, 12, 3), grey, np.uint8) for grey in greys], fps)
    return Image.open(file)


@pytest.mark.parametrize(
    ("fps", "frames", "milliseconds"),
    [(10, 40, 100), (25, 40, 40), (50, 40, 20), (100, 20, 20)],  # above 50 a second viewers slow down: every other
)
def test_time_passes_as_fast_as_it_should(fps: float, frames: int, milliseconds: int) -> None:
    every = 40 // frames  # no two neighbours alike among those shown: like ones would be joined
    with written([200 * (i // every % 2) for i in range(40)], fps) as gif:
        assert gif.n_frames == frames
        assert gif.info["duration"] == milliseconds
        assert gif.info["loop"] == 0
        assert gif.size == (12, 8)


def test_pictures_come_in_order() -> None:
    with written([0, 40, 80, 120, 160], 10) as gif:
        greys = []
        for number in range(gif.n_frames):
            gif.seek(number)
            greys.append(gif.convert("RGB").getpixel((0, 0))[0])
    assert greys == pytest.approx([0, 40, 80, 120, 160], abs=4)


def test_an_episode_ends_where_it_ends_or_at_so_many_steps() -> None:
    env = waker_envs.make("GridCleanUp", render_mode="rgb_array", length=6)
    pictures, theta = film(env, (2, 1, 1), seed=0, steps=100)
    assert (len(pictures), theta.tolist()) == (7, [2, 1, 1])
    assert len(film(env, None, seed=0, steps=3)[0]) == 4
    again = film(env, (2, 1, 1), seed=0, steps=100)[0]
    assert all(np.array_equal(a, b) for a, b in zip(pictures, again, strict=True))


GREY = np.full((4, 6, 3), 100, np.uint8)


@pytest.mark.parametrize(
    ("shown", "said"),
    [
        (None, "must give a picture: uint8 of shape .height, width, 3., not None"),
        (GREY / 255.0, "not float64 of shape .4, 6, 3."),
        (GREY.astype(np.int64), "not int64 of shape"),
        (GREY[..., 0], "not uint8 of shape .4, 6."),
        (GREY[..., :1], "not uint8 of shape .4, 6, 1."),
        (np.zeros((4, 6, 4), np.uint8), "not uint8 of shape .4, 6, 4."),
        (np.zeros((0, 6, 3), np.uint8), "not uint8 of shape .0, 6, 3."),
        ([GREY, GREY], "not uint8 of shape .2, 4, 6, 3."),
        ("a picture", "not 'a picture'"),
    ],
)
def test_what_is_no_picture_is_told_in_a_line(shown: Any, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HardTheta, "picture", lambda self: shown)
    with pytest.raises(ValueError, match=said):
        film(HardTheta(render_mode="rgb_array"), None, seed=0, steps=2)


def test_pictures_are_kept_as_they_were_and_of_one_size(monkeypatch: pytest.MonkeyPatch) -> None:
    one = np.zeros((4, 6, 3), np.uint8)

    def brighter(self: HardTheta) -> Any:
        one[:] += 1
        return one

    monkeypatch.setattr(HardTheta, "picture", brighter)
    pictures, _ = film(HardTheta(render_mode="rgb_array"), None, seed=0, steps=2)
    assert [picture[0, 0, 0] for picture in pictures] == [1, 2, 3]
    sizes = iter([4, 5])
    monkeypatch.setattr(HardTheta, "picture", lambda self: np.zeros((next(sizes), 6, 3), np.uint8))
    with pytest.raises(ValueError, match=r"pictures of one size, not \(4, 6\) and then \(5, 6\)"):
        film(HardTheta(render_mode="rgb_array"), None, seed=0, steps=2)


@pytest.mark.parametrize("rate", [0, -1, float("nan"), float("inf"), "ten", None])
def test_a_film_has_a_rate(rate: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    env = HardTheta()
    assert frame_rate(env) == 10
    monkeypatch.setattr(HardTheta, "metadata", {"render_modes": ["rgb_array"]})
    assert frame_rate(env) == 10
    monkeypatch.setattr(HardTheta, "metadata", {"render_modes": ["rgb_array"], "render_fps": rate})
    with pytest.raises(ValueError, match="render_fps'. must be a positive number, got"):
        frame_rate(env)
