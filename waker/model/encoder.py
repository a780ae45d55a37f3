"""Observations → embedding: networks of their own for some keys (pictures), one MLP for the entries of all others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn

from waker.config.schema import ModelConfig
from waker.machine.precision import float32
from waker.model.nets import MLP
from waker.model.observations import kind_of
from waker.specs import ObservationKey


class Encoder(nn.Module):
    """All observation keys → one embedding: (networks of their own …, MLP of the other keys' entries)."""

    def __init__(self, keys: tuple[ObservationKey, ...], config: ModelConfig) -> None:
        super().__init__()
        self.keys = keys
        kinds = {key.name: kind_of(key, config.symlog) for key in keys}
        own = {name: net for name, kind in kinds.items() if (net := kind.encoder(config)) is not None}
        self.images = nn.ModuleDict(own)
        self.flat = {name: kind for name, kind in kinds.items() if name not in own}
        tables = (kind.tables() for kind in self.flat.values())
        self.tables = nn.ModuleList(table for table in tables if table is not None)
        inputs = sum(kind.key.size for kind in self.flat.values())
        self.mlp = MLP(inputs, config.encoder_units, None, config.act, config.norm) if self.flat else None
        self.out_features = sum(self.image_sizes.values())
        self.out_features += self.mlp.out_features if self.mlp is not None else 0

    @property
    def image_sizes(self) -> dict[str, int]:
        """The entries of the embedding that belong to each network of a key's own, in order; they come first."""
        return {name: cast(int, net.out_features) for name, net in self.images.items()}

    def forward(self, observation: Mapping[str, Tensor]) -> Tensor:
        """Keys with any leading shape (…) → embedding (…, embedding)."""
        parts: list[Tensor] = []
        lead = observation[self.keys[0].name].shape[: -len(self.keys[0].shape) or None]
        for name, net in self.images.items():
            parts.append(net(observation[name].flatten(0, len(lead) - 1)).unflatten(0, lead))
        if self.mlp is not None:
            entries = [kind.entries(observation[name]) for name, kind in self.flat.items()]
            parts.append(self.mlp(torch.cat(entries, -1)))
        return float32(torch.cat(parts, -1))
