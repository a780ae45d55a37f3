"""What a comparison shows, in one sentence: on top of pages and tables. Called by ``waker compare`` and the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from waker.analysis.metrics import student_quantile
from waker.analysis.paired import ALPHA, WANTED_POWER, Over, detectable
from waker.analysis.quantities import quantity_of
from waker.analysis.same_data import ALL_UNCHOSEN, SAME
from waker.analysis.summary import counted, difference, task_order
from waker.curriculum.labels import sampler_name
from waker.curriculum.registry import is_privileged
from waker.names import printable

MOST_SEEDS = 1000
"""A study that would need more seeds is not counted further."""
_PRIMARY = ("worst_regret", "planned_worst_regret", "cvar_0.1_theta", "cvar_0.1", "mean_return", "worst_model_error")
"""Told first; where nothing is shown, the first that was tested stands for all: robustness is the question."""
_NAMED = 2
"""Differences named one by one."""


def conclusion(tests: pd.DataFrame, baseline: str, over: Over = "sampler", notes: Sequence[str] = ()) -> str:
    """What is shown of one domain at 95 % after Holm's correction, on how many seeds; or that nothing can be told.

    Args:
        tests: :func:`waker.analysis.paired.paired_differences` of the domain.
        baseline, over: what the others were paired with.
        notes: on the domain's runs; one of them may be that no curriculum chose anything yet.

    Returns:
        A sentence, and one for each group of samplers that have the same data; empty where there is nothing to compare
        with.
    """
    if tests.empty:
        return ""
    if ALL_UNCHOSEN in notes:
        return f"Nothing can be told of the samplers: {ALL_UNCHOSEN}."
    return " ".join([_concluded(tests, baseline, over), *(f"{printable(note)}." for note in notes if SAME in note)])


def _concluded(tests: pd.DataFrame, baseline: str, over: Over) -> str:
    """The sentence on differences."""
    tests = tests[tests["task"] == task_order(tests)[0]]
    most = int(tests["pairs"].max())
    if most < 2:
        return f"Nothing can be told of the {over}s from one seed: differences between them may be chance."
    fewest = int(tests["pairs"].min())
    seeds = f"{most} paired seeds" if fewest == most else f"{fewest} to {most} paired seeds"
    family = f"t tests, Holm over {counted(int(tests['tests'].iloc[0]), 'test')}"
    shown = _in_order(tests[tests["p_t_holm"] < ALPHA], over)
    if len(shown):
        named = [_shown(row, baseline, over, tests) for row in shown.head(_NAMED).to_dict("records")]
        more = len(shown) - len(named)
        rest = len(tests) - len(shown)
        told = "; ".join(named) + (f"; and {more} more difference{'s' if more > 1 else ''}" if more else "")
        left = f"; the other {counted(rest, 'test')} {'show' if rest > 1 else 'shows'} none" if rest else ""
        return f"Shown at 95 % on {seeds} ({family}): {told}{left}."
    told = f"On {seeds} no difference from {printable(baseline)} is shown at 95 % ({family})"
    return f"{told}{_wanting(tests, over)}."


def _in_order(shown: pd.DataFrame, over: Over) -> pd.DataFrame:
    """The quantities of :data:`_PRIMARY` first; of each quantity the largest differences first, but those of samplers
    that know more than a reward-free run does behind all others."""
    places, sizes = _places(shown["quantity"]), -shown["difference"].abs()
    knowing = shown["sampler"].map(sampler_name).map(is_privileged) if over == "sampler" else False
    order = pd.DataFrame({"place": places, "knowing": knowing, "size": sizes}, index=shown.index)
    return shown.loc[order.sort_values([*order], kind="stable").index]


def _places(quantities: pd.Series) -> pd.Series:
    """Those of :data:`_PRIMARY` first, in its order."""
    return quantities.map({name: at for at, name in enumerate(_PRIMARY)}).fillna(len(_PRIMARY))


def _shown(row: Mapping[str, Any], baseline: str, over: Over, tests: pd.DataFrame) -> str:
    """``waker-m has less worst-θ regret than dr (−4.6 [−7.3, −2.0], better)``."""
    about = quantity_of(str(row["quantity"]))
    told, interval = difference(about.name, row["difference"], row["low"], row["high"])
    less = row["difference"] < 0
    side = "" if about.better not in ("more", "less") else ", better" if less == (about.better == "less") else ", worse"
    amount = "lower" if less else "higher"
    return f"{_name(row, over, tests)} has {amount} {about.title} than {printable(baseline)} ({told} {interval}{side})"


def _name(row: Mapping[str, Any], over: Over, tests: pd.DataFrame) -> str:
    other = "explorer" if over == "sampler" else "sampler"
    return printable(f"{row[over]} ({row[other]})" if tests[other].nunique() > 1 else str(row[over]))


def _wanting(tests: pd.DataFrame, over: Over) -> str:
    """How many seeds could have told the largest observed difference in the first quantity of :data:`_PRIMARY`."""
    known = set(tests["quantity"])
    quantity = next((q for q in _PRIMARY if q in known), str(tests["quantity"].iloc[0]))
    rows = tests[(tests["quantity"] == quantity) & tests["detectable"].notna()]
    if rows.empty:
        return ""
    row = rows.loc[rows["difference"].abs().idxmax()].to_dict()
    seeds = seeds_needed(row["difference"], spread_of(row["low"], row["high"], row["pairs"]))
    size = difference(quantity, row["difference"])[0]
    about = f"{_name(row, over, tests)}'s in {quantity_of(quantity).title}, {size}"
    if seeds is None:
        return f"; one as small as the observed ({about}) would need more than {MOST_SEEDS} seeds"
    return f"; one as large as the observed ({about}) would need {seeds} seeds for one test of power {WANTED_POWER:g}"


def spread_of(low: float, high: float, pairs: int) -> float:
    """The standard deviation of paired differences whose Student's 95 % interval this is."""
    return float((high - low) / 2.0 / student_quantile(0.975, pairs - 1) * np.sqrt(pairs))


def seeds_needed(effect: float, spread: float, most: int = MOST_SEEDS) -> int | None:
    """The fewest pairs of which the t test finds ``effect`` with probability ``WANTED_POWER``.

    Args:
        effect: the true mean difference.
        spread: standard deviation of the differences.
        most: None where it is more than so many.
    """
    if not abs(effect) > 0 or not spread > 0 or _least(most) > abs(effect) / spread:
        return None
    low, high = 1, most  # too few (none), enough
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _least(middle) <= abs(effect) / spread else (middle, high)
    return high


@lru_cache(maxsize=256)
def _least(pairs: int) -> float:
    """The difference that can be detected, in standard deviations."""
    return detectable(1.0, pairs)
