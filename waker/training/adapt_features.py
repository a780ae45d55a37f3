"""A policy for a task that is given by preferences over *named features*: a linear reward, then a reward task as any.

Called by ``waker adapt RUN --preferences FILE --features features.py:named``. The weights are found from the answers at
once; the replay is relabelled with the reward that they make, and an ordinary head and policy learn it.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from waker.errors import UserError
from waker.preferences.linear import columns, weights_of
from waker.replay.relabel import TaskFunction, relabelled
from waker.replay.ring import Replay
from waker.storage.files import saving, sha256
from waker.storage.sealed import write_json
from waker.terminal.progress import Progress
from waker.torch_globals import torch_unchanged
from waker.training.adapt import Adaptation
from waker.training.adapt_preferences import Lesson
from waker.training.compile_choice import Compiling
from waker.training.loading import LoadedRun
from waker_envs.foreign import foreign, reason_of


class FeatureAdaptation(Adaptation):
    """A policy being trained on a linear reward of named features.

    Args:
        loaded: the run, its folder locked by the caller.
        lesson: what it learns from; of its settings the error alone counts.
        features: the function, as :func:`waker.replay.relabel.load_task` finds it.
        progress: shows where it is.
        compiling, used: as of :class:`~waker.training.adapt.Adaptation`.

    Raises:
        UserError: the function fails, or tells nothing apart.
    """

    _changed = "the model, its replay, the answers or the features have changed: starting anew"

    def __init__(
        self,
        loaded: LoadedRun,
        lesson: Lesson,
        features: TaskFunction,
        progress: Progress,
        compiling: Compiling | None = None,
        used: Mapping[str, Any] | None = None,
    ) -> None:
        self.lesson, self.features = lesson, features
        self._sha256 = sha256(Path(features.source.rpartition(":")[0]))
        super().__init__(loaded, [lesson.name], progress, compiling, used)

    def _taught(self, held: Replay) -> Replay:
        """The run's replay with the linear reward that the answers tell."""
        spec, what = self.loaded.family.spec, f"features {self.features.source}"
        named = functools.partial(_called, self.features, what)
        asked = self.lesson.asked or held
        weights = weights_of(asked, spec, self.lesson.answers, named, what, self.lesson.settings.error)

        def reward(observation: Mapping[str, NDArray[Any]]) -> NDArray[np.float64]:
            found = columns(named, observation, what)
            return np.asarray(sum(weights[name] * found[name] for name in weights))

        taught = relabelled(held, spec, [TaskFunction(self.lesson.name, self.features.source, reward)])
        earned = np.concatenate([taught.read(*span)["task_rewards"].ravel() for span in taught.spans])
        median, high = np.quantile(earned, [0.5, 0.99])
        scale = float(high - median) or float(earned.max() - median)
        if not scale > 0:
            raise UserError(f"{what} are the same in all of the replay: no answer can tell what they are worth")
        first, second = self.lesson.answers.pairs
        self.offset = 0.0 if (first.length != second.length).any() else float(median)
        self.weights = {name: weight / scale for name, weight in weights.items()}
        held_first = taught.arrays["is_first"][..., None]
        scaled = (taught.arrays["task_rewards"] - self.offset) / scale
        return taught.replaced("task_rewards", np.where(held_first, 0.0, scaled).astype(np.float32))

    def resume(self) -> bool:
        """Tell and keep the weights, then go on or begin."""
        told = ", ".join(f"{name} {weight:.2f}" for name, weight in self.weights.items())
        self.progress.note(f"weights of the features: {told}")
        with saving(f"the weights in {self.folder}"):
            about = {"file": str(self.lesson.file), "features": self.features.source, **self._learned}
            offset = self.offset
            write_json(
                self.folder / "head.json", {**about, **self.lesson.counts, "weights": self.weights, "offset": offset}, 1
            )
        return super().resume()

    @property
    def _learned(self) -> dict[str, Any]:
        """What the policies belong to."""
        record = self.lesson.record
        return {
            "sha256": record["sha256"],
            "method": "features",
            "error": self.lesson.settings.error,
            "features_sha256": self._sha256,
        }

    def _record(self) -> dict[str, Any]:
        return {**super()._record(), "preferences": self._learned}


def _called(features: TaskFunction, what: str, observation: Mapping[str, NDArray[Any]]) -> Any:
    """What the function of the user's file returns.

    Raises:
        UserError: it raised.
    """

    def failed(error: BaseException) -> UserError:
        return UserError(f"{what} failed: {reason_of(error)}")

    with torch_unchanged(what), foreign(what, failed):
        return features.function(observation)
