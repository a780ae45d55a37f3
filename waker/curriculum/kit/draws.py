"""Checks of what a sampler draws: shapes, chance, and the law that it states."""

from __future__ import annotations

import random
from typing import Any

import numpy as np

from waker.curriculum.kit.base import Kit, alike, fail, law_of
from waker.curriculum.kit.world import World
from waker_envs.api import FiniteThetaSpace

DRAWS = 100_000
"""Draws whose frequencies are held against the probabilities, where a draw does not change them."""
IN_A_ROW = 20_000
"""Likewise one by one, each against its own probabilities, where it does."""
_CHUNK = 10_000


def check_samples(kit: Kit, curriculum: Any, when: str) -> None:
    """Of a fresh one, too: Syllabus ignores k in ``sample(k)`` during its warm-up."""
    for n in (0, 1, 7):
        given = kit.world.drawn(curriculum, n).points
        if given.shape != (n, kit.space.dim):
            fail(f"sample({n}) gave shape {given.shape} {when}; it must give ({n}, {kit.space.dim})")
        for theta in given:
            if not kit.space.contains(theta):
                fail(f"sample({n}) gave θ ({kit.space.format(theta)}) {when}, which is outside the space")


def check_chance(kit: Kit) -> None:
    """All chance comes from the generator it was given: none of the process's, none that others draw from, too."""
    before = _global_state()
    one = [kit.world.step(c, 10 * step) for c in (kit.made(),) for step in range(12)]
    if _global_state() != before:
        fail("a run drew from a global generator; all chance must come from the rng that the factory is given")
    two = [kit.world.step(c, 10 * step) for c in (kit.made(),) for step in range(12)]
    if one != two:
        fail(
            f"two curricula made with generators of the same seed draw {one[-1]} and {two[-1]}: chance comes from "
            "elsewhere (a generator of the module's own, or an unseeded one); all must come from the rng that is given"
        )
    first, other = kit.made(seed=1), kit.made(seed=2)
    law = law_of(first)
    certain = law is not None and law.max() > 1 - 1e-9
    if not certain and np.array_equal(kit.world.drawn(first, 64).points, kit.world.drawn(other, 64).points):
        fail("generators of different seeds give the same 64 draws: the rng that the factory is given is not used")


def _global_state() -> tuple[Any, ...]:
    """Of numpy's and Python's global generators."""
    legacy: dict[str, Any] = np.random.get_state(legacy=False)  # noqa: NPY002
    return legacy["state"]["key"].tolist(), legacy["state"]["pos"], random.getstate()


def check_staged(kit: Kit) -> None:
    """One flag an episode, or the collector would train on what must only be scored."""
    curriculum = kit.driven()
    if not hasattr(curriculum, "staged"):
        return
    for n in (1, 5):
        curriculum.sample(n)
        staged = np.asarray(curriculum.staged)
        if staged.shape != (n,) or staged.dtype != np.bool_:
            fail(f"staged is {staged.dtype} of shape {staged.shape} after sample({n}); it must be ({n},) booleans")


def check_law(kit: Kit, world: World, what: str) -> None:
    """A distribution, also with negative and with equal numbers, of which fractional powers and ranks have made NaN."""
    with np.errstate(invalid="raise", divide="ignore"):
        try:
            p = kit.driven(12, world=world).probabilities()
        except FloatingPointError as error:
            fail(f"{error} while it was given {what} numbers")
    if not isinstance(kit.space, FiniteThetaSpace):
        if p is not None:
            fail("probabilities() of a continuous space must be None")
        return
    p = np.asarray(p)
    if p.shape != (kit.space.size,):
        fail(f"probabilities() has shape {p.shape}; it must be one number for each of {kit.space.size} θ")
    if not np.isfinite(p).all() or (p < 0).any() or abs(p.sum() - 1) > 1e-9:
        fail(f"probabilities() are {p} after {what} numbers; they must be ≥ 0 and sum to 1, not to {p.sum()}")


def check_frequencies(kit: Kit, world: World, what: str) -> None:
    """Frequencies within 4σ of the stated law, of equal scores, too: ties that fall to one θ are not a uniform law."""
    counts, expected, variance = np.zeros((3, kit.space.size or 0))
    curriculum, n = kit.driven(12, world=world), 0
    kit.world.drawn(curriculum, 64)  # what is settled by a first draw
    while n < DRAWS:
        p = _law(curriculum)
        ids = kit.world.drawn(curriculum, _CHUNK).ids
        if not alike(p, _law(curriculum)):
            _check_one_by_one(kit, world, what)
            return
        n += _CHUNK
        counts += np.bincount(ids, minlength=len(counts))
        expected, variance = expected + _CHUNK * p, variance + _CHUNK * p * (1 - p)
    _hold(counts, expected, variance, what)


def _check_one_by_one(kit: Kit, world: World, what: str) -> None:
    """Each draw against that draw's probabilities: the difference is a martingale for any sampler."""
    curriculum = kit.driven(12, world=world)
    counts, expected, variance = np.zeros((3, kit.space.size or 0))
    for _ in range(IN_A_ROW):
        p = _law(curriculum)
        counts[kit.world.drawn(curriculum, 1).ids[0]] += 1
        expected += p
        variance += p * (1 - p)
    _hold(counts, expected, variance, what)


def _law(curriculum: Any) -> np.ndarray[Any, Any]:
    return np.array(curriculum.probabilities(), np.float64)


def _hold(counts: Any, expected: Any, variance: Any, what: str) -> None:
    far = abs(counts - expected) - 4 * np.sqrt(variance) - 16 / 3  # the last for rare θ (Freedman's inequality)
    if (far > 0).any():
        i = int(np.argmax(far))
        fail(
            f"θ {i} was drawn {counts[i]:.0f} times in {counts.sum():,.0f} draws after {what} numbers, where "
            f"probabilities() add up to {expected[i]:.1f} ± {np.sqrt(variance[i]):.1f}: they must be the exact law of "
            "the next draw"
        )


def check_draws_in_a_row(kit: Kit) -> None:
    """Where a draw changes the law (staleness), the draws of one call must see each other."""
    curriculum = kit.driven(12)
    before, state = _law(curriculum), curriculum.state_dict()
    singles = [kit.world.drawn(curriculum, 1).points[0].tolist() for _ in range(8)]
    if np.allclose(before, curriculum.probabilities(), rtol=0, atol=1e-12):
        return
    curriculum.load_state_dict(state)
    together = kit.world.drawn(curriculum, 8).points.tolist()
    if together != singles:
        fail(
            f"sample(8) gave {together}, eight times sample(1) gives {singles}: a draw changes the probabilities, "
            "so the next one in the same call must already see it"
        )
