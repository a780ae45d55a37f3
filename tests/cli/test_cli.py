"""The command: what it prints, and that every mistake of its user is one line, an exit code and nothing left behind."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import pandas as pd
import pytest

import waker_envs.testing  # noqa: F401 — registers the environments that fail on purpose
from tests.helpers.synthetic import write_run
from tests.helpers.tiny import RUN, refused, waker
from waker.analysis.data import load_runs
from waker.cli import VERBS, main
from waker.errors import BLEMISHED
from waker.storage.tables import read_rows
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


@pytest.mark.parametrize(
    "argv", [["compare", "--by", "--help"], ["train", "--seed", "-h"], ["adapt", "a", "b", "--help"]]
)
def test_help_is_help_wherever_it_stands(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(argv) == 0
    told = capsys.readouterr()
    assert told.out.startswith(f"usage: waker {argv[0]}")
    assert told.err == ""


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
        (["train", "--sampelr", "dr"], "did you mean '--sampler'?"),
        (["train", "--task-polices=after"], "did you mean '--task-policies'?"),
        (["quickstart", "--sampelrs", "dr"], "did you mean '--samplers'?"),
        (["train", "--lr=1"], "unknown option '--lr'"),
        (["train", "laptop"], "unexpected argument 'laptop'"),
        (["train", "--sampler", "dr", "waker-m"], "'waker-m'; a run has one sampler and one seed, several are a study"),
        (["train", "--lr", "1e-4"], "unknown option '--lr'; did you mean '--model.optimizer.lr' or '--behaviour.actor"),
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
        (["train", "--device", "cudo"], "unknown device 'cudo' (valid: cpu, cuda, cuda:N, mps, xpu)"),
        (["train", "--device", "gpu"], "unknown device 'gpu' (valid: cpu, cuda, cuda:N, mps, xpu)"),
        (["train", "--device", "meta"], "device 'meta' cannot be used: it holds no numbers"),
        (["train", "--env", "waker/test-Noisy-v0", "--curriculum.sampler", "hardest-oracle"], "hardest"),
        (["train", "--preset", "tiny", "--model.deter", "10000000"], "weights and optimisers alone take"),
        (["train", "--preset", "tiny", "--model.deter", "9" * 18], "model.deter = 999999999999999999 is too large"),
        (["train", "--preset", "tiny", "--evaluation.samples", "9" * 18], "(evaluation.samples)"),
        (["train", "--preset", "tiny", "--train.replay", "9" * 17], "steps takes 6.6e+09 GB and"),
        (["train", "--preset", "tiny", "--seed", "9" * 30], "seed = 1e30 must fit in 64 bits"),
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
        (["evaluate", "x" * 5000], "File name too long: xxx"),
        (["compare", "x" * 5000], "File name too long: xxx"),
        (["evaluate", ".", "--episodes", "0"], "--episodes 0 must be at least 1"),
        (["adapt"], "missing argument"),
        (["adapt", "nowhere"], "no folder nowhere"),
        (["report", "nowhere"], "no folder nowhere"),
        (["report", "."], "holds no run"),
        (["compare", "nowhere"], "no folder nowhere"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)  # fmt: skip
def test_a_mistake_is_one_line_and_leaves_nothing(
    argv: list[str], told: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert told in refused(argv, capsys)
    assert list(tmp_path.iterdir()) == []


def test_more_episodes_than_memory_holds_are_refused_before_any_is_played(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "(evaluation.episodes and suite_episodes)" in refused(
        ["evaluate", str(finished), "--episodes", "9" * 15], capsys
    )


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (MemoryError("Unable to allocate 7 PiB"), "out of memory: Unable to allocate 7 PiB"),
        (MemoryError(), "out of memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "out of memory: DefaultCPUAllocator"),
        (OverflowError("int too large to convert to float"), "a number is too large: int too large"),
    ],
)
def test_sizes_beyond_the_machine_are_one_line(
    error: Exception, told: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(argv: list[str]) -> int:
        raise error

    monkeypatch.setattr("waker.cli.verbs.envs.command", fail)
    assert told in refused(["envs"], capsys)


def test_other_errors_of_our_own_keep_their_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(argv: list[str]) -> int:
        raise RuntimeError("a mistake of this package")

    monkeypatch.setattr("waker.cli.verbs.envs.command", fail)
    monkeypatch.setattr(registry, "foreign_packages", set)  # these tests bring environments, but `fail` is none of them
    with pytest.raises(RuntimeError, match="a mistake of this package"):
        main(["envs"])


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
    assert {"mean_return", "cvar_0.1", "worst_regret", "worst_model_error", "hard_share", "noisy_share"} <= set(
        numbers["quantity"]
    )


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
    said = refused(["compare", str(finished), "--csv", str(tmp_path)], capsys)
    assert said == f"waker: the numbers must be a file, and {tmp_path} is a folder\n"


def test_compare_knows_its_samplers_and_seeds(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "did you mean 'waker-m'?" in refused(["compare", str(finished), "--samplers", "waker-r"], capsys)
    assert "no run with seed 3; there are 0" in refused(["compare", str(finished), "--seeds", "3"], capsys)


@pytest.mark.usefixtures("undrawn")
def test_report_writes_one_page(finished: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["report", str(finished), "--out", str(tmp_path / "deep" / "page.html")]) == 0
    page = (tmp_path / "deep" / "page.html").read_text(encoding="utf-8")
    assert "waker-m" in page
    assert not re.search(r"""(src|href)=["']https?:""", page)


def test_envs_lists_and_describes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["envs"]) == BLEMISHED  # as some are broken
    listed = capsys.readouterr().out
    assert re.search(r"^waker/GridHazards-v0 .*size, hazards, slip.* tasks: green", listed, re.MULTILINE)
    # Broken ones are named, and hide no other.
    assert re.search(r"^waker/test-Unmakeable-v0 .* cannot be made: RuntimeError: no display", listed, re.MULTILINE)
    assert re.search(r"^waker/test-Missing-v0 .* cannot be imported: ModuleNotFoundError", listed, re.MULTILINE)
    assert main(["envs", "GridHazards"]) == 0
    shown = capsys.readouterr().out
    assert "probability that the chosen action is replaced" in shown
    assert "exact: optimal_return, predict, tabular" in shown


def test_envs_values_an_episode(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["envs", "GridHazards", "--theta", "5", "0.2", "0.1", "--seed", "3"]) == 0
    shown = capsys.readouterr().out
    assert "id 17" in shown
    assert "hard, by an expert" in shown
    assert "in the set noisy" in shown
    assert re.search(r"best expected return of episode seed 3: green \d+\.\d\d, blue", shown)


# As a process -----------------------------------------------------------------------------------------------------


def test_a_mistake_in_a_process_of_its_own(tmp_path: Path) -> None:
    done = waker("train", "--preset", "labtop", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("waker: unknown preset 'labtop'; did you mean 'laptop'?")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("words", [["envs"], ["compare", "runs"]], ids=["plain", "tables"])
def test_a_reader_that_goes_away_is_no_error(words: list[str], tmp_path: Path) -> None:
    write_run(tmp_path / "runs")
    with subprocess.Popen(
        [sys.executable, "-m", "waker", *words],
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
