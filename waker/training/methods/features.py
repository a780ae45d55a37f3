"""``features``: a reward that is linear in named features of the observation, then an ordinary task."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from waker.errors import UserError
from waker.replay.relabel import TaskFunction
from waker.terminal.progress import Progress
from waker.training.adapt import Adaptation, adapter_for
from waker.training.adapt_features import FeatureAdaptation
from waker.training.adapt_preferences import Lesson
from waker.training.adapted import Adapted
from waker.training.compile_choice import Compiling
from waker.training.loading import LoadedRun
from waker.training.preference_methods import Method, register_method


@register_method("features")
class NamedFeatures(Method):
    """See :mod:`waker.training.adapt_features`; the lesson's ``own`` is the function of the user's."""

    judged = False
    compiled = True

    @classmethod
    def adaptation(
        cls,
        loaded: LoadedRun,
        lesson: Lesson,
        progress: Progress,
        compiling: Compiling | None = None,
        used: Mapping[str, Any] | None = None,
    ) -> Adaptation:
        if not isinstance(lesson.own, TaskFunction):
            raise UserError("method features needs named features: add --features FILE.py:FUNCTION")
        return FeatureAdaptation(loaded, lesson, lesson.own, progress, compiling, used)

    @classmethod
    def fresh(cls, loaded: LoadedRun, folder: Path, record: Mapping[str, Any]) -> Adapted:
        return adapter_for(loaded, record["tasks"])
