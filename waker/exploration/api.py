"""What an explorer is: the reward of the exploration policy in imagination, and how that reward is learned.

Made by :func:`waker.exploration.registry.make_explorer` for :class:`waker.agent.agent.Agent`. The estimate of the
model's error, which credits θ, is apart from it: an :class:`~waker.exploration.ensemble.Ensemble`, whoever explores.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from waker.config.schema import ExplorerConfig
from waker.model.rssm import Posterior
from waker.model.world_model import WorldModel
from waker.settings import Settings


@dataclass(frozen=True)
class NoSettings(Settings):
    """Of an explorer without numbers of its own."""


class Explorer(nn.Module):
    """Base class, and the simplest explorer: its reward is the error estimate, and it has no networks.

    A subclass makes its networks in ``__init__`` (after ``super().__init__``; the world model is not to be kept) and
    overrides :meth:`reward` and :meth:`loss`. Both must not read a value back to the host. Parameters that do not
    require a gradient stay as they are.

    Attributes:
        acts_at_random: draw actions uniformly; there is no exploration policy to train.
        Own: a frozen dataclass of numbers of its own, set by ``explorer.settings``.
    """

    acts_at_random: ClassVar[bool] = False
    Own: ClassVar[type[Settings]] = NoSettings

    def __init__(self, model: WorldModel, action_dim: int, config: ExplorerConfig, settings: Any) -> None:
        super().__init__()
        self.config, self.settings = config, settings

    def reward(self, feature: Tensor, action: Tensor) -> Tensor | None:
        """The reward at every entry of a rollout, (H+1, N), by ``config.scale``; None = the error estimate.

        Gradients flow into feature and action.

        Args:
            feature: (H+1, N, F).
            action: (H+1, N, A); ``action[t]`` led into ``feature[t]``, so entry 0 is zero.
        """
        return None

    def loss(self, posterior: Posterior, batch: Mapping[str, Tensor]) -> Tensor | None:
        """What the explorer's own networks descend in each update, 0-dim; None = there are none.

        No gradient may reach the world model. Running statistics (buffers) are updated here.

        Args:
            posterior: of the batch, (B, T, ...).
            batch: (B, T, ...); see :mod:`waker.replay.ring`.
        """
        return None
