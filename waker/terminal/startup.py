"""The first thing the ``waker`` command does: from here on Ctrl-C and SIGTERM end it with one line, not a traceback.

Imports next to nothing, as what is imported before :func:`guard` is not guarded. While modules are imported the process
ends on the spot: raised in the middle of an import, ``KeyboardInterrupt`` becomes an ``ImportError`` of the module, or
is lost in one of the interpreter's own callbacks. At any other time it is raised, and files that are being written are
removed.
"""

import _signal  # type: ignore[import-not-found]  # what `signal` wraps: that imports enum, and takes its time
import os
import sys

SIGNALS = (int(_signal.SIGINT), int(_signal.SIGTERM))
FOLLOWS = "WAKER_FOLLOWS"
"""Environment variable: the process number of the one that this process ends with."""
_IMPORTING = "<frozen importlib._bootstrap>"
_exit = os._exit


def guard() -> None:
    """Take over Ctrl-C and SIGTERM. Only in the main thread, of which signals are."""
    for number in SIGNALS:
        _signal.signal(number, _stop)
    sys.unraisablehook = _unraisable


def _unraisable(lost):  # type: ignore[no-untyped-def]
    """Send a signal again that met a finaliser, or another callback, where what is raised is lost."""
    foreign = sys.modules.get("waker_envs.foreign")  # there where one of its exceptions is
    if foreign is None or not isinstance(lost.exc_value, foreign.Stop):
        sys.__unraisablehook__(lost)
        return
    import threading

    threading.Timer(0.01, os.kill, (os.getpid(), lost.exc_value.number)).start()


def leave(code: int) -> None:
    """From here on a signal ends the process at once, with ``code``: all is done, and the interpreter clears up."""
    for number in SIGNALS:
        _signal.signal(number, lambda *_: _exit(code))


def watch_exit() -> None:
    """From here on ``os._exit`` does not end this process without a word, nor with the exit code of a success.

    No exception tells of it, so it is replaced; processes that were forked from this one end as they ask for.
    """
    ours = os.getpid()

    def exits(code: int) -> None:
        if os.getpid() == ours:
            calls = getattr(sys.modules.get("waker_envs.foreign"), "calls", None)
            where = f" in {calls.newest.what}" if calls is not None and calls.newest is not None else ""
            tell(f"some code ended the program (os._exit({code})){where}; the same command goes on from what was saved")
            code = code or 2
        _exit(code)

    os._exit = exits  # type: ignore[assignment]


def follow() -> None:
    """End with the process that :data:`FOLLOWS` names, at once and whatever ended it.

    What a training has saved is whole at any time, so it is killed, as its parent was: the folder is free at once.
    """
    named = os.environ.pop(FOLLOWS, "")
    if not named.isdecimal():
        return
    parent = int(named)
    import ctypes

    try:
        asked = ctypes.CDLL(None).prctl(1, _signal.SIGKILL, 0, 0, 0) == 0  # PR_SET_PDEATHSIG, on Linux alone
    except (OSError, AttributeError):
        asked = False
    if os.getppid() != parent:  # it ended before it could be asked for
        os.kill(os.getpid(), _signal.SIGKILL)
    if not asked:
        import threading

        threading.Thread(target=_follow, args=(parent,), daemon=True).start()


def _follow(parent):  # type: ignore[no-untyped-def]
    """Where the system does not tell of a parent's end: look."""
    import time

    while os.getppid() == parent:
        time.sleep(0.2)
    os.kill(os.getpid(), _signal.SIGKILL)


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
