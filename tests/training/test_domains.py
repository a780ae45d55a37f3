"""The paper's domains through the whole system: a tiny learner explores, every suite is played, the page is written.

Nothing is learned here; every part meets every domain, in pictures and in vectors.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from waker.cli import main
from waker.evaluation import model_error, records, rollouts
from waker.report import sections
from waker.storage.tables import read_rows

TERRAIN = {"dr", "steep", "stairs"}
CLEANUP = {"dr", "5-blocks"}
IN_WALKER, IN_CLEANUP = {"dr", "walker:steep", "walker:stairs"}, {"dr", "cleanup:5-blocks"}
SUITES: dict[str, dict[str, set[str]]] = {
    "TerrainWalker": dict.fromkeys(("stand", "walk", "run", "walk-backward", "flip"), TERRAIN),
    "TerrainHopper": dict.fromkeys(("hop", "stand", "hop-backward"), TERRAIN | {"max"}),
    "CleanUp": dict.fromkeys(("sort", "sort-reversed", "push"), CLEANUP),
    "CarCleanUp": dict.fromkeys(("sort", "sort-reversed", "push"), CLEANUP),
    "Combined": {
        **dict.fromkeys(("walk", "run"), IN_WALKER),
        **dict.fromkeys(("sort", "push"), IN_CLEANUP),
    },
}
"""Domain → task → the suites it is played on."""
KINDS = ("pixels", "proprio")
EPISODES = 2
"""Of domain randomisation; of every other suite one."""
RUN, STEPS = 112, 12
"""Agent steps of a run, and of an episode: 24 control steps, two each."""

Trained = Callable[[str, str], Path]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Run folders by domain and kind of observation, trained when first asked for."""
    root, done = tmp_path_factory.mktemp("domains"), dict[tuple[str, str], Path]()

    def train(domain: str, kind: str) -> Path:
        if (domain, kind) not in done:
            seed = KINDS.index(kind)
            argv = ["--preset", "tiny", "--env", f"waker/{domain}-v0", "--seed", str(seed), "--runs", str(root)]
            argv += ["--evaluation.episodes", str(EPISODES), "--evaluation.suite-episodes", "1"]
            argv += ["--steps", str(RUN), "--env-kwargs", f"obs={kind}", f"length={2 * STEPS}"]
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(model_error, "MOST_THETA", 4)  # of 777
                # To make an environment takes longer than to play one of these episodes.
                patch.setattr(records, "evaluate", functools.partial(rollouts.evaluate, slots=3))
                assert main(["train", *argv]) == 0
            done[domain, kind] = root / domain.lower() / "waker-m" / "plan2explore" / f"seed-{seed}"
        return done[domain, kind]

    return train


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("domain", SUITES)
def test_a_run_explores_learns_and_is_evaluated_on_every_suite(domain: str, kind: str, trained: Trained) -> None:
    folder = trained(domain, kind)
    rows = read_rows(folder / "evaluation.parquet")
    played = rows.groupby(["policy", "task", "suite"]).size().to_dict()
    assert played == {
        (policy, task, suite): EPISODES if suite == "dr" else 1
        for policy in ("learned", "random")
        for task, suites in SUITES[domain].items()
        for suite in suites
    }
    assert rows["return"].map(pd.notna).all()
    assert rows["return"].abs().max() < 1e6
    assert set(rows["length"]) == {STEPS}
    sorts = rows["task"].isin(["sort", "sort-reversed", "push"])
    assert rows.loc[sorts, "completion"].between(0, 1).all()
    assert rows.loc[~sorts, "completion"].isna().all()

    errors = read_rows(folder / "model_error.parquet")
    assert errors["theta_id"].nunique() == 4
    assert errors["value"].map(pd.notna).all()
    episodes = read_rows(folder / "episodes.parquet")
    assert len(episodes) >= RUN // STEPS - 2  # two slots may end in mid-episode
    metrics = pd.read_json(folder / "metrics.jsonl", lines=True)
    assert metrics["updates"].max() == (RUN - 64) // 16 + 1
    assert metrics["model_loss"].notna().all()


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("domain", ["TerrainHopper", "CleanUp", "Combined"])  # others: other names
def test_both_runs_share_a_page(domain: str, trained: Trained, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folders = [trained(domain, kind) for kind in KINDS]
    monkeypatch.setattr(sections, "_MOST_CURVES", sections._FIRST_CURVES)
    assert main(["report", *map(str, folders), "--out", str(tmp_path / "report.html")]) == 0
    html = (tmp_path / "report.html").read_text()
    name = domain.lower()
    parts = [f"{name}-walker-", f"{name}-cleanup-"] if domain == "Combined" else [""]
    rest = f"{name}-" if domain == "Combined" else ""
    anchors = re.findall(r'<section id="([^"]+)"', html)
    assert anchors == [
        *(part + section for part in parts for section in ("summary", "curriculum", "returns", "model")),
        *(rest + section for section in ("futures", "learning")),
        "runs",
    ]
    assert html.count("<img ") >= 8
