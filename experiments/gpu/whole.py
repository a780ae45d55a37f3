"""A real run on the device beside the processor's, the loop's updates a second, and rendering by the card."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from experiments.bench.configs import Workload, changed
from experiments.bench.loop import measure_loop
from experiments.gpu.tasks import sized
from waker.config.presets import preset

Row = dict[str, Any]
Measure = Callable[[], Iterator[Row]]
RUN_SECONDS = 60.0
QUICK_ROWS, QUICK_SECONDS = 1, 45.0
"""Quick runs are stopped once each has written so many rows of metrics, at the latest after so many seconds."""
KEPT = ("model_loss", "kl_loss", "ensemble_loss", "credit", "reward_loss")
"""Metrics of the run's rows that are kept; those of several tasks by their prefix."""
PIXELS = "waker/CleanUp-v0"


def run(device: str, name: str, ways: tuple[str, ...], precisions: tuple[str, ...], quick: bool) -> Measure:
    """``waker train`` with the laptop preset for a minute, on the device and on the processor at the same time."""
    places = {device: "graphs", "cpu": "off"}

    def measure() -> Iterator[Row]:
        with tempfile.TemporaryDirectory() as folder:
            started = time.monotonic()
            runs = {place: _started(place, way, Path(folder, place), quick) for place, way in places.items()}
            if quick:
                _until_rows({place: Path(folder, place) for place in places}, runs)
            else:
                time.sleep(RUN_SECONDS)
            for process in runs.values():
                process.send_signal(signal.SIGTERM)
            codes = {place: process.wait(30) for place, process in runs.items()}
            seconds = round(time.monotonic() - started, 1)
            for place, code in codes.items():
                yield from _rows_of(place, places[place], Path(folder, place), seconds, code)

    return measure


def _until_rows(folders: Mapping[str, Path], runs: Mapping[str, subprocess.Popen[bytes]]) -> None:
    """Wait for the first rows of every run that has not ended."""
    until = time.monotonic() + QUICK_SECONDS
    while time.monotonic() < until:
        if all(runs[place].poll() is not None or len(_lines(folders[place])) >= QUICK_ROWS for place in folders):
            return
        time.sleep(0.05)


def _lines(folder: Path) -> list[str]:
    """Rows of metrics of the run in ``folder``."""
    return [line for path in folder.rglob("metrics.jsonl") for line in path.read_text(encoding="utf-8").splitlines()]


def _started(place: str, way: str, folder: Path, quick: bool) -> subprocess.Popen[bytes]:
    """A run on its way."""
    options = ["--preset", "tiny" if quick else "laptop", "--device", place, "--train.compile", way]
    options += ["--evaluation.every", "0", "--train.steps", "1000000", "--runs", str(folder)]
    options += ["--train.task-policies", "after", "--train.log-every", "10" if quick else "25"]
    return subprocess.Popen(
        [sys.executable, "-m", "waker", "train", *options], env={**os.environ, "OMP_NUM_THREADS": "1"}
    )


def _rows_of(place: str, way: str, folder: Path, seconds: float, code: int) -> Iterator[Row]:
    """How far a run got, and its losses."""
    lines = _lines(folder)
    if not lines:
        raise RuntimeError(f"waker train on {place} left no rows (exit code {code})")
    rows = [json.loads(line) for line in lines]
    last = {name: rows[-1][name] for name in ("updates", "time/updates_per_second")}
    reached = {"seconds": seconds, "steps": rows[-1]["step"], "exit_code": code, "alone": True}
    yield {"what": "run", "device": place, "way": way, **last, **reached}
    for found in rows:
        losses = {k: v for k, v in found.items() if k.split("/")[0] in KEPT}
        yield {"what": "losses", "device": place, "step": found["step"], "updates": found["updates"], **losses}


def loop(device: str, name: str, ways: tuple[str, ...], precisions: tuple[str, ...], quick: bool) -> Measure:
    """Steps and updates a second of the whole training loop, grids with each way."""

    def measure() -> Iterator[Row]:
        for precision in precisions:
            for way in ways:
                yield looped(sized(name, way, precision), device, 5 if quick else 150) | {"size": name, "way": way}

    return measure


def looped(workload: Workload, device: str, updates: int) -> Row:
    """One measurement of the loop."""
    found = measure_loop(workload, device, updates)
    per_update = workload.config.train.train_every
    return {
        "what": "loop",
        "steps_per_second": found["steps_per_second"],
        "updates_per_second": found["steps_per_second"] / per_update,
        "shares": found["shares"],
        "precision": workload.config.train.precision,
        "env_processes": workload.config.train.env_processes,
    }


def render(device: str, name: str, ways: tuple[str, ...], precisions: tuple[str, ...], quick: bool) -> Measure:
    """Pictures by the card, in one process and in several, alone and in the loop of a small agent."""

    def measure() -> Iterator[Row]:
        from waker_envs.physics import gl

        for look in ("fast", "paper"):
            yield {"what": "rendering", "look": look, **stepped(look, 0.5 if quick else 2.0)}
        yield {"what": "renderer", "backend": gl.context().__class__.__name__, "renderer": gl_renderer()}
        for workers in (0,) if quick else (0, 4, 8):
            way = "off" if quick else "graphs"
            chosen = changed(pixels(quick), way, env_processes=workers)  # type: ignore[arg-type]
            yield looped(chosen, device, 3 if quick else 60) | {"size": "CleanUp, pictures", "way": way}

    return measure


def pixels(quick: bool) -> Workload:
    """A small agent on CleanUp in pictures, eight slots."""
    config = preset("tiny" if quick else "control")
    model = dataclasses.replace(config.model, cnn_depth=4 if quick else 16)
    train = dataclasses.replace(config.train, envs=2 if quick else 8)
    config = dataclasses.replace(config, env=PIXELS, env_kwargs={}, model=model, train=train)
    return Workload("cleanup-pixels", "a small agent on CleanUp in pictures", config)


def stepped(look: str, seconds: float) -> Row:
    """Agent steps a second of one environment with its pictures."""
    import waker_envs

    env = waker_envs.make(PIXELS, look=look)
    env.reset(seed=0)
    env.action_space.seed(0)
    started, steps = time.perf_counter(), 0
    while (took := time.perf_counter() - started) < seconds:
        _, _, terminated, truncated, _ = env.step(env.action_space.sample())
        steps += 1
        if terminated or truncated:
            env.reset()
    env.close()
    return {"steps_per_second": steps / took}


def gl_renderer() -> str:
    """What draws: the card's driver, or software."""
    from OpenGL import GL

    name = GL.glGetString(GL.GL_RENDERER)
    return name.decode() if isinstance(name, bytes) else str(name)
