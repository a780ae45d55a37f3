"""How unusual the features of an episode are among those of a window of earlier ones; the score of ``cenie``.

Features are standardised with the window's mean and spread, reduced by principal components, and modelled by a mixture
of
diagonal Gaussians. The number F of features is not known before the first episode, and a saved state has fixed shapes:
so features are folded into at most ``FOLDED`` numbers by fixed random signs, which keeps distances about the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from waker.curriculum.api import Floats, State
from waker.curriculum.evidence import EpisodeEvidence
from waker.curriculum.scores.gaussians import Gaussians, begun, maximised

StateName = Literal["latent", "observation"]
FIELDS: dict[StateName, str] = {"latent": "features", "observation": "observations"}
"""The field of an episode's record that each is."""
FOLDED = 64
REGULARISATION = 1e-4
ITERATIONS = 3


def met(evidence: EpisodeEvidence, state: StateName) -> Floats | None:
    """What is met in an episode, (T, F); None of a held-out one, and where it is not known."""
    found = getattr(evidence, FIELDS[state])
    if evidence.kind == "heldout" or found is None or not np.isfinite(found).all():
        return None
    return np.asarray(found, np.float64)


def folded(features: Floats, size: int = FOLDED) -> Floats:
    """Features (T, F) as (T, size): padded with zeros where F ≤ size, else a count sketch of them with fixed signs."""
    width = features.shape[1]
    if width <= size:
        return np.pad(features, ((0, 0), (0, size - width)))
    rng = np.random.default_rng(width)
    signs, place = rng.choice([-1.0, 1.0], width), rng.integers(size, size=width)
    sketch = np.zeros((width, size))
    sketch[np.arange(width), place] = signs
    return np.asarray(features @ sketch)


def spaced(features: Floats, steps: int) -> Floats:
    """``steps`` evenly spaced rows of (T, F); of a shorter episode some twice."""
    return features[np.linspace(0, len(features) - 1, steps).round().astype(np.int64)]


class Novelty:
    """−mean log p of an episode's features under a mixture of those before it.

    Args:
        window: episodes.
        steps: rows of each.
        refit: episodes between two fits; the first is made after the first ``refit``.
        components: K.
        dimensions: of the principal components, at most ``FOLDED``.
    """

    def __init__(self, window: int, steps: int, refit: int, components: int, dimensions: int) -> None:
        self.steps, self.refit = steps, refit
        d = min(dimensions, FOLDED)
        self.episodes, self.fits = 0, 0
        self._rows: Floats = np.zeros((window, steps, FOLDED))
        self._mean, self._axes = np.zeros(FOLDED), np.zeros((FOLDED, d))  # of what the fit was made of
        self._fit = Gaussians(
            np.full(components, 1.0 / components), np.zeros((components, d)), np.ones((components, d))
        )

    def of(self, features: Floats) -> float | None:
        """Of an episode's features (T, F); None before the first fit."""
        if self.fits == 0:
            return None
        return -float(self._fit.log_density((folded(features) - self._mean) @ self._axes).mean())

    def add(self, features: Floats, rng: np.random.Generator) -> None:
        """Put an episode into the window; fit anew where it is time. ``rng`` chooses where the first fit begins."""
        self._rows[self.episodes % len(self._rows)] = spaced(folded(features), self.steps)
        self.episodes += 1
        if self.episodes % self.refit == 0:
            self._refit(rng)

    def _refit(self, rng: np.random.Generator) -> None:
        x = self._rows[: min(self.episodes, len(self._rows))].reshape(-1, FOLDED)
        # The projection turns between fits, so what is kept of the fit before is who belongs to which component.
        shares = self._fit.shares((x - self._mean) @ self._axes) if self.fits else None
        spread = x.std(0)
        scale = np.where(spread > 1e-8, 1.0 / np.maximum(spread, 1e-8), 0.0)
        self._mean = x.mean(0)
        standard = (x - self._mean) * scale
        _, vectors = np.linalg.eigh(standard.T @ standard / len(x))
        axes = vectors[:, ::-1][:, : self._axes.shape[1]]
        self._axes = scale[:, None] * axes
        reduced = (x - self._mean) @ self._axes
        if shares is None:
            start = begun(reduced, len(self._fit.weights), REGULARISATION, False, rng)
        else:
            start = maximised(reduced, shares, REGULARISATION, False)
        self._fit = start.fitted(reduced, ITERATIONS, REGULARISATION)
        self.fits += 1

    def state_dict(self) -> State:
        """The window, its projection and the fit."""
        fit = {f"fit.{name}": value.copy() for name, value in vars(self._fit).items()}
        own: State = {"rows": self._rows.copy(), "mean": self._mean.copy(), "axes": self._axes.copy()}
        return own | fit | {"episodes": self.episodes, "fits": self.fits}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore them."""
        self._rows, self._mean = np.array(state["rows"], np.float64), np.array(state["mean"], np.float64)
        self._axes = np.array(state["axes"], np.float64)
        self._fit = Gaussians(*(np.array(state[f"fit.{name}"], np.float64) for name in vars(self._fit)))
        self.episodes, self.fits = int(state["episodes"]), int(state["fits"])
