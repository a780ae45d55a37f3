"""What an environment was registered with in gymnasium (time limit, wrappers) is what ``make`` gives."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import WrapperSpec
from gymnasium.wrappers import OrderEnforcing, TimeLimit

import waker_envs
from waker.collection.spec_of import spec_of
from waker_envs.checker import EnvCheckError, check_parametric_env
from waker_envs.combining import CombinedEnv, Member
from waker_envs.testing import HardTheta, NoisyTheta, PictureEnv
from waker_envs.wrapped import WrappedFamily, as_family


class Exact(HardTheta):
    """With all optional methods."""

    def optimal_return(self, theta: Any, task: str, seed: int) -> float:
        return 1.0

    def predict(self, theta: Any, seed: int, observation: Any, actions: Any) -> dict[str, Any]:
        return {}

    def tabular(self, theta: Any, seed: int) -> Any:
        raise NotImplementedError

    def deterministic(self, theta: Any) -> bool:
        return True


class FirstOnly(gym.ObservationWrapper[Any, Any, Any]):
    """Shows the first entry, in an array that it uses again and again."""

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        super().__init__(env)
        self.observation_space = gym.spaces.Box(-1.5, 1.5, (1,), np.float32)
        self.buffer = np.zeros(1, np.float32)

    def observation(self, observation: Any) -> Any:
        self.buffer[:] = observation[:1]
        return self.buffer


class Fresh(FirstOnly):
    """The same with an array each time."""

    def observation(self, observation: Any) -> Any:
        return super().observation(observation).copy()


class InDoubles(FirstOnly):
    """In a precision that its space has not."""

    def observation(self, observation: Any) -> Any:
        return super().observation(observation).astype(np.float64)


def wrapped_exact(**kwargs: Any) -> gym.Env[Any, Any]:
    return Fresh(Exact(**kwargs))


IDS = {
    "wrapped/Limited-v0": {"entry_point": Exact, "max_episode_steps": 7},
    "wrapped/Entry-v0": {"entry_point": wrapped_exact},
    "wrapped/Additional-v0": {
        "entry_point": Exact,
        "additional_wrappers": (
            WrapperSpec("Rescale", "gymnasium.wrappers:RescaleObservation", {"min_obs": 0.0, "max_obs": 1.0}),
        ),
    },
    "wrapped/Both-v0": {"entry_point": wrapped_exact, "max_episode_steps": 5},
    "wrapped/Reusing-v0": {"entry_point": lambda **kwargs: FirstOnly(Exact(**kwargs))},
    "wrapped/Plain-v0": {"entry_point": Exact},
    "wrapped/Unordered-v0": {"entry_point": Exact, "order_enforce": False},
}


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    known = dict(gym.registry)
    for env_id, how in IDS.items():
        gym.register(env_id, **how)
    yield
    gym.registry.clear()
    gym.registry.update(known)


def episode(env: Any) -> list[Any]:
    observation, info = env.reset(seed=3)
    env.action_space.seed(0)
    shown = [(np.array(observation), info["theta"].tolist())]
    for _ in range(100):
        observation, reward, terminated, truncated, info = env.step(env.action_space.sample())
        shown.append((np.array(observation), reward, terminated, truncated, info["task_rewards"].tolist()))
        if terminated or truncated:
            break
    return shown


@pytest.mark.parametrize("env_id", IDS)
@pytest.mark.parametrize("task", [None, "left"])
def test_spaces_and_episodes_are_gymnasium_s(env_id: str, task: str | None) -> None:
    ours, theirs = waker_envs.make(env_id, task=task), gym.make(env_id, task=task)
    assert ours.observation_space == theirs.observation_space
    assert ours.action_space == theirs.action_space
    a, b = episode(ours), episode(theirs)
    assert len(a) == len(b) == 1 + {"wrapped/Limited-v0": 7, "wrapped/Both-v0": 5}.get(env_id, HardTheta.LENGTH)
    for x, y in zip(a, b, strict=True):
        np.testing.assert_array_equal(x[0], y[0])
        assert x[1:] == y[1:]


def test_a_limit_may_be_given_when_it_is_made() -> None:
    assert len(episode(waker_envs.make("wrapped/Plain-v0", max_episode_steps=4))) == 5


@pytest.mark.parametrize("env_id", ["wrapped/Plain-v0", "wrapped/Unordered-v0", "waker/GridHazards-v0"])
def test_without_any_it_is_the_bare_environment(env_id: str) -> None:
    env = waker_envs.make(env_id)
    assert env.unwrapped is env
    assert not isinstance(env, WrappedFamily)


@pytest.mark.parametrize("env_id", [i for i in IDS if "Reusing" not in i])
def test_it_is_a_family_to_everything_else(env_id: str) -> None:
    env = waker_envs.make(env_id, task="left", render_mode="rgb_array")
    check_parametric_env(env_id)
    check_parametric_env(gym.make(env_id))  # type: ignore[arg-type]
    assert env.unwrapped is env
    assert (env.task, env.tasks, env.theta_space.size) == ("left", ("right", "left"), 5)
    assert spec_of(env).observation[0].shape == env.observation_space.shape
    env.reset(seed=0)
    assert env.render().shape == (16, 64, 3)
    env.task = None
    assert env.step(np.ones(1, np.float32))[1] == 0.0
    with pytest.raises(waker_envs.ThetaError):
        env.reset(options={"theta": [99]})
    env.close()


def test_the_checker_looks_through_the_wrappers() -> None:
    with pytest.raises(EnvCheckError, match="dtype is float64 where the space has float32"):
        check_parametric_env(lambda **kwargs: InDoubles(Exact(**kwargs)))


def test_an_array_that_a_wrapper_uses_again_is_not_handed_out() -> None:
    check_parametric_env("wrapped/Reusing-v0")
    env = waker_envs.make("wrapped/Reusing-v0")
    first, _ = env.reset(seed=0, options={"theta": [2]})
    kept = first.copy()
    second = env.step(np.ones(1, np.float32))[0]
    moved = second.copy()
    env.step(-np.ones(1, np.float32))
    assert first.tolist() == kept.tolist()
    assert second.tolist() == moved.tolist() != kept.tolist()


@pytest.mark.parametrize(
    ("env_id", "exact"),
    [
        ("wrapped/Plain-v0", ("optimal_return", "predict", "tabular", "deterministic")),
        ("wrapped/Limited-v0", ("predict", "deterministic")),  # cut short, an episode has another optimum
        ("wrapped/Entry-v0", ()),
        ("wrapped/Additional-v0", ()),
    ],
)
def test_exact_numbers_are_offered_where_they_hold(env_id: str, exact: tuple[str, ...]) -> None:
    env = waker_envs.make(env_id)
    optional = ("optimal_return", "predict", "tabular", "deterministic")
    assert tuple(name for name in optional if hasattr(env, name)) == exact


def test_wrappers_that_change_nothing_are_taken_off() -> None:
    inner = HardTheta()
    assert as_family(OrderEnforcing(inner)) is inner
    assert isinstance(as_family(OrderEnforcing(TimeLimit(inner, 3))), WrappedFamily)
    assert as_family(TimeLimit(gym.make("CartPole-v1"), 3)) is None


def test_a_wrapper_around_no_family_is_refused() -> None:
    with pytest.raises(waker_envs.UnknownEnvError, match="CartPoleEnv, which is no ParametricEnv"):
        waker_envs.make("CartPole-v1", max_episode_steps=3)


class Two(CombinedEnv):
    members = (Member("limited", "wrapped/Limited-v0", ("right",)), Member("noisy", "wrapped/Noisy-v0", ("left",)))


def test_members_of_a_combined_family_keep_theirs() -> None:
    gym.register("wrapped/Noisy-v0", entry_point=NoisyTheta)
    env = Two()
    lengths = {}
    for theta in ([0, 2, 0], [1, 0, 1]):
        env.reset(seed=0, options={"theta": theta})
        lengths[theta[0]] = next(t for t in range(1, 99) if any(env.step(np.zeros(1, np.float32))[2:4]))
    assert lengths == {0: 7, 1: HardTheta.LENGTH}
    check_parametric_env(Two)


def test_a_picture_family_in_a_time_limit_is_described() -> None:
    from waker.cli.verbs.envs import description

    gym.register("wrapped/Picture-v0", entry_point=PictureEnv, max_episode_steps=3)
    assert "A bright square" in description("wrapped/Picture-v0")
