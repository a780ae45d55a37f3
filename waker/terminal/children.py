"""The environment variables of commands that this process starts: one core each, and no life beyond its own."""

from __future__ import annotations

import os

from waker.terminal.startup import FOLLOWS

# One thread a process: with two busy cores a second thread only costs (small matrices).
ONE_CORE = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "PYTHONUNBUFFERED": "1",
}


def environment_of_child() -> dict[str, str]:
    """This process's own variables and :data:`ONE_CORE`; a ``waker`` command ends with this process."""
    return {**os.environ, **ONE_CORE, FOLLOWS: str(os.getpid())}
