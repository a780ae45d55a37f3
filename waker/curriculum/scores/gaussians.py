"""Gaussian mixtures by expectation–maximisation, for the samplers that fit one (``alp-gmm``, ``cenie``). numpy only.

Shapes: n samples of D numbers, K components. Diagonal covariances are (K, D), full ones (K, D, D).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from waker.curriculum.api import Floats


@dataclass(frozen=True)
class Gaussians:
    """A mixture of Gaussians.

    Attributes:
        weights: (K,), sum 1.
        means: (K, D).
        covariances: (K, D) diagonal, or (K, D, D).
    """

    weights: Floats
    means: Floats
    covariances: Floats

    def log_density(self, x: Floats) -> Floats:
        """log p of each sample, (n, D) → (n,)."""
        joint = self._joint(x)
        top = joint.max(1)
        return np.asarray(top + np.log(np.exp(joint - top[:, None]).sum(1)))

    def _joint(self, x: Floats) -> Floats:
        """log of weight × density of each component, (n, K)."""
        d = x[:, None, :] - self.means  # (n, K, D)
        if self.covariances.ndim == 2:
            squared = (d * d / self.covariances).sum(-1)
            determinant = np.log(self.covariances).sum(-1)
        else:
            squared = np.einsum("nkd,kde,nke->nk", d, np.linalg.inv(self.covariances), d)
            determinant = np.linalg.slogdet(self.covariances)[1]
        constant = x.shape[1] * math.log(2 * math.pi)
        with np.errstate(divide="ignore"):
            return np.asarray(np.log(self.weights) - 0.5 * (squared + determinant + constant))

    def shares(self, x: Floats) -> Floats:
        """How much of each sample belongs to each component, (n, K), rows of sum 1."""
        joint = self._joint(x)
        shares = np.exp(joint - joint.max(1, keepdims=True))
        return np.asarray(shares / shares.sum(1, keepdims=True))

    def fitted(self, x: Floats, iterations: int, regularisation: float, tolerance: float = 0.0) -> Gaussians:
        """This mixture after at most so many EM iterations on x (n, D).

        Args:
            x: the samples.
            iterations: at most so many.
            regularisation: added to variances.
            tolerance: stop where the mean log density rises by no more; 0 = never.
        """
        fit, before = self, -np.inf
        for _ in range(iterations):
            fit = maximised(x, fit.shares(x), regularisation, fit.covariances.ndim == 3)
            if tolerance > 0:
                mean = float(fit.log_density(x).mean())
                if mean - before <= tolerance:
                    break
                before = mean
        return fit

    def aic(self, x: Floats) -> float:
        """Akaike's criterion on x (n, D): 2·parameters − 2·log likelihood; lower is better."""
        k, d = self.means.shape
        per = d + (d if self.covariances.ndim == 2 else d * (d + 1) // 2)
        return 2.0 * (k * per + k - 1) - 2.0 * float(self.log_density(x).sum())


def maximised(x: Floats, shares: Floats, regularisation: float, full: bool) -> Gaussians:
    """The mixture that fits samples (n, D) with responsibilities (n, K) best."""
    counts = shares.sum(0) + 1e-10
    means = shares.T @ x / counts[:, None]
    d = x[:, None, :] - means  # (n, K, D)
    if full:
        covariances = np.einsum("nk,nkd,nke->kde", shares, d, d) / counts[:, None, None]
        covariances += regularisation * np.eye(x.shape[1])
    else:
        covariances = np.einsum("nk,nkd->kd", shares, d * d) / counts[:, None] + regularisation
    return Gaussians(counts / counts.sum(), means, covariances)


def begun(x: Floats, k: int, regularisation: float, full: bool, rng: np.random.Generator) -> Gaussians:
    """A first mixture of k components: k-means++ centres, each sample belonging to the nearest.

    Args:
        x: samples, (n, D), n ≥ k.
        k: components.
        regularisation: added to variances.
        full: whether covariances are full.
        rng: chooses the centres.
    """
    centres = [x[int(rng.integers(len(x)))]]
    for _ in range(k - 1):
        squared = np.min([((x - c) ** 2).sum(1) for c in centres], axis=0)
        total = squared.sum()
        chances = squared / total if total > 0 else np.full(len(x), 1.0 / len(x))
        centres.append(x[int(rng.choice(len(x), p=chances))])
    nearest = np.argmin(((x[:, None, :] - np.array(centres)) ** 2).sum(-1), axis=1)
    return maximised(x, np.eye(k)[nearest], regularisation, full)


def best_by_aic(x: Floats, components: range, rng: np.random.Generator, iterations: int = 100) -> Gaussians:
    """The mixture with full covariances and the lowest AIC among these numbers of components (at most n)."""
    fits = [begun(x, k, 1e-6, True, rng).fitted(x, iterations, 1e-6, 1e-3) for k in components if k <= len(x)]
    return min(fits, key=lambda fit: fit.aic(x))
