"""The sections of a page, each a function of the rows of one domain's runs. Called by :mod:`waker.report.page`.

A section whose rows are missing is left out; the page says so once, at the top.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import pandas as pd

from waker.analysis.conclusion import conclusion
from waker.analysis.coverage import coverage_notes
from waker.analysis.data import (
    RunData,
    ends_of,
    hard_ids,
    hard_thetas,
    latest,
    settings_of,
    stack,
    stands_for,
    theta_names,
    theta_sets,
)
from waker.analysis.errors_compared import compared_steps, error_numbers
from waker.analysis.marks import at_marks, learner_steps
from waker.analysis.numbers import Comparison, compare_runs
from waker.analysis.paired import paired_differences, pairs
from waker.analysis.quantities import worth
from waker.analysis.ranking import primary_metric, rank_correlation
from waker.analysis.same_data import nothing_told, same_data_notes, without_same
from waker.analysis.source_means import pooled, shared, sources_of
from waker.analysis.steps import GROUP, Steps, choose_steps, deciding, of_policy
from waker.analysis.summary import few_seeds, seeds_told, summarise, task_order
from waker.names import ALL, DR_SUITE, PLANNED, printable
from waker.report import captions
from waker.report.blocks import Picture, Section, sections_of, summary_table
from waker.report.curves import (
    error_curves,
    learning_curves,
    metric_columns,
    rank_curves,
    share_curves,
    source_curves,
)
from waker.report.film import film_strip
from waker.report.returns import by_suite, by_theta, too_many
from waker.report.theta_maps import binned, theta_map

_FIRST_CURVES = 6
_MOST_CURVES = 45


def domain_sections(runs: Sequence[RunData], prefix: str = "", compared: Comparison | None = None) -> list[Section]:
    """All sections that the rows allow.

    Args:
        runs: of one domain.
        prefix: of anchors and titles, where a page holds several domains.
        compared: the runs' numbers, where they are there already.
    """
    summary = partial(_summary, compared=compared)
    return sections_of((summary, _curriculum, _returns, _model, _film, _learning), runs, prefix)


def _compared_at(runs: Sequence[RunData]) -> Steps:
    """The steps at which these runs are compared: those of the summary."""
    return choose_steps(deciding(stack(runs, "evaluation")), _errors(runs), stack(runs, "episodes"))


def _final(runs: Sequence[RunData], table: str, rows: pd.DataFrame | None = None) -> pd.DataFrame:
    """Rows of a table at the steps at which the runs are compared; ``group`` tells the step where it differs.

    Args:
        runs: of one domain.
        table: which table.
        rows: its rows, where they are not all those of the runs.
    """
    steps = _compared_at(runs)
    cut = steps.cut(stack(runs, table) if rows is None else rows, table)
    if steps.apart and not cut.empty:
        several = cut["explorer"].nunique() > 1
        cut = cut.assign(group=cut["sampler"] + (" (" + cut["explorer"] + ")" if several else ""))
    return cut


def _errors(runs: Sequence[RunData]) -> pd.DataFrame:
    """Model errors that are comparable; the section on the world model says what was left out."""
    return shared(stack(runs, "model_error"))[0]


def compared_of(runs: Sequence[RunData]) -> Comparison:
    """The numbers of one domain's runs, and what to tell of them."""
    evaluation, errors, episodes = stack(runs, "evaluation"), _errors(runs), stack(runs, "episodes")
    numbers, notes = compare_runs(evaluation, errors, episodes, theta_sets(runs))
    steps = compared_steps(evaluation, errors, episodes)
    more = error_numbers(stack(runs, "curriculum"), steps.cut(errors, "model_error"))
    lacking = coverage_notes(runs, evaluation, errors, steps)
    same = same_data_notes(_final(runs, "episodes"), _final(runs, "curriculum"))
    joined = pd.concat([numbers, more], ignore_index=True) if len(more) else numbers
    return Comparison(joined, (*same, *notes, *lacking))


def concluded_of(runs: Sequence[RunData], compared: Comparison, baseline: str = "dr") -> str:
    """What the runs of one domain show against the baseline, in a sentence; empty where none is of the baseline."""
    numbers, notes = compared
    rows = without_same(pairs(numbers, baseline).rows, baseline, {run.domain: notes for run in runs})
    return conclusion(paired_differences(rows), baseline, notes=notes) or nothing_told(notes)


def _nominal(runs: Sequence[RunData], table: str) -> pd.DataFrame:
    """A table with the nominal steps of its rows, which the seeds of a study share: all x axes."""
    return stack(
        [replace(run, **{table: at_marks(getattr(run, table), settings_of(run), ends_of(run))}) for run in runs], table
    )


def _means(rows: pd.DataFrame, value: str, *keys: str) -> pd.DataFrame:
    """What a figure shows of rows: the mean for each run and ``keys``, and how many rows it is of."""
    by = ["group", "seed", *(key for key in keys if key in rows), *(c for c in rows if str(c).startswith("theta_"))]
    by = list(dict.fromkeys(by))
    if "suite" in keys:
        by = [key for key in by if not key.startswith("theta_")]
    return rows.groupby(by, sort=False, dropna=False)[value].agg(["mean", "size"]).reset_index()


def _summary(runs: Sequence[RunData], compared: Comparison | None = None) -> Section | None:
    numbers, notes = compared_of(runs) if compared is None else compared
    summary = summarise(numbers)
    if summary.empty:
        return None
    over = set(summary["interval"])
    interval = captions.SEEDS if "seeds" in over else captions.ONE_SEED
    interval += captions.FEW if few_seeds(summary) else ""
    interval += captions.EPISODES if "episodes" in over else ""
    interval += f" Seeds: {seeds_told(summary)}." if summary.groupby(GROUP)["seeds"].max().nunique() > 1 else ""
    by_task = [summary_table(summary, task, "") for task in task_order(summary) if task != ALL]
    exact = captions.SUMMARY_REGRET if "mean_regret" in set(summary["quantity"]) else ""
    exact += captions.EXACT if "exact_share" in set(summary["quantity"]) else ""
    exact += captions.PARTS if "planned_mean_regret" in set(summary["quantity"]) else ""
    whole = (
        [summary_table(summary, ALL, f"{interval} {captions.SUMMARY}{exact}")] if ALL in set(summary["task"]) else []
    )
    lead = " ".join([captions.SUMMARY_LEAD, *(f"Note: {note}." for note in notes)])
    return Section("summary", "Summary", lead, whole, more="Task by task", more_tables=by_task)


def _curriculum(runs: Sequence[RunData]) -> Section | None:
    figures, snapshots = [], _snapshots(runs)
    errors, episodes = latest(_final(runs, "model_error", _errors(runs))), _final(runs, "episodes")
    names = theta_names(snapshots, errors, episodes)
    if not names or (snapshots.empty and errors.empty and episodes.empty):
        return None
    final = latest(_final(runs, "curriculum", snapshots))
    drawn_over_theta = partial(theta_map, names=names, hard=hard_thetas(runs))
    marked = captions.HARD_MARKED if hard_ids(runs) else ""
    for column, title, caption in (
        ("probability", "Sampling probability", captions.PROBABILITY),
        ("estimate", "Estimated error", captions.ESTIMATE),
    ):
        if column in final and final[column].notna().any():
            rows, percent = final.assign(value=final[column].astype(float)), column == "probability"
            drawn = drawn_over_theta(rows, label=column, percent=percent, from_zero=column != "estimate")
            figures.append(Picture.of(drawn, caption + marked, title, rows=_means(rows, "value")))
    metric = primary_metric(errors["metric"].unique().tolist()) if not errors.empty else None
    if metric is not None:
        shown = captions.error_title(metric)
        rows = pooled(errors[errors["metric"] == metric])
        drawn, told = drawn_over_theta(rows, label=shown), captions.TRUE_ERROR.format(metric=shown) + marked
        figures.append(Picture.of(drawn, told, "True error", rows=_means(rows, "value")))
    if not episodes.empty and "length" in episodes:
        rows = _data_share(episodes, names)
        drawn = drawn_over_theta(rows, label="share of agent steps", percent=True)
        figures.append(Picture.of(drawn, captions.DATA + marked, "Data", rows=rows))
    hard = hard_ids(runs)
    if hard and "probability" in snapshots and snapshots["probability"].notna().any():
        due = _snapshots([replace(r, curriculum=at_marks(r.curriculum, settings_of(r))) for r in runs])
        on_hard = due[due["theta_id"].isin(hard)]
        share = on_hard.assign(share=on_hard["probability"] * stands_for(on_hard))
        share = share.groupby(["group", "seed", "step"])["share"].sum().reset_index()
        told = captions.HARD.format(count=len(hard))
        figures.append(Picture.of(share_curves(share), told, "Hard θ through training", rows=share))
    if not figures:
        return None
    return Section("curriculum", "Curriculum", captions.CURRICULUM_LEAD, figures=figures, pairs=True)


def _snapshots(runs: Sequence[RunData]) -> pd.DataFrame:
    """The last snapshot of each step: several updates may be made at one, and earlier versions could keep one twice.

    Within a snapshot ids ascend, so another begins where they do not. Two thinned ones need not have the same θ.
    """
    rows = stack(runs, "curriculum")
    if rows.empty:
        return rows
    snapshot = rows.groupby(["group", "seed", "step"])["theta_id"].transform(lambda ids: (ids.diff() <= 0).cumsum())
    last = snapshot.groupby([rows[key] for key in ("group", "seed", "step")]).transform("max")
    return rows[snapshot == last]


def _data_share(episodes: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """Each θ's share of its run's steps, as rows with ``value``; θ never visited have share 0."""
    rows = binned(episodes, names)
    columns = [f"theta_{n}" for n in names]
    steps = rows.groupby(["group", "seed", *columns])["length"].sum().rename("value").reset_index()
    total = steps.groupby(["group", "seed"])["value"].transform("sum")
    steps["value"] = steps["value"] / total
    thetas = steps[columns].drop_duplicates()
    everywhere = steps[["group", "seed"]].drop_duplicates().merge(thetas, how="cross")
    return everywhere.merge(steps, how="left", on=["group", "seed", *columns]).fillna({"value": 0.0})


def _returns(runs: Sequence[RunData]) -> Section | None:
    rows = latest(_final(runs, "evaluation"))
    if rows.empty:
        return None
    rows = rows.assign(**{"return": worth(rows)})
    rows = rows if "policy" in rows else rows.assign(policy="learned")
    names, figures = theta_names(rows), []
    learned, planned = (
        of_suite.assign(regret=of_suite["optimal_return"] - of_suite["return"])
        for of_suite in (of_policy(rows[rows["suite"] == DR_SUITE], policy) for policy in ("learned", PLANNED))
    )
    if not of_policy(rows, "learned").empty:
        suites = _means(rows, "return", "task", "suite", "policy")
        figures.append(Picture.of(by_suite(rows, "return", "return"), captions.SUITES, "Return by suite", rows=suites))
    returns = None
    if not learned.empty:
        if learned["optimal_return"].notna().any():
            regret, told = by_theta(learned, names, "regret", "regret", 0.0), captions.REGRET
            figures.append(Picture.of(regret, told, "Regret by θ", rows=_means(learned, "regret", "task")))
        caption = captions.RETURNS_SORTED if too_many(learned, names) else captions.RETURNS
        drawn = by_theta(learned, names, "return", "return")
        returns = Picture.of(drawn, caption, "Return by θ", rows=_means(learned, "return", "task"))
    if not planned.empty:
        of_model = by_theta(planned, names, "regret", "regret", 0.0)
        behind = _means(planned, "regret", "task")
        figures.append(Picture.of(of_model, captions.PLANNED, "Regret of the model alone, by θ", rows=behind))
    if not figures and returns is None:
        return None
    folded = [returns] if returns is not None and len(figures) > 1 else []
    if returns is not None and not folded:
        figures.append(returns)
    return Section("returns", "Returns and regret", figures=figures, more="Returns for each θ", more_figures=folded)


def _model(runs: Sequence[RunData]) -> Section | None:
    errors, told = shared(_nominal(runs, "model_error"))
    if errors.empty and not told:
        return None
    figures = []
    if len(errors):
        behind = _means(errors, "value", "step", "metric")
        figures.append(Picture.of(error_curves(errors), captions.ERRORS, "World-model error", rows=behind))
    metric = primary_metric(errors["metric"].unique().tolist()) if len(errors) else None
    if metric is not None and len(sources_of(errors)) > 1:
        title = f"{captions.error_title(metric)}: by who acted"
        of_metric = errors[errors["metric"] == metric]
        behind = _means(of_metric, "value", "step", "source")
        figures.append(Picture.of(source_curves(of_metric), captions.SOURCES, title, rows=behind))
    ranks = rank_correlation(stack(runs, "curriculum"), shared(stack(runs, "model_error"))[0])
    if not ranks.empty and ranks["spearman"].notna().any():
        several = len({r.explorer for r in runs}) > 1
        ranks["group"] = ranks["sampler"] + (" (" + ranks["explorer"] + ")" if several else "")
        ranks = _at_nominal(ranks, runs)
        columns = ["group", "seed", "step", "metric", "spearman", "ceiling"]
        title = "Does the estimate rank θ rightly?"
        figures.append(Picture.of(rank_curves(ranks), captions.RANKS, title, rows=ranks[columns]))
    return Section("model", "World model", " ".join(f"Note: {line}." for line in told), figures=figures)


def _at_nominal(ranks: pd.DataFrame, runs: Sequence[RunData]) -> pd.DataFrame:
    """Rank correlations at the nominal steps of the model errors that they are of."""
    made, due = stack(runs, "model_error"), _nominal(runs, "model_error")
    keys = ["sampler", "explorer", "seed", "step"]
    known = made[keys].assign(due=due["step"].to_numpy()).drop_duplicates()
    found = ranks.merge(known, how="left", on=keys)
    return found.assign(step=found["due"].fillna(found["step"])).drop(columns="due")


def _film(runs: Sequence[RunData]) -> Section | None:
    shown: dict[str, RunData] = {}
    for run in runs:
        if run.film:
            shown.setdefault(f"{run.sampler} ({run.explorer})", run)
    if not shown:
        return None
    figures = [
        Picture.of(film_strip(run.film), captions.FILM, printable(run.label), kind="png") for run in shown.values()
    ]
    return Section("futures", "Imagined futures", captions.FILM_LEAD, figures=figures)


def _learner(run: RunData) -> RunData:
    """The run with the nominal steps of its metrics."""
    known = {"step", "updates"} <= set(run.metrics) and len(run.metrics)
    return replace(run, metrics=run.metrics.assign(step=learner_steps(run.metrics, settings_of(run)))) if known else run


def _learning(runs: Sequence[RunData]) -> Section | None:
    metrics = stack([_learner(run) for run in runs], "metrics")
    columns = metric_columns(metrics) if not metrics.empty else []
    if not columns:
        return None
    about = [name for name in ("group", "seed", "step", "updates") if name in metrics]
    first, rest = columns[:_FIRST_CURVES], columns[_FIRST_CURVES:_MOST_CURVES]
    return Section(
        "learning",
        "Learning curves",
        figures=[Picture.of(learning_curves(metrics, first), captions.CURVES, rows=metrics[[*about, *first]])],
        more=f"{len(rest)} more metrics",
        more_figures=[
            Picture.of(learning_curves(metrics, rest), "All other logged metrics.", rows=metrics[[*about, *rest]])
        ]
        if rest
        else [],
    )
