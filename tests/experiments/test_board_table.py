"""The table of runs of GridCleanUp: joined by seed, pooled by counts, and two settings of a seed stay apart."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from experiments.board_table import of_models, of_policies, table

RESULTS = Path(__file__).parents[2] / "results"


def models(seed: int, updates: int, moved: float) -> list[tuple[object, ...]]:
    about = ("cells", updates, seed)
    return [(*about, "moved", 1, moved, 9), (*about, "paid", 1, 1.0, 1), (*about, "paid", 2, 0.5, 3)]


def policies(seed: int, updates: int, discount: float, done: float) -> list[tuple[object, ...]]:
    about = (seed, updates, 300, discount, 24)
    kinds = [("sampled", 1, done, 10), ("sampled", 4, 0.0, 30), ("mode", 1, 1.0, 10)]
    return [(*about, actions, "sort", blocks, value, n) for actions, blocks, value, n in kinds]


def test_runs_of_one_seed_with_other_settings_have_rows_of_their_own(tmp_path: Path) -> None:
    columns = ["latent", "updates", "seed", "measure", "blocks", "value", "n"]
    rows = pd.DataFrame([*models(1, 100, 0.2), *models(2, 300, 0.6), *models(1, 300, 0.8)], columns=columns)
    rows.to_csv(tmp_path / "boards.csv", index=False)
    names = ["seed", "updates", "heads_first", "discount", "starts", "actions", "task", "blocks", "completion"]
    of = [*policies(1, 900, 0.95, 0.4), *policies(2, 700, 0.85, 0.5), *policies(1, 700, 0.85, 0.8)]
    pd.DataFrame(of, columns=[*names, "episodes"]).to_csv(tmp_path / "pushes.csv", index=False)
    found = table(tmp_path / "boards.csv", tmp_path / "pushes.csv")
    assert found[["seed", "model", "policies"]].to_numpy().tolist() == [[1, 100, 900], [1, 300, 700], [2, 300, 700]]
    assert found["moved, 1 block"].tolist() == [0.2, 0.8, 0.6]
    assert found["discount"].tolist() == [0.95, 0.85, 0.85]
    assert found["paid"].tolist() == [0.62] * 3  # (1 + 3 · 0.5) / 4 = 0.625
    assert found["1 block"].tolist() == [0.4, 0.8, 0.5]
    assert found["4 blocks"].tolist() == [0.0] * 3
    assert found["all"].tolist() == [0.1, 0.2, 0.12]


def test_every_committed_run_has_its_models_and_its_policies_columns() -> None:
    found = table(RESULTS / "boards" / "runs.csv", RESULTS / "pushes" / "learned.csv")
    assert len(found) == len(of_models(pd.read_csv(RESULTS / "boards" / "runs.csv")))
    assert len(found) == len(of_policies(pd.read_csv(RESULTS / "pushes" / "learned.csv")))
    first = found.set_index(["seed", "model", "discount"]).loc[(20, 1801, 0.95)]
    assert first[["moved, 1 block", "paid", "1 block", "4 blocks", "all"]].tolist() == [0.91, 0.97, 0.9, 0.51, 0.88]
