"""The two interfaces an environment author meets: :class:`ThetaSpace` and :class:`ParametricEnv`.

A *family* of environments is one class and a space of parameters θ. An episode is fixed by the pair
(seed, θ); the reward-free mode returns reward 0.0 and puts every task's reward into
``info["task_rewards"]``, so that any task can be trained later from the same data.

Everything a curriculum, an evaluation or a plot needs to know about a family (θ's names and units, the
domain-randomisation distribution, the experts' hard sets, the out-of-distribution suites, the tasks) belongs
to the family and is read through these interfaces: a new environment needs no change outside its own file.

This package never imports torch or ``waker``; it is usable from any gymnasium code.
"""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import gymnasium as gym
import numpy as np
from numpy.typing import ArrayLike, NDArray

from waker_envs.boards import Board
from waker_envs.checked import checked_numbers
from waker_envs.copies import detached
from waker_envs.theta import Parameter, Suite, Theta, ThetaError, ThetaSpace
from waker_envs.theta_box import BoxThetaSpace
from waker_envs.theta_finite import FiniteThetaSpace

__all__ = [
    "Board",
    "BoxThetaSpace",
    "FiniteThetaSpace",
    "Parameter",
    "ParametricEnv",
    "Suite",
    "Theta",
    "ThetaError",
    "ThetaSpace",
    "Transition",
    "UnknownTaskError",
]


_THETA = 0x7468657461
"""Sets the generator that draws θ apart from all others made of a seed."""


class UnknownTaskError(ValueError):
    """A task name the family does not have."""


@dataclass
class Transition:
    """What :meth:`ParametricEnv.advance` returns: one step, before the task is chosen.

    Attributes:
        observation: a member of the observation space.
        task_rewards: shape (K,), one reward a task, in the order of ``tasks``.
        terminated: a true end of the episode: nothing can be earned after it.
        truncated: the time limit; the world would go on.
        info: extra keys for ``info``; the evaluation knows ``completion``, shape (K,): how far each task is
            done, in [0, 1], or a mapping from task to that number where only some tasks have one. The keys ``theta``
            and ``task_rewards`` are :meth:`ParametricEnv.step`'s own: an author's value under them is left out.
    """

    observation: Any
    task_rewards: ArrayLike
    terminated: bool = False
    truncated: bool = False
    info: dict[str, Any] = field(default_factory=dict)


class ParametricEnv(gym.Env[Any, Any]):
    """A gymnasium environment whose episodes are fixed by (seed, θ).

    An author writes the class attributes, ``observation_space``, ``action_space``, :meth:`begin` and
    :meth:`advance`, and :meth:`picture` for people to watch; this class does the rest (θ from ``options``, the chosen
    task's reward, ``info``, ``render``).

    ``reset(seed=…, options={"theta": θ})`` starts an episode; without a θ one is drawn from DR, by a generator of its
    own: the seed and ``info["theta"]`` name that episode too. ``info["theta"]`` is the θ in force, shape (D,) float64;
    ``info["task_rewards"]`` a float32 vector over ``tasks`` (zeros at reset). The reward is 0.0 unless the environment
    was made with ``task=…``. What :meth:`begin` and :meth:`advance` return is copied: they may reuse their arrays.

    Attributes:
        theta_space: the family's parameters. May be set in ``__init__`` when it depends on arguments.
        tasks: the names of the K tasks.
        task_groups: for a family of several domains (``theta_space.groups``), the domain of each task, in the order
            of ``tasks``; None = every task exists for every θ. In another domain a task's reward is 0 and
            it has no completion; its policy is evaluated in its own domain only.
        observation_weights: how much each key of a Dict observation counts in a world model's
            reconstruction loss; keys not named count 1. A hint for learners, nothing more.
        observation_board: the keys of a Dict observation that show a board of cells; None = there is none. May be set
            in ``__init__``. A hint for learners, too.

    Optional, present only where they can be computed exactly (look for them with ``hasattr``; one that raises
    ``NotImplementedError`` counts as absent):

    - ``optimal_return(theta, task, seed) -> float``: the best expected undiscounted return of the episode
      that (seed, θ) fixes.
    - ``predict(theta, seed, observation, actions) -> dict[str, NDArray]``: the exact distribution of what will be
      observed after each of the k actions (k,) taken from ``observation``, of *every* key of the observation (one
      that is no Dict counts as the key ``observation``): an error measured against a part of it takes the rest for
      known. For a key with at most :data:`waker_envs.predictions.LARGEST_JOINT` outcomes the joint distribution,
      shape (k, *classes), summing to 1; for a larger one the marginal distributions of its V variables,
      (k, V, widest), zero past a variable's last class. An ended episode stays in its last observation. Only for
      observations of categories alone; ``{}`` where the observation asked for (a picture, say) has none.
    - ``tabular(theta, seed) -> TabularMDP``: the episode that (seed, θ) fixes, the chance of its steps averaged out,
      as a table over all its states (:class:`waker_envs.tabular.TabularMDP`); for episodes of some hundred states,
      or of some ten thousand where few may follow each (:class:`waker_envs.successors.Successors`).
      With it an evaluation plans in the learned model and values that plan exactly. Its optimum is
      ``optimal_return``.
    - ``beginnings(theta) -> list[Beginning]``: all tables that episodes of θ may have, and the probabilities of their
      starts (:class:`waker_envs.tabular.Beginning`), where there are few: plans are then valued over all of them,
      and no sample of episodes stands between a plan and its regret.
    - ``deterministic(theta) -> bool``: whether nothing in an episode of θ is random once it has begun, so that the
      return of a deterministic policy is its exact value. Without the method nothing is taken for certain.
    - ``neutral_edits(task, states) -> dict[str, dict[str, NDArray]]``: name → edited states, each an edit that leaves
      every reward of the task as it is, for what it is that a learned reward looks at (``waker audit``). ``states``
      are T consecutive observations of one episode by key, (T, …); one that is no Dict has the key ``observation``.
      Edited ones have their keys, shapes and dtypes. What would change nothing in them is left out.
    """

    theta_space: ThetaSpace
    tasks: tuple[str, ...]
    task_groups: tuple[int, ...] | None = None
    observation_weights: Mapping[str, float] = {}
    observation_board: Board | None = None
    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 10}
    _theta_source: np.random.Generator | None = None

    def __init__(self, task: str | None = None, render_mode: str | None = None) -> None:
        if task is not None and task not in self.tasks:
            raise UnknownTaskError(f"unknown task {task!r}; this family has {', '.join(self.tasks)}")
        if render_mode is not None and render_mode not in self.metadata["render_modes"]:
            raise ValueError(f"render_mode {render_mode!r} is not among {self.metadata['render_modes']}")
        self.task = task
        self.render_mode = render_mode
        self.theta: Theta | None = None
        self._over = False

    @abstractmethod
    def begin(self, theta: Theta) -> Any:
        """Start an episode of ``theta`` and return its first observation. All chance comes from ``self.np_random``."""

    @abstractmethod
    def advance(self, action: Any) -> Transition:
        """Make one step."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start an episode.

        Raises:
            ThetaError: ``options["theta"]`` is not in the space and not in one of its suites.
        """
        super().reset(seed=seed)
        given = (options or {}).get("theta")
        theta = self._checked(self._drawn_theta() if given is None else given)
        self.theta, self._over = theta, False
        observation = detached(self.begin(theta.copy()))
        return observation, {"theta": theta.copy(), "task_rewards": np.zeros(len(self.tasks), np.float32)}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Make one step; see the class for ``info``.

        Raises:
            gymnasium.error.ResetNeeded: no episode is under way: before the first reset, or after an end.
        """
        if self.theta is None or self._over:
            raise gym.error.ResetNeeded("call reset() before step(): no episode is under way")
        t = self.advance(action)
        self._over = bool(t.terminated or t.truncated)
        rewards = np.array(t.task_rewards, np.float32)
        reward = 0.0 if self.task is None else float(rewards[self.tasks.index(self.task)])
        info = {**(detached(t.info) if t.info else t.info), "theta": self.theta.copy(), "task_rewards": rewards}
        return detached(t.observation), reward, bool(t.terminated), bool(t.truncated), info

    def picture(self) -> NDArray[np.uint8]:
        """The current state for people, shape (height, width, 3); what :meth:`render` shows. Called within an episode.

        Raises:
            NotImplementedError: the family has no pictures.
        """
        raise NotImplementedError(f"{type(self).__name__} has no pictures: it has no method picture()")

    def render(self) -> Any:
        """The current state as a picture, (height, width, 3) uint8, or None without a render mode.

        Raises:
            gymnasium.error.ResetNeeded: before the first reset.
        """
        if self.render_mode is None:
            return None
        if self.theta is None:
            raise gym.error.ResetNeeded("call reset() before render(): there is nothing to show yet")
        return self.picture()

    def __copy__(self) -> Self:
        """As deep a copy as any: what shares a simulation, or arrays, with the original is stepped by both."""
        return copy.deepcopy(self)

    def _drawn_theta(self) -> Theta:
        """A θ from DR. Its chance is not the episode's, which must be the same when θ is given."""
        source = self.np_random
        if self._theta_source is not source:  # seeded anew
            seed = self.np_random_seed
            if seed is None or seed < 0:  # a generator that somebody has set, which no seed names
                seed = int(source.integers(2**63))
            self._theta_source = source
            self._theta_rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(_THETA,)))
        return self.theta_space.sample(self._theta_rng, 1)[0]

    def _checked(self, given: ArrayLike) -> Theta:
        space = self.theta_space
        checked_numbers("θ", given, space.dim, f" for ({', '.join(space.names)})", ThetaError)
        return space.resolve(given)
