"""Which settings may change without making a run another one: those of a folder compared with those asked for.

Called where a folder is opened (:mod:`waker.storage.run_folder`) and where a study's rows are kept
(:mod:`waker.sweep.rows`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from waker.settings import flat
from waker_envs.file_source import source_name

_TOLD = 3
"""Settings that differ of which both values are told; others are named."""
FREE_KEYS = (
    "device",
    "sinks",
    "sink_settings",
    "train.compile_cache",
    "train.env_processes",
    "train.products",
    "train.save_every",
    "train.keep",
)
"""Settings that may differ on a resume: where a run is computed, by whom, and how it is kept. Another ``device`` or
other ``train.products`` change the last digits of its numbers; :mod:`waker.machine.arithmetic` tells and records
that."""
GROWING_KEYS = ("train.steps", "train.adapt_updates")
"""Settings that may grow: nothing before the end of a run depends on where that is, so a longer one begins like it."""

SCHEDULES = (
    "anneal",
    "anneal_to",
    "warmup",
    "train_every",
    "prefill",
    "reduction_interval",
    "reduction_start",
    "oracle_interval",
)
"""Last names of settings by which a run has been going from its start: a longer one keeps them as they were."""


def difference(saved: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    """All settings that make it another run, the first ones with both values; None if there is none.

    Where both began with a preset, and not with the same, that comes first: it is what the others come from, of which
    the first ones are examples enough.

    Those of :data:`FREE_KEYS` never do, and those of :data:`GROWING_KEYS` not where they have grown.
    """
    old, new = ({k: v for k, v in flat(data).items() if v != {}} for data in (saved, now))
    free = {"preset", *FREE_KEYS, *growth(saved, now)}
    free |= {key for key in (*old, *new) if key.startswith(tuple(f"{section}." for section in FREE_KEYS))}
    keys = [*new, *(k for k in old if k not in new)]
    called = {**_own_names(old), **_own_names(new)}
    differ = [key for key in keys if key not in free and not _alike(old.get(key), new.get(key))]

    def value(settings: Mapping[str, Any], key: str) -> str:
        left_out = "its default" if key in called else "not set"
        return repr(settings[key]) if key in settings else left_out

    told = [f"{called.get(key, key)} is {value(old, key)} there and {value(new, key)} now" for key in differ[:_TOLD]]
    began = [str(data.get("preset") or "") for data in (old, new)]
    if told and all(began) and began[0] != began[1]:
        several = f"{len(differ)} settings differ" if len(differ) > 1 else "one setting differs"
        others = f" and {len(differ) - _TOLD} more" if len(differ) > _TOLD else ""
        return f"preset {began[0]} there, {began[1]} now, so {several}: {', '.join(told)}{others}"
    more = [f"also other: {', '.join(called.get(key, key) for key in differ[_TOLD:])}"] if len(differ) > _TOLD else []
    if told and (shrunk := [key for key in differ if key in GROWING_KEYS]):
        more.append(f"{shrunk[0]} may only grow")
    schedules = [key for key in differ if key.rpartition(".")[2] in SCHEDULES]
    if schedules and (grown := list(growth(saved, now))):
        kept = ", ".join(f"{key} = {old.get(key)}" for key in schedules)
        more.append(f"{grown[0]} may grow alone, but the run has gone by {kept} from its start, which must stay")
    return "; ".join([", ".join(told), *more]) if told else None


def _own_names(settings: Mapping[str, Any]) -> dict[str, str]:
    """Settings of a plug-in's own as they are called on the command line: ``curriculum.settings.beta`` →
    ``curriculum.plr.beta``."""
    found: dict[str, str] = {}
    for section, chosen in (("curriculum", "sampler"), ("explorer", "name")):
        begin, part = f"{section}.settings.", source_name(str(settings.get(f"{section}.{chosen}")))
        found |= {key: f"{section}.{part}.{key.removeprefix(begin)}" for key in settings if key.startswith(begin)}
    return found


def growth(saved: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, tuple[int, int]]:
    """What is asked for beyond a folder's settings: by setting, the number there and the number now."""
    old, new = flat(saved), flat(now)
    pairs = {key: (old[key], new[key]) for key in GROWING_KEYS if key in old and key in new}
    return {key: pair for key, pair in pairs.items() if pair[1] > pair[0]}


def _alike(one: Any, other: Any) -> bool:
    return bool(one == other or (one != one and other != other))  # NaN is NaN
