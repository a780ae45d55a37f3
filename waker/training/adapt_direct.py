"""Policies that are learned by the likelihood of actions, without a critic: carried out, saved and resumed as any.

What ``waker adapt --preferences FILE --method cpl``, ``rest`` and ``self`` have in common; the methods are in
:mod:`waker.training.methods`, what they learn by in :mod:`waker.agent.direct_policy`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor

from waker.agent.direct_policy import DirectPolicy
from waker.config.schema import Config
from waker.errors import UserError
from waker.model.preference_heads import PreferenceHeads
from waker.seeding import seed_for
from waker.settings import from_plain
from waker.terminal.progress import Progress
from waker.training.adapt import Adaptation
from waker.training.adapt_preferences import Lesson, PreferenceAdaptation, members_of
from waker.training.adapted import Adapted
from waker.training.compile_choice import Compiling
from waker.training.loading import LoadedRun
from waker.training.preference_methods import Method, find_method

_STREAM = 3
"""Sets the chance of these policies apart from that of a head's fit."""


class DirectAdaptation(PreferenceAdaptation):
    """A policy being trained by the likelihood of actions, after its judge where the method has one."""

    adapter: DirectPolicy

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._teach(self.adapter)

    def _fresh(self, config: Config) -> DirectPolicy:
        method = find_method(self.lesson.method)
        assert issubclass(method, DirectMethod)
        members = self.lesson.settings.members if self.lesson.judged else 0
        return method.policy(self.loaded, self.lesson.name, self.lesson.own, members, config)

    @abstractmethod
    def _teach(self, policy: Any) -> None:
        """Give the policy what it learns from."""

    def _update(self) -> dict[str, Tensor]:
        return self.adapter.update(self.feed.next)


class GrowingAdaptation(DirectAdaptation):
    """A policy being trained on its own rollouts."""

    def _teach(self, policy: Any) -> None:
        policy.teach(self.feed.replay, self.loaded.config.train.length)


class DirectMethod(Method):
    """A method whose policy is a :class:`~waker.agent.direct_policy.DirectPolicy`.

    Attributes:
        Policy: what learns.
        Training: how it is carried out.
    """

    Policy: ClassVar[type[DirectPolicy]]
    Training: ClassVar[type[DirectAdaptation]]

    @classmethod
    def updates(cls, own: Any) -> int | None:
        return int(own.total)

    @classmethod
    def adaptation(
        cls,
        loaded: LoadedRun,
        lesson: Lesson,
        progress: Progress,
        compiling: Compiling | None = None,
        used: Mapping[str, Any] | None = None,
    ) -> Adaptation:
        return cls.Training(loaded, lesson, progress, compiling, used)

    @classmethod
    def fresh(cls, loaded: LoadedRun, folder: Path, record: Mapping[str, Any]) -> Adapted:
        given = record["preferences"].get("settings")
        if not isinstance(given, dict) or cls.Own is None:
            raise UserError(f"{folder / 'tasks.yaml'} cannot be read: it lacks the method's settings")
        own = from_plain(cls.Own, given, "settings.")
        return cls.policy(loaded, record["tasks"][0], own, members_of(folder, record) if cls.judged else 0)

    @classmethod
    def policy(cls, loaded: LoadedRun, name: str, own: Any, members: int, config: Config | None = None) -> DirectPolicy:
        """A fresh policy.

        Args:
            name: of the task.
            own: the method's settings.
            members: of the head that judges; 0 = none does.
            config: None = the run's.
        """
        model, spec, config = loaded.agent.model, loaded.family.spec, config or loaded.config
        heads = None
        if members:
            device = next(model.parameters()).device
            heads = PreferenceHeads(members, model.rssm.features, spec.action.dim, config.model).to(device)
        seed = seed_for(config.seed, "torch", _STREAM)
        return cls.Policy(model, spec, config, name, own, heads, seed)
