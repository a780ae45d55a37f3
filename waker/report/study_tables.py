"""The tables of a study's page as rows: what is shown, and what is written beside the page. Called by the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace

import pandas as pd

from waker.analysis.improvement import improvements
from waker.analysis.paired import Over, Pairs, paired_differences, pairs
from waker.analysis.profiles import interquartile_means, profiles
from waker.analysis.regret_parts import mean_parts, regret_parts
from waker.analysis.sampling import mean_shares
from waker.analysis.study import Study, tested
from waker.analysis.summary import summarise


@dataclass(frozen=True)
class Tables:
    """Rows by table; every one has a column ``domain``.

    Attributes:
        comparison: :func:`waker.analysis.summary.summarise`.
        pairs: :func:`waker.analysis.paired.pairs`, one row a pair.
        paired: :func:`waker.analysis.paired.paired_differences`.
        improvement: :func:`waker.analysis.improvement.improvements`.
        iqm, profiles: :mod:`waker.analysis.profiles`.
        regret, parts: :mod:`waker.analysis.regret_parts`, of runs and their means.
        sampling: :func:`waker.analysis.sampling.mean_shares`.
    """

    comparison: pd.DataFrame
    pairs: pd.DataFrame
    paired: pd.DataFrame
    improvement: pd.DataFrame
    iqm: pd.DataFrame
    profiles: pd.DataFrame
    regret: pd.DataFrame
    parts: pd.DataFrame
    sampling: pd.DataFrame

    @property
    def rows(self) -> Mapping[str, pd.DataFrame]:
        """Those that have rows, by name."""
        found = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: rows for name, rows in found.items() if len(rows)}

    def of(self, domain: str) -> Tables:
        """The part of one domain."""
        whole = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(self, **{name: rows[rows["domain"] == domain] for name, rows in whole.items()})


def tables_of(study: Study, baseline: str, over: Over, wanted: Sequence[str] = ()) -> tuple[Tables, Pairs]:
    """All tables, and the pairs with what to tell of them.

    Args:
        study: its numbers and shares.
        baseline, over: see :func:`waker.analysis.paired.pairs`.
        wanted: quantities to test; none = all of which more or less is better.
    """
    numbers, paired = study.numbers, pairs(study.numbers, baseline, over)
    tests = paired_differences(tested(study, paired.rows, baseline, over), wanted)
    parts = regret_parts(numbers)
    tables = Tables(
        comparison=summarise(numbers),
        pairs=paired.rows[paired.rows["quantity"].isin(tests["quantity"])],
        paired=tests,
        improvement=tested(study, improvements(numbers, baseline), baseline, over),
        iqm=interquartile_means(numbers),
        profiles=profiles(numbers),
        regret=parts,
        parts=mean_parts(parts),
        sampling=mean_shares(study.shares),
    )
    return tables, paired
