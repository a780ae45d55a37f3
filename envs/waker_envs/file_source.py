"""Objects named by the file that defines them, ``file.py:Name``: families, samplers and explorers without a package.

The file is run once a process, under a module name of its own. A stored name has the file's full path, so that a later
process finds it from wherever it is started.
"""

from __future__ import annotations

import difflib
import importlib.util
import re
import sys
import zlib
from pathlib import Path
from typing import Any

_SOURCE = re.compile(r"(?P<file>.+\.py):(?P<name>[^\W\d]\w*)")

_GENERIC = frozenset({"make", "build", "create", "factory", "sampler", "curriculum", "explorer", "env", "environment"})
"""Names that say what an object is and not which one: the file's name does."""


_MOST_NAMED = 8
"""Objects of a file that are named where none is near."""


class SourceError(ValueError):
    """There is no such file or nothing of that name in it; the message names the nearest."""


def is_source(text: str) -> bool:
    """Whether a name has the form ``file.py:Name``."""
    return _SOURCE.fullmatch(text) is not None


def full_source(text: str) -> str:
    """The same with the file's full path.

    Raises:
        SourceError: there is no such file.
    """
    file, name = _parts(text)
    path = Path(file).resolve()
    if not path.is_file():
        near = difflib.get_close_matches(path.name, [p.name for p in path.parent.glob("*.py")], n=1)
        raise SourceError(f"no file {file!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
    return f"{path}:{name}"


def source_name(text: str) -> str:
    """What ``file.py:Name`` is called in folders, tables and options: ``Name``, or ``file`` where that says no more
    than ``make`` or ``Explorer``; any other name is as it is."""
    if not is_source(text):
        return text
    file, name = _parts(text)
    return re.sub(r"[^\w-]+", "_", Path(file).stem) if name.lower() in _GENERIC else name


def module_name(text: str) -> str:
    """What the module of a file is called in this process."""
    path = _parts(full_source(text))[0]
    return f"waker_file_{Path(path).stem}_{zlib.crc32(path.encode()):08x}"


def load_source(text: str) -> Any:
    """The object. This runs the file, which the user named for that purpose; what it raises is not caught.

    Raises:
        SourceError: there is no such file, or nothing of that name in it.
    """
    path, name = _parts(full_source(text))
    module = sys.modules.get(module_name(text)) or _imported(module_name(text), path)
    if not hasattr(module, name):
        own = [n for n, value in vars(module).items() if getattr(value, "__module__", None) == module.__name__]
        near = difflib.get_close_matches(name, own, n=1)
        others = f"; it has {', '.join(own[:_MOST_NAMED])}" if own else ""
        raise SourceError(f"{path} has no {name!r}" + (f"; did you mean {near[0]!r}?" if near else others))
    return getattr(module, name)


def _imported(called: str, path: str) -> Any:
    spec = importlib.util.spec_from_file_location(called, path)
    assert spec is not None and spec.loader is not None  # its name ends in .py
    module = importlib.util.module_from_spec(spec)
    sys.modules[called] = module  # dataclasses look their module up while they are made
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[called]
        raise
    return module


def _parts(text: str) -> tuple[str, str]:
    found = _SOURCE.fullmatch(text)
    if found is None:
        raise SourceError(f"{text!r} must have the form file.py:Name")
    return found["file"], found["name"]
