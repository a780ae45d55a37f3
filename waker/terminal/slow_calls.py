"""Watches over calls of foreign code: one that takes long is told in a line, so that nobody waits without a word.

The command line watches over all that it does, and the training loop over itself. What is called is known from
:data:`waker_envs.foreign.calls`, so that watching costs nothing where the calls are made.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from waker_envs.foreign import foreign

PATIENCE = 20.0
"""Seconds after which a call is told; then again whenever it has taken twice as long."""
_POLL = 1.0
_lock = threading.Lock()
_watching = 0


@contextmanager
def watched(tell: Callable[[str], None] | None = None) -> Iterator[None]:
    """Watch over foreign calls during the block; blocks within one another are watched once.

    Args:
        tell: None = a line on standard error.
    """
    global _watching
    with _lock:
        _watching += 1
        first = _watching == 1
    over = threading.Event()
    if first:
        threading.Thread(target=_watch, args=(over, tell or _print), name="watch", daemon=True).start()
    try:
        yield
    finally:
        over.set()
        with _lock:
            _watching -= 1


def _watch(over: threading.Event, tell: Callable[[str], None]) -> None:
    number, since, due = -1, 0.0, PATIENCE
    while not over.wait(min(_POLL, PATIENCE / 4)):
        (call, newest), now = _under_way(), time.monotonic()
        if call is None or newest != number:
            number, since, due = newest, now, PATIENCE
        elif now - since >= due:
            try:
                what = call.what
            except Exception:  # noqa: BLE001 — it has just gone on to something else
                continue
            due *= 2
            if what:
                tell(f"waiting for {what}, for {now - since:.0f} s now; Ctrl-C twice stops at once")


def _under_way() -> tuple[foreign | None, int]:
    """The foreign call under way and its number. Imports nothing: a plug-in may be hanging in its own import."""
    module = sys.modules.get("waker_envs.foreign")
    calls = getattr(module, "calls", None)
    return (None, -1) if calls is None else (calls.newest, calls.number)


def _print(line: str) -> None:
    print(f"waker: {line}", file=sys.stderr, flush=True)
