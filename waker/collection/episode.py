"""An episode: what fixes it, how far it has been played, and the report when its environment fails.

Used by slots, their worker processes, the collector and evaluations. An episode is fixed by its constructor arguments,
(seed, θ) and its actions, so it is saved as these and restored by playing it again: environments cannot be pickled in
general, and loading a pickle runs code. Imports no torch.
"""

from __future__ import annotations

import dataclasses
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from waker.errors import UserError
from waker.specs import BrokenPromise, EnvSpec
from waker_envs.foreign import reason_of


class EnvironmentFailed(UserError):
    """An environment raised, or returned what it must not.

    Attributes:
        report: ``env``, ``env_kwargs`` (what it is made with beyond training's), ``suite`` (of an evaluation; empty in
            training), ``theta`` (list), ``seed``, ``actions`` (lists, as the environment got them; the last one failed,
            none if the reset did), ``reason`` and ``traceback``: enough to reproduce it.
        saved: the file that holds the report; without one the message lists the actions.
    """

    def __init__(self, report: dict[str, Any], saved: Path | None = None) -> None:
        self.report, self.saved = report, saved
        made = f" made with {report['env_kwargs']}" if report["env_kwargs"] else ""
        where = f"at step {len(report['actions'])}" if report["actions"] else "at reset"
        suite = f" of suite {report['suite']!r}" if report["suite"] else ""
        again = f"the actions {report['actions']}" if report["actions"] else "no action"
        if saved:
            again = f"its {len(report['actions'])} actions, kept in {saved}"
        super().__init__(
            f"environment {report['env']}{made} failed {where} of an episode{suite}: {report['reason']}; "
            f"reproduce it with reset(seed={report['seed']}, options={{'theta': {report['theta']}}}) and {again}"
        )

    def __reduce__(self) -> tuple[type[EnvironmentFailed], tuple[dict[str, Any], Path | None]]:
        """Exceptions are pickled as their message, which this one is not made from."""
        return EnvironmentFailed, (self.report, self.saved)


@dataclass(frozen=True)
class Episode:
    """What an episode is reset to.

    Attributes:
        theta, theta_id: (D,) and its index, −1 outside a finite space.
        seed: of the reset.
        suite: the evaluation suite it belongs to; empty in training.
        env_kwargs: constructor arguments beyond those of training's environments.
    """

    theta: NDArray[np.float64]
    theta_id: int
    seed: int
    suite: str = ""
    env_kwargs: Mapping[str, Any] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """The same for all episodes that an environment made with these arguments can play."""
        return repr(sorted(self.env_kwargs.items()))


@dataclass
class Play:
    """A slot's episode so far: all that is needed to play it again, and what it has earned.

    Attributes:
        episode: of the newest reset; without θ before the first.
        actions: the agent's vectors (A,) since the reset.
        returns: sums of the tasks' rewards, (K,).
    """

    spec: EnvSpec
    episode: Episode = field(default_factory=lambda: Episode(np.zeros(0), -1, -1))
    actions: list[NDArray[np.float32]] = field(default_factory=list)
    returns: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))

    def begin(self, episode: Episode) -> None:
        """Start over with another episode."""
        self.episode = dataclasses.replace(episode, theta=np.array(episode.theta))
        self.actions, self.returns = [], np.zeros(len(self.spec.tasks))

    def state_dict(self) -> dict[str, Any]:
        """θ, its id, the episode's seed and the actions (length, A)."""
        actions = np.array(self.actions, np.float32).reshape(len(self.actions), self.spec.action.dim)
        episode = self.episode
        return {"theta": episode.theta, "theta_id": episode.theta_id, "seed": episode.seed, "actions": actions}

    def what(self) -> str:
        """The call under way, for a message about a slow one."""
        where = f"step {len(self.actions)}" if self.actions else "the reset"
        episode, suite = self.episode, f" of suite {self.episode.suite!r}" if self.episode.suite else ""
        return f"{where} of {self.spec.env_id}, an episode{suite} of seed {episode.seed}, θ = {episode.theta.tolist()}"

    def failed(self, reason: str, trace: str) -> EnvironmentFailed:
        """The error that its environment failed at the newest action, or at the reset if there is none."""
        return EnvironmentFailed(
            {
                "env": self.spec.env_id,
                "env_kwargs": dict(self.episode.env_kwargs),
                "suite": self.episode.suite,
                "theta": self.episode.theta.tolist(),
                "seed": self.episode.seed,
                "actions": [np.asarray(self.spec.action.to_env(a)).tolist() for a in self.actions],
                "reason": reason,
                "traceback": trace,
            }
        )

    def raised(self, error: BaseException) -> EnvironmentFailed:
        """:meth:`failed` from what the environment, or a check of it, raised."""
        return self.failed(fault_of(error), _trace_of(error))


def fault_of(error: BaseException) -> str:
    """What went wrong in an environment, in one line."""
    return " ".join(str(error).split()) if isinstance(error, BrokenPromise) else reason_of(error)


def _trace_of(error: BaseException) -> str:
    try:
        return "".join(traceback.format_exception(error))
    except BaseException:  # noqa: BLE001 — an exception that cannot be shown is foreign code, too
        return ""
