"""The recurrent state-space model: deterministic GRU state and categorical latents (METHOD: DreamerV2/V3).

Used by the world model (posterior over data), by imagination (prior only) and by players (filtering).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from waker.config import ModelConfig
from waker.model import products
from waker.model.distributions import log_probabilities, sample_onehot
from waker.model.nets import ACTIVATIONS, Linear, Norm
from waker.precision import float32


class State(NamedTuple):
    """A latent state: ``stoch`` (..., S·C) one-hot samples, flat, and ``deter`` (..., D)."""

    stoch: Tensor
    deter: Tensor

    @property
    def feature(self) -> Tensor:
        """(stoch, deter) side by side, (..., F)."""
        return torch.cat([self.stoch, self.deter], -1)


class Posterior(NamedTuple):
    """What :meth:`RSSM.observe` returns, all (B, T, ...): log probabilities (B, T, S, C), embedding (B, T, E)."""

    state: State
    posterior: Tensor
    prior: Tensor
    embed: Tensor


class RSSM(nn.Module):
    """GRU dynamics over (stoch, action) with a prior and a posterior over S latents of C classes each."""

    def __init__(self, config: ModelConfig, embed_dim: int, action_dim: int) -> None:
        super().__init__()
        self.latents, self.classes, self.deter_dim = config.stoch, config.classes, config.deter
        self.unimix, self.update_bias = config.unimix, config.gru_update_bias
        self.stoch_dim = config.stoch * config.classes
        self.feature_dim = self.stoch_dim + config.deter
        self.act = ACTIVATIONS[config.act]
        hidden = config.hidden
        self.img_in, self.img_in_norm = Linear(self.stoch_dim + action_dim, hidden), Norm(config.norm, (hidden,))
        self.gru = Linear(hidden + config.deter, 3 * config.deter)
        self.gru_norm = nn.LayerNorm(3 * config.deter, eps=config.gru_norm_eps)
        self.img_out, self.img_out_norm = Linear(config.deter, hidden), Norm(config.norm, (hidden,))
        self.img_dist = Linear(hidden, self.stoch_dim)
        self.obs_out, self.obs_out_norm = Linear(config.deter + embed_dim, hidden), Norm(config.norm, (hidden,))
        self.obs_dist = Linear(hidden, self.stoch_dim)

    def initial(self, n: int) -> State:
        """n zero states."""
        weight = self.gru.weight
        return State(weight.new_zeros(n, self.stoch_dim), weight.new_zeros(n, self.deter_dim))

    def transition(self, state: State, action: Tensor) -> Tensor:
        """The next deterministic state, (..., D), after ``action`` (..., A)."""
        from_stoch, from_action = _columns(self.img_in, self.stoch_dim)
        return self._transition(state, products.linear(action, from_action, self.img_in.bias), from_stoch)

    def _transition(self, state: State, entering: Tensor, from_stoch: Tensor) -> Tensor:
        # The layer into the GRU sees (stoch, action): ``entering`` is its action columns' part, with its bias.
        x = products.linear(state.stoch, from_stoch) + entering
        x = self.act(self.img_in_norm(x))
        gates = self.gru_norm(float32(self.gru(torch.cat([x, state.deter], -1))))
        reset, candidate, update = gates.chunk(3, -1)
        candidate = torch.tanh(torch.sigmoid(reset) * candidate)
        update = torch.sigmoid(update + self.update_bias)
        return torch.lerp(state.deter, candidate, update)

    def prior(self, deter: Tensor) -> Tensor:
        """Log probabilities of the next latents given the deterministic state, (..., S, C)."""
        return self._latents(self.img_dist(self.act(self.img_out_norm(self.img_out(deter)))))

    def posterior(self, deter: Tensor, embed: Tensor) -> Tensor:
        """Log probabilities of the latents given deterministic state and embedding, (..., S, C)."""
        from_deter, from_embed = _columns(self.obs_out, self.deter_dim)
        return self._posterior(deter, products.linear(embed, from_embed, self.obs_out.bias), from_deter)

    def imagine(self, state: State, action: Tensor, mode: bool = False) -> State:
        """One step without observation: the next state drawn from the prior."""
        deter = self.transition(state, action)
        return State(self.sample(self.prior(deter), mode), deter)

    def sample(self, log_probs: Tensor, mode: bool = False) -> Tensor:
        """Flat one-hot samples (..., S·C) of latents (..., S, C), straight-through."""
        return sample_onehot(log_probs, mode).flatten(-2)

    def observe(self, embed: Tensor, action: Tensor, is_first: Tensor, mode: bool = False) -> Posterior:
        """Filter sequences from a zero state.

        Args:
            embed: (B, T, embedding).
            action: (B, T, A); ``action[:, t]`` led into observation t.
            is_first: (B, T) bool; resets the state and the action.
        """
        keep = (~is_first).to(action.dtype).unsqueeze(-1)  # (B, T, 1)
        # What does not depend on the state is hoisted out of the scan. So is every slice: the gradient of a slice is
        # as large as the whole, zeros but for the slice, and would be filled and added at each step.
        from_stoch, from_action = _columns(self.img_in, self.stoch_dim)
        from_deter, from_embed = _columns(self.obs_out, self.deter_dim)
        entering = products.linear(action * keep, from_action, self.img_in.bias).unbind(1)
        embedded = products.linear(embed, from_embed, self.obs_out.bias).unbind(1)
        state = self.initial(embed.shape[0])
        stochs, deters, posteriors = [], [], []
        for kept, acted, seen in zip(keep.unbind(1), entering, embedded, strict=True):
            state = State(state.stoch * kept, state.deter * kept)
            deter = self._transition(state, acted, from_stoch)
            log_probs = self._posterior(deter, seen, from_deter)
            state = State(self.sample(log_probs, mode), deter)
            stochs.append(state.stoch)
            deters.append(deter)
            posteriors.append(log_probs)
        deter_sequence = torch.stack(deters, 1)  # (B, T, D)
        states = State(torch.stack(stochs, 1), deter_sequence)
        return Posterior(states, torch.stack(posteriors, 1), self.prior(deter_sequence), embed)

    def _posterior(self, deter: Tensor, embedded: Tensor, from_deter: Tensor) -> Tensor:
        # The posterior's layer sees (deter, embed): ``embedded`` is its embedding columns' part, with its bias.
        x = products.linear(deter, from_deter) + embedded
        return self._latents(self.obs_dist(self.act(self.obs_out_norm(x))))

    def _latents(self, logits: Tensor) -> Tensor:
        return log_probabilities(float32(logits).unflatten(-1, (self.latents, self.classes)), self.unimix)


def _columns(layer: nn.Linear, first: int) -> tuple[Tensor, ...]:
    """The weights of a layer's first inputs, (out, first), and of its others."""
    return layer.weight.split([first, layer.in_features - first], 1)
