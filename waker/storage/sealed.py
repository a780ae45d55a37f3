"""Small files of a run that carry a checksum of their own: settings, the θ space, manifests, film strips.

The checksum stands first (a YAML or JSON key, an array of an archive) and is of the *content*: of what a reader gets
from the file, however it is laid out. So a file and its checksum appear together, by one rename, and a cut file still
has the checksum that it no longer fits. Files without one were written by earlier versions, or edited by somebody who
took the line out to say so: they are read as they are.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from waker.errors import UserError
from waker.storage.files import Damaged, atomic, reading, write_text

KEY = "checksum"
"""What the checksum is called in a file."""
_EDITED = f"it is damaged, or was edited; who edited it on purpose removes its line {KEY!r}"


def write_yaml(path: Path, content: Mapping[str, Any]) -> None:
    """Write a mapping as YAML, atomically and with its checksum.

    Raises:
        OSError: it could not be written.
    """

    def text(content: Mapping[str, Any]) -> str:
        return _plainest(lambda ascii: yaml.safe_dump(content, sort_keys=False, allow_unicode=not ascii))

    seen = loaded_yaml(text(dict(content)))  # not what is written: a tuple comes back as a list
    write_text(path, text({KEY: _digest(seen), **content}))


def write_json(path: Path, content: Mapping[str, Any], indent: int | None = None) -> None:
    """Write a mapping as JSON, atomically and with its checksum; all of its keys are text.

    Raises:
        OSError: it could not be written.
    """
    sealed = {KEY: _digest(content), **content}
    write_text(path, _plainest(lambda ascii: json.dumps(sealed, indent=indent, ensure_ascii=ascii)))


def _plainest(write: Callable[[bool], str]) -> str:
    """Text as it reads best, or escaped to ASCII where UTF-8 has no other way: names of files in another encoding."""
    text = write(False)
    try:
        text.encode()
    except UnicodeEncodeError:
        return write(True)
    return text


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML file's mapping, without its checksum.

    Raises:
        UserError: it cannot be read, or holds no mapping.
        Damaged: it is not what was written.
    """
    with reading(path):
        content = loaded_yaml(path.read_text(encoding="utf-8"))
    return _checked(path, content, _EDITED)


def loaded_yaml(text: str) -> Any:
    """The content of YAML, by libyaml where it is there and can: it takes a tenth of the time.

    It knows no names in another encoding; those, and what to say of a fault, are PyYAML's own.

    Raises:
        yaml.YAMLError: it is none, or a mapping has a key twice.
    """
    try:
        return yaml.load(text, _FastOnce)
    except (yaml.YAMLError, UnicodeError):
        return yaml.load(text, _Once)


def _refuse_twice(node: yaml.Node | None) -> None:
    """Refuse a mapping that has a key twice: YAML forbids it, and PyYAML takes the last one in silence."""
    waiting, seen = [node], set[int]()
    while waiting:
        here = waiting.pop()
        if not isinstance(here, yaml.CollectionNode) or id(here) in seen:
            continue
        seen.add(id(here))
        if not isinstance(here, yaml.MappingNode):
            waiting += here.value
            continue
        waiting += [value for _, value in here.value]
        keys = set[str]()
        for key, _ in here.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in keys:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"{key.value!r} is given a second time", key.start_mark
                    )
                keys.add(key.value)


class _Once(yaml.SafeLoader):
    """PyYAML's loader that takes each key of a mapping once."""

    def get_single_node(self) -> yaml.Node | None:
        node = super().get_single_node()
        _refuse_twice(node)
        return node


class _FastOnce(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """The same of libyaml."""

    def get_single_node(self) -> yaml.Node | None:
        node: yaml.Node | None = super().get_single_node()
        _refuse_twice(node)
        return node


def read_json(path: Path) -> dict[str, Any]:
    """A JSON file's mapping, without its checksum.

    Raises:
        UserError: it cannot be read, or holds no mapping.
        Damaged: it is not what was written.
    """
    with reading(path):
        content = json.loads(path.read_text(encoding="utf-8"))
    return _checked(path, content, _EDITED)


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays as a compressed ``.npz``, atomically and with their checksum.

    Raises:
        OSError: it could not be written.
    """
    buffer = io.BytesIO()  # through memory, so that a full disk is an OSError and nothing else
    checksum = np.array(_array_digest(arrays))
    np.savez_compressed(buffer, allow_pickle=False, **{KEY: checksum, **arrays})
    with atomic(path) as file:
        file.write(buffer.getbuffer())


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of an ``.npz``, without their checksum.

    Raises:
        UserError: it cannot be read.
        Damaged: it is not what was written.
    """
    with reading(path), np.load(path, allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    told = arrays.pop(KEY, None)
    if told is not None and str(told) != _array_digest(arrays):
        raise Damaged(f"{path} is damaged: its checksum is another")
    return arrays


def _checked(path: Path, content: Any, hint: str) -> dict[str, Any]:
    if not isinstance(content, dict):
        raise UserError(f"{path} cannot be read: it holds no mapping")
    if KEY in content:
        told = content.pop(KEY)
        with reading(path):
            fits = told == _digest(content)
        if not fits:
            raise Damaged(f"{path} is not what was written: {hint}")
    return content


def _digest(content: Any) -> str:
    """SHA-256 of a tree of plain values; ``repr`` tells apart what YAML makes of damage (dates, sets, bytes)."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), default=repr)
    return hashlib.sha256(text.encode()).hexdigest()


def _array_digest(arrays: Mapping[str, NDArray[Any]]) -> str:
    found = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        array = np.asarray(array)
        found.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()
