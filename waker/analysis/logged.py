"""One evaluation of one run as metrics: the quantities of ``waker compare`` under keys that loggers show.

Called by :mod:`waker.training.row_writer`; :mod:`waker.analysis.glossary` explains the keys.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from waker.analysis.numbers import compare_runs
from waker.analysis.quantities import BRACKETED

_UNSHOWN = tuple(f"{name}_{part}" for name in BRACKETED for part in ("low", "high", "split"))


def evaluation_metrics(
    evaluation: Sequence[Mapping[str, Any]],
    model_error: Sequence[Mapping[str, Any]],
    identity: Mapping[str, Any],
    prefix: str = "",
) -> dict[str, float]:
    """``<prefix><quantity>/<task>`` → value, for every quantity that is known of these rows; task ``all`` = together.

    Of a worst case there is the corrected value where it is known, and always the pessimistic one (``_plug_in``).

    Args:
        evaluation, model_error: rows of one evaluation, without the run's columns.
        identity: those columns: domain, sampler, explorer, seed; and step.
        prefix: before the keys.
    """
    tables = [pd.DataFrame([{**identity, **row} for row in rows]) for rows in (evaluation, model_error)]
    numbers = compare_runs(tables[0], tables[1], pd.DataFrame()).numbers
    rows = zip(numbers["quantity"], numbers["task"], numbers["value"], strict=True)
    return {f"{prefix}{q}/{task}": float(v) for q, task, v in rows if q not in _UNSHOWN and math.isfinite(v)}


def curriculum_metrics(probabilities: Any, hard: Sequence[int]) -> dict[str, float]:
    """What a curriculum does with its probabilities, in two numbers.

    Args:
        probabilities: of each θ, (M,); None in continuous spaces, and then there are no numbers.
        hard: ids of the θ that experts call hard; may be empty.

    Returns:
        ``curriculum/entropy`` in nats (ln M where all θ are alike), and ``curriculum/hard_share``, the probability that
        the next θ is a hard one.
    """
    if probabilities is None:
        return {}
    chance = np.asarray(probabilities, np.float64)
    some = chance[chance > 0]
    found = {"curriculum/entropy": float(-(some * np.log(some)).sum())}
    return found | ({"curriculum/hard_share": float(chance[list(hard)].sum())} if len(hard) else {})
