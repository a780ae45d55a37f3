"""Calls of code that this project did not write: environments, plug-ins, users' functions, logging services.

Whatever such code raises becomes one error that says what was called and how to do it again, ``SystemExit`` and
``GeneratorExit`` included: they would end the process without a word, and with the exit code of a success. What the
user's own Ctrl-C or SIGTERM raises goes through as it is. While such a call runs, :data:`calls` says which one it is,
for whoever watches over it.

Foreign code may fork. The copy of this process that it makes is its own business, and must not come back: it would go
on as a second training in the same folder. Where it does, by an exception (``sys.exit``) or without one, it ends there.

Every call of foreign code is inside of :class:`foreign`, or of :func:`leniently` where the rest can go on without it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import ClassVar, NoReturn

_LONGEST = 500
"""Characters of somebody else's message that are told."""


class Stop(KeyboardInterrupt):
    """Ctrl-C or SIGTERM, raised by a signal handler of this project.

    Attributes:
        raised: how many there have been in this process.
        number: the signal's.
    """

    raised: ClassVar[int] = 0

    def __init__(self, number: int = signal.SIGINT) -> None:
        super().__init__()
        self.number = number
        Stop.raised += 1


class Told(RuntimeWarning):
    """A warning that the command line tells as one line."""


class Failed(Told):
    """Foreign code failed, and the rest went on without it: the command's exit code says so."""


def reason_of(error: BaseException) -> str:
    """What an exception says, in one line, even if it cannot say it."""
    name = type(error).__name__
    try:
        text = "".join(c if c.isprintable() else repr(c)[1:-1] for c in " ".join(str(error).split()))
    except BaseException:  # noqa: BLE001 — the exception is foreign code, too
        return f"{name}, whose message cannot be shown"
    if len(text) > _LONGEST:
        text = f"{text[:_LONGEST]} …"
    if isinstance(error, SystemExit):
        return f"it called for the end of the program (SystemExit: {text})"
    return f"{name}: {text}" if text else name


class _Calls:
    """The foreign call under way in this process: which one, and the how manieth it is.

    Attributes:
        process: how many forks lie between this process and the one that was started as a program.
    """

    __slots__ = ("newest", "number", "process")

    def __init__(self) -> None:
        self.newest: foreign | None = None
        self.number = 0
        self.process = 0

    def in_child(self) -> None:
        """This process is a copy of the one that has made the calls under way."""
        self.process += 1


calls = _Calls()
if hasattr(os, "register_at_fork"):  # cheaper than to ask for the process's id at every call
    os.register_at_fork(after_in_child=calls.in_child)


class foreign:
    """A block that calls foreign code. May be entered again and again, which costs a fraction of a microsecond.

    Args:
        what: what is called, or a function that says it: asked when it takes long; empty = that is nobody's concern.
        failed: makes the error to raise from what the code raised.
        passing: exceptions that are raised as they are.
    """

    __slots__ = ("_before", "_failed", "_passing", "_process", "_stops", "_what")

    def __init__(
        self,
        what: str | Callable[[], str],
        failed: Callable[[BaseException], BaseException],
        passing: tuple[type[BaseException], ...] = (),
    ) -> None:
        self._what, self._failed, self._passing = what, failed, passing
        self._before: foreign | None = None
        self._stops = 0
        self._process = 0

    @property
    def what(self) -> str:
        """What is called."""
        return self._what if isinstance(self._what, str) else self._what()

    def __enter__(self) -> None:
        self._before, self._stops = calls.newest, Stop.raised
        self._process = calls.process
        calls.newest = self
        calls.number += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if calls.process != self._process:
            _end(self, error)
        calls.newest = self._before
        if error is None:
            return
        if Stop.raised != self._stops and not isinstance(error, KeyboardInterrupt):
            # Ctrl-C came, and the code made something else of it, as a module does that was being imported.
            raise Stop from error
        if isinstance(error, self._passing) or by_signal(error):
            return
        raise self._failed(error) from error


def _end(call: foreign, error: BaseException | None) -> NoReturn:
    """End a process that a foreign call has forked, at the end of that call; nothing of the parent's is touched.

    With the exit code that it asked for; what it raised otherwise, or that it came back, is told in one line.
    """
    if isinstance(error, SystemExit) and (error.code is None or isinstance(error.code, int)):
        os._exit((error.code or 0) & 0xFF)
    said = "it came back from the call, as if it were its parent" if error is None else reason_of(error)
    with contextlib.suppress(OSError, ValueError):
        what = " ".join(call.what.split())
        print(f"waker: a process that was forked in {what or 'foreign code'} was ended: {said}", file=sys.stderr)
    os._exit(1)


def by_signal(error: BaseException) -> bool:
    """Whether the user stopped the process, as opposed to code that raises ``KeyboardInterrupt`` by itself."""
    if not isinstance(error, KeyboardInterrupt):
        return False
    # Python's own handler leaves no trace; where ours are installed, or none is, only a Stop is a signal.
    return isinstance(error, Stop) or signal.getsignal(signal.SIGINT) is signal.default_int_handler


def waiting(what: str | Callable[[], str]) -> foreign:
    """A block that waits for foreign code in another process: what it raises is ours, and goes through."""
    return foreign(what, lambda error: error, (BaseException,))


@contextmanager
def leniently(what: str, category: type[Told] = Failed) -> Iterator[None]:
    """A block of foreign code without which the rest can go on: what it raises becomes a warning of one line."""
    try:
        with foreign(what, _Raised):
            yield
    except _Raised as raised:
        warnings.warn(f"{what}: {reason_of(raised.error)}", category, stacklevel=3)


class _Raised(Exception):
    """Carries what foreign code raised."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error
