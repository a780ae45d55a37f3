"""The table of what models of GridCleanUp's runs see of blocks, and of what their policies bring to its goal.

Printed by ``python -m experiments.boards table`` (models alone) and ``python -m experiments.pushes table`` from the
rows that are committed. A row is one run: its seed, and the updates of its model, of its reward heads before the
policies, and of its policies, with the lookahead's discount. Rows of runs and of their policies lie in files of their
own that share the seed alone; runs of one seed with different settings are told apart by their order in both files,
where newer ones stand behind.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

MODEL, POLICIES = ("updates", "latent"), ("heads_first", "updates", "discount", "starts")
"""Columns that tell runs of one seed apart, in the rows of models and of policies."""


def ranked(rows: pd.DataFrame, settings: Sequence[str]) -> pd.DataFrame:
    """The rows with a column ``run``: which setting of its seed each has, counted in the order of the file."""
    known = [name for name in settings if name in rows]
    kinds = rows[["seed", *known]].drop_duplicates()
    return rows.merge(kinds.assign(run=kinds.groupby("seed").cumcount()), on=["seed", *known])


def pooled(rows: pd.DataFrame, by: Sequence[str], value: str, count: str) -> pd.Series:
    """The mean of a column, rows weighted by their counts."""
    sums = rows.assign(sum=rows[value] * rows[count]).groupby([*by], sort=False)[["sum", count]].sum()
    return sums["sum"] / sums[count]


def of_models(rows: pd.DataFrame) -> pd.DataFrame:
    """By seed and run: updates of the model, ``moved`` of a lone block, and ``paid`` over all numbers of blocks."""
    rows, by = ranked(rows, MODEL), ["seed", "run"]
    lone = rows[(rows["measure"] == "moved") & (rows["blocks"] == 1)].set_index(by)["value"]
    paid = pooled(rows[rows["measure"] == "paid"], by, "value", "n")
    return pd.DataFrame({"model": rows.groupby(by)["updates"].first(), "moved, 1 block": lone, "paid": paid})


def of_policies(rows: pd.DataFrame) -> pd.DataFrame:
    """By seed and run: updates and discount, and completion by drawn actions with one block, with four and of all."""
    rows, by = ranked(rows[rows["actions"] == "sampled"], POLICIES), ["seed", "run"]
    names = {"heads_first": "heads first", "updates": "policies", "discount": "discount"}
    found = rows.groupby(by)[[name for name in names if name in rows]].first().rename(columns=names)
    for name, kept in (("1 block", [1]), ("4 blocks", [4]), ("all", sorted(set(rows["blocks"])))):
        found[name] = pooled(rows[rows["blocks"].isin(kept)], by, "completion", "episodes")
    return found


def table(boards: Path, pushes: Path) -> pd.DataFrame:
    """One row a run.

    Args:
        boards, pushes: files of rows of models and of policies.
    """
    both = of_models(pd.read_csv(boards)).join(of_policies(pd.read_csv(pushes)), how="outer")
    return told(both.reset_index().sort_values(["model", "policies", "seed"], kind="stable").drop(columns="run"))


def trained(rows: pd.DataFrame) -> pd.DataFrame:
    """Of models that were trained alone: ``seen`` and ``moved`` by number of blocks."""
    rows = rows[rows["measure"].isin(["seen", "moved"]) & (rows["blocks"] > 0)]
    by = ["latent", "seed", "updates", "measure"]
    return told(rows.pivot_table(index=by, columns="blocks", values="value", sort=False).reset_index())


def told(found: pd.DataFrame) -> pd.DataFrame:
    """The table in the precision of the page."""
    shares = [name for name in found if name == "discount" or (found[name].dtype.kind == "f" and found[name].max() < 2)]
    whole = [name for name in found if name not in shares and found[name].dtype.kind == "f"]
    return found.round(dict.fromkeys(shares, 2)).astype(dict.fromkeys(whole, "Int64"))


def print_tables(tables: dict[str, pd.DataFrame]) -> None:
    """Each under its heading."""
    for name, rows in tables.items():
        print(f"{name}\n{rows.to_string(index=False, na_rep='–')}\n")
