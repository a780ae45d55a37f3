"""Why a table has no number in a cell. Called by the tables of the terminal and of pages."""

from __future__ import annotations

import pandas as pd

from waker.analysis.quantities import LEARNED_SUITE_REGRET, SUITE_REGRET, quantity_of
from waker.analysis.steps import GROUP
from waker.curriculum.labels import adapted_label
from waker.names import ALL

NONE = "–"
"""Stands where there is no number."""
UNTRAINED = "policies not trained"
NO_OPTIMUM = "no optimum is known"
OTHER_TASKS = "these runs have other tasks"
NOT_ALL_TASKS = "not for all tasks"
NOT_PLANNED = "no plan in the model was measured"
NOT_MEASURED = "not measured"
NOT_SAVED = "not saved with the run"
NO_ERRORS = "the model's error was not measured"
NOTHING_RANKED = "no estimates at this step, or they or the errors do not vary over θ"
NO_COMMON_TASK = "no task that all runs have"
ONE_PAIR = "one seed"
NO_SPREAD = "the differences do not vary"
_REGRETS = ("fraction_of_optimum", "mean_regret", "worst_regret")
_ADAPTED = adapted_label("")
_DIGITS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def raised(number: int) -> str:
    """A number as that of a footnote."""
    return str(number).translate(_DIGITS)


def why_none(summary: pd.DataFrame, group: tuple[str, ...], task: str, quantity: str) -> str:
    """Why a sampler has no number of a quantity and task.

    Args:
        summary: :func:`waker.analysis.summary.summarise`, with all tasks of the domain.
        group: domain, sampler, explorer.
        task: or all of them together.
        quantity: which others have, or it has for another task.
    """
    own = summary[(summary[GROUP] == list(group)).all(axis=1)]
    here = own[own["task"] == task]
    if quantity in set(here["quantity"]):
        return _not_a_number(quantity)
    if quantity in set(own["quantity"]):
        return NOT_ALL_TASKS if task == ALL else OTHER_TASKS
    return _never(quantity, set(own["quantity"]), str(group[1]))


def _not_a_number(quantity: str) -> str:
    if quantity == "cvar_0.1_theta":
        return "θ is continuous: each was met once"
    if quantity == "estimate_rank_ceiling":
        return "the errors of single episodes were not kept"
    if quantity.startswith("estimate_rank"):
        return "the estimates, or the errors, do not vary over θ"
    return "not known of every run"


def _never(quantity: str, own: set[str], sampler: str) -> str:
    """Why a sampler has a quantity for no task, of what it has."""
    about, planned = quantity_of(quantity), any(name.startswith("planned_") for name in own)
    if about.of == "plans" or quantity.startswith(SUITE_REGRET):
        return NO_OPTIMUM if planned else NOT_PLANNED
    if about.of == "episodes" or quantity.startswith(("return_", LEARNED_SUITE_REGRET)):
        if "mean_return" not in own:
            return UNTRAINED
        regret = quantity in _REGRETS or quantity.startswith(LEARNED_SUITE_REGRET)
        return NO_OPTIMUM if regret else f"{NOT_MEASURED} in these episodes"
    if quantity in ("actor_regret", "actor_share"):
        return UNTRAINED if "mean_return" not in own else NOT_PLANNED if not planned else NO_OPTIMUM
    if sampler.endswith(_ADAPTED):
        return f"as of {sampler.removesuffix(_ADAPTED)}, whose model and data it has"
    if quantity.startswith("estimate_rank"):
        return NOTHING_RANKED if "mean_model_error" in own else NO_ERRORS
    return NOT_MEASURED


def why_untested(pairs: int) -> str:
    """Why so many pairs have no p value."""
    return ONE_PAIR if pairs < 2 else NO_SPREAD
