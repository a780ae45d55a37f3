"""Which episodes an evaluation plays: domain randomisation and every suite of a family, fixed by one seed.

Called by the modules of this room that measure. The plan depends on the family and the seed alone, so every policy,
task and run that is evaluated with the same seed meets the same (θ, episode seed) pairs: differences between them are
not differences of luck.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from waker.collection.episode import Episode
from waker.collection.family import Family
from waker.config.schema import EvalConfig
from waker.names import DR_SUITE, suite_name
from waker.seeding import stream
from waker_envs.api import FiniteThetaSpace, ThetaSpace
from waker_envs.foreign import Failed

MOST_THETA = 200
"""θ measured one by one at most (evenly spaced in a larger space; equally many of each domain)."""
FEWEST = 2
"""Episodes of a θ in which plans are valued at least: a worst θ is bracketed by halves."""


def systematic(weights: NDArray[np.float64], n: int, offset: float) -> NDArray[np.int64]:
    """n indices (n,) spread by ``weights`` (M,): index i appears ⌊n·w_i⌋ or ⌈n·w_i⌉ times (systematic sampling).

    Args:
        weights: not negative, summing to 1.
        n: how many to draw.
        offset: in [0, 1); with a uniform one, index i is drawn n·w_i times in expectation.
    """
    edges = np.cumsum(weights)
    positions = (offset + np.arange(n)) / n * edges[-1]
    return np.minimum(np.searchsorted(edges, positions, side="right"), int(np.flatnonzero(weights)[-1]))


def episode_seeds(rng: np.random.Generator, n: int) -> list[int]:
    """n episode seeds below 2³¹."""
    return [int(s) for s in rng.integers(2**31, size=n)]


def dr_thetas(space: ThetaSpace, n: int, rng: np.random.Generator, group: int | None = None) -> NDArray[np.float64]:
    """n θ of the DR distribution, (n, D): spread evenly by weight over a finite space, drawn from a continuous one.

    ``group`` restricts it to one domain of a finite space that has several.
    """
    if isinstance(space, FiniteThetaSpace):
        weights = space.weights if group is None else np.where(space.groups == group, space.weights, 0.0)
        return space.points[systematic(weights / weights.sum(), n, float(rng.uniform()))]
    return space.sample(rng, n)


def evenly_spaced_ids(space: FiniteThetaSpace, most: int) -> NDArray[np.int64]:
    """Ids of at most ``most`` θ, evenly spaced over a space, or over each of its domains for an equal share."""
    domains = [np.arange(space.size)]
    if space.groups is not None:
        domains = [np.flatnonzero(space.groups == group) for group in range(len(space.group_names))]
    most = max(1, most // len(domains))
    places = [np.linspace(0, len(ids) - 1, min(len(ids), most)).round().astype(int) for ids in domains]
    return np.concatenate([ids[np.unique(at)] for ids, at in zip(domains, places, strict=True)])


def plan_episodes(family: Family, config: EvalConfig, seed: int, group: int | None = None) -> list[Episode]:
    """All episodes of an evaluation: the DR suite, then every suite of the family.

    Args:
        family: its θ space, with its suites.
        config: ``episodes`` of the DR suite and ``suite_episodes`` of each other one.
        seed: fixes θ and episode seeds.
        group: only this domain of a space that has several: DR restricted to it, and its own suites.
    """
    rng = stream(seed, DR_SUITE)
    thetas = dr_thetas(family.space, config.episodes, rng, group)
    seeds = episode_seeds(rng, config.episodes)
    plan = [family.episode(t, s, DR_SUITE) for t, s in zip(thetas, seeds, strict=True)]
    for name, suite in family.space.suites.items():
        if group is not None and suite.group != group:
            continue
        n, name = config.suite_episodes, suite_name(name)
        rng = stream(seed, name)
        points = suite.thetas
        if not len(points):
            warnings.warn(f"suite {name!r} is left out: it has no θ", Failed, stacklevel=2)
            continue
        chosen = points[systematic(np.full(len(points), 1 / len(points)), n, float(rng.uniform()))]
        seeds = episode_seeds(rng, n)
        plan += [family.episode(t, s, name, suite.env_kwargs) for t, s in zip(chosen, seeds, strict=True)]
    return plan


def planned_episodes(family: Family, config: EvalConfig, seed: int) -> list[Episode]:
    """The episodes in which plans are valued: of each suite the first that policies play, as many of each θ.

    Each θ of a finite space (at most :data:`MOST_THETA`, as many of each domain) has :data:`FEWEST` of DR in any case.
    Further ones follow where more are asked for than are played, or a θ is played less often.

    Args:
        family: its θ space, with its suites.
        config: ``planned_episodes`` of each suite; 0 = none.
        seed: as of :func:`plan_episodes`.
    """
    most, space = config.planned_episodes, family.space
    if not most:
        return []
    by_suite: dict[str, list[Episode]] = {}
    for episode in plan_episodes(family, config, seed):
        by_suite.setdefault(episode.suite, []).append(episode)
    needed: dict[int, NDArray[np.float64]] = {}
    if isinstance(space, FiniteThetaSpace):
        needed = {i: space.points[i] for i in evenly_spaced_ids(space, MOST_THETA).tolist() if space.weights[i] > 0}
    played = by_suite.pop(DR_SUITE, [])
    dr = _evenly(played, most, needed)
    rng = stream(seed, f"planned {DR_SUITE}")
    further = [*dr_thetas(space, most - len(played), rng)] if most > len(played) else []
    met = Counter([*(episode.theta_id for episode in dr), *map(space.index, further)])
    further += [theta for i, theta in needed.items() for _ in range(FEWEST - met[i])]
    seeds = episode_seeds(rng, len(further))
    dr += [family.episode(theta, s, DR_SUITE) for theta, s in zip(further, seeds, strict=True)]
    return [*dr, *(episode for episodes in by_suite.values() for episode in _evenly(episodes, most))]


def _evenly(episodes: Sequence[Episode], most: int, needed: Collection[int] = ()) -> list[Episode]:
    """At most ``most``, in their order: the first of each θ, then the second of each …; all the first of those needed.

    Args:
        episodes: of one suite.
        needed: ids of θ of which :data:`FEWEST` are kept in any case.
    """
    met: Counter[bytes] = Counter()
    ranks = []
    for episode in episodes:
        ranks.append(met[episode.theta.tobytes()])
        met[episode.theta.tobytes()] += 1
    first = set(np.argsort(ranks, kind="stable")[:most].tolist())
    return [
        episode
        for at, (episode, rank) in enumerate(zip(episodes, ranks, strict=True))
        if at in first or (rank < FEWEST and episode.theta_id in needed)
    ]
