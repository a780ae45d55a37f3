"""How fast are the MuJoCo domains? Agent steps per second and milliseconds a reset, one process.

    python -m experiments.domain_speed [--steps 600] [--repeats 5]

For every family, kind of observation and look: the median over repeats of wall-clock steps per second under random
actions (an agent step is two control steps), steps per CPU second, and the time of a reset, all in one run with nothing
else running. Where it goes is measured beside it: the share of the physics, of drawing, and the rest of a step. Writes
``results/domain_speed/rows.csv`` and prints it.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
import pandas as pd

import waker_envs
from waker_envs.physics.camera import Camera

RESULTS = Path(__file__).parents[1] / "results" / "domain_speed"
THETA = {
    "TerrainWalker": (0.5, 1.0),
    "TerrainHopper": (0.5, 1.0),
    "CleanUp": (4, 2, 2),
    "CarCleanUp": (4, 2, 2),
}
BARS = {
    ("TerrainWalker", "proprio", "fast"): 1500.0,
    ("TerrainWalker", "pixels", "fast"): 400.0,
    ("CleanUp", "pixels", "fast"): 400.0,
}
"""Steps per second that the project asks of itself; of a reset without a picture it asks 3 ms everywhere."""


def steps_per_second(env: Any, theta: tuple[float, ...], steps: int) -> tuple[float, float]:
    """Agent steps per second of wall clock and of CPU, over one stretch without a reset."""
    env.reset(seed=0, options={"theta": theta})
    actions = np.random.default_rng(0).uniform(-1, 1, (steps, *env.action_space.shape)).astype(np.float32)
    wall, cpu = time.perf_counter(), time.process_time()
    for number, action in enumerate(actions):
        if env.step(action)[3]:
            env.reset(seed=number, options={"theta": theta})
    return steps / (time.perf_counter() - wall), steps / (time.process_time() - cpu)


def reset_ms(env: Any, theta: tuple[float, ...], times: int = 50) -> float:
    """Median milliseconds of a reset."""
    taken = []
    for seed in range(times):
        start = time.perf_counter()
        env.reset(seed=seed, options={"theta": theta})
        taken.append(time.perf_counter() - start)
    return 1e3 * float(np.median(taken))


@contextmanager
def timed(owner: Any, names: tuple[str, ...], spent: list[float]) -> Iterator[None]:
    """Add the time spent in functions of ``owner`` to ``spent``."""
    originals = {name: getattr(owner, name) for name in names}

    def wrap(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            start = time.perf_counter()
            result = function(*args, **kwargs)
            spent[0] += time.perf_counter() - start
            return result

        return call

    for name, function in originals.items():
        setattr(owner, name, wrap(function))
    try:
        yield
    finally:
        for name, function in originals.items():
            setattr(owner, name, function)


def shares(env: Any, theta: tuple[float, ...], steps: int) -> tuple[float, float]:
    """Shares of a step spent in the physics and in drawing."""
    physics, drawing = [0.0], [0.0]
    with (
        timed(mujoco, ("mj_step", "mj_step1", "mj_step2"), physics),
        timed(Camera, ("picture", "upload_height_field"), drawing),
    ):
        start = time.perf_counter()
        steps_per_second(env, theta, steps)
        total = time.perf_counter() - start
    return physics[0] / total, drawing[0] / total


def measure(name: str, obs: str, look: str, steps: int, repeats: int) -> dict[str, Any]:
    """One row."""
    env = waker_envs.make(f"waker/{name}-v0", obs=obs, look=look)
    theta = THETA[name]
    steps_per_second(env, theta, steps // 4)  # warm-up: GL context, first uploads
    speeds = np.array([steps_per_second(env, theta, steps) for _ in range(repeats)])
    physics, drawing = shares(env, theta, steps)
    row = {
        "family": name,
        "obs": obs,
        "look": look,
        "steps_per_s": np.median(speeds[:, 0]),
        "slowest": speeds[:, 0].min(),
        "fastest": speeds[:, 0].max(),
        "steps_per_cpu_s": np.median(speeds[:, 1]),
        "bar": BARS.get((name, obs, look), np.nan),
        "reset_ms": reset_ms(env, theta),
        "physics_share": physics,
        "drawing_share": drawing,
    }
    env.close()
    return row


def main() -> None:
    """Measure every family and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=600, help="agent steps of a stretch")
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    kinds = [("proprio", "fast"), ("proprio+scan", "fast"), ("pixels", "fast"), ("pixels", "paper")]
    rows = []
    for name in THETA:
        for obs, look in kinds:
            slow = look == "paper"
            rows.append(measure(name, obs, look, args.steps // (10 if slow else 1), 3 if slow else args.repeats))
            print(" ".join(f"{k}={v:.3g}" if isinstance(v, float) else f"{v}" for k, v in rows[-1].items()), flush=True)
    RESULTS.mkdir(parents=True, exist_ok=True)
    table = pd.DataFrame(rows).assign(machine=f"{platform.machine()}, {os.cpu_count()} CPUs", mujoco=mujoco.__version__)
    table.to_csv(RESULTS / "rows.csv", index=False, float_format="%.3g")


if __name__ == "__main__":
    main()
