"""A world model that knows GridCleanUp's moves, or all of them but what becomes of the blocks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from waker.model.categorical import CategoricalLayout
from waker.model.decoder import Decoder
from waker.model.rssm import RSSM, Posterior, State
from waker_envs.grids.pushing import move

FRAME = 7


def shapes_in(frame: int) -> dict[str, tuple[int, ...]]:
    """Classes of each key in a square of ``frame`` cells a side."""
    return {"agent": (frame, frame), "blocks": (3,) * frame**2, "cells": (4,) * frame**2}


class PushedBlocks:
    """Has the interface of a world model. ``deter`` holds the observation's integers; one latent of one class.

    Args:
        blocks: how it takes them: "moved" (rightly), "still", or "gone".
        agent: False = it believes that the agent never moves.
        frame: the room is shown in a square of so many cells a side.
    """

    def __init__(self, blocks: str = "moved", agent: bool = True, frame: int = FRAME) -> None:
        self.blocks, self.agent, self.frame, self.shapes = blocks, agent, frame, shapes_in(frame)

    @property
    def rssm(self) -> RSSM:
        return cast(RSSM, self)

    @property
    def decoder(self) -> Decoder:
        return cast(Decoder, _Decoder(self.shapes))

    def transition(self, state: State, action: Tensor) -> Tensor:
        known = state.deter.flatten(0, -2).long().tolist()
        after = [self._moved(row, int(a)) for row, a in zip(known, action.flatten(0, -2).argmax(-1), strict=True)]
        return torch.tensor(after, dtype=torch.float32).reshape(state.deter.shape)

    def _moved(self, row: list[int], action: int) -> list[int]:
        size = self.frame**2
        blocks, cells = row[2 : 2 + size], row[2 + size :]
        side, truth = round(sum(cell != 1 for cell in cells) ** 0.5), list(blocks)
        there = move(self.frame, side, row[0] * self.frame + row[1], truth, action)
        believed = {"moved": truth, "still": blocks, "gone": [0] * size}[self.blocks]
        return [*(divmod(there, self.frame) if self.agent else row[:2]), *believed, *cells]

    def prior(self, deter: Tensor) -> Tensor:
        return deter.new_zeros(*deter.shape[:-1], 1, 1)

    def sample(self, log_probs: Tensor, mode: bool = False) -> Tensor:
        return torch.ones_like(log_probs).flatten(-2)

    def observe(self, batch: Mapping[str, Tensor], mode: bool = False) -> Posterior:
        deter = torch.cat([batch[name].float() for name in self.shapes], -1)
        latent = self.prior(deter)
        return Posterior(State(self.sample(latent), deter), latent, latent, deter)

    def continue_probability(self, feature: Tensor) -> Tensor:
        return torch.ones_like(feature[..., 0])


class _Decoder:
    """As sure as floats can be."""

    def __init__(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        self.shapes = shapes

    def __call__(self, feature: Tensor) -> dict[str, Tensor]:
        sizes = [len(classes) for classes in self.shapes.values()]
        parts = dict(zip(self.shapes, feature[..., -sum(sizes) :].split(sizes, -1), strict=True))
        return {name: 60.0 * self.layout(name).onehot(value) for name, value in parts.items()}

    def nll(self, decoded: Mapping[str, Tensor], observation: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: self.layout(name).nll(decoded[name], observation[name]) for name in self.shapes}

    def predict(self, decoded: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: self.layout(name).log_probabilities(decoded[name]).exp() for name in self.shapes}

    def layout(self, name: str) -> CategoricalLayout:
        return CategoricalLayout(self.shapes[name])


def misplaced_by_standing_still(observations: dict[str, np.ndarray[Any, Any]], k: int) -> np.ndarray[Any, Any]:
    """For each step with k more to come, the share of blocks that lie elsewhere k steps later."""
    blocks = observations["blocks"]
    shares = []
    for now, later in zip(blocks[:-k], blocks[k:], strict=True):
        before, after = (set(zip(np.flatnonzero(b).tolist(), b[b > 0].tolist(), strict=True)) for b in (now, later))
        shares.append(len(before - after) / len(before) if before else 0.0)
    return np.array(shares)
