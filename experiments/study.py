"""The studies of study.md and study_keys.md: their numbers from run folders, and their answers from the numbers.

    python -m experiments.study collect --main RUNS [--explorer RUNS] [--saved-30k RUNS] [--saved-40k RUNS]
    python -m experiments.study exact
    python -m experiments.study
    python -m experiments.study --results results/study_keys collect --at 10000 20000 30000 --main RUNS
    python -m experiments.study --results results/study_keys

``collect`` reads run folders of ``study.yaml``, ``study_explorer.yaml`` and the two variants of ``study_saved.yaml``
and writes what is committed: ``results/study/<part>-numbers.csv`` with ``-shares.csv`` and ``-notes.csv`` (those of
``waker compare --page``, see docs/compare.md), ``<part>-plans.csv``: what the plans of each run's end are worth over
all episodes of each θ (:mod:`experiments.study_plans`; ``-plans-ends-given.csv`` if they were first valued otherwise),
and ``checkpoints.csv``: worst model error and worst planned regret of each run at each measurement. In the numbers what
plans are worth is taken of all episodes; the evaluation's own samples have ``, sampled`` behind their names
(``exact`` does that part again). Without a verb the answers are made again from these files: ``answers.csv``, one row a
comparison, and ``figure.png``. ``waker compare results/study/main-numbers.csv --quantities planned_worst_regret --page
study.html`` makes a page of the primary metric.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from experiments.study_plans import exact_numbers, plans, plans_before, sampled_numbers
from waker.analysis.metrics import spearman, student_interval
from waker.analysis.numbers_file import read_numbers, write_table
from waker.analysis.paired import holm, paired_test
from waker.analysis.quantities import ENDS_GIVEN, FORMS, SAMPLED, SUITE_REGRET
from waker.analysis.study import read_study, write_study
from waker.names import ALL

RESULTS = Path(__file__).parents[1] / "results" / "study"
PARTS = ("main", "explorer", "saved-30k", "saved-40k")
PRIMARY, BESIDE = "planned_worst_regret", "planned_mean_regret"
ERROR = "worst_model_error"
BASELINE = "dr"
FINDS = ("hard_share", "noisy_share", "estimate_rank", "estimate_rank_ceiling")
AT = (5_000, 10_000, 15_000, 20_000)
"""Agent steps of the measurements of a run of ``study.yaml``, the last one its end."""
STEPS = 20_000
"""Agent steps of the first study's main runs."""
RESAMPLES = 2_000
ANSWERS = (
    "question",
    "compared",
    "with",
    "quantity",
    "n",
    "value",
    "low",
    "high",
    "p_t",
    "p_flips",
    "p_t_holm",
    "p_flips_holm",
    "tests",
)
"""Columns of the answers: ``value`` is a mean paired difference (``with`` names what was taken off), a mean over seeds,
or a correlation; ``low`` and ``high`` its 95 % interval; ``n`` the pairs, or the seeds; ``p_t`` of the paired t test,
``p_flips`` of the sign-flip test, each also corrected after Holm over the question's ``tests``."""

Row = dict[str, Any]


def collect(part: str, runs: Path, out: Path, at: Sequence[int] = AT) -> None:
    """Write one part's numbers, and of the main one its checkpoints at these agent steps."""
    out.mkdir(parents=True, exist_ok=True)
    write_study(read_study([runs]), out / f"{part}-numbers.csv")
    if len(found := plans(runs)):  # none where run folders are gone, or the family does not list its rooms
        write_table(out / f"{part}-plans.csv", found.round(6))
        exact(out, part)
    if part == "main":
        write_table(out / "checkpoints.csv", pd.concat([_checkpoint(runs, step) for step in at]))


def _checkpoint(runs: Path, step: int) -> pd.DataFrame:
    """Columns sampler, seed, step, worst model error, worst planned regret; one row a run."""
    numbers = read_study([runs], at=step).numbers
    kept = numbers[(numbers["task"] == ALL) & numbers["quantity"].isin([ERROR, PRIMARY])]
    wide = kept.pivot_table(index=["sampler", "seed"], columns="quantity", values="value").reset_index()
    return wide.assign(step=step).reindex(columns=["sampler", "seed", "step", ERROR, PRIMARY])


def values(numbers: pd.DataFrame, sampler: str, quantity: str) -> pd.Series:
    """A sampler's numbers over all tasks, by seed."""
    rows = numbers[(numbers["sampler"] == sampler) & (numbers["task"] == ALL) & (numbers["quantity"] == quantity)]
    return rows.set_index("seed")["value"].sort_index()


def difference(question: str, of: str, ours: pd.Series, other: str, theirs: pd.Series, quantity: str) -> Row:
    """A paired comparison of two arms, seed by seed."""
    pairs = (ours - theirs).dropna()
    found = paired_test(pairs)
    told = {"n": found.pairs, "value": found.difference, "low": found.low, "high": found.high}
    tests = {"p_t": found.p_t, "p_flips": found.p_permutation}
    return {"question": question, "compared": of, "with": other, "quantity": quantity, **told, **tests}


def family(rows: Sequence[Row]) -> list[Row]:
    """The same rows with Holm's correction over all of them."""
    by_t, by_flips = (holm([row[name] for row in rows]) for name in ("p_t", "p_flips"))
    return [
        {**row, "p_t_holm": t, "p_flips_holm": flips, "tests": len(rows)}
        for row, t, flips in zip(rows, by_t, by_flips, strict=True)
    ]


def robustness(main: pd.DataFrame) -> list[Row]:
    """Q1: each sampler with domain randomisation, the primary metric and beside it the mean."""
    samplers = [s for s in dict.fromkeys(main["sampler"]) if s != BASELINE]
    return [
        row
        for quantity in (PRIMARY, BESIDE, PRIMARY + ENDS_GIVEN, PRIMARY + SAMPLED)
        if quantity in set(main["quantity"])
        for row in family([_with_dr("Q1", main, sampler, quantity) for sampler in samplers])
    ]


def _with_dr(question: str, numbers: pd.DataFrame, sampler: str, quantity: str) -> Row:
    ours, theirs = values(numbers, sampler, quantity), values(numbers, BASELINE, quantity)
    return difference(question, sampler, ours, BASELINE, theirs, quantity)


def sampled(main: pd.DataFrame) -> Iterator[Row]:
    """Q2 and Q3: what was sampled, and how well the estimate orders the θ; means over seeds. Of Q3 also the paired
    differences from domain randomisation."""
    for quantity in FINDS:
        for sampler in dict.fromkeys(main["sampler"]):
            found = values(main, sampler, quantity).dropna()
            if len(found):
                mean, low, high = student_interval(found)
                question = "Q3" if quantity == "noisy_share" else "Q2"
                about = {"question": question, "compared": sampler, "quantity": quantity}
                yield {**about, "n": len(found), "value": mean, "low": low, "high": high}
    wasted = [s for s in dict.fromkeys(main["sampler"]) if s != BASELINE and len(values(main, s, "noisy_share"))]
    for row in family([_with_dr("Q3", main, sampler, "noisy_share") for sampler in wasted]):
        yield row | {"quantity": "noisy_share, paired"}


def wasted_through_training(shares: pd.DataFrame) -> Iterator[Row]:
    """Q3, third by third of the run: share of episodes on the noisy θ, and each sampler's less dr's, seed by seed."""
    noisy = shares[shares["parameter"] == "noisy θ"]
    if noisy.empty:
        return
    third = (3 * (noisy["begin"] + noisy["end"]) / 2 // noisy["end"].max()).clip(upper=2).astype(int)
    episodes = noisy.assign(third=third, noisy=noisy["share"] * noisy["episodes"])
    for k, name in enumerate(("first", "second", "last")):
        sums = episodes[episodes["third"] == k].groupby(["sampler", "seed"])[["noisy", "episodes"]].sum()
        by_seed = (sums["noisy"] / sums["episodes"]).unstack("sampler")
        quantity = f"share of episodes on noisy θ, {name} third"
        others = [sampler for sampler in dict.fromkeys(shares["sampler"]) if sampler != BASELINE]
        yield from family(
            [difference("Q3", s, by_seed[s], BASELINE, by_seed[BASELINE], f"{quantity}, paired") for s in others]
        )
        for sampler in (BASELINE, *others):
            found = by_seed[sampler].dropna()
            mean, low, high = student_interval(found)
            about = {"question": "Q3", "compared": sampler, "quantity": quantity}
            yield {**about, "n": len(found), "value": mean, "low": low, "high": high}


def at_the_end(checkpoints: pd.DataFrame, main: pd.DataFrame) -> pd.DataFrame:
    """The rows of the last step with the primary metric of ``main`` in the place of the evaluations' own."""
    exact = main[(main["task"] == ALL) & (main["quantity"] == PRIMARY)][["sampler", "seed", "value"]]
    last = checkpoints[checkpoints["step"] == checkpoints["step"].max()]
    return last.drop(columns=PRIMARY).merge(exact.rename(columns={"value": PRIMARY}))


def bound(checkpoints: pd.DataFrame, main: pd.DataFrame) -> Iterator[Row]:
    """Q4: rank correlation of the worst model error with the worst planned regret, seeds resampled.

    Over all runs much of it may be that samplers differ in both; ``within samplers`` both are ranks among the runs of
    one sampler at the last step. Regrets of the last step are the primary metric, those before it of the evaluations'
    sampled episodes (where episodes end by themselves, told where): the two are not pooled, and the last step is also
    given as sampled.
    """
    last, end = checkpoints["step"].max(), at_the_end(checkpoints, main)
    ranks = end.groupby("sampler")[[ERROR, PRIMARY]].rank()
    parts = {f"at {last:,} steps": end, "within samplers": end.assign(**dict(ranks.items()))}
    for step, rows in checkpoints.groupby("step"):
        if step < last:
            parts[f"at {step:,} steps"] = rows
        elif PRIMARY + SAMPLED in set(main["quantity"]):
            parts[f"at {step:,} steps{SAMPLED}"] = rows
    for name, rows in parts.items():
        known = rows.dropna(subset=[ERROR, PRIMARY])
        by_seed = [part[[ERROR, PRIMARY]].to_numpy() for _, part in known.groupby("seed")]
        if not by_seed:
            continue
        rng = np.random.default_rng(0)
        drawn = [
            spearman(*np.concatenate([by_seed[i] for i in rng.integers(len(by_seed), size=len(by_seed))]).T)
            for _ in range(RESAMPLES)
        ]
        low, high = np.quantile(drawn, [0.025, 0.975])
        about = {"question": "Q4", "compared": ERROR, "with": PRIMARY, "quantity": f"spearman, {name}"}
        yield {
            **about,
            "n": len(by_seed),
            "value": spearman(*known[[ERROR, PRIMARY]].to_numpy().T),
            "low": low,
            "high": high,
        }


def explorers(main: pd.DataFrame, random: pd.DataFrame) -> list[Row]:
    """Q5: random actions with Plan2Explore's, for each sampler."""
    return family(
        [
            difference(
                "Q5",
                f"{sampler}, random actions",
                values(random, sampler, PRIMARY),
                f"{sampler}, plan2explore",
                values(main, sampler, PRIMARY),
                PRIMARY,
            )
            for sampler in dict.fromkeys(random["sampler"])
        ]
    )


def elsewhere(main: pd.DataFrame) -> list[Row]:
    """Q6: mean planned regret on suites beyond the training distribution."""
    suites = [q for q in dict.fromkeys(main["quantity"]) if q.startswith(SUITE_REGRET)]
    measured = [q for q in suites if not q.endswith(FORMS)]
    return family([_with_dr("Q6", main, s, q) for s in ("waker-m", "error-oracle") for q in measured])


def saved(main: pd.DataFrame, more: Sequence[tuple[str, pd.DataFrame]]) -> Iterator[Row]:
    """Q7: domain randomisation with more data, and waker-m with 20,000 steps."""
    for quantity in (PRIMARY, BESIDE, PRIMARY + ENDS_GIVEN, PRIMARY + SAMPLED):
        ours = values(main, "waker-m", quantity)
        for budget, numbers in (("20,000", main), *more):
            theirs = values(numbers, BASELINE, quantity)
            if len(ours) and len(theirs):
                yield difference("Q7", f"{BASELINE}, {budget} steps", theirs, "waker-m, 20,000 steps", ours, quantity)
    for quantity in (PRIMARY, BESIDE):
        budgets = [(int(budget.replace(",", "")), values(numbers, BASELINE, quantity)) for budget, numbers in more]
        ours, first = values(main, "waker-m", quantity), values(main, BASELINE, quantity)
        if len(ours) and all(len(theirs) for _, theirs in budgets):
            yield data_ratio(ours, [(STEPS, first), *budgets], quantity)


def data_ratio(ours: pd.Series, budgets: Sequence[tuple[int, pd.Series]], quantity: str) -> Row:
    """How many times waker-m's steps DR needs: by seed the smallest budget at which it is no worse, ∞ if at none.

    Returns:
        The median over seeds; its interval is that of order statistics, of at least 95 % whatever the distribution.
    """
    ratios = pd.Series(np.inf, ours.index)
    for steps, theirs in reversed(budgets):
        ratios[theirs.reindex(ours.index) <= ours] = steps / STEPS
    ordered, n = np.sort(ratios.to_numpy()), len(ratios)
    below = np.cumsum([math.comb(n, k) for k in range(n + 1)]) / 2**n  # P(the median is less than the (k+1)-th)
    rank = int((2 * below <= 0.05).sum()) - 1
    low, high = (ordered[rank], ordered[-1 - rank]) if rank >= 0 else (np.nan, np.nan)
    about = {"question": "Q7", "compared": f"{BASELINE}'s steps ÷ waker-m's", "quantity": f"{quantity}, ratio of data"}
    return {**about, "n": n, "value": float(np.median(ordered)), "low": low, "high": high}


def part_of(folder: Path, part: str) -> pd.DataFrame:
    """A part's numbers."""
    return read_numbers(folder / f"{part}-numbers.csv")


def exact(folder: Path, part: str) -> None:
    """Put what plans are worth over all episodes into a part's file of numbers, and the sampled numbers beside it."""
    if not (path := folder / f"{part}-plans.csv").exists():
        return
    numbers = sampled_numbers(part_of(folder, part))
    found = exact_numbers(numbers, pd.read_csv(path))
    if (before := folder / f"{part}-plans-ends-given.csv").exists():
        found = pd.concat([found, plans_before(numbers, pd.read_csv(before))], ignore_index=True)
    write_table(folder / f"{part}-numbers.csv", found)


def parts_in(folder: Path) -> list[str]:
    """The parts whose numbers are there."""
    return [part for part in PARTS if (folder / f"{part}-numbers.csv").exists()]


def answers(folder: Path) -> pd.DataFrame:
    """All that the files in ``folder`` can answer, with the columns :data:`ANSWERS`."""
    parts = {part: part_of(folder, part) for part in parts_in(folder)}
    main = parts["main"]
    rows = [*robustness(main), *sampled(main), *bound(pd.read_csv(folder / "checkpoints.csv"), main), *elsewhere(main)]
    if (shares := folder / "main-shares.csv").exists():
        rows += wasted_through_training(pd.read_csv(shares))
    if "explorer" in parts:
        rows += explorers(main, parts["explorer"])
    budgets = [(f"{part[6:8]},000", parts[part]) for part in PARTS[2:] if part in parts]
    if budgets:
        rows += saved(main, budgets)
    return pd.DataFrame(rows, columns=list(ANSWERS)).sort_values("question", kind="stable")


def _rounded(value: Any) -> Any:
    """Six significant digits; whole numbers as such."""
    if not isinstance(value, float) or np.isnan(value):
        return value
    return int(value) if value.is_integer() and value else float(f"{value:.6g}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=RESULTS, help="the folder of the numbers and answers")
    verbs = parser.add_subparsers(dest="verb")
    gather = verbs.add_parser("collect", help="numbers from run folders")
    for part in PARTS:
        gather.add_argument(f"--{part}", type=Path, help="the runs' folder", required=part == "main")
    gather.add_argument("--at", type=int, nargs="+", default=AT, help="agent steps of the checkpoints")
    verbs.add_parser("exact", help="exact values of plans into the files of numbers again, from those of plans")
    arguments = parser.parse_args()
    if arguments.verb == "exact":
        for part in parts_in(arguments.results):
            exact(arguments.results, part)
        return
    if arguments.verb == "collect":
        for part in PARTS:
            if runs := getattr(arguments, part.replace("-", "_")):
                collect(part, runs, arguments.results, arguments.at)
        return
    from experiments.study_figure import figure

    found = answers(arguments.results)
    write_table(arguments.results / "answers.csv", found.map(_rounded))
    figure(found, arguments.results).savefig(arguments.results / "figure.png", dpi=150)
    print(found.to_string(index=False, float_format="%.3g", na_rep=""))


if __name__ == "__main__":
    main()
