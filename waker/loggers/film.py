"""An evaluation's film strip as one moving picture, for loggers that show such; called by the recorder and by them."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

_GAP = 2
"""Grey pixels between pictures."""
_GREY = 160
_SMALLEST = 64
"""Pixels of a picture's longer side at least: small ones are enlarged by a whole factor."""
_MILLISECONDS = 300


def moving_picture(film: Mapping[str, NDArray[Any]]) -> NDArray[np.uint8]:
    """Frames of all clips side by side, what happened above what the model imagined.

    Args:
        film: see :func:`waker.evaluation.filmstrip.film`: ``real`` and ``imagined`` (clips, T, height, width, 3).

    Returns:
        (T, height', width', 3).
    """
    rows = [_side_by_side(np.asarray(film[name], np.uint8)) for name in ("real", "imagined")]
    return np.concatenate([rows[0], rows[1][:, _GAP:]], 1)


def _side_by_side(clips: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(clips, T, height, width, 3) → (T, height', width', 3), with a grey frame around each."""
    factor = -(-_SMALLEST // max(clips.shape[2:4]))
    large = clips.repeat(factor, 2).repeat(factor, 3)
    framed = np.pad(large, ((0, 0), (0, 0), (_GAP, _GAP), (_GAP, 0), (0, 0)), constant_values=_GREY)
    joined = np.concatenate(list(framed), 2)
    return np.pad(joined, ((0, 0), (0, 0), (0, _GAP), (0, 0)), constant_values=_GREY)


def gif(frames: NDArray[np.uint8]) -> bytes:
    """Frames (T, height, width, 3) as an animated GIF that begins again at its end."""
    from PIL import Image  # only where a logger shows films

    first, *others = [Image.fromarray(frame) for frame in frames]
    buffer = io.BytesIO()
    first.save(buffer, "gif", save_all=True, append_images=others, duration=_MILLISECONDS, loop=0)
    return buffer.getvalue()
