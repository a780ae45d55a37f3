"""Films of episodes: pictures from ``render()`` to an animated GIF. Called by ``waker envs show``.

Actions are random: a film shows what θ does to the world, not what some policy makes of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import BinaryIO

import numpy as np
from numpy.typing import ArrayLike, NDArray

from waker_envs.api import ParametricEnv, Theta

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
        NotImplementedError: the family has no pictures.
    """
    _, info = env.reset(seed=seed, options=None if theta is None else {"theta": theta})
    shown = np.array(info["theta"], np.float64)
    env.action_space.seed(seed)
    pictures, over = [np.array(env.render(), np.uint8)], False
    while not over and len(pictures) <= steps:
        _, _, terminated, truncated, _ = env.step(env.action_space.sample())
        over = terminated or truncated
        pictures.append(np.array(env.render(), np.uint8))
    return pictures, shown


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
    shown = list(pictures[::every])
    # One palette for the whole film, from pictures spread over it: colours do not flicker between frames.
    chosen = [shown[i] for i in np.linspace(0, len(shown) - 1, min(len(shown), 8)).astype(int)]
    palette = Image.fromarray(np.concatenate(chosen, 0)).quantize(_COLOURS, dither=Image.Dither.NONE)
    frames = [Image.fromarray(p).quantize(palette=palette, dither=Image.Dither.NONE) for p in shown]
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:], duration=duration, loop=0)
