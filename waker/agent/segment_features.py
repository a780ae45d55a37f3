"""What heads and policies see of replay segments: posterior features of a frozen model, and the actions between them.

Called where preferences are learned from (:mod:`waker.agent.head_fit`) and where queries are chosen by what was learned
(:mod:`waker.training.asking`).

Shapes: n segments of L steps at most, F feature, A action.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from waker.model.reward_heads import RewardHeads
from waker.model.world_model import WorldModel
from waker.preferences.segments import Segments, arrived, windows
from waker.replay.ring import Replay
from waker.seeding import torch_seed

CHUNK = 256
"""Segments that are filtered at once."""
_MOST_NUMBERS = 2**28
"""In all draws of some segments together: a gigabyte."""


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

    def at(self, which: slice | Tensor) -> SegmentFeatures:
        """Some of them."""
        return SegmentFeatures(*(tensor[which] for tensor in self))

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


def as_tensors(model: WorldModel, records: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
    """Windows of a replay as a batch on the model's device, without rewards."""
    device = next(model.parameters()).device
    names = (*(key.name for key in model.keys), "action", "is_first", "is_terminal", "theta_id")
    return {name: torch.from_numpy(np.ascontiguousarray(records[name])).to(device) for name in names}


def drawn_features(
    model: WorldModel, replay: Replay, segments: Segments, context: int, draws: int, seed: int
) -> list[SegmentFeatures]:
    """Several draws of the segments' latents; fewer where they would take more than a gigabyte, but one at least.

    Args:
        draws: how many.
        seed: of what is drawn; torch's own generators are left as they were.
    """
    with torch_seed(seed):
        found = [segment_features(model, replay, segments, context)]
        fit = max(1, _MOST_NUMBERS // max(1, found[0].feature.numel()))
        found += [segment_features(model, replay, segments, context) for _ in range(min(draws, fit) - 1)]
    return found


def _filtered(model: WorldModel, replay: Replay, segments: Segments, context: int) -> Iterator[SegmentFeatures]:
    device = next(model.parameters()).device
    longest = int(segments.length.max(initial=1))
    for start in range(0, segments.n, CHUNK):
        some = segments.at(np.arange(start, min(start + CHUNK, segments.n)))
        records, place = windows(replay, some, context + longest + 1)
        feature = model.observe(as_tensors(model, records)).state.feature  # (n, T, F)
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
