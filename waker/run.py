"""A run to look into: its settings, rows, curriculum, replay and dreams. Nothing here writes to its folder.

Made by :func:`waker.load` and :func:`waker.train`. Rows are read when they are first asked for; the agent is loaded
when something needs it.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from waker.analysis.data import RunData, load_run
from waker.config.schema import Config
from waker.errors import UserError
from waker.storage.run_folder import read_config
from waker_envs.api import BoxThetaSpace, FiniteThetaSpace, ThetaSpace

if TYPE_CHECKING:
    from waker.agent.agent import Agent
    from waker.behaviour.starts import Starts
    from waker.evaluation.dream import Dream
    from waker.model.rssm import State
    from waker.replay.ring import Replay
    from waker.training.loading import LoadedRun


_MOST_VALUES = 12
"""Values of a parameter that a message lists."""


class Run:
    """A run folder, read only: no lock is taken, nothing is set aside, and a training process may go on beside it.

    Args:
        folder: a run folder, ``<runs>/<domain>/<sampler>/<explorer>/seed-<n>``.
        device: for the agent; None = the run's own.

    Raises:
        UserError: it is no run folder.
    """

    def __init__(self, folder: str | Path, device: str | None = None) -> None:
        self.folder = Path(folder)
        self.config: Config = read_config(self.folder)
        self._device = device

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r})"

    # Rows ---------------------------------------------------------------------------------------------------------

    @functools.cached_property
    def data(self) -> RunData:
        """Every table of the run, and what is missing of it."""
        return load_run(self.folder)

    @property
    def evaluation(self) -> pd.DataFrame:
        """A row for each evaluated episode and task."""
        return self.data.evaluation

    @property
    def model_error(self) -> pd.DataFrame:
        """A row for each held-out episode and metric of the world model's error."""
        return self.data.model_error

    @property
    def metrics(self) -> pd.DataFrame:
        """A row for each log of the learner."""
        return self.data.metrics

    @property
    def episodes(self) -> pd.DataFrame:
        """A row for each training episode."""
        return self.data.episodes

    @property
    def curriculum(self) -> CurriculumView:
        """What the curriculum believed and did."""
        return CurriculumView(self.data)

    # The learned agent ----------------------------------------------------------------------------------------------

    @functools.cached_property
    def loaded(self) -> LoadedRun:
        """The newest whole checkpoint, with its agent and environments.

        Raises:
            UserError: there is none, or the environment has changed since.
        """
        from waker.training.loading import load_run as load_checkpoint

        return load_checkpoint(self.folder, _warn, self._device)

    @property
    def agent(self) -> Agent:
        """World model, policies and ensemble of the newest checkpoint."""
        return self.loaded.agent

    @property
    def step(self) -> int:
        """Agent steps made until the newest checkpoint."""
        return self.loaded.step

    @property
    def tasks(self) -> tuple[str, ...]:
        """The environment's tasks."""
        return self.loaded.family.spec.tasks

    @functools.cached_property
    def replay(self) -> ReplayView:
        """The data that the run has kept."""
        return ReplayView(self.loaded.replay(_warn), self.agent)

    def imagine(
        self,
        task: str,
        start: Starts | State | ArrayLike | None = None,
        steps: int = 15,
        *,
        n: int = 8,
        mode: bool = False,
        seed: int = 0,
    ) -> Dream:
        """Let a task's policy act in the world model, and decode what it believes.

        Args:
            task: one of :attr:`tasks`.
            start: latent states, as ``run.replay.states(4)`` gives them; or a θ (D,), in which the model filters the
                first observations of ``n`` episodes; None = ``n`` states of the replay.
            steps: H, how far.
            n: how many dreams where ``start`` holds no states.
            mode: take the likeliest action and latent at each step; else both are drawn.
            seed: of what is drawn, and of the episodes of a θ.

        Raises:
            UserError: there is no such task, no policy for it yet, no such θ, or a number that is none or too small.
        """
        from waker.behaviour.starts import Starts
        from waker.evaluation.dream import imagine
        from waker.model.rssm import State

        check_whole(steps=(steps, 1), n=(n, 1), seed=(seed, 0))
        if start is None:
            start = self.replay.states(n, seed)
        if isinstance(start, Starts):
            start = start.state
        if not isinstance(start, State):
            try:
                theta = np.asarray(start, np.float64)
            except (TypeError, ValueError) as error:
                raise UserError(f"start must be states of the replay or a θ, not {start!r}") from error
            start = self._first_states(theta, n, seed)
        return imagine(self.agent, task, start, steps, mode, seed)

    def _first_states(self, theta: NDArray[np.float64], n: int, seed: int) -> State:
        from waker.collection.episode import Episode
        from waker.collection.slot_group import slot_group

        family = self.loaded.family
        space = family.space
        if theta.shape != (len(space.names),) or not space.contains(theta):
            raise UserError(f"θ = {theta.tolist()} is none of {self.config.env}; {allowed(space)}")
        episodes = [Episode(theta, space.index(theta), seed + i) for i in range(n)]
        with slot_group(family, 1) as slots:
            first = [slots.advance({0: episode}, {})[0].observation for episode in episodes]
        return filtered(self.agent, {name: np.stack([o[name] for o in first])[:, None] for name in first[0]})


def check_whole(**given: tuple[object, int]) -> None:
    """Look whether arguments are whole numbers; each with the least that it may be.

    Raises:
        UserError: one is none, or is smaller.
    """
    for name, (value, least) in given.items():
        if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < least:
            raise UserError(f"{name} must be a whole number of at least {least}, not {value!r}")


def allowed(space: ThetaSpace) -> str:
    """``size 3, 4, 5; slip 0, 0.25``: the values of each parameter, or their range where there are many."""
    finite = isinstance(space, FiniteThetaSpace)
    if isinstance(space, FiniteThetaSpace):
        points = space.points
    elif isinstance(space, BoxThetaSpace):
        points = np.stack([space.low, space.high])
    else:
        return f"its parameters: {', '.join(space.names)}"
    told = []
    for name, column in zip(space.names, points.T, strict=True):
        values = np.unique(column)
        listed = finite and len(values) <= _MOST_VALUES
        told.append(
            f"{name} {', '.join(f'{v:g}' for v in values)}" if listed else f"{name} {values[0]:g} … {values[-1]:g}"
        )
    return "; ".join(told)


class CurriculumView:
    """The snapshots of a run's curriculum, as tables over θ."""

    def __init__(self, data: RunData) -> None:
        self.rows = data.curriculum

    def __repr__(self) -> str:
        told = f"{len(self.steps)} snapshots, the last at step {self.steps[-1]:,}" if self.steps else "no snapshot"
        return f"CurriculumView({told})"

    @property
    def steps(self) -> list[int]:
        """Agent steps at which there are snapshots."""
        return sorted(map(int, self.rows["step"].unique())) if len(self.rows) else []

    def table(self, step: int | None = None) -> pd.DataFrame:
        """The snapshot at ``step`` (None = the last): one row a θ, indexed by θ's parameters.

        Raises:
            UserError: there is no snapshot, or none at that step.
        """
        steps = self.steps
        if not steps:
            raise UserError("this run has no snapshot of a curriculum")
        if step is not None and step not in steps:
            raise UserError(f"there is no snapshot at step {step}; there are {', '.join(map(str, steps))}")
        rows = self.rows[self.rows["step"] == (steps[-1] if step is None else step)]
        theta = [c for c in rows if c.startswith("theta_") and c != "theta_id"]
        return rows.rename(columns={c: c.removeprefix("theta_") for c in theta}).set_index(
            [c.removeprefix("theta_") for c in theta]
        )

    def probabilities(self, step: int | None = None) -> pd.Series:
        """The probability of each θ to be chosen next, indexed by θ."""
        return self.table(step)["probability"]

    def estimates(self, step: int | None = None) -> pd.Series:
        """The estimated model error of each θ, indexed by θ; NaN where there is no estimate yet."""
        return self.table(step)["estimate"]


class ReplayView:
    """A run's replay, read only."""

    def __init__(self, replay: Replay, agent: Agent) -> None:
        self._replay, self._agent = replay, agent

    def __repr__(self) -> str:
        return f"ReplayView({len(self):,} steps)"

    def __len__(self) -> int:
        """Steps held."""
        return len(self._replay)

    def sample(self, batch: int, length: int, seed: int = 0) -> dict[str, NDArray[Any]]:
        """Windows drawn uniformly, name → (batch, length, ...).

        Raises:
            UserError: it does not hold windows so long, or a number is none or too small.
        """
        check_whole(batch=(batch, 1), length=(length, 1), seed=(seed, 0))
        return self._replay.sample(np.random.default_rng(seed), batch, length)

    def states(self, n: int, seed: int = 0) -> Starts:
        """Posterior states of the world model at the ends of ``n`` random windows of the run's training length.

        Raises:
            UserError: fewer than one, or more than the replay has steps.
        """
        import torch

        from waker.behaviour.starts import start_states
        from waker.model.rssm import State

        check_whole(n=(n, 1), seed=(seed, 0))
        if n > len(self):
            raise UserError(
                f"states asks for {n} states, and the replay holds {len(self)} steps: choose from 1 to so many"
            )
        length = self._agent.config.train.length
        windows = self.sample(n, length, seed)
        state = observed(self._agent, windows)
        last = {name: torch.from_numpy(windows[name][:, -1:]) for name in ("is_terminal", "theta_id")}
        return start_states(State(state.stoch[:, -1:], state.deter[:, -1:]), last, 0)


def observed(agent: Agent, records: Mapping[str, NDArray[Any]]) -> State:
    """The posterior modes of windows, stoch and deter (B, T, ...)."""
    import torch

    batch = {name: torch.from_numpy(np.ascontiguousarray(a)).to(agent.device) for name, a in records.items()}
    with torch.no_grad():
        return agent.model.observe(batch, mode=True).state


def filtered(agent: Agent, observation: Mapping[str, NDArray[Any]]) -> State:
    """The posterior modes of episodes that begin with these observations (n, 1, ...)."""
    from waker.model.rssm import State

    n = len(next(iter(observation.values())))
    action = np.zeros((n, 1, agent.spec.action.dim), np.float32)
    state = observed(agent, {**observation, "action": action, "is_first": np.ones((n, 1), bool)})
    return State(state.stoch[:, 0], state.deter[:, 0])


def _warn(text: str) -> None:
    warnings.warn(text, stacklevel=3)
