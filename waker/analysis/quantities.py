"""Every quantity that runs are compared by: its name, title, which side is better, and how it is computed.

The one table that ``waker compare``, the report and a study read. A new quantity of evaluation episodes is one entry
here, with a function of them, and one in :data:`MEANINGS`. Entries stand in the order in which they are shown.

Quantities with a *bracket* (:mod:`waker.analysis.worst`) have five rows: the corrected value under their own name, and
``…_plug_in``, ``…_split``, ``…_low``, ``…_high``: the pessimistic and the optimistic estimate, and the interval over
the episodes of this one run.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd

from waker.analysis.best_known import BEST_KNOWN
from waker.analysis.metrics import Floats, cvar
from waker.analysis.regret import EXACT, fraction_of_optimum, known_values, mean_regret, worst_regret
from waker.analysis.worst import Bracket, Sample, arrange, cvar_of, worst_of
from waker.names import printable

TAIL = 0.1
"""The share of θ or episodes in a CVaR."""
SEED = 0
"""Of bootstraps: the same for every run, so that a number does not depend on what else is in a table."""
PARTS = ("plug_in", "split", "low", "high")
Number = tuple[str, str, float]
"""Task, quantity, value."""
Compute = Callable[[Any], float | Bracket | None]


@dataclass(frozen=True)
class Quantity:
    """One quantity, or a kind of them: ``return_{}`` is the mean return of any suite.

    Attributes:
        name: in rows and CSV files.
        title: heading of tables and figures.
        better: which side is; ``unknown`` of quantities that are not in the table.
        percent: shown in per cent.
        bounds: which neither it nor its interval leaves; None = it has none.
        of: what ``compute`` is given of one run: rows of ``episodes`` (learned policies) or of ``plans``, of one task
            under domain randomisation, with ``worth``; or the ``errors`` of its model, a
            :class:`~waker.analysis.worst.Sample`. None = it is computed elsewhere.
        compute: a number, a :class:`~waker.analysis.worst.Bracket`, or None where these rows have none.
        marks: ``headline``: printed by ``waker quickstart``. ``improvement``: the probability of improvement over the
            baseline is told. ``pairs``: over all tasks it is the worst of all pairs of task and θ, not a mean.
            ``normalised``: has one scale for all tasks, so that runs × tasks make one distribution.
        bracket: ``compute`` gives a bracket.
    """

    name: str
    title: str
    better: Literal["more", "less", "neither", "unknown"] = "more"
    of: Literal["episodes", "plans", "errors"] | None = None
    compute: Compute | None = None
    marks: tuple[str, ...] = ()
    bracket: bool = False
    percent: bool = False
    bounds: tuple[float, float] | None = None

    def part_of(self, name: str) -> str | None:
        """What stands for ``{}`` in this kind's name in ``name``; empty for the quantity itself, None for others."""
        before, kind, after = self.name.partition("{}")
        if not kind:
            return "" if name == self.name else None
        return name[len(before) : len(name) - len(after)] if name.startswith(before) and name.endswith(after) else None


def worth(rows: pd.DataFrame) -> Floats:
    """What each episode was worth, (n,): see :func:`waker.analysis.regret.known_values`."""
    return known_values(rows["return"].tolist(), rows[EXACT].tolist() if EXACT in rows else None)


def units_of(rows: pd.DataFrame, columns: Sequence[str]) -> np.ndarray:
    """A number of each row's unit, ascending with its columns; the row's own number where there are none."""
    present = [c for c in columns if c in rows]
    if not present or rows[present].isna().any(axis=None):
        return np.arange(len(rows))
    return rows.groupby(present, sort=True).ngroup().to_numpy()


def _cvar_over_theta(dr: pd.DataFrame) -> Bracket:
    """CVaR over θ of expected returns: the lowest are the worst, so signs turn and pessimistic stays pessimistic."""
    ids = dr["theta_id"].to_numpy()
    if (ids < 0).any():  # a continuous space: each θ was met once
        nan = float("nan")
        return Bracket(nan, nan, nan, nan, nan, np.zeros((0, 1)))
    _, theta = np.unique(ids, return_inverse=True)
    sample = arrange(theta, units_of(dr, ["episode_seed"]), -dr["worth"].to_numpy(float))
    found = cvar_of(sample, TAIL, np.random.default_rng(SEED))
    return Bracket(-found.plug_in, -found.split, -found.corrected, -found.high, -found.low, found.cells)


def _mean_worth(dr: pd.DataFrame) -> float:
    return float(dr["worth"].mean())


def _cvar(dr: pd.DataFrame) -> float:
    return cvar(dr["return"].to_numpy(), TAIL)


def _completion(dr: pd.DataFrame) -> float | None:
    return float(dr["completion"].mean()) if dr["completion"].notna().any() else None


def _exact_share(dr: pd.DataFrame) -> float | None:
    return float(dr[EXACT].notna().mean()) if EXACT in dr and dr[EXACT].notna().any() else None


def _with_optimum(compute: Compute) -> Compute:
    return lambda rows: compute(rows) if rows["optimal_return"].notna().any() else None


_of_optimum, _mean_regret = _with_optimum(fraction_of_optimum), _with_optimum(mean_regret)
_worst_regret = _with_optimum(lambda rows: worst_regret(rows, seed=SEED))


def _against_best_known(compute: Compute) -> Compute:
    """Of the rows that have a reference, with it in the place of the optimum; None where there is none."""

    def computed_there(rows: pd.DataFrame) -> float | Bracket | None:
        if BEST_KNOWN not in rows or rows[BEST_KNOWN].isna().all():
            return None
        return compute(rows.assign(optimal_return=rows[BEST_KNOWN]))

    return computed_there


_best_known_mean = _against_best_known(mean_regret)
_best_known_worst = _against_best_known(lambda rows: worst_regret(rows, seed=SEED))


def _worst_error(sample: Sample) -> Bracket:
    return worst_of(sample, np.random.default_rng(SEED))


def _mean_error(sample: Sample) -> float:
    return float((sample.sums.sum(1) / sample.counts.sum(1)).mean())


FORMS = SAMPLED, ENDS_GIVEN = ", sampled", ", ends given"
"""Behind the name of a number that a study has in a better form under the plain name: it was computed of the
evaluation's episodes alone, not of all; or of plans that took each step into a hazard for an end, whatever the model
believed. Such numbers are shown beside the better ones, and tested where they are asked for."""
LEARNED_SUITE_REGRET = "regret_"
"""Before the name of a suite beyond DR: the mean regret of policies there."""
SUITE_REGRET = "planned_regret_"
"""Before the name of a suite beyond DR: the mean regret of plans there."""
_PERCENT: dict[str, Any] = {"percent": True}
_SHARE: dict[str, Any] = {"percent": True, "bounds": (0.0, 1.0)}
_CORRELATION: dict[str, Any] = {"bounds": (-1.0, 1.0)}
_BRACKET: dict[str, Any] = {"bracket": True}
_ALL, _SCALED = ("headline", "improvement"), ("headline", "normalised")
_BEST_KNOWN = "worst-θ regret to the best run"
_PLANNED, _WORST = "share of optimum, plan in the model", "worst-θ regret, plan in the model"

TABLE = (
    Quantity("mean_return", "mean return", "more", "episodes", _mean_worth, _ALL),
    Quantity("cvar_0.1", "CVaR 0.1 over episodes", "more", "episodes", _cvar, _ALL),
    Quantity("cvar_0.1_theta", "CVaR 0.1 over θ", "more", "episodes", _cvar_over_theta, ("headline",), **_BRACKET),
    Quantity("return_{}", "return on {}"),
    Quantity(f"{LEARNED_SUITE_REGRET}{{}}", "mean regret on {}", "less"),
    Quantity("fraction_of_optimum", "share of optimum", "more", "episodes", _of_optimum, _SCALED, **_PERCENT),
    Quantity("mean_regret", "mean regret", "less", "episodes", _mean_regret),
    Quantity("worst_regret", "worst-θ regret", "less", "episodes", _worst_regret, (*_ALL, "pairs"), **_BRACKET),
    Quantity("best_known_mean_regret", "mean regret to the best run", "less", "episodes", _best_known_mean),
    Quantity("best_known_worst_regret", _BEST_KNOWN, "less", "episodes", _best_known_worst, ("pairs",), **_BRACKET),
    Quantity("planned_fraction_of_optimum", _PLANNED, "more", "plans", _of_optimum, ("normalised",), **_PERCENT),
    Quantity("planned_mean_regret", "mean regret: the model's part", "less", "plans", _mean_regret),
    Quantity("planned_worst_regret", _WORST, "less", "plans", _worst_regret, ("improvement", "pairs"), **_BRACKET),
    Quantity(f"{SUITE_REGRET}{{}}", "mean regret on {}, plan in the model", "less"),
    Quantity("actor_regret", "mean regret: the actor's part", "less"),
    Quantity("actor_share", "the actor's part, of the optimum", "less", **_PERCENT),
    Quantity("completion", "completion", "more", "episodes", _completion, ("normalised",), **_SHARE),
    Quantity("worst_model_error", "worst-θ model error", "less", "errors", _worst_error, ("headline",), **_BRACKET),
    Quantity("mean_model_error", "mean model error", "less", "errors", _mean_error),
    Quantity("model_error_random", "… random actions", "less"),
    Quantity("model_error_explorer", "… reference's explorer", "less"),
    Quantity("model_error_tasks", "… reference's task policies", "less"),
    Quantity("estimate_rank", "estimate's rank correlation with it", "neither", **_CORRELATION),
    Quantity("estimate_rank_ceiling", "… its ceiling", "neither", **_CORRELATION),
    Quantity("hard_share", "data on hard θ", "neither", marks=("headline",), **_SHARE),
    Quantity("{}_share", "data on {} θ", "neither", **_SHARE),
    Quantity("exact_share", "episodes of exact value", "neither", "episodes", _exact_share, **_SHARE),
)
MEANINGS = {
    "mean_return": (
        "reward",
        "Mean over episodes of domain randomisation. Of an episode the exact value of the policy is taken "
        "where it is known, else its return.",
    ),
    "cvar_0.1": ("reward", "Mean of the worst tenth of single episodes: hard θ and bad luck together."),
    "cvar_0.1_theta": ("reward", "Mean of the worst tenth of θ by their expected return."),
    "return_<suite>": ("reward", "Mean over the episodes of a suite beyond domain randomisation."),
    "regret_<suite>": (
        "reward",
        "Mean of optimal return − return over the same episodes: returns of suites differ in what could be earned.",
    ),
    "fraction_of_optimum": ("share", "Sum of returns by the sum of optimal returns."),
    "mean_regret": ("reward", "Mean of optimal return − return."),
    "worst_regret": ("reward", "Regret of the worst θ; over all tasks, of the worst pair of θ and task."),
    "best_known_mean_regret": (
        "reward",
        "Where no optimum is known: mean regret to the best mean return that any of the compared runs has on the θ "
        "and task. It rises with better runs in the table, and is no bound of the optimum.",
    ),
    "best_known_worst_regret": ("reward", "The same on the worst θ."),
    "planned_fraction_of_optimum": ("share", "`fraction_of_optimum` of plans that are optimal in the learned model."),
    "planned_mean_regret": ("reward", "Mean regret of these plans: the model's part of the regret."),
    "planned_worst_regret": ("reward", "Their regret on the worst θ."),
    "planned_regret_<suite>": ("reward", "Their mean regret on a suite beyond domain randomisation."),
    "actor_regret": ("reward", "What plans earn more than the policies, in the mean of the same episodes."),
    "actor_share": ("share", "What plans earn more than the policies, by the optimum: the actor's part."),
    "completion": ("share", "Mean completion."),
    "exact_share": ("share", "Evaluation episodes whose exact value is known."),
    "worst_model_error": (
        "as the metric",
        "The model's error on the worst θ. The metric is the first that all runs have of: open-loop total "
        "variation, one-step total variation, observation likelihood, observation mse, latent KL.",
    ),
    "mean_model_error": ("as the metric", "Mean over θ of the same."),
    "model_error_<source>": ("as the metric", "Mean over θ of the same, by who acted."),
    "estimate_rank": (
        "correlation",
        "Spearman's rank correlation over θ of the curriculum's estimate with the model's error. Measure it "
        "on `dr` runs: a curriculum that works makes alike the very errors that it ranks.",
    ),
    "estimate_rank_ceiling": (
        "correlation",
        "The highest that an estimate can be expected to reach: the error itself is measured on few episodes.",
    ),
    "<set>_share": ("share", "Agent steps spent on a set of θ that the family names: `hard_share`, `noisy_share`."),
    "<worst>_plug_in": ("as it", "Of a worst case: chosen and scored on the same episodes; pessimistic."),
    "<worst>_split": ("as it", "Chosen on one half of the episodes and scored on the other; optimistic."),
    "<worst>_low": ("as it", "Lower limit of the simultaneous interval over this run's episodes."),
    "<worst>_high": ("as it", "Upper limit of it."),
    "<quantity>, sampled": (
        "as it",
        "In a study's file of numbers: of the evaluation's episodes alone, where the plain name is of all.",
    ),
    "<quantity>, ends given": (
        "as it",
        "In a study's file of numbers: of plans that were told where episodes end, as first valued.",
    ),
}
"""For the glossary: the unit and the meaning of each, by name; what stands for ``{}`` is in angle brackets."""
_PLACE = {quantity.name: place for place, quantity in enumerate(TABLE)}
BRACKETED = tuple(quantity.name for quantity in TABLE if quantity.bracket)
LIMITS = frozenset(f"{name}_{limit}" for name in BRACKETED for limit in ("low", "high"))
_HIDDEN = frozenset(f"{name}_{part}" for name in BRACKETED for part in PARTS)


def named(mark: str) -> tuple[str, ...]:
    """The names of quantities that have a mark: ``headline``, ``pairs`` …"""
    return tuple(quantity.name for quantity in TABLE if mark in quantity.marks)


def former(name: str) -> str:
    """What of :data:`FORMS` is behind a quantity's name; empty for the quantity itself."""
    return next((form for form in FORMS if name.endswith(form)), "")


def plain(name: str) -> str:
    """A quantity's name without what of :data:`FORMS` is behind it."""
    return name.removesuffix(former(name))


def tested(name: str) -> bool:
    """Whether a quantity is tested where none is asked for: one side is better, and there is no better form of it."""
    return quantity_of(name).better != "neither" and not former(name)


def quantity_of(name: str) -> Quantity:
    """The quantity of a name: its own entry, else that of its kind, else one of which nothing is known."""
    if form := former(name):
        about = quantity_of(plain(name))
        return replace(about, name=name, title=f"{about.title}{form}")
    if name in _PLACE:
        return TABLE[_PLACE[name]]
    for kind in TABLE:  # kinds that say how a name begins stand before those that say how it ends
        if (part := kind.part_of(name)) is not None:
            return replace(kind, name=name, title=kind.title.format(printable(part)))
    return Quantity(name, printable(name.replace("_", " ")), "unknown")


def shown_as(name: str) -> str:
    """How tables call what :data:`MEANINGS` has by this name, in angle brackets what stands for ``{}``; else empty."""
    plain = re.sub(r"<\w+>", "{}", name)
    title = next((quantity.title for quantity in TABLE if quantity.name == plain), "")
    return "" if title.startswith("…") else title.replace("{}", "".join(re.findall(r"<\w+>", name)))


def place_of(name: str) -> tuple[int, str]:
    """For sorting: the place in the table, and inside a kind by name; unknown ones keep their order behind."""
    if name in _PLACE:
        return _PLACE[name], ""
    if former(name):
        return place_of(plain(name))[0], name
    return next(((at, name) for at, kind in enumerate(TABLE) if kind.part_of(name) is not None), (len(TABLE), ""))


def shown_order(names: Sequence[str]) -> list[str]:
    """The quantities to show among ``names``, each once, in the order of tables; parts of brackets are not shown."""
    return sorted((name for name in dict.fromkeys(names) if plain(name) not in _HIDDEN), key=place_of)


def computed(of: str, task: str, rows: Any) -> list[Number]:
    """All numbers of one run and task that are computed of one kind of rows."""
    numbers: list[Number] = []
    for quantity in TABLE:
        if quantity.of == of and quantity.compute is not None:
            numbers += numbers_of(task, quantity.name, quantity.compute(rows))
    return numbers


def numbers_of(task: str, quantity: str, found: float | Bracket | None) -> list[Number]:
    """One number, or a bracket as five: the corrected value under the quantity's name, and its parts."""
    if not isinstance(found, Bracket):
        return [] if found is None else [(task, quantity, found)]
    parts = [(task, f"{quantity}_{part}", float(getattr(found, part))) for part in PARTS]
    return [(task, quantity, found.corrected), *parts]
