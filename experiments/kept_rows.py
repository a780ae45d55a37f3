"""Rows that a script adds to a file of its own, run by run and part by part."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd


def with_others(path: Path, found: pd.DataFrame, identity: Sequence[str]) -> pd.DataFrame:
    """The rows that were found, behind those of the file that differ from all of them in a column of ``identity``."""
    if not path.is_file():
        return found
    columns = [name for name in identity if name in found]
    before = pd.read_csv(path)
    again = before.set_index(columns).index.isin(found.set_index(columns).index)
    return pd.concat([before[~again], found], ignore_index=True)
