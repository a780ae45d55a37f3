"""``head``: a reward head by Bradley and Terry's model, then imagination as for any task."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from waker.terminal.progress import Progress
from waker.training.adapt import Adaptation
from waker.training.adapt_preferences import Lesson, PreferenceAdaptation, head_adapter, members_of
from waker.training.adapted import Adapted
from waker.training.compile_choice import Compiling
from waker.training.loading import LoadedRun
from waker.training.preference_methods import Method, register_method


@register_method("head")
class Head(Method):
    """See :mod:`waker.training.adapt_preferences`."""

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
        return PreferenceAdaptation(loaded, lesson, progress, compiling, used)

    @classmethod
    def fresh(cls, loaded: LoadedRun, folder: Path, record: Mapping[str, Any]) -> Adapted:
        return head_adapter(loaded, record["tasks"][0], members_of(folder, record))
