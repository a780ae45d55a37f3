"""The recurrent state-space model: deterministic GRU state and categorical latents (docs/method.md, World model).

Used by the world model (posterior over data), by imagination (prior only) and by players (filtering).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor, nn

from waker.config.schema import ModelConfig
from waker.machine import products
from waker.machine.precision import float32
from waker.model.distributions import log_probabilities, sample_onehot
from waker.model.features import Features
from waker.model.nets import ACTIVATIONS, Linear, Norm


class State(NamedTuple):
    """A latent state: ``stoch`` (..., S·C) one-hot samples, flat, and ``deter`` (..., D)."""

    stoch: Tensor
    deter: Tensor

    @property
    def feature(self) -> Tensor:
        """(stoch, deter) side by side, (..., F)."""
        return torch.cat([self.stoch, self.deter], -1)


class Posterior(NamedTuple):
    """What :meth:`RSSM.observe` returns, all (B, T, ...): log probabilities (B, T, S, C) and the embedding."""

    state: State
    posterior: Tensor
    prior: Tensor
    embed: Tensor

    def detach(self) -> Posterior:
        """The same without a graph."""
        (stoch, deter), *rest = self
        return Posterior(State(stoch.detach(), deter.detach()), *(x.detach() for x in rest))


class Dynamics(nn.Module):
    """What every recurrent state-space model does: it filters sequences and imagines steps.

    A subclass says how the state goes on (:meth:`advance`) and what it reads off it (:meth:`prior`, :meth:`judge`). It
    has the GRU's products as ``gru``. Each method that a scan calls takes ``weights``: slices of weights that were cut
    once, before it (:meth:`entry_weights`, :meth:`judge_weights`). The gradient of a slice is as large as the whole,
    zeros but for the slice, and would be filled and added at each step.

    Args:
        latents: S, of ``classes`` classes each.
        deter_dim: D.
    """

    gru: nn.Module

    def __init__(self, latents: int, classes: int, deter_dim: int, config: ModelConfig) -> None:
        super().__init__()
        self.latents, self.classes, self.deter_dim = latents, classes, deter_dim
        self.unimix, self.update_bias = config.unimix, config.gru_update_bias
        self.stoch_dim = latents * classes
        self.feature_dim = self.stoch_dim + deter_dim
        self.features: Features = self.feature_dim

    def entry_weights(self) -> tuple[Tensor, ...]:
        """What :meth:`entering` and :meth:`advance` multiply by."""
        raise NotImplementedError

    def judge_weights(self) -> tuple[Tensor, ...]:
        """What :meth:`embedded` and :meth:`judge` multiply by."""
        raise NotImplementedError

    def entering(self, action: Tensor, weights: tuple[Tensor, ...]) -> Tensor:
        """What of the transition depends on actions (..., A) alone, with any leading shape."""
        raise NotImplementedError

    def advance(self, state: State, entering: Tensor, weights: tuple[Tensor, ...]) -> Tensor:
        """The next deterministic state, (..., D), from a state and its action's :meth:`entering`."""
        raise NotImplementedError

    def prior(self, deter: Tensor) -> Tensor:
        """Log probabilities of the next latents given the deterministic state, (..., S, C)."""
        raise NotImplementedError

    def embedded(self, embed: Tensor, weights: tuple[Tensor, ...]) -> Tensor:
        """What of the posterior depends on embeddings (..., E) alone, with any leading shape."""
        raise NotImplementedError

    def judge(self, deter: Tensor, embedded: Tensor, weights: tuple[Tensor, ...]) -> Tensor:
        """Log probabilities of the latents, (..., S, C), from a deterministic state and its :meth:`embedded`."""
        raise NotImplementedError

    def initial(self, n: int) -> State:
        """n zero states."""
        weight = self.gru.weight
        assert isinstance(weight, Tensor)
        return State(weight.new_zeros(n, self.stoch_dim), weight.new_zeros(n, self.deter_dim))

    def transition(self, state: State, action: Tensor) -> Tensor:
        """The next deterministic state, (..., D), after ``action`` (..., A)."""
        weights = self.entry_weights()
        return self.advance(state, self.entering(action, weights), weights)

    def posterior(self, deter: Tensor, embed: Tensor) -> Tensor:
        """Log probabilities of the latents given deterministic state and embedding, (..., S, C)."""
        weights = self.judge_weights()
        return self.judge(deter, self.embedded(embed, weights), weights)

    def imagine(self, state: State, action: Tensor, mode: bool = False) -> State:
        """One step without observation: the next state drawn from the prior."""
        deter = self.transition(state, action)
        return State(self.sample(self.prior(deter), mode), deter)

    def sample(self, log_probs: Tensor, mode: bool = False) -> Tensor:
        """Flat one-hot samples (..., S·C) of latents (..., S, C), straight-through."""
        return rearrange(sample_onehot(log_probs, mode), "... s c -> ... (s c)")

    def gated(self, gates: Tensor, deter: Tensor) -> Tensor:
        """The GRU's end: normalised pre-activations (..., 3·D) and the state (..., D) → the next state."""
        reset, candidate, update = gates.chunk(3, -1)
        candidate = torch.tanh(torch.sigmoid(reset) * candidate)
        update = torch.sigmoid(update + self.update_bias)
        return torch.lerp(deter, candidate, update)

    def observe(self, embed: Tensor, action: Tensor, is_first: Tensor, mode: bool = False) -> Posterior:
        """Filter sequences from a zero state.

        Args:
            embed: (B, T, embedding).
            action: (B, T, A); ``action[:, t]`` led into observation t.
            is_first: (B, T) bool; resets the state and the action.
        """
        keep = (~is_first).to(action.dtype).unsqueeze(-1)  # (B, T, 1)
        # What does not depend on the state is hoisted out of the scan.
        of_entry, of_judge = self.entry_weights(), self.judge_weights()
        entering = self.entering(action * keep, of_entry).unbind(1)
        embedded = self.embedded(embed, of_judge).unbind(1)
        state = self.initial(embed.shape[0])
        stochs, deters, posteriors = [], [], []
        for kept, acted, seen in zip(keep.unbind(1), entering, embedded, strict=True):
            state = State(state.stoch * kept, state.deter * kept)
            deter = self.advance(state, acted, of_entry)
            log_probs = self.judge(deter, seen, of_judge)
            state = State(self.sample(log_probs, mode), deter)
            stochs.append(state.stoch)
            deters.append(deter)
            posteriors.append(log_probs)
        deter_sequence = torch.stack(deters, 1)  # (B, T, D)
        states = State(torch.stack(stochs, 1), deter_sequence)
        return Posterior(states, torch.stack(posteriors, 1), self.prior(deter_sequence), embed)


class RSSM(Dynamics):
    """GRU dynamics over (stoch, action) with a prior and a posterior over S latents of C classes each."""

    def __init__(self, config: ModelConfig, embed_dim: int, action_dim: int) -> None:
        super().__init__(config.stoch, config.classes, config.deter, config)
        self.act = ACTIVATIONS[config.act]
        hidden = config.hidden
        self.img_in, self.img_in_norm = Linear(self.stoch_dim + action_dim, hidden), Norm(config.norm, (hidden,))
        self.gru = Linear(hidden + config.deter, 3 * config.deter)
        self.gru_norm = nn.LayerNorm(3 * config.deter, eps=config.gru_norm_eps)
        self.img_out, self.img_out_norm = Linear(config.deter, hidden), Norm(config.norm, (hidden,))
        self.img_dist = Linear(hidden, self.stoch_dim)
        self.obs_out, self.obs_out_norm = Linear(config.deter + embed_dim, hidden), Norm(config.norm, (hidden,))
        self.obs_dist = Linear(hidden, self.stoch_dim)

    def entry_weights(self) -> tuple[Tensor, ...]:
        """Columns of the layer into the GRU: for stoch, for the action."""
        return columns_of(self.img_in, self.stoch_dim)

    def judge_weights(self) -> tuple[Tensor, ...]:
        """Columns of the posterior's layer: for deter, for the embedding."""
        return columns_of(self.obs_out, self.deter_dim)

    def entering(self, action: Tensor, weights: tuple[Tensor, ...]) -> Tensor:
        """The action's part of the layer into the GRU, with its bias."""
        return products.linear(action, weights[1], self.img_in.bias)

    def advance(self, state: State, entering: Tensor, weights: tuple[Tensor, ...]) -> Tensor:
        """See :meth:`Dynamics.advance`."""
        x = products.linear(state.stoch, weights[0]) + entering
        x = self.act(self.img_in_norm(x))
        return self.gated(self.gru_norm(float32(self.gru(torch.cat([x, state.deter], -1)))), state.deter)

    def prior(self, deter: Tensor) -> Tensor:
        """See :meth:`Dynamics.prior`."""
        return self._latents(self.img_dist(self.act(self.img_out_norm(self.img_out(deter)))))

    def embedded(self, embed: Tensor, weights: tuple[Tensor, ...]) -> Tensor:
        """The embedding's part of the posterior's layer, with its bias."""
        return products.linear(embed, weights[1], self.obs_out.bias)

    def judge(self, deter: Tensor, embedded: Tensor, weights: tuple[Tensor, ...]) -> Tensor:
        """See :meth:`Dynamics.judge`."""
        x = products.linear(deter, weights[0]) + embedded
        return self._latents(self.obs_dist(self.act(self.obs_out_norm(x))))

    def _latents(self, logits: Tensor) -> Tensor:
        by_latent = rearrange(float32(logits), "... (s c) -> ... s c", c=self.classes)
        return log_probabilities(by_latent, self.unimix)


def columns_of(layer: nn.Linear, first: int) -> tuple[Tensor, ...]:
    """The weights of a layer's first inputs, (out, first), and of its others."""
    return layer.weight.split([first, layer.in_features - first], 1)
