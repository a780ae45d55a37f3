"""Files with a checksum of their own: what comes back is what was written, or the file is named."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from experiments.faults.damage import cut, flip
from tests.helpers.damage import read_or_told
from waker.errors import UserError
from waker.storage.files import Damaged
from waker.storage.sealed import read_arrays, read_json, read_yaml, write_arrays, write_json, write_yaml

CONTENT: dict[str, Any] = {
    "config": {"lr": 1e-05, "steps": 100_000, "names": ["size", "σ $"], "on": True, "none": None, "compile": "off"},
    "git": "1234567e89",
    "empty": {},
}
ARRAYS = {"real": np.arange(24, dtype=np.uint8).reshape(2, 3, 4), "names": np.array(["size", "slip"])}
KINDS: dict[str, tuple[Callable[[Path], None], Callable[[Path], Any]]] = {
    "yaml": (lambda path: write_yaml(path, CONTENT), read_yaml),
    "json": (lambda path: write_json(path, CONTENT, indent=1), read_json),
    "npz": (
        lambda path: write_arrays(path, ARRAYS),
        lambda path: {k: v.tolist() for k, v in read_arrays(path).items()},
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_no_bit_and_no_cut_changes_what_is_read(tmp_path: Path, kind: str) -> None:
    write, read = KINDS[kind]
    file = tmp_path / "file"
    write(file)
    whole, content = read(file), file.read_bytes()
    rng = np.random.default_rng(0)
    bits = rng.choice(8 * len(content), min(200, 8 * len(content)), replace=False).tolist()
    told = 0
    for harm, at in [*((flip, bit) for bit in bits), *((cut, size) for size in range(0, len(content), 7))]:
        file.write_bytes(content)
        harm(file, at)
        found, line = read_or_told(lambda: read(file))
        if found is None:
            assert str(file) in line and "\n" not in line
            told += 1
        else:
            assert {k: v for k, v in found.items() if k in whole} == whole  # the checksum's own name may be harmed
    assert told > len(bits) / 2


@pytest.mark.parametrize(("write", "read"), [(write_yaml, read_yaml), (write_json, read_json)])
def test_an_edited_file_is_refused_until_its_checksum_is_removed(
    tmp_path: Path, write: Callable[..., None], read: Callable[[Path], Any]
) -> None:
    file = tmp_path / "file"
    write(file, CONTENT)
    assert read(file) == CONTENT
    file.write_text(file.read_text().replace("100000", "200000"))
    with pytest.raises(Damaged, match="who edited it on purpose removes its line 'checksum'"):
        read(file)
    parse, text = (yaml.safe_load, yaml.safe_dump) if write is write_yaml else (json.loads, json.dumps)
    file.write_text(text({k: v for k, v in parse(file.read_text()).items() if k != "checksum"}))
    assert read(file)["config"]["steps"] == 200_000


def test_another_layout_of_the_same_content_is_no_damage(tmp_path: Path) -> None:
    write_yaml(tmp_path / "file", CONTENT)
    laid_out = yaml.safe_load((tmp_path / "file").read_text())
    (tmp_path / "file").write_text("# a remark\n" + yaml.safe_dump(laid_out, default_flow_style=True))
    assert read_yaml(tmp_path / "file") == CONTENT


def test_files_without_a_checksum_are_read_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "old.yaml").write_text("a: 1")
    (tmp_path / "old.json").write_text('{"a": 1}')
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **ARRAYS)
    (tmp_path / "old.npz").write_bytes(buffer.getvalue())
    assert read_yaml(tmp_path / "old.yaml") == read_json(tmp_path / "old.json") == {"a": 1}
    assert read_arrays(tmp_path / "old.npz").keys() == ARRAYS.keys()
    (tmp_path / "old.yaml").write_text("[1]")
    with pytest.raises(UserError, match="holds no mapping"):
        read_yaml(tmp_path / "old.yaml")


@pytest.mark.parametrize("kind", ["yaml", "json"])
def test_names_in_another_encoding_are_kept(kind: str, tmp_path: Path) -> None:
    content = {"path": "caf\udce9/é名", "plain": "é"}
    path = tmp_path / f"file.{kind}"
    write, read = (write_yaml, read_yaml) if kind == "yaml" else (write_json, read_json)
    write(path, content)
    assert read(path) == content
    write(path, {"plain": "é"})
    assert "é" in path.read_text(encoding="utf-8")
