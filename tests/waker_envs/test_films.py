"""Films: as many pictures as steps, time that passes as fast as it should, colours that stay."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

import waker_envs
from waker_envs.films import film, write_gif


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
