"""Command lines of ``waker`` in forked children of a process that has imported everything already.

A fresh interpreter spends three seconds on imports; a child forked after them spends none. The process that forks must
stay clean: it runs no training, opens no table and starts no thread, as a fork would inherit their locks. So whatever
else is to be computed goes through :func:`call`, in a child as well.
"""

from __future__ import annotations

import importlib
import io
import os
import pickle
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from waker.terminal.startup import guard

NEEDED = (
    "waker.training.build",
    "waker.training.adapt",
    "waker.cli.tables",
    "waker.analysis.summary",
    "waker.report.page",
    "waker_envs.films",
    "waker_envs.combined",
    "waker_envs.grids.hazards",
    "yaml",
)
"""Modules that command lines would import one by one."""
ASKED = (20.0, 40.0)
"""Seconds that a command may still take once SIGTERM has asked it to stop, and once a second one has."""
_POLL = 0.01
_exit = os._exit  # the command replaces it in its own process


def warm_up() -> None:
    """Import all that command lines need; call it before the first fork."""
    from waker.cli import VERBS

    for name in (*NEEDED, *(f"waker.cli.verbs.{verb}" for verb in VERBS)):
        importlib.import_module(name)


@dataclass(frozen=True)
class Ended:
    """How a command line came to its end.

    Attributes:
        code: exit code; −n = ended by signal n; None = it had to be killed.
        out, err: what it wrote, undecodable bytes replaced.
        seconds: that it took.
        asked: it went on past its limit and was asked to stop.
        left: processes of its group outlived it.
    """

    argv: tuple[str, ...]
    code: int | None
    out: str
    err: str
    seconds: float
    asked: bool = False
    left: bool = False


@dataclass
class Command:
    """A command line under way, in a process group of its own."""

    argv: tuple[str, ...]
    pid: int
    out: Path
    err: Path
    began: float = field(default_factory=time.monotonic)
    code: int | None = None

    def poll(self) -> bool:
        """Whether it has ended."""
        if self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.code = os.waitstatus_to_exitcode(status)
        return self.code is not None

    def wait(self, seconds: float) -> bool:
        """Wait for its end, so long at most; whether it has ended."""
        until = time.monotonic() + seconds
        while not self.poll():
            if time.monotonic() >= until:
                return False
            time.sleep(_POLL)
        return True

    def send(self, number: int, group: bool = False) -> None:
        """Send a signal to its process, or to its group."""
        with suppress(ProcessLookupError):
            (os.killpg if group else os.kill)(self.pid, number)

    def ended(self, asked: bool = False, grace: float = 4.0) -> Ended:
        """How it ended; nothing of its group is left alive."""
        left = self._left(grace) if self.code is not None else False
        self.send(signal.SIGKILL, group=True)
        killed = self.code is None
        self.wait(10.0)
        out, err = (p.read_bytes().decode("utf-8", "replace") for p in (self.out, self.err))
        seconds = time.monotonic() - self.began
        return Ended(self.argv, None if killed else self.code, out, err, seconds, asked, left)

    def _left(self, grace: float) -> bool:
        until = time.monotonic() + grace
        while time.monotonic() < until:
            try:
                os.killpg(self.pid, 0)
            except (ProcessLookupError, PermissionError):
                return False
            time.sleep(_POLL)
        return True


def start(
    argv: Sequence[str],
    cwd: Path,
    environment: Mapping[str, str] | None = None,
    memory: int | None = None,
    cold: bool = False,
) -> Command:
    """Start ``waker *argv``.

    Args:
        cwd: its working directory.
        environment: changes to the environment.
        memory: bytes of address space that it may take beyond what is in use already; None = no limit.
        cold: in a fresh interpreter.
    """
    logs = Path(tempfile.mkdtemp(prefix="logs-", dir=cwd.parent))
    out, err = logs / "out", logs / "err"

    def run() -> int:
        _stand_alone(out, err, cwd, environment or {})
        if memory is not None:
            _limit(memory)
        if cold:
            os.execv(sys.executable, [sys.executable, "-m", "waker", *argv])
        sys.argv = ["waker", *argv]
        from waker.cli import run as console_script

        return _code_of(console_script)

    return Command(tuple(argv), _fork(run), out, err)


def run(
    argv: Sequence[str],
    cwd: Path,
    limit: float = 60.0,
    environment: Mapping[str, str] | None = None,
    memory: int | None = None,
    cold: bool = False,
) -> Ended:
    """Run ``waker *argv`` to its end; past ``limit`` seconds it is asked to stop, and killed if it does not."""
    return finish(start(argv, cwd, environment, memory, cold), limit)


def finish(command: Command, limit: float) -> Ended:
    """Wait for the end of a command; see :func:`run`."""
    if command.wait(limit):
        return command.ended()
    for patience in ASKED:  # as an impatient user does
        command.send(signal.SIGTERM)
        if command.wait(patience):
            break
    return command.ended(asked=True)


def call(function: Callable[..., Any], *args: Any) -> Any:
    """``function(*args)``, computed in a child.

    Raises:
        RuntimeError: it raised; the message is its traceback.
    """
    read, write = os.pipe()

    def run() -> int:
        os.close(read)
        try:
            answer: tuple[bool, Any] = (True, function(*args))
        except BaseException:  # noqa: BLE001 — whatever it is, the parent hears of it
            answer = (False, traceback.format_exc())
        with open(write, "wb") as pipe:
            pickle.dump(answer, pipe)
        return 0

    pid = _fork(run)
    os.close(write)
    with open(read, "rb") as pipe:
        data = pipe.read()
    os.waitpid(pid, 0)
    fine, value = pickle.loads(data) if data else (False, "the child died")
    if not fine:
        raise RuntimeError(value)
    return value


def _fork(run: Callable[[], int]) -> int:
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        with suppress(PermissionError, ProcessLookupError):
            os.setpgid(pid, pid)  # both sides do: whoever is first
        return pid
    code = 1
    try:
        with suppress(PermissionError):
            os.setpgid(0, 0)
        code = run()
    finally:
        _exit(code)  # without this process's own clean-up, which is the parent's


def _stand_alone(out: Path, err: Path, cwd: Path, environment: Mapping[str, str]) -> None:
    """Be a process of a user: own streams, signals as they come, own working directory."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    guard()
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    for descriptor, path in ((1, out), (2, err)):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(file, descriptor)
        os.close(file)
    sys.stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(0, closefd=False)), encoding="utf-8")
    sys.stdout = io.TextIOWrapper(io.BufferedWriter(io.FileIO(1, "w", closefd=False)), encoding="utf-8")
    err_file = io.BufferedWriter(io.FileIO(2, "w", closefd=False))
    sys.stderr = io.TextIOWrapper(err_file, encoding="utf-8", errors="backslashreplace", line_buffering=True)
    os.chdir(cwd)
    os.environ.update(environment)
    # Workers that are spawned import the main module: it is not the harness's.
    main = sys.modules["__main__"]
    main.__spec__ = None
    if hasattr(main, "__file__"):
        del main.__file__


def _limit(memory: int) -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * os.sysconf("SC_PAGE_SIZE") + memory
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_FSIZE, (2 << 30, 2 << 30))


def _code_of(script: Callable[[], None]) -> int:
    """Call a console script and do with what it raises as the interpreter would."""
    code: Any = 0
    try:
        script()
    except SystemExit as asked:
        code = asked.code
        if code is not None and not isinstance(code, int):
            print(code, file=sys.stderr)
            code = 1
    except KeyboardInterrupt:
        traceback.print_exc()
        code = 130
    except BaseException:  # noqa: BLE001 — as the interpreter does
        traceback.print_exc()
        code = 1
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            code = code or 120
    return int(code or 0) & 0xFF
