"""The films of the documentation's environment pages: one GIF a family, an episode of random actions for several θ.

    python scripts/docs_films.py [FAMILY …]        # writes docs/environments/films/<family>.gif

Families on MuJoCo need a renderer (EGL or OSMesa). The files are committed, so that building the site needs none.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import waker_envs
from waker_envs.films import film, frame_rate, write_gif

FOLDER = Path(__file__).parents[1] / "docs" / "environments" / "films"
FILMS: dict[str, tuple[tuple[float, ...], ...]] = {
    "GridHazards": ((3, 0.0, 0.0), (4, 0.1, 0.0), (5, 0.2, 0.1)),
    "GridCleanUp": ((1, 1, 0), (2, 1, 1), (4, 2, 2)),
    "GridCleanUpSmall": ((1, 0, 0), (2, 0, 1), (2, 1, 1)),
    "GridKeys": ((4, 0), (5, 1), (5, 2)),
    "MultiRoom": ((1, 4), (2, 5), (4, 6)),
    "LavaCrossing": ((7, 1), (9, 2), (9, 3)),
    "DoorKey": ((5,), (6,), (8,)),
    "TerrainWalker": ((0.0, 1.0), (0.5, 1.0), (1.0, 0.2)),
    "TerrainHopper": ((0.0, 1.0), (0.5, 0.8), (1.0, 0.15)),
    "CleanUp": ((0, 0, 0), (2, 1, 1), (4, 2, 2)),
    "CarCleanUp": ((0, 0, 0), (2, 1, 1), (4, 2, 2)),
    "Combined": ((0, 1.0, 0.2, 0, 0, 0), (1, 0, 0, 4, 2, 2)),
}
"""Family → θ, easy to hard, side by side in one film."""
SIDE = 192
"""Pixels of a picture."""
STEPS = 60
GAP = 8
_MOST_FRAMES = 30


def framed(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A picture of any size as a square of :data:`SIDE` pixels on white."""
    image = Image.fromarray(picture)
    scale = SIDE / max(image.size)
    size = [max(1, round(scale * n)) for n in image.size]
    page = Image.new("RGB", (SIDE, SIDE), (255, 255, 255))
    page.paste(image.resize(size, Image.Resampling.LANCZOS), [(SIDE - n) // 2 for n in size])
    return np.asarray(page)


def pictures_of(name: str) -> tuple[list[NDArray[np.uint8]], float]:
    """The frames of a family's film and how many a second; an episode that has ended shows its last picture."""
    env = waker_envs.make(name, render_mode="rgb_array")
    films = [[framed(p) for p in film(env, theta, seed=1, steps=STEPS)[0]] for theta in FILMS[name]]
    rate = frame_rate(env)
    env.close()
    length = max(map(len, films))
    gap = np.full((SIDE, GAP, 3), 255, np.uint8)
    frames = []
    every = max(1, length // _MOST_FRAMES)
    for t in range(0, length, every):
        row: list[NDArray[np.uint8]] = []
        for one in films:
            row += [gap, one[min(t, len(one) - 1)]]
        frames.append(np.concatenate(row[1:], 1))
    return frames, min(rate / every, 10.0)


def main() -> None:
    """Write the films of the families named, or of all."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in sys.argv[1:] or FILMS:
        frames, rate = pictures_of(name)
        path = FOLDER / f"{name.lower()}.gif"
        with path.open("wb") as file:
            write_gif(file, frames, rate)
        print(f"{path}: {len(frames)} frames, {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
