"""The film strip: real futures above imagined ones. Called by the page."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from waker.report.style import GREY, style, text

_FRAME, _LEFT, _HEAD, _GAP = 0.8, 0.55, 0.5, 0.06  # inches
_PALE = 0.45
"""What is left of the contrast of reconstructions, which are no predictions."""


def film_strip(film: Mapping[str, NDArray[np.generic]]) -> Figure:
    """Two rows of pictures for each clip: what happened, and what the model imagined.

    Args:
        film: arrays of ``filmstrip.npz``; see :func:`waker.evaluation.filmstrip.film`.
    """
    real, imagined = np.asarray(film["real"]), np.asarray(film["imagined"])
    context, lengths = int(film["context"]), np.asarray(film["length"]).astype(int)
    names, thetas = [str(n) for n in film["names"]], np.asarray(film["theta"]).astype(float)
    clips, frames, height, width = real.shape[:4]
    tall = _FRAME * height / width
    clip_height = _HEAD + 2 * tall + _GAP
    size = (_LEFT + (_FRAME + _GAP) * frames, clip_height * clips)
    with style():
        figure = Figure(figsize=size, layout=None)
        # One panel in inches for all pictures: a hundred small ones would take seconds.
        panel = figure.add_axes((0, 0, 1, 1))
        panel.set_axis_off()
        for clip in range(clips):
            top = size[1] - clip * clip_height  # inches from the bottom
            theta = ", ".join(f"{text(n)} = {v:g}" for n, v in zip(names, thetas[clip], strict=True))
            _text(figure, size, 0.0, top - 0.19, theta, weight="bold", fontsize=9)
            _text(figure, size, _LEFT, top - _HEAD + 0.08, "seen", fontsize=7.5, color=GREY)
            _text(figure, size, _x(context), top - _HEAD + 0.08, "open loop →", fontsize=7.5, color=GREY)
            for row, (pictures, label) in enumerate(((real[clip], "real"), (imagined[clip], "model"))):
                bottom = top - _HEAD - (row + 1) * tall - row * _GAP
                _text(figure, size, 0.0, bottom + tall / 2, label, fontsize=8)
                for t in range(frames):
                    if row == 0 and t >= lengths[clip]:
                        if t == lengths[clip]:
                            _text(
                                figure, size, _x(t) + 0.1, bottom + tall / 2, "episode over", fontsize=7.5, color=GREY
                            )
                        continue
                    shown = pictures[t].astype(float) / 255
                    if row == 1 and t < context:
                        shown = 1 - _PALE * (1 - shown)
                    box = (_x(t), _x(t) + _FRAME, bottom, bottom + tall)
                    panel.imshow(shown, interpolation="nearest", aspect="auto", extent=box)
        panel.set(xlim=(0, size[0]), ylim=(0, size[1]))  # imshow moves them
        return figure


def _x(t: int) -> float:
    return _LEFT + t * (_FRAME + _GAP)


def _text(figure: Figure, size: tuple[float, float], x: float, y: float, words: str, **look: object) -> None:
    figure.text(x / size[0], y / size[1], words, va="center", ha="left", **look)  # type: ignore[arg-type]
