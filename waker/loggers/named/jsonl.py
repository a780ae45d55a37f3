"""``metrics.jsonl`` of the run folder: every run writes it, and reports are made from it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from waker.loggers.api import METRICS_FILE
from waker.loggers.registry import register_sink
from waker.storage.metrics_file import JsonlSink


@register_sink("jsonl")
def make_jsonl(folder: Path, name: str, config: Mapping[str, Any]) -> JsonlSink:
    """The file of a run folder."""
    return JsonlSink(folder / METRICS_FILE)
