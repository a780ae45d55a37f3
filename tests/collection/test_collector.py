"""The collector's records against a run of the environments by hand, its episodes, and rebuilding them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from numpy.typing import NDArray

from tests.helpers import dummies
from tests.helpers.families import family_of
from waker.collection.collector import Collector
from waker.collection.episode import EnvironmentFailed, Episode
from waker.collection.make_env import MakeEnv
from waker.collection.slot import Slot
from waker.collection.spec_of import spec_of
from waker.curriculum import Curriculum, CurriculumConfig, make_curriculum
from waker.errors import UserError
from waker.replay.ring import Replay, record_fields
from waker.seeding import Streams
from waker.storage.checkpoint import pack, unpack
from waker_envs.api import FiniteThetaSpace, Parameter, ParametricEnv, Transition
from waker_envs.testing import HardTheta


class Cards(ParametricEnv):
    """Draws cards: categorical and vector keys, discrete actions, both kinds of ends, completion."""

    tasks = ("high", "low")

    def __init__(self) -> None:
        super().__init__()
        self.theta_space = FiniteThetaSpace([Parameter("deck", "cards"), Parameter("luck", "shift")], [[3, 0], [6, 1]])
        self.observation_space = spaces.Dict(
            {"card": spaces.Discrete(9), "pair": spaces.MultiDiscrete([9, 4]), "sum": spaces.Box(-99, 99, (1,))}
        )
        self.action_space = spaces.Discrete(3)

    def begin(self, theta: NDArray[np.float64]) -> Any:
        self.deck, self.t, self.total = int(theta[0]), 0, 0.0
        return self.look(0)

    def look(self, action: int) -> dict[str, Any]:
        card = int(self.np_random.integers(self.deck))
        self.total += card
        return {"card": card, "pair": np.array([card, action]), "sum": np.array([self.total])}

    def advance(self, action: Any) -> Transition:
        self.t += 1
        seen = self.look(int(action) + 1)
        rewards = [seen["card"] / 8, 1 - seen["card"] / 8]
        return Transition(seen, rewards, seen["card"] == 2, self.t >= 6, {"completion": self.t / 6})


class Fixed:
    """A player that plays actions from a list, and checks what it is shown."""

    names = ("only",)

    def __init__(self) -> None:
        self.seen: list[tuple[dict[str, NDArray[Any]], NDArray[np.bool_]]] = []
        self.rng = np.random.default_rng(3)

    def initial(self, n: int) -> dict[str, torch.Tensor]:
        return {"count": torch.zeros(n)}

    def act(self, observation: Mapping[str, Any], is_first: Any, state: Any, member: Any, deterministic: bool) -> Any:
        assert not deterministic
        assert (member == 0).all()
        self.seen.append(({k: v.copy() for k, v in observation.items()}, is_first.copy()))
        actions = np.eye(3, dtype=np.float32)[self.rng.integers(3, size=len(is_first))]
        return actions, {"count": torch.where(torch.from_numpy(is_first), 0.0, state["count"]) + 1}


def make(
    factory: MakeEnv = Cards, envs: int = 3, seed: int = 5
) -> tuple[Collector, Replay, list[dict[str, Any]], Streams, Curriculum]:
    family, streams = family_of(factory), Streams.from_seed(seed)
    rows: list[dict[str, Any]] = []
    curriculum = make_curriculum("dr", family.space, CurriculumConfig(), streams.curriculum, 1)
    replay = Replay(record_fields(family.spec), envs, 200 * envs)
    collector = Collector(family, curriculum, replay, envs, streams, rows.append)
    return collector, replay, rows, streams, curriculum


def tick(collector: Collector, n: int) -> None:
    for _ in range(n):
        collector.tick(None)


def test_records_are_the_episodes_played_by_hand() -> None:
    collector, replay, rows, _, _ = make()
    player = Fixed()
    for _ in range(40):
        collector.tick(player)
    data = replay.read(0, 40)
    space = Cards().theta_space
    assert isinstance(space, FiniteThetaSpace)
    seen = 0
    for slot in range(3):
        mine = iter([r for r in rows if r["slot"] == slot])
        starts = np.flatnonzero(data["is_first"][slot])
        assert starts[0] == 0
        for start, stop in zip(starts, [*starts[1:], 40], strict=True):
            if not data["is_last"][slot, stop - 1]:
                continue
            row = next(mine)
            seen += 1
            env = Cards()
            observation, _ = env.reset(seed=row["episode_seed"], options={"theta": space.points[row["theta_id"]]})
            assert (data["action"][slot, start] == 0).all()
            assert (data["task_rewards"][slot, start] == 0).all()
            total = np.zeros(2)
            completion = np.nan
            for t in range(start, stop):
                terminated = truncated = False
                if t > start:
                    observation, _, terminated, truncated, info = env.step(int(data["action"][slot, t].argmax()))
                    assert data["action"][slot, t].sum() == 1
                    assert np.array_equal(data["task_rewards"][slot, t], info["task_rewards"])
                    total += info["task_rewards"]
                    completion = info["completion"]
                assert data["card"][slot, t, 0] == observation["card"]
                assert np.array_equal(data["pair"][slot, t], observation["pair"])
                assert np.array_equal(data["sum"][slot, t], observation["sum"].astype(np.float32))
                assert data["theta_id"][slot, t] == row["theta_id"]
                assert data["is_last"][slot, t] == (terminated or truncated)
                assert data["is_terminal"][slot, t] == terminated
            assert row["length"] == stop - start - 1
            assert row["return_high"] == pytest.approx(total[0], abs=1e-12)
            assert row["return_low"] == pytest.approx(total[1], abs=1e-12)
            assert row["completion_high"] == row["completion_low"] == completion
            assert (row["theta_deck"], row["theta_luck"]) == tuple(space.points[row["theta_id"]])
    assert seen == len(rows) > 10
    assert collector.step == 3 * 40 - data["is_first"].sum()
    assert data["is_terminal"].any()
    assert (data["is_last"] & ~data["is_terminal"]).any()


def test_the_player_sees_the_newest_records() -> None:
    collector, replay, _, _, _ = make()
    player = Fixed()
    for _ in range(20):
        collector.tick(player)
    data = replay.read(0, 20)
    # Never asked before the first reset; from then on once a tick unless all slots had ended.
    shown = [t for t in range(19) if not data["is_last"][:, t].all()]
    assert len(player.seen) == len(shown)
    for (observation, is_first), t in zip(player.seen, shown, strict=True):
        assert np.array_equal(observation["sum"], data["sum"][:, t])
        assert np.array_equal(is_first, data["is_first"][:, t])


def test_a_player_taking_over_mid_episode_starts_from_its_initial_state() -> None:
    collector, _, _, _, _ = make()
    for _ in range(3):
        collector.tick(None)
    player = Fixed()
    collector.tick(player)
    assert player.seen[0][1].all()
    collector.tick(player)
    assert not player.seen[1][1].all()


def test_the_curriculum_hears_of_every_episode(monkeypatch: pytest.MonkeyPatch) -> None:
    collector, _, rows, _, curriculum = make()
    heard: list[tuple[Any, int, dict[str, float]]] = []
    monkeypatch.setattr(curriculum, "episode_done", lambda *a: heard.append(a))
    for _ in range(30):
        collector.tick(None)
    assert [h[1] for h in heard] == [r["theta_id"] for r in rows]
    for (theta, _, stats), row in zip(heard, rows, strict=True):
        assert tuple(theta) == (row["theta_deck"], row["theta_luck"])
        assert stats["length"] == row["length"]
        assert stats["return_high"] == row["return_high"]
        assert stats["completion_high"] == row["completion_high"]


@pytest.mark.parametrize("cut", [1, 2, 9, 17])
@pytest.mark.parametrize("factory", [Cards, HardTheta])
def test_a_rebuilt_collector_continues_identically(cut: int, factory: MakeEnv) -> None:
    def player() -> Any:
        return Fixed() if factory is Cards else dummies.DummyPlayer(dummies.DummyAgent(spec_of(HardTheta())))

    torch.manual_seed(0)
    collector, replay, rows, streams, curriculum = make(factory)
    acting = player()
    for _ in range(cut):
        collector.tick(acting)
    state = unpack(pack({"c": collector.state_dict(), "s": streams.state_dict(), "u": curriculum.state_dict()}))
    torch_state = torch.get_rng_state()
    drawn = acting.rng.bit_generator.state if isinstance(acting, Fixed) else None
    rows.clear()
    for _ in range(30):
        collector.tick(acting)
    again, replay_again, rows_again, streams_again, curriculum_again = make(factory, seed=99)
    notes: list[str] = []
    if drawn is not None:
        acting.rng.bit_generator.state = drawn
    again.load_state_dict(state["c"], acting, notes.append)
    streams_again.load_state_dict(state["s"])
    curriculum_again.load_state_dict(state["u"])
    torch.set_rng_state(torch_state)
    for _ in range(30):
        again.tick(acting)
    assert notes == []
    assert repr(rows_again) == repr(rows)  # repr: completion may be NaN
    a, b = replay.read(cut, cut + 30), replay_again.read(0, 30)
    for name in a:
        assert np.array_equal(a[name], b[name]), name


def test_a_state_that_was_loaded_is_saved_as_it_was() -> None:
    collector, *_ = make(Cards)
    acting, ended, notes = Fixed(), 0, list[str]()
    for _ in range(20):
        collector.tick(acting)
        state = unpack(pack(collector.state_dict()))
        ended += int(state["record"]["is_last"].sum())
        again, *_ = make(Cards, seed=99)
        again.load_state_dict(state, acting, notes.append)
        # Of numpy's arrays and torch's tensors alike, value by value.
        assert repr(pack(again.state_dict())) == repr(pack(collector.state_dict()))
    assert ended > 0
    assert notes == []


def test_an_episode_that_does_not_repeat_is_told_and_begun_anew() -> None:
    class Restless(HardTheta):
        offset = 0.0

        def _observation(self) -> NDArray[np.float32]:
            return super()._observation() + np.float32(self.offset)

    collector, _, _, _, _ = make(Restless)
    for _ in range(5):
        collector.tick(None)
    state = collector.state_dict()
    Restless.offset = 0.5
    again, replay, _, _, _ = make(Restless)
    notes: list[str] = []
    again.load_state_dict(state, Fixed(), notes.append)
    assert len(notes) == 3
    assert "did not repeat its episode (seed" in notes[0]
    again.tick(None)
    assert replay.read(0, 1)["is_first"].all()


BROKEN: list[tuple[dict[str, Any], str]] = [
    ({"card": 9}, r"observation 'card'\[0\] is 9, of 9 classes"),
    ({"card": -1}, r"observation 'card'\[0\] is -1"),
    ({"card": 1.0}, "observation 'card' has dtype float64, and categorical observations cannot"),
    ({"pair": np.array([1, 4])}, r"observation 'pair'\[1\] is 4, of 4 classes"),
    ({"pair": np.array([1])}, r"observation 'pair' has shape \(1,\) instead of \(2,\)"),
    ({"sum": np.array([np.inf])}, "observation 'sum' is not finite"),
    ({"sum": np.array(["a"])}, "observation 'sum' has dtype"),
]


@pytest.mark.parametrize(("change", "message"), BROKEN)
def test_broken_observations_are_named(change: dict[str, Any], message: str) -> None:
    class Broken(Cards):
        def look(self, action: int) -> dict[str, Any]:
            return {**super().look(action), **(change if self.t == 1 else {})}

    collector, replay, _, _, _ = make(Broken)
    collector.tick(None)
    with pytest.raises(EnvironmentFailed, match=message):
        collector.tick(None)
    assert replay.ticks == 1


def test_missing_keys_and_rewards_are_named() -> None:
    class NoCard(Cards):
        def look(self, action: int) -> dict[str, Any]:
            return {k: v for k, v in super().look(action).items() if k != "card"}

    class NoRewards(Cards):
        def step(self, action: Any) -> Any:
            *others, _ = super().step(action)
            return *others, {}

    class OneReward(Cards):
        def step(self, action: Any) -> Any:
            observation, reward, terminated, truncated, info = super().step(action)
            return observation, reward, terminated, truncated, {**info, "task_rewards": np.zeros(1)}

    for factory, message in (
        (NoCard, "at reset of an episode: the observation has no 'card', only pair, sum"),
        (NoRewards, "at step 1 of an episode: info has no 'task_rewards'"),
        (OneReward, r"info\['task_rewards'\] has shape \(1,\) instead of \(2,\)"),
    ):
        collector, _, _, _, _ = make(factory)
        with pytest.raises(EnvironmentFailed, match=message):
            tick(collector, 2)


def test_after_a_failure_every_slot_begins_anew() -> None:
    class Once(Cards):
        broken = True

        def advance(self, action: Any) -> Transition:
            if Once.broken and self.t == 2:
                raise RuntimeError("broken\nwire")
            return super().advance(action)

    collector, replay, _, _, _ = make(Once)
    with pytest.raises(EnvironmentFailed, match="RuntimeError: broken wire; reproduce"):
        tick(collector, 9)
    Once.broken = False
    ticks = replay.ticks
    collector.abandon()
    collector.tick(None)
    assert replay.read(ticks, ticks + 1)["is_first"].all()


def test_actions_of_a_failure_are_those_the_environment_got() -> None:
    slot = Slot(Cards(), spec_of(Cards()))
    slot.reset(Episode(np.array([3.0, 0.0]), 0, 1))
    slot.env.step = lambda action: 1 / 0  # type: ignore[method-assign, assignment, return-value]
    with pytest.raises(EnvironmentFailed) as caught:
        slot.step(np.array([0, 0, 1], np.float32))
    assert caught.value.report["actions"] == [2]
    assert caught.value.report["theta"] == [3.0, 0.0]
    assert isinstance(caught.value, UserError)
