"""Tasks defined after a run: reward functions of what is seen (and done), laid over a replay collected without them.

Used by ``waker adapt`` (training from the relabelled replay) and ``waker evaluate`` (returns of the new tasks).
"""

from __future__ import annotations

import difflib
import functools
import importlib.util
import inspect
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from waker.errors import UserError, unknown
from waker.names import printable, task_name
from waker.replay.ring import Replay
from waker.replay.task import Optimum
from waker.specs import EnvSpec
from waker.torch_globals import torch_unchanged
from waker_envs.foreign import foreign, reason_of

_CHUNK = 4096
"""Ticks relabelled at once; bounds the memory of pictures."""


@dataclass(frozen=True)
class TaskFunction:
    """A reward function from a file the user named.

    Attributes:
        name: the task's name: the function's, see :func:`waker.names.task_name`.
        source: ``file.py:function`` with an absolute path.
        function: of observations, or of observations and actions; see :func:`waker.replay.task.task`.
    """

    name: str
    source: str
    function: Callable[..., Any]

    @property
    def optimal_return(self) -> Optimum | None:
        """What computes an episode's optimum; None = it is not known."""
        return getattr(self.function, "optimal_return", None)

    @property
    def sees_actions(self) -> bool:
        """Whether the function has a second argument without a default."""
        try:
            parameters = inspect.signature(self.function).parameters.values()
        except (TypeError, ValueError):  # a callable that does not say
            return False
        plain = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        return len([p for p in parameters if p.kind in plain and p.default is inspect.Parameter.empty]) > 1

    def __call__(
        self, observation: Mapping[str, NDArray[Any]], action: NDArray[Any] | None = None
    ) -> NDArray[np.float32]:
        """Rewards (B, T) of observations, each key (B, T, …), and of the actions that led there.

        Args:
            observation: by the author's keys.
            action: (B, T) or (B, T, A); see :func:`actions_of`. None where it is known not to be looked at.

        Raises:
            UserError: the function raised, or returned another shape or values that are not finite.
        """
        shape = next(iter(observation.values())).shape[:2]
        call = f"task {self.source}"
        with torch_unchanged(call), foreign(call, lambda error: self._failed(error, observation)):
            given = (observation, action) if self.sees_actions else (observation,)
            rewards = np.array(self.function(*given), np.float32)  # a function may return its own array twice
        if rewards.shape != shape:
            raise UserError(
                f"task {self.source} returned rewards of shape {rewards.shape} for observations with leading {shape}; "
                "it must return one reward for each"
            )
        if not np.isfinite(rewards).all():
            raise UserError(f"task {self.source} returned rewards that are not finite")
        return rewards

    def _failed(self, error: BaseException, observation: Mapping[str, NDArray[Any]]) -> UserError:
        file = self.source.rpartition(":")[0]
        lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == file]
        where = f" in line {lines[-1]}" if lines else ""
        keys = f"; the observation has {', '.join(map(printable, observation))}" if isinstance(error, KeyError) else ""
        return UserError(f"task {self.source} failed{where}: {reason_of(error)}{keys}")


def actions_of(spec: EnvSpec, vectors: NDArray[np.float32]) -> NDArray[Any]:
    """Agents' actions (…, A) as the environment takes them: whole numbers (…) of a discrete space, else (…, A)."""
    return vectors.argmax(-1) if spec.action.discrete else np.asarray(spec.action.to_env(vectors))


def load_task(source: str) -> TaskFunction:
    """The function behind ``file.py:function``. This runs the file, which the user named for that purpose.

    Raises:
        UserError: no such file or function, or the file cannot be imported.
    """
    file, separator, name = source.rpartition(":")
    path = Path(file).resolve()
    if not separator or not name.isidentifier():
        raise UserError(f"task module {source!r} must have the form file.py:function")
    if not path.is_file():
        near = difflib.get_close_matches(path.name, [p.name for p in path.parent.glob("*.py")], n=1)
        raise UserError(f"no file {file!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
    spec = importlib.util.spec_from_file_location(f"waker_task_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise UserError(f"{file!r} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    call = f"the import of {file}"
    failed = functools.partial(_not_imported, file)
    with torch_unchanged(call), foreign(call, failed):
        spec.loader.exec_module(module)
    function = getattr(module, name, None)
    if not callable(function):
        names = [n for n, value in vars(module).items() if callable(value) and not n.startswith("_")]
        raise unknown(f"function of {file}", name, names)
    return TaskFunction(task_name(name), f"{path}:{name}", function)


def _not_imported(file: str, error: BaseException) -> UserError:
    return UserError(f"{file} cannot be imported: {reason_of(error)}")


def relabelled(replay: Replay, spec: EnvSpec, tasks: Sequence[str | TaskFunction]) -> Replay:
    """The same records with the rewards of other tasks; what they have in common is shared, not copied.

    Args:
        replay: of a run on ``spec``.
        tasks: names of the environment's tasks, or functions; their order becomes that of ``task_rewards``.

    Returns:
        A replay of the same records with ``task_rewards`` (K,), K = len(tasks). A reset observation earns nothing.

    Raises:
        UserError: a task the environment does not have, or a function that fails.
    """
    rewards = np.zeros((replay.slots, replay.size, len(tasks)), np.float32)
    for start, stop in ((s, min(s + _CHUNK, end)) for first, end in replay.spans for s in range(first, end, _CHUNK)):
        records = replay.read(start, stop)
        columns = []
        for task in tasks:
            if isinstance(task, TaskFunction):
                # Its own copies: what a function writes into them is seen by nobody else.
                earned = task(spec.labelled(records), actions_of(spec, records["action"]))
                columns.append(np.where(records["is_first"], 0.0, earned))
            elif task in spec.tasks:
                columns.append(records["task_rewards"][..., spec.tasks.index(task)])
            else:
                raise unknown("task", task, spec.tasks)
        rewards[:, np.arange(start, stop) % replay.size] = np.stack(columns, -1)
    return replay.replaced("task_rewards", rewards)
