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

from waker.model.categorical_keys import CategoricalLayout
from waker.model.rssm import RSSM, Posterior, State
from waker.spaces import ObservationKey

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
    def rssm(self) -> RSSM: ...

    @property
    def decoder(self) -> PredictionDecoder: ...

    def observe(self, batch: Mapping[str, Tensor], mode: bool = False) -> Posterior: ...

    def continue_probability(self, feature: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class Prediction:
    """The k-th step from each of n start states, averaged over samples.

    Attributes:
        joint: for each key asked for, the joint distribution over its variables by each half of the samples,
            (n, 2, Π classes); an episode that the model believes to have ended stays where it ended.
        latent: marginal prior probabilities of each latent, (n, latents, classes).
        nll: −ln of the mean over samples of the likelihood of the true observation, (n,), all keys together.
        mean: mean decoded observation of each image and vector key, (n, ...).
    """

    joint: dict[str, Tensor]
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
    joint_keys: Sequence[str],
    samples: int,
) -> Prediction:
    """Roll the prior k steps from the posterior at (b, t), in portions that fit in memory.

    Args:
        b, t: (n,) indices of start states in the posterior.
        actions: (n, k, A) taken from them.
        truth: by key, the observation after k steps, (n, ...).
        keys: of the observation.
        joint_keys: categorical keys whose joint distribution is wanted.
        samples: S latent samples for each start state.
    """
    portion = max(1, _ROWS // samples)
    parts = []
    for at in range(0, len(b), portion):
        rows = slice(at, at + portion)
        state = start_states(model, posterior, b[rows], t[rows], samples)
        seen = {name: value[rows] for name, value in truth.items()}
        parts.append(_roll(model, state, actions[rows], seen, keys, joint_keys))
    return Prediction(
        {name: torch.cat([p.joint[name] for p in parts]) for name in joint_keys},
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
    joint_keys: Sequence[str],
) -> Prediction:
    classes = {key.name: key.classes for key in keys}
    samples, steps = state.deter.shape[1], actions.shape[1]
    alive = torch.ones_like(state.deter[..., 0])  # (n, S): probability that the imagined episode still runs
    joint: dict[str, Tensor] = {}
    for step in range(steps):
        action = actions[:, step].unsqueeze(1).expand(-1, samples, -1)
        deter = model.rssm.transition(state, action)
        prior = model.rssm.prior(deter)
        state = State(model.rssm.sample(prior), deter)
        last = step == steps - 1
        if not (joint_keys or last):
            continue
        decoded = model.decoder(state.feature)
        # Mass that ends here stays here: the exact prediction keeps an ended episode in its last observation.
        goes_on = torch.zeros_like(alive) if last else model.continue_probability(state.feature)
        share = alive * (1.0 - goes_on)
        alive = alive * goes_on
        for name in joint_keys:
            # Not decoder.predict: it would turn all the other keys into probabilities too, at every step.
            here = _joint(model.decoder.layout(name).log_probabilities(decoded[name]).exp(), classes[name], share)
            joint[name] = joint[name] + here if name in joint else here
    nll = model.decoder.nll(decoded, {name: _spread(value, samples) for name, value in truth.items()})
    shown = model.decoder.predict(decoded) if any(key.kind != "categorical" for key in keys) else {}
    total = torch.stack([nll[key.name] for key in keys]).sum(0)  # (n, S)
    return Prediction(
        joint,
        prior.exp().mean(1),
        -(torch.logsumexp(-total, 1) - torch.log(torch.tensor(float(samples), device=total.device))),
        {key.name: shown[key.name].mean(1) for key in keys if key.kind != "categorical"},
    )


def _spread(value: Tensor, samples: int) -> Tensor:
    """(n, ...) → (n, S, ...), without a copy."""
    return value.unsqueeze(1).expand(value.shape[0], samples, *value.shape[1:])


def _joint(probabilities: Tensor, classes: tuple[int, ...], share: Tensor) -> Tensor:
    """The mean over each half of the samples of the variables' product: (n, S, V, widest), (n, S) → (n, 2, Π classes).

    Variables are independent given a latent state; their mixture over samples is not. The halves tell how far chance
    alone carries a distance from the truth.
    """
    product = share.unsqueeze(-1)  # (n, S, 1)
    for variable, count in enumerate(classes):
        factor = probabilities[..., variable, :count]
        product = (product.unsqueeze(-1) * factor.unsqueeze(-2)).flatten(-2)
    return torch.stack([half.mean(1) for half in product.chunk(2, 1)], 1)
