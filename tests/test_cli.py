"""The command: what it prints, and that every mistake of its user is one line, an exit code and nothing left behind."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import pandas as pd
import pytest
import torch

import waker_envs.testing  # noqa: F401 — registers the environments that fail on purpose
from tests.tiny import RUN, TINY, waker
from waker import assembly, loggers
from waker.cli import VERBS, main
from waker.errors import UserError
from waker.report.data import load_runs
from waker.rundir import read_config
from waker.tables import read_rows
from waker_envs import registry

AFTER = ["--train.task-policies", "after"]


def _unmakeable() -> Any:
    raise RuntimeError("no display")


@pytest.fixture(autouse=True)
def broken_environments(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Environments of other packages that cannot be made, and cannot be imported."""
    broken = {"waker/test-Unmakeable-v0": _unmakeable, "waker/test-Missing-v0": "not_there_at_all:Env"}
    monkeypatch.setattr(registry, "_registered", dict(registry._registered))
    for env_id, entry in broken.items():
        registry.register_family(env_id, entry)
    yield
    for env_id in broken:
        del gym.registry[env_id]


def refused(argv: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Run a command that must be refused; its one line."""
    assert main(argv) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1, error
    assert error.startswith("waker: ")
    return error


# Help -------------------------------------------------------------------------------------------------------------


def test_help_names_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(re.search(rf"^  {verb} ", shown, re.MULTILINE) for verb in VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([verb, "--help"]) == 0
    assert f"usage: waker {verb}" in capsys.readouterr().out


def test_no_verb_shows_the_help_and_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "usage: waker VERB" in capsys.readouterr().out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert re.fullmatch(r"waker \d+\.\d+\.\d+\n", capsys.readouterr().out)


def test_the_defaults_in_the_help_are_those_of_the_preset(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--preset", "tiny", "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "--train.steps INT Agent steps in all. (default: 160)" in shown
    assert "curriculum options" in shown


# Names that do not exist, values that do not fit ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["trian"], "unknown verb 'trian'; did you mean 'train'?"),
        (["train", "--preset", "labtop"], "unknown preset 'labtop'; did you mean 'laptop'?"),
        (["train", "--env", "waker/GridHazard-v0"], "did you mean 'waker/GridHazards-v0'?"),
        (["train", "--curriculum.sampler", "wakerm"], "unknown sampler 'wakerm'; did you mean 'waker-m'?"),
        (["train", "--curriculum.sampel", "dr"], "did you mean '--curriculum.sampler'?"),
        (["train", "--lr=1"], "unknown option '--lr'"),
        (["train", "laptop"], "unexpected argument 'laptop'"),
        (["train", "--train.steps", "many"], "--train.steps"),
        (["train", "--train.steps", "0"], "train.steps = 0 must be at least 1"),
        (["train", "--train.length", "1"], "train.length = 1 must be at least 2"),
        (["train", "--train.steps"], "--train.steps"),
        (["train", "--seed", "-3"], "seed = -3 must be at least 0"),
        (["train", "--curriculum.dr-share", "1.5"], "dr_share = 1.5"),
        (["train", "--explorer.name", "plan"], "'plan2explore'"),
        (["train", "--train.prefill", "1"], "train.prefill = 1 leaves fewer than"),
        (["train", "--train.replay", "10"], "train.replay = 10 holds fewer than"),
        (["train", "--env-kwargs", "n_layout=3"], "takes no argument 'n_layout'; did you mean 'n_layouts'?"),
        (["train", "--env-kwargs", "obs=smell"], "cannot be made with"),
        (["train", "--env-kwargs", "obs"], "--env-kwargs"),
        (["train", "--device", "cudo"], "device 'cudo' cannot be used"),
        (["train", "--env", "waker/test-Noisy-v0", "--curriculum.sampler", "hardest-oracle"], "hardest"),
        (["quickstart", "--samplers", "dr", "wakerm"], "unknown sampler 'wakerm'; did you mean 'waker-m'?"),
        (["quickstart", "--samplers", "dr", "dr"], "named twice"),
        (["quickstart", "--sampler", "dr"], "name them with --samplers instead of --sampler"),
        (["quickstart", "--curriculum.sampler=dr"], "name them with --samplers instead of --curriculum.sampler"),
        (["train", "--env", "waker/test-Unmakeable-v0"], "test-Unmakeable-v0 cannot be made: RuntimeError: no display"),
        (["train", "--env", "waker/test-Missing-v0"], "test-Missing-v0 cannot be imported: ModuleNotFoundError"),
        (["envs", "waker/test-Unmakeable-v0"], "test-Unmakeable-v0 cannot be made: RuntimeError: no display"),
        (["quickstart", "--preset", "labtop"], "did you mean 'laptop'?"),
        (["quickstart", "--train.step", "5"], "did you mean '--train.steps'?"),
        (["envs", "GridHazard"], "did you mean 'waker/GridHazards-v0'?"),
        (["envs", "GridHazards", "--theta", "9", "0", "0"], "the nearest is (size=5, hazards=0, slip=0)"),
        (["envs", "GridHazards", "--theta", "3"], "θ must have shape (3,)"),
        (["envs", "--theta", "3"], "--theta needs the environment"),
        (["evaluate"], "name at least one run folder"),
        (["evaluate", "nowhere"], "no folder nowhere"),
        (["evaluate", "."], "holds no run"),
        (["evaluate", ".", "--episodes", "0"], "--episodes 0 must be at least 1"),
        (["adapt"], "missing argument"),
        (["adapt", "nowhere"], "not a run folder"),
        (["report", "nowhere"], "no run folder nowhere"),
        (["report", "."], "holds no run"),
        (["compare", "nowhere"], "no run folder nowhere"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)  # fmt: skip
def test_a_mistake_is_one_line_and_leaves_nothing(
    argv: list[str], told: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert told in refused(argv, capsys)
    assert list(tmp_path.iterdir()) == []


# Runs -------------------------------------------------------------------------------------------------------------


def test_a_finished_run_is_skipped_and_untouched(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def content() -> dict[Path, bytes]:
        return {p: p.read_bytes() for p in sorted((finished / RUN).rglob("*")) if p.is_file()}

    before = content()
    assert main(["train", *TINY, *AFTER, "--runs", str(finished)]) == 0
    assert "finished before, at step" in capsys.readouterr().err
    assert content() == before


def test_a_run_of_other_settings_is_refused(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = refused(["train", *TINY, *AFTER, "--runs", str(finished), "--train.batch", "5"], capsys)
    assert "belongs to other settings: train.batch is 4 there and 5 now" in told


def test_the_resolved_settings_are_beside_the_run(finished: Path) -> None:
    config = read_config(finished / RUN)
    assert (config.env, config.train.task_policies, config.model.deter) == ("waker/GridHazards-v0", "after", 16)


def test_constructor_arguments_reach_the_environment(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    chosen = ["--env", "waker/test-Failing-v0", "--env-kwargs", "failure=raise", "at_step=35"]
    main(["train", *TINY, *chosen, "--runs", str(tmp_path)])
    report = json.loads((tmp_path / "test-failing/waker-m/plan2explore/seed-0/failure.json").read_text())
    assert len(report["actions"]) == 35 - 20  # episodes of 20 steps


@pytest.mark.parametrize(
    ("failure", "told"),
    [("raise", "RuntimeError"), ("nan", "not finite"), ("nan-reward", "not finite"), ("shape", "shape")],
)
def test_a_failing_environment_stops_the_run_and_keeps_its_data(
    failure: str, told: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    chosen = ["--env", "waker/test-Failing-v0", "--env-kwargs", f"failure={failure}", "at_step=50"]
    assert main(["train", *TINY, *chosen, "--runs", str(tmp_path)]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("waker: environment waker/test-Failing-v0 failed at step 10 of an episode")
    assert told in line
    assert "reset(seed=" in line
    assert "theta" in line
    folder = tmp_path / "test-failing/waker-m/plan2explore/seed-0"
    assert len(read_rows(folder / "episodes.parquet")) == 4
    assert list(folder.glob("checkpoints/step-*/state.pt"))
    assert list(folder.glob("replay/*.npz"))


def test_a_damaged_checkpoint_gives_way_to_the_one_before(
    finished: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder = tmp_path / "runs" / RUN
    shutil.copytree(finished / RUN, folder)
    checkpoints = sorted(folder.glob("checkpoints/step-*"))
    assert len(checkpoints) == 2
    newest = checkpoints[-1] / "state.pt"
    newest.write_bytes(newest.read_bytes()[:1000])
    assert main(["train", *TINY, *AFTER, "--runs", str(tmp_path / "runs")]) == 0
    told = capsys.readouterr().err
    assert f"{checkpoints[-1].name} is not usable" in told
    assert "going on from step" in told


def test_without_any_whole_checkpoint_nothing_is_overwritten(
    finished: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder = tmp_path / "runs" / RUN
    shutil.copytree(finished / RUN, folder)
    for state in folder.glob("checkpoints/step-*/state.pt"):
        state.write_bytes(b"not a checkpoint")
    for argv in (["evaluate", str(folder)], ["train", *TINY, *AFTER, "--runs", str(tmp_path / "runs")]):
        assert main(argv) == 2
        assert re.search(r"^waker: no checkpoint in .* is whole", capsys.readouterr().err, re.MULTILINE)
    assert list(folder.glob("checkpoints/step-*/state.pt"))


def test_a_run_without_checkpoints_cannot_be_evaluated(
    finished: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "run").mkdir()
    shutil.copy(finished / RUN / "config.yaml", tmp_path / "run")
    assert "has no checkpoint yet" in refused(["evaluate", str(tmp_path / "run")], capsys)


@pytest.mark.parametrize(
    ("replay", "told"),
    [
        # The ring has its room and a checkpoint has none; or the ring itself does not fit.
        (64, (1, "waker: cannot save the run at step", "no space left")),
        (5_000, (2, "waker: a replay of 5,000 steps takes", "choose a smaller --train.replay")),
    ],
)
def test_a_full_disk_is_one_line(replay: int, told: tuple[int, str, str], tmp_path: Path) -> None:
    program = (
        "import resource, signal, sys\n"
        "from waker.cli import main\n"
        # Files may not grow past 20 kB, which a checkpoint does: what a full disk looks like from inside.
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))\n"
        "sys.exit(main(['train', '--preset', 'tiny', '--train.replay', sys.argv[2], '--runs', sys.argv[1]]))"
    )

    command = [sys.executable, "-c", program, tmp_path, str(replay)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    code, start, reason = told
    assert done.returncode == code
    last = done.stderr.splitlines()[-1]
    assert last.startswith(start)
    assert reason in last
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["tensorboard", "wandb"])
def test_a_sink_without_its_package_is_told_before_a_folder_is_made(
    name: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loggers.importlib.util, "find_spec", lambda name: None)
    told = refused(["train", *TINY, "--sinks", "jsonl", name, "--runs", str(tmp_path)], capsys)
    assert f"sink '{name}' needs the package '{name}', which is not installed" in told
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("verb", ["train", "evaluate"])
def test_an_environment_that_has_changed_since_is_one_line(
    verb: str, finished: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def changed(env: Any) -> Any:
        spec = spec_of(env)
        first, *others = spec.observation
        more = replace(first, classes=tuple(n + 1 for n in first.classes))
        return replace(spec, observation=(more, *others))

    spec_of = assembly.spec_of
    monkeypatch.setattr(assembly, "spec_of", changed)
    train = ["train", *TINY, *AFTER, "--runs", str(finished)]
    told = refused(train if verb == "train" else ["evaluate", str(finished)], capsys)
    assert re.search(r"was trained with \w+ = categorical .*; waker/GridHazards-v0 now has categorical ", told)


def test_the_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    try:
        monkeypatch.setenv("OMP_NUM_THREADS", "2,1")
        assembly.use_threads("cpu")
        assert torch.get_num_threads() == 2
        monkeypatch.setenv("OMP_NUM_THREADS", "many")
        with pytest.raises(UserError, match="OMP_NUM_THREADS is 'many'; it must be a number"):
            assembly.use_threads("cpu")
    finally:
        torch.set_num_threads(before)


# Damaged folders --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("damaged", "content", "verbs"),
    [
        ("config.yaml", b"config: \xff\xfe", ["train", "adapt", "evaluate", "compare", "report"]),
        ("config.yaml", b"config: {env: 3}", ["train", "adapt", "evaluate"]),
        ("config.yaml", b"config: {curriculum: 3, train: {steps: many}}", ["train", "adapt", "evaluate"]),
        ("config.yaml", b"config: {}\ntasks: 3", ["adapt", "evaluate"]),
        ("evaluation.parquet", b"PAR1 no parquet", ["compare", "report"]),
        ("theta_space.json", b"{", ["compare", "report"]),
        ("theta_space.json", b"[1, 2]", ["compare", "report"]),
        ("filmstrip.npz", b"PK no archive", ["compare", "report"]),
        ("adapted/green/tasks.yaml", b"tasks: [", ["adapt", "evaluate"]),
        ("adapted/green/tasks.yaml", b"tasks: \xff", ["adapt", "evaluate"]),
    ],
)
def test_a_damaged_file_is_named_in_one_line(
    damaged: str, content: bytes, verbs: list[str], finished: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder = tmp_path / RUN
    shutil.copytree(finished / RUN, folder)
    place = folder / damaged
    if place.is_dir():  # a table: its first part
        place = min(place.glob("part-*.parquet"))
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(content)
    argv = {
        "train": ["train", *TINY, *AFTER, "--runs", str(tmp_path)],
        "adapt": ["adapt", str(folder), "--tasks", "green", "--updates", "1"],
        "evaluate": ["evaluate", str(folder), "--episodes", "1", "--suite-episodes", "1"],
    }
    for verb in verbs:
        assert main(argv.get(verb, [verb, str(tmp_path)])) == 2
        last = capsys.readouterr().err.splitlines()[-1]
        assert last.startswith("waker: ")
        assert damaged in last


# Tables and pages -------------------------------------------------------------------------------------------------


def test_evaluate_replaces_the_rows_of_a_checkpoint(
    finished: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder = tmp_path / RUN
    shutil.copytree(finished / RUN, folder)
    assert main(["evaluate", str(tmp_path), "--episodes", "8", "--suite-episodes", "1"]) == 0
    rows = read_rows(folder / "evaluation.parquet")
    dr = rows[(rows["suite"] == "dr") & (rows["policy"] == "learned")]
    assert dr.groupby("task").size().to_dict() == {"green": 8, "blue": 8, "red": 8}
    still = rows[rows["theta_slip"] == 0]  # no chance once the room is drawn: every return is bounded, not only means
    assert len(still)
    assert (still["return"] <= still["optimal_return"] + 1e-6).all()
    means = rows.groupby("task")[["return", "optimal_return"]].mean()
    assert (means["return"] < means["optimal_return"]).all()
    assert set(rows.columns) >= {"run", "step", "updates", "domain", "sampler", "explorer", "seed", "theta_size"}


def test_compare_prints_a_table_and_writes_the_numbers(
    finished: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["compare", str(finished), "--csv", str(tmp_path / "numbers.csv")]) == 0
    shown = capsys.readouterr().out
    assert "worst-θ regret" in shown
    assert "waker-m" in shown
    numbers = pd.read_csv(tmp_path / "numbers.csv")
    assert {"mean_return", "cvar_0.1", "worst_regret", "worst_model_error", "hard_share"} <= set(numbers["quantity"])


@pytest.mark.parametrize("verb", ["compare", "report"])
def test_runs_that_nothing_tells_apart_are_refused(
    verb: str, finished: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for name in ("a", "b"):
        shutil.copytree(finished / RUN, tmp_path / name / RUN)
    told = refused([verb, str(tmp_path / "a"), str(tmp_path / "b")], capsys)
    assert f"{tmp_path / 'a' / RUN} and {tmp_path / 'b' / RUN} are both gridhazards, waker-m" in told


def test_what_a_run_keeps_in_itself_is_no_run(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished / RUN, tmp_path / RUN)
    for inner in ("adapted/green/metrics.jsonl", "wandb/run-1/files/config.yaml"):
        (tmp_path / RUN / inner).parent.mkdir(parents=True)
        (tmp_path / RUN / inner).write_text("{}")
    assert [run.folder for run in load_runs([tmp_path])] == [(tmp_path / RUN).resolve()]


def test_numbers_that_cannot_be_written_are_one_line(
    finished: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["compare", str(finished), "--csv", str(tmp_path)]) == 1
    assert capsys.readouterr().err == (f"waker: cannot save the numbers in {tmp_path}: Is a directory ({tmp_path})\n")


def test_compare_knows_its_samplers_and_seeds(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "did you mean 'waker-m'?" in refused(["compare", str(finished), "--samplers", "waker-r"], capsys)
    assert "no run with seed 3; there are 0" in refused(["compare", str(finished), "--seeds", "3"], capsys)


def test_report_writes_one_page(finished: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["report", str(finished), "--out", str(tmp_path / "deep" / "page.html")]) == 0
    page = (tmp_path / "deep" / "page.html").read_text(encoding="utf-8")
    assert "waker-m" in page
    assert not re.search(r"""(src|href)=["']https?:""", page)


def test_envs_lists_and_describes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["envs"]) == 0
    listed = capsys.readouterr().out
    assert re.search(r"^waker/GridHazards-v0 .*size, hazards, slip.* tasks: green", listed, re.MULTILINE)
    # Broken ones are named, and hide no other.
    assert re.search(r"^waker/test-Unmakeable-v0 .* cannot be made: RuntimeError: no display", listed, re.MULTILINE)
    assert re.search(r"^waker/test-Missing-v0 .* cannot be imported: ModuleNotFoundError", listed, re.MULTILINE)
    assert main(["envs", "GridHazards"]) == 0
    shown = capsys.readouterr().out
    assert "probability that the chosen action is replaced" in shown
    assert "optimal_return" in shown


def test_envs_values_an_episode(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["envs", "GridHazards", "--theta", "5", "0.2", "0.1", "--seed", "3"]) == 0
    shown = capsys.readouterr().out
    assert "id 17" in shown
    assert "hard, by an expert" in shown
    assert re.search(r"best expected return of episode seed 3: green \d+\.\d\d, blue", shown)


# As a process -----------------------------------------------------------------------------------------------------


def test_a_mistake_in_a_process_of_its_own(tmp_path: Path) -> None:
    done = waker("train", "--preset", "labtop", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("waker: unknown preset 'labtop'; did you mean 'laptop'?")
    assert list(tmp_path.iterdir()) == []


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "waker", "envs"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
        env=os.environ,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        told = process.stderr.read()
    assert told == b""
    assert process.returncode == 128 + signal.SIGPIPE
