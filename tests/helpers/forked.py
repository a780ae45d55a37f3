"""Commands in forks of a process that has imported torch and the other libraries, and nothing of ours.

A fresh interpreter spends three seconds on those imports, a fork none. The command is a process as any other: it has a
number, a working directory, variables, streams, an exit code and signals of its own, and imports this project and its
plug-ins itself. Tests of how a process begins take :func:`tests.helpers.tiny.waker`, a fresh interpreter.
"""

from __future__ import annotations

import functools
import importlib
import json
import os
import runpy
import select
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

LIBRARIES = ("torch", "pandas", "pyarrow.parquet", "scipy.special", "gymnasium", "tyro", "rich.live", "yaml")


def waker(
    *args: str | Path, cwd: Path, environment: Mapping[str, str] | None = None, timeout: float = 300
) -> subprocess.CompletedProcess[str]:
    """``python -m waker``; its result, whatever the exit code. As :func:`tests.helpers.tiny.waker`."""
    return _asked({"argv": ["waker", *map(str, args)]}, cwd, environment, timeout)


def python(
    code: str, cwd: Path, environment: Mapping[str, str] | None = None, timeout: float = 300
) -> subprocess.CompletedProcess[str]:
    """``python -W error::DeprecationWarning -c code``; its result, whatever the exit code."""
    return _asked({"argv": ["-c"], "code": code}, cwd, environment, timeout)


def _asked(
    what: dict[str, Any], cwd: Path, environment: Mapping[str, str] | None, timeout: float
) -> subprocess.CompletedProcess[str]:
    """Have a command made by the process that forks; it is killed with it where it takes longer than ``timeout``."""
    variables = {**os.environ, "OMP_NUM_THREADS": "1", **(environment or {})}
    server = _server()
    assert server.stdin is not None and server.stdout is not None
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder, "out"), Path(folder, "err")
        asked = {**what, "cwd": str(cwd), "environment": variables, "out": str(out), "err": str(err)}
        server.stdin.write(json.dumps(asked) + "\n")
        server.stdin.flush()
        if not select.select([server.stdout], [], [], timeout)[0]:
            server.kill()
            _server.cache_clear()
            raise subprocess.TimeoutExpired(what["argv"], timeout, err.read_text(errors="replace"))
        code = int(server.stdout.readline())
        return subprocess.CompletedProcess(what["argv"], code, out.read_text(), err.read_text())


@functools.cache
def _server() -> subprocess.Popen[str]:
    """This test process's own; it ends when its standard input does."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment["OMP_NUM_THREADS"] = "1"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    return subprocess.Popen([sys.executable, __file__], env=environment, text=True, **pipes)  # type: ignore[call-overload,no-any-return]


def serve() -> None:
    """Fork once a line of standard input; its answer is the exit code. Only the fork returns before the end."""
    for name in LIBRARIES:
        importlib.import_module(name)
    libraries = [*sys.path]
    for line in iter(sys.stdin.readline, ""):
        child = os.fork()
        if child == 0:
            _become(json.loads(line), libraries)
            return  # and the interpreter ends as it does
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


def _become(asked: dict[str, Any], libraries: Sequence[str]) -> None:
    """Run a command as the interpreter would have."""
    streams = (os.devnull, os.O_RDONLY), *((asked[name], os.O_WRONLY | os.O_CREAT) for name in ("out", "err"))
    for number, (path, flags) in enumerate(streams):
        opened = os.open(path, flags, 0o600)
        os.dup2(opened, number)
        os.close(opened)
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["environment"])
    sys.path[:] = ["", *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep)), *libraries]
    sys.argv = asked["argv"]
    if "code" in asked:
        warnings.simplefilter("error", DeprecationWarning)
        exec(compile(asked["code"], "<string>", "exec"), {"__name__": "__main__"})
    else:
        runpy.run_module("waker", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    sys.path.pop(0)  # this folder is no place to import from
    serve()
