"""What the parts of learning cost in processor time, noted while they run: the first call, which compiles, and others.

The learner hands every part that may be compiled to :meth:`Costs.watched`; the notes go into the compile cache, where
the next run reads what to expect (:mod:`waker.training.compile_choice`).
"""

from __future__ import annotations

import functools
import resource
import statistics
import subprocess
import time
from collections.abc import Callable
from typing import Literal, ParamSpec, TypeVar

import torch

from waker.errors import UserError
from waker.machine.compile_cache import CompileCache

P = ParamSpec("P")
R = TypeVar("R")

FIGURES = ("cold", "warm", "off", "compile", "operations")
"""Of a part: processor seconds of the first compiled call, with nothing and with everything in the cache; processor
milliseconds of a later call, eager and compiled; operations of an eager call."""
SKIPPED, MEASURED = 5, 50
"""Calls that are left out (memory is fresh in the first ones), and calls whose median is noted."""


def processor_seconds() -> float:
    """Of this process and of those it started and has seen end: a C++ compiler is one of these."""
    uses = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(use.ru_utime + use.ru_stime for use in uses)


class Costs:
    """Notes what watched functions cost.

    Args:
        cache: where figures go.
        key: of the configuration (:func:`waker.machine.compile_cache.graph_key`).
        choice: whether the functions are compiled.
        note: told when something is compiled, or another process that compiles it is waited for.
        skipped, measured: calls left out, and calls whose median is noted.
    """

    def __init__(
        self,
        cache: CompileCache,
        key: str,
        choice: Literal["off", "compile"],
        note: Callable[[str], None] = lambda text: None,
        skipped: int = SKIPPED,
        measured: int = MEASURED,
    ) -> None:
        self.cache, self.key, self.choice, self._note = cache, key, choice, note
        self._skipped, self._measured = skipped, measured

    def watched(self, part: str, function: Callable[P, R]) -> Callable[P, R]:
        """The same function, of whose calls the first few are timed."""
        calls, spent = 0, []

        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            nonlocal calls
            if calls >= self._skipped + self._measured:
                return function(*args, **kwargs)
            if not calls and self.choice == "compile":
                result = self._compiling(part, lambda: function(*args, **kwargs))
            else:
                began = time.process_time()
                result = function(*args, **kwargs)
                if calls >= self._skipped:
                    spent.append(1e3 * (time.process_time() - began))
            calls += 1
            if calls == self._skipped + self._measured:
                self.cache.record(self.key, part, {self.choice: statistics.median(spent)})
            return result

        return call

    def _compiling(self, part: str, call: Callable[[], R]) -> R:
        """The first call. Where nothing is cached yet, one process compiles and others wait for what it leaves."""
        if not self._is_compiled(part):
            with self.cache.alone(self.key, part, self._note):
                if not self._is_compiled(part):
                    self._note(f"compiling {part}: minutes in which nothing else is told")
                    return self._first(part, call)
        return self._first(part, call)

    def _first(self, part: str, call: Callable[[], R]) -> R:
        """Compile, or load what is compiled, and run.

        Raises:
            UserError: the C++ compiler failed, or there is no room for what it makes.
        """
        began, missed = processor_seconds(), _misses()
        result = _uninterrupted(call)
        figure = "cold" if _misses() > missed else "warm"
        self.cache.record(self.key, part, {figure: processor_seconds() - began})
        return result

    def _is_compiled(self, part: str) -> bool:
        return not {"cold", "warm"}.isdisjoint(self.cache.costs(self.key).get(part, {}))


def _misses() -> int:
    """Graphs that torch did not find in its cache, or could not keep there."""
    counted = torch._dynamo.utils.counters["inductor"]
    return counted["fxgraph_cache_miss"] + counted["fxgraph_cache_bypass"]


def _uninterrupted(call: Callable[[], R]) -> R:
    """A call that may compile. Ctrl-C at a terminal ends compilers too, while the run finishes its update and saves.

    Raises:
        UserError: the C++ compiler failed, or there is no room for what it makes.
    """
    # Not with the module: it takes seconds to import, and only who compiles needs it.
    from torch._inductor.exc import CppCompileError, InductorError

    try:
        try:
            return call()
        except InductorError as error:
            ended = error.inner_exception.__cause__
            if not (isinstance(ended, subprocess.CalledProcessError) and ended.returncode < 0):
                raise
            return call()  # by a signal: what was compiled before is kept
    except InductorError as error:
        what = " ".join(str(error.inner_exception).split())[:300]
        if isinstance(error.inner_exception, OSError):
            raise UserError(
                f"compiled updates cannot be kept: {what}; train.compile_cache names another folder, and "
                f"train.compile 'off' needs none"
            ) from error
        if not isinstance(error.inner_exception, CppCompileError):
            raise
        raise UserError(f"the C++ compiler failed; train.compile 'off' needs none: {what}") from error
