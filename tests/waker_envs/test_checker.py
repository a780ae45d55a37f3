"""One deliberately broken family for each promise: the checker finds it and says how to mend it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from waker_envs import BoxThetaSpace, FiniteThetaSpace, Parameter, ParametricEnv, Suite, Transition
from waker_envs.checker import EnvCheckError, check_parametric_env
from waker_envs.predictions import certain
from waker_envs.testing import FailingEnv


class Good(ParametricEnv):
    """A counter that gains θ₀ a step from a random start, with θ₁ as its wage; it keeps every promise."""

    tasks = ("up", "down")

    def __init__(self, task: str | None = None, render_mode: str | None = None, *, scale: float = 1.0) -> None:
        super().__init__(task, render_mode)
        self.scale = scale
        self.theta_space = FiniteThetaSpace(
            [Parameter("gain", "per step"), Parameter("wage", "per count")],
            [(gain, wage) for gain in (1, 2) for wage in (1, 3)],
            hardest=(2, 3),
            suites={"fast": [[5, 1]], "scaled": Suite(np.array([[1.0, 1.0]]), {"scale": 2.0})},
        )
        self.observation_space = spaces.Box(-100, 100, (1,), np.float32)
        self.action_space = spaces.Discrete(2)

    def begin(self, theta: Any) -> Any:
        self.gain, self.wage = theta
        self.count, self.t = float(self.np_random.integers(5)), 0
        return self.look()

    def advance(self, action: Any) -> Transition:
        self.count += self.scale * self.gain * action
        self.t += 1
        return Transition(self.look(), self.pay(), truncated=self.t >= 8)

    def look(self) -> Any:
        return np.array([self.count], np.float32)

    def pay(self) -> Any:
        return [self.wage * self.count, -self.count]


class NotDerived:
    """Has the methods but not the base."""

    def reset(self) -> None:
        """Nothing."""

    @property
    def unwrapped(self) -> NotDerived:
        return self

    spec = None


class NoTasks(Good):
    tasks = ()


class NoActionSpace(Good):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        del self.action_space


class ActionsWithoutBounds(Good):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        most = float(np.finfo(np.float64).max)
        self.action_space = spaces.Box(-most, most, (1,), np.float64)


class ThetaUnused(Good):
    def begin(self, theta: Any) -> Any:
        return super().begin(np.ones(2))


class OneParameterUnused(Good):
    def begin(self, theta: Any) -> Any:
        return super().begin(np.array([theta[0], 1.0]))


class GlobalChance(Good):
    def begin(self, theta: Any) -> Any:
        observation = super().begin(theta)
        self.count = observation[0] = np.random.rand()  # noqa: NPY002 — the mistake under test
        return observation


class StateSurvives(Good):
    carried = 0.0

    def begin(self, theta: Any) -> Any:
        super().begin(theta)
        self.count += self.carried
        return self.look()

    def advance(self, action: Any) -> Transition:
        self.carried = (self.carried + 1) % 7
        return super().advance(action)


class ChanceInConstructor(Good):
    made = 0

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        ChanceInConstructor.made += 1
        self.offset = ChanceInConstructor.made

    def look(self) -> Any:
        return np.array([self.count + self.offset], np.float32)


class TooManyRewards(Good):
    def pay(self) -> Any:
        return [1.0, 2.0, 3.0]


class RewardNotFinite(Good):
    def pay(self) -> Any:
        return [np.nan if self.t == 3 else 0.0, 0.0]


class RewardInDoubles(Good):
    def step(self, action: Any) -> Any:
        *rest, info = super().step(action)
        return (*rest, info | {"task_rewards": info["task_rewards"].astype(np.float64)})


class ObservationOutside(Good):
    def look(self) -> Any:
        return np.array([self.count + 1000 * (self.t == 2)], np.float32)


class ObservationNotFinite(Good):
    def look(self) -> Any:
        return np.array([np.nan if self.t == 2 else self.count], np.float32)


class ObservationOfWrongShape(Good):
    def look(self) -> Any:
        return np.zeros(2, np.float32)


class ObservationInDoubles(Good):
    def look(self) -> Any:
        return np.array([self.count])


class IgnoresOptions(Good):
    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        return super().reset(seed=seed)


class NoThetaInInfo(Good):
    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        observation, info = super().reset(seed=seed, options=options)
        return observation, {"task_rewards": info["task_rewards"]}


class NoRewardsInInfo(Good):
    def step(self, action: Any) -> Any:
        *rest, info = super().step(action)
        return (*rest, {"theta": info["theta"]})


class RewardWithoutTask(Good):
    def step(self, action: Any) -> Any:
        observation, _, *rest, info = super().step(action)
        return (observation, float(info["task_rewards"][0]), *rest, info)


class RewardOfAnotherTask(Good):
    def step(self, action: Any) -> Any:
        observation, _, *rest, info = super().step(action)
        return (observation, 0.0 if self.task is None else float(info["task_rewards"][0]), *rest, info)


class ForgetsTask(Good):
    def __init__(self, task: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)


class EndsAreNumpy(Good):
    def step(self, action: Any) -> Any:
        observation, reward, terminated, truncated, info = super().step(action)
        return observation, reward, np.bool_(terminated), truncated, info


class NeverEnds(Good):
    def advance(self, action: Any) -> Transition:
        self.t += 1
        return Transition(self.look(), self.pay())


class AcceptsAnyTheta(Good):
    def _checked(self, given: Any) -> Any:
        return np.nan_to_num(np.asarray(given, float)[:2], nan=1.0)


def sampler(rng: np.random.Generator, n: int) -> Any:
    return rng.normal(1.0, 1.0, (n, 1))


class Box(Good):
    sampler: Any = None

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.theta_space = BoxThetaSpace([Parameter("gain", "per step")], [0.5], [2.0], sampler=type(self).sampler)

    def begin(self, theta: Any) -> Any:
        return super().begin(np.append(theta, 1.0))


class SamplerLeavesSpace(Box):
    sampler = staticmethod(sampler)


class SamplerOfWrongShape(Box):
    sampler = staticmethod(lambda rng, n: np.ones(n))


class SamplerWithItsOwnChance(Box):
    sampler = staticmethod(lambda rng, n: np.random.default_rng().uniform(0.5, 2.0, (n, 1)))


class SuiteDoesNotStart(Good):
    def begin(self, theta: Any) -> Any:
        known = {1: 1.0, 2: 2.0}
        return super().begin(theta * known[int(theta[0])])


class SuiteHasOtherSpaces(Good):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.observation_space = spaces.Box(-100 * self.scale, 100 * self.scale, (1,), np.float32)


class OneArray(Good):
    """Its own step() hands out what it goes on writing to."""

    buffer = np.zeros(1, np.float32)

    def step(self, action: Any) -> Any:
        observation, *rest = super().step(action)
        self.buffer[:] = observation
        return (self.buffer, *rest)


class OneOfTwoArrays(OneArray):
    """Two arrays in turn: what is kept for two steps is lost."""

    def step(self, action: Any) -> Any:
        self.buffer, self.other = getattr(self, "other", np.zeros(1, np.float32)), self.buffer
        return super().step(action)


class OneRewardArray(Good):
    paid = np.zeros(2, np.float32)

    def step(self, action: Any) -> Any:
        *rest, info = super().step(action)
        self.paid[:] = info["task_rewards"]
        return (*rest, info | {"task_rewards": self.paid})


class TakesOurKey(Good):
    def advance(self, action: Any) -> Transition:
        step = super().advance(action)
        step.info = {"task_rewards": [9.0, 9.0], "theta": [9.0]}
        return step


class ChangesItsTheta(Good):
    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        found = super().reset(seed=seed, options=options)
        if options is not None and isinstance(options["theta"], np.ndarray):
            options["theta"] += 1
        return found


class DrawsThetaFromTheEpisode(Good):
    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        if not options:
            super().reset(seed=seed)
            options, seed = {"theta": self.theta_space.sample(self.np_random, 1)[0]}, None
        return super().reset(seed=seed, options=options)


class OptimumNotFinite(Good):
    def optimal_return(self, theta: Any, task: str, seed: int) -> float:
        return float("inf")


class Board(Good):
    """The counter as two categorical keys, of which one has more outcomes than a joint can list; predicted exactly."""

    CELLS = (4,) * 7

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.observation_space = spaces.Dict(count=spaces.Discrete(100), board=spaces.MultiDiscrete(self.CELLS))

    def look(self) -> Any:
        return {"count": np.int64(self.count), "board": self.board(int(self.count))}

    def board(self, count: int) -> Any:
        return np.array([count // 4**place % 4 for place in range(7)])

    def counts(self, theta: Any, observation: Any, actions: Any) -> Any:
        return int(observation["count"]) + np.cumsum(np.asarray(actions) * int(self.scale * theta[0]))

    def predict(self, theta: Any, seed: int, observation: Any, actions: Any) -> Any:
        counts = self.counts(theta, observation, actions)
        boards = np.array([self.board(count) for count in counts])
        return {"count": certain(counts, (100,)), "board": certain(boards, self.CELLS)}


class PredictionNotNormalised(Board):
    def predict(self, *args: Any) -> Any:
        return {key: 2 * rows for key, rows in super().predict(*args).items()}


class PredictionOfAPart(Board):
    def predict(self, *args: Any) -> Any:
        return {"count": super().predict(*args)["count"]}


class PredictionOfAnotherKey(Board):
    def predict(self, *args: Any) -> Any:
        return super().predict(*args) | {"boards": np.ones((8, 1))}


class PredictionBesideNumbers(Board):
    """Has a key of numbers besides, which no distribution over classes covers."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.observation_space = spaces.Dict(**self.observation_space.spaces, wind=spaces.Box(0, 1, (1,)))

    def look(self) -> Any:
        return super().look() | {"wind": np.zeros(1, np.float32)}


class PredictionOfAStandStill(Board):
    """Right about the count, but takes the board for what it was."""

    def predict(self, *args: Any) -> Any:
        still = np.repeat(np.asarray(args[2]["board"])[None], len(args[3]), 0)
        return super().predict(*args) | {"board": certain(still, self.CELLS)}


class PredictionIsNone(Board):
    def predict(self, *args: Any) -> Any:
        return None


class Edited(Good):
    """Its states are numbers; the edits of each class below are wrong in one way."""

    def neutral_edits(self, task: str, states: Any) -> Any:
        return {}


class EditsOfAnotherReward(Edited):
    def neutral_edits(self, task: str, states: Any) -> Any:
        return {"turned round": {key: array[::-1].copy() for key, array in states.items()}}


class EditsThatChangeNothing(Edited):
    def neutral_edits(self, task: str, states: Any) -> Any:
        return {"none": {key: array.copy() for key, array in states.items()}}


class EditsInPlace(Edited):
    def neutral_edits(self, task: str, states: Any) -> Any:
        for array in states.values():
            array[:] = 0
        return {}


class EditsOfAnotherShape(Edited):
    def neutral_edits(self, task: str, states: Any) -> Any:
        return {"short": {key: array[1:] for key, array in states.items()}}


class EditsOfAnotherKey(Edited):
    def neutral_edits(self, task: str, states: Any) -> Any:
        return {"lost": {}}


class EditsOutside(Edited):
    def neutral_edits(self, task: str, states: Any) -> Any:
        return {"far": {key: array + np.asarray(1e6, array.dtype) for key, array in states.items()}}


class EditsInAList(Edited):
    def neutral_edits(self, task: str, states: Any) -> Any:
        return [states]


BROKEN: list[tuple[Callable[..., Any], str, str]] = [
    (NoTasks, "tuple of different names", "must be"),
    (NoActionSpace, "has no action_space", "set self.action_space"),
    (ActionsWithoutBounds, "no action can be drawn from Box.*OverflowError", "bounds that it has"),
    (ThetaUnused, "θ changes nothing", "use the θ that begin"),
    (OneParameterUnused, "'wage' changes nothing", "use it in begin"),
    (GlobalChance, "does not fix the episode: two episodes", "self.np_random"),
    (StateSurvives, "does not fix the episode: two episodes", "set all state anew in begin"),
    (ChanceInConstructor, "a newly made environment plays another", "draw it in begin"),
    (TooManyRewards, r"shape \(3,\), but the 2 tasks", "one reward a task"),
    (RewardNotFinite, "reward must be finite", "division by zero"),
    (RewardInDoubles, "float32 array, got float64", "np.asarray"),
    (ObservationOutside, "values span", "widen the space"),
    (ObservationNotFinite, "NaN or infinity", "mend the observation"),
    (ObservationOfWrongShape, r"shape is \(2,\) where the space has \(1,\)", "mend the observation"),
    (ObservationInDoubles, "dtype is float64 where the space has float32", "mend the observation"),
    (IgnoresOptions, r'ignores options\["theta"\]', "start the episode with it"),
    (NoThetaInInfo, "info has no 'theta'", "begin"),
    (NoRewardsInInfo, "info has no 'task_rewards'", "advance"),
    (RewardWithoutTask, "no task was chosen", r"must return 0\.0"),
    (RewardOfAnotherTask, "made with task='down'", "compute the reward once"),
    (ForgetsTask, "has task None", "pass task on"),
    (EndsAreNumpy, "must be bool", r"bool\(\)"),
    (NeverEnds, "no end after", "truncated=True at a time limit"),
    (AcceptsAnyTheta, "outside the space", "raise ThetaError"),
    (SamplerLeavesSpace, "leaves the space", "clip the sampler"),
    (SamplerOfWrongShape, r"must return shape \(\d+, 1\)", "a column for each parameter"),
    (SamplerWithItsOwnChance, "other θ for the same generator", "only from the rng"),
    (SuiteDoesNotStart, "suite 'fast'.*does not reset", "accept the θ of all suites"),
    (SuiteHasOtherSpaces, "suite 'scaled' has other spaces", "size the spaces"),
    (OneArray, "observation of reset|observation of step 1 is overwritten", "return a copy"),
    (OneOfTwoArrays, "is overwritten later", "return a copy"),
    (OneRewardArray, r"info\['task_rewards'\] of step 1 is overwritten", "return a copy"),
    (TakesOurKey, r"advance\(\) puts 'theta' into", "call it something else"),
    (ChangesItsTheta, r"θ given to reset\(\) is changed|ignores options", "copy|start the episode"),
    (DrawsThetaFromTheEpisode, "draws θ = .* plays another episode", "another generator"),
    (OptimumNotFinite, "optimal_return.*inf", "leave the method out"),
    (PredictionNotNormalised, "summing to 1", "one distribution"),
    (PredictionOfAPart, "only a part of the observation: it leaves out board", "predict every key"),
    (PredictionOfAnotherKey, "'boards', which is not of the observation", "the observation has"),
    (PredictionBesideNumbers, "only a part of the observation: it leaves out wind", "leave the method out"),
    (PredictionOfAStandStill, r"\['board'\] gives probability 0 to what was observed", "all that can happen"),
    (PredictionIsNone, "returns NoneType", "must be a dict"),
    (EditsOfAnotherReward, "'turned round' changes the reward", "offer only what leaves every reward"),
    (EditsThatChangeNothing, "'none': it changes nothing", "leave it out"),
    (EditsInPlace, "changes the states that it is given", "work on copies"),
    (EditsOfAnotherShape, "'short': key 'observation' is", "was given"),
    (EditsOfAnotherKey, "'lost': it must have the keys", "of the observation"),
    (EditsOutside, "'far': state 0 is not in the observation space", "observation space"),
    (EditsInAList, "returns a list", "a dict of edits by name"),
]


@pytest.mark.parametrize(("family", "wrong", "mend"), BROKEN, ids=lambda value: getattr(value, "__name__", ""))
def test_a_broken_promise_is_found_and_the_way_to_mend_it_told(
    family: Callable[..., Any], wrong: str, mend: str
) -> None:
    with pytest.raises(EnvCheckError, match=wrong) as caught:
        check_parametric_env(family)
    assert caught.match(mend)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("family", [Good, Box, Board])
def test_a_good_family_passes_as_a_class_and_as_an_environment(family: type[Good]) -> None:
    check_parametric_env(family)
    check_parametric_env(family())


def test_what_is_no_parametric_env_is_told_so() -> None:
    with pytest.raises(EnvCheckError, match="write class NotDerived\\(ParametricEnv\\)"):
        check_parametric_env(NotDerived())  # type: ignore[arg-type]


def test_an_exception_of_the_environment_itself_is_not_hidden() -> None:
    with pytest.raises(RuntimeError, match="told to fail"):
        check_parametric_env(FailingEnv)
