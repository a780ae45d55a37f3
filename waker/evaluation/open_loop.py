"""What a world model predicts when it is left alone: rollouts of the prior, averaged over latent samples.

Called by :mod:`waker.evaluation.model_error` and :mod:`waker.evaluation.filmstrip`. Shapes: n start states, S samples,
k steps, V variables of a categorical key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from waker.model.categorical import CategoricalLayout
from waker.model.rssm import Dynamics, Posterior, State
from waker.specs import ObservationKey
from waker_envs.predictions import is_joint

_ROWS = 8192
"""Latent states rolled at once: enough to fill the matrix units, small enough for any memory."""


class PredictionDecoder(Protocol):
    """What of :class:`waker.model.decoder.Decoder` a measurement uses."""

    def __call__(self, feature: Tensor) -> dict[str, Tensor]: ...

    def nll(self, decoded: Mapping[str, Tensor], observation: Mapping[str, Tensor]) -> dict[str, Tensor]: ...

    def predict(self, decoded: Mapping[str, Tensor]) -> dict[str, Tensor]: ...

    def layout(self, name: str) -> CategoricalLayout: ...


class Model(Protocol):
    """What of :class:`waker.model.world_model.WorldModel` a measurement uses; tests put exact models in its place."""

    @property
    def rssm(self) -> Dynamics: ...

    @property
    def decoder(self) -> PredictionDecoder: ...

    def observe(self, batch: Mapping[str, Tensor], mode: bool = False) -> Posterior: ...

    def continue_probability(self, feature: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class Prediction:
    """The k-th step from each of n start states, averaged over samples.

    Attributes:
        factors: for each key asked for, the distribution of its variables by each half of the samples, joint
            (n, 2, Π classes) or marginal (n, 2, V, widest) as :func:`waker_envs.predictions.is_joint` has it; an
            episode that the model believes to have ended stays where it ended.
        latent: marginal prior probabilities of each latent, (n, latents, classes).
        nll: −ln of the mean over samples of the likelihood of the true observation, (n,), all keys together.
        mean: mean decoded observation of each image and vector key, (n, ...).
    """

    factors: dict[str, Tensor]
    latent: Tensor
    nll: Tensor
    mean: dict[str, Tensor]


def start_states(model: Model, posterior: Posterior, b: Tensor, t: Tensor, samples: int) -> State:
    """``samples`` draws of the posterior at (b, t), each (n, S, ...): the filter's deterministic state is kept."""
    log_probs = posterior.posterior[b, t].unsqueeze(1)  # (n, 1, latents, classes)
    log_probs = log_probs.expand(-1, samples, -1, -1)
    deter = posterior.state.deter[b, t].unsqueeze(1).expand(-1, samples, -1)
    return State(model.rssm.sample(log_probs), deter)


def predict(
    model: Model,
    posterior: Posterior,
    b: Tensor,
    t: Tensor,
    actions: Tensor,
    truth: Mapping[str, Tensor],
    keys: Sequence[ObservationKey],
    wanted: Sequence[str],
    samples: int,
) -> Prediction:
    """Roll the prior k steps from the posterior at (b, t), in portions that fit in memory.

    Args:
        b, t: (n,) indices of start states in the posterior.
        actions: (n, k, A) taken from them.
        truth: by key, the observation after k steps, (n, ...).
        keys: of the observation.
        wanted: categorical keys whose distribution is wanted.
        samples: S latent samples for each start state.
    """
    portion = max(1, _ROWS // samples)
    parts = []
    for at in range(0, len(b), portion):
        rows = slice(at, at + portion)
        state = start_states(model, posterior, b[rows], t[rows], samples)
        seen = {name: value[rows] for name, value in truth.items()}
        parts.append(_roll(model, state, actions[rows], seen, keys, wanted))
    return Prediction(
        {name: torch.cat([p.factors[name] for p in parts]) for name in wanted},
        torch.cat([p.latent for p in parts]),
        torch.cat([p.nll for p in parts]),
        {name: torch.cat([p.mean[name] for p in parts]) for name in parts[0].mean},
    )


def _roll(
    model: Model,
    state: State,
    actions: Tensor,
    truth: Mapping[str, Tensor],
    keys: Sequence[ObservationKey],
    wanted: Sequence[str],
) -> Prediction:
    samples, steps = state.deter.shape[1], actions.shape[1]
    # A sample's episode ends at the first step where its probability of running falls to this: as often as the model
    # believes, with one number a sample, and what it ends in is decoded once.
    last_chance = torch.rand_like(state.deter[..., 0]) if wanted else state.deter[..., 0]  # (n, S)
    alive = torch.ones_like(last_chance)
    running, resting = torch.ones_like(last_chance, dtype=torch.bool), state.feature
    for step in range(steps):
        action = actions[:, step].unsqueeze(1).expand(-1, samples, -1)
        deter = model.rssm.transition(state, action)
        prior = model.rssm.prior(deter)
        state = State(model.rssm.sample(prior), deter)
        if wanted and steps > 1:
            resting = torch.where(running.unsqueeze(-1), state.feature, resting)
            if step < steps - 1:
                alive = alive * model.continue_probability(state.feature)
                running = running & (alive > last_chance)
    decoded = model.decoder(state.feature)
    nll = model.decoder.nll(decoded, {name: expand_samples(value, samples) for name, value in truth.items()})
    shown = model.decoder.predict(decoded) if not all(key.classes for key in keys) else {}
    total = torch.stack([nll[key.name] for key in keys]).sum(0)  # (n, S)
    at_rest = model.decoder(resting) if wanted and steps > 1 and not running.all() else decoded
    return Prediction(
        # Not decoder.predict: it would turn all the other keys into probabilities too.
        {k.name: _distribution(model.decoder, k, at_rest[k.name]) for k in keys if k.name in wanted},
        prior.exp().mean(1),
        -(torch.logsumexp(-total, 1) - torch.log(torch.tensor(float(samples), device=total.device))),
        {key.name: shown[key.name].mean(1) for key in keys if not key.classes},
    )


def _distribution(decoder: PredictionDecoder, key: ObservationKey, logits: Tensor) -> Tensor:
    """A key's distribution by each half of the samples, (n, 2, Π classes) or (n, 2, V, widest), from (n, S, Σ classes).

    Variables are independent given a latent state; their mixture over samples is not. The halves show how far
    sampling alone carries a distance from the truth.
    """
    probabilities = decoder.layout(key.name).log_probabilities(logits).exp()  # (n, S, V, widest)
    halves = probabilities.chunk(2, 1)
    if not is_joint(key.classes):
        return torch.stack([half.mean(1) for half in halves], 1)
    return torch.stack([_joint(half, key.classes) for half in halves], 1)


def _joint(probabilities: Tensor, classes: tuple[int, ...]) -> Tensor:
    """The mean over samples of the variables' product: (n, S, V, widest) → (n, Π classes)."""
    product = probabilities.new_ones(*probabilities.shape[:2], 1)
    for variable, count in enumerate(classes[:-1]):
        product = (product.unsqueeze(-1) * probabilities[..., variable, :count].unsqueeze(-2)).flatten(-2)
    last = probabilities[..., len(classes) - 1, : classes[-1]]
    return (product.transpose(1, 2) @ last).flatten(1) / probabilities.shape[1]  # n i s, n s j -> n (i j)


def expand_samples(value: Tensor, samples: int) -> Tensor:
    """(n, ...) → (n, S, ...), without a copy."""
    return value.unsqueeze(1).expand(value.shape[0], samples, *value.shape[1:])
