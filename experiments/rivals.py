"""The study of study_rivals.md: a row a run as runs end, and the answers of the rows.

    python -m experiments.rivals missing GridHazardsWide 130 > part.yaml   # what a seed still lacks, a study file
    waker sweep part.yaml --runs runs/rivals --jobs 2
    python -m experiments.rivals collect runs/rivals
    python -m experiments.rivals

A study of weeks is made in parts, on whatever machine there is. ``collect`` reads the finished runs of a folder, values
their plans exactly (:mod:`experiments.study_plans`) and adds to ``results/study_rivals/``: ``runs.csv`` (a row a run:
domain, variant, sampler, seed, step, commit, processor, updates, CPU seconds, worst and mean regret, and the numbers of
:data:`READ`) and ``plans-<domain>.csv`` (return and optimum of each θ and task). Rows of other runs stay. ``missing``
leaves out the runs that have a row. Without a verb the answers are made from the rows: ``first.csv`` (stage one: every
rival's primary metric, with its paired differences from dr and waker-m), ``chosen.csv`` and ``answers.csv`` (R1 to R3).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from experiments.kept_rows import with_others
from experiments.study import difference, family
from experiments.study_plans import VALUES, of_run, regrets
from waker.analysis.data import RunData, load_runs, settings_of
from waker.analysis.metrics import student_interval
from waker.analysis.study import read_study
from waker.names import ALL, DR_SUITE

HERE = Path(__file__).parent
RESULTS = HERE.parent / "results" / "study_rivals"
STUDIES = (HERE / "study_rivals.yaml", HERE / "study_rivals_variants.yaml")
READ = ("noisy_share", "hard_share", "estimate_rank", "estimate_rank_ceiling", "worst_model_error", "mean_model_error")
IDENTITY = ("domain", "arm", "seed")
PRIMARY, BESIDE = "worst_regret", "mean_regret"
BASELINE, OURS, CONTROL = "dr", "waker-m", "error-oracle"
REFERENCES = (BASELINE, OURS, "waker-r", CONTROL)
"""Samplers that are no rivals."""
FIRST, SECOND = range(130, 135), range(135, 145)
"""Seeds of the two stages."""
GO_ON = 3
"""Rivals that go to the second stage."""
ARMS = {
    "replay.choice": ("curious", "dr, curious replay"),
    "curriculum.settings.of": ("excess", "heldout-loss, excess"),
}
"""Settings that make a variant of its own, its value, and what it is called."""

Row = dict[str, Any]


def arm_of(run: RunData) -> str:
    """The sampler, or the variant of the second study file."""
    settings = settings_of(run)
    named = [name for setting, (value, name) in ARMS.items() if settings.get(setting) == value]
    return named[0] if named else str(settings["curriculum.sampler"])


def collect(places: Sequence[Path], out: Path) -> None:
    """Add the finished runs of some folders to the rows."""
    out.mkdir(parents=True, exist_ok=True)
    for run in load_runs(places):
        steps = int(settings_of(run)["train.steps"])
        if run.evaluation.empty or run.evaluation["step"].max() < steps:
            print(f"{run.folder}: not finished, left out", file=sys.stderr)
            continue
        about = {"domain": run.domain, "arm": arm_of(run), "seed": run.seed}
        plans = pd.DataFrame(of_run(run.folder))
        plans = plans[plans["suite"] == DR_SUITE]
        keys = ["task", *(c for c in plans if c.startswith("theta_"))]
        told = plans.groupby(keys, sort=False, as_index=False)[list(VALUES)].mean().assign(**about)
        told = told[[*about, *keys, *VALUES]].round(6)
        file = out / f"plans-{run.domain}.csv"
        with_others(file, told, list(about)).to_csv(file, index=False)
        row = pd.DataFrame([{**about, **row_of(run, plans)}])
        with_others(out / "runs.csv", row, list(about)).to_csv(out / "runs.csv", index=False, float_format="%.6g")


def row_of(run: RunData, plans: pd.DataFrame) -> Row:
    """What is kept of one run beside its name."""
    numbers = read_study([run.folder]).numbers
    known = numbers[numbers["task"] == ALL].set_index("quantity")["value"]
    worth = regrets(plans).iloc[0]
    last = run.metrics.iloc[-1]
    return {
        "step": int(run.evaluation["step"].max()),
        "commit": str(run.config.get("git") or "")[:12],
        "machine": str((run.config.get("arithmetic") or {}).get("processor", "")),
        "updates": int(run.evaluation["updates"].max()),
        "cpu_s": round(float(last.get("time/cpu_seconds", float("nan"))), 1),
        PRIMARY: float(worth["worst"]),
        BESIDE: float(worth["mean"]),
        **{name: float(known.get(name, float("nan"))) for name in READ},
    }


def missing(rows: pd.DataFrame, domain: str, seed: int, study: Path) -> dict[str, Any]:
    """A study file of the samplers that have no row of this domain and seed.

    Raises:
        SystemExit: the study has no such domain, or nothing is missing.
    """
    text = yaml.safe_load(study.read_text(encoding="utf-8"))
    if domain not in text["domains"]:
        raise SystemExit(f"{study.name} has no domain {domain}; it has {', '.join(text['domains'])}")
    have = set(rows[(rows["domain"] == domain.lower()) & (rows["seed"] == seed)]["arm"])
    lacking = {name: own for name, own in text["samplers"].items() if _arm(name, own) not in have}
    if not lacking:
        raise SystemExit(f"seed {seed} of {domain} lacks nothing")
    return text | {"domains": {domain: text["domains"][domain]}, "samplers": lacking, "seeds": [seed]}


def _arm(sampler: str, own: dict[str, Any] | None) -> str:
    for setting, (value, name) in ARMS.items():
        if (own or {}).get(setting.replace("settings", sampler)) == value:
            return name
    return sampler


def by_seed(rows: pd.DataFrame, domain: str, arm: str, quantity: str, seeds: Sequence[int]) -> pd.Series:
    """One arm's numbers, by seed."""
    of = rows[(rows["domain"] == domain) & (rows["arm"] == arm) & rows["seed"].isin(list(seeds))]
    return of.set_index("seed")[quantity].sort_index()


def first_stage(rows: pd.DataFrame) -> pd.DataFrame:
    """Every arm of stage one: mean of the primary metric and of what stands beside it, and how far from dr."""
    told = []
    for domain in dict.fromkeys(rows["domain"]):
        for arm in dict.fromkeys(rows[rows["domain"] == domain]["arm"]):
            for quantity in (PRIMARY, BESIDE, "noisy_share", "hard_share", "updates", "cpu_s"):
                ours, theirs = (by_seed(rows, domain, name, quantity, FIRST).dropna() for name in (arm, BASELINE))
                if ours.empty:
                    continue
                mean, low, high = student_interval(ours)
                row = {"domain": domain, "arm": arm, "quantity": quantity, "n": len(ours), "mean": mean}
                row |= {"low": low, "high": high}
                pairs = (ours - theirs).dropna()
                if arm != BASELINE and len(pairs):
                    off, off_low, off_high = student_interval(pairs)
                    row |= {"minus_dr": off, "minus_dr_low": off_low, "minus_dr_high": off_high}
                told.append(row)
    return pd.DataFrame(told)


def chosen(rows: pd.DataFrame) -> pd.DataFrame:
    """The rivals by their mean primary metric over both domains, each domain's divided by dr's; which go on.

    Empty until every arm has all seeds of the first stage on every domain: the protocol chooses once.
    """
    domains = list(dict.fromkeys(rows["domain"]))
    arms = [arm for arm in dict.fromkeys(rows["arm"]) if arm not in REFERENCES]
    expected = [_arm(name, own) for study in STUDIES for name, own in _samplers(study).items()]
    counts = {(d, a): len(by_seed(rows, d, a, PRIMARY, FIRST).dropna()) for d in domains for a in expected}
    if len(domains) < 2 or any(count < len(FIRST) for count in counts.values()):
        return pd.DataFrame(columns=["arm", "ratio", "goes_on"])
    means = {(d, a): by_seed(rows, d, a, PRIMARY, FIRST).mean() for d in domains for a in expected}
    ratio = {arm: sum(means[d, arm] / means[d, BASELINE] for d in domains) / len(domains) for arm in arms}
    found = pd.DataFrame(sorted(ratio.items(), key=lambda pair: pair[1]), columns=["arm", "ratio"])
    return found.assign(goes_on=found.index < GO_ON)


def _samplers(study: Path) -> dict[str, Any]:
    return dict(yaml.safe_load(study.read_text(encoding="utf-8"))["samplers"])


def answers(rows: pd.DataFrame, on: Sequence[str]) -> pd.DataFrame:
    """R1 and R2 of the second stage for the rivals that went on, R3 of the first.

    A domain on which the error-oracle does not beat dr in the second stage (its interval does not lie below 0) answers
    neither R1 nor R2; the control's own row says so.
    """
    told = [*_control(rows)]
    able = [row["domain"] for row in told if row["high"] < 0]
    for question, other in (("R1", BASELINE), ("R2", OURS)):
        told += family([row for row in _pairs(question, rows, on, other, SECOND, PRIMARY) if row["domain"] in able])
    rivals = [arm for arm in dict.fromkeys(rows["arm"]) if arm != BASELINE]
    told += family(list(_pairs("R3", rows, rivals, BASELINE, FIRST, "noisy_share")))
    return pd.DataFrame(told)


def _control(rows: pd.DataFrame) -> Iterator[Row]:
    yield from _pairs("control", rows, [CONTROL], BASELINE, SECOND, PRIMARY)


def _pairs(
    question: str, rows: pd.DataFrame, arms: Sequence[str], other: str, seeds: Sequence[int], quantity: str
) -> Iterator[Row]:
    for domain in dict.fromkeys(rows["domain"]):
        theirs = by_seed(rows, domain, other, quantity, seeds)
        for arm in arms:
            ours = by_seed(rows, domain, arm, quantity, seeds)
            if len((ours - theirs).dropna()) > 1:
                yield {"domain": domain, **difference(question, arm, ours, other, theirs, quantity)}


def main() -> None:
    """Collect, list what is missing, or answer."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=RESULTS, help="the folder of the rows")
    verbs = parser.add_subparsers(dest="verb")
    gather = verbs.add_parser("collect", help="add finished runs to the rows")
    gather.add_argument("runs", type=Path, nargs="+")
    lacks = verbs.add_parser("missing", help="a study file of what a seed still lacks")
    lacks.add_argument("domain")
    lacks.add_argument("seed", type=int)
    lacks.add_argument("--variants", action="store_true", help="of the two variants in place of the samplers")
    given = parser.parse_args()
    if given.verb == "collect":
        collect(given.runs, given.results)
        return
    path = given.results / "runs.csv"
    rows = pd.read_csv(path) if path.is_file() else pd.DataFrame(columns=list(IDENTITY))
    if given.verb == "missing":
        print(yaml.safe_dump(missing(rows, given.domain, given.seed, STUDIES[given.variants]), sort_keys=False))
        return
    if rows.empty:
        raise SystemExit(f"{path} has no rows yet: collect some runs first")
    first, which = first_stage(rows), chosen(rows)
    found = answers(rows, list(which[which["goes_on"].astype(bool)]["arm"]))
    for name, table in (("first", first), ("chosen", which), ("answers", found)):
        if table.empty:
            print(f"{name}: the runs of this are not there yet\n")
            continue
        table.to_csv(given.results / f"{name}.csv", index=False, float_format="%.5g")
        print(table.to_string(index=False, float_format="{:.3g}".format, na_rep=""), end="\n\n")


if __name__ == "__main__":
    main()
