"""``check_parametric_env``: does a family keep the promises of :class:`ParametricEnv`, and how to mend it if not.

For authors of environments, in their tests, beside gymnasium's own ``check_env``. Every check plays short episodes
with random actions from fixed seeds, so the verdict is the same every time.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, cast

import gymnasium as gym
import numpy as np

from waker_envs import registry
from waker_envs.api import FiniteThetaSpace, ParametricEnv, Theta, ThetaError, ThetaSpace
from waker_envs.boards import board_fault
from waker_envs.checked import check_names
from waker_envs.exact_checker import check_exact
from waker_envs.foreign import reason_of
from waker_envs.played import EnvCheckError, Episode, check_handed_out, play
from waker_envs.wrapped import WrappedFamily, as_family

__all__ = ["EnvCheckError", "check_parametric_env"]

_SEED = 1234


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
    _check_actions(first)
    try:
        thetas = _probes(first.theta_space)
        _check_distribution(first.theta_space)
    except ThetaError as error:  # a box looks itself at what its sampler draws
        raise EnvCheckError(str(error)) from error
    episodes = [play(first, theta, _SEED) for theta in thetas]
    _check_foreign_tasks(first, thetas, episodes)
    _check_episode_fixed(make, first, thetas, episodes)
    _check_drawn_theta(first)
    _check_own_keys(first, thetas[0])
    check_handed_out(first, thetas[0], _SEED)
    _check_theta_matters(first, thetas, episodes)
    _check_outside_refused(first)
    _check_task(make, first, thetas[-1])
    _check_suites(make, first)
    check_exact(first, thetas, _SEED)


def _factory(env: Any) -> tuple[Callable[..., ParametricEnv], ParametricEnv]:
    """How to make the environment with other arguments, and one to begin with."""
    if isinstance(env, str):
        name = env

        def make(**kwargs: Any) -> ParametricEnv:
            return registry.make(name, **kwargs)

        return make, make()
    if not isinstance(env, type) and hasattr(env, "reset"):
        family = as_family(env)
        if isinstance(family, WrappedFamily) and env.spec is not None:
            spec = env.spec  # which holds its wrappers, too
            return lambda **kwargs: cast(ParametricEnv, as_family(gym.make(spec, **kwargs))), family
        bare = env.unwrapped if family is None or isinstance(family, WrappedFamily) else family
        made_by = bare.spec.kwargs if bare.spec is not None else {}
        return lambda **kwargs: type(bare)(**{**made_by, **kwargs}), bare

    def anew(**kwargs: Any) -> ParametricEnv:
        made: Any = env(**kwargs)
        family = as_family(made) if isinstance(made, gym.Env) else None
        return family or made  # what is none is told of below

    return anew, anew()


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
    check_names(f"{name}: task", tasks, EnvCheckError)
    if env.observation_board is not None and (fault := board_fault(env.observation_board, env.observation_space)):
        raise EnvCheckError(f"{name}.observation_board: {fault}")
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


def _check_actions(env: ParametricEnv) -> None:
    """The action space must give actions that it holds."""
    space: Any = env.action_space
    space.seed(_SEED)
    try:
        drawn = [space.sample() for _ in range(20)]
    except Exception as error:  # bounds so far apart that no number lies between them
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise EnvCheckError(f"no action can be drawn from {space} ({reason}); give it bounds that it has") from error
    if outside := [action for action in drawn if not space.contains(action)]:
        raise EnvCheckError(f"{space} draws {outside[0]}, which it does not hold; give it bounds that it has")


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


def _check_episode_fixed(
    make: Callable[..., ParametricEnv], env: ParametricEnv, thetas: list[Theta], episodes: list[Episode]
) -> None:
    for theta, first in zip(thetas, episodes, strict=True):
        play(env, thetas[0], _SEED + 1, steps=7)  # left unfinished: nothing of it may survive the next reset
        where = f"(seed, θ) = ({_SEED}, ({env.theta_space.format(theta)})) does not fix the episode"
        if not first.same(play(env, theta, _SEED)):
            raise EnvCheckError(
                f"{where}: two episodes with the same actions differ; draw all chance from self.np_random "
                "(not from np.random, random or a generator of your own), and set all state anew in begin()"
            )
        if not first.same(play(_alike(make, env), theta, _SEED)):
            raise EnvCheckError(
                f"{where}: a newly made environment plays another episode; __init__ and earlier episodes must not "
                "leave chance behind: draw it in begin() from self.np_random"
            )


def _check_drawn_theta(env: ParametricEnv) -> None:
    """(seed, θ) names the episodes whose θ reset draws, too."""
    for seed in range(_SEED, _SEED + 3):
        drawn = play(env, None, seed, steps=100)
        theta = drawn.theta
        assert theta is not None, "it was drawn"
        if not drawn.same(play(env, theta, seed, steps=100)):
            raise EnvCheckError(
                f"reset(seed={seed}) draws θ = ({env.theta_space.format(theta)}) and plays another episode than "
                "reset(seed, options) with that θ, so (seed, info['theta']) does not name it; draw θ from another "
                "generator than the episode's (ParametricEnv.reset does)"
            )


def _check_own_keys(env: ParametricEnv, theta: Theta) -> None:
    """``advance`` must leave alone what step itself puts into ``info``."""
    env.reset(seed=_SEED, options={"theta": theta})
    env.action_space.seed(_SEED)
    info = env.advance(env.action_space.sample()).info
    if taken := [key for key in ("theta", "task_rewards") if key in info]:
        raise EnvCheckError(
            f"advance() puts {taken[0]!r} into the Transition's info, where step() puts its own and drops yours; call "
            "it something else"
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
        episodes = [play(env, theta, seed) for theta in thetas]
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
            if not play(env, a, _SEED + n).same(play(env, b, _SEED + n)):
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
        episode = play(env, theta, _SEED)
        for t, (reward, rewards) in enumerate(zip(episode.rewards, episode.task_rewards, strict=True), 1):
            if np.float32(reward) != rewards[k]:
                raise EnvCheckError(
                    f"made with task={task!r}, step {t} returns reward {reward} but info['task_rewards'][{k}] is "
                    f"{rewards[k]}; both must be the same: compute the reward once, in advance()"
                )


def _check_suites(make: Callable[..., ParametricEnv], first: ParametricEnv) -> None:
    for name, suite in first.theta_space.suites.items():
        if not len(suite.thetas):
            raise EnvCheckError(f"suite {name!r} has no θ, so nothing of it can be evaluated; fill it or leave it out")
        try:
            env = make(**suite.env_kwargs)
        except Exception as error:
            raise EnvCheckError(
                f"suite {name!r} cannot be made with {dict(suite.env_kwargs)}: {reason_of(error)}; name arguments that "
                "__init__ takes"
            ) from error
        if env.observation_space != first.observation_space or env.action_space != first.action_space:
            raise EnvCheckError(
                f"suite {name!r} has other spaces than the training environment, so no policy can be evaluated on it; "
                "make __init__ size the spaces for all θ, suites included"
            )
        for theta in suite.thetas:
            try:
                play(env, theta, _SEED, steps=5)
            except EnvCheckError:
                raise
            except Exception as error:
                raise EnvCheckError(
                    f"suite {name!r}: θ = ({first.theta_space.format(theta)}) does not reset and step: "
                    f"{type(error).__name__}: {error}; accept the θ of all suites in begin()"
                ) from error
