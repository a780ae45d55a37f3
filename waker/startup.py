"""The first thing the ``waker`` command does: from here on Ctrl-C and SIGTERM end it with one line, not a traceback.

Imports next to nothing, as what is imported before :func:`guard` is not guarded. While modules are imported the process
ends on the spot: raised in the middle of an import, ``KeyboardInterrupt`` becomes an ``ImportError`` of the module, or
is lost in one of the interpreter's own callbacks. At any other time it is raised, and files that are being written are
removed.
"""

import os
import signal
import sys

SIGNALS = (signal.SIGINT, signal.SIGTERM)
_IMPORTING = "<frozen importlib._bootstrap>"
_exit = os._exit


def guard() -> None:
    """Take over Ctrl-C and SIGTERM. Only in the main thread, of which signals are."""
    for number in SIGNALS:
        signal.signal(number, _stop)


def leave(code: int) -> None:
    """From here on a signal ends the process at once, with ``code``: all is done, and the interpreter clears up."""
    for number in SIGNALS:
        signal.signal(number, lambda *_: _exit(code))


def _stop(number, frame):  # type: ignore[no-untyped-def]
    within = frame
    while within is not None:
        if within.f_code.co_filename == _IMPORTING or within.f_code.co_filename == __file__:
            tell("stopped")
            _exit(128 + number)
        within = within.f_back
    from waker_envs.foreign import Stop

    raise Stop(number)


def tell(line: str) -> None:
    """One line on standard error, from a signal handler too: no buffer is taken, which the process may hold."""
    try:  # noqa: SIM105 — contextlib would have to be imported
        sys.stdout.flush()
    except Exception:  # noqa: BLE001 — it is being written to just now, or nobody reads it
        pass
    os.write(2, f"waker: {line}\n".encode())
