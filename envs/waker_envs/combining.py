"""Several families as one: :class:`CombinedEnv`, for authors who want one world model to serve several domains.

θ says which domain an episode plays; curricula, evaluations and reports read from the θ space's ``groups`` and from
``task_groups`` what belongs to which. :mod:`waker_envs.combined` is the one that comes with this package.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, ClassVar, NamedTuple, TypeGuard

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from waker_envs import registry
from waker_envs.api import FiniteThetaSpace, Parameter, ParametricEnv, Suite, Theta, Transition
from waker_envs.checked import checked_numbers


class Member(NamedTuple):
    """One family of a combined one: the domain's name, the family's registered id, and the tasks it offers."""

    name: str
    env_id: str
    tasks: tuple[str, ...]


class _Blueprint(NamedTuple):
    """What must be known of a member before the first episode."""

    theta_space: FiniteThetaSpace
    observation_space: gym.Space[Any]
    action_space: gym.Space[Any]
    tasks: tuple[str, ...]


def _blueprint(env_id: str, kwargs: Mapping[str, Any]) -> _Blueprint:
    """Read from an environment that is thrown away, once a process: members themselves are made when visited.

    With arguments that cannot be hashed it is read each time: the member may take them, or say what is wrong.
    """
    given = tuple(kwargs.items())
    try:
        hash(given)
    except TypeError:
        return _read(env_id, given)
    return _remembered(env_id, given)


def _read(env_id: str, kwargs: tuple[tuple[str, Any], ...]) -> _Blueprint:
    env = registry.make(env_id, **dict(kwargs))
    space = env.theta_space
    env.close()
    if not isinstance(space, FiniteThetaSpace):
        raise ValueError(f"{env_id} has a continuous θ space; only families with finitely many θ can be combined")
    return _Blueprint(space, env.observation_space, env.action_space, env.tasks)


_remembered = lru_cache(maxsize=64)(_read)


class CombinedEnv(ParametricEnv):
    """A family whose first parameter chooses the member family that an episode plays.

    An episode of (seed, θ) is, but for padding, the member's own episode of that seed and the member's part of θ. A
    subclass names its members and how each is made; this class does the rest.

    - θ: ``domain``, then all members' parameters, those of one name sharing a column; 0 where the domain does not have
      the parameter. Names tell more in tables and on figures' axes than p1, p2, …
    - DR: every domain has the same total weight, shared among its θ as in its own DR. ``hard`` is the union of the
      members', and so is each of ``sets``. ``hardest`` is None: one θ lies in one domain, and an agent that saw it
      alone would never meet the others. Suites are the members', called ``<member>:<suite>``.
    - Observations: the members' own where they are the same (pictures); float vectors are filled up with zeros to the
      longest. Actions: vectors as long as the longest; a member acts on the first entries.
    - The rewards of tasks of other domains are 0. A learner that trains a task's policy in imagination from start
      states of all domains wastes those of the others, and no more: nothing can be earned there.
      ``info["completion"]``, where the member reports it, is a mapping from the tasks of its domain to numbers.

    Args:
        task, render_mode: see :class:`~waker_envs.api.ParametricEnv`.
        member_kwargs: member's name → further arguments of its constructor (suites come with some).

    Raises:
        ValueError: members that cannot be combined, an argument that one refuses, or no such member.
    """

    members: ClassVar[tuple[Member, ...]]

    def __init__(
        self,
        task: str | None = None,
        render_mode: str | None = None,
        *,
        member_kwargs: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        names = tuple(m.name for m in self.members)
        self.tasks = tuple(t for m in self.members for t in m.tasks)
        self.task_groups = tuple(d for d, m in enumerate(self.members) for _ in m.tasks)
        if len(set(names)) < len(names) or len(set(self.tasks)) < len(self.tasks):
            raise ValueError(f"members and tasks need different names, got {names} with {self.tasks}")
        super().__init__(task, render_mode)
        extra = dict(member_kwargs or {})
        if unknown := sorted(set(extra) - set(names)):
            raise ValueError(f"there is no member {unknown[0]!r}; the members are {', '.join(names)}")
        self._kwargs = [{**self.arguments(name), **extra.get(name, {})} for name in names]
        parts = [_blueprint(m.env_id, k) for m, k in zip(self.members, self._kwargs, strict=True)]
        for member, part in zip(self.members, parts, strict=True):
            if missing := [t for t in member.tasks if t not in part.tasks]:
                raise ValueError(f"{member.env_id} has no task {missing[0]!r}; it has {', '.join(part.tasks)}")
        self.theta_space = _joint_space(names, tuple(p.theta_space for p in parts))
        # Copies: a space has a generator of its own.
        self.observation_space = copy.deepcopy(_joint_observation([p.observation_space for p in parts]))
        self.action_space = copy.deepcopy(_joint_action([p.action_space for p in parts]))
        # For each member: where its parameters lie in θ, and where its rewards come from and go to.
        self._columns = [[self.theta_space.names.index(n) for n in p.theta_space.names] for p in parts]
        self._sources = [[p.tasks.index(t) for t in m.tasks] for m, p in zip(self.members, parts, strict=True)]
        self._task_counts = [len(p.tasks) for p in parts]
        self._targets = [[k for k, g in enumerate(self.task_groups) if g == d] for d in range(len(parts))]
        self._action_sizes = [p.action_space.shape[0] if _is_vector(p.action_space) else None for p in parts]
        self._action_size = max((size for size in self._action_sizes if size is not None), default=0)
        self._made: dict[int, ParametricEnv] = {}
        self._domain = 0

    def arguments(self, member: str) -> dict[str, Any]:
        """The constructor arguments of a member; called while this environment is made."""
        return {}

    def begin(self, theta: Theta) -> Any:
        self._domain = int(theta[0])
        member = self._member()
        own = theta[self._columns[self._domain]]
        member.np_random, member.theta = self.np_random, own.copy()  # one generator: (seed, θ) fixes the episode
        self.metadata = {**self.metadata, "render_fps": member.metadata.get("render_fps", 10)}
        return self._filled(member.begin(own))

    def advance(self, action: Any) -> Transition:
        domain = self._domain
        if (size := self._action_sizes[domain]) is not None:
            # All of it, as the member sees its own part alone.
            action = checked_numbers("the action", action, self._action_size)[:size]
        step = self._made[domain].advance(action)
        sources, targets = self._sources[domain], self._targets[domain]
        rewards = np.zeros(len(self.tasks), np.float32)
        rewards[targets] = np.asarray(step.task_rewards, np.float32)[sources]
        info = step.info
        if "completion" in info:
            # By name, as NaN for the others would be refused by gymnasium's checker.
            given = np.broadcast_to(np.asarray(info["completion"], np.float32), (self._task_counts[domain],))
            named = {self.tasks[k]: float(given[s]) for k, s in zip(targets, sources, strict=True)}
            info = {**info, "completion": named}
        return Transition(self._filled(step.observation), rewards, step.terminated, step.truncated, info)

    def picture(self) -> NDArray[np.uint8]:
        """The present domain's picture."""
        picture: NDArray[np.uint8] = self._member().render()  # which members may override instead of picture()
        return picture

    def close(self) -> None:
        """Close all members that have been made."""
        for member in self._made.values():
            member.close()

    def _member(self) -> ParametricEnv:
        """The present domain's environment, made at its first episode."""
        domain = self._domain
        if domain not in self._made:
            env_id, kwargs = self.members[domain].env_id, self._kwargs[domain]
            self._made[domain] = registry.make(env_id, render_mode=self.render_mode, **kwargs)
        return self._made[domain]

    def _filled(self, observation: Any) -> Any:
        """The observation at the length of the longest."""
        shape = self.observation_space.shape
        if shape is None or np.shape(observation) == shape:
            return observation
        longer = np.zeros(shape, self.observation_space.dtype)
        longer[: len(observation)] = observation
        return longer


@lru_cache(maxsize=64)
def _joint_space(names: tuple[str, ...], members: tuple[FiniteThetaSpace, ...]) -> FiniteThetaSpace:
    """The θ space of :class:`CombinedEnv`; see there."""
    domains = ", ".join(f"{d} {name}" for d, name in enumerate(names))
    parameters = {"domain": Parameter("domain", domains)}
    for name, space in zip(names, members, strict=True):
        for p in space.parameters:
            known = parameters.get(p.name)
            if known is None:
                parameters[p.name] = Parameter(p.name, f"{name}: {p.description}", p.unit)
            elif p.name == "domain" or known.unit != p.unit:
                raise ValueError(f"parameter {p.name!r} of {name} cannot share a column with that of another member")
    order = list(parameters)

    def placed(domain: int, thetas: NDArray[np.float64]) -> NDArray[np.float64]:
        """A member's θ (n, D_m) as joint ones (n, D)."""
        joint = np.zeros((len(thetas), len(order)))
        joint[:, 0] = domain
        joint[:, [order.index(n) for n in members[domain].names]] = thetas
        return joint

    numbered = list(enumerate(zip(names, members, strict=True)))
    return FiniteThetaSpace(
        list(parameters.values()),
        np.concatenate([placed(d, space.points) for d, (_, space) in numbered]),
        np.concatenate([space.weights / len(members) for space in members]),
        hard=np.concatenate([placed(d, space.hard) for d, (_, space) in numbered]),
        sets={
            label: np.concatenate([placed(d, s.sets[label]) for d, s in enumerate(members) if label in s.sets])
            for label in dict.fromkeys(label for space in members for label in space.sets)
        },
        suites={
            f"{name}:{suite}": Suite(placed(d, cases.thetas), _addressed(name, cases.env_kwargs), d)
            for d, (name, space) in numbered
            for suite, cases in space.suites.items()
        },
        groups=np.repeat(np.arange(len(members)), [space.size for space in members]),
        group_names=names,
    )


def _addressed(member: str, kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The combined environment's arguments that hand ``kwargs`` to one member."""
    return {"member_kwargs": {member: dict(kwargs)}} if kwargs else {}


def _is_vector(space: gym.Space[Any]) -> TypeGuard[spaces.Box]:
    return isinstance(space, spaces.Box) and len(space.shape) == 1


def _joint_observation(members: Sequence[gym.Space[Any]]) -> gym.Space[Any]:
    """The members' space if they share one, else vectors as long as the longest."""
    if all(space == members[0] for space in members):
        return members[0]
    boxes = [space for space in members if _is_vector(space) and space.dtype == np.float32]
    if len(boxes) < len(members):
        raise ValueError(f"observations cannot be combined: {members[0]} and {members[-1]}; give them one kind")
    size = max(box.shape[0] for box in boxes)
    # What one member never uses is 0 there.
    low = np.array([np.pad(box.low, (0, size - box.shape[0])) for box in boxes]).min(0)
    high = np.array([np.pad(box.high, (0, size - box.shape[0])) for box in boxes]).max(0)
    return spaces.Box(low, high, dtype=np.float32)


def _joint_action(members: Sequence[gym.Space[Any]]) -> gym.Space[Any]:
    """The members' space if they share one, else the longest vector, of which the others are the beginning."""
    if all(space == members[0] for space in members):
        return members[0]
    boxes = [space for space in members if _is_vector(space)]
    longest = max(boxes, key=lambda box: box.shape[0], default=None)
    if len(boxes) == len(members) and longest is not None:
        sizes = [box.shape[0] for box in boxes]
        same_low = all(np.array_equal(box.low, longest.low[:n]) for box, n in zip(boxes, sizes, strict=True))
        if same_low and all(np.array_equal(b.high, longest.high[:n]) for b, n in zip(boxes, sizes, strict=True)):
            return longest
    raise ValueError(f"actions cannot be combined: {members[0]} and {members[-1]}; give them one kind and one range")
