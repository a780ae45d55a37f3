"""Names that others gave (observation keys, θ, tasks, suites, samplers, domains), made fit for where they go.

Such a name is data: it may be empty, hold any character, or be a word that this package uses itself. Two things are
done about it, and both here. *Kept apart*: at the boundary with the environment (:mod:`waker.collection.spec_of`, rows'
columns and suites) a name that would be taken for one of ours gets its kind behind it, ``action (observation)``, and
every other one stays as it is, so that what old runs wrote reads on. *Escaped*: whoever shows a name, or makes a path
of it, asks :func:`printable` or :func:`path_part`. HTML is escaped by jinja2 and CSV by the csv module.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable
from functools import cache

RECORD = ("action", "task_rewards", "theta_id", "is_first", "is_last", "is_terminal")
"""The fields of a replay's record that are ours; see :func:`waker.replay.ring.record_fields`."""
LOSSES = ("reward", "continue", "kl", "model", "ensemble", "explorer", "actor", "critic")
"""What is before ``_loss`` in metrics of ours."""
EXPLORER = "explorer"
"""The exploration policy among the members of a stack."""
ALL = "all"
"""All tasks together, among tasks in tables."""
DR_SUITE = "dr"
"""Domain randomisation, among suites in rows."""
PLANNED = "planned"
"""Plans in the learned model, among policies in rows."""
EXPECTED = "planned, all episodes"
"""Plans valued over all episodes that a θ may have, among policies in rows: one row a θ and task, of no one episode."""
OURS = " (waker)"
"""Behind a field of ours in a file where the environment has a key of that name."""
_LONGEST_KEY = 1_000
_LONGEST_PART = 200
"""Bytes of a folder's or a file's name; most file systems end at 255, and temporary files carry a prefix."""
_SAFE = re.compile(r"[a-z0-9_]+")


def kept_apart(name: str, ours: Collection[str], kind: str) -> str:
    """``name``, with ``kind`` behind it where it is one of ours. Different names stay different."""
    mark = f" ({kind})"
    return name + mark if name in ours or name.endswith(mark) else name


def task_name(name: str) -> str:
    """What a task of an environment or of a user's file is called here."""
    return kept_apart(name, (ALL, EXPLORER), "task")


def suite_name(name: str) -> str:
    """What a suite of a θ space is called in rows."""
    return kept_apart(name, (DR_SUITE,), "suite")


def theta_column(name: str) -> str:
    """The column of a parameter: ``theta_<name>``, but never ``theta_id``."""
    return "theta_" + kept_apart(name, ("id",), "parameter")


def loss_metric(key: str) -> str:
    """The metric of an observation's reconstruction, by its name in the replay."""
    return f"{key} (observation)_loss" if key in LOSSES else f"{key}_loss"


def key_name(key: str) -> str:
    """What an observation key is called in the replay and the networks.

    Itself, but for keys that are fields of ours, and for those that cannot be names of torch's modules or of an
    archive's entries: attributes of a module, dots, control characters, no character at all or very many.
    """
    mark = " (observation)"
    fits = key and len(key) <= _LONGEST_KEY and "." not in key and key.isprintable() and not _attribute(key)
    if fits and key not in RECORD and not key.endswith((mark, OURS)):
        return key
    escaped = "".join(c if c.isprintable() and c not in ".%" else _percent(c) for c in key)
    return (escaped if len(escaped) <= _LONGEST_KEY else f"{escaped[:_LONGEST_KEY]}~{_digest(key)}") + mark


@cache
def _attribute(key: str) -> bool:
    from torch.nn import ModuleDict  # here, as names are also asked for by commands that do without torch

    return hasattr(ModuleDict(), key)


def printable(name: object, most: int | None = None) -> str:
    """A name or message as one line that a terminal or a figure can show.

    Characters that are not printable (line ends, terminal escapes, changes of direction) are written as Python writes
    them; nothing at all as two quotes.

    Args:
        most: characters; longer ones are cut.
    """
    text = str(name)
    line = "".join(c if c.isprintable() else _python(c) for c in text) or "''"
    return line if most is None or len(line) <= most else line[: most - 1] + "…"


def path_part(name: str) -> str:
    """A name as one part of a path: itself where it is a usual one, else escaped, with a digest that tells it apart."""
    usual = name.isprintable() and "/" not in name and "\\" not in name and not name.startswith((".", "-"))
    if usual and 0 < len(name.encode()) <= _LONGEST_PART:
        return name
    return _escaped_part([name])


def joined_part(names: Iterable[str]) -> str:
    """Several names as one part of a path, another one for other names, also where the file system ignores case."""
    given = list(names)
    plain = "-".join(given)
    if all(map(_SAFE.fullmatch, given)) and len(plain) <= _LONGEST_PART:
        return plain
    return _escaped_part(given)


def _escaped_part(names: list[str]) -> str:
    readable = re.sub(r"[^a-z0-9_]+", "-", "-".join(names).lower()).strip("-")[:80] or "name"
    return f"{readable}-{_digest(*names)}"


def _percent(character: str) -> str:
    return "".join(f"%{byte:02X}" for byte in character.encode("utf-8", "surrogatepass"))


def _python(character: str) -> str:
    return character.encode("unicode_escape").decode()


def _digest(*names: str) -> str:
    return hashlib.sha256("\0".join(f"{len(n)}:{n}" for n in names).encode("utf-8", "surrogatepass")).hexdigest()[:10]
