"""Which records enter the replay, and that each trained episode is there whole, once, and in one piece."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from waker.collection.episode import Episode
from waker.collection.replay_gate import ReplayGate
from waker.curriculum.evidence import EpisodeKind
from waker.replay.ring import Replay

FIELDS: dict[str, Any] = {"episode": ((), np.int32), "t": ((), np.int32), "is_first": ((), np.bool_)}


class Slots:
    """Environments whose episodes have random lengths; episode 100·slot + n of a slot."""

    def __init__(self, gate: ReplayGate, seed: int = 0) -> None:
        self.gate, self.rng = gate, np.random.default_rng(seed)
        n = gate.replay.slots
        self.t, self.length, self.number = np.full(n, -1), np.zeros(n, int), 1000 * np.arange(n)
        self.played: dict[int, tuple[EpisodeKind, int]] = {}

    def tick(self, kinds: Any = None) -> None:
        begun = np.flatnonzero(self.t + 1 >= self.length).tolist()
        chosen = self.gate.choose(begun, None) if kinds is None else [kinds(self.rng) for _ in begun]
        for i, kind in zip(begun, chosen, strict=True):
            self.t[i], self.length[i] = -1, self.rng.integers(3, 9)
            self.number[i] += 1
            self.played[int(self.number[i])] = kind, int(self.length[i])
        self.t += 1
        self.gate.begin(dict(zip(begun, chosen, strict=True)))
        first = self.t == 0
        self.gate.add({"episode": self.number.copy(), "t": self.t.copy(), "is_first": first})


def some_aside(rng: np.random.Generator) -> EpisodeKind:
    return ("trained", "staged", "heldout")[int(rng.choice(3, p=[0.5, 0.4, 0.1]))]  # type: ignore[return-value]


def held(replay: Replay) -> dict[int, list[int]]:
    """Of each episode in the replay, its t in the order in which they lie; in one lane, and without a gap."""
    found: dict[int, list[int]] = {}
    records = replay.read(replay.first, replay.ticks)
    for lane in range(replay.slots):
        last = None
        for number, t in zip(records["episode"][lane].tolist(), records["t"][lane].tolist(), strict=True):
            assert (number not in found) if number != last else True, "an episode comes back"
            found.setdefault(number, []).append(t)
            last = number
    return found


@pytest.mark.parametrize("slots", [1, 2, 5])
def test_the_replay_holds_every_trained_episode_whole_and_nothing_else(slots: int) -> None:
    replay = Replay(FIELDS, slots, slots * 5000)
    world = Slots(ReplayGate(replay, np.random.default_rng(1)))
    for _ in range(600):
        world.tick(some_aside)
    found = held(replay)
    assert {world.played[number][0] for number in found} == {"trained"}
    for steps in found.values():
        assert steps == list(range(len(steps)))
    trained = [n for n, (kind, _) in world.played.items() if kind == "trained"]
    whole = [n for n in trained if len(found.get(n, ())) == world.played[n][1]]
    assert len(whole) > 0.9 * len(trained)  # what is missing waits
    waiting = sum(map(len, world.gate._waiting))
    assert sum(map(len, found.values())) + waiting == sum(world.played[n][1] for n in trained) - sum(
        world.length[i] - 1 - world.t[i] for i in range(slots) if world.gate.kinds[i] == "trained"
    )
    assert waiting <= 3 * 9 * slots  # a lane is never ahead by much


def test_without_episodes_aside_every_slot_has_its_own_lane_and_nothing_waits() -> None:
    one, two = (Replay(FIELDS, 3, 900) for _ in range(2))
    world = Slots(ReplayGate(one, np.random.default_rng(1), heldout=0.0))
    for _ in range(100):
        world.tick()
        two.add({"episode": world.number, "t": world.t, "is_first": world.t == 0})
        assert one.ticks == two.ticks
    for name in FIELDS:
        np.testing.assert_array_equal(one.arrays[name], two.arrays[name])


def test_steps_are_counted_by_kind_and_resets_are_none() -> None:
    gate = ReplayGate(Replay(FIELDS, 2, 100), np.random.default_rng(0))
    flag = np.array([True, True])
    gate.begin({0: "staged", 1: "trained"})
    for first in (flag, ~flag, ~flag):
        gate.add({"episode": np.array([1, 2]), "t": np.array([0, 0]), "is_first": first})
    assert gate.steps == {"trained": 2, "staged": 2, "heldout": 0}
    assert gate.aside == 2
    assert gate.replay.ticks == 0  # lane 0 has nothing yet


def test_held_out_episodes_are_that_share_and_none_before_it_is_ready() -> None:
    ready = False
    gate = ReplayGate(Replay(FIELDS, 2, 100), np.random.default_rng(0), heldout=0.25, ready=lambda: ready)
    staged = np.zeros(4000, bool)
    staged[:1000] = True
    assert set(gate.choose([0] * 4000, staged)) == {"trained"}
    ready = True
    kinds = gate.choose([0] * 4000, staged)
    assert kinds[:1000] == ["staged"] * 1000
    share = kinds[1000:].count("heldout") / 3000
    assert abs(share - 0.25) < 4 * np.sqrt(0.25 * 0.75 / 3000)
    assert kinds.count("staged") == 1000


def test_held_out_episodes_cover_rare_theta_at_the_same_share() -> None:
    """One θ has nine tenths of the episodes: an even chance would give it nine tenths of those held out, too."""
    stored = np.zeros(10, int)
    gate = ReplayGate(
        Replay(FIELDS, 2, 100), np.random.default_rng(0), heldout=0.05, stored=lambda i: min(4, int(stored[i]))
    )
    rng, held = np.random.default_rng(1), 0
    for n in range(1, 4001):
        theta_id = 0 if rng.random() < 0.9 else int(rng.integers(1, 10))
        (kind,) = gate.choose([theta_id], None)
        stored[theta_id] += kind == "heldout"
        held += kind == "heldout"
        assert abs(held - 0.05 * n) < 3
        if n == 500:
            assert (stored[1:] > 0).sum() >= 7 and stored[0] <= 0.6 * held
    assert stored[0] > held / 2  # when each has as many as are kept, all episodes are alike again


def test_a_saved_gate_goes_on_in_the_middle_of_episodes() -> None:
    def fresh() -> Slots:
        return Slots(ReplayGate(Replay(FIELDS, 3, 3000), np.random.default_rng(1), heldout=0.3))

    whole, cut = fresh(), fresh()
    for _ in range(57):
        whole.tick()
        cut.tick()
    state = cut.gate.state_dict()
    assert any(len(lane) for lane in cut.gate._waiting)
    trails = [list(trail) for trail in cut.gate._trails]
    again = ReplayGate(cut.gate.replay, np.random.default_rng(9), heldout=0.3)
    again.load_state_dict(state)
    for slot, trail in enumerate(trails):
        for record in trail:
            again.again(slot, record)
    cut.gate = again
    for _ in range(200):
        whole.tick()
        cut.tick()
    assert whole.gate.replay.ticks == again.replay.ticks
    for name in FIELDS:
        np.testing.assert_array_equal(whole.gate.replay.arrays[name], again.replay.arrays[name])
    one, two = (i.finished(1, Episode(np.zeros(1), 0, 0), np.zeros(1)) for i in (whole.gate, again))
    assert one.kind == two.kind
    np.testing.assert_array_equal(one.records["t"], two.records["t"])
    np.testing.assert_array_equal(one.records["t"], np.arange(len(one.records["t"])))
