"""Distributions as functions of tensors: sampling, densities, divergences. No object per distribution.

``mode=True`` replaces a sample by the distribution's mode with the same straight-through gradient; deterministic
evaluation and the reference test use it. No function reads a value back to the host.
"""

from __future__ import annotations

import functools
import math

import torch
import torch.nn.functional as F
from torch import Tensor

from waker.machine import kernels

HALF_LOG_TAU = 0.5 * math.log(2 * math.pi)


def symlog(x: Tensor) -> Tensor:
    """sign(x)·ln(1 + |x|) (DreamerV3, eq. 9)."""
    return x.sign() * x.abs().log1p()


def symexp(x: Tensor) -> Tensor:
    """The inverse of :func:`symlog`."""
    return x.sign() * x.abs().expm1()


def gaussian_nll(mean: Tensor, target: Tensor) -> Tensor:
    """Unit-variance Gaussian −log density, element by element: ½(x − μ)² + ½·ln 2π."""
    return 0.5 * (target - mean).square() + HALF_LOG_TAU


# Categorical latents and actions ------------------------------------------------------------------------------


def log_probabilities(logits: Tensor, unimix: float) -> Tensor:
    """Log probabilities of softmax(logits) mixed with a share ``unimix`` of the uniform distribution."""
    normalised = kernels.log_softmax(logits)
    if unimix == 0.0:
        return normalised
    return torch.log((1.0 - unimix) * normalised.exp() + unimix / logits.shape[-1])


def sample_onehot(log_probs: Tensor, mode: bool = False) -> Tensor:
    """A one-hot sample with straight-through gradients: forward exactly one-hot, backward the probabilities'.

    On a CPU, one uniform per categorical and a cumulative sum; on CUDA, where scans along short rows are slow, a race
    of exponentials: the first of C arrivals at rates p_c is c with probability p_c.

    Args:
        log_probs: (..., C), normalised.
    """
    return kernels.straight_through(log_probs, functools.partial(_drawn, mode=mode))


def _drawn(probs: Tensor, mode: bool) -> Tensor:
    """One-hot samples of probabilities (..., C), or their modes."""
    if mode:
        index = probs.argmax(-1, keepdim=True)
    elif probs.device.type == "cuda":
        index = (probs / torch.empty_like(probs).exponential_()).argmax(-1, keepdim=True)
    else:
        cumulative = probs.cumsum(-1)
        # Scaled by the last sum; rounding may still put the uniform on it, so the last class is passed by definition.
        uniform = torch.rand_like(cumulative[..., :1]) * cumulative[..., -1:]
        passed = (cumulative > uniform).to(probs.dtype)
        passed[..., -1] = 1.0
        passed[..., 1:] -= passed[..., :-1].clone()  # 0 … 0 1 1 … 1 has one step
        return passed
    return torch.zeros_like(probs).scatter_(-1, index, 1.0)


def categorical_entropy(log_probs: Tensor) -> Tensor:
    """Entropy in nats over the last axis."""
    return -(log_probs.exp() * log_probs).sum(-1)


def categorical_kl(log_p: Tensor, log_q: Tensor) -> Tensor:
    """KL(p ‖ q) in nats over the last axis."""
    return (log_p.exp() * (log_p - log_q)).sum(-1)


def excess_surprise(log_p: Tensor, log_q: Tensor) -> Tensor:
    """Cross entropy of q under p less the entropy of q, in nats over the last axis: KL(p ‖ q) − (H(q) − H(p)).

    What is seen is p, often nearly certain; q was the belief before. If beliefs are right, p = q in the mean and so is
    this 0, however uncertain q is, where the KL is H(q) − H(p). It is negative where q was less sure than it could be.
    """
    return ((log_q.exp() - log_p.exp()) * log_q).sum(-1)


def jensen_shannon(log_probs: Tensor, members: int) -> Tensor:
    """Divergence of E categoricals in nats, their mixture's entropy less their mean entropy, class by class.

    The sum over classes is left to the caller, who knows where they lie and what else is summed.

    Args:
        log_probs: with E entries on axis ``members``, which the result lacks.
    """
    probs = log_probs.exp()
    mixture = probs.mean(members)
    return (probs * log_probs).mean(members) - mixture * mixture.clamp_min(1e-12).log()


# Two-hot regression (DreamerV3) ---------------------------------------------------------------------------------


def symexp_bins(count: int, limit: float) -> Tensor:
    """``count`` bin positions symexp(−limit) … symexp(limit), mirrored bit by bit; an odd count has one at 0."""
    innermost = 0.0 if count % 2 else -limit / (count - 1)
    half = symexp(torch.linspace(-limit, innermost, (count + 1) // 2))
    return torch.cat([half, -half[: count // 2].flip(0)])


def twohot_mean(logits: Tensor, bins: Tensor) -> Tensor:
    """Expected value of a categorical over ``bins``; logits (..., bins) → (...).

    Bin i and bin n−1−i are summed first, as their mass times what they differ by: p_i − p_j = (p_i + p_j)·tanh((l_i −
    l_j)/2). The outer bins lie at ±symexp(20) = ±4.9e8, so that a sum of all terms by itself is off by more than most
    values are large, and so is a difference of rounded probabilities. Equal logits over symmetric bins give exactly 0.
    """
    half, odd = divmod(logits.shape[-1], 2)
    probs = F.softmax(logits, -1)
    low, high = logits[..., :half].flip(-1), logits[..., half + odd :]
    mass = probs[..., :half].flip(-1) + probs[..., half + odd :]  # (..., half), from the inmost pair out
    tilt = torch.tanh(0.5 * (high - low)).nan_to_num(nan=0.0)  # −∞ twice: a pair without mass
    down, up = bins[:half].flip(0), bins[half + odd :]
    mean = (mass * torch.addcmul(0.5 * (up + down), tilt, 0.5 * (up - down))).sum(-1)
    return mean + probs[..., half] * bins[half] if odd else mean


def paired(x: Tensor) -> Tensor:
    """Logits (or the weights that make them) of mirrored bins as their mean and half their difference.

    (..., n) → (..., n): the middle one if n is odd, then (l_j + l_i)/2 of each pair i, j = n−1−i from the inmost out,
    then (l_j − l_i)/2.
    """
    half, odd = divmod(x.shape[-1], 2)
    low, middle, high = x.split([half, odd, half], -1)
    low = low.flip(-1)
    return torch.cat([middle, 0.5 * (high + low), 0.5 * (high - low)], -1)


def unpaired(x: Tensor) -> Tensor:
    """The inverse of :func:`paired`; pairs without a difference become equal bit by bit."""
    half, odd = divmod(x.shape[-1], 2)
    middle, centre, tilt = x.split([odd, half, half], -1)
    return torch.cat([(centre - tilt).flip(-1), middle, centre + tilt], -1)


def paired_twohot_mean(pairs: Tensor, bins: Tensor) -> Tensor:
    """:func:`twohot_mean` of logits that come as :func:`paired` makes them, accurate in its gradient too.

    The gradient of an outer pair's difference is large (p·b, up to 1e6) and that of its mean small. By bins they would
    be ±p·b, which only a sum without rounding could bring together again: all digits of the small one would be lost.

    Args:
        pairs: (..., n) → (...).
        bins: (n,), symmetric.
    """
    return kernels.paired_mean(pairs, bins[(bins.shape[0] + 1) // 2 :])


def twohot_nll(logits: Tensor, target: Tensor, bins: Tensor) -> Tensor:
    """Cross-entropy with the target spread over its two neighbouring bins (DreamerV3, eq. 10).

    Args:
        logits: (..., bins).
        target: (...), clamped to the bins' range.
    """
    target = target.clamp(bins[0], bins[-1])
    upper = torch.searchsorted(bins, target.contiguous()).clamp(1, len(bins) - 1)
    low, high = bins[upper - 1], bins[upper]
    share = (target - low) / (high - low)
    log_probs = F.log_softmax(logits, -1)
    at = torch.stack([upper - 1, upper], -1)
    weight = torch.stack([1.0 - share, share], -1)
    return -(log_probs.gather(-1, at) * weight).sum(-1)


# Truncated normal on (−1, 1) --------------------------------------------------------------------------------------

_EDGE = 1e-6


def _cdf(x: Tensor) -> Tensor:
    return 0.5 * (1.0 + torch.erf(x / math.sqrt(2.0)))


def _density(x: Tensor) -> Tensor:
    return torch.exp(-0.5 * x.square()) / math.sqrt(2.0 * math.pi)


def _straight_through_clip(x: Tensor) -> Tensor:
    return x + (x.clamp(-1.0 + _EDGE, 1.0 - _EDGE) - x).detach()


def truncated_normal_sample(loc: Tensor, scale: Tensor, mode: bool = False) -> Tensor:
    """A reparameterised sample by the inverse CDF, clipped to ±(1 − 1e-6) without cutting the gradient."""
    if mode:
        return _straight_through_clip(loc)
    low, high = _cdf((-1.0 - loc) / scale), _cdf((1.0 - loc) / scale)
    u = low + (high - low) * torch.rand_like(loc)
    # erfinv is infinite at ±1.
    z = math.sqrt(2.0) * torch.erfinv((2.0 * u - 1.0).clamp(-1.0 + _EDGE, 1.0 - _EDGE))
    return _straight_through_clip(loc + scale * z)


def truncated_normal_entropy(loc: Tensor, scale: Tensor) -> Tensor:
    """Entropy in nats, element by element: ln(√(2πe)·σ·Z) + (αφ(α) − βφ(β)) / 2Z."""
    alpha, beta = (-1.0 - loc) / scale, (1.0 - loc) / scale
    z = (_cdf(beta) - _cdf(alpha)).clamp_min(1e-8)
    tail = (alpha * _density(alpha) - beta * _density(beta)) / (2.0 * z)
    return 0.5 * math.log(2.0 * math.pi * math.e) + torch.log(scale * z) + tail


def truncated_normal_log_prob(loc: Tensor, scale: Tensor, value: Tensor) -> Tensor:
    """Log density at ``value`` in (−1, 1), element by element."""
    z = (_cdf((1.0 - loc) / scale) - _cdf((-1.0 - loc) / scale)).clamp_min(1e-8)
    return -0.5 * ((value - loc) / scale).square() - HALF_LOG_TAU - torch.log(scale * z)
