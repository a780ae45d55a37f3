"""Every command in README, CONTRIBUTING, ``docs/`` and ``results/README.md`` is run here, but for what is costly.

Commands are taken from shell blocks and from code within sentences. Those of seconds are run, trainings in the smallest
form; of the dear ones everything up to the work is: their own parser reads their options. A command that nobody here
knows fails a test.
"""

from __future__ import annotations

import pydoc
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gymnasium as gym
import pandas as pd
import pytest

from experiments import dispatch_count, reference_step
from experiments.bench.__main__ import BenchArgs
from tests.helpers.pages import FENCE, PAGES, ROOT, Block, blocks
from tests.helpers.rows import numbers
from tests.helpers.tiny import RUN
from waker.analysis.data import RunData
from waker.analysis.numbers import Comparison
from waker.analysis.numbers_file import write_table
from waker.cli import VERBS, main
from waker.cli.arguments import parse
from waker.cli.settings import parse_settings
from waker.cli.verbs.adapt import AdaptArgs
from waker.cli.verbs.ask import AskArgs
from waker.cli.verbs.audit import AuditArgs
from waker.cli.verbs.quickstart import plan
from waker.config.saved import plain
from waker.curriculum import registry as registry_of_samplers
from waker.errors import BLEMISHED
from waker.preferences import table
from waker.report.blocks import Section
from waker.report.sections import domain_sections
from waker.storage.sealed import read_yaml, write_yaml
from waker.training.audit_features import read_features
from waker_envs import registry

_SPAN = re.compile(r"`([^`\n]+)`")
_ASSIGNMENT = re.compile(r"[A-Z_]+=\S*")
HANDED_TO_THE_SHELL = (".", "cd", "export", "pip", "apt-get", "pre-commit")
"""What is no business of ours: that the shell can read it is all that is looked at."""
EXAMPLES = {
    "ID": "GridHazards",
    "SIZE": "laptop-grid",
    "NAME": "dr",
    "STUDY.yaml": "study.yaml",
    "runs/study/rows": "runs",
    "FOLDER": "build",
    "FILE": "tests/reference/step_discrete.npz",
}
"""What stands for the words that readers put their own for; ``RUN`` is a finished run."""
PAPER = ROOT / "experiments" / "paper.yaml"
SMALLEST = {
    "train": [
        *("--evaluation.episodes", "1", "--evaluation.suite-episodes", "1", "--evaluation.model-episodes", "1"),
        *("--train.steps", "100"),
    ],
    "adapt": ["--updates", "1"],
    "evaluate": ["--episodes", "1", "--suite-episodes", "1", "--model-episodes", "1"],
}
"""Options that make a verb's work small."""
TRAINED: set[str] = set()
"""Settings of the smallest runs that were trained here, but for seed and name."""
DEAR = ("TerrainWalker", "TerrainHopper", "CleanUp", "CarCleanUp", "Combined")
"""Families that need a renderer for their films."""


def shell_lines(text: str) -> Iterator[str]:
    """The commands of shell blocks, without comments."""
    for language, block in FENCE.findall(text):
        if language in ("bash", "sh", "shell", "console"):
            for line in block.replace("\\\n", " ").splitlines():
                yield from re.split(r"\s*(?:&&|;)\s*", line.split(" #")[0].strip())


def commands_of(page: Path) -> list[str]:
    """All commands of a page, each once."""
    text = page.read_text(encoding="utf-8")
    prose = FENCE.sub("", text)
    spans = [part for span in _SPAN.findall(prose) for part in re.split(r"\s*&&\s*", span) if is_command(part)]
    return list(dict.fromkeys(command for command in (*shell_lines(text), *spans) if command))


def words_of(command: str) -> list[str]:
    """The words behind assignments of variables."""
    words = shlex.split(command)
    while words and _ASSIGNMENT.fullmatch(words[0]):
        words.pop(0)
    return words


def is_command(span: str) -> bool:
    """Whether code within a sentence is a command: not a name, an option, a file or a setting."""
    try:
        words = words_of(span)
    except ValueError:  # a lone quote
        return False
    if words and words[0].endswith(".sh"):
        return True
    return len(words) > 1 and (words[0] in RUNNERS or words[0] in HANDED_TO_THE_SHELL[1:])


@pytest.fixture(scope="module")
def place(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with what the pages speak of: runs of two seeds, a file of tasks, the plug-in's family."""
    folder = tmp_path_factory.mktemp("place")
    shutil.copytree(finished, folder / "runs")
    shutil.copytree(folder / "runs" / RUN, folder / "runs" / RUN.with_name("seed-1"))
    shutil.rmtree(folder / "runs" / RUN)
    config = folder / "runs" / RUN.with_name("seed-1") / "config.yaml"
    record = read_yaml(config)
    write_yaml(config, {**record, "config": {**record["config"], "seed": 1}})
    for name in (
        *("tasks.py", "corridor.py", "restless.py", "curious.py", "rank_first.py"),
        *("features.py", "room_features.py"),
    ):
        (folder / name).write_text(scripts(name)[0].text, encoding="utf-8")
    shutil.copy(ROOT / "tests/plugin_example/corridor_example.py", folder)
    ask_queries(folder)
    write_table(folder / "study-numbers.csv", numbers_of_a_study())
    corridor = runpy.run_path(str(ROOT / "tests" / "plugin_example" / "corridor_example.py"))["Corridor"]
    with registered_families():
        if "example/Corridor-v0" not in gym.registry:
            registry.register_family("example/Corridor-v0", corridor)
        yield folder


def ask_queries(folder: Path) -> None:
    """What a reader has asked and answered: files that commands of the page on preferences go on with."""
    run = str(folder / "runs" / RUN.with_name("seed-1"))
    for stem, queries, names in (
        ("queries", "25", ("queries-answers.csv", "answered.parquet")),
        ("many", "200", ("many-answers.csv", "many-answered.parquet")),
    ):
        out = folder / f"{stem}.parquet"
        assert main(["ask", run, "--queries", queries, "--out", str(out)]) == 0
        frame = table.read(out)
        answered = table.labelled(frame, [float(query % 2) for query in frame["query"]], table.HUMAN)
        for name in names:
            table.write(folder / name, answered)


def numbers_of_a_study() -> pd.DataFrame:
    """What a reader has after ``waker compare … --page study.html``."""
    return numbers({name: {"green": [1.0, 2.0], "all": [1.0, 2.0]} for name in ("dr", "waker-m")}).assign(
        run="d/dr/e/seed-0", step="10", commit="0123456789"
    )


def scripts(name: str) -> list[Block]:
    """The blocks of all pages that readers save as a file of this name."""
    found = [block for block in blocks("python") if block.text.startswith(f"# {name}\n")]
    assert found, f"no page has {name}"
    return found


def filled_in(words: list[str]) -> list[str]:
    """The words with examples for what a reader would put there."""
    run = f"runs/{RUN.with_name('seed-1')}"
    plain = [word.strip("[]").removesuffix("…") for word in words]
    own = [str(ROOT / word) if word.startswith(("experiments/", "results/")) else word for word in plain]
    return [run if word == "RUN" else EXAMPLES.get(word, word) for word in own if word]


def run_waker(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    verb, *rest = filled_in(words[1:]) or [""]
    assert verb in (*VERBS, "--help", "--version"), f"unknown verb in {shlex.join(words)}"
    if verb not in VERBS:
        assert main([verb]) == 0
    elif {"--help", "--help-all"} & set(rest):
        assert main([verb, *rest]) == 0
    elif not rest and verb in ("adapt", "ask", "answer", "audit", "evaluate", "sweep"):  # its name alone, in a sentence
        assert main([verb, "--help"]) == 0
    elif verb == "quickstart":
        assert plan(rest).trainings
    elif verb == "sweep":
        study = next(block.text for block in blocks("yaml") if "samplers:" in block.text)
        Path("study.yaml").write_text(study)  # for commands that name the reader's own
        if str(PAPER) in rest:  # sixty kinds of runs, ten seconds to read; tests/sweep/test_study.py looks at them
            assert PAPER.is_file()
            rest[rest.index(str(PAPER))] = "study.yaml"
            if "--gpus" in rest:  # the smaller study computes on no GPU, and the sweep would say so
                del rest[rest.index("--gpus") : rest.index("--gpus") + 2]
        assert main(["sweep", *rest, "--dry"]) == 0
    elif verb == "train":
        settings = parse_settings(rest, "train")
        assert settings.config.env
        if "--device" not in rest:  # the smallest form: later options count
            smallest = [*rest, "--preset", "tiny", *SMALLEST["train"]]
            alike = str(plain(parse_settings(smallest, "train").config.with_(seed=0, name="")))
            if alike not in TRAINED:  # another page's command may be the same run but for its seed
                runs = f"trained-{abs(hash(tuple(rest)))}"
                assert main(["train", *smallest, "--runs", runs]) == 0
                TRAINED.add(alike)
    elif verb == "envs" and rest[:1] == ["show"] and rest[1] in DEAR:
        monkeypatch.setattr("waker.cli.verbs.envs.show", lambda args, given: f"{args} {given}")
        assert main(["envs", *rest]) == 0
    elif verb == "ask" and "--rule" in rest:  # it takes a head that was learned before
        assert parse(AskArgs, rest, verb="ask").rule != "uniform"
    elif verb == "audit":  # the smallest run has not met all that its features name
        args = parse(AuditArgs, rest, verb="audit")
        assert callable(read_features(args.features).function)
    elif verb == "adapt" and "--compile" in rest:  # a compiler would take minutes
        assert parse(AdaptArgs, rest, verb="adapt").compile == "compile"
    else:
        # 3: policies for a task of the reader's own are left out where its function is not given, and that is told; so
        # are broken families, of which tests register some.
        codes = (0, BLEMISHED) if verb in ("evaluate", "envs") else (0,)
        assert main([verb, *rest, *SMALLEST.get(verb, [])]) in codes


def run_script(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of the reader's own that calls the command, with the settings of the smallest run; each page's version."""
    for number, text in enumerate(dict.fromkeys(block.text for block in scripts(words[1]))):
        Path(words[1]).write_text(text, encoding="utf-8")
        runs = f"scripted-{Path(words[1]).stem}-{number}"
        with monkeypatch.context() as patched, registered_families():
            patched.setattr(
                registry_of_samplers.CURRICULA, "registered", dict(registry_of_samplers.CURRICULA.registered)
            )
            patched.setattr(sys, "argv", [*words[1:], "--preset", "tiny", "--train.steps", "96", "--runs", runs])
            with pytest.raises(SystemExit) as ended:
                runpy.run_path(words[1], run_name="__main__")
        assert ended.value.code == 0
        assert list(Path(runs).glob("*/rank-first/*/seed-1/evaluation.parquet"))


@contextmanager
def registered_families() -> Iterator[None]:
    """What is registered inside is not registered afterwards."""
    before, ours = set(gym.registry), dict(registry._registered)
    try:
        yield
    finally:
        for env_id in set(gym.registry) - before:
            del gym.registry[env_id]
        registry._registered.clear()
        registry._registered.update(ours)


def run_python(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    if words[1].endswith(".py"):
        run_script(words, monkeypatch)
        return
    assert words[1] == "-m", f"{shlex.join(words)}: only modules and scripts are run"
    module, rest = words[2], filled_in(words[3:])
    if module == "waker":
        run_waker(["waker", *rest], monkeypatch)
        return
    monkeypatch.chdir(ROOT)
    if module == "pydoc":
        assert pydoc.render_doc(rest[0])
    elif module == "experiments.bench":
        parse(BenchArgs, [*rest, "numbers.json"] if rest[-1:] == ["--json"] else rest, verb=module)
    elif module == "experiments.reference_step":
        if "--compile" in rest:  # minutes: the way there, but for the compiler
            compare = reference_step.compare
            monkeypatch.setattr(reference_step, "compare", lambda path, backend=None: compare(path))
        files = [str(path) for word in rest for path in ([word] if word[0] == "-" else ROOT.glob(word))]
        assert reference_step.main(files) == 0
    elif module == "experiments.dispatch_count":
        monkeypatch.setattr(dispatch_count, "CASES", dict(list(dispatch_count.CASES.items())[:1]))
        dispatch_count.main()
    else:
        assert module.startswith("experiments."), f"unknown module {module}"
        monkeypatch.setattr(sys, "argv", [module, *rest, "--help"])
        with pytest.raises(SystemExit) as ended:
            runpy.run_module(module, run_name="__main__")
        assert ended.value.code == 0


def run_make(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    done = subprocess.run(["make", "-n", *words[1:]], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


RUNNERS: dict[str, Callable[[list[str], pytest.MonkeyPatch], Any]] = {
    "waker": run_waker,
    "python": run_python,
    "python3": run_python,
    "make": run_make,
}


def pages_of_commands() -> dict[str, list[Path]]:
    """Each command, and the pages that have it."""
    found: dict[str, list[Path]] = {}
    for page in PAGES:
        for command in commands_of(page):
            found.setdefault(command, []).append(page.relative_to(ROOT))
    return found


COMMANDS = [
    pytest.param(command, id=f"{', '.join(map(str, pages))}: {command}")
    for command, pages in pages_of_commands().items()
]


@pytest.fixture(scope="module")
def made() -> dict[tuple[Any, ...], list[Section]]:
    """Sections of pages, by run folders and domains."""
    return {}


@pytest.fixture
def sections_made_once(made: dict[tuple[Any, ...], list[Section]], monkeypatch: pytest.MonkeyPatch) -> None:
    """Every command's page is made and written; the sections of the same runs are made for the first of them alone."""

    def once(runs: Sequence[RunData], prefix: str, compared: Comparison) -> list[Section]:
        key = (prefix, *((run.folder.resolve(), run.domain) for run in runs))
        if key not in made:
            made[key] = domain_sections(runs, prefix, compared)
        return made[key]

    monkeypatch.setattr("waker.report.page.domain_sections", once)


@pytest.mark.usefixtures("undrawn", "sections_made_once")
@pytest.mark.parametrize("command", COMMANDS)
def test_a_documented_command(command: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    words = words_of(command)
    if words[0].endswith(".sh"):
        script = next(path for path in (ROOT / words[0], ROOT / "scripts" / words[0]) if path.is_file())
        subprocess.run(["bash", "-n", str(script)], check=True)
    elif words[0] in HANDED_TO_THE_SHELL:
        subprocess.run(["bash", "-n", "-c", command], check=True)
    else:
        assert words[0] in RUNNERS, f"nobody here knows the command {words[0]!r}"
        RUNNERS[words[0]](words, monkeypatch)


def test_commands_are_found() -> None:
    """Of every kind and in the pages that are for commands: a pattern that finds nothing would pass everything."""
    found = {str(page.relative_to(ROOT)): commands_of(page) for page in PAGES}
    pages = ("quickstart", "running", "studies", "tasks", "preferences", "compare", "results", "cpu", "gpu", "clusters")
    assert all(found[f"docs/{page}.md"] for page in pages)
    assert found["CONTRIBUTING.md"] and found["results/README.md"] and found["docs/environments/index.md"]
    readme = found["README.md"]
    assert {"waker quickstart", "waker train --env corridor.py:Corridor", "waker report runs/gridhazards"} <= {*readme}
    assert "python -m experiments.reference_step tests/reference/*.npz" in found["docs/results.md"]
    assert sum(command.startswith("waker train") for command in readme) >= 2
    assert {words_of(command)[0] for commands in found.values() for command in commands} >= {"waker", "make", "python"}


def test_a_command_that_nobody_knows_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "Run `waker trian --seed 1` or\n\n```bash\ntrain.py --all  # fast\nmake nothing && waker envs\n```\n"
    )
    assert commands_of(page) == ["train.py --all", "make nothing", "waker envs", "waker trian --seed 1"]
    assert "train.py" not in RUNNERS
    with pytest.raises(AssertionError, match="unknown verb"):
        run_waker(["waker", "trian", "--seed", "1"], monkeypatch)
    with pytest.raises(AssertionError, match="No rule"):
        run_make(["make", "nothing"], monkeypatch)
