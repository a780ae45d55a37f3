"""What crosses from environments to the learner: copied, and of numbers that float32 holds."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pandas as pd
import pytest
from gymnasium import spaces

from tests.helpers.families import family_of
from waker.behaviour.player import RandomPlayer
from waker.collection.episode import EnvironmentFailed, Episode
from waker.collection.slot import Slot
from waker.collection.slot_group import slot_group
from waker.collection.spec_of import spec_of
from waker.config.schema import EvalConfig
from waker.errors import UserError
from waker.evaluation.rollouts import evaluate
from waker.evaluation.setup import Setup
from waker.evaluation.trajectories import collect
from waker_envs import Transition
from waker_envs.testing import HardTheta


class Nested(HardTheta):
    """:class:`HardTheta` seen through a Dict, with new arrays at every step."""

    def __init__(self, task: str | None = None, render_mode: str | None = None) -> None:
        super().__init__(task, render_mode)
        self.observation_space = spaces.Dict(
            place=spaces.Box(-1.5, 1.5, (2,), np.float32), side=spaces.MultiDiscrete(np.array([2], np.uint8))
        )

    def begin(self, theta: Any) -> Any:
        return self.see(super().begin(theta))

    def advance(self, action: Any) -> Transition:
        step = super().advance(action)
        step.observation = self.see(step.observation)
        step.task_rewards = np.array(step.task_rewards, np.float32)
        step.info = {"completion": np.abs(step.task_rewards) / 2}
        return step

    def see(self, observation: Any) -> Any:
        return {"place": observation, "side": np.array([observation[0] > 0], np.uint8)}


PLACE, SIDE = np.zeros(2, np.float32), np.zeros(1, np.uint8)
PAID, DONE, THETA = np.zeros(2, np.float32), np.zeros(2, np.float32), np.zeros(1)


class Shared(Nested):
    """The same, in arrays that all environments of the process have in common, handed out past the base class."""

    def reset(self, **kwargs: Any) -> Any:
        observation, info = super().reset(**kwargs)
        THETA[:] = info["theta"]
        return self.share(observation), info | {"theta": THETA}

    def step(self, action: Any) -> Any:
        observation, reward, terminated, truncated, info = super().step(action)
        PAID[:], DONE[:], THETA[:] = info["task_rewards"], info["completion"], info["theta"]
        shared = {"theta": THETA, "task_rewards": PAID, "completion": DONE}
        return self.share(observation), reward, terminated, truncated, shared

    @staticmethod
    def share(observation: Any) -> Any:
        PLACE[:], SIDE[:] = observation["place"], observation["side"]
        return {"place": PLACE, "side": SIDE}


SPEC = spec_of(Nested())
THETAS = [np.array([float(c)]) for c in (0, 2, 4)]


def collected(family: Any, processes: int) -> list[dict[str, Any]]:
    """Everything that three slots return in eight ticks, kept until the end."""
    slots = slot_group(family_of(family), 3, processes)
    starts = {i: Episode(theta, i, 10 + i) for i, theta in enumerate(THETAS)}
    rng = np.random.default_rng(0)
    try:
        steps = [slots.advance(starts, {})]
        for _ in range(8):
            steps.append(slots.advance({}, dict(enumerate(rng.uniform(-1, 1, (3, 1)).astype(np.float32)))))
    finally:
        slots.close()
    return [
        {**s.observation, "rewards": s.rewards, "completion": s.completion} for tick in steps for s in tick.values()
    ]


@pytest.mark.parametrize("processes", [0, 1])
def test_slots_keep_what_an_environment_overwrites(processes: int) -> None:
    for a, b in zip(collected(Nested, 0), collected(Shared, processes), strict=True):
        for key in a:
            np.testing.assert_array_equal(a[key], b[key])


def test_a_slot_keeps_its_own_theta() -> None:
    slot, theta = Slot(Nested(), SPEC), np.array([2.0])
    slot.reset(Episode(theta, 2, 0))
    theta[:] = 4
    assert slot.play.state_dict()["theta"].tolist() == [2.0]


def test_evaluations_measure_what_was_there() -> None:
    tasks, config, found = (*SPEC.tasks, "stay"), EvalConfig(episodes=5, suite_episodes=2), []
    stay = {"stay": lambda seen, done: -np.abs(seen["place"][..., 0])}
    for family in (Nested, Shared):
        player = RandomPlayer(SPEC.action, np.random.default_rng(0), names=tasks)
        rows = evaluate(Setup(family_of(family), config), player, tasks, slots=3, rewards=stay)
        found.append(pd.DataFrame(rows))
    assert found[0]["return"].nunique() > 10
    pd.testing.assert_frame_equal(*found, check_exact=True)


def test_trajectories_keep_raw_and_split_observations() -> None:
    found = []
    for family in (Nested, Shared):
        player = RandomPlayer(SPEC.action, np.random.default_rng(0))
        episodes = [Episode(theta, i, i, "dr") for i, theta in enumerate(THETAS)]
        found.append(collect(player, slot_group(family_of(family, longest=8), 3, raw=True), episodes))
    for a, b in zip(*found, strict=True):
        np.testing.assert_array_equal([o["place"] for o in a.raw], [o["place"] for o in b.raw])
        np.testing.assert_array_equal(a.observations["place"], b.observations["place"])
        np.testing.assert_array_equal(a.observations["side"], b.observations["side"])
        assert len({o["place"].tobytes() for o in b.raw}) == len(b.raw)


# Numbers that float32 does not hold ----------------------------------------------------------------------------


class Huge(HardTheta):
    """In doubles; at step 3 one number is finite there and infinite in float32."""

    def __init__(self, where: str = "observation") -> None:
        super().__init__()
        self.where = where
        self.observation_space = spaces.Dict(
            place=spaces.Box(-np.inf, np.inf, (2,), np.float64), far=spaces.Box(-np.inf, np.inf, (2, 2), np.float64)
        )

    def begin(self, theta: Any) -> Any:
        observation = super().begin(theta)
        return {"place": observation.astype(float), "far": np.full((2, 2), 1e39 if self.where == "reset" else 1.0)}

    def advance(self, action: Any) -> Transition:
        step = super().advance(action)
        far = np.ones((2, 2))
        if self._t == 3:
            far[1, 0] = -1e300 if self.where == "observation" else 1.0
            step.task_rewards = [0.0, 1e39 if self.where == "reward" else 0.0]
        step.observation = {"place": step.observation.astype(float), "far": far}
        return step


class HugeReward(Huge):
    """Its own step leaves the rewards in doubles."""

    def step(self, action: Any) -> Any:
        *rest, info = super().step(action)
        return (*rest, info | {"task_rewards": np.array([0.0, 1e39 if self._t == 3 else 0.0])})


CASES = [
    (
        functools.partial(Huge, "observation"),
        3,
        r"observation 'far' is not finite: 'far'\[1, 0\] is -1e\+300, and float32",
    ),
    (functools.partial(Huge, "reset"), 0, r"observation 'far' is not finite: 'far'\[0, 0\] is 1e\+39, and float32"),
    (functools.partial(Huge, "reward"), 3, r"\['task_rewards'\] is not finite: of 'left' it is inf, and float32"),
    (HugeReward, 3, r"\['task_rewards'\] is not finite: of 'left' it is 1e\+39, and float32"),
]


@pytest.mark.filterwarnings("ignore:overflow encountered in cast:RuntimeWarning")
@pytest.mark.parametrize(("family", "step", "why"), CASES)
def test_numbers_beyond_float32_are_refused_where_they_enter(family: Any, step: int, why: str) -> None:
    spec = spec_of(family())
    slot = Slot(family(), spec)

    def play() -> None:
        slot.reset(Episode(np.array([2.0]), 2, 5))
        for _ in range(5):
            slot.step(np.zeros(1, np.float32))

    with pytest.raises(EnvironmentFailed, match=why) as told:
        play()
    message = str(told.value)
    assert "environment Huge" in message
    assert f"at step {step}" in message if step else "at reset" in message
    assert "reset(seed=5, options={'theta': [2.0]})" in message
    assert "\n" not in message
    with pytest.raises(UserError, match=why):
        collect(
            RandomPlayer(spec.action, np.random.default_rng(0)),
            slot_group(family_of(family), 1),
            [Episode(np.array([2.0]), 2, 5, "dr")],
        )


def test_the_largest_numbers_of_float32_pass() -> None:
    class Large(Huge):
        def advance(self, action: Any) -> Transition:
            step = super().advance(action)
            step.observation["far"] = np.full((2, 2), 3.4e38)
            return step

    slot = Slot(Large("nowhere"), spec_of(Large("nowhere")))
    slot.reset(Episode(np.array([0.0]), 0, 0))
    assert slot.step(np.zeros(1, np.float32)).observation["far"].max() == np.float32(3.4e38)
