"""An interrupted run is the uninterrupted one: every later metric, every sampled θ, every row and the final weights."""

from __future__ import annotations

import functools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
import pytest
import torch

from tests.helpers import dummies
from waker.agent.agent import Agent
from waker.config.presets import PRESETS
from waker.config.schema import CompileSetting, Config
from waker.evaluation.records import Measurement
from waker.machine import compile as compiled
from waker.machine import products
from waker.storage.checkpoint import Checkpoints
from waker.storage.run_folder import run_folder
from waker.storage.salvage import TABLES
from waker.storage.tables import read_rows
from waker.terminal.signals import Interrupted
from waker.training.loop import Outcome


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


class Killed(BaseException):
    """Stands for SIGKILL inside one process: nothing is saved after it."""


def killer(at: list[int], how: Callable[[], None]) -> Callable[[int, int], None]:
    """Calls ``how`` once at each of the given units of work, counted over all lives of the run."""
    seen = 0

    def tick(step: int, updates: int) -> None:
        nonlocal seen
        seen += 1
        if seen in at:
            how()

    return tick


def die() -> None:
    raise Killed


def terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def flat(tree: Any, prefix: str = "") -> dict[str, Any]:
    """Leaves of nested dicts and lists by path; tensors as lists."""
    if isinstance(tree, dict):
        return {k: v for key, value in tree.items() for k, v in flat(value, f"{prefix}/{key}").items()}
    if isinstance(tree, list | tuple):
        return {k: v for i, value in enumerate(tree) for k, v in flat(value, f"{prefix}/{i}").items()}
    if isinstance(tree, torch.Tensor | np.ndarray):
        return {prefix: tree.tolist()}
    return {prefix: tree}


def outcome(path: Path) -> dict[str, Any]:
    """All that a run leaves, but for times and for how its files are cut."""
    metrics = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    checkpoints = Checkpoints(path / "checkpoints")
    state = checkpoints.load(checkpoints.paths()[0])
    replay: dict[str, list[Any]] = {}
    for chunk in (c for c in state["replay"]["chunks"] if not c.get("lost")):
        with np.load(path / "replay" / chunk["name"]) as archive:
            for name in archive.files:
                for t, value in enumerate(np.moveaxis(archive[name], 1, 0)):
                    replay.setdefault(f"{name} {chunk['start'] + t}", value.tolist())
    oldest = state["replay"]["ticks"] - 50
    return {
        "metrics": [{k: v for k, v in row.items() if not k.startswith("time/")} for row in metrics],
        "state": flat(
            {
                k: v
                for k, v in state.items()
                if k not in ("seconds", "cpu_seconds", "measuring_seconds", "evidence_seconds", "replay", "logs")
            }
        ),
        "rows": {name: read_rows(path / f"{name}.parquet") for name in TABLES},
        "replay": {k: v for k, v in replay.items() if int(k.split()[1]) >= oldest},
    }


def assert_same(a: Path, b: Path) -> None:
    one, two = outcome(a), outcome(b)
    assert one["metrics"] == two["metrics"]
    for name in TABLES:
        pd.testing.assert_frame_equal(one["rows"][name], two["rows"][name], check_exact=True)
    assert one["replay"] == two["replay"]
    assert one["state"].keys() == two["state"].keys()
    for key, value in one["state"].items():
        assert repr(value) == repr(two["state"][key]), key


def interrupted(root: Path, config: Config, at: list[int], how: Callable[[], None], **parts: Any) -> tuple[Path, int]:
    """Run again and again until the run is finished; its folder and how many lives it took."""
    progress = dummies.Quiet(killer(at, how))
    for lives in range(1, 50):
        try:
            return dummies.run(root, config, progress, **parts)[0], lives
        except (Killed, Interrupted):
            continue
    raise AssertionError("the run never ended")


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return dummies.run(tmp_path_factory.mktemp("whole"), dummies.config())[0]


def test_two_runs_of_a_seed_are_the_same_and_of_two_seeds_are_not(uninterrupted: Path, tmp_path: Path) -> None:
    again, _ = dummies.run(tmp_path, dummies.config())
    assert_same(uninterrupted, again)
    other, _ = dummies.run(tmp_path, replace(dummies.config(), seed=8))
    assert outcome(other)["metrics"] != outcome(uninterrupted)["metrics"]


def test_a_run_stopped_before_its_first_step_goes_on(uninterrupted: Path, tmp_path: Path) -> None:
    config = dummies.config()
    spec = dummies.parts(config).family.spec

    def slow_to_build() -> dummies.DummyAgent:
        terminate()
        return dummies.DummyAgent(spec)

    with pytest.raises(Interrupted):
        dummies.run(tmp_path, config, make_agent=slow_to_build)
    assert_same(uninterrupted, dummies.run(tmp_path, config)[0])


# Units of work of this run: 36 ticks of prefill, then some ticks and an update in turns, 172 in all.
@pytest.mark.parametrize("at", [[1], [20], [36], [37], [90], [172], [10, 60, 110, 160]])
def test_a_stopped_run_goes_on_bit_for_bit(uninterrupted: Path, tmp_path: Path, at: list[int]) -> None:
    path, lives = interrupted(tmp_path, dummies.config(), at, terminate)
    assert lives == len(at) + 1
    assert_same(uninterrupted, path)


@pytest.mark.parametrize("at", [[5], [45], [50, 100, 150, 200], [172]])
def test_a_killed_run_goes_on_bit_for_bit_from_its_last_checkpoint(
    uninterrupted: Path, tmp_path: Path, at: list[int]
) -> None:
    path, lives = interrupted(tmp_path, dummies.config(), at, die)
    assert lives == len(at) + 1
    assert_same(uninterrupted, path)


@pytest.mark.parametrize("sampler", ["dr", "waker-r", "gradual-expansion", "reweighting-oracle", "error-oracle"])
def test_every_curriculum_resumes(tmp_path: Path, sampler: str) -> None:
    config = dummies.config(sampler)
    config = replace(
        config, curriculum=replace(config.curriculum, reduction_interval=40, reduction_start=120, oracle_interval=40)
    )
    whole, _ = dummies.run(tmp_path / "whole", config)
    path, _ = interrupted(tmp_path / "cut", config, [80, 140], terminate)
    assert_same(whole, path)


def test_adaptation_resumes(tmp_path: Path) -> None:
    config = dummies.config(task_policies="after", adapt_updates=40)
    whole, _ = dummies.run(tmp_path / "whole", config)
    path, _ = interrupted(tmp_path / "cut", config, [185, 200], terminate)
    assert_same(whole, path)
    path, _ = interrupted(tmp_path / "killed", config, [190, 230], die)
    assert_same(whole, path)


@pytest.mark.parametrize("damage", ["checkpoint", "replay"])
def test_a_damaged_checkpoint_falls_back_to_the_one_before(uninterrupted: Path, tmp_path: Path, damage: str) -> None:
    config = dummies.config()
    with pytest.raises(Killed):
        dummies.run(tmp_path, config, dummies.Quiet(killer([150], die)))
    path = run_folder(tmp_path, config)
    newest, before = Checkpoints(path / "checkpoints").paths()
    if damage == "checkpoint":
        (newest / "state.pt").write_bytes((newest / "state.pt").read_bytes()[:1000])
    else:
        newest_chunk = max((path / "replay").iterdir())
        newest_chunk.write_bytes(newest_chunk.read_bytes()[:100])
    progress = dummies.Quiet()
    assert dummies.run(tmp_path, config, progress)[1] is Outcome.FINISHED
    assert newest.name in progress.notes[0]
    assert "trying the one before" in progress.notes[0]
    assert f"going on from step {int(before.name.split('-')[1])}" in progress.notes[1]
    assert_same(uninterrupted, path)


def test_settings_that_only_say_where_and_how_often_may_change(uninterrupted: Path, tmp_path: Path) -> None:
    with pytest.raises(Killed):
        dummies.run(tmp_path, dummies.config(), dummies.Quiet(killer([150], die)))
    path, _ = dummies.run(tmp_path, dummies.config(save_every=25, keep=3))
    assert_same(uninterrupted, path)


SCRIPT = """
import sys, time, torch
from pathlib import Path
torch.set_num_threads(1)
from tests.helpers import dummies
slow = lambda step, updates: time.sleep(0.004)  # long enough to be hit, in saves as well
dummies.run(Path(sys.argv[1]), dummies.config(save_every=30), dummies.Quiet(slow))
"""


@pytest.mark.long(
    "tests/training/test_resume.py::test_a_killed_run_goes_on_bit_for_bit_from_its_last_checkpoint",
    "tests/cli/test_third_party.py::test_a_killed_run_ends_as_the_undisturbed_one",
)
def test_sigkill_of_a_real_process_at_any_moment(uninterrupted: Path, tmp_path: Path) -> None:
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{root / 'envs'}", "OMP_NUM_THREADS": "1"}
    config = dummies.config(save_every=30)
    path = run_folder(tmp_path, config)
    moments, lives = np.random.default_rng(0), 0
    while True:
        process = subprocess.Popen([sys.executable, "-c", SCRIPT, str(tmp_path)], env=environment)
        before = set(Checkpoints(path / "checkpoints").paths())
        if lives < 2:
            # Let it get past at least one more checkpoint, then kill it a moment later.
            deadline = time.monotonic() + 60
            while set(Checkpoints(path / "checkpoints").paths()) <= before and process.poll() is None:
                assert time.monotonic() < deadline
                time.sleep(0.002)
            time.sleep(moments.uniform(0, 0.1))
            process.kill()
        code = process.wait(60)
        lives += 1
        if code == 0:
            break
        assert code == -signal.SIGKILL
    assert lives == 3
    assert_same(uninterrupted, path)


def small_run(policies: str, compile: CompileSetting) -> tuple[Config, dict[str, Any]]:
    """A run of the real agent, and its factories."""
    tiny = PRESETS["tiny"]()
    small = {
        "steps": 150,
        "prefill": 60,
        "envs": 2,
        "train_every": 15,
        "batch": 2,
        "length": 6,
        "save_every": 40,
        "log_every": 2,
    }
    train = replace(
        tiny.train,
        task_policies=policies,  # type: ignore[arg-type]
        adapt_updates=4,
        compile=compile,
        **small,  # type: ignore[arg-type]
    )
    config = replace(dummies.config(), model=tiny.model, behaviour=tiny.behaviour, explorer=tiny.explorer, train=train)
    spec = dummies.parts(config).family.spec

    def evaluate(agent: Any) -> Measurement:
        weights = sum(float(p.detach().sum()) for p in agent.model.parameters())
        return Measurement([{"value": weights + torch.rand(()).item()}])

    return config, {"make_agent": lambda: Agent(spec, config), "evaluate": evaluate}


@pytest.mark.parametrize("way", get_args(products.Way))
@pytest.mark.parametrize("policies", ["online", "after"])
def test_the_real_agent_resumes(
    tmp_path: Path, policies: str, way: products.Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By every way of multiplying, which here takes even the smallest products."""
    monkeypatch.setattr(products, "_LEAST_WORK", 0)
    monkeypatch.setattr(products, "_NARROWEST", 1)
    products.use(way)
    config, parts = small_run(policies, "off")
    whole, _ = dummies.run(tmp_path / "whole", config, **parts)
    # An exploring run is stopped and goes on; an adapting one is killed, and repeats what it had not saved.
    how, at = (terminate, [50, 75]) if policies == "online" else (die, [62, 86])
    path, lives = interrupted(tmp_path / "cut", config, at, how, **parts)
    assert lives == 3
    assert_same(whole, path)


@pytest.mark.long(
    "tests/training/test_resume.py::test_the_real_agent_resumes",
    "tests/training/test_adapt.py::test_compiled_policies_go_on_compiled_and_are_evaluated_as_they_are",
    "tests/machine/test_compile.py::test_the_whole_update_compiles_without_a_break_and_agrees_with_the_eager_one",
    "tests/machine/test_compile.py::test_adapting_is_two_graphs_however_many_updates_are_made",
    "tests/machine/test_compile.py::test_no_choice_changes_the_names_in_a_checkpoint",
)
def test_the_compiled_agent_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Traced only, which takes seconds; with inductor itself, some minutes: WAKER_TEST_BACKEND=inductor."""
    backend = os.environ.get("WAKER_TEST_BACKEND", "eager")
    traced = functools.partial(compiled.whole, backend=backend)
    monkeypatch.setattr(compiled, "whole", traced)
    torch._dynamo.reset()
    graphs = torch._dynamo.utils.counters["stats"]
    before = graphs["unique_graphs"]
    config, parts = small_run("after", "compile")
    whole, _ = dummies.run(tmp_path / "whole", config, **parts)
    assert graphs["unique_graphs"] - before == 3  # the update, the reward heads, the task policies
    path, lives = interrupted(tmp_path / "cut", config, [62, 86], die, **parts)
    assert lives == 3
    assert_same(whole, path)
