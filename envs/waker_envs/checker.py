"""``check_parametric_env``: does a family keep the promises of :class:`ParametricEnv`, and how to mend it if not.

For authors of environments, in their tests, beside gymnasium's own ``check_env``. Every check plays short episodes
with random actions from fixed seeds, so the verdict is the same every time.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from waker_envs import registry
from waker_envs.api import FiniteThetaSpace, ParametricEnv, Theta, ThetaSpace

_SEED = 1234
_LONGEST = 5000
"""Steps after which an episode is taken to have no end."""


class EnvCheckError(AssertionError):
    """A family breaks a promise; the message says which one and how to mend it."""


@dataclass
class Episode:
    """What one episode of random actions showed. T steps; T + 1 observations."""

    observations: list[Any] = field(default_factory=list)
    task_rewards: list[NDArray[np.float32]] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)
    ends: list[tuple[bool, bool]] = field(default_factory=list)

    def same(self, other: Episode) -> bool:
        """Whether both showed the same, bit for bit."""
        return (
            self.ends == other.ends
            and _equal(self.observations, other.observations)
            and _equal(self.task_rewards, other.task_rewards)
        )


def check_parametric_env(env: str | ParametricEnv | Callable[..., ParametricEnv]) -> None:
    """Check a family against the interface.

    Args:
        env: a registered id, a class or factory that takes the constructor's keywords, or an environment. Only
            the first two can be made anew, with ``task=…`` and with the arguments of a suite; an environment is
            set to a task by its attribute instead, and made anew through its class.

    Raises:
        EnvCheckError: the first broken promise.
        UnknownEnvError: no such id.
    """
    make, first = _factory(env)
    _check_attributes(first)
    thetas = _probes(first.theta_space)
    _check_distribution(first.theta_space)
    episodes = [_play(first, theta, _SEED) for theta in thetas]
    _check_foreign_tasks(first, thetas, episodes)
    _check_episode_fixed(make, first, thetas, episodes)
    _check_theta_matters(first, thetas, episodes)
    _check_outside_refused(first)
    _check_task(make, first, thetas[-1])
    _check_suites(make, first)
    _check_exact(first, thetas)


def _factory(env: Any) -> tuple[Callable[..., ParametricEnv], ParametricEnv]:
    """How to make the environment with other arguments, and one to begin with."""
    if isinstance(env, str):
        name = env

        def make(**kwargs: Any) -> ParametricEnv:
            return registry.make(name, **kwargs)

        return make, make()
    if not isinstance(env, type) and hasattr(env, "reset"):
        env = env.unwrapped
        made_by = env.spec.kwargs if env.spec is not None else {}
        return lambda **kwargs: type(env)(**{**made_by, **kwargs}), env
    return env, env()


def _check_attributes(env: Any) -> None:
    name = type(env).__name__
    if not isinstance(env, ParametricEnv):
        raise EnvCheckError(f"{name} does not derive from ParametricEnv; write class {name}(ParametricEnv)")
    for attribute, kind in (("theta_space", ThetaSpace), ("observation_space", object), ("action_space", object)):
        if not isinstance(getattr(env, attribute, None), kind) or getattr(env, attribute, None) is None:
            raise EnvCheckError(f"{name} has no {attribute}; set self.{attribute} in __init__ or on the class")
    tasks = getattr(env, "tasks", ())
    if not isinstance(tasks, tuple) or not tasks or len(set(tasks)) < len(tasks):
        raise EnvCheckError(f"{name}.tasks must be a tuple of different names, at least one, got {tasks!r}")
    space, groups = env.theta_space, env.task_groups
    if groups is None:
        return
    if space.groups is None:
        raise EnvCheckError(
            f"{name} has task_groups but its θ space has no groups; give the space the domain of each θ, or leave "
            "task_groups None"
        )
    if len(groups) != len(tasks) or any(group not in range(len(space.group_names)) for group in groups):
        raise EnvCheckError(
            f"{name}.task_groups must give each of the {len(tasks)} tasks one of the {len(space.group_names)} domains "
            f"{space.group_names} by number, got {groups!r}"
        )


def _probes(space: ThetaSpace) -> list[Theta]:
    """Some θ that span the space: evenly picked points (of each domain), or draws from DR, and the hardest."""
    rng = np.random.default_rng(_SEED)
    if isinstance(space, FiniteThetaSpace) and space.groups is not None:
        picked = []
        for group in range(len(space.group_names)):
            points = space.points[space.groups == group]
            picked += list(points[np.unique(np.linspace(0, len(points) - 1, 3).round().astype(int))])
    elif isinstance(space, FiniteThetaSpace):
        picked = list(space.points[np.unique(np.linspace(0, space.size - 1, 6).round().astype(int))])
    else:
        picked = list(space.sample(rng, 6))
    if space.hardest is not None:
        picked.append(space.hardest)
    return picked


def _check_distribution(space: ThetaSpace) -> None:
    drawn = np.asarray(space.sample(np.random.default_rng(_SEED), 500))
    if drawn.shape != (500, space.dim):
        raise EnvCheckError(
            f"theta_space.sample(rng, 500) must return shape (500, {space.dim}), a column for each parameter, "
            f"got {drawn.shape}"
        )
    outside = [theta for theta in drawn if not space.contains(theta)]
    if outside:
        raise EnvCheckError(
            f"the DR sampler leaves the space: it drew ({space.format(outside[0])}), which contains() denies; "
            "clip the sampler or widen the bounds"
        )
    if not np.array_equal(drawn, space.sample(np.random.default_rng(_SEED), 500)):
        raise EnvCheckError(
            "theta_space.sample(rng, n) gives other θ for the same generator; draw only from the rng it is given"
        )


def _play(env: ParametricEnv, theta: Theta, seed: int, steps: int = _LONGEST) -> Episode:
    """One episode of random actions, with every single step checked."""
    where = f"θ = ({env.theta_space.format(theta)}), seed {seed}"
    episode = Episode()
    observation, info = env.reset(seed=seed, options={"theta": theta})
    _check_observation(env, observation, f"reset, {where}")
    _check_info(env, info, theta, f"reset, {where}")
    episode.observations.append(copy.deepcopy(observation))
    env.action_space.seed(seed)
    for t in range(1, steps + 1):
        observation, reward, terminated, truncated, info = env.step(env.action_space.sample())
        at = f"step {t}, {where}"
        _check_observation(env, observation, at)
        _check_info(env, info, theta, at)
        if env.task is None and reward != 0.0:
            raise EnvCheckError(
                f"{at}: the reward is {reward} though no task was chosen; without a task step() must return 0.0 "
                "and leave the rewards to info['task_rewards']"
            )
        if not isinstance(terminated, bool) or not isinstance(truncated, bool):
            raise EnvCheckError(f"{at}: terminated and truncated must be bool; wrap them in bool()")
        episode.observations.append(copy.deepcopy(observation))
        episode.task_rewards.append(np.array(info["task_rewards"]))
        episode.rewards.append(float(reward))
        episode.ends.append((terminated, truncated))
        if terminated or truncated:
            return episode
    if steps == _LONGEST:
        raise EnvCheckError(
            f"{where}: no end after {_LONGEST} steps of random actions; return truncated=True at a time limit"
        )
    return episode


def _check_observation(env: ParametricEnv, observation: Any, at: str) -> None:
    if not env.observation_space.contains(observation):
        raise EnvCheckError(
            f"{at}: the observation is not in the observation space: "
            f"{_difference(env.observation_space, observation)}; "
            "mend the observation, or widen the space in __init__ so that it holds every θ"
        )


def _difference(space: Any, value: Any) -> str:
    """What is wrong with an observation, in a few words."""
    if isinstance(value, dict) and hasattr(space, "spaces"):
        if set(value) != set(space.spaces):
            return f"its keys are {sorted(value)} where the space has {sorted(space.spaces)}"
        for key, part in space.spaces.items():
            if not part.contains(value[key]):
                return f"key {key!r}: {_difference(part, value[key])}"
    array = np.asarray(value)
    if array.shape != space.shape:
        return f"its shape is {array.shape} where the space has {space.shape}"
    if not np.can_cast(array.dtype, space.dtype):
        return f"its dtype is {array.dtype} where the space has {space.dtype}"
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        return "it holds NaN or infinity"
    return f"its values span [{array.min()}, {array.max()}], which {space} does not allow"


def _check_info(env: ParametricEnv, info: dict[str, Any], theta: Theta, at: str) -> None:
    for key in ("theta", "task_rewards"):
        if key not in info:
            raise EnvCheckError(
                f"{at}: info has no {key!r}; ParametricEnv.reset and step put it there: write begin() and advance() "
                "in place of your own reset() and step(), or add it"
            )
    if not np.array_equal(np.asarray(info["theta"], float), theta):
        raise EnvCheckError(
            f"{at}: info['theta'] is {np.asarray(info['theta']).tolist()}, not the given {theta.tolist()}: "
            'reset() ignores options["theta"]; start the episode with it (begin() receives it)'
        )
    rewards, wanted = info["task_rewards"], (len(env.tasks),)
    if np.shape(rewards) != wanted:
        raise EnvCheckError(
            f"{at}: info['task_rewards'] has shape {np.shape(rewards)}, but the {len(env.tasks)} tasks "
            f"{env.tasks} need {wanted}; give one reward a task, in their order"
        )
    dtype = getattr(rewards, "dtype", type(rewards).__name__)
    if dtype != np.float32:
        raise EnvCheckError(
            f"{at}: info['task_rewards'] must be a float32 array, got {dtype}; use np.asarray(…, np.float32)"
        )
    if not np.isfinite(rewards).all():
        raise EnvCheckError(
            f"{at}: info['task_rewards'] is {rewards.tolist()}; a reward must be finite: look for a division by zero "
            "or a logarithm of zero in the task's reward"
        )


def _check_episode_fixed(
    make: Callable[..., ParametricEnv], env: ParametricEnv, thetas: list[Theta], episodes: list[Episode]
) -> None:
    for theta, first in zip(thetas, episodes, strict=True):
        _play(env, thetas[0], _SEED + 1, steps=7)  # left unfinished: nothing of it may survive the next reset
        where = f"(seed, θ) = ({_SEED}, ({env.theta_space.format(theta)})) does not fix the episode"
        if not first.same(_play(env, theta, _SEED)):
            raise EnvCheckError(
                f"{where}: two episodes with the same actions differ; draw all chance from self.np_random "
                "(not from np.random, random or a generator of your own), and set all state anew in begin()"
            )
        if not first.same(_play(_alike(make, env), theta, _SEED)):
            raise EnvCheckError(
                f"{where}: a newly made environment plays another episode; __init__ and earlier episodes must not "
                "leave chance behind: draw it in begin() from self.np_random"
            )


def _check_foreign_tasks(env: ParametricEnv, thetas: list[Theta], episodes: list[Episode]) -> None:
    """In a family of several domains, the tasks of the others earn nothing."""
    space, task_groups = env.theta_space, env.task_groups
    if task_groups is None or space.groups is None:
        return
    for theta, episode in zip(thetas, episodes, strict=True):
        here = space.groups[space.index(theta)]
        for k, task in enumerate(env.tasks):
            if task_groups[k] != here and np.any([rewards[k] for rewards in episode.task_rewards]):
                raise EnvCheckError(
                    f"task {task!r} belongs to domain {space.group_names[task_groups[k]]!r} but earns something at "
                    f"θ = ({space.format(theta)}) of {space.group_names[here]!r}; its reward must be 0 there"
                )


def _alike(make: Callable[..., ParametricEnv], env: ParametricEnv) -> ParametricEnv:
    """A new environment of the same kind."""
    other = make()
    other.task = env.task
    return other


def _check_theta_matters(env: ParametricEnv, thetas: list[Theta], episodes: list[Episode]) -> None:
    if env.theta_space.size == 1:
        return
    for seed in range(_SEED + 1, _SEED + 6):
        if any(not a.same(b) for a, b in itertools.combinations(episodes, 2)):
            _check_each_parameter_matters(env)
            return
        episodes = [_play(env, theta, seed) for theta in thetas]
    shown = "; ".join(f"({env.theta_space.format(theta)})" for theta in thetas[:3])
    raise EnvCheckError(
        f"θ changes nothing: episodes of {len(thetas)} θ ({shown}; …) with the same seeds and actions are the same "
        "in every observation, reward and end; use the θ that begin() receives to build the episode"
    )


def _check_each_parameter_matters(env: ParametricEnv) -> None:
    """Of several parameters, each must take effect by itself. One that cannot vary alone is left out."""
    space = env.theta_space
    rng = np.random.default_rng(_SEED)
    for d, name in enumerate(space.names if space.dim > 1 else ()):
        pairs = [(a, b) for a in space.sample(rng, 8) for b in space.neighbours(a) if a[d] != b[d]]
        for n, (a, b) in enumerate(pairs):
            if not _play(env, a, _SEED + n).same(_play(env, b, _SEED + n)):
                break
        else:
            if pairs:
                raise EnvCheckError(
                    f"parameter {name!r} changes nothing: {len(pairs)} pairs of episodes whose θ differ in it alone, "
                    "with the same seed and actions, are the same; use it in begin() or advance(), or drop it"
                )


def _check_outside_refused(env: ParametricEnv) -> None:
    space = env.theta_space
    centre = np.asarray(space.sample(np.random.default_rng(_SEED), 1))[0]
    outside = [centre + 1e6, np.full(space.dim, np.nan), np.append(centre, 0.0)]
    for theta in outside:
        try:
            env.reset(seed=_SEED, options={"theta": theta})
        except ValueError:
            continue
        raise EnvCheckError(
            f"reset() accepts θ = {theta.tolist()}, which lies outside the space; raise ThetaError "
            "(ParametricEnv.reset does), or a typing error in θ would train the wrong environment"
        )


def _check_task(make: Callable[..., ParametricEnv], first: ParametricEnv, theta: Theta) -> None:
    for k, task in enumerate(first.tasks):
        env = make(task=task)
        if env.task != task:
            raise EnvCheckError(
                f"made with task={task!r}, the environment has task {env.task!r}; pass task on to super()"
            )
        episode = _play(env, theta, _SEED)
        for t, (reward, rewards) in enumerate(zip(episode.rewards, episode.task_rewards, strict=True), 1):
            if np.float32(reward) != rewards[k]:
                raise EnvCheckError(
                    f"made with task={task!r}, step {t} returns reward {reward} but info['task_rewards'][{k}] is "
                    f"{rewards[k]}; both must be the same: compute the reward once, in advance()"
                )


def _check_suites(make: Callable[..., ParametricEnv], first: ParametricEnv) -> None:
    for name, suite in first.theta_space.suites.items():
        env = make(**suite.env_kwargs)
        if env.observation_space != first.observation_space or env.action_space != first.action_space:
            raise EnvCheckError(
                f"suite {name!r} has other spaces than the training environment, so no policy can be evaluated on it; "
                "make __init__ size the spaces for all θ, suites included"
            )
        for theta in suite.thetas:
            try:
                _play(env, theta, _SEED, steps=5)
            except EnvCheckError:
                raise
            except Exception as error:
                raise EnvCheckError(
                    f"suite {name!r}: θ = ({first.theta_space.format(theta)}) does not reset and step: "
                    f"{type(error).__name__}: {error}; accept the θ of all suites in begin()"
                ) from error


def _check_exact(env: ParametricEnv, thetas: list[Theta]) -> None:
    """The optional methods, where they are there."""
    exact: Any = env
    for theta in thetas if hasattr(env, "optimal_return") else []:
        for task in env.tasks:
            value = exact.optimal_return(theta, task, _SEED)
            if not np.isfinite(value):
                raise EnvCheckError(
                    f"optimal_return(θ, {task!r}, seed) is {value} for θ = ({env.theta_space.format(theta)}); return a "
                    "finite number, or leave the method out"
                )
    for theta in thetas if hasattr(env, "predict") else []:
        observation, _ = env.reset(seed=_SEED, options={"theta": theta})
        env.action_space.seed(_SEED)
        actions = np.array([env.action_space.sample() for _ in range(5)])
        for key, rows in exact.predict(theta, _SEED, observation, actions).items():
            sums = rows.reshape(len(rows), -1).sum(1)
            if len(rows) != len(actions) or (rows < 0).any() or not np.allclose(sums, 1, atol=1e-6):
                raise EnvCheckError(
                    f"predict(…)[{key!r}] must be one distribution for each of the {len(actions)} actions, nowhere "
                    f"negative and summing to 1; shape {rows.shape}, sums {np.round(sums, 4).tolist()}"
                )


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(_equal(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return isinstance(b, list | tuple) and len(a) == len(b) and all(map(_equal, a, b))
    return bool(np.array_equal(np.asarray(a), np.asarray(b)))
