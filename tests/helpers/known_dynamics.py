"""A world model that knows the dynamics of :class:`tests.helpers.ring.Ring`: errors must come out as theory says.

Used by the tests of model errors and film strips.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor

from tests.helpers.ring import CELLS, SLIPS
from waker.model.categorical import CategoricalLayout
from waker.model.decoder import Decoder
from waker.model.distributions import sample_onehot
from waker.model.rssm import RSSM, Posterior, State


class RingModel:
    """Has the interface of a world model and knows the ring, but believes in slips of its own.

    One latent of :data:`CELLS` classes is the cell; ``deter`` holds the distribution over cells and the slip level.
    """

    def __init__(self, believed: tuple[float, ...] = SLIPS, *, trap: bool = False) -> None:
        self.believed, self.trap = torch.tensor(believed), trap
        self.layouts = {"agent": CategoricalLayout((CELLS, len(SLIPS)))}

    @property
    def rssm(self) -> RSSM:
        return cast(RSSM, self)

    @property
    def decoder(self) -> Decoder:
        return cast(Decoder, _RingDecoder(self.layouts["agent"]))

    def transition(self, state: State, action: Tensor) -> Tensor:
        level = state.deter[..., CELLS:]
        slip = (level * self.believed).sum(-1, keepdim=True)
        moved = action[..., :1] * state.stoch.roll(-1, -1) + action[..., 1:] * state.stoch.roll(1, -1)
        return torch.cat([slip * state.stoch + (1 - slip) * moved, level], -1)

    def prior(self, deter: Tensor) -> Tensor:
        return deter[..., :CELLS].clamp_min(1e-20).log().unsqueeze(-2)

    def sample(self, log_probs: Tensor, mode: bool = False) -> Tensor:
        return sample_onehot(log_probs, mode).flatten(-2)

    def imagine(self, state: State, action: Tensor, mode: bool = False) -> State:
        deter = self.transition(state, action)
        return State(self.sample(self.prior(deter), mode), deter)

    def observe(self, batch: Mapping[str, Tensor], mode: bool = False) -> Posterior:
        cell = torch.nn.functional.one_hot(batch["agent"][..., 0].long(), CELLS).float()
        level = torch.nn.functional.one_hot(batch["agent"][..., 1].long(), len(SLIPS)).float()
        before = State(cell[:, :-1], torch.cat([cell, level], -1)[:, :-1])
        known = torch.cat([torch.cat([cell, level], -1)[:, :1], self.transition(before, batch["action"][:, 1:])], 1)
        posterior = cell.clamp_min(1e-20).log().unsqueeze(-2)
        return Posterior(State(cell, known), posterior, self.prior(known), cell)

    def continue_probability(self, feature: Tensor) -> Tensor:
        return 1.0 - feature[..., 0] if self.trap else torch.ones_like(feature[..., 0])


class _RingDecoder:
    """Logits of the sampled cell and of the slip level, as sure as floats can be."""

    def __init__(self, layout: CategoricalLayout) -> None:
        self._layout = layout

    def __call__(self, feature: Tensor) -> dict[str, Tensor]:
        return {"agent": 60.0 * torch.cat([feature[..., :CELLS], feature[..., 2 * CELLS :]], -1)}

    def nll(self, decoded: Mapping[str, Tensor], observation: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {"agent": self._layout.nll(decoded["agent"], observation["agent"])}

    def predict(self, decoded: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {"agent": self._layout.log_probabilities(decoded["agent"]).exp()}

    def layout(self, name: str) -> CategoricalLayout:
        return self._layout
