"""Peak memory, and measurements in a fresh process: a peak is honest only where nothing ran before.

``python -m experiments.bench.memory JSON`` is that process; :func:`in_fresh_process` starts it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from waker.config.schema import CompileChoice, PrecisionChoice, ProductsChoice
from waker.errors import UserError
from waker.machine.host_memory import SWITCH, keep_freed_memory
from waker.machine.mkl_dispatch import treat_as_intel

ROOT = Path(__file__).parents[2]


def peak_bytes() -> int:
    """The most physical memory this process has held at a time.

    Linux's own figure for this process's image: ``getrusage`` may still show the parent's, from before the program
    was started.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return 1024 * int(line.split()[1])
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def device_peak_bytes(device: torch.device) -> int | None:
    """The most memory that was set aside for tensors on a CUDA device; None elsewhere.

    What the allocator reserved, not what tensors held: the pool of recorded graphs is in use although no tensor of
    the host's lies in it.
    """
    return torch.cuda.max_memory_reserved(device) if device.type == "cuda" else None


def in_fresh_process(
    name: str,
    device: str = "cpu",
    updates: int | None = None,
    keep: bool = True,
    compiled: CompileChoice = "off",
    precision: PrecisionChoice = "fp32",
    chunk: int | None = None,
    products: ProductsChoice = "auto",
) -> dict[str, Any]:
    """:func:`experiments.bench.measure.measure_update` of a named workload in a process of its own.

    Args:
        updates: None = the workload's own number.
        keep: with freed memory kept (:mod:`waker.machine.host_memory`), or given back.
        compiled, precision, chunk, products: see :func:`experiments.bench.configs.changed`.

    Raises:
        UserError: it failed; the message has its last line (it may have been killed for memory).
    """
    change = {"compiled": compiled, "precision": precision, "chunk": chunk, "products": products}
    asked = {"name": name, "device": device, "updates": updates, "change": change}
    command = [sys.executable, "-m", "experiments.bench.memory", json.dumps(asked)]
    environment = {**os.environ, SWITCH: "1" if keep else "0"}
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise UserError(f"measuring {name} failed: {last}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def main(asked: str) -> int:
    """Measure what :func:`in_fresh_process` asks for and print JSON as the last line."""
    options = json.loads(asked)
    kept = keep_freed_memory()
    treat_as_intel()
    from experiments.bench.configs import changed, workload
    from experiments.bench.measure import measure_update

    chosen = changed(workload(options["name"]), **options["change"])
    found = measure_update(chosen, options["device"], options["updates"])
    print(json.dumps({**found, "memory": {**found["memory"], "kept": kept}}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
