"""Does a compiled run that is stopped and goes on in another process end as the uninterrupted one does?

    python -m experiments.compiled_resume

Preset ``tiny`` with policies trained afterwards, so that three graphs are compiled, into a cache of its own. The first
run compiles them; the others load. One is stopped by SIGTERM after its first metric row, and goes on by the same
command. Writes ``results/compiled_resume/rows.csv``: processor seconds of each process, and the largest difference of
any tensor of the final checkpoints. Exit code 1 if there is one. Some four minutes of one core, and a C++ compiler.
"""

from __future__ import annotations

import argparse
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from waker.storage.checkpoint import Checkpoints

RESULTS = Path(__file__).parents[1] / "results" / "compiled_resume"
RUN = Path("gridhazards/waker-m/plan2explore")
STOPPED = 128 + signal.SIGTERM


def arguments(seed: int, runs: Path, cache: Path) -> list[str]:
    """Arguments of ``waker train``."""
    return [
        *("--preset", "tiny", "--sampler", "waker-m", "--seed", str(seed), "--runs", str(runs)),
        *("--train.task-policies", "after", "--train.compile", "compile", "--train.compile-cache", str(cache)),
    ]


def train(options: list[str], stop_at: Path | None = None) -> tuple[int, float]:
    """Run ``waker train``; its exit code and processor seconds, compilers included.

    Args:
        stop_at: a file; SIGTERM is sent once it has something in it.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([sys.executable, "-m", "waker", "train", *options], env=environment)
    while stop_at is not None and process.poll() is None:
        if stop_at.is_file() and stop_at.stat().st_size:
            process.send_signal(signal.SIGTERM)
            break
        time.sleep(0.005)
    code = process.wait()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return code, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def tensors(run: Path) -> list[Tensor]:
    """The agent in the newest checkpoint of a run folder."""
    checkpoints = Checkpoints(run / "checkpoints")
    state = checkpoints.load(checkpoints.paths()[0])["agent"]
    return [x for x in pytree.tree_leaves(state) if isinstance(x, Tensor)]


def measured(folder: Path) -> Iterator[dict[str, object]]:
    """One row a figure.

    Raises:
        RuntimeError: a run failed, or was over before it could be stopped.
    """
    cache = folder / "cache"
    # The whole run's seed differs from the one that compiles: the graphs are the configuration's, not the seed's.
    for name, seed in (("compiles", 1), ("whole", 2)):
        code, seconds = train(arguments(seed, folder / name, cache))
        if code:
            raise RuntimeError(f"waker train ended with exit code {code}")
        yield {"figure": f"processor seconds, {name}", "value": seconds}
    options, run = arguments(2, folder / "stopped", cache), folder / "stopped" / RUN / "seed-2"
    code, seconds = train(options, run / "metrics.jsonl")
    if code != STOPPED:
        raise RuntimeError(f"the run was not stopped: exit code {code}")
    yield {"figure": "processor seconds, until it was stopped", "value": seconds}
    code, seconds = train(options)
    if code:
        raise RuntimeError(f"the run that goes on ended with exit code {code}")
    yield {"figure": "processor seconds, gone on", "value": seconds}
    pairs = list(zip(tensors(run), tensors(folder / "whole" / RUN / "seed-2"), strict=True))
    worst = max(float((a.double() - b.double()).abs().max()) for a, b in pairs if a.numel())
    yield {"figure": f"largest difference of {len(pairs)} tensors", "value": worst}


def main() -> int:
    """Run it and write the rows; 1 if the runs differ."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        rows = pd.DataFrame(measured(Path(folder)))
    RESULTS.mkdir(parents=True, exist_ok=True)
    rows.to_csv(RESULTS / "rows.csv", index=False, float_format="%.4g")
    print(rows.to_string(index=False))
    return int(rows["value"].iloc[-1] != 0.0)


if __name__ == "__main__":
    sys.exit(main())
