"""Films of episodes: pictures from ``render()`` to an animated GIF. Called by ``waker envs show``.

Actions are random: a film shows what θ does to the world, not what some policy makes of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import BinaryIO

import numpy as np
from numpy.typing import ArrayLike, NDArray

from waker_envs.api import ParametricEnv, Theta
from waker_envs.checked import as_numbers, checked_picture, shown

_COLOURS = 128
_TICK = 10
"""A GIF counts time in hundredths of a second; in ms."""
_SHORTEST = 20
"""What viewers are known to show as asked for, ms."""


def film(env: ParametricEnv, theta: ArrayLike | None, seed: int, steps: int) -> tuple[list[NDArray[np.uint8]], Theta]:
    """One episode of uniformly random actions, a picture before the first step and after each.

    Args:
        env: made with ``render_mode="rgb_array"``.
        theta: shape (D,); None = one from DR, which the seed fixes.
        seed: fixes the episode and the actions.
        steps: at most so many; fewer where the episode ends before.

    Returns:
        The pictures, each (height, width, 3), and θ, shape (D,).

    Raises:
        ThetaError: θ is neither in the space nor in a suite.
        ValueError: what it shows is no picture, or pictures are of different sizes.
        NotImplementedError: the family has no pictures.
    """
    _, info = env.reset(seed=seed, options=None if theta is None else {"theta": theta})
    point = np.array(info["theta"], np.float64)
    env.action_space.seed(seed)
    pictures, over = [checked_picture("render()", env.render())], False
    while not over and len(pictures) <= steps:
        _, _, terminated, truncated, _ = env.step(env.action_space.sample())
        over = terminated or truncated
        pictures.append(checked_picture("render()", env.render(), like=pictures[0]))
    return pictures, point


def frame_rate(env: ParametricEnv) -> float:
    """Pictures a second that an environment shows (``metadata["render_fps"]``); without a word about it, as all do.

    Raises:
        ValueError: it is no positive number.
    """
    rate = as_numbers(env.metadata.get("render_fps", ParametricEnv.metadata["render_fps"]))
    if rate is None or rate.size != 1 or not 0 < rate.item() < np.inf:
        raise ValueError(f"metadata['render_fps'] must be a positive number, got {shown(env.metadata['render_fps'])}")
    return float(rate.item())


def write_gif(file: BinaryIO, pictures: Sequence[NDArray[np.uint8]], fps: float) -> None:
    """Write pictures of one size as a GIF that repeats for ever.

    Where ``fps`` is more than the 50 a second that viewers show, pictures are left out, so that time passes as fast
    as it should.

    Args:
        pictures: at least one, each (height, width, 3).
        fps: pictures a second.
    """
    from PIL import Image

    every = max(1, round(_SHORTEST * fps / 1000))
    duration = max(_SHORTEST, _TICK * round(1000 * every / fps / _TICK))
    kept = list(pictures[::every])
    # One palette for the whole film, from pictures spread over it: colours do not flicker between frames.
    chosen = [kept[i] for i in np.linspace(0, len(kept) - 1, min(len(kept), 8)).astype(int)]
    palette = Image.fromarray(np.concatenate(chosen, 0)).quantize(_COLOURS, dither=Image.Dither.NONE)
    frames = [Image.fromarray(p).quantize(palette=palette, dither=Image.Dither.NONE) for p in kept]
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:], duration=duration, loop=0)
