"""Names of methods that make a policy of answers: how ``waker adapt --preferences`` gets one, how a new one is added.

A method is a :class:`Method` under a name: a file in ``waker/training/methods/``, :func:`register_method`, an entry
point in the group ``waker.preference_methods``, or ``file.py:Class``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from waker.errors import UserError
from waker.plug_ins import Registry

if TYPE_CHECKING:
    from waker.terminal.progress import Progress
    from waker.training.adapt import Adaptation
    from waker.training.adapt_preferences import Lesson
    from waker.training.adapted import Adapted
    from waker.training.compile_choice import Compiling
    from waker.training.loading import LoadedRun


class Method(ABC):
    """How a policy is made of answers.

    Attributes:
        Own: dataclass of the method's own settings, each with a default; None = it has none.
        judged: whether a reward head is fitted to the answers first.
        compiled: whether its updates can be compiled.
    """

    Own: ClassVar[type[Any] | None] = None
    judged: ClassVar[bool] = True
    compiled: ClassVar[bool] = False

    @classmethod
    def updates(cls, own: Any) -> int | None:
        """Updates in all where nobody says how many; None = as many as for tasks of rewards."""
        return None

    @classmethod
    @abstractmethod
    def adaptation(
        cls,
        loaded: LoadedRun,
        lesson: Lesson,
        progress: Progress,
        compiling: Compiling | None = None,
        used: Mapping[str, Any] | None = None,
    ) -> Adaptation:
        """The policy's training; arguments as of :class:`~waker.training.adapt_preferences.PreferenceAdaptation`."""

    @classmethod
    @abstractmethod
    def fresh(cls, loaded: LoadedRun, folder: Path, record: Mapping[str, Any]) -> Adapted:
        """What a saved state is loaded into.

        Args:
            folder, record: of the policy, and its ``tasks.yaml``.

        Raises:
            UserError: the record lacks something.
        """


METHODS: Registry[type[Method]] = Registry("method", "waker.training.methods", "waker.preference_methods")
register_method = METHODS.register
method_names = METHODS.names


def find_method(name: str) -> type[Method]:
    """The method called ``name``.

    Raises:
        UserError: there is none, or it is no :class:`Method`.
    """
    found = METHODS.find(name)
    if not (isinstance(found, type) and issubclass(found, Method)):
        raise UserError(f"method {name!r} is no subclass of waker.training.preference_methods.Method")
    return found


def method_settings(name: str) -> type[Any] | None:
    """The dataclass of a method's own settings; None = it has none.

    Raises:
        UserError: see :func:`find_method`.
    """
    return find_method(name).Own
