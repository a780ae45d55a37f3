"""How far two orders of the same sums may be apart, so that no tolerance depends on a processor.

A matrix product adds its terms in an order of the processor's choice, so float32 results differ in their last digits
from one processor to the next, and an optimiser that divides a gradient by its own size passes such a difference on
undiminished. Tests that compare two ways of one computation therefore run in float64 and bound the difference by
arithmetic.
"""

from __future__ import annotations

from waker.config.schema import OptimizerConfig

UNIT = 2.0**-53
"""Unit roundoff of float64."""


def rounding(terms: int) -> float:
    """γ_n = n·u / (1 − n·u): the relative error of n roundings in a row, sums of n terms in any order included.

    Relative to the sum of the terms' magnitudes (Higham 2002, *Accuracy and Stability of Numerical Algorithms*, §3.1).
    """
    return terms * UNIT / (1.0 - terms * UNIT)


def adam_drift(config: OptimizerConfig, error: float, steps: int) -> float:
    """How far parameters may be apart after ``steps`` of Adam on gradients that differ by ``error`` in each entry.

    Up to 30 steps. Both m̂ and √v̂ change by at most ``error``, and |m̂| ≤ 1.3·√v̂ (Cauchy-Schwarz, with their weights
    0.1·0.9^i and 0.001·0.999^i, normalised). So m̂/(√v̂ + eps) changes by at most
    error/eps + 1.3·error·√v̂/(√v̂ + eps)² ≤ (1 + 1.3/4)·error/eps. A gradient is taken to change by no more than the
    parameters did in the steps before.
    """
    gain = (1.0 + 1.3 / 4.0) * config.lr / config.eps
    drift = 0.0
    for _ in range(steps):
        drift += gain * (error + drift)
    return drift
