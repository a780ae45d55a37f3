"""Nothing that is handed out is overwritten later, and copies of environments live by themselves."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

import waker_envs
from waker_envs.copies import arrays_in, detached
from waker_envs.played import check_handed_out
from waker_envs.registry import BUILT_IN
from waker_envs.testing import HardTheta
from waker_envs.wrapped import as_family


class Pair(NamedTuple):
    """Two things with names."""

    a: Any
    b: Any


def test_arrays_are_copied_however_deep() -> None:
    inner = np.arange(3)
    given = {"x": inner, "deep": {"y": [inner, (inner, "text")]}, "pair": Pair(inner, 1), "n": 4}
    taken = detached(given)
    inner[:] = 9
    assert [array.tolist() for array in arrays_in(taken)] == [[0, 1, 2]] * 4
    assert isinstance(taken["pair"], Pair)
    assert taken["n"] == 4


class Reusing(HardTheta):
    """Every array it hands out is one and the same, of all its environments."""

    seen, paid, done = np.zeros(2, np.float32), np.zeros(2, np.float32), np.zeros(2)

    def begin(self, theta: Any) -> Any:
        self.seen[:] = super().begin(theta)
        return self.seen

    def advance(self, action: Any) -> Any:
        step = super().advance(action)
        self.seen[:], self.paid[:], self.done[:] = step.observation, step.task_rewards, step.task_rewards
        step.observation, step.task_rewards, step.info = self.seen, self.paid, {"completion": self.done}
        return step


def test_reset_and_step_hand_out_copies() -> None:
    env = Reusing()
    check_handed_out(env, np.array([2.0]), 0)
    first, _ = env.reset(seed=0, options={"theta": [2]})
    kept = first.copy()
    steps = [env.step(np.ones(1, np.float32)) for _ in range(5)]
    assert first.tolist() == kept.tolist()
    assert len({tuple(step[0]) for step in steps}) == 5
    assert len({tuple(step[4]["task_rewards"]) for step in steps}) == 5
    assert len({tuple(step[4]["completion"]) for step in steps}) == 5


def by_pickle(env: Any) -> Any:
    return pickle.loads(pickle.dumps(env))


VECTORS = {
    f"waker/{n}-v0": "proprio+scan" for n in ("TerrainWalker", "TerrainHopper", "CleanUp", "CarCleanUp", "Combined")
}
KINDS = [(env_id, {"obs": VECTORS[env_id]} if env_id in VECTORS else {}) for env_id in BUILT_IN]
PICTURES = [(f"waker/{name}-v0", {"obs": "pixels"}) for name in ("TerrainHopper", "CleanUp", "Combined", "GridHazards")]


def trace(env: Any, actions: list[Any]) -> list[Any]:
    """Everything that steps show."""
    return [arrays_in([step[0], step[4]["task_rewards"]]) for step in map(env.step, actions)]


def same(a: list[Any], b: list[Any]) -> bool:
    """Bit for bit."""
    return all(x.tobytes() == y.tobytes() for one, two in zip(a, b, strict=True) for x, y in zip(one, two, strict=True))


@pytest.mark.parametrize("way", [copy.deepcopy, by_pickle])
@pytest.mark.parametrize(("env_id", "kwargs"), [*KINDS, *PICTURES])
def test_a_copy_of_an_environment_goes_on_by_itself(
    env_id: str, kwargs: dict[str, Any], way: Callable[[Any], Any]
) -> None:
    env = waker_envs.make(env_id, **kwargs)
    env.reset(seed=1)
    env.action_space.seed(3)
    minigrid = env_id.split("/")[1] in ("MultiRoom-v0", "LavaCrossing-v0", "DoorKey-v0")  # forward may be into lava
    actions = [k % 2 if minigrid else env.action_space.sample() for k in range(9)]
    trace(env, actions[:3])
    twin, other = way(env), way(env)
    moved = trace(twin, actions[3:])
    assert minigrid or any(not same(moved[:1], [step]) for step in moved[1:])
    assert same(trace(env, actions[3:]), moved)  # the copy's steps are not the original's
    assert same(trace(other, actions[3:]), moved)
    for seed in (4, 5):  # and in their next episodes
        assert same([arrays_in(twin.reset(seed=seed)[0])], [arrays_in(env.reset(seed=seed)[0])])
    for made in (env, twin, other):
        made.close()


def test_a_copy_draws_the_same_thetas() -> None:
    env = HardTheta()
    env.reset(seed=0)
    twin = copy.deepcopy(env)
    assert [env.reset()[1]["theta"].item() for _ in range(9)] == [twin.reset()[1]["theta"].item() for _ in range(9)]


def test_a_family_in_its_wrappers_can_be_copied() -> None:
    from gymnasium.wrappers import TimeLimit

    env = as_family(TimeLimit(HardTheta(), 3))
    assert env is not None
    env.reset(seed=0, options={"theta": [2]})
    for twin in (copy.deepcopy(env), by_pickle(env)):
        assert [twin.step(np.zeros(1, np.float32))[3] for _ in range(3)] == [False, False, True]
        assert twin.tasks == env.tasks


def test_a_camera_is_not_copied_but_says_so() -> None:
    env: Any = waker_envs.make("CleanUp")
    env.reset(seed=0)
    (camera,) = env._cameras.values()
    with pytest.raises(TypeError, match="make another one"):
        copy.deepcopy(camera)
    env.close()


@pytest.mark.parametrize("name", ["TerrainHopper", "CleanUp", "CarCleanUp", "Combined", "GridHazards"])
def test_a_shallow_copy_is_as_deep_as_any(name: str) -> None:
    """What shares a simulation, or arrays, would be stepped by both."""
    env_id = f"waker/{name}-v0"
    env: Any = waker_envs.make(env_id, **({"obs": VECTORS[env_id]} if env_id in VECTORS else {}))
    env.reset(seed=1)
    env.action_space.seed(3)
    actions = [env.action_space.sample() for _ in range(4)]
    twin = copy.copy(env)
    moved = trace(twin, actions)
    assert same(trace(env, actions), moved)
    if name == "CleanUp":
        assert copy.copy(env.arena).data is not env.arena.data
    for one in (env, twin):
        one.close()
