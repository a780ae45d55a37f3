"""What a run folder says in the end, without what may differ: times, and how its files are cut."""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

TABLES = ("episodes", "curriculum", "evaluation", "model_error")
_TIMES = ("seconds", "cpu_seconds", "measuring_seconds", "replay", "logs")


def outcome(folder: Path, wanted: Collection[str] | None = None) -> dict[str, str]:
    """Name → digest of all that a finished run has measured and learned.

    ``metrics``, each table, ``weights`` (with optimisers, curriculum and streams), ``replay``, and for each set of
    adapted policies ``adapted/…``.

    Args:
        folder: of the run.
        wanted: only these; None = all.

    Raises:
        Exception: something that is wanted cannot be read.
    """
    made = {
        "metrics": lambda: _metrics(folder / "metrics.jsonl"),
        **{name: functools.partial(_table, folder / f"{name}.parquet") for name in TABLES},
        "weights": lambda: _without_times(_state(folder)),
        "replay": lambda: _replay(folder, _state(folder)["replay"]),
    }
    for adapted in sorted(p for p in (folder / "adapted").glob("*") if p.is_dir()):
        made[f"adapted/{adapted.name}"] = functools.partial(_adapted, adapted)
    return {name: _digest(make()) for name, make in made.items() if wanted is None or name in wanted}


def differences(one: Mapping[str, str], two: Mapping[str, str]) -> list[str]:
    """Names of what differs between two outcomes."""
    return [name for name in sorted({*one, *two}) if one.get(name) != two.get(name)]


def changes(one: Mapping[str, str], read: Callable[[], Mapping[str, str]]) -> list[str]:
    """What differs between an outcome and the one that is to be read, that it cannot be read among it."""
    try:
        return differences(one, read())
    except RuntimeError as error:
        return [f"result cannot be read: {str(error).strip().splitlines()[-1]}"]


def text_of(out: str, folder: Path) -> list[str]:
    """Lines that a command printed, without times and without the name of the folder it ran in."""
    plain = out.replace(str(folder.resolve()), "").replace(str(folder), "")
    plain = re.sub(r"\d+(\.\d+)? (s|seconds|minutes|ms)\b", "T", plain)
    return [line.rstrip() for line in plain.splitlines() if line.strip()]


def _metrics(file: Path) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    return [{k: v for k, v in row.items() if not k.startswith("time/")} for row in rows]


def _table(folder: Path) -> list[Any]:
    from waker.storage.tables import read_rows

    frame = read_rows(folder)
    return [list(frame.columns), *frame.to_dict("records")]


def _adapted(folder: Path) -> dict[str, Any]:
    return {**_without_times(_state(folder)), "metrics": _metrics(folder / "metrics.jsonl")}


def _without_times(state: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in state.items() if k not in _TIMES}


def _state(folder: Path) -> dict[str, Any]:
    from waker.storage.checkpoint import Checkpoints

    checkpoints = Checkpoints(folder / "checkpoints")
    return checkpoints.load(checkpoints.paths()[0])


def _replay(folder: Path, named: Mapping[str, Any]) -> dict[str, Any]:
    """Field and tick → records of all slots, from the chunks that a checkpoint names."""
    records: dict[str, Any] = {}
    for chunk in named["chunks"]:
        with np.load(folder / "replay" / chunk["name"]) as archive:
            for name in archive.files:
                for t, value in enumerate(np.moveaxis(archive[name], 1, 0)):
                    records[f"{name} {chunk['start'] + t}"] = value
    return records


def _digest(tree: Any) -> str:
    digest = hashlib.sha256()
    _feed(digest, tree)
    return digest.hexdigest()


def _feed(digest: Any, tree: Any) -> None:
    if isinstance(tree, Mapping):
        for key in sorted(tree, key=str):
            digest.update(f"{key}:".encode())
            _feed(digest, tree[key])
    elif isinstance(tree, list | tuple):
        digest.update(f"[{len(tree)}]".encode())
        for item in tree:
            _feed(digest, item)
    elif hasattr(tree, "numpy"):
        _feed(digest, tree.detach().cpu().numpy())
    elif isinstance(tree, np.ndarray):
        digest.update(f"{tree.dtype}{tree.shape}".encode())
        digest.update(np.ascontiguousarray(tree).tobytes())
    else:
        digest.update(repr(tree).encode())
