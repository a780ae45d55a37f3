"""One task in a process of its own: ``python -m experiments.gpu.worker JSON``, started by :mod:`experiments.gpu.pool`.

Rows go to a file as they are found, a line each, so that a kill loses none. A task that waits says that it is prepared
by an empty file ``ready`` and goes on once there is one called ``go``.
"""

from __future__ import annotations

import json
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

Row = dict[str, Any]
Measure = Callable[[], Iterator[Row]]
"""The second half of a task, which yields rows."""


class Gate:
    """Between a task's two halves.

    Args:
        folder: of the task, with its ``ready`` and ``go``.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def wait(self) -> None:
        """Say that all is prepared, and wait to be let on."""
        (self._folder / "ready").touch()
        while not (self._folder / "go").exists():
            time.sleep(0.02)


def measure_of(part: str) -> Callable[..., Measure]:
    """What prepares a part's task and returns its second half."""
    if part == "checks":
        from experiments.gpu.checks import check

        return check
    if part in ("run", "loop", "render"):
        from experiments.gpu import whole

        return {"run": whole.run, "loop": whole.loop, "render": whole.render}[part]
    from experiments.gpu import speed

    return {"card": speed.card, "work": speed.work, "speed": speed.speed}[part]


def main(asked: str) -> int:
    """Run one task; its failure is a row too."""
    options = json.loads(asked)
    folder, started = Path(options["folder"]), time.monotonic()
    task, device = options["task"], options["device"]
    names = {"part": task["part"], "name": task["name"]}
    with open(folder / "rows.jsonl", "a", encoding="utf-8", buffering=1) as file:

        def write(row: Row) -> None:
            file.write(json.dumps({**names, **row}) + "\n")

        try:
            # The two halves are nested calls, so that what was prepared lives until it has been measured.
            prepare = measure_of(task["part"])
            measure = prepare(device, task["name"], tuple(task["ways"]), tuple(task["precisions"]), options["quick"])
            prepared = time.monotonic() - started
            if task["waits"]:
                Gate(folder).wait()
            for row in measure():
                write({"prepared_s": round(prepared, 1), **row})
        except Exception as error:  # noqa: BLE001 — whatever failed is what there is to report
            traceback.print_exc()
            first = next((line for line in str(error).splitlines() if line.strip()), "").strip()[:300]
            spent = round(time.monotonic() - started, 1)
            failed = {"failed": f"{type(error).__name__}: {first}", "after_s": spent}
            write({**failed, "ways": task["ways"], "precisions": task["precisions"]})
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
