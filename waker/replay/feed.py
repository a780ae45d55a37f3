"""From the replay to the learner: batches as tensors on the learner's device. Called by the loop and by ``adapt``."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from waker.replay.curious import Curious
from waker.replay.ring import Replay


class Feed:
    """Draws batches name → (B, T, …) into one set of reused host buffers (pinned where the device is CUDA).

    A batch is good until the next one is drawn.

    Args:
        choice: chooses the windows; None = all are alike. The others: see :meth:`Replay.sample`.
    """

    def __init__(
        self,
        replay: Replay,
        rng: np.random.Generator,
        batch: int,
        length: int,
        device: str | torch.device,
        choice: Curious | None = None,
    ) -> None:
        self.choice = choice
        self.replay, self.rng, self.batch, self.length = replay, rng, batch, length
        self.device = torch.device(device)
        pinned = self.device.type == "cuda"
        self._host = {
            name: torch.from_numpy(array).pin_memory() if pinned else torch.from_numpy(array)
            for name, array in replay.buffers(batch, length).items()
        }
        self._views = {name: tensor.numpy() for name, tensor in self._host.items()}

    def next(self) -> dict[str, Tensor]:
        """The next batch.

        Raises:
            UserError: the replay does not hold T records of each slot yet.
        """
        if self.choice is None:
            self.replay.sample(self.rng, self.batch, self.length, out=self._views)
        else:
            self.replay.window(*self.choice.draw(self.rng, self.batch), self.length, out=self._views)
        # Blocking: the next call fills the same buffers, and nothing else makes the host wait for an update.
        return {name: tensor.to(self.device) for name, tensor in self._host.items()}
