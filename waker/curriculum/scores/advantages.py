"""What level replay and its successors compute from rewards and values of one trajectory, or of many at once.

Pure functions over the last axis. A trajectory has rewards r_0 … r_{T−1} and values v_0 … v_T, the last 0 after a true
end and the critic's value at a time limit or at the end of imagination. All formulas hold for both.
"""

from __future__ import annotations

import numpy as np

from waker.curriculum.evidence import Numbers


def td_errors(rewards: Numbers, values: Numbers, discount: float) -> Numbers:
    """δ_t = r_t + γ·v_{t+1} − v_t, shape (…, T)."""
    return np.asarray(rewards + discount * values[..., 1:] - values[..., :-1])


def advantages(rewards: Numbers, values: Numbers, discount: float, trace: float) -> Numbers:
    """A_t = δ_t + γλ·A_{t+1} (generalised advantage estimation), which is V_t − v_t of the λ-return, shape (…, T)."""
    deltas = td_errors(rewards, values, discount)
    found = np.zeros_like(deltas)
    after = np.zeros(deltas.shape[:-1])
    for t in range(deltas.shape[-1] - 1, -1, -1):
        after = deltas[..., t] + discount * trace * after
        found[..., t] = after
    return found


def lambda_returns(rewards: Numbers, values: Numbers, discount: float, trace: float) -> Numbers:
    """V_t = r_t + γ((1−λ)·v_{t+1} + λ·V_{t+1}), V_T = v_T; shape (…, T)."""
    return np.asarray(advantages(rewards, values, discount, trace) + values[..., :-1])


def positive_value_loss(a: Numbers) -> Numbers:
    """PVL: mean over t of max(A_t, 0), the clamp after the sum over δ (Jiang et al. 2021b, arXiv 2110.02439)."""
    return np.asarray(np.maximum(a, 0.0).mean(-1))


def value_l1(a: Numbers) -> Numbers:
    """Mean over t of |A_t|: the "GAE magnitude" of level replay (Jiang et al. 2021, arXiv 2010.03934)."""
    return np.asarray(abs(a).mean(-1))


def negative_advantage(a: Numbers) -> Numbers:
    """MNA: Σ_t max(−A_t, 0), a sum and no mean (Mead et al. 2026, arXiv 2601.14957)."""
    return np.asarray(np.maximum(-a, 0.0).sum(-1))


def one_step_td(rewards: Numbers, values: Numbers, discount: float) -> Numbers:
    """Mean of |δ_t| over t < T − 1: the last step is left out, as in dcd; of a single step it is that step's."""
    deltas = abs(td_errors(rewards, values, discount))
    return np.asarray((deltas[..., :-1] if deltas.shape[-1] > 1 else deltas).mean(-1))


def bootstrapped_return(rewards: Numbers, values: Numbers, discount: float) -> Numbers:
    """Σ_t γ^t·r_t + γ^T·v_T, shape (…,)."""
    powers = discount ** np.arange(rewards.shape[-1] + 1)
    return np.asarray(rewards @ powers[:-1] + powers[-1] * values[..., -1])


def below_best(best: Numbers, values: Numbers, dense: bool = False) -> Numbers:
    """MaxMC: mean over t < T of (R* − v_t), or R* − v_0 for dense rewards; ``best`` is R*, shape (…,)."""
    return np.asarray(best - (values[..., 0] if dense else values[..., :-1].mean(-1)))
