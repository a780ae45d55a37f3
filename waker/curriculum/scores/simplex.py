"""Weights on a simplex, raised by projected ascent, and learnability; the formulas of ``ncc`` and ``sfl``.

Monette et al. 2025, arXiv 2505.20659; Rutherford et al. 2024, arXiv 2408.15099.
"""

from __future__ import annotations

import numpy as np

from waker.curriculum.api import Floats


def learnability(successes: Floats, episodes: Floats, unbiased: bool = True) -> Floats:
    """p(1−p), (M,), NaN without a finished episode."""
    n = np.where(episodes > 0, episodes, np.nan)
    p = successes / n
    return np.asarray(p * (1 - p) * (n / np.maximum(n - 1, 1) if unbiased else 1.0))


def generalised_learnability(m: Floats, sigma: Floats, n: int) -> Floats:
    """s = σ/√n · N(m; μ, v), with μ and v the mean and the variance of m (the public code has v as the deviation).

    Where all means are alike, as that of a single θ is, no density tells them apart: all are 0.

    Args:
        m, sigma: mean and standard deviation of the returns of each of J θ, (J,).
        n: returns of each.
    """
    v = float(m.var())
    if v <= (1e-12 * abs(m).max()) ** 2:
        return np.zeros_like(m)
    density = np.exp(-((m - m.mean()) ** 2) / (2 * v)) / np.sqrt(2 * np.pi * v)
    return np.asarray(sigma / np.sqrt(n) * density)


def projected(y: Floats, least: float) -> Floats:
    """The nearest point of {y ≥ least, Σ y = 1}, (n,); least is at most 1/n.

    What lies above the least is shifted by one number and cut at 0. Whoever is cut by the shift of some is cut by that
    of fewer, so the rest is asked again until nobody is (Michelot 1986): a few passes, and no sort.
    """
    mass, above = 1.0 - len(y) * least, y - least
    if mass <= 0:
        return np.full(len(y), 1.0 / len(y))
    left = above
    while True:
        shift = (left.sum() - mass) / len(left)
        stays = left[left > shift]
        if len(stays) == len(left):
            break
        left = stays
    found = np.maximum(above - shift, 0.0) + least
    return np.asarray(found / found.sum())


def slope(y: Floats, scores: Floats, entropy: float) -> Floats:
    """The gradient of Σ y·s − α·Σ y·log y, (n,)."""
    return np.asarray(scores - entropy * (np.log(y) + 1.0))


def ascended(y: Floats, gradient: Floats, rate: float, least: float) -> Floats:
    """One step from y (n,) along a gradient, projected."""
    return projected(y + rate * gradient, least)
