"""Who acts in the held-out trajectories that the world model is measured on, the same for all runs of a comparison.

Where a uniform random agent goes is not where policies go. So a measurement takes a fixed mixture: random actions, and
the explorer and the task policies of one *reference run*, never those of the run that is measured (each would choose
its own examination). Episodes, actions and their chance depend on the family, the settings and the reference alone.
Called by :mod:`waker.evaluation.model_error`; :mod:`waker.training.reference` makes the sources of a reference run,
tables and reports read the rows with :mod:`waker.analysis.source_means`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from waker.analysis.source_means import RANDOM
from waker.behaviour.player import RandomPlayer
from waker.collection.episode import Episode
from waker.collection.family import Family
from waker.protocols import Player
from waker.seeding import stream


@dataclass(frozen=True)
class Source:
    """One part of the mixture.

    Attributes:
        name: the rows' ``source``: ``random``, ``explorer`` or ``tasks``.
        player: who acts; None = uniform random actions.
        members: of the player, which take a θ's episodes in turn.
        domains: of each member, the domain that its task exists in (None = all); () = all exist everywhere.
        about: where it is from: a reference run and its checkpoint.
    """

    name: str
    player: Player | None = None
    members: tuple[int, ...] = (0,)
    domains: tuple[int | None, ...] = ()
    about: str = "uniform random actions"

    def actor(self, family: Family, seed: int) -> Player:
        """The player, at its beginning."""
        return self.player or RandomPlayer(family.spec.action, stream(seed, self.purpose("held-out actions")))

    def purpose(self, of: str) -> str:
        """The name of a random stream: different sources play different episodes."""
        return of if self.name == RANDOM else f"{of}: {self.name}"

    def acting(self, episodes: Sequence[Episode], each: int, family: Family) -> NDArray[np.int64]:
        """Which member acts in each episode, (episodes,): in turn those whose task exists there.

        Args:
            episodes: ``each`` of every θ, one θ after the other.
            family: says which domain a θ belongs to.
        """
        chosen = []
        domains = self.domains or (None,) * len(self.members)
        for at, episode in enumerate(episodes):
            here = family.domain_of(episode.theta_id)
            able = [m for m, d in zip(self.members, domains, strict=True) if None in (d, here) or d == here]
            able = able or list(self.members)
            # Another one begins at the next θ: there may be fewer episodes than members.
            chosen.append(able[(at % each + at // each) % len(able)])
        return np.array(chosen, np.int64)


RANDOM_ONLY = (Source(RANDOM),)
