"""What heads and policies see of replay segments: posterior features of a frozen model, and the actions between them.

Called where preferences are learned from (:mod:`waker.agent.head_fit`) and where queries are chosen by what was learned
(:mod:`waker.training.asking`).

Shapes: n segments of L steps at most, F feature, A action.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from waker.model.reward_heads import RewardHeads
from waker.model.world_model import WorldModel
from waker.preferences.segments import Segments, arrived, windows
from waker.replay.ring import Replay

CHUNK = 256
"""Segments that are filtered at once."""


class SegmentFeatures(NamedTuple):
    """The latent states t … t+L of segments, and what was done between them.

    Attributes:
        feature: (n, L+1, F); behind a segment's end its last state.
        action: ``action[:, k]`` led from state k to state k + 1, (n, L, A).
        inside: 1 for steps that belong to the segment, (n, L).
    """

    feature: Tensor
    action: Tensor
    inside: Tensor

    def given(self, heads: RewardHeads) -> Tensor:
        """What heads see of the steps, (n, L, inputs)."""
        return heads.given(self.feature[:, :-1], self.action, self.feature[:, 1:])


@torch.no_grad()
def segment_features(model: WorldModel, replay: Replay, segments: Segments, context: int) -> SegmentFeatures:
    """Filter segments from their episodes' first records, or from ``context`` records before them.

    Latents are drawn from the posterior, as while training; from torch's generator.

    Args:
        context: records that the model sees before a segment, at most.
    """
    parts = list(_filtered(model, replay, segments, context))
    return SegmentFeatures(*(torch.cat(tensors) for tensors in zip(*parts, strict=True)))


def _filtered(model: WorldModel, replay: Replay, segments: Segments, context: int) -> Iterator[SegmentFeatures]:
    device = next(model.parameters()).device
    longest = int(segments.length.max(initial=1))
    observed = (*(key.name for key in model.keys), "action", "is_first")
    for start in range(0, segments.n, CHUNK):
        some = segments.at(np.arange(start, min(start + CHUNK, segments.n)))
        records, place = windows(replay, some, context + longest + 1)
        batch = {name: torch.from_numpy(np.ascontiguousarray(records[name])).to(device) for name in observed}
        feature = model.observe(batch).state.feature  # (n, T, F)
        steps = np.minimum(np.arange(longest + 1), some.length[:, None])
        at = torch.from_numpy(place[:, None] + steps).to(device)  # (n, L+1)
        taken = feature.gather(1, at.unsqueeze(-1).expand(-1, -1, feature.shape[-1]))
        action, inside = _padded(replay, some, longest)
        yield SegmentFeatures(taken, torch.from_numpy(action).to(device), torch.from_numpy(inside).to(device))


def _padded(replay: Replay, segments: Segments, longest: int) -> tuple[np.ndarray, np.ndarray]:
    action, inside = arrived(replay, "action", segments)
    more = longest - inside.shape[1]
    action = np.pad(action, ((0, 0), (0, more), (0, 0)), mode="edge")
    return action.astype(np.float32), np.pad(inside, ((0, 0), (0, more))).astype(np.float32)
