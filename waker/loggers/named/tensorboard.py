"""TensorBoard, whose package is imported with the first row."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from waker.loggers.film import gif
from waker.loggers.registry import register_sink
from waker.storage.metrics_file import Metrics


@register_sink("tensorboard")
class TensorBoardSink:
    """Event files in ``tensorboard/`` of the run folder; a resume hides what came after its checkpoint."""

    needs = ("tensorboard",)

    def __init__(self, folder: Path, name: str, config: Mapping[str, Any]) -> None:
        self.folder = folder / "tensorboard"
        self._writer: Any = None
        self._last = 0
        self._purge: int | None = None

    def write(self, row: Metrics) -> None:
        self._open()
        self._last = int(row["updates"])
        for key, value in row.items():
            if not isinstance(value, str):
                self._writer.add_scalar(key, value, self._last)

    def film(self, key: str, frames: NDArray[np.uint8], row: Metrics) -> None:
        """Show a film as an animated picture; see :class:`waker.loggers.api.FilmSink`."""
        # add_video asks for a package that encodes a GIF; the event is the same.
        from tensorboard.compat.proto.summary_pb2 import Summary

        self._open()
        height, width = frames.shape[1:3]
        picture = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=gif(frames))
        event = Summary(value=[Summary.Value(tag=key, image=picture)])
        self._writer.file_writer.add_summary(event, int(row["updates"]))

    def _open(self) -> None:
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter  # needs the tensorboard package

            self._writer = SummaryWriter(str(self.folder), purge_step=self._purge)

    def sync(self) -> dict[str, Any]:
        if self._writer is not None:
            self._writer.flush()
        return {"updates": self._last}

    def restore(self, state: Mapping[str, Any]) -> str:
        self._last = int(state.get("updates", 0))
        self._purge = self._last + 1
        return ""

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
