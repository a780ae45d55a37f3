"""Observations that are a board of cells, in and out: encoder and decoder with one rule for every cell.

Made by :class:`waker.model.world_model.WorldModel` where ``model.latent`` is "cells". P cells, numbered row by row.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from waker.config.schema import ModelConfig
from waker.errors import UserError
from waker.machine.precision import float32
from waker.model.categorical import CategoricalLayout
from waker.model.decoder import Reconstruction
from waker.model.features import CellLayout
from waker.model.nets import MLP, Linear
from waker.specs import EnvSpec, ObservationKey
from waker_envs.boards import Board


def board_of(spec: EnvSpec) -> Board:
    """The board that is all of the observation.

    Raises:
        UserError: the environment shows none, or something beside it.
    """
    if spec.board is None:
        raise UserError(
            f"model.latent 'cells' needs an observation that is a board of cells, and {spec.env_id} names none; "
            "take model.latent 'vector'"
        )
    beside = [key.label for key in spec.observation if key.name not in {*spec.board.cells, *spec.board.places}]
    if beside:
        raise UserError(
            f"model.latent 'cells' needs an observation that is a board alone, and {spec.env_id} shows "
            f"{', '.join(map(repr, beside))} beside it; take model.latent 'vector'"
        )
    return spec.board


class CellEncoder(nn.Module):
    """What is seen in each cell → an embedding of each cell by one MLP, side by side: (..., embedding)."""

    image_sizes: Mapping[str, int] = {}
    """No entries of the embedding belong to pictures."""

    def __init__(self, keys: tuple[ObservationKey, ...], config: ModelConfig, board: Board) -> None:
        super().__init__()
        self.board = board
        self.layouts = nn.ModuleDict({k.name: CategoricalLayout(k.classes) for k in keys if k.name in board.cells})
        seen = sum(k.classes[0] for k in keys if k.name in board.cells) + len(board.places)
        self.mlp = MLP(seen, config.encoder_units, None, config.act, config.norm)
        self.out_features = board.size * self.mlp.out_features

    def forward(self, observation: Mapping[str, Tensor]) -> Tensor:
        """Keys with any leading shape (…) → embedding (…, P cells · entries)."""
        parts = []
        for name, layout in self.layouts.items():
            assert isinstance(layout, CategoricalLayout)
            parts.append(rearrange(layout.onehot(observation[name]), "... (p c) -> ... p c", p=self.board.size))
        for name in self.board.places:
            row, column = observation[name].long().unbind(-1)
            there = torch.arange(self.board.size, device=row.device)
            parts.append((there == (row * self.board.columns + column).unsqueeze(-1)).float().unsqueeze(-1))
        return float32(rearrange(self.mlp(torch.cat(parts, -1)), "... p e -> ... (p e)"))


class BoardOutputs(NamedTuple):
    """How what a network says of each cell becomes an observation: logits of each key's classes, and of being there.

    Attributes:
        classes: of each key of the board's cells, in their order.
    """

    board: Board
    classes: tuple[int, ...]

    @property
    def each(self) -> int:
        """Numbers a cell."""
        return sum(self.classes) + len(self.board.places)

    def by_key(self, outputs: Tensor) -> dict[str, Tensor]:
        """(..., P, each) → flat logits by key; of a place, the log probabilities of its row and its column.

        A place is a softmax over the board, and rows and columns are its marginals. Their product is the joint
        distribution where the latent state leaves no doubt; doubt is a matter of several latent states.
        """
        board = self.board
        *cells, places = outputs.split([*self.classes, len(board.places)], -1)  # each (..., P, classes)
        logits = {name: rearrange(part, "... p c -> ... (p c)") for name, part in zip(board.cells, cells, strict=True)}
        for name, part in zip(board.places, places.unbind(-1), strict=True):
            here = rearrange(F.log_softmax(part, -1), "... (y x) -> ... y x", x=board.columns)
            logits[name] = torch.cat([here.logsumexp(-1), here.logsumexp(-2)], -1)
        return logits


def board_outputs(keys: tuple[ObservationKey, ...], board: Board) -> BoardOutputs:
    """Those of an observation that is a board alone."""
    classes = {key.name: key.classes[0] for key in keys}
    return BoardOutputs(board, tuple(classes[name] for name in board.cells))


class CellDecoder(Reconstruction):
    """An MLP says of each cell what is in it, a linear layer whether each place is here."""

    def __init__(self, keys: tuple[ObservationKey, ...], config: ModelConfig, layout: CellLayout, board: Board) -> None:
        super().__init__(keys, config)
        self.cells, self.outputs = layout, board_outputs(keys, board)
        self.mlp = MLP(layout.channels, config.decoder_units, sum(self.outputs.classes), config.act, config.norm)
        # A layer alone: policies ask at every imagined step where they are.
        self.places = Linear(layout.channels, len(board.places)) if board.places else None

    def forward(self, feature: Tensor) -> dict[str, Tensor]:
        """Flat logits per key, for features (…, F); see :meth:`BoardOutputs.by_key`."""
        cells = self.cells.cells(feature)
        said = self.mlp(cells)
        if self.places is not None:
            said = torch.cat([said, float32(self.places(cells))], -1)
        return self.outputs.by_key(said)

    def without_pictures(self, feature: Tensor) -> dict[str, Tensor]:
        """All there is: a board has none."""
        return self.forward(feature)

    @torch.no_grad()
    def where(self, feature: Tensor) -> Tensor:
        """The likeliest cell of the first place, (…) integers, for features (…, F)."""
        assert self.places is not None
        return self.places(self.cells.cells(feature))[..., 0].argmax(-1)
