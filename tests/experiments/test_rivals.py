"""The rivals' study: rows are added run by run, stages are kept apart, and answers are those of known numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from experiments import rivals
from experiments.rivals import FIRST, PRIMARY, SECOND, STUDIES, answers, chosen, first_stage, missing
from tests.helpers.synthetic import write_run
from waker.cli.verbs.sweep import plan
from waker.config.presets import preset
from waker.config.saved import plain
from waker.sweep.study import read_cells

DOMAINS = ("gridhazardswide", "gridkeys")


def arms() -> list[str]:
    found = []
    for study in STUDIES:
        found += [rivals._arm(name, own) for name, own in yaml.safe_load(study.read_text())["samplers"].items()]
    return found


def rows(means: dict[str, float], seeds: range = FIRST) -> pd.DataFrame:
    """A row an arm, domain and seed; of each arm its mean, and what the seed adds to all alike."""
    told = [
        {"domain": domain, "arm": arm, "seed": seed, PRIMARY: mean * (1 + at) + 0.1 * (seed % 5)}
        for at, domain in enumerate(DOMAINS)
        for arm, mean in means.items()
        for seed in seeds
    ]
    return pd.DataFrame(told).assign(mean_regret=1.0, noisy_share=0.5, hard_share=0.2, updates=900, cpu_s=90.0)


def test_both_files_name_twenty_arms() -> None:
    assert len(arms()) == len(set(arms())) == 20
    assert {"dr, curious replay", "heldout-loss, excess"} <= set(arms())


def test_three_rivals_go_on_once_all_are_there() -> None:
    means = {arm: 10.0 + at for at, arm in enumerate(arms())}
    means |= {"waker-m": 1.0, "pace": 2.0, "heldout-loss, excess": 3.0, "plr": 4.0}
    found = chosen(rows(means))
    assert list(found[found["goes_on"]]["arm"]) == ["pace", "heldout-loss, excess", "plr"]
    assert len(found) == 20 - len(rivals.REFERENCES)
    # both domains' ratios to dr: (2 + 0.2) / (10 + 0.2) and (4 + 0.2) / (20 + 0.2)
    assert found["ratio"].iloc[0] == pytest.approx((2.2 / 10.2 + 4.2 / 20.2) / 2)
    assert chosen(rows(means).iloc[:-1]).empty, "a run is missing"
    assert chosen(rows(means)[lambda r: r["domain"] == DOMAINS[0]]).empty


def test_the_first_stage_is_told_with_pairs() -> None:
    found = first_stage(rows({"dr": 10.0, "plr": 8.0})).set_index(["domain", "arm", "quantity"])
    told = found.loc[DOMAINS[1], "plr", PRIMARY]
    assert (told["n"], told["mean"], told["minus_dr"]) == (5, pytest.approx(16.2), pytest.approx(-4.0))
    assert np.isnan(found.loc[DOMAINS[1], "dr", PRIMARY]["minus_dr"])


def test_claims_rest_on_the_second_stage_of_domains_that_can_tell() -> None:
    first = rows({"dr": 10.0, "plr": 1.0, "waker-m": 9.0})
    second = rows({"dr": 10.0, "plr": 8.0, "waker-m": 9.0, "error-oracle": 7.0}, SECOND)
    second[PRIMARY] += np.random.default_rng(0).normal(scale=0.1, size=len(second))
    blind = (second["domain"] == DOMAINS[0]) & (second["arm"] == "error-oracle")
    second.loc[blind, PRIMARY] += 5.0
    found = answers(pd.concat([first, second]), ["plr"]).set_index(["question", "domain", "compared"])
    assert set(found.loc["R1"].index.get_level_values(0)) == {DOMAINS[1]}
    told = found.loc["R1", DOMAINS[1], "plr"]
    assert (told["n"], told["value"]) == (10, pytest.approx(-4.0, abs=0.2))
    assert found.loc["R2", DOMAINS[1], "plr"]["value"] == pytest.approx(-2.0, abs=0.2)
    assert found.loc["R3", DOMAINS[0], "plr"]["value"] == 0.0


def test_what_is_missing_is_a_study_file(tmp_path: Path) -> None:
    have = rows({"dr": 1.0, "waker-m": 1.0}, range(131, 132))
    file = tmp_path / "part.yaml"
    file.write_text(yaml.safe_dump(missing(have, "GridKeys", 131, STUDIES[0]), sort_keys=False))
    cells = read_cells(file)
    assert len(cells) == 16
    assert {cell.domain for cell in cells} == {"GridKeys"} and {cell.seed for cell in cells} == {131}
    assert not {"dr", "waker-m"} & {cell.sampler for cell in cells}
    whole = {(c.domain, c.sampler, c.seed): c.arguments for c in read_cells(STUDIES[0])}
    assert all(whole[c.domain, c.sampler, c.seed] == c.arguments for c in cells), "settings are the study's"
    variants = missing(have, "GridKeys", 131, STUDIES[1])
    assert list(variants["samplers"]) == ["dr", "heldout-loss"]


@pytest.mark.parametrize("study", STUDIES, ids=lambda study: str(study.stem))
def test_what_one_arm_lacks_can_be_run(study: Path, tmp_path: Path) -> None:
    """No setting is left over that the other arms alone use."""
    text = yaml.safe_load(study.read_text(encoding="utf-8"))
    for name, own in text["samplers"].items():
        file = tmp_path / f"{name}.yaml"
        file.write_text(yaml.safe_dump(text | {"samplers": {name: own}, "seeds": [130]}, sort_keys=False))
        work, *_ = plan(file, tmp_path / "runs", tmp_path / "rows")
        assert len(work) == len(text["domains"])


def test_an_unknown_domain_is_named() -> None:
    with pytest.raises(SystemExit, match="no domain GridKey; it has GridHazardsWide, GridKeys"):
        missing(pd.DataFrame(columns=["domain", "arm", "seed"]), "GridKey", 130, STUDIES[0])


def test_a_whole_seed_is_told() -> None:
    have = rows(dict.fromkeys(arms(), 1.0), range(130, 131))
    with pytest.raises(SystemExit, match="seed 130 of GridKeys lacks nothing"):
        missing(have, "GridKeys", 130, STUDIES[0])


def test_runs_are_added_and_others_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def valued(folder: Path) -> list[dict[str, object]]:
        about = {"sampler": folder.parts[-3], "seed": int(folder.name[-1]), "step": 20_000}
        where = [
            {"suite": suite, "task": "green", "theta_size": size} for suite in ("dr", "fresh") for size in (3.0, 5.0)
        ]
        return [{**about, **w, "return": w["theta_size"], "optimal_return": 2 * w["theta_size"]} for w in where]

    monkeypatch.setattr(rivals, "of_run", valued)
    for seed in (1, 2):
        folder = write_run(tmp_path / "runs", "dr", seed)
        settings = plain(preset("laptop").with_(sampler="dr", steps=20_000 * seed))
        (folder / "config.yaml").write_text(yaml.safe_dump({"config": settings, "git": "c" * 40}))
    rivals.collect([tmp_path / "runs/gridhazards/dr/plan2explore/seed-1"], tmp_path / "out")
    kept = pd.read_csv(tmp_path / "out/runs.csv").assign(seed=9)
    kept.to_csv(tmp_path / "out/runs.csv", index=False)
    rivals.collect([tmp_path / "runs"], tmp_path / "out")  # the second run is half done: 20,000 of 40,000 steps
    found = pd.read_csv(tmp_path / "out/runs.csv")
    assert list(found["seed"]) == [9, 1]
    assert (found["arm"].iloc[1], found["worst_regret"].iloc[1], found["mean_regret"].iloc[1]) == ("dr", 5.0, 4.0)
    assert list(pd.read_csv(tmp_path / "out/plans-gridhazards.csv")["theta_size"]) == [3.0, 5.0]
