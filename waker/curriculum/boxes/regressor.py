"""A learned regressor over θ with its uncertainty: Bayesian linear regression on random Fourier features. numpy only.

The second way to generalise scores over a continuous space, beside :mod:`waker.curriculum.boxes.kernel`; used by
:mod:`waker.curriculum.boxes.kernel_scores`. The features √(2/F)·cos(W·θ/h + b) (Rahimi and Recht 2007) have the
Gaussian kernel of width h as their mean product, so that the posterior is about that of a Gaussian process with this
kernel. Width and noise are learned: of a small grid those under which the known values are likeliest (evidence). It
extrapolates to the mean of all values with the prior's variance, where the kernel's estimate takes the nearest value;
and it averages out noise that a narrow kernel passes on.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from waker.curriculum.api import Floats
from waker.curriculum.boxes.kernel import Estimate

FEATURES = 128
WIDTHS = (1.0, 2.0, 4.0)
"""Widths that are tried, in units of the bandwidth."""
NOISES = (1e-4, 1e-2, 1e-1, 1.0)
"""Variances of the values about the function that are tried, in units of their own variance."""


class _Fit(NamedTuple):
    """The posterior of the weights: their mean (F,), the Cholesky factor of their precision (F, F), evidence, noise."""

    weights: Floats
    factor: Floats
    evidence: float
    noise: float


def regressed(points: Floats, known: Floats, values: Floats, bandwidth: float, scale: Floats) -> Estimate:
    """The posterior mean and variance of the function at some points.

    Args:
        points: (n, D), where to estimate.
        known: (m, D).
        values: (m,); NaN are left out.
        bandwidth: the smallest width h > 0 that is tried, in units of ``scale``.
        scale: of each coordinate, (D,), above 0: its range.
    """
    there = np.isfinite(values)
    known, values = known[there], values[there]
    if not len(values):
        return Estimate(np.full(len(points), np.nan), np.full(len(points), np.nan))
    centre, spread = float(values.mean()), float(values.std()) or 1.0
    y = (values - centre) / spread
    best: tuple[_Fit, float] | None = None
    for width in WIDTHS:
        phi = _features(known / scale, width * bandwidth)
        gram, target = phi.T @ phi, phi.T @ y
        for noise in NOISES:
            fit = _fit(gram, target, float(y @ y), len(y), noise)
            if best is None or fit.evidence > best[0].evidence:
                best = fit, width * bandwidth
    assert best is not None, "there are widths and noises to try"
    (weights, factor, _, _), width = best
    phi = _features(points / scale, width)
    half = np.linalg.solve(factor, phi.T)  # (F, n)
    return Estimate(centre + spread * (phi @ weights), spread**2 * (half**2).sum(0))


def _features(x: Floats, width: float) -> Floats:
    """(n, D) → (n, F); the same directions and phases always."""
    rng = np.random.default_rng((11, x.shape[1]))
    directions, phases = rng.normal(size=(x.shape[1], FEATURES)), rng.uniform(0, 2 * math.pi, FEATURES)
    return np.asarray(math.sqrt(2.0 / FEATURES) * np.cos(x @ directions / width + phases))


def _fit(gram: Floats, target: Floats, squares: float, n: int, noise: float) -> _Fit:
    """Of y = Φ·w + e, w ~ N(0, 1), e ~ N(0, noise); ``gram`` = ΦᵀΦ, ``target`` = Φᵀy, ``squares`` = yᵀy."""
    factor = np.asarray(np.linalg.cholesky(np.eye(len(gram)) + gram / noise), np.float64)
    weights = np.linalg.solve(factor.T, np.linalg.solve(factor, target)) / noise
    misfit = (squares - float(target @ weights)) / noise  # yᵀ·(noise·1 + ΦΦᵀ)⁻¹·y
    determinant = 2.0 * float(np.log(np.diag(factor)).sum()) + n * math.log(noise)
    return _Fit(weights, factor, -0.5 * (misfit + determinant + n * math.log(2 * math.pi)), noise)
