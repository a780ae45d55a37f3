"""What the members of the ensemble predict of the next state, how well they do, and how far they disagree about it.

Called by :class:`waker.exploration.ensemble.Ensemble`. A target knows the size of a prediction, its −log likelihood and
the spread of several predictions; it knows nothing of the networks that make them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import torch
from einops import rearrange
from torch import Tensor

from waker.machine.kernels import log_softmax, mean_deviation
from waker.model.cell_observations import board_outputs
from waker.model.distributions import gaussian_nll, jensen_shannon
from waker.model.features import CellLayout
from waker.model.rssm import Dynamics, Posterior
from waker.model.world_model import WorldModel


class Target(Protocol):
    """One kind of prediction; E members, n states.

    Attributes:
        dim: size of a prediction.
    """

    dim: int

    def nll(self, prediction: Tensor, posterior: Posterior, batch: Mapping[str, Tensor]) -> Tensor:
        """−log likelihood of steps 1 … T−1 of a batch, (E, B·(T−1), dim) → (E, B·(T−1)); no gradient to the model."""

    def disagreement(self, prediction: Tensor) -> Tensor:
        """How far predictions (E, n, dim) lie apart, (n,)."""


def cell_target(model: WorldModel, name: str, layout: CellLayout) -> tuple[int, Callable[[Tensor], Tensor]]:
    """What members predict in each cell of a board: how many numbers, and how they become a prediction.

    Returns:
        The numbers c, and a function (..., P, c) → (..., dim) of the target called ``name``.
    """
    if name == "observation":
        outputs, names = board_outputs(model.keys, model.board), [key.name for key in model.keys]

        def by_key(cells: Tensor) -> Tensor:
            logits = outputs.by_key(cells)
            return torch.cat([logits[name] for name in names], -1)

        return outputs.each, by_key
    if name == "feature":
        return layout.channels, layout.flat
    return layout.stoch if name == "latent" else layout.deter, lambda cells: rearrange(cells, "... p c -> ... (p c)")


def next_states(x: Tensor) -> Tensor:
    """What was reached: steps 1 … T−1 of (B, T, ...) as (B·(T−1), ...), without gradient."""
    return x[:, 1:].detach().flatten(0, 1)


class RegressionTarget:
    """The next feature (as published), or its deterministic part: unit-variance Gaussians.

    Spread: the population standard deviation over members, averaged over dimensions.
    """

    def __init__(self, rssm: Dynamics, whole: bool) -> None:
        self.whole = whole
        self.dim = rssm.feature_dim if whole else rssm.deter_dim

    def nll(self, prediction: Tensor, posterior: Posterior, batch: Mapping[str, Tensor]) -> Tensor:
        """See :class:`Target`."""
        state = posterior.state
        return gaussian_nll(prediction, next_states(state.feature if self.whole else state.deter)).sum(-1)

    def disagreement(self, prediction: Tensor) -> Tensor:
        """See :class:`Target`."""
        return mean_deviation(prediction)


class LatentTarget:
    """The next categorical latents, against the posterior's probabilities.

    Spread: the Jensen–Shannon divergence of the members' categoricals in nats, averaged over latents.
    """

    def __init__(self, rssm: Dynamics) -> None:
        self.shape, self.dim = (rssm.latents, rssm.classes), rssm.stoch_dim

    def nll(self, prediction: Tensor, posterior: Posterior, batch: Mapping[str, Tensor]) -> Tensor:
        """See :class:`Target`."""
        truth = next_states(posterior.posterior).exp()  # (B·(T−1), S, C)
        return -(truth * self._log_probs(prediction)).sum((-1, -2))

    def disagreement(self, prediction: Tensor) -> Tensor:
        """See :class:`Target`."""
        return jensen_shannon(self._log_probs(prediction), members=0).sum(-1).mean(-1)

    def _log_probs(self, prediction: Tensor) -> Tensor:
        return log_softmax(rearrange(prediction, "... (s c) -> ... s c", c=self.shape[1]))


class ObservationTarget:
    """The next observation: categorical variables, vectors, and pictures as the encoder embeds them.

    Where latents carry noise, members that predict latents spend their disagreement on it, alike in all environments;
    what is observed next has no such part. (Plan2Explore's own target is the embedding.)

    Spread: the Jensen–Shannon divergence in nats of every categorical variable and the standard deviation of every
    number, averaged with the keys' weights.
    """

    def __init__(self, model: WorldModel) -> None:
        self.keys, self.kinds = model.keys, model.decoder.kinds
        self.embedded = model.encoder.image_sizes
        self.sizes = [self.embedded.get(key.name, key.size) for key in self.keys]
        self.dim = sum(self.sizes)
        counts = [len(key.classes) or size for key, size in zip(self.keys, self.sizes, strict=True)]
        self.total = sum(key.weight * count for key, count in zip(self.keys, counts, strict=True))

    def nll(self, prediction: Tensor, posterior: Posterior, batch: Mapping[str, Tensor]) -> Tensor:
        """See :class:`Target`."""
        pictures = list(self.embedded.values())
        embedded = posterior.embed[..., : sum(pictures)].split(pictures, -1)
        images = dict(zip(self.embedded, embedded, strict=True))
        losses = []
        for key, part in zip(self.keys, prediction.split(self.sizes, -1), strict=True):
            if key.name in images:
                loss = gaussian_nll(part, next_states(images[key.name])).sum(-1)
            else:
                loss = self.kinds[key.name].nll(part, next_states(batch[key.name]))
            losses.append(key.weight * loss)
        return torch.stack(losses).sum(0)

    def disagreement(self, prediction: Tensor) -> Tensor:
        """See :class:`Target`."""
        spreads = []
        for key, part in zip(self.keys, prediction.split(self.sizes, -1), strict=True):
            spread = self.kinds[key.name].disagreement(part)
            spreads.append(key.weight / self.total * spread)
        return torch.stack(spreads).sum(0)
