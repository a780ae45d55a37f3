"""README and documentation show what is tested: examples run, files parse, tables are the committed ones."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pandas as pd
import pytest
import yaml

import waker
from tests.helpers import forked
from tests.helpers.pages import PAGES, ROOT, Block, blocks
from tests.helpers.rows import numbers
from waker.analysis.conclusion import conclusion
from waker.analysis.paired import paired_differences, pairs
from waker.cli.settings import parse_settings

README = (ROOT / "README.md").read_text(encoding="utf-8")
QUICKSTART = (ROOT / "docs/quickstart.md").read_text(encoding="utf-8")
TEXTS = {page: page.read_text(encoding="utf-8") for page in PAGES}
MODULES = sorted({m for text in TEXTS.values() for m in re.findall(r"python -m (experiments\.\w+)", text)})
PICTURES = sorted({(page, path) for page, text in TEXTS.items() for path in re.findall(r"!\[[^]]*\]\(([^)]+)\)", text)})
SCRIPTS = [block for block in blocks("python") if block.text.startswith("# ")]
"""Files of the reader's own: `tests/test_documented_commands.py` runs the commands that name them."""
OWN = ("corridor.py", "curious.py", "features.py", "rank_first.py", "restless.py", "room_features.py", "tasks.py")
SNIPPETS = [block for block in blocks("python") if block not in SCRIPTS and '"""' not in block.text[:3]]
LONGEST = 750
"""Words of the README, without code."""


def test_everything_is_found() -> None:
    """A pattern that finds nothing would pass everything."""
    assert len(PAGES) > 15
    assert len(MODULES) > 10
    assert len(PICTURES) > 5
    assert {block.text.split()[1] for block in SCRIPTS} == set(OWN)
    assert len(SNIPPETS) >= 4
    for language in ("toml", "yaml", "sbatch", "bibtex"):
        assert blocks(language), language
    known = {"python", "toml", "yaml", "sbatch", "bibtex", "output", "bash", "text"}
    assert {block.language for block in blocks()} == known


def test_the_readme_is_short() -> None:
    prose = re.sub(r"\]\([^)]*\)", "]", re.sub(r"```.*?```", "", README, flags=re.S))
    assert len(re.findall(r"\w[\w'’.-]*", prose)) <= LONGEST


def test_the_first_screen_answers() -> None:
    first = README[: README.index("\n## ")]
    for words in ("reward-free curricula", "For researchers", "Does it work?", "pip install", "not* reproduced"):
        assert words in first


def test_the_examples_are_the_tested_plugins() -> None:
    examples = ROOT / "tests/plugin_example"
    assert (examples / "corridor_example.py").read_text().strip() in (ROOT / "docs/new-environment.md").read_text()
    assert (examples / "surprise_example.py").read_text().strip() in (ROOT / "docs/curricula.md").read_text()


def test_a_sampler_shown_twice_is_the_same() -> None:
    found = [block.text for block in SCRIPTS if block.text.startswith("# rank_first.py\n")]
    assert len(found) == 2
    assert found[0] == found[1]


@pytest.mark.parametrize("block", [*SCRIPTS, *SNIPPETS], ids=str)
def test_python_compiles(block: Block) -> None:
    compile(block.text, str(block), "exec")


@pytest.mark.parametrize("block", SNIPPETS, ids=str)
def test_snippets_run(block: Block, finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished, tmp_path / "runs")
    path = os.pathsep.join([str(ROOT), str(ROOT / "envs")])
    done = forked.python(block.text, tmp_path, {"PYTHONPATH": path})
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("block", blocks("toml"), ids=str)
def test_toml_parses(block: Block) -> None:
    groups = tomllib.loads(block.text)["project"]["entry-points"]
    tested = tomllib.loads((ROOT / "tests/plugin_example/pyproject.toml").read_text())["project"]["entry-points"]
    for group, names in groups.items():
        assert names.items() <= tested[group].items()


@pytest.mark.parametrize("block", blocks("yaml"), ids=str)
def test_yaml_is_a_study_or_settings(block: Block, tmp_path: Path) -> None:
    from waker.sweep.study import read_cells

    path = tmp_path / "file.yaml"
    path.write_text(block.text)
    assert read_cells(path) if "samplers:" in block.text else waker.load_config(path)


@pytest.mark.parametrize("block", blocks("sbatch"), ids=str)
def test_the_job_array_makes_every_run_once(block: Block, tmp_path: Path) -> None:
    """The script runs with a ``waker`` that only says how it was called."""
    text = block.text
    fake = tmp_path / "waker"
    fake.write_text('#!/bin/bash\necho "$@"\n')
    fake.chmod(0o755)
    last = int(re.search(r"--array=0-(\d+)", text)[1])
    found, samplers = set(), dict[tuple[str, ...], str]()
    for task in range(last + 1):
        environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_ARRAY_TASK_ID": str(task)}
        done = subprocess.run(["bash", "-c", text], env=environment, capture_output=True, text=True, check=True)
        verb, *rest = done.stdout.split()
        assert verb == "train"
        at = rest.index("--seed")
        alike, seed = (*rest[:at], *rest[at + 2 :]), int(rest[at + 1])
        if alike not in samplers:  # to parse takes much longer than to run the script
            config = parse_settings(rest, "train").config
            assert config.seed == seed
            samplers[alike] = config.curriculum.sampler
        found.add((samplers[alike], seed))
    assert len(found) == last + 1


def test_the_citation_is_sound() -> None:
    """``CITATION.cff`` has what its schema asks for, and agrees with the package and with the README's BibTeX."""
    found = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= set(found)
    assert found["cff-version"] == "1.2.0"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert (found["version"], found["license"]) == (project["version"], project["license"])
    paper = found["preferred-citation"]
    assert all(set(author) == {"family-names", "given-names"} for author in paper["authors"])
    bibtex = blocks("bibtex")[0].text
    for words in (found["title"], found["version"], paper["title"], str(paper["year"]), paper["url"]):
        assert words in bibtex
    for author in paper["authors"]:
        assert f"{author['family-names']}, {author['given-names']}" in bibtex


def test_the_demo_s_table_is_the_committed_one() -> None:
    table = (ROOT / "results/demo/table.md").read_text(encoding="utf-8").strip()
    assert table in QUICKSTART
    rows = {line.split("|")[1].strip(): line for line in table.splitlines()}
    shown = README[README.index("| all tasks") :].split("\n\n")[0].splitlines()
    assert len(shown) == 7
    for line in shown[2:]:
        name, *values = (cell.strip() for cell in line.strip("|").split("|"))
        assert [cell.split(" (")[0].strip() for cell in rows[name].strip("|").split("|")[1:]] == values


def test_the_demo_s_conclusion_is_what_one_seed_says() -> None:
    rows = pd.read_csv(ROOT / "results/demo/comparison.csv")
    assert set(rows["seeds"]) == {1}
    means = rows[(rows["task"] == "all") & (rows["quantity"] == "mean_return")].set_index("sampler")["mean"]
    found = numbers({str(name): {"all": [value]} for name, value in means.items()})
    said = conclusion(paired_differences(pairs(found, "dr").rows), "dr")
    assert said and f"```text\n{said}\n```" in QUICKSTART


@pytest.mark.parametrize("module", MODULES)
def test_scripts_exist(module: str) -> None:
    path = ROOT / module.replace(".", "/")
    assert path.with_suffix(".py").is_file() or (path / "__main__.py").is_file()


@pytest.mark.parametrize(("page", "path"), PICTURES, ids=lambda x: Path(x).name)
def test_pictures_exist(page: Path, path: str) -> None:
    assert (page.parent / path).is_file()
