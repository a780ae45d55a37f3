"""Features → observations, with a likelihood per key: the signal that shapes the latent state."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from waker.config.schema import ModelConfig
from waker.machine.precision import float32
from waker.model.categorical import CategoricalLayout
from waker.model.nets import MLP, Linear
from waker.model.observations import kind_of
from waker.specs import ObservationKey


class Reconstruction(nn.Module):
    """What every decoder does with its outputs: likelihoods, and observations in their own terms.

    A subclass makes the outputs, one for each key: an image's or vector's mean in the model's scale, (…, *shape), or
    flat logits. What they mean is for the keys' kinds to say.
    """

    def __init__(self, keys: tuple[ObservationKey, ...], config: ModelConfig) -> None:
        super().__init__()
        self.keys = keys
        self.kinds = {key.name: kind_of(key, config.symlog) for key in keys}
        tables = (kind.tables() for kind in self.kinds.values())
        self.tables = nn.ModuleList(table for table in tables if table is not None)

    @property
    def seen_dim(self) -> int:
        """Size of :meth:`seen`; 0 where all that is observed are pictures."""
        return sum(kind.seen_dim() for kind in self.kinds.values())

    def seen(self, feature: Tensor) -> Tensor:
        """What features (…, F) look like, (…, seen_dim): probabilities of categories and vectors, without pictures."""
        return torch.cat([self.kinds[name].seen(x) for name, x in self.without_pictures(feature).items()], -1)

    def without_pictures(self, feature: Tensor) -> dict[str, Tensor]:
        """The outputs of all keys that are no pictures, for features (…, F)."""
        raise NotImplementedError

    def nll(self, decoded: Mapping[str, Tensor], observation: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """−log likelihood of each key, summed over its event dimensions and not weighted: (…)."""
        return {name: kind.nll(decoded[name], observation[name]) for name, kind in self.kinds.items()}

    def layout(self, name: str) -> CategoricalLayout:
        """Index tables of a categorical key."""
        tables = self.kinds[name].tables()
        assert isinstance(tables, CategoricalLayout)
        return tables

    def predict(self, decoded: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Decoder outputs in the observation's own terms.

        Images in [0, 1] (…, h, w, c); vectors in their units (…, size); categoricals as probabilities (…, V, widest).
        """
        return {name: kind.predicted(decoded[name]) for name, kind in self.kinds.items()}


class Decoder(Reconstruction):
    """One output per observation key; ``nll`` is the reconstruction loss of each."""

    def __init__(self, keys: tuple[ObservationKey, ...], config: ModelConfig, feature_dim: int) -> None:
        super().__init__(keys, config)
        made = {name: kind.decoder(config, feature_dim) for name, kind in self.kinds.items()}
        self.images = nn.ModuleDict({name: net for name, net in made.items() if net is not None})
        flat = [key for key in keys if key.name not in self.images]
        self.mlp = MLP(feature_dim, config.decoder_units, None, config.act, config.norm) if flat else None
        hidden = self.mlp.out_features if self.mlp is not None else 0
        self.outs = nn.ModuleDict({k.name: Linear(hidden, k.size) for k in flat})

    def forward(self, feature: Tensor) -> dict[str, Tensor]:
        """Per key, for features (…, F): image or vector mean in the model's scale, (…, *shape), or flat logits."""
        lead = feature.shape[:-1]
        decoded = {name: decoder(feature.flatten(0, -2)).unflatten(0, lead) for name, decoder in self.images.items()}
        return decoded | (self.without_pictures(feature) if self.mlp is not None else {})

    def without_pictures(self, feature: Tensor) -> dict[str, Tensor]:
        """See :meth:`Reconstruction.without_pictures`."""
        assert self.mlp is not None
        hidden = self.mlp(feature)
        return {name: float32(out(hidden)) for name, out in self.outs.items()}


def weighted(losses: Mapping[str, Tensor], keys: tuple[ObservationKey, ...]) -> Tensor:
    """Σ over keys of weight × mean loss."""
    return torch.stack([k.weight * losses[k.name].mean() for k in keys]).sum()
