"""The continue head, trained further on a frozen model.

Where one step in a hundred ends an episode, the head that was trained with the model still doubts which ones do, and a
policy that learns from it keeps away from safe cells. On frozen features it learns this as reward heads do
(``adapt.refit_continue``; what it changes: docs/results.md, Policies by lookahead).
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, nn

from waker.config.schema import OptimizerConfig
from waker.machine.precision import Precision
from waker.model.optim import Adam
from waker.model.world_model import WorldModel


class ContinueFit:
    """A copy of a model's continue head that learns, and the model that has it in place of its own.

    Attributes:
        model: shares all other parts with the model that was given, which keeps its own head.

    Raises:
        ValueError: the model has no continue head.
    """

    def __init__(self, model: WorldModel, config: OptimizerConfig, precision: Precision) -> None:
        if model.continues is None:
            raise ValueError("the model has no continue head (model.continue_scale is 0): nothing to train")
        self.head: nn.Module = copy.deepcopy(model.continues).requires_grad_(True)
        self.model = model.with_continue_head(self.head)
        self.optimizer, self.precision = Adam(self.head.parameters(), config), precision

    def step(self, feature: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """One step on posterior features (B, T, F) of a batch; the loss before it, 0-dim."""
        with self.precision():
            loss = self.model.continue_loss(feature, batch)
        self.optimizer.descend(loss)
        return loss.detach()

    def tensors(self) -> Iterator[Tensor]:
        """All that a step reads or changes in place."""
        yield from (*self.head.parameters(), *self.head.buffers(), *self.optimizer.tensors())

    def state_dict(self) -> dict[str, Any]:
        """Head and optimiser."""
        return {"head": self.head.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        self.head.load_state_dict(state["head"])
        self.optimizer.load_state_dict(state["optimizer"])
