"""Where the records of every slot go: into the replay, or aside; and whole episodes to whoever reads them.

Used by :class:`waker.collection.collector.Collector` where the curriculum reads records of episodes or keeps some out
of training (:class:`waker.curriculum.api.Staging`, ``Needs.heldout``); all other runs do without.

The replay adds one record to each of its slots at a time. An environment whose episode is kept aside has nothing to
add. So trained episodes are dealt to *lanes*, queues of records, one for each slot of the replay. An episode takes the
free lane with the fewest records waiting, its environment's own among equals, and keeps it to its end. As soon as every
lane has a record the replay takes one of each. Lanes that are ahead wait: data may reach the replay up to about an
episode late. What still waits when a run ends never reaches it. Where no episode is kept aside every environment has
its own lane, and nothing waits.

Which episodes are held out is chance, but not blind: θ with fewer stored ones come first (:meth:`ReplayGate.choose`).
A curriculum that draws some θ more often would else be told of those alone, and draw them more often still.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from waker.collection.episode import Episode
from waker.curriculum.evidence import EpisodeKind
from waker.replay.ring import Replay

Record = Mapping[str, NDArray[Any]]
"""One record: name → value; or many, with a leading dimension."""
_NEWEST = 0.02
"""Weight of the newest episode in the usual wish for a held-out one."""


@dataclass(frozen=True)
class Finished:
    """An episode that has just ended.

    Attributes:
        episode: θ, its id and the seed.
        kind: whether it was trained on.
        records: its T + 1 records as in the replay, name → (T + 1, …), the reset's first.
        completion: how far each task is done, (K,), NaN where the environment reports none.
    """

    episode: Episode
    kind: EpisodeKind
    records: dict[str, NDArray[Any]]
    completion: NDArray[np.float64]


class ReplayGate:
    """Takes one record of every slot at each tick.

    Args:
        replay: receives those of trained episodes.
        rng: chooses held-out episodes; its state is saved here.
        heldout: share of the episodes that are not staged which is kept out of training.
        ready: whether anything may be kept aside yet: not before the first update, which needs all data there is.
        whole: keep the records of episodes under way, for :meth:`finished`.
        stored: how many held-out episodes of a θ there are, by its id.

    Attributes:
        kinds: of each slot's episode.
        steps: agent steps made in episodes of each kind.
    """

    def __init__(
        self,
        replay: Replay,
        rng: np.random.Generator,
        heldout: float = 0.0,
        ready: Callable[[], bool] = lambda: True,
        whole: bool = True,
        stored: Callable[[int], int] = lambda theta_id: 0,
    ) -> None:
        self.replay, self._rng, self._heldout, self._ready, self.whole = replay, rng, heldout, ready, whole
        self._stored = stored
        self._owed, self._usual = 0.0, 1.0  # held-out episodes that the share asks for; the usual wish for one
        slots = replay.slots
        self.kinds: list[EpisodeKind] = ["trained"] * slots
        self.steps: dict[EpisodeKind, int] = {"trained": 0, "staged": 0, "heldout": 0}
        self._lane_of = np.arange(slots)  # of each slot; −1: aside
        self._waiting: list[deque[Record]] = [deque() for _ in range(slots)]  # of each lane
        self._trails: list[list[Record]] = [[] for _ in range(slots)]  # of each slot's episode

    def choose(self, theta_ids: Sequence[int], staged: NDArray[np.bool_] | None) -> list[EpisodeKind]:
        """The kinds of the next n episodes.

        The wish to hold out an episode of a θ of which k are stored is 1/(1 + k)². It is held out with probability
        wish · owed / (the usual wish of episodes), where ``owed`` grows by the share with each episode and falls by 1
        with each that is held out. So the share of all episodes is as asked for, and the rare ones are in it.

        Args:
            theta_ids: of the n episodes; of ids below 0 no episodes are counted.
            staged: (n,), what the curriculum says; None = it stages none.
        """
        if not self._ready():
            return ["trained"] * len(theta_ids)
        if staged is None:
            staged = np.zeros(len(theta_ids), np.bool_)
        return ["staged" if aside else self._held(i) for i, aside in zip(theta_ids, staged, strict=True)]

    def _held(self, theta_id: int) -> EpisodeKind:
        """Whether an episode is held out."""
        if self._heldout == 0:
            return "trained"
        wish = 1.0 / (1 + (self._stored(theta_id) if theta_id >= 0 else 0)) ** 2
        self._usual += _NEWEST * (wish - self._usual)
        self._owed += self._heldout
        if self._rng.random() >= wish * self._owed / self._usual:
            return "trained"
        self._owed -= 1.0
        return "heldout"

    def begin(self, kinds: Mapping[int, EpisodeKind]) -> None:
        """Episodes of these kinds begin, by slot; whatever was under way there is over."""
        for i, kind in kinds.items():
            self.kinds[i], self._lane_of[i], self._trails[i] = kind, -1, []
        for i, kind in kinds.items():
            if kind == "trained":
                self._lane_of[i] = self._free_lane(i)

    def _free_lane(self, slot: int) -> int:
        free = [lane for lane in range(len(self._waiting)) if lane not in self._lane_of]
        fewest = min(len(self._waiting[lane]) for lane in free)
        best = [lane for lane in free if len(self._waiting[lane]) == fewest]
        return slot if slot in best else best[0]

    def add(self, records: Record) -> None:
        """Take the newest record of every slot, name → (slots, …)."""
        for i, kind in enumerate(self.kinds):
            record = {name: array[i].copy() for name, array in records.items()}
            if self.whole:
                self._trails[i].append(record)
            self.steps[kind] += not record["is_first"]
            if kind == "trained":
                self._waiting[self._lane_of[i]].append(record)
        while all(self._waiting):
            row = [lane.popleft() for lane in self._waiting]
            self.replay.add(_stacked(row))

    def finished(self, slot: int, episode: Episode, completion: NDArray[np.float64]) -> Finished:
        """The episode that has just ended in a slot, where records are kept."""
        return Finished(episode, self.kinds[slot], _stacked(self._trails[slot]), completion)

    def again(self, slot: int, record: Record) -> None:
        """A record of an episode under way is made again after a resume: it is where it belongs already."""
        if self.whole:
            self._trails[slot].append({name: np.array(value) for name, value in record.items()})

    @property
    def aside(self) -> int:
        """Agent steps that are not trained on."""
        return self.steps["staged"] + self.steps["heldout"]

    def state_dict(self) -> dict[str, Any]:
        """Kinds, lanes and what waits; records of episodes under way are made again (:meth:`again`)."""
        return {
            "kinds": list(self.kinds),
            "steps": dict(self.steps),
            "lane_of": self._lane_of.copy(),
            "waiting": [_stacked(lane) if lane else {} for lane in self._waiting],
            "owed": self._owed,
            "usual": self._usual,
            "rng": self._rng.bit_generator.state,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore it."""
        self.kinds, self.steps = list(state["kinds"]), dict(state["steps"])
        self._lane_of = np.array(state["lane_of"])
        self._waiting = [deque(_rows(lane)) for lane in state["waiting"]]
        self._trails = [[] for _ in self.kinds]
        self._owed, self._usual = float(state.get("owed", 0.0)), float(state.get("usual", 1.0))
        self._rng.bit_generator.state = state["rng"]


def _stacked(rows: Sequence[Record] | deque[Record]) -> dict[str, NDArray[Any]]:
    """Records one after the other, name → (n, …)."""
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def _rows(records: Record) -> list[Record]:
    """:func:`_stacked` undone."""
    count = len(next(iter(records.values()))) if records else 0
    return [{name: np.asarray(array[i]) for name, array in records.items()} for i in range(count)]
