"""Every option of every verb, read off the typed configuration, and values nobody should give it."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from waker.cli.settings import TrainArgs
from waker.cli.verbs.adapt import AdaptArgs
from waker.cli.verbs.compare import CompareArgs
from waker.cli.verbs.envs import EnvsArgs, ShowArgs
from waker.cli.verbs.evaluate import EvaluateArgs
from waker.cli.verbs.report import ReportArgs

VERBS: dict[str, tuple[tuple[str, ...], type[Any], tuple[str, ...]]] = {
    "train": (("train",), TrainArgs, ("config",)),
    "quickstart": (("quickstart",), TrainArgs, ("config",)),
    "adapt": (("adapt",), AdaptArgs, ()),
    "evaluate": (("evaluate",), EvaluateArgs, ()),
    "compare": (("compare",), CompareArgs, ()),
    "report": (("report",), ReportArgs, ()),
    "envs": (("envs",), EnvsArgs, ()),
    "envs show": (("envs", "show"), ShowArgs, ()),
}
"""Name → the words that choose it, its dataclass, and the fields whose options carry no prefix."""

# No absolute path is among them: a file that a verb writes would end up there, /dev/null replaced by a page.
NOT_UTF8 = "caf\udce9"
LONG = "x" * 5000
STRANGE = ("", " ", "ü∞😀", NOT_UTF8, "a\nb", "../..", "[red]", "$x$", "--", "-", "{}", "%s", "@x", "null", LONG)
NUMBERS = ("0", "-1", "-0.0", "nan", "inf", "-inf", "1e30", "1e400", "1e-320", "0x10", "1_000", "٣", "", "ü", "1,5")
HUGE = (str(2**31), str(2**32), str(2**53 + 1), str(2**63 - 1), str(2**63), str(10**30), "-" + str(10**30), "9" * 5000)
NAMED = {
    "device": ("meta", "cpu:1", "cuda", "cuda:99", "mps", "xpu", "0"),
    "env": ("CartPole-v1", "Combined", "TerrainWalker", "waker/", "gridhazards", "DoorKey", "module:Env-v0"),
    "sampler": ("waker-r", "dr", "reweighting-oracle", "hardest-oracle", "gradual-expansion"),
    "preset": ("paper", "authors", "default", "laptop", "control", "tiny"),
    "config": ("quick", "tiny", "default"),
    "task-module": ("tasks.py:near", "tasks.py:", ":near", "tasks.py:none", "tasks.py:near.__code__"),
    "tasks": ("green", "near", "all", "explorer"),
    "compile-cache": ("", "cache", "tasks.py"),
}
"""Values that exist, by the end of the flag, beside the strange ones."""
FRACTIONS = ("0.5", "1", "1.5", "1e-8", "1e8", "1e38", "3.5e38", "1e300", "-1e300")
WHOLE = ("1", "2", "3", "7", "1000", "100000", "10000000")


@dataclasses.dataclass(frozen=True)
class Option:
    """One option: its verb, its flag (empty for a positional argument), and the type of its value."""

    verb: str
    flag: str
    hint: Any


def every_option() -> list[Option]:
    """All options of all verbs."""
    return [option for verb, (_, cls, inline) in VERBS.items() for option in _options(verb, cls, inline)]


def _options(verb: str, cls: type[Any], inline: Sequence[str], prefix: str = "") -> list[Option]:
    found: list[Option] = []
    hints = typing.get_type_hints(cls, include_extras=True)
    for field in dataclasses.fields(cls):
        hint, extras = hints[field.name], ()
        if typing.get_origin(hint) is typing.Annotated:
            hint, *extras = typing.get_args(hint)
        if dataclasses.is_dataclass(hint):
            below = prefix if field.name in inline else f"{prefix}{_spelt(field.name)}."
            found += _options(verb, hint, (), below)  # type: ignore[arg-type]
        elif tyro.conf.Positional in extras:
            found.append(Option(verb, "", hint))
        else:
            found.append(Option(verb, f"--{prefix}{_spelt(field.name)}", hint))
    return found


def _spelt(name: str) -> str:
    return name if name.endswith("_") else name.replace("_", "-")


def hostile(option: Option, rng: np.random.Generator) -> list[str]:
    """Words for one option with a value that it may or may not take; the flag first."""
    if option.hint is bool:
        flag = option.flag if rng.random() < 0.5 else _negated(option.flag)
        return [flag, *([] if rng.random() < 0.6 else [_pick(rng, [*STRANGE, "True", "1"])])]
    named = NAMED.get(option.flag.split(".")[-1].removeprefix("--"), ())
    words = [_pick(rng, named)] if named and rng.random() < 0.5 else _values(option.hint, rng)
    if option.flag and len(words) == 1 and rng.random() < 0.3:
        return [f"{option.flag}={words[0]}"]
    return [*([option.flag] if option.flag else []), *words]


def _negated(flag: str) -> str:
    section, dot, name = flag.removeprefix("--").rpartition(".")
    return f"--{section}{dot}no-{name}"


def _pick(rng: np.random.Generator, values: Sequence[str]) -> str:
    return values[int(rng.integers(len(values)))]


def _values(hint: Any, rng: np.random.Generator) -> list[str]:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return ["None"] if rng.random() < 0.1 else _values(arguments[0], rng)
    if origin is tuple:
        return [word for _ in range(int(rng.integers(4))) for word in _values(arguments[0], rng)]
    if origin is dict:
        keys = ("n_layouts", "sizes", "obs", "render_mode", "slips", "task", "no_such", "", "self", "ü")
        words = [f"{_pick(rng, keys)}={_pick(rng, [*NUMBERS, *STRANGE, *HUGE])}", "a", "=", "a=b=c"]
        return [_pick(rng, words) if rng.random() < 0.8 else words[0] for _ in range(int(rng.integers(1, 3)))]
    if origin is typing.Literal:
        return [_pick(rng, [*map(str, arguments), *STRANGE])]
    if hint in (int, float):
        readable = ("0", "-1", *HUGE, *WHOLE) if hint is int else (*NUMBERS[:9], *FRACTIONS, *HUGE[-3:])
        return [_pick(rng, readable if rng.random() < 0.8 else NUMBERS)]
    if hint is Path:
        return [_pick(rng, [*STRANGE, ".", "tasks.py", "tasks.py/below", "none/at/all", "runs", "--help"])]
    return [_pick(rng, [*STRANGE, *NUMBERS])]
